"""Moving embeddings on: filling → indexing → ready, and the first one on to active.

Each step can be repeated: a crash in its middle leaves a state from which the next worker goes on.
"""

from __future__ import annotations

from collections.abc import Callable

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgsearch import resources
from pgsearch.database import Connection, advisory_lock
from pgsearch.lifecycle.statistics import measure_similarity
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.schema.templates import columns, key_names

#: An HNSW build may use this much memory, if the graph needs it; kB.
BUILD_MEMORY_LIMIT_KB = 1024 * 1024


def advance(
    connection: Connection,
    index: RegisteredIndex,
    *,
    on_build: Callable[[str], None] = lambda _: None,
) -> list[str]:
    """Move every embedding of a search index on as far as it can go.

    Args:
        connection: An autocommit connection, for HNSW indexes are built CONCURRENTLY.
        index: The search index, read a moment ago.
        on_build: Called with the embedding's name before its index is built.

    Returns:
        The states that were entered, as `name: state`.
    """
    entered: list[str] = []
    if not index.filled:
        return entered
    for embedding in index.live:
        if embedding.state == "filling" and not _is_filled(connection, index, embedding):
            continue
        if embedding.state in ("filling", "indexing"):
            lock = f"pgsearch build {index.definition.schema}.{embedding.hnsw_index}"
            with advisory_lock(connection, lock) as is_mine:
                if not is_mine:
                    continue
                if not _set_state(connection, embedding, "indexing", "filling", "indexing"):
                    continue  # what was read of it is old: another worker has finished it
                on_build(embedding.name)
                _build(connection, index, embedding)
                measure_similarity(connection, index, embedding)
                if _set_state(connection, embedding, "ready", "indexing"):
                    entered.append(f"{embedding.name}: ready")
    # Also if the embedding was ready before: a worker may have died just then.
    if entered or any(embedding.state == "ready" for embedding in index.live):
        entered += _activate_next(connection, index)
    return entered


def _compose(
    name: str, index: RegisteredIndex, embedding: RegisteredEmbedding, **holes: Composable
) -> Composed:
    definition = index.definition
    return SQL(resources.sql(f"lifecycle/{name}.sql")).format(
        chunk=Identifier(definition.schema, definition.names.chunk),
        queue=Identifier(definition.schema, definition.names.queue),
        column=Identifier(embedding.column),
        queue_key=columns(key_names(definition), "queue"),
        chunk_key=columns(key_names(definition), "chunk"),
        **holes,
    )


def _is_filled(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> bool:
    watermark = connection.execute(
        _compose("watermark", index, embedding), {"id": embedding.id}
    ).fetchone()
    assert watermark is not None
    return connection.execute(
        _compose("unfinished", index, embedding), {"watermark": watermark[0]}
    ).fetchone() == (0, 0)


def _build(connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding) -> None:
    """Build the HNSW index without blocking writers; an invalid leftover is dropped first."""
    schema = index.definition.schema
    name = Identifier(schema, embedding.hnsw_index)
    found = connection.execute(
        SQL(resources.sql("lifecycle/index_validity.sql")),
        {"schema": schema, "index": embedding.hnsw_index},
    ).fetchone()
    if found == (True,):
        return
    if found is not None:
        connection.execute(SQL("DROP INDEX CONCURRENTLY {}").format(name))
    _raise_build_memory(connection, index, embedding)
    try:
        connection.execute(
            _compose(
                "create_hnsw",
                index,
                embedding,
                hnsw_index=Identifier(embedding.hnsw_index),
                m=Literal(embedding.m),
                ef_construction=Literal(embedding.ef_construction),
            )
        )
    finally:
        connection.execute("RESET maintenance_work_mem")


def _raise_build_memory(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> None:
    """Let the graph be built in memory, which is many times faster, up to a limit."""
    row = connection.execute(_compose("graph_size", index, embedding)).fetchone()
    assert row is not None
    vectors, setting_kb = row
    # A graph node: the vector, and two neighbour lists' worth of pointers, with some room.
    needed_kb = vectors * (4 * embedding.model.dimensions + 32 * embedding.m + 256) // 1024
    wanted_kb = min(needed_kb, BUILD_MEMORY_LIMIT_KB)
    if wanted_kb > setting_kb:
        connection.execute(SQL("SET maintenance_work_mem = {}").format(Literal(f"{wanted_kb}kB")))


def _set_state(
    connection: Connection, embedding: RegisteredEmbedding, state: str, *before: str
) -> bool:
    """Move an embedding on from one of the states before; return whether it was in one."""
    return (
        connection.execute(
            SQL(resources.sql("lifecycle/set_state.sql")),
            {"id": embedding.id, "state": state, "before": list(before)},
        ).fetchone()
        is not None
    )


def _activate_next(connection: Connection, index: RegisteredIndex) -> list[str]:
    """Activate what a migration asked for, or the first embedding, before which none answered."""
    row = connection.execute(
        SQL(resources.sql("lifecycle/activate_next.sql")), {"id": index.id}
    ).fetchone()
    return [f"{row[0]}: active"] if row else []
