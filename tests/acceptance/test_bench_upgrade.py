"""`python -m bench.upgrade`: the whole journey for real, on few rows, with a few kills.

What depends on the machine is not judged here, nor what so few rows cannot show.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
ROWS, KILLS = 1000, 3

#: What holds on any machine and for any number of rows.
ALWAYS = {
    "searches",
    "refused_searches",
    "writes",
    "failed_searches",
    "short_searches",
    "half_filled_answers",
    "failed_writes",
    "hot_share",
    "kills_survived",
}


@pytest.fixture(scope="module")
def measured(server_url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the bench says, run on the tests' server, where its database must be gone in the end."""
    details = tmp_path_factory.mktemp("upgrade") / "details.json"
    command = [sys.executable, "-m", "bench.upgrade", f"--rows={ROWS}", f"--kills={KILLS}"]
    command += ["--seconds=3", f"--json={details}"]
    environment = {**os.environ, "DATABASE_URL": server_url}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=300)
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines, err
    with psycopg.connect(server_url) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%bench%{process.pid}%"]
        )
        assert left.fetchall() == []
    seen = json.loads(details.read_text())
    assert seen["load"]["failed"] == seen["load"]["failed_writes"] == []
    assert sum(seen["killed"].values()) == KILLS
    return {line["metric"]: line.get("holds") for line in lines if line["case"] == f"{ROWS} chunks"}


def test_nobody_notices(measured: dict[str, object]) -> None:
    assert {name: measured[name] for name in ALWAYS} == dict.fromkeys(ALWAYS, True)


def test_every_figure_is_told(measured: dict[str, object]) -> None:
    assert set(measured) - ALWAYS == {
        "activation_lock_ms",
        "search_p95_ratio",
        "fill_rows_s",
        "fill_cost_ratio",
        "old_index_growth",
    }
