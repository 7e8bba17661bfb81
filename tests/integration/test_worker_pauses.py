"""A fill beside an embedding that answers searches: it pauses, and holds up nobody by it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from pgsearch.sync import Worker, throttle
from tests.integration.test_worker_concurrency import eventually
from tests.plugins.worker import SENTENCES, Stories

ONE = SENTENCES[0]

LACKING = "SELECT count(*) FROM story_search_chunk WHERE embedding_hash_v2 IS NULL"


class Pause(NamedTuple):
    """A pause, and what it came after."""

    worked_s: float
    lasted_s: float


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[Pause]:
    """The pauses of all workers; the last one stands there as soon as it begins, with 0 seconds."""
    seen: list[Pause] = []
    after = throttle.Pauses.after

    def noted(self: throttle.Pauses, seconds: float) -> None:
        seen.append(Pause(seconds, 0.0))
        place, started = len(seen) - 1, time.monotonic()
        after(self, seconds)
        seen[place] = Pause(seconds, time.monotonic() - started)

    monkeypatch.setattr(throttle.Pauses, "after", noted)
    return seen


def answered(stories: Stories, rows: int) -> None:
    """Let the first embedding of some rows answer, and add a second one."""
    stories.insert(*(f"Story number {n}." for n in range(rows)))
    stories.drain()
    assert stories.states() == {"hash_v1": "active"}
    stories.add_embedding("hash_v2", 32)


@contextmanager
def running(worker: Worker) -> Iterator[None]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def test_a_fill_beside_searches_pauses_and_a_first_one_does_not(
    stories: Stories, pauses: list[Pause]
) -> None:
    answered(stories, 80)
    assert pauses == []
    stories.drain(backfill_share=0.25)
    # A claim of 64 rows, and one of the rest.
    assert len(pauses) == 3
    for worked_s, lasted_s in pauses:
        assert lasted_s >= 3 * worked_s
    assert (stories.value(LACKING), stories.differences()) == (0, [])


def test_changes_and_a_share_of_one_know_no_pauses(stories: Stories, pauses: list[Pause]) -> None:
    answered(stories, 80)
    stories.drain(backfill_share=1)
    stories.execute("UPDATE story SET body = 'Another ' || id")
    stories.drain()
    assert (pauses, stories.differences()) == ([], [])


def test_nothing_is_held_during_a_pause(stories: Stories, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(stories, 60)
    locks = (
        "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database"
        " WHERE d.datname = current_database() AND l.locktype = 'advisory'"
    )
    seen: list[tuple[int, int]] = []

    def look(self: throttle.Pauses, seconds: float) -> None:
        seen.append((stories.value(locks), stories.value(LACKING)))

    monkeypatch.setattr(throttle.Pauses, "after", look)
    stories.drain()
    # What is written is seen by everybody.
    assert seen == [(0, 28), (0, 0)]


def long_pauses(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(throttle, "_PAUSES_S", seconds)


def test_a_change_overtakes_a_fill_that_pauses(
    stories: Stories, pauses: list[Pause], monkeypatch: pytest.MonkeyPatch
) -> None:
    long_pauses(monkeypatch, 0.5)
    answered(stories, 1500)
    with running(stories.worker(backfill_share=0.001)):
        eventually(lambda: len(pauses) >= 2)
        (story,) = stories.insert(ONE)
        started = time.monotonic()
        eventually(lambda: stories.chunks(story) == [ONE])
        # Those that were on their way, of half a second each, and its own.
        assert time.monotonic() - started < 4
        assert stories.value(LACKING) > 500


def test_a_pause_ends_when_the_worker_is_stopped(
    stories: Stories, pauses: list[Pause], monkeypatch: pytest.MonkeyPatch
) -> None:
    long_pauses(monkeypatch, 60)
    answered(stories, 200)
    with running(stories.worker(backfill_share=0.00001)):
        eventually(lambda: len(pauses) >= 1)
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert stories.value("SELECT count(leased_until) FROM story_search_queue") == 0
    # It has brought to its end what it had begun.
    assert stories.value(LACKING) < 200 - 32
    stories.drain(backfill_share=1)
    assert (stories.value(LACKING), stories.differences()) == (0, [])
