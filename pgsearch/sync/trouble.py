"""Models that cannot be used: which search indexes are left alone for it, and for how long."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from pgsearch.declare import Model
from pgsearch.errors import ModelError, ModelMismatch, ModelUnavailable, Throttled
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredIndex

log = logging.getLogger(__name__)

#: Seconds for which a search index is left alone whose model cannot be had.
_UNAVAILABLE_S: Final = 30.0

#: Seconds for which one is left alone whose model is another one than the registered; loading it
#: again may take long, and somebody has to mend it.
_REFUSED_S: Final = 300.0

#: Seconds for which a provider is left alone that asks for it without saying how long.
_THROTTLED_S: Final = 10.0


@dataclass(frozen=True)
class _Trouble:
    """Why a search index is left alone.

    Args:
        error: What its model has raised.
        models: Its models then, each with its fingerprint: with other ones it is tried again.
        until: When it is tried again, on the monotonic clock.
        is_final: Whether waiting will hardly help.
    """

    error: ModelError
    models: list[tuple[int, object]]
    until: float
    is_final: bool


class Troubles:
    """What is known of models that cannot be used; it outlives the sessions of a worker.

    A search index whose model cannot be used is left alone, so that the others go on. What can be
    expected to pass is tried again after a while; a worker that is to return does not wait for it,
    unless it is a throttle.

    Args:
        load: Makes the Embedder of a model.
        is_patient: Whether the worker goes on for as long as nobody stops it.
    """

    def __init__(self, load: Callable[[Model], Embedder], *, is_patient: bool) -> None:
        self._load = load
        self.is_patient = is_patient
        self._known: dict[int, _Trouble] = {}
        self._of_declarations: list[ModelError] = []
        self._loads = 0
        #: Whether all models were tried once: then what is missing may come back.
        self.has_begun = False

    @property
    def loads(self) -> int:
        """How many models were loaded, or tried to be."""
        return self._loads

    def load(self, model: Model) -> Embedder:
        """Load a model; where that fails, it is its declaration or this machine."""
        self._loads += 1
        try:
            return self._load(model)
        except ModelUnavailable as error:
            self._of_declarations.append(error)
            raise

    def wait_s(self, index: RegisteredIndex) -> float:
        """Return the seconds for which a search index is to be left alone."""
        trouble = self._known.get(index.id)
        if trouble is None or (self.is_patient and trouble.models != _models(index)):
            return 0.0
        return max(0.0, trouble.until - time.monotonic())

    def note(self, index: RegisteredIndex, error: ModelError) -> None:
        """Leave a search index alone; say why, unless that was said before."""
        before = self._known.get(index.id)
        if before is not None and math.isinf(before.until):
            return  # what comes after it may follow from it
        seconds = self._seconds(error)
        is_final = isinstance(error, ModelMismatch) or (
            not self.has_begun and any(error is other for other in self._of_declarations)
        )
        self._of_declarations.clear()
        self._known[index.id] = _Trouble(
            error, _models(index), time.monotonic() + seconds, is_final
        )
        is_known = before is not None and str(before.error) == str(error)
        if math.isfinite(seconds) and not is_known:  # else the report says it
            level = logging.WARNING if isinstance(error, Throttled) else logging.ERROR
            log.log(level, "%s: trying again every %.0f s: %s", index.name, seconds, error)

    def _seconds(self, error: ModelError) -> float:
        """Return for how long an error lets a search index be left alone."""
        if isinstance(error, Throttled):
            return _THROTTLED_S if error.retry_after is None else error.retry_after
        if not self.is_patient:
            return math.inf
        return _REFUSED_S if isinstance(error, ModelMismatch) else _UNAVAILABLE_S

    def forget(self, index: RegisteredIndex) -> None:
        """Note that a search index's models can be used."""
        if self._known.pop(index.id, None) is not None:
            log.info("%s: its model answers again.", index.name)

    def errors(self, indexes: Sequence[RegisteredIndex]) -> list[ModelError]:
        """Return what keeps search indexes from being worked on, an error for each such one."""
        return [
            self._known[index.id].error
            for index in indexes
            if index.id in self._known and not isinstance(self._known[index.id].error, Throttled)
        ]

    def check(self, indexes: Sequence[RegisteredIndex]) -> None:
        """Raise the first error if none of the search indexes can be expected to be worked on."""
        known = [self._known.get(index.id) for index in indexes]
        errors = [trouble.error for trouble in known if trouble is not None and trouble.is_final]
        if errors and len(errors) == len(indexes):
            raise errors[0]


def _models(index: RegisteredIndex) -> list[tuple[int, object]]:
    return [(embedding.id, embedding.fingerprint) for embedding in index.live]
