"""The command line: what it prints where, and how it ends."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import psycopg
import pytest
from click.testing import CliRunner

from pgsearch import __version__, embedded
from pgsearch.cli import INTERRUPTED, VERBS, Verbs, main
from pgsearch.errors import QueryError


class Failing(Verbs):
    """The command line with a single verb, which raises what it is made with."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("pgsearch")
        self._error = error

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        def fail() -> None:
            raise self._error

        return click.Command(cmd_name, callback=fail)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for the embedded server's data."""
    with tempfile.TemporaryDirectory(prefix="pgsearch-home-") as folder:
        yield Path(folder)
        embedded.stop(Path(folder))


def pgsearch(
    *arguments: str, home: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `pgsearch` as its users do."""
    if home is not None:
        environment["PGSEARCH_HOME"] = str(home)
    return subprocess.run(
        [Path(sys.executable).with_name("pgsearch"), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_command_with_help(verb: str) -> None:
    command = importlib.import_module(f"pgsearch.cli.{verb}").command
    assert isinstance(command, click.Command)
    assert command.help
    done = CliRunner().invoke(main, [verb, "--help"])
    assert done.exit_code == 0
    assert f"{verb} [OPTIONS]" in done.stdout


def test_the_overview_shows_every_verb() -> None:
    shown = pgsearch("--help").stdout
    assert all(verb in shown and said in shown for verb, said in VERBS.items())


def test_its_version() -> None:
    assert pgsearch("--version").stdout == f"pgsearch, version {__version__}\n"


def test_an_unknown_verb() -> None:
    done = pgsearch("find")
    assert done.returncode == 2
    assert "No such command 'find'" in done.stderr


def test_an_error_is_two_lines_and_no_traceback() -> None:
    done = pgsearch("--database", "postgresql://ann:s3cret@127.0.0.1:1/app", "migrate")
    assert done.returncode == 1
    assert done.stdout == ""
    said, error, hint = done.stderr.splitlines()
    assert said == "Using database 'app' on 127.0.0.1:1 as ann."
    assert error.startswith("error: Cannot connect to database 'app' on 127.0.0.1:1 as ann: ")
    assert hint == "hint: Check host and port in the URL, and that the server is running."


def test_an_error_without_a_hint_is_one_line() -> None:
    done = CliRunner().invoke(Failing(QueryError("The query is empty.")), ["search"])
    assert done.exit_code == 1
    assert done.stderr == "error: The query is empty.\n"


def test_ctrl_c_ends_it_with_130() -> None:
    done = CliRunner().invoke(Failing(KeyboardInterrupt()), ["worker"])
    assert done.exit_code == INTERRUPTED == 130
    assert "Traceback" not in done.stderr


def test_a_defect_is_not_hidden() -> None:
    done = CliRunner().invoke(Failing(ZeroDivisionError()), ["worker"])
    assert isinstance(done.exception, ZeroDivisionError)


def test_what_the_database_says_is_one_line(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute("SELECT nothing FROM pg_class")
    done = CliRunner().invoke(Failing(caught.value), ["search"])
    assert done.exit_code == 1
    assert done.stderr == 'error: The database says: column "nothing" does not exist\n'


def test_what_pgsearch_says_in_the_database_is_its_own(connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute("DO $$ BEGIN RAISE 'pgsearch: k is 0' USING HINT = 'Ask for 1.'; END $$")
    done = CliRunner().invoke(Failing(caught.value), ["search"])
    assert done.stderr == "error: k is 0\nhint: Ask for 1.\n"


def test_the_embedded_server_is_started_found_and_stopped(home: Path) -> None:
    assert pgsearch("server", "status", home=home).returncode == 3
    started = pgsearch("server", "start", home=home)
    assert started.returncode == 0
    assert str(home) in started.stderr
    uri = started.stdout.strip()
    with psycopg.connect(uri) as connection:
        assert connection.info.dbname == "pgsearch"
    status = pgsearch("server", "status", home=home)
    assert (status.returncode, status.stdout.strip()) == (0, uri)
    asked = pgsearch("server", "psql", "-At", "-c", "SELECT 6 * 7", home=home)
    assert (asked.returncode, asked.stdout) == (0, "42\n")
    assert pgsearch("server", "stop", home=home).stderr == "Stopped.\n"
    assert pgsearch("server", "stop", home=home).stderr == "It was not running.\n"


def test_without_a_database_it_says_that_it_uses_the_embedded_one(home: Path) -> None:
    done = pgsearch("migrate", home=home)
    assert done.returncode == 0, done.stderr
    assert "DATABASE_URL is not set" in done.stderr
    assert str(home) in done.stderr
    assert done.stdout.splitlines()[0].startswith("0001  ")


def test_migrations_are_applied_once(empty_database: str) -> None:
    first = pgsearch("migrate", "--revision", "0001", DATABASE_URL=empty_database)
    assert [line[:4] for line in first.stdout.splitlines()] == ["0001"]
    rest = pgsearch("migrate", DATABASE_URL=empty_database)
    assert rest.returncode == 0, rest.stderr
    assert rest.stdout.startswith("0002  ")
    again = pgsearch("migrate", DATABASE_URL=empty_database)
    assert again.stdout.startswith("Nothing to apply: the database is at ")


def test_migrations_can_be_printed_without_a_database(home: Path) -> None:
    done = pgsearch("migrate", "--sql", home=home)
    assert done.returncode == 0, done.stderr
    assert "CREATE TABLE document" in done.stdout
    assert done.stdout.rstrip().endswith("COMMIT;")
    assert embedded.running(home) is None


def test_migrations_say_how_to_get_pgvector(server_without_pgvector: str) -> None:
    done = pgsearch("migrate", DATABASE_URL=server_without_pgvector)
    assert done.returncode == 1
    assert "error: the extension pgvector is not available on this server" in done.stderr
    assert "-pgvector" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_revision_that_does_not_exist(empty_database: str) -> None:
    done = pgsearch("migrate", "--revision", "nowhere", DATABASE_URL=empty_database)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: Alembic says: ")


@pytest.mark.parametrize(
    "wrong",
    [
        ("sync", "--rate", "0"),
        ("sync", "--rate", "inf"),
        ("sync", "--batch", "0"),
        ("sync", "--batch", "-1"),
        ("sync", "--max-seconds", "-1"),
        ("worker", "--rate", "nan"),
        ("worker", "--share", "0"),
        ("upgrade", "--share", "110%"),
        ("worker", "--batch", "0"),
        ("worker", "--poll", "-1"),
        ("worker", "--poll", "0"),
        ("reconcile", "--rate", "inf"),
    ],
    ids=" ".join,
)
def test_a_number_that_cannot_work_is_refused(wrong: tuple[str, str, str]) -> None:
    done = CliRunner().invoke(main, ["--database", "postgresql://127.0.0.1:1/app", *wrong])
    assert done.exit_code == 2
    assert f"Invalid value for '{wrong[1]}'" in done.stderr
