"""What a type checker knows of a search; read by `tests/unit/test_typing.py`, never run.

The comment behind a `reveal_type` is what it must say.
"""

from __future__ import annotations

from typing import reveal_type

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgsearch import Hit, SearchIndex, search, similar


class Base(DeclarativeBase):
    pass


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    published: Mapped[bool]
    title: Mapped[str]


def entities_and_hits(session: Session) -> None:
    for article, hit in session.execute(search(Article, "storm")):
        reveal_type(article)  # Article
        reveal_type(hit)  # Hit
        reveal_type(hit.score)  # float
        reveal_type(hit.passage)  # str | None
        reveal_type(hit.stale)  # bool


def passages(session: Session) -> None:
    for letter, hit in session.execute(search(Article, "storm", passages=True, per_document=2)):
        reveal_type(letter)  # Article
        reveal_type(hit.ordinal)  # int | None
        reveal_type(hit.document_score)  # float | None


def every_way_to_read_them(session: Session) -> None:
    first = session.execute(search(Article, "storm", limit=1)).first()
    if first is not None:
        reveal_type(first[0])  # Article
        reveal_type(first[1])  # Hit
    for article in session.scalars(search(Article, "storm")):
        reveal_type(article)  # Any


def further_clauses(session: Session) -> None:
    asked = search(Article, "storm").where(Article.id > 3).limit(5).offset(5)
    for article, hit in session.execute(asked):
        reveal_type(article)  # Article
        reveal_type(hit)  # Hit


def rows_like_others(session: Session) -> None:
    for article, hit in session.execute(similar(Article, 42, unlike=[1, 2], min_similarity=0.9)):
        reveal_type(article)  # Article
        reveal_type(hit.similarity)  # float | None
        reveal_type(hit.snippet)  # str | None


def conditions() -> None:
    search(Article, "storm", where=Article.id > 3)
    search(Article, "storm", where=Article.published)
    search(Article, "storm", where=None)
    similar(Article, 42, where=None, unlike=None)
    search(Article, "storm", where=[Article.published, Article.title.like("S%")])


async def async_sessions(session: AsyncSession) -> None:
    for article, hit in await session.execute(search(Article, "storm")):
        reveal_type(article)  # Article
        reveal_type(hit)  # Hit


def rows_of_a_search_index(session: Session, index: SearchIndex) -> None:
    for row in session.execute(search(index, "storm")):
        reveal_type(row.score)  # Any


def mistakes() -> None:
    search(Article, 3)  # error: call-overload
    search(Article, "storm", limit="10")  # error: call-overload
    search(Article, "storm", where="id > 3")  # error: call-overload
    Hit(score=1.0)  # error: call-arg


def a_declaration() -> None:
    declared = SearchIndex("article_search", Article.__table__, text={"title": "A"})
    reveal_type(declared)  # SearchIndex
