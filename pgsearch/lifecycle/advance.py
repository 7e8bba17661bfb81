"""Moving embeddings on: filling → indexing → ready, and the first one on to active.

Each step can be repeated: a crash in its middle leaves a state from which the next worker goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from psycopg.sql import SQL

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.lifecycle.build import Builder, compose, is_built
from pgsearch.lifecycle.statistics import is_measured
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex


class Advance(NamedTuple):
    """What `advance` did: states that were entered, and whether anything is filled again."""

    entered: list[str]
    again: bool = False


def advance(
    connection: Connection,
    index: RegisteredIndex,
    builder: Builder,
    *,
    on_build: Callable[[str], None] = lambda _: None,
) -> Advance:
    """Move every embedding of a search index on as far as it can go now.

    Args:
        connection: A connection that is in no transaction.
        index: The search index, read a moment ago.
        builder: Builds HNSW indexes, which takes its time.
        on_build: Called with the embedding's name when its index begins to be built.

    Returns:
        The states that were entered, as `name: state`, and whether an embedding is filled again.
    """
    entered: list[str] = []
    again = False
    if not index.filled:
        return Advance(entered)
    # Who drains a queue still has to hear that one has ended: another embedding waits for it.
    builder.raise_failure()
    for embedding in index.live:
        if embedding.state == "filling":
            fill = _fill_state(connection, index, embedding)
            again |= fill is Fill.AGAIN
            if fill is not Fill.DONE:
                continue
            _set_state(connection, embedding, "indexing", "filling")
        elif embedding.state != "indexing":
            continue
        # Asked first: a build that ends meanwhile is looked at in the next round, not begun again.
        is_busy = builder.is_busy
        if is_built(connection, index, embedding) and is_measured(connection, embedding):
            if _set_state(connection, embedding, "ready", "indexing"):
                entered.append(f"{embedding.name}: ready")
        elif not is_busy and builder.start(index, embedding):
            on_build(embedding.name)
    # Also if the embedding was ready before: a worker may have died just then.
    if entered or any(embedding.state == "ready" for embedding in index.live):
        entered += _activate_next(connection, index)
    return Advance(entered, again)


class Fill(Enum):
    """How far the fill of an embedding is."""

    WAITS = "for the queue"
    AGAIN = "begins anew, for vectors are missing"
    DONE = "but for what is parked"


def _fill_state(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> Fill:
    """Return how far the fill of an embedding is.

    Where some are missing though everything was in the queue, it is filled again: a worker may
    have written chunks that had read the registry before the embedding was added.
    """
    if not embedding.filled:
        return Fill.WAITS
    with transaction(connection):
        watermark = connection.execute(
            compose("watermark", index, embedding), {"id": embedding.id}
        ).fetchone()
        assert watermark is not None
        if connection.execute(
            compose("is_waited_for", index, embedding), {"watermark": watermark[0]}
        ).fetchone() == (True,):
            return Fill.WAITS
        if connection.execute(compose("is_missing", index, embedding)).fetchone() == (False,):
            return Fill.DONE
        connection.execute(SQL(resources.sql("sync/embedding_again.sql")), {"id": embedding.id})
    return Fill.AGAIN


def _set_state(
    connection: Connection, embedding: RegisteredEmbedding, state: str, *before: str
) -> bool:
    """Move an embedding on from one of the states before; return whether it was in one."""
    with transaction(connection):
        return (
            connection.execute(
                SQL(resources.sql("lifecycle/set_state.sql")),
                {"id": embedding.id, "state": state, "before": list(before)},
            ).fetchone()
            is not None
        )


def _activate_next(connection: Connection, index: RegisteredIndex) -> list[str]:
    """Activate what a migration asked for, or the first embedding, before which none answered.

    The first one only stands in for what a migration asked for and is not ready yet: that the
    migration asked for it is not forgotten.
    """
    with transaction(connection):
        wanted = connection.execute(
            SQL(resources.sql("lifecycle/wanted.sql")), {"id": index.id}
        ).fetchone()
        row = connection.execute(
            SQL(resources.sql("lifecycle/activate_next.sql")), {"id": index.id}
        ).fetchone()
        if row is not None and wanted is not None:
            connection.execute(SQL(resources.sql("lifecycle/want_again.sql")), {"ids": wanted[0]})
    return [f"{row[0]}: active"] if row else []
