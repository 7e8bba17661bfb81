"""The contract of an Embedder: all of pgsearch's keep it, and broken ones are found out."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pgvector import Vector

from pgsearch import Model
from pgsearch.models import Embedder, load, packaged
from pgsearch.models import openai as openai_provider
from pgsearch.testing import EmbedderContract, HashEmbedder
from tests.plugins.embedding_server import refusal, serving


class TestHash(EmbedderContract):
    poison = "the poison that it was told of"

    def embedder(self) -> Embedder:
        return HashEmbedder(fail_on=self.poison)


class TestMiniLM(EmbedderContract):
    def embedder(self) -> Embedder:
        return load(Model(packaged.MINILM, revision=packaged.MINILM_REVISION, dimensions=384))


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a tiny DistilBERT with random weights."""
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(11)
    tokenizer = AutoTokenizer.from_pretrained(packaged.find(packaged.MINILM))
    tokenizer.model_max_length = 64
    tokenizer.save_pretrained(folder)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=32, hidden_dim=64, n_layers=2, n_heads=4
    )
    DistilBertModel(config).save_pretrained(folder)
    saved = folder / "saved"
    SentenceTransformer(str(folder)).save_pretrained(str(saved))
    return saved


class TestDistilBert(EmbedderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, distilbert: Path) -> None:
        self.folder = distilbert

    def embedder(self) -> Embedder:
        return load(Model(str(self.folder), dimensions=32))


class TestDistilBertCut(TestDistilBert):
    """Not trained for it, and yet an Embedder."""

    def embedder(self) -> Embedder:
        return load(Model(str(self.folder), dimensions=8, truncate=True))


class TestDistilBertInHalfPrecision(TestDistilBert):
    tolerance = 0.005

    def embedder(self) -> Embedder:
        return load(Model(str(self.folder), dimensions=32, precision="bfloat16"))


class TestHttp(EmbedderContract):
    poison = "the poison that the endpoint refuses"

    @pytest.fixture(autouse=True)
    def _served(self) -> Iterator[None]:
        with serving() as server:
            server.behave = lambda request: (
                refusal(400, "not this one") if self.poison in request.texts else None
            )
            self.url = server.url
            yield

    def embedder(self) -> Embedder:
        return openai_provider.load(
            Model("m", provider="openai", dimensions=16, url=self.url, max_tokens=256)
        )


class Broken(HashEmbedder):
    """A HashEmbedder with one fault, which `_broken` brings into both embed methods."""

    def __init__(self) -> None:
        super().__init__(32)

    def embed_documents(self, texts: Sequence[str]) -> Any:
        return self._broken(texts)

    def embed_queries(self, texts: Sequence[str]) -> Any:
        return self._broken(texts)

    def _broken(self, texts: Sequence[str]) -> Any:
        return self._right(texts)

    def _right(self, texts: Sequence[str]) -> list[Vector]:
        return HashEmbedder.embed_documents(self, texts)


def broken(embed: Callable[[Broken, Sequence[str]], Any], **more: Any) -> type[Broken]:
    """Return a class of embedders whose `embed` methods do this."""
    return type("Mine", (Broken,), {"_broken": embed, **more})


def _mixed(self: Broken, texts: Sequence[str]) -> list[Vector]:
    rows = [vector.to_list() for vector in self._right(texts)]
    mean = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    return [Vector([x + m for x, m in zip(row, mean, strict=True)]) for row in rows]


def _noisy(self: Broken, texts: Sequence[str]) -> list[Vector]:
    return [Vector([x + random.random() for x in v.to_list()]) for v in self._right(texts)]


def _forgetful(self: Broken, texts: Sequence[str]) -> list[Vector]:
    self.texts = texts  # type: ignore[attr-defined]
    time.sleep(0.01)
    return self._right(self.texts)  # type: ignore[attr-defined]


def _fussy(self: Broken, texts: Sequence[str]) -> list[Vector]:
    for text in texts:
        text.encode("latin-1")
    return self._right(texts)


def _narrow(self: Broken, texts: Sequence[str]) -> list[Vector]:
    if any(self.count_tokens(text) > self.max_tokens for text in texts):
        raise ValueError("the text is too long")
    return self._right(texts)


def _narrower(self: Broken, texts: Sequence[str]) -> list[Vector]:
    if any(self.max_tokens - 3 < self.count_tokens(text) <= self.max_tokens for text in texts):
        raise ValueError("no room for special tokens")
    return self._right(texts)


def _sorting(self: Broken, texts: Sequence[str]) -> list[Vector]:
    if isinstance(texts, list):
        texts.sort()
    return self._right(texts)


def _without_direction(self: Broken, texts: Sequence[str]) -> list[Vector]:
    return [
        Vector([0.0] * 32) if text == "." else v
        for text, v in zip(texts, self._right(texts), strict=True)
    ]


async def _waiting(self: Broken, texts: Sequence[str]) -> list[Vector]:
    return self._right(texts)


FAULTS: dict[str, tuple[type[Broken], str, str]] = {
    "lies about its dimensions": (
        broken(lambda self, texts: [Vector([1.0, *v.to_list()]) for v in self._right(texts)]),
        "every_text_has_one_vector",
        "33 values",
    ),
    "returns lists": (
        broken(lambda self, texts: [v.to_list() for v in self._right(texts)]),
        "every_text_has_one_vector",
        r"pgvector\.Vector\(values\)",
    ),
    "returns a generator": (
        broken(lambda self, texts: iter(self._right(texts))),
        "every_text_has_one_vector",
        "return a list",
    ),
    "drops texts that come twice": (
        broken(lambda self, texts: self._right(list(dict.fromkeys(texts)))),
        "every_text_has_one_vector",
        "list of 6 for 12 texts",
    ),
    "changes what it is given": (broken(_sorting), "every_text_has_one_vector", "copy it first"),
    "leaves texts sorted": (
        broken(lambda self, texts: self._right(sorted(texts, key=len))),
        "vectors_come_in_the_order",
        "order of the texts",
    ),
    "has one vector for all": (
        broken(lambda self, texts: self._right(["the same"] * len(texts))),
        "different_texts",
        "very same vector",
    ),
    "is not the same twice": (broken(_noisy), "same_vector_every_time", "dropout"),
    "mixes the texts of a batch": (broken(_mixed), "alone_and_among_others", "mask the padding"),
    "uses another model for queries": (
        broken(
            lambda self, texts: self._right(texts),
            embed_queries=lambda self, texts: self._right([text[::-1] for text in texts]),
        ),
        "query_finds",
        "use the same model",
    ),
    "cannot read all scripts": (broken(_fussy), "odd_texts", "fails on Chinese"),
    "makes zeros of a full stop": (broken(_without_direction), "odd_texts", "all zeros"),
    "refuses long texts": (broken(_narrow), "longer_than_the_window", "too long"),
    "has a smaller window than it says": (broken(_narrower), "fills_the_window", "special tokens"),
    "counts no further than its window": (
        broken(Broken._right, count_tokens=lambda self, text: min(256, len(text.split()))),
        "tokens_are_counted",
        "truncation off",
    ),
    "counts in fractions": (
        broken(Broken._right, count_tokens=lambda self, text: len(text) / 4),
        "tokens_are_counted",
        "make it an int",
    ),
    "counts nothing": (
        broken(Broken._right, count_tokens=lambda self, text: 1),
        "tokens_are_counted",
        "grow with the text",
    ),
    "keeps a call's texts on self": (broken(_forgetful), "threads", "or take a lock"),
    "is asynchronous": (
        broken(Broken._right, embed_documents=_waiting),
        "has_all_that",
        "plain function",
    ),
    "has no window": (broken(Broken._right, max_tokens=None), "has_all_that", "max_tokens is None"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_test_which_says_what_to_do(fault: str) -> None:
    kind, name, message = FAULTS[fault]

    class Contract(EmbedderContract):
        def embedder(self) -> Embedder:
            made = kind()
            if "max_tokens" in vars(kind):
                del made.__dict__["max_tokens"]
            return made

    (test,) = (each for each in dir(Contract) if each.startswith("test_") and name in each)
    with pytest.raises(AssertionError, match=message):
        getattr(Contract(), test)()


def test_what_is_missing_is_named() -> None:
    class Contract(EmbedderContract):
        def embedder(self) -> Any:
            return object()

    with pytest.raises(AssertionError, match="object has no dimensions: add it"):
        Contract().test_it_has_all_that_an_embedder_has()
    with pytest.raises(NotImplementedError, match="def embedder"):
        EmbedderContract().test_tokens_are_counted()


class Poisoned(HashEmbedder):
    """Does with a poison what a test says."""

    def __init__(self, effect: Callable[[Poisoned], list[Vector]]) -> None:
        super().__init__(32)
        self.effect = effect
        self.turned = False

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        if "poison" in texts:
            return self.effect(self) * len(texts)
        return super().embed_documents([text[::-1] if self.turned else text for text in texts])


def _raise(error: Exception) -> list[Vector]:
    raise error


def _turn(self: Poisoned) -> list[Vector]:
    self.turned = True
    raise ValueError("poison")


@pytest.mark.parametrize(
    ("effect", "message"),
    [
        (lambda self: [Vector([float("nan")] * 32)], "raise an exception"),
        (lambda self: [], "raise an exception"),
        (lambda self: _raise(ValueError()), "says nothing"),
        (_turn, "leave nothing"),
    ],
)
def test_a_poison_must_raise_and_leave_nothing(
    effect: Callable[[Poisoned], list[Vector]], message: str
) -> None:
    made = Poisoned(effect)

    class Contract(EmbedderContract):
        poison = "poison"

        def embedder(self) -> Embedder:
            return made

    with pytest.raises(AssertionError, match=message):
        Contract().test_a_text_that_fails_raises_and_harms_no_other()


def test_users_run_it_with_pytest(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from pgsearch.testing import EmbedderContract, HashEmbedder\n\n\n"
        "class TestMine(EmbedderContract):\n"
        "    def embedder(self):\n"
        "        return HashEmbedder(8)\n\n\n"
        "class TestBroken(EmbedderContract):\n"
        "    def embedder(self):\n"
        "        embedder = HashEmbedder(8)\n"
        "        embedder.count_tokens = lambda text: 7\n"
        "        return embedder\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    tests = sum(name.startswith("test_") for name in dir(EmbedderContract))
    assert f"1 failed, {2 * tests - 1} passed" in run.stdout
    assert "count_tokens is 7 for 20 words and 7 for 200: let it grow with the text." in run.stdout
