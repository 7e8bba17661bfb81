"""SQL files as templates: holes in braces, filled with composed SQL only."""

from __future__ import annotations

import re

from psycopg import sql
from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch import resources
from pgsearch.definition import IndexDefinition, check_type
from pgsearch.names import IndexNames


def render(name: str, holes: dict[str, Composable]) -> str:
    """Return the text of a SQL file with its holes filled."""
    template = SQL(resources.sql(name))
    return template.format(**holes).as_string(None)


def statements(text: str) -> list[str]:
    """Cut a rendered file into statements.

    In these files a statement ends with `;` before an empty line or the end, and a function's
    body holds no empty line.
    """
    return [part.strip().removesuffix(";") for part in re.split(r";\n\n+", text) if part.strip()]


def columns(names: tuple[str, ...], prefix: str | None = None) -> sql.Composed:
    """Return quoted columns, each behind a table alias where one is given: `d."a", d."b"`."""
    quoted = [Identifier(prefix, n) if prefix else Identifier(n) for n in names]
    return SQL(", ").join(quoted)


def key_names(definition: IndexDefinition) -> tuple[str, ...]:
    """Return the names of the key columns."""
    return tuple(column.name for column in definition.key)


def sql_type(type_: str) -> SQL:
    """Return a type's text as SQL, after a look at it."""
    return SQL(check_type(type_, "a column"))


def object_holes(index: str, schema: str, table: str) -> dict[str, Composable]:
    """Return the holes for a search index's objects, as identifiers and as literals."""
    names = IndexNames(index)

    def qualified(name: str) -> Identifier:
        return Identifier(schema, name)

    def literal(name: str) -> Literal:
        return Literal(qualified(name).as_string(None))

    holes: dict[str, Composable] = {
        "index": Identifier(index),
        "table": qualified(table),
        "row": qualified(names.row),
        "source_view": qualified(names.source),
        "filter_view": qualified(names.filter),
        "read": qualified(names.read),
        "reader": Identifier("pgsearch", names.reader(schema)),
        "expression": qualified(names.expression),
        "evaluate": qualified(names.evaluate),
        "watch": qualified(names.watch),
        "replaced": qualified(names.replaced),
        "passages": qualified(names.passages),
        "passages_replaced": qualified(names.passages_replaced),
        "passage_type": qualified(names.passage),
        "document": qualified(names.document),
        "chunk": qualified(names.chunk),
        "queue": qualified(names.queue),
        "lexeme": qualified(names.lexeme),
        "token": qualified(names.token),
        "encode": qualified(names.encode),
        "embed": qualified(names.embed),
        "generation": qualified(names.generation),
        "hit": qualified(names.hit),
        "search": qualified(names.search),
        "terms": qualified(names.terms),
        "terms_replaced": qualified(f"{names.terms}_replaced"),
        "capture": qualified(names.capture),
        "isolated": qualified(names.isolated),
        "fill": qualified(names.fill),
        "rewrite": qualified(names.rewrite),
        "notify": Identifier(names.notify),
        "refresh": qualified(names.refresh),
        "document_tsv_index": Identifier(names.document_tsv_index),
        "chunk_hash_index": Identifier(names.chunk_hash_index),
        "queue_key_index": Identifier(names.queue_key_index),
        "schema_literal": Literal(schema),
        "index_literal": Literal(index),
        "table_literal": Literal(table),
        "document_literal": Literal(names.document),
        "table_name": literal(table),
        "document_name": literal(names.document),
        "chunk_name": literal(names.chunk),
        "queue_name": literal(names.queue),
        "token_name": literal(names.token),
        "hit_name": literal(names.hit),
        "row_name": literal(names.row),
        "filter_view_name": literal(names.filter),
        "capture_name": literal(names.capture),
        "replaced_name": Literal(names.replaced),
        "passages_literal": Literal(names.passages),
        "passages_replaced_name": Literal(names.passages_replaced),
        "passage_type_name": literal(names.passage),
        "truncate_name": Literal(names.trigger("truncate")),
        "generation_literal": literal(names.generation),
        "refresh_literal": literal(names.refresh),
    }
    for event in ("insert", "update", "delete", "truncate"):
        holes[f"capture_{event}"] = Identifier(names.trigger(event))
    return holes


def definition_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the holes for a search index's objects, its key columns and its language."""
    key = key_names(definition)
    holes = object_holes(definition.name, definition.schema, definition.table)
    holes |= {"key": columns(key), "language": Literal(definition.language)}
    aliases = (
        "source",
        "document",
        "chunk",
        "found",
        "nearest",
        "near",
        "further",
        "candidate",
        "ranked",
        "boosted",
        "best",
        "placed",
    )
    for alias in aliases:
        holes[f"{alias}_key"] = columns(key, alias)
    return holes
