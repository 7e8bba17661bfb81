"""Documents written anew while a text was changed that its transaction could not capture."""

from __future__ import annotations

import psycopg

from pgsearch import registry
from pgsearch.sync.fill import DocumentFill
from tests.integration.test_worker_concurrency import once
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, *_ = SENTENCES


def write_anew(stories: Stories) -> None:
    """Write all documents anew, as after a change of the language, and no chunk."""
    stories.execute(
        "UPDATE pgsearch.search_index"
        " SET refill_documents = true, fill_key = NULL, filled_at = NULL"
    )
    (index,) = registry.read(stories.connection)
    while DocumentFill(index).step(stories.connection) is not None:
        pass


def change_unseen(stories: Stories, key: int) -> None:
    """Change a text in a transaction that cannot write the document any more."""
    with psycopg.connect(stories.url, autocommit=True) as application:
        application.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        application.execute("SELECT FROM story")
        write_anew(stories)
        application.execute("UPDATE story SET body = 'other' WHERE id = %s", [key])
        application.execute("COMMIT")
    assert stories.value("SELECT rewrite FROM story_search_queue WHERE id = %s", key) is True


def test_a_text_that_could_not_be_captured_is_not_taken_for_the_embedded_one(
    stories: Stories,
) -> None:
    """Documents written anew keep their generations, for their chunks stay; not so this one's."""
    one, two = stories.insert(ONE, TWO)
    stories.drain()

    def is_stale(key: int) -> bool:
        generations = (
            "SELECT chunk.generation <> document.generation FROM story_search_chunk AS chunk"
            " JOIN story_search_document AS document USING (id) WHERE id = %s"
        )
        return bool(stories.value(generations, key))

    change_unseen(stories, one)
    write_anew(stories)
    assert (is_stale(one), is_stale(two)) == (True, False)
    stories.drain()
    assert stories.differences() == []


def test_a_text_that_is_in_hand_meanwhile_is_embedded_again(stories: Stories) -> None:
    """Its document has another generation then than the one that was read with it."""
    (one,) = stories.insert(ONE)
    stories.drain()
    change_unseen(stories, one)
    stories.drain(Watching(once(lambda: write_anew(stories))))
    assert stories.differences() == []
