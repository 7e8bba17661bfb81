"""The benches' cache: what was embedded once is not asked for again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pgvector import Vector

from bench.embeddings_cache import CachedEmbedder
from pgsearch import Model
from pgsearch.models.protocol import Embedder

MODEL = Model("./letters", dimensions=3)


class Letters:
    """Counts letters: a model that is small, deterministic and notes what it is asked."""

    dimensions = 3
    max_tokens = 8

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        self.asked.append(("document", list(texts)))
        if "poison" in texts:
            raise RuntimeError("cannot read this")
        return [Vector([len(text), text.count("a") / 3, 0.1]) for text in texts]

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        self.asked.append(("query", list(texts)))
        return [Vector([-len(text), text.count("a") / 3, 0.1]) for text in texts]


@pytest.fixture
def inner() -> Letters:
    return Letters()


@pytest.fixture
def cached(inner: Letters, tmp_path: Path) -> Iterator[CachedEmbedder]:
    embedder = CachedEmbedder(inner, MODEL, tmp_path / "cache")
    yield embedder
    embedder.close()


def test_it_is_an_embedder(cached: CachedEmbedder) -> None:
    assert isinstance(cached, Embedder)
    assert (cached.dimensions, cached.max_tokens, cached.count_tokens("a b")) == (3, 8, 2)


def test_the_vectors_are_those_of_the_model_in_the_order_asked(
    cached: CachedEmbedder, inner: Letters
) -> None:
    texts = ["banana", "kiwi", "banana", "apple"]
    expected = Letters().embed_documents(texts)
    assert cached.embed_documents(texts) == expected
    assert cached.embed_documents(texts[::-1]) == expected[::-1]
    assert inner.asked == [("document", ["banana", "kiwi", "apple"])]
    assert cached.embedded == 3


def test_only_what_is_missing_is_asked_for(cached: CachedEmbedder, inner: Letters) -> None:
    cached.embed_documents(["one", "two"])
    cached.embed_documents(["two", "three", "one"])
    assert inner.asked[1:] == [("document", ["three"])]


def test_queries_and_documents_are_kept_apart(cached: CachedEmbedder, inner: Letters) -> None:
    assert cached.embed_documents(["banana"]) != cached.embed_queries(["banana"])
    assert [kind for kind, _ in inner.asked] == ["document", "query"]


def test_vectors_outlive_the_process(inner: Letters, tmp_path: Path) -> None:
    texts = [f"text {number}" for number in range(1_200)]
    first = CachedEmbedder(inner, MODEL, tmp_path)
    expected = first.embed_documents(texts)
    first.close()
    second = CachedEmbedder(inner, MODEL, tmp_path)
    assert second.embed_documents(texts) == expected
    assert second.embedded == 0
    second.close()


@pytest.mark.parametrize(
    "other", [replace(MODEL, revision="2"), replace(MODEL, document_prompt="passage: ")]
)
def test_another_declaration_is_another_model(inner: Letters, tmp_path: Path, other: Model) -> None:
    for model in (MODEL, other):
        embedder = CachedEmbedder(inner, model, tmp_path)
        embedder.embed_documents(["banana"])
        embedder.close()
    assert len(inner.asked) == 2


def test_an_error_of_the_model_passes_and_nothing_is_kept(
    cached: CachedEmbedder, inner: Letters
) -> None:
    with pytest.raises(RuntimeError, match="cannot read this"):
        cached.embed_documents(["apple", "poison"])
    cached.embed_documents(["apple"])
    assert inner.asked[-1] == ("document", ["apple"])
