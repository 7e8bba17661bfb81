"""`pgsearch compare`: two embeddings answer the same queries, one of them badly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgsearch import database as product
from pgsearch.cli import main
from tests.plugins.postgres import Databases
from tests.plugins.worker import SENTENCES, Stories

#: What is asked, and which story answers it, whose words it has.
JUDGED = {
    "fishing boats when the storm came": 1,
    "such a wind since the winter": 2,
    "closed her shutters and carried the flour": 3,
    "telegraph line fell across the road": 4,
}


@pytest.fixture(scope="module")
def compared(databases: Databases, story_template: str) -> Iterator[Stories]:
    """Forty stories with two embeddings; of the second one only 3 dimensions are left."""
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        stories = Stories(url, connection)
        stories.insert(*SENTENCES, *(f"Story {n} of something else." for n in range(36)))
        stories.add_embedding("weak_v1", 3)
        stories.drain()
        assert stories.states() == {"hash_v1": "active", "weak_v1": "ready"}
        yield stories


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The judgements in BEIR's layout, with one of a story that is not there."""
    folder = tmp_path_factory.mktemp("judged")
    lines = [json.dumps({"_id": f"q{n}", "text": text}) for text, n in JUDGED.items()]
    (folder / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    grades = [f"q{n}\t{n}\t1" for n in JUDGED.values()] + ["q1\t4711\t0", "q9\t1\t1"]
    (folder / "qrels.tsv").write_text("\n".join(["query\tdocument\tgrade", *grades]))
    return folder


def run(stories: Stories, *arguments: str) -> Result:
    return CliRunner().invoke(
        main,
        ["--database", stories.url, "compare", *arguments],
        env={"COLUMNS": "120", "TERM": "dumb"},
    )


def figures(stories: Stories, *arguments: str) -> dict[str, float]:
    done = run(stories, *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return dict(json.loads(done.stdout)["figures"])


def test_the_better_embedding_is_better_by_every_metric(compared: Stories, folder: Path) -> None:
    done = run(
        compared, "hash_v1", "weak_v1", "--judgements", str(folder), "--mode", "vector", "--json"
    )
    found = json.loads(done.stdout)
    assert found["queries"] == list(JUDGED)
    for metric in ("ndcg10", "recall10", "mrr10"):
        judged = found["judged"][metric]
        assert judged["first"] == pytest.approx(1)
        assert judged["difference"] == pytest.approx(judged["second"] - judged["first"])
        assert 0 < judged["p"] <= 1
    assert found["judged"]["ndcg10"]["difference"] < -0.3
    assert 0 <= found["overlap"] < 0.9
    assert 0 <= found["rbo"] < 0.9
    # 3 dimensions take less than 64, in the table and in the index.
    assert found["figures"]["size_ratio"] < 1
    assert found["first"]["cost_per_million"] is None
    assert found["first"]["vectors"] == found["second"]["vectors"] == 40
    worst = found["queries"][found["unlike"][0]]
    assert found["second"]["answers"][list(JUDGED).index(worst)][0][0] != [str(JUDGED[worst])]


def test_an_embedding_is_like_itself(compared: Stories, folder: Path) -> None:
    found = figures(compared, "hash_v1", "hash_v1", "--judgements", str(folder))
    assert found["overlap10"] == pytest.approx(1)
    assert found["rbo"] == pytest.approx(1)
    assert found["ndcg10"] == 0


def test_a_table_of_judgements_gives_the_same(compared: Stories, folder: Path) -> None:
    compared.execute(
        "CREATE TABLE judged AS SELECT query, grade, id FROM (VALUES "
        + ", ".join(f"('{text}', 1, {n})" for text, n in JUDGED.items())
        + ") AS given (query, grade, id)"
    )
    options = ("--mode", "vector")
    by_table = figures(compared, "hash_v1", "weak_v1", "--judgements-table", "judged", *options)
    by_folder = figures(compared, "hash_v1", "weak_v1", "--judgements", str(folder), *options)
    for metric in ("ndcg10", "recall10", "mrr10", "overlap10", "rbo"):
        assert by_table[metric] == pytest.approx(by_folder[metric])


def test_queries_without_judgements_show_what_differs_side_by_side(
    compared: Stories, tmp_path: Path
) -> None:
    queries = tmp_path / "queries.txt"
    queries.write_text("\n\n".join(JUDGED) + "\n" + next(iter(JUDGED)) + "\n", encoding="utf-8")
    done = run(compared, "hash_v1", "weak_v1", "--queries", str(queries), "--mode", "vector")
    assert done.exit_code == 0, done.stderr
    assert "story_search: 4 queries, vector, 10 results of each" in done.stdout
    for said in ("overlap10", "rbo", "search p95, ms", "query's vector, ms", "GB per million"):
        assert said in done.stdout
    assert "ndcg" not in done.stdout
    assert any(text in done.stdout for text in JUDGED)
    assert "1: The harbour was full" in done.stdout
    assert "cost per million" not in done.stdout
    compared.execute("UPDATE pgsearch.embedding SET token_price = 2 WHERE name = 'weak_v1'")
    priced = run(compared, "hash_v1", "weak_v1", "--queries", str(queries), "--mode", "vector")
    assert "cost per million chunks" in priced.stdout


def test_a_gate_is_met_or_not(compared: Stories, folder: Path) -> None:
    asked = ("hash_v1", "weak_v1", "--judgements", str(folder), "--mode", "vector")
    assert run(compared, *asked, "--require", "ndcg10 <= 0", "--require", "rbo>=0").exit_code == 0
    refused = run(compared, *asked, "--require", "ndcg10 >= -0.005")
    assert refused.exit_code == 1
    assert "does not meet what is required: ndcg10 >= -0.005 is required" in refused.stderr
    assert "hint:" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hash_v1", "none_v1"], "No search index has both"),
        (["hash_v1", "weak_v1"], "It is not said what to ask"),
        (["hash_v1", "weak_v1", "--logged", "5", "--chosen", "5"], "Several options say what"),
        (["hash_v1", "weak_v1", "--require", "better"], "'better' is no requirement"),
        (["hash_v1", "weak_v1", "--require", "mrr >= 0"], "no figure 'mrr'"),
        (["hash_v1", "weak_v1", "--judgements-table", "nowhere"], "cannot be read"),
        (["hash_v1", "weak_v1", "--judgements-table", "story"], "needs the columns query, grade"),
    ],
)
def test_what_cannot_be_compared_is_said(
    compared: Stories, folder: Path, arguments: list[str], message: str
) -> None:
    if "--require" in arguments:
        arguments = [*arguments, "--judgements", str(folder)]
    done = run(compared, *arguments)
    assert done.exit_code == 1
    assert message in done.stderr


def test_an_embedding_that_is_not_ready_is_refused(stories: Stories, tmp_path: Path) -> None:
    stories.insert(*SENTENCES)
    stories.drain()
    stories.add_embedding("hash_v2", 32)
    queries = tmp_path / "queries.txt"
    queries.write_text("storm", encoding="utf-8")
    done = run(stories, "hash_v1", "hash_v2", "--queries", str(queries))
    assert done.exit_code == 1
    assert "hash_v2' of search index story_search is filling" in done.stderr
    queries.write_text("\n", encoding="utf-8")
    assert "no query in" in run(stories, "hash_v1", "hash_v2", "--queries", str(queries)).stderr
