"""The physical layout of a search index, and what it is for: cheap updates."""

from __future__ import annotations

import pytest

from pgsearch import database as product
from pgsearch.declare import Embedding
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins.search import execute_all
from tests.plugins.worker import Stories

COMPANIONS = (
    "story_search_document", "story_search_chunk", "story_search_queue", "story_search_lexeme"
)  # fmt: skip


def test_vectors_lie_outside_the_row_and_pages_stay_half_empty(stories: Stories) -> None:
    stories.add_embedding("hash_v2", 32)
    assert stories.execute(
        "SELECT attname, attstorage::text FROM pg_attribute"
        " WHERE attrelid = 'story_search_chunk'::regclass AND atttypid = 'vector'::regtype"
    ) == [("embedding_hash_v1", "e"), ("embedding_hash_v2", "e")]
    options = stories.value(
        "SELECT reloptions FROM pg_class WHERE oid = 'story_search_chunk'::regclass"
    )
    assert set(options) == {"fillfactor=50", "toast_tuple_target=128"}


def test_a_second_vector_pushes_nothing_out_of_the_row_that_is_short(stories: Stories) -> None:
    """But for what searches do not compare: the vectors and the content."""
    stories.insert("A story of one passage.", "And another one.")
    stories.drain()
    stories.add_embedding("hash_v2", 600)
    stories.drain()
    (toast,) = stories.execute(
        "SELECT reltoastrelid::regclass::text FROM pg_class"
        " WHERE oid = 'story_search_chunk'::regclass"
    )
    out = stories.value(f"SELECT count(DISTINCT chunk_id) FROM {toast[0]}")
    assert out <= 2 * 3
    assert stories.execute(
        "SELECT attname, attstorage::text FROM pg_attribute"
        " WHERE attrelid = 'story_search_chunk'::regclass AND attname LIKE 'content%'"
        " ORDER BY attname"
    ) == [("content", "x"), ("content_hash", "m")]


def test_the_queue_is_vacuumed_eagerly(stories: Stories) -> None:
    options = stories.value(
        "SELECT reloptions FROM pg_class WHERE oid = 'story_search_queue'::regclass"
    )
    assert {"autovacuum_vacuum_scale_factor=0", "autovacuum_vacuum_threshold=1000"} <= set(options)


def test_keyword_search_has_a_short_pending_list_and_statistics_of_many_lexemes(
    stories: Stories,
) -> None:
    assert stories.value(
        "SELECT reloptions FROM pg_class WHERE oid = 'story_search_document_tsv_idx'::regclass"
    ) == ["gin_pending_list_limit=2048"]
    assert (
        stories.value(
            "SELECT attstattarget FROM pg_attribute"
            " WHERE attrelid = 'story_search_document'::regclass AND attname = 'tsv'"
        )
        == 1000
    )


def test_the_source_table_is_not_altered(stories: Stories) -> None:
    """It has triggers, and neither columns, indexes nor constraints that it did not have."""
    columns = stories.execute(
        "SELECT attname FROM pg_attribute"
        " WHERE attrelid = 'story'::regclass AND attnum > 0 ORDER BY attnum"
    )
    assert columns == [("id",), ("tenant_id",), ("views",), ("title",), ("body",)]
    assert stories.value("SELECT count(*) FROM pg_index WHERE indrelid = 'story'::regclass") == 1
    assert (
        stories.value(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f'"
            " AND 'story'::regclass IN (conrelid, confrelid)"
        )
        == 0
    )


def updates(stories: Stories) -> tuple[int, int]:
    """Return how many rows of the chunk table were updated, and how many of them heap-only."""
    # Another session's counts arrive when it ends, a moment after its connection was closed.
    with product.connect(stories.url) as connection:
        connection.execute("SELECT pg_stat_clear_snapshot()")
        row = connection.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
            " WHERE relname = 'story_search_chunk'"
        ).fetchone()
    assert row is not None
    return row


@pytest.mark.parametrize("dimensions", [384])
def test_filling_a_second_embedding_leaves_the_graph_of_the_first_alone(
    stories: Stories, dimensions: int
) -> None:
    """5,000 chunks with vectors as long as those of a small model."""
    stories.execute(
        "INSERT INTO story (title, body) SELECT 'Story ' || n, 'It begins in ' || n || repeat("
        "' and goes on', n % 4) FROM generate_series(1, 5000) AS n"
    )
    for name in ("first_v1", "second_v1"):
        if name == "second_v1":
            Worker(stories.url).drain()
            before = updates(stories)
            size = stories.value("SELECT pg_relation_size('story_search_first_v1_hnsw')")
        declared = Embedding(name, hash_model(dimensions))
        added = embedding_ddl.add_embedding("public", "story_search", declared)
        execute_all(stories.connection, added)
    report = Worker(stories.url).drain()
    assert report.chunks == 5000
    assert report.entered == ["second_v1: ready"]
    updated, heap_only = (now - then for now, then in zip(updates(stories), before, strict=True))
    assert updated == 5000
    assert heap_only >= 0.99 * updated
    assert stories.value("SELECT pg_relation_size('story_search_first_v1_hnsw')") <= 1.02 * size


UNRELATED = "UPDATE story SET views = views + 1, tenant_id = tenant_id + 1"


def test_an_unrelated_update_touches_no_companion(stories: Stories) -> None:
    stories.insert(*(f"Story {n}" for n in range(50)))
    stories.execute("SET track_functions = 'all'")

    def work() -> list[int]:
        """Return rows written to each companion and calls of functions, in this session."""
        written = (
            "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
            " WHERE relname = %s"
        )
        calls = "SELECT coalesce(sum(calls), 0) FROM pg_stat_xact_user_functions"
        return [*(stories.value(written, table) for table in COMPANIONS), stories.value(calls)]

    with stories.connection.transaction():
        before = work()
        stories.execute(UNRELATED)
        stories.execute("UPDATE story SET title = title, body = body")
        assert work() == before
        # The same questions do see an update that changes a text.
        stories.execute("UPDATE story SET body = body || '.' WHERE id = 1")
        document, chunk, queue, lexeme, calls = (
            now - then for now, then in zip(work(), before, strict=True)
        )
    assert (document, chunk, queue, lexeme) == (1, 0, 1, 0)
    assert calls > 0


def written_bytes(stories: Stories, statement: str) -> int:
    """Return the bytes of WAL that a statement writes: the least of some runs, for other tests
    may be writing on the same server.

    Each run finds the row versions of the last one removed: an update does that by itself, but
    not while a transaction of another test is open, and then it writes more.
    """
    measured = []
    for _ in range(10):
        stories.execute("VACUUM story")
        with stories.connection.transaction(force_rollback=True):
            before = stories.value("SELECT pg_current_wal_insert_lsn()")
            stories.execute(statement)
            measured.append(
                stories.value("SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", before)
            )
    return int(min(measured))


def test_an_unrelated_update_writes_no_more_wal_than_without_a_search_index(
    stories: Stories,
) -> None:
    stories.insert(*(f"Story {n}" for n in range(200)))
    with_triggers = written_bytes(stories, UNRELATED)
    changing_text = written_bytes(stories, "UPDATE story SET body = body || '.'")
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    assert with_triggers < 1.2 * written_bytes(stories, UNRELATED)
    assert changing_text > 2 * with_triggers
