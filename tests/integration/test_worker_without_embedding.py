"""A search index without an embedding: its queue is emptied, and the first one misses nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pgsearch import database as product
from pgsearch import registry
from pgsearch.schema import index as index_ddl
from pgsearch.schema.install import install
from pgsearch.sync import queue
from pgsearch.sync.statements import Statements
from pgsearch.sync.write import Write, write
from tests.plugins.postgres import Databases
from tests.plugins.search import execute_all
from tests.plugins.worker import CREATE_STORY, SENTENCES, STORY, Stories

ONE, TWO, THREE, FOUR = SENTENCES


@pytest.fixture
def keywords(databases: Databases, installed_template: str) -> Iterator[Stories]:
    """The table `story` with a search index for keywords only."""
    with databases.fresh(installed_template) as url, product.connect(url) as connection:
        execute_all(connection, install())
        connection.execute(CREATE_STORY)
        execute_all(connection, index_ddl.create_search_index(STORY))
        product.register_vectors(connection)
        yield Stories(url, connection)


def test_its_queue_is_emptied(keywords: Stories) -> None:
    story, other = keywords.insert(ONE, TWO)
    keywords.execute("DELETE FROM story WHERE id = %s", other)
    assert keywords.drain().documents == 2
    assert keywords.waiting() == 0
    assert keywords.execute("SELECT id FROM story_search('boats')") == [(story,)]
    assert keywords.value("SELECT count(*) FROM story_search_chunk") == 0


def test_the_first_embedding_gets_all_of_it(keywords: Stories) -> None:
    keywords.insert(ONE, TWO)
    keywords.drain()
    keywords.insert(THREE)
    keywords.add_embedding("hash_v1", 64)
    keywords.insert(FOUR)
    assert keywords.drain().embedded == 4
    assert keywords.states() == {"hash_v1": "active"}
    assert (keywords.waiting(), keywords.differences()) == (0, [])


def test_an_embedding_that_comes_meanwhile_is_not_passed_over(keywords: Stories) -> None:
    (story,) = keywords.insert(ONE)
    keywords.drain()
    keywords.execute("UPDATE story SET body = %s", TWO)
    (index,) = registry.read(keywords.connection)
    statements = Statements(STORY, index.version)
    claim = queue.claim(keywords.connection, statements, (), rows=10, lease_s=60)
    assert claim is not None
    keywords.add_embedding("hash_v1", 64)
    with pytest.raises(queue.IndexChanged):
        write(keywords.connection, statements, {}, claim.lease, [Write(d) for d in claim.documents])
    queue.release(keywords.connection, statements, claim.lease, claim.queue_ids)
    keywords.drain()
    assert keywords.chunks(story) == [TWO]
    assert (keywords.waiting(), keywords.differences()) == (0, [])
