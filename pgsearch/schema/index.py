"""A search index into DDL: its companions, functions and triggers, and their removal."""

from __future__ import annotations

import json
from collections.abc import Iterable

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.schema.parsed import parsed_objects
from pgsearch.schema.passages import passages_holes
from pgsearch.schema.search_function import function_holes
from pgsearch.schema.security import close_to_others, follow_row_security
from pgsearch.schema.steps import Step, locked, plain
from pgsearch.schema.templates import (
    columns,
    definition_holes,
    key_names,
    object_holes,
    render,
    sql_type,
    statements,
)

#: Which templates make a search index; the registry notes it.
TEMPLATE_VERSION = 3


def create_search_index(definition: IndexDefinition) -> list[Step]:
    """Return the steps that create a search index beside its table, triggers last.

    Only the triggers touch the source table, and only for the moment that it takes to add them.
    """
    holes = _all_holes(definition) | {"is_new": Literal(True)}
    files = ["check", "tables", "passage_type", "key_types", *_source_files(definition)]
    files += ["functions", "encoder", "search_function", "passages_function"]
    return [
        plain(statement for file in files for statement in _statements(file, holes)),
        _chunk_columns(definition, holes),
        # A step for each: when a migration that failed is run again, others may be reading them.
        *(
            locked(f"A view of search index {definition.name}", _render(view, holes))
            for view in ("view", "filter")
        ),
        *follow_row_security(definition, holes),
        *_triggers(definition, holes),
        plain(_statements("capturing", holes)),
    ]


def alter_search_index(definition: IndexDefinition, *, refill: bool = False) -> list[Step]:
    """Return the steps that bring a search index to a definition, whatever it was before.

    What has to be done again for its rows is worked out from the registry, and done by workers.

    Args:
        definition: What it shall be.
        refill: Whether everything is to be done again, for changes may have been missed.
    """
    holes = _all_holes(definition) | {"is_new": Literal(False), "refill": Literal(refill)}
    view = _render("view", holes)
    holes |= {"create_view": SQL(view)}
    named = f"search index {definition.name}"
    first = ["key_types", "passage_type", "change", *_source_files(definition)]
    last = ["capturing", "drop_replaced"]
    if not definition.expressions:
        last.append("drop_expressions")
    search = holes | {
        "create_search": SQL(_render("search_function", holes)),
        "create_passages": SQL(_render("passages_function", holes)),
        "create_filter": SQL(_render("filter", holes)),
    }
    return [
        plain(_statements("check", holes)),
        locked(f"The queue of {named}", _render("queue", holes), holes["queue"]),
        locked(f"The keyword index of {named}", _render("keyword_index", holes)),
        _chunk_columns(definition, holes),
        plain(
            [
                *(statement for file in first for statement in _statements(file, holes)),
                _render("first_view", holes).strip(),
                *_statements("functions", holes),
                *_statements("encoder", holes),
            ]
        ),
        locked(f"How {named} reads its table", view),
        locked(f"The search functions of {named}", _render("replace_search", search)),
        *follow_row_security(definition, holes),
        *_triggers(definition, holes),
        plain(statement for file in last for statement in _statements(file, holes)),
    ]


def suspend_search_index(
    index: str, table: str, schema: str, *, filters: bool = False
) -> list[Step]:
    """Return the steps that take everything away that depends on the source table's columns.

    Documents, chunks and the search function stay. Nothing is captured until the search index is
    altered, which then has to fill it again.

    Args:
        index: The search index.
        table: Its table.
        schema: The table's schema.
        filters: Whether a column of the key, or one that searches filter by, shall be changed too;
            searches with filters, and those under row-level security, fail meanwhile.
    """
    holes = object_holes(index, schema, table)
    views = ["source_view", "filter_view"] if filters else ["source_view"]
    return [
        plain(_statements("suspend", holes)),
        _dropped_triggers(index, holes),
        *(_dropped_relation("VIEW", index, holes[view]) for view in views),
        *(close_to_others(index, schema) if filters else []),
        plain([*_statements("drop_source", holes), *_statements("drop_expressions", holes)]),
    ]


def drop_search_index(index: str, table: str, schema: str) -> list[Step]:
    """Return the steps that take a search index away; the table keeps its rows."""
    holes = object_holes(index, schema, table)
    tables = [holes[name] for name in ("document", "chunk", "queue", "lexeme", "token")]
    last = ["drop_source", "drop_expressions", "drop"]
    return [
        plain(_statements("suspend", holes)),
        _dropped_triggers(index, holes),
        *(_dropped_relation("VIEW", index, holes[v]) for v in ("source_view", "filter_view")),
        *(_dropped_relation("TABLE", index, table) for table in tables),
        plain(statement for file in last for statement in _statements(file, holes)),
    ]


def _dropped_relation(kind: str, index: str, name: Composable) -> Step:
    holes = {"kind": SQL(kind), "ban": SQL(kind.lower()), "name": name}
    drop = SQL("-- squawk-ignore ban-drop-{ban}\nDROP {kind} IF EXISTS {name};").format(**holes)
    table = name if kind == "TABLE" else None
    return locked(f"A {kind.lower()} of search index {index}", drop.as_string(None), table)


def _dropped_triggers(index: str, holes: dict[str, Composable]) -> Step:
    named = f"The triggers of search index {index}"
    return locked(named, _render("drop_triggers", holes), holes["table"])


def _chunk_columns(definition: IndexDefinition, holes: dict[str, Composable]) -> Step:
    named = f"The passages of search index {definition.name}"
    return locked(named, _render("chunk_columns", holes), holes["chunk"])


def _source_files(definition: IndexDefinition) -> list[str]:
    return ["expressions", "source"] if definition.expressions else ["source"]


def _triggers(definition: IndexDefinition, holes: dict[str, Composable]) -> list[Step]:
    """Return what puts triggers on the table, and what notes how they and the rest were made.

    The notes take longer, and nobody has to wait for them.
    """
    table = SQL("{}::regclass").format(holes["table_name"])
    noted = holes | {"parsed_objects": parsed_objects(definition.name, definition.schema, table)}
    named = f"search index {definition.name}"
    return [
        locked(f"The triggers of {named}", _render("triggers", holes), holes["table"]),
        locked(f"Notes on {named}, by which an edit is noticed", _render("notes", noted)),
    ]


def _render(file: str, holes: dict[str, Composable]) -> str:
    return render(f"index/{file}.sql", holes)


def _statements(file: str, holes: dict[str, Composable]) -> list[str]:
    return statements(_render(file, holes))


def _all_holes(definition: IndexDefinition) -> dict[str, Composable]:
    return (
        definition_holes(definition)
        | _table_holes(definition)
        | _source_holes(definition)
        | _function_holes(definition)
        | _trigger_holes(definition)
    )


def _table_holes(definition: IndexDefinition) -> dict[str, Composable]:
    names = definition.names
    parts = [
        SQL("{} {}").format(Identifier(column.name), sql_type(column.type))
        for column in definition.key
    ]
    keyword_index = Identifier(definition.schema, names.document_tsv_index)
    relations = (*names.tables, names.generation, names.source, names.filter)
    return {
        "key_definitions": SQL(",\n  ").join(parts),
        "key_names": _literals(key_names(definition)),
        "keyword_index": keyword_index,
        "keyword_index_name": Literal(keyword_index.as_string(None)),
        "column_names": _literals(definition.read_columns),
        "relation_names": _literals(relations),
        "routine_names": _literals(names.routines),
        "type_names": _literals((names.hit, names.passage, names.row)),
        "definition": Literal(json.dumps(definition.to_json(), ensure_ascii=False)),
        "template_version": Literal(TEMPLATE_VERSION),
        "notifies": Literal(definition.notify),
        "notify_name": Literal(names.notify),
    }


def _literals(values: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Literal, values))


def _source_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return how the source's columns are read: of one row, `(source)`, and in a view of it."""

    def texts(row: str, whole_row: str) -> Composed:
        numbers = {column.name: n for n, column in enumerate(definition.expressions, start=1)}
        return SQL(", ").join(
            _evaluated(definition, whole_row, numbers[text.name])
            if text.sql is not None
            else SQL("{}.{}::text").format(SQL(row), Identifier(text.name))
            for text in definition.text
        )

    def configuration(row: str) -> Composed:
        language = SQL("{}::regconfig").format(Literal(definition.language))
        if definition.language_column is None:
            return language
        named = SQL("{}.{}::text").format(SQL(row), Identifier(definition.language_column))
        return SQL("pgsearch.row_configuration({}, {})").format(named, language)

    items = [
        # As in a query on the table. Columns that it does not read are left out, so that they
        # may change.
        SQL("WHEN {} THEN (SELECT (\n{}\n)::text FROM (SELECT {}) AS {})").format(
            Literal(n),
            SQL(column.sql or ""),
            _columns_of("$1", column.read),
            Identifier(definition.table),
        )
        for n, column in enumerate(definition.expressions, start=1)
    ]
    source_view = Identifier(definition.schema, definition.names.source)
    key, filters = key_names(definition), (column.name for column in definition.filters)
    return {
        "row_key": _columns_of("source", key),
        "row_texts": texts("(source)", "source"),
        "row_configuration": configuration("(source)"),
        "source_view_name": Literal(source_view.as_string(None)),
        "source_key_columns": columns(key, "source"),
        "source_texts": texts("source", "source.*"),
        "source_configuration": configuration("source"),
        "expression_items": SQL("\n  ").join(items),
        "filter_columns": columns(tuple(dict.fromkeys((*key, *filters))), "source"),
    }


def _evaluated(definition: IndexDefinition, row: str, number: int) -> Composed:
    """Return the value of an expression, by its number, on a row of the source."""
    names = definition.names
    # The first call is never made: it is there for PostgreSQL to see which columns are read.
    call = "CASE WHEN false THEN {expression}({row}, {number}) ELSE {evaluate}({row}, {number}) END"
    return SQL(call).format(
        expression=Identifier(definition.schema, names.expression),
        evaluate=Identifier(definition.schema, names.evaluate),
        row=SQL(row),
        number=Literal(number),
    )


def _columns_of(row: str, names: Iterable[str]) -> Composed:
    return SQL(", ").join(SQL("({}).{}").format(SQL(row), Identifier(name)) for name in names)


def _read_key(definition: IndexDefinition, row: str) -> Composed:
    """Return the key of a row of the source, by its names in the search index."""
    read = Identifier("pgsearch", definition.names.reader(definition.schema))
    return SQL(", ").join(
        SQL("({}({})).{}").format(read, SQL(row), Identifier(name))
        for name in key_names(definition)
    )


def _function_holes(definition: IndexDefinition) -> dict[str, Composable]:
    key = key_names(definition)
    # Read as a row of the document table, for the types' schemas may not be on the search path.
    after = SQL(", ").join(
        SQL("(jsonb_populate_record(NULL::{}, {}.after)).{}").format(
            Identifier(definition.schema, definition.names.document),
            Identifier(definition.names.fill),
            Identifier(name),
        )
        for name in key
    )
    pairs = SQL(", ").join(
        SQL("{}, {}").format(Literal(name), Identifier("range", name)) for name in key
    )
    descending = SQL(", ").join(SQL("range.{} DESC").format(Identifier(n)) for n in key)
    terms = Identifier(definition.schema, definition.names.terms).as_string(None)
    encode = Identifier(definition.schema, definition.names.encode).as_string(None)
    weights = "{" + ",".join(column.weight for column in definition.text) + "}"
    return {
        "old_key": _read_key(definition, "OLD"),
        "part_key": _read_key(definition, "part.*"),
        "was_key": columns(key, "was"),
        "made_key": columns(key, "made"),
        "known_key": columns(key, "known"),
        "range_key": columns(key, "range"),
        "old_document_key": columns(key, "old"),
        "skip_unchanged": SQL(_skip_unchanged(definition)),
        "weights": SQL('{}::"char"[]').format(Literal(weights)),
        "short_tsvector": _short_tsvector(definition),
        "fill_name": Identifier(definition.names.fill),
        "rewrite_name": Identifier(definition.names.rewrite),
        "isolated_name": Identifier(definition.names.isolated),
        "insert_name": Literal(definition.names.trigger("insert")),
        "terms_name": Identifier(definition.names.terms),
        "terms_replaced_name": Identifier(f"{definition.names.terms}_replaced"),
        "terms_name_before": Literal(f"{terms}(text,integer)"),
        "terms_name_now": Literal(f"{terms}(text,integer,regconfig)"),
        "encode_name": Identifier(definition.names.encode),
        "encode_name_now": Literal(f"{encode}(text,integer)"),
        "index_plain": SQL(definition.name),
        "after_key": after,
        "range_key_pairs": pairs,
        "range_key_descending": descending,
        "orphan_key": columns(key, "orphan"),
        "index_comment": SQL(definition.name.replace("'", "''")),
        **function_holes(definition),
        **passages_holes(definition),
    }


def _short_tsvector(definition: IndexDefinition) -> Composed:
    """Return the tsvector of texts that are too short for one to overflow."""
    part = SQL("setweight(to_tsvector(made.tsconfig, coalesce(made.texts[{}], '')), {})")
    return SQL("\n      || ").join(
        part.format(SQL(str(number)), Literal(text.weight))
        for number, text in enumerate(definition.text, start=1)
    )


def _skip_unchanged(definition: IndexDefinition) -> str:
    """Return what leaves a row alone whose expressions come out as before.

    Columns are compared by the trigger; of a column that an expression reads, such as a JSON
    document, another part may have changed.
    """
    if not definition.expressions:
        return ""
    read = Identifier("pgsearch", definition.names.reader(definition.schema)).as_string(None)
    return f"    IF {read}(OLD) IS NOT DISTINCT FROM made THEN\n      RETURN NULL;\n    END IF;\n"


def _trigger_holes(definition: IndexDefinition) -> dict[str, Composable]:
    key, read = key_names(definition), definition.read_columns
    # As text, byte by byte: json knows no equality, and citext one that does not see every change.
    changed = [
        *(SQL("OLD.{0} IS DISTINCT FROM NEW.{0}").format(Identifier(name)) for name in key),
        *(
            SQL('OLD.{0}::text COLLATE "C" IS DISTINCT FROM NEW.{0}::text').format(Identifier(name))
            for name in read
        ),
    ]
    return {
        "changed": SQL(" OR ").join(changed),
        "captured": columns(tuple(dict.fromkeys(key + read))),
        "new_read": _row_columns("NEW", key + read),
        "old_read": _row_columns("OLD", key + read),
    }


def _row_columns(row: str, names: tuple[str, ...]) -> Composed:
    return SQL(", ").join(SQL("{}.{}").format(SQL(row), Identifier(name)) for name in names)
