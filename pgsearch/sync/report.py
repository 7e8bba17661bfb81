"""What a worker says of its work: while it is at it, and in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from pgsearch.errors import Error


@dataclass(frozen=True)
class Progress:
    """How far a worker is with one search index.

    Args:
        search_index: Its name.
        step: `documents` counts rows read for keywords, `embed` counts documents whose passages
            are up to date, `index` is the build of an HNSW index; `encoder embed` and `encoder
            train` count texts of which the encoder of an embedding is made.
        done: How many are done since the last time.
        waiting: How many are left, as far as is known; for an encoder, how many there are.
        embedding: Name of the embedding, for `index` and encoders.
        failed: Documents on which a model failed since the last time.
    """

    search_index: str
    step: str
    done: int = 0
    waiting: int | None = None
    embedding: str | None = None
    failed: int = 0


@dataclass(frozen=True)
class Left:
    """What the queues have left when a worker returns.

    Of each queue the first 100,000 rows are counted.

    Args:
        waiting: Rows that wait, for whatever reason.
        leased: Those among them that another worker has.
        leased_until: When the last of these is anybody's again, at the latest.
        put_off: Those among them that wait for their next attempt.
        due_at: When the first of these is due.
        parked: Rows on which a model failed too often; they wait for `pgsearch retry`.
        reading: Names of search indexes whose tables are not read to their end yet.
    """

    waiting: int = 0
    leased: int = 0
    leased_until: datetime | None = None
    put_off: int = 0
    due_at: datetime | None = None
    parked: int = 0
    reading: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether all is done."""
        return not (self.waiting or self.parked or self.reading)

    def plus(self, other: Left) -> Left:
        """Return this and what another search index has left."""
        ends = [at for at in (self.leased_until, other.leased_until) if at is not None]
        starts = [at for at in (self.due_at, other.due_at) if at is not None]
        return Left(
            waiting=self.waiting + other.waiting,
            leased=self.leased + other.leased,
            leased_until=max(ends, default=None),
            put_off=self.put_off + other.put_off,
            due_at=min(starts, default=None),
            parked=self.parked + other.parked,
            reading=self.reading + other.reading,
        )


@dataclass
class Report:
    """What a worker did.

    Args:
        documents: Documents brought up to date, deleted ones among them.
        indexed: Documents of rows that were there before, or of a changed search index, written
            for keywords.
        chunks: Chunks written.
        embedded: Texts that went through a model.
        reused: Vectors taken over from equal content.
        adopted: Vectors taken over from a column of the table.
        failed: Documents on which a model failed; they are tried again, or parked.
        seconds: How long it took.
        entered: States that embeddings entered, as `name: state`.
        problems: What kept search indexes from being brought up to date, an error for each.
        left: What waits in the end, and why; None of a worker that was stopped.
    """

    documents: int = 0
    indexed: int = 0
    chunks: int = 0
    embedded: int = 0
    reused: int = 0
    adopted: int = 0
    failed: int = 0
    seconds: float = 0.0
    entered: list[str] = field(default_factory=list)
    problems: list[Error] = field(default_factory=list)
    left: Left | None = None

    @property
    def waiting(self) -> int:
        """Rows that wait in the end: due later, another worker's, or for the time was over."""
        return 0 if self.left is None else self.left.waiting

    @property
    def parked(self) -> int:
        """Rows that are parked in the end, for a model failed on them too often."""
        return 0 if self.left is None else self.left.parked

    def add(self, done: Report) -> None:
        """Add what was done with some documents."""
        self.documents += done.documents
        self.chunks += done.chunks
        self.embedded += done.embedded
        self.reused += done.reused
        self.adopted += done.adopted
        self.failed += done.failed
