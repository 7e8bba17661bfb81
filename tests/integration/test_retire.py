"""Retiring an embedding: nobody keeps it up to date or asks for it, until it is restored."""

from __future__ import annotations

import psycopg
import pytest

from pgsearch.schema import embedding as embedding_ddl
from pgsearch.testing import HashEmbedder
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES


def do(stories: Stories, name: str, embedding: str) -> None:
    """Do to an embedding what a migration does."""
    steps = getattr(embedding_ddl, f"{name}_embedding")
    execute_all(stories.connection, steps("public", "story_search", embedding))


@pytest.fixture
def two(stories: Stories) -> Stories:
    """Stories with two embeddings of one model in other dimensions; the second one answers."""
    stories.insert(ONE, TWO)
    stories.add_embedding("hash_v2", 32)
    stories.drain()
    do(stories, "activate", "hash_v2")
    assert stories.states() == {"hash_v1": "ready", "hash_v2": "active"}
    return stories


def test_nobody_embeds_for_a_retired_one(two: Stories) -> None:
    do(two, "retire", "hash_v1")
    two.insert(THREE)
    two.execute("UPDATE story SET body = %s WHERE id = 1", FOUR)
    two.drain()
    assert two.states() == {"hash_v1": "retired", "hash_v2": "active"}
    assert two.differences({"hash_v2": HashEmbedder(32)}) == []
    # What has changed has lost its vector: none is left of another text.
    assert two.execute("SELECT id FROM story_search_chunk WHERE embedding_hash_v1 IS NOT NULL") == [
        (2,)
    ]


def test_a_restored_one_is_filled_with_what_it_lacks_and_no_more(two: Stories) -> None:
    do(two, "retire", "hash_v1")
    two.insert(THREE)
    two.drain()
    do(two, "restore", "hash_v1")
    assert two.states()["hash_v1"] == "filling"
    watching = {64: Watching(), 32: Watching(dimensions=32)}
    two.worker(load=lambda model: watching[model.dimensions]).drain()
    assert two.states() == {"hash_v1": "ready", "hash_v2": "active"}
    assert (watching[64].asked, watching[32].asked) == ([THREE], [])
    both = {"hash_v1": HashEmbedder(64), "hash_v2": HashEmbedder(32)}
    assert (two.waiting(), two.differences(both)) == (0, [])


def test_a_search_may_not_ask_for_a_retired_one(two: Stories) -> None:
    do(two, "retire", "hash_v1")
    vector = str([1.0] * 64)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="it is retired"):
        two.execute(
            "SELECT * FROM story_search('storm', vector => %s, embedding => 'hash_v1')", vector
        )
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="it is retired"):
        do(two, "activate", "hash_v1")


def test_the_active_one_is_refused_and_twice_is_once(two: Stories) -> None:
    with pytest.raises(psycopg.errors.ObjectInUse, match="cannot be retired") as refused:
        do(two, "retire", "hash_v2")
    assert "Activate another one first" in str(refused.value.diag.message_hint)
    with pytest.raises(psycopg.errors.UndefinedObject, match="no embedding 'hash_v9'"):
        do(two, "retire", "hash_v9")
    for name in ("retire", "retire", "restore", "restore"):
        do(two, name, "hash_v1")
    kinds = two.execute("SELECT kind FROM pgsearch.event WHERE embedding = 'hash_v1' ORDER BY id")
    assert [kind for (kind,) in kinds[-2:]] == ["retired", "restored"]


def test_a_retired_one_can_be_dropped_and_takes_its_column_along(two: Stories) -> None:
    do(two, "retire", "hash_v1")
    do(two, "drop", "hash_v1")
    assert two.states() == {"hash_v2": "active"}
    columns = two.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'story_search_chunk'::regclass"
        " AND attname LIKE 'embedding%%' AND NOT attisdropped"
    )
    assert columns == [("embedding_hash_v2",)]


def test_a_worker_that_knows_it_still_writes_nothing(two: Stories) -> None:
    """It was retired while the model computed: the batch is done again without it."""
    two.insert(THREE)
    done: list[str] = []

    def retire(_: object) -> None:
        if not done:
            done.append("retired")
            do(two, "retire", "hash_v1")

    watching = {64: Watching(retire), 32: Watching(dimensions=32)}
    two.worker(load=lambda model: watching[model.dimensions]).drain()
    assert done
    assert two.waiting() == 0
    assert two.differences({"hash_v2": HashEmbedder(32)}) == []
    assert two.execute("SELECT id FROM story_search_chunk WHERE embedding_hash_v1 IS NULL") == [
        (3,)
    ]
