"""What a migration prints with `--sql` does what it does when it is run, on any table."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pgsearch.alembic import render
from tests.plugins.history import History, Revision
from tests.plugins.migration import run_script, split, state
from tests.plugins.postgres import Databases
from tests.plugins.shapes import PLAIN, SHAPES, Shape, joined, revisions


def test_no_operation_is_left_out() -> None:
    called = {
        name
        for shape in SHAPES.values()
        for revision in revisions(shape).values()
        for name in re.findall(r"^op\.(\w+)", "\n".join(revision), re.MULTILINE)
    }
    known = {name for name, *_ in render._CALLS.values()}
    assert known == called - {"execute"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_operation_does_what_it_prints(
    databases: Databases, vector_template: str, tmp_path: Path, shape: Shape
) -> None:
    made = revisions(shape)
    history = History(tmp_path / "migrations", [*made.values()])
    steps = [(n, n + 1) for n in range(1, len(made))]
    steps += [(end, start) for start, end in reversed(steps)]
    with (
        databases.fresh(vector_template) as executed,
        databases.fresh(vector_template) as printed,
    ):
        for url in (executed, printed):
            history.upgrade(url, "1")
        for start, end in steps:
            (history.upgrade if end > start else history.downgrade)(executed, str(end))
            script = history.printed(str(start), str(end))
            assert not re.search(r"\{[a-z_]+\}|%\(\w+\)", script), "a hole that nothing has filled"
            assert run_script(printed, script) == ""
            assert state(printed) == state(executed), (start, end, [*made][max(start, end) - 1])


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_migration_that_makes_it_all_at_once_does_too(
    databases: Databases, tmp_path: Path, shape: Shape
) -> None:
    """Where nobody else can see the table yet, all of it is executed in one transaction."""
    parts = [*revisions(shape).values()][: 3 + len(shape.definitions)]
    extension = Revision("op.execute('CREATE EXTENSION IF NOT EXISTS vector')")
    history = History(tmp_path / "migrations", [extension, joined(*parts)])
    with databases.fresh() as executed, databases.fresh() as printed:
        for url in (executed, printed):
            history.upgrade(url, "1")
        for start, end in (("1", "2"), ("2", "1")):
            (history.upgrade if end == "2" else history.downgrade)(executed, end)
            assert run_script(printed, history.printed(start, end)) == ""
            assert state(printed) == state(executed)


def stopped_and_run_again(
    databases: Databases, history: History, url: str, step: str, every: int
) -> None:
    """Run a script on copies of a database: up to each commit, and then the whole of it.

    Args:
        databases: The maker of databases.
        history: The migrations.
        url: A database, which goes the step itself.
        step: Two revisions, as in "1:2".
        every: To stop at one commit of so many only, for it takes its time.
    """
    start, end = step.split(":")
    script = history.printed(start, end)
    found = []
    for part in beginnings(script)[::every]:
        with databases.fresh(urlsplit(url).path[1:]) as copy:
            run_script(copy, part)
            assert run_script(copy, script) == ""
            found.append((part, state(copy)))
    (history.upgrade if int(end) > int(start) else history.downgrade)(url, end)
    assert found
    for part, then in found:
        assert then == state(url), f"{step}, stopped after:\n{part[-500:]}"


def test_a_migration_of_several_operations_can_be_run_again(
    databases: Databases, vector_template: str, tmp_path: Path
) -> None:
    made = revisions(PLAIN)
    first = joined(*(made[name] for name in ("install", "create", "add", "second", "ready")))
    second = joined(
        *(made[name] for name in ("alter 1", "reindex", "reindex companions", "activate", "retype"))
    )
    third = joined(made["activate another"], made["drop embedding"], made["alter 2"])
    last = joined(*(made[name] for name in ("drop active", "drop", "uninstall")))
    history = History(tmp_path / "migrations", [made["table"], first, second, third, last])
    with databases.fresh(vector_template) as url:
        history.upgrade(url, "1")
        for start in range(1, 5):
            stopped_and_run_again(databases, history, url, f"{start}:{start + 1}", every=2)
        for start in range(5, 1, -1):
            stopped_and_run_again(databases, history, url, f"{start}:{start - 1}", every=4)


def beginnings(script: str) -> list[str]:
    """Return the parts of a script after which something is done and not all: at each commit."""
    statements = split(script)
    in_transaction, found = False, []
    for number, statement in enumerate(statements[:-1], start=1):
        in_transaction = statement == "BEGIN;" or (in_transaction and statement != "COMMIT;")
        if not in_transaction:
            found.append("\n".join(statements[:number]))
    return found
