"""`pgsearch retry`: let rows that are parked be tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from pgsearch.cli import console

#: So many kinds of errors are told apart, the commonest ones.
_KINDS: Final = 5

if TYPE_CHECKING:
    from pgsearch.sync.parked import Retried


@click.command()
@click.argument("indexes", nargs=-1, metavar="[INDEX]...")
@click.option(
    "--key",
    "keys",
    multiple=True,
    help="Only this row of the one INDEX; a key of several columns as a JSON array. "
    "May be given several times.",
)
@click.pass_obj
def command(url: str | None, indexes: tuple[str, ...], keys: tuple[str, ...]) -> None:
    """Let rows that are parked be tried again; a worker, or `pgsearch sync`, does the rest.

    Without an INDEX, those of all search indexes.
    """
    from pgsearch.sync.parked import retry

    if keys and len(indexes) != 1:
        raise click.UsageError("--key needs the one INDEX to which the row belongs.")
    given = [_key(key) for key in keys] if keys else None
    for retried in retry(console.use_database(url), *indexes, keys=given):
        click.echo("\n".join(_lines(retried)))


def _key(written: str) -> tuple[str, ...]:
    """Return a key as the database reads it: of one column as it is written, else from JSON."""
    import json

    try:
        values = json.loads(written)
    except ValueError:
        values = None
    if not isinstance(values, list):
        return (written,)
    return tuple(value if isinstance(value, str) else json.dumps(value) for value in values)


def _lines(retried: Retried) -> list[str]:
    if not retried.rows:
        return [f"{retried.search_index}: nothing was parked"]
    rows = "1 row is" if retried.rows == 1 else f"{retried.rows:,} rows are"
    lines = [f"{retried.search_index}: {rows} due again"]
    # What is said in full, as by an endpoint, may be a page.
    for error, count in retried.errors[:_KINDS]:
        first, *_ = error.split("\n", 1)
        lines.append(f"  {count:>7,}  {first}")
    if others := retried.errors[_KINDS:]:
        rest = sum(count for _, count in others)
        lines.append(f"  {rest:>7,}  with {len(others):,} other errors")
    return lines
