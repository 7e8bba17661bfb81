"""Rows whose documents a worker writes are locked a few at a time, however long their texts are."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from pgsearch import database as product
from pgsearch import registry
from pgsearch.sync import queue
from pgsearch.sync.fill import LONGEST_RANGE, DocumentFill
from pgsearch.sync.portion import Portion
from pgsearch.sync.statements import Statements
from tests.plugins.worker import STORY, Stories

#: Rows with a text that takes some milliseconds.
LONG = 300

#: What the documents of one transaction may take; seconds. A tenth is aimed at.
AT_MOST_S = 0.5

#: How many documents each transaction has written.
TOGETHER = "SELECT count(*) FROM story_search_document GROUP BY xmin::text"


@pytest.fixture
def long_stories(stories: Stories) -> Stories:
    """Rows with long texts, which have no documents yet."""
    words = ["".join(random.choices("abcdefghijklmnop", k=7)) for _ in range(3000)]
    text = " ".join(random.choices(words, k=6000))
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute(
        "INSERT INTO story (body) SELECT %s || n FROM generate_series(1, %s) AS n", text, LONG
    )
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    return stories


def rewrite(stories: Stories) -> None:
    """Put all rows into the queue, as a writer does that cannot write their documents itself."""
    stories.execute("INSERT INTO story_search_queue (id, rewrite) SELECT id, true FROM story")


def claim(stories: Stories) -> queue.Claim | None:
    (index,) = registry.read(stories.connection)
    statements = Statements(STORY, index.version)
    return queue.claim(stories.connection, statements, (), rows=1024, lease_s=60)


def documents(stories: Stories) -> int:
    return int(stories.value("SELECT count(*) FROM story_search_document"))


def longest(stories: Stories, write: Callable[[], object]) -> float:
    """Write all documents; return about how long the longest transaction took."""
    started = time.perf_counter()
    while documents(stories) < LONG:
        write()
    took = time.perf_counter() - started
    assert took > 2 * AT_MOST_S  # or this would not tell anything
    largest: int = max(count for (count,) in stories.execute(TOGETHER))
    return took * largest / LONG


def test_documents_of_long_texts_are_rewritten_a_few_at_a_time(long_stories: Stories) -> None:
    rewrite(long_stories)
    assert longest(long_stories, lambda: claim(long_stories)) < AT_MOST_S


def test_documents_of_long_texts_are_filled_a_few_at_a_time(long_stories: Stories) -> None:
    (index,) = registry.read(long_stories.connection)
    fill = DocumentFill(index)
    assert longest(long_stories, lambda: fill.step(long_stories.connection)) < AT_MOST_S


def test_a_claim_does_not_rewrite_for_long(
    long_stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it leaves is due at once."""
    monkeypatch.setattr(queue, "_REWRITE_S", 0.1)
    rewrite(long_stories)
    first = claim(long_stories)
    assert first is not None
    assert 0 < len(first.documents) == documents(long_stories) < LONG
    second = claim(long_stories)
    assert second is not None
    assert len(second.documents) > 0
    assert documents(long_stories) == len(first.documents) + len(second.documents)


def test_one_row_at_which_the_application_is_keeps_few_others_waiting(stories: Stories) -> None:
    stories.insert(*(f"Story {n}." for n in range(100)))
    stories.execute("DELETE FROM story_search_queue")
    stories.execute("DELETE FROM story_search_document")
    rewrite(stories)
    with product.connect(stories.url, autocommit=False) as application:
        application.execute("SELECT FROM story WHERE id = 50 FOR UPDATE")
        end = time.monotonic() + 20
        while documents(stories) < 99 and time.monotonic() < end:
            claim(stories)
            time.sleep(0.05)
        assert documents(stories) == 99
    while documents(stories) < 100:
        time.sleep(0.05)
        claim(stories)


def test_a_claim_does_not_wait_for_each_row_at_which_the_application_is(stories: Stories) -> None:
    stories.insert(*(f"Story {n}." for n in range(100)))
    stories.execute("DELETE FROM story_search_queue")
    rewrite(stories)
    with product.connect(stories.url, autocommit=False) as application:
        application.execute("SELECT FROM story FOR UPDATE")
        started = time.perf_counter()
        found = claim(stories)
        assert time.perf_counter() - started < 1.5
        assert found == queue.Claim(found.lease if found else 0)
        assert claim(stories) is None  # a moment later


def test_a_fill_begins_with_one_row_and_soon_takes_many(stories: Stories) -> None:
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute("INSERT INTO story (body) SELECT 'row ' || n FROM generate_series(1, 200) n")
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    (index,) = registry.read(stories.connection)
    fill = DocumentFill(index)
    written = []
    while (found := fill.step(stories.connection)) is not None:
        written.append(found)
    assert written[0] == 1
    assert sum(written) == 200
    assert max(written) > 16


def test_a_portion_is_halved_and_doubled_within_its_limits() -> None:
    portion = Portion(1, LONGEST_RANGE)
    for _ in range(12):
        portion.took(0.01)
    assert portion.rows == LONGEST_RANGE
    portion.took(0.1)
    assert portion.rows == LONGEST_RANGE
    portion.took(0.3)
    assert portion.rows == LONGEST_RANGE // 2
    portion.was_refused()
    assert portion.rows == LONGEST_RANGE // 4
    for _ in range(12):
        portion.took(1.0)
    assert portion.rows == 1
