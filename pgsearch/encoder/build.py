"""Building an encoder: texts of the corpus, vectors of the model, a table that comes near them."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import psycopg

from pgsearch.database import Connection
from pgsearch.encoder import store
from pgsearch.encoder.pairs import Pairs, frequent_pairs, vectors_of_pairs
from pgsearch.encoder.store import Corpus, Fidelity
from pgsearch.encoder.texts import LONGEST, drawn, pieces
from pgsearch.encoder.tokens import (
    Vocabulary,
    document_counts,
    parts_of,
    vocabulary,
    words_of,
)
from pgsearch.encoder.train import Bags, Course, Schedule, encode, start, train
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

#: Texts that a passage gives at most: more would say the same again. One of how many is cut from it
#: as it stands; the others are drawn from its words.
_TEXTS_OF_EACH: Final = 20
_CUT_OF: Final = 5

#: The share of the passages that is kept apart to compare, how many at most, and texts of them.
_HELD_SHARE, _HELD_PASSAGES, _HELD_MOST = 0.05, 200, 500

#: Passages among which neighbours are looked for, and how few say nothing.
_NEIGHBOURS: Final = 5000
_ENOUGH_NEIGHBOURS: Final = 100

#: A slow model is asked for fewer words and pairs: for as many as it takes this long for; seconds.
_PATIENCE_S: Final = 300

#: Numbers of all token vectors together, for a worker has other things to keep, too: training takes
#: twelve bytes for each.
_NUMBERS: Final = 30_000_000


@dataclass(frozen=True)
class Size:
    """How much an encoder is made of, and how large it becomes.

    Args:
        texts: Short texts to learn from, whose vectors the model has to make.
        passages: Passages to learn from, whose vectors are there.
        words: Words that it knows, at most; fewer where vectors are long.
        parts: Parts of words that it knows, at most.
        words_asked: Words, the most frequent ones, whose vectors the model has to make.
        pairs: Pairs of words, of which the model has to make vectors, too, at most.
    """

    texts: int = 5_000
    passages: int = 20_000
    words: int = 30_000
    parts: int = 20_000
    words_asked: int = 12_000
    pairs: int = 10_000


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
        name: "read", "embed", "train", "compare" or "write".
        done: How much of it was done since the last time.
        total: How much there is of it; None if that is not known.
    """

    name: str
    done: int
    total: int | None = None


@dataclass(frozen=True)
class Passage:
    """A passage to learn from: the number of its document, its text and its vector."""

    document: int
    content: str
    vector: Floats


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
    leased_at: float = field(default_factory=time.monotonic)

    def run(self, schedule: Schedule, at_least: int, began: float) -> Distilled:
        """Do all of it, and write what was built."""
        passages = self._read()
        held = set(_drawn(len(passages), self.embedding.id))
        learned = [p for n, p in enumerate(passages) if n not in held]
        compared = [p for n, p in enumerate(passages) if n in held]
        words = words_of(self.connection, [p.content for p in learned], self._check)
        documents = [p.document for p in learned]
        counts = document_counts(documents, words)
        known = self._vocabulary(counts, at_least)
        pairs = frequent_pairs(
            documents, words, known, at_least=at_least, most=int(self.size.pairs * self._share)
        )
        table = self._learn(learned, words, known, pairs, counts, schedule)
        fidelity = self._compare(table, compared, known, pairs, learned)
        tokens = [*known.tokens, *pairs.tokens]
        self._check()
        self.on_step(Step("write", 0, len(tokens)))
        version = store.write(
            self.connection,
            self.index,
            self.embedding,
            tokens=tokens,
            vectors=table,
            corpus=self.corpus,
            at_least=at_least,
            fidelity=fidelity,
        )
        seconds = time.perf_counter() - began
        return Distilled(self.embedding.name, version, len(tokens), fidelity, seconds)

    @property
    def _share(self) -> float:
        """The share of the tokens for which there is memory."""
        size, room = self.size, _NUMBERS // self.embedding.model.dimensions
        return min(1.0, room / (size.words + size.parts + size.pairs))

    def _vocabulary(self, counts: Counter[str], at_least: int) -> Vocabulary:
        """Return the words and their parts, as many as there is memory for."""
        return vocabulary(
            self.connection,
            counts,
            at_least=at_least,
            most_words=int(self.size.words * self._share),
            most_parts=int(self.size.parts * self._share),
        )

    def _learn(
        self,
        passages: Sequence[Passage],
        words: Sequence[Sequence[str]],
        known: Vocabulary,
        pairs: Pairs,
        counts: Counter[str],
        schedule: Schedule,
    ) -> Floats:
        """Return the vectors of all tokens.

        They are learned from passages at first, whose vectors are there already, then from texts as
        short as queries, as the model reads a query. What pairs add is found in the end.
        """
        import numpy as np

        bags = Bags([known.numbers(set(found)) for found in words], known.parts_of)
        targets = np.array([p.vector for p in passages], dtype=np.float32)
        documents = len({p.document for p in passages})
        wanted = min(self.size.texts, _TEXTS_OF_EACH * len(passages))
        # What people ask is the best of all, but says little of what nobody has asked yet.
        logged = store.logged_queries(self.connection, self.index, limit=wanted // 2)
        weights = _idf(known.words, counts, documents)
        weighed = dict(zip(known.words, weights.tolist(), strict=True))
        contents, seed = [p.content for p in passages], self.embedding.id
        cut = (wanted - len(logged)) // _CUT_OF
        texts = drawn(contents, words, weighed, wanted - len(logged) - cut, seed)
        texts = [*logged, *texts, *pieces(contents, cut, seed)]
        texts = list(dict.fromkeys(text[:LONGEST] for text in texts))
        short, texts = self._bags(texts, known)
        asked, of_words, of_pairs = self._ask(texts, known.words[: self.size.words_asked], pairs)
        table = start(bags, targets, of_words, weights, len(known.parts))
        of_passages = Course(schedule.passages, schedule.passage_rate, dropped=0.0)
        of_texts = Course(schedule.texts, schedule.text_rate, dropped=schedule.dropped)
        courses = ((of_passages, bags, targets), (of_texts, Bags(short, known.parts_of), asked))
        total = sum(course.seen(len(texts)) * len(texts) for course, texts, _ in courses)

        def tick(done: int) -> None:
            self._check()
            self.on_step(Step("train", done, total))

        for course, learned, wanted_vectors in courses:
            train(table, learned, wanted_vectors, course, self.embedding.id, tick)
        if not len(pairs):
            return table
        mean = of_words.mean(axis=0) if len(of_words) else of_pairs.mean(axis=0)
        return np.vstack((table, vectors_of_pairs(table, known, pairs, of_pairs, mean)))

    def _ask(
        self, texts: Sequence[str], words: Sequence[str], pairs: Pairs
    ) -> tuple[Floats, Floats, Floats]:
        """Return the model's vectors of texts, words and pairs; a slow one is spared some."""
        import numpy as np

        began = time.monotonic()
        more = len(words) + len(pairs)
        asked = self._embed(texts, more=more)
        rate = len(texts) / max(time.monotonic() - began, 1e-6)
        share = min(1.0, rate * _PATIENCE_S / max(more, 1))
        words = words[: int(share * len(words))]
        pairs.keep(int(share * len(pairs)))
        made = self._embed([*words, *pairs.tokens], before=len(texts))
        of_words, of_pairs = np.split(made, [len(words)])
        return asked, of_words, of_pairs

    def _bags(
        self, texts: Sequence[str], known: Vocabulary, pairs: Pairs | None = None
    ) -> tuple[list[list[int | Sequence[int]]], list[str]]:
        """Return texts in tokens, and the texts; those of which no token is known are left out."""
        words = words_of(self.connection, texts, self._check)
        bags = bags_of(self.connection, words, known)
        if pairs is not None:
            bags = [[*bag, *pairs.numbers(found)] for bag, found in zip(bags, words, strict=True)]
        kept = [n for n, bag in enumerate(bags) if bag]
        return [bags[n] for n in kept], [texts[n] for n in kept]

    def _renew(self) -> None:
        if time.monotonic() - self.leased_at > store.LEASE_S / 3:
            store.renew(self.connection, self.embedding)
            self.leased_at = time.monotonic()

    def _check(self) -> None:
        if not self.go_on():
            raise Stopped

    def _read(self) -> list[Passage]:
        """Return passages with their vectors, of unit length."""
        import numpy as np

        self.on_step(Step("read", 0))
        wanted = self.size.passages
        rows = self.connection.execute(
            store.compose("passages", self.index, self.embedding.column),
            {
                "percent": min(100.0, 130.0 * wanted / max(self.corpus.passages, 1)),
                "seed": self.embedding.id,
                "limit": wanted,
            },
        )
        found = []
        for document, content, sent in rows:
            vector = store.numbers(sent)
            length = max(float(np.linalg.norm(vector)), 1e-12)
            found.append(Passage(document, content, vector / length))
        return found

    def _embed(
        self, texts: Sequence[str], step: str = "embed", before: int = 0, more: int = 0
    ) -> Floats:
        """Return the model's vectors of queries, of unit length; so many came before, or follow."""
        import numpy as np

        rows = np.zeros((len(texts), self.embedding.model.dimensions), dtype=np.float32)
        for begin in range(0, len(texts), _BATCH):
            self._check()
            batch = texts[begin : begin + _BATCH]
            for n, vector in enumerate(self.embedder.embed_queries(batch), start=begin):
                rows[n] = vector.to_list()
            self.on_step(Step(step, len(batch), before + len(texts) + more))
            self._renew()
        rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)
        return rows

    def _compare(
        self,
        table: Floats,
        held: Sequence[Passage],
        known: Vocabulary,
        pairs: Pairs,
        learned: Sequence[Passage],
    ) -> Fidelity:
        """Compare vectors of texts from passages that were kept apart with the model's."""
        import numpy as np

        wanted = min(_HELD_MOST, _TEXTS_OF_EACH * len(held))
        texts = pieces([p.content for p in held], wanted, seed=self.embedding.id)
        bags, texts = self._bags(texts, known, pairs)
        if not texts:
            return Fidelity(texts=0, cosine=0.0, neighbours=None, unknown=0.0)
        made, targets = (
            encode(table, Bags(bags, known.parts_of)),
            self._embed(texts, "compare"),
        )
        words = sum(map(len, bags))
        unknown = sum(not isinstance(word, int) for bag in bags for word in bag)
        neighbours = None
        among = [p.vector for p in (*held, *learned)[:_NEIGHBOURS]]
        if len(among) >= _ENOUGH_NEIGHBOURS:
            passages = np.array(among, dtype=np.float32)
            near = [np.argpartition(-(v @ passages.T), 10, axis=1)[:, :10] for v in (made, targets)]
            shared = (len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True))
            neighbours = round(sum(shared) / (10 * len(texts)), 4)
        return Fidelity(
            texts=len(texts),
            cosine=round(float((made * targets).sum(axis=1).mean()), 4),
            neighbours=neighbours,
            unknown=round(unknown / words, 4) if words else 0.0,
        )


def _drawn(passages: int, seed: int) -> list[int]:
    """Return the numbers of the passages that are kept apart."""
    wanted = min(_HELD_PASSAGES, int(passages * _HELD_SHARE))
    return random.Random(seed).sample(range(passages), wanted)  # noqa: S311  no secret


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
