"""`pgsearch reconcile`: compare search indexes with their rows, and have mended what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich import progress as bars

    from pgsearch.sync.reconciliation import Compared, Finding, ReconciledIndex


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@click.option("--dry-run", is_flag=True, help="Only look: write nothing at all.")
@click.option("--restart", is_flag=True, help="Begin anew where an earlier run was interrupted.")
@click.option(
    "--vectors",
    type=click.Choice(["sample", "all", "none"]),
    default="sample",
    show_default=True,
    help="Which vectors the model makes anew, to compare them.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=256, show_default=True, help="Rows per range."
)
@click.option(
    "--rate",
    type=console.POSITIVE,
    metavar="ROWS/S",
    help="Compare no more rows per second.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per search index.")
@click.pass_context
def command(
    context: click.Context, /, indexes: tuple[str, ...], as_json: bool, **options: Any
) -> None:
    """Compare search indexes with their rows, and have mended what is wrong.

    For changes that no trigger saw: made while triggers were disabled or under
    session_replication_role = replica, replicated, restored, or made to the search index by hand.
    What is wrong is put into the queue; `pgsearch sync`, or a worker, mends it. A run that was
    interrupted is gone on with by the next one.

    Without an INDEX, all of them are compared. With --dry-run the exit status is 1 if anything is
    wrong.
    """
    from pgsearch.sync.reconciliation import reconcile

    url = console.use_database(context.obj)
    with console.progress() as display:
        report = reconcile(url, *indexes, on_progress=_show(display), **options)
    if as_json:
        _print_json(report.indexes)
    else:
        for index in report.indexes:
            click.echo(_headline(index))
            if index.findings:
                click.echo("\n".join(_table(index)))
            for remark in _remarks(index, is_dry=report.is_dry):
                click.echo(remark)
    if report.problems:
        raise report.problems[0]
    if report.is_dry and not report.is_clean:
        context.exit(1)


def _show(display: bars.Progress) -> Callable[[Compared], None]:
    """Return what shows how far a reconciliation is, with a bar for each search index."""
    tasks: dict[str, bars.TaskID] = {}

    def update(compared: Compared) -> None:
        name = compared.search_index
        if name not in tasks:
            tasks[name] = display.add_task(f"{name}: comparing", total=None)
        found = f", {compared.found:,} found" if compared.found else ""
        display.update(
            tasks[name],
            completed=compared.compared,
            total=compared.total,
            description=f"{name}: comparing{found}",
        )

    return update


def _headline(index: ReconciledIndex) -> str:
    rows = "1 row" if index.compared == 1 else f"{index.compared:,} rows"
    vectors = "1 vector" if index.vectors_compared == 1 else f"{index.vectors_compared:,} vectors"
    found = "" if index.findings else ": nothing to mend"
    return f"{click.style(index.name, bold=True)}: {rows} and {vectors} compared{found}"


def _table(index: ReconciledIndex) -> Iterator[str]:
    """Yield the lines of a table as wide as it has to be: nothing in it is ever cut."""
    rows = [("found", "what", "that is", "first rows")]
    rows += [
        (f"{finding.count:,}", _named(finding), finding.kind.meaning, _keys(finding))
        for finding in index.findings
    ]
    count, what, meaning, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    for number, row in enumerate(rows):
        line = f"  {row[0]:>{count}}  {row[1]:<{what}}  {row[2]:<{meaning}}  {row[3]}"
        yield line if number else click.style(line, dim=True)


def _named(finding: Finding) -> str:
    plural = "" if finding.count == 1 else "s"
    of = f" of {finding.embedding}" if finding.embedding else ""
    return f"{finding.kind}{plural}{of}"


def _keys(finding: Finding) -> str:
    shown = [key[0] if len(key) == 1 else f"({', '.join(key)})" for key in finding.keys]
    return ", ".join(shown) + (", …" if finding.has_more else "")


def _remarks(index: ReconciledIndex, *, is_dry: bool) -> Iterator[str]:
    """Yield what someone should know who sees the table."""
    if index.resumed:
        yield "An earlier run was gone on with; what it had found is counted too."
    if is_dry and index.findings:
        yield f"Nothing was written. To have it mended: pgsearch reconcile {index.name}"
    elif index.asked:
        asked = f"{_rows(index.asked)} put into the queue"
        yield f"{asked}: `pgsearch sync`, or a worker, does the rest."
    if index.vectors == "sample" and any(f.kind == "wrong vector" for f in index.findings):
        yield "Only a sample of the vectors was compared: --vectors all compares every one."
    if index.waiting:
        yield f"{_rows(index.waiting)} left alone: the queue has them already."
    if index.parked:
        yield (
            f"{_rows(index.parked)} parked, where the model failed: `pgsearch status` says why, "
            "`pgsearch retry` has it tried again."
        )
    if index.refused:
        yield f"The model failed on {index.refused:,} of the texts; they were not compared."


def _rows(number: int) -> str:
    return "1 row is" if number == 1 else f"{number:,} rows are"


def _print_json(indexes: tuple[ReconciledIndex, ...]) -> None:
    import json
    from dataclasses import asdict

    for index in indexes:
        click.echo(json.dumps(asdict(index), ensure_ascii=False))
