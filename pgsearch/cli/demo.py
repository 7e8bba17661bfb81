"""`pgsearch demo`: the whole of it, on text that every Python carries."""

from __future__ import annotations

import click


@click.command()
@click.pass_obj
def command(url: str | None) -> None:
    """Show it all on the documentation of Python's standard library.

    Migrates, loads some thousand rows into the table `document`, embeds them, asks
    questions, changes rows and asks again. A table `document` that holds rows of
    anyone else is left as it is. Run again, it finds its work done.
    """
    from pgsearch.demo.run import run

    run(url)
