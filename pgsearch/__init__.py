"""Meaning-aware search inside the PostgreSQL that a team already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsearch.declare import Chunking, Embedding, Expression, Model, SearchIndex
from pgsearch.errors import Error

if TYPE_CHECKING:
    from pgsearch.orm import Hit, search

__all__ = [
    "Chunking",
    "Embedding",
    "Error",
    "Expression",
    "Hit",
    "Model",
    "SearchIndex",
    "__version__",
    "search",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `search` and `Hit` when they are first used: they need SQLAlchemy's ORM."""
    if name in ("Hit", "search"):
        from pgsearch.orm.select import Hit, search

        globals().update(Hit=Hit, search=search)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
