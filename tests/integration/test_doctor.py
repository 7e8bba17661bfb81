"""`pgsearch doctor`: a report for people and for machines, whose operations can be pasted."""

from __future__ import annotations

import json
from textwrap import dedent
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from pgsearch.cli import main
from pgsearch.sync import retry
from tests.plugins import search
from tests.plugins.drift import damage, run

UPDATE = '"00_article_search_update"'


def doctor(url: str, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--database", url, "doctor", *arguments])


def as_json(url: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in doctor(url, "--json").stdout.splitlines()]


def test_nothing_to_mend(ready: str) -> None:
    done = doctor(ready)
    assert done.stdout == "article_search on article: nothing to mend\n"
    assert done.exit_code == 0


def test_damage_and_what_mends_it(ready: str) -> None:
    damage(
        ready,
        f"ALTER TABLE article DISABLE TRIGGER {UPDATE}",
        "ALTER FUNCTION article_search_capture SECURITY INVOKER",
        "DROP INDEX article_search_hash_v1_hnsw",
    )
    done = doctor(ready)
    assert done.exit_code == 1
    assert (
        done.stdout
        == """\
article_search on article:
  index article_search_hash_v1_hnsw is missing
  trigger 00_article_search_update is disabled
  function article_search_capture is not SECURITY DEFINER

In a migration, this mends it:

    from pgsearch import Chunking

    op.alter_search_index(
        "article_search",
        "article",
        key={"id": "bigint"},
        text={"title": "A", "body": "B"},
        language="english",
        filters={"tenant_id": "integer"},
        chunking=Chunking(heading="title"),
        refill=True,
    )
    op.reindex_embedding("article_search", "hash_v1")

"""
    )
    run(ready, dedent(done.stdout.partition("mends it:\n")[2]))
    assert doctor(ready).exit_code == 0


def test_for_machines(ready: str) -> None:
    assert as_json(ready) == [
        {
            "index": "article_search",
            "table": "article",
            "findings": [],
            "code": "",
            "parked": 0,
            "last_error": None,
        }
    ]
    damage(ready, "DROP INDEX article_search_hash_v1_hnsw")
    (found,) = as_json(ready)
    assert found["findings"] == [
        {
            "object": "index article_search_hash_v1_hnsw",
            "problem": "is missing",
            "mend": "reindex",
            "embedding": "hash_v1",
            "hint": None,
        }
    ]
    run(ready, found["code"])
    assert doctor(ready, "--json").exit_code == 0


def test_rows_on_which_the_model_failed(ready: str) -> None:
    damage(
        ready,
        "INSERT INTO article_search_queue (id, attempts, failed_at, last_error)"
        " VALUES (1, 5, now(), 'it said no'), (2, 5, now() - interval '1 day', 'older')",
    )
    done = doctor(ready)
    assert done.exit_code == 1
    assert "  2 rows are parked, on which the model failed; of the last one it said:" in done.stdout
    assert "    it said no" in done.stdout
    command = next(line for line in done.stdout.splitlines() if "pgsearch retry" in line)
    assert command.split() == ["pgsearch", "retry", "article_search"]
    retry(ready, "article_search")
    assert doctor(ready).exit_code == 0


def test_a_hint_where_no_operation_can_mend(ready: str) -> None:
    damage(ready, "CREATE TABLE newest () INHERITS (article)")
    lines = doctor(ready).stdout.splitlines()
    assert lines[1].startswith("  table article has tables that inherit from it")
    assert lines[2].startswith("    Let them inherit no more")
    assert len(lines) == 3


def test_only_those_that_are_named(ready: str) -> None:
    with psycopg.connect(ready, autocommit=True) as connection:
        search.create(connection, search.article_index("second_search"))
    damage(ready, "DROP INDEX article_search_hash_v1_hnsw")
    assert doctor(ready, "second_search").stdout == "second_search on article: nothing to mend\n"
    assert doctor(ready).stdout.startswith("article_search on article:\n  index")


def test_a_damaged_queue_is_a_finding_and_no_traceback(ready: str) -> None:
    damage(ready, "DROP TABLE article_search_queue")
    done = doctor(ready)
    assert done.exit_code == 1
    assert "  table article_search_queue is missing" in done.stdout
    assert "op.drop_search_index(" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "The schema pgsearch is not installed"), (("nosuch",), "The schema pgsearch is not")],
)
def test_a_database_without_pgsearch(database: str, arguments: list[str], said: str) -> None:
    done = doctor(database, *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_that_does_not_exist(ready: str) -> None:
    done = doctor(ready, "nosuch")
    assert done.exit_code == 1
    assert "error: There is no search index 'nosuch' in this database." in done.stderr
    assert "hint: There is: public.article_search." in done.stderr


def test_no_search_index(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        search.install(connection)
    done = doctor(database)
    assert (done.stdout, done.exit_code) == ("There is no search index yet.\n", 0)
