"""`pgsearch upgrade` and `pgsearch activate`: from one model to the next, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pgsearch.cli import main
from pgsearch.testing import HashEmbedder
from tests.plugins.worker import SENTENCES, Stories

ONE, TWO, THREE, FOUR = SENTENCES
HASH = ("--provider", "hash", "--as", "hash_v2")


def run(stories: Stories, *arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(
        main,
        ["--database", stories.url, *arguments],
        input=answer,
        env={"COLUMNS": "120", "TERM": "dumb"},
    )


@pytest.fixture
def answered(stories: Stories) -> Stories:
    """Stories whose first embedding answers."""
    stories.insert(*SENTENCES)
    stories.drain()
    assert stories.states() == {"hash_v1": "active"}
    return stories


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    texts = {1: "fishing boats when the storm came", 4: "telegraph line across the road"}
    lines = [json.dumps({"_id": str(n), "text": text}) for n, text in texts.items()]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines), encoding="utf-8")
    grades = [f"{n}\t{n}\t1" for n in texts]
    (tmp_path / "qrels.tsv").write_text("\n".join(["query\tdocument\tgrade", *grades]))
    return tmp_path


def test_the_whole_journey_and_back(answered: Stories, judged: Path) -> None:
    done = run(
        answered,
        *("upgrade", "story_search", "--to", "hash-32", "--dimensions", "32", *HASH),
        *("--judgements", str(judged), "--require", "ndcg10 >= -1"),
        answer="y\n",
    )
    assert done.exit_code == 0, done.stderr
    said = done.stdout
    order = [
        "story_search: hash_v2 is added, hash-32, 32 dimensions.",
        "story_search: 2 queries, hybrid, 10 results of each",
        "ndcg10",
        "Activate hash_v2 in place of hash_v1? [y/N]: y",
        "story_search: hash_v2 answers, and no longer hash_v1.",
        "To go back: pgsearch activate story_search hash_v1",
        "Embedding('hash_v2', Model('hash-32', dimensions=32, provider='hash'))",
    ]
    places = [said.index(line) for line in order]
    assert places == sorted(places)
    assert answered.states() == {"hash_v1": "ready", "hash_v2": "active"}
    both = {"hash_v1": HashEmbedder(64), "hash_v2": HashEmbedder(32)}
    assert (answered.waiting(), answered.differences(both)) == (0, [])

    back = run(answered, "activate", "story_search", "hash_v1")
    assert back.stdout.splitlines() == [
        "story_search: hash_v1 answers, and no longer hash_v2.",
        "To go back: pgsearch activate story_search hash_v2",
    ]
    assert answered.states() == {"hash_v1": "active", "hash_v2": "ready"}


def test_a_gate_stops_it_and_so_does_a_no(answered: Stories, judged: Path) -> None:
    upgrade = ("upgrade", "story_search", "--to", "hash-3", "--dimensions", "3", *HASH)
    refused = run(
        answered, *upgrade, "--judgements", str(judged), "--mode", "vector", "--require", "rbo > 2"
    )
    assert refused.exit_code == 1
    assert "does not meet what is required: rbo > 2" in refused.stderr
    assert "op.drop_embedding" in refused.stderr
    declined = run(answered, *upgrade, answer="n\n")
    assert declined.exit_code == 1
    assert "pgsearch canary story_search hash_v2 --share 10%" in declined.stdout
    assert "and active='hash_v1'" in declined.stdout
    assert answered.states() == {"hash_v1": "active", "hash_v2": "ready"}
    # A second run goes on where the first one stopped: nothing is added.
    assert "is added" not in declined.stdout
    assert run(answered, *upgrade, "--yes").exit_code == 0
    again = run(answered, *upgrade, "--yes")
    assert again.stdout.splitlines() == ["story_search: hash_v2 answers already."]


def test_where_nobody_can_be_asked_it_stays_ready(answered: Stories) -> None:
    upgrade = ("upgrade", "story_search", "--to", "hash-3", "--dimensions", "3", *HASH)
    left = run(answered, *upgrade, answer="")
    assert left.exit_code == 1
    assert "To activate it later: pgsearch activate story_search hash_v2" in left.stdout
    assert "Aborted" not in left.output
    assert answered.states() == {"hash_v1": "active", "hash_v2": "ready"}


def test_an_embedding_that_a_migration_has_added_or_retired(answered: Stories) -> None:
    answered.add_embedding("hash_v2", 32)
    done = run(answered, "upgrade", "story_search", "--to", "hash_v2", "--yes")
    assert done.exit_code == 0, done.stderr
    assert answered.states() == {"hash_v1": "ready", "hash_v2": "active"}
    answered.execute("SELECT pgsearch.retire_embedding('public', 'story_search', 'hash_v1')")
    answered.insert(THREE)
    assert run(answered, "upgrade", "story_search", "--to", "hash_v1", "--yes").exit_code == 0
    assert answered.states() == {"hash_v1": "active", "hash_v2": "ready"}


def test_one_that_was_added_and_retired_is_restored_by_its_model(answered: Stories) -> None:
    upgrade = ("upgrade", "story_search", "--to", "hash-3", "--dimensions", "3", *HASH)
    run(answered, *upgrade, answer="n\n")
    answered.execute("SELECT pgsearch.retire_embedding('public', 'story_search', 'hash_v2')")
    assert run(answered, *upgrade, "--yes").exit_code == 0
    assert answered.states() == {"hash_v1": "ready", "hash_v2": "active"}


def test_another_precision_takes_another_name(answered: Stories) -> None:
    done = run(answered, "upgrade", "story_search", "--to", "hash_v1", "--index-type", "halfvec")
    assert done.exit_code == 1
    assert "'hash_v1' has a column of vector and a graph of vector already" in done.stderr
    assert "--as" in done.stderr
    assert answered.states() == {"hash_v1": "active"}


def test_another_declaration_takes_another_name(answered: Stories) -> None:
    upgrade = ("upgrade", "story_search", "--to", "hash-3", "--dimensions", "3", *HASH)
    run(answered, *upgrade, answer="n\n")
    done = run(answered, *upgrade, "--query-prompt", "query: ", "--yes")
    assert done.exit_code == 1
    assert "was added with query_prompt '', which is not changed in place" in done.stderr
    assert answered.states()["hash_v1"] == "active"


def test_a_model_of_another_provider_is_named_as_it_was_added(answered: Stories) -> None:
    answered.add_embedding("hash_v2", 32, model="hash-two")
    done = run(answered, "upgrade", "story_search", "--to", "hash-two", "--as", "hash_v2", "--yes")
    assert done.exit_code == 0, done.stderr
    assert answered.states() == {"hash_v1": "ready", "hash_v2": "active"}


def test_what_is_not_asked_for_is_as_it_was(answered: Stories) -> None:
    upgrade = ("upgrade", "story_search", "--to", "hash_v1")
    half = ("--as", "half_v1", "--vector-type", "halfvec")
    assert run(answered, *upgrade, *half, answer="n\n").exit_code == 1
    done = run(answered, *upgrade, "--as", "half_v1", "--vector-type", "vector")
    assert "'half_v1' has a column of halfvec and a graph of halfvec already" in done.stderr
    assert run(answered, *upgrade, "--as", "half_v1", "--yes").exit_code == 0
    assert answered.states() == {"hash_v1": "ready", "half_v1": "active"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["upgrade", "nowhere", "--to", "hash-32", *HASH], "There is no search index 'nowhere'"),
        (["upgrade", "story_search", "--to", "x", "--require", "rbo > 0"], "something to compare"),
        (["upgrade", "story_search", "--to", "hash-9", "--as", "Hash"], "not a lower-case word"),
        (
            ["upgrade", "story_search", "--to", "hash-9", "--as", "hash_v1", "--provider", "hash"],
            "has an embedding 'hash_v1' already, of another model",
        ),
        (["upgrade", "story_search", "--to", "hash", *HASH], "has vectors of any length"),
        (["activate", "story_search", "hash_v9"], "has no embedding 'hash_v9'"),
    ],
)
def test_what_cannot_be_is_said(answered: Stories, arguments: list[str], message: str) -> None:
    if "hash-9" in arguments:
        arguments = [*arguments, "--dimensions", "9", "--revision", "a" * 40]
    done = run(answered, *arguments)
    assert (done.exit_code, answered.states()) == (1, {"hash_v1": "active"})
    assert message in done.stderr
    assert "hint:" in done.stderr


def test_an_activation_passes_the_gate_or_is_none(answered: Stories, judged: Path) -> None:
    answered.add_embedding("weak_v1", 3)
    answered.drain()
    asked = ("activate", "story_search", "weak_v1", "--mode", "vector", "--judgements", str(judged))
    stopped = run(answered, *asked, "--require", "overlap10 >= 1.1")
    assert stopped.exit_code == 1
    assert "overlap10" in stopped.stderr
    assert answered.states()["hash_v1"] == "active"
    bare = run(answered, "activate", "story_search", "weak_v1", "--require", "rbo >= 0")
    assert bare.exit_code == 1
    assert "--require needs something to compare by" in bare.stderr
    passed = run(answered, *asked, "--require", "ndcg10 >= -1")
    assert passed.exit_code == 0, passed.stderr
    assert "ndcg10" in passed.stdout
    assert answered.states()["weak_v1"] == "active"


def test_what_is_lost_by_text_alone_is_said(answered: Stories) -> None:
    answered.add_embedding("weak_v1", 3)
    answered.drain()
    distilled = run(answered, "distill", "story_search", "hash_v1")
    assert distilled.exit_code == 0, distilled.stderr
    done = run(answered, "activate", "story_search", "weak_v1")
    assert "weak_v1 has no encoder: keywords answer who asks by text alone." in done.stdout
    assert "pgsearch distill story_search weak_v1" in done.stdout
    back = run(answered, "activate", "story_search", "hash_v1")
    assert "encoder" not in back.stdout


def test_one_that_is_not_ready_is_not_activated(answered: Stories) -> None:
    answered.add_embedding("hash_v2", 32)
    done = run(answered, "activate", "story_search", "hash_v2")
    assert done.exit_code == 1
    assert "cannot be activated: it is filling" in done.stderr
    assert "pgsearch sync" in done.stderr
