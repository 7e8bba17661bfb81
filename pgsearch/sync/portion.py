"""How many rows are locked at a time: the application may have to wait for as long."""

from __future__ import annotations

from typing import Final

#: What a portion should take; it is halved or made larger accordingly. Seconds.
_PORTION_S: Final = 0.1


class Portion:
    """A number of rows that finds out by itself how long their texts are.

    Args:
        first: Rows at first: texts may be so long that one is enough.
        longest: Rows at most.
    """

    def __init__(self, first: int, longest: int) -> None:
        self._longest = longest
        #: Rows of the next portion.
        self.rows = first

    def took(self, seconds: float) -> None:
        """Note what a portion took."""
        if seconds > 2 * _PORTION_S:
            self.was_refused()
        elif seconds < _PORTION_S / 2:
            self.rows = min(self.rows * 2, self._longest)
        elif seconds < _PORTION_S:
            # Where each portion takes its time whatever its size, as on a slow network.
            self.rows = min(self.rows + self.rows // 4 + 1, self._longest)

    def was_refused(self) -> None:
        """Note that the application was at these rows: the next portion is a smaller one."""
        self.rows = max(self.rows // 2, 1)
