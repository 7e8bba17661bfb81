"""Building HNSW indexes beside a worker's other work, on a connection of its own."""

from __future__ import annotations

import logging
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgsearch import database, resources
from pgsearch.database import Connection
from pgsearch.errors import DatabaseError
from pgsearch.lifecycle.background import Background
from pgsearch.lifecycle.statistics import measure_similarity
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.schema import graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

#: An HNSW build may use this much memory, if the graph needs it; kB.
BUILD_MEMORY_LIMIT_KB = 1024 * 1024


class Builder:
    """Builds one index at a time in a thread, and measures what search has to know with it.

    Args:
        url: The database.
        on_end: Called by the thread when a build has ended.
    """

    def __init__(self, url: str, on_end: Callable[[], object] = lambda: None) -> None:
        self._background = Background(lambda: _connected(url), "pgsearch-build", on_end)
        self._refused: dict[int, DatabaseError] = {}

    @property
    def problems(self) -> list[DatabaseError]:
        """What this role may not build, which is left to others."""
        return list(self._refused.values())

    @property
    def is_busy(self) -> bool:
        """Whether an index is being built."""
        return self._background.is_busy

    def start(self, index: RegisteredIndex, embedding: RegisteredEmbedding) -> bool:
        """Begin to build the index of an embedding, unless one is being built.

        Returns:
            Whether it was begun; an index that this role may not build is not.

        Raises:
            psycopg.Error: The last build has failed.
        """
        if embedding.id in self._refused:
            return False
        return self._background.start(partial(self._build, index=index, embedding=embedding))

    def raise_failure(self) -> None:
        """Raise what made the last build fail, if it did."""
        self._background.raise_failure()

    def check(self) -> bool:
        """Raise what made the last build fail; return whether one has ended since it was asked."""
        return self._background.check()

    def close(self) -> None:
        """Cancel what is being built; what is left of it is INVALID, and built anew."""
        self._background.close()

    def _build(
        self, connection: Connection, *, index: RegisteredIndex, embedding: RegisteredEmbedding
    ) -> None:
        try:
            _build(connection, index, embedding)
            if is_built(connection, index, embedding):
                measure_similarity(connection, index, embedding)
        except psycopg.errors.InsufficientPrivilege as error:
            problem = DatabaseError(
                f"The HNSW index of {embedding.name} of {index.name} could not be built: {error}",
                hint="Let a worker run as the owner of the table or as a member of it, now or "
                "later: `pgsearch sync` as that role builds the index and goes on with it.",
            )
            log.warning("%s", problem)
            self._refused[embedding.id] = problem
        except psycopg.errors.QueryCanceled as error:
            if not self._background.is_cancelled:
                log.warning(
                    "The build of the HNSW index of %s was cut short: %s. Through a pooler, a "
                    "statement_timeout of its role or database holds for it too: set that to 0, "
                    "or let the worker connect to the server itself.",
                    embedding.name,
                    error,
                )
            raise


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    """Connect without time limits, unless to a pooler, whose sessions are everybody's."""
    with database.connect(url, row_security=True) as connection:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = False
        if not database.is_pooled(connection):
            connection.execute("SET statement_timeout = 0")
            connection.execute("SET lock_timeout = 0")
        yield connection


def is_built(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> bool:
    """Return whether an embedding has its index, and the index is valid."""
    return _validity(connection, index, embedding) is True


def compose(
    name: str, index: RegisteredIndex, embedding: RegisteredEmbedding, **holes: Composable
) -> Composed:
    """Return a statement on an embedding, out of its file."""
    definition = index.definition
    names = definition.names
    return SQL(resources.sql(f"lifecycle/{name}.sql")).format(
        chunk=Identifier(definition.schema, names.chunk),
        queue=Identifier(definition.schema, names.queue),
        column=Identifier(embedding.column),
        queue_key=_columns(index, "queue"),
        chunk_key=_columns(index, "chunk"),
        **holes,
    )


def _columns(index: RegisteredIndex, alias: str) -> Composed:
    return SQL(", ").join(Identifier(alias, column.name) for column in index.definition.key)


def _validity(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> bool | None:
    """Return whether an index is valid; None if there is none."""
    found = connection.execute(
        SQL(resources.sql("lifecycle/index_validity.sql")),
        {"schema": index.definition.schema, "index": embedding.hnsw_index},
    ).fetchone()
    return None if found is None else bool(found[0])


def _build(connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding) -> None:
    """Build an index without blocking writers; what a worker left that ended is dropped first."""
    name = Identifier(index.definition.schema, embedding.hnsw_index)
    validity = _validity(connection, index, embedding)
    if validity or _is_being_built(connection, index, embedding):
        return
    if validity is False:
        connection.execute(SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(name))
    _raise_memory(connection, index, embedding)
    create = compose(
        "create_hnsw",
        index,
        embedding,
        hnsw_index=Identifier(embedding.hnsw_index),
        indexed=graph.indexed(embedding.precision, Identifier(embedding.column)),
        operator_class=SQL(embedding.precision.operator_class),
        m=Literal(embedding.m),
        ef_construction=Literal(embedding.ef_construction),
    )
    # Another worker may have begun at the same moment: then each waits for the other's snapshot,
    # until one of them is ended. Whatever is left is seen in the next round.
    with suppress(
        psycopg.errors.DuplicateTable,
        psycopg.errors.UniqueViolation,
        psycopg.errors.DeadlockDetected,
    ):
        connection.execute(create)


def _is_being_built(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> bool:
    """Return whether another session is building an index; it goes on when its worker has ended."""
    name = Identifier(index.definition.schema, embedding.hnsw_index).as_string(connection)
    return connection.execute(
        resources.sql("lifecycle/is_being_built.sql"), {"index": name}
    ).fetchone() == (True,)


def _raise_memory(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> None:
    """Let the graph be built in memory, which is many times faster, up to a limit."""
    if database.is_pooled(connection):
        return  # the setting would be somebody else's in a moment
    with database.transaction(connection):
        row = connection.execute(compose("graph_size", index, embedding)).fetchone()
    assert row is not None
    vectors, setting_kb = row
    # A graph node: the vector, and two neighbour lists' worth of pointers, with some room.
    needed_kb = vectors * (embedding.precision.graph_bytes + 32 * embedding.m + 256) // 1024
    wanted_kb = min(needed_kb, BUILD_MEMORY_LIMIT_KB)
    if wanted_kb > setting_kb:
        connection.execute(SQL("SET maintenance_work_mem = {}").format(Literal(f"{wanted_kb}kB")))
