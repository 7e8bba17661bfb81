"""The models that make vectors: one Embedder per declared Model.

A provider is a module that is imported when its first model is loaded, so that
nothing pays for a model library it does not use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from typing import Final

from pgsearch.declare import Model
from pgsearch.errors import ModelMismatch, ModelUnavailable
from pgsearch.models.protocol import Embedder

__all__ = ["PROVIDERS", "Embedder", "load"]

#: Name of a provider -> "module:factory"; the factory takes a Model, returns an Embedder.
PROVIDERS: Final[dict[str, str]] = {
    "sentence-transformers": "pgsearch.models.sentence_transformers:load",
    "hash": "pgsearch.testing:load",
}

_loaded: dict[Model, Embedder] = {}
_loading = threading.Lock()


def load(model: Model) -> Embedder:
    """Return the embedder of a model; it is loaded once per process and kept.

    Raises:
        ModelUnavailable: Its provider is unknown or not installed, or it cannot be found.
        ModelMismatch: Its vectors are not of the declared dimensions.
    """
    embedder = _loaded.get(model)
    if embedder is None:
        with _loading:
            embedder = _loaded.get(model)
            if embedder is None:
                embedder = _loaded[model] = _load(model)
    return embedder


def _load(model: Model) -> Embedder:
    embedder = _factory(model)(model)
    if embedder.dimensions != model.dimensions:
        raise ModelMismatch(
            f"Model {model.name!r} makes vectors of {embedder.dimensions} dimensions; "
            f"it is declared with dimensions={model.dimensions}.",
            hint=f"Write Model({model.name!r}, dimensions={embedder.dimensions}, …).",
        )
    return embedder


def _factory(model: Model) -> Callable[[Model], Embedder]:
    entry = PROVIDERS.get(model.provider)
    if entry is None:
        raise ModelUnavailable(
            f"Model {model.name!r} has the provider {model.provider!r}, which is unknown.",
            hint=f"Write one of {', '.join(map(repr, sorted(PROVIDERS)))}.",
        )
    module, _, name = entry.partition(":")
    factory: Callable[[Model], Embedder] = getattr(import_module(module), name)
    return factory
