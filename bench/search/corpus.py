"""Documents that do not exist, as real ones are: words by Zipf's law, vectors in clusters.

A document has a subject, which belongs to a topic, which belongs to a field; some subjects have a
single document, some have a hundred. A quarter of its words are the topic's own; its vector lies
around the subject's, that around the topic's, and so on. Vectors vary in few directions much and in
most a little. So they are like those of all-MiniLM-L6-v2 in what matters to an HNSW index: how
similar the nearest is, the tenth and the hundredth, and how many directions there are around one
(the local intrinsic dimension, 16 of 7,000 documents, where real ones have 15). A query asks for a
document: some of its words, and a vector near its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

#: Values of a vector: those of small sentence transformers.
DIMENSIONS: Final = 384

#: The column to filter by has this many values, each equally often and at random.
BUCKETS: Final = 1000

_STOP_WORDS: Final = tuple(
    word
    for line in (
        "the of and in to a is that for with was as were by this from are on we or",
        "be an not these which at have has it but can both between",
    )
    for word in line.split()
)

#: Words of a document: the mean, and how far it varies; the distribution is log-normal.
_WORDS, _SPREAD = 60, 0.5
_TOPIC_SHARE: Final = 0.25
_TOPICS, _FIELDS, _TOPIC_WORDS = 1000, 50, 400

#: Documents of a subject, on average.
_SUBJECT: Final = 15

#: Documents that are made at a time.
_BLOCK: Final = 20_000

#: How much of a vector's square each of its parts brings.
_COMMON, _OF_FIELD, _OF_TOPIC, _OF_SUBJECT, _OWN = 0.14, 0.12, 0.18, 0.24, 0.32

#: How far the vector of a query is from that of the document that it asks for.
_ASKED: Final = 0.5


class Query(NamedTuple):
    """What is asked: a text and its vector, of unit length."""

    text: str
    vector: Floats


@dataclass(frozen=True)
class Corpus:
    """Documents: row n has the id n + 1.

    Args:
        bodies: Their texts.
        vectors: Their vectors, of unit length: one row each.
        buckets: Values of the column to filter by, from 0 to 999.
    """

    bodies: list[str]
    vectors: Floats
    buckets: NDArray[np.int32]

    def nearest(self, vector: Floats, buckets: int, k: int = 10) -> list[int]:
        """Return the ids of the nearest documents, by looking at all of them.

        Args:
            vector: What they are to be near.
            buckets: Only documents in the buckets below this one count.
            k: How many.
        """
        similarity = np.where(self.buckets < buckets, self.vectors @ vector, -2.0)
        best = np.argpartition(-similarity, min(k, len(similarity) - 1))[:k]
        ordered = best[np.argsort(-similarity[best])]
        return [int(row) + 1 for row in ordered if similarity[row] > -2]


class Maker:
    """Makes documents and queries, the same ones each time.

    Args:
        rows: How many documents; the vocabulary grows with its square root.
        seed: Of all that is random.
    """

    def __init__(self, rows: int, seed: int = 1) -> None:
        self._rows = rows
        self._random = np.random.default_rng(seed)
        count = max(2000, round(40_000 * (rows / 200_000) ** 0.5))
        self._vocabulary = _vocabulary(count, self._random)
        ranks = np.arange(count)
        self._common = np.cumsum(1 / (ranks + 2.7) ** 1.07)
        self._common /= self._common[-1]
        # Neither the commonest words nor the rarest say what a text is about.
        first, last = count // 200 + len(_STOP_WORDS), count // 2
        self._topic_words = self._random.integers(first, last, (_TOPICS, _TOPIC_WORDS))
        self._within_topic = np.cumsum(1 / (np.arange(_TOPIC_WORDS) + 2.7))
        self._within_topic /= self._within_topic[-1]
        # The spectrum of a small sentence transformer's vectors, roughly.
        self._spread = ((np.arange(DIMENSIONS) + 5.0) ** -0.55).astype(np.float32)
        self._spread /= np.linalg.norm(self._spread)
        fields = self._directions(_FIELDS)[self._random.integers(0, _FIELDS, _TOPICS)]
        common = _COMMON**0.5 * self._directions(1)
        topics = _OF_FIELD**0.5 * fields + _OF_TOPIC**0.5 * self._directions(_TOPICS)
        subjects = max(_TOPICS, rows // _SUBJECT)
        self._topic_of = self._random.integers(0, _TOPICS, subjects)
        of_subject = _OF_SUBJECT**0.5 * self._directions(subjects)
        self._subjects = common + topics[self._topic_of] + of_subject
        # Few subjects have many documents, and many few.
        popularity = self._random.pareto(1.5, subjects).clip(max=10) + 0.1
        self._popular = np.cumsum(popularity)
        self._popular /= self._popular[-1]

    def _directions(self, count: int) -> Floats:
        drawn = self._random.standard_normal((count, DIMENSIONS), dtype=np.float32)
        return np.asarray(drawn * self._spread, dtype=np.float32)

    def corpus(self) -> Corpus:
        """Return the documents."""
        subjects = np.searchsorted(self._popular, self._random.random(self._rows))
        buckets = self._random.permutation(self._rows).astype(np.int32) % BUCKETS
        bodies = [body for block in self._blocks(self._topic_of[subjects]) for body in block]
        vectors = np.empty((self._rows, DIMENSIONS), dtype=np.float32)
        for start in range(0, self._rows, _BLOCK):
            part = subjects[start : start + _BLOCK]
            own = _OWN**0.5 * self._directions(len(part))
            vectors[start : start + _BLOCK] = _unit(self._subjects[part] + own)
        return Corpus(bodies, vectors, buckets)

    def _blocks(self, topics: NDArray[np.int64]) -> Iterator[list[str]]:
        for start in range(0, len(topics), _BLOCK):
            part = topics[start : start + _BLOCK]
            mean = np.log(_WORDS) - _SPREAD**2 / 2
            lengths = self._random.lognormal(mean, _SPREAD, len(part)).clip(8, 400).astype(int)
            total = int(lengths.sum())
            words = np.searchsorted(self._common, self._random.random(total))
            of_topic = np.searchsorted(self._within_topic, self._random.random(total))
            is_topical = self._random.random(total) < _TOPIC_SHARE
            topical = self._topic_words[np.repeat(part, lengths), of_topic]
            written = self._vocabulary[np.where(is_topical, topical, words)]
            ends = np.cumsum(lengths)
            yield [
                " ".join(written[end - length : end])
                for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
            ]

    def queries(self, corpus: Corpus, count: int) -> list[Query]:
        """Return queries, each for some document: three to eight of its words, as they come."""
        rows = self._random.integers(0, self._rows, count)
        noise = _unit(self._directions(count))
        near = _unit((1 - _ASKED) * corpus.vectors[rows] + _ASKED * noise)
        return [
            Query(self._question(corpus.bodies[row]), vector)
            for row, vector in zip(rows.tolist(), near, strict=True)
        ]

    def _question(self, body: str) -> str:
        words = body.split()
        wanted = min(int(self._random.integers(3, 9)), len(words))
        start = int(self._random.integers(0, len(words) - wanted + 1))
        asked = words[start : start + wanted]
        if set(asked) <= set(_STOP_WORDS):
            asked.append(max(words, key=len))
        return " ".join(asked)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _vocabulary(count: int, random: np.random.Generator) -> NDArray[np.object_]:
    """Return words, the commonest first: stop words, then words that do not exist."""
    syllables = [a + b for a in "bcdfghjklmnprstvz" for b in ("a", "e", "i", "o", "u", "on", "er")]
    words = dict.fromkeys(_STOP_WORDS)
    while len(words) < count:
        drawn = random.integers(0, len(syllables), (count, 4))
        lengths = random.integers(2, 5, count)
        for row, length in zip(drawn.tolist(), lengths.tolist(), strict=True):
            words["".join(syllables[n] for n in row[:length])] = None
            if len(words) == count:
                break
    return np.array(list(words), dtype=object)
