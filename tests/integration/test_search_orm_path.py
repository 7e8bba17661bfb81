"""Searches where pgvector lies in a schema that is not on the caller's search_path."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from pgsearch import database, search, similar
from pgsearch.sync import Worker
from tests.plugins.orm import QUERY, Article, Base, Page, article_search, create, fill, ids, table
from tests.plugins.postgres import Databases
from tests.plugins.search import install, vector_of

MODES = ("keyword", "vector", "hybrid")


@pytest.fixture(scope="module")
def apart_url(databases: Databases) -> Iterator[str]:
    """A database of articles, with pgvector where only who made it and workers look."""
    with databases.fresh() as url:
        seeing = f"{url}&options=-c%20search_path%3Dpublic,extensions"
        engine = create_engine(database.sqlalchemy_url(seeing))
        with database.connect(seeing) as connection:
            connection.execute("CREATE SCHEMA extensions")
            connection.execute("CREATE EXTENSION vector SCHEMA extensions")
            install(connection)
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(table(Page).schema or "")))
            Base.metadata.create_all(engine)
            create(connection, article_search)
        with Session(engine) as session:
            fill(session)
            session.commit()
        engine.dispose()
        Worker(seeing).drain()
        yield url


@pytest.fixture
def apart(apart_url: str) -> Iterator[Session]:
    engine = create_engine(database.sqlalchemy_url(apart_url))
    with Session(engine) as session:
        assert session.scalar(text("SELECT to_regtype('vector')")) is None
        yield session
    engine.dispose()


@pytest.mark.parametrize("mode", MODES)
def test_the_orm_finds_what_the_function_finds(apart: Session, session: Session, mode: str) -> None:
    asked = search(Article, QUERY, mode=mode, explain=True)
    found = [(article.id, *hit[:7]) for article, hit in apart.execute(asked)]
    called = apart.execute(
        text("SELECT * FROM article_search(:query, vector => :given, mode => :mode)"),
        {"query": QUERY, "given": vector_of(QUERY), "mode": mode},
    )
    # What made the vector, the function says alone.
    assert found == [tuple(row)[:-1] for row in called]
    assert [row[0] for row in found] == ids(session, asked)


def test_rows_like_others(apart: Session, session: Session) -> None:
    asked = similar(Article, [3, 4], unlike=5)
    assert len(ids(apart, asked)) == 10
    assert ids(apart, asked) == ids(session, asked)


def test_with_asyncpg(apart_url: str, session: Session) -> None:
    statements = [search(Article, QUERY), similar(Article, [3, 4], unlike=5)]

    async def ask() -> list[list[int]]:
        url = apart_url.replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(url)
        async with AsyncSession(engine) as asking:
            found = [[a.id for a in await asking.scalars(asked)] for asked in statements]
        await engine.dispose()
        return found

    assert asyncio.run(ask()) == [ids(session, asked) for asked in statements]
