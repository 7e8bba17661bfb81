"""A worker makes chunks and vectors what the rows want, and does no more work than that."""

from __future__ import annotations

import pytest

from pgsearch import errors
from pgsearch.sync import Progress
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES


def bodies(number: int) -> list[str]:
    return [f"Story {n} begins in year {1800 + n}." for n in range(number)]


def versions(stories: Stories) -> dict[tuple[int, int], tuple[str, str]]:
    """Return where and by which transaction each chunk was written: it changes with the row."""
    rows = stories.execute(
        "SELECT id, ordinal, ctid::text, xmin::text FROM story_search_chunk ORDER BY id, ordinal"
    )
    return {(story, ordinal): (place, writer) for story, ordinal, place, writer in rows}


def test_everything_is_embedded_and_the_first_embedding_activates_itself(stories: Stories) -> None:
    stories.insert(*bodies(300))
    report = stories.drain()
    assert (report.documents, report.chunks, report.embedded, report.failed) == (300, 300, 300, 0)
    assert report.entered == ["hash_v1: ready", "hash_v1: active"]
    assert stories.states() == {"hash_v1": "active"}
    assert stories.waiting() == 0
    assert stories.differences() == []


def test_the_hnsw_index_is_valid_and_used(stories: Stories) -> None:
    stories.insert(*bodies(300))
    stories.drain()
    assert stories.execute(
        "SELECT indisvalid, indisready FROM pg_index"
        " WHERE indexrelid = 'story_search_hash_v1_hnsw'::regclass"
    ) == [(True, True)]
    vector = Watching().embed_queries(["Story 7 begins in year 1807."])[0]
    stories.execute("SET enable_seqscan = off")
    stories.execute("SELECT * FROM story_search('story 7', vector => %s, mode => 'vector')", vector)
    # The last search by vector read the graph once; statistics arrive a little later.
    stories.execute("SELECT pg_stat_force_next_flush()")
    assert stories.value(
        "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'story_search_hash_v1_hnsw'"
    )


def test_a_second_drain_finds_nothing_to_do(stories: Stories) -> None:
    stories.insert(*bodies(20))
    stories.drain()
    before = versions(stories)
    embedder = Watching()
    report = stories.drain(embedder)
    assert (report.documents, report.chunks, report.embedded, report.entered) == (0, 0, 0, [])
    assert embedder.asked == []
    assert versions(stories) == before


def test_exactly_the_changed_rows_are_embedded_again(stories: Stories) -> None:
    ids = stories.insert(*bodies(50))
    stories.drain()
    before = versions(stories)
    stories.execute("UPDATE story SET body = 'A new end.' WHERE id = %s", ids[3])
    stories.execute("UPDATE story SET title = 'A title' WHERE id = %s", ids[4])
    stories.execute("UPDATE story SET views = views + 1, tenant_id = 2")
    stories.execute("UPDATE story SET body = body")
    embedder = Watching()
    report = stories.drain(embedder)
    assert sorted(embedder.asked) == ["A new end.", f"A title\n\n{bodies(50)[4]}"]
    assert (report.documents, report.chunks, report.embedded) == (2, 2, 2)
    changed = {key for key, version in versions(stories).items() if before[key] != version}
    assert changed == {(ids[3], 0), (ids[4], 0)}
    assert stories.differences() == []


def test_unchanged_chunks_of_a_changed_document_are_not_embedded_again(stories: Stories) -> None:
    (story,) = stories.insert(" ".join(SENTENCES))
    stories.drain()
    assert stories.chunks(story) == list(SENTENCES)
    vectors = "SELECT ordinal, embedding_hash_v1::text FROM story_search_chunk ORDER BY ordinal"
    before = stories.execute(vectors)
    changed = "The clock on the church tower stopped at a quarter past eleven."
    stories.execute("UPDATE story SET body = %s", " ".join([ONE, TWO, changed, FOUR]))
    embedder = Watching()
    report = stories.drain(embedder)
    assert embedder.asked == [changed]
    assert (report.documents, report.chunks, report.embedded) == (1, 1, 1)
    after = stories.execute(vectors)
    assert [row for row in after if row not in before] == [after[2]]
    assert stories.differences() == []


def test_unchanged_chunks_are_not_rewritten_but_for_their_generation(stories: Stories) -> None:
    (story,) = stories.insert(" ".join(SENTENCES))
    stories.drain()
    place = "SELECT pg_stat_force_next_flush(), n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables"
    toast = "SELECT reltoastrelid::regclass FROM pg_class WHERE relname = 'story_search_chunk'"
    indexed = f"{place} WHERE relname = 'story_search_chunk'"
    stored = f"SELECT count(*), max(xmin::text::bigint) FROM {stories.value(toast)}"
    before = stories.execute(indexed)[0][1], stories.execute(stored)
    stories.execute("UPDATE story SET body = body || ' ' WHERE id = %s", story)
    report = stories.drain()
    assert (report.documents, report.chunks, report.embedded) == (1, 0, 0)
    # The only update is heap-only: no index entry, no vector was written anew.
    assert (stories.execute(indexed)[0][1], stories.execute(stored)) == before
    assert stories.differences() == []


def test_a_chunk_that_moved_takes_its_vector_along(stories: Stories) -> None:
    stories.insert(" ".join([ONE, TWO]))
    stories.drain()
    stories.execute("UPDATE story SET body = %s", " ".join([THREE, ONE, TWO]))
    embedder = Watching()
    report = stories.drain(embedder)
    assert embedder.asked == [THREE]
    assert (report.embedded, report.reused) == (1, 2)
    assert stories.differences() == []


def test_equal_content_is_embedded_once(stories: Stories) -> None:
    stories.insert(ONE, ONE, TWO, ONE)
    embedder = Watching()
    report = stories.drain(embedder)
    assert sorted(embedder.asked) == sorted([ONE, TWO])
    assert (report.chunks, report.embedded) == (4, 2)
    stories.insert(TWO)
    again = Watching()
    report = stories.drain(again)
    assert again.asked == []
    assert (report.chunks, report.embedded, report.reused) == (1, 0, 1)
    assert stories.differences() == []


@pytest.mark.parametrize(
    ("before", "after", "embedded"),
    [
        pytest.param(SENTENCES, (ONE,), 0, id="shrinks"),
        pytest.param((ONE,), SENTENCES, 3, id="grows"),
        pytest.param(SENTENCES, (), 0, id="becomes empty"),
        pytest.param((), (ONE,), 1, id="was empty"),
        pytest.param((ONE, TWO), (TWO, ONE), 0, id="changes places"),
    ],
)
def test_a_document_changes_its_length(
    stories: Stories, before: tuple[str, ...], after: tuple[str, ...], embedded: int
) -> None:
    (story,) = stories.insert(" ".join(before))
    stories.insert("A neighbour that stays.")
    stories.drain()
    assert stories.chunks(story) == list(before)
    stories.execute("UPDATE story SET body = %s WHERE id = %s", " ".join(after), story)
    assert stories.drain().embedded == embedded
    assert stories.chunks(story) == list(after)
    assert stories.differences() == []


@pytest.mark.parametrize("body", [None, "", " \n\t "])
def test_a_document_without_text_has_no_chunk(stories: Stories, body: str | None) -> None:
    (story,) = stories.insert(ONE)
    stories.drain()
    stories.execute("UPDATE story SET body = %s", body)
    stories.drain()
    assert stories.chunks(story) == []
    assert stories.waiting() == 0
    stories.execute("UPDATE story SET title = 'Only a title'")
    stories.drain()
    assert stories.chunks(story) == ["Only a title"]
    assert stories.differences() == []


def test_a_deleted_document_loses_its_chunks(stories: Stories) -> None:
    gone, stays = stories.insert(" ".join(SENTENCES), ONE)
    stories.drain()
    stories.execute("DELETE FROM story WHERE id = %s", gone)
    report = stories.drain()
    assert (report.documents, report.embedded) == (1, 0)
    assert stories.chunks(gone) == []
    assert stories.chunks(stays) == [ONE]
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_row_deleted_before_it_was_embedded_leaves_nothing(stories: Stories) -> None:
    stories.insert(ONE)
    stories.execute("DELETE FROM story")
    embedder = Watching()
    stories.drain(embedder)
    assert embedder.asked == []
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_row_under_a_new_key_takes_its_vectors_along(stories: Stories) -> None:
    (story,) = stories.insert(" ".join([ONE, TWO]))
    stories.drain()
    stories.execute("UPDATE story SET id = 900 WHERE id = %s", story)
    report = stories.drain()
    assert report.embedded == 0
    assert (stories.chunks(story), stories.chunks(900)) == ([], [ONE, TWO])
    assert stories.differences() == []


def test_two_rows_exchange_their_keys(stories: Stories) -> None:
    first, second = stories.insert(ONE, " ".join([TWO, THREE]))
    stories.drain()
    with stories.connection.transaction():
        for old, new in ((first, -1), (second, first), (-1, second)):
            stories.execute("UPDATE story SET id = %s WHERE id = %s", new, old)
    stories.drain()
    assert (stories.chunks(first), stories.chunks(second)) == ([TWO, THREE], [ONE])
    assert stories.differences() == []


def test_a_row_deleted_and_inserted_again_has_its_new_text(stories: Stories) -> None:
    (story,) = stories.insert(" ".join([ONE, TWO]))
    stories.drain()
    stories.execute("DELETE FROM story WHERE id = %s", story)
    stories.execute("INSERT INTO story (id, body) VALUES (%s, %s)", story, THREE)
    report = stories.drain()
    assert (report.documents, report.embedded) == (1, 1)
    assert stories.chunks(story) == [THREE]
    assert stories.differences() == []


def test_a_truncated_table_leaves_nothing_behind(stories: Stories) -> None:
    stories.insert(*bodies(10))
    stories.drain()
    stories.execute("TRUNCATE story")
    (fresh,) = stories.insert(ONE)
    stories.drain()
    assert stories.chunks(fresh) == [ONE]
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_a_rolled_back_change_is_none(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    stories.drain()
    with stories.connection.transaction(force_rollback=True):
        stories.execute("UPDATE story SET body = %s", TWO)
        stories.execute("TRUNCATE story")
    assert stories.drain().documents == 0
    assert stories.chunks(story) == [ONE]


def test_several_changes_of_a_row_are_embedded_as_one(stories: Stories) -> None:
    (story,) = stories.insert(ONE)
    for body in (TWO, THREE, FOUR):
        stories.execute("UPDATE story SET body = %s", body)
    embedder = Watching()
    report = stories.drain(embedder)
    assert embedder.asked == [FOUR]
    assert (report.documents, report.chunks) == (1, 1)
    assert (stories.chunks(story), stories.waiting()) == ([FOUR], 0)


def test_a_worker_can_be_told_which_search_indexes_are_its_own(stories: Stories) -> None:
    stories.insert(ONE)
    assert stories.drain(indexes=["story_search"]).embedded == 1
    with pytest.raises(errors.ObjectMissing, match="no search index 'novel_search'") as refused:
        stories.drain(indexes=["novel_search"])
    assert "story_search" in (refused.value.hint or "")


def test_progress_is_told_after_every_batch(stories: Stories) -> None:
    stories.insert(*bodies(25))
    told: list[Progress] = []
    stories.drain(batch_rows=10, on_progress=told.append)
    embed = [(progress.done, progress.waiting) for progress in told if progress.step == "embed"]
    assert [done for done, _ in embed] == [10, 10, 5]
    # They are counted while the next ones may be written.
    first, second, last = [waiting or 0 for _, waiting in embed]
    assert 15 >= first >= second >= last == 0
    assert [(p.step, p.embedding) for p in told if p.step != "embed"] == [("index", "hash_v1")]
