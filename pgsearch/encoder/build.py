"""Building an encoder: texts of the corpus, vectors of the model, a table that comes near them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg

from pgsearch.database import Connection
from pgsearch.encoder import store
from pgsearch.encoder.store import Corpus, Fidelity
from pgsearch.encoder.texts import pieces
from pgsearch.encoder.tokens import (
    Vocabulary,
    document_counts,
    parts_of,
    vocabulary,
    words_of,
)
from pgsearch.encoder.train import Bags, Schedule, encode, start, train
from pgsearch.errors import LifecycleError
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

if TYPE_CHECKING:
    from pgsearch.encoder.train import Floats

log = logging.getLogger(__name__)

#: Texts that a model gets at a time: few, so that a fresh change has its turn soon.
_BATCH: Final = 256

#: Where row-level security holds, words in fewer documents than this are left out: a word that
#: nobody else has written would say what somebody has.
_SECURED_AT_LEAST: Final = 20

#: Texts that a passage gives at most: more would say the same again.
_TEXTS_OF_EACH: Final = 20

#: The share of the texts that is kept apart to compare, and how many at most.
_HELD_SHARE, _HELD_MOST = 0.05, 1000

#: Passages among which neighbours are looked for.
_NEIGHBOURS: Final = 5000


@dataclass(frozen=True)
class Size:
    """How much an encoder is made of, and how large it becomes.

    Args:
        texts: Texts to learn from.
        passages: Passages that they are cut from, and in which words are counted.
        words: Words that it knows, at most.
        parts: Parts of words that it knows, at most.
    """

    texts: int = 30_000
    passages: int = 10_000
    words: int = 30_000
    parts: int = 20_000


@dataclass(frozen=True)
class Distilled:
    """What was built.

    Args:
        embedding: The embedding's name.
        version: How often its encoder was built.
        tokens: How many tokens it has.
        fidelity: How near it comes to the model.
        seconds: How long it took.
    """

    embedding: str
    version: int
    tokens: int
    fidelity: Fidelity
    seconds: float


@dataclass(frozen=True)
class Step:
    """How far the building of an encoder is.

    Args:
        name: "read", "embed", "train" or "write".
        done: How much of it was done since the last time.
        total: How much there is of it; None if that is not known.
    """

    name: str
    done: int
    total: int | None = None


class Stopped(Exception):
    """The building was not to go on."""


def distill(
    connection: Connection,
    index: RegisteredIndex,
    embedding: RegisteredEmbedding,
    embedder: Embedder,
    *,
    is_asked: bool = False,
    at_least: int | None = None,
    size: Size | None = None,
    schedule: Schedule | None = None,
    on_step: Callable[[Step], None] = lambda _: None,
    go_on: Callable[[], bool] = lambda: True,
) -> Distilled | None:
    """Build the encoder of an embedding out of its own passages, and let it answer.

    No transaction is open while the model computes or the encoder is trained.

    Args:
        connection: A connection that is in no transaction.
        index: The search index.
        embedding: One of its embeddings, which is ready.
        embedder: The embedding's model.
        is_asked: Whether somebody asks for it: then it is built of however few passages.
        at_least: Words in fewer documents are left out, for who may search can find out whether a
            word is in it. By default none, but where row-level security holds, those in fewer than
            20.
        size: How much it is made of.
        schedule: How it is trained.
        on_step: Called now and then with what was done.
        go_on: Asked now and then whether to go on.

    Returns:
        What was built; None if another worker is at it, nobody wants it, or there is too little.

    Raises:
        LifecycleError: Somebody asks for it, and there is no passage to learn from.
        ModelError: The model cannot be used.
    """
    began = time.perf_counter()
    size, schedule = size or Size(), schedule or Schedule()
    corpus = store.read_corpus(connection, index, limit=100_000)
    if corpus.passages < (1 if is_asked else store.ENOUGH):
        if is_asked:
            raise LifecycleError(
                f"Search index {index.name} has no passages to make an encoder of.",
                hint="Run `pgsearch sync` first.",
            )
        return None
    if not store.lease(connection, embedding, is_asked=is_asked):
        return None
    if at_least is None:
        at_least = _SECURED_AT_LEAST if corpus.is_secured else 1
    work = _Work(connection, index, embedding, embedder, corpus, size, on_step, go_on)
    try:
        return work.run(schedule, at_least, began)
    except (Stopped, psycopg.errors.QueryCanceled):
        if not connection.closed:
            store.give_back(connection, embedding)
        if go_on():
            raise
        return None


@dataclass
class _Work:
    """One building of an encoder."""

    connection: Connection
    index: RegisteredIndex
    embedding: RegisteredEmbedding
    embedder: Embedder
    corpus: Corpus
    size: Size
    on_step: Callable[[Step], None]
    go_on: Callable[[], bool]

    def run(self, schedule: Schedule, at_least: int, began: float) -> Distilled:
        """Do all of it, and write what was built."""
        documents, passages = self._read()
        words = words_of(self.connection, passages, self._check)
        counts = document_counts(documents, words)
        known = vocabulary(
            self.connection,
            counts,
            at_least=at_least,
            most_words=self.size.words,
            most_parts=self.size.parts,
        )
        wanted = min(self.size.texts, _TEXTS_OF_EACH * len(passages))
        texts = pieces(passages, wanted, seed=self.embedding.id)
        bags = bags_of(self.connection, words_of(self.connection, texts, self._check), known)
        kept = [n for n, bag in enumerate(bags) if bag]
        texts, bags = [texts[n] for n in kept], [bags[n] for n in kept]
        held = min(_HELD_MOST, int(len(texts) * _HELD_SHARE))
        targets = self._embed([*texts, *known.words])
        table = start(
            targets[len(texts) :],
            _idf(known.words, counts, len(set(documents))),
            known.parts_of,
            len(known.parts),
        )
        targets = targets[: len(texts)]
        self._train(table, Bags(bags[held:], known.parts_of), targets[held:], schedule)
        fidelity = self._compare(
            encode(table, Bags(bags[:held], known.parts_of)), targets[:held], bags[:held]
        )
        self._check()
        self.on_step(Step("write", 0, len(known)))
        version = store.write(
            self.connection,
            self.index,
            self.embedding,
            tokens=known.tokens,
            vectors=table,
            corpus=self.corpus,
            at_least=at_least,
            fidelity=fidelity,
        )
        seconds = time.perf_counter() - began
        return Distilled(self.embedding.name, version, len(known), fidelity, seconds)

    def _check(self) -> None:
        if not self.go_on():
            raise Stopped

    def _read(self) -> tuple[list[int], list[str]]:
        """Return passages, each with the number of its document."""
        self.on_step(Step("read", 0))
        rows = self.connection.execute(
            store.compose("passages", self.index, self.embedding.column),
            self._sample(self.size.passages),
        ).fetchall()
        return [row[0] for row in rows], [row[1] for row in rows]

    def _sample(self, wanted: int) -> dict[str, float | int]:
        percent = min(100.0, 130.0 * wanted / max(self.corpus.passages, 1))
        return {"percent": percent, "seed": self.embedding.id, "limit": wanted}

    def _embed(self, texts: Sequence[str]) -> Floats:
        """Return the model's vectors of queries, of unit length."""
        import numpy as np

        rows = np.zeros((len(texts), self.embedding.model.dimensions), dtype=np.float32)
        for begin in range(0, len(texts), _BATCH):
            self._check()
            batch = texts[begin : begin + _BATCH]
            for n, vector in enumerate(self.embedder.embed_queries(batch), start=begin):
                rows[n] = vector.to_list()
            self.on_step(Step("embed", len(batch), len(texts)))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
        return rows

    def _train(self, table: Floats, bags: Bags, targets: Floats, schedule: Schedule) -> None:
        total = schedule.epochs * len(bags)

        def tick(done: int) -> None:
            self._check()
            self.on_step(Step("train", done, total))

        train(table, bags, targets, schedule, self.embedding.id, tick)

    def _compare(
        self, made: Floats, targets: Floats, bags: Sequence[Sequence[int | Sequence[int]]]
    ) -> Fidelity:
        """Compare vectors of texts that were kept apart with the model's."""
        import numpy as np

        texts = len(made)
        words = sum(map(len, bags))
        unknown = sum(not isinstance(word, int) for bag in bags for word in bag)
        rows = self.connection.execute(
            store.compose("neighbours", self.index, self.embedding.column),
            self._sample(_NEIGHBOURS),
        ).fetchall()
        neighbours = None
        if texts and len(rows) >= 100:
            passages = np.array([row[0] for row in rows], dtype=np.float32)
            passages /= np.linalg.norm(passages, axis=1, keepdims=True).clip(min=1e-12)
            near = [np.argpartition(-(v @ passages.T), 10, axis=1)[:, :10] for v in (made, targets)]
            shared = (len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True))
            neighbours = sum(shared) / (10 * texts)
        return Fidelity(
            texts=texts,
            cosine=round(float((made * targets).sum(axis=1).mean()), 4) if texts else 0.0,
            neighbours=None if neighbours is None else round(neighbours, 4),
            unknown=round(unknown / words, 4) if words else 0.0,
        )


def bags_of(
    connection: Connection, texts: Sequence[Sequence[str]], known: Vocabulary
) -> list[list[int | Sequence[int]]]:
    """Return the words of texts by their numbers; of unknown ones, the numbers of their parts.

    Args:
        connection: A connection.
        texts: The words of each text.
        known: The tokens.
    """
    unknown = sorted({word for text in texts for word in text if known.get(word) is None})
    cut = {
        word: [number for part in parts if (number := known.get(part)) is not None]
        for word, parts in zip(unknown, parts_of(connection, unknown), strict=True)
    }
    return [
        [
            number if (number := known.get(word)) is not None else cut[word]
            for word in text
            if word not in cut or cut[word]
        ]
        for text in texts
    ]


def _idf(words: Sequence[str], counts: dict[str, int], documents: int) -> Floats:
    import numpy as np

    found = np.array([counts[word] for word in words], dtype=np.float32)
    weights: Floats = np.log(1 + (documents - found + 0.5) / (found + 0.5)).astype(np.float32)
    return weights / max(float(weights.max(initial=0.0)), 1e-6)
