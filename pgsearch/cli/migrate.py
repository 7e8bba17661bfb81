"""`pgsearch migrate`: the standalone migrations, run without an alembic.ini."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import click

from pgsearch import database, resources
from pgsearch.cli import console
from pgsearch.errors import Error

if TYPE_CHECKING:
    from alembic.config import Config


@click.command()
@click.option("--revision", default="head", show_default=True, help="How far to go.")
@click.option("--sql", is_flag=True, help="Print the SQL; touch no database.")
@click.pass_obj
def command(url: str | None, revision: str, sql: bool) -> None:
    """Bring the database to a revision of the migrations.

    These are pgsearch's own migrations, which make the table `document` and its search
    index. An application runs its own, with `alembic upgrade`.
    """
    from alembic import command as alembic

    if sql:
        # The SQL is the same for every database; the URL only says that it is PostgreSQL.
        alembic.upgrade(configuration(url or "postgresql://"), revision, sql=True)
        return
    uri = console.use_database(url)
    config = configuration(uri)
    before = current_revisions(uri)
    try:
        alembic.upgrade(config, revision)
    except BaseException:
        with suppress(Error):
            _report(config, before, current_revisions(uri))
        raise
    _report(config, before, current_revisions(uri))


def configuration(url: str) -> Config:
    """Return Alembic's configuration of the standalone migrations for a database.

    Args:
        url: The database; env.py reads it from `config.attributes["url"]`.
    """
    from alembic.config import Config

    config = Config()
    # ConfigParser reads % as the start of an interpolation.
    folder = str(resources.migrations()).replace("%", "%%")
    config.set_main_option("script_location", folder)
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = url
    return config


def current_revisions(url: str) -> tuple[str, ...]:
    """Return the revisions that a database is at; none before the first migration.

    Raises:
        ConnectionFailed: The database cannot be reached.
    """
    with database.connect(url, row_security=True) as connection:
        if connection.execute("SELECT to_regclass('alembic_version')").fetchone() == (None,):
            return ()
        rows = connection.execute("SELECT version_num FROM alembic_version ORDER BY 1")
        return tuple(row[0] for row in rows)


def applied(
    config: Config, before: tuple[str, ...], after: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Return the revisions between two states of a database with their titles, oldest first."""
    from alembic.script import ScriptDirectory

    revisions = ScriptDirectory.from_config(config).iterate_revisions(after, before)
    return [(revision.revision, revision.doc) for revision in revisions][::-1]


def _report(config: Config, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Print the revisions that were applied, oldest first."""
    found = applied(config, before, after)
    for revision, title in found:
        click.echo(f"{click.style(revision, bold=True)}  {title}")
    if not found:
        click.echo(f"Nothing to apply: the database is at {', '.join(after) or 'no revision'}.")
