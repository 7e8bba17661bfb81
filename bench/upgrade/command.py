"""The bench itself."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Final

import click

from bench.server import server
from bench.upgrade.journey import Settings, measure
from pgsearch import embedded
from pgsearch.errors import Error

_FILE: Final = click.Path(path_type=Path, dir_okay=False, writable=True)


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
    "--seconds",
    type=click.FloatRange(1),
    default=Settings.before_s,
    show_default=True,
    help="How long the load is watched before the fill.",
)
@click.option(
    "--postgres",
    type=click.Choice(["16", "18"]),
    default=str(embedded.DEFAULT_VERSION),
    show_default=True,
    help="Version of the embedded server; not used with DATABASE_URL.",
)
@click.option("--json", "details", type=_FILE, help="Where to write everything that was seen.")
def main(
    rows: int, kills: int, rate: float | None, seconds: float, postgres: str, details: Path | None
) -> None:
    """Measure what replacing a model costs the application that goes on meanwhile."""
    # So that no server and no process is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with server(int(postgres)):
            seen = measure(
                Settings(rows, kills, rate, seconds), lambda what: click.echo(what, err=True)
            )
        met = seen.tell()
    except Error as error:
        raise click.ClickException(str(error)) from error
    if details is not None:
        details.write_text(json.dumps(seen.to_json(), indent=1) + "\n")
    sys.exit(0 if met else 1)
