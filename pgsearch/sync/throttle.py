"""How fast a backfill may go."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

#: The pauses of one batch take no longer than this together, for fresh changes may wait behind it;
#: seconds.
_PAUSES_S: Final = 1.0

#: Seconds between two looks whether a pause is still wanted.
_LOOK_S: Final = 0.05


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


class Pauses:
    """Pauses of one batch, after which it has been at work for a share of the time.

    Args:
        share: Of the time, above 0.
        wait: Waits for some seconds.
        is_over: Whether nobody pauses any more.
    """

    def __init__(
        self, share: float, wait: Callable[[float], object], is_over: Callable[[], bool]
    ) -> None:
        self._per_second = 1 / share - 1
        self._wait = wait
        self._is_over = is_over
        self._left_s = _PAUSES_S

    def after(self, seconds: float) -> None:
        """Pause after so many seconds of work."""
        pause_s = min(self._left_s, seconds * self._per_second)
        self._left_s -= pause_s
        until = time.monotonic() + pause_s
        while not self._is_over() and (left := until - time.monotonic()) > 0:
            self._wait(min(left, _LOOK_S))
