"""The protocol, statement by statement: any interleaving of two workers and an application.

Workers stand still between their statements, and hypothesis says who goes on. Meanwhile rows are
changed, in transactions of every isolation level too; workers are killed and cut off; leases run
out; the model refuses texts. At any time what nothing waits for is right and no chunk looks newer
than it is, no transaction fails, and a change waits for a worker only while that one writes
documents.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from functools import partial
from threading import Event
from typing import Any, TypeAlias

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pgvector import Vector

from pgsearch import database as product
from pgsearch import registry
from pgsearch.declare import Embedding, Model
from pgsearch.errors import EmbeddingFailed, Throttled
from pgsearch.models.fingerprint import PROBES
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.schema.install import install
from pgsearch.sync import Report, fill, queue
from pgsearch.sync.pipeline import Pipeline
from pgsearch.sync.task import Pace, open_task
from pgsearch.testing import HashEmbedder, hash_model
from tests.faults.plan import POISON, READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE
from tests.faults.truth import settle, untruths
from tests.faults.watch import snapshot, wrong
from tests.plugins.faults import Paced, Stepped
from tests.plugins.postgres import Databases
from tests.plugins.search import execute_all
from tests.plugins.worker import CREATE_STORY, SENTENCES, STORY, create_search_index

#: How many interleavings are tried; more with the environment variable, when there is time.
EXAMPLES = int(os.environ.get("PROTOCOL_EXAMPLES", "20"))

#: Keys of the session whose statements stand alone, and of the one that makes transactions: the
#: two have no reason to wait for each other, nor to fail.
ALONE, TOGETHER = (1, 2), (11, 12)

PRIOR_ROWS = [(1, SENTENCES[0]), (2, " ".join(SENTENCES)), (11, SENTENCES[1]), (12, None)]

#: No two texts have the same document.
TEXTS = st.one_of(
    st.sampled_from([None, ""]),
    st.lists(
        st.sampled_from([*SENTENCES[:3], f"{POISON} grew by the wall."]),
        min_size=1,
        max_size=3,
        unique=True,
    ).map(" ".join),
)

CHANGES = {
    "write": "INSERT INTO story (id, body) VALUES (%(key)s, %(text)s)"
    " ON CONFLICT (id) DO UPDATE SET body = excluded.body",
    "insert": "INSERT INTO story (id, body) VALUES (%(key)s, %(text)s) ON CONFLICT (id) DO NOTHING",
    "edit": "UPDATE story SET body = %(text)s WHERE id = %(key)s",
    "touch": "UPDATE story SET views = views + 1 WHERE id = %(key)s",
    "delete": "DELETE FROM story WHERE id = %(key)s",
    "rekey": "UPDATE story SET id = %(other)s WHERE id = %(key)s"
    " AND NOT EXISTS (SELECT FROM story AS other WHERE other.id = %(other)s)",
}

KINDS = st.sampled_from(list(CHANGES))

#: What is done to which key, and what with.
Change: TypeAlias = tuple[str, int, str | None]

ALONE_CHANGES = st.lists(st.tuples(KINDS, st.sampled_from(ALONE), TEXTS), min_size=1, max_size=3)

#: What a worker's transaction has done that others may have to wait for: written documents.
WRITES_DOCUMENTS = (
    STORY.names.fill,
    STORY.names.rewrite,
    "-- Removes the documents of rows that are gone",
)

EXPIRE = """
UPDATE story_search_queue SET leased_until = clock_timestamp() - interval '1 second'
WHERE queue_id IN (SELECT queue_id FROM story_search_queue WHERE leased_until IS NOT NULL
                   FOR UPDATE SKIP LOCKED)
"""

RETRY = """
UPDATE story_search_queue SET attempts = 0, lost = 0, failed_at = NULL, not_before = NULL
WHERE queue_id IN (SELECT queue_id FROM story_search_queue FOR UPDATE SKIP LOCKED)
"""

REFILL = """
UPDATE pgsearch.search_index
SET refill_documents = true, refill_chunks = refill_chunks OR %(chunks)s,
    fill_key = NULL, filled_at = NULL
"""

WORKERS = st.sampled_from(["one", "two"])

#: What a worker does: brings keys up to date (one, fresh ones, all), writes the documents of rows
#: that were there before, or has the keys queued that lack the embedding that was added last.
WORK = st.sampled_from(["one", "fresh", "all", "all", "documents", "embedding"])


#: About 25 statements bring keys up to date; with the last ten the chunks are read and written.
LATE = range(12, 26)


class Moody:
    """A HashEmbedder that refuses one word, or everything."""

    max_tokens = 256

    def __init__(self, dimensions: int, mood: Callable[[], str]) -> None:
        self._model = HashEmbedder(dimensions)
        self._mood = mood
        self.dimensions = dimensions

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        if tuple(texts) != PROBES and self._mood() == "throttled":
            raise Throttled("Not so fast.")
        if self._mood() == "picky" and any(POISON in text for text in texts):
            raise EmbeddingFailed(f"{POISON} is poisonous.")
        return self._model.embed_documents(texts)

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self._model.embed_queries(texts)


class Protocol(RuleBasedStateMachine):
    """See above; `databases` and `template` are given by the test."""

    databases: Databases
    template: str

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._url = self._stack.enter_context(self.databases.fresh(self.template))
        self._observer = self._connected("observer")
        product.register_vectors(self._observer)
        self._alone = self._connected("alone")
        self._together = self._connected("together")
        self._in_transaction = False
        self._workers: dict[str, Stepped] = {}
        self._was_cut: set[str] = set()
        self._embeddings = {"hash_v1": 64}
        self._mood = ""

    def _connected(self, name: str) -> product.Connection:
        url = f"{self._url}&application_name={name}"
        connection = self._stack.enter_context(psycopg.connect(url, autocommit=True))
        # Whoever has to wait would wait for ever: those that hold a lock stand still.
        connection.execute("SET lock_timeout = '20ms'")
        return connection

    # The application

    @rule(changes=ALONE_CHANGES)
    def change(self, changes: list[Change]) -> None:
        for change, key, text in changes:
            self._change(self._alone, change, key, text, ALONE)

    @rule()
    def truncate(self) -> None:
        try:
            self._alone.execute("TRUNCATE story")
        except psycopg.errors.LockNotAvailable:
            # As it waits for whoever reads the table.
            assert self._in_transaction or self._is_any_in_transaction()

    @precondition(lambda self: not self._in_transaction)
    @rule(isolation=st.sampled_from([READ_COMMITTED, REPEATABLE_READ, SERIALIZABLE]))
    def begin(self, isolation: str) -> None:
        self._together.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
        self._together.execute("SELECT body FROM story WHERE id = 11")
        self._in_transaction = True

    @precondition(lambda self: self._in_transaction)
    @rule(change=KINDS, key=st.sampled_from(TOGETHER), text=TEXTS)
    def change_in_transaction(self, change: str, key: int, text: str | None) -> None:
        self._change(self._together, change, key, text, TOGETHER)

    @precondition(lambda self: self._in_transaction)
    @rule(commits=st.booleans())
    def end(self, commits: bool) -> None:
        self._together.execute("COMMIT" if commits else "ROLLBACK")
        self._in_transaction = False

    @precondition(lambda self: not self._in_transaction)
    @rule(isolation=st.sampled_from([REPEATABLE_READ, SERIALIZABLE]), change=KINDS, text=TEXTS)
    def belated(self, isolation: str, change: str, text: str | None) -> None:
        """Change a row in a transaction whose snapshot does not know what a worker has written."""
        self.refill(chunks=False)
        self.begin(isolation)
        self.finish("one")
        self.work([("one", "documents", 30), ("one", "documents", 30)])
        self.change_in_transaction(change, 11, text)
        if self._in_transaction:
            self.end(commits=True)

    def _change(
        self,
        connection: product.Connection,
        change: str,
        key: int,
        text: str | None,
        keys: tuple[int, ...],
    ) -> None:
        other = keys[(keys.index(key) + 1) % len(keys)]
        try:
            connection.execute(CHANGES[change].encode(), {"key": key, "text": text, "other": other})
        except psycopg.errors.LockNotAvailable:
            held = [w.statements for w in self._workers.values() if w.is_in_transaction]
            assert any(
                writes in statement
                for statements in held
                for statement in statements
                for writes in WRITES_DOCUMENTS
            ), f"a {change} had to wait for workers who have done this: {held}"
            if connection is self._together:
                self.end(commits=False)

    # Workers

    @rule(turns=st.lists(st.tuples(WORKERS, WORK, st.integers(1, 30)), min_size=1, max_size=6))
    def work(self, turns: list[tuple[str, str, int]]) -> None:
        """Let workers go on for some statements; one that is at nothing begins something."""
        for name, what, statements in turns:
            if name not in self._workers:
                work = {"documents": self._documents, "embedding": self._embedding}.get(what)
                self._was_cut.discard(name)
                self._workers[name] = Stepped(
                    self._url, name, work or partial(self._process, what), self._observer
                )
            self._workers[name].go(statements)
            self._look_after()

    @rule(
        before=ALONE_CHANGES,
        first=st.sampled_from(LATE),
        meanwhile=ALONE_CHANGES,
        second=st.sampled_from(LATE),
    )
    def race(self, before: list[Change], first: int, meanwhile: list[Change], second: int) -> None:
        """Let a worker nearly end with a change, and another one with the next."""
        self.change(before)
        self.work([("one", "all", first)])
        self.change(meanwhile)
        self.work([("two", "all", second)])
        self.finish("one")
        self.finish("two")

    def _process(self, what: str, connection: Paced) -> None:
        rows = 1 if what == "one" else 100
        with connection.unpaced():
            (index,) = registry.read(connection)
            task = open_task(connection, index, self._load, Pace(rows))
            task.load()
        pipeline = Pipeline(
            lambda: nullcontext(connection), lease_s=3600, max_attempts=3, stop=Event()
        )
        try:
            pipeline.connect()
            claim = queue.claim(
                connection,
                task.statements,
                task.columns,
                rows=rows,
                lease_s=3600,
                fresh=what == "fresh",
            )
            if claim is not None:
                pipeline.start(connection, task, claim)
                pipeline.finish(connection, Report())
        finally:
            pipeline.close()

    def _documents(self, connection: Paced) -> None:
        with connection.unpaced():
            (index,) = registry.read(connection)
        fill.DocumentFill(index).step(connection)

    def _embedding(self, connection: Paced) -> None:
        with connection.unpaced():
            (index,) = registry.read(connection)
            task = open_task(connection, index, self._load, Pace(1))
        if index.live[-1].state == "filling":
            fill.fill_embedding(connection, task.statements, index.live[-1])

    @precondition(lambda self: self._workers)
    @rule(name=WORKERS)
    def finish(self, name: str) -> None:
        if name in self._workers:
            self._workers[name].finish()
        self._look_after()

    @precondition(lambda self: self._workers)
    @rule(name=WORKERS)
    def kill(self, name: str) -> None:
        if name in self._workers:
            self._workers.pop(name).kill()

    @precondition(lambda self: self._workers)
    @rule(name=WORKERS)
    def cut(self, name: str) -> None:
        if name in self._workers:
            self._was_cut.add(name)
            self._workers[name].cut()
            self._workers[name].finish()
        self._look_after()

    def _load(self, model: Model) -> Moody:
        return Moody(model.dimensions, lambda: self._mood)

    def _look_after(self) -> None:
        """Forget workers that are done; none may have ended with an error of its own."""
        for name in [name for name, worker in self._workers.items() if worker.is_done]:
            error = self._workers.pop(name).error
            is_to_be = name in self._was_cut and isinstance(error, psycopg.OperationalError)
            if error is not None and not is_to_be:
                raise error

    def _is_any_in_transaction(self) -> bool:
        return any(worker.is_in_transaction for worker in self._workers.values())

    # What happens to them

    @precondition(lambda self: self._workers)
    @rule()
    def leases_run_out(self) -> None:
        self._observer.execute(EXPIRE.encode())

    @rule()
    def retry(self) -> None:
        self._observer.execute(RETRY.encode())

    @rule(chunks=st.booleans())
    def refill(self, chunks: bool) -> None:
        """Have everything written anew, as after a change of the search index."""
        with suppress(psycopg.errors.LockNotAvailable):  # a worker is at the fill
            self._observer.execute(REFILL.encode(), {"chunks": chunks})

    @rule(mood=st.sampled_from(["", "picky", "picky", "throttled"]))
    def model_is(self, mood: str) -> None:
        self._mood = mood

    @precondition(
        lambda self: (
            len(self._embeddings) == 1
            and not self._in_transaction
            and not self._is_any_in_transaction()  # it would wait
        )
    )
    @rule()
    def add_embedding(self) -> None:
        added = Embedding("hash_v2", hash_model(32))
        execute_all(self._observer, embedding_ddl.add_embedding("public", STORY.name, added))
        self._embeddings["hash_v2"] = 32

    # What must hold

    @invariant()
    def nothing_is_wrong(self) -> None:
        keys, is_filled = snapshot(self._observer, tuple(self._embeddings))
        assert wrong(keys, self._embeddings, is_filled=is_filled, whole=1) == []

    def teardown(self) -> None:
        try:
            if self._in_transaction:
                self.end(commits=True)
            for _ in range(10):  # each may wait for what the other one does next
                for worker in self._workers.values():
                    worker.finish()
                self._look_after()
            assert not self._workers, "workers wait for each other"
            self._observer.execute(EXPIRE.encode())
            settle(self._url)
            assert untruths(self._url, self._embeddings) == []
        finally:
            for worker in self._workers.values():
                worker.kill()
            self._stack.close()


@pytest.fixture(scope="module")
def protocol_template(databases: Databases) -> str:
    """Name of a template whose table had rows before its search index, which are not filled."""

    def prepare(url: str) -> None:
        with product.connect(url) as connection:
            connection.execute(CREATE_STORY.encode())
            with connection.cursor() as cursor:
                cursor.executemany("INSERT INTO story (id, body) VALUES (%s, %s)", PRIOR_ROWS)
            execute_all(connection, install())
            create_search_index(connection, STORY)

    return databases.template("protocol", prepare)


@pytest.mark.filterwarnings("ignore:.*ServerCursor:ResourceWarning")  # who is killed leaves one
def test_any_interleaving_ends_in_the_truth(
    databases: Databases, protocol_template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fill, "FIRST_RANGE", 2)
    monkeypatch.setattr(fill, "KEYS_PER_RANGE", 2)
    # Who waits stands still until others have gone on, and is not to give up before.
    monkeypatch.setattr(fill, "_LOCK_TIMEOUT_MS", 60_000)
    monkeypatch.setattr(queue, "_LOCK_TIMEOUT_MS", 60_000)
    machine: Any = type(
        "Protocol", (Protocol,), {"databases": databases, "template": protocol_template}
    )
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
