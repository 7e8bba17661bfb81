"""`pgsearch init`: what an existing project needs, as a diff; written when it is agreed to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgsearch.errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsearch.project.change import Change
    from pgsearch.project.configuration import Configuration
    from pgsearch.project.declaration import Wanted
    from pgsearch.project.plan import ProjectPlan

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}

_HOW_TO = """\
To put search on a table, declare a search index beside its model, in a module that env.py imports:

    from pgsearch import SearchIndex

    article_search = SearchIndex(
        "article_search",
        Article.__table__,
        text={"title": "A", "body": "B"},
    )

or let this be written, with a model for meaning if there is to be one:

    pgsearch init --table article --text title:A --text body:B \\
      --model sentence-transformers/all-MiniLM-L6-v2 \\
      --revision c9745ed1d9f207416be6d2e6f8de32d1f16199bf --dimensions 384
"""


@click.command()
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(path_type=Path),
    envvar="ALEMBIC_CONFIG",
    show_envvar=True,
    help="The alembic.ini or pyproject.toml; found if it is here, or below.",
)
@click.option("--name", metavar="NAME", help="Which environment or database, if it has several.")
@click.option("--table", metavar="TABLE", help="Declare a search index on this table.")
@click.option("--text", multiple=True, metavar="COLUMN:WEIGHT", help="What is searched; A to D.")
@click.option("--model", metavar="NAME", help="A model on the Hugging Face hub, or a folder.")
@click.option("--revision", metavar="COMMIT", help="The hub's commit of the model.")
@click.option("--dimensions", type=int, help="The length of the model's vectors.")
@click.option(
    "--module",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Where to declare it; search.py beside the models if left out.",
)
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--diff", "only_show", is_flag=True, help="Show the diff and write nothing.")
def command(
    config: Path | None,
    name: str | None,
    module: Path | None,
    yes: bool,
    only_show: bool,
    **options: Any,
) -> None:
    """Prepare a project's Alembic environment; show the diff first.

    Adds what pgsearch needs to env.py and, with --table, a module that declares a search
    index. What is there stays as it is; where it cannot be added to, it says what to do.
    """
    from pgsearch.project import change, configuration, plan

    wanted = _wanted(**options)
    if wanted is None and module is not None:
        raise click.UsageError("--module says where to declare a search index: name its --table.")
    root = Path.cwd()
    found = configuration.find(root, config, name)
    click.echo(f"Found {_shown(found.env, root)}{_others(found)}.", err=True)
    made = plan.plan(found, wanted, file=module, database=name if name in found.databases else None)
    _show(made.changes, root)
    _say(made)
    if not made.changes:
        click.echo("Nothing to do." if not made.by_hand else "Nothing to write.", err=True)
    elif not only_show:
        _agree(yes)
        change.write(made.changes)
        for each in made.changes:
            click.echo(f"Wrote {_shown(each.path, root)}.", err=True)
    if wanted is None:
        click.echo(f"\n{_HOW_TO}", err=True, nl=False)
    elif not only_show:
        click.echo(_next_steps(found, made, wanted, root), err=True)


def _wanted(
    table: str | None,
    text: Sequence[str],
    model: str | None,
    revision: str | None,
    dimensions: int | None,
) -> Wanted | None:
    """Return the search index that the options describe, if they name a table."""
    from pgsearch.project.declaration import Wanted

    if table is None:
        if text or model:
            raise click.UsageError(
                "--text and --model say how to search a table: name its --table."
            )
        return None
    weights = {}
    for each in text:
        column, _, weight = each.rpartition(":")
        if not column:
            raise click.UsageError(f"--text {each} has no weight: write {each}:A.")
        weights[column] = weight
    if model is None:
        if revision or dimensions:
            raise click.UsageError("--revision and --dimensions are a model's: name its --model.")
        return Wanted(table, weights)
    if dimensions is None:
        raise click.UsageError("--model needs --dimensions, the length of its vectors.")
    pinned = {"revision": revision} if revision else {}
    return Wanted(table, weights, {"name": model, **pinned, "dimensions": dimensions})


def _others(found: Configuration) -> str:
    if not found.other_sections:
        return ""
    return f" of section [{found.section}]; with --name, also {', '.join(found.other_sections)}"


def _show(changes: Sequence[Change], root: Path) -> None:
    """Print diffs on standard output, where `git apply` can have them."""
    for change in changes:
        for line in change.diff(root):
            colour = _COLOURS.get(line[:1])
            bold = line.startswith(("+++", "---"))
            click.echo(click.style(line, None if bold else colour, bold=bold or None), nl=False)


def _say(made: ProjectPlan) -> None:
    for sentence in made.by_hand:
        click.echo(click.style("by hand: ", fg="yellow") + sentence, err=True)
    for sentence in made.remarks:
        click.echo(click.style("note: ", fg="cyan") + sentence, err=True)


def _agree(yes: bool) -> None:
    """Return if the changes are agreed to."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Error(
            "Nothing was written: there is no terminal to ask on.",
            hint="Run it with --yes to write this, or with --diff only to see it.",
        )
    if not click.confirm("Write this?", err=True):
        raise Error("Nothing was written.")


def _next_steps(found: Configuration, made: ProjectPlan, wanted: Wanted, root: Path) -> str:
    steps = [
        f'alembic {found.options}revision --autogenerate -m "search on {wanted.table}"',
        f"alembic {found.options}upgrade head",
        "pgsearch --database postgresql://… sync",
    ]
    if found.directory != root:
        steps.insert(0, f"cd {_shown(found.directory, root)}")
    lines = ["", "Next:", *(f"  {step}" for step in steps)]
    if made.module is not None:
        lines.append(f"For pgsearch.search(), the application imports {made.module} too.")
    return "\n".join(lines)


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)
