"""What a worker reads, whatever the planner believes: what its statements name, by an index."""

from __future__ import annotations

from tests.plugins.worker import Stories

ROWS = 1000
BATCH_ROWS = 32

#: The tables of the search index that a worker writes, and the one that it reads.
TABLES = ("story", "story_search_document", "story_search_chunk", "story_search_queue")

QUEUED = """
INSERT INTO story_search_queue (queue_id, id) OVERRIDING SYSTEM VALUE
SELECT 4611686018427387904 + n, n FROM generate_series(1, %s) AS n
"""


def read_in_full(stories: Stories) -> dict[str, int]:
    """Return how many rows of each table were read by going over all of it."""
    rows = stories.execute(
        "SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname = ANY(%s)",
        list(TABLES),
    )
    return dict(rows)


def believed_to_be_short(stories: Stories) -> None:
    """Let the planner know a queue that was long, and that next to nothing was left of.

    Autovacuum comes to it at any time. Its table is short then, and its index is as long as before;
    and each page of the table is taken for nearly empty, however many there are a moment later.
    """
    for table in TABLES:
        stories.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    stories.execute(QUEUED, 20 * ROWS)
    stories.execute("DELETE FROM story_search_queue WHERE id > 1")
    stories.execute("VACUUM ANALYZE story_search_queue")
    stories.execute("DELETE FROM story_search_queue")
    assert stories.value("SELECT reltuples FROM pg_class WHERE relname = 'story_search_queue'") == 1


def test_a_fill_does_not_read_whole_tables_for_each_batch(stories: Stories) -> None:
    stories.execute("INSERT INTO story (body) SELECT 'Story ' || n FROM generate_series(1, 1000) n")
    stories.drain()
    believed_to_be_short(stories)
    stories.add_embedding("hash_v2", 32)
    before = read_in_full(stories)
    report = stories.drain(batch_rows=BATCH_ROWS)
    assert (report.embedded, report.waiting) == (ROWS, 0)
    after = read_in_full(stories)
    chunks = after.pop("story_search_chunk") - before.pop("story_search_chunk")
    assert after == before
    # They are read when the fill is done: for what is missing, and to build the index.
    assert chunks < ROWS * ROWS / BATCH_ROWS / 2
