"""One search index as a worker knows it: its statements, its models, its pace."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, cast

from psycopg.types.json import Jsonb

from pgsearch.database import Connection, transaction
from pgsearch.declare import Model
from pgsearch.models import fingerprint
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.sync.adopt import Adoption
from pgsearch.sync.embed import LoadedEmbedding, check_dimensions, cut
from pgsearch.sync.fill import DocumentFill
from pgsearch.sync.statements import Statements, is_hashable
from pgsearch.sync.waiting import QueueWatch

#: What the models should take for one batch; seconds. Longer batches hold up fresh changes,
#: shorter ones are of no use to a model that sorts texts by length.
_BATCH_S: Final = 2.0

#: Queue rows of the first batch, and at least.
_FIRST_BATCH: Final = 64
_SHORTEST_BATCH: Final = 16

#: Queue rows of a batch that is written with pauses, where models are quick: fresh changes wait
#: behind it.
_GENTLE_BATCH: Final = 128

#: Batches that models take longer for are not claimed before they are due; seconds. A fresh change
#: would wait for one more, and there is time enough to claim one while models compute another.
_QUICK_S: Final = 0.25


class Pace:
    """How fast a search index is worked on, whatever else changes about it.

    Args:
        longest_batch: Queue rows of a batch at most.
    """

    def __init__(self, longest_batch: int) -> None:
        self._longest_batch = longest_batch
        self._paused_until = 0.0
        self._is_quick = False
        self._rows = min(_FIRST_BATCH, longest_batch)
        #: Whether the last batch was of a backfill that is written with pauses.
        self.is_gentle = False

    @property
    def rows(self) -> int:
        """Queue rows of the next batch."""
        return min(self._rows, _GENTLE_BATCH) if self.is_gentle and self._is_quick else self._rows

    @property
    def pause_s(self) -> float:
        """Seconds for which a provider has asked to be left alone."""
        return max(0.0, self._paused_until - time.monotonic())

    def pause(self, seconds: float) -> None:
        """Claim nothing for some seconds."""
        self._paused_until = time.monotonic() + seconds

    @property
    def ahead(self) -> int:
        """Batches that may be on their way while the next one is claimed.

        One is at the models. Where they are quick another one is being written meanwhile.
        """
        return 2 if self._is_quick else 1

    def took(self, seconds: float, rows: int) -> None:
        """Note what a batch took, for the next one to be as long as it should be."""
        self._is_quick = seconds < _QUICK_S
        if rows < self._rows and seconds < _BATCH_S:
            return  # there was no more
        wanted = self._rows * min(max(_BATCH_S / max(seconds, 1e-6), 0.5), 2.0)
        self._rows = max(min(round(wanted), self._longest_batch), min(_SHORTEST_BATCH, self._rows))


@dataclass
class Task:
    """One search index with what its synchronisation needs.

    Args:
        index: The search index, as it was read from the registry.
        statements: Its statements.
        embeddings: Its live embeddings.
        pace: How fast it is worked on.
    """

    index: RegisteredIndex
    statements: Statements
    embeddings: tuple[LoadedEmbedding, ...]
    pace: Pace
    fill: DocumentFill = field(init=False)
    queue: QueueWatch = field(init=False)

    def __post_init__(self) -> None:
        self.fill = DocumentFill(self.index)
        self.queue = QueueWatch(self.statements)

    @property
    def columns(self) -> tuple[str, ...]:
        """The embeddings' columns."""
        return tuple(embedding.column for embedding in self.embeddings)

    @property
    def targets(self) -> dict[int, str]:
        """The embeddings' columns, by the embeddings' ids."""
        return {embedding.registered.id: embedding.column for embedding in self.embeddings}

    def is_like(self, other: Task) -> bool:
        """Return whether another task has the same vectors to make."""
        return self.index.id == other.index.id and self.targets == other.targets

    def load(self) -> None:
        """Load the models that are not loaded yet."""
        for embedding in self.embeddings:
            embedding.embedder  # noqa: B018  a cached property


def open_task(
    connection: Connection,
    index: RegisteredIndex,
    load: Callable[[Model], Embedder],
    pace: Pace,
) -> Task:
    """Return the task of a search index; its models are loaded when they are needed.

    Args:
        connection: A connection that is in no transaction.
        index: The search index.
        load: Makes the Embedder of a model.
        pace: How fast it is worked on.
    """
    definition = index.definition
    statements = Statements(
        definition, index.version, is_hashable=is_hashable(connection, definition)
    )
    embeddings: list[LoadedEmbedding] = []

    def cut_by_first(texts: Sequence[str | None]) -> list[str]:
        return cut(definition, texts, embeddings[0].embedder)

    for registered in index.live:
        adoption = None
        if registered.state == "filling" and registered.adopt_column is not None:
            adoption = Adoption(index, statements, registered, cut_by_first)
        embeddings.append(
            LoadedEmbedding(registered, partial(_verified, connection, registered, load), adoption)
        )
    return Task(index, statements, tuple(embeddings), pace)


def _verified(
    connection: Connection, embedding: RegisteredEmbedding, load: Callable[[Model], Embedder]
) -> Embedder:
    """Load an embedding's model; it must reproduce the vectors of its first day."""
    embedder = load(embedding.model)
    expected = embedding.fingerprint or _register(connection, embedding, embedder)
    fingerprint.verify(embedder, expected, model_name=embedding.model.name)
    return embedder


def _register(
    connection: Connection, embedding: RegisteredEmbedding, embedder: Embedder
) -> list[list[float]]:
    """Keep a model's fingerprint, or another worker's that was faster; return what is kept."""
    vectors = fingerprint.fingerprint(embedder, model_name=embedding.model.name)
    check_dimensions(embedding, map(len, vectors))
    with transaction(connection):
        row = connection.execute(
            "UPDATE pgsearch.embedding SET fingerprint = coalesce(fingerprint, %s)"
            " WHERE id = %s RETURNING fingerprint",
            [Jsonb(vectors), embedding.id],
        ).fetchone()
    return cast("list[list[float]]", row[0]) if row else vectors
