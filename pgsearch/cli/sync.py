"""`pgsearch sync`: embed what waits, and return."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsearch.cli import console
from pgsearch.errors import EmbeddingFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from rich import progress as bars

    from pgsearch.sync import Left, Progress, Report


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@console.BATCH
@console.RATE
@console.SHARE
@console.DISTILL
@click.option("--max-seconds", type=click.FloatRange(0), help="Begin nothing new after that time.")
@click.pass_obj
def command(
    url: str | None,
    indexes: tuple[str, ...],
    batch: int,
    rate: float | None,
    share: float,
    distill: bool | None,
    max_seconds: float | None,
) -> None:
    """Embed what waits, and return.

    Fills existing tables and added embeddings, builds HNSW indexes, and activates a first
    embedding. Without an INDEX, all search indexes are brought up to date.
    """
    from pgsearch.sync import Worker

    uri = console.use_database(url)
    with console.progress() as display:
        worker = Worker(
            uri,
            indexes=indexes,
            batch_rows=batch,
            backfill_rate=rate,
            backfill_share=share,
            distill=distill,
            on_progress=show(display),
        )
        report = worker.drain(max_seconds=max_seconds)
    click.echo(summary(report))
    for line in remains(report.left):
        click.echo(line)
    if report.problems:
        raise report.problems[0]
    if report.failed:
        raise EmbeddingFailed(
            f"The model failed on {report.failed:,} documents; the others are done.",
            hint="`pgsearch status` shows the error. They are tried again by the next sync, and "
            "parked after five attempts.",
        )


def show(display: bars.Progress) -> Callable[[Progress], None]:
    """Return what shows a worker's progress, with a bar for each search index and step."""
    tasks: dict[tuple[str, str, str | None], bars.TaskID] = {}
    words = {
        "embed": "embedding",
        "documents": "reading for keywords",
        "encoder embed": "vectors for its query encoder",
        "encoder train": "training its query encoder",
    }

    def update(progress: Progress) -> None:
        if progress.step == "index":
            display.console.print(f"{progress.embedding}: building the HNSW index")
            return
        if progress.step not in words:
            return
        key = (progress.search_index, progress.step, progress.embedding)
        if key not in tasks:
            subject = progress.embedding or progress.search_index
            tasks[key] = display.add_task(f"{subject}: {words[progress.step]}", total=None)
        display.advance(tasks[key], progress.done + progress.failed)
        if progress.step.startswith("encoder"):
            display.update(tasks[key], total=progress.waiting)
        elif progress.waiting is not None:
            done = next(task.completed for task in display.tasks if task.id == tasks[key])
            display.update(tasks[key], total=done + progress.waiting)

    return update


def summary(report: Report) -> str:
    """Return what a worker did, in one line."""
    parts = [
        f"{_counted(report.documents, 'document')} brought up to date",
        f"{_counted(report.embedded, 'passage')} embedded",
    ]
    if report.indexed:
        parts.insert(0, f"{_counted(report.indexed, 'row')} read for keywords")
    if report.reused:
        parts.append(f"{report.reused:,} vectors reused")
    if report.adopted:
        parts.append(f"{report.adopted:,} vectors adopted")
    if report.failed:
        parts.append(f"{report.failed:,} documents failed")
    parts += report.entered
    done = (
        report.indexed
        + report.documents
        + report.embedded
        + report.reused
        + report.adopted
        + report.failed
    )
    if not done and not report.entered:
        is_all = report.left is not None and report.left.is_nothing and not report.problems
        said = "Nothing to embed: everything is up to date" if is_all else "Nothing was embedded"
        return f"{said} ({report.seconds:.1f} s)."
    return f"{', '.join(parts)}, in {report.seconds:.1f} s."


def remains(left: Left | None) -> Iterator[str]:
    """Yield what is left to be done, and what it waits for, a line each."""
    if left is None:
        return
    if left.leased:
        until = f" until {_clock(left.leased_until)} at the latest" if left.leased_until else ""
        yield f"{_rows(left.leased, 'waits', 'wait')}: leased by another worker{until}."
    if left.put_off:
        due = f", from {_clock(left.due_at)} on" if left.due_at else ""
        yield f"{_rows(left.put_off, 'waits', 'wait')} to be tried again{due}."
    if due_now := left.waiting - left.leased - left.put_off:
        yield f"{_rows(due_now, 'waits', 'wait')} to be embedded: run it again, or let a worker."
    for name in left.reading:
        yield f"{name}: rows that were there before it are still to be read."
    if left.parked:
        yield f"{_rows(left.parked, 'is', 'are')} parked: `pgsearch status` shows why."


def _rows(number: int, one: str, several: str) -> str:
    return f"1 row {one}" if number == 1 else f"{number:,} rows {several}"


def _clock(at: datetime) -> str:
    """Return a time of day on this machine's clock."""
    return f"{at.astimezone():%H:%M:%S}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
