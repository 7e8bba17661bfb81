"""A deterministic model for your own tests, and tests for a model of your own.

    Embedding("hash_v1", hash_model())

It needs no model library. Texts that share words, or parts of words, get similar
vectors. It knows nothing of meaning: test your application with it, not the
quality of a search.

    class TestMine(EmbedderContract):
        def embedder(self):
            return MyEmbedder(dimensions=384)

These are all tests that an Embedder must pass to be used by pgsearch.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
import time
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pgvector import Vector

from pgsearch.declare import Model
from pgsearch.errors import EmbeddingFailed
from pgsearch.models.contract import EmbedderContract

__all__ = ["EmbedderContract", "HashEmbedder", "hash_model", "load"]

_TOKEN = re.compile(r"\w+|[^\w\s]")

#: A word counts for as much as three of its trigrams: exact matches stand out.
_WORD_WEIGHT: Final = 3

#: Trigrams are taken from this many characters of a word, for a "word" may be a whole file.
_TRIGRAM_CHARS: Final = 256

#: Bits of a bucket in a sum of weights: 256 tokens of 256 trigrams reach 2 ** 17.
_LANE_BITS: Final = 32


def hash_model(dimensions: int = 64) -> Model:
    """Return the declaration of a HashEmbedder with vectors of that many dimensions."""
    return Model(f"hash-{dimensions}", dimensions=dimensions, provider="hash")


def load(model: Model) -> HashEmbedder:
    """Return the embedder of a model that `hash_model` declared."""
    return HashEmbedder(model.dimensions)


class HashEmbedder:
    """Hashes the words of a text and their trigrams into the dimensions of a unit vector.

    Args:
        dimensions: Length of its vectors.
        delay_s: Seconds that every call of an `embed` method takes longer, to try a slow model.
        fail_on: The methods raise EmbeddingFailed for a text that contains this, to try
            a text that a model cannot take.
    """

    def __init__(
        self, dimensions: int = 64, *, delay_s: float = 0.0, fail_on: str | None = None
    ) -> None:
        if dimensions < 1:
            raise ValueError(f"HashEmbedder(dimensions={dimensions}) needs 1 or more.")
        self.dimensions = dimensions
        self.max_tokens = 256
        self._delay_s = delay_s
        self._fail_on = fail_on

    def count_tokens(self, text: str) -> int:
        """Return how many words and punctuation marks a text has."""
        return len(_TOKEN.findall(text))

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """Return one unit vector per text.

        Raises:
            EmbeddingFailed: A text contains `fail_on`.
        """
        time.sleep(self._delay_s)
        for text in texts:
            if self._fail_on is not None and self._fail_on in text:
                raise EmbeddingFailed(
                    f"HashEmbedder was told to fail on {self._fail_on!r}, "
                    f"which the text {text[:60]!r} contains."
                )
        return [Vector(self._unit_vector(text)) for text in texts]

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """Return what `embed_documents` returns: queries and documents are alike here."""
        return self.embed_documents(texts)

    def _unit_vector(self, text: str) -> list[float]:
        tokens = _TOKEN.findall(text)[: self.max_tokens]
        # All buckets of all tokens in a few additions of long numbers, each bucket in a lane.
        packed = sum([_features(token, self.dimensions) for token in tokens])
        total = _unpacked(packed, self.dimensions)
        if not any(total):
            # No word in it, or words that cancel each other out: it still needs a direction.
            bucket, sign = _bucket(text, self.dimensions)
            total[bucket] = sign
        length = math.hypot(*total)
        return [value / length for value in total]


@lru_cache(maxsize=1 << 15)
def _features(token: str, dimensions: int) -> int:
    """Return what a token adds to its buckets, a lane each; a punctuation mark adds nothing."""
    if not (token[0].isalnum() or token[0] == "_"):
        return 0
    word = f"^{token.lower()}$"
    last = min(len(word), _TRIGRAM_CHARS) - 2
    bucket, sign = _bucket(word, dimensions)
    packed = sign * _WORD_WEIGHT << (_LANE_BITS * bucket)
    for start in range(last):
        bucket, sign = _bucket(word[start : start + 3], dimensions)
        packed += sign << (_LANE_BITS * bucket)
    return packed


def _unpacked(packed: int, dimensions: int) -> list[int]:
    """Return the sums in the lanes of a number, which may be negative."""
    # Half a lane added to each makes all of them positive, so that none borrows of its neighbour.
    whole = packed + _halves(dimensions)
    lanes = array("I", whole.to_bytes(dimensions * _LANE_BITS // 8, sys.byteorder))
    half = 1 << (_LANE_BITS - 1)
    values = [lane - half for lane in lanes]
    return values if sys.byteorder == "little" else values[::-1]


@lru_cache(maxsize=16)
def _halves(dimensions: int) -> int:
    return sum(1 << (_LANE_BITS * (lane + 1) - 1) for lane in range(dimensions))


def _bucket(text: str, dimensions: int) -> tuple[int, int]:
    """Return a bucket and a sign, 1 or -1, from the hash of a text."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest, "big")
    return (number >> 1) % dimensions, 1 if number & 1 else -1
