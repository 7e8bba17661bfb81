"""`pgsearch advise`: what it measures is what a brute-force computation finds."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from pgsearch import database as product
from pgsearch import registry
from pgsearch.cli import main
from pgsearch.declare import Embedding, Model
from pgsearch.errors import DatabaseError, Error
from pgsearch.evaluate.advise import Advice, Plan, Variant, advise
from pgsearch.testing import HashEmbedder
from tests.plugins.postgres import Databases
from tests.plugins.worker import Stories

ROWS = 800
WORDS = (
    *("river", "flood", "mill", "baker", "wind", "harbour", "boat"),
    *("winter", "bridge", "lamp", "letter", "field", "stone", "rain"),
)
ASKED = tuple(f"{one} and {other}" for one in WORDS[:5] for other in WORDS[5:9])


@pytest.fixture(scope="module")
def filled(databases: Databases, story_template: str) -> Iterator[Stories]:
    """Stories that share words, each with a vector of 64 dimensions."""
    draw = random.Random(7)
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        stories = Stories(url, connection)
        bodies = [f"{' '.join(draw.choices(WORDS, k=6))} {number}" for number in range(ROWS)]
        connection.cursor().executemany(
            "INSERT INTO story (body) VALUES (%s)", [(b,) for b in bodies]
        )
        stories.drain()
        yield stories


def advised(stories: Stories, plan: Plan) -> Advice:
    """Return the advice, given on a connection of its own, as the command gives it."""
    with product.connect(stories.url, row_security=True) as connection:
        (index,) = registry.read(connection)
        return advise(connection, index, index.embeddings[0], plan)


def run(stories: Stories, *arguments: str) -> Result:
    return CliRunner().invoke(
        main,
        ["--database", stories.url, "advise", *arguments],
        env={"COLUMNS": "80", "TERM": "dumb"},
    )


def lines(done: Result) -> list[dict[str, Any]]:
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def vectors(filled: Stories) -> np.ndarray:
    rows = filled.execute("SELECT embedding_hash_v1::text FROM story_search_chunk")
    return np.array([json.loads(text) for (text,) in rows])


@pytest.fixture(scope="module")
def asked() -> np.ndarray:
    return np.array([vector.to_list() for vector in HashEmbedder(64).embed_queries(ASKED)])


@pytest.fixture(scope="module")
def advice(filled: Stories, asked: np.ndarray) -> Advice:
    """What is advised of all rows, whole and cut to 16 dimensions, for forty queries."""
    texts = [json.dumps(list(vector)) for vector in asked]
    return advised(filled, Plan(asked=texts, dimensions=(16,), m=(16,), recall=0.9))


def similarities(asked: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    def unit(rows: np.ndarray) -> np.ndarray:
        return rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(min=1e-12)

    return unit(asked) @ unit(vectors).T


def share(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the recall of ten: of what is as near as the tenth nearest, any will do."""
    tenth = np.sort(truth, axis=1)[:, -10:][:, :1]
    hits = np.take_along_axis(truth, found, axis=1) >= tenth - 1e-6
    return float(hits.sum(axis=1).clip(max=10).mean() / 10)


def test_every_precision_is_measured(advice: Advice) -> None:
    assert [each.variant for each in advice.measured] == [
        Variant(type_, index, 16, dimensions)
        for dimensions in (64, 16)
        for type_, index in (
            ("vector", "vector"),
            ("vector", "halfvec"),
            ("vector", "bit"),
            ("halfvec", "halfvec"),
            ("halfvec", "bit"),
        )
    ]
    assert (advice.rows, advice.sampled, advice.queries) == (ROWS, ROWS, len(ASKED))
    assert (advice.column.type, advice.column.index) == ("vector", "vector")
    for each in advice.measured:
        assert [point.ef_search for point in each.points] == [40, 100, 200, 300, 400, 800]
        assert all(point.p50_ms > 0 for point in each.points)


def test_recall_is_that_of_a_brute_force_computation(
    advice: Advice, asked: np.ndarray, vectors: np.ndarray
) -> None:
    truth = similarities(asked, vectors)
    for dimensions in (64, 16):
        cut = similarities(asked[:, :dimensions], vectors[:, :dimensions])
        expected = share(np.argsort(-cut, axis=1)[:, :10], truth)
        for each in advice.measured:
            if each.variant.dimensions == dimensions and each.variant.index != "bit":
                # As many candidates as there are rows.
                assert each.points[-1].recall == pytest.approx(expected, abs=0.02)
    assert expected < 0.9


def test_bits_find_what_their_order_allows(
    advice: Advice, asked: np.ndarray, vectors: np.ndarray
) -> None:
    """The nearest of so many candidates by Hamming distance; equally far ones may be in or out."""
    truth = similarities(asked, vectors)
    apart = np.count_nonzero((asked > 0)[:, None, :] != (vectors > 0)[None, :, :], axis=2)
    (bits,) = (each for each in advice.measured if each.variant == Variant("vector", "bit", 16, 64))
    for point in bits.points[:3]:
        bounds = []
        for sign in (1, -1):
            order = np.lexsort((sign * truth, apart))[:, : point.ef_search]
            near = np.take_along_axis(truth, order, axis=1)
            best = np.take_along_axis(order, np.argsort(-near, axis=1)[:, :10], axis=1)
            bounds.append(share(best, truth))
        assert bounds[0] - 0.03 <= point.recall <= bounds[1] + 0.03
    assert bits.points[0].recall < bits.points[2].recall


def test_bytes_are_those_of_the_types(advice: Advice) -> None:
    sizes = {each.variant: each for each in advice.measured}
    assert sizes[Variant("vector", "vector", 16, 64)].column_bytes == 4 * 64 + 8
    assert sizes[Variant("halfvec", "bit", 16, 64)].column_bytes == 2 * 64 + 8
    graphs = [
        sizes[Variant("vector", of, 16, 64)].graph_bytes for of in ("vector", "halfvec", "bit")
    ]
    assert graphs == sorted(graphs, reverse=True)
    # Of the vector alone: four bytes for each number, against two, against a bit.
    assert graphs[0] - graphs[1] == pytest.approx(2 * 64, rel=0.35)


def test_bytes_count_vectors_in_their_rows_and_out_of_them(
    databases: Databases, story_template: str
) -> None:
    """In rows that are long PostgreSQL keeps vectors outside, in short ones inside."""
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        stories = Stories(url, connection)
        connection.cursor().executemany(
            "INSERT INTO story (body) VALUES (%s)", [(f"river {number}",) for number in range(600)]
        )
        stories.drain()
        connection.execute(
            "UPDATE story_search_chunk SET content = ("
            "SELECT string_agg(md5(n::text), '') FROM generate_series(1, 100) AS n)"
            " WHERE id % 3 = 0"
        )
        advice = advised(stories, Plan(queries=10, m=(16,)))
    sizes = {each.variant: each.column_bytes for each in advice.measured}
    kept = sizes[Variant("vector", "vector", 16, 64)]
    assert 4 * 64 + 8 < kept < 1.5 * (4 * 64 + 8)
    assert sizes[Variant("halfvec", "halfvec", 16, 64)] < kept


def test_the_recommendation_follows_the_target(advice: Advice) -> None:
    found = [
        replace(advice, plan=replace(advice.plan, recall=recall)).recommended
        for recall in (0.15, 0.95, 1.0)
    ]
    small, exact, _ = (each and each.variant for each in found)
    assert small == Variant("halfvec", "bit", 16, 16)
    assert exact == Variant("halfvec", "bit", 16, 64)
    assert found[2] is None or found[2].least(1.0) is not None


def test_the_declaration_declares_what_was_measured(advice: Advice) -> None:
    for each in advice.measured:
        declared = eval(advice.declaration(each), {"Embedding": Embedding, "Model": Model})
        variant, precision = each.variant, declared.precision
        assert (precision.type, precision.index) == (variant.type, variant.index)
        assert (declared.m, precision.dimensions) == (variant.m, variant.dimensions)


def test_the_command_says_what_to_declare(filled: Stories) -> None:
    done = run(filled, "story_search", "--recall", "0.9", "--queries", "40", "--m", "16")
    assert done.exit_code == 0, done.stderr
    said = done.stdout
    assert "story_search, hash_v1: 760 of 800 vectors, 40 queries" in said
    assert max(map(len, said.splitlines()[:7])) <= 80
    assert "Embedding('hash_bits', Model('hash-64', dimensions=64, provider='hash'), " in said
    assert "type='halfvec', index='bit', m=16)" in said
    upgrade = "pgsearch upgrade story_search --to hash_v1 --as hash_bits"
    assert f"{upgrade} --vector-type halfvec --index-type bit" in said
    assert "is enough; a search takes 300 by itself" in said
    assert "--queries-from FILE" in said
    assert "A sample flatters" not in said


def test_a_sample_counts_on_more_candidates_for_the_table(filled: Stories) -> None:
    options = ("--sample", "500", "--queries", "40", "--m", "8", "--recall", "0.6", "--json")
    *measured, last = lines(run(filled, "story_search", *options))
    assert (last["rows"], last["sampled"], last["queries"]) == (ROWS, 500, 40)
    assert len(measured) == 5
    for each in measured:
        least = next(point for point in each["points"] if point["recall"] >= 0.6)
        assert each["ef_search"] == least["ef_search"]
        more = least["ef_search"] * (ROWS / 500) ** 0.4
        assert each["ef_search_of_all"] == 10 * math.ceil(more / 10)
    assert last["declaration"].startswith("Embedding('hash_")
    said = run(filled, "story_search", *options[:-1]).stdout
    assert "counts on 1.2 times the sample's ef_search" in " ".join(said.split())


def test_queries_of_a_file_are_asked_and_shorter_vectors_warned_of(
    filled: Stories, tmp_path: Path
) -> None:
    path = tmp_path / "queries.txt"
    path.write_text("\n".join(ASKED), encoding="utf-8")
    options = ("--queries-from", str(path), "--m", "16", "--dimensions", "16", "--json")
    *measured, last = lines(run(filled, "story_search", "hash_v1", *options))
    assert (last["queries"], last["sampled"]) == (len(ASKED), ROWS)
    assert [each["dimensions"] for each in measured] == [64] * 5 + [16] * 5
    assert [note for note in last["notes"] if "truncate=True" in note]
    assert not [note for note in last["notes"] if "--queries-from" in note]


def test_queries_of_the_log_are_asked(filled: Stories, tmp_path: Path) -> None:
    path = tmp_path / "queries.txt"
    path.write_text(ASKED[0], encoding="utf-8")
    both = run(filled, "story_search", "--logged", "5", "--queries-from", str(path))
    assert "Both --queries-from and --logged say what to ask" in both.stderr
    none = run(filled, "story_search", "--logged", "5")
    assert "There is no query in the log of story_search" in none.stderr
    for query in ASKED[:7]:
        filled.execute("SELECT pgsearch.log_search('story_search', %s, '[]')", query)
    options = ("--logged", "5", "--m", "8", "--sample", "500", "--json")
    assert lines(run(filled, "story_search", *options))[-1]["queries"] == 5


def test_a_column_of_half_vectors_is_measured_as_such(
    databases: Databases, filled: Stories, story_template: str
) -> None:
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        stories = Stories(url, connection)
        for number in range(600):
            stories.insert(f"{WORDS[number % 14]} {WORDS[number % 11]} {number}")
        stories.drain()
        stories.execute("DROP INDEX story_search_hash_v1_hnsw")
        stories.execute(
            "ALTER TABLE story_search_chunk ALTER COLUMN embedding_hash_v1 TYPE halfvec(64)"
        )
        advice = advised(stories, Plan(queries=20, m=(16,)))
    found = [(each.variant.type, each.variant.index) for each in advice.measured]
    assert found == [("halfvec", "halfvec"), ("halfvec", "bit")]
    assert (advice.column.type, advice.column.index) == ("halfvec", None)
    assert all(each.points[-1].recall > 0.95 for each in advice.measured)


def test_nothing_is_left_behind(filled: Stories, asked: np.ndarray) -> None:
    left = "SELECT relname FROM pg_class WHERE relname LIKE 'pgsearch_%%' AND relpersistence = 't'"
    settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' ORDER BY name"
    with product.connect(filled.url, row_security=True) as connection:
        (index,) = registry.read(connection)
        before = connection.execute(settings).fetchall()
        plan = Plan(asked=[json.dumps(list(asked[0]))], m=(8,))
        advise(connection, index, index.embeddings[0], plan)
        assert connection.execute(settings).fetchall() == before
        assert connection.execute(left).fetchall() == []

        def stop(step: object) -> None:
            if connection.execute(left).fetchall():
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            advise(connection, index, index.embeddings[0], plan, on_step=stop)
        assert connection.execute(settings).fetchall() == before
        assert connection.execute(left).fetchall() == []
    assert filled.states() == {"hash_v1": "active"}


def test_what_cannot_be_measured_is_said(stories: Stories, filled: Stories) -> None:
    assert "has no active embedding" in run(stories, "story_search").stderr
    few = run(stories, "story_search", "hash_v1")
    assert few.exit_code == 1
    assert "has 0 vectors: fewer than 500 say nothing of an index" in few.stderr
    assert "pgsearch sync" in few.stderr
    assert "no embedding 'none_v1'" in run(stories, "story_search", "none_v1").stderr
    longer = run(filled, "story_search", "--dimensions", "65")
    assert "Vectors of hash_v1 have 64 dimensions, and cannot be cut to 65" in longer.stderr
    with pytest.raises(Error):
        advised(filled, Plan(dimensions=(65,)))


def test_a_session_without_temporary_tables_is_said(filled: Stories) -> None:
    """As on a standby; and not what the cleaning up ran into."""
    with product.connect(filled.url, row_security=True) as connection:
        connection.execute("SET default_transaction_read_only = on")
        (index,) = registry.read(connection)
        with pytest.raises(DatabaseError, match="this session can only read") as caught:
            advise(connection, index, index.embeddings[0], Plan())
    assert "primary" in str(caught.value.hint)


def test_a_target_that_nothing_reaches_is_an_error(filled: Stories) -> None:
    options = ("--recall", "1", "--queries", "200", "--m", "2", "--sample", "500")
    done = run(filled, "story_search", *options)
    assert done.exit_code == 1
    assert "Nothing that was measured reaches a recall of 1" in done.stderr
    assert "halfvec" in done.stdout
