"""What the command line prints: results on standard output, everything else on standard error.

So `pgsearch … > file` and `| jq` get results only, while progress and remarks stay
in sight.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.table import Column

    _Float = click.ParamType[float]
else:
    _Float = click.ParamType  # which older releases do not let be subscripted


class _Positive(click.FloatRange):
    """A number above zero, and not infinite: nothing could be waited for, or nothing done."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read a number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


class Share(_Float):
    """A share, as in 10% or 0.1."""

    name = "share"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return it as a number above 0, up to 1."""
        if isinstance(value, float):
            return value
        number, percent, rest = str(value).partition("%")
        try:
            share = float(number) / (100 if percent else 1)
        except ValueError:
            share = 0.0
        if rest or not 0 < share <= 1:
            self.fail(
                f"{value!r} is no share above 0 and up to 100%: write 10% or 0.1.", param, ctx
            )
        return share


POSITIVE: Final = _Positive(0, min_open=True)

#: What `sync` and `worker` have in common.
BATCH: Final = click.option(
    "--batch",
    type=click.IntRange(1),
    default=1024,
    show_default=True,
    help="Changes per batch at most.",
)
RATE: Final = click.option(
    "--rate", type=POSITIVE, help="Rows per second that fills may take at most."
)
SHARE: Final = click.option(
    "--share",
    type=Share(),
    default=0.25,
    show_default=True,
    help="Share of the time that a fill may write while another embedding answers searches, as in "
    "50% or 0.5.",
)

DISTILL: Final = click.option(
    "--distill/--no-distill",
    default=None,
    help="Build the encoders that make vectors of queries in the database, as is done by default "
    "unless PGSEARCH_DISTILL is off.",
)


def results() -> Console:
    """Return the console for results, on standard output."""
    from rich.console import Console

    return Console(highlight=False)


def remarks() -> Console:
    """Return the console for progress and remarks, on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def never_cut(column: Column) -> None:
    """Make a filled column of a table as wide as its widest cell, however narrow the terminal."""
    from rich.text import Text

    def width(cell: object) -> int:
        return (cell if isinstance(cell, Text) else Text.from_markup(str(cell))).cell_len

    column.no_wrap = True
    column.min_width = max(width(cell) for cell in (column.header, *column.cells))


def progress(unit: str = "rows", console: Console | None = None) -> Progress:
    """Return a progress display on standard error: what is done, how fast, and the time left.

    Add a task with `total` in that unit and advance it by what is done.

    Args:
        unit: What is counted.
        console: Where it is shown, if not on standard error.
    """
    from rich import progress as bars
    from rich.table import Column

    class Bars(bars.Progress):
        def stop(self) -> None:
            if self.tasks or self.console.is_interactive:
                super().stop()
            else:
                self.live.stop()  # and nothing else: it would be an empty line

    # In a narrow terminal the bar gives way, and no figure is broken.
    return Bars(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(table_column=Column(no_wrap=True)),
        bars.TextColumn(f"[dim]{unit}"),
        _rate_column(),
        bars.TimeRemainingColumn(
            compact=True, elapsed_when_finished=True, table_column=Column(no_wrap=True)
        ),
        console=console or remarks(),
    )


def _rate_column() -> ProgressColumn:
    from rich.progress import ProgressColumn
    from rich.table import Column
    from rich.text import Text

    class RateColumn(ProgressColumn):
        """So many per second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.0f}/s", style="dim")

    return RateColumn(table_column=Column(no_wrap=True))


def use_database(url: str | None) -> str:
    """Return the libpq URI of the database to use, and say on standard error which it is.

    Args:
        url: What `--database` or DATABASE_URL names; if None, the embedded server is
            started, and where its data lies is said too.

    Raises:
        DatabaseError: It is no PostgreSQL URL, or the embedded server cannot start.
    """
    from pgsearch import database, embedded

    if url:
        uri = database.database_url(url)
        click.echo(f"Using {database.describe(uri)}.", err=True)
        return uri
    say_embedded()
    return embedded.start().uri


def say_embedded() -> None:
    """Say on standard error that the embedded server is used, and where its data lies."""
    from pgsearch import embedded

    click.echo(
        f"Using the PostgreSQL {embedded.DEFAULT_VERSION} that comes along (DATABASE_URL is "
        f"not set); its data lies in {embedded.data_folder()}.",
        err=True,
    )
