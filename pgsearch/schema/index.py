"""A search index into DDL: its companions, functions and triggers, and their removal."""

from __future__ import annotations

import json

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgsearch.definition import IndexDefinition, TypedColumn
from pgsearch.schema.templates import (
    columns,
    definition_holes,
    key_names,
    object_holes,
    render,
    sql_type,
    statements,
)

#: Parameters $1 to $6 of the statement inside a search function; filters follow.
_FIRST_FILTER = 7


def create_search_index(definition: IndexDefinition) -> list[str]:
    """Return the statements that create a search index beside its table, triggers last.

    Only the triggers touch the source table, and only for the moment that it takes to add them.
    """
    holes = definition_holes(definition) | _table_holes(definition)
    parts = [
        *statements(render("index/tables.sql", holes)),
        *statements(render("index/functions.sql", holes | _function_holes(definition))),
    ]
    triggers = statements(render("index/triggers.sql", holes | _trigger_holes(definition)))
    return [*parts, *triggers]


def drop_search_index(index: str, table: str, schema: str) -> list[str]:
    """Return the statements that take a search index away; the table keeps its rows."""
    return statements(render("index/drop.sql", object_holes(index, schema, table)))


def search_statement(definition: IndexDefinition, holes: dict[str, Composable]) -> str:
    """Return the statement that answers a query.

    Args:
        definition: The search index.
        holes: SQL of the request: query, k, vector, mode, depth, similarity_stddev,
            embedding (the chunk's column) and filter (a join, or nothing).
    """
    vector = holes["vector"]
    depth = holes["depth"]
    chunks = SQL("({} * 2)").format(depth)
    request = holes | {
        "chunks": chunks,
        "has_vector": SQL("{} IS NOT NULL AND {} IS NOT NULL").format(vector, holes["embedding"]),
        "vector_with_settings": SQL(
            "CASE WHEN set_config('hnsw.iterative_scan', 'relaxed_order', true) IS NOT NULL"
            " AND set_config('hnsw.ef_search', least({}, 1000)::text, true) IS NOT NULL"
            " AND set_config('hnsw.max_scan_tuples', '100000', true) IS NOT NULL"
            " AND set_config('hnsw.scan_mem_multiplier', '8', true) IS NOT NULL"
            " THEN {} END"
        ).format(chunks, vector),
    }
    return render("index/search.sql", definition_holes(definition) | request)


def _definitions(key: tuple[TypedColumn, ...], constraint: str) -> Composed:
    parts = [
        SQL("{} {}" + constraint).format(Identifier(column.name), sql_type(column.type))
        for column in key
    ]
    return SQL(",\n  ").join(parts)


def _table_holes(definition: IndexDefinition) -> dict[str, Composable]:
    return {
        "key_definitions": _definitions(definition.key, ""),
        "nullable_key_definitions": _definitions(definition.key, ""),
        "definition": Literal(json.dumps(definition.to_json(), ensure_ascii=False)),
    }


def _texts(definition: IndexDefinition, row: str) -> Composed:
    """Return the text columns of a row as `text` expressions."""
    return SQL(", ").join(
        SQL("{}.{}::text").format(SQL(row), Identifier(column.name)) for column in definition.text
    )


def _row_columns(row: str, names: tuple[str, ...]) -> Composed:
    return SQL(", ").join(SQL("{}.{}").format(SQL(row), Identifier(name)) for name in names)


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
        SQL("{}, {}").format(Literal(name), Identifier("source", name)) for name in key
    )
    descending = SQL(", ").join(SQL("source.{} DESC").format(Identifier(n)) for n in key)
    weights = "{" + ",".join(column.weight for column in definition.text) + "}"
    return {
        "old_key": _row_columns("OLD", key),
        "new_key": _row_columns("NEW", key),
        "new_texts": _texts(definition, "NEW"),
        "source_texts": _texts(definition, "source"),
        "weights": SQL('{}::"char"[]').format(Literal(weights)),
        "fill_name": Identifier(definition.names.fill),
        "after_key": after,
        "source_key_pairs": pairs,
        "source_key_descending": descending,
        "index_comment": SQL(definition.name.replace("'", "''")),
        "statement": SQL(_function_statement(definition)),
        **_filter_holes(definition),
    }


def _function_statement(definition: IndexDefinition) -> str:
    """Return the statement as it stands inside the function, for `format` and EXECUTE."""
    return search_statement(
        definition,
        {
            "query": SQL("$1"),
            "k": SQL("$2"),
            "vector": SQL("$3"),
            "mode": SQL("$4"),
            "depth": SQL("$5"),
            "similarity_stddev": SQL("$6"),
            "embedding": SQL("%1$s"),
            "filter": SQL("%2$s"),
        },
    )


def _filter_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the parameters of the declared filters, their conditions and arguments."""
    parameters: list[Composable] = []
    conditions: list[Composable] = []
    arguments: list[Composable] = []
    for number, column in enumerate(definition.filters, start=_FIRST_FILTER):
        name = Identifier(column.name)
        parameter = SQL("{}.{}").format(Identifier(definition.name), name)
        parameters.append(SQL(",\n  {} {} DEFAULT NULL").format(name, sql_type(column.type)))
        condition = SQL("source.{} = ${}").format(name, SQL(str(number)))
        conditions.append(
            SQL(",\n    CASE WHEN {} IS NOT NULL THEN {} END").format(
                parameter, Literal(condition.as_string(None))
            )
        )
        arguments.append(SQL(", {}").format(parameter))
    begin = SQL("JOIN (SELECT {} FROM {} AS source WHERE ").format(
        columns(key_names(definition), "source"), Identifier(definition.schema, definition.table)
    )
    end = SQL(") AS filter USING ({})").format(columns(key_names(definition)))
    return {
        "filter_begin": Literal(begin.as_string(None)),
        "filter_end": Literal(end.as_string(None)),
        "filter_parameters": SQL("").join(parameters),
        "filter_conditions": SQL("").join(conditions) if conditions else SQL(", NULL"),
        "filter_arguments": SQL("").join(arguments),
    }


def _trigger_holes(definition: IndexDefinition) -> dict[str, Composable]:
    key, texts = key_names(definition), tuple(column.name for column in definition.text)
    captured = tuple(dict.fromkeys(key + texts))
    # As text, byte by byte: json knows no equality, and citext one that does not see every change.
    changed = [
        *(SQL("OLD.{0} IS DISTINCT FROM NEW.{0}").format(Identifier(name)) for name in key),
        *(
            SQL('OLD.{0}::text COLLATE "C" IS DISTINCT FROM NEW.{0}::text').format(Identifier(name))
            for name in texts
        ),
    ]
    table = Identifier(definition.schema, definition.table).as_string(None)
    return {
        "changed": SQL(" OR ").join(changed),
        "captured": columns(captured),
        "table_name": Literal(table),
        "text_names": SQL(", ").join(map(Literal, texts)),
    }
