"""What a worker reads of its queue, to know whether anything is due: little, however long it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pgsearch import database as product
from pgsearch import resources
from pgsearch.sync import Progress, Worker
from pgsearch.sync.queue import FIRST_BACKFILL
from pgsearch.sync.statements import Statements
from pgsearch.sync.waiting import QueueWatch
from tests.integration.test_worker_concurrency import eventually, running
from tests.plugins.worker import SENTENCES, STORY, Stories

ONE, TWO, _, _ = SENTENCES
MANY = 30_000

PARKED = """
INSERT INTO story_search_queue (id, attempts, failed_at, last_error)
SELECT n, 5, now(), 'no' FROM generate_series(1, %s) AS n
"""
BACKFILL = """
INSERT INTO story_search_queue (queue_id, id) OVERRIDING SYSTEM VALUE
SELECT 4611686018427387904 + n, n FROM generate_series(1, %s) AS n
"""


@pytest.fixture
def watch() -> QueueWatch:
    return QueueWatch(Statements(STORY))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out at once what a look has found to be parked, as others do some seconds later."""
    monkeypatch.setattr("pgsearch.sync.waiting._LASTS_S", 0.0)


def settled(stories: Stories, watch: QueueWatch) -> QueueWatch:
    """Return a watch that has looked often enough to leave out what need not be read."""
    for _ in range(3):
        watch.is_due(stories.connection)
    return watch


def read(stories: Stories) -> int:
    """Return how many entries of the queue's index were read up to now."""
    stories.execute("SELECT pg_stat_force_next_flush()")
    return int(
        stories.value(
            "SELECT idx_tup_read FROM pg_stat_user_indexes"
            " WHERE indexrelname = 'story_search_queue_pkey'"
        )
    )


@contextmanager
def locked(stories: Stories, seconds: float) -> Iterator[None]:
    """Let whoever reads the queue wait for a while."""
    with product.connect(stories.url, autocommit=False) as holder:
        holder.execute("LOCK TABLE story_search_queue IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(seconds, holder.commit)
        timer.start()
        try:
            yield
        finally:
            timer.join()


def test_parked_rows_are_not_read_at_each_look(
    stories: Stories, watch: QueueWatch, at_once: None
) -> None:
    stories.execute(PARKED, MANY)
    settled(stories, watch)
    before = read(stories)
    assert [watch.is_due(stories.connection) for _ in range(20)] == [False] * 20
    stories.insert(ONE)
    assert watch.is_due(stories.connection)
    assert watch.count(stories.connection, 0) == 1
    assert read(stories) - before < 200


def test_parked_rows_of_a_backfill_hide_neither_its_others_nor_changes(
    stories: Stories, watch: QueueWatch, at_once: None
) -> None:
    stories.execute(BACKFILL, MANY)
    stories.execute("UPDATE story_search_queue SET attempts = 5, failed_at = now()")
    settled(stories, watch)
    before = read(stories)
    assert not watch.is_due(stories.connection)
    (story,) = stories.insert(ONE)
    assert watch.is_due(stories.connection)
    stories.execute("DELETE FROM story_search_queue WHERE id = %s AND failed_at IS NULL", story)
    assert not watch.is_due(stories.connection)
    stories.execute(
        "INSERT INTO story_search_queue (queue_id, id) OVERRIDING SYSTEM VALUE VALUES (%s, 1)",
        FIRST_BACKFILL + MANY + 1,
    )
    assert watch.is_due(stories.connection)
    assert read(stories) - before < 200


def test_rows_that_are_gone_are_not_read_at_each_look(
    stories: Stories, watch: QueueWatch, at_once: None
) -> None:
    """Somebody's old snapshot keeps them from being vacuumed away."""
    stories.execute(BACKFILL, MANY)
    with product.connect(stories.url, autocommit=False) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT")
        old.execute("SELECT count(*) FROM story")
        stories.execute("DELETE FROM story_search_queue WHERE id < %s", MANY)
        assert settled(stories, watch).is_due(stories.connection)
        before = read(stories)
        assert watch.is_due(stories.connection)
        assert read(stories) - before < 10


def test_what_was_drawn_early_and_seen_late_is_found(
    stories: Stories, watch: QueueWatch, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with product.connect(stories.url, autocommit=False) as writer:
        writer.execute("INSERT INTO story (body) VALUES ('late')")
        stories.execute(PARKED, 3)
        settled(stories, watch)
        writer.commit()
    assert not watch.is_due(stories.connection)  # only what came after is looked at
    assert watch.is_due(stories.connection, surely=True)
    monkeypatch.setattr("pgsearch.sync.waiting._AGAIN_S", 0.1)
    settled(stories, later := QueueWatch(Statements(STORY)))
    eventually(lambda: later.is_due(stories.connection))


def test_a_running_worker_does_what_was_parked_and_is_due_again(
    stories: Stories, at_once: None
) -> None:
    (story,) = stories.insert(ONE)
    stories.execute("UPDATE story_search_queue SET attempts = 5, failed_at = now()")
    with running(Worker(stories.url)):
        eventually(lambda: stories.value("SELECT filled_at IS NOT NULL FROM pgsearch.search_index"))
        (later,) = stories.insert(TWO)
        eventually(lambda: stories.chunks(later))
        time.sleep(0.2)
        stories.execute("UPDATE story_search_queue SET attempts = 0, failed_at = NULL")
        eventually(lambda: stories.chunks(story))


def test_a_drain_ends_when_nothing_is_due_whatever_it_has_left_out(
    stories: Stories, at_once: None
) -> None:
    stories.insert(TWO)
    stories.drain()
    (story,) = stories.insert(ONE)
    stories.execute("UPDATE story_search_queue SET attempts = 5, failed_at = now()")
    stories.insert(*(f"Story {n}." for n in range(5)))
    told: list[Progress] = []

    def free(progress: Progress) -> None:
        told.append(progress)
        if [p.step for p in told].count("embed") == 5:
            stories.execute("UPDATE story_search_queue SET attempts = 0, failed_at = NULL")

    stories.drain(batch_rows=1, on_progress=free)
    assert stories.chunks(story) == [ONE]
    assert stories.waiting() == 0


def plan(stories: Stories, statement: Any, **parameters: int) -> str:
    """Return how a statement is executed by a worker."""
    with stories.connection.transaction():
        stories.execute(resources.sql("sync/in_order.sql"))
        explained = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) "
        text = explained + statement.as_string(stories.connection)
        rows = stories.connection.execute(text.encode(), parameters).fetchall()
    return "\n".join(line for (line,) in rows)


@pytest.mark.parametrize("left", [0, 1, MANY // 2])
@pytest.mark.parametrize("analysed", [False, True])
def test_the_queue_is_read_by_its_key(stories: Stories, left: int, analysed: bool) -> None:
    """Also where it was long, and the planner knows nothing of it, or that it is short now."""
    stories.execute(BACKFILL, MANY)
    stories.execute("DELETE FROM story_search_queue WHERE id > %s", left)
    if analysed:
        stories.execute("ANALYZE story_search_queue")
    statements = Statements(STORY)
    begin = {"fresh": 0, "backfilled": FIRST_BACKFILL}
    due = plan(stories, statements.is_due, **begin)
    waiting = plan(stories, statements.waiting, limit=100, **begin)
    backlog = plan(stories, statements.backlog, limit=100)
    for explained in (due, waiting, backlog):
        assert "Index" in explained
        assert "on story_search_queue" in explained
        assert "Seq Scan on story_search_queue" not in explained
        assert "Bitmap" not in explained
    assert ("rows=200" in backlog.replace(".00", "")) == (left > 200)
    for explained in (due, waiting):
        assert f"rows={MANY // 2}" not in explained


def test_a_time_limit_of_the_role_does_not_hold(stories: Stories, watch: QueueWatch) -> None:
    stories.insert(ONE, TWO)
    with product.connect(stories.url, row_security=True) as connection:
        connection.execute("SET statement_timeout = '50ms'")
        with locked(stories, 0.3):
            assert watch.is_due(connection)
        with locked(stories, 0.3):
            assert watch.count(connection, 0) == 2


def test_a_count_that_takes_long_is_not_repeated_at_once(
    stories: Stories, watch: QueueWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsearch.sync.waiting._AGAIN_S", 0.1)
    stories.execute(BACKFILL, 100)
    with locked(stories, 0.3):
        assert watch.count(stories.connection, 0) == 100
    stories.execute("DELETE FROM story_search_queue")
    time.sleep(0.2)
    assert watch.count(stories.connection, 10) == 90
    monkeypatch.setattr("pgsearch.sync.waiting._SHARE", 1.0)
    quick = QueueWatch(Statements(STORY))
    quick.count(stories.connection, 0)
    stories.execute(BACKFILL, 100)
    time.sleep(0.2)
    assert quick.count(stories.connection, 0) == 100


def test_a_long_queue_is_estimated(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgsearch.sync.waiting._COUNTED", 100)
    stories.execute(BACKFILL, 99)
    assert QueueWatch(Statements(STORY)).count(stories.connection, 0) == 99
    stories.execute("DELETE FROM story_search_queue")
    stories.execute(BACKFILL, 20_000)
    assert QueueWatch(Statements(STORY)).count(stories.connection, 0) == 100
    stories.execute("VACUUM ANALYZE story_search_queue")
    assert QueueWatch(Statements(STORY)).count(stories.connection, 0) == pytest.approx(20_000, 0.1)
