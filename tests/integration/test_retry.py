"""`pgsearch retry`: rows on which a model failed for good get another chance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from click.testing import CliRunner, Result

from pgsearch import database as product
from pgsearch.cli import main
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.errors import DatabaseError
from pgsearch.sync.parked import Retried, retry
from pgsearch.sync.reconciliation import reconcile
from tests.plugins.reconcile import counts
from tests.plugins.worker import SENTENCES, Stories, Watching, create_search_index, url_of

ONE, TWO, THREE, FOUR = SENTENCES


def run(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, "retry", *arguments])


@pytest.fixture
def parked(stories: Stories) -> Stories:
    """Four stories, on three of which the model has failed for good, for two reasons."""

    def fail(texts: Sequence[str]) -> None:
        for text in texts:
            if text in (ONE, TWO):
                raise RuntimeError("too long")
            if text == THREE:
                raise RuntimeError("not this one")

    stories.insert(*SENTENCES)
    stories.drain(Watching(fail), max_attempts=1)
    assert state(stories) == [(1, True, 1), (2, True, 1), (3, True, 1)]
    return stories


def state(stories: Stories) -> list[tuple[object, ...]]:
    """Return the rows of the queue: id, whether parked, attempts."""
    return stories.execute(
        "SELECT id, failed_at IS NOT NULL, attempts FROM story_search_queue ORDER BY id"
    )


def test_what_is_parked_is_due_again(parked: Stories) -> None:
    parked.execute("UPDATE story_search_queue SET lost = 7, not_before = now() + '1 h'")
    assert retry(parked.url) == (
        Retried(
            "story_search", 3, (("RuntimeError: too long", 2), ("RuntimeError: not this one", 1))
        ),
    )
    assert state(parked) == [(1, False, 0), (2, False, 0), (3, False, 0)]
    assert parked.value("SELECT count(*) FROM story_search_queue WHERE lost > 0") == 0
    assert parked.drain().documents == 3
    assert (parked.waiting(), parked.differences()) == (0, [])
    assert retry(parked.url, "story_search") == (Retried("story_search", 0, ()),)


def test_what_waits_anyway_is_left_alone(parked: Stories) -> None:
    parked.insert("Another one.")
    parked.execute(
        "UPDATE story_search_queue SET attempts = 2, not_before = now() + '1 h' WHERE id = 5"
    )
    assert retry(parked.url)[0].rows == 3
    assert state(parked)[-1] == (5, False, 2)


def test_one_row_may_be_named(parked: Stories) -> None:
    (retried,) = retry(parked.url, "story_search", keys=[("2",), ("4",), ("99",)])
    assert (retried.rows, retried.errors) == (1, (("RuntimeError: too long", 1),))
    assert state(parked) == [(1, True, 1), (2, False, 0), (3, True, 1)]
    assert retry(parked.url, "story_search", keys=[])[0].rows == 0


def test_a_key_must_be_one_of_the_search_index(parked: Stories) -> None:
    with pytest.raises(DatabaseError, match="has the columns id"):
        retry(parked.url, "story_search", keys=[("1", "2")])
    with pytest.raises(ValueError, match="one search index"):
        retry(parked.url, keys=[("1",)])
    assert state(parked) == [(1, True, 1), (2, True, 1), (3, True, 1)]


def test_the_command_says_of_what_kind_they_were(parked: Stories) -> None:
    done = run(parked.url)
    assert (done.exit_code, done.stdout.splitlines()) == (
        0,
        [
            "story_search: 3 rows are due again",
            "        2  RuntimeError: too long",
            "        1  RuntimeError: not this one",
        ],
    )
    assert run(parked.url).stdout == "story_search: nothing was parked\n"


def test_the_command_shows_the_commonest_kinds_by_their_first_lines(parked: Stories) -> None:
    parked.execute(
        "INSERT INTO story_search_queue (id, attempts, failed_at, last_error)"
        " SELECT 100 + n, 5, now(), format(E'Error %%s\\nand a long hint', n / 2)"
        " FROM generate_series(0, 15) AS n WHERE %s",
        True,
    )
    lines = run(parked.url).stdout.splitlines()
    assert lines[:2] == ["story_search: 19 rows are due again", "        2  Error 0"]
    assert len(lines) == 1 + 5 + 1
    assert lines[-1] == "        9  with 5 other errors"


def test_the_command_takes_keys(parked: Stories) -> None:
    done = run(parked.url, "story_search", "--key", "1", "--key", "3")
    assert "2 rows are due again" in done.stdout
    refused = run(parked.url, "--key", "1")
    assert (refused.exit_code, "needs the one INDEX" in refused.stderr) == (2, True)
    assert "invalid input syntax" in run(parked.url, "story_search", "--key", "x").stderr
    assert run(parked.url, "nothing").exit_code == 1


def test_a_key_of_several_columns_is_a_json_array(installed: product.Connection) -> None:
    columns = "shelf text, n integer, body text, PRIMARY KEY (shelf, n)"
    installed.execute(f"CREATE TABLE leaf ({columns})".encode())
    create_search_index(
        installed,
        IndexDefinition(
            "leaf_search",
            "public",
            "leaf",
            key=(TypedColumn("shelf", "text"), TypedColumn("n", "integer")),
            text=(TextColumn("body", "A"),),
        ),
    )
    installed.execute("INSERT INTO leaf VALUES ('a, b', 1), ('a, b', 2), ('[', 3)")
    installed.execute("UPDATE leaf_search_queue SET failed_at = now(), attempts = 5")
    url = url_of(installed)
    done = run(url, "leaf_search", "--key", '["a, b", 2]', "--key", '["[", "3"]')
    assert done.stdout.splitlines()[0] == "leaf_search: 2 rows are due again"
    assert installed.execute(
        "SELECT n FROM leaf_search_queue WHERE failed_at IS NOT NULL"
    ).fetchall() == [(1,)]


def test_a_row_that_a_reconciliation_asks_for_stays_parked(parked: Stories) -> None:
    """Only a change of the row, or somebody who mended the cause, has it tried again."""
    report = reconcile(parked.url)
    assert (counts(report), report.indexes[0].parked) == ({}, 3)
    assert state(parked) == [(1, True, 1), (2, True, 1), (3, True, 1)]
