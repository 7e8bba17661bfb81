"""`pgsearch server`: the PostgreSQL that comes along when no database is named."""

from __future__ import annotations

import os
import subprocess

import click

from pgsearch import embedded

#: Exit status of `server status` when it does not run, as pg_ctl has it.
NOT_RUNNING = 3


@click.group()
def command() -> None:
    """Start, stop and look at the PostgreSQL that comes along.

    It is used when neither --database nor DATABASE_URL names a database. It listens on
    a Unix socket only, and keeps running until it is stopped here.
    """


@command.command()
def start() -> None:
    """Start it unless it runs, and print its URI."""
    server = embedded.start()
    click.echo(
        f"PostgreSQL {server.version} runs; its data lies in {embedded.data_folder()}.", err=True
    )
    click.echo(server.uri)


@command.command()
def stop() -> None:
    """Stop it; its data stays."""
    stopped = embedded.stop()
    click.echo("Stopped." if stopped else "It was not running.", err=True)


@command.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Print its URI if it runs; exit with status 3 if it does not."""
    server = embedded.running()
    if server is None:
        click.echo(f"Not running; its data lies in {embedded.data_folder()}.", err=True)
        context.exit(NOT_RUNNING)
    click.echo(
        f"PostgreSQL {server.version} runs; its data lies in {embedded.data_folder()}.", err=True
    )
    click.echo(server.uri)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def psql(context: click.Context, arguments: tuple[str, ...]) -> None:
    """Open psql on it; ARGUMENTS go to psql, as in `-c "SELECT 1"`."""
    program = str(embedded.psql())
    server = embedded.start()
    if os.isatty(0):
        # psql then owns the terminal, Ctrl-C included.
        os.execv(program, [program, server.uri, *arguments])  # noqa: S606
    context.exit(subprocess.run([program, server.uri, *arguments]).returncode)  # noqa: S603
