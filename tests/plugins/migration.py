"""Operations as a migration runs them, and what a database holds before and after."""

from __future__ import annotations

import io
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic.migration import MigrationContext
from alembic.operations import MigrateOperation, Operations
from sqlalchemy import create_engine, pool

from pgsearch import database as product
from pgsearch import embedded
from tests.plugins.search import catalogue

_REGISTERED = Path(__file__).with_name("registered.sql").read_text().encode()

#: A statement of a script, as psql finds its end.
STATEMENT = re.compile(
    r"""(?: --[^\n]* | \$(\w*)\$ .*? \$\1\$ | E'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*'
    | "(?:[^"]|"")*" | [^;])+;""",
    re.DOTALL | re.VERBOSE,
)

#: A migration's `op`: its operations are put there by a plugin, which type checkers do not see.
Op = Any


@contextmanager
def migration(url: str) -> Iterator[Op]:
    """Yield `op` as a migration has it, in one transaction."""
    engine = create_engine(product.sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.begin() as connection:
        yield Operations(MigrationContext.configure(connection))


def invoke(url: str, operation: MigrateOperation) -> None:
    """Run an operation in an outer transaction, which it does not leave."""
    with migration(url) as op:
        op.invoke(operation)


def migrate(url: str, *operations: MigrateOperation, **options: Any) -> None:
    """Run operations as `alembic upgrade` does: in a transaction of Alembic's own, which is left
    for what locks something.

    Args:
        url: The database.
        *operations: What a migration calls.
        **options: For `context.configure`.
    """
    engine = create_engine(product.sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        with context.begin_transaction():
            for operation in operations:
                Operations(context).invoke(operation)


def contents(url: str) -> tuple[list[Any], list[Any]]:
    """Return a database's objects, and what the registry says of them."""
    with psycopg.connect(url) as connection:
        objects = catalogue(connection)
        if not any(row[:2] == ("schema", "pgsearch") for row in objects):
            return objects, []
        registered = connection.execute(
            "SELECT i.schema_name, i.name, i.definition, e.name, e.state, e.model, e.column_name"
            " FROM pgsearch.search_index AS i"
            " LEFT JOIN pgsearch.embedding AS e ON e.search_index_id = i.id ORDER BY 1, 2, 4"
        ).fetchall()
        return objects, registered


def state(url: str) -> tuple[list[Any], list[Any]]:
    """Return all that a database holds: its objects, and the rows of the registry."""
    with psycopg.connect(url) as connection:
        return state_of(connection)


def state_of(connection: psycopg.Connection[Any]) -> tuple[list[Any], list[Any]]:
    """Return all that a database holds in the eyes of a session."""
    objects = catalogue(connection)
    installed = any(row[:2] == ("schema", "pgsearch") for row in objects)
    return objects, connection.execute(_REGISTERED).fetchall() if installed else []


@contextmanager
def offline_migration() -> Iterator[tuple[Op, io.StringIO]]:
    """Yield `op` as a migration has it under --sql, and what it prints."""
    printed = io.StringIO()
    options = {"as_sql": True, "output_buffer": printed}
    yield Operations(MigrationContext.configure(dialect_name="postgresql", opts=options)), printed


def run_script(url: str, script: str) -> str:
    """Run a script as a DBA does, with psql, which stops at the first error; return its output."""
    command = [str(embedded.psql()), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", url]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


def split(script: str) -> list[str]:
    """Return the statements of a script, each with the comments before it."""
    return [found[0].strip() for found in STATEMENT.finditer(script)]
