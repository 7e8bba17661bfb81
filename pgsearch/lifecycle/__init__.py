"""The states of an embedding, from filling to active, and what moves it on."""

from __future__ import annotations

from pgsearch.lifecycle.advance import advance
from pgsearch.lifecycle.build import Builder
from pgsearch.lifecycle.statistics import Statistics, refresh_statistics

__all__ = ["Builder", "Statistics", "advance", "refresh_statistics"]
