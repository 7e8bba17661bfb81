"""Logical replication into a table with a search index.

What is replicated is applied under session_replication_role = replica, where ordinary triggers do
not fire: a reconciliation finds it. Triggers that are enabled always do fire, and are better.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier, Literal

from pgsearch import database as product
from pgsearch import embedded
from pgsearch.cli import main
from pgsearch.definition import IndexDefinition
from pgsearch.schema.install import install
from pgsearch.sync import Worker
from pgsearch.sync.reconciliation import reconcile
from tests.plugins.postgres import SETTINGS
from tests.plugins.reconcile import SHAPES, counts
from tests.plugins.search import HASH_V1, create, execute_all
from tests.plugins.tables import contents, contents_of_a_new_one
from tests.plugins.worker import CREATE_STORY, SENTENCES, STORY

#: As the documentation has it.
ENABLE_ALWAYS = """
DO $$
DECLARE
  capture record;
BEGIN
  FOR capture IN
    SELECT tgrelid::regclass AS relation, tgname AS name
    FROM pg_trigger WHERE tgfoid = '{index}_capture'::regproc
  LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', capture.relation, capture.name);
  END LOOP;
END $$
"""

EVENT = SHAPES["partitions"].definition


@pytest.fixture(scope="module")
def logical_server(pytestconfig: pytest.Config) -> Iterator[str]:
    """URL of a server of its own, whose log has what replication needs."""
    home = Path(tempfile.mkdtemp(prefix="pgsearch-tests-"))
    version = pytestconfig.getoption("--postgres")
    try:
        server = embedded.start(home, version)
        with psycopg.connect(server.uri, autocommit=True) as connection:
            for name, value in {**SETTINGS, "wal_level": "logical"}.items():
                connection.execute(
                    SQL("ALTER SYSTEM SET {} = {}").format(SQL(name), Literal(value))
                )
        embedded.stop(home, version)
        yield embedded.start(home, version).uri
    finally:
        embedded.stop(home, version)
        shutil.rmtree(home)


class Pair(NamedTuple):
    """A database that publishes its tables, and one that follows."""

    publisher: product.Connection
    subscriber: product.Connection
    url: str

    def subscribe(self) -> None:
        """Begin to follow; rows that are there are copied first."""
        self.publisher.execute("CREATE PUBLICATION everything FOR ALL TABLES")
        # On one server it must not be made by the subscription, which would wait for itself.
        self.publisher.execute("SELECT pg_create_logical_replication_slot('follow', 'pgoutput')")
        info = self.publisher.info
        source = f"host={info.host} port={info.port} dbname={info.dbname} user={info.user}"
        self.subscriber.execute(
            SQL(
                "CREATE SUBSCRIPTION follow CONNECTION {} PUBLICATION everything"
                " WITH (create_slot = false, slot_name = 'follow')"
            ).format(Literal(source))
        )

    def wait(self, table: str) -> None:
        """Wait until the subscriber has what the publisher has."""
        rows = SQL(
            "SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY t::text)), '') FROM {} AS t"
        )
        statement = rows.format(Identifier(table))
        end = time.monotonic() + 20
        while self._value(self.publisher, statement) != self._value(self.subscriber, statement):
            assert time.monotonic() < end, "replication does not come to its end"
            time.sleep(0.02)

    def _value(self, connection: product.Connection, statement: object) -> object:
        return connection.execute(statement).fetchone()  # type: ignore[call-overload]


@contextmanager
def _database(server: str, name: str) -> Iterator[str]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture
def pair(logical_server: str) -> Iterator[Pair]:
    """Two databases with the same tables, of which the second has search indexes."""
    tables = [CREATE_STORY, *SHAPES["partitions"].made[:-1]]
    with (
        _database(logical_server, "publisher") as source,
        _database(logical_server, "subscriber") as target,
        product.connect(source) as publisher,
        product.connect(target) as subscriber,
    ):
        execute_all(publisher, tables)
        execute_all(subscriber, [*install(), *tables])
        create(subscriber, STORY, HASH_V1)
        create(subscriber, EVENT, HASH_V1)
        Worker(target).drain()
        try:
            yield Pair(publisher, subscriber, target)
        finally:
            subscriber.execute("ALTER SUBSCRIPTION follow DISABLE")
            subscriber.execute("ALTER SUBSCRIPTION follow SET (slot_name = NONE)")
            subscriber.execute("DROP SUBSCRIPTION follow")
            # The session that has sent from it ends a moment after its subscription.
            publisher.execute(
                "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots"
                " WHERE slot_name = 'follow' AND active_pid IS NOT NULL"
            )
            publisher.execute("SELECT pg_drop_replication_slot('follow')")


CHANGES = [
    "INSERT INTO story (id, body) SELECT 10 + n, 'New ' || n FROM generate_series(1, 3) AS n",
    "UPDATE story SET body = 'Changed.' WHERE id = 2",
    "UPDATE story SET views = 7 WHERE id = 3",
    "UPDATE story SET id = 99 WHERE id = 4",
    "DELETE FROM story WHERE id = 5",
]


def fill(publisher: product.Connection) -> None:
    publisher.execute(
        "INSERT INTO story (id, body) SELECT n, %s || n FROM generate_series(1, 6) AS n",
        [f"{SENTENCES[0]} {SENTENCES[1]} Number "],
    )
    publisher.execute(SHAPES["partitions"].made[-1].encode())


def waiting(connection: product.Connection, index: str) -> int:
    queue = Identifier(f"{index}_queue")
    row = connection.execute(SQL("SELECT count(*) FROM {}").format(queue)).fetchone()
    assert row is not None
    return int(row[0])


def assert_as_new(connection: product.Connection, definition: IndexDefinition) -> None:
    new = contents_of_a_new_one(connection, definition, HASH_V1)
    assert contents(connection, definition) == new


def test_replicated_changes_are_found(pair: Pair) -> None:
    fill(pair.publisher)
    pair.subscribe()
    pair.wait("story")
    pair.wait("event")
    assert waiting(pair.subscriber, "story_search") == 0
    assert counts(reconcile(pair.url))["missing document"] == 6 + 9
    Worker(pair.url).drain()
    execute_all(pair.publisher, [*CHANGES, "TRUNCATE event_sad"])
    pair.wait("story")
    pair.wait("event")
    assert waiting(pair.subscriber, "story_search") == 0
    found = counts(reconcile(pair.url))
    assert found["missing document"] == 3 + 1
    assert found["stale document"] == 1
    assert found["orphaned document"] == 1 + 1 + 4
    Worker(pair.url).drain()
    assert counts(reconcile(pair.url)) == {}
    assert_as_new(pair.subscriber, STORY)
    assert_as_new(pair.subscriber, EVENT)


def test_triggers_that_are_always_enabled_see_replicated_changes(pair: Pair) -> None:
    for index in ("story_search", "event_search"):
        pair.subscriber.execute(ENABLE_ALWAYS.replace("{index}", index).encode())
    fill(pair.publisher)
    pair.subscribe()
    pair.wait("story")
    pair.wait("event")
    # The rows that were there are copied, which triggers see as well.
    assert waiting(pair.subscriber, "story_search") == 6
    assert waiting(pair.subscriber, "event_search") == 9
    Worker(pair.url).drain()
    execute_all(pair.publisher, [*CHANGES, "TRUNCATE event_sad"])
    pair.wait("story")
    pair.wait("event")
    # The new key and the old one; not the row of which another column was changed.
    assert waiting(pair.subscriber, "story_search") == 3 + 1 + 2 + 1
    assert waiting(pair.subscriber, "event_search") == 4
    Worker(pair.url).drain()
    assert counts(reconcile(pair.url)) == {}
    assert_as_new(pair.subscriber, STORY)
    assert_as_new(pair.subscriber, EVENT)
    pair.publisher.execute("TRUNCATE story")
    pair.wait("story")
    Worker(pair.url).drain()
    assert counts(reconcile(pair.url)) == {}
    assert contents(pair.subscriber, STORY) == ([], [])
    done = CliRunner().invoke(main, ["--database", pair.url, "doctor"])
    assert (done.exit_code, done.stdout.count("nothing to mend")) == (0, 2), done.stdout
