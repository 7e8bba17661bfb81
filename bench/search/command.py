"""The bench itself: one size after the other, then how the time grows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from bench.options import JSON, POSTGRES, SVG, end_in_order, say, write_details
from bench.report import report
from bench.search import chart
from bench.search.measure import Seen, Settings, measure
from bench.server import server
from pgsearch.errors import Error

SIZES: Final = (200_000, 1_000_000)

#: What the tables and graphs of a million documents take: that a search waits for a page is not
#: what is measured.
_SHARED_BUFFERS: Final = "12GB"

#: What a size is to reach, and how the keyword leg may grow from the smallest to the largest.
_TARGETS: Final = {
    "hybrid_p50_ratio": "<= 1.25",
    "vector_p50_ratio": "<= 1.15",
    "keyword_p95_ratio": "<= 0.1",
    "text_only_ratio": "<= 1.3",
}
_RECALL: Final = ">= 0.95"
_GROWTH: Final = "<= 3"


def tell(seen: Seen) -> bool:
    """Print what was seen of one size; return whether every target was met."""
    case, met = f"{seen.settings.rows} rows", True
    for way in seen.seconds:
        for p in (50, 95):
            report(case, f"{way}_p{p}_ms", seen.ms(way, p), "ms")
    report(case, "blocks_read", seen.blocks_read, "per search")
    slower = max(seen.ms("keyword_by_hand", 50), seen.ms("vector_by_hand", 50))
    ratios = {
        "hybrid_p50_ratio": seen.ms("hybrid", 50) / slower,
        "vector_p50_ratio": seen.ms("vector", 50) / seen.ms("vector_by_hand", 50),
        "keyword_p95_ratio": seen.ms("keyword", 95) / seen.ms("ts_rank", 95),
        "text_only_ratio": seen.ms("text_only", 50) / seen.ms("text_given", 50),
    }
    for metric, ratio in ratios.items():
        met &= report(case, metric, ratio, "ratio", _TARGETS[metric]) is not False
    for name, found in seen.recall.items():
        for buckets, recall in found.items():
            of = f"{case}, filter {buckets / 10:g} %"
            target = _RECALL if name == "vector" else None
            metric = "recall10" if name == "vector" else f"recall10_{name}"
            met &= report(of, metric, recall, "share", target) is not False
            seconds = seen.filtered[name][buckets]
            report(of, f"{name}_p50_ms", 1000 * sorted(seconds)[len(seconds) // 2], "ms")
    return met


@click.command()
@click.option(
    "--rows",
    "sizes",
    type=click.IntRange(min=2000),
    multiple=True,
    default=SIZES,
    show_default=True,
    help="Documents; give it several times for several sizes.",
)
@click.option(
    "--queries",
    type=click.IntRange(min=10),
    default=Settings.queries,
    show_default=True,
    help="Queries that are timed.",
)
@click.option(
    "--judged",
    type=click.IntRange(min=10),
    default=Settings.judged,
    show_default=True,
    help="Other queries, whose recall is looked at.",
)
@click.option("--no-langchain", is_flag=True, help="Leave langchain-postgres out.")
@POSTGRES
@JSON
@SVG
def main(
    sizes: Sequence[int],
    queries: int,
    judged: int,
    no_langchain: bool,
    postgres: str,
    details: Path | None,
    pictures: Path | None,
) -> None:
    """Measure search beside SQL written by hand and beside peers."""
    end_in_order()
    seen: list[Seen] = []
    met = True
    try:
        with server(int(postgres), shared_buffers=_SHARED_BUFFERS):
            for rows in sorted(sizes):
                settings = Settings(rows, queries, judged, with_langchain=not no_langchain)
                seen.append(measure(settings, say))
                met &= tell(seen[-1])
    except Error as error:
        raise click.ClickException(str(error)) from error
    if len(seen) > 1:
        growth = seen[-1].ms("keyword", 95) / seen[0].ms("keyword", 95)
        case = f"{seen[-1].settings.rows} rows to {seen[0].settings.rows}"
        met &= report(case, "keyword_growth", growth, "ratio", _GROWTH) is not False
    write_details(details, [each.to_json() for each in seen])
    if pictures is not None:
        (pictures / "search.svg").write_text(chart.draw(seen), encoding="utf-8")
    sys.exit(0 if met else 1)
