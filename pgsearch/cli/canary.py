"""`pgsearch canary`: let a candidate answer a share of the queries, and see what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from pgsearch.lifecycle.canary import Canary, Outcomes


@click.command()
@click.argument("index")
@click.argument("embedding", required=False)
@click.option(
    "--share",
    type=console.Share(),
    help="How many of the queries EMBEDDING answers, as in 10% or 0.1.",
)
@click.option("--stop", is_flag=True, help="Let the active embedding answer all queries again.")
@click.option("--json", "as_json", is_flag=True, help="What was logged as one JSON object.")
@click.pass_obj
def command(
    url: str | None,
    index: str,
    embedding: str | None,
    share: float | None,
    *,
    stop: bool,
    as_json: bool,
) -> None:
    """Let a candidate answer a share of the queries, and see what comes of it.

    Text alone is routed by the search function. An application that makes vectors itself asks
    pgsearch.embedding_for(index, query) which embedding answers, and names it. What it notes with
    pgsearch.log_search and pgsearch.log_outcome is shown here.

    \b
    pgsearch canary article_search bge_v1 --share 10%   begin, or change the share
    pgsearch canary article_search                      what was logged
    pgsearch canary article_search --stop               roll back
    """
    from pgsearch import database, registry
    from pgsearch.lifecycle import canary
    from pgsearch.lifecycle.replace import answers_text

    if (embedding is None) != (share is None):
        raise click.UsageError("EMBEDDING and --share go together.")
    if stop and embedding is not None:
        raise click.UsageError("--stop takes no EMBEDDING: there is one canary at most.")
    with database.connect(console.use_database(url)) as connection:
        (found,) = registry.read(connection, index)
        if stop:
            was = canary.read(connection, found)
            canary.stop(connection, found)
            if was is None:
                click.echo(f"{found.name}: there is no canary.")
            else:
                click.echo(f"{found.name}: {was.embedding} answers none. What was logged stays.")
            return
        if embedding is not None and share is not None:
            canary.start(connection, found, embedding, share)
            click.echo(f"{found.name}: {embedding} answers {100 * share:.3g} % of the queries.")
            if not answers_text(connection, found, embedding):
                click.echo("It has no encoder: who asks by text alone is answered as before.")
                click.echo(f"To build one: pgsearch distill {found.name} {embedding}")
            click.echo(f"To roll back: pgsearch canary {found.name} --stop")
            return
        running = canary.read(connection, found)
        logged = () if running is None else canary.outcomes(connection, found, running.started_at)
    active = found.active.name if found.active else None
    if as_json:
        _print_json(running, logged)
    elif running is None:
        click.echo(f"{found.name}: there is no canary. See `pgsearch canary --help`.")
    else:
        _tell(found.name, running, logged, active)


def _print_json(running: Canary | None, logged: Sequence[Outcomes]) -> None:
    import json
    from dataclasses import asdict

    canary = None if running is None else asdict(running)
    shown = {"canary": canary, "logged": [asdict(each) for each in logged]}
    click.echo(json.dumps(shown, ensure_ascii=False, default=lambda at: at.isoformat()))


def _tell(index: str, running: Canary, logged: Sequence[Outcomes], active: str | None) -> None:
    """Print what was logged since the canary began."""
    from pgsearch.lifecycle.canary import difference_p

    since = running.started_at.isoformat(sep=" ", timespec="minutes")
    click.echo(
        f"{index}: {running.embedding} answers {100 * running.share:.3g} % of the queries, "
        f"since {since}"
    )
    if not logged:
        click.echo("Nothing was logged since: note searches with pgsearch.log_search.")
        return
    console.results().print(_table(logged), crop=False)
    by_name = {each.embedding: each for each in logged}
    one, other = by_name.get(active), by_name.get(running.embedding)
    if one is None or other is None:
        return
    p = difference_p(one, other)
    if p is None:
        click.echo("Too few searches, or outcomes, to tell the two apart.")
    else:
        points = 100 * (_rate(other) - _rate(one))
        click.echo(f"Searches with an outcome: {points:+.1f} points, p = {p:.3f} (two proportions)")


def _table(logged: Sequence[Outcomes]) -> Table:
    from rich.table import Table

    # Without lines, it fits a terminal of 80 columns beside an embedding's name.
    table = Table("embedding", box=None, padding=(0, 1, 0, 0), header_style="bold")
    for heading in ("searches", "queries", "empty", "with outcome", "value", "MRR", "p50", "p95"):
        table.add_column(heading, justify="right")
    for each in logged:
        table.add_row(
            each.embedding or "keywords",
            f"{each.searches:,}",
            f"{each.queries:,}",
            f"{each.without_results / each.searches:.1%}",
            f"{_rate(each):.1%}",
            f"{each.value:,.4g}",
            f"{each.reciprocal_rank:.3f}",
            _time(each.p50_ms),
            _time(each.p95_ms),
        )
    for column in table.columns:
        console.never_cut(column)
    return table


def _rate(each: Outcomes) -> float:
    return each.with_outcome / each.searches


def _time(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
