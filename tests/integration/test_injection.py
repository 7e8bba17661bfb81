"""Whatever is written where pgsearch takes a name or a text: it stays a name, or a text.

Names and texts are put together from what ends literals, identifiers, comments and function bodies
in SQL, in Python's and in a driver's templates. A canary table must be there in the end, and no
error may come but what says that a name or a request is refused.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Identifier
from sqlalchemy import Column, Integer, MetaData, Table, Text, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from pgsearch import Chunking, SearchIndex, search
from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.errors import DeclarationError, QueryError
from pgsearch.sync import Worker
from tests.plugins.orm import Article
from tests.plugins.search import HASH_V1, create, drop

PROPERTY = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25
)

SHARP = (
    "'", '"', "''", '""', "\\", "\\'", ";", "--", "/*", "*/", "$$", "$1", "$function$", "$search$",
    "$part$", "%", "%s", "%%", "%(x)s", "%1$s", "{", "}", "{key}", "{{", ":x", "::text", "\\:", "?",
    ")", "(", ",", " ", "\n", "\t", "DROP TABLE canary", "'; DROP TABLE canary; --",
    '"; DROP TABLE canary; --', "$$; DROP TABLE canary; --", "E'", "U&'", "é", "汉", "🎉", "\x00",
    "\ud800", "null", "select", "NaN", "1", "a",
)  # fmt: skip

texts = st.lists(st.sampled_from(SHARP) | st.text(max_size=4), max_size=6).map("".join)
names = texts.filter(lambda name: 0 < len(name.encode("utf-8", "surrogatepass")) <= 40)


def is_alive(db: product.Connection) -> bool:
    return db.execute("SELECT count(*) FROM canary").fetchone() == (1,)


@pytest.fixture
def mined(installed: product.Connection) -> product.Connection:
    """A database with a table that nobody should touch."""
    installed.execute("CREATE TABLE canary AS SELECT 1 AS n")
    return installed


@PROPERTY
@given(names, names, names, names, names)
@example("o'table", 'k"ey', "{text}", "%s", "it's; --")
@example("Table", "Key", "Text", "Tenant", "NaN")
@example("\ud800", "key", "text", "tenant", "index")
@example("table", "key", "text", "tenant", "\ud800")
@example("$1", "$$", ":x", "\\", "article")
def test_names(
    mined: product.Connection, table: str, key: str, text: str, tenant: str, index: str
) -> None:
    assume(len({key, text, tenant}) == 3)
    assume(table != "canary")
    try:
        definition = IndexDefinition(
            index,
            "public",
            table,
            key=(TypedColumn(key, "integer"),),
            text=(TextColumn(text, "A"),),
            filters=(TypedColumn(tenant, "integer"),),
            chunking=Chunking(heading=None),
        )
    except DeclarationError:
        return
    holes = {"table": table, "key": key, "text": text, "tenant": tenant}
    quoted = {name: Identifier(value) for name, value in holes.items()}
    columns = SQL("({key} integer PRIMARY KEY, {text} text, {tenant} integer)").format(**quoted)
    try:
        mined.execute(SQL("CREATE TABLE {} ").format(Identifier(table)) + columns)
    except psycopg.errors.DuplicateTable:
        assume(False)
    try:
        _use(mined, definition, quoted)
    finally:
        drop(mined, definition)
        mined.execute(SQL("DROP TABLE {}").format(Identifier(table)))
    assert is_alive(mined)


def _use(
    db: product.Connection, definition: IndexDefinition, quoted: dict[str, Identifier]
) -> None:
    """Write, embed and ask, in SQL and from SQLAlchemy."""
    create(db, definition, HASH_V1)
    db.execute(SQL("INSERT INTO {table} VALUES (1, 'cats', 7), (2, 'dogs', 8)").format(**quoted))
    url = _url(db)
    Worker(url).drain()
    call = SQL("SELECT {key} FROM {search}('cats', {tenant} => 7)")
    function = Identifier("public", definition.names.search)
    assert db.execute(call.format(search=function, **quoted)).fetchall() == [(1,)]
    declared = Table(
        definition.table,
        MetaData(),
        Column(definition.key[0].name, Integer, primary_key=True),
        Column(definition.text[0].name, Text),
        Column(definition.filters[0].name, Integer),
    )
    index = SearchIndex(
        definition.name,
        declared,
        text={definition.text[0].name: "A"},
        filters=[definition.filters[0].name],
        chunking=definition.chunking,
        embeddings=[HASH_V1],
        active=HASH_V1.name,
    )
    engine = create_engine(product.sqlalchemy_url(url))
    try:
        with engine.connect() as connection:
            where = declared.c[definition.filters[0].name] == 8
            asked = search(index, "dogs", where=where, snippets=True, explain=True)
            (row,) = connection.execute(asked).all()
            assert row[:3] == (2, "dogs", 8)
    finally:
        engine.dispose()


def _url(db: product.Connection) -> str:
    info = db.info
    return f"postgresql://{info.user}@/{info.dbname}?host={info.host}&port={info.port}"


#: What says that a request is refused, and not that something else went wrong.
REFUSED = (
    psycopg.errors.InvalidParameterValue,
    psycopg.errors.ObjectNotInPrerequisiteState,
    psycopg.DataError,  # a text with NUL, which cannot be sent
    UnicodeEncodeError,
)


@settings(PROPERTY, max_examples=150)
@given(
    query=texts,
    mode=texts | st.sampled_from(["keyword", "hybrid", "vector"]),
    embedding=texts | st.none(),
    fusion=texts | st.sampled_from(["exact", "rrf"]),
)
def test_texts_of_a_request_in_sql(
    library: product.Connection, query: str, mode: str, embedding: str | None, fusion: str
) -> None:
    asked = {"q": query, "m": mode, "e": embedding, "f": fusion, "v": str([1] * 64)}
    try:
        found = library.execute(
            "SELECT id FROM article_search(%(q)s, 3, %(v)s, %(m)s, %(e)s, fusion => %(f)s)", asked
        ).fetchall()
    except REFUSED as error:
        refusal: Exception | None = error
    else:
        refusal = None
        assert len(found) <= 3
        assert mode in ("keyword", "hybrid", "vector")
        assert fusion in ("exact", "rrf")
    if isinstance(refusal, psycopg.errors.InvalidParameterValue):
        assert str(refusal).startswith("pgsearch: ")


@settings(PROPERTY, max_examples=150)
@given(query=texts, option=st.sampled_from(["mode", "embedding", "index", "fusion"]), value=texts)
def test_texts_of_a_request_from_sqlalchemy(
    session: Session, query: str, option: str, value: str
) -> None:
    options: dict[str, Any] = {option: value}
    try:
        asked = search(Article, query, limit=3, where=Article.title != value, **options)
    except (QueryError, DeclarationError) as error:
        hint = error.hint
    else:
        hint = "answered"
        assert len(session.execute(asked).all()) <= 3
    assert hint


@settings(PROPERTY, max_examples=60)
@given(query=texts.filter(str.strip), language=texts)
def test_a_language_is_looked_up(session: Session, query: str, language: str) -> None:
    savepoint, said = session.begin_nested(), "no text search configuration"
    try:
        session.execute(search(Article, query, mode="keyword", language=language)).all()
    except (QueryError, UnicodeEncodeError):
        savepoint.rollback()
    except DBAPIError as error:
        savepoint.rollback()
        said = said if "\x00" in language else str(error.orig)
    assert "no text search configuration" in said
