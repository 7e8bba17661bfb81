"""Other ways to ask from SQLAlchemy: pages, fusions, boosts, snippets, explanations, examples."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import Engine, case, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pgsearch import search, similar
from pgsearch.errors import QueryError
from tests.plugins.orm import QUERY, Article, Author, Page, article_tag, ids, page_search

MODES = ("keyword", "vector", "hybrid")


# Pages


@pytest.mark.parametrize("mode", MODES)
def test_pages_are_parts_of_the_whole(session: Session, mode: str) -> None:
    whole = ids(session, search(Article, QUERY, limit=40, mode=mode))
    pages = [
        ids(session, search(Article, QUERY, limit=10, offset=offset, mode=mode))
        for offset in (0, 10, 20, 30)
    ]
    assert [article for page in pages for article in page] == whole
    assert len(set(whole)) == 40


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"offset": -1}, "offset=-1 with limit=10 is outside 0 to 990"),
        ({"offset": 991}, "offset=991"),
        ({"ef_search": 0}, "ef_search=0"),
        ({"ef_search": 1001}, "ef_search=1001"),
        ({"fusion": "best"}, "no fusion 'best'"),
        ({"keyword_weight": -1.0}, "keyword_weight=-1.0"),
        ({"keyword_weight": float("nan")}, "keyword_weight=nan"),
    ],
)
def test_what_is_refused(options: dict[str, Any], refusal: str) -> None:
    with pytest.raises(QueryError, match=refusal) as refused:
        search(Article, QUERY, **options)
    assert refused.value.hint


# Conditions


@pytest.mark.parametrize("mode", MODES)
def test_a_row_that_a_joined_table_brings_twice_is_one_result(session: Session, mode: str) -> None:
    where = [Article.id == article_tag.c.article_id, article_tag.c.tag.in_(["news", "sea"])]
    found = ids(session, search(Article, QUERY, mode=mode, where=where, limit=30))
    assert len(set(found)) == len(found) == 30
    tagged = ids(session, search(Article, QUERY, mode=mode, where=Article.tags.any(), limit=30))
    assert found == tagged


@pytest.mark.parametrize("mode", MODES)
def test_no_condition_is_none(session: Session, mode: str) -> None:
    everything = ids(session, search(Article, QUERY, mode=mode))
    assert len(everything) == 10
    assert ids(session, search(Article, QUERY, mode=mode, where=None)) == everything
    assert len(ids(session, similar(Article, 7, where=None))) == 10


# Fusion


def test_reciprocal_ranks(session: Session) -> None:
    for _, hit in session.execute(search(Article, QUERY, fusion="rrf", limit=20)):
        ranks = [1 / (60 + rank) for rank in (hit.keyword_rank, hit.vector_rank) if rank]
        assert hit.score == pytest.approx(sum(ranks))


def test_a_weight_of_nothing_leaves_the_other_leg(session: Session) -> None:
    vector = ids(session, search(Article, QUERY, mode="vector", limit=20))
    weighed = search(Article, QUERY, keyword_weight=0.0, limit=20)
    assert ids(session, weighed) == vector
    heavy = session.execute(search(Article, QUERY, keyword_weight=1000.0, limit=20)).all()
    scores = [hit.keyword_score for _, hit in heavy]
    assert scores == sorted(scores, reverse=True)


# Boosts


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("where", [(), [Article.tenant_id == 1]])
def test_a_boost_is_added_before_the_best_are_taken(
    session: Session, mode: str, where: Any
) -> None:
    wanted = ids(session, search(Article, QUERY, mode=mode, limit=60, where=where))[50]
    boost = case((Article.id == wanted, 100.0), else_=0.0)
    asked = search(Article, QUERY, mode=mode, limit=3, where=where, boost=boost)
    found = session.execute(asked).all()
    assert found[0][0].id == wanted
    assert found[0][1].score > 100
    plain = ids(session, search(Article, QUERY, mode=mode, limit=2, where=where))
    assert [article.id for article, _ in found[1:]] == plain


def test_a_boost_that_is_null_adds_nothing(session: Session) -> None:
    none = case((Article.id < 0, 1.0))
    assert ids(session, search(Article, QUERY, boost=none)) == ids(session, search(Article, QUERY))


@pytest.mark.parametrize("mode", MODES)
def test_a_boost_may_come_from_another_table(session: Session, mode: str) -> None:
    tags = select(func.count()).where(article_tag.c.article_id == Article.id).scalar_subquery()
    found = session.execute(search(Article, QUERY, mode=mode, limit=40, boost=10 * tags)).all()
    counts = [len(article.tags) for article, _ in found]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 2


@pytest.mark.parametrize("boost", [Author.id, Article.id + Author.id, func.ln(article_tag.c.tag)])
def test_a_boost_of_several_values_is_refused(boost: Any) -> None:
    with pytest.raises(QueryError, match=r"The boost names (author|article_tag) beside") as refused:
        search(Article, QUERY, boost=boost)
    assert "scalar_subquery()" in str(refused.value.hint)


# Snippets and explanations


def test_snippets_show_what_was_found(session: Session) -> None:
    for _, hit in session.execute(search(Article, QUERY, limit=5, snippets=True)):
        assert "<b>" in hit.snippet
        assert hit.explanation is None
    _, hit = session.execute(search(Article, QUERY, limit=1)).one()
    assert hit.snippet is None


def test_an_explanation_tells_the_terms_and_the_path(session: Session) -> None:
    asked = search(Article, QUERY, limit=5, explain=True, where=Article.tenant_id == 1)
    tenants = session.scalar(select(func.count()).where(Article.tenant_id == 1))
    for article, hit in session.execute(asked):
        explanation = hit.explanation
        assert (explanation["path"], explanation["rows"]) == ("each row", tenants)
        words = f"{article.title} {article.body}".lower()
        for term in explanation["terms"]:
            assert (term["frequency"] > 0) == (term["term"] in words), term
        assert sum(term["frequency"] > 0 for term in explanation["terms"]) > 0
    _, hit = session.execute(search(Article, QUERY, limit=1, explain=True)).one()
    assert hit.explanation["path"] == "index"
    assert "rows" not in hit.explanation


def test_an_explanation_tells_which_terms_bring_documents(session: Session) -> None:
    """Beside vectors those of 400 documents, but where something narrows the search."""
    session.execute(
        text(
            "INSERT INTO article (id, tenant_id, published, author_id, title, body)"
            " SELECT 100000 + n, 1, true, (SELECT min(id) FROM author), 'x',"
            " CASE WHEN n <= 120 THEN 'comet' WHEN n <= 320 THEN 'boat' WHEN n <= 580 THEN 'moon'"
            " ELSE 'sand' END FROM generate_series(1, 8000) AS n"
        )
    )
    session.execute(text("SELECT article_search_refresh_statistics()"))

    def tiers(query: str, **options: Any) -> dict[str, int | None]:
        _, hit = session.execute(search(Article, query, limit=1, explain=True, **options)).one()
        return {term["term"]: term["tier"] for term in hit.explanation["terms"]}

    every = {"comet": 1, "boat": 1, "moon": 1}
    assert tiers("comet boat moon") == every | {"moon": None}
    assert tiers("comet boat moon", mode="keyword") == every
    assert tiers("comet boat moon", where=Article.tenant_id == 1) == every
    assert tiers("comet boat moon -zebra") == every


def test_rows_and_composite_keys_have_them_too(session: Session) -> None:
    for source in (Page, page_search):
        asked = search(source, "storm", limit=20, snippets=True, explain=True)
        rows = session.execute(asked).mappings().all()
        hits = rows if source is page_search else [row["hit"] for row in rows]
        found = [hit if source is page_search else hit._asdict() for hit in hits]
        assert any("<b>" in hit["snippet"] for hit in found)
        assert all(term["idf"] > 0 for hit in found for term in hit["explanation"]["terms"])


# Examples


def test_rows_like_another(session: Session) -> None:
    found = session.execute(similar(Article, 7, limit=5)).all()
    assert len(found) == 5
    vectors = dict(
        session.execute(
            text("SELECT id, avg(embedding_hash_v1)::text FROM article_search_chunk GROUP BY id")
        ).all()
    )
    nearest = session.execute(
        text(
            "SELECT id FROM article_search_chunk WHERE id <> 7"
            " GROUP BY id ORDER BY min(embedding_hash_v1 <=> CAST(:v AS vector)), id LIMIT 5"
        ),
        {"v": vectors[7]},
    )
    assert [article.id for article, _ in found] == [row[0] for row in nearest]
    for _, hit in found:
        assert hit.score == hit.similarity
        assert hit.keyword_score is None


def test_an_entity_is_an_example(session: Session) -> None:
    article = session.get_one(Article, 7)
    assert ids(session, similar(Article, article)) == ids(session, similar(Article, 7))


def test_several_examples_and_counterexamples(session: Session) -> None:
    like, unlike = [3, 4], [5]
    found = ids(session, similar(Article, like, unlike=unlike, limit=20))
    assert len(found) == 20
    assert not {*like, *unlike} & set(found)
    assert found != ids(session, similar(Article, like, limit=20))


def test_near_duplicates_are_above_a_similarity(session: Session) -> None:
    everything = session.execute(similar(Article, 7, limit=50)).all()
    bound = everything[10][1].similarity
    near = session.execute(similar(Article, 7, limit=50, min_similarity=bound)).all()
    assert [a.id for a, _ in near] == [a.id for a, h in everything if h.similarity >= bound]
    assert 11 <= len(near) < 50


def test_examples_with_conditions_and_pages(session: Session) -> None:
    where = Article.id > 50
    whole = ids(session, similar(Article, 7, limit=12, where=where))
    assert len(whole) == 12
    assert ids(session, similar(Article, 7, limit=6, offset=6, where=where)) == whole[6:]
    assert min(whole) > 50


def test_a_composite_key_is_an_example(session: Session) -> None:
    page = session.scalars(select(Page)).first()
    assert page is not None
    key = (page.book, page.number)
    found = session.execute(similar(Page, key, limit=3)).all()
    assert found
    assert key not in [(other.book, other.number) for other, _ in found]


def test_examples_without_vectors_are_passed_over(session: Session) -> None:
    alone = ids(session, similar(Article, 7, limit=20))
    assert ids(session, similar(Article, [7, 1_000_000], limit=20)) == alone
    assert ids(session, similar(Article, 7, unlike=1_000_000, limit=20)) == alone
    assert ids(session, similar(Article, 7, unlike=None, limit=20)) == alone


def test_an_entity_of_another_class_is_no_example(session: Session) -> None:
    with pytest.raises(QueryError, match="is no primary key of 'article'"):
        similar(Article, session.get_one(Author, 1))


def test_a_row_without_vectors_is_like_nothing(session: Session) -> None:
    assert ids(session, similar(Article, 1_000_000)) == []


@pytest.mark.parametrize(
    ("to", "options", "refusal"),
    [
        ([], {}, "No row of 'article' is named"),
        (None, {}, "None is no primary key of 'article'"),
        ((1, 2), {}, r"\(1, 2\) is no primary key"),
        (1, {"limit": 0}, "limit=0"),
        (1, {"embedding": "other"}, "declares no embedding 'other'"),
    ],
)
def test_what_is_no_example(to: Any, options: dict[str, Any], refusal: str) -> None:
    with pytest.raises(QueryError, match=refusal) as refused:
        similar(Article, to, **options)
    assert refused.value.hint


def test_all_of_it_with_asyncpg(library_url: str) -> None:
    async def ask() -> list[int]:
        engine = create_async_engine(library_url.replace("postgresql://", "postgresql+asyncpg://"))
        async with AsyncSession(engine) as session:
            boost = case((Article.id == 3, 0.5), else_=0.0)
            options: dict[str, Any] = {"snippets": True, "explain": True, "boost": boost}
            found = []
            for mode in MODES:
                asked = search(Article, QUERY, mode=mode, where=Article.tenant_id == 1, **options)
                found += [article.id for article, _ in (await session.execute(asked)).all()]
            found += await session.scalars(similar(Article, [1, 2], unlike=3))
        await engine.dispose()
        return [getattr(each, "id", each) for each in found]

    assert len(asyncio.run(ask())) == 40


def test_the_caller_keeps_its_settings_after_the_function(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(text("SET hnsw.ef_search = 77"))
        session.execute(text("SELECT * FROM article_search('storm', 5, NULL, 'keyword')"))
        vector = session.scalar(text("SELECT embedding_hash_v1::text FROM article_search_chunk"))
        session.execute(
            text("SELECT * FROM article_search('storm', 5, CAST(:v AS vector))"), {"v": vector}
        )
        assert session.scalar(text("SHOW hnsw.ef_search")) == "77"
        assert session.scalar(text("SHOW hnsw.iterative_scan")) == "off"
