"""`search`, `status`, `worker` and `server` on real databases: what people read of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from pgsearch import embedded
from pgsearch.database import Connection
from pgsearch.declare import Embedding
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.embedding import add_embedding
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins import search
from tests.plugins.command_line import run

KEY = UUID("0b4ecf7e-54f3-4b0a-9f4c-3c2a6a1f5d11")
NOTE_SEARCH = IndexDefinition(
    name="note_search",
    schema="public",
    table="note",
    key=(TypedColumn("id", "uuid"),),
    text=(TextColumn("body", "A"),),
)
LONG_NAME = "multilingual_minilm_v12"
PROGRAM = str(Path(sys.executable).with_name("pgsearch"))


def titles(db: Connection, *rows: str) -> None:
    """Insert articles of these titles."""
    for title in rows:
        db.execute("INSERT INTO article (title) VALUES (%s)", [title])


@pytest.mark.parametrize("columns", [40, 80])
def test_status_never_cuts_a_name(db: Connection, articles: str, columns: int) -> None:
    titles(db, "alpha")
    Worker(articles).drain()
    search.execute_all(
        db,
        add_embedding("public", "article_search", Embedding(LONG_NAME, hash_model(32))),
    )
    shown = run(articles, "status", columns=columns).stdout
    table = [line.split() for line in shown.splitlines() if "│" in line]
    assert [row[1:5:2] for row in table] == [["hash_v1", "active"], [LONG_NAME, "filling"]]
    assert "…" not in shown
    assert f"  {LONG_NAME}  model hash-32" in shown.splitlines()


def test_status_shows_an_error_of_a_model_as_it_is(db: Connection, articles: str) -> None:
    titles(db, "alpha")
    db.execute("UPDATE article_search_queue SET failed_at = now(), last_error = 'no [/] in [red]'")
    done = run(articles, "status", columns=200)
    assert "The row that failed last says: no [/] in [red]" in done.stdout


def test_there_is_no_coverage_of_nothing(db: Connection, articles: str) -> None:
    def embedding() -> dict[str, object]:
        found: dict[str, object] = json.loads(run(articles, "status", "--json").stdout)[
            "embeddings"
        ][0]
        return found

    assert embedding()["coverage"] is None
    assert "%" not in run(articles, "status").stdout
    titles(db, "alpha")
    Worker(articles).drain()
    assert embedding()["coverage"] == 1.0
    assert "100.0%" in run(articles, "status").stdout


def test_search_folds_a_key_and_never_cuts_it(db: Connection, articles: str) -> None:
    db.execute("CREATE TABLE note (id uuid PRIMARY KEY, body text)")
    search.create(db, NOTE_SEARCH, search.HASH_V1)
    db.execute("INSERT INTO note VALUES (%s, %s)", [KEY, "alpha " + "and a long passage " * 9])
    Worker(articles, indexes=["note_search"]).drain()
    shown = run(articles, "search", "note_search", "alpha").stdout
    cells = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert "".join(cells) == str(KEY)


def test_a_key_is_not_read_as_markup(db: Connection, articles: str) -> None:
    db.execute("CREATE TABLE note (id text PRIMARY KEY, body text)")
    definition = replace(NOTE_SEARCH, key=(TypedColumn("id", "text"),))
    search.create(db, definition)
    db.execute("INSERT INTO note VALUES ('[red]1', 'alpha')")
    assert "[red]1" in run(articles, "search", "note_search", "alpha").stdout


def test_search_says_that_older_rows_are_still_being_read(db: Connection, articles: str) -> None:
    asked = ("search", "article_search", "alpha", "--mode", "keyword")
    assert run(articles, *asked).stdout == (
        "Nothing found. Rows that were there before the search index are still being read: "
        "run `pgsearch sync`.\n"
    )
    Worker(articles).drain()
    assert run(articles, *asked).stdout == "Nothing found.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("article_search", "-alpha beta"),
        ("article_search", "-alpha beta", "-k", "5"),
        ("-k5", "article_search", "-alpha beta"),
        ("article_search", "--", "-alpha beta"),
    ],
)
def test_a_query_may_start_with_a_minus(
    db: Connection, articles: str, arguments: tuple[str, ...]
) -> None:
    titles(db, "alpha beta", "beta")
    done = run(articles, "search", "--mode", "keyword", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [2]


def test_a_query_of_two_minus_signs_goes_behind_two(db: Connection, articles: str) -> None:
    titles(db, "alpha beta", "beta")
    query = "--alpha beta"
    asked = ("search", "--json", "--mode", "keyword", "article_search")
    assert run(articles, *asked, query).exit_code == 2
    done = run(articles, *asked, "--", query)
    # What is left out twice is asked for, says PostgreSQL.
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1]


def test_a_query_may_look_like_options() -> None:
    done = run("postgresql://127.0.0.1:1/app", "search", "article_search", "-harbour")
    assert "Cannot connect" in done.stderr


@pytest.mark.parametrize("option", ["--jsno", "--modes"])
def test_an_option_that_does_not_exist_is_no_query(option: str) -> None:
    done = run("postgresql://127.0.0.1:1/app", "search", "article_search", option)
    assert done.exit_code == 2
    assert f"No such option: {option}" in done.stderr or f"No such option '{option}'" in done.stderr


def test_a_value_with_a_minus_is_the_options() -> None:
    done = run("postgresql://127.0.0.1:1/app", "search", "article_search", "alpha", "--mode", "-x")
    assert done.exit_code == 2
    assert "'-x' is not one of" in done.stderr


def test_search_by_vectors_needs_an_active_embedding(articles: str) -> None:
    asked = ("search", "article_search", "alpha", "--mode", "vector")
    done = run(articles, *asked)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[1:] == [
        "error: No embedding of search index 'article_search' is active yet.",
        "hint: Run `pgsearch sync`; until then, keywords answer.",
    ]
    Worker(articles).drain()
    assert run(articles, *asked).exit_code == 0


def test_a_worker_waits_only_for_a_database_that_is_there(empty_database: str) -> None:
    for url in ("postgresql://ann@127.0.0.1:1/app", empty_database):
        done = run(url, "worker")
        assert done.exit_code == 1
        assert "error: " in done.stderr
        assert "Waiting for changes." not in done.stderr


def test_a_worker_says_that_it_waits_and_stops(articles: str) -> None:
    command = [PROGRAM, "--database", articles, "worker"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as worker:
        assert worker.stderr is not None
        seen = ""
        for line in worker.stderr:
            seen += line
            if "Waiting for changes." in line:
                worker.send_signal(signal.SIGTERM)
    assert worker.returncode == 0
    assert "Waiting for changes." in seen
    assert "Stopped: " in seen


def test_the_embedded_servers_folder_is_the_same_everywhere() -> None:
    with tempfile.TemporaryDirectory(prefix="pgsearch-home-") as home:
        environment = {**os.environ, "PGSEARCH_HOME": home}

        def said(*arguments: str) -> str:
            command = [PROGRAM, *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            return str(done.stderr.splitlines()[0].partition("its data lies in ")[2])

        try:
            folders = {
                said("server", "status"),
                said("server", "start"),
                said("server", "status"),
                said("status"),
            }
        finally:
            embedded.stop(Path(home))
    assert folders == {f"{Path(home).resolve()}."}
