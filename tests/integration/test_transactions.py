"""The same migrations in whatever transactions they run: Alembic's own, an outer one, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pgsearch.database import sqlalchemy_url
from tests.plugins.history import ASYNC_ENVIRONMENT, ENVIRONMENT, History, Revision
from tests.plugins.migration import state, state_of
from tests.plugins.postgres import Databases
from tests.plugins.shapes import PLAIN, SHAPES, revisions

#: All that the migrations do, before the last ones take it away.
MADE = [*revisions(PLAIN)].index("reindex companions") + 1

Reference = Callable[[str], tuple[Any, Any]]


@pytest.fixture(scope="module")
def reference(
    databases: Databases, vector_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Reference:
    """What a shape's migrations leave behind, up and down, each in its own transactions."""
    known: dict[str, tuple[Any, Any]] = {}

    def of(shape: str) -> tuple[Any, Any]:
        if shape not in known:
            folder = tmp_path_factory.mktemp("reference") / "migrations"
            with databases.fresh(vector_template) as url:
                known[shape] = there_and_back(History(folder, made(shape)), url)
        return known[shape]

    return of


def made(shape: str) -> list[Revision]:
    return [*revisions(SHAPES[shape]).values()]


def there_and_back(history: History, url: str) -> tuple[Any, Any]:
    """Run all migrations and undo them; return what was there in between and at the end."""
    history.upgrade(url, str(MADE))
    there = state(url)
    history.upgrade(url, "head")
    history.downgrade(url, "1")
    return there, state(url)


@pytest.mark.parametrize("shape", SHAPES)
def test_asyncpg(database: str, tmp_path: Path, reference: Reference, shape: str) -> None:
    """It knows neither two commands in one statement nor the parameters of psycopg."""
    history = History(tmp_path / "migrations", made(shape), ASYNC_ENVIRONMENT)
    assert there_and_back(history, database) == reference(shape)


def test_one_transaction_for_all_migrations(
    database: str, tmp_path: Path, reference: Reference
) -> None:
    history = History(tmp_path / "migrations", made("plain"), transaction_per_migration=False)
    assert there_and_back(history, database) == reference("plain")


def test_an_engine_without_transactions(
    database: str, tmp_path: Path, reference: Reference
) -> None:
    environment = ENVIRONMENT.replace("poolclass=", "isolation_level='AUTOCOMMIT', poolclass=")
    assert environment != ENVIRONMENT
    history = History(tmp_path / "migrations", made("plain"), environment)
    assert there_and_back(history, database) == reference("plain")


def test_an_autocommit_block_of_the_applications_own(
    database: str, tmp_path: Path, reference: Reference
) -> None:
    def apart(code: str) -> str:
        return "with op.get_context().autocommit_block():\n    " + code.replace("\n", "\n    ")

    wrapped = [Revision(*map(apart, revision)) for revision in made("plain")]
    history = History(tmp_path / "migrations", wrapped)
    assert there_and_back(history, database) == reference("plain")


@pytest.fixture
def connection(database: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(sqlalchemy_url(database))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outer_transaction_is_not_left(
    connection: sa.Connection, database: str, tmp_path: Path, reference: Reference, shape: str
) -> None:
    """As in a test that rolls back all that it did."""
    before = state(database)
    history = History(tmp_path / "migrations", made(shape))
    with connection.begin() as transaction:
        number = connection.scalar(sa.text("SELECT pg_current_xact_id()::text"))
        history.upgrade("", str(MADE), connection=connection)
        driver: Any = connection.connection.driver_connection
        assert state_of(driver) == reference(shape)[0]
        history.upgrade("", "head", connection=connection)
        history.downgrade("", "1", connection=connection)
        assert state_of(driver) == reference(shape)[1]
        assert connection.scalar(sa.text("SELECT pg_current_xact_id()::text")) == number
        assert state(database) == before
        transaction.rollback()
    assert state(database) == before


@pytest.mark.parametrize("is_outer", [False, True], ids=["own", "outer"])
def test_the_sessions_own_lock_timeout_stays(
    connection: sa.Connection, tmp_path: Path, is_outer: bool
) -> None:
    kept = "DO $$ BEGIN ASSERT current_setting('lock_timeout') = '7s'; END $$"
    parts = [revision.upgrade for revision in made("plain")]
    checked = [Revision(f"{part}\nop.execute({kept!r})") for part in parts]
    history = History(tmp_path / "migrations", checked)
    connection.execute(sa.text("SET lock_timeout = '7s'"))
    if not is_outer:
        connection.commit()
    history.upgrade("", "head", connection=connection)
    assert connection.in_transaction() == is_outer
    assert connection.scalar(sa.text("SHOW lock_timeout")) == "7s"
