"""Damage of every kind: found from the data itself, asked for, and mended by a worker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from pgvector import Vector

from pgsearch import database as product
from pgsearch.errors import DatabaseError, ModelMismatch
from pgsearch.sync import Worker
from pgsearch.sync.reconciliation import Compared, reconcile
from pgsearch.testing import HashEmbedder
from tests.plugins.reconcile import (
    Counts,
    all_versions,
    counts,
    first_keys,
    mended,
    only,
)
from tests.plugins.search import ARTICLE_SEARCH, ARTICLE_TABLE
from tests.plugins.tables import assert_documents_as_new, made
from tests.plugins.worker import SENTENCES, Stories, Watching, url_of

ONE, TWO, THREE, FOUR = SENTENCES


class Damage(NamedTuple):
    """What is done, and what is found of it."""

    done: str
    found: Counts


def unseen(statement: str) -> str:
    """Return statements that change rows while no trigger fires."""
    return f"SET session_replication_role = replica; {statement}; RESET session_replication_role"


def untriggered(statement: str) -> str:
    """Return statements that change rows while triggers are disabled."""
    table = "ALTER TABLE story"
    return f"{table} DISABLE TRIGGER USER; {statement}; {table} ENABLE TRIGGER USER"


INSERT = "INSERT INTO story (id, title, body) VALUES (-5, 'New', 'Nobody saw it.')"
UPDATE = f"UPDATE story SET body = '{THREE} The end.' WHERE id IN (2, 4)"
DELETE = "DELETE FROM story WHERE id IN (1, 6)"

DAMAGES = {
    "inserted": Damage(unseen(INSERT), {"missing document": 1, "missing chunk": 1}),
    # Two chunks where three were, of which one has another text now.
    "updated": Damage(unseen(UPDATE), {"stale document": 2, "stale chunk": 4, "surplus chunk": 2}),
    "deleted": Damage(unseen(DELETE), {"orphaned document": 2, "orphaned chunk": 6}),
    "emptied": Damage(
        unseen("UPDATE story SET title = NULL, body = '' WHERE id = 3"),
        {"stale document": 1, "surplus chunk": 3},
    ),
    "truncated": Damage(unseen("TRUNCATE story"), {"orphaned document": 7, "orphaned chunk": 18}),
    "key changed": Damage(
        unseen("UPDATE story SET id = 100 WHERE id = 3"),
        {
            "missing document": 1,
            "orphaned document": 1,
            "missing chunk": 3,
            "orphaned chunk": 3,
        },
    ),
    "inserted without triggers": Damage(
        untriggered(INSERT), {"missing document": 1, "missing chunk": 1}
    ),
    "deleted without triggers": Damage(
        untriggered(DELETE), {"orphaned document": 2, "orphaned chunk": 6}
    ),
    "document lost": Damage(
        "DELETE FROM story_search_document WHERE id = 2", {"missing document": 1}
    ),
    "tsvector edited": Damage(
        "UPDATE story_search_document SET tsv = tsv || 'x' WHERE id = 2", {"stale document": 1}
    ),
    "weights edited": Damage(
        "UPDATE story_search_document SET tsv = setweight(tsv, 'D') WHERE id = 2",
        {"stale document": 1},
    ),
    "length edited": Damage(
        "UPDATE story_search_document SET length = length + 1 WHERE id = 2", {"stale document": 1}
    ),
    "taken for truncated": Damage(
        "UPDATE story_search_document SET truncated = true WHERE id = 2", {"stale document": 1}
    ),
    "left by a serializable delete": Damage(
        unseen("DELETE FROM story WHERE id = 2")
        + "; UPDATE story_search_document SET tsv = '', length = -1 WHERE id = 2",
        {"orphaned document": 1, "orphaned chunk": 3},
    ),
    "taken for deleted": Damage(
        "UPDATE story_search_document SET tsv = '', length = -1 WHERE id = 2",
        {"stale document": 1},
    ),
    "chunks lost": Damage(
        "DELETE FROM story_search_chunk WHERE id = 2 AND ordinal > 0", {"missing chunk": 2}
    ),
    "all chunks lost": Damage("DELETE FROM story_search_chunk", {"missing chunk": 18}),
    "content edited": Damage(
        "UPDATE story_search_chunk SET content = content || '.' WHERE (id, ordinal) = (2, 1)",
        {"edited chunk": 1},
    ),
    "hash edited": Damage(
        "UPDATE story_search_chunk SET content_hash = 'x' WHERE (id, ordinal) = (2, 1)",
        {"edited chunk": 1},
    ),
    "content and hash edited": Damage(
        "UPDATE story_search_chunk SET content = 'x', content_hash = sha256('x')"
        " WHERE (id, ordinal) = (2, 1)",
        {"stale chunk": 1},
    ),
    "chunks exchanged": Damage(
        "UPDATE story_search_chunk SET ordinal = 9 - ordinal WHERE id = 2; "
        "UPDATE story_search_chunk SET ordinal = ordinal - 7 WHERE id = 2",
        {"stale chunk": 2},
    ),
    "surplus chunks": Damage(
        "INSERT INTO story_search_chunk SELECT id, ordinal + 3, content, content_hash, generation"
        " FROM story_search_chunk WHERE id = 2",
        {"surplus chunk": 3},
    ),
    "a chunk below zero": Damage(
        "UPDATE story_search_chunk SET ordinal = -1 WHERE (id, ordinal) = (2, 0)",
        {"missing chunk": 1, "surplus chunk": 1},
    ),
    "chunks of nobody": Damage(
        "INSERT INTO story_search_chunk (id, ordinal, content, content_hash, generation)"
        " VALUES (-7, 0, 'x', 'x', 1), (-7, -2, 'x', 'x', 1), (50, 3, 'x', 'x', 1)",
        {"orphaned chunk": 3},
    ),
    "chunks twice": Damage(
        "ALTER TABLE story_search_chunk DROP CONSTRAINT story_search_chunk_pkey; "
        "INSERT INTO story_search_chunk SELECT * FROM story_search_chunk"
        " WHERE (id, ordinal) IN ((2, 1), (3, 1))",
        {"duplicate chunk": 2},
    ),
    "another generation": Damage(
        "UPDATE story_search_chunk SET generation = generation - 1 WHERE id = 2 AND ordinal < 2",
        {"unmatched chunk": 2},
    ),
    "vectors lost": Damage(
        "UPDATE story_search_chunk SET embedding_hash_v1 = NULL WHERE ordinal = 2 AND id > 4",
        {"missing vector": 2},
    ),
    "vectors of zeros": Damage(
        "UPDATE story_search_chunk SET embedding_hash_v1 = embedding_hash_v1 - embedding_hash_v1"
        " WHERE ordinal = 2 AND id > 4",
        {"wrong vector": 2},
    ),
    "vectors of other chunks": Damage(
        "UPDATE story_search_chunk AS one SET embedding_hash_v1 = other.embedding_hash_v1"
        " FROM story_search_chunk AS other WHERE (one.id, one.ordinal) = (2, 2)"
        " AND (other.id, other.ordinal) = (3, 1)",
        {"wrong vector": 1},
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found_and_mended(whole: Stories, name: str) -> None:
    done, found = DAMAGES[name]
    assert counts(reconcile(whole.url, vectors="all")) == {}
    for statement in done.split("; "):
        whole.execute(statement)
    before = all_versions(whole.connection)
    dry = reconcile(whole.url, dry_run=True, vectors="all")
    assert counts(dry) == found
    assert dry.indexes[0].asked == 0
    assert all_versions(whole.connection) == before
    if name == "chunks twice":
        # A worker cannot write without it; what there was twice has to go before it is there again.
        reconcile(whole.url, vectors="all")
        whole.execute("ALTER TABLE story_search_chunk ADD PRIMARY KEY (id, ordinal)")
        whole.drain()
        found = {}
    assert mended(whole) == found


def test_the_first_keys_are_named(whole: Stories) -> None:
    whole.execute(
        unseen("DELETE FROM story WHERE id IN (2, 6); INSERT INTO story VALUES (9), (-9)")
    )
    whole.execute("DELETE FROM story_search_document WHERE id IN (1, 3, 4, 5)")
    report = reconcile(whole.url, dry_run=True, batch=2)
    assert first_keys(report) == {
        "missing document": ["-9", "1", "3", "4", "5"],
        "orphaned document": ["2", "6"],
        "orphaned chunk": ["2", "6"],
    }
    assert counts(report)["missing document"] == 6


def test_a_model_that_is_not_the_registered_one_is_refused(whole: Stories) -> None:
    before = all_versions(whole.connection)
    with pytest.raises(ModelMismatch, match="registered"):
        reconcile(whole.url, load=lambda _: Watching(salt="other"))
    assert all_versions(whole.connection) == before


def other_model(whole: Stories, condition: str = "true") -> None:
    """Give chunks the vectors of another model, which no fingerprint has kept from writing."""
    model = Watching(salt="other ")
    for id_, ordinal, content in whole.execute(
        f"SELECT id, ordinal, content FROM story_search_chunk WHERE {condition}"
    ):
        (vector,) = model.embed_documents([content])
        whole.execute(
            "UPDATE story_search_chunk SET embedding_hash_v1 = %s WHERE (id, ordinal) = (%s, %s)",
            vector,
            id_,
            ordinal,
        )


def test_a_sample_tells_that_another_model_has_written_vectors(whole: Stories) -> None:
    other_model(whole)
    report = reconcile(whole.url, dry_run=True, batch=2)
    # Four of each range that has chunks at all.
    assert only(report).vectors_compared == 12
    assert counts(report) == {"wrong vector": 12}
    assert counts(reconcile(whole.url, dry_run=True, vectors="none")) == {}
    assert counts(reconcile(whole.url, dry_run=True, vectors="all")) == {"wrong vector": 18}


def test_vectors_of_zeros_are_found_without_a_sample(whole: Stories) -> None:
    whole.execute(
        "UPDATE story_search_chunk SET embedding_hash_v1 = embedding_hash_v1 - embedding_hash_v1"
    )
    assert counts(reconcile(whole.url, dry_run=True, vectors="none")) == {}
    report = reconcile(whole.url)
    assert (counts(report), only(report).vectors_compared) == ({"wrong vector": 18}, 0)
    assert mended(whole) == {}


def test_all_vectors_of_another_model_are_made_anew(whole: Stories) -> None:
    other_model(whole)
    assert mended(whole, batch=2)["wrong vector"] >= 6 + 2


def test_vectors_of_equal_content_go_together(whole: Stories) -> None:
    """Else a worker would take a wrong one over, from a chunk that was not compared yet."""
    whole.insert(*[f"{THREE} {FOUR}"] * 4)
    whole.drain()
    other_model(whole, "id > 7 AND ordinal = 0")
    model = Watching()

    def drain_between(compared: Compared) -> None:
        # A worker is as fast as it can be.
        whole.drain(model)

    report = reconcile(whole.url, batch=1, vectors="all", on_progress=drain_between)
    assert (counts(report), only(report).asked) == ({"wrong vector": 1}, 4)
    # One text was embedded for all four.
    assert model.asked == [THREE]
    assert mended(whole) == {}


def test_vectors_of_each_live_embedding_are_compared(whole: Stories) -> None:
    whole.add_embedding("hash_v2", 32)
    # It is being filled: what it lacks is no damage.
    assert counts(reconcile(whole.url, dry_run=True, vectors="all")) == {}
    whole.drain()
    whole.execute("UPDATE story_search_chunk SET embedding_hash_v2 = NULL WHERE id = 2")
    whole.execute(
        "UPDATE story_search_chunk SET embedding_hash_v2 = embedding_hash_v2 * embedding_hash_v2"
        " WHERE id = 3"
    )
    report = reconcile(whole.url, vectors="all")
    assert [(f.kind, f.embedding, f.count) for f in only(report).findings] == [
        ("missing vector", "hash_v2", 3),
        ("wrong vector", "hash_v2", 3),
    ]
    whole.drain()
    assert counts(reconcile(whole.url, vectors="all")) == {}
    assert whole.differences({"hash_v1": HashEmbedder(64), "hash_v2": HashEmbedder(32)}) == []


def test_adopted_vectors_need_be_no_nearer_than_when_they_were_adopted(whole: Stories) -> None:
    """A model gives almost the same ones on other hardware, or to another library."""
    for id_, ordinal, vector in whole.execute(
        "SELECT id, ordinal, embedding_hash_v1 FROM story_search_chunk"
    ):
        turned = [value + 0.018 for value in vector.to_list()]
        whole.execute(
            "UPDATE story_search_chunk SET embedding_hash_v1 = %s WHERE (id, ordinal) = (%s, %s)",
            Vector(turned),
            id_,
            ordinal,
        )
    assert counts(reconcile(whole.url, dry_run=True, vectors="all")) == {"wrong vector": 18}
    whole.execute("UPDATE pgsearch.embedding SET adopt_column = 'old'")
    assert counts(reconcile(whole.url, dry_run=True, vectors="all")) == {}


def test_vectors_of_a_retired_embedding_are_nobodys_business(whole: Stories) -> None:
    whole.add_embedding("hash_v2", 32)
    whole.drain()
    whole.execute("UPDATE pgsearch.embedding SET state = 'retired' WHERE name = 'hash_v2'")
    whole.execute("UPDATE story_search_chunk SET embedding_hash_v2 = NULL WHERE id = 2")
    assert mended(whole) == {}


def test_what_waits_in_the_queue_is_left_to_the_queue(whole: Stories) -> None:
    whole.execute("UPDATE story SET body = 'Changed.' WHERE id < 3")
    whole.execute("DELETE FROM story WHERE id = 4")
    whole.execute("UPDATE story_search_queue SET not_before = now() + '1 h' WHERE id = 2")
    whole.execute("UPDATE story_search_queue SET leased_until = now() + '1 h' WHERE id = 4")
    report = reconcile(whole.url)
    assert (counts(report), only(report).waiting, only(report).asked) == ({}, 3, 0)
    assert whole.waiting() == 3


def test_chunks_of_a_truncated_table_are_left_to_the_queue(whole: Stories) -> None:
    whole.execute("TRUNCATE story")
    report = reconcile(whole.url)
    assert (counts(report), only(report).waiting) == ({}, 6)


def test_what_is_parked_is_told_apart(whole: Stories) -> None:
    whole.execute("UPDATE story SET body = 'Changed.' WHERE id < 3")
    whole.execute("UPDATE story_search_queue SET failed_at = now(), attempts = 5")
    whole.execute("UPDATE story_search_document SET length = 99 WHERE id = 2")
    report = reconcile(whole.url)
    # Chunks cannot be made until somebody mends the cause; a document can.
    assert (counts(report), only(report).parked) == ({"stale document": 1}, 2)


def test_a_text_that_the_model_cannot_take_is_not_compared(whole: Stories) -> None:
    def refuse(texts: Sequence[str]) -> None:
        if any("number 4" in text for text in texts):
            raise RuntimeError("not this one")

    report = reconcile(whole.url, vectors="all", load=lambda _: Watching(refuse))
    assert (counts(report), only(report).refused) == ({}, 1)
    assert only(report).vectors_compared == 17


class Counting(Watching):
    """A model that fails to count the tokens of a text."""

    def count_tokens(self, text: str) -> int:
        if "number 4" in text:
            raise RuntimeError("not this one")
        return super().count_tokens(text)


def test_a_text_that_cannot_be_cut_is_not_compared(whole: Stories) -> None:
    whole.execute("UPDATE story_search_document SET length = 99 WHERE id = 5")
    report = reconcile(whole.url, dry_run=True, load=lambda _: Counting())
    assert (counts(report), only(report).refused) == ({"stale document": 1}, 1)


def test_a_search_index_that_is_being_filled_is_not_compared(whole: Stories) -> None:
    whole.execute("UPDATE pgsearch.search_index SET filled_at = NULL")
    with pytest.raises(DatabaseError, match="story_search cannot be compared yet"):
        reconcile(whole.url)


def test_without_embeddings_there_are_documents_only(installed: product.Connection) -> None:
    made(installed, ARTICLE_SEARCH, ARTICLE_TABLE)
    url = url_of(installed)
    insert = "INSERT INTO article (id, title) VALUES (1, 'one'), (2, 'two'), (3, 'three')"
    installed.execute(insert)
    Worker(url).drain()
    for statement in (
        "SET session_replication_role = replica",
        "INSERT INTO article (id, title) VALUES (4, 'four')",
        "UPDATE article SET title = 'first' WHERE id = 1",
        "DELETE FROM article WHERE id = 2",
        "RESET session_replication_role",
    ):
        installed.execute(statement.encode())
    assert counts(reconcile(url)) == {
        "missing document": 1,
        "stale document": 1,
        "orphaned document": 1,
    }
    Worker(url).drain()
    assert counts(reconcile(url)) == {}
    assert installed.execute("SELECT count(*) FROM article_search_queue").fetchone() == (0,)
    assert_documents_as_new(installed, ARTICLE_SEARCH)
