"""Everything through PgBouncer in transaction mode, where a session is everybody's in turn."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import psycopg
import pytest
from click.testing import CliRunner, Result

import pgsearch
from pgsearch import database
from pgsearch.cli import main
from pgsearch.errors import ConnectionFailed
from pgsearch.sync import Worker, session
from tests.plugins import pgbouncer
from tests.plugins.search import vector_of
from tests.plugins.worker import SENTENCES, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES

#: What one session has been left with.
_LEFT = (
    (
        "SELECT name || ' is ' || setting FROM pg_settings"
        " WHERE source = 'session' AND name <> 'application_name'"
    ),
    "SELECT 'prepared: ' || statement FROM pg_prepared_statements WHERE name !~ 'PGBOUNCER'",
    "SELECT 'listens to ' || channel FROM pg_listening_channels() AS channel",
    "SELECT 'open cursor: ' || name FROM pg_cursors WHERE is_holdable",
    "SELECT 'temporary: ' || relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
    "SELECT 'lock: ' || objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
)


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, *arguments])


def sessions(url: str) -> list[list[str]]:
    """Return what each of the pooler's sessions was left with, but for what it sets itself."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(psycopg.connect(url, prepare_threshold=None))
            for _ in range(pgbouncer.SESSIONS)
        ]
        pids = {client.execute("SELECT pg_backend_pid()").fetchone() for client in clients}
        assert len(pids) == pgbouncer.SESSIONS
        return [
            [text for query in _LEFT for (text,) in client.execute(query.encode())]
            for client in clients
        ]


def write(url: str, prepare_threshold: int | None, *bodies: str) -> None:
    """Insert stories as a client that has a transaction for each, and regrets the last one."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as client:
        for body in bodies:
            with client.transaction():
                client.execute("SET LOCAL statement_timeout = '7s'")
                (story,) = client.execute(
                    "INSERT INTO story (body) VALUES ('draft') RETURNING id"
                ).fetchone() or (None,)
                client.execute("UPDATE story SET body = %s WHERE id = %s", [body, story])
        client.execute("DELETE FROM story WHERE id = %s", [story])


def write_at_once(url: str, prepare_threshold: int | None, clients: int) -> None:
    """Let several clients write at the same time; each leaves three stories."""
    with ThreadPoolExecutor(clients) as threads:
        written = [
            threads.submit(write, url, prepare_threshold, *(f"{n}: {s}" for s in SENTENCES))
            for n in range(clients)
        ]
    for client in written:
        client.result()


@pytest.fixture
def clean(pooled: str) -> Iterator[str]:
    """URL of the pooler; in the end its sessions must be as they were."""
    before = sessions(pooled)
    yield pooled
    assert sessions(pooled) == before


def test_what_several_clients_write_is_captured_and_embedded(
    clean: str, stories: Stories, prepare_threshold: int | None
) -> None:
    write_at_once(clean, prepare_threshold, 4)
    assert stories.value("SELECT count(*) FROM story_search_document") == 12
    report = pgsearch.sync_once(clean)
    assert (report.failed, stories.waiting()) == (0, 0)
    assert stories.states() == {"hash_v1": "active"}
    assert stories.differences() == []


def test_a_worker_follows_while_clients_write(
    clean: str, stories: Stories, prepare_threshold: int | None
) -> None:
    worker = Worker(clean)
    thread = threading.Thread(target=lambda: worker.run(poll_s=0.02))
    thread.start()
    try:
        write_at_once(clean, prepare_threshold, 6)
        until = time.monotonic() + 20
        while stories.waiting() or stories.states() != {"hash_v1": "active"}:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        worker.stop()
        thread.join()
    assert stories.value("SELECT count(*) FROM story_search_document") == 18
    assert stories.differences() == []


def test_search_answers_and_leaves_its_settings_to_nobody(
    clean: str, stories: Stories, prepare_threshold: int | None
) -> None:
    stories.insert(*SENTENCES)
    stories.drain()
    question = "SELECT id FROM story_search('wind in the village', k => 1, vector => %s::vector)"
    settings = (
        "SELECT current_setting('hnsw.ef_search'), current_setting('hnsw.iterative_scan'),"
        " current_setting('row_security')"
    )
    with psycopg.connect(clean, autocommit=True, prepare_threshold=prepare_threshold) as client:
        for _ in range(4):
            with client.transaction():
                found = client.execute(question.encode(), [vector_of(TWO)]).fetchall()
                assert found == [(2,)]
                # Not even to the transaction that it was made in.
                assert client.execute(settings.encode()).fetchone() == ("40", "off", "on")
            assert client.execute(settings.encode()).fetchone() == ("40", "off", "on")


def test_the_commands_work(clean: str, stories: Stories) -> None:
    def fail(texts: Sequence[str]) -> None:
        if ONE in texts:
            raise RuntimeError("not today")

    stories.insert(ONE, TWO)
    Worker(clean, load=lambda _: Watching(fail), max_attempts=1).drain()
    assert run(clean, "doctor").exit_code == 1
    retried = run(clean, "retry")
    assert (retried.exit_code, "not today" in retried.output) == (0, True)
    assert run(clean, "sync").exit_code == 0
    for arguments in (("doctor",), ("reconcile", "--dry-run"), ("reconcile",)):
        done = run(clean, *arguments)
        assert done.exit_code == 0, done.output
    shown = run(clean, "status", "--json")
    assert shown.exit_code == 0, shown.output
    status = json.loads(shown.stdout)
    assert (status["documents"], status["chunks"], status["failed"]) == (2, 2, 0)
    found = run(clean, "search", "story_search", "harbour", "--json", "-k", "1")
    assert [json.loads(line)["id"] for line in found.stdout.splitlines()] == [1]
    assert run(stories.url, "doctor").stdout == run(clean, "doctor").stdout


def test_a_reconciliation_mends_through_the_pooler(clean: str, stories: Stories) -> None:
    stories.insert(ONE, TWO, THREE)
    pgsearch.sync_once(clean)
    for statement in (
        "SET session_replication_role = replica",
        "UPDATE story SET body = body || ' It was cold.' WHERE id = 1",
        "DELETE FROM story WHERE id = 2",
        "RESET session_replication_role",
        "UPDATE story_search_chunk SET embedding_hash_v1 = NULL WHERE id = 3",
    ):
        stories.execute(statement)
    assert run(clean, "reconcile", "--dry-run").exit_code == 1
    assert run(clean, "reconcile").exit_code == 0
    pgsearch.sync_once(clean)
    assert (stories.waiting(), stories.differences()) == (0, [])


def test_notifications_are_done_without_and_that_is_said_once(
    clean: str, stories: Stories, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories.execute(
        "UPDATE pgsearch.search_index SET definition = definition || '{\"notify\": true}'"
    )
    stories.execute(
        "CREATE TRIGGER story_search_notify AFTER INSERT ON story_search_queue"
        " FOR EACH STATEMENT EXECUTE FUNCTION pgsearch.notify()"
    )
    stories.drain()
    monkeypatch.setattr(session, "_LOOK_AROUND_S", 0.05)
    caplog.set_level(logging.INFO, logger="pgsearch")
    worker = Worker(clean)
    thread = threading.Thread(target=lambda: worker.run(poll_s=0.02))
    thread.start()
    try:
        time.sleep(0.5)
        (story,) = stories.insert(ONE)
        until = time.monotonic() + 10
        while stories.chunks(story) != [ONE]:
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        worker.stop()
        thread.join()
    said = [r.getMessage() for r in caplog.records if "pooler" in r.getMessage()]
    assert said == ["A pooler passes no notifications on: looking for changes instead."]


def test_a_transaction_has_the_workers_settings_and_gives_them_back(clean: str) -> None:
    with database.connect(clean, row_security=True) as connection:
        assert database.is_pooled(connection)
        with database.transaction(connection):
            assert connection.execute("SHOW row_security").fetchone() == ("off",)
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)
        assert connection.execute("SHOW row_security").fetchone() == ("on",)


def test_a_build_that_is_cut_short_says_what_to_do(
    pooled: str, stories: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    stories.insert(ONE)
    name = urlsplit(stories.url).path[1:]
    stories.execute(f"ALTER DATABASE {name} SET statement_timeout = '300ms'")
    with psycopg.connect(stories.url) as other:
        # A build waits for whoever may still write.
        other.execute("LOCK TABLE story_search_chunk IN ROW EXCLUSIVE MODE")
        with pytest.raises(psycopg.errors.QueryCanceled):
            pgsearch.sync_once(pooled)
    assert "set that to 0, or let the worker connect to the server itself" in caplog.text
    assert stories.states() == {"hash_v1": "indexing"}


def test_a_setting_in_the_url_is_refused_and_the_hint_says_where_it_belongs(pooled: str) -> None:
    with pytest.raises(ConnectionFailed, match="unsupported startup parameter") as caught:
        pgsearch.sync_once(f"{pooled}&options=-c%20row_security%3Doff")
    assert "leave options out of the URL" in str(caught.value.hint)


def test_a_pooler_that_ignores_settings_is_still_known_for_one(
    server_url: str, stories: Stories
) -> None:
    stories.insert(ONE)
    with pgbouncer.pooler(server_url, ignore_startup_parameters="options") as url:
        pooled = urlsplit(url)._replace(path=urlsplit(stories.url).path).geturl()
        before = sessions(pooled)
        pgsearch.sync_once(f"{pooled}&options=-c%20work_mem%3D64MB")
        assert sessions(pooled) == before
    assert (stories.states(), stories.differences()) == ({"hash_v1": "active"}, [])
