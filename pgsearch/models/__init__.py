"""The models that make vectors: one Embedder per declared Model.

A provider is a module that is imported when its first model is loaded, so that
nothing pays for a model library it does not use. Other packages add providers by
an entry point of the group `pgsearch.models`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from pgsearch.declare import Model
from pgsearch.errors import Error, ModelUnavailable
from pgsearch.models.protocol import Embedder, wrong_dimensions

__all__ = ["ENTRY_POINTS", "PROVIDERS", "Embedder", "load", "measure"]

#: Name of a provider -> "module:factory"; the factory takes a Model, returns an Embedder.
PROVIDERS: Final[dict[str, str]] = {
    "sentence-transformers": "pgsearch.models.sentence_transformers:load",
    "openai": "pgsearch.models.openai:load",
    "hash": "pgsearch.testing:load",
}

#: The group of entry points in which other packages name theirs, in the same form.
ENTRY_POINTS: Final = "pgsearch.models"

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


def measure(model: Model) -> int:
    """Return how long a model's vectors are, whatever it is declared with.

    Raises:
        ModelUnavailable: Its provider is unknown or not installed, or it cannot be found.
    """
    return _make(model).dimensions


def _load(model: Model) -> Embedder:
    embedder = _make(model)
    if embedder.dimensions != model.dimensions:
        raise wrong_dimensions(model, embedder.dimensions)
    return embedder


def _make(model: Model) -> Embedder:
    entry = PROVIDERS.get(model.provider)
    if entry is None:
        return _from_elsewhere(model)
    module, _, name = entry.partition(":")
    factory: Callable[[Model], Embedder] = getattr(import_module(module), name)
    return factory(model)


def _from_elsewhere(model: Model) -> Embedder:
    """Load a model by the entry point of another package, whose faults are named as its own."""
    entry = _entry_point(model)
    package = _package(entry)
    try:
        embedder = entry.load()(model)
    except Error:
        raise
    except Exception as error:
        raise ModelUnavailable(
            f"Model {model.name!r} could not be loaded by the provider {entry.name!r} "
            f"({entry.value}) of the package {package}: {type(error).__name__}: {error}",
            hint=f"Mend or upgrade {package}; it is no part of pgsearch.",
        ) from error
    if not isinstance(embedder, Embedder):
        raise ModelUnavailable(
            f"The provider {entry.name!r} ({entry.value}) of the package {package} returned "
            f"{type(embedder).__name__}, which is no Embedder.",
            hint="Test it with pgsearch.testing.EmbedderContract.",
        )
    return embedder


def _entry_point(model: Model) -> EntryPoint:
    """Return the entry point of a model's provider.

    Raises:
        ModelUnavailable: No package names the provider, or several do.
    """
    known = entry_points(group=ENTRY_POINTS)
    # A package may be found twice, in an editable install say.
    found = {each.value: each for each in known.select(name=model.provider)}
    if not found:
        names = sorted({*PROVIDERS, *known.names})
        raise ModelUnavailable(
            f"Model {model.name!r} has the provider {model.provider!r}, which is unknown.",
            hint=f"Write one of {', '.join(map(repr, names))}, or install the package that has it.",
        )
    if len(found) > 1:
        packages = sorted(map(_package, found.values()))
        raise ModelUnavailable(
            f"Model {model.name!r} has the provider {model.provider!r}, which the packages "
            f"{' and '.join(packages)} both name theirs.",
            hint="Uninstall all of them but one.",
        )
    return next(iter(found.values()))


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "of an unknown name"
