"""What a reconciliation finds: for people, and to go on with after an interruption."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from pgsearch.errors import DatabaseError

#: How many keys of each kind of damage are named.
FIRST_KEYS: Final = 5


class Kind(StrEnum):
    """What may be wrong; documents, chunks and vectors are counted."""

    MISSING_DOCUMENT = "missing document"
    STALE_DOCUMENT = "stale document"
    ORPHANED_DOCUMENT = "orphaned document"
    MISSING_CHUNK = "missing chunk"
    STALE_CHUNK = "stale chunk"
    EDITED_CHUNK = "edited chunk"
    SURPLUS_CHUNK = "surplus chunk"
    DUPLICATE_CHUNK = "duplicate chunk"
    ORPHANED_CHUNK = "orphaned chunk"
    UNMATCHED_CHUNK = "unmatched chunk"
    MISSING_VECTOR = "missing vector"
    WRONG_VECTOR = "wrong vector"

    @property
    def meaning(self) -> str:
        """Return what it is, in a few words."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Kind.MISSING_DOCUMENT: "a row has none",
    Kind.STALE_DOCUMENT: "its keywords are not those of the row's text",
    Kind.ORPHANED_DOCUMENT: "there is no such row",
    Kind.MISSING_CHUNK: "a passage of the row's text has none",
    Kind.STALE_CHUNK: "it is of another text than the row's",
    Kind.EDITED_CHUNK: "its content is not what was embedded",
    Kind.SURPLUS_CHUNK: "the row's text has fewer",
    Kind.DUPLICATE_CHUNK: "it is there twice",
    Kind.ORPHANED_CHUNK: "there is no such row",
    Kind.UNMATCHED_CHUNK: "its generation is not the document's",
    Kind.MISSING_VECTOR: "a chunk has none",
    Kind.WRONG_VECTOR: "the model makes another one",
}


class Found(NamedTuple):
    """A kind of damage; of vectors, to which embedding they belong."""

    kind: Kind
    embedding: str | None = None


@dataclass(frozen=True)
class Finding:
    """Damage of one kind.

    Args:
        kind: What is wrong.
        embedding: Whose vectors, if it is about vectors.
        count: How many documents, chunks or vectors.
        keys: The keys of the first few rows, as PostgreSQL writes them.
        has_more: Whether there are more rows than those.
    """

    kind: Kind
    embedding: str | None
    count: int
    keys: tuple[tuple[str, ...], ...]
    has_more: bool = False


@dataclass(frozen=True)
class ReconciledIndex:
    """What was found in one search index.

    Args:
        name: Its name.
        compared: How many keys were compared, of rows, documents and chunks.
        findings: What was wrong, in the order of `Kind`.
        asked: For how many keys workers were asked; 0 in a dry run.
        waiting: Keys that are not as they should be, but wait in the queue for it already.
        parked: Keys whose chunks are not as they should be, for a model failed on them for good.
        vectors: Which vectors were made anew and compared: `sample`, `all` or `none`.
        vectors_compared: How many those were.
        refused: Passages on which a model failed, so that nothing is known of their vectors.
        resumed: Whether it went on where an earlier one had stopped.
        seconds: How long it took.
    """

    name: str
    compared: int
    findings: tuple[Finding, ...]
    asked: int
    waiting: int
    parked: int
    vectors: str
    vectors_compared: int
    refused: int
    resumed: bool
    seconds: float

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong."""
        return not self.findings


@dataclass(frozen=True)
class Reconciliation:
    """What was found.

    Args:
        indexes: The search indexes that were compared.
        is_dry: Whether nothing was to be written.
        problems: What kept others from being compared, an error for each.
    """

    indexes: tuple[ReconciledIndex, ...]
    is_dry: bool
    problems: tuple[DatabaseError, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing was wrong in any of them."""
        return all(index.is_clean for index in self.indexes)


@dataclass(frozen=True)
class Compared:
    """How far a reconciliation is.

    Args:
        search_index: Its name.
        compared: How many keys were compared.
        total: How many there are, about.
        found: How much was found.
    """

    search_index: str
    compared: int
    total: int
    found: int


@dataclass
class Tally:
    """What was found up to now; it is kept with the position, to be gone on with."""

    findings: dict[Found, Finding] = field(default_factory=dict)
    asked: int = 0
    waiting: int = 0
    parked: int = 0
    vectors_compared: int = 0
    refused: int = 0

    def add(self, found: Found, count: int, keys: Iterable[tuple[str, ...]]) -> None:
        """Count damage of a kind."""
        before = self.findings.get(found, Finding(*found, count=0, keys=()))
        named = tuple(dict.fromkeys([*before.keys, *keys]))
        self.findings[found] = Finding(
            *found,
            before.count + count,
            named[:FIRST_KEYS],
            before.has_more or len(named) > FIRST_KEYS,
        )

    @property
    def count(self) -> int:
        """How much was found."""
        return sum(finding.count for finding in self.findings.values())

    @property
    def sorted(self) -> tuple[Finding, ...]:
        """The findings, in the order of `Kind`."""
        kinds = list(Kind)
        return tuple(
            sorted(self.findings.values(), key=lambda f: (kinds.index(f.kind), f.embedding or ""))
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as the registry keeps it."""
        return {
            "findings": [[f.kind, f.embedding, f.count, f.keys, f.has_more] for f in self.sorted],
            "asked": self.asked,
            "waiting": self.waiting,
            "parked": self.parked,
            "vectors_compared": self.vectors_compared,
            "refused": self.refused,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Tally:
        """Read what `to_json` wrote."""
        numbers = {name: number for name, number in value.items() if name != "findings"}
        tally = cls(**numbers)
        for kind, embedding, count, keys, has_more in value.get("findings", ()):
            found = Found(Kind(kind), embedding)
            tally.findings[found] = Finding(*found, count, tuple(map(tuple, keys)), has_more)
        return tally
