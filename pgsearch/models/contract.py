"""What every Embedder must do, as tests that anybody can run on their own.

    from pgsearch.testing import EmbedderContract

    class TestMine(EmbedderContract):
        def embedder(self):
            return MyEmbedder(dimensions=384)

pytest finds the tests of the class. Nothing but Python and pgsearch is needed for them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pgvector import Vector

from pgsearch.errors import ModelMismatch
from pgsearch.models.fingerprint import fingerprint, verify
from pgsearch.models.protocol import Embedder
from pgsearch.precision import MAX_DIMENSIONS

__all__ = ["EmbedderContract"]

_TEXTS: Final = (
    "The river floods every spring.",
    "How do I reset my password if I no longer have access to my phone?",
    "def total(prices: list[float]) -> float: return sum(prices) * 1.19",
    "Aspirin lowers the risk of a second stroke. The effect is small. " * 3,
    "Bread",
    "The committee will publish its annual report in October.",
)

#: What people have in their tables, each hard on some tokenizer or on some JSON.
_ODD_TEXTS: Final = {
    "a single letter": "a",
    "a full stop": ".",
    "Chinese": "東京は日本の首都です。",
    "Arabic and Hindi": "القاهرة عاصمة مصر नई दिल्ली भारत की राजधानी है",
    "emoji of several code points": "\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd",
    "combining accents": "e\u0301le\u0300ve Z\u0351\u036b\u0343a\u0310l\u0301g\u0321o\u0302",
    "an invisible character": "\u200b",
    "control characters": "one\x01two\x1b[31mthree\x7f",
    "lines, tabs and spaces": "\n\n  a\tlist:\r\n\r\n   - of \u00a0 things  \n",
    "quotes and backslashes": "\"C:\\temp\" 'it''s' \\u0000 \\n {\"a\": [1, null]}",
    "markup": "<script>alert('x')</script> <|endoftext|> [SEP] [CLS] </s> {{ text }}",
    "one long word": "x" * 5_000,
    "a number of many digits": "3" * 2_000,
    "characters beyond the basic plane": "\U0001d573\U0001d58a\U0001d591 \U00010348 \U0010fffd",
}

_Embed = Callable[[Sequence[str]], list[Vector]]


def _require(condition: bool, message: str) -> None:
    # Not `assert`: Python leaves that out under -O, and its message says nothing to do.
    if not condition:
        raise AssertionError(message)


def _cosine(a: Vector, b: Vector) -> float:
    x, y = a.to_list(), b.to_list()
    lengths = math.hypot(*x) * math.hypot(*y)
    return sum(p * q for p, q in zip(x, y, strict=True)) / lengths if lengths else 0.0


class EmbedderContract:
    """The tests. Inherit from it and say which Embedder is meant.

    Each test asks for the Embedder anew: return the same one if it is slow to make.

    Attributes:
        tolerance: How far the cosine of two vectors of one text may be from 1. More than .005
            and the worker takes the model for another one.
        poison: A text that the model fails on, if there is one; without it, one test less.
    """

    tolerance: float = 0.001
    poison: str | None = None

    def embedder(self) -> Embedder:
        """Return the Embedder to test."""
        raise NotImplementedError(
            f"Write in {type(self).__name__}: def embedder(self): return MyEmbedder(…)"
        )

    def test_it_has_all_that_an_embedder_has(self) -> None:
        """Every attribute is there, and their values make sense."""
        embedder = self.embedder()
        for name in (
            "dimensions",
            "max_tokens",
            "count_tokens",
            "embed_documents",
            "embed_queries",
        ):
            _require(
                hasattr(embedder, name),
                f"{type(embedder).__name__} has no {name}: add it; pgsearch.models.Embedder "
                "says what it does.",
            )
        for name, most in (("dimensions", MAX_DIMENSIONS), ("max_tokens", math.inf)):
            value = getattr(embedder, name)
            _require(
                type(value) is int and 1 <= value <= most,
                f"{name} is {value!r}: make it an int from 1 to {most}. It may be an attribute "
                "or a property, and no method.",
            )
        for name in ("count_tokens", "embed_documents", "embed_queries"):
            _require(
                not inspect.iscoroutinefunction(getattr(embedder, name)),
                f"{name} is a coroutine: make it a plain function. The worker calls it in threads.",
            )

    def test_every_text_has_one_vector(self) -> None:
        """For one text, a few and many; of lists, tuples, and texts that come twice."""
        embedder = self.embedder()
        for embed in (embedder.embed_documents, embedder.embed_queries):
            for texts in (_TEXTS[:1], list(_TEXTS), [*_TEXTS, *_TEXTS], _many(100)):
                given = list(texts)
                self._checked(embedder, embed, texts)
                _require(
                    list(texts) == given,
                    f"{_name(embed)} has changed the list that it was given: copy it first.",
                )

    def test_vectors_come_in_the_order_of_their_texts(self) -> None:
        """Whatever a model does to its batches, such as sorting them by length."""
        embedder = self.embedder()
        for embed in (embedder.embed_documents, embedder.embed_queries):
            forward = self._checked(embedder, embed, _TEXTS)
            backward = self._checked(embedder, embed, _TEXTS[::-1])[::-1]
            for text, a, b in zip(_TEXTS, forward, backward, strict=True):
                _require(
                    self._are_same(a, b),
                    f"{_name(embed)} gives {text[:30]!r} another vector when the texts come in "
                    f"another order (cosine {_cosine(a, b):.4f}): put the results back into the "
                    "order of the texts.",
                )

    def test_different_texts_have_different_vectors(self) -> None:
        """One vector for all would pass every other test."""
        embedder = self.embedder()
        for embed in (embedder.embed_documents, embedder.embed_queries):
            vectors = self._checked(embedder, embed, _TEXTS)
            for number, vector in enumerate(vectors):
                for text, other in zip(_TEXTS[:number], vectors[:number], strict=True):
                    _require(
                        vector != other,
                        f"{_name(embed)} gives {_TEXTS[number][:30]!r} and {text[:30]!r} the "
                        "very same vector: look whether the text reaches the model.",
                    )

    def test_a_text_has_the_same_vector_every_time(self) -> None:
        """The worker asks for its fingerprint again at each start."""
        embedder = self.embedder()
        for embed in (embedder.embed_documents, embedder.embed_queries):
            first = self._checked(embedder, embed, _TEXTS)
            again = self._checked(embedder, embed, _TEXTS)
            for text, a, b in zip(_TEXTS, first, again, strict=True):
                _require(
                    self._are_same(a, b),
                    f"{_name(embed)} gives {text[:30]!r} another vector the second time (cosine "
                    f"{_cosine(a, b):.4f}): switch dropout and sampling off, as model.eval() does.",
                )
        name = type(embedder).__name__
        try:
            verify(embedder, fingerprint(embedder, model_name=name), model_name=name)
        except ModelMismatch as error:
            raise AssertionError(f"A worker would refuse it: {error}") from error

    def test_a_text_has_the_same_vector_alone_and_among_others(self) -> None:
        """The vector of a passage must not depend on what happens to be embedded with it."""
        embedder = self.embedder()
        for embed in (embedder.embed_documents, embedder.embed_queries):
            together = self._checked(embedder, embed, [*_TEXTS, *_many(40)])
            for text, among in zip(_TEXTS, together, strict=False):
                (alone,) = self._checked(embedder, embed, [text])
                _require(
                    self._are_same(alone, among),
                    f"{_name(embed)} gives {text[:30]!r} another vector alone than among others "
                    f"(cosine {_cosine(alone, among):.4f}): mask the padding, and normalise "
                    "nothing over the batch.",
                )

    def test_a_query_finds_the_passage_that_says_the_same(self) -> None:
        """Queries and passages lie in one space, whatever prompts stand before them."""
        embedder = self.embedder()
        passages = self._checked(embedder, embedder.embed_documents, _TEXTS)
        queries = self._checked(embedder, embedder.embed_queries, _TEXTS)
        for number, query in enumerate(queries):
            nearest = max(range(len(passages)), key=lambda at: _cosine(query, passages[at]))
            _require(
                nearest == number,
                f"The query {_TEXTS[number][:30]!r} is nearer to the passage "
                f"{_TEXTS[nearest][:30]!r} than to itself: let embed_queries use the same model "
                "as embed_documents, and look at the prompts.",
            )

    def test_odd_texts_have_vectors_too(self) -> None:
        """Scripts, signs and shapes that a table holds sooner or later."""
        embedder = self.embedder()
        for what, text in _ODD_TEXTS.items():
            self._tried(f"{what} ({text[:20]!r})", embedder, embedder.embed_documents, [text])
        for embed in (embedder.embed_documents, embedder.embed_queries):
            self._tried("odd texts at once", embedder, embed, list(_ODD_TEXTS.values()))

    def test_a_text_longer_than_the_window_is_cut(self) -> None:
        """A query may be of any length; passages are cut to the window before they come."""
        embedder = self.embedder()
        long = "river " * (2 * embedder.max_tokens + 100)
        for embed in (embedder.embed_documents, embedder.embed_queries):
            self._tried(
                f"a text longer than max_tokens={embedder.max_tokens}", embedder, embed, [long]
            )

    def test_a_text_that_fills_the_window_is_taken(self) -> None:
        """What is counted as max_tokens must fit, with the prompt and special tokens."""
        embedder = self.embedder()
        count = embedder.max_tokens
        while embedder.count_tokens("river " * count) > embedder.max_tokens:
            count -= max(1, count // 100)
        full = ("river " * count).strip()
        self._tried("a text of max_tokens tokens", embedder, embedder.embed_documents, [full])

    def test_tokens_are_counted(self) -> None:
        """Passages are cut by this count, so it must grow with the text and end nowhere."""
        embedder = self.embedder()
        for text in ("", *_TEXTS, *_ODD_TEXTS.values()):
            count = embedder.count_tokens(text)
            _require(
                type(count) is int and count >= 0,
                f"count_tokens({text[:20]!r}) is {count!r}: make it an int from 0 on.",
            )
        short, long = (embedder.count_tokens("river flood " * n) for n in (10, 100))
        _require(
            0 < short < long,
            f"count_tokens is {short} for 20 words and {long} for 200: let it grow with the text.",
        )
        endless = embedder.count_tokens("river " * (2 * embedder.max_tokens + 100))
        _require(
            endless > embedder.max_tokens,
            f"count_tokens is {endless} for a text that is longer than max_tokens="
            f"{embedder.max_tokens}: count the whole text; switch the tokenizer's truncation off.",
        )

    def test_threads_may_use_it_at_the_same_time(self) -> None:
        """A worker embeds passages in one thread while others count tokens or ask."""
        embedder = self.embedder()
        texts = _many(24)
        expected = self._checked(embedder, embedder.embed_documents, texts)

        def use(number: int) -> list[Vector]:
            part = texts[number * 4 : number * 4 + 4]
            embedder.count_tokens(part[0])
            self._checked(embedder, embedder.embed_queries, part[:1])
            return self._checked(embedder, embedder.embed_documents, part)

        try:
            with ThreadPoolExecutor(6) as threads:
                found = [vector for part in threads.map(use, range(6)) for vector in part]
        except Exception as error:
            raise AssertionError(
                f"When several threads use it at the same time: {type(error).__name__}: {error} "
                "Keep nothing of a call on self, or take a lock."
            ) from error
        for text, a, b in zip(texts, expected, found, strict=True):
            _require(
                self._are_same(a, b),
                f"{text[:30]!r} has another vector when several threads embed at the same time "
                f"(cosine {_cosine(a, b):.4f}): keep nothing of a call on self, or take a lock.",
            )

    def test_a_text_that_fails_raises_and_harms_no_other(self) -> None:
        """The worker halves a failing batch until the text stands alone."""
        if self.poison is None:
            return
        embedder = self.embedder()
        before = self._checked(embedder, embedder.embed_documents, _TEXTS)
        for texts in ([self.poison], [*_TEXTS[:2], self.poison, *_TEXTS[2:]]):
            try:
                embedder.embed_documents(texts)
            except Exception as error:
                _require(
                    bool(str(error).strip()),
                    f"The error of the poison, {type(error).__name__}, says nothing: raise it "
                    "with the model's own message, which is kept with the row.",
                )
            else:
                raise AssertionError(
                    "embed_documents returned vectors for the poison: raise an exception for a "
                    "text that the model cannot take; never return NaN, zeros or fewer vectors."
                )
        after = self._checked(embedder, embedder.embed_documents, _TEXTS)
        _require(
            all(map(self._are_same, before, after)),
            "After the poison other texts have other vectors: leave nothing of a failed call on "
            "self.",
        )

    def _are_same(self, a: Vector, b: Vector) -> bool:
        return _cosine(a, b) >= 1 - self.tolerance

    def _tried(
        self, what: str, embedder: Embedder, embed: _Embed, texts: Sequence[str]
    ) -> list[Vector]:
        try:
            return self._checked(embedder, embed, texts)
        except AssertionError as error:
            raise AssertionError(f"With {what}: {error}") from error
        except Exception as error:
            raise AssertionError(
                f"{_name(embed)} fails on {what}: {type(error).__name__}: {error}. Cut or clean "
                "the text before the model gets it; a row with it would never be found."
            ) from error

    def _checked(self, embedder: Embedder, embed: _Embed, texts: Sequence[str]) -> list[Vector]:
        """Embed texts and check all that must hold for the vectors of any text."""
        vectors = embed(texts)
        _require(
            isinstance(vectors, list) and len(vectors) == len(texts),
            f"{_name(embed)} returned {_shown(vectors)} for {len(texts)} texts: return a list "
            "with one vector for each text.",
        )
        for text, vector in zip(texts, vectors, strict=True):
            _require(
                isinstance(vector, Vector),
                f"{_name(embed)} returned {type(vector).__name__} for {text[:30]!r}: return "
                "pgvector.Vector(values).",
            )
            _require(
                vector.dimensions() == embedder.dimensions,
                f"{_name(embed)} returned {vector.dimensions()} values for {text[:30]!r}, and "
                f"dimensions is {embedder.dimensions}: let both agree.",
            )
            values = vector.to_list()
            _require(
                all(map(math.isfinite, values)) and any(values),
                f"{_name(embed)} returned a vector for {text[:30]!r} that is not finite or all "
                "zeros: raise pgsearch.errors.EmbeddingFailed instead.",
            )
        return vectors


def _many(count: int) -> list[str]:
    """Return texts that all differ, and in length too."""
    return [f"Note {n} on the river: " + "it rose again. " * (n % 7 + 1) for n in range(count)]


def _name(embed: _Embed) -> str:
    return getattr(embed, "__name__", "embed")


def _shown(vectors: object) -> str:
    kind = type(vectors).__name__
    return f"{kind} of {len(vectors)}" if isinstance(vectors, Sequence) else kind
