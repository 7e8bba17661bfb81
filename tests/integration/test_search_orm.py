"""`search` from SQLAlchemy: a Select of entities and hits, in any session and with any driver."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, Table, create_engine, event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, selectinload

from pgsearch import Hit, SearchIndex, database, search
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder
from tests.plugins.orm import (
    QUERY,
    Article,
    Author,
    Base,
    Page,
    Tag,
    article_search,
    article_tag,
    comparable,
    create,
    ids,
    table,
)
from tests.plugins.postgres import Databases


def test_it_gives_entities_and_what_made_them_a_hit(session: Session) -> None:
    found = session.execute(search(Article, QUERY, limit=5)).all()
    assert len(found) == 5
    for article, hit in found:
        assert isinstance(article, Article)
        assert isinstance(hit, Hit)
        assert article in session
        assert "storm" in article.title or "harbour" in article.title
        assert hit.passage is not None
        assert hit.passage.startswith(article.title)
        assert hit.similarity is not None
        assert 0 < hit.similarity <= 1
        assert hit.keyword_score is not None
        assert hit.keyword_score > 0
        assert hit.stale is False
    scores = [hit.score for _, hit in found]
    assert scores == sorted(scores, reverse=True)


def test_the_first_column_is_the_entity(session: Session) -> None:
    articles = session.scalars(search(Article, QUERY, limit=3)).all()
    assert [type(article) for article in articles] == [Article] * 3
    first = session.execute(search(Article, QUERY)).first()
    assert first is not None
    assert first.Article is articles[0]
    assert first.hit.score > 0


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
@pytest.mark.parametrize("tenant", [None, 2])
@pytest.mark.parametrize("embedding", ["hash_v1", "hash_v2"])
@pytest.mark.parametrize("query", [QUERY, '"number 37" -clock', "winter"])
def test_it_is_the_same_search_as_the_sql_function(
    session: Session, mode: str, tenant: int | None, embedding: str, query: str
) -> None:
    vector = HashEmbedder(64 if embedding == "hash_v1" else 32).embed_queries([query])[0]
    asked = search(
        Article,
        query,
        limit=20,
        mode=mode,
        embedding=embedding,
        where=[] if tenant is None else Article.tenant_id == tenant,
    )
    by_function = session.execute(
        text(
            "SELECT * FROM article_search(:query, k => 20, vector => CAST(:vector AS vector),"
            " mode => :mode, embedding => :embedding, tenant_id => :tenant)"
        ),
        {
            "query": query,
            "vector": vector.to_text(),
            "mode": mode,
            "embedding": embedding,
            "tenant": tenant,
        },
    ).all()
    found = [(article.id, *hit[:7]) for article, hit in session.execute(asked)]
    # What made the vector, the function says alone: here it is always Python.
    assert found == [tuple(row)[:-1] for row in by_function]
    if mode != "keyword" or query == QUERY:
        assert found


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
def test_a_condition_narrows_both_legs_and_not_their_result(session: Session, mode: str) -> None:
    """Tenant 1 has 203 articles, 60 of them with these words; tenant 2 has 7, and two."""
    asked = search(Article, "storm harbour", mode=mode, where=Article.tenant_id == 2)
    found = session.execute(asked).all()
    assert [article.tenant_id for article, _ in found] == [2] * (2 if mode == "keyword" else 7)
    ranks = [hit.keyword_rank if mode == "keyword" else hit.vector_rank for _, hit in found]
    assert sorted(rank or 0 for rank in ranks) == list(range(1, len(found) + 1))
    afterwards = search(Article, "storm harbour", mode=mode).where(Article.tenant_id == 2)
    assert len(ids(session, afterwards)) < len(found)


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        pytest.param(Article.author.has(Author.name == "Bo"), lambda a: a.author.name == "Bo"),
        pytest.param(
            Article.tags.any(Tag.name == "sea"), lambda a: "sea" in {t.name for t in a.tags}
        ),
        pytest.param(~Article.tags.any(), lambda a: a.tags == []),
        pytest.param(Article.published, lambda a: a.published),
        pytest.param(Article.published.is_(False), lambda a: not a.published),
        pytest.param(Article.body == None, lambda a: a.body is None),  # noqa: E711
        pytest.param(Article.id.in_([3, 30, 33]), lambda a: a.id in {3, 30, 33}),
        pytest.param(Article.title.like("%1%:%"), lambda a: False),
        pytest.param(Article.title.like("%number 1%"), lambda a: "number 1" in a.title),
        pytest.param(text("article.id % 10 = 3"), lambda a: a.id % 10 == 3),
        pytest.param(
            [Article.tenant_id == 1, Article.id % 2 == 1, Article.author.has(name="Cem")],
            lambda a: a.tenant_id == 1 and a.id % 2 and a.author.name == "Cem",
        ),
        pytest.param(
            Article.id.in_(select(article_tag.c.article_id).group_by(article_tag.c.article_id)),
            lambda a: a.tags,
        ),
    ],
)
def test_any_condition_of_sqlalchemy_may_narrow(session: Session, where: Any, holds: Any) -> None:
    expected = {a.id for a in session.scalars(select(Article)) if holds(a)}
    found = ids(session, search(Article, QUERY, limit=1000, mode="vector", where=where))
    # As many as one leg brings at most: all of them, or the nearest.
    assert set(found) <= expected
    assert len(found) == min(len(expected), 210)


def test_a_composite_key_and_odd_names(session: Session) -> None:
    asked = search(
        Page, "a harbour", limit=4, where=[Page.book == "50% of: it's \\ {all}", Page.discount > 0]
    )
    found = session.execute(asked).all()
    assert len(found) == 4
    assert {page.book for page, _ in found} == {"50% of: it's \\ {all}"}
    assert all(page.discount > 0 for page, _ in found)
    assert found[0][1].passage == found[0][0].content_
    everything = session.execute(search(Page, "a harbour", mode="vector", limit=50)).all()
    assert len({(page.book, page.number) for page, _ in everything}) == 12


@pytest.mark.parametrize("source", [table(Article), article_search])
def test_a_table_and_a_search_index_give_rows(
    session: Session, source: Table | SearchIndex
) -> None:
    asked = search(source, QUERY, limit=3, where=table(Article).c.tenant_id == 2)
    rows = session.connection().execute(asked).all()
    assert rows[0]._fields == (*table(Article).columns.keys(), *Hit._fields[:7])
    as_entities = session.execute(search(Article, QUERY, limit=3, where=Article.tenant_id == 2))
    assert [(row.id, row.score) for row in rows] == [(a.id, h.score) for a, h in as_entities]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
def test_it_runs_with_async_drivers(
    session: Session, library_url: str, driver: str, mode: str
) -> None:
    statements = [
        search(Article, "harbour's storm: 100%", mode=mode, where=Article.title.like("%r%:%")),
        search(Article, "harbour's storm: 100%", mode=mode, where=Article.tenant_id.in_([2, 3])),
        search(Page, "a \\ {harbour} %s :x", mode=mode, where=Page.discount == 1),
    ]

    async def ask() -> list[list[tuple[Any, ...]]]:
        engine = create_async_engine(
            library_url.replace("postgresql://", f"postgresql+{driver}://")
        )
        async with AsyncSession(engine) as asking:
            found = [comparable((await asking.execute(asked)).all()) for asked in statements]
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == [comparable(session.execute(asked).all()) for asked in statements]


def test_no_driver_is_needed_but_the_sessions_own() -> None:
    assert "psycopg2" not in sys.modules


def test_the_select_can_be_worked_on(session: Session) -> None:
    asked = search(Article, QUERY, limit=20)
    everything = ids(session, asked)
    assert ids(session, asked.limit(4)) == everything[:4]
    assert ids(session, asked.offset(5).limit(5)) == everything[5:10]
    odd = [article for article in everything if article % 2]
    assert ids(session, asked.where(Article.id % 2 == 1)) == odd
    assert ids(session, asked.order_by(None).order_by(Article.id)) == sorted(everything)
    joined = asked.join(Article.author).where(Author.name == "Ann").add_columns(Author.name)
    assert {row[2] for row in session.execute(joined)} == {"Ann"}
    counted = select(func.count()).select_from(asked.subquery())
    assert session.scalar(counted) == 20


def test_pages_of_results_follow_each_other(session: Session) -> None:
    whole = ids(session, search(Article, QUERY, limit=100))
    pages = [ids(session, search(Article, QUERY, limit=100).offset(n).limit(7)) for n in (0, 7, 14)]
    assert [article for page in pages for article in page] == whole[:21]


def test_options_of_the_orm_are_obeyed(engine: Engine) -> None:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        with Session(engine) as session:
            asked = search(Article, QUERY, limit=6).options(selectinload(Article.tags))
            found = session.execute(asked).all()
            assert len(statements) == 2
            assert all(len(article.tags) <= 2 for article, _ in found)
            assert len(statements) == 2
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_it_is_one_statement(engine: Engine, session: Session) -> None:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        session.execute(search(Article, QUERY, where=Article.tenant_id == 2)).all()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1


def test_a_vector_can_be_passed(session: Session) -> None:
    vector = HashEmbedder(64).embed_queries(["a clock in the winter"])[0]
    passed = search(Article, QUERY, mode="vector", vector=vector.to_list())
    made = search(Article, "a clock in the winter", mode="vector")
    assert ids(session, passed) == ids(session, made) != ids(session, search(Article, QUERY))


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_transaction_sees_what_it_saw_and_what_it_wrote(engine: Engine, level: str) -> None:
    engine = engine.execution_options(isolation_level=level)
    with Session(engine) as session, Session(engine) as other:
        before = ids(session, search(Article, "a whale surfaced"))
        other.add(
            Article(tenant_id=1, published=True, title="Whale", body="It surfaced.", author_id=1)
        )
        other.flush()
        assert "Whale" in {a.title for a in other.scalars(search(Article, "a whale surfaced"))}
        assert ids(session, search(Article, "a whale surfaced")) == before
        other.rollback()


def test_a_read_only_transaction_can_search(session: Session) -> None:
    session.execute(text("SET TRANSACTION READ ONLY"))
    assert len(ids(session, search(Article, QUERY))) == 10


def test_settings_of_the_vector_scan_end_with_the_transaction(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(search(article_search, QUERY)).all()
        connection.commit()
        assert connection.scalar(text("SHOW hnsw.ef_search")) == "40"
        assert connection.scalar(text("SHOW hnsw.iterative_scan")) == "off"


@pytest.fixture
def unready(databases: Databases, installed_template: str) -> Iterator[Engine]:
    """Articles of which no worker has heard yet."""
    with databases.fresh(installed_template) as url:
        engine = create_engine(database.sqlalchemy_url(url))
        Base.metadata.create_all(
            engine, tables=[table(e) for e in (Author, Tag, Article)] + [article_tag]
        )
        with database.connect(url) as connection:
            create(connection, article_search)
        with Session(engine) as session:
            author = Author(name="Ann")
            body = "The storm came over the harbour."
            session.add(
                Article(tenant_id=1, published=True, title="A storm", body=body, author=author)
            )
            session.commit()
        yield engine
        engine.dispose()


def test_before_the_embedding_is_ready_keywords_answer(unready: Engine) -> None:
    with Session(unready) as session:
        ((article, hit),) = session.execute(search(Article, QUERY))
        assert article.title == "A storm"
        assert hit.keyword_score is not None
        assert hit.keyword_score > 0
        assert (hit.similarity, hit.vector_rank, hit.passage, hit.stale) == (
            None,
            None,
            None,
            False,
        )
        assert ids(session, search(Article, QUERY, mode="keyword")) == [article.id]
        with pytest.raises(DBAPIError, match=r"'hash_v1' .* cannot answer: it is filling"):
            session.execute(search(Article, QUERY, mode="vector"))


def test_a_worker_makes_the_same_statement_answer_by_vector(unready: Engine) -> None:
    asked = search(Article, QUERY)
    with Session(unready) as session:
        session.execute(asked).all()
    Worker(unready.url.render_as_string()).drain()
    with Session(unready) as session:
        ((article, hit),) = session.execute(asked)
        assert hit.similarity is not None
        assert hit.passage == f"{article.title}\n\n{article.body}"
        ids_by_vector = ids(session, search(Article, QUERY, mode="vector"))
        assert ids_by_vector == [article.id]
