"""What single looks at the database show becomes waits, and waits get their causes."""

from __future__ import annotations

import pytest

from bench.migrate.load import Statement
from bench.migrate.locks import Wait, Watch
from bench.migrate.result import Phase, Result


def look(pid: int, since: str, waited: float, *blockers: str) -> tuple[object, ...]:
    return (pid, since, waited, "load 0", "RowExclusiveLock on article", "UPDATE", blockers)


def test_looks_are_joined_into_waits() -> None:
    watch = Watch()
    watch.look([look(7, "10:00:00", 0.25, "migration")], 100.0)
    watch.look([look(7, "10:00:00", 0.5, "worker"), look(8, "10:00:00", 0.125)], 100.25)
    watch.look([look(7, "10:00:01", 0.0)], 100.5)
    watch.look([], 100.75)
    waits = [(wait.pid, wait.started, wait.ended, wait.blockers) for wait in watch.over]
    assert sorted(waits, key=lambda wait: wait[:2]) == [
        (7, 99.75, 100.5, {"migration", "worker"}),
        (7, 100.5, 100.75, set()),
        (8, 100.125, 100.5, set()),
    ]


def result(statements: list[Statement], waits: list[Wait]) -> Result:
    phases = [Phase("one", "upgrade", 1, 0.0, 0.5, 1), Phase("two", "upgrade", 1, 10.0, 0.5, 1)]
    return Result("c", 1, 1, 1000, phases, 20.0, 0, statements, waits, {})


def wait(application: str, started: float, ended: float, *blockers: str) -> Wait:
    return Wait(7, application, "a lock", "a query", started, ended, set(blockers))


def test_only_waits_for_migrations_and_workers_count() -> None:
    waits = [
        wait("load 0", 1.0, 1.5, "migration"),
        wait("load 0", 2.0, 2.25, "load 1", "worker"),
        wait("load 0", 3.0, 3.125),
        wait("load 0", 4.0, 9.0, "load 1"),
        wait("migration", 11.0, 12.0, "load 0"),
        wait("worker", 12.0, 19.0, "migration"),
    ]
    found = result([], waits)
    assert [w.milliseconds for w in found.load_waits] == [500.0, 250.0, 125.0]
    first, second = map(found.summary, found.phases)
    assert (first.longest_wait_ms, first.migration_waits) == (500.0, 0)
    assert (second.longest_wait_ms, second.migration_waits) == (0.0, 1)
    assert second.longest_migration_wait_ms == 1000.0


def test_no_wait_is_longer_than_its_statement() -> None:
    statements = [
        Statement("point", 7, 1.0, 1.75, None),
        Statement("point", 8, 1.0, 1.25, None),
        Statement("point", 7, 2.0, 2.5, "gone"),
    ]
    found = result(statements, [wait("load 0", 1.25, 1.875, "migration")])
    assert found.longest_wait_ms == 500.0
    assert found.summary(found.phases[0]).failed == 1
    assert found.errors == {"point: gone": 1}


@pytest.mark.parametrize(("ended", "met"), [(11.0, True), (11.5, False)])
def test_a_wait_may_last_as_long_as_the_lock_timeout(
    ended: float, met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    statements = [Statement("point", 7, 10.0, 12.0, None)]
    assert result(statements, [wait("load 0", 10.0, ended, "migration")]).tell() is met
    assert '"longest_wait_ms"' in capsys.readouterr().out
