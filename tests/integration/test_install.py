"""The schema `pgsearch`, by version: from nothing, from every version before, at once and twice."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from pgsearch import resources
from pgsearch.alembic.operations import InstallOp
from pgsearch.schema.install import VERSION
from tests.plugins.migration import migrate
from tests.plugins.postgres import Databases
from tests.plugins.search import catalogue

#: What each released version consists of.
RELEASED = {
    1: "82cc41baef065d786decdd9a22117952a801d7b47cb8d582f4463fb650fe0eb4",
    2: "b27879ce55995941372ff5e131781bd16651e939a3eeb218138f79c298b425f6",
}

#: A search index with two embeddings, one of which answers, as version 1 registered it.
REGISTERED = """
INSERT INTO pgsearch.search_index
  (schema_name, name, table_name, definition, fill_key, filled_at, document_count, mean_length)
VALUES ('public', 'article_search', 'article', '{"name": "it"}', '{"id": 9}', now(), 9, 2.5);
INSERT INTO pgsearch.embedding
  (search_index_id, name, column_name, index_name, model, dimensions, m, ef_construction, state)
VALUES
  (1, 'first', 'embedding_first', 'first_hnsw', '{"name": "hash"}', 64, 16, 64, 'active'),
  (1, 'second', 'embedding_second', 'second_hnsw', '{"name": "hash"}', 32, 8, 32, 'ready');
INSERT INTO pgsearch.event (search_index_id, embedding, kind) VALUES (1, 'first', 'activated');
"""

TABLES = ("search_index", "embedding", "event")


def execute(url: str, *statements: str) -> list[Any]:
    """Execute statements one after the other, each at once; return the last one's rows."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def versions(url: str) -> list[int]:
    return [row[0] for row in execute(url, "SELECT version FROM pgsearch.installation ORDER BY 1")]


def objects(url: str) -> list[Any]:
    with psycopg.connect(url) as connection:
        return catalogue(connection)


def rows(url: str) -> dict[str, list[dict[str, Any]]]:
    """Return what the registry says, without what a version has added to it."""
    found = {}
    for table in TABLES:
        entries = execute(url, f"SELECT to_jsonb(t) FROM pgsearch.{table} AS t ORDER BY id")
        found[table] = [row[0] for row in entries]
    return found


def replay(url: str, version: int) -> None:
    """Bring an empty database to a version as it was released, with nothing of a later one."""
    files = [resources.sql(f"install/v{number}.sql") for number in range(1, version + 1)]
    execute(url, "CREATE EXTENSION IF NOT EXISTS vector", *files)


@contextmanager
def reader(url: str, hold: Callable[[], None]) -> Iterator[None]:
    """Hold the locks of a search, as a long transaction does, until `hold` returns."""
    with psycopg.connect(url) as connection, ThreadPoolExecutor(1) as thread:
        connection.execute("SELECT FROM pgsearch.embedding JOIN pgsearch.search_index ON true")

        def let_go() -> None:
            hold()
            connection.rollback()

        held = thread.submit(let_go)
        yield
        held.result()


def until_all_wait(url: str, sessions: int) -> Callable[[], None]:
    def hold() -> None:
        time.sleep(0.6)  # by then their patience is long enough to see the first one through
        waiting = (
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database AS d ON d.oid = database"
            " WHERE NOT granted AND datname = current_database()"
        )
        while execute(url, waiting) != [(sessions,)]:
            time.sleep(0.005)

    return hold


@pytest.fixture
def url(databases: Databases, vector_template: str) -> Iterator[str]:
    with databases.fresh(vector_template) as url:
        yield url


def test_no_released_version_is_edited() -> None:
    for number in range(1, VERSION):
        assert number in RELEASED, f"version {VERSION} makes v{number}.sql a released one"
    for number, digest in RELEASED.items():
        found = hashlib.sha256(resources.sql(f"install/v{number}.sql").encode()).hexdigest()
        assert found == digest, (
            f"sql/install/v{number}.sql is released and is in databases that will not run it "
            f"again: leave it as it was, and write what you need into v{VERSION + 1}.sql"
        )


def test_the_whole_is_what_the_versions_add_up_to(databases: Databases, url: str) -> None:
    replay(url, VERSION)
    with databases.fresh() as whole:
        execute(whole, "CREATE EXTENSION vector", resources.sql("install/schema.sql"))
        assert objects(whole) == objects(url)
        assert versions(whole) == [VERSION]
    assert versions(url) == [*range(1, VERSION + 1)]


def test_a_database_without_it_gets_the_newest(url: str) -> None:
    migrate(url, InstallOp(1))
    assert versions(url) == [VERSION]


@pytest.mark.parametrize("asked", [(2, 2), (1, 1), (2, 1), (1, 2), (1, 2, 1, 2)])
@pytest.mark.parametrize("there", range(VERSION + 1))
def test_it_may_be_installed_again(url: str, there: int, asked: tuple[int, ...]) -> None:
    replay(url, there) if there else None
    for version in asked:
        migrate(url, InstallOp(version))
    assert versions(url)[-1] == VERSION
    found = objects(url)
    migrate(url, InstallOp(VERSION))
    assert objects(url) == found
    with psycopg.connect(url) as connection:  # and is as if it had been installed at once
        connection.execute("DROP SCHEMA pgsearch CASCADE")
    replay(url, VERSION)
    assert objects(url) == found


@pytest.mark.parametrize("there", range(1, VERSION + 1))
def test_what_is_registered_survives(url: str, there: int) -> None:
    replay(url, there)
    execute(url, REGISTERED)
    before = rows(url)
    migrate(url, InstallOp(VERSION))
    after = rows(url)
    for table in TABLES:
        assert [
            {name: value for name, value in entry.items() if name in known}
            for entry, known in zip(after[table], before[table], strict=True)
        ] == before[table]
    assert after["search_index"][0].items() >= {"capturing": True, "template_version": 1}.items()
    activate = "SELECT pgsearch.activate_embedding('public', 'article_search', 'second')"
    states = "SELECT name, state FROM pgsearch.embedding ORDER BY id"
    assert execute(url, activate, states) == [("first", "ready"), ("second", "active")]


@pytest.mark.parametrize(
    "obstacle",
    ["CREATE SCHEMA pgsearch", "CREATE TYPE vector; CREATE SCHEMA pgsearch"],
    ids=["half", "and a type"],
)
def test_a_failing_install_leaves_nothing(empty_database: str, obstacle: str) -> None:
    execute(empty_database, *obstacle.split("; "))
    before = objects(empty_database)
    with pytest.raises(DBAPIError, match="already exists"):
        migrate(empty_database, InstallOp(VERSION))
    assert objects(empty_database) == before


def test_pgvector_has_to_be_found(empty_database: str) -> None:
    execute(empty_database, "CREATE SCHEMA ext", "CREATE EXTENSION vector SCHEMA ext")
    before = objects(empty_database)
    with pytest.raises(DBAPIError, match="schema ext, which is not on the search_path") as caught:
        migrate(empty_database, InstallOp(VERSION))
    assert "where the migration connects" in str(caught.value)
    assert objects(empty_database) == before
    migrate(f"{empty_database}&options=-c%20search_path%3Dpublic,ext", InstallOp(VERSION))
    assert versions(empty_database) == [VERSION]


def test_a_failing_upgrade_leaves_what_was(url: str) -> None:
    replay(url, 1)
    execute(
        url, REGISTERED, "CREATE FUNCTION pgsearch.source_table(text, text) RETURNS int RETURN 1"
    )
    before = objects(url), rows(url)
    with pytest.raises(DBAPIError, match="source_table"):
        migrate(url, InstallOp(2))
    assert (objects(url), rows(url)) == before
    execute(url, "DROP FUNCTION pgsearch.source_table(text, text)")
    migrate(url, InstallOp(2))
    assert versions(url) == [*range(1, VERSION + 1)]


@pytest.mark.parametrize("there", range(VERSION))
def test_several_sessions_install_at_once(databases: Databases, there: int) -> None:
    with databases.fresh() as url, ThreadPoolExecutor() as threads, ExitStack() as held_up:
        if there:
            replay(url, there)
            held_up.enter_context(reader(url, until_all_wait(url, 4)))
        start = threading.Barrier(4)

        def install() -> None:
            start.wait()
            migrate(url, InstallOp(VERSION))

        for done in [threads.submit(install) for _ in range(4)]:
            done.result(timeout=30)
        assert versions(url)[-1] == VERSION


def test_an_upgrade_gives_way_to_readers_and_gets_its_turn(url: str) -> None:
    replay(url, 1)
    execute(url, REGISTERED)
    search = "SELECT pgsearch.answering_embedding('public', 'article_search', NULL)"
    waits: list[float] = []
    is_done = threading.Event()

    def ask() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not is_done.is_set():
                (row,) = connection.execute(
                    "WITH began AS MATERIALIZED (SELECT clock_timestamp() AS at),"
                    f" asked AS MATERIALIZED ({search} FROM began)"
                    " SELECT extract(epoch FROM clock_timestamp() - statement_timestamp())"
                    " FROM asked".encode()
                ).fetchall()
                waits.append(float(row[0]))

    with ThreadPoolExecutor() as threads, reader(url, lambda: time.sleep(0.8)):
        asking = [threads.submit(ask) for _ in range(3)]
        try:
            migrate(url, InstallOp(2))
        finally:
            is_done.set()
        for done in asking:
            done.result(timeout=10)
    assert versions(url) == [*range(1, VERSION + 1)]
    assert len(waits) > 100
    assert max(waits) < 1.0
