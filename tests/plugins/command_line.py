"""The command line, run in this process."""

from __future__ import annotations

from click.testing import CliRunner, Result

from pgsearch.cli import main


def run(url: str, *arguments: str, columns: int = 80) -> Result:
    """Run a verb in a terminal of 80 columns."""
    return CliRunner().invoke(
        main, ["--database", url, *arguments], env={"COLUMNS": str(columns), "TERM": "dumb"}
    )
