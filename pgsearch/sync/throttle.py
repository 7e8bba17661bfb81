"""How fast a backfill may go."""

from __future__ import annotations

import time


class Throttle:
    """Lets so many rows per second pass; what passed at once is waited out afterwards.

    Args:
        rate: Rows per second; None for no limit.

    Raises:
        ValueError: The rate is not above zero.
    """

    def __init__(self, rate: float | None) -> None:
        if rate is not None and not rate > 0:
            raise ValueError(f"A rate must be above zero, not {rate}.")
        self._rate = rate
        self._open_at = 0.0

    @property
    def wait_s(self) -> float:
        """Seconds until more rows may pass; 0 if they may now."""
        return max(0.0, self._open_at - time.monotonic())

    def spend(self, rows: int) -> None:
        """Note that rows have passed."""
        if self._rate is not None:
            self._open_at = max(time.monotonic(), self._open_at) + rows / self._rate
