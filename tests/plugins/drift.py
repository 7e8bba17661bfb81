"""Looking for drift, and mending it as the doctor says."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa

from pgsearch.alembic.mend import mends
from pgsearch.alembic.render import code
from pgsearch.database import sqlalchemy_url
from pgsearch.drift import Inspection, inspect
from pgsearch.sync import Worker
from tests.plugins.autogenerate import Project
from tests.plugins.postgres import Databases


@pytest.fixture(scope="session")
def ready_template(databases: Databases, articles_template: str) -> Iterator[str]:
    """Name of a copy of the template `articles` with an article and an active embedding."""
    with databases.fresh(articles_template) as url:
        damage(url, "INSERT INTO article (title, body) VALUES ('one', 'two')")
        Worker(url).drain()
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def ready(databases: Databases, ready_template: str) -> Iterator[str]:
    """URL of a fresh database with a search index that works."""
    with databases.fresh(ready_template) as url:
        yield url


def damage(url: str, *statements: str) -> None:
    """Change a database behind the back of pgsearch."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def look(url: str, *names: str) -> Inspection:
    """Inspect the search indexes of a database, by a connection that may not write."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = on")
        return inspect(lambda query: connection.execute(query.encode()).fetchall(), *names)


def seen(url: str) -> list[str]:
    """Return what is wrong, as people read it."""
    return [str(finding) for finding in look(url).findings]


def mend(url: str) -> list[str]:
    """Run the operations that mend what is wrong; return their names."""
    written = code(*mends(look(url).findings))
    run(url, written)
    lines = (line.partition("(")[0] for line in written.splitlines())
    return [line.removeprefix("op.") for line in lines if line.startswith("op.")]


def run(url: str, migration: str) -> None:
    """Run the text of a migration."""
    engine = sa.create_engine(sqlalchemy_url(url), poolclass=sa.pool.NullPool)
    with engine.connect() as connection:
        Project(connection).run(migration)
