"""Searches beside a TRUNCATE, which locks a table and then, in a trigger, its documents."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from pgsearch import database as product
from tests.plugins.worker import SENTENCES, Stories

SEARCHES = {
    "filtered": "SELECT id FROM story_search('fishing boats', tenant_id => 1)",
    "joined": "SELECT story.id FROM story_search('fishing boats') JOIN story USING (id)",
    "joined the other way": "SELECT id FROM story JOIN story_search('boats') AS s USING (id)",
    "in": "SELECT id FROM story WHERE id IN (SELECT id FROM story_search('fishing boats'))",
}

WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = %s AND NOT granted)"

HELD = """
SELECT relation::regclass::text FROM pg_locks
WHERE pid = %s AND granted AND locktype = 'relation'
  AND relation IN ('story_search_document'::regclass, 'story_search_chunk'::regclass)
"""


@pytest.fixture
def told(stories: Stories) -> Stories:
    """A few stories that are found by words and by vectors."""
    stories.insert(*SENTENCES)
    stories.drain()
    return stories


@pytest.fixture
def sessions(told: Stories) -> Iterator[tuple[product.Connection, product.Connection]]:
    """Two sessions that see a deadlock at once."""
    with ExitStack() as stack:
        first, second = (stack.enter_context(product.connect(told.url)) for _ in range(2))
        for session in (first, second):
            session.execute("SET deadlock_timeout = '50ms'")
        yield first, second


def wait_for_lock(stories: Stories, session: product.Connection) -> None:
    end = time.monotonic() + 10
    while not stories.value(WAITS, session.info.backend_pid):
        assert time.monotonic() < end, "it waits for nothing"
        time.sleep(0.005)


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("times", [1, 9])
def test_a_search_waits_for_a_truncate_before_it_holds_anything(
    told: Stories,
    sessions: tuple[product.Connection, product.Connection],
    search: str,
    times: int,
) -> None:
    """Else each would wait for the other. Also with plans that are kept."""
    truncating, searching = sessions
    for _ in range(times):
        assert searching.execute(SEARCHES[search].encode()).fetchall()
    thread = threading.Thread(target=searching.execute, args=[SEARCHES[search].encode()])
    with truncating.transaction():
        truncating.execute("LOCK TABLE story IN ACCESS EXCLUSIVE MODE")
        thread.start()
        wait_for_lock(told, searching)
        assert told.execute(HELD, searching.info.backend_pid) == []
        truncating.execute("TRUNCATE story")
    thread.join()
    assert told.execute("SELECT FROM story_search('fishing boats')") == []


@pytest.mark.parametrize("first", ["search", "read"])
def test_a_transaction_that_reads_the_table_first_never_meets_a_truncate(
    told: Stories, sessions: tuple[product.Connection, product.Connection], first: str
) -> None:
    """One that searches first may: PostgreSQL ends one of both, and nothing is half done."""
    truncating, searching = sessions
    errors: list[psycopg.Error] = []

    def truncate() -> None:
        try:
            truncating.execute("TRUNCATE story")
        except psycopg.Error as error:
            errors.append(error)

    thread = threading.Thread(target=truncate)
    statements = ["SELECT id FROM story_search('fishing boats')", "SELECT count(*) FROM story"]
    before, after = statements if first == "search" else reversed(statements)
    try:
        with searching.transaction():
            searching.execute(before.encode())
            thread.start()
            wait_for_lock(told, truncating)
            searching.execute(after.encode())
    except psycopg.Error as error:
        errors.append(error)
    thread.join()
    deadlocks = [error for error in errors if isinstance(error, psycopg.errors.DeadlockDetected)]
    assert (len(errors), len(deadlocks)) == ((1, 1) if first == "search" else (0, 0))
    told.drain()
    assert (told.waiting(), told.differences()) == (0, [])
