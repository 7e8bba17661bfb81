"""`python -m bench.migrate`: migrations hold nobody up, and one that does is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psycopg
import pytest

from bench.migrate.command import Settings, measure
from bench.migrate.project import REVISIONS, Revision
from bench.migrate.result import Result

ROOT = Path(__file__).parents[2]
LOCK_TIMEOUT_MS = 400

ENDS_BADLY = (
    Revision(
        "holds a lock",
        'op.execute("LOCK TABLE article")\n    op.execute("SELECT pg_sleep(1)")',
        "pass",
    ),
    Revision(
        "renames a column",
        'op.execute("ALTER TABLE article RENAME title TO heading")',
        'op.execute("ALTER TABLE article RENAME heading TO title")',
    ),
)


def measurements(output: str) -> dict[str, dict[str, Any]]:
    """Return the lines of standard output by metric."""
    return {line["metric"]: line for line in map(json.loads, output.splitlines())}


def test_migrations_hold_nobody_up(server_url: str, tmp_path: Path) -> None:
    details, picture = tmp_path / "details.json", tmp_path / "picture.svg"
    command = [sys.executable, "-m", "bench.migrate", "--rows=3000", "--connections=4"]
    command += ["--cycles=1", f"--lock-timeout-ms={LOCK_TIMEOUT_MS}"]
    process = subprocess.Popen(
        [*command, "--json", str(details), "--svg", str(picture)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": server_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    check_measurements(measurements(out))
    check_details(json.loads(details.read_text()))
    for revision in REVISIONS:
        assert revision.title in err
    circles = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}circle")
    assert {circle.get("class") for circle in circles} == {"wait"}
    with psycopg.connect(server_url) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%bench%{process.pid}%"]
        )
        assert left.fetchall() == []


def check_measurements(found: dict[str, dict[str, Any]]) -> None:
    value = {metric: line["value"] for metric, line in found.items()}
    assert value["failed_statements"] == 0
    assert 0 < value["longest_wait_ms"] <= value["lock_timeout_ms"] == LOCK_TIMEOUT_MS
    assert value["statements"] > 500
    assert value["migrations"] == 2 * len(REVISIONS)
    targets = {metric for metric, line in found.items() if line.get("holds")}
    assert targets == {"failed_statements", "longest_wait_ms", "rewrites", "wrong_documents"}


def check_details(found: dict[str, Any]) -> None:
    """Check that all phases were seen, and that migrations met transactions with locks."""
    phases = found["phases"]
    assert all(phase["statements"] > 0 for phase in phases if phase["runs"])
    assert {phase["title"] for phase in phases if phase["direction"] == "fill"} == {
        revision.title for revision in REVISIONS if revision.settled
    }
    (created,) = (
        p
        for p in phases
        if p["title"] == "create_search_index" and p["cycle"] == 1 and p["direction"] == "upgrade"
    )
    assert created["migration_waits"] > 1
    assert any("migration" in wait["blockers"] for wait in found["longest_waits"])


@pytest.fixture(scope="module")
def bad(server_url: str) -> Result:
    """What is seen of migrations that do what they should not."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE_URL", server_url)
        settings = Settings(rows=500, connections=3, cycles=1, lock_timeout_ms=300)
        return measure(settings, ENDS_BADLY)


def test_a_lock_that_is_held_too_long_is_noticed(
    bad: Result, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bad.longest_wait_ms >= 900
    (phase, _, _, _) = bad.phases
    assert bad.summary(phase).longest_wait_ms == bad.longest_wait_ms
    assert not bad.tell()
    assert not measurements(capsys.readouterr().out)["longest_wait_ms"]["holds"]


def test_a_statement_that_fails_is_noticed(bad: Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert 'point: column "title" does not exist (42703)' in {
        error.partition("\n")[0] for error in bad.errors
    }
    failed = [bad.summary(phase).failed for phase in bad.phases]
    assert failed[1] > 0
    assert failed[3] == 0
    bad.tell()
    assert not measurements(capsys.readouterr().out)["failed_statements"]["holds"]
