"""A reconciliation: range by range through the keys of a search index."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Final, get_args

import psycopg

from pgsearch import database, models, registry
from pgsearch.database import Connection
from pgsearch.declare import Model
from pgsearch.errors import DatabaseError
from pgsearch.models import fingerprint
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.sync.embed import LoadedEmbedding
from pgsearch.sync.queue import IndexChanged, Key
from pgsearch.sync.reconciliation.examine import Examined, Examiner
from pgsearch.sync.reconciliation.repair import Position, Repairs
from pgsearch.sync.reconciliation.report import (
    Compared,
    ReconciledIndex,
    Reconciliation,
    Tally,
)
from pgsearch.sync.reconciliation.statements import ReconcileStatements
from pgsearch.sync.reconciliation.vectors import Extent, VectorCheck
from pgsearch.sync.statements import is_hashable

#: After so many seconds what seems to be wrong is looked at again, before it counts.
_MOMENT_S: Final = 0.05

#: What is missed of a search index that was changed or dropped.
_UNDEFINED: Final = (
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
)


def reconcile(
    url: str,
    *indexes: str,
    dry_run: bool = False,
    restart: bool = False,
    vectors: Extent = "sample",
    batch: int = 256,
    rate: float | None = None,
    load: Callable[[Model], Embedder] = models.load,
    on_progress: Callable[[Compared], None] = lambda _: None,
) -> Reconciliation:
    """Find what is not as the rows want it, from the data itself, and ask workers to mend it.

    It holds no lock that an application could wait for, but for the moment that it takes to read
    a range, a TRUNCATE. One that was interrupted goes on where it was.

    Args:
        url: The database.
        *indexes: Names of search indexes; all of them if none is named.
        dry_run: Write nothing at all; then it cannot be gone on with, either.
        restart: Begin anew where an earlier one was interrupted.
        vectors: Which vectors the models make anew, to compare them: a sample of each range, all,
            or none.
        batch: Keys per range.
        rate: Keys per second at most.
        load: Makes the Embedder of a model.
        on_progress: Called after every range.

    Raises:
        DatabaseError: There is no search index that could be compared, or one was changed
            meanwhile.
        ModelError: A model cannot be loaded, or is not the registered one.
        ValueError: An argument makes no sense.
    """
    if vectors not in get_args(Extent) or batch < 1 or (rate is not None and rate <= 0):
        raise ValueError(f"reconcile(vectors={vectors!r}, batch={batch}, rate={rate}) cannot be.")
    found: list[ReconciledIndex] = []
    problems: list[DatabaseError] = []
    with database.connect(url, row_security=True) as connection:
        # Nothing is left in the session, which may be a pooler's.
        connection.prepare_threshold = None
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.read_only = False
        registered = registry.read(connection, *indexes)
        database.register_vectors(connection)
        for index in registered:
            if problem := index.problem or _unfilled(index):
                problems.append(problem)
                continue
            run = _Run(connection, index, vectors, load, dry_run=dry_run)
            with _changes_noticed(index):
                found.append(run.run(restart, batch, rate, on_progress))
    if problems and not found:
        raise problems[0]
    return Reconciliation(tuple(found), dry_run, tuple(problems))


def _unfilled(index: RegisteredIndex) -> DatabaseError | None:
    if index.filled:
        return None
    return DatabaseError(
        f"Search index {index.name} cannot be compared yet: documents of rows that were there "
        "before are still being written.",
        hint="Run `pgsearch sync` before, or let the worker come to its end.",
    )


@contextmanager
def _changes_noticed(index: RegisteredIndex) -> Iterator[None]:
    try:
        yield
    except (IndexChanged, *_UNDEFINED) as error:
        raise DatabaseError(
            f"Search index {index.name} was changed by a migration while it was compared.",
            hint="Run it again; `pgsearch doctor` says if something is missing.",
        ) from error


def _verified(embedding: RegisteredEmbedding, load: Callable[[Model], Embedder]) -> Embedder:
    """Load an embedding's model; it must be the one that vectors were written with."""
    embedder = load(embedding.model)
    if embedding.fingerprint is not None:
        fingerprint.verify(embedder, embedding.fingerprint, model_name=embedding.model.name)
    return embedder


class _Run:
    """The reconciliation of one search index."""

    def __init__(
        self,
        connection: Connection,
        index: RegisteredIndex,
        vectors: Extent,
        load: Callable[[Model], Embedder],
        *,
        dry_run: bool,
    ) -> None:
        self._connection = connection
        self._index = index
        self._vectors = vectors
        self._is_dry = dry_run
        self._statements = ReconcileStatements(
            index.definition, index.version, is_hashable(connection, index.definition)
        )
        self._embeddings = [LoadedEmbedding(e, partial(_verified, e, load)) for e in index.live]
        self._repairs = Repairs(connection, index, self._statements)
        self._examiner = Examiner(
            connection,
            self._statements,
            index.live,
            self._embeddings[0].embedder if self._embeddings else None,
            zeros=vectors != "none",
        )

    def run(
        self,
        restart: bool,
        batch: int,
        rate: float | None,
        on_progress: Callable[[Compared], None],
    ) -> ReconciledIndex:
        """Compare all keys, from where an earlier one has come to."""
        started = time.perf_counter()
        position, tally = Position(), Tally()
        if not self._is_dry:
            position, tally = self._repairs.begin(self._vectors, restart=restart)
        first, total = position, self._size()
        check = VectorCheck(
            self._connection, self._statements, self._embeddings, self._vectors, tally
        )
        while keys := self._examiner.keys(position.after, batch):
            damaged = self._range(keys, check, tally)
            now = Position(keys[-1], position.compared + len(keys))
            wrong = check.finish_range()
            if not self._is_dry:
                self._repairs.write(damaged, wrong, tally, position, now)
            position = now
            total = max(total, now.compared)
            on_progress(Compared(self._index.name, now.compared, total, tally.count))
            if rate is not None:
                done = now.compared - first.compared
                time.sleep(max(0.0, started + done / rate - time.perf_counter()))
        if not self._is_dry:
            self._repairs.finish(tally, position.compared)
        return ReconciledIndex(
            name=self._index.name,
            compared=position.compared,
            findings=tally.sorted,
            asked=tally.asked,
            waiting=tally.waiting,
            parked=tally.parked,
            vectors=self._vectors,
            vectors_compared=tally.vectors_compared,
            refused=tally.refused,
            resumed=not first.is_new,
            seconds=time.perf_counter() - started,
        )

    def _size(self) -> int:
        with database.transaction(self._connection):
            row = self._connection.execute(self._statements.size).fetchone()
        assert row is not None
        return int(row[0])

    def _range(self, keys: Sequence[Key], check: VectorCheck, tally: Tally) -> list[Examined]:
        """Compare a range of keys; return what is damaged beyond doubt."""
        suspects: dict[Key, Examined] = {}
        for examined in self._examiner.examine(keys):
            tally.refused += examined.refused
            check.add(examined.passages)
            if examined.found:
                examined.passages.clear()
                suspects[examined.key] = examined
        if not suspects:
            return []
        time.sleep(_MOMENT_S)
        damaged = [
            again
            for again in self._examiner.examine(list(suspects), queue=True)
            if self._is_confirmed(suspects[again.key], again, tally)
        ]
        for examined in damaged:
            for found, count in examined.found.items():
                tally.add(found, count, [examined.key])
            for number, hash_ in examined.zeros:
                check.add_zeros(number, [hash_])
        return damaged

    def _is_confirmed(self, before: Examined, again: Examined, tally: Tally) -> bool:
        """Return whether something is wrong that nobody is at; what is not is left out."""
        again.passages.clear()
        if again.generation != before.generation:
            return False
        again.found &= before.found
        if not again.found:
            return False
        if again.is_queued:
            tally.waiting += 1
            return False
        if again.is_parked:
            # Its chunks cannot be made until somebody has mended the cause.
            tally.parked += 1
            again.found = again.of_documents
            again.unfit.clear()
            again.zeros.clear()
        return bool(again.found)
