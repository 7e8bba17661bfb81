"""A worker while it is connected: which search index gets its turn, and what is urgent in it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from threading import Event
from types import TracebackType
from typing import Final, Self

import psycopg

from pgsearch import database, registry
from pgsearch.database import Connection
from pgsearch.errors import Error, ModelError
from pgsearch.lifecycle import Builder, Statistics, advance
from pgsearch.registry import RegisteredIndex
from pgsearch.sync import queue
from pgsearch.sync.distiller import Distiller
from pgsearch.sync.fill import fill_embedding
from pgsearch.sync.left import read_left
from pgsearch.sync.options import Options
from pgsearch.sync.partitions import PartitionWatch
from pgsearch.sync.pipeline import Lost, Pipeline, give_back
from pgsearch.sync.report import Progress, Report
from pgsearch.sync.task import Pace, Task, open_task
from pgsearch.sync.throttle import Throttle
from pgsearch.sync.trouble import Troubles
from pgsearch.sync.wake import Listener

log = logging.getLogger(__name__)

#: What is missed of a search index that was changed or dropped.
_UNDEFINED: Final = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
)

#: Seconds that documents of existing rows are written before the next look at fresh changes.
_FILL_S: Final = 0.5

#: Seconds between two looks at everything while nothing is due: at what migrations did, what is
#: to be filled, which embeddings can move on.
_LOOK_AROUND_S: Final = 1.0

#: Seconds for which the registry is taken for unchanged, and embeddings are not looked at that are
#: to be filled, while there is other work.
_READ_AGAIN_S: Final = 0.25

#: Seconds between two looks at the statistics while there is other work.
_STATISTICS_S: Final = 5.0

#: Seconds to wait where only time helps: a throttle, or the build of an index.
_WAIT_S: Final = 0.05


@contextmanager
def _connect(url: str) -> Iterator[Connection]:
    """Open a connection for writing beside a session's own."""
    with closing(database.connect(url, row_security=True)) as connection:
        _set_up(connection)
        yield connection


def _set_up(connection: Connection) -> None:
    """Make a connection one that a worker can use.

    Raises:
        DatabaseError: pgsearch is not installed in the database, or pgvector is not.
    """
    # Plans are made for the keys at hand, and a pooler need not know of them.
    connection.prepare_threshold = None
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    connection.read_only = False
    registry.require_installed(connection)
    database.register_vectors(connection)


class Session:
    """A worker while it is connected.

    Args:
        url: The database.
        connection: A connection to it, which is closed in the end.
        options: How to work.
        report: Where to add what was done.
        stop: Set when the worker is to stop.
        listener: Wakes it; without one it works until nothing is left to do.
        lost: What sessions before could not give back.
        troubles: Models that cannot be used.
    """

    def __init__(
        self,
        url: str,
        connection: Connection,
        options: Options,
        report: Report,
        *,
        stop: Event,
        listener: Listener | None,
        lost: list[Lost],
        troubles: Troubles,
    ) -> None:
        self._connection = connection
        self._options = options
        self._report = report
        self._stop = stop
        self._listener = listener
        self._lost = lost
        self._troubles = troubles
        self._pipeline = Pipeline(
            partial(_connect, url),
            lease_s=options.lease_s,
            max_attempts=options.max_attempts,
            share=options.backfill_share,
            stop=stop,
        )
        self._builder = Builder(url, on_end=listener.wake if listener else lambda: None)
        self._statistics = Statistics(url)
        self._distiller = Distiller(
            url, options.on_progress, is_wanted=options.distill, stop=stop, listener=listener
        )
        self._throttle = Throttle(options.backfill_rate)
        self._partitions = PartitionWatch()
        self._tasks: dict[int, Task] = {}
        self._told: dict[int, str] = {}
        self._statistics_at: dict[int, float] = {}
        self._began = False
        self._known: tuple[RegisteredIndex, ...] = ()
        self._read_at = 0.0
        self._filled_at: dict[int, float] = {}

    def __enter__(self) -> Self:
        connection = self._connection
        try:
            _set_up(connection)
            self._give_back()
        except BaseException:
            connection.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._pipeline.stop(self._connection, self._report)
                if self._listener is None and not self._stop.is_set():
                    self._statistics.finish()
        finally:
            self._end()

    def _end(self) -> None:
        self._lost += self._pipeline.abandon()
        try:
            if not self._connection.closed:
                self._give_back()
        finally:
            self._distiller.close()
            self._statistics.close()
            self._builder.close()
            self._pipeline.close()
            self._connection.close()

    def _give_back(self) -> None:
        """Give back what a connection that broke has left leased."""
        give_back(self._connection, self._lost)
        self._lost.clear()

    def claims(self) -> list[Lost]:
        """Return what is leased, for another thread to give back before the process ends."""
        return self._pipeline.claims

    def check_indexes(self) -> None:
        """Note what keeps search indexes from being worked on; raise it if that is all of them."""
        indexes = registry.read(self._connection, *self._options.indexes)
        problems = [problem for index in indexes if (problem := index.problem)]
        self._report.problems = list[Error](problems)
        if problems and len(problems) == len(indexes):
            raise problems[0]

    def note_left(self) -> None:
        """Note what waits, for whatever reason."""
        indexes = registry.read(self._connection, *self._options.indexes)
        self._report.left = read_left(self._connection, indexes)

    def check_models(self) -> None:
        """Note what could not be used or built; raise it if nothing could be worked on."""
        problems = self._report.problems
        problems += self._builder.problems
        errors = self._troubles.errors(self._known)
        if errors and len(errors) == len(self._known):
            raise (problems or errors)[0]
        problems += errors

    def load_models(self) -> None:
        """Load every model now: what is wrong with one shows at the start, not at a change.

        Raises:
            ModelError: At the first start: no search index has a model that could be used, or
                could be expected to come back.
        """
        for index in self._indexes():
            if self._stop.is_set():
                return
            try:
                if not self._troubles.wait_s(index):
                    self._load(self._task(index))
            except (queue.IndexChanged, *_UNDEFINED):
                self._is_changed(index)
        self._troubles.check(self._known)
        self._troubles.has_begun = True

    def serve(self, poll_s: float) -> None:
        """Work until the worker is stopped."""
        assert self._listener is not None
        while not self._stop.is_set():
            if self.round():
                continue
            until = time.monotonic() + _LOOK_AROUND_S
            while not self._stop.is_set() and time.monotonic() < until:
                if self._listener.wait(poll_s) or self._is_due():
                    break

    def round(self) -> bool:
        """Give every search index its turn; return whether there was anything to do."""
        busy = self._began = False
        for index in self._indexes():
            if self._stop.is_set():
                break
            try:
                busy |= self._turn(index)
            except (queue.IndexChanged, *_UNDEFINED):
                busy = self._is_changed(index)
        if not self._began:
            busy |= self.finish()
        if busy or self._listener is not None:
            return busy
        if self._builder.is_busy or self._distiller.is_busy:
            return self._wait(_WAIT_S)
        ended = self._builder.check()
        return self._distiller.check() or ended

    def _is_changed(self, index: RegisteredIndex) -> bool:
        """Return whether a migration has changed or dropped a search index; else raise the error.

        It may do so at any time, and drop an embedding too.
        """
        if index in registry.read(self._connection):
            raise
        log.info("%s was changed by a migration.", index.name)
        return True

    def finish(self) -> bool:
        """Bring what is on its way to its end; return whether there was anything."""
        busy = len(self._pipeline) > 0
        while len(self._pipeline) and not self._stop.is_set():
            self._finish_oldest()
        return busy

    def _indexes(self) -> tuple[RegisteredIndex, ...]:
        """Return the search indexes to keep up to date, as the registry has them.

        While batches are on their way it is not asked again at once: what has changed meanwhile
        shows when one is claimed or written.
        """
        now = time.monotonic()
        if len(self._pipeline) and now - self._read_at < _READ_AGAIN_S:
            return self._known
        self._known, self._read_at = self._read_indexes(), now
        return self._known

    def _read_indexes(self) -> tuple[RegisteredIndex, ...]:
        indexes = registry.read(self._connection, *self._options.indexes)
        usable = tuple(index for index in indexes if self._is_usable(index))
        if self._listener is not None and any(index.definition.notify for index in usable):
            self._listener.start()
        return usable

    def _is_usable(self, index: RegisteredIndex) -> bool:
        """Return whether a search index can be worked on; if not, say why, once."""
        problem = index.problem
        if problem is not None and self._told.get(index.id) != str(problem):
            # One that is just being created or altered is in order a moment later.
            log.log(logging.WARNING if index.capturing else logging.INFO, "%s", problem)
        self._told[index.id] = "" if problem is None else str(problem)
        return problem is None

    def _is_due(self) -> bool:
        """Return whether anything is due in the queues of the search indexes that are known."""
        tasks = [task for task in self._tasks.values() if not self._pause_s(task)]
        try:
            return any(task.queue.is_due(self._connection) for task in tasks)
        except _UNDEFINED:
            return True  # the next round finds out what has changed

    def _task(self, index: RegisteredIndex) -> Task:
        known = self._tasks.get(index.id)
        if known is not None and known.index == index:
            return known
        pace = Pace(self._options.batch_rows) if known is None else known.pace
        task = open_task(self._connection, index, self._troubles.load, pace)
        self._tasks[index.id] = task
        return task

    def _turn(self, index: RegisteredIndex) -> bool:
        """Do what is urgent: fresh changes, then what was there before, then the embeddings."""
        if self._partitions.look(self._connection, index):
            return True
        task = self._task(index)
        busy = self._begin(task)
        if math.isinf(self._pause_s(task)):
            return self._fill_documents(task) or busy  # for keywords, which need no model
        busy |= self._fill_documents(task) or self._fill_embeddings(task)
        if busy:
            self._refresh_statistics(index, _STATISTICS_S)
            return True
        if len(self._pipeline):
            return False
        entered, again = advance(
            self._connection,
            index,
            self._builder,
            on_build=lambda name: self._tell(index, "index", embedding=name),
        )
        for state in entered:
            log.info("%s: %s", index.name, state)
        self._report.entered += entered
        self._refresh_statistics(index, 0.0)
        # A drain ends with new ones. While they are noted, what is to be filled looks as if another
        # worker were at it: it is looked at again.
        taken = self._listener is None and self._statistics.finish()
        if entered or again or taken:
            return True
        begun = self._distiller.refresh(self._connection, index, task.embeddings)
        return begun and self._listener is None

    def _begin(self, task: Task) -> bool:
        """Claim what is due and send it on its way; return whether there was anything."""
        # Without a listener the end has come when nothing is.
        if not task.queue.is_due(self._connection, surely=self._listener is None):
            return False
        if self._pause_s(task) or not self._load(task):
            pause_s = self._pause_s(task)
            # What will not pass is not waited for.
            return math.isfinite(pause_s) and self._wait(pause_s)
        # What waits before all documents are there is left to the first embedding.
        if not task.embeddings and not task.index.filled:
            return False
        # While documents are being written they come first; others may embed them meanwhile.
        fills = not task.index.filled and not task.fill.is_elsewhere
        fresh = fills or self._throttle.wait_s > 0
        self._pipeline.connect()
        claim = queue.claim(
            self._connection,
            task.statements,
            task.columns,
            rows=task.pace.rows,
            lease_s=self._options.lease_s,
            fresh=fresh,
            on_lost=lambda lost: self._lost.append((task, lost)),
        )
        if claim is None:
            return not fills and fresh and self._wait(self._throttle.wait_s)
        self._began = True
        self._throttle.spend(claim.backfilled)
        if claim.is_suspect:
            self.finish()
        self._pipeline.start(self._connection, task, claim)
        while len(self._pipeline) > (0 if claim.is_suspect else task.pace.ahead):
            self._finish_oldest()
        return True

    def _wait(self, seconds: float) -> bool:
        """Where there is nothing else to do, wait a little; return whether that was so."""
        if self._listener is None:
            self._stop.wait(min(seconds, _WAIT_S))
        return self._listener is None

    def _pause_s(self, task: Task) -> float:
        """Return the seconds for which nothing is to be claimed; infinite if for good."""
        return max(task.pace.pause_s, self._troubles.wait_s(task.index))

    def _load(self, task: Task) -> bool:
        """Load a search index's models, which are then known by their fingerprints.

        Returns:
            Whether it can be worked on.
        """
        loads = self._troubles.loads
        try:
            task.load()
        except ModelError as error:
            self._put_off(task, error)
            return False
        if self._troubles.loads > loads:  # they have shown who they are
            self._troubles.forget(task.index)
        return True

    def _put_off(self, task: Task, error: ModelError) -> None:
        """Leave a search index alone whose model cannot be used; raise if that is all of them."""
        self._troubles.note(task.index, error)
        if self._listener is not None and self._troubles.has_begun:
            self._troubles.check(self._known)

    def _finish_oldest(self) -> None:
        task = self._pipeline.oldest.task
        embedded, failed = self._report.embedded, self._report.failed
        try:
            batch = self._pipeline.finish(self._connection, self._report)
        except ModelError as error:
            self._put_off(task, error)
            return
        except (queue.IndexChanged, *_UNDEFINED):
            self._is_changed(task.index)
            return
        if self._report.embedded > embedded:
            self._troubles.forget(task.index)
        if batch is not None:
            failed = self._report.failed - failed
            done = len(batch.claim.documents) + batch.claim.parked - failed
            rows = len(batch.claim.queue_ids)
            ahead = self._pipeline.written_rows(task)
            waiting = task.queue.count(self._connection, rows, ahead)
            self._tell(task.index, "embed", done, waiting, failed=failed)

    def _fill_documents(self, task: Task) -> bool:
        """Write documents of rows that were there before; return whether there was anything."""
        if task.index.filled:
            return False
        busy, until = False, time.monotonic() + _FILL_S
        while time.monotonic() < until and not self._stop.is_set():
            if self._throttle.wait_s:
                return self._wait(self._throttle.wait_s) or busy
            written = task.fill.step(self._connection)
            if written is None:
                break
            busy = True
            self._report.indexed += written
            self._throttle.spend(written)
            self._pipeline.renew(self._connection)
            if written:
                self._tell(task.index, "documents", written, task.fill.left)
        return busy

    def _fill_embeddings(self, task: Task) -> bool:
        """Put keys that lack an added embedding into the queue; return whether there were any."""
        now = time.monotonic()
        busy = len(self._pipeline) > 0
        recently = now - self._filled_at.get(task.index.id, 0.0) < _READ_AGAIN_S
        if not task.index.filled or (busy and recently):
            return False
        self._filled_at[task.index.id] = now
        steps = [
            fill_embedding(self._connection, task.statements, embedding)
            for embedding in task.index.live
            if embedding.state == "filling" and not embedding.filled
        ]
        return any(step is not None for step in steps)

    def _refresh_statistics(self, index: RegisteredIndex, every_s: float) -> None:
        now = time.monotonic()
        if now - self._statistics_at.get(index.id, now - every_s) < every_s:
            return
        if self._statistics.refresh(self._connection, index):
            self._statistics_at[index.id] = now

    def _tell(
        self,
        index: RegisteredIndex,
        step: str,
        done: int = 0,
        waiting: int | None = None,
        embedding: str | None = None,
        failed: int = 0,
    ) -> None:
        self._options.on_progress(Progress(index.name, step, done, waiting, embedding, failed))
