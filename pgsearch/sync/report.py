"""What a worker says of its work: while it is at it, and in the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from pgsearch.errors import Error


@dataclass(frozen=True)
class Progress:
    """How far a worker is with one search index.

    Args:
        search_index: Its name.
        step: `documents` counts rows read for keywords, `embed` counts documents whose passages
            are up to date, `index` is the build of an HNSW index.
        done: How many are done since the last time.
        waiting: How many are left, as far as is known.
        embedding: Name of the embedding, for `index`.
    """

    search_index: str
    step: str
    done: int = 0
    waiting: int | None = None
    embedding: str | None = None


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

    def add(self, done: Report) -> None:
        """Add what was done with some documents."""
        self.documents += done.documents
        self.chunks += done.chunks
        self.embedded += done.embedded
        self.reused += done.reused
        self.adopted += done.adopted
        self.failed += done.failed
