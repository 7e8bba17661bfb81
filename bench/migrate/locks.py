"""The waits for locks in a database, as the server sees them.

`pg_locks` says since when a process has been waiting for a lock, and `pg_blocking_pids` for whom,
be it a holder of the lock or somebody ahead in its queue. Both are read every 10 ms, by a process
that does nothing else. A wait is taken to end at the first look that no longer shows it: what is
reported is too long by up to 10 ms, more on a busy machine, and never too short. A wait that fits
between two looks is not seen. Unlike the time that a client measures, it holds no work, of the
server or of the client.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.synchronize import Event

#: Seconds between two looks.
INTERVAL_S = 0.01

_WAITING = b"""
SELECT
  waiting.pid,
  waiting.waitstart::text,
  extract(epoch FROM clock_timestamp() - waiting.waitstart)::double precision,
  activity.application_name,
  waiting.mode || ' on ' || coalesce(waiting.relation::regclass::text, waiting.locktype),
  activity.query,
  ARRAY(
    SELECT blocker.application_name FROM pg_stat_activity AS blocker
    WHERE blocker.pid = ANY (pg_blocking_pids(waiting.pid))
  )
FROM pg_locks AS waiting
JOIN pg_stat_activity AS activity ON activity.pid = waiting.pid
WHERE NOT waiting.granted AND waiting.waitstart IS NOT NULL
  AND activity.datname = current_database()
"""


@dataclass
class Wait:
    """A wait for a lock; times are those of time.monotonic().

    Args:
        pid: The process that waits.
        application: Its application_name.
        lock: What it waits for, as in "RowExclusiveLock on article".
        query: The beginning of its statement.
        started: When it began to wait.
        ended: When it no longer waited.
        blockers: The application_name of everyone that it was seen to wait for.
    """

    pid: int
    application: str
    lock: str
    query: str
    started: float
    ended: float
    blockers: set[str] = field(default_factory=set)

    @property
    def milliseconds(self) -> float:
        """How long it was."""
        return 1000 * (self.ended - self.started)


class Watch:
    """Joins what single looks show into waits."""

    def __init__(self) -> None:
        self.over: list[Wait] = []
        self._open: dict[tuple[int, str], Wait] = {}

    def look(self, rows: list[tuple[Any, ...]], now: float) -> None:
        """Take in what one look showed, at `now`."""
        seen = set()
        for pid, since, waited, application, lock, query, blockers in rows:
            seen.add((pid, since))
            if (pid, since) not in self._open:
                excerpt = " ".join(query.split())[:120]
                self._open[pid, since] = Wait(pid, application, lock, excerpt, now - waited, now)
            self._open[pid, since].blockers.update(blockers)
        for known in [known for known in self._open if known not in seen]:
            wait = self._open.pop(known)
            wait.ended = now
            self.over.append(wait)


def run(url: str, stopping: Event, results: Pipe) -> None:
    """Look for waits until told to stop, then send what they were: a list of Wait.

    Args:
        url: The database.
        stopping: Set when it is time to end.
        results: Where "ready" and then the waits go.
    """
    watch = Watch()
    with (
        suppress(KeyboardInterrupt),
        psycopg.connect(url, autocommit=True, application_name="watch") as connection,
    ):
        results.send("ready")
        while not stopping.is_set():
            rows = connection.execute(_WAITING).fetchall()
            watch.look(rows, time.monotonic())
            stopping.wait(INTERVAL_S)
        watch.look([], time.monotonic())
        results.send(watch.over)
