"""`pgsearch search`: ask a search index."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from pgsearch.cli import console
from pgsearch.errors import LifecycleError, QueryError

if TYPE_CHECKING:
    from pgsearch.database import Connection
    from pgsearch.registry import RegisteredIndex


#: What is an option and no query such as `-storm`, although both start with a minus.
_OPTION = re.compile(r"--.*|-h|-k\d*")

_UNFILLED = (
    "Rows that were there before the search index are still being read: run `pgsearch sync`."
)


class Asking(click.Command):
    """A command whose arguments may start with a minus, as words to leave out do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line after moving such arguments behind a `--`."""
        return super().parse_args(ctx, _arguments_last(args))


def _arguments_last(given: list[str]) -> list[str]:
    """Return a command line with what only looks like an option behind a `--`."""
    first: list[str] = []
    last: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":
            last += rest
        elif argument.startswith("-") and not _OPTION.fullmatch(argument):
            last.append(argument)
        else:
            value = islice(rest, 1) if argument in ("-k", "--mode") else ()
            first += [argument, *value]
    return [*first, "--", *last] if last else first


@click.command(cls=Asking)
@click.argument("index")
@click.argument("query")
@click.option("-k", default=10, show_default=True, help="How many results.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "keyword", "vector"]),
    default="hybrid",
    show_default=True,
    help="Which legs answer.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per result.")
@click.pass_obj
def command(url: str | None, index: str, query: str, k: int, mode: str, as_json: bool) -> None:
    """Ask a search index; the model of its active embedding reads the query.

    Example: pgsearch search document_search "how do I read a file line by line"

    A word with a minus is left out, as in "python -snake". A query that starts with two
    minus signs goes behind a lone `--`.
    """
    from pgsearch import database, registry

    if not query.strip():
        raise QueryError("The query is empty.", hint="Pass at least one word.")
    with database.connect(console.use_database(url), row_security=True) as connection:
        (asked,) = registry.read(connection, index)
        if mode == "vector" and asked.active is None:
            raise LifecycleError(
                f"No embedding of search index {asked.name!r} is active yet.",
                hint="Run `pgsearch sync`; until then, keywords answer.",
            )
        vector = None if mode == "keyword" else _vector(asked, query)
        rows = _ask(connection, asked, (query, k, vector, mode))
    if as_json:
        _print_json(rows)
    else:
        _print_table(asked, rows)


def _vector(index: RegisteredIndex, query: str) -> str | None:
    """Return the query's vector as text; None while no embedding is active."""
    from pgsearch import models

    if index.active is None:
        return None
    return models.load(index.active.model).embed_queries([query])[0].to_text()


def _ask(
    connection: Connection, index: RegisteredIndex, request: tuple[object, ...]
) -> list[dict[str, Any]]:
    from psycopg.rows import dict_row
    from psycopg.sql import SQL, Identifier

    function = Identifier(index.definition.schema, index.definition.names.search)
    statement = SQL("SELECT * FROM {}(%s, k => %s, vector => %s::vector, mode => %s)")
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(statement.format(function), request).fetchall()


def _print_json(rows: list[dict[str, Any]]) -> None:
    import json

    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False, default=str))


def _print_table(index: RegisteredIndex, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo("Nothing found." if index.filled else f"Nothing found. {_UNFILLED}")
        return
    key = [column.name for column in index.definition.key]
    table = Table()
    for name in key:
        # Folded where it is too long: half a key finds nothing.
        table.add_column(Text(name), overflow="fold")
    for heading in ("score", "keyword", "similarity"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("passage", overflow="fold")
    for row in rows:
        passage = " ".join((row["passage"] or "").split())
        table.add_row(
            *(Text(str(row[name])) for name in key),
            *(_number(row[name]) for name in ("score", "keyword_score", "similarity")),
            Text(passage[:160] + ("…" if len(passage) > 160 else "")),
        )
    console.results().print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
