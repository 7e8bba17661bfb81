"""What comes first, how fast, and for how long: priorities, throttles, leases, lost workers."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

import pgsearch
from pgsearch import database
from pgsearch.errors import ModelUnavailable, Throttled
from pgsearch.sync import Progress, Worker, queue
from tests.integration.test_worker_concurrency import eventually
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES

#: A worker whose process ends as soon as its model meets a text with the word "poison".
POISONED_WORKER = """
import os
import sys

from pgsearch.sync import Worker
from tests.plugins.worker import Watching

def take(texts):
    if any("poison" in text for text in texts):
        os._exit(9)

Worker(sys.argv[1], load=lambda _: Watching(take), lease_s=0.05).drain()
"""


def fill_later(stories: Stories, rows: int) -> None:
    """Insert rows that no trigger sees."""
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute(
        "INSERT INTO story (body) SELECT 'row ' || n FROM generate_series(1, %s) AS n", rows
    )
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")


@pytest.mark.parametrize(("model_s", "batches"), [(0.3, 2), (0.0, 3)])
def test_fresh_changes_come_before_a_backfill(
    stories: Stories, model_s: float, batches: int
) -> None:
    """But for the batch that the model is at, and those that were claimed already."""
    fill_later(stories, 200)
    embedder = Watching()

    def change(texts: Sequence[str]) -> None:
        if ONE not in embedder.asked:
            time.sleep(model_s)
        if len(embedder.asked) == 5 * len(texts):
            stories.insert(ONE)

    embedder.during = change
    stories.drain(embedder, batch_rows=10)
    # It is the fifth batch that the model is at.
    assert 50 <= embedder.asked.index(ONE) <= 40 + 10 * batches
    assert stories.value("SELECT count(*) FROM story_search_chunk") == 201
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_documents_come_before_chunks(stories: Stories) -> None:
    fill_later(stories, 300)
    counted: list[int] = []
    embedder = Watching(
        lambda _: counted.append(stories.value("SELECT count(*) FROM story_search_document"))
    )
    stories.drain(embedder, batch_rows=50)
    assert counted[0] == 300


def test_a_backfill_is_throttled_and_a_change_is_not(stories: Stories) -> None:
    fill_later(stories, 30)
    worker = stories.worker(backfill_rate=40)
    thread = threading.Thread(target=worker.run)
    started = time.monotonic()
    thread.start()
    try:
        time.sleep(0.3)
        (fresh,) = stories.insert(ONE)
        while not stories.chunks(fresh):
            time.sleep(0.01)
        took = time.monotonic() - started
        assert took < 1.2
        while stories.waiting() or stories.value("SELECT count(*) FROM story_search_chunk") < 31:
            time.sleep(0.01)
        # Thirty documents, and only then their chunks.
        assert time.monotonic() - started > 0.75
    finally:
        worker.stop()
        thread.join()
    assert stories.differences() == []


def test_a_throttled_provider_is_waited_for_and_nothing_counts(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    calls: list[float] = []

    def throttle(texts: Sequence[str]) -> None:
        calls.append(time.monotonic())
        if len(calls) < 3:
            raise Throttled("429 Too Many Requests", retry_after=0.3)

    report = stories.drain(Watching(throttle))
    assert [round(b - a, 1) >= 0.3 for a, b in pairwise(calls)] == [True] * 2
    assert (report.documents, report.failed) == (1, 0)
    assert stories.chunks(story) == [ONE]


def test_a_provider_that_refuses_everything_ends_a_drain_and_counts_nothing(
    stories: Stories,
) -> None:
    stories.insert(ONE)

    def refuse(texts: Sequence[str]) -> None:
        raise ModelUnavailable("401 Unauthorized", hint="Set the key.")

    with pytest.raises(ModelUnavailable, match="401"):
        stories.drain(Watching(refuse))
    assert stories.execute("SELECT attempts, leased_until, last_error FROM story_search_queue") == [
        (0, None, None)
    ]


def test_a_running_worker_outlives_such_a_provider(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsearch.sync.trouble._UNAVAILABLE_S", 0.2)
    calls: list[None] = []

    def refuse_once(texts: Sequence[str]) -> None:
        calls.append(None)
        if len(calls) == 1:
            raise ModelUnavailable("401 Unauthorized")

    worker = stories.worker(Watching(refuse_once))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        (story,) = stories.insert(ONE)
        until = time.monotonic() + 10
        while stories.chunks(story) != [ONE]:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        worker.stop()
        thread.join()


def test_a_text_that_ends_workers_is_parked_and_its_neighbours_are_done(stories: Stories) -> None:
    stories.insert(*(f"Story number {n}." for n in range(20)))
    (poison,) = stories.insert("This is poison.")
    stories.insert(*(f"Later story {n}." for n in range(20)))
    for _ in range(queue.MAX_LOST):
        ended = subprocess.run([sys.executable, "-c", POISONED_WORKER, stories.url], check=False)
        assert ended.returncode == 9
        time.sleep(0.06)
    # Those that had been claimed together with it are done before it is parked.
    report = stories.drain(lease_s=0.05)
    assert report.failed == 1
    ((key, lost, error),) = stories.execute(
        "SELECT id, lost, last_error FROM story_search_queue WHERE failed_at IS NOT NULL"
    )
    assert (key, lost) == (poison, queue.MAX_LOST)
    assert "workers ended while they had it" in error
    assert stories.value("SELECT count(*) FROM story_search_chunk") == 40
    assert stories.waiting() == 1


def test_a_stopped_worker_gives_back_what_it_has_not_begun(stories: Stories) -> None:
    stories.insert(ONE, TWO, THREE)
    with subprocess.Popen(
        [Path(sys.executable).with_name("pgsearch"), "--database", stories.url, "worker"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "Waiting" in line:
                break
        os.kill(process.pid, signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 0
    assert "Stopped" in said
    assert stories.value("SELECT count(*) FROM story_search_queue WHERE leased_until > now()") == 0


def test_what_a_broken_connection_has_left_leased_is_given_back(stories: Stories) -> None:
    stories.drain()
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )
    calls: list[None] = []

    def break_once(texts: Sequence[str]) -> None:
        calls.append(None)
        if len(calls) == 1:
            stories.execute(cut)

    worker = stories.worker(Watching(break_once))
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        (story,) = stories.insert(ONE)
        until = time.monotonic() + 10
        while stories.chunks(story) != [ONE]:
            assert time.monotonic() < until, "it waits for a lease that is its own"
            time.sleep(0.02)
    finally:
        worker.stop()
        thread.join()
    assert (len(calls), stories.waiting()) == (2, 0)


def test_a_notification_wakes_a_worker_at_once(stories: Stories) -> None:
    stories.execute(
        "UPDATE pgsearch.search_index SET definition = definition || '{\"notify\": true}'"
    )
    stories.execute(
        "CREATE TRIGGER story_search_notify AFTER INSERT ON story_search_queue"
        " FOR EACH STATEMENT EXECUTE FUNCTION pgsearch.notify()"
    )
    stories.drain()
    worker = stories.worker()
    thread = threading.Thread(target=lambda: worker.run(poll_s=60))
    thread.start()
    try:
        listening = (
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN pgsearch'"
            " AND datname = current_database()"
        )
        while not stories.value(listening):
            time.sleep(0.01)
        time.sleep(0.3)
        started = time.monotonic()
        (story,) = stories.insert(ONE)
        while stories.chunks(story) != [ONE]:
            assert time.monotonic() - started < 5
            time.sleep(0.005)
    finally:
        worker.stop()
        thread.join()


def test_sync_once_does_all_there_is_and_no_more_than_its_time(stories: Stories) -> None:
    stories.insert(*(f"Story number {n}." for n in range(50)))
    told: list[Progress] = []
    slow = Watching(lambda _: time.sleep(0.1))
    first = pgsearch.sync_once(stories.url, load=lambda _: slow, batch_rows=5, max_seconds=0.3)
    assert 5 <= first.documents < 50
    assert stories.value("SELECT count(leased_until) FROM story_search_queue") == 0
    second = pgsearch.sync_once(stories.url)
    assert first.documents + second.documents == 50
    assert told == []
    assert stories.differences() == []


def test_nothing_is_left_in_the_sessions(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a pooler they would be somebody else's."""
    stories.insert(ONE, TWO)
    settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
    prepared = "SELECT count(*) FROM pg_prepared_statements"
    locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    connect = database.connect
    seen: list[object] = []

    def observed(url: str, **options: bool) -> database.Connection:
        connection = connect(url, **options)
        before, close = connection.execute(settings).fetchall(), connection.close

        def look() -> None:
            assert connection.execute(settings).fetchall() == before
            seen.append([connection.execute(query).fetchone() for query in (prepared, locks)])
            close()

        monkeypatch.setattr(connection, "close", look)
        return connection

    monkeypatch.setattr(database, "connect", observed)
    monkeypatch.setattr("pgsearch.lifecycle.build._connected", _refused)
    with pytest.raises(RuntimeError, match="no build"):
        Worker(stories.url).drain()
    # That for reading, that for writing, and that for statistics.
    assert seen == [[(0,), (0,)]] * 3


def _refused(url: str) -> object:
    raise RuntimeError("no build")


@pytest.mark.parametrize(
    "wrong",
    [
        {"backfill_rate": 0},
        {"backfill_rate": float("nan")},
        {"backfill_share": 0},
        {"backfill_share": 1.1},
        {"backfill_share": float("nan")},
        {"batch_rows": 0},
        {"max_attempts": 0},
        {"lease_s": -1},
    ],
    ids=str,
)
def test_a_number_that_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must be above zero"):
        Worker("postgresql://127.0.0.1:1/app", **wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="poll_s must be above zero"):
        Worker("postgresql://127.0.0.1:1/app").run(poll_s=-1)


def test_a_database_that_is_away_is_asked_for_less_and_less_often(
    stories: Stories, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pgsearch.sync.worker._FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr("pgsearch.sync.worker._LONGEST_PAUSE_S", 0.2)
    caplog.set_level(logging.INFO, logger="pgsearch.sync.worker")

    def said() -> list[str]:
        return [
            record.getMessage().partition(":")[0]
            for record in caplog.records
            if record.name == "pgsearch.sync.worker"
        ]

    stories.drain()
    allow = "UPDATE pg_database SET datallowconn = %s WHERE datname = current_database()"
    worker = stories.worker()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        eventually(lambda: said() == ["Waiting for changes."])
        stories.execute(allow, False)
        stories.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
        eventually(lambda: len(said()) >= 6)
        stories.execute(allow, True)
        (story,) = stories.insert(ONE)
        eventually(lambda: stories.chunks(story) == [ONE])
    finally:
        stories.execute(allow, True)
        worker.stop()
        thread.join()
    pauses = [f"Interrupted, trying again in {pause} s" for pause in (0.05, 0.1, 0.2, 0.2, 0.2)]
    assert said()[1:6] == pauses
    assert said()[-1] == "Connected again."
    assert said().count("Connected again.") == 1
