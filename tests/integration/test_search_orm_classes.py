"""Searches by mapped classes that share a table, with keys of a type of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import UUID

import pytest
from sqlalchemy import Dialect, TypeDecorator, Uuid, create_engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgsearch import Embedding, SearchIndex, database, search, similar
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins.orm import create
from tests.plugins.postgres import Databases

MODES = ("keyword", "vector", "hybrid")


class Token(TypeDecorator[str]):
    """A UUID in the database, another text in Python."""

    impl = Uuid
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> UUID | None:
        return None if value is None else UUID(value.removeprefix("person:"))

    def process_result_value(self, value: UUID | None, dialect: Dialect) -> str | None:
        return None if value is None else f"person:{value}"


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    token: Mapped[str] = mapped_column(Token, primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Author(Person):
    __mapper_args__ = {"polymorphic_identity": "author"}  # noqa: RUF012


PERSON_SEARCH = SearchIndex(
    "person_search",
    Person.__table__,
    text={"name": "A"},
    embeddings=[Embedding("hash_v1", hash_model(64))],
    active="hash_v1",
)


def token(n: int) -> str:
    return f"person:{UUID(int=n)}"


@pytest.fixture(scope="module")
def people_url(databases: Databases, installed_template: str) -> Iterator[str]:
    """A database with a hundred persons; the ten authors are those who are least found."""
    with databases.fresh(installed_template) as url:
        engine = create_engine(database.sqlalchemy_url(url))
        Base.metadata.create_all(engine)
        with database.connect(url) as connection:
            create(connection, PERSON_SEARCH)
        with Session(engine) as session:
            for n in range(90):
                session.add(Person(token=token(n), name="Ann Ann"))
            for n in range(90, 100):
                session.add(Author(token=token(n), name="Ann of nowhere in particular"))
            session.commit()
        engine.dispose()
        Worker(url).drain()
        yield url


@pytest.mark.parametrize("mode", MODES)
def test_one_of_several_classes_is_what_is_searched(people_url: str, mode: str) -> None:
    engine = create_engine(database.sqlalchemy_url(people_url))
    with Session(engine) as session:
        authors = session.execute(search(Author, "Ann Ann", mode=mode, limit=5)).all()
        assert len(authors) == 5
        assert all(isinstance(author, Author) for author, _ in authors)
        assert len(session.execute(search(Person, "Ann Ann", mode=mode, limit=50)).all()) == 50
        if mode == "vector":
            assert len(session.execute(similar(Author, token(0), limit=5)).all()) == 5
    engine.dispose()


def test_an_example_is_named_by_a_key_of_another_type(people_url: str) -> None:
    async def ask() -> int:
        url = people_url.replace("postgresql://", "postgresql+asyncpg://")
        engine = create_async_engine(url)
        async with AsyncSession(engine) as session:
            found = (await session.execute(similar(Person, [token(0), token(1)]))).all()
        await engine.dispose()
        return len(found)

    engine = create_engine(database.sqlalchemy_url(people_url))
    with Session(engine) as session:
        person = session.get_one(Person, token(0))
        assert len(session.execute(similar(Person, person)).all()) == 10
    engine.dispose()
    assert asyncio.run(ask()) == 10
