"""`pgsearch activate`: make an embedding the one that answers, or go back to the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgsearch.cli import compare, console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgsearch.database import Connection
    from pgsearch.registry import RegisteredIndex


@click.command()
@click.argument("index")
@click.argument("embedding")
@compare.what_is_asked
@click.pass_obj
def command(url: str | None, /, index: str, embedding: str, **options: Any) -> None:
    """Make an embedding the one that answers; to go back, activate the other one.

    It takes one short transaction. An embedding that is not ready is refused, and one that is
    compared with the active one, as by `pgsearch compare`, and misses what --require says. Where
    migrations describe the search index, say the same there: active="…" in the declaration.
    """
    from pgsearch import database, registry
    from pgsearch.lifecycle import replace

    gate = compare.Gate.parse(options)
    with database.connect(console.use_database(url), row_security=True) as connection:
        (found,) = registry.read(connection, index)
        if found.active is not None and found.active.name != embedding:
            gate.check(connection, found, found.active.name, embedding, show=3)
        replace.activate(connection, found, embedding)
        (now,) = registry.read(connection, index)
        lost = list(text_lost(connection, found, now))
    for line in [*said(found, now, embedding), *lost]:
        click.echo(line)


def said(before: RegisteredIndex, now: RegisteredIndex, embedding: str) -> Iterator[str]:
    """Yield what an activation has done, and how to go back."""
    if now.active is None or now.active.name != embedding:
        yield f"{now.name}: {embedding} is not ready; it answers as soon as it is."
    elif before.active is None or before.active.name == embedding:
        yield f"{now.name}: {embedding} answers."
    else:
        yield f"{now.name}: {embedding} answers, and no longer {before.active.name}."
        yield f"To go back: pgsearch activate {now.name} {before.active.name}"


def text_lost(
    connection: Connection, before: RegisteredIndex, now: RegisteredIndex
) -> Iterator[str]:
    """Yield what searches by text alone have lost by an activation."""
    from pgsearch.lifecycle.replace import answers_text

    if before.active is None or now.active is None or before.active.name == now.active.name:
        return
    had, has = (answers_text(connection, now, each.name) for each in (before.active, now.active))
    if had and not has:
        yield f"{now.active.name} has no encoder: keywords answer who asks by text alone."
        yield f"To build one: pgsearch distill {now.name} {now.active.name}"
