"""What may be asked of `search`, and that no request is taken for another one."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, Executable, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, aliased

from pgsearch import database, search
from pgsearch.errors import DeclarationError, QueryError
from pgsearch.testing import HashEmbedder
from tests.plugins.orm import (
    QUERY,
    Article,
    Draft,
    Page,
    Plain,
    Unsearchable,
    comparable,
    draft_bodies,
    draft_titles,
    ids,
    page_search,
)

#: Requests that differ in one thing each from another one.
REQUESTS: list[tuple[Any, str, dict[str, Any]]] = [
    (Article, QUERY, {}),
    (Article, "the village baker", {}),
    (Article, QUERY, {"limit": 3}),
    (Article, QUERY, {"limit": 60}),
    (Article, QUERY, {"limit": 61}),
    (Article, QUERY, {"mode": "keyword"}),
    (Article, QUERY, {"language": "german"}),
    (Article, QUERY, {"mode": "vector"}),
    (Article, QUERY, {"mode": "vector", "limit": 200}),
    (Article, QUERY, {"mode": "vector", "embedding": "hash_v2"}),
    (Article, QUERY, {"embedding": "hash_v2"}),
    (Article, QUERY, {"where": Article.tenant_id == 2}),
    (Article, QUERY, {"where": Article.id == 2}),
    (Article, QUERY, {"where": Article.id > 180}),
    (Article, QUERY, {"where": Article.id < 30}),
    (Article, QUERY, {"where": Article.id.in_([1, 2])}),
    (Article, QUERY, {"where": Article.id.in_([1, 2, 3, 4])}),
    (Draft, QUERY, {"index": draft_titles}),
    (Draft, QUERY, {"index": draft_bodies}),
    (Page, QUERY, {}),
]


def test_statements_of_different_requests_are_not_taken_for_each_other(
    library_url: str, engine: Engine
) -> None:
    def answer(asking: Engine, request: tuple[Any, str, dict[str, Any]]) -> list[tuple[Any, ...]]:
        source, query, options = request
        with Session(asking) as session:
            return comparable(session.execute(search(source, query, **options)).all())

    uncached = create_engine(database.sqlalchemy_url(library_url), query_cache_size=0)
    expected = [answer(uncached, request) for request in REQUESTS]
    uncached.dispose()
    assert len({str(found) for found in expected}) == len(REQUESTS)
    for _ in range(2):
        assert [answer(engine, request) for request in REQUESTS] == expected
    assert [answer(engine, request) for request in REQUESTS[::-1]] == expected[::-1]


def test_statements_are_compiled_once_for_all_queries(engine: Engine) -> None:
    def compiled(*asked: Executable) -> int:
        with Session(engine) as session:
            before = len(engine._compiled_cache or ())
            for statement in asked:
                session.execute(statement).all()
        return len(engine._compiled_cache or ()) - before

    engine.clear_compiled_cache()
    first = compiled(search(Article, "one", where=Article.tenant_id == 1))
    assert first > 0
    more = [search(Article, f"query {n}", where=Article.tenant_id == n) for n in range(5)]
    assert compiled(*more) == 0
    assert compiled(search(Article, "one", mode="keyword", where=Article.tenant_id == 1)) > 0


@pytest.mark.parametrize(
    ("source", "query", "options", "refusal"),
    [
        (Article, "", {}, "query is empty"),
        (Article, " \n\t ", {}, "query is empty"),
        (Article, None, {}, "The query is not a text but None"),
        (Article, b"storm", {}, "The query is not a text but b'storm'"),
        (Article, "nul \x00 byte", {}, "NUL"),
        (Article, "lone \ud800 surrogate", {}, "lone surrogate"),
        (Article, "word " * 20_000, {}, "100000 characters long, at most 8192"),
        (Article, QUERY, {"limit": 0}, "limit=0 is outside 1 to 1000"),
        (Article, QUERY, {"limit": -1}, "limit=-1 is outside"),
        (Article, QUERY, {"limit": 1_000_000}, "limit=1000000 is outside 1 to 1000"),
        (Article, QUERY, {"mode": "fuzzy"}, "no mode 'fuzzy'"),
        (Article, QUERY, {"embedding": "bge_v1"}, "declares no embedding 'bge_v1'"),
        (Article, QUERY, {"vector": [1.0, 2.0]}, "2 dimensions, embedding 'hash_v1' has 64"),
        (Article, QUERY, {"vector": [float("nan")] * 64}, "not finite"),
        (Article, QUERY, {"vector": [float("inf")] * 64}, "not finite"),
        (Article, QUERY, {"vector": [0.0] * 64}, "all zeros"),
        (Article, QUERY, {"index": page_search}, "is on table 'page: .* not on 'article'"),
        (Unsearchable, QUERY, {}, "No search index is declared on table 'unsearchable'"),
        (Draft, QUERY, {}, "Several .* table 'draft': draft_titles, draft_bodies"),
        (Plain, QUERY, {}, "neither a mapped class nor a table nor a SearchIndex"),
        ("Article", QUERY, {}, "neither a mapped class nor a table nor a SearchIndex"),
        (aliased(Article), QUERY, {}, "neither a mapped class nor a table nor a SearchIndex"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(
    source: Any, query: Any, options: dict[str, Any], refusal: str
) -> None:
    with pytest.raises((QueryError, DeclarationError), match=refusal) as refused:
        search(source, query, **options)
    assert refused.value.hint


@pytest.mark.parametrize(
    "query",
    [
        "100% of storm",
        "%s %(name)s %%",
        ":name ::text \\:x",
        "it's a \"storm\" \\ 'harbour'",
        "{query} {} {{",
        "-",
        '"',
        "'; DROP TABLE article; --",
        "storm & | ! ( ) <-> :*",
        "嵐 港 🌊 é",
        "-storm -harbour",
        "the of and",
        "w" * 8192,
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
def test_any_text_can_be_asked(session: Session, query: str, mode: str) -> None:
    asked = search(Article, query, mode=mode, where=Article.tenant_id == 2)
    vector = HashEmbedder(64).embed_queries([query])[0]
    by_function = session.execute(
        text(
            "SELECT id FROM article_search(:query, vector => CAST(:vector AS vector),"
            " mode => :mode, tenant_id => 2)"
        ),
        {"query": query, "vector": vector.to_text(), "mode": mode},
    )
    assert ids(session, asked) == list(by_function.scalars())


def test_a_query_is_read_in_its_language(session: Session) -> None:
    words = search(Article, "die Bäcker", mode="keyword", language="de")
    assert str(words.compile(session.get_bind())).count("query_configuration") == 2
    session.execute(words).all()
    with pytest.raises(DBAPIError, match="no text search configuration for the language 'klingon'"):
        session.execute(search(Article, "Qapla", language="klingon")).all()


def test_a_search_index_may_be_named(session: Session) -> None:
    named = session.execute(search(Draft, "a", mode="keyword", index="draft_titles")).all()
    assert named == session.execute(search(Draft, "a", mode="keyword", index=draft_titles)).all()
    with pytest.raises(DeclarationError, match="No search index 'zz' is declared on table 'draft'"):
        search(Draft, "a", index="zz")
