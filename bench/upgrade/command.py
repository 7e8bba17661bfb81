"""The bench itself."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bench.options import JSON, POSTGRES, end_in_order, say, write_details
from bench.server import server
from bench.upgrade.journey import Settings, measure
from pgsearch.errors import Error


@click.command()
@click.option(
    "--rows",
    type=click.IntRange(min=500),
    default=Settings.rows,
    show_default=True,
    help="Rows, of one chunk each.",
)
@click.option(
    "--kills",
    type=click.IntRange(min=0),
    default=Settings.kills,
    show_default=True,
    help="How often a worker is killed.",
)
@click.option("--rate", type=click.FloatRange(1), help="Rows per second that the fill may take.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the time that the fill may write, in place of what workers do by themselves.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1),
    default=Settings.before_s,
    show_default=True,
    help="How long the load is watched before the fill.",
)
@POSTGRES
@JSON
def main(
    rows: int,
    kills: int,
    rate: float | None,
    share: float | None,
    seconds: float,
    postgres: str,
    details: Path | None,
) -> None:
    """Measure what replacing a model costs the application that goes on meanwhile."""
    end_in_order()
    try:
        with server(int(postgres)):
            seen = measure(Settings(rows, kills, rate, share, seconds), say)
        met = seen.tell()
    except Error as error:
        raise click.ClickException(str(error)) from error
    write_details(details, seen.to_json())
    sys.exit(0 if met else 1)
