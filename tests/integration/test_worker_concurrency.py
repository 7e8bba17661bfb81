"""Workers and the application at the same time: nobody waits, and nothing stale stays."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.sync import Worker, session
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES

#: A worker in a process of its own, whose model says that it computes and then never returns.
HANGING_WORKER = """
import sys, time
from pgsearch.sync import Worker, session
from tests.plugins.worker import Watching

def hang(texts):
    print("computing", flush=True)
    time.sleep(600)

Worker(sys.argv[1], load=lambda _: Watching(hang), lease_s=3).drain()
"""


UPSERT = """
INSERT INTO story (id, body) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET body = excluded.body
"""
NEW_KEY = "UPDATE story SET id = 1000 + nextval('story_id_seq') WHERE id = %s"


def once(act: Callable[[], object]) -> Callable[[Sequence[str]], None]:
    """Return what acts during the first call of a model only.

    A moment later, for the worker first looks for a next batch; then it waits for its model.
    """
    waiting = [act]

    def during(texts: Sequence[str]) -> None:
        if waiting:
            time.sleep(0.2)
            waiting.pop()()

    return during


@contextmanager
def running(*workers: Worker) -> Iterator[None]:
    """Let workers run in threads of their own; an error of one is raised in the end."""
    failures: list[BaseException] = []

    def run(worker: Worker) -> None:
        try:
            worker.run(poll_s=0.02)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=[worker]) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.stop()
        for thread in threads:
            thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def eventually(holds: Callable[[], object], within: float = 10.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.02)


def sessions(stories: Stories) -> list[tuple[str, bool]]:
    """Return the state of every other session, and whether it is in a transaction.

    As soon as all are idle: the worker claims the next batch while the model begins with this one.
    """
    end = time.monotonic() + 10
    while True:
        seen = stories.execute(
            "SELECT state, xact_start IS NOT NULL OR backend_xmin IS NOT NULL"
            " FROM pg_stat_activity WHERE datname = current_database()"
            " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        if set(seen) == {("idle", False)} or time.monotonic() > end:
            return seen
        time.sleep(0.02)


def test_no_transaction_is_open_while_the_model_computes(stories: Stories) -> None:
    stories.insert(ONE, TWO, THREE)
    seen: list[tuple[str, bool]] = []
    stories.drain(Watching(lambda _: seen.extend(sessions(stories))), batch_rows=1)
    assert set(seen) == {("idle", False)}


def test_no_transaction_is_open_while_an_added_embedding_is_filled(stories: Stories) -> None:
    stories.insert(ONE, TWO)
    stories.drain()
    stories.add_embedding("hash_v2", 64, model="another")
    seen: list[tuple[str, bool]] = []
    stories.drain(Watching(lambda _: seen.extend(sessions(stories))), batch_rows=1)
    assert set(seen) == {("idle", False)}


@pytest.mark.parametrize(
    ("statement", "left"),
    [
        pytest.param("UPDATE story SET body = 'Written meanwhile.'", 2, id="update"),
        pytest.param("UPDATE story SET id = id + 100", 2, id="new keys"),
        pytest.param("DELETE FROM story", 0, id="delete"),
        pytest.param("TRUNCATE story", 0, id="truncate"),
        pytest.param("ALTER TABLE story ADD COLUMN note text", 2, id="alter table"),
    ],
)
@pytest.mark.parametrize("embedded_before", [False, True])
def test_rows_in_flight_can_be_changed_at_once(
    stories: Stories, statement: str, left: int, embedded_before: bool
) -> None:
    stories.insert(ONE, TWO)
    if embedded_before:
        stories.drain()
        stories.execute("UPDATE story SET body = body || ' And more.'")
    milliseconds: list[float] = []

    def change() -> None:
        # No lock is waited for, which no load of this machine can excuse; nor is anything else.
        stories.execute("SET lock_timeout = '10ms'")
        started = time.perf_counter()
        stories.execute(statement)
        milliseconds.append(1000 * (time.perf_counter() - started))

    stories.drain(Watching(once(change)))
    assert milliseconds[0] < 100
    assert stories.value("SELECT count(DISTINCT id) FROM story_search_chunk") == left
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_text_that_changed_meanwhile_is_not_written(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    written: list[list[str]] = []
    calls: list[str] = []

    def during(texts: Sequence[str]) -> None:
        calls.extend(texts)
        written.append(stories.chunks(story))
        if len(calls) == 1:
            stories.execute("UPDATE story SET body = %s", TWO)

    report = stories.drain(Watching(during))
    assert calls == [ONE, TWO]
    # When the second text was at the model, the first one had not been written.
    assert written == [[], []]
    assert (report.documents, report.chunks) == (1, 1)
    assert stories.chunks(story) == [TWO]


def test_a_row_deleted_and_inserted_again_meanwhile_is_not_overwritten(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    seen: list[list[str]] = []

    def replace() -> None:
        stories.execute("DELETE FROM story")
        stories.execute("INSERT INTO story (id, body) VALUES (%s, %s)", story, TWO)
        Worker(stories.url).drain()
        seen.append(stories.chunks(story))

    report = stories.drain(Watching(once(replace)))
    assert seen == [[TWO]]
    assert (report.documents, report.chunks) == (0, 0)
    assert stories.chunks(story) == [TWO]
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_what_another_worker_has_leased_is_left_to_it(stories: Stories) -> None:
    stories.insert(ONE, TWO)
    reports = []
    first = Watching(once(lambda: reports.append(Worker(stories.url).drain())))
    mine = stories.drain(first)
    assert [report.documents for report in reports] == [0]
    assert (mine.documents, mine.embedded) == (2, 2)


def test_a_lease_is_renewed_while_the_model_computes(stories: Stories) -> None:
    stories.insert(ONE)
    reports = []

    def outlast() -> None:
        time.sleep(1.0)
        reports.append(Worker(stories.url).drain())

    mine = stories.drain(Watching(once(outlast)), lease_s=0.5)
    assert [report.documents for report in reports] == [0]
    assert mine.documents == 1


def test_a_lease_that_ran_out_is_anybodys(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the machine had stood still meanwhile.
    monkeypatch.setattr("pgsearch.sync.queue.renew", lambda *_, **__: None)
    (story,) = stories.insert(ONE)
    reports = []

    def outlive() -> None:
        time.sleep(0.06)
        reports.append(Worker(stories.url).drain())

    mine = stories.drain(Watching(once(outlive)), lease_s=0.05)
    assert [report.documents for report in reports] == [1]
    assert mine.failed == 0
    assert stories.chunks(story) == [ONE]
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_the_claim_of_a_worker_that_was_killed_is_done_by_another(stories: Stories) -> None:
    stories.insert(ONE, TWO)
    with subprocess.Popen(
        [sys.executable, "-c", HANGING_WORKER, stories.url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "computing\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert stories.drain().documents == 0
    left = stories.value(
        "SELECT extract(epoch FROM max(leased_until) - clock_timestamp())::float8"
        " FROM story_search_queue"
    )
    assert 0 < left < 3
    time.sleep(left + 0.01)
    report = stories.drain()
    assert (report.documents, report.embedded) == (2, 2)
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_an_interrupted_worker_gives_its_claim_back_at_once(stories: Stories) -> None:
    stories.insert(ONE, TWO)

    def interrupt(texts: Sequence[str]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stories.drain(Watching(interrupt))
    assert stories.drain().documents == 2


@contextmanager
def writes_held_up(stories: Stories) -> Iterator[None]:
    """Let chunks be read but not written, so that a worker waits in the middle of its write."""
    with product.connect(stories.url, autocommit=False) as blocker:
        blocker.execute("LOCK TABLE story_search_chunk IN SHARE MODE")
        yield


def waiting_for_locks(stories: Stories) -> int:
    """Return how many sessions wait for a lock of another one."""
    return int(
        stories.value(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        pytest.param(f"UPDATE story SET body = '{ONE}'", [ONE], id="shorter"),
        pytest.param(f"UPDATE story SET body = '{TWO} {ONE}'", [TWO, ONE], id="as before"),
        pytest.param("DELETE FROM story", [], id="deleted"),
    ],
)
@pytest.mark.parametrize("before", ["", f"{TWO} {FOUR}"])
def test_a_claim_may_read_chunks_that_are_being_replaced(
    stories: Stories, before: str, change: str, wanted: list[str]
) -> None:
    """The narrowest window: one worker has compared generations and not yet committed, the row
    changes, and another worker claims that change and reads the chunks that are still there.
    """
    (story,) = stories.insert(before)
    stories.drain()
    stories.execute("UPDATE story SET body = %s", f"{ONE} {THREE} {FOUR}")
    first, second = (threading.Thread(target=Worker(stories.url).drain) for _ in range(2))
    with writes_held_up(stories):
        first.start()
        eventually(lambda: waiting_for_locks(stories) == 1)
        stories.execute(change)
        second.start()
        # Unless the first one has claimed the change ahead, and the second finds nothing to do.
        eventually(lambda: waiting_for_locks(stories) == 2 or not second.is_alive())
    first.join()
    second.join()
    stories.drain()
    assert stories.chunks(story) == wanted
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_truncation_and_a_claim_take_their_locks_in_one_order(stories: Stories) -> None:
    """TRUNCATE locks the table and then, in its trigger, the documents."""
    stories.insert(ONE)
    worker = threading.Thread(target=Worker(stories.url).drain)
    with product.connect(stories.url, autocommit=False) as application:
        application.execute("LOCK TABLE story IN ACCESS EXCLUSIVE MODE")
        worker.start()
        eventually(lambda: waiting_for_locks(stories) == 1)
        # Nor does the claim hold up another worker while it waits itself.
        assert stories.execute("SELECT queue_id FROM story_search_queue FOR UPDATE NOWAIT")
        application.execute("SET LOCAL lock_timeout = '100ms'")
        application.execute("TRUNCATE story")
    worker.join()
    stories.drain()
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_worker_with_an_old_registry_leaves_no_old_vector_of_an_embedding_it_does_not_know(
    stories: Stories,
) -> None:
    stories.insert(f"{ONE} {TWO}")
    stories.add_embedding("hash_v2", 32)
    stories.drain()
    stories.execute("UPDATE story SET body = %s", f"{ONE} {THREE}")
    stories.drain_first_embedding()
    assert stories.execute(
        "SELECT content, embedding_hash_v2 IS NULL FROM story_search_chunk ORDER BY ordinal"
    ) == [(ONE, False), (THREE, True)]


def test_two_workers_and_a_busy_application_end_in_the_truth(stories: Stories) -> None:
    """Leases that run out at once make both workers do everything, over and over."""
    rows = range(1, 13)
    chance = random.Random(1)

    def slow(texts: Sequence[str]) -> None:
        time.sleep(chance.random() / 100)

    options = {"batch_rows": 4, "lease_s": 0.005}
    workers = [stories.worker(Watching(slow), **options) for _ in range(2)]
    with running(*workers):
        end = time.monotonic() + 3
        while time.monotonic() < end:
            body = " ".join(chance.choices(SENTENCES, k=chance.randrange(5)))
            changes: list[tuple[str, list[Any]]] = [
                (UPSERT, [chance.choice(rows), body]),
                ("DELETE FROM story WHERE id = %s", [chance.choice(rows)]),
                (NEW_KEY, [chance.choice(rows)]),
                ("TRUNCATE story", []),
            ]
            change, parameters = chance.choices(changes, weights=[20, 4, 4, 1])[0]
            stories.execute(change, *parameters)
    stories.drain()
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_stop_is_heard_from_another_thread(stories: Stories) -> None:
    stories.insert(ONE)
    worker = Worker(stories.url)
    reports = []
    thread = threading.Thread(target=lambda: reports.append(worker.run(poll_s=30)))
    thread.start()
    eventually(lambda: stories.states() == {"hash_v1": "active"})
    worker.stop()
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert reports[0].embedded == 1


def test_stop_ends_a_drain_after_the_batch_that_it_is_at(stories: Stories) -> None:
    stories.insert(*(f"Story number {n}" for n in range(9)))
    workers: list[Worker] = []
    workers.append(stories.worker(Watching(once(lambda: workers[0].stop())), batch_rows=3))
    report = workers[0].drain()
    assert report.documents == 3
    assert stories.drain().documents == 6


def terminate_workers(stories: Stories) -> int:
    """Close the connections of all workers and return how many there were."""
    return int(
        stories.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )


def test_a_running_worker_survives_the_loss_of_its_connection(stories: Stories) -> None:
    worker = Worker(stories.url)
    with running(worker):
        eventually(lambda: stories.states() == {"hash_v1": "active"})
        assert terminate_workers(stories) == 1
        stories.insert(ONE)
        eventually(lambda: not stories.differences())


def test_a_connection_lost_while_the_model_computes_costs_nothing(stories: Stories) -> None:
    stories.insert(ONE)
    embedder = Watching(once(lambda: terminate_workers(stories)))
    with running(stories.worker(embedder, lease_s=0.2)):
        eventually(lambda: not stories.waiting())
    assert embedder.asked == [ONE, ONE]
    assert stories.differences() == []


def test_a_connection_that_was_ended_while_idle_is_replaced(
    stories: Stories, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pgsearch.sync.pipeline._IDLE_S", 0.0)
    writing: list[int] = []
    connect = session._connect

    @contextmanager
    def noted(url: str) -> Iterator[product.Connection]:
        with connect(url) as connection:
            writing.append(connection.info.backend_pid)
            yield connection

    monkeypatch.setattr(session, "_connect", noted)
    rested = (
        "SELECT state = 'idle' AND clock_timestamp() - state_change > '200 ms'"
        " FROM pg_stat_activity WHERE pid = %s"
    )
    (first,) = stories.insert(ONE)
    with running(stories.worker()):
        eventually(lambda: stories.chunks(first) == [ONE] and not stories.waiting())
        eventually(lambda: stories.value(rested, writing[0]))
        stories.execute("SELECT pg_terminate_backend(%s, 5000)", writing[0])
        (second,) = stories.insert(TWO)
        eventually(lambda: stories.chunks(second) == [TWO])
    assert len(writing) == 2
    assert "Interrupted" not in caplog.text


def test_a_drain_says_that_the_connection_was_lost(stories: Stories) -> None:
    stories.insert(ONE)
    with pytest.raises(psycopg.OperationalError, match=r"terminating connection|closed"):
        stories.drain(Watching(once(lambda: terminate_workers(stories))))
