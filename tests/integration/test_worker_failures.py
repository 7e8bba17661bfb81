"""A text that a model cannot take holds up no other; a model that is not the one writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pgvector import Vector

from pgsearch import Model, database, errors, registry
from pgsearch.lifecycle import Builder, advance
from pgsearch.models import Embedder
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES
POISON = "This one is poison."


class Poisoned(Watching):
    """Fails on a text with `poison` in it, with the error that a test wants."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(self._refuse)
        self._error = error or RuntimeError("the model cannot read this")

    def _refuse(self, texts: Sequence[str]) -> None:
        if any("poison" in text for text in texts):
            raise self._error


def queue_rows(stories: Stories) -> list[tuple[Any, ...]]:
    """Return key, attempts, error, whether it is put off and whether it is parked."""
    return stories.execute(
        "SELECT id, attempts, last_error, not_before > clock_timestamp(), failed_at IS NOT NULL"
        " FROM story_search_queue ORDER BY queue_id"
    )


def try_again_now(stories: Stories) -> None:
    """Let the time of back-off pass."""
    stories.execute("UPDATE story_search_queue SET not_before = NULL")


def test_the_neighbours_of_a_poisonous_text_are_embedded(stories: Stories) -> None:
    ids = stories.insert(*(f"Number {n} is harmless." for n in range(20)))
    (poisonous,) = stories.insert(POISON)
    ids += stories.insert(*(f"Number {n} is harmless." for n in range(20, 40)))
    report = stories.drain(Poisoned())
    assert (report.documents, report.embedded, report.failed) == (40, 40, 1)
    assert [stories.chunks(story) for story in ids] == [
        [f"Number {n} is harmless."] for n in range(40)
    ]
    assert stories.chunks(poisonous) == []
    error = "RuntimeError: the model cannot read this"
    assert queue_rows(stories) == [(poisonous, 1, error, True, False)]


def test_only_the_document_with_the_poisonous_passage_fails(stories: Stories) -> None:
    sick, healthy = stories.insert(" ".join([ONE, TWO, POISON]), ONE)
    report = stories.drain(Poisoned())
    assert (report.documents, report.failed) == (1, 1)
    assert (stories.chunks(sick), stories.chunks(healthy)) == ([], [ONE])


def test_attempts_are_counted_put_off_longer_each_time_and_parked_after_the_last(
    stories: Stories,
) -> None:
    (story,) = stories.insert(POISON)
    left = "SELECT extract(epoch FROM not_before - clock_timestamp())::float8"
    for attempt, seconds in ((1, 2), (2, 4), (3, 8)):
        assert stories.drain(Poisoned(), max_attempts=3).failed == 1
        assert seconds - 1.5 < stories.value(f"{left} FROM story_search_queue") <= seconds
        assert [(row[1], row[4]) for row in queue_rows(stories)] == [(attempt, attempt == 3)]
        # Not due yet: nothing is tried.
        assert stories.drain(Poisoned(), max_attempts=3).failed == 0
        try_again_now(stories)
    embedder = Poisoned()
    assert stories.drain(embedder, max_attempts=3).failed == 0
    assert embedder.asked == []
    assert queue_rows(stories) == [
        (story, 3, "RuntimeError: the model cannot read this", None, True)
    ]


def test_a_parked_document_does_not_keep_the_first_embedding_from_being_active(
    stories: Stories,
) -> None:
    stories.insert(POISON, ONE)
    stories.drain(Poisoned(), max_attempts=2)
    assert stories.states() == {"hash_v1": "filling"}
    try_again_now(stories)
    stories.drain(Poisoned(), max_attempts=2)
    assert stories.states() == {"hash_v1": "active"}


def test_a_text_that_the_model_can_take_at_last_is_embedded(stories: Stories) -> None:
    (story,) = stories.insert(POISON)
    stories.drain(Poisoned())
    try_again_now(stories)
    stories.drain(Watching())
    assert stories.chunks(story) == [POISON]
    assert (stories.waiting(), stories.differences()) == (0, [])


@pytest.mark.parametrize("max_attempts", [1, 5])
def test_a_text_that_was_mended_leaves_no_failure_behind(
    stories: Stories, max_attempts: int
) -> None:
    sick, also_sick = stories.insert(POISON, POISON)
    stories.drain(Poisoned(), max_attempts=max_attempts)
    stories.execute("UPDATE story SET body = %s WHERE id = %s", ONE, sick)
    stories.drain(Poisoned(), max_attempts=max_attempts)
    assert stories.chunks(sick) == [ONE]
    assert [row[0] for row in queue_rows(stories)] == [also_sick]
    stories.execute("DELETE FROM story WHERE id = %s", also_sick)
    stories.drain(Poisoned(), max_attempts=max_attempts)
    assert queue_rows(stories) == []


def test_a_document_keeps_its_old_chunks_until_its_new_text_can_be_embedded(
    stories: Stories,
) -> None:
    (story,) = stories.insert(ONE)
    stories.drain()
    stories.execute("UPDATE story SET body = %s", POISON)
    stories.drain(Poisoned())
    assert stories.chunks(story) == [ONE]
    assert stories.execute("SELECT passage, stale FROM story_search('poison')") == [(ONE, True)]


def test_a_model_that_fails_on_everything_ends_the_drain_too(stories: Stories) -> None:
    stories.insert("poison 1", "poison 2", "poison 3")
    report = stories.drain(Poisoned())
    assert (report.documents, report.failed) == (0, 3)
    assert [row[1] for row in queue_rows(stories)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        pytest.param(OSError("bytes \x00 and \ud800"), "OSError: bytes \ufffd and ?", id="NUL"),
        pytest.param(ValueError("x" * 100_000), "ValueError: " + "x" * 1988, id="long"),
        pytest.param(
            errors.EmbeddingFailed("It failed.", hint="Look at it."),
            "EmbeddingFailed: It failed.\nLook at it.",
            id="with a hint",
        ),
    ],
)
def test_any_message_of_an_error_can_be_kept(stories: Stories, error: Exception, kept: str) -> None:
    stories.insert(POISON, ONE)
    report = stories.drain(Poisoned(error))
    assert (report.documents, report.failed) == (1, 1)
    assert [row[2] for row in queue_rows(stories)] == [kept]


def state(stories: Stories) -> list[list[tuple[object, ...]]]:
    """Return all that a worker could write, row versions included."""
    return [
        stories.execute(f"SELECT xmin::text, t.* FROM {table} AS t ORDER BY t")
        for table in ("story_search_chunk", "story_search_queue", "pgsearch.embedding")
    ]


def test_a_model_of_other_dimensions_is_refused_before_it_writes_anything(
    stories: Stories,
) -> None:
    stories.insert(ONE)
    before = state(stories)
    with pytest.raises(errors.ModelMismatch, match=r"'hash-64'.* 32 dimensions.*'hash_v1' has 64"):
        stories.drain(HashEmbedder(32))
    assert state(stories) == before
    # Nor is it taken for the model that was registered.
    assert stories.drain(HashEmbedder(64)).embedded == 1


def test_a_model_of_other_dimensions_is_refused_where_one_is_registered(stories: Stories) -> None:
    stories.insert(TWO)
    stories.drain()
    stories.insert(ONE)
    before = state(stories)
    with pytest.raises(
        errors.ModelMismatch, match=r"3 vectors of 32 dimensions, registered are 3 vectors of 64"
    ):
        stories.drain(HashEmbedder(32))
    assert state(stories) == before


def test_another_model_of_equal_dimensions_is_refused(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()
    stories.insert(TWO)
    before = state(stories)
    impostor = Watching(salt="quite different from the first model: ")
    with pytest.raises(
        errors.ModelMismatch, match=r"'hash-64' as loaded here .* registered .* cosine of 0\.\d+"
    ):
        stories.drain(impostor)
    assert impostor.asked == []
    assert state(stories) == before
    assert stories.drain().embedded == 1


def test_two_models_that_come_first_at_once_are_not_both_believed(stories: Stories) -> None:
    """The second worker has read the registry when there was no fingerprint, as the first had."""
    stories.insert(ONE)

    right: list[Worker] = [Worker(stories.url)]

    class Late(Watching):
        def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
            while right:
                right.pop().drain()
            return super().embed_documents(texts)

    late = Late(salt="quite different from the first model: ")
    with pytest.raises(errors.ModelMismatch, match="not the one registered"):
        stories.drain(late)
    assert late.asked == []
    assert stories.differences() == []
    stories.insert(TWO)
    assert stories.drain().embedded == 1


@pytest.mark.parametrize(
    ("vectors", "refusal"),
    [
        pytest.param(
            [Vector([1.0])] * 2,
            r"'hash-64' returned a vector of 1 dim.*'hash_v1' has 64",
            id="short",
        ),
        pytest.param([Vector([1.0] * 64)], "returned 1 vectors for 2 texts", id="too few"),
    ],
)
def test_vectors_that_do_not_fit_are_not_written(
    stories: Stories, vectors: list[Vector], refusal: str
) -> None:
    stories.drain()

    class Broken(Watching):
        def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
            made = super().embed_documents(texts)
            return vectors if self.asked else made

    stories.insert(ONE, TWO)
    with pytest.raises(errors.ModelError, match=refusal):
        stories.drain(Broken())
    assert stories.value("SELECT count(*) FROM story_search_chunk") == 0
    # The lease was given back, so a worker whose model is right need not wait.
    assert stories.drain().embedded == 2


def test_no_model_is_loaded_where_nothing_waits(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()

    def load(model: Model) -> Embedder:
        raise AssertionError(f"{model.name} is not needed")

    assert Worker(stories.url, load=load).drain().documents == 0


def test_keywords_find_old_rows_though_the_model_cannot_be_loaded(stories: Stories) -> None:
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.execute("INSERT INTO story (body) SELECT 'row ' || n FROM generate_series(1, 1200) n")
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")

    def load(model: Model) -> Embedder:
        raise errors.ModelUnavailable(f"{model.name} is nowhere.")

    with pytest.raises(errors.ModelUnavailable):
        Worker(stories.url, load=load).drain()
    assert stories.value("SELECT count(*) FROM story_search_document") == 1200


def test_a_worker_that_died_before_the_first_activation_is_made_good(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()
    stories.execute("UPDATE pgsearch.embedding SET state = 'ready', activated_at = NULL")
    assert stories.drain().entered == ["hash_v1: active"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_vector_that_is_no_direction_is_that_texts_failure(
    stories: Stories, value: float
) -> None:
    stories.insert(ONE, POISON, TWO)

    class Without(Watching):
        def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
            made = super().embed_documents(texts)
            return [
                Vector([value] * 64) if "poison" in text else vector
                for text, vector in zip(texts, made, strict=True)
            ]

    report = stories.drain(Without())
    assert (report.documents, report.failed) == (2, 1)
    ((_, attempts, error, _, _),) = queue_rows(stories)
    assert attempts == 1
    assert "all zeros or not finite" in error


def test_an_old_look_at_the_registry_takes_nothing_back(stories: Stories) -> None:
    stories.insert(ONE)
    with database.connect(stories.url) as connection:
        connection.execute("UPDATE pgsearch.search_index SET filled_at = clock_timestamp()")
        (old,) = registry.read(connection)
        assert old.embeddings[0].state == "filling"
        stories.drain()
        assert advance(connection, old, Builder(stories.url)).entered == []
        (now,) = registry.read(connection)
    assert now.active is not None
