"""`python -m bench.quality` on a small collection, with the real model, through everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).parents[2]

#: Title and text of each document; every query below is about one of them.
DOCUMENTS = [
    ("Photosynthesis", "Plants turn sunlight, water and carbon dioxide into sugar and oxygen."),
    ("Volcano", "Molten rock rises through the crust and erupts as lava and ash."),
    ("Tides", "The pull of the moon lifts the sea twice a day."),
    ("Vaccine", "A harmless piece of a germ teaches the immune system to fight it."),
    ("Printing press", "Movable type made books cheap in the fifteenth century."),
    ("Sourdough", "Flour and water ferment for days until wild yeast makes the bread rise."),
    ("Glacier", "Snow is pressed into ice that creeps down the valley."),
    ("Compass", "A magnetised needle points to the north."),
    ("Honey", "Bees thicken nectar and store it in wax cells."),
    ("Lighthouse", "A lamp on the cliff warns ships of the rocks at night."),
    ("Marathon", "Runners cover forty-two kilometres on the road."),
    ("Telescope", "Two lenses or a mirror make distant stars look near."),
    ("Origami", "A square of paper is folded into a crane."),
    ("Avalanche", "A slab of snow breaks off and slides down the slope."),
    ("Bicycle", "Pedals and a chain drive the rear wheel."),
    ("Violin", "A bow of horsehair makes the strings sing."),
    ("Desert", "Little rain falls, and days are hot while nights are cold."),
    ("Submarine", "Tanks are flooded to dive and blown empty to surface."),
    ("Chess", "Two players move sixteen pieces each on sixty-four squares."),
    ("Coral reef", "Tiny animals build limestone that shelters fish."),
]

#: Each query with the numbers of its relevant documents and their grades.
QUERIES = [
    ("how do plants make sugar from sunlight", {0: 2}),
    ("why does the sea rise twice a day because of the moon", {2: 1}),
    ("protection against a disease by injection", {3: 1}),
    ("snow sliding down a mountain", {13: 2, 6: 1}),
    ("two players on a board with squares", {18: 1}),
]

MODES = ("keyword", "vector", "hybrid")

#: Targets of every collection: how far a leg may stay behind what it approximates.
BEHIND = {"keyword_behind_bm25": "<= 0.003", "vector_behind_exact": "<= 0.002"}


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """The collection in BEIR's layout."""
    folder = tmp_path / "tiny"
    folder.mkdir()

    def write(name: str, lines: list[dict[str, str]]) -> None:
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))

    write(
        "corpus.jsonl",
        [{"_id": f"d{n}", "title": t, "text": text} for n, (t, text) in enumerate(DOCUMENTS)],
    )
    write("queries.jsonl", [{"_id": f"q{n}", "text": text} for n, (text, _) in enumerate(QUERIES)])
    judged = [
        f"q{n}\td{d}\t{grade}\n" for n, (_, g) in enumerate(QUERIES) for d, grade in g.items()
    ]
    (folder / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(judged))
    return folder


def bench(folder: Path, cache: Path, server_url: str) -> subprocess.CompletedProcess[str]:
    """Run the bench on the tests' server, where its own database must be gone in the end."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "bench.quality",
            "--data", str(folder), "--embeddings-cache", str(cache),
        ],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": server_url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    out, err = process.communicate(timeout=300)
    with psycopg.connect(server_url) as connection:
        left = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"%bench%{process.pid}%"]
        )
        assert left.fetchall() == []
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def measurements(output: str) -> dict[str, dict[str, Any]]:
    """Return the lines of standard output by metric: each one is a JSON object of its own."""
    lines = [json.loads(line) for line in output.splitlines()]
    found = {line["metric"]: line for line in lines}
    assert len(found) == len(lines)
    return found


def test_a_collection_is_measured_and_a_missed_target_is_said(
    collection: Path, tmp_path: Path, server_url: str
) -> None:
    """One test, for loading the model takes longest: the second run finds the first one's vectors.

    In the second run the collection is called scifact and has scifact's targets, which judging
    the wrong documents misses.
    """
    done = bench(collection, tmp_path / "cache", server_url)
    assert done.returncode == 0, done.stderr
    check_measurements(done.stdout)
    assert "hybrid, k = 10" in done.stderr

    scifact = collection.rename(tmp_path / "scifact")
    wrong = "".join(f"q{n}\td{10 + n % 2}\t1\n" for n in range(len(QUERIES)))
    (scifact / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + wrong)
    done = bench(scifact, tmp_path / "cache", server_url)
    assert done.returncode == 1, done.stderr
    found = measurements(done.stdout)
    targets = {metric: line["target"] for metric, line in found.items() if "target" in line}
    assert targets == {
        "keyword_ndcg10": ">= 0.660",
        "vector_ndcg10": ">= 0.640",
        "hybrid_ndcg10": ">= 0.712",
        **BEHIND,
    }
    assert {metric: found[metric]["holds"] for metric in targets} == {
        metric: metric in BEHIND for metric in targets
    }
    assert (found["chunks"]["value"], found["embedded"]["value"]) == (20, 0)


def check_measurements(output: str) -> None:
    """Check what the bench says of the collection as it was judged."""
    found = measurements(output)
    assert {line["case"] for line in found.values()} == {"tiny"}
    targets = {metric: line["target"] for metric, line in found.items() if "target" in line}
    assert targets == BEHIND
    assert all(found[metric]["holds"] for metric in BEHIND)
    value = {metric: line["value"] for metric, line in found.items()}
    assert (value["rows"], value["chunks"], value["queries"]) == (20, 20, 5)
    # Twenty chunks, and the probes of the model's fingerprint.
    assert value["embedded"] >= 20
    assert value["embed_query_p50_ms"] > 0
    for mode in MODES:
        assert 0.5 < value[f"{mode}_ndcg10"] <= 1
        assert 0.5 < value[f"{mode}_recall100"] <= 1
        assert 0 < value[f"{mode}_p50_ms"] <= value[f"{mode}_p95_ms"]
    # All but one query share words with their documents; the model understands that one too.
    assert value["vector_recall100"] == 1
    assert value["vector_ndcg10"] > value["keyword_ndcg10"]


def test_a_folder_that_is_no_collection_is_an_error(tmp_path: Path, server_url: str) -> None:
    done = bench(tmp_path, tmp_path / "cache", server_url)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "corpus.jsonl" in done.stderr
    assert "Traceback" not in done.stderr
