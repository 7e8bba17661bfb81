"""Partitions that come and go: no trigger sees their rows then, so a worker looks for them."""

from __future__ import annotations

import logging
import time

from psycopg import errors
from psycopg.sql import SQL, Identifier, Literal

from pgsearch.database import Connection, transaction
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.statements import Statements

log = logging.getLogger(__name__)

#: Seconds between two looks at the partitions of a table.
LOOK_EVERY_S = 5.0

#: How long a look waits for the application's locks before it gives way; milliseconds.
_LOCK_TIMEOUT_MS = 100


class PartitionWatch:
    """Looks from time to time whether partitions of source tables came or went."""

    def __init__(self) -> None:
        self._next: dict[int, float] = {}

    def look(self, connection: Connection, index: RegisteredIndex) -> bool:
        """Take notice of one change of a table's partitions, if it is time to look.

        A partition that came gets its trigger, and its rows are filled like those of a table that
        was there before its search index; documents of one that went are removed. Where a lock is
        not to be had at once, this is tried again at the next look.

        Returns:
            Whether there was a change; there may be more.
        """
        if not index.is_partitioned or time.monotonic() < self._next.get(index.id, 0.0):
            return False
        try:
            has_changed = _watch(connection, index)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            log.warning("%s: a partition is locked; its rows are looked at later.", index.name)
            has_changed = False
        except errors.InsufficientPrivilege as error:
            log.warning("%s: a partition cannot be watched: %s", index.name, error)
            has_changed = False
        self._next[index.id] = time.monotonic() + (0.0 if has_changed else LOOK_EVERY_S)
        return has_changed


def _watch(connection: Connection, index: RegisteredIndex) -> bool:
    definition = index.definition
    function = Identifier(definition.schema, definition.names.watch)
    with transaction(connection):
        connection.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(_LOCK_TIMEOUT_MS)))
        connection.execute(Statements(definition).hold_tables)
        return connection.execute(SQL("SELECT {}()").format(function)).fetchone() == (True,)
