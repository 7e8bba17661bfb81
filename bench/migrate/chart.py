"""A picture of a run: every wait of the load, in the column of the migration that it fell into."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from bench import svg
from bench.migrate.result import Result

_COLUMN = 26
_HEIGHT = 220
_LEFT, _RIGHT, _BOTTOM = 64, 24, 200

_STYLE = """
.wait { fill: #0969da; fill-opacity: .6 }
.over { fill: #cf222e }
@media (prefers-color-scheme: dark) {
  .wait { fill: #58a6ff }
  .over { fill: #ff7b72 }
}
"""

_MARKS = {"upgrade": "↑", "downgrade": "↓", "fill": "…"}


class _Dot(NamedTuple):
    """A wait: when it began, as a share of its phase, and how long it was."""

    share: float
    milliseconds: float


def draw(result: Result) -> str:
    """Return the picture as SVG: a column per migration, a dot per wait at its place in it.

    A migration that was run in several cycles has one column.
    """
    columns = _columns(result)
    top_ms = 1.15 * max(result.lock_timeout_ms, result.longest_wait_ms)
    width = _LEFT + _COLUMN * len(columns) + _RIGHT
    height = svg.TOP + _HEIGHT + _BOTTOM
    title = (
        f"{len(result.statements):,} statements of {result.connections} connections during "
        f"{sum(1 for phase in result.phases if phase.runs)} migrations: "
        f"{len(result.failures)} failed, the longest wait was {result.longest_wait_ms:.0f} ms"
    )
    legend = (
        f"{result.rows:,} rows, {result.case}. A dot is a statement that waited for a lock; "
        "↑ upgrade, ↓ downgrade, … the fill after it."
    )
    parts: list[str] = []
    for number, (name, dots) in enumerate(columns.items()):
        parts += _column(number, name)
        parts += _dots(number, dots, top_ms, result.lock_timeout_ms)
    parts += _axis(width - _RIGHT, top_ms, result.lock_timeout_ms)
    return svg.frame(width, height, title, legend, parts, left=_LEFT, style=_STYLE)


def _columns(result: Result) -> dict[str, list[_Dot]]:
    """Return the names of the columns with their waits, in the order of their first phases."""
    columns: dict[str, list[_Dot]] = {}
    for phase in result.phases:
        start, end = result.span(phase)
        columns.setdefault(f"{phase.title} {_MARKS[phase.direction]}", []).extend(
            _Dot((wait.started - start) / (end - start), wait.milliseconds)
            for wait in result.load_waits
            if start <= wait.started < end
        )
    return columns


def _y(milliseconds: float, top_ms: float) -> float:
    return svg.TOP + _HEIGHT * (1 - milliseconds / top_ms)


def _column(number: int, name: str) -> Iterator[str]:
    """Draw a column's background and its label."""
    x = _LEFT + _COLUMN * number
    if number % 2 == 0:
        yield f'<rect class="band" x="{x}" y="{svg.TOP}" width="{_COLUMN}" height="{_HEIGHT}"/>'
    place = f"translate({x + _COLUMN // 2 + 4} {svg.TOP + _HEIGHT + 10}) rotate(-90)"
    yield f'<text transform="{place}" text-anchor="end">{escape(name)}</text>'


def _dots(number: int, dots: list[_Dot], top_ms: float, limit_ms: int) -> Iterator[str]:
    for dot in dots:
        x = _LEFT + _COLUMN * number + 3 + (_COLUMN - 6) * dot.share
        kind = "wait" if dot.milliseconds <= limit_ms else "over"
        yield f'<circle class="{kind}" cx="{x:.1f}" cy="{_y(dot.milliseconds, top_ms):.1f}" r="2"/>'


def _axis(right: int, top_ms: float, limit_ms: int) -> Iterator[str]:
    for milliseconds, kind in ((0, "axis"), (limit_ms, "limit")):
        y = _y(milliseconds, top_ms)
        yield f'<line class="{kind}" x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{milliseconds} ms</text>'
    yield f'<text x="{_LEFT + 4}" y="{_y(limit_ms, top_ms) - 6:.1f}">lock_timeout</text>'
