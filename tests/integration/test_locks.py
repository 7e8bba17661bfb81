"""What migrations lock: little, for a moment, and patiently where others are in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from tests.plugins.history import History, Revision
from tests.plugins.migration import state
from tests.plugins.postgres import Databases
from tests.plugins.shapes import HASH_32, HASH_64, PLAIN, revisions

FIRST, SECOND, _ = PLAIN.definitions
CALLS = {
    "create": PLAIN.call("create_search_index", **FIRST),
    "add": PLAIN.call("add_embedding", "'first'", HASH_64),
    "alter": PLAIN.call("alter_search_index", **SECOND),
    "suspend": PLAIN.call("suspend_search_index", filters=True),
    "resume": PLAIN.call("alter_search_index", **SECOND, refill=True),
    "reindex": PLAIN.call("reindex_search_index", key=["id"]),
    "reindex embedding": PLAIN.call("reindex_embedding", "'first'", m=8),
    "add another": PLAIN.call("add_embedding", "'second'", HASH_32),
    "drop embedding": PLAIN.call("drop_embedding", "'second'"),
    "drop": PLAIN.call("drop_search_index"),
}

#: Of each step that takes a lock: the operation, and what somebody else has done in a transaction
#: that is still open. Comments lock nothing but what they are on.
IN_THE_WAY = [
    ("create", "INSERT INTO article (id) VALUES (0)"),
    ("add", "SELECT FROM article_search_chunk"),
    ("alter", "COMMENT ON VIEW article_search_source IS ''"),
    ("alter", "COMMENT ON VIEW article_search_filter IS ''"),
    ("alter", "INSERT INTO article (id) VALUES (0)"),
    ("suspend", "SELECT FROM article"),
    ("suspend", "COMMENT ON VIEW article_search_source IS ''"),
    ("suspend", "COMMENT ON VIEW article_search_filter IS ''"),
    ("resume", "INSERT INTO article (id) VALUES (0)"),
    ("drop embedding", "SELECT FROM article_search_chunk"),
    ("drop", "SELECT FROM article"),
    ("drop", "COMMENT ON VIEW article_search_source IS ''"),
    ("drop", "COMMENT ON VIEW article_search_filter IS ''"),
    ("drop", "SELECT FROM article_search_document"),
    ("drop", "SELECT FROM article_search_chunk"),
    ("drop", "SELECT FROM article_search_queue"),
    ("drop", "SELECT FROM article_search_lexeme"),
]


#: When those began to wait who wait for a lock now, in this database.
WAITS = b"""
SELECT waitstart FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
WHERE NOT granted AND datname = current_database()
"""


class Stage(NamedTuple):
    """An operation: a database before it, and all that is there after it."""

    template: str
    history: History
    target: str
    after: Any


@pytest.fixture(scope="module")
def stages(
    databases: Databases, vector_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Stage]]:
    """The operations by name, one after the other."""
    before = [Revision("op.pgsearch_install()"), revisions(PLAIN)["table"]]
    folder = tmp_path_factory.mktemp("locks") / "migrations"
    history = History(folder, [*before, *map(Revision, CALLS.values())])
    found = {}
    with ExitStack() as stack:
        url = stack.enter_context(databases.fresh(vector_template))
        history.upgrade(url, "2")
        for number, name in enumerate(CALLS, start=3):
            template = urlsplit(url).path[1:]
            url = stack.enter_context(databases.fresh(template))
            history.upgrade(url, str(number))
            found[name] = Stage(template, history, str(number), state(url))
        yield found


def execute(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def end_when_it_came_again(url: str, holder: psycopg.Connection[Any]) -> None:
    """End a transaction when somebody has waited for it, has given way, and waits again."""
    waits: set[Any] = set()
    deadline = time.monotonic() + 20
    with psycopg.connect(url, autocommit=True) as connection:
        while len(waits) < 2 and time.monotonic() < deadline:
            waits |= {row for row in connection.execute(WAITS) if row[0] is not None}
            time.sleep(0.005)
    holder.rollback()
    assert len(waits) >= 2


@pytest.mark.parametrize(("operation", "held"), IN_THE_WAY)
def test_a_step_gives_way_gives_up_and_can_be_run_again(
    databases: Databases, stages: dict[str, Stage], operation: str, held: str
) -> None:
    stage = stages[operation]
    impatient = {"pgsearch_lock_timeout_ms": 100, "pgsearch_lock_attempts": 2}
    with databases.fresh(stage.template) as url, psycopg.connect(url) as holder:
        holder.execute(held.encode())
        with pytest.raises(DBAPIError, match="a lock was not to be had in 2 attempts: ") as caught:
            stage.history.upgrade(url, stage.target, **impatient)
        assert isinstance(caught.value.orig, psycopg.errors.LockNotAvailable)
        assert "run the migration again" in str(caught.value.orig.diag.message_hint)
        execute(url, "INSERT INTO article (id, title) VALUES (100, 'the application goes on')")
        with ThreadPoolExecutor(1) as thread:
            held_up = thread.submit(end_when_it_came_again, url, holder)
            stage.history.upgrade(url, stage.target)
            held_up.result()
        assert state(url) == stage.after


class Load:
    """An application: sessions that write and search, and how long their statements took."""

    def __init__(self, url: str, *, searches: bool) -> None:
        self.seconds: list[float] = []
        self._url = url
        self._numbers = count(1000)
        self._searches = searches
        self._end = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        work = [self._write, self._write, *([self._search] * 2 if self._searches else [])]
        with ThreadPoolExecutor(len(work)) as threads:
            running = [threads.submit(self._run, task) for task in work]
            try:
                yield
            finally:
                self._end.set()
            for done in running:
                done.result()

    def _run(self, task: Any) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._end.is_set():
                began = time.monotonic()
                task(connection)
                self.seconds.append(time.monotonic() - began)
                time.sleep(0.002)

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        number = next(self._numbers)
        connection.execute("INSERT INTO article (id, title) VALUES (%s, 'new')", [number])

    def _search(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("SELECT FROM article_search('title')")


@pytest.mark.parametrize("operation", ["create", "add", "alter", "suspend", "resume", "drop"])
def test_nobody_waits_longer_than_was_promised(
    databases: Databases, stages: dict[str, Stage], operation: str
) -> None:
    """Somebody's transaction holds up the migration for long, and nobody else."""
    stage = stages[operation]
    searches = operation not in ("create", "drop")
    with databases.fresh(stage.template) as url, psycopg.connect(url) as holder:
        load = Load(url, searches=searches)
        holder.execute("INSERT INTO article (id) VALUES (0)")
        if searches:
            asked = "'title'" if operation == "resume" else "'title', tenant_id => 1"
            holder.execute(f"SELECT FROM article_search({asked})".encode())
        release = threading.Timer(1.3, holder.rollback)
        began = time.monotonic()
        with load.running():
            release.start()
            stage.history.upgrade(url, stage.target)
            took = time.monotonic() - began
        assert took > 1.3
        assert max(load.seconds) < 1.0
        assert len(load.seconds) > 50
        assert state(url) == stage.after


def test_the_promise_can_be_another_one(stages: dict[str, Stage]) -> None:
    history = stages["create"].history
    assert "FOR attempt IN 1 .. 30 LOOP" in history.printed("2", "3")
    assert "least(800, " in history.printed("2", "3")
    other = history.printed("2", "3", pgsearch_lock_timeout_ms=250, pgsearch_lock_attempts=7)
    assert "FOR attempt IN 1 .. 7 LOOP" in other
    assert "least(200, " in other
    assert "PERFORM set_config('lock_timeout', lock_timeout, true);" in other


#: Notes for each statement of DDL which relations that were there before are locked by then, in a
#: mode that somebody has to wait for who reads or writes.
NOTES = """
CREATE TABLE locked (xid xid8, patient boolean, relation text, mode text);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.locked
  SELECT pg_current_xact_id(), current_query() LIKE '%$pgsearch_locked$%', e.name, l.mode
  FROM pg_locks AS l JOIN public.existing AS e ON e.oid = l.relation
  WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock');
END $$;
CREATE TABLE existing AS SELECT oid, relname AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v');
CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note();
"""


@pytest.mark.parametrize("operation", CALLS)
def test_one_table_at_a_time_is_locked_and_patiently(
    databases: Databases, stages: dict[str, Stage], operation: str
) -> None:
    stage = stages[operation]
    with databases.fresh(stage.template) as url:
        execute(url, NOTES)
        stage.history.upgrade(url, stage.target)
        notes = execute(url, "SELECT DISTINCT xid::text, relation, patient FROM locked")
    assert all(patient for _, _, patient in notes)
    assert len({xid for xid, _, _ in notes}) == len(notes), notes
    relations = {relation for _, relation, _ in notes}
    assert relations.isdisjoint({"alembic_version"})
    if operation in ("create", "alter", "suspend", "resume", "drop"):
        assert "article" in relations


def test_nothing_but_triggers_is_added_to_the_table(
    databases: Databases, stages: dict[str, Stage]
) -> None:
    """Its file stays the same, so it is not rewritten, and so do its columns."""
    described = """
      SELECT relfilenode, relnatts, relchecks, reltoastrelid, reloptions, relrowsecurity,
        (SELECT array_agg((attname, attnum, atttypid, attstorage)::text) FROM pg_attribute
         WHERE attrelid = c.oid),
        (SELECT array_agg(conname) FROM pg_constraint WHERE conrelid = c.oid),
        (SELECT array_agg(indexrelid) FROM pg_index WHERE indrelid = c.oid),
        (SELECT array_agg(rulename) FROM pg_rewrite WHERE ev_class = c.oid)
      FROM pg_class AS c WHERE oid = 'article'::regclass
    """
    triggers = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'article'::regclass ORDER BY 1"
    with databases.fresh(stages["create"].template) as url:
        before = execute(url, described)
        for name, stage in stages.items():
            stage.history.upgrade(url, stage.target)
            assert execute(url, described) == before, name
            kept = execute(url, triggers)
            events = ["delete", "insert", "truncate", "update"]
            wanted = [] if name in ("suspend", "drop") else events
            assert kept == [(f"00_article_search_{event}",) for event in wanted]
