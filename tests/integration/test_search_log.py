"""What is logged of searches, who may log and read it, and what it is used for."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from pgsearch import embedded, encoder, registry
from pgsearch.encoder.store import logged_queries
from pgsearch.encoder.train import Schedule
from pgsearch.evaluate.asked import read_log
from pgsearch.schema import grants
from pgsearch.testing import HashEmbedder
from tests.plugins.canary import QUERIES, answering, canary, choose, log, start
from tests.plugins.command_line import run
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, Stories


@pytest.fixture
def stories(stories_with_candidate: Stories) -> Stories:
    return stories_with_candidate


def test_searches_and_their_outcomes_are_counted_by_embedding(stories: Stories) -> None:
    log(stories, "before it began", [1])
    start(stories, 0.5)
    draw = random.Random(7)
    expected: dict[str, Counter[str]] = {"hash_v1": Counter(), "hash_v2": Counter()}
    for query in QUERIES[:60]:
        by = answering(stories, query)
        found = [] if draw.random() < 0.2 else [4, 2, 9]
        search = log(stories, query, found, took_ms=12.5)
        expected[by]["searches"] += 1
        expected[by]["empty"] += not found
        if found and draw.random() < 0.5:
            choose(stories, search, 9)
            choose(stories, search, 2)
            choose(stories, search, 4, worth=-1)
            expected[by]["with_outcome"] += 1
    done = canary(stories, "--json")
    shown = json.loads(done.stdout)
    assert shown["canary"]["embedding"] == "hash_v2"
    assert len(shown["logged"]) == 2
    for each in shown["logged"]:
        counted = expected[each["embedding"]]
        assert each["searches"] == each["queries"] == counted["searches"]
        assert each["without_results"] == counted["empty"]
        assert each["with_outcome"] == each["value"] == counted["with_outcome"]
        # The best one that was worth something came second.
        share = counted["with_outcome"] / counted["searches"]
        assert each["reciprocal_rank"] == pytest.approx(share / 2)
        assert each["p50_ms"] == each["p95_ms"] == 12.5
    table = canary(stories).stdout
    assert "hash_v2 answers 50 % of the queries, since" in table
    assert "two proportions" in table


def test_a_document_that_was_shown_twice_is_chosen_once(stories: Stories) -> None:
    start(stories, 1)
    search = log(stories, "storm", [3, 1, 1])
    choose(stories, search, 1)
    choose(stories, search, 3, worth=-2)
    (logged,) = json.loads(canary(stories, "--json").stdout)["logged"]
    assert (logged["value"], logged["reciprocal_rank"]) == (-1, 0.5)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_cannot_be_added_up_is_not_logged(stories: Stories, number: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        log(stories, "storm", [1], took_ms=float(number))
    search = log(stories, "storm", [1])
    with pytest.raises(psycopg.errors.CheckViolation):
        choose(stories, search, 1, worth=float(number))


@pytest.mark.parametrize("document", [7, "7", ["ann", 1], ["ann", 1.5]])
def test_a_key_is_the_same_as_a_number_and_as_a_text(stories: Stories, document: Any) -> None:
    start(stories, 1)
    search = log(stories, "storm", [3, document])
    choose(stories, search, "7" if document in (7, "7") else document)
    (logged,) = json.loads(canary(stories, "--json").stdout)["logged"]
    assert logged["reciprocal_rank"] == 0.5


def test_numbers_are_the_same_however_they_are_written(stories: Stories) -> None:
    start(stories, 1)
    search = stories.value(
        "SELECT pgsearch.log_search('story_search', 'storm', '[10.50, [1, 2.0]]')"
    )
    for document in ("10.5", "[1, 2]"):
        stories.execute("SELECT pgsearch.log_outcome(%s, %s::jsonb)", search, document)
    (counted,) = json.loads(canary(stories, "--json").stdout)["logged"]
    assert counted["reciprocal_rank"] == 1


@pytest.mark.parametrize("documents", [7, "7", {"id": 7}])
def test_what_was_shown_is_an_array(stories: Stories, documents: Any) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="logged search are a JSON"):
        log(stories, "storm", documents)


def test_keywords_alone_are_logged_as_such(stories: Stories) -> None:
    start(stories, 1)
    stories.execute("SELECT pgsearch.log_search('story_search', 'storm', '[1]', embedding => '')")
    (logged,) = json.loads(canary(stories, "--json").stdout)["logged"]
    assert logged["embedding"] is None
    assert "keywords" in canary(stories).stdout


def test_keys_of_several_columns_are_arrays(stories: Stories) -> None:
    start(stories, 1)
    search = log(stories, "storm", [["ann", 1], ["bo", 2]])
    choose(stories, search, ["bo", 2])
    (logged,) = json.loads(canary(stories, "--json").stdout)["logged"]
    assert logged["reciprocal_rank"] == 0.5


def test_what_no_search_answers_is_not_compared_by(stories: Stories) -> None:
    for query in ("", "  ", "x " * 5000, "storm"):
        log(stories, query, [1])
    (index,) = registry.read(stories.connection, "story_search")
    assert read_log(stories.connection, index, 10).queries == ("storm",)


def test_logged_queries_are_compared_by(stories: Stories) -> None:
    for number, sentence in enumerate(SENTENCES, start=1):
        search = log(stories, sentence, [number])
        if number < 4:
            choose(stories, search, number)
        log(stories, sentence, [number])
    asked = ("compare", "hash_v1", "hash_v2", "--json")
    plain = json.loads(run(stories.url, *asked, "--logged", "3").stdout)
    assert sorted(plain["queries"]) == sorted(SENTENCES[1:])
    assert plain["judged"] == {}
    judged = json.loads(run(stories.url, *asked, "--chosen", "100").stdout)
    assert sorted(judged["queries"]) == sorted(SENTENCES[:3])
    assert judged["judged"]["ndcg10"]["first"] == pytest.approx(1)
    refused = run(stories.url, *asked, "--chosen", "1")
    assert refused.exit_code == 1
    assert "There is no query in the log of story_search with a document" in refused.stderr


def test_an_encoder_learns_from_what_was_asked(stories: Stories) -> None:
    asked: list[str] = []

    class Noting(HashEmbedder):
        def embed_queries(self, texts: Any) -> Any:
            asked.extend(texts)
            return super().embed_queries(texts)

    log(stories, "harbour flood with a question nobody has written", [1])
    (index,) = registry.read(stories.connection, "story_search")
    schedule = Schedule(passages=1, texts=1)
    encoder.distill(
        stories.connection,
        index,
        index.embeddings[0],
        Noting(64),
        is_asked=True,
        schedule=schedule,
    )
    assert "harbour flood with a question nobody has written" in asked


# Who may


def test_who_may_search_may_log_and_read_nothing(stories: Stories) -> None:
    reader, stranger = (f"{kind}_{uuid4().hex[:8]}" for kind in ("reader", "stranger"))
    for role in (reader, stranger):
        stories.execute(f"CREATE ROLE {role}")
    try:
        execute_all(stories.connection, grants.grant_search("public", "story_search", reader))
        stories.execute(f"SET ROLE {reader}")
        search = log(stories, "storm", [1])
        choose(stories, search, 1)
        assert answering(stories, "storm") == "hash_v1"
        for table in ("search_log", "search_outcome"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stories.execute(f"SELECT FROM pgsearch.{table}")
        for forbidden in (
            "SELECT pgsearch.start_canary('public', 'story_search', 'hash_v2', 1)",
            "SELECT pgsearch.stop_canary('public', 'story_search')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                stories.execute(forbidden)
        stories.execute(f"SET ROLE {stranger}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not ask search index"):
            log(stories, "storm", [1])
        stories.execute("RESET ROLE")
        assert stories.value("SELECT count(*) FROM pgsearch.search_log") == 1
        execute_all(stories.connection, grants.revoke_search("public", "story_search", reader))
        stories.execute(f"SET ROLE {reader}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not ask search index"):
            log(stories, "storm", [1])
    finally:
        stories.execute("RESET ROLE")
        for role in (reader, stranger):
            stories.execute(f"DROP OWNED BY {role}")
            stories.execute(f"DROP ROLE {role}")


@pytest.fixture
def role(stories: Stories) -> Iterator[str]:
    """A role that may nothing."""
    name = f"role_{uuid4().hex[:8]}"
    stories.execute(f"CREATE ROLE {name}")
    yield name
    stories.execute("RESET ROLE")
    stories.execute(f"DROP OWNED BY {name}")
    stories.execute(f"DROP ROLE {name}")


def test_a_function_of_ones_own_opens_no_log(stories: Stories, role: str) -> None:
    stories.execute(f"CREATE SCHEMA own AUTHORIZATION {role}")
    stories.execute(f"SET ROLE {role}")
    stories.execute(
        "CREATE FUNCTION own.has_any_column_privilege(regclass, text) RETURNS boolean RETURN true"
    )
    stories.execute("SET search_path = own, pg_catalog")
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="may not ask"):
        log(stories, "storm", [1])
    stories.execute("RESET search_path")


def test_nobody_says_when_a_search_was_asked(stories: Stories, role: str) -> None:
    execute_all(stories.connection, grants.grant_search("public", "story_search", role))
    stories.execute(f"SET ROLE {role}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        stories.execute(
            "INSERT INTO pgsearch.search_log (id, search_index_id, query, documents, asked_at)"
            " VALUES (gen_random_uuid(), 1, 'storm', '[]', 'infinity')"
        )


def test_who_may_read_everything_reads_the_log(
    stories: Stories, role: str, pytestconfig: pytest.Config
) -> None:
    """As backups are made, and as a worker may build encoders."""
    log(stories, "storm over the harbour", [1])
    stories.execute(f"GRANT pg_read_all_data TO {role}")
    program = embedded.psql(pytestconfig.getoption("--postgres")).with_name("pg_dump")
    done = subprocess.run(
        [str(program), f"--role={role}", "--data-only", "--schema=pgsearch", stories.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "storm over the harbour" in done.stdout
    (index,) = registry.read(stories.connection, "story_search")
    stories.execute(f"SET ROLE {role}")
    assert logged_queries(stories.connection, index, limit=9) == ["storm over the harbour"]
