"""The deterministic model that users test with."""

import math
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsearch import Model
from pgsearch.errors import EmbeddingFailed
from pgsearch.models import Embedder, load
from pgsearch.testing import HashEmbedder, hash_model


def similarity(embedder: HashEmbedder, a: str, b: str) -> float:
    first, second = embedder.embed_documents([a, b])
    return math.fsum(x * y for x, y in zip(first.to_list(), second.to_list(), strict=True))


def test_it_is_an_embedder() -> None:
    assert isinstance(HashEmbedder(), Embedder)


def test_hash_model_is_loaded_by_its_provider() -> None:
    model = hash_model(32)
    assert model == Model("hash-32", dimensions=32, provider="hash")
    embedder = load(model)
    assert isinstance(embedder, HashEmbedder)
    assert embedder.dimensions == 32


def test_vectors_are_the_same_in_every_process() -> None:
    script = (
        "from pgsearch.testing import HashEmbedder\n"
        "print(HashEmbedder(16).embed_documents(['The same, everywhere'])[0].to_text())"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    here = HashEmbedder(16).embed_documents(["The same, everywhere"])[0]
    assert run.stdout.strip() == here.to_text()


@settings(deadline=None)  # other work on the machine is not a failure
@given(
    st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1),
    st.integers(min_value=1, max_value=100),
)
def test_every_text_has_a_unit_vector(texts: list[str], dimensions: int) -> None:
    vectors = HashEmbedder(dimensions).embed_documents(texts)
    assert len(vectors) == len(texts)
    for vector in vectors:
        assert vector.dimensions() == dimensions
        assert math.hypot(*vector.to_list()) == pytest.approx(1, abs=1e-5)


def test_words_that_cancel_each_other_out_still_have_a_direction() -> None:
    # In one dimension, two one-letter words of opposite sign add up to zero.
    embedder = HashEmbedder(1)
    letters = "abcdefghij"
    positive = next(x for x in letters if embedder.embed_documents([x])[0].to_list() == [1.0])
    negative = next(x for x in letters if embedder.embed_documents([x])[0].to_list() == [-1.0])
    vector = embedder.embed_documents([f"{positive} {negative}"])[0]
    assert abs(vector.to_list()[0]) == 1.0


def test_similar_texts_have_similar_vectors() -> None:
    embedder = HashEmbedder()
    query = "reset my password"
    same_words = similarity(embedder, query, "How do I reset the password?")
    word_parts = similarity(embedder, query, "Passwords that were resetted")
    unrelated = similarity(embedder, query, "A river in France flows to the sea")
    assert same_words > word_parts + 0.1
    assert word_parts > unrelated + 0.1
    assert similarity(embedder, "UPPER case", "upper CASE") == pytest.approx(1)


def test_queries_and_documents_are_alike() -> None:
    embedder = HashEmbedder()
    assert embedder.embed_queries(["a text"]) == embedder.embed_documents(["a text"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("  \n", 0), ("one", 1), ("one, two!", 4), ("don't", 3), ("naïve 東京", 2)],
)
def test_tokens_are_words_and_punctuation_marks(text: str, tokens: int) -> None:
    assert HashEmbedder().count_tokens(text) == tokens


def test_what_lies_beyond_the_window_is_not_seen() -> None:
    embedder = HashEmbedder()
    full = "word, " * 128
    assert embedder.count_tokens(full) == embedder.max_tokens
    short, cut, other = embedder.embed_documents([full, full + " more", "other" + full])
    assert short == cut
    assert short != other


def test_fail_on_raises_for_texts_that_contain_it() -> None:
    embedder = HashEmbedder(fail_on="poison")
    assert len(embedder.embed_documents(["fine", "also fine"])) == 2
    with pytest.raises(EmbeddingFailed, match="poison"):
        embedder.embed_documents(["fine", "some poisoned text"])
    with pytest.raises(EmbeddingFailed, match="poison"):
        embedder.embed_queries(["poison"])


def test_delay_is_per_call() -> None:
    embedder = HashEmbedder(delay_s=0.2)
    start = time.perf_counter()
    embedder.embed_documents(["one", "two", "three"])
    assert 0.2 <= time.perf_counter() - start < 0.6


def test_dimensions_must_be_positive() -> None:
    with pytest.raises(ValueError, match="dimensions=0"):
        HashEmbedder(0)


def test_a_worker_is_not_held_up_by_it() -> None:
    texts = [f"Row {n} says that the answer is {n * n}, which is a number." for n in range(5_000)]
    start = time.perf_counter()
    HashEmbedder().embed_documents(texts)
    # About a quarter of a second on an idle core; the limit leaves room for a busy machine.
    assert time.perf_counter() - start < 3
