"""What search knows about its corpus: keyword statistics, and the spread of similarity."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from pgsearch import database, registry, resources
from pgsearch.database import Connection, transaction
from pgsearch.lifecycle.background import Background
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

#: Statistics are taken anew after changes to this share of the documents, and this many more.
CHANGED_SHARE = 0.1
CHANGED_AT_LEAST = 50

#: Where there are too few chunks to measure; models of this kind lie between .09 and .13.
DEFAULT_STDDEV = 0.12

_SAMPLE = 2000


class Statistics:
    """Takes statistics in a thread, of one search index at a time: it takes as long as reading all.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        self._background = Background(lambda: connected(url), "pgsearch-statistics")

    def refresh(self, connection: Connection, index: RegisteredIndex) -> bool:
        """Begin to take statistics anew if enough has changed since they were taken.

        Returns:
            False if another search index has its turn, and this one is to be looked at later.

        Raises:
            psycopg.Error: Those that were begun last have failed.
        """
        if self._background.is_busy:
            return False
        if is_outdated(connection, index):
            self._background.start(partial(_take_if_known, index=index))
        return True

    def finish(self) -> bool:
        """Wait for what is being taken; return whether anything has ended since it was asked.

        Raises:
            psycopg.Error: It has failed.
        """
        self._background.wait()
        return self._background.check()

    def close(self) -> None:
        """Cancel what is being taken."""
        self._background.close()


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Connect to a server or a pooler, whose sessions are everybody's."""
    with database.connect(url, row_security=True) as connection:
        connection.prepare_threshold = None
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = False
        yield connection


def _take_if_known(connection: Connection, index: RegisteredIndex) -> None:
    """Take statistics of a search index that a migration may change or drop meanwhile."""
    try:
        _take(connection, index)
    except (
        psycopg.errors.UndefinedColumn,
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedFunction,
    ):
        if index in registry.read(connection):
            raise


def refresh_statistics(connection: Connection, index: RegisteredIndex) -> bool:
    """Take statistics anew, here and now, if enough has changed since they were taken.

    Returns:
        Whether they were taken.
    """
    if not is_outdated(connection, index):
        return False
    _take(connection, index)
    return True


def is_outdated(connection: Connection, index: RegisteredIndex) -> bool:
    """Return whether enough has changed since statistics were taken."""
    definition = index.definition
    row = connection.execute(
        SQL(resources.sql("lifecycle/changes.sql")).format(
            generation=Identifier(definition.schema, definition.names.generation),
            document=Literal(
                Identifier(definition.schema, definition.names.document).as_string(connection)
            ),
        ),
        {"id": index.id},
    ).fetchone()
    assert row is not None
    documents, changes = row
    return changes is None or bool(changes > CHANGED_SHARE * documents + CHANGED_AT_LEAST)


def _take(connection: Connection, index: RegisteredIndex) -> None:
    definition = index.definition
    function = Identifier(definition.schema, definition.names.refresh)
    with transaction(connection):
        connection.execute(SQL("SELECT {}()").format(function))
    for embedding in index.live:
        if embedding.state in ("ready", "active"):
            measure_similarity(connection, index, embedding)


def is_measured(connection: Connection, embedding: RegisteredEmbedding) -> bool:
    """Return whether the similarity of an embedding's chunks was ever measured."""
    return connection.execute(
        "SELECT similarity_stddev IS NOT NULL FROM pgsearch.embedding WHERE id = %s",
        [embedding.id],
    ).fetchone() == (True,)


def measure_similarity(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> float:
    """Measure and note the standard deviation of the similarity of random chunks."""
    definition = index.definition
    chunk = Identifier(definition.schema, definition.names.chunk)
    with transaction(connection):
        count = connection.execute(SQL("SELECT count(*) FROM {}").format(chunk)).fetchone()
        assert count is not None
        percent = min(100.0, 100.0 * 1.5 * _SAMPLE / max(count[0], 1))
        row = connection.execute(
            SQL(resources.sql("lifecycle/similarity_stddev.sql")).format(
                chunk=chunk, column=Identifier(embedding.column)
            ),
            {"percent": percent},
        ).fetchone()
    # Equal texts throughout would give 0, by which nothing can be divided.
    measured = row and row[0]
    stddev = float(measured) if measured and measured > 0.001 else DEFAULT_STDDEV
    with transaction(connection):
        connection.execute(
            "UPDATE pgsearch.embedding SET similarity_stddev = %s WHERE id = %s",
            [stddev, embedding.id],
        )
    return stddev
