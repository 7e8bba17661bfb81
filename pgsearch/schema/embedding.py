"""An embedding into DDL: its column, registry row and HNSW index, and their removal."""

from __future__ import annotations

import json

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.declare import Embedding
from pgsearch.names import IndexNames
from pgsearch.precision import Precision
from pgsearch.schema import graph
from pgsearch.schema.steps import Step, concurrent, locked, plain
from pgsearch.schema.swap import Swap
from pgsearch.schema.templates import render, statements


def add_embedding(
    schema: str, index: str, embedding: Embedding, *, adopt: str | None = None
) -> list[Step]:
    """Return the steps that add an embedding: a column, catalogue-only, and its entry.

    Args:
        schema: The source table's schema.
        index: The search index.
        embedding: The embedding.
        adopt: A column of the source table with vectors that its model has made before.
    """
    holes = _holes(schema, index, embedding.name) | _parameters(embedding)
    holes |= {"check_adopted": SQL(""), "adopted_columns": SQL(""), "adopted_values": SQL("")}
    if adopt is not None:
        holes |= {"adopt_column": Literal(adopt)}
        holes |= {
            "check_adopted": SQL(render("embedding/check_adopted.sql", holes)),
            "adopted_columns": SQL(", adopt_column, adopt_generation"),
            "adopted_values": SQL(
                ", {}, (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {})"
            ).format(Literal(adopt), Identifier(schema, IndexNames(index).generation)),
        }
    # Only where it is said: the registry of an older version has no place for it.
    said = embedding.price is not None
    holes |= {
        "priced_columns": SQL(", token_price") if said else SQL(""),
        "priced_values": SQL(", {}").format(Literal(embedding.price)) if said else SQL(""),
    }
    precision = embedding.precision
    said = not precision.is_default
    values = SQL(", {}, {}").format(Literal(precision.type), Literal(precision.index))
    holes |= {
        "precise_columns": SQL(", vector_type, index_type") if said else SQL(""),
        "precise_values": values if said else SQL(""),
    }
    return [
        plain(statements(render("embedding/check.sql", holes))),
        locked(
            f"The column of embedding {embedding.name}",
            render("embedding/column.sql", holes),
            holes["chunk"],
        ),
        plain(statements(render("embedding/register.sql", holes))),
    ]


def drop_embedding(schema: str, index: str, embedding: str) -> list[Step]:
    """Return the steps that drop an embedding; they refuse the active one."""
    holes = _holes(schema, index, embedding)
    return [
        plain(statements(render("embedding/unregister.sql", holes))),
        concurrent(
            *(
                _drop_index(holes[name])
                for name in ("hnsw_index", "new_hnsw_index", "old_hnsw_index")
            )
        ),
        locked(
            f"The column of embedding {embedding}",
            render("embedding/drop_column.sql", holes),
            holes["chunk"],
        ),
    ]


def reindex_embedding(
    schema: str, index: str, embedding: str, precision: Precision, *, m: int, ef_construction: int
) -> list[Step]:
    """Return the steps that build an embedding's HNSW index anew beside the old one.

    Searches use the old one, if it is valid, until the new one takes its place. One of another
    precision than the embedding's, which no search would use, is refused.
    """
    holes = _holes(schema, index, embedding) | _graph(index, embedding, precision)
    holes |= {"m": Literal(m), "ef_construction": Literal(ef_construction)}
    create = SQL(
        "CREATE INDEX CONCURRENTLY {new_hnsw_index_name} ON {chunk}\n"
        "USING hnsw ({indexed} {operator_class})\n"
        "WITH (m = {m}, ef_construction = {ef_construction})"
    )
    names = IndexNames(index)
    swap = Swap(
        schema,
        names.hnsw_index(embedding),
        new=names.new_hnsw_index(embedding),
        old=names.old_hnsw_index(embedding),
    )
    return [
        plain(statements(render("embedding/check_precision.sql", holes))),
        *swap.steps(create.format(**holes).as_string(None)),
        plain(statements(render("embedding/reindexed.sql", holes))),
    ]


def activate_embedding(
    schema: str, index: str, embedding: str, *, when_ready: bool = False
) -> list[Step]:
    """Return the step that makes an embedding the one that answers.

    Args:
        schema: The source table's schema.
        index: The search index.
        embedding: The embedding.
        when_ready: Whether to activate it later if it is not ready, instead of refusing.
    """
    holes = _holes(schema, index, embedding) | {"when_ready": Literal(when_ready)}
    return [plain(statements(render("embedding/activate.sql", holes)))]


def deactivate_embedding(schema: str, index: str, embedding: str) -> list[Step]:
    """Return the step that takes the active embedding out of use."""
    holes = _holes(schema, index, embedding)
    return [plain(statements(render("embedding/deactivate.sql", holes)))]


def retire_embedding(schema: str, index: str, embedding: str) -> list[Step]:
    """Return the step after which nobody keeps an embedding up to date; not of the active one."""
    return [plain(statements(render("embedding/retire.sql", _holes(schema, index, embedding))))]


def restore_embedding(schema: str, index: str, embedding: str) -> list[Step]:
    """Return the step after which workers fill a retired embedding again."""
    return [plain(statements(render("embedding/restore.sql", _holes(schema, index, embedding))))]


def space(schema: str, index: str, embedding: str) -> str:
    """Return the query for the bytes of an embedding's HNSW index and of its vectors."""
    holes = _holes(schema, index, embedding)
    name = Literal(holes["hnsw_index"].as_string(None))
    return render("embedding/space.sql", holes | {"hnsw_index_name": name})


def _drop_index(name: Composable) -> str:
    return SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name).as_string(None)


def _parameters(embedding: Embedding) -> dict[str, Composable]:
    return {
        "dimensions": Literal(embedding.model.dimensions),
        "m": Literal(embedding.m),
        "ef_construction": Literal(embedding.ef_construction),
        "model": Literal(json.dumps(embedding.model.to_json(), ensure_ascii=False)),
        "type": SQL(embedding.precision.column_type),
        "vector_type": Literal(embedding.precision.type),
        "index_type": Literal(embedding.precision.index),
    }


def _graph(index: str, embedding: str, precision: Precision) -> dict[str, Composable]:
    column = Identifier(IndexNames(index).embedding_column(embedding))
    return {
        "indexed": graph.indexed(precision, column),
        "operator_class": SQL(precision.operator_class),
        "vector_type": Literal(precision.type),
        "index_type": Literal(precision.index),
    }


def _holes(schema: str, index: str, embedding: str) -> dict[str, Composable]:
    names = IndexNames(index)
    chunk = Identifier(schema, names.chunk)
    return {
        "chunk": chunk,
        "document": Identifier(schema, names.document),
        "token": Identifier(schema, names.token),
        "token_name": Literal(Identifier(schema, names.token).as_string(None)),
        "chunk_name": Literal(chunk.as_string(None)),
        "column": Identifier(names.embedding_column(embedding)),
        "column_literal": Literal(names.embedding_column(embedding)),
        "hnsw_index": Identifier(schema, names.hnsw_index(embedding)),
        "hnsw_index_name": Identifier(names.hnsw_index(embedding)),
        "new_hnsw_index": Identifier(schema, names.new_hnsw_index(embedding)),
        "new_hnsw_index_name": Identifier(names.new_hnsw_index(embedding)),
        "old_hnsw_index": Identifier(schema, names.old_hnsw_index(embedding)),
        "hnsw_index_literal": Literal(names.hnsw_index(embedding)),
        "schema_literal": Literal(schema),
        "index_literal": Literal(index),
        "embedding_literal": Literal(embedding),
    }
