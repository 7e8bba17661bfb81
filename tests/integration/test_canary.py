"""A canary: which embedding answers which query, and what happens to it meanwhile."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.testing import HashEmbedder
from tests.plugins.canary import QUERIES, answering, canary, distill, log, start
from tests.plugins.command_line import run
from tests.plugins.worker import Stories


@pytest.fixture
def stories(stories_with_candidate: Stories) -> Stories:
    return stories_with_candidate


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
    began = stories.value("SELECT started_at FROM pgsearch.canary")
    start(stories, 0.6)
    more = {query for query in QUERIES if answering(stories, query) == "hash_v2"}
    assert few < more
    assert stories.value("SELECT started_at FROM pgsearch.canary") == began


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
    assert stories.value("SELECT pgsearch.stop_canary('public', 'story_search')") is True
    assert answering(stories, "storm") == "hash_v1"
    assert stories.value("SELECT pgsearch.stop_canary('public', 'story_search')") is False


@pytest.mark.parametrize("verb", ["activate", "retire"])
def test_it_ends_when_the_candidate_is_activated_or_retired(stories: Stories, verb: str) -> None:
    start(stories, 1)
    stories.execute(f"SELECT pgsearch.{verb}_embedding('public', 'story_search', 'hash_v2')")
    if verb == "activate":
        # It would go on when the old one is taken again.
        stories.execute("SELECT pgsearch.activate_embedding('public', 'story_search', 'hash_v1')")
    assert answering(stories, "storm") == "hash_v1"
    assert stories.value("SELECT count(*) FROM pgsearch.canary") == 0


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
    by_active = stories.value(statement)
    start(stories, 1)
    # It has no encoder of its own yet: rather the active one's than keywords alone.
    assert stories.value(statement) == by_active
    distill(stories, "hash_v2", 32)
    named = "SELECT max(similarity) FROM story_search('storm', embedding => 'hash_v2')"
    assert stories.value(statement) == stories.value(named) != by_active
    of_passages = statement.replace("story_search(", "story_search_passages(")
    assert stories.value(of_passages) == stories.value(named)
    # What the caller brings is of the active one, unless it says otherwise.
    vector = str(HashEmbedder(64).embed_queries(["storm"])[0].to_text())
    given = "SELECT max(similarity) FROM story_search('storm', vector => %s::vector)"
    assert stories.value(given, vector) is not None


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
    assert stories.value("SELECT share FROM pgsearch.canary") == 0.7


def test_a_search_index_is_found_by_its_name(stories: Stories) -> None:
    find = "SELECT (pgsearch.find_search_index(%s)).name"
    for name in ("story_search", "public.story_search", '"story_search"', "Story_Search"):
        assert stories.value(find, name) == "story_search"
    for name in ("other", "private.story_search", "story_search'; --"):
        with pytest.raises((psycopg.errors.UndefinedObject, psycopg.errors.InvalidParameterValue)):
            stories.value(find, name)


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
