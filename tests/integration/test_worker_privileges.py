"""A worker that is nobody's owner: what `op.grant_worker` gives is enough."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgsearch.errors import DatabaseError
from pgsearch.schema.grants import grant_worker
from pgsearch.sync import Worker
from tests.integration.test_worker_concurrency import eventually, running
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, Stories

ONE, TWO, THREE, _ = SENTENCES


@pytest.fixture
def hand(stories: Stories) -> Iterator[str]:
    """The URL of a role that may do what a worker needs, and nothing else."""
    role = f"hand_{stories.connection.info.dbname}"
    stories.execute(f"CREATE ROLE {role} LOGIN")
    execute_all(stories.connection, grant_worker("public", "story_search", role))
    yield stories.url.replace("postgres@", f"{role}@")
    stories.execute(f"DROP OWNED BY {role}")
    stories.execute(f"DROP ROLE {role}")


def test_a_drain_does_all_but_the_build_and_says_so(stories: Stories, hand: str) -> None:
    stories.insert(ONE, TWO)
    report = Worker(hand).drain()
    assert (report.documents, stories.waiting(), stories.differences()) == (2, 0, [])
    (problem,) = report.problems
    assert isinstance(problem, DatabaseError)
    assert "HNSW index of hash_v1 of story_search could not be built: must be owner" in str(problem)
    assert stories.states() == {"hash_v1": "indexing"}
    assert stories.drain().problems == []  # the owner
    assert stories.states() == {"hash_v1": "active"}
    stories.execute("UPDATE story SET body = %s", THREE)
    assert Worker(hand).drain().problems == []
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_worker_goes_on_and_says_so_once(
    stories: Stories, hand: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(Worker(hand)):
        stories.insert(ONE, TWO)
        eventually(lambda: stories.states() == {"hash_v1": "indexing"})
        eventually(lambda: "could not be built" in caplog.text)
        stories.insert(THREE)
        eventually(lambda: not stories.waiting())
        assert stories.drain().entered == ["hash_v1: ready", "hash_v1: active"]
    assert caplog.text.count("could not be built") == 1
