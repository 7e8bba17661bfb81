"""A canary: which embedding answers which query, what is logged, and who may do so."""

from __future__ import annotations

import json
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from click.testing import Result

from pgsearch import database as product
from pgsearch import embedded, encoder, registry
from pgsearch.encoder.store import logged_queries
from pgsearch.encoder.train import Schedule
from pgsearch.evaluate.asked import read_log
from pgsearch.schema import grants
from pgsearch.testing import HashEmbedder
from tests.integration.test_verbs import run
from tests.plugins.postgres import Databases
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, Stories

QUERIES = [f"storm number {n}" for n in range(400)]


@pytest.fixture
def stories(databases: Databases, story_template: str) -> Iterator[Stories]:
    """A few stories with two embeddings that are ready; `hash_v1` is active."""
    with databases.fresh(story_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        stories = Stories(url, connection)
        stories.insert(*SENTENCES, *(f"Story {n} of a storm." for n in range(26)))
        stories.add_embedding("hash_v2", 32)
        stories.drain()
        yield stories


def start(stories: Stories, share: float, embedding: str = "hash_v2") -> None:
    stories.execute(
        f"SELECT pgsearch.start_canary('public', 'story_search', '{embedding}', {share})"
    )


def answering(stories: Stories, query: str) -> Any:
    return value(stories, "SELECT pgsearch.embedding_for('story_search', %s)", query)


def value(stories: Stories, statement: str, *parameters: Any) -> Any:
    row = stories.connection.execute(statement.encode(), parameters or None).fetchone()
    assert row is not None
    return row[0]


def distill(stories: Stories, embedding: str, dimensions: int) -> None:
    """Build an encoder, however bad."""
    (index,) = registry.read(stories.connection, "story_search")
    (chosen,) = (each for each in index.embeddings if each.name == embedding)
    model = HashEmbedder(dimensions)
    schedule = Schedule(passages=1, texts=1)
    assert encoder.distill(
        stories.connection, index, chosen, model, is_asked=True, schedule=schedule
    )


def canary(stories: Stories, *arguments: str) -> Result:
    return run(stories.url, "canary", "story_search", *arguments, columns=120)


# Who answers


def test_without_one_the_active_embedding_answers(stories: Stories) -> None:
    assert {answering(stories, query) for query in QUERIES[:20]} == {"hash_v1"}


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_it_answers_its_share_of_the_queries(stories: Stories, share: float) -> None:
    start(stories, share)
    chosen = [answering(stories, query) for query in QUERIES]
    answered = Counter(chosen)["hash_v2"]
    # Four standard deviations of a fair draw.
    assert abs(answered - share * 400) <= 4 * (400 * share * (1 - share)) ** 0.5
    # The same query has the same answer, however it is typed.
    assert chosen == [answering(stories, f" {query.upper()} ") for query in QUERIES]


def test_a_larger_share_only_adds_queries(stories: Stories) -> None:
    start(stories, 0.2)
    few = {query for query in QUERIES if answering(stories, query) == "hash_v2"}
    began = value(stories, "SELECT started_at FROM pgsearch.canary")
    start(stories, 0.6)
    more = {query for query in QUERIES if answering(stories, query) == "hash_v2"}
    assert few < more
    assert value(stories, "SELECT started_at FROM pgsearch.canary") == began


def test_a_setting_chooses(stories: Stories) -> None:
    start(stories, 0.5)
    for setting, embedding in (("on", "hash_v2"), ("off", "hash_v1")):
        stories.execute(f"SET pgsearch.canary = '{setting}'")
        assert {answering(stories, query) for query in QUERIES[:30]} == {embedding}
    stories.execute("RESET pgsearch.canary")
    assert len({answering(stories, query) for query in QUERIES[:30]}) == 2


def test_another_setting_is_refused(stories: Stories) -> None:
    start(stories, 0.5)
    stories.execute("SET pgsearch.canary = '10%'")
    with pytest.raises(
        psycopg.errors.InvalidParameterValue, match="canary is '10%', it may be on or off"
    ):
        answering(stories, "storm")
    stories.execute("SET pgsearch.canary = 'ON'")
    assert answering(stories, "storm") == "hash_v2"


def test_rolled_back_it_answers_none(stories: Stories) -> None:
    start(stories, 1)
    assert value(stories, "SELECT pgsearch.stop_canary('public', 'story_search')") is True
    assert answering(stories, "storm") == "hash_v1"
    assert value(stories, "SELECT pgsearch.stop_canary('public', 'story_search')") is False


@pytest.mark.parametrize("verb", ["activate", "retire"])
def test_it_ends_when_the_candidate_is_activated_or_retired(stories: Stories, verb: str) -> None:
    start(stories, 1)
    stories.execute(f"SELECT pgsearch.{verb}_embedding('public', 'story_search', 'hash_v2')")
    if verb == "activate":
        # It would go on when the old one is taken again.
        stories.execute("SELECT pgsearch.activate_embedding('public', 'story_search', 'hash_v1')")
    assert answering(stories, "storm") == "hash_v1"
    assert value(stories, "SELECT count(*) FROM pgsearch.canary") == 0


def test_what_is_not_ready_or_answers_all_is_no_canary(stories: Stories) -> None:
    stories.add_embedding("hash_v3", 16)
    for embedding, problem in (("hash_v3", "it is filling"), ("hash_v1", "it is active")):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=problem):
            start(stories, 0.5, embedding)
    with pytest.raises(psycopg.errors.UndefinedObject, match="has no embedding 'none'"):
        start(stories, 0.5, "none")
    for share in (0, -1, 1.01, "'NaN'::float"):
        with pytest.raises(psycopg.errors.CheckViolation):
            start(stories, share)  # type: ignore[arg-type]


def test_text_alone_is_answered_by_it_once_it_has_an_encoder(stories: Stories) -> None:
    statement = "SELECT max(similarity) FROM story_search('storm')"
    distill(stories, "hash_v1", 64)
    by_active = value(stories, statement)
    start(stories, 1)
    # It has no encoder of its own yet: rather the active one's than keywords alone.
    assert value(stories, statement) == by_active
    distill(stories, "hash_v2", 32)
    named = "SELECT max(similarity) FROM story_search('storm', embedding => 'hash_v2')"
    assert value(stories, statement) == value(stories, named) != by_active
    of_passages = statement.replace("story_search(", "story_search_passages(")
    assert value(stories, of_passages) == value(stories, named)
    # What the caller brings is of the active one, unless it says otherwise.
    vector = str(HashEmbedder(64).embed_queries(["storm"])[0].to_text())
    given = "SELECT max(similarity) FROM story_search('storm', vector => %s::vector)"
    assert value(stories, given, vector) is not None


# What is logged


def log(stories: Stories, query: str, found: list[Any], *, took_ms: float | None = None) -> UUID:
    logged = value(
        stories,
        "SELECT pgsearch.log_search('story_search', %s, %s, took_ms => %s)",
        query,
        json.dumps(found),
        took_ms,
    )
    assert isinstance(logged, UUID)
    return logged


def choose(stories: Stories, search: UUID, document: Any, worth: float = 1) -> None:
    stories.connection.execute(
        "SELECT pgsearch.log_outcome(%s, %s, %s)", [search, json.dumps(document), worth]
    )


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
        assert value(stories, "SELECT count(*) FROM pgsearch.search_log") == 1
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


# Who waits


def test_who_logs_a_search_and_who_changes_embeddings_do_not_wait(stories: Stories) -> None:
    start(stories, 0.5)
    owner = stories.connection
    with product.connect(stories.url) as application, application.transaction():
        application.execute("SELECT pgsearch.log_search('story_search', 'storm', '[]')")
        owner.execute("SET lock_timeout = '1s'")
        start(stories, 0.7)
        with owner.transaction():
            owner.execute("SELECT pgsearch.activate_embedding('public', 'story_search', 'hash_v2')")
            application.execute("SET LOCAL lock_timeout = '1s'")
            application.execute("SELECT pgsearch.log_search('story_search', 'flood', '[]')")


def test_a_canary_that_is_stopped_and_changed_at_once(stories: Stories) -> None:
    """Neither waits for what the other one holds."""
    start(stories, 0.5)
    with (
        product.connect(stories.url) as other,
        ThreadPoolExecutor(1) as thread,
        stories.connection.transaction(),
    ):
        stories.execute("SELECT pgsearch.hold_embedding('public', 'story_search', 'hash_v2')")
        stop = "SELECT pgsearch.stop_canary('public', 'story_search')"
        stopping = thread.submit(lambda: other.execute(stop).fetchone())
        assert stopping.result(timeout=30) == (True,)
        start(stories, 0.7)
    assert value(stories, "SELECT share FROM pgsearch.canary") == 0.7


def test_a_search_index_is_found_by_its_name(stories: Stories) -> None:
    find = "SELECT (pgsearch.find_search_index(%s)).name"
    for name in ("story_search", "public.story_search", '"story_search"', "Story_Search"):
        assert value(stories, find, name) == "story_search"
    for name in ("other", "private.story_search", "story_search'; --"):
        with pytest.raises((psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue)):
            value(stories, find, name)


# The command line


def test_the_command_line(stories: Stories) -> None:
    assert "there is no canary" in canary(stories).stdout
    assert "there is no canary" in canary(stories, "--stop").stdout
    done = canary(stories, "hash_v2", "--share", "100%")
    assert done.stdout.splitlines() == [
        "story_search: hash_v2 answers 100 % of the queries.",
        "It has no encoder: who asks by text alone is answered as before.",
        "To build one: pgsearch distill story_search hash_v2",
        "To roll back: pgsearch canary story_search --stop",
    ]
    assert "Nothing was logged since" in canary(stories).stdout
    log(stories, "storm", [1], took_ms=12345)
    logged = run(stories.url, "canary", "story_search", columns=80).stdout.splitlines()
    assert [line for line in logged[2:] if "hash_v2" in line and "12345.0 ms" in line]
    assert max(map(len, logged[1:])) <= 80
    assert "ready, canary 100 %" in run(stories.url, "status", columns=160).stdout
    asked = ("search", "story_search", "storm", "--mode", "vector", "--json")
    by_canary = run(stories.url, *asked).stdout
    assert by_canary == run(stories.url, *asked, "--embedding", "hash_v2").stdout
    assert "hash_v2 answers none. What was logged stays." in canary(stories, "--stop").stdout
    assert run(stories.url, *asked).stdout != by_canary


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["hash_v2"], "EMBEDDING and --share go together"),
        (["--share", "10%"], "EMBEDDING and --share go together"),
        (["hash_v2", "--share", "10%", "--stop"], "--stop takes no EMBEDDING"),
        (["hash_v2", "--share", "0"], "is no share above 0 and up to 100%: write 10% or 0.1"),
        (["hash_v2", "--share", "110%"], "is no share"),
        (["hash_v2", "--share", "nan"], "is no share"),
    ],
)
def test_what_the_command_line_refuses(arguments: list[str], problem: str) -> None:
    done = run("postgresql://127.0.0.1:1/app", "canary", "story_search", *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr


def test_what_the_database_refuses_is_said(stories: Stories) -> None:
    done = canary(stories, "hash_v1", "--share", "5%")
    assert done.exit_code == 1
    assert (
        "error: embedding 'hash_v1' of search index story_search cannot be a canary" in done.stderr
    )
    assert "hint: It answers all queries." in done.stderr
