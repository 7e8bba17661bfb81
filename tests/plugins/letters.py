"""Letters of several passages, with a key of two columns, whose embeddings are ready."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgsearch import Chunking, Embedding, SearchIndex, database
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins import orm
from tests.plugins.postgres import Databases

SUBJECTS = ("harbour", "village", "baker", "telegraph", "clock", "winter", "storm")


class Base(DeclarativeBase):
    pass


class Letter(Base):
    """Has one to six passages."""

    __tablename__ = "letter"
    sender: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    year: Mapped[int]
    body: Mapped[str]


class Numbered(Base):
    """Has a column of its own that passages have, too."""

    __tablename__ = "numbered"
    id: Mapped[int] = mapped_column(primary_key=True)
    ordinal: Mapped[int]
    body: Mapped[str]


SearchIndex("numbered_search", Numbered.__table__, text={"body": "A"})

letter_search = SearchIndex(
    "letter_search",
    Letter.__table__,
    text={"body": "A"},
    filters=["year"],
    chunking=Chunking(max_tokens=32, overlap=0),
    embeddings=[Embedding("hash_v1", hash_model(64))],
    active="hash_v1",
)


@pytest.fixture(scope="session")
def letters(databases: Databases, installed_template: str) -> Iterator[Engine]:
    """An engine on a database with 40 of them; tests only read it."""
    with databases.fresh(installed_template) as url:
        engine = create_engine(database.sqlalchemy_url(url))
        Base.metadata.create_all(engine)
        with database.connect(url) as connection:
            orm.create(connection, letter_search)
        with Session(engine) as session:
            for n in range(40):
                parts = (SUBJECTS[(n + m * m) % 7] for m in range(1 + n % 6))
                body = "\n\n".join(f"Of the {part}, and more of it. " * 4 for part in parts)
                sender = ("ann", "bo")[n % 2]
                session.add(Letter(sender=sender, number=n, year=1900 + n % 3, body=body))
            session.commit()
        Worker(url).drain()
        yield engine
        engine.dispose()
