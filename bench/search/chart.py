"""The picture of what was measured: a bar for each way to ask, on a logarithmic scale."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10
from typing import Final

from bench import svg
from bench.search.measure import Seen

_WIDTH, _LEFT, _RIGHT = 560, 150, 90
_BAR, _GAP = 20, 10

#: How ways are called, in the order of the picture.
_NAMES: Final = {
    "keyword": "pgsearch, keyword",
    "keyword_by_hand": "by hand, keyword",
    "ts_rank": "OR and ts_rank",
    "vector": "pgsearch, vector",
    "vector_by_hand": "by hand, vector",
    "hybrid": "pgsearch, hybrid",
    "langchain": "langchain-postgres",
    "recipe": "full join and RRF",
}

_STYLE: Final = """
.bar { stroke: none; fill-opacity: .75 }
.tail { stroke-width: 2 }
"""


def draw(seen: Sequence[Seen]) -> str:
    """Return what every way takes on the largest size: the median, and a line to 95 %."""
    largest = seen[-1]
    ways = [way for way in _NAMES if way in largest.seconds]
    least = 10 ** floor(log10(min(largest.ms(way, 50) for way in ways)))
    most = 1.2 * max(largest.ms(way, 95) for way in ways)

    def across(ms: float) -> float:
        return _WIDTH * log10(ms / least) / log10(most / least)

    parts = []
    for number, way in enumerate(ways):
        y = svg.TOP + number * (_BAR + _GAP)
        half, slow = largest.ms(way, 50), largest.ms(way, 95)
        kind = "first" if _NAMES[way].startswith("pgsearch") else "second"
        middle = y + _BAR / 2
        parts += [
            svg.text(_LEFT - 8, middle + 4, _NAMES[way], "end"),
            svg.box(f"bar {kind}", _LEFT, y, across(half), _BAR),
            svg.line(f"tail {kind}", _LEFT + across(half), middle, _LEFT + across(slow), middle),
            svg.text(_LEFT + across(slow) + 6, middle + 4, f"{_ms(half)} / {_ms(slow)} ms"),
        ]
    title = f"Ten results out of {largest.settings.rows:,} documents"
    legend = "Milliseconds, median and 95 %, on a logarithmic scale; less is better."
    height = svg.TOP + len(ways) * (_BAR + _GAP)
    width = _LEFT + _WIDTH + _RIGHT
    return svg.frame(width, height, title, legend, parts, left=8, style=_STYLE)


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
