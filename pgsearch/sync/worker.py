"""The worker as users know it: `Worker.drain` returns when nothing waits, `Worker.run` goes on."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from threading import Event
from typing import Final

import psycopg

from pgsearch import database, models
from pgsearch.declare import Model
from pgsearch.errors import ConnectionFailed
from pgsearch.models.protocol import Embedder
from pgsearch.sync.options import Options
from pgsearch.sync.pipeline import Lost, give_back
from pgsearch.sync.report import Progress, Report
from pgsearch.sync.session import Session
from pgsearch.sync.trouble import Troubles
from pgsearch.sync.wake import Listener

log = logging.getLogger(__name__)

#: Seconds between two tries to connect again: the first ones, and at most.
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0


class Worker:
    """Keeps chunks and vectors true to their rows, for all search indexes or some.

    Any number of workers may run, on any machines. A worker holds no transaction open while a
    model computes, and nothing in its session, so that it works through a pooler too.

    Args:
        url: The database.
        indexes: Names of search indexes; all of them if none is named.
        load: Makes the Embedder of a model.
        batch_rows: Queue rows per claim at most; there are fewer where a model is slow.
        lease_s: Seconds after which a claim that was not renewed is anybody's.
        max_attempts: After so many failures a document is parked.
        backfill_rate: Rows per second that fills of existing tables and of added embeddings may
            take at most; None for no limit. Fresh changes are not held up.
        backfill_share: How much of the time such a fill may write while another embedding answers
            searches: after each short transaction it pauses. 1 for no pauses.
        distill: Whether to build the encoders that make vectors of queries in the database; None
            for what the environment variable PGSEARCH_DISTILL says: yes, unless it is `off`.
        on_progress: Called after every batch.

    Raises:
        ValueError: A number is not above zero, or a share above one.
    """

    def __init__(
        self,
        url: str,
        *,
        indexes: Sequence[str] = (),
        load: Callable[[Model], Embedder] = models.load,
        batch_rows: int = 1024,
        lease_s: float = 300.0,
        max_attempts: int = 5,
        backfill_rate: float | None = None,
        backfill_share: float = 0.25,
        distill: bool | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        _require_positive(batch_rows=batch_rows, lease_s=lease_s, max_attempts=max_attempts)
        if backfill_rate is not None:
            _require_positive(backfill_rate=backfill_rate)
        if not 0 < backfill_share <= 1:
            raise ValueError(f"backfill_share must be above zero, up to 1, not {backfill_share}.")
        self._url = url
        self._load = load
        self._options = Options(
            indexes=tuple(indexes),
            batch_rows=batch_rows,
            lease_s=lease_s,
            max_attempts=max_attempts,
            backfill_rate=backfill_rate,
            backfill_share=backfill_share,
            on_progress=on_progress,
            distill=_distills() if distill is None else distill,
        )
        self._stop = Event()
        self._listener = Listener(url)
        self._lost: list[Lost] = []
        self._current: Session | None = None

    def stop(self) -> None:
        """Make `run` and `drain` return after the call of a model that they are at.

        What is left of the batch is given back. Any thread may call this. From a signal handler
        let a thread do it: the main thread may hold the lock that this takes.
        """
        self._stop.set()
        self._listener.wake()

    def give_back(self) -> None:
        """Give back at once what is leased, on a connection of its own, for the process will end.

        Without it, the rows are another worker's as soon as their leases run out, and the end
        counts against them.
        """
        self.stop()
        session = self._current
        lost = [*self._lost, *(session.claims() if session is not None else ())]
        with closing(database.connect(self._url, row_security=True)) as connection:
            connection.prepare_threshold = None
            give_back(connection, lost)

    def drain(self, *, max_seconds: float | None = None) -> Report:
        """Work until nothing waits that is due, then return what was done.

        Args:
            max_seconds: No new batch is begun after that time.

        Raises:
            DatabaseError: The database cannot be reached, pgsearch is not installed in it, or
                there is no search index that could be worked on.
            ModelError: No model can be used, or is the registered one. If that is so of some,
                the report says it, and the other search indexes are up to date.
        """
        report = Report()
        started = time.perf_counter()
        troubles = Troubles(self._load, is_patient=False)
        with self._session(report, troubles) as session:
            session.check_indexes()
            while not self._stop.is_set() and session.round():
                if max_seconds is not None and time.perf_counter() - started > max_seconds:
                    break
            session.finish()
            session.check_models()
            session.note_left()
        report.seconds = time.perf_counter() - started
        return report

    def run(self, *, poll_s: float = 0.1) -> Report:
        """Work until `stop` is called, looking for changes every `poll_s` seconds.

        A database that goes away is waited for; one that cannot be reached at the start is an
        error, as in `drain`. A model that cannot be used is tried again, and holds up its own
        search index only.

        Raises:
            ValueError: `poll_s` is not above zero.
            DatabaseError: At the start: as in `drain`.
            ModelError: No model is the registered one; or, at the start, none could be loaded.
        """
        _require_positive(poll_s=poll_s)
        report = Report()
        started = time.perf_counter()
        troubles = Troubles(self._load, is_patient=True)
        pause_s = 0.0
        while not self._stop.is_set():
            connected_at = math.inf
            try:
                with self._session(report, troubles) as session:
                    connected_at = time.monotonic()
                    if pause_s:
                        log.info("Connected again.")
                    session.load_models()
                    if not pause_s:
                        log.info("Waiting for changes.")
                    session.serve(poll_s)
            except (psycopg.OperationalError, ConnectionFailed) as error:
                if not troubles.has_begun:
                    raise
                was_long = time.monotonic() - connected_at > _LONGEST_PAUSE_S
                pause_s = _FIRST_PAUSE_S if was_long else _longer(pause_s)
                log.warning("Interrupted, trying again in %g s: %s", pause_s, error)
                self._stop.wait(pause_s)
        self._listener.close()
        report.seconds = time.perf_counter() - started
        return report

    def _session(self, report: Report, troubles: Troubles) -> Session:
        connection = database.connect(self._url, row_security=True)
        self._current = Session(
            self._url,
            connection,
            self._options,
            report,
            stop=self._stop,
            listener=self._listener if troubles.is_patient else None,
            lost=self._lost,
            troubles=troubles,
        )
        return self._current


def _require_positive(**numbers: float) -> None:
    """Raise ValueError unless all numbers are above zero, and finite."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(f"{name} must be above zero, not {number}.")


def _distills() -> bool:
    return os.environ.get("PGSEARCH_DISTILL", "").strip().lower() not in ("off", "0", "false", "no")


def _longer(pause_s: float) -> float:
    """Return the pause after one that was not long enough."""
    return min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)


def sync_once(
    url: str | None = None,
    *,
    indexes: Sequence[str] = (),
    max_seconds: float | None = None,
    load: Callable[[Model], Embedder] = models.load,
    batch_rows: int = 1024,
    max_attempts: int = 5,
    backfill_rate: float | None = None,
    backfill_share: float = 0.25,
    distill: bool | None = None,
) -> Report:
    """Bring search indexes up to date and return: for a scheduler, a task queue or a script.

    It may run at any time, beside workers and beside itself. What it has begun when the time is
    over is brought to its end; the next call goes on where it stopped.

    Args:
        url: The database; without it $DATABASE_URL, else the embedded one.
        indexes: Names of search indexes; all of them if none is named.
        max_seconds: No new batch is begun after that time; None for no limit.
        load: Makes the Embedder of a model.
        batch_rows: Queue rows per claim at most; there are fewer where a model is slow.
        max_attempts: After so many failures a document is parked.
        backfill_rate: Rows per second that fills may take at most; None for no limit.
        backfill_share: How much of the time a fill may write while another embedding answers
            searches; 1 for no pauses.
        distill: Whether to build the encoders that make vectors of queries in the database; None
            for what the environment says.

    Returns:
        What was done. `report.failed` counts documents on which a model failed, `report.problems`
        says what kept search indexes from being worked on, and `report.waiting` and
        `report.parked` count the rows that are left.

    Raises:
        DatabaseError: The database cannot be reached, pgsearch is not installed in it, or there
            is no search index that could be worked on.
        ModelError: No model can be used, or is the registered one.
        ValueError: A number is not above zero, or a share above one.
    """
    worker = Worker(
        database.database_url(url),
        indexes=indexes,
        load=load,
        batch_rows=batch_rows,
        max_attempts=max_attempts,
        backfill_rate=backfill_rate,
        backfill_share=backfill_share,
        distill=distill,
    )
    return worker.drain(max_seconds=max_seconds)
