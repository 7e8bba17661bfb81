"""Encoders built beside a worker's other work, in a thread and on a connection of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event
from typing import TYPE_CHECKING

import psycopg

from pgsearch.database import Connection
from pgsearch.encoder import store
from pgsearch.encoder.distill import Step, distill
from pgsearch.errors import DatabaseError, Error
from pgsearch.lifecycle.background import Background
from pgsearch.lifecycle.statistics import connected
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.report import Progress

if TYPE_CHECKING:
    from pgsearch.sync.embed import LoadedEmbedding

log = logging.getLogger(__name__)


class Distiller:
    """Builds the encoder of one embedding at a time.

    Args:
        url: The database.
        is_wanted: Whether to build any.
        stop: Set when the worker is to stop.
        on_progress: Called with what was done.
        on_end: Called by the thread when one was built.
    """

    def __init__(
        self,
        url: str,
        *,
        is_wanted: bool,
        stop: Event,
        on_progress: Callable[[Progress], None],
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._background = Background(lambda: connected(url), "pgsearch-distill", on_end)
        self._is_wanted = is_wanted
        self._stop = stop
        self._on_progress = on_progress
        #: Embeddings whose encoder this process could not build: it does not try again.
        self._given_up: set[int] = set()

    @property
    def is_busy(self) -> bool:
        """Whether one is being built."""
        return self._background.is_busy

    def refresh(
        self,
        connection: Connection,
        index: RegisteredIndex,
        embeddings: Sequence[LoadedEmbedding],
    ) -> bool:
        """Begin to build an encoder that is lacking, or of another corpus by now.

        Args:
            connection: The worker's connection.
            index: The search index.
            embeddings: Its embeddings.

        Returns:
            Whether one was begun.
        """
        if not self._is_wanted or self.is_busy:
            return False
        wanted = [e for e in store.outdated(connection, index) if e not in self._given_up]
        loaded = {embedding.registered.id: embedding for embedding in embeddings}
        embedding = next((loaded[number] for number in wanted if number in loaded), None)
        if embedding is None:
            return False
        return self._background.start(lambda mine: self._build(mine, index, embedding))

    def check(self) -> bool:
        """Return whether one has ended since it was asked."""
        return self._background.check()

    def close(self) -> None:
        """Cancel what is being built."""
        self._background.close()

    def _build(
        self, connection: Connection, index: RegisteredIndex, embedding: LoadedEmbedding
    ) -> None:
        registered = embedding.registered
        try:
            built = distill(
                connection,
                index,
                registered,
                embedding.embedder,
                on_step=lambda step: self._tell(index, registered.name, step),
                go_on=lambda: not (self._stop.is_set() or self._background.is_cancelled),
            )
        except (Error, ImportError, psycopg.errors.InsufficientPrivilege) as error:
            self._given_up.add(registered.id)
            problem = DatabaseError(
                f"The encoder of {registered.name} of {index.name} could not be built: {error}",
                hint="Text alone goes on asking by keywords, or by the encoder before. "
                "`pgsearch distill` tries again.",
            )
            log.warning("%s", problem)
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
            log.info("%s was changed by a migration.", index.name)
        else:
            if built is not None:
                log.info(
                    "%s: %s: encoder %s with %s tokens, cosine %.3f to the model.",
                    index.name, built.embedding, built.version, built.tokens,
                    built.fidelity.cosine,
                )  # fmt: skip

    def _tell(self, index: RegisteredIndex, embedding: str, step: Step) -> None:
        if step.total is not None:
            self._on_progress(
                Progress(index.name, f"encoder {step.name}", step.done, step.total, embedding)
            )
