"""What a worker has claimed is its own, or it writes nothing; and it gives back what it lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.declare import Embedding
from pgsearch.errors import Throttled
from pgsearch.schema.embedding import add_embedding, drop_embedding
from pgsearch.schema.index import drop_search_index
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, STORY, Stories, Watching, create_search_index

ONE, TWO, THREE, FOUR = SENTENCES


class Once(Watching):
    """Acts during the first call of the model."""

    def __init__(self, act: object) -> None:
        super().__init__(self._act)
        self._waiting = [act]

    def _act(self, texts: Sequence[str]) -> None:
        while self._waiting:
            time.sleep(0.1)
            self._waiting.pop()()  # type: ignore[operator]


def test_what_was_read_of_an_index_that_was_made_anew_is_not_written(stories: Stories) -> None:
    """Its numbers begin anew: queue rows and generations are those of the one before."""
    first, second = stories.insert(ONE, TWO)

    def make_anew() -> None:
        execute_all(stories.connection, drop_search_index(STORY.name, STORY.table, STORY.schema))
        create_search_index(stories.connection, STORY)
        stories.execute("UPDATE story SET body = %s WHERE id = %s", THREE, first)
        stories.execute("UPDATE story SET body = %s WHERE id = %s", FOUR, second)

    stories.drain(Once(make_anew))
    stories.drain()
    assert (stories.chunks(first), stories.chunks(second)) == ([THREE], [FOUR])
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_vectors_of_a_dropped_embedding_do_not_go_to_another_of_its_name(stories: Stories) -> None:
    stories.insert(ONE, TWO)
    added = Embedding("hash_v1", replace(hash_model(64), revision="2"))
    new = Watching(salt="new ")

    def replace_model() -> None:
        with product.connect(stories.url) as connection:
            execute_all(connection, drop_embedding("public", STORY.name, "hash_v1"))
            execute_all(connection, add_embedding("public", STORY.name, added))

    old = Once(replace_model)
    Worker(stories.url, load=lambda model: new if model.revision else old).drain()
    assert old.asked == [ONE, TWO]
    assert (stories.waiting(), stories.differences({"hash_v1": new})) == (0, [])


def test_a_lease_that_was_taken_over_is_not_written(stories: Stories) -> None:
    """Not even where the text is still the one that was read: the other one writes it."""
    (story,) = stories.insert(ONE)
    asked: list[int] = []

    def take_over() -> None:
        stories.execute("UPDATE story_search_queue SET lease = 1")
        asked.append(stories.waiting())

    report = stories.drain(Once(take_over))
    assert (asked, report.documents, stories.chunks(story)) == ([1], 0, [])
    stories.execute("UPDATE story_search_queue SET leased_until = NULL")
    stories.drain()
    assert stories.chunks(story) == [ONE]


def test_a_worker_never_waits_for_the_document_of_a_row_that_came_back(stories: Stories) -> None:
    """It would hold others meanwhile, and one of them might be the application's."""
    first, second = stories.insert(ONE, TWO)
    stories.drain()
    with psycopg.connect(stories.url) as application:
        application.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        # Until a worker comes, rows that were deleted so have documents.
        application.execute("DELETE FROM story WHERE id IN (%s, %s)", [first, second])
    insert = "INSERT INTO story (id, body) VALUES (%s, %s)"
    with psycopg.connect(stories.url) as application:
        application.execute(insert, [second, THREE])
        stories.drain()
        assert stories.execute("SELECT id FROM story_search_document") == [(second,)]
        application.execute(insert, [first, FOUR])
    time.sleep(0.3)  # what was passed over is put off
    stories.drain()
    assert (stories.chunks(first), stories.chunks(second)) == ([FOUR], [THREE])
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_row_that_the_database_refuses_holds_up_no_other(
    stories: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    first, refused, last = stories.insert(ONE, TWO, THREE)
    stories.execute(f"ALTER TABLE story_search_chunk ADD CHECK (id <> {refused})")
    report = stories.drain()
    assert (report.documents, report.failed) == (2, 1)
    assert (stories.chunks(first), stories.chunks(last)) == ([ONE], [THREE])
    ((key, attempts, error),) = stories.execute(
        "SELECT id, attempts, last_error FROM story_search_queue"
    )
    assert (key, attempts) == (refused, 1)
    assert error.startswith("CheckViolation: new row for relation")
    assert [record.name for record in caplog.records] == ["pgsearch.sync.pipeline"]


def test_a_provider_that_asks_to_wait_is_not_asked_for_the_batches_behind(stories: Stories) -> None:
    stories.insert(*(f"Number {n}." for n in range(6)))

    def refuse(texts: Sequence[str]) -> None:
        time.sleep(0.2)  # by then the next batches stand behind
        raise Throttled("Not so fast.", retry_after=60)

    embedder = Watching(refuse)
    stories.worker(embedder, batch_rows=2).drain(max_seconds=1)
    assert len(embedder.asked) == 2
    assert stories.value("SELECT count(*) FROM story_search_queue WHERE leased_until IS NULL") == 6


def test_nobody_claims_what_is_being_written(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes."""
    stories.insert(ONE, TWO)
    monkeypatch.setattr("pgsearch.sync.write._WRITTEN_TOGETHER", 1)
    stories.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END $$"
    )
    stories.execute(
        "CREATE TRIGGER slow BEFORE INSERT ON story_search_chunk"
        " FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    first, second = Watching(), Watching()
    writing = threading.Thread(target=stories.worker(first, lease_s=0.5).drain)
    writing.start()
    while not first.asked:
        time.sleep(0.01)
    while writing.is_alive():
        stories.drain(second, lease_s=0.5)
    writing.join()
    assert (first.asked, second.asked) == ([ONE, TWO], [])
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_what_was_claimed_when_the_connection_broke_is_given_back(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it while it was read, or while it was cut."""
    for module, name in (("pgsearch.sync.queue", "_read"), ("pgsearch.sync.pipeline", "prepare")):
        (story,) = stories.insert(ONE)
        worker = stories.worker()

        def broken(connection: product.Connection, *_: object, **__: object) -> None:
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

        with monkeypatch.context() as patched:
            patched.setattr(f"{module}.{name}", broken)
            with suppress(psycopg.OperationalError):
                worker.drain()
        assert worker.drain().documents == 1
        assert stories.chunks(story) == [ONE]
