"""Statistics are taken beside a worker's other work, and are there when a drain has ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgsearch import database as product
from pgsearch import registry
from pgsearch.lifecycle import Statistics
from pgsearch.lifecycle.statistics import is_outdated
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.sync import Worker
from tests.integration.test_worker_concurrency import eventually, running
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, Stories

ONE, TWO, THREE, FOUR = SENTENCES

#: Sessions that are taking keyword statistics, all of which wait for what `held_up` holds.
TAKING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%refresh_statistics%'
  AND state = 'active' AND wait_event_type = 'Lock'
"""
TAKEN_AT = "SELECT statistics_at FROM pgsearch.search_index"


@contextmanager
def held_up(stories: Stories) -> Iterator[psycopg.Connection]:
    """Let an ANALYZE of the documents wait, as on a table that takes long, and nothing else."""
    with product.connect(stories.url, autocommit=False) as holder:
        holder.execute("LOCK TABLE story_search_document IN SHARE UPDATE EXCLUSIVE MODE")
        yield holder


def taking(stories: Stories) -> int:
    return int(stories.value(TAKING))


def is_stale(stories: Stories) -> bool:
    (index,) = registry.read(stories.connection)
    return is_outdated(stories.connection, index)


def test_a_change_does_not_wait_for_statistics(
    stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgsearch.sync.session._STATISTICS_S", 0.0)
    with held_up(stories) as holder, running(Worker(stories.url)):
        stories.insert(*(f"Story {n}." for n in range(100)))
        eventually(lambda: taking(stories))
        for body in (ONE, TWO, THREE):
            (story,) = stories.insert(body)
            end = time.monotonic() + 2
            while not stories.chunks(story):
                assert time.monotonic() < end
                time.sleep(0.02)
            assert taking(stories) == 1
        assert stories.value(TAKEN_AT) is None
        holder.commit()
        eventually(lambda: stories.value(TAKEN_AT) is not None and not is_stale(stories))


def test_a_worker_that_is_stopped_does_not_wait_for_statistics(stories: Stories) -> None:
    with held_up(stories):
        started = time.monotonic()
        with running(Worker(stories.url)):
            stories.insert(ONE)
            eventually(lambda: taking(stories))
            started = time.monotonic()
        assert time.monotonic() - started < 5
        assert taking(stories) == 0
    assert stories.value(TAKEN_AT) is None


@pytest.mark.parametrize("max_seconds", [None, 0.0])
def test_a_drain_ends_with_new_statistics(stories: Stories, max_seconds: float | None) -> None:
    """Also one whose time is over: else those that take longer were never taken."""
    stories.insert(*(f"Story {n}." for n in range(100)))
    with held_up(stories) as holder:
        later = threading.Timer(0.7, holder.commit)
        later.start()
        Worker(stories.url).drain(max_seconds=max_seconds)
        later.join()
    assert not is_stale(stories)
    assert stories.value("SELECT document_count FROM pgsearch.search_index") == 100


def test_what_makes_statistics_fail_is_raised(stories: Stories) -> None:
    stories.insert(ONE)
    stories.execute("ALTER TABLE story_search_lexeme RENAME TO gone")
    with pytest.raises(psycopg.errors.UndefinedTable, match="story_search_lexeme"):
        stories.drain()
    worker = Worker(stories.url)
    given_up = threading.Timer(20.0, worker.stop)
    given_up.start()
    try:
        with pytest.raises(psycopg.errors.UndefinedTable, match="story_search_lexeme"):
            worker.run()
    finally:
        given_up.cancel()


def test_an_embedding_may_be_dropped_while_statistics_are_taken(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()
    stories.add_embedding("hash_v2", 64)
    stories.drain()
    (old,) = registry.read(stories.connection)
    execute_all(
        stories.connection, embedding_ddl.drop_embedding("public", "story_search", "hash_v2")
    )
    stories.insert(*(f"Story {n}." for n in range(100)))
    statistics = Statistics(stories.url)
    try:
        assert statistics.refresh(stories.connection, old)
        assert statistics.finish()
        assert not statistics.finish()
    finally:
        statistics.close()
    assert stories.value("SELECT document_count FROM pgsearch.search_index") == 101


def test_a_ready_embedding_has_been_measured_whoever_built_its_index(stories: Stories) -> None:
    measured = "SELECT similarity_stddev > 0 FROM pgsearch.embedding"
    stories.insert(*(f"Story {n}." for n in range(100)))
    stories.drain()
    assert stories.value(measured)
    # As a worker leaves it that ends when it has built the index.
    stories.execute(
        "UPDATE pgsearch.embedding"
        " SET state = 'indexing', similarity_stddev = NULL, activated_at = NULL"
    )
    assert stories.drain().entered == ["hash_v1: ready", "hash_v1: active"]
    assert stories.value(measured)
