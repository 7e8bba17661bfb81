"""Meaning-aware search inside the PostgreSQL that a team already has."""

from __future__ import annotations

from pgsearch.declare import Chunking, Embedding, Model, SearchIndex
from pgsearch.errors import Error

__all__ = ["Chunking", "Embedding", "Error", "Model", "SearchIndex", "__version__"]

__version__ = "0.1.0"
