"""What was there before: rows of an existing table, vectors of an added embedding."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.models.protocol import Embedder
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.sync import Progress, Report, Worker
from pgsearch.testing import HashEmbedder
from tests.plugins.search import execute_all
from tests.plugins.worker import (
    SENTENCES,
    Stories,
    Watching,
    create_search_index,
    differences,
    url_of,
)

ONE, TWO, THREE, FOUR = SENTENCES
HASH_V1 = HashEmbedder(64)
BOTH = {"hash_v1": HASH_V1, "hash_v2": HashEmbedder(32)}


@pytest.fixture(autouse=True)
def ranges_of_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows be several ranges."""
    for constant in ("FIRST_RANGE", "LONGEST_RANGE", "KEYS_PER_RANGE"):
        monkeypatch.setattr(f"pgsearch.sync.fill.{constant}", 7)


#: Keys that an order, a type or a text in JSON could make wrong: values for rows 1 to 24.
KEYS = {
    "bigint": ({"id": "bigint"}, "(n - 12) * 9007199254740993"),
    "text": ({"id": "text"}, "chr(100 - n * 3) || '\"\\''' || n"),
    "uuid": ({"id": "uuid"}, "md5(n::text)::uuid"),
    "numeric": ({"id": "numeric(30,10)"}, "n * 0.1234567891 + 12345678901234567890"),
    "date": ({"id": "date"}, "date '1999-12-20' + n"),
    "timestamptz": ({"id": "timestamp with time zone"}, "now() + n * interval '1.000001 s'"),
    "composite": ({"shelf": "text", "number": "integer"}, "chr(65 + n % 3), 24 - n"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_the_rows_of_an_existing_table_are_filled_in_ranges(
    installed: product.Connection, kind: str
) -> None:
    key, values = KEYS[kind]
    columns = ", ".join(f"{name} {type_}" for name, type_ in key.items())
    installed.execute(f"CREATE TABLE leaf ({columns}, body text, PRIMARY KEY ({', '.join(key)}))")
    installed.execute(
        f"INSERT INTO leaf SELECT {values}, 'Leaf ' || n FROM generate_series(1, 24) AS n"
    )
    definition = IndexDefinition(
        "leaf_search",
        "public",
        "leaf",
        key=tuple(TypedColumn(*column) for column in key.items()),
        text=(TextColumn("body", "A"),),
    )
    create_search_index(installed, definition)
    report = Worker(url_of(installed)).drain()
    assert (report.documents, report.chunks, report.embedded) == (24, 24, 24)
    assert report.entered == ["hash_v1: ready", "hash_v1: active"]
    # Four transactions wrote the documents, of seven rows or what was left.
    assert installed.execute(
        "SELECT count(*) FROM leaf_search_document GROUP BY xmin::text ORDER BY 1"
    ).fetchall() == [(3,), (7,), (7,), (7,)]
    assert differences(installed, definition, {"hash_v1": HASH_V1}) == []


@pytest.fixture
def old_stories(stories: Stories) -> Stories:
    """Twenty rows that were there before their search index."""
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.insert(*(f"Story {n} is old." for n in range(20)))
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    assert stories.value("SELECT count(*) FROM story_search_document") == 0
    return stories


def test_a_fill_goes_on_where_it_was_interrupted(old_stories: Stories) -> None:
    def interrupt(texts: Sequence[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        old_stories.drain(Watching(interrupt))
    documents = "SELECT id, generation, xmin::text FROM story_search_document ORDER BY id"
    before = old_stories.execute(documents)
    assert len(before) == 20
    report = old_stories.drain()
    assert (report.documents, report.embedded) == (20, 20)
    assert old_stories.execute(documents) == before
    assert old_stories.differences() == []


def test_a_filled_table_is_not_filled_again(old_stories: Stories) -> None:
    old_stories.drain()
    documents = "SELECT id, generation, xmin::text FROM story_search_document ORDER BY id"
    before = old_stories.execute(documents)
    assert old_stories.drain().documents == 0
    assert old_stories.execute(documents) == before


def test_a_fill_does_not_read_the_table_again_and_again(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the planner knows of documents, once it has looked, is that none is missing."""
    monkeypatch.setattr("pgsearch.sync.fill.LONGEST_RANGE", 50)
    for table in ("story", "story_search_document"):
        stories.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    insert = "INSERT INTO story (body) SELECT 'old ' || n FROM generate_series(1, %s) AS n"
    stories.execute(insert, 500)
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    stories.drain()
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute(insert, 5000)
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    stories.execute("UPDATE pgsearch.search_index SET filled_at = NULL")
    stories.execute("ANALYZE story, story_search_document")
    # Nor its index: more ranges than PostgreSQL waits for before it plans for any key at once.
    read = (
        "SELECT t.seq_scan + t.seq_tup_read + i.idx_tup_read FROM pg_stat_user_tables AS t"
        " JOIN pg_stat_user_indexes AS i USING (relid) WHERE t.relname = 'story'"
    )
    before = stories.value(read)
    report = stories.drain()
    assert report.indexed == 5000
    assert stories.value(read) - before < 40_000


def test_rows_that_changed_before_the_fill_came_to_them_are_right(old_stories: Stories) -> None:
    last = old_stories.value("SELECT max(id) FROM story")
    old_stories.execute("UPDATE story SET body = %s WHERE id = %s", ONE, last)
    old_stories.execute("DELETE FROM story WHERE id = %s", last - 1)
    old_stories.execute("UPDATE story SET id = 1000 WHERE id = %s", last - 2)
    old_stories.insert(TWO)
    report = old_stories.drain()
    assert report.embedded == 20
    assert (old_stories.waiting(), old_stories.differences()) == (0, [])


def test_a_fresh_change_is_not_kept_waiting_by_a_fill(old_stories: Stories) -> None:
    """It comes before what was there before, but for the two batches that are on their way."""
    embedder = Watching()
    written: list[list[int]] = []

    def change(texts: Sequence[str]) -> None:
        if not written:
            written.append(old_stories.insert(ONE))
            time.sleep(0.3)  # as a model does

    embedder.during = change
    old_stories.drain(embedder, batch_rows=5)
    assert embedder.asked.index(ONE) < 15
    assert old_stories.differences() == []


def test_two_workers_fill_a_table_together(old_stories: Stories) -> None:
    threads = [threading.Thread(target=Worker(old_stories.url).drain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    old_stories.drain()
    assert old_stories.states() == {"hash_v1": "active"}
    assert (old_stories.waiting(), old_stories.differences()) == (0, [])


@pytest.fixture
def two_models(stories: Stories) -> Stories:
    """Thirty documents of two chunks with an active embedding, and another one just added."""
    stories.insert(*(f"{ONE} The end of number {n}." for n in range(30)))
    stories.drain()
    stories.add_embedding("hash_v2", 32)
    return stories


def test_an_added_embedding_is_filled_and_becomes_ready(two_models: Stories) -> None:
    assert two_models.states() == {"hash_v1": "active", "hash_v2": "filling"}
    told: list[Progress] = []
    report = two_models.drain(batch_rows=25, on_progress=told.append)
    assert report.entered == ["hash_v2: ready"]
    # Thirty endings, and one beginning that all have in common.
    assert (report.documents, report.chunks, report.embedded) == (30, 60, 31)
    assert sum(p.done for p in told if p.step == "embed") == 30
    assert two_models.states() == {"hash_v1": "active", "hash_v2": "ready"}
    assert two_models.differences(BOTH) == []
    assert two_models.drain().embedded == 0


def test_changes_go_to_every_live_embedding(two_models: Stories) -> None:
    two_models.execute("UPDATE story SET body = 'Changed before the fill.' WHERE id = 1")
    two_models.drain()
    two_models.execute("UPDATE story SET body = 'Changed after the fill.' WHERE id = 2")
    two_models.insert(THREE)
    report = two_models.drain()
    assert (report.documents, report.chunks, report.embedded) == (2, 2, 4)
    assert two_models.differences(BOTH) == []


def drain_second(stories: Stories, second: Embedder, **options: Any) -> Report:
    """Let a worker do all that is due, with a model of one's own for the second embedding."""
    models = {64: HASH_V1, 32: second}
    return Worker(stories.url, load=lambda model: models[model.dimensions], **options).drain()


def test_a_change_during_the_fill_is_not_overwritten_by_it(two_models: Stories) -> None:
    waiting = ["UPDATE story SET body = 'Changed.' WHERE id = 1", "DELETE FROM story WHERE id = 2"]

    def change(texts: Sequence[str]) -> None:
        while waiting:
            two_models.execute(waiting.pop())

    drain_second(two_models, Watching(change, dimensions=32))
    assert waiting == []
    assert two_models.differences(BOTH) == []


def test_a_fill_does_not_put_the_vector_of_an_old_text_beside_a_new_one(
    two_models: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new text was written meanwhile, by a worker that does not know the added embedding."""
    monkeypatch.setattr("pgsearch.sync.fill.KEYS_PER_RANGE", 100)
    waiting = ["UPDATE story SET body = 'Changed.' WHERE id = 1"]

    def change(texts: Sequence[str]) -> None:
        while waiting:
            time.sleep(0.2)  # by then the other worker has nothing to do but wait for its model
            two_models.execute(waiting.pop())
            two_models.drain_first_embedding()

    drain_second(two_models, Watching(change, dimensions=32))
    assert two_models.chunks(1) == ["Changed."]
    assert two_models.differences(BOTH) == []


def test_a_fill_goes_on_where_a_worker_left_it(two_models: Stories) -> None:
    embedder = Watching(dimensions=32)

    def interrupt(texts: Sequence[str]) -> None:
        if len(embedder.asked) > 15:
            raise KeyboardInterrupt

    embedder.during = interrupt
    with pytest.raises(KeyboardInterrupt):
        drain_second(two_models, embedder, batch_rows=10)
    filled = two_models.value("SELECT count(embedding_hash_v2) FROM story_search_chunk")
    assert 0 < filled < 60
    assert two_models.drain().chunks == 60 - filled
    assert two_models.differences(BOTH) == []


def answering(stories: Stories) -> list[int]:
    """Return the dimensions that the search function takes: those of the active embedding."""
    found = []
    for dimensions in (32, 64):
        try:
            vector = HashEmbedder(dimensions).embed_queries(["boats"])[0]
            stories.execute("SELECT * FROM story_search('boats', vector => %s)", vector)
            found.append(dimensions)
        except psycopg.errors.InvalidParameterValue:
            continue
    return found


def activate(stories: Stories, name: str) -> None:
    execute_all(
        stories.connection, embedding_ddl.activate_embedding("public", "story_search", name)
    )


def drop(stories: Stories, name: str) -> None:
    execute_all(stories.connection, embedding_ddl.drop_embedding("public", "story_search", name))


def test_an_embedding_is_switched_to_back_and_dropped(two_models: Stories) -> None:
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="it is filling"):
        activate(two_models, "hash_v2")
    two_models.drain()
    assert answering(two_models) == [64]
    activate(two_models, "hash_v2")
    assert two_models.states() == {"hash_v1": "ready", "hash_v2": "active"}
    assert answering(two_models) == [32]
    # The one that was active is kept up to date, so the way back is as short.
    two_models.execute("UPDATE story SET body = 'Written under the second model.' WHERE id = 1")
    two_models.drain()
    activate(two_models, "hash_v1")
    assert answering(two_models) == [64]
    assert two_models.differences(BOTH) == []
    with pytest.raises(psycopg.errors.ObjectInUse, match="hash_v1"):
        drop(two_models, "hash_v1")
    drop(two_models, "hash_v2")
    assert two_models.states() == {"hash_v1": "active"}
    assert two_models.value("SELECT to_regclass('story_search_hash_v2_hnsw') IS NULL")
    two_models.insert(TWO)
    assert two_models.drain().embedded == 1
    assert two_models.differences() == []


def test_a_worker_goes_on_when_the_embedding_that_it_fills_is_dropped(
    two_models: Stories,
) -> None:
    doomed = Watching(lambda _: drop(two_models, "hash_v2"), dimensions=32)
    report = drain_second(two_models, doomed)
    assert report.entered == []
    assert two_models.states() == {"hash_v1": "active"}


def test_a_worker_goes_on_when_an_embedding_is_dropped_under_a_change(
    two_models: Stories,
) -> None:
    two_models.drain()
    two_models.execute("UPDATE story SET body = 'Changed.' WHERE id = 1")
    doomed = Watching(lambda _: drop(two_models, "hash_v2"), dimensions=32)
    report = drain_second(two_models, doomed)
    assert report.documents == 1
    assert (two_models.waiting(), two_models.differences()) == (0, [])


def test_a_text_that_the_new_model_cannot_take_is_left_to_the_queue(two_models: Stories) -> None:
    def refuse(texts: Sequence[str]) -> None:
        if "The end of number 7." in texts:
            raise RuntimeError("not this one")

    report = drain_second(two_models, Watching(refuse, dimensions=32))
    assert report.failed == 1
    assert two_models.execute("SELECT id, attempts, last_error FROM story_search_queue") == [
        (8, 1, "RuntimeError: not this one")
    ]
    assert (
        two_models.value("SELECT count(*) FROM story_search_chunk WHERE embedding_hash_v2 IS NULL")
        == 2
    )


def test_an_invalid_index_is_dropped_and_built_anew(stories: Stories) -> None:
    """A build that waits for an old transaction loses its connection."""
    stories.insert(ONE, TWO)
    builder: list[threading.Thread] = []
    errors: list[BaseException] = []

    def drain() -> None:
        try:
            stories.drain()
        except psycopg.OperationalError as error:
            errors.append(error)

    validity = (
        "SELECT indisvalid FROM pg_index"
        " WHERE indexrelid = to_regclass('story_search_hash_v1_hnsw')"
    )
    with product.connect(stories.url, autocommit=False) as holder:
        holder.execute("LOCK TABLE story_search_chunk IN ROW EXCLUSIVE MODE")
        builder.append(threading.Thread(target=drain))
        builder[0].start()
        while stories.execute(validity) != [(False,)]:
            pass
        stories.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'CREATE INDEX%'"
        )
        builder[0].join()
    assert len(errors) == 1
    assert stories.execute(validity) == [(False,)]
    assert stories.states() == {"hash_v1": "indexing"}
    assert stories.drain().entered == ["hash_v1: ready", "hash_v1: active"]
    assert stories.execute(validity) == [(True,)]
    assert stories.differences() == []


def test_an_index_is_built_while_the_application_writes(stories: Stories) -> None:
    stories.insert(ONE)
    written = []

    def write(progress: object) -> None:
        if getattr(progress, "step", None) == "index":
            written.extend(stories.insert(TWO))

    stories.drain(on_progress=write)
    assert len(written) == 1
    assert stories.states() == {"hash_v1": "active"}
    assert stories.differences() == []


def test_a_build_that_ends_while_it_is_looked_for_is_not_begun_again(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["pgsearch.lifecycle.advance"]
    is_built, steps = vars(module)["is_built"], list[str]()

    def slowly(*arguments: Any) -> bool:
        was = bool(is_built(*arguments))
        time.sleep(0.5)
        return was

    monkeypatch.setattr(module, "is_built", slowly)
    stories.insert(ONE)
    stories.drain(on_progress=lambda progress: steps.append(progress.step))
    assert steps.count("index") == 1
    assert stories.states() == {"hash_v1": "active"}


def test_a_row_that_leaves_its_range_meanwhile_takes_no_other_along(stories: Stories) -> None:
    """The fill waits for the row, and then finds it under a key far behind."""
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute("INSERT INTO story (body) SELECT 'row ' || n FROM generate_series(1, 1000) n")
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    with product.connect(stories.url, autocommit=False) as application:
        application.execute("UPDATE story SET id = 1000000 WHERE id = (SELECT min(id) FROM story)")
        worker = threading.Thread(target=stories.drain)
        worker.start()
        time.sleep(0.5)
        application.commit()
        worker.join(timeout=30)
    assert stories.value("SELECT count(*) FROM story_search_document") == 1000


def test_the_first_fill_gives_way_to_the_application(stories: Stories) -> None:
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute("INSERT INTO story (body) SELECT 'row ' || n FROM generate_series(1, 1000) n")
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    low = stories.value("SELECT min(id) FROM story")
    with product.connect(stories.url, autocommit=False) as application:
        application.execute("UPDATE story SET body = 'later' WHERE id = %s", [low + 5])
        worker = threading.Thread(target=stories.drain)
        worker.start()
        time.sleep(0.3)
        started = time.perf_counter()
        application.execute("UPDATE story SET body = 'sooner' WHERE id = %s", [low + 3])
        assert time.perf_counter() - started < 1.0
        application.commit()
        worker.join(timeout=30)
    assert stories.value("SELECT count(*) FROM story_search_document") == 1000
    assert stories.differences() == []
