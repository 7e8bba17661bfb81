"""Migrations that are killed in their middle, at any statement, and then run again."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import sqlalchemy as sa

from tests.plugins.history import History, Revision
from tests.plugins.migration import state
from tests.plugins.postgres import Databases
from tests.plugins.shapes import PLAIN, joined, revisions

#: How many times each migration is killed, and each downgrade.
KILLS = {"up": 5, "down": 3}

#: As `alembic revision --autogenerate` puts them together.
TOGETHER = [
    ["install", "create", "add", "second", "ready"],
    ["alter 1", "reindex", "reindex companions", "activate"],
    ["retype", "activate another", "drop embedding"],
    ["drop active", "drop", "uninstall"],
]


class Counter:
    """Counts the statements and commits of this process, and kills it before one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.count = 0
        self._last = last
        self._on = [("before_cursor_execute", self._statement), ("commit", self._commit)]

    def __enter__(self) -> Counter:
        for name, listener in self._on:
            sa.event.listen(sa.Engine, name, listener)
        return self

    def __exit__(self, *_: object) -> None:
        for name, listener in self._on:
            sa.event.remove(sa.Engine, name, listener)

    def _statement(self, *_: Any) -> None:
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _commit(self, _: sa.Connection) -> None:
        self._statement()


def run(history: History, url: str, step: tuple[int, int]) -> None:
    start, end = step
    (history.upgrade if end > start else history.downgrade)(url, str(end))


def run_until(history: History, url: str, step: tuple[int, int], last: int) -> None:
    with Counter(last):
        run(history, url, step)


@pytest.fixture(scope="module")
def processes() -> Any:
    """What starts processes that have imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def kill(processes: Any, history: History, url: str, step: tuple[int, int], last: int) -> None:
    process = processes.Process(target=run_until, args=(history, url, step, last))
    process.start()
    process.join(timeout=30)
    assert process.exitcode == -signal.SIGKILL


def history_in(folder: Path) -> History:
    made = revisions(PLAIN)
    together = [joined(*(made[name] for name in names)) for names in TOGETHER]
    return History(folder / "migrations", [made["table"], *together])


@pytest.mark.parametrize("direction", KILLS)
def test_a_killed_migration_is_run_again(
    databases: Databases, vector_template: str, tmp_path: Path, processes: Any, direction: str
) -> None:
    history = history_in(tmp_path)
    steps = [(number, number + 1) for number in range(1, len(TOGETHER) + 1)]
    with databases.fresh(vector_template) as url:
        history.upgrade(url, "1")
        if direction == "down":
            history.upgrade(url, "head")
            steps = [(end, start) for start, end in reversed(steps)]
        for step in steps:
            found = {}
            with databases.fresh(urlsplit(url).path[1:]) as copy, Counter() as counter:
                run(history, copy, step)
            for kill_number in range(KILLS[direction]):
                last = 2 + kill_number * (counter.count - 2) // (KILLS[direction] - 1)
                with databases.fresh(urlsplit(url).path[1:]) as copy:
                    kill(processes, history, copy, step, last)
                    run(history, copy, step)
                    found[last] = state(copy)
            run(history, url, step)
            for last, after in found.items():
                assert after == state(url), f"{step}, killed before statement {last}"


def others(url: str) -> list[Any]:
    """Return the other sessions of a database: what each waits for."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(
            "SELECT wait_event_type, wait_event FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        ).fetchall()


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_while_it_waits_for_a_lock(
    databases: Databases, vector_template: str, tmp_path: Path, processes: Any
) -> None:
    """The server goes on with a statement whose client is gone: what it does is not in the way."""
    made = revisions(PLAIN)
    before = joined(made["table"], made["install"])
    history = History(tmp_path / "migrations", [before, Revision(made["create"].upgrade)])
    with databases.fresh(vector_template) as url, databases.fresh(vector_template) as undisturbed:
        history.upgrade(undisturbed, "2")
        history.upgrade(url, "1")
        with psycopg.connect(url) as holder:
            holder.execute("INSERT INTO article (id) VALUES (0)")
            process = processes.Process(target=run, args=(history, url, (1, 2)))
            process.start()
            wait_until(lambda: ("Lock", "relation") in others(url))
            process.kill()
            process.join()
        wait_until(lambda: others(url) == [])
        run(history, url, (1, 2))
        assert state(url) == state(undisturbed)
