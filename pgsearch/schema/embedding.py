"""An embedding into DDL: its column and registry row, and their removal."""

from __future__ import annotations

import json

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.declare import Embedding
from pgsearch.names import IndexNames
from pgsearch.schema.templates import render, statements


def add_embedding(schema: str, index: str, embedding: Embedding) -> list[str]:
    """Return the statements that add an embedding: a column, catalogue-only, and its entry."""
    holes = _holes(schema, index, embedding.name) | {
        "dimensions": Literal(embedding.model.dimensions),
        "m": Literal(embedding.m),
        "ef_construction": Literal(embedding.ef_construction),
        "model": Literal(json.dumps(embedding.model.to_json(), ensure_ascii=False)),
        "type": SQL("vector({})").format(Literal(embedding.model.dimensions)),
    }
    return statements(render("embedding/add.sql", holes))


def drop_embedding(schema: str, index: str, embedding: str) -> list[str]:
    """Return the statements that drop an embedding; they refuse the active one."""
    return statements(render("embedding/drop.sql", _holes(schema, index, embedding)))


def activate_embedding(
    schema: str, index: str, embedding: str, *, when_ready: bool = False
) -> list[str]:
    """Return the statement that makes an embedding the one that answers.

    Args:
        schema: The source table's schema.
        index: The search index.
        embedding: The embedding.
        when_ready: Whether to activate it later if it is not ready, instead of refusing.
    """
    holes = _holes(schema, index, embedding) | {"when_ready": Literal(when_ready)}
    return statements(render("embedding/activate.sql", holes))


def deactivate_embedding(schema: str, index: str, embedding: str) -> list[str]:
    """Return the statement that takes the active embedding out of use."""
    return statements(render("embedding/deactivate.sql", _holes(schema, index, embedding)))


def _holes(schema: str, index: str, embedding: str) -> dict[str, Composable]:
    names = IndexNames(index)
    return {
        "chunk": Identifier(schema, names.chunk),
        "column": Identifier(names.embedding_column(embedding)),
        "column_literal": Literal(names.embedding_column(embedding)),
        "hnsw_index": Identifier(schema, names.hnsw_index(embedding)),
        "hnsw_index_literal": Literal(names.hnsw_index(embedding)),
        "schema_literal": Literal(schema),
        "index_literal": Literal(index),
        "embedding_literal": Literal(embedding),
    }
