"""What waits in a queue: whether anything is due, and how much there is."""

from __future__ import annotations

import time
from typing import Any, Final, NamedTuple

from psycopg.sql import SQL

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.sync.queue import FIRST_BACKFILL
from pgsearch.sync.statements import Statements

#: Looks and counts that read much take no more than this share of a worker's time.
_SHARE: Final = 0.05

#: Seconds between two counts of what waits, and between two looks at the whole queue.
_AGAIN_S: Final = 2.0

#: For so long a transaction may write into the queue and have no row overlooked; seconds. What one
#: writes that lasts longer is found by the next look at the whole queue.
_LASTS_S: Final = 5.0

#: More rows are not counted, but estimated.
_COUNTED: Final = 100_000


class _Begin(NamedTuple):
    """Numbers of the queue rows from which on to look."""

    fresh: int = 0
    backfilled: int = FIRST_BACKFILL


class QueueWatch:
    """Looks what waits in one queue, and reads little of it, however long it is.

    Rows at its head that are parked, or gone and not vacuumed away yet, are not read again at each
    look: it begins where some seconds ago the first row was that was neither. Numbers are drawn
    before they can be seen, and parked rows may be made due again: so every now and then all is
    looked at.

    Args:
        statements: SQL of the search index.
    """

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._begin = self._found = _Begin()
        self._found_at = time.monotonic()
        self._whole_at = 0.0
        self._waiting = 0
        self._count_at = 0.0

    def is_due(self, connection: Connection, *, surely: bool = False) -> bool:
        """Return whether a queue row can be claimed.

        Args:
            connection: A connection that is in no transaction.
            surely: Whether to look at the whole queue before the answer is no.
        """
        if self._look(connection, self._begin):
            return True
        if self._begin == _Begin() or not (surely or time.monotonic() >= self._whole_at):
            return False
        started = time.monotonic()
        is_due = self._look(connection, _Begin())
        self._whole_at = _again_at(started)
        return is_due

    def _look(self, connection: Connection, begin: _Begin) -> bool:
        """Return whether a row can be claimed from some numbers on; note what may be left out."""
        now = time.monotonic()
        fresh, backfilled = self._read(connection, self._statements.is_due, begin._asdict())
        seen = _Begin(fresh[1], backfilled[1])
        self._begin, self._found = _lower(self._begin, seen), _lower(self._found, seen)
        if now - self._found_at > _LASTS_S:
            self._begin, self._found, self._found_at = self._found, seen, now
        return bool(fresh[0] or backfilled[0])

    def count(self, connection: Connection, done: int, ahead: int = 0) -> int:
        """Return about how many queue rows wait, after some were done.

        Args:
            connection: A connection that is in no transaction.
            done: How many were done since the last time.
            ahead: How many more are done, which are told the next time.
        """
        self._waiting = max(0, self._waiting - done)
        started = time.monotonic()
        if started >= self._count_at:
            parameters = {**self._begin._asdict(), "limit": _COUNTED}
            ((waiting,),) = self._read(connection, self._statements.waiting, parameters)
            self._waiting, self._count_at = waiting + ahead, _again_at(started)
        return self._waiting

    @staticmethod
    def _read(
        connection: Connection, statement: Any, parameters: dict[str, int]
    ) -> list[tuple[Any, ...]]:
        """Read the queue in its order, whatever the planner thinks of it, and without a limit."""
        with transaction(connection, pipelined=True):
            connection.execute(SQL(resources.sql("sync/in_order.sql")))
            return connection.execute(statement, parameters).fetchall()


def _again_at(started: float) -> float:
    """Return when to do something again that has just ended."""
    now = time.monotonic()
    return now + max(_AGAIN_S, (now - started) / _SHARE)


def _lower(one: _Begin, other: _Begin) -> _Begin:
    return _Begin(*map(min, one, other))
