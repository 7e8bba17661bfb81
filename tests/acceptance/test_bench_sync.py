"""`python -m bench.sync`: every part runs for real, on very few rows.

pgai takes part where the bench has installed it before; it is not installed for a test.
"""

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

from bench.sync.command import PARTS, PICTURES
from bench.sync.pgai_environment import ENVIRONMENT

ROOT = Path(__file__).parents[2]
ROWS = 400


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sync")


@pytest.fixture(scope="module")
def done(server_url: str, output: Path) -> subprocess.CompletedProcess[str]:
    """The bench, run on the tests' server, where its own databases must be gone in the end."""
    command = [
        sys.executable,
        "-m",
        "bench.sync",
        f"--rows={ROWS}",
        "--rounds=1",
        f"--svg={output}",
    ]
    command += [f"--json={output / 'details.json'}"]
    command += [] if ENVIRONMENT.is_installed else ["--no-pgai"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": server_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=600)
    with psycopg.connect(server_url) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%bench%{process.pid}%"]
        )
        assert left.fetchall() == []
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def found(done: subprocess.CompletedProcess[str]) -> dict[tuple[str, str], dict[str, Any]]:
    """The measurements by case and metric."""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    by_name = {(line["case"], line["metric"]): line for line in lines}
    assert len(by_name) == len(lines)
    return by_name


def test_the_exit_status_says_whether_all_targets_are_met(
    done: subprocess.CompletedProcess[str], found: dict[tuple[str, str], dict[str, Any]]
) -> None:
    with_target = {name for name, line in found.items() if "target" in line}
    expected = {
        ("race", "rows_per_s"),
        ("model", "end_to_end_over_encode"),
        ("writer", "text_write_ratio"),
        ("writer", "unrelated_update_ratio"),
        ("freshness, minilm", "freshness_p95_ms"),
        ("freshness, hash", "freshness_p95_ms"),
        ("memory", "memory_growth"),
    }
    if ENVIRONMENT.is_installed:
        expected.add(("race", "ratio_to_pgai"))
    assert with_target == expected
    met = all(found[name]["holds"] for name in with_target)
    assert done.returncode == (0 if met else 1), done.stderr


def test_every_part_has_measured_something(
    found: dict[tuple[str, str], dict[str, Any]], output: Path
) -> None:
    value = {name: line["value"] for name, line in found.items()}
    assert value["race", "rows"] == ROWS
    assert 0 < value["race", "rows_per_s"] < value["race", "copy_rows_per_s"]
    assert value["model", "chunks"] >= value["model", "documents"] >= 20
    assert value["model", "end_to_end_over_encode"] > 0
    for case in ("freshness, minilm", "freshness, hash"):
        assert value[case, "commits"] >= 4
        assert 0 < value[case, "freshness_p50_ms"] <= value[case, "freshness_p95_ms"]
    # A row cannot be found before the model has embedded it.
    assert value["freshness, minilm", "freshness_p50_ms"] > value["freshness, hash", "model_p50_ms"]
    assert value["memory", "largest_mb"] >= value["memory", "warm_mb"] > 10
    details = json.loads((output / "details.json").read_text())
    assert details.keys() == PARTS.keys()
    assert len(details["race"]["runs"]["pgsearch"]) == 1
    assert details["memory"]["samples"][-1]["embedded"] == value["memory", "rows"]


def test_pgai_takes_part_where_it_is_installed(
    found: dict[tuple[str, str], dict[str, Any]], output: Path
) -> None:
    details = json.loads((output / "details.json").read_text())
    if not ENVIRONMENT.is_installed:
        assert ("race", "pgai_rows_per_s") not in found
        return
    assert found["race", "pgai_rows_per_s"]["value"] > 0
    tried = details["race"]["pgai_tried"]
    best = max(tried, key=lambda each: each["rows_per_s"])
    assert found["race", "pgai_batch_size"]["value"] == best["batch_size"]
    assert found["race", "pgai_concurrency"]["value"] == best["concurrency"]


@pytest.mark.usefixtures("done")
def test_pictures_are_drawn(output: Path) -> None:
    assert {path.name for path in output.glob("*.svg")} == {f"sync-{p}.svg" for p in PICTURES}
    for path in output.glob("*.svg"):
        kinds = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert kinds & {"polyline", "rect"}
