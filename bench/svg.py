"""What the pictures of all benches share: a frame with a title, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f }
.band { fill: #8c959f; fill-opacity: .12 }
.axis { stroke: #8c959f; stroke-width: 1 }
.limit { stroke: #cf222e; stroke-width: 1.5; stroke-dasharray: 6 4 }
.first { fill: #0969da; stroke: #0969da }
.second { fill: #8250df; stroke: #8250df }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #d0d7de }
  .limit { stroke: #ff7b72 }
  .first { fill: #58a6ff; stroke: #58a6ff }
  .second { fill: #d2a8ff; stroke: #d2a8ff }
}
"""

#: Where the title and the line below it stand; a picture begins below them.
TOP = 62


def frame(
    width: float,
    height: float,
    title: str,
    legend: str,
    parts: Iterable[str],
    *,
    left: float,
    style: str = "",
) -> str:
    """Return a picture as SVG.

    Args:
        width: Its width, in pixels.
        height: Its height.
        title: Above it.
        legend: The line below the title.
        parts: The elements of the picture itself.
        left: Where the title begins.
        style: CSS beside the common one.
    """
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}{style}</style>",
            f'<text x="{left}" y="20" font-weight="bold">{escape(title)}</text>',
            f'<text x="{left}" y="42">{escape(legend)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Return a text that begins, ends or has its middle at a point."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    """Return a straight line of one of the style's classes."""
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def box(kind: str, x: float, y: float, width: float, height: float) -> str:
    """Return a rectangle of one of the style's classes."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place}/>'


def dot(kind: str, x: float, y: float) -> str:
    """Return a small circle of one of the style's classes."""
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>'


def path(kind: str, points: Iterable[tuple[float, float]]) -> str:
    """Return a line through points."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="line {kind}" points="{joined}"/>'
