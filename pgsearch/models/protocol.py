"""The Embedder protocol: all that pgsearch asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from pgvector import Vector


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors of one length.

    Both `embed` methods return one vector per text, in the order given, of
    `dimensions` finite float32 values each. They are called with at least one
    text, never with an empty one. An error that a text causes is raised as any
    exception; the worker finds the text by halving the batch.
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
