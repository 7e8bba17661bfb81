"""Mapped classes with search indexes, and a database that holds some hundred rows of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Executable, ForeignKey, Table, create_engine, inspect, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from pgsearch import Chunking, Embedding, SearchIndex, database
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.schema import index as index_ddl
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins.postgres import Databases
from tests.plugins.search import execute_all


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "author"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


article_tag = Table(
    "article_tag",
    Base.metadata,
    Column("article_id", ForeignKey("article.id"), primary_key=True),
    Column("tag", ForeignKey("tag.name"), primary_key=True),
)


class Tag(Base):
    __tablename__ = "tag"
    name: Mapped[str] = mapped_column(primary_key=True)


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    published: Mapped[bool]
    title: Mapped[str]
    body: Mapped[str | None]
    author_id: Mapped[int] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author] = relationship()
    tags: Mapped[list[Tag]] = relationship(secondary=article_tag)


class Page(Base):
    """A composite key, and names that only the best of quoting survives."""

    __tablename__ = "page: \"a\" \\ 'b' {c} :d"
    __table_args__ = ({"schema": "odd: {schema} :x"},)
    book: Mapped[str] = mapped_column("the {book}'s :name", primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    discount: Mapped[int] = mapped_column("discount %")
    content_: Mapped[str] = mapped_column('"text" \\ :of')


class Draft(Base):
    __tablename__ = "draft"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    body: Mapped[str]


class Unsearchable(Base):
    __tablename__ = "unsearchable"
    id: Mapped[int] = mapped_column(primary_key=True)


class Plain:
    pass


def table(entity: type[Base]) -> Table:
    found = entity.__table__
    assert isinstance(found, Table)
    return found


HASH_V1, HASH_V2 = Embedding("hash_v1", hash_model(64)), Embedding("hash_v2", hash_model(32))

article_search = SearchIndex(
    "article_search",
    table(Article),
    text={"title": "A", "body": "B"},
    filters=["tenant_id"],
    chunking=Chunking(heading="title"),
    embeddings=[HASH_V1, HASH_V2],
    active="hash_v1",
)
page_search = SearchIndex(
    'page: "search" \\ {c} :d',
    table(Page),
    text={'"text" \\ :of': "A"},
    embeddings=[HASH_V1],
)
draft_titles = SearchIndex("draft_titles", table(Draft), text={"title": "A"}, embeddings=[HASH_V1])
draft_bodies = SearchIndex("draft_bodies", table(Draft), text={"body": "A"}, embeddings=[HASH_V1])

INDEXES = (article_search, page_search, draft_titles, draft_bodies)

SUBJECTS = ("harbour", "village", "baker", "telegraph", "clock", "winter", "storm")
QUERY = "a storm over the harbour"


def fill(session: Session) -> None:
    """Write 210 articles, of which tenant 2 has 7, one on each subject; some pages and drafts."""
    authors = [Author(name=name) for name in ("Ann", "Bo", "Cem")]
    tags = [Tag(name=name) for name in ("news", "sea")]
    for n in range(210):
        subject, other = SUBJECTS[n % 7], SUBJECTS[n % 5]
        article = Article(
            tenant_id=2 if n % 33 == 4 else 1,
            published=n % 2 == 0,
            title=f"The {subject} and number {n}",
            body=f"About a {subject}, and the {other} as well." if n % 11 else None,
            author=authors[n % 3],
            tags=tags[: n % 3],
        )
        session.add(article)
    for n in range(12):
        book = "50% of: it's \\ {all}" if n % 2 else "plain"
        words = f"Page {n} about a {SUBJECTS[n % 7]}"
        session.add(Page(book=book, number=n, discount=n % 3, content_=words))
        session.add(Draft(title=f"A {SUBJECTS[n % 7]}", body=f"The {SUBJECTS[n % 4]} at night"))


@pytest.fixture(scope="session")
def library_url(databases: Databases, installed_template: str) -> Iterator[str]:
    """A database with all of this, whose embeddings are ready; tests only read it."""
    with databases.fresh(installed_template) as url:
        engine = create_engine(database.sqlalchemy_url(url))
        with engine.begin() as connection:
            connection.execute(text(f'CREATE SCHEMA "{table(Page).schema}"'.replace(":", "\\:")))
            Base.metadata.create_all(connection)
        with database.connect(url) as connection:
            for index in INDEXES:
                create(connection, index)
        with Session(engine) as session:
            fill(session)
            session.commit()
        engine.dispose()
        Worker(url).drain()
        yield url


def create(connection: database.Connection, index: SearchIndex) -> None:
    """Put a declared search index beside its table."""
    definition = index.definition()
    steps = index_ddl.create_search_index(definition)
    for embedding in index.embeddings:
        steps += embedding_ddl.add_embedding(definition.schema, index.name, embedding)
    execute_all(connection, steps)


@pytest.fixture(scope="session")
def engine(library_url: str) -> Iterator[Engine]:
    """An engine on that database."""
    engine = create_engine(database.sqlalchemy_url(library_url))
    yield engine
    engine.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """A session on that database, rolled back in the end."""
    with Session(engine) as session:
        yield session


def ids(session: Session, statement: Executable) -> list[int]:
    """Return the ids of the entities that a statement gives."""
    return [row[0].id for row in session.execute(statement)]


def comparable(rows: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return what does not depend on the session that loaded the entities."""
    return [(str(inspect(row[0]).identity_key), tuple(row[1])) for row in rows]
