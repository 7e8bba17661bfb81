"""Passages of a text that has changed: found and marked, or hidden, until its new ones come."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pgsearch import registry
from pgsearch.definition import Chunking, IndexDefinition
from pgsearch.errors import DeclarationError
from pgsearch.schema import index as index_ddl
from pgsearch.sync.fill import DocumentFill
from pgsearch.testing import HashEmbedder
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, STORY, Stories

ONE, TWO, *_ = SENTENCES

FOUND = "SELECT id, passage, stale FROM story_search(%s, vector => %s, mode => %s)"


def found(stories: Stories, query: str, mode: str) -> list[tuple[object, ...]]:
    return stories.execute(FOUND, query, HashEmbedder(64).embed_queries([query])[0], mode)


@pytest.fixture
def hiding(stories: Stories) -> Stories:
    execute_all(stories.connection, index_ddl.alter_search_index(replace(STORY, stale="hide")))
    return stories


def test_a_change_is_found_by_its_old_passage_and_marked(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    stories.drain()
    stories.execute("UPDATE story SET body = %s", TWO)
    assert found(stories, "fishing boats", "vector") == [(story, ONE, True)]
    assert found(stories, "village winter", "hybrid") == [(story, ONE, True)]


def test_or_not_found_by_it(hiding: Stories) -> None:
    story, other = hiding.insert(ONE, ONE)
    hiding.drain()
    assert len(found(hiding, "fishing boats", "vector")) == 2
    hiding.execute("UPDATE story SET body = %s WHERE id = %s", TWO, story)
    assert found(hiding, "fishing boats", "vector") == [(other, ONE, False)]
    # By its words it is found at once; there is no passage to show yet.
    assert found(hiding, "village winter", "hybrid")[0] == (story, None, False)
    hiding.drain()
    assert found(hiding, "village winter", "hybrid")[0] == (story, TWO, False)


def test_hiding_what_is_there_redoes_nothing(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()
    execute_all(stories.connection, index_ddl.alter_search_index(replace(STORY, stale="hide")))
    assert stories.drain().embedded == 0
    assert len(found(stories, "fishing boats", "vector")) == 1


def altered(stories: Stories, definition: IndexDefinition) -> None:
    """Alter a search index, and let its documents be read but nothing be embedded."""
    execute_all(stories.connection, index_ddl.alter_search_index(definition))
    while not (index := registry.read(stories.connection)[0]).filled:
        DocumentFill(index).step(stories.connection)


def test_an_alteration_of_the_chunking_hides_nothing(hiding: Stories) -> None:
    """Texts are what they were, so no passage is of an older one."""
    hiding.insert(f"{ONE} {TWO}")
    hiding.drain()
    longer = replace(
        STORY, stale="hide", chunking=Chunking(max_tokens=40, overlap=0, heading="title")
    )
    altered(hiding, longer)
    assert len(found(hiding, "fishing boats", "vector")) == 1
    assert hiding.drain().embedded == 1
    assert len(found(hiding, "fishing boats", "vector")) == 1


def test_an_alteration_of_the_texts_hides_what_is_not_embedded_yet(hiding: Stories) -> None:
    story, *_ = hiding.insert(ONE, ONE)
    hiding.drain()
    altered(hiding, replace(STORY, stale="hide", text=(STORY.text[1], STORY.text[0])))
    assert found(hiding, "fishing boats", "vector") == []
    assert found(hiding, "fishing boats", "hybrid")[0] == (story, None, False)
    hiding.drain()
    assert len(found(hiding, "fishing boats", "vector")) == 2


def test_a_deleted_row_of_a_serializable_transaction_is_not_found(stories: Stories) -> None:
    story, other = stories.insert(ONE, ONE)
    stories.drain()
    stories.execute("BEGIN ISOLATION LEVEL SERIALIZABLE")
    stories.execute("DELETE FROM story WHERE id = %s", story)
    for mode in ("vector", "keyword", "hybrid"):
        assert [row[0] for row in found(stories, "fishing boats", mode)] == [other]
    stories.execute("COMMIT")
    for mode in ("vector", "keyword", "hybrid"):
        assert [row[0] for row in found(stories, "fishing boats", mode)] == [other]
    stories.drain()
    assert stories.execute("SELECT id FROM story_search_document") == [(other,)]
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_what_else_is_refused() -> None:
    with pytest.raises(DeclarationError, match="neither 'serve' nor 'hide'"):
        replace(STORY, stale="drop")
