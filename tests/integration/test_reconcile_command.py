"""`pgsearch reconcile`: what people read of it, and what a script gets."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from click.testing import CliRunner, Result

from pgsearch.cli import main
from pgsearch.testing import HashEmbedder
from tests.plugins.reconcile import all_versions
from tests.plugins.worker import Stories


def run(url: str, *arguments: str, columns: int = 100) -> Result:
    return CliRunner().invoke(
        main,
        ["--database", url, "reconcile", *arguments],
        env={"COLUMNS": str(columns), "TERM": "dumb"},
    )


def lines(result: Result) -> list[str]:
    """Return what was printed, without what aligns it."""
    return [" ".join(line.split()) for line in result.stdout.splitlines()]


@pytest.fixture
def damaged(whole: Stories) -> Stories:
    """Stories of which some were changed unseen."""
    for statement in (
        "SET session_replication_role = replica",
        "DELETE FROM story WHERE id = 2",
        "INSERT INTO story (id) SELECT -n FROM generate_series(1, 7) AS n",
        "RESET session_replication_role",
        "UPDATE story_search_chunk SET embedding_hash_v1 = NULL WHERE (id, ordinal) = (3, 0)",
    ):
        whole.execute(statement)
    return whole


@pytest.mark.parametrize("columns", [20, 100])
def test_a_dry_run_shows_what_is_wrong_and_writes_nothing(damaged: Stories, columns: int) -> None:
    before = all_versions(damaged.connection)
    done = run(damaged.url, "--dry-run", columns=columns)
    assert done.exit_code == 1
    shown = lines(done)
    assert shown[0] == "story_search: 14 rows and 4 vectors compared"
    assert shown[1:] == [
        "found what that is first rows",
        "7 missing documents a row has none -7, -6, -5, -4, -3, …",
        "1 orphaned document there is no such row 2",
        "3 orphaned chunks there is no such row 2",
        "1 missing vector of hash_v1 a chunk has none 3",
        "Nothing was written. To have it mended: pgsearch reconcile story_search",
    ]
    assert all_versions(damaged.connection) == before


def test_a_run_says_what_it_asked_for(damaged: Stories) -> None:
    damaged.execute("UPDATE story SET body = 'Changed.' WHERE id = 5")
    damaged.execute("UPDATE story SET body = 'Changed.' WHERE id = 6")
    damaged.execute("UPDATE story_search_queue SET failed_at = now(), attempts = 5 WHERE id = 6")
    done = run(damaged.url)
    assert done.exit_code == 0
    parked = (
        "1 row is parked, where the model failed: `pgsearch status` says why, "
        "`pgsearch retry` has it tried again."
    )
    assert lines(done)[-3:] == [
        "9 rows are put into the queue: `pgsearch sync`, or a worker, does the rest.",
        "1 row is left alone: the queue has them already.",
        parked,
    ]
    damaged.execute("UPDATE story_search_queue SET failed_at = NULL")
    damaged.drain()
    done = run(damaged.url, "story_search", "--dry-run", "--vectors=all")
    chunks = damaged.value("SELECT count(*) FROM story_search_chunk")
    expected = [f"story_search: 13 rows and {chunks} vectors compared: nothing to mend"]
    assert (done.exit_code, lines(done)) == (0, expected)


def test_a_sample_with_wrong_vectors_advises_to_compare_all(whole: Stories) -> None:
    whole.execute(
        "UPDATE story_search_chunk SET embedding_hash_v1 = %s",
        HashEmbedder(64).embed_documents(["something else"])[0],
    )
    shown = lines(run(whole.url, "--dry-run"))
    assert "4 wrong vectors of hash_v1 the model makes another one" in " ".join(shown)
    assert "Only a sample of the vectors was compared: --vectors all compares every one." in shown
    assert "--vectors all" not in run(whole.url, "--dry-run", "--vectors=all").stdout


def test_machines_get_an_object_for_each_search_index(damaged: Stories) -> None:
    done = run(damaged.url, "--dry-run", "--json", "--vectors=none")
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found.pop("seconds") > 0
    of_two, of_three = ({"keys": [[id_]], "has_more": False} for id_ in ("2", "3"))
    assert found == {
        "name": "story_search",
        "compared": 14,
        "findings": [
            {
                "kind": "missing document",
                "embedding": None,
                "count": 7,
                "keys": [["-7"], ["-6"], ["-5"], ["-4"], ["-3"]],
                "has_more": True,
            },
            {"kind": "orphaned document", "embedding": None, "count": 1, **of_two},
            {"kind": "orphaned chunk", "embedding": None, "count": 3, **of_two},
            {"kind": "missing vector", "embedding": "hash_v1", "count": 1, **of_three},
        ],
        "asked": 0,
        "waiting": 0,
        "parked": 0,
        "vectors": "none",
        "vectors_compared": 0,
        "refused": 0,
        "resumed": False,
    }


def test_what_happened_is_noted(damaged: Stories) -> None:
    run(damaged.url)
    ((kind, detail),) = damaged.execute(
        "SELECT kind, detail FROM pgsearch.event WHERE kind = 'reconciled'"
    )
    assert (kind, detail["compared"], detail["asked"]) == ("reconciled", 14, 9)


def test_a_search_index_that_cannot_be_compared_does_not_keep_others_from_it(
    whole: Stories,
) -> None:
    whole.execute("UPDATE pgsearch.search_index SET filled_at = NULL")
    done = run(whole.url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "story_search cannot be compared yet" in done.stderr
    assert "pgsearch sync" in done.stderr


@pytest.mark.parametrize("arguments", [["--batch=0"], ["--rate=0"], ["--vectors=some"]])
def test_arguments_that_make_no_sense_are_refused(whole: Stories, arguments: Sequence[str]) -> None:
    assert run(whole.url, *arguments).exit_code == 2
