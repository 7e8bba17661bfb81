"""The Embedder protocol: all that pgsearch asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pgvector import Vector

from pgsearch.declare import Model
from pgsearch.errors import ModelMismatch


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors of one length.

    Both `embed` methods return one vector per text, in the order given, of
    `dimensions` finite float32 values each. They are called with at least one
    text, never with an empty one, and by several threads. An error that a text
    causes is raised as any exception; the worker finds the text by halving the
    batch. Where no text is to blame, `Throttled` or `ModelUnavailable` of
    `pgsearch.errors` says so.

    `pgsearch.testing.EmbedderContract` tests all of this.
    """

    @property
    def dimensions(self) -> int:
        """Length of every vector."""
        ...

    @property
    def max_tokens(self) -> int:
        """The window: what lies beyond this many tokens of a text is not seen."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return how many tokens of the window a text takes, special tokens not counted."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of passages."""
        ...

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        """Return the vectors of queries."""
        ...


def wrong_dimensions(model: Model, found: int) -> ModelMismatch:
    """Return the error that a model makes vectors of another length than it is declared with."""
    cut = "; or add truncate=True, if it was trained to have its vectors cut"
    return ModelMismatch(
        f"Model {model.name!r} makes vectors of {found} dimensions; it is declared with "
        f"dimensions={model.dimensions}.",
        hint=f"Write Model({model.name!r}, dimensions={found}, …)"
        + (cut if found > model.dimensions else "")
        + ".",
    )
