"""Migrations have autovacuum give way, which on a long table may be at it for hours.

On a server of their own, whose autovacuum comes each second and is slow.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from pgsearch import database as product
from pgsearch import embedded
from pgsearch.declare import Embedding
from pgsearch.schema.embedding import add_embedding
from pgsearch.schema.index import drop_search_index, suspend_search_index
from pgsearch.schema.install import install
from pgsearch.schema.steps import Kind, LockPatience, Step, written
from pgsearch.testing import hash_model
from tests.integration.test_worker_concurrency import eventually
from tests.plugins.search import execute_all
from tests.plugins.worker import CREATE_STORY, STORY, Stories, create_search_index

TABLES = ("story", "story_search_chunk")

#: It would take minutes for what the tests have.
SLOW = """
ALTER TABLE {} SET (
  autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_cost_delay = 100
)
"""

#: The session of autovacuum that is at a table.
VACUUMING = "SELECT pid FROM pg_stat_progress_vacuum WHERE relid = %s::regclass"


@pytest.fixture(scope="module")
def slow_server(pytestconfig: pytest.Config) -> Iterator[str]:
    version = pytestconfig.getoption("--postgres")
    home = Path(tempfile.mkdtemp(prefix="pgsearch-tests-"))
    try:
        url = embedded.start(home, version).uri
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
            connection.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        embedded.stop(home, version)
        shutil.rmtree(home)


@pytest.fixture
def vacuumed(slow_server: str) -> Iterator[Stories]:
    """A search index whose chunks and source autovacuum is at."""
    with psycopg.connect(slow_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS pgsearch CASCADE")
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
        connection.execute("CREATE EXTENSION vector")
    with product.connect(slow_server) as connection:
        execute_all(connection, install())
        connection.execute(CREATE_STORY)
        create_search_index(connection, STORY)
        stories = Stories(slow_server, connection)
        stories.execute(
            "INSERT INTO story (body) SELECT repeat('Story ' || n || ' ', 9)"
            " FROM generate_series(1, 3000) AS n"
        )
        stories.drain()
        for table in TABLES:
            stories.execute(SLOW.format(table))
            stories.execute(f"DELETE FROM {table} WHERE id % 2 = 0")
        for table in TABLES:
            eventually(lambda table=table: stories.execute(VACUUMING, table), 30)
        yield stories


def run(stories: Stories, steps: list[Step]) -> float:
    """Run the steps of a migration; return the seconds that the slowest of them took."""
    slowest = 0.0
    for step in steps:
        started = time.monotonic()
        for statement in written(step, LockPatience(attempts=5)):
            stories.execute(statement)
        slowest = max(slowest, time.monotonic() - started)
    return slowest


def added() -> list[Step]:
    return add_embedding("public", STORY.name, Embedding("hash_v2", hash_model(32)))


@pytest.mark.parametrize(
    ("steps", "table"),
    [
        (added, "story_search_chunk"),
        (lambda: suspend_search_index(STORY.name, STORY.table, STORY.schema), "story"),
        (lambda: drop_search_index(STORY.name, STORY.table, STORY.schema), "story_search_chunk"),
    ],
)
def test_autovacuum_gives_way_and_nobody_waits_for_it(
    vacuumed: Stories, steps: Callable[[], list[Step]], table: str
) -> None:
    before = vacuumed.execute(VACUUMING, table)
    assert before
    # The first attempt has it wait for a tenth of a second, the next one for deadlock_timeout.
    assert 1.0 < run(vacuumed, steps()) < 10.0


def test_reads_and_writes_go_on_meanwhile(vacuumed: Stories) -> None:
    slowest = 0.0

    def look() -> None:
        nonlocal slowest
        with product.connect(vacuumed.url) as other:
            while not done:
                started = time.monotonic()
                other.execute("SELECT count(*) FROM story_search_chunk WHERE id < 10")
                other.execute("UPDATE story_search_chunk SET ordinal = ordinal WHERE id = 1")
                slowest = max(slowest, time.monotonic() - started)

    done = False
    thread = threading.Thread(target=look)
    thread.start()
    try:
        took = run(vacuumed, [step for step in added() if step.kind is Kind.LOCKED])
    finally:
        done = True
        thread.join()
    assert took > 1.0
    assert slowest < 0.9
