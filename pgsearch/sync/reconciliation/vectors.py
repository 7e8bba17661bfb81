"""Vectors, against those that the model makes of the same passages now."""

from __future__ import annotations

import secrets
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, TypeAlias

from pgvector import Vector

from pgsearch.database import Connection, transaction
from pgsearch.errors import Throttled
from pgsearch.models.fingerprint import MIN_COSINE
from pgsearch.sync.adopt import LEAST_SIMILARITY
from pgsearch.sync.embed import LoadedEmbedding, embed
from pgsearch.sync.queue import Key, key_arrays
from pgsearch.sync.reconciliation.examine import Passage
from pgsearch.sync.reconciliation.report import Found, Kind, Tally
from pgsearch.sync.reconciliation.statements import ReconcileStatements

#: Which vectors are made anew: a few of each range, all, or none.
Extent: TypeAlias = Literal["sample", "all", "none"]

#: How many passages of a range are drawn for a sample.
SAMPLE: Final = 4

#: All vectors are compared in groups of so many characters of text at least.
_GROUP_CHARS: Final = 1_000_000

#: How often a provider that asks to wait is waited for, and for how long if it does not say.
_PATIENCE: Final = 10
_THROTTLED_S: Final = 10.0

_random = secrets.SystemRandom()


class WrongVectors(NamedTuple):
    """Contents whose vectors of one embedding are wrong, and the right ones; None for zeros."""

    embedding: LoadedEmbedding
    distance: float
    right: dict[bytes, Vector | None]


@dataclass
class VectorCheck:
    """Compares the vectors of passages of one search index.

    Args:
        connection: A connection that is in no transaction.
        statements: SQL of the search index.
        embeddings: Its live embeddings with their models.
        extent: Which vectors are compared.
        tally: What is wrong is counted here.
    """

    connection: Connection
    statements: ReconcileStatements
    embeddings: Sequence[LoadedEmbedding]
    extent: Extent
    tally: Tally
    _wrong: dict[int, WrongVectors] = field(default_factory=dict)
    _passages: list[Passage] = field(default_factory=list)
    _chars: int = 0
    _seen: int = 0

    def add(self, passages: Iterable[Passage]) -> None:
        """Take passages; those that are drawn, or all, are compared soon."""
        for passage in passages:
            if not passage.embeddings:
                continue
            if self.extent == "all":
                self._passages.append(passage)
                self._chars += len(passage.content)
                if self._chars > _GROUP_CHARS:
                    self._compare()
            elif self.extent == "sample":
                self._draw(passage)

    def _draw(self, passage: Passage) -> None:
        """Keep a passage so that in the end each had the same chance."""
        self._seen += 1
        if len(self._passages) < SAMPLE:
            self._passages.append(passage)
        elif (place := _random.randrange(self._seen)) < SAMPLE:
            self._passages[place] = passage

    def finish_range(self) -> list[WrongVectors]:
        """Compare what is left of a range; return all that is wrong in it."""
        self._compare()
        self._seen = 0
        wrong, self._wrong = self._wrong, {}
        return list(wrong.values())

    def add_zeros(self, number: int, hashes: Iterable[bytes]) -> None:
        """Note contents that have a vector of zeros, which is wrong whatever the model says."""
        right = self._wrong_of(number).right
        for hash_ in hashes:
            right.setdefault(hash_, None)

    def _wrong_of(self, number: int) -> WrongVectors:
        if number not in self._wrong:
            embedding = self.embeddings[number]
            # What was adopted from a column had to be as similar as that.
            adopts = embedding.registered.adopt_column is not None
            least = min(MIN_COSINE, LEAST_SIMILARITY) if adopts else MIN_COSINE
            self._wrong[number] = WrongVectors(embedding, 1 - least, {})
        return self._wrong[number]

    def _compare(self) -> None:
        passages, self._passages, self._chars = self._passages, [], 0
        for number in range(len(self.embeddings)):
            self._compare_with(number, [p for p in passages if number in p.embeddings])

    def _compare_with(self, number: int, passages: Sequence[Passage]) -> None:
        """Compare the vectors that passages have of one embedding."""
        contents = {passage.content_hash: passage.content for passage in passages}
        if not contents:
            return
        outcomes = dict(zip(contents, self._embed(number, list(contents.values())), strict=True))
        made = {h: vector for h, vector in outcomes.items() if isinstance(vector, Vector)}
        compared = [passage for passage in passages if passage.content_hash in made]
        self.tally.refused += len(passages) - len(compared)
        self.tally.vectors_compared += len(compared)
        wrong = self._wrong_of(number)
        found: dict[Key, int] = defaultdict(int)
        for passage in self._far(wrong, compared, made):
            wrong.right[passage.content_hash] = made[passage.content_hash]
            found[passage.key] += 1
        if found:
            kind = Found(Kind.WRONG_VECTOR, wrong.embedding.registered.name)
            self.tally.add(kind, sum(found.values()), found)

    def _far(
        self, wrong: WrongVectors, passages: Sequence[Passage], made: dict[bytes, Vector]
    ) -> list[Passage]:
        """Return the passages whose vector is far from the one made now.

        It is compared in the database, where the content may have changed meanwhile.
        """
        if not passages:
            return []
        parameters = key_arrays(passage.key for passage in passages) | {
            "ordinals": [passage.ordinal for passage in passages],
            "hashes": [passage.content_hash for passage in passages],
            "vectors": [made[passage.content_hash] for passage in passages],
            "distance": wrong.distance,
        }
        statement = self.statements.wrong_vectors(wrong.embedding.column)
        with transaction(self.connection):
            rows = self.connection.execute(statement, parameters)
            return [passages[place - 1] for (place,) in rows]

    def _embed(self, number: int, texts: Sequence[str]) -> list[Vector | Exception]:
        """Embed texts; a provider that asks to wait is waited for.

        Raises:
            Throttled: It asked for it too often.
        """
        for _ in range(_PATIENCE):
            try:
                return embed(self.embeddings[number], texts)
            except Throttled as error:
                time.sleep(_THROTTLED_S if error.retry_after is None else error.retry_after)
        return embed(self.embeddings[number], texts)
