"""In whose tokens passages are cut, when the embedding goes by which they were."""

from __future__ import annotations

import pytest

from pgsearch.declare import Embedding, Model
from pgsearch.models.protocol import Embedder
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.sync import Report
from pgsearch.sync.reconciliation import reconcile
from pgsearch.testing import HashEmbedder, hash_model
from tests.plugins.reconcile import counts
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, Stories

#: Each of them is one passage, or two where every word is two tokens.
BODIES = [f"{sentence} That was year {n}." for n, sentence in enumerate(SENTENCES)]


class Wordy(HashEmbedder):
    """A model with another tokenizer: every word is two tokens."""

    def count_tokens(self, text: str) -> int:
        return 2 * super().count_tokens(text)


WORDY = Wordy(32)


def load(model: Model) -> Embedder:
    return WORDY if model.dimensions == 32 else HashEmbedder(model.dimensions)


def drain(stories: Stories) -> Report:
    return stories.worker(load=load).drain()


def is_filled(stories: Stories) -> bool:
    filled = stories.value("SELECT filled_at IS NOT NULL FROM pgsearch.search_index")
    assert isinstance(filled, bool)
    return filled


def drop(stories: Stories, name: str) -> None:
    execute_all(stories.connection, embedding_ddl.drop_embedding("public", "story_search", name))


def activate(stories: Stories, name: str) -> None:
    execute_all(
        stories.connection, embedding_ddl.activate_embedding("public", "story_search", name)
    )


@pytest.fixture
def both(stories: Stories) -> Stories:
    """Texts of one or two passages, and two embeddings of which the second one answers."""
    stories.insert(*BODIES)
    drain(stories)
    stories.add_embedding("hash_v2", 32)
    drain(stories)
    activate(stories, "hash_v2")
    return stories


def test_the_oldest_embedding_cuts_whichever_answers(both: Stories) -> None:
    models = {"hash_v1": HashEmbedder(64), "hash_v2": WORDY}
    both.execute("UPDATE story SET body = body || ' And it was over.'")
    drain(both)
    assert both.differences(models) == []
    assert counts(reconcile(both.url, dry_run=True, load=load)) == {}


def test_passages_are_cut_anew_when_the_embedding_is_dropped_that_has_cut_them(
    both: Stories,
) -> None:
    """Also those of rows that do not change; nothing is found to be stale later."""
    before = both.value("SELECT count(*) FROM story_search_chunk")
    generations = both.execute("SELECT id, generation FROM story_search_document ORDER BY id")
    drop(both, "hash_v1")
    assert not is_filled(both)
    report = drain(both)
    assert report.embedded > 0
    assert both.differences({"hash_v2": WORDY}) == []
    assert both.value("SELECT count(*) FROM story_search_chunk") > before
    # No text has changed: what there is was never taken for stale.
    assert generations == both.execute(
        "SELECT id, generation FROM story_search_document ORDER BY id"
    )
    assert counts(reconcile(both.url, dry_run=True, load=load)) == {}
    # The same migration, run again.
    drop(both, "hash_v1")
    assert is_filled(both)


def test_passages_that_come_out_the_same_are_not_embedded_again(stories: Stories) -> None:
    stories.insert(*BODIES)
    stories.drain()
    stories.add_embedding("hash_v2", 48)
    stories.drain()
    activate(stories, "hash_v2")
    chunks = "SELECT xmin::text, id, ordinal FROM story_search_chunk ORDER BY id, ordinal"
    before = stories.execute(chunks)
    drop(stories, "hash_v1")
    assert not is_filled(stories)
    report = stories.drain()
    assert (report.documents, report.embedded, report.reused) == (len(BODIES), 0, 0)
    assert stories.execute(chunks) == before


def test_nothing_is_cut_anew_when_another_embedding_is_dropped(both: Stories) -> None:
    activate(both, "hash_v1")
    drop(both, "hash_v2")
    assert is_filled(both)
    assert drain(both).documents == 0


def test_nothing_is_cut_anew_in_the_same_models_tokens(both: Stories) -> None:
    """As where the next embedding has its vectors with fewer dimensions."""
    shorter = Embedding("hash_v3", Model("hash-64", dimensions=48, provider="hash"))
    assert hash_model(64).name == shorter.model.name
    activate(both, "hash_v1")
    drop(both, "hash_v2")
    execute_all(both.connection, embedding_ddl.add_embedding("public", "story_search", shorter))
    drain(both)
    activate(both, "hash_v3")
    drop(both, "hash_v1")
    assert is_filled(both)


def test_nothing_is_cut_anew_without_another_embedding(stories: Stories) -> None:
    stories.insert(*BODIES)
    stories.drain()
    execute_all(
        stories.connection,
        embedding_ddl.deactivate_embedding("public", "story_search", "hash_v1"),
    )
    drop(stories, "hash_v1")
    assert is_filled(stories)
