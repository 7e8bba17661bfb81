"""`pgsearch compare`: ask two embeddings the same queries, and see which answers better."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pgsearch.cli import console
from pgsearch.errors import Error, ObjectMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.table import Table

    from pgsearch.database import Connection
    from pgsearch.evaluate.asked import Asked
    from pgsearch.evaluate.compare import Comparison, Hit, Side
    from pgsearch.evaluate.gate import Requirement
    from pgsearch.registry import RegisteredIndex

#: Of each of the queries that were answered most differently, so many documents are shown.
_SHOWN: Final = 3

#: The options of which one says what is asked.
SOURCES: Final = ("queries", "judgements", "judgements_table", "logged", "chosen")

#: What to do where none does.
SAY_WHAT: Final = "Pass one of --queries, --judgements, --judgements-table, --logged and --chosen."

_FOLDER: Final = click.Path(path_type=Path, file_okay=False, exists=True)
_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True, allow_dash=False)


def what_is_asked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say by which queries embeddings are compared, and what is required."""
    for option in reversed(
        (
            click.option(
                "--queries", type=_FILE, help="A file of queries without judgements, one per line."
            ),
            click.option(
                "--judgements",
                type=_FOLDER,
                help="A folder in BEIR's layout: queries.jsonl and qrels.tsv, whose document ids "
                "are the table's keys.",
            ),
            click.option(
                "--judgements-table",
                metavar="TABLE",
                help="A table of this database: query, grade, and the key columns.",
            ),
            click.option(
                "--logged",
                type=click.IntRange(min=1),
                metavar="N",
                help="The N queries that pgsearch.log_search has noted last.",
            ),
            click.option(
                "--chosen",
                type=click.IntRange(min=1),
                metavar="N",
                help="The same, judged by the documents that were chosen, as "
                "pgsearch.log_outcome has noted.",
            ),
            click.option(
                "--require",
                "required",
                multiple=True,
                metavar='"ndcg10 >= -0.005"',
                help="What the second must reach, or the exit status is 1: differences of ndcg10, "
                "recall10, mrr10; overlap10, rbo; search_p50_ratio, search_p95_ratio, size_ratio.",
            ),
            click.option(
                "-k",
                type=click.IntRange(1, 1000),
                default=10,
                show_default=True,
                help="How many results are looked at.",
            ),
            click.option(
                "--mode",
                type=click.Choice(["hybrid", "vector"]),
                default="hybrid",
                show_default=True,
                help="Which legs answer.",
            ),
        )
    ):
        function = option(function)
    return function


@click.command()
@click.argument("first")
@click.argument("second")
@click.option("--index", "name", metavar="INDEX", help="The search index, if several have both.")
@what_is_asked
@click.option(
    "--show",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="How many of the largest differences are shown.",
)
@click.option("--json", "as_json", is_flag=True, help="All figures and answers as one JSON object.")
@click.pass_obj
def command(
    url: str | None,
    /,
    first: str,
    second: str,
    name: str | None,
    show: int,
    as_json: bool,
    **asked: Any,
) -> None:
    """Ask two embeddings the same queries, and see which answers better.

    FIRST is what is compared with, mostly the active embedding, SECOND may take its place. Both
    have to be ready.

    Example: pgsearch compare minilm_v1 bge_v1 --judgements ./judged --require "ndcg10 >= -0.005"
    """
    from pgsearch import database, registry
    from pgsearch.evaluate.gate import Requirement, require

    requirements = tuple(map(Requirement.parse, asked.pop("required")))
    with database.connect(console.use_database(url), row_security=True) as connection:
        index = _with_both(registry.read(connection, *([name] if name else [])), first, second)
        comparison = run(connection, index, first, second, **asked)
    if as_json:
        _print_json(comparison)
    else:
        tell(comparison, show)
    require(requirements, comparison.figures())


@dataclass(frozen=True)
class Gate:
    """What a candidate has to pass before it answers, if anything.

    Args:
        requirements: What the comparison must reach.
        asked: What is asked, by option; nothing where none is given.
        options: The other options of the comparison.
    """

    requirements: tuple[Requirement, ...]
    asked: dict[str, Any]
    options: dict[str, Any]

    @classmethod
    def parse(cls, options: dict[str, Any]) -> Gate:
        """Return that of a command's options, of which `what_is_asked` has added some.

        Raises:
            Error: Something is required, and there is nothing to compare by.
        """
        from pgsearch.evaluate.gate import Requirement

        rest = dict(options)
        requirements = tuple(map(Requirement.parse, rest.pop("required")))
        asked = {source: rest.pop(source) for source in SOURCES}
        if requirements and not any(asked.values()):
            raise Error("--require needs something to compare by.", hint=SAY_WHAT)
        return cls(requirements, asked, rest)

    def check(
        self, connection: Connection, index: RegisteredIndex, first: str, second: str, show: int
    ) -> None:
        """Compare two embeddings and print it, if anything is asked; raise unless it is enough."""
        from pgsearch.evaluate.gate import require

        if any(self.asked.values()):
            comparison = run(connection, index, first, second, **self.asked, **self.options)
            tell(comparison, show)
            require(self.requirements, comparison.figures())


def run(
    connection: Connection,
    index: RegisteredIndex,
    first: str,
    second: str,
    *,
    k: int,
    mode: str,
    **sources: Any,
) -> Comparison:
    """Compare two embeddings, with a progress bar."""
    from pgsearch.evaluate.compare import compare

    asked = _asked(connection, index, **sources)
    with console.progress("queries") as display:
        task = display.add_task(f"{index.name}: asking", total=len(asked.queries))
        return compare(
            connection,
            index,
            first,
            second,
            asked,
            k=k,
            mode=mode,
            on_query=lambda: display.advance(task),
        )


def _asked(
    connection: Connection,
    index: RegisteredIndex,
    *,
    queries: Path | None = None,
    judgements: Path | None = None,
    judgements_table: str | None = None,
    logged: int | None = None,
    chosen: int | None = None,
) -> Asked:
    from pgsearch.evaluate.asked import read_folder, read_log, read_queries, read_table

    sources = (queries, judgements, judgements_table, logged, chosen)
    if sum(source is not None for source in sources) != 1:
        raise Error(
            "Several options say what to ask."
            if any(source is not None for source in sources)
            else "It is not said what to ask.",
            hint=SAY_WHAT,
        )
    if logged is not None:
        return read_log(connection, index, logged)
    if chosen is not None:
        return read_log(connection, index, chosen, is_judged=True)
    if queries is not None:
        return read_queries(queries)
    if judgements is not None:
        return read_folder(judgements, index)
    assert judgements_table is not None
    return read_table(connection, judgements_table, index)


def _with_both(indexes: Iterable[RegisteredIndex], first: str, second: str) -> RegisteredIndex:
    """Return the search index that has both embeddings."""
    wanted = {first, second}
    found = [index for index in indexes if wanted <= {each.name for each in index.embeddings}]
    if len(found) == 1:
        return found[0]
    if found:
        raise ObjectMissing(
            f"Several search indexes have the embeddings {first!r} and {second!r}.",
            hint=f"Name one with --index: {', '.join(index.name for index in found)}.",
        )
    raise ObjectMissing(
        f"No search index has both of the embeddings {first!r} and {second!r}.",
        hint="`pgsearch status` shows those that there are.",
    )


def tell(comparison: Comparison, show: int) -> None:
    """Print a comparison: what was measured, and the largest differences to be read."""
    output = console.results()
    one, other = comparison.first, comparison.second
    queries = "1 query" if len(comparison.queries) == 1 else f"{len(comparison.queries):,} queries"
    click.echo(f"{comparison.index}: {queries}, {comparison.mode}, {comparison.k} results of each")
    output.print(_table(comparison), crop=False)
    for side in (one, other):
        graph = "" if side.graph == side.type else f", its HNSW graph of {side.graph}"
        click.echo(f"  {side.name}  {side.type}({side.dimensions}){graph}")
        # A line of its own, for a model in a folder has a long name.
        click.echo(f"    of model {side.model}")
    for number in comparison.unlike[:show]:
        if one.keys(number) == other.keys(number):
            break
        click.echo()
        output.print(_side_by_side(comparison, number))


def _table(comparison: Comparison) -> Table:
    from rich.table import Table

    one, other = comparison.first, comparison.second
    headings = (one.name, other.name, "difference", *(("p",) if comparison.judged else ()))
    table = Table("")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, judged in comparison.judged.items():
        table.add_row(
            name,
            f"{judged.first:.4f}",
            f"{judged.second:.4f}",
            f"{judged.difference:+.4f}",
            "< .001" if judged.p < 0.001 else f"{judged.p:.3f}",
        )
    table.add_row(f"overlap{comparison.k}", "", "", f"{comparison.overlap:.3f}")
    table.add_row("rbo", "", "", f"{comparison.rbo:.3f}")
    for name, first, second in _costs(one, other):
        ratio = f"x {second / first:.2f}" if first and second else ""
        table.add_row(name, _number(first), _number(second), ratio)
    for column in table.columns:
        console.never_cut(column)
    return table


def _costs(one: Side, other: Side) -> Iterator[tuple[str, float | None, float | None]]:
    from statistics import median

    from pgsearch.evaluate.compare import percentile

    yield "query's vector, ms", median(one.encode_ms), median(other.encode_ms)
    for percent in (50, 95):
        yield (
            f"search p{percent}, ms",
            percentile(one.search_ms, percent),
            percentile(other.search_ms, percent),
        )
    yield "GB per million chunks", _gigabytes(one), _gigabytes(other)
    if one.cost_per_million is not None or other.cost_per_million is not None:
        yield "cost per million chunks", one.cost_per_million, other.cost_per_million


def _gigabytes(side: Side) -> float | None:
    return None if side.bytes_per_million is None else side.bytes_per_million / 1e9


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _side_by_side(comparison: Comparison, number: int) -> Table:
    """Return what both found first for a query, beside each other."""
    from rich.table import Table
    from rich.text import Text

    one, other = comparison.first, comparison.second
    table = Table(title=Text(comparison.queries[number]), title_justify="left", expand=True)
    for side in (one, other):
        table.add_column(side.name, ratio=1, overflow="fold")
    lists = [(*side.answers[number][:_SHOWN], *[None] * _SHOWN)[:_SHOWN] for side in (one, other)]
    for pair in zip(*lists, strict=True):
        if any(pair):
            table.add_row(*(Text(_shown(hit)) for hit in pair), end_section=True)
    return table


def _shown(hit: Hit | None) -> str:
    if hit is None:
        return "-"
    passage = " ".join((hit.passage or "").split())
    return f"{', '.join(hit.key)}: {passage[:160]}" + ("…" if len(passage) > 160 else "")


def _print_json(comparison: Comparison) -> None:
    import json
    from dataclasses import asdict

    judged = {
        name: {**each._asdict(), "difference": each.difference}
        for name, each in comparison.judged.items()
    }
    found = asdict(comparison) | {"judged": judged, "figures": comparison.figures()}
    click.echo(json.dumps(found, ensure_ascii=False))
