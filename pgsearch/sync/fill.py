"""Filling what was there before: documents of an existing table, vectors of an added embedding.

Both go by key ranges, are resumed where they stopped, and end in the queue, behind all fresh
changes: the documents' keys as they are written, an embedding's as its chunks lack it.
"""

from __future__ import annotations

import time
from typing import Final

from psycopg import errors
from psycopg.sql import SQL, Identifier, Literal

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.sync.portion import Portion
from pgsearch.sync.statements import Statements

#: Source rows of the first range, and at most.
FIRST_RANGE: Final = 1
LONGEST_RANGE: Final = 1000

#: How long a range waits for the application's locks before it gives way; milliseconds.
_LOCK_TIMEOUT_MS: Final = 100

#: An embedding's keys are put into the queue until so many rows of backfills wait there.
_BACKLOG: Final = 10_000

#: Keys that are put into the queue at a time.
KEYS_PER_RANGE: Final = 1000


class DocumentFill:
    """Writes the documents of a table that was there before its search index, range by range."""

    def __init__(self, index: RegisteredIndex) -> None:
        self._index = index
        self._statements = Statements(index.definition)
        self._range = Portion(FIRST_RANGE, LONGEST_RANGE)
        self._left: int | None = None
        #: Whether another worker was at it when it was last tried.
        self.is_elsewhere = False

    @property
    def left(self) -> int | None:
        """About how many rows are left, as far as is known."""
        return None if self._left is None else max(self._left, 0)

    def step(self, connection: Connection) -> int | None:
        """Write the documents of the next key range.

        Returns:
            How many there were to write; None if the fill is done, or another worker is at it.
        """
        started = time.perf_counter()
        try:
            documents = self._fill_range(connection)
        except (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure):
            self._range.was_refused()
            return 0  # the application is at these rows: the same range again, or less of it
        self.is_elsewhere = documents is None
        self._range.took(time.perf_counter() - started)
        return documents

    def _fill_range(self, connection: Connection) -> int | None:
        definition = self._index.definition
        function = Identifier(definition.schema, definition.names.fill)
        # The range too is read by its keys: nearly all that the planner knows of documents is that
        # none is missing, and it would read all rows to find some that are.
        with transaction(connection, by_key=True):
            connection.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(_LOCK_TIMEOUT_MS)))
            connection.execute(self._statements.hold_tables)
            position = connection.execute(
                SQL(resources.sql("sync/fill_position.sql")), {"id": self._index.id}
            ).fetchone()
            if position is None:
                return None
            row = connection.execute(
                SQL("SELECT last::text, documents FROM {}(%s::jsonb, %s)").format(function),
                [position[0], self._range.rows],
            ).fetchone()
            assert row is not None
            if self._left is None:
                estimate = connection.execute(
                    self._statements.rows_left, {"refill": self._index.refill}
                ).fetchone()
                self._left = estimate[0] if estimate else None
            if self._left is not None:
                self._left -= row[1]
            connection.execute(
                SQL(resources.sql("sync/fill_advance.sql")),
                {"id": self._index.id, "last": row[0], "rows": row[1]},
            )
        return int(row[1])


def fill_embedding(
    connection: Connection, statements: Statements, embedding: RegisteredEmbedding
) -> int | None:
    """Put the next keys whose chunks lack an embedding into the queue.

    Returns:
        How many; None if there are enough in it, all are, or another worker is at it.
    """
    with transaction(connection):
        position = connection.execute(
            SQL(resources.sql("sync/embedding_position.sql")), {"id": embedding.id}
        ).fetchone()
        if position is None:
            return None
        # Chunks too are read in order: before the new column is analysed, the planner expects
        # nearly nothing to be found, and would read all of them at each step.
        connection.execute(SQL(resources.sql("sync/in_order.sql")))
        backlog = connection.execute(statements.backlog, {"limit": _BACKLOG}).fetchone()
        if backlog == (_BACKLOG,):
            return None
        row = connection.execute(
            statements.unfilled(embedding.column, resumed=position[0] is not None),
            {"after": position[0], "rows": KEYS_PER_RANGE},
        ).fetchone()
        assert row is not None
        connection.execute(
            SQL(resources.sql("sync/embedding_advance.sql")), {"id": embedding.id, "last": row[0]}
        )
    return int(row[1])
