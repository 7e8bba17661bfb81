"""`pgsearch search`: ask a search index."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any

import click

from pgsearch.cli import console
from pgsearch.errors import QueryError

#: What is an option and no query such as `-storm`, although both start with a minus.
_OPTION = re.compile(r"--.*|-h|-k\d*")


class Asking(click.Command):
    """A command whose arguments may start with a minus, as words to leave out do."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the command line after moving such arguments behind a `--`."""
        valued = {
            name
            for option in self.params
            if isinstance(option, click.Option) and not option.is_flag
            for name in option.opts
        }
        return super().parse_args(ctx, _arguments_last(args, valued))


def _arguments_last(given: list[str], valued: set[str]) -> list[str]:
    """Return a command line with what only looks like an option behind a `--`.

    Args:
        given: The command line.
        valued: Options behind which there comes a value.
    """
    first: list[str] = []
    last: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":
            last += rest
        elif argument.startswith("-") and not _OPTION.fullmatch(argument):
            last.append(argument)
        else:
            value = islice(rest, 1) if argument in valued else ()
            first += [argument, *value]
    return [*first, "--", *last] if last else first


@click.command(cls=Asking)
@click.argument("index")
@click.argument("query", required=False)
@click.option("-k", default=10, show_default=True, help="How many results.")
@click.option("--skip", default=0, help="Results to leave out before them, for pages.")
@click.option(
    "--mode",
    type=click.Choice(["hybrid", "keyword", "vector"]),
    default="hybrid",
    show_default=True,
    help="Which legs answer.",
)
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only rows for which a declared filter holds, as in tenant_id=7 or price_max=20.",
)
@click.option(
    "--similar-to",
    "like",
    multiple=True,
    metavar="KEY",
    help="Instead of a query: rows like this one. Of several columns, a JSON array.",
)
@click.option("--embedding", metavar="NAME", help="What answers, if not the active one.")
@click.option("--language", help="The query's, where rows have a language of their own.")
@click.option("--ef-search", type=int, help="Candidates of the HNSW scan.")
@click.option("--fusion", type=click.Choice(["exact", "rrf"]), help="How legs become one score.")
@click.option("--keyword-weight", type=float, help="What keywords count in it.")
@click.option("--passages", is_flag=True, help="The best passages instead of the best rows.")
@click.option("--per-document", type=int, help="How many of them of one row at most.")
@click.option("--snippets", is_flag=True, help="The part of each passage that answers.")
@click.option("--explain", is_flag=True, help="The place in each leg, and the query's terms.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per result.")
@click.pass_obj
def command(
    url: str | None,
    /,
    index: str,
    query: str | None,
    like: tuple[str, ...],
    mode: str,
    as_json: bool,
    language: str | None,
    ef_search: int | None,
    fusion: str | None,
    keyword_weight: float | None,
    passages: bool,
    per_document: int | None,
    **asked: Any,
) -> None:
    """Ask a search index; the model of its active embedding reads the query.

    Example: pgsearch search document_search "how do I read a file line by line"

    A word with a minus is left out, as in "python -snake". A query that starts with two
    minus signs goes behind a lone `--`.
    """
    from pgsearch import database, registry
    from pgsearch.cli import hits
    from pgsearch.cli.question import Question

    _check(query, like, mode)
    _check_passages(like, per_document, passages=passages)
    question = Question(
        query=query,
        like=like,
        # There is no text for keywords to answer.
        mode="vector" if like else mode,
        options={
            "query_language": language,
            "ef_search": ef_search,
            "fusion": fusion,
            "keyword_weight": keyword_weight,
            "per_document": per_document,
        },
        passages=passages,
        **asked,
    )
    with database.connect(console.use_database(url), row_security=True) as connection:
        (found_in,) = registry.read(connection, index)
        rows = question.ask(connection, found_in)
    if as_json:
        hits.print_json(rows)
    else:
        hits.print_table(found_in, rows, explain=question.explain)


def _check(query: str | None, like: tuple[str, ...], mode: str) -> None:
    """Raise unless there is either a query or examples."""
    if query is None and not like:
        raise click.UsageError("Missing argument 'QUERY', or --similar-to.")
    if like and query is not None:
        raise click.UsageError("There is a query and --similar-to: ask for one of them.")
    if like and mode == "keyword":
        raise click.UsageError("--similar-to compares vectors: leave --mode out.")
    if query is not None and not query.strip():
        raise QueryError("The query is empty.", hint="Pass at least one word.")


def _check_passages(like: tuple[str, ...], per_document: int | None, *, passages: bool) -> None:
    """Raise unless passages can be asked for so."""
    if like and passages:
        raise click.UsageError("--similar-to finds rows: leave --passages out.")
    if per_document is not None and not passages:
        raise click.UsageError("--per-document limits passages: add --passages.")
