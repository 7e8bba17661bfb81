"""Search from SQLAlchemy: a `Select` that gives entities with what made them a hit."""

from __future__ import annotations

from pgsearch.orm.select import Hit, search

__all__ = ["Hit", "search"]
