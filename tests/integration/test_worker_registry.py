"""A worker goes by the registry: by the table's name of today, by the definition of now."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from click.testing import CliRunner

from pgsearch import Model, errors, registry
from pgsearch import database as product
from pgsearch.cli import main
from pgsearch.definition import Chunking, IndexDefinition, TextColumn
from pgsearch.models.protocol import Embedder
from pgsearch.schema.index import alter_search_index, suspend_search_index
from pgsearch.sync import Worker, queue
from pgsearch.sync.statements import Statements
from pgsearch.testing import HashEmbedder
from tests.plugins.search import execute_all
from tests.plugins.worker import (
    SENTENCES,
    STORY,
    Stories,
    Watching,
    create_search_index,
    differences,
)

ONE, TWO, THREE, FOUR = SENTENCES
HASH_V1 = {"hash_v1": HashEmbedder(64)}

#: Another search index beside the one of the stories.
TITLES = replace(STORY, name="title_search", text=(TextColumn("title", "A"),), chunking=Chunking())


def alter(stories: Stories, definition: IndexDefinition, *, refill: bool = False) -> None:
    execute_all(stories.connection, alter_search_index(definition, refill=refill))


def index_of(stories: Stories) -> registry.RegisteredIndex:
    return registry.read(stories.connection, "story_search")[0]


def status(stories: Stories) -> str:
    return CliRunner().invoke(main, ["--database", stories.url, "status", "story_search"]).output


def test_a_table_may_be_renamed(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    stories.execute("ALTER TABLE story RENAME TO tale")
    stories.execute("ALTER TABLE tale RENAME COLUMN body TO wording")
    stories.execute("ALTER TABLE tale RENAME COLUMN id TO number")
    stories.drain()
    assert stories.chunks(story) == [ONE]
    stories.execute("UPDATE tale SET wording = %s", TWO)
    stories.drain()
    assert stories.chunks(story) == [TWO]
    stories.execute('ALTER TABLE tale RENAME TO "A {tale}"')
    assert index_of(stories).table == '"A {tale}"'
    assert 'on table "A {tale}"' in status(stories)


def test_a_newer_schema_serves_and_an_older_one_is_refused(stories: Stories) -> None:
    stories.execute("INSERT INTO pgsearch.installation (version) VALUES (99)")
    stories.insert(ONE)
    assert stories.drain().embedded == 1
    stories.execute("DELETE FROM pgsearch.installation")
    stories.execute("INSERT INTO pgsearch.installation (version) VALUES (1)")
    with pytest.raises(errors.NotInstalled, match="has version 1, this package needs") as refused:
        stories.drain()
    assert "op.pgsearch_install(version=3)" in (refused.value.hint or "")


UNUSABLE = {
    "suspended": (
        "UPDATE pgsearch.search_index SET capturing = false WHERE name = 'story_search'",
        "does not follow its table now",
        "op.alter_search_index",
    ),
    "outdated": (
        "UPDATE pgsearch.search_index SET template_version = 1 WHERE name = 'story_search'",
        "made by an older version of pgsearch",
        "alembic revision --autogenerate",
    ),
    "cannot read": (
        "ALTER TABLE story DROP COLUMN body CASCADE",
        "cannot read its table: the function public.story_search_read is gone",
        "pgsearch doctor",
    ),
}


@pytest.mark.parametrize("how", UNUSABLE)
def test_an_index_that_cannot_be_worked_on_is_left_alone(
    stories: Stories, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    statement, what, hint = UNUSABLE[how]
    stories.insert(ONE, title="A title")
    stories.execute(statement)
    with pytest.raises(errors.DatabaseError, match=what) as refused:
        stories.drain()
    assert hint in (refused.value.hint or "")
    # The others are worked on, and it is said once what was not.
    create_search_index(stories.connection, TITLES)
    caplog.set_level(logging.INFO, logger="pgsearch")
    report = stories.drain()
    assert report.embedded == 1
    assert [type(problem) for problem in report.problems] == [type(refused.value)]
    assert [record.message for record in caplog.records if what in record.message] == [
        str(refused.value)
    ]
    with pytest.raises(errors.DatabaseError, match=what):
        stories.drain(indexes=["story_search"])
    done = CliRunner().invoke(main, ["--database", stories.url, "sync"])
    assert done.exit_code != 0
    assert hint in done.stderr
    assert stories.waiting() == 1


def test_status_says_that_an_index_is_suspended(stories: Stories) -> None:
    execute_all(stories.connection, suspend_search_index("story_search", "story", "public"))
    assert "It does not follow its table now" in status(stories)


def test_new_weights_are_new_documents_and_not_one_new_vector(stories: Stories) -> None:
    stories.insert(ONE, TWO, title="Harbour")
    stories.drain()
    chunks = "SELECT xmin::text, generation FROM story_search_chunk ORDER BY id, ordinal"
    before = stories.execute(chunks)
    tsv = "SELECT tsv::text FROM story_search_document ORDER BY id LIMIT 1"
    assert "'harbour':1A" in stories.value(tsv)
    changed = replace(STORY, text=(TextColumn("title", "C"), TextColumn("body", "B")))
    alter(stories, changed)
    assert index_of(stories).refill
    assert ", rebuilding: searches find what is there" in status(stories)
    assert len(stories.execute("SELECT * FROM story_search('harbour')")) == 2
    report = stories.drain(Watching())
    assert (report.documents, report.chunks, report.embedded) == (0, 0, 0)
    assert "'harbour':1C" in stories.value(tsv)
    assert stories.execute(chunks) == before
    assert (index_of(stories).filled, index_of(stories).refill) == (True, False)
    assert "rebuilding" not in status(stories)
    assert stories.drain().documents == 0


def test_another_chunking_takes_over_the_vectors_of_equal_chunks(stories: Stories) -> None:
    stories.insert(f"{ONE} {TWO}", THREE)
    stories.drain()
    changed = replace(STORY, chunking=Chunking(max_tokens=32, overlap=0, heading="title"))
    alter(stories, changed)
    embedder = Watching()
    report = stories.drain(embedder)
    assert embedder.asked == [f"{ONE} {TWO}"]
    assert (report.documents, report.chunks, report.embedded) == (2, 1, 1)
    assert differences(stories.connection, changed, HASH_V1) == []
    assert stories.states() == {"hash_v1": "active"}


def test_the_order_of_texts_is_that_of_the_declaration(stories: Stories) -> None:
    changed = replace(
        STORY,
        text=(TextColumn("body", "B"), TextColumn("title", "A")),
        chunking=Chunking(max_tokens=64, overlap=0),
    )
    (story,) = stories.insert(ONE, title="A title")
    alter(stories, changed)
    stories.drain()
    assert stories.chunks(story) == [f"{ONE}\n\nA title"]


def test_a_refill_finds_what_was_missed(stories: Stories) -> None:
    changed, gone = stories.insert(ONE, TWO)
    stories.drain()
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute("UPDATE story SET body = %s WHERE id = %s", THREE, changed)
    stories.insert(FOUR)
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    alter(stories, STORY, refill=True)
    stories.drain()
    assert stories.chunks(gone) == [TWO]
    assert stories.differences() == []


def test_what_is_read_is_read_by_the_definition_of_now(stories: Stories) -> None:
    """The definition changes after the worker has read the registry and before it claims."""
    (story,) = stories.insert(ONE, title="A title")
    changed = replace(STORY, chunking=Chunking(max_tokens=64, overlap=0))
    embedder = Watching()
    waiting = [changed]

    def load(model: Model) -> Embedder:
        while waiting:
            alter(stories, waiting.pop())
        return embedder

    Worker(stories.url, load=load).drain()
    assert embedder.asked == [f"A title\n\n{ONE}"]
    assert stories.chunks(story) == [f"A title\n\n{ONE}"]
    assert differences(stories.connection, changed, HASH_V1) == []


@pytest.fixture
def old_statements(stories: Stories) -> Statements:
    """What a worker knows that has read the registry before a change."""
    return Statements(STORY, index_of(stories).version)


@pytest.mark.parametrize("how", ["suspended", "altered"])
def test_nothing_is_claimed_of_an_index_that_has_changed(
    stories: Stories, old_statements: Statements, how: str
) -> None:
    stories.insert(ONE)
    if how == "altered":
        alter(stories, replace(STORY, language="simple"))
    else:
        stories.execute("UPDATE pgsearch.search_index SET capturing = false")
    with pytest.raises(queue.IndexChanged):
        queue.claim(stories.connection, old_statements, (), rows=10, lease_s=60)
    assert stories.value("SELECT count(leased_until) FROM story_search_queue") == 0


def test_an_index_that_is_suspended_meanwhile_is_not_filled(stories: Stories) -> None:
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.insert(ONE)
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    with product.connect(stories.url) as connection:
        from pgsearch.sync.fill import DocumentFill

        (known,) = registry.read(connection)
        stories.execute("UPDATE pgsearch.search_index SET capturing = false")
        assert DocumentFill(known).step(connection) is None
    assert stories.value("SELECT count(*) FROM story_search_document") == 0


def test_status_as_json_says_how_far_an_index_is(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()
    alter(stories, STORY, refill=True)
    done = CliRunner().invoke(main, ["--database", stories.url, "status", "--json"])
    found = json.loads(done.stdout)
    assert (found["capturing"], found["filled"], found["rebuilding"]) == (True, False, True)
