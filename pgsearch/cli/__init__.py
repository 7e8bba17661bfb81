"""The command line: `pgsearch`, with one file per verb.

A verb `sync` is the click command called `command` in `pgsearch.cli.sync`. It is
imported when it is run, so that `pgsearch --help` needs nothing but click.
"""

from __future__ import annotations

import importlib
import sys

import click

from pgsearch import __version__
from pgsearch.errors import Error

#: Every verb and what the overview says of it.
VERBS = {
    "activate": "Make an embedding the one that answers, or go back.",
    "advise": "Measure what a smaller embedding would cost and give.",
    "canary": "Let a candidate answer a share of the queries.",
    "compare": "Ask two embeddings the same queries, and judge them.",
    "demo": "Show it all on the documentation of Python's standard library.",
    "distill": "Build the encoder that makes vectors of queries in SQL.",
    "doctor": "Look for damage, and print the operations that mend it.",
    "init": "Prepare a project's Alembic environment; show the diff first.",
    "migrate": "Bring the database to a revision of the migrations.",
    "reconcile": "Find and mend what no trigger saw.",
    "retry": "Let rows on which the model failed be tried again.",
    "search": "Ask a search index.",
    "server": "Start, stop and look at the PostgreSQL that comes along.",
    "status": "Show the state of search indexes, embeddings and queues.",
    "sync": "Embed what waits, and return.",
    "upgrade": "Replace a model: add, fill, compare, ask, activate.",
    "worker": "Embed what changes, until stopped.",
}

#: Exit status after Ctrl-C, as shells have it: 128 + SIGINT.
INTERRUPTED = 130


class Failure(click.ClickException):
    """An error that is shown as `error:` and `hint:` lines on standard error; exit status 1."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: object = None) -> None:  # noqa: ARG002
        """Print the error and its hint on standard error."""
        click.echo(click.style("error: ", fg="red") + self.message, err=True)
        if self.hint:
            click.echo(click.style("hint: ", fg="cyan") + self.hint, err=True)


class Verbs(click.Group):
    """A group that imports a command when it is run and shows errors without a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all verbs."""
        return list(VERBS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return a verb's command; None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"pgsearch.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the overview, without an import of any verb."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> object:
        """Run a verb; what it raises on purpose becomes a Failure."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            failure = explain(error)
            if failure is None:
                raise
            raise failure from error


def explain(error: Exception) -> Failure | None:
    """Return how an error is shown to a user, or None if it is a defect of pgsearch's own.

    Errors of psycopg, also those that SQLAlchemy wraps, and Alembic's refusals become
    one line. None of these packages is imported for it.
    """
    if isinstance(error, Error):
        return Failure(error.message, error.hint)
    original = getattr(error, "orig", None) or error
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(original, psycopg.Error):
        said = original.diag.message_primary or " ".join(str(original).split())
        hint = original.diag.message_hint or original.diag.message_detail
        # What pgsearch's own SQL raises says so.
        own = said.removeprefix("pgsearch: ")
        return Failure(own if own != said else f"The database says: {said}", hint)
    alembic = sys.modules.get("alembic.util")
    if alembic is not None and isinstance(error, alembic.CommandError):
        return Failure(f"Alembic says: {' '.join(str(error).split())}")
    return None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgsearch")
@click.option(
    "--database",
    metavar="URL",
    envvar="DATABASE_URL",
    show_envvar=True,
    help="The database, as in postgresql://user@host/name. "
    "Without one, the PostgreSQL that comes along is started and used.",
)
@click.pass_context
def main(context: click.Context, database: str | None) -> None:
    """Meaning-aware search inside the PostgreSQL that you already run."""
    context.obj = database
