"""What the retrievers for other libraries share: texts and metadata, in sessions of their own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from pgsearch import Chunking, Expression, SearchIndex, database, search
from pgsearch.errors import DeclarationError, QueryError
from pgsearch.orm.retrieval import HIT_FIELDS, Retrieval
from pgsearch.sync import Worker
from tests.plugins.orm import (
    HASH_V1,
    QUERY,
    Article,
    Draft,
    Page,
    article_search,
    create,
    table,
)
from tests.plugins.postgres import Databases


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str | None]
    body: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    size: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "note"}  # noqa: RUF012


class Memo(Note):
    __mapper_args__ = {"polymorphic_identity": "memo"}  # noqa: RUF012


note_search = SearchIndex(
    "note_search",
    Note.__table__,
    text={
        "body": "B",
        "data": "C",
        "title": "A",
        "doubled": Expression("2 * size::integer", weight="D"),
    },
    chunking=Chunking(max_tokens=16, overlap=0, heading="title"),
    embeddings=[HASH_V1],
    stale="hide",
)


@pytest.fixture
def notes(databases: Databases, installed_template: str) -> Iterator[Engine]:
    """Three notes about storms, of which no worker has heard yet."""
    with databases.fresh(installed_template) as url:
        engine = create_engine(database.sqlalchemy_url(url))
        Base.metadata.create_all(engine)
        with database.connect(url) as connection:
            create(connection, note_search)
        storm = "The storm came over the harbour. " * 20
        with Session(engine) as session:
            session.add(Note(title="One", body=storm, data={"at": "noon"}, size="4"))
            session.add(Note(title=None, body=" A storm.\n", data={}, size="no number"))
            session.add(Memo(title="Three", body="A memo on the storm", data={}, size="1"))
            session.commit()
        yield engine
        engine.dispose()


def asked(engine: Engine, source: Any = Note, **options: Any) -> list[str]:
    found = Retrieval(source, engine, **options).ask("storm", mode="keyword")
    # A transaction that is left open would hold up the worker's indexes.
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    return [each.text for each in sorted(found)]


@pytest.mark.parametrize("mode", ["hybrid", "keyword", "vector"])
def test_it_gives_passages_with_their_keys_and_scores(
    engine: Engine, session: Session, mode: str
) -> None:
    options: dict[str, Any] = {"limit": 5, "mode": mode, "where": Article.tenant_id == 1}
    found = Retrieval(Article, engine, options=options).ask(QUERY)
    expected = session.execute(search(Article, QUERY, **options)).all()
    assert len(found) == 5
    assert [each.id for each in found] == [str(article.id) for article, _ in expected]
    assert [each.text for each in found] == [hit.passage for _, hit in expected]
    assert [each.metadata for each in found] == [
        {"id": article.id, **{name: getattr(hit, name) for name in HIT_FIELDS}}
        for article, hit in expected
    ]


@pytest.mark.parametrize("source", [Article, table(Article), article_search])
def test_a_class_a_table_and_a_search_index_give_the_same(engine: Engine, source: Any) -> None:
    found = Retrieval(source, engine, columns=["title", "published"]).ask(QUERY)
    assert found == Retrieval(Article, engine, columns=("title", "published")).ask(QUERY)
    assert list(found[0].metadata) == ["id", "title", "published", *HIT_FIELDS]
    assert found[0].text.startswith(found[0].metadata["title"])


def test_no_more_of_a_row_is_read_than_is_given(engine: Engine) -> None:
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        Retrieval(Article, engine).ask(QUERY)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    (statement,) = statements
    assert "author_id" not in statement
    # For which a role that searches needs a privilege of its own.
    assert "article_search_source" not in statement


def test_a_key_of_several_columns_is_one_text(engine: Engine) -> None:
    found = Retrieval(Page, engine, columns=["discount"]).ask("a harbour", limit=50, mode="vector")
    assert len({each.id for each in found}) == 12
    odd = next(each for each in found if each.metadata["number"] == 7)
    assert odd.id == '["50% of: it\'s \\\\ {all}", 7]'
    assert odd.metadata["book"] == "50% of: it's \\ {all}"
    assert list(odd.metadata) == ["book", "number", "discount", *HIT_FIELDS]
    rows = Retrieval(table(Page), engine).ask("a harbour", limit=50, mode="vector")
    assert [row.id for row in rows] == [each.id for each in found]


def test_a_condition_of_a_call_narrows_the_retrievers_own(engine: Engine) -> None:
    tenant = Retrieval(Article, engine, options={"where": Article.tenant_id == 2, "limit": 50})
    own = {each.id for each in tenant.ask(QUERY)}
    assert len(own) == 7
    narrowed = {each.id for each in tenant.ask(QUERY, where=[Article.published, Article.id > 50])}
    assert narrowed < own
    assert tenant.ask(QUERY, where=Article.tenant_id == 1) == []


def test_a_row_without_a_passage_is_found_with_the_beginning_of_its_text(notes: Engine) -> None:
    one, two, three = asked(notes)
    assert one.startswith("One\n\nThe storm came over the harbour. The")
    assert len(one) == 4 * 16
    assert two == "A storm."
    assert three == "Three\n\nA memo on the storm\n\n2"


def test_and_with_its_passage_once_a_worker_has_made_it(notes: Engine) -> None:
    Worker(notes.url.render_as_string()).drain()
    with Session(notes) as session:
        passages = [hit.passage or "none" for _, hit in session.execute(search(Note, "storm"))]
    assert "none" not in passages
    assert sorted(each.text for each in Retrieval(Note, notes).ask("storm")) == sorted(passages)


def test_all_of_a_text_is_given_where_that_is_wanted(notes: Engine) -> None:
    """As the search index reads it, and an expression that fails on a row makes nothing fail."""
    storm = ("The storm came over the harbour. " * 20).strip()
    expected = [
        f"One\n\n{storm}\n\nnoon\n\n8",
        "A storm.",
        "Three\n\nA memo on the storm\n\n2",
    ]
    assert asked(notes, content="document") == expected
    Worker(notes.url.render_as_string()).drain()
    assert asked(notes, content="document") == expected
    assert asked(notes, note_search, content="document") == expected


def test_a_class_that_shares_its_table_gives_its_own_rows(notes: Engine) -> None:
    assert asked(notes, Memo) == ["Three\n\nA memo on the storm\n\n2"]


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg_async"])
@pytest.mark.parametrize("content", ["passage", "document"])
def test_async_engines_give_the_same(
    engine: Engine, library_url: str, driver: str, content: str
) -> None:
    options = {"where": Article.tenant_id.in_([1, 2])}

    async def ask() -> list[Any]:
        asking = create_async_engine(
            library_url.replace("postgresql://", f"postgresql+{driver}://")
        )
        retrievals = [
            Retrieval(Article, None, asking, content, ["title"], options),
            Retrieval(Article, None, async_sessionmaker(asking), content, ["title"], options),
        ]
        found = [await retrieval.ask_async(QUERY) for retrieval in retrievals]
        assert asking.pool.checkedout() == 0  # type: ignore[attr-defined]
        await asking.dispose()
        return found

    expected = Retrieval(Article, engine, None, content, ["title"], options)
    assert asyncio.run(ask()) == [expected.ask(QUERY)] * 2
    assert asyncio.run(expected.ask_async(QUERY)) == expected.ask(QUERY)


def test_the_event_loop_goes_on_meanwhile(engine: Engine) -> None:
    """Without an async engine it is asked in a thread."""
    ticks: list[None] = []

    def wait(*arguments: Any) -> None:
        seen, end = len(ticks), time.monotonic() + 5
        while len(ticks) < seen + 3:
            assert time.monotonic() < end, "the event loop waits for the search"
            time.sleep(0.001)

    async def tick() -> None:
        while True:
            ticks.append(None)
            await asyncio.sleep(0)

    async def ask() -> int:
        ticking = asyncio.create_task(tick())
        found = await Retrieval(Article, engine).ask_async(QUERY)
        ticking.cancel()
        return len(found)

    event.listen(engine, "before_cursor_execute", wait)
    try:
        assert asyncio.run(ask()) == 10
    finally:
        event.remove(engine, "before_cursor_execute", wait)


def test_a_sessionmaker_makes_the_sessions_and_all_are_closed(engine: Engine) -> None:
    begun: list[Session] = []
    ended: list[Session] = []
    maker = sessionmaker(engine)
    event.listen(maker, "after_begin", lambda session, *_: begun.append(session))
    event.listen(maker, "after_transaction_end", lambda session, _: ended.append(session))
    retrieval = Retrieval(Article, maker)
    retrieval.ask(QUERY)
    with pytest.raises(DBAPIError, match="klingon"):
        retrieval.ask(QUERY, language="klingon")
    assert len(begun) == 2
    assert begun == ended
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_nothing_of_what_is_found_is_logged(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    found = Retrieval(Article, engine, content="document").ask(QUERY)
    assert found
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert not any(each.text in said or QUERY in said for each in found)


@pytest.mark.parametrize(
    ("source", "arguments", "refusal"),
    [
        (Article, {"engine": None}, "has no engine"),
        (Article, {"engine": scoped_session(sessionmaker())}, "engine is of .*scoped_session"),
        (Article, {"engine": async_sessionmaker()}, "engine is of .*async_sessionmaker"),
        (Article, {"async_engine": sessionmaker()}, "async_engine is of .*sessionmaker"),
        (Article, {"content": "row"}, "no content 'row'"),
        (Article, {"columns": "title"}, "'title' is not a list of columns"),
        (Article, {"columns": ["titel"]}, "Table 'article' has no column 'titel'"),
        (Article, {"columns": ["author"]}, "Table 'article' has no column 'author'"),
        (table(Page), {"columns": ["discount"]}, "has no column 'discount'"),
        (Draft, {}, "Several search indexes are declared on table 'draft'"),
        (AsyncSession, {}, "neither a mapped class nor a table nor a SearchIndex"),
    ],
)
def test_what_cannot_be_asked_is_refused_when_it_is_made(
    engine: Engine, source: Any, arguments: dict[str, Any], refusal: str
) -> None:
    with pytest.raises(DeclarationError, match=refusal) as refused:
        Retrieval(source, **{"engine": engine, **arguments})
    assert refused.value.hint


def test_a_column_must_not_be_taken_for_a_score() -> None:
    class Scored(Base):
        __tablename__ = "scored"
        id: Mapped[int] = mapped_column(primary_key=True)
        score: Mapped[int]
        title: Mapped[str]

    SearchIndex("scored_search", Scored.__table__, text={"title": "A"})
    Retrieval(Scored, sessionmaker(), columns=["title"])
    with pytest.raises(DeclarationError, match="'score' has a name that the metadata"):
        Retrieval(Scored, sessionmaker(), columns=["score"])


def test_with_an_async_engine_only_there_is_no_other_way_to_ask(library_url: str) -> None:
    retrieval = Retrieval(
        Article, async_engine=async_sessionmaker(create_async_engine("postgresql+asyncpg://"))
    )
    with pytest.raises(DeclarationError, match="async engine only") as refused:
        retrieval.ask(QUERY)
    assert refused.value.hint


def test_bad_queries_are_refused_as_by_search(engine: Engine) -> None:
    with pytest.raises(QueryError, match="query is empty"):
        Retrieval(Article, engine).ask(" ")
    with pytest.raises(QueryError, match="limit=0 is outside"):
        Retrieval(Article, engine).ask(QUERY, limit=0)
