"""The worker: claim, embed, write, until nothing waits or until it is stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event
from typing import cast

import psycopg
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from pgsearch import database, models, registry, resources
from pgsearch.declare import Model
from pgsearch.errors import ConnectionFailed, DatabaseError, ModelError
from pgsearch.lifecycle import advance, refresh_statistics
from pgsearch.models import fingerprint
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.sync import queue
from pgsearch.sync.adopt import Adoption
from pgsearch.sync.embed import LoadedEmbedding, check_dimensions, cut, prepare
from pgsearch.sync.fill import EmbeddingFill, fill_documents
from pgsearch.sync.partitions import PartitionWatch
from pgsearch.sync.statements import Statements, is_hashable

log = logging.getLogger(__name__)


#: What is missed of a search index that was changed or dropped.
_UNDEFINED = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
)

#: After so many claims in a row, an added embedding gets its turn too.
_CLAIMS_IN_A_ROW = 16


@dataclass(frozen=True)
class Progress:
    """How far a drain is with one search index.

    Args:
        search_index: Its name.
        step: `embed` counts documents, `fill` counts chunks of an added embedding, `index` is
            the build of an HNSW index.
        done: How many are done.
        waiting: How many are left, as far as is known.
        embedding: Name of the embedding, for `fill` and `index`.
    """

    search_index: str
    step: str
    done: int = 0
    waiting: int = 0
    embedding: str | None = None


@dataclass
class Report:
    """What a worker did.

    Args:
        documents: Documents brought up to date, deleted ones among them.
        indexed: Documents of rows that were there before, or of a changed search index, written
            for keywords.
        chunks: Chunks written.
        embedded: Texts that went through a model.
        reused: Vectors taken over from equal content.
        adopted: Vectors taken over from a column of the table.
        failed: Documents on which a model failed; they are tried again, or parked.
        seconds: How long it took.
        entered: States that embeddings entered, as `name: state`.
        problems: What kept search indexes from being brought up to date, an error for each.
    """

    documents: int = 0
    indexed: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    adopted: int = 0
    failed: int = 0
    seconds: float = 0.0
    entered: list[str] = field(default_factory=list)
    problems: list[DatabaseError] = field(default_factory=list)


@dataclass(frozen=True)
class _Task:
    """One search index with what its synchronisation needs."""

    index: RegisteredIndex
    statements: Statements
    embeddings: tuple[LoadedEmbedding, ...]
    fills: tuple[EmbeddingFill, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(embedding.column for embedding in self.embeddings)

    def load(self) -> None:
        """Load the models that are not loaded yet."""
        for embedding in self.embeddings:
            embedding.embedder  # noqa: B018  a cached property


class Worker:
    """Keeps chunks and vectors true to their rows, for all search indexes or some.

    Any number of workers may run, on any machines. A worker holds no transaction open while a
    model computes.

    Args:
        url: The database.
        indexes: Names of search indexes; all of them if none is named.
        load: Makes the Embedder of a model.
        batch_rows: Queue rows per claim.
        lease_s: Seconds after which a claim that was not finished is anybody's.
        max_attempts: After so many failures a document is parked.
        on_progress: Called after every batch.
    """

    def __init__(
        self,
        url: str,
        *,
        indexes: Sequence[str] = (),
        load: Callable[[Model], Embedder] = models.load,
        batch_rows: int = 256,
        lease_s: float = 300.0,
        max_attempts: int = 5,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        self._url = url
        self._names = tuple(indexes)
        self._load = load
        self._batch_rows = batch_rows
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._on_progress = on_progress
        self._stop = Event()
        self._claims = 0
        self._tasks: dict[int, _Task] = {}
        self._told: dict[int, str] = {}
        self._partitions = PartitionWatch()

    def stop(self) -> None:
        """Make `run` and `drain` return after the batch that they are at; any thread may call."""
        self._stop.set()

    def drain(self) -> Report:
        """Work until nothing waits that is due, then return what was done.

        Raises:
            DatabaseError: The database cannot be reached, pgsearch is not installed in it, or
                there is no search index that could be worked on.
            ModelError: A model cannot be loaded, or is not the registered one.
        """
        report = Report()
        started = time.perf_counter()
        with database.connect(self._url) as connection:
            self._prepare(connection)
            indexes = registry.read(connection, *self._names)
            report.problems = [problem for index in indexes if (problem := index.problem)]
            if report.problems and len(report.problems) == len(indexes):
                raise report.problems[0]
            while not self._stop.is_set() and self._round(connection, report):
                pass
        report.seconds = time.perf_counter() - started
        return report

    def run(self, *, poll_s: float = 1.0) -> Report:
        """Work until `stop` is called, looking for changes every `poll_s` seconds.

        A database that goes away is waited for; one that cannot be reached at the start is an
        error, as in `drain`.
        """
        report = Report()
        started = time.perf_counter()
        reached = False
        while not self._stop.is_set():
            try:
                with database.connect(self._url) as connection:
                    self._prepare(connection)
                    self._load_models(connection)
                    if not reached:
                        log.info("Waiting for changes.")
                    reached = True
                    self._serve(connection, report, poll_s)
            except (psycopg.OperationalError, ConnectionFailed) as error:
                if not reached:
                    raise
                log.warning("Interrupted, trying again in %s s: %s", poll_s, error)
                self._stop.wait(poll_s)
        report.seconds = time.perf_counter() - started
        return report

    def _serve(self, connection: database.Connection, report: Report, poll_s: float) -> None:
        while not self._stop.is_set():
            if not self._round(connection, report):
                self._stop.wait(poll_s)

    def _prepare(self, connection: database.Connection) -> None:
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.execute(SQL(resources.sql("sync/session.sql")))
        registry.require_installed(connection)
        database.register_vectors(connection)
        self._tasks.clear()

    def _load_models(self, connection: database.Connection) -> None:
        """Load every model now: what is wrong with one shows at the start, not at a change."""
        for index in self._indexes(connection):
            self._task(connection, index).load()

    def _round(self, connection: database.Connection, report: Report) -> bool:
        """Give every search index its turn; return whether there was anything to do."""
        busy = False
        for index in self._indexes(connection):
            if self._stop.is_set():
                break
            try:
                busy |= self._turn(connection, index, report)
            except (queue.IndexChanged, *_UNDEFINED):
                # A migration may change or drop a search index or an embedding at any time.
                if index in registry.read(connection):
                    raise
                log.info("%s was changed by a migration.", index.name)
                busy = True
        return busy

    def _indexes(self, connection: database.Connection) -> tuple[RegisteredIndex, ...]:
        """Return the search indexes to keep up to date, as the registry has them now."""
        indexes = registry.read(connection, *self._names)
        return tuple(index for index in indexes if self._is_usable(index))

    def _is_usable(self, index: RegisteredIndex) -> bool:
        """Return whether a search index can be worked on; if not, say why, once."""
        problem = index.problem
        if problem is not None and self._told.get(index.id) != str(problem):
            # One that is just being created or altered is in order a moment later.
            log.log(logging.WARNING if index.capturing else logging.INFO, "%s", problem)
        self._told[index.id] = "" if problem is None else str(problem)
        return problem is None

    def _turn(
        self, connection: database.Connection, index: RegisteredIndex, report: Report
    ) -> bool:
        if self._partitions.look(connection, index):
            return True
        if index.live:
            return self._step(connection, self._task(connection, index), report)
        # Without an embedding there are still keywords to find.
        if not index.filled:
            return _fill_documents(connection, index, report)
        refresh_statistics(connection, index)
        return False

    def _task(self, connection: database.Connection, index: RegisteredIndex) -> _Task:
        known = self._tasks.get(index.id)
        if known is not None and known.index == index:
            return known
        definition = index.definition
        statements = Statements(
            definition, index.version, is_hashable=is_hashable(connection, definition)
        )
        embeddings = tuple(
            LoadedEmbedding(
                embedding,
                partial(self._verified, connection, embedding),
                self._adoption(index, statements, embedding),
            )
            for embedding in index.live
        )
        filling = [e for e in embeddings if e.registered.state == "filling"]
        task = _Task(
            index, statements, embeddings, tuple(EmbeddingFill(statements, e) for e in filling)
        )
        self._tasks[index.id] = task
        return task

    def _adoption(
        self, index: RegisteredIndex, statements: Statements, embedding: RegisteredEmbedding
    ) -> Adoption | None:
        """Return where an embedding's first vectors may be, if it is to adopt any."""
        if embedding.state != "filling" or embedding.adopt_column is None:
            return None

        def cut_by_first(texts: Sequence[str | None]) -> list[str]:
            return cut(index.definition, texts, self._tasks[index.id].embeddings[0].embedder)

        return Adoption(index, statements, embedding, cut_by_first)

    def _verified(
        self, connection: database.Connection, embedding: RegisteredEmbedding
    ) -> Embedder:
        """Load an embedding's model; it must reproduce the vectors of its first day."""
        embedder = self._load(embedding.model)
        expected = embedding.fingerprint or self._register(connection, embedding, embedder)
        fingerprint.verify(embedder, expected, model_name=embedding.model.name)
        return embedder

    def _register(
        self,
        connection: database.Connection,
        embedding: RegisteredEmbedding,
        embedder: Embedder,
    ) -> list[list[float]]:
        """Keep a model's fingerprint, or another worker's that was faster; return what is kept."""
        vectors = fingerprint.fingerprint(embedder)
        check_dimensions(embedding, map(len, vectors))
        row = connection.execute(
            "UPDATE pgsearch.embedding SET fingerprint = coalesce(fingerprint, %s)"
            " WHERE id = %s RETURNING fingerprint",
            [Jsonb(vectors), embedding.id],
        ).fetchone()
        return cast("list[list[float]]", row[0]) if row else vectors

    def _step(self, connection: database.Connection, task: _Task, report: Report) -> bool:
        """Do the most urgent thing: a fresh change, the first fill, an added embedding's fill."""
        claim = self._claim(connection, task)
        if claim is not None:
            self._process(connection, task, claim, report)
            # Steady changes must not hold up the first fill, nor the statistics, nor, now and
            # then, the rest.
            if not task.index.filled:
                _fill_documents(connection, task.index, report)
            refresh_statistics(connection, task.index)
            self._claims += 1
            if self._claims % _CLAIMS_IN_A_ROW:
                return True
        if not task.index.filled:
            return _fill_documents(connection, task.index, report) or claim is not None
        if any(self._fill(connection, task, fill, report) for fill in task.fills):
            return True
        entered = advance(
            connection,
            task.index,
            on_build=lambda name: self._on_progress(
                Progress(task.index.name, "index", embedding=name)
            ),
        )
        report.entered += entered
        for state in entered:
            log.info("%s: %s", task.index.name, state)
        refresh_statistics(connection, task.index)
        return bool(entered) or claim is not None

    def _claim(self, connection: database.Connection, task: _Task) -> queue.Claim | None:
        """Claim what is due; models are loaded, and known by their fingerprint, before that."""
        if connection.execute(task.statements.is_due).fetchone() != (True,):
            return None
        try:
            task.load()
        except ModelError:
            # Keywords need no model: at least they shall find the rows that were there.
            while fill_documents(connection, task.index) is not None:
                pass
            raise
        return queue.claim(
            connection,
            task.statements,
            task.columns,
            rows=self._batch_rows,
            lease_s=self._lease_s,
        )

    def _process(
        self,
        connection: database.Connection,
        task: _Task,
        claim: queue.Claim,
        report: Report,
    ) -> None:
        """Bring the claimed documents up to date."""
        statements = task.statements
        try:
            prepared = prepare(connection, statements, task.embeddings, claim.documents)
            written = queue.write(
                connection,
                statements,
                task.columns,
                prepared.writes,
                truncations=claim.truncations,
            )
            parked = queue.fail(
                connection, statements, prepared.failures, max_attempts=self._max_attempts
            )
        except BaseException:
            if not connection.closed:
                queue.release(connection, statements, claim)
            raise
        for document, error in prepared.failures.items():
            key = ", ".join(document.key)
            log.warning("%s: row %s failed: %s", task.index.name, key, error)
        if parked:
            log.error("%s: %s parked; see `pgsearch status`.", task.index.name, parked)
        report.documents += len(written)
        report.chunks += sum(len(write.put) for write in written)
        report.embedded += prepared.embedded
        report.reused += prepared.reused
        report.adopted += prepared.adopted
        report.failed += len(prepared.failures)
        waiting = connection.execute(statements.waiting).fetchone()
        assert waiting is not None
        self._on_progress(
            Progress(task.index.name, "embed", done=len(claim.documents), waiting=waiting[0])
        )

    def _fill(
        self,
        connection: database.Connection,
        task: _Task,
        fill: EmbeddingFill,
        report: Report,
    ) -> bool:
        """Fill an added embedding a little further; return whether there was anything to do."""
        with database.advisory_lock(connection, f"pgsearch fill {fill.embedding_id}") as is_mine:
            # Two workers at it would embed everything twice.
            step = fill.step(connection, self._batch_rows) if is_mine else None
        if step is None:
            return False
        report.chunks += step.filled
        report.embedded += step.embedded
        report.reused += step.reused
        report.adopted += step.adopted
        report.failed += step.failed
        self._on_progress(
            Progress(task.index.name, "fill", done=step.filled, embedding=step.embedding)
        )
        return True


def _fill_documents(
    connection: database.Connection, index: RegisteredIndex, report: Report
) -> bool:
    """Write the documents of the next key range; return whether there was anything to do."""
    written = fill_documents(connection, index)
    report.indexed += written or 0
    return written is not None
