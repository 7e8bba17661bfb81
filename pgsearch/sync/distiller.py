"""Encoders built beside a worker's other work, in a thread and on a connection of its own."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import TYPE_CHECKING, Final

import psycopg

from pgsearch.database import Connection
from pgsearch.encoder import store
from pgsearch.encoder.build import Step, distill
from pgsearch.errors import DatabaseError, Error
from pgsearch.lifecycle.background import Background
from pgsearch.lifecycle.statistics import connected
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.report import Progress
from pgsearch.sync.wake import Listener

if TYPE_CHECKING:
    from pgsearch.sync.embed import LoadedEmbedding

log = logging.getLogger(__name__)

#: Seconds between two looks at a search index's encoders while there is nothing else to do.
_EVERY_S: Final = 5.0


class Distiller:
    """Builds the encoder of one embedding at a time.

    Args:
        url: The database.
        on_progress: Called with what was done.
        is_wanted: Whether to build any.
        stop: Set when the worker is to stop.
        listener: What wakes the worker, if it goes on until it is stopped: then it looks only now
            and then.
    """

    def __init__(
        self,
        url: str,
        on_progress: Callable[[Progress], None],
        *,
        is_wanted: bool,
        stop: Event,
        listener: Listener | None,
    ) -> None:
        on_end = listener.wake if listener is not None else lambda: None
        self._background = Background(lambda: connected(url), "pgsearch-distill", on_end)
        self._is_wanted = is_wanted
        self._every_s = 0.0 if listener is None else _EVERY_S
        self._looked_at: dict[int, float] = {}
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
        now = time.monotonic()
        if not self._is_wanted or self.is_busy:
            return False
        if now - self._looked_at.get(index.id, -math.inf) < self._every_s:
            return False
        self._looked_at[index.id] = now
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
