"""Batches on their way: while models compute one, the database gives and takes others.

    claim, cut, look for equal content      the worker's thread
    models                                  a thread of their own
    write                                   another one, on a connection of its own

No transaction is open while a model computes.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from textwrap import shorten
from threading import Event
from typing import Final, TypeAlias

import psycopg

from pgsearch.database import Connection
from pgsearch.errors import ModelUnavailable, Throttled
from pgsearch.sync import queue
from pgsearch.sync.embed import Interrupted, Prepared, compute, describe, planned, prepare
from pgsearch.sync.queue import Claim, Claimed
from pgsearch.sync.report import Report
from pgsearch.sync.task import Task
from pgsearch.sync.throttle import Pauses
from pgsearch.sync.write import write

log = logging.getLogger(__name__)

#: How long a provider is left alone that asks for it without saying how long; seconds.
_THROTTLED_S: Final = 10.0

#: How long a provider is left alone at least that refuses every text; seconds.
_UNAVAILABLE_S: Final = 1.0

#: Seconds between two looks whether a batch is still wanted for which models compute.
_PATIENCE_S: Final = 0.2

#: A connection that was idle for so long may have been ended; seconds.
_IDLE_S: Final = 5.0

#: A claim that nobody works on any more, with its task.
Lost: TypeAlias = tuple[Task, Claim]


@dataclass(eq=False)
class Batch:
    """A claim on its way.

    Args:
        task: Its search index.
        claim: What was leased and read.
        prepared: What its documents need; None before that is known.
        computed: The seconds that the models took.
        written: What was done in the end.
    """

    task: Task
    claim: Claim
    prepared: Prepared | None = None
    computed: Future[float] = field(default_factory=Future)
    written: Future[Report] = field(default_factory=Future)
    renewed_at: float = field(default_factory=time.monotonic)


class Pipeline:
    """Takes claims, and writes what models make of them.

    Args:
        connect: Opens the connection for writing.
        lease_s: How long claims are held; they are renewed while models compute. Seconds.
        max_attempts: After so many failures a document is parked.
        share: Of the time, how much a backfill may write while an embedding answers searches.
        stop: Set when the worker is to stop.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        *,
        lease_s: float,
        max_attempts: int,
        share: float = 1.0,
        stop: Event,
    ) -> None:
        self._connect = connect
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._share = share
        self._batches: deque[Batch] = deque()
        self._stop = stop
        self._is_over = False
        self._is_abandoned = Event()
        self._models = ThreadPoolExecutor(1, thread_name_prefix="pgsearch-models")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="pgsearch-write")
        self._opened = ExitStack()
        self._connection: Connection | None = None
        self._written_at = 0.0

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def oldest(self) -> Batch:
        """The batch that is to be finished next."""
        return self._batches[0]

    @property
    def claims(self) -> list[Lost]:
        """What is on its way. Any thread may ask."""
        return [(batch.task, batch.claim) for batch in list(self._batches)]

    def written_rows(self, task: Task) -> int:
        """Return how many queue rows of a search index are done that are still to be finished."""
        return sum(
            len(batch.claim.queue_ids)
            for batch in self._batches
            if batch.task is task and batch.written.done() and not batch.written.exception()
        )

    def start(self, connection: Connection, task: Task, claim: Claim) -> None:
        """Cut a claim's documents, look for their vectors, and let models make what is lacking."""
        batch = Batch(task, claim)
        task.pace.is_gentle = self._is_gentle(task, claim)
        earlier = [b.prepared for b in self._batches if b.prepared and b.task.is_like(task)]
        self._batches.append(batch)
        try:
            prepared = batch.prepared = prepare(
                connection,
                task.statements,
                task.embeddings,
                claim.documents,
                tick=lambda: self.renew(connection),
            )
        except BaseException:
            if not connection.closed:  # else it stays, for the next session to give back
                _release(connection, task, claim)
                self._batches.pop()
            raise
        batch.computed = self._models.submit(self._compute, task, prepared, earlier)
        batch.written = self._writer.submit(self._write, batch, prepared)

    def _compute(self, task: Task, prepared: Prepared, earlier: Sequence[Prepared]) -> float:
        started = time.perf_counter()
        try:
            compute(
                prepared,
                task.embeddings,
                earlier=earlier,
                go_on=lambda: not (self._stop.is_set() or self._is_over or task.pace.pause_s),
            )
        except Throttled as error:
            # Here already, for the next batches are next.
            seconds = _THROTTLED_S if error.retry_after is None else error.retry_after
            task.pace.pause(seconds)
            log.warning("%s: waiting for %.0f s: %s", task.index.name, seconds, error.message)
            raise
        except ModelUnavailable:
            task.pace.pause(_UNAVAILABLE_S)
            raise
        return time.perf_counter() - started

    def finish(self, connection: Connection, report: Report) -> Batch | None:
        """Wait until the oldest batch is written.

        Returns:
            The batch; None if it had to be given back, for it was not to go on or a provider
            asked to wait.

        Raises:
            ModelError: A model cannot be used; the batch was given back.
        """
        batch = self._batches[0]
        try:
            self._wait(connection, batch)
            report.add(batch.written.result())
            batch.task.pace.took(batch.computed.result(), len(batch.claim.queue_ids))
        except (Interrupted, Throttled):
            self._give_back(connection)
            return None
        except BaseException:
            if not connection.closed:  # else it stays, for the next session to give back
                self._give_back(connection)
            raise
        self._batches.popleft()
        return batch

    def _wait(self, connection: Connection, batch: Batch) -> None:
        """Wait until a batch is written, and keep the leases of all that is on its way."""
        while wait([batch.written], timeout=min(1.0, self._lease_s / 4)).not_done:
            self.renew(connection)

    def renew(self, connection: Connection) -> None:
        """Make leases last that have run for a third of their time."""
        now = time.monotonic()
        for batch in self._batches:
            if now - batch.renewed_at > self._lease_s / 3:
                queue.renew(connection, batch.task.statements, batch.claim, lease_s=self._lease_s)
                batch.renewed_at = now

    def _write(self, batch: Batch, prepared: Prepared) -> Report:
        """Write a batch as soon as the models are done with it."""
        while wait([batch.computed], timeout=_PATIENCE_S).not_done:
            if self._is_abandoned.is_set() or batch.computed.cancelled():
                raise Interrupted
        batch.computed.result()
        try:
            return self._write_on(self._writing, batch.task, batch.claim, prepared)
        finally:
            self._written_at = time.monotonic()

    def connect(self) -> None:
        """Open the connection for writing, before anything is claimed that it is to write.

        One that was idle is tried, and replaced if it has ended: servers and firewalls end sessions
        that are idle for long, and this one may well be.
        """
        if self._batches:
            return
        if self._connection is not None and time.monotonic() - self._written_at > _IDLE_S:
            try:
                self._connection.execute("SELECT")
            except psycopg.OperationalError:
                self._connection = None
                self._opened.close()
        if self._connection is None:
            self._connection = self._opened.enter_context(self._connect())
        self._written_at = time.monotonic()

    @property
    def _writing(self) -> Connection:
        assert self._connection is not None, "connect() comes before a claim"
        return self._connection

    def _write_on(
        self, connection: Connection, task: Task, claim: Claim, prepared: Prepared
    ) -> Report:
        writes, failures = planned(prepared)
        outcome = write(
            connection,
            task.statements,
            task.targets,
            claim.lease,
            writes,
            truncations=claim.truncations,
            pause=self._pauses().after if self._is_gentle(task, claim) else None,
        )
        for embedding, found in zip(task.embeddings, prepared.found, strict=True):
            if embedding.adoption is not None and found.adopted:
                embedding.adoption.count(connection, found.adopted)
        failures |= {document: describe(error) for document, error in outcome.refused.items()}
        parked = queue.fail(
            connection, task.statements, claim.lease, failures, max_attempts=self._max_attempts
        )
        _tell(task, failures, parked + claim.parked)
        return Report(
            documents=len(outcome.written),
            chunks=sum(len(item.put) for item in outcome.written),
            embedded=sum(found.embedded for found in prepared.found),
            reused=sum(found.reused for found in prepared.found),
            adopted=sum(found.adopted for found in prepared.found),
            failed=len(failures) + claim.parked,
        )

    def _is_gentle(self, task: Task, claim: Claim) -> bool:
        """Return whether a batch is written with pauses: a backfill, while searches are answered.

        Fresh changes that are claimed together with one are read first, and written first.
        """
        return self._share < 1 and claim.backfilled > 0 and task.index.active is not None

    def _pauses(self) -> Pauses:
        return Pauses(self._share, self._stop.wait, lambda: self._is_over or self._stop.is_set())

    def stop(self, connection: Connection, report: Report) -> None:
        """Write what models are done with after the call that they are at; give back the rest."""
        self._is_over = True
        while self._batches:
            if self._batches[0].computed.cancel():
                self._give_back(connection)
            else:
                self.finish(connection, report)

    def abandon(self) -> list[Lost]:
        """Let go of all that is on its way; return what is to be given back."""
        self._is_over = True
        self._is_abandoned.set()
        for batch in self._batches:
            batch.computed.cancel()
        # A write that has begun is brought to its end; those behind it find out.
        self._writer.shutdown(wait=True, cancel_futures=True)
        lost = self.claims
        self._batches.clear()
        return lost

    def _give_back(self, connection: Connection) -> None:
        batch = self._batches[0]
        # If the connection turns out to be lost it stays, for the next session to give back.
        _release(connection, batch.task, batch.claim)
        self._batches.popleft()

    def close(self) -> None:
        """End the threads and the connection for writing."""
        self._is_over = True
        self._is_abandoned.set()
        self._writer.shutdown(wait=True, cancel_futures=True)
        self._opened.close()
        self._models.shutdown(wait=True, cancel_futures=True)


def give_back(connection: Connection, lost: Sequence[Lost]) -> None:
    """Give claims back that were let go of, as after a connection broke."""
    for task, claim in lost:
        with suppress(psycopg.errors.UndefinedTable):  # dropped meanwhile
            _release(connection, task, claim)


def _release(connection: Connection, task: Task, claim: Claim) -> None:
    if not connection.closed:
        queue.release(connection, task.statements, claim.lease, claim.queue_ids)


def _tell(task: Task, failures: dict[Claimed, str], parked: int) -> None:
    for document, error in failures.items():
        row = shorten(", ".join(document.key), 80)
        log.warning("%s: row %s failed: %s", task.index.name, row, error)
    if parked:
        log.error("%s: %s parked; see `pgsearch status`.", task.index.name, parked)
