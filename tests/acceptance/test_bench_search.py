"""`python -m bench.search` on two small sizes, with everything but langchain-postgres."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.search.langchain_environment import LANGCHAIN

ROOT = Path(__file__).parents[2]


def test_two_sizes_are_measured_and_drawn(server_url: str, tmp_path: Path) -> None:
    peers = [] if LANGCHAIN.is_installed else ["--no-langchain"]
    done = subprocess.run(
        [
            sys.executable, "-m", "bench.search", "--rows", "2000", "--rows", "4000",
            "--queries", "10", "--judged", "10", "--json", str(tmp_path / "seen.json"),
            "--svg", str(tmp_path), *peers,
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": server_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr  # on so few rows no target says anything
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    metrics = {(line["case"], line["metric"]) for line in lines}
    for case in ("2000 rows", "4000 rows"):
        for ratio in ("hybrid_p50_ratio", "vector_p50_ratio", "keyword_p95_ratio"):
            assert (case, ratio) in metrics
        for share in ("100", "50", "10", "1", "0.1"):
            assert (f"{case}, filter {share} %", "recall10") in metrics
    assert ("4000 rows to 2000", "keyword_growth") in metrics
    recall = [line["value"] for line in lines if line["metric"] == "recall10"]
    assert min(recall) > 0.9
    assert "4,000 documents" in (tmp_path / "search.svg").read_text(encoding="utf-8")
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert [each["settings"]["rows"] for each in seen] == [2000, 4000]
