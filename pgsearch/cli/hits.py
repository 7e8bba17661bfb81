"""How `pgsearch search` prints what was found: for people, or a JSON object per result."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from pgsearch.cli import console

if TYPE_CHECKING:
    from rich.text import Text

    from pgsearch.registry import RegisteredIndex

_UNFILLED = (
    "Rows that were there before the search index are still being read: run `pgsearch sync`."
)

#: Characters of a passage that are shown.
_LENGTH = 160

#: Which terms bring documents to score, by their tier.
_BRINGS = {1: "yes", 2: "if few", None: "no"}


def print_json(rows: list[dict[str, Any]]) -> None:
    """Print one JSON object per result."""
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False, default=str))


def print_table(index: RegisteredIndex, rows: list[dict[str, Any]], *, explain: bool) -> None:
    """Print a table of the results, and one of the query's terms where they are explained."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        click.echo("Nothing found." if index.filled else f"Nothing found. {_UNFILLED}")
        return
    key = [column.name for column in index.definition.key]
    is_explained = "explanation" in rows[0]
    table = Table()
    for name in key:
        # Folded where it is too long: half a key finds nothing.
        table.add_column(Text(name), overflow="fold")
    of_passages = "ordinal" in rows[0]
    headings = ["ordinal"] if of_passages else []
    for heading in (*headings, "score", "keyword", "similarity"):
        table.add_column(heading, justify="right", no_wrap=True)
    if is_explained:
        table.add_column("terms", overflow="fold")
    table.add_column("snippet" if "snippet" in rows[0] else "passage", overflow="fold")
    for row in rows:
        table.add_row(
            *(Text(str(row[name])) for name in key),
            *([_ordinal(row["ordinal"])] if of_passages else ()),
            _number(row["score"]),
            *_legs(row, explain=explain),
            *([_found(row["explanation"])] if is_explained else ()),
            _text(row),
        )
    console.results().print(table)
    if is_explained:
        _print_terms(rows[0]["explanation"]["terms"])


def _print_terms(terms: list[dict[str, Any]]) -> None:
    """Print what the query was read as."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("term", overflow="fold")
    for heading in ("in rows", "idf"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("brings rows", no_wrap=True)
    for term in terms:
        documents = f"{term['documents']:,}"
        table.add_row(Text(term["term"]), documents, _number(term["idf"]), _BRINGS[term["tier"]])
    console.results().print(table)


def _legs(row: dict[str, Any], *, explain: bool) -> list[str]:
    """Return what each leg says of a row, with its place there where it is explained."""
    legs = (("keyword_score", "keyword_rank"), ("similarity", "vector_rank"))
    if not explain:
        return [_number(row[value]) for value, _ in legs]
    return [
        _number(row[value]) + ("" if row[place] is None else f" #{row[place]}")
        for value, place in legs
    ]


def _found(explanation: dict[str, Any]) -> Text:
    """Return the terms that are in a row, with how often each is."""
    from rich.text import Text

    terms = ((term["term"], round(term["frequency"])) for term in explanation["terms"])
    return Text(", ".join(f"{term} {count}" for term, count in terms if count))


def _text(row: dict[str, Any]) -> Text:
    """Return the part of a passage that answers, what was found in bold; or its beginning."""
    from rich.text import Text

    if row.get("snippet") is None:
        passage = " ".join((row["passage"] or "").split())
        return Text(passage[:_LENGTH] + ("…" if len(passage) > _LENGTH else ""))
    parts = re.split("<b>(.*?)</b>", " ".join(row["snippet"].split()))
    # What is between the marks stands at odd places.
    return Text.assemble(*((part, "bold" if n % 2 else "") for n, part in enumerate(parts)))


def _ordinal(value: int | None) -> str:
    return "-" if value is None else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
