"""Many random runs, one seed each: `python -m tests.faults --runs 200 --seed 1`."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import click
import psycopg
from psycopg import sql
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pgsearch import embedded
from pgsearch.cli.console import remarks, results
from tests.faults.arena import Arena
from tests.faults.run import Outcome, run
from tests.plugins.postgres import SETTINGS, Databases


@click.command()
@click.option("--runs", type=click.IntRange(min=1), default=200, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The first run's.")
@click.option("--jobs", type=click.IntRange(min=1), default=3, show_default=True, help="At a time.")
@click.option(
    "--postgres",
    type=click.Choice(["16", "18"]),
    default=str(embedded.DEFAULT_VERSION),
    show_default=True,
    help="Version of the embedded server.",
)
@click.option(
    "--logs",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for what the workers of failed runs logged.",
)
def main(runs: int, seed: int, jobs: int, postgres: str, logs: Path | None) -> None:
    """Let writers, workers and faults loose on each other; say which seeds failed, and how."""
    started = time.monotonic()
    outcomes = []
    bar = Progress(
        TextColumn("runs"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[red]{task.fields[failed]}"),
        TimeRemainingColumn(),
        console=remarks(),
    )
    with _server(int(postgres)) as server_url, bar:
        task = bar.add_task("", total=runs, failed="")
        for outcome in _run_all(server_url, range(seed, seed + runs), jobs):
            outcomes.append(outcome)
            failed = [o.plan.seed for o in outcomes if o.problems]
            if outcome.problems:
                bar.console.print(str(outcome), markup=False, soft_wrap=True)
            bar.update(task, advance=1, failed=f"{len(failed)} failed" if failed else "")
            if outcome.log and logs is not None:
                logs.mkdir(parents=True, exist_ok=True)
                (logs / f"seed-{outcome.plan.seed}.log").write_text(outcome.log)
    show(outcomes, time.monotonic() - started)
    sys.exit(any(outcome.problems for outcome in outcomes))


def show(outcomes: list[Outcome], seconds: float) -> None:
    """Print what happened in all runs together."""
    counts = Counter(f"runs, {outcome.plan.kind}" for outcome in outcomes)
    for outcome in outcomes:
        counts.update(outcome.counts)
    table = Table("", "in all", "a run", box=None, header_style="dim")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, count in {"runs": len(outcomes), **counts}.items():
        table.add_row(name, f"{count:,}", f"{count / len(outcomes):.1f}")
    slowest = max(outcome.slowest_ms for outcome in outcomes)
    control = max(outcome.control_slowest_ms for outcome in outcomes)
    table.add_row("slowest statement, ms", f"{slowest:.0f}", "")
    table.add_row("the same without pgsearch", f"{control:.0f}", "")
    table.add_row("seconds", f"{seconds:.0f}", f"{seconds / len(outcomes):.2f}")
    console = results()
    console.print(table)
    met = Table("writers' errors", "", "with pgsearch", "without", box=None, header_style="dim")
    errors, control_errors = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for outcome in outcomes:
        errors.update({(outcome.plan.kind, *kind): n for kind, n in outcome.errors.items()})
        control_errors.update(
            {(outcome.plan.kind, *kind): n for kind, n in outcome.control_errors.items()}
        )
    for kind, isolation, sqlstate in sorted(errors.keys() | control_errors.keys()):
        key = (kind, isolation, sqlstate)
        met.add_row(kind, f"{isolation} {sqlstate}", f"{errors[key]}", f"{control_errors[key]}")
    console.print(met)
    failed = sorted(outcome.plan.seed for outcome in outcomes if outcome.problems)
    console.print(
        f"{len(failed)} of {len(outcomes)} runs failed" + (f": {failed}" if failed else "")
    )


def _run_all(server_url: str, seeds: range, jobs: int) -> Iterator[Outcome]:
    arena = Arena(Databases(server_url, "faults"))
    arena.make_templates()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = [pool.submit(_run, server_url, arena.templates, seed) for seed in seeds]
        for future in as_completed(futures):
            yield future.result()


@cache
def _arena(server_url: str) -> Arena:
    """Return the arena of this process, which does several runs after each other."""
    return Arena(Databases(server_url, f"job{os.getpid()}"))


def _run(server_url: str, templates: dict[str, str], seed: int) -> Outcome:
    arena = _arena(server_url)
    arena.templates |= templates
    return run(arena, seed)


@contextmanager
def _server(version: int) -> Iterator[str]:
    """Yield the URL of a server of its own, that need not survive a loss of power."""
    for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="pgsearch-faults-") as folder:
        server = embedded.start(Path(folder), version)
        try:
            with psycopg.connect(server.uri, autocommit=True) as connection:
                for name, value in SETTINGS.items():
                    setting = sql.SQL("ALTER SYSTEM SET {} = {}")
                    connection.execute(setting.format(sql.Identifier(name), value))
                connection.execute("SELECT pg_reload_conf()")
            yield server.uri
        finally:
            embedded.stop(Path(folder), version)
