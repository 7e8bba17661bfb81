"""A candidate beside the active embedding, what it answers, and the log of searches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from click.testing import Result

from pgsearch import database as product
from pgsearch import encoder, registry
from pgsearch.encoder.train import Schedule
from pgsearch.testing import HashEmbedder
from tests.plugins.command_line import run
from tests.plugins.postgres import Databases
from tests.plugins.worker import SENTENCES, Stories

#: Enough of them for a share to show.
QUERIES = [f"storm number {n}" for n in range(400)]


@pytest.fixture
def stories_with_candidate(databases: Databases, story_template: str) -> Iterator[Stories]:
    """A few stories with two embeddings that are ready; `hash_v1` is active."""
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        stories = Stories(url, connection)
        stories.insert(*SENTENCES, *(f"Story {n} of a storm." for n in range(26)))
        stories.add_embedding("hash_v2", 32)
        stories.drain()
        yield stories


def start(stories: Stories, share: float, embedding: str = "hash_v2") -> None:
    stories.execute(
        f"SELECT pgsearch.start_canary('public', 'story_search', '{embedding}', {share})"
    )


def answering(stories: Stories, query: str) -> Any:
    return stories.value("SELECT pgsearch.embedding_for('story_search', %s)", query)


def distill(stories: Stories, embedding: str, dimensions: int) -> None:
    """Build an encoder, however bad."""
    (index,) = registry.read(stories.connection, "story_search")
    (chosen,) = (each for each in index.embeddings if each.name == embedding)
    model = HashEmbedder(dimensions)
    schedule = Schedule(passages=1, texts=1)
    assert encoder.distill(
        stories.connection, index, chosen, model, is_asked=True, schedule=schedule
    )


def canary(stories: Stories, *arguments: str) -> Result:
    return run(stories.url, "canary", "story_search", *arguments, columns=120)


def log(stories: Stories, query: str, found: list[Any], *, took_ms: float | None = None) -> UUID:
    logged = stories.value(
        "SELECT pgsearch.log_search('story_search', %s, %s, took_ms => %s)",
        query,
        json.dumps(found),
        took_ms,
    )
    assert isinstance(logged, UUID)
    return logged


def choose(stories: Stories, search: UUID, document: Any, worth: float = 1) -> None:
    stories.connection.execute(
        "SELECT pgsearch.log_outcome(%s, %s, %s)", [search, json.dumps(document), worth]
    )
