"""Meaning-aware search inside the PostgreSQL that a team already has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsearch.declare import BM25, Chunking, Embedding, Expression, Model, SearchIndex
from pgsearch.errors import Error

if TYPE_CHECKING:
    from pgsearch.orm import Hit, search, similar
    from pgsearch.sync import sync_once

__all__ = [
    "BM25",
    "Chunking",
    "Embedding",
    "Error",
    "Expression",
    "Hit",
    "Model",
    "SearchIndex",
    "__version__",
    "search",
    "similar",
    "sync_once",
]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import what needs SQLAlchemy's ORM, or psycopg, when it is first used."""
    if name in ("Hit", "search", "similar"):
        from pgsearch.orm import Hit, search, similar

        globals().update(Hit=Hit, search=search, similar=similar)
        return globals()[name]
    if name == "sync_once":
        from pgsearch.sync import sync_once

        globals().update(sync_once=sync_once)
        return sync_once
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
