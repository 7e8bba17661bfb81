"""A model call of five seconds, by the clock: rows in flight are changed as if there were none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import cycle
from threading import Event

import pytest

from pgsearch import database as product
from pgsearch.testing import HashEmbedder
from tests.plugins.postgres import Databases
from tests.plugins.worker import SENTENCES, Stories, Watching

COMPUTES_S = 5.0
ROWS = 20

#: What each database's application does over and over to the rows that are at the model.
CHANGES = {
    "UPDATE": ["UPDATE story SET body = body || ' And more.'", "UPDATE story SET id = id + 1000"],
    "DELETE": ["DELETE FROM story WHERE id = (SELECT min(id) FROM story)"],
    "TRUNCATE": ["TRUNCATE story", "INSERT INTO story (body) VALUES ('Written anew.')"],
}

#: Sessions that have a transaction open and let it wait, but for the moment between two statements.
#: On a busy machine a process may wait half a second for its turn; the model computes for five.
WAITING = """
SELECT application_name, query, clock_timestamp() - state_change FROM pg_stat_activity
WHERE datname = current_database() AND state LIKE 'idle in transaction%'
  AND clock_timestamp() - state_change > interval '1 second'
"""


class Computing(Watching):
    """A model whose first call takes until it is released."""

    def __init__(self) -> None:
        super().__init__(self._compute)
        self.began, self.released = Event(), Event()
        self.first: list[str] = []

    def _compute(self, texts: Sequence[str]) -> None:
        if not self.began.is_set():
            self.first = list(texts)
            self.began.set()
        assert self.released.wait(timeout=60)


@pytest.fixture
def all_stories(databases: Databases, story_template: str) -> Iterator[dict[str, Stories]]:
    """A database for each kind of change, so that all have the same five seconds."""
    with ExitStack() as stack:
        made = {}
        for change in CHANGES:
            url = stack.enter_context(databases.fresh(story_template))
            connection = stack.enter_context(product.connect(url))
            product.register_vectors(connection)
            made[change] = Stories(url, connection)
        yield made


def with_rows(stories: Stories) -> dict[str, HashEmbedder]:
    """Rows that wait for a worker."""
    stories.insert(*(f"{SENTENCES[n % 4]} {n}" for n in range(ROWS)))
    return {"hash_v1": HashEmbedder(64)}


def with_an_added_embedding(stories: Stories) -> dict[str, HashEmbedder]:
    """Rows that have their chunks, which wait for another embedding's vectors."""
    models = with_rows(stories)
    stories.drain()
    # Of as many dimensions: one embedder serves both.
    stories.add_embedding("hash_v2", 64, model="another")
    return models | {"hash_v2": HashEmbedder(64)}


@contextmanager
def watched(url: str) -> Iterator[list[object]]:
    """Look all the time for sessions that let a transaction wait; yield what will be found."""
    found: list[object] = []
    over = Event()

    def watch() -> None:
        with product.connect(url) as connection:
            while not over.wait(0.01):
                found.extend(connection.execute(WAITING.encode()))

    with ThreadPoolExecutor(1) as threads:
        watching = threads.submit(watch)
        try:
            yield found
        finally:
            over.set()
        watching.result()


def slowest_while_computing(stories: Stories, change: str) -> tuple[float, list[object]]:
    """Change rows while a worker's model computes, then let it finish.

    Returns:
        The slowest statement in milliseconds, and transactions that waited.
    """
    model = Computing()
    with ThreadPoolExecutor(1) as threads, watched(stories.url) as waited:
        drained = threads.submit(stories.drain, model)
        try:
            while not model.began.wait(timeout=0.1):
                assert not drained.done(), drained.result()
            milliseconds = list(changed(stories, change, time.monotonic() + COMPUTES_S))
            assert len(model.first) >= ROWS  # all of them were at the model
            assert not drained.done()
        finally:
            model.released.set()
        drained.result()
    return max(milliseconds), waited


def changed(stories: Stories, change: str, until: float) -> Iterator[float]:
    """Execute statements until then; yield how long each took."""
    for statement in cycle(CHANGES[change]):
        if time.monotonic() > until:
            return
        started = time.perf_counter()
        stories.execute(statement)
        yield 1000 * (time.perf_counter() - started)
        time.sleep(0.2)


@pytest.mark.parametrize("prepared", [with_rows, with_an_added_embedding])
def test_five_seconds_of_a_model_hold_up_nobody(
    all_stories: dict[str, Stories], prepared: Callable[[Stories], dict[str, HashEmbedder]]
) -> None:
    models = {change: prepared(stories) for change, stories in all_stories.items()}
    with ThreadPoolExecutor(len(CHANGES)) as threads:
        results = threads.map(slowest_while_computing, all_stories.values(), all_stories)
        for change, (slowest_ms, waited) in zip(all_stories, results, strict=True):
            assert slowest_ms < 100, change
            assert waited == [], change
    for change, stories in all_stories.items():
        stories.drain()
        assert stories.waiting() == 0, change
        assert stories.differences(models[change]) == [], change
