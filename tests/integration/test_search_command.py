"""`pgsearch search`: its options are the search function's, and people can read its tables."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pgsearch import database
from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.sync import Worker
from tests.plugins import search
from tests.plugins.command_line import run
from tests.plugins.orm import QUERY
from tests.plugins.search import HASH_V1, vector_of

INDEX = "article_search"


def found(url: str, *arguments: str) -> list[dict[str, Any]]:
    """Return the results that a search prints for machines."""
    done = run(url, "search", "--json", INDEX, *arguments)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_function(url: str, arguments: str) -> list[int]:
    """Return what the search function finds for the same query."""
    with database.connect(url) as connection:
        rows = connection.execute(
            f"SELECT id FROM {INDEX}(%s, vector => %s, {arguments})".encode(),
            [QUERY, vector_of(QUERY)],
        ).fetchall()
    return [id_ for (id_,) in rows]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (["--skip", "5", "-k", "7"], "skip => 5, k => 7"),
        (["--fusion", "rrf"], "fusion => 'rrf'"),
        (["--keyword-weight", "0"], "keyword_weight => 0"),
        (["--fusion", "rrf", "--keyword-weight", "9.5"], "fusion => 'rrf', keyword_weight => 9.5"),
        (["--ef-search", "20", "--mode", "vector"], "ef_search => 20, mode => 'vector'"),
        (["--filter", "tenant_id=2"], "tenant_id => 2"),
        (["--filter", "tenant_id_in={2,3}", "--filter", "tenant_id_min=3"], "tenant_id => 3"),
        (["--filter", "tenant_id_max=1", "-k", "40"], "tenant_id => 1, k => 40"),
    ],
)
def test_options_are_those_of_the_function(
    library_url: str, options: list[str], arguments: str
) -> None:
    assert [hit["id"] for hit in found(library_url, QUERY, *options)] == by_function(
        library_url, arguments
    )


def test_another_embedding_reads_the_query(library_url: str) -> None:
    asked = (QUERY, "--mode", "vector")
    by_another = found(library_url, *asked, "--embedding", "hash_v2")
    assert by_another != found(library_url, *asked)
    done = run(library_url, "search", INDEX, *asked, "--embedding", "bge")
    assert "has no embedding 'bge'" in done.stderr
    assert "hint: It has hash_v1, hash_v2." in done.stderr


@pytest.mark.parametrize("given", ["tenant=2", "tenant_id", "Tenant_id=2", "query=x"])
def test_a_filter_that_is_not_declared(library_url: str, given: str) -> None:
    done = run(library_url, "search", INDEX, QUERY, "--filter", given)
    assert done.exit_code == 1
    assert f"error: '{given}' is no filter of search index 'article_search'." in done.stderr
    assert "There is tenant_id, tenant_id_in, tenant_id_min, tenant_id_max." in done.stderr


def test_a_filters_value_is_read_by_the_database(library_url: str) -> None:
    done = run(library_url, "search", INDEX, QUERY, "--filter", "tenant_id=two")
    assert done.exit_code == 1
    assert 'invalid input syntax for type integer: "two"' in done.stderr


def test_rows_like_others(library_url: str) -> None:
    alike = [hit["id"] for hit in found(library_url, "--similar-to", "7", "-k", "12")]
    assert len(alike) == 12
    assert 7 not in alike
    paged = found(library_url, "--similar-to", "7", "-k", "4", "--skip", "8")
    assert [hit["id"] for hit in paged] == alike[8:]
    both = found(library_url, "--similar-to", "7", "--similar-to", "8", "-k", "100")
    assert not {7, 8} & {hit["id"] for hit in both}
    assert len(both) == 100


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Missing argument 'QUERY', or --similar-to."),
        (["storm", "--similar-to", "7"], "There is a query and --similar-to"),
        (["--similar-to", "7", "--mode", "keyword"], "leave --mode out"),
    ],
)
def test_what_is_not_to_be_asked(arguments: list[str], problem: str) -> None:
    done = run("postgresql://127.0.0.1:1/app", "search", INDEX, *arguments)
    assert done.exit_code == 2
    assert problem in done.stderr


def test_a_row_without_a_vector_is_no_example(library_url: str) -> None:
    done = run(library_url, "search", INDEX, "--similar-to", "1000000")
    assert "error: Search index 'article_search' holds no vector of 1000000." in done.stderr


def test_a_key_of_several_columns(db: Connection, articles: str) -> None:
    db.execute(
        "CREATE TABLE page (book text, number integer, body text, PRIMARY KEY (book, number))"
    )
    key = (TypedColumn("book", "text"), TypedColumn("number", "integer"))
    index = IndexDefinition("page_search", "public", "page", key, (TextColumn("body", "A"),))
    search.create(db, index, HASH_V1)
    db.execute("INSERT INTO page SELECT 'a, b', n, 'storm ' || n FROM generate_series(-2, 3) AS n")
    Worker(articles, indexes=["page_search"]).drain()
    done = run(articles, "search", "--json", "page_search", "--similar-to", '["a, b", -1]')
    keys = [(hit["book"], hit["number"]) for hit in map(json.loads, done.stdout.splitlines())]
    assert sorted(keys) == [("a, b", number) for number in (-2, 0, 1, 2, 3)]
    for wrong in ("a, b", '["a, b"]', "[1, 2, 3]", '{"book": 1}'):
        done = run(articles, "search", "page_search", "--similar-to", wrong)
        assert "hint: Write the values of book, number as a JSON array." in done.stderr


def test_an_explanation_for_machines(library_url: str) -> None:
    hits = found(library_url, QUERY, "--explain", "--snippets", "-k", "3")
    for hit in hits:
        words = hit["passage"].lower()
        terms = hit["explanation"]["terms"]
        assert {term["term"] for term in terms} == {"storm", "harbour"}
        assert all((term["frequency"] > 0) == (term["term"] in words) for term in terms)
        assert "<b>" in hit["snippet"]
    assert "explanation" not in found(library_url, QUERY)[0]


def test_beside_vectors_fewer_terms_bring_documents(articles: str, db: Connection) -> None:
    """Those of 400 documents are enough, but where something narrows the search."""
    db.execute("INSERT INTO article (body) VALUES ('anything')")
    db.execute(
        "INSERT INTO article (tenant_id, body) SELECT 1, CASE WHEN n <= 120 THEN 'comet storm'"
        " WHEN n <= 320 THEN 'boat' WHEN n <= 580 THEN 'moon' ELSE 'sand' END"
        " FROM generate_series(1, 8000) AS n"
    )
    db.execute("SELECT article_search_refresh_statistics()")

    def tiers(query: str, *options: str) -> dict[str, int | None]:
        hit, *_ = found(articles, query, "--explain", "-k", "1", *options)
        return {term["term"]: term["tier"] for term in hit["explanation"]["terms"]}

    every = {"comet": 1, "boat": 1, "moon": 1}
    assert tiers("comet boat moon") == every, "keywords alone, while there is no vector"
    Worker(articles).drain()
    assert tiers("comet boat moon") == every | {"moon": None}
    assert tiers("comet boat moon", "--mode", "keyword") == every
    assert tiers("comet boat moon", "--filter", "tenant_id=1") == every
    assert tiers('comet boat moon "storm"') == every | {"storm": 1}
    # The rarest brings documents, however many it is in, and the next where the rarest has few.
    assert tiers("sand moon comet") == {"comet": 1, "moon": 1, "sand": None}
    assert tiers("sand") == {"sand": 1}


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
def test_an_explanation_for_people(library_url: str, mode: str) -> None:
    asked = ("search", INDEX, QUERY, "-k", "2", "--explain", "--snippets", "--mode", mode)
    lines = run(library_url, *asked, columns=120).stdout.splitlines()
    heading = [line.split() for line in lines if "score" in line or "idf" in line]
    assert heading[0][1::2] == ["id", "score", "keyword", "similarity", "terms", "snippet"]
    assert heading[1] == ["┃", "term", "┃", "in", "rows", "┃", "idf", "┃", "brings", "rows", "┃"]
    best = next(line for line in lines if "│" in line).split("│")
    assert ("#" in best[3], "#" in best[4]) == (mode != "vector", mode != "keyword")
    assert best[5].strip() == "harbour 1, storm 1" or "2" in best[5]
    assert "<b>" not in best[6]
    terms = [line.split("│")[1:5] for line in lines if line.endswith("│ yes         │")]
    assert {term[0].strip() for term in terms} == {"storm", "harbour"}


def test_plain_tables_are_as_narrow_as_before(library_url: str) -> None:
    shown = run(library_url, "search", INDEX, QUERY, "-k", "2").stdout
    assert "#1" not in shown
    assert "brings rows" not in shown


def test_words_that_no_row_has_are_explained(library_url: str) -> None:
    shown = run(library_url, "search", INDEX, "storm zebra", "--explain", columns=120).stdout
    assert "zebra" in shown
