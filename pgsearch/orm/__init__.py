"""Search from SQLAlchemy: a `Select` that gives entities with what made them a hit."""

from __future__ import annotations

from pgsearch.orm.examples import similar
from pgsearch.orm.hit import Hit
from pgsearch.orm.select import search

__all__ = ["Hit", "search", "similar"]
