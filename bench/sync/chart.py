"""Pictures of what was measured."""

from __future__ import annotations

from collections.abc import Iterator

from bench import svg
from bench.report import percentile
from bench.sync.freshness import Freshnesses
from bench.sync.memory import Memory
from bench.sync.race import COPY, PGAI, PGSEARCH, Race

_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _BOTTOM = 72, 24, 40
_BAR, _GAP = 34, 18

_KINDS = ("first", "second")

_RACE_STYLE = """
.bar { stroke: none; fill-opacity: .6 }
.run { fill: #24292f }
@media (prefers-color-scheme: dark) { .run { fill: #d0d7de } }
"""


def draw_race(race: Race) -> str:
    """Return rows per second as bars, with a dot for each run."""
    contestants = [name for name in (PGSEARCH, PGAI) if name in race.runs]
    rates = {name: race.rows_per_s(name) for name in contestants}
    runs = {name: [race.settings.rows / r.seconds for r in race.runs[name]] for name in contestants}
    title = "Rows per second, from the queue to their vectors"
    legend = (
        f"{race.settings.rows:,} rows, one worker each, a model that costs nothing; median and "
        f"runs. Raw COPY: {race.rows_per_s(COPY):,.0f}."
    )
    most = max(rate for each in runs.values() for rate in each)
    parts = []
    for number, (name, kind) in enumerate(zip(contestants, _KINDS, strict=False)):
        y = svg.TOP + number * (_BAR + _GAP)
        width = _across(rates[name], most)
        parts.append(svg.text(_LEFT - 8, y + _BAR / 2 + 4, name, "end"))
        parts.append(svg.box(f"bar {kind}", _LEFT, y, width, _BAR))
        parts.append(svg.text(_LEFT + 8, y + _BAR / 2 + 4, f"{rates[name]:,.0f}"))
        middle = y + _BAR / 2
        parts += [svg.dot("run", _LEFT + _across(rate, most), middle) for rate in runs[name]]
    height = svg.TOP + len(contestants) * (_BAR + _GAP)
    return svg.frame(
        _LEFT + _WIDTH + _RIGHT, height, title, legend, parts, left=_LEFT, style=_RACE_STYLE
    )


def draw_freshness(found: Freshnesses) -> str:
    """Return which share of the changes was found after which time, a line for each model."""
    slowest = max(max(seen.found_ms) for seen in found.by_model.values())
    allowed = min(seen.allowed_ms for seen in found.by_model.values())
    most = 1.1 * max(slowest, allowed)
    p95 = ", ".join(
        f"{percentile(seen.found_ms, 95):.0f} ms with {name}"
        for name, seen in found.by_model.items()
    )
    commits = max(len(seen.found_ms) for seen in found.by_model.values())
    parts = [*_axes(f"{most:.0f} ms", "100 %")]
    for number, (name, seen) in enumerate(found.by_model.items()):
        kind = _KINDS[number % len(_KINDS)]
        ordered = sorted(seen.found_ms)
        steps = [(0.0, 0.0)]
        for place, milliseconds in enumerate(ordered):
            steps.append((milliseconds, place / len(ordered)))
            steps.append((milliseconds, (place + 1) / len(ordered)))
        parts.append(svg.path(kind, [(_LEFT + _across(x, most), _up(y)) for x, y in steps]))
        y = svg.TOP + _HEIGHT - 12 - 20 * number
        parts.append(svg.line(kind, _LEFT + _WIDTH - 90, y - 4, _LEFT + _WIDTH - 70, y - 4))
        parts.append(svg.text(_LEFT + _WIDTH - 62, y, name))
    x = _LEFT + _across(allowed, most)
    parts.append(svg.line("limit", x, svg.TOP, x, svg.TOP + _HEIGHT))
    parts.append(svg.text(x - 6, svg.TOP + 14, f"{allowed:.0f} ms", "end"))
    title = f"From COMMIT until vector search finds the row: 95 % within {p95}"
    legend = f"{commits} commits at random moments, a few in a second: the share that is found."
    return _picture(title, legend, parts)


def draw_memory(found: Memory) -> str:
    """Return a worker's memory over time; the band is what is compared."""
    seconds = found.samples[-1].seconds
    most = 1.25 * max(sample.megabytes for sample in found.samples)
    warm = _LEFT + _across(found.warm.seconds, seconds)
    parts = [
        svg.box("band", warm, svg.TOP, _LEFT + _WIDTH - warm, _HEIGHT),
        *_axes(f"{seconds:.0f} s", f"{most:.0f} MB"),
        svg.path(
            "first",
            [(_LEFT + _across(s.seconds, seconds), _up(s.megabytes / most)) for s in found.samples],
        ),
    ]
    began = next((s.seconds for s in found.samples if s.embedded), 0.0)
    x = _LEFT + _across(began, seconds)
    parts.append(svg.text(x, svg.TOP + _HEIGHT + 34, "embedding"))
    if began > seconds / 10:
        parts.append(svg.text(_LEFT, svg.TOP + _HEIGHT + 34, "documents"))
    title = (
        f"Memory of a worker over {found.settings.rows:,} rows: {found.largest.megabytes:.0f} MB, "
        f"{max(found.growth, 0):.0f} % more than after a quarter of them"
    )
    return _picture(title, "Resident memory of `pgsearch worker`, hash model.", parts)


def _picture(title: str, legend: str, parts: list[str]) -> str:
    height = svg.TOP + _HEIGHT + _BOTTOM
    return svg.frame(_LEFT + _WIDTH + _RIGHT, height, title, legend, parts, left=_LEFT)


def _across(value: float, most: float) -> float:
    return _WIDTH * value / most


def _up(share: float) -> float:
    return svg.TOP + _HEIGHT * (1 - share)


def _axes(right: str, top: str) -> Iterator[str]:
    bottom = svg.TOP + _HEIGHT
    yield svg.line("axis", _LEFT, bottom, _LEFT + _WIDTH, bottom)
    yield svg.line("axis", _LEFT, svg.TOP, _LEFT, bottom)
    yield svg.text(_LEFT - 6, bottom + 4, "0", "end")
    yield svg.text(_LEFT - 6, svg.TOP + 10, top, "end")
    yield svg.text(_LEFT + _WIDTH, bottom + 16, right, "end")
