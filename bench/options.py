"""What the command lines of the benches have in common."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any, Final

import click

from pgsearch import embedded

FILE: Final = click.Path(path_type=Path, dir_okay=False, writable=True)
FOLDER: Final = click.Path(path_type=Path, file_okay=False, exists=True, writable=True)

POSTGRES: Final = click.option(
    "--postgres",
    type=click.Choice(["16", "18"]),
    default=str(embedded.DEFAULT_VERSION),
    show_default=True,
    help="Version of the embedded server; not used with DATABASE_URL.",
)
JSON: Final = click.option(
    "--json", "details", type=FILE, help="Where to write everything that was seen."
)
SVG: Final = click.option(
    "--svg", "pictures", type=FOLDER, help="A folder into which pictures are drawn."
)


def say(what: str) -> None:
    """Say on standard error how far a bench has come."""
    click.echo(what, err=True)


def end_in_order() -> None:
    """Let SIGTERM end the process as an error does, so that no server and no process is left."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def write_details(file: Path | None, seen: Any) -> None:
    """Write what was seen as JSON, if there is a file for it."""
    if file is not None:
        file.write_text(json.dumps(seen, indent=1) + "\n", encoding="utf-8")
