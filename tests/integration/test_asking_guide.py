"""docs/asking.md: what it shows is asked as it is written, of the articles that it speaks of."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, create_engine, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from pgsearch import Embedding, SearchIndex, database, search, similar
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins import orm
from tests.plugins.command_line import run
from tests.plugins.postgres import Databases
from tests.plugins.search import vector_of

GUIDE = (Path(__file__).parents[2] / "docs" / "asking.md").read_text(encoding="utf-8")


class Base(DeclarativeBase):
    pass


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    status: Mapped[str]
    price: Mapped[int]
    views: Mapped[int]
    language: Mapped[str]
    title: Mapped[str]


article_search = SearchIndex(
    "article_search",
    Article.__table__,
    text={"title": "A"},
    filters=["tenant_id", "status", "price"],
    language_column="language",
    embeddings=[Embedding("minilm_v1", hash_model(64)), Embedding("bge_v1", hash_model(32))],
    active="minilm_v1",
)


@pytest.fixture(scope="module")
def url(databases: Databases, installed_template: str) -> Iterator[str]:
    """A database of sixty articles of two tenants, some of which hold the guide's words."""
    with databases.fresh(installed_template) as url:
        engine = create_engine(database.sqlalchemy_url(url))
        Base.metadata.create_all(engine)
        with database.connect(url) as connection:
            orm.create(connection, article_search)
        with Session(engine) as session:
            session.add_all(
                Article(
                    id=n,
                    tenant_id=7 + n % 2,
                    status=("open", "new", "closed")[n % 3],
                    price=10 + n % 20,
                    views=n,
                    language=("english", "german")[n % 2],
                    title=f"How to reset password number {n}",
                )
                for n in range(1, 61)
            )
            session.commit()
        engine.dispose()
        Worker(url).drain()
        yield url


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    engine = create_engine(database.sqlalchemy_url(url))
    with Session(engine) as session:
        yield session
    engine.dispose()


def blocks(language: str) -> list[str]:
    """Return the guide's blocks of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_search_function_takes_what_is_shown(url: str) -> None:
    everything, alone, alike, unlike, snippets, passages = blocks("sql")
    vector = vector_of("how do I reset my password", 32)
    # The filters leave less than three pages.
    everything = everything.replace("'[…]'", f"'{vector}'").replace("=> 20, ", "=> 0, ", 1)
    with psycopg.connect(url) as connection:
        assert connection.execute(everything.encode()).fetchall()
        # No worker has learned words here: keywords answer, and there is no vector.
        answers, vectors = re.findall(r"SELECT [^;]+", alone)
        assert {row[-1] for row in connection.execute(answers.encode())} == {"none"}
        assert connection.execute(vectors.encode()).fetchall() == [(None,)]
        found = connection.execute(alike.encode()).fetchall()
        assert (found[0][0], len(found)) == (42, 11)
        found = connection.execute(unlike.encode()).fetchall()
        assert len(found) == 13
        assert {42, 7} <= {row[0] for row in found}
        found = connection.execute(snippets.encode()).fetchall()
        assert all("<b>" in snippet for _, snippet in found)
        vector = vector_of("how do I reset my password")
        found = connection.execute(passages.replace("'[…]'", f"'{vector}'").encode()).fetchall()
        assert len(found) == 10


def test_a_vector_is_made_as_is_shown(url: str) -> None:
    (code,) = (block for block in blocks("python") if "models.load" in block)
    namespace: dict[str, Any] = {"minilm": hash_model(64)}
    exec(code, namespace)
    with psycopg.connect(url) as connection:
        asked = "SELECT * FROM article_search('password', vector => %s, mode => 'vector')"
        assert len(connection.execute(asked, [namespace["vector"]]).fetchall()) == 10


def test_every_parameter_is_shown(url: str) -> None:
    shown = blocks("sql")[0]
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT proargnames FROM pg_proc WHERE proname = 'article_search'"
        ).fetchone()
    assert row is not None
    query, *named = (name for name in row[0] if not re.match("tenant_id|status|price", name))
    assert query == "query"
    assert [name for name in named if not re.search(rf"^  {name} +=> ", shown, re.M)] == []


@pytest.mark.parametrize("statement", re.findall(r"`(SELECT [^`]*)`", GUIDE))
def test_statistics(url: str, statement: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(statement.encode())


def test_the_orm_answers(session: Session) -> None:
    (code,) = (block for block in blocks("python") if "asked = search(" in block)
    namespace: dict[str, Any] = {"session": session, "Article": Article}
    exec(code, namespace)
    assert len(namespace["found"]) == 10
    assert {article.tenant_id for article, _ in namespace["found"]} == {7}


def test_passages_of_the_orm(session: Session) -> None:
    (code,) = (block for block in blocks("python") if "passages=True" in block)
    namespace: dict[str, Any] = {"session": session, "search": search, "Article": Article}
    exec(code, namespace)
    assert len(namespace["passages"]) == 10
    assert all(hit.ordinal == 0 for _, hit in namespace["passages"])


def test_examples_of_the_orm(session: Session) -> None:
    (code,) = (block for block in blocks("python") if "similar(" in block)
    article = session.get_one(Article, 42)
    imported, calls = code.split("\n\n")
    assert imported == "from pgsearch import similar"
    for call in calls.strip().splitlines():
        asked = eval(call, {"similar": similar, "Article": Article, "article": article})
        found = session.scalars(asked).all()
        assert found
        assert article not in found


@pytest.mark.parametrize("option", re.findall(r"`((?:boost|snippets|explain)=[^`]+)`", GUIDE))
def test_options_of_the_orm(session: Session, option: str) -> None:
    call = f"search(Article, 'password', {option})"
    asked = eval(call, {"search": search, "Article": Article, "func": func})
    assert len(session.execute(asked).all()) == 10


def test_a_policy_is_told_its_tenant(session: Session) -> None:
    (code,) = (block for block in blocks("python") if "app.tenant" in block)
    exec(code, {"session": session, "text": text, "search": search, "Article": Article})
    assert session.scalar(text("SELECT current_setting('app.tenant')")) == "7"


@pytest.mark.parametrize(
    "command", re.findall(r"^\$ pgsearch (.*)$", "\n".join(blocks("console")), re.MULTILINE)
)
def test_the_command_line_answers(url: str, command: str) -> None:
    done = run(url, *shlex.split(command))
    assert done.exit_code == 0, done.output
    assert "password" in done.stdout


@pytest.mark.parametrize(
    ("module", "result"), [("langchain", "documents"), ("llamaindex", "nodes")]
)
def test_its_retrievers_answer(engine: Engine, module: str, result: str) -> None:
    (code,) = (block for block in blocks("python") if f"pgsearch.{module}" in block)
    # The tenant of the guide has no articles here.
    namespace: dict[str, Any] = {"Article": orm.Article, "engine": engine}
    exec(code.replace("tenant_id == 7", "tenant_id == 2"), namespace)
    found = namespace[result]
    assert len(found) == 5
    assert all(list(each.metadata)[:2] == ["id", "title"] for each in found)
