"""How a worker works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pgsearch.sync.report import Progress


@dataclass(frozen=True)
class Options:
    """How a worker works; see `Worker`."""

    indexes: tuple[str, ...]
    batch_rows: int
    lease_s: float
    max_attempts: int
    backfill_rate: float | None
    backfill_share: float
    on_progress: Callable[[Progress], None]
    distill: bool = True
