"""`pgsearch advise`: what half vectors, single bits or fewer dimensions would cost and give."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgsearch.cli import console
from pgsearch.errors import Error, LifecycleError, ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich import progress as bars
    from rich.table import Table

    from pgsearch.database import Connection
    from pgsearch.evaluate.advise import Advice, Measured, Step
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex


@click.command()
@click.argument("index")
@click.argument("embedding", required=False)
@click.option(
    "--recall",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.95,
    show_default=True,
    help="Which share of the ten nearest is to be found.",
)
@click.option(
    "--sample",
    type=click.IntRange(500, 200_000),
    default=20_000,
    show_default=True,
    help="Vectors that are measured at most.",
)
@click.option(
    "--queries",
    type=click.IntRange(10),
    default=200,
    show_default=True,
    help="Vectors that are held out of the sample, to ask for.",
)
@click.option(
    "--queries-from",
    type=click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=False),
    help="A file of queries to ask instead, one per line; the model makes their vectors.",
)
@click.option(
    "--logged",
    type=click.IntRange(1),
    metavar="N",
    help="The N queries that pgsearch.log_search has noted last, in the same way.",
)
@click.option(
    "--dimensions",
    type=click.IntRange(1),
    multiple=True,
    help="Also with vectors cut to this length; may be given several times.",
)
@click.option(
    "--m",
    type=click.IntRange(2, 100),
    multiple=True,
    default=(16, 24),
    show_default=True,
    help="Neighbours per node of the HNSW graphs; may be given several times.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line, the advice last.")
@click.pass_obj
def command(
    url: str | None,
    /,
    index: str,
    embedding: str | None,
    queries_from: Path | None,
    logged: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure what half vectors, single bits or fewer dimensions would cost and give.

    Without an EMBEDDING it is the active one. Its vectors are read and not changed: a sample of
    them is kept in temporary tables of this session, indexed in several ways, and asked for the ten
    nearest of the same queries. It takes some minutes, and one core of the server.

    Example: pgsearch advise article_search --recall 0.95 --queries-from queries.txt
    """
    from pgsearch import database, registry
    from pgsearch.evaluate.advise import Plan, advise

    with database.connect(console.use_database(url), row_security=True) as connection:
        (found,) = registry.read(connection, index)
        registry.require_sight(connection, [found])
        chosen = _chosen(found, embedding)
        queries = _queries(connection, found, queries_from, logged)
        plan = Plan(**options, asked=_vectors(chosen, queries))
        with console.progress("queries") as display:
            advice = advise(connection, found, chosen, plan, on_step=_show(display))
    if as_json:
        _print_json(advice)
    else:
        _tell(advice)
    if advice.recommended is None:
        raise LifecycleError(
            f"Nothing that was measured reaches a recall of {plan.recall:g} in "
            f"{advice.rows:,} vectors.",
            hint="Ask for less with --recall, or for denser graphs, as in --m 32.",
        )


def _chosen(index: RegisteredIndex, name: str | None) -> RegisteredEmbedding:
    """Return the embedding that is named, or the active one."""
    if name is None:
        if index.active is not None:
            return index.active
        raise LifecycleError(
            f"Search index {index.name} has no active embedding.",
            hint="Name one that has vectors; `pgsearch status` shows those that there are.",
        )
    for embedding in index.embeddings:
        if embedding.name == name:
            return embedding
    known = ", ".join(embedding.name for embedding in index.embeddings) or "none"
    raise ObjectMissing(
        f"Search index {index.name} has no embedding {name!r}.", hint=f"It has: {known}."
    )


def _queries(
    connection: Connection, index: RegisteredIndex, path: Path | None, logged: int | None
) -> Sequence[str]:
    """Return the queries of a file or of the log; none if neither is named."""
    from pgsearch.evaluate.asked import read_log, read_queries

    if path is not None and logged is not None:
        raise Error("Both --queries-from and --logged say what to ask.", hint="Pass one of them.")
    if path is not None:
        return read_queries(path).queries
    return read_log(connection, index, logged).queries if logged is not None else ()


def _vectors(embedding: RegisteredEmbedding, queries: Sequence[str]) -> list[str]:
    """Return the vectors of queries, made by the embedding's model."""
    from pgsearch import models

    if not queries:
        return []
    with console.remarks().status(f"Loading {embedding.model.name}"):
        embedder = models.load(embedding.model)
    return [str(vector.to_text()) for vector in embedder.embed_queries(queries)]


def _show(display: bars.Progress) -> Callable[[Step], None]:
    """Return what shows how far the measuring is."""
    tasks: list[bars.TaskID] = []

    def update(step: Step) -> None:
        if not tasks:
            tasks.append(display.add_task(step.doing, total=step.total))
        display.update(tasks[0], description=step.doing, total=step.total, advance=step.done)

    return update


def _tell(advice: Advice) -> None:
    """Print what was measured, what follows, and what one has to know of it."""
    output = console.results()
    click.echo(
        f"{advice.index.name}, {advice.embedding.name}: {advice.sampled:,} of {advice.rows:,} "
        f"vectors, {advice.queries:,} queries"
    )
    click.echo(f"The fewest candidates with a recall of {advice.plan.recall:g}, of ten neighbours:")
    output.print(_table(advice), crop=False)
    best = advice.recommended
    if best is not None:
        output.print("\n".join(_recommendation(advice, best)), soft_wrap=True, markup=False)
    output.print(_list(_remarks(advice)), style="dim")


def _list(remarks: list[str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 1, 0, 0))
    for remark in remarks:
        grid.add_row("-", Text(remark))
    return grid


def _table(advice: Advice) -> Table:
    from rich.table import Table

    from pgsearch.cli.status import size

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    has_lengths = len({each.variant.dimensions for each in advice.measured}) > 1
    headings = ["column", "graph", *(["length"] if has_lengths else []), "m", "ef_search", "recall"]
    headings += ["p50 ms", "column B", "graph B", f"of {advice.rows:,}"]
    for heading in headings:
        is_word = heading in ("column", "graph")
        table.add_column(heading, justify="left" if is_word else "right")
    for each in advice.measured:
        variant, least = each.variant, each.least(advice.plan.recall)
        point = least or each.points[-1]
        table.add_row(
            variant.type,
            variant.index,
            *([str(variant.dimensions)] if has_lengths else []),
            str(variant.m),
            str(point.ef_search),
            f"{point.recall:.3f}",
            f"{point.p50_ms:.1f}",
            f"{each.column_bytes:,.0f}",
            f"{each.graph_bytes:,.0f}",
            size(round(advice.rows * each.bytes)),
            style="green" if each is advice.recommended else "dim" if least is None else "",
        )
    for column in table.columns:
        console.never_cut(column)
    return table


def _recommendation(advice: Advice, best: Measured) -> list[str]:
    """Return what is recommended, as it is declared and asked."""
    from pgsearch.cli.status import size

    takes = size(round(advice.rows * best.bytes))
    graph = size(round(advice.rows * best.graph_bytes))
    said = [f"The smallest that reaches it takes {takes}, {graph} of them the graph:"]
    if advice.is_as_now(best.variant):
        said = [f"The smallest that reaches it is what {advice.embedding.name} is already: {takes}"]
    else:
        said.append(f"  {advice.declaration(best)}")
        if (command := advice.command(best)) is not None:
            said.append(f"  {command}")
    needed, usual = advice.ef_search(best) or 0, advice.usual_ef_search
    if needed > usual:
        said.append(f"  ef_search => {needed}  (a search of this table takes {usual} by itself)")
    else:
        said.append(f"  ef_search => {needed} is enough; a search takes {usual} by itself")
    return said


def _remarks(advice: Advice) -> list[str]:
    remarks = list(advice.notes)
    if advice.growth > 1:
        remarks.insert(
            0,
            "A sample flatters: the larger a graph, the more candidates it takes to find as much. "
            f"What is recommended counts on {advice.growth:.1f} times the sample's ef_search for "
            f"{advice.rows:,} vectors, their number to the power of 0.4, which holds about. Times "
            "are the sample's.",
        )
    return remarks


def _print_json(advice: Advice) -> None:
    import json
    from dataclasses import asdict

    for each in advice.measured:
        least = each.least(advice.plan.recall)
        line = asdict(each.variant) | {
            "column_bytes": each.column_bytes,
            "graph_bytes": each.graph_bytes,
            "bytes_of_all": round(advice.rows * each.bytes),
            "build_s": each.build_s,
            "points": [asdict(point) for point in each.points],
            "ef_search": least and least.ef_search,
            "ef_search_of_all": advice.ef_search(each),
        }
        click.echo(json.dumps(line))
    best = advice.recommended
    last = {
        "index": advice.index.name,
        "embedding": advice.embedding.name,
        "rows": advice.rows,
        "sampled": advice.sampled,
        "queries": advice.queries,
        "recall": advice.plan.recall,
        "usual_ef_search": advice.usual_ef_search,
        "recommended": best and asdict(best.variant),
        "ef_search": best and advice.ef_search(best),
        "declaration": best and advice.declaration(best),
        "command": best and advice.command(best),
        "is_as_now": best is not None and advice.is_as_now(best.variant),
        "notes": list(advice.notes),
    }
    click.echo(json.dumps(last, ensure_ascii=False))
