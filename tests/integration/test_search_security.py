"""Row-level security: whoever asks, by whatever way, learns of the rows that he may see only."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL
from sqlalchemy import create_engine, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import pgsearch
from pgsearch import Chunking, SearchIndex
from pgsearch.database import Connection, sqlalchemy_url
from tests.integration.test_search_plans import HNSW, executed, part, plan
from tests.plugins.search import HASH_V1
from tests.plugins.security import Library, few, values

MODES = ("keyword", "vector", "hybrid")
FEW, MANY = [7], list(range(50))

#: Who asks, for which tenants; and the tenants whose rows he may see.
ASKING: dict[str, tuple[str, list[int], list[int]]] = {
    "a few rows by a setting": ("app", FEW, FEW),
    "many rows by a setting": ("app", MANY, MANY),
    "a role": ("tenant_99", [], [99]),
    "a role and a setting": ("tenant_99", [3], [3, 99]),
    "no row": ("nobody", [], []),
    "the owner": ("owner", [], list(range(100))),
    "a member of the owner": ("member", [], list(range(100))),
    "who bypasses it": ("auditor", [], list(range(100))),
}
asking = pytest.mark.parametrize("who", ASKING)


class Base(DeclarativeBase):
    pass


class Article(Base):
    __tablename__ = "article"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    title: Mapped[str]
    body: Mapped[str]


ARTICLE_SEARCH = SearchIndex(
    "article_search",
    Article.__table__,  # type: ignore[arg-type]
    text={"title": "A", "body": "B"},
    filters=["tenant_id"],
    chunking=Chunking(heading="title"),
    embeddings=[HASH_V1],
)


def a_vector(seed: int = 5) -> list[float]:
    draw = random.Random(seed)
    return [draw.gauss(0, 1) for _ in range(64)]


def search(connection: Connection, query: str, mode: str, **given: Any) -> list[tuple[int, str]]:
    """Return ids and passages by the SQL function."""
    named = "".join(f", {name} => %s" for name in given)
    statement = f"SELECT id, passage FROM article_search(%s, mode => %s, vector => %s{named})"
    arguments = [query, mode, str(a_vector()), *given.values()]
    return connection.execute(statement.encode(), arguments).fetchall()


@pytest.fixture(autouse=True)
def four_hundred_are_few() -> Iterator[None]:
    with few(400):
        yield


def connect(secured: Library, who: str) -> tuple[Connection, set[int]]:
    """Return a connection of who asks, and the ids of the rows that he may see."""
    role, tenants, visible = ASKING[who]
    ids = values(
        secured.superuser, "SELECT id FROM article WHERE tenant_id = ANY (%s::integer[])", visible
    )
    return secured.connection(role, tenants), set(ids)


@asking
@pytest.mark.parametrize("mode", MODES)
def test_the_function_finds_what_is_visible_and_all_of_it(
    secured: Library, who: str, mode: str
) -> None:
    connection, visible = connect(secured, who)
    for query, k in (("word1 word50", 10), ("word1", 200)):
        found = search(connection, query, mode, k=k)
        assert {id_ for id_, _ in found} <= visible
        assert all(passage.endswith(f" of {id_}") for id_, passage in found)
        holding = visible if mode != "keyword" else visible & matching(secured, query)
        assert len(found) == min(k, len(holding))


def matching(secured: Library, query: str) -> set[int]:
    """Return the ids of the rows that hold a word of a query."""
    words = " | ".join(query.split())
    document = "SELECT id FROM article_search_document WHERE tsv @@ %s::tsquery"
    return set(values(secured.superuser, document, words))


@asking
@pytest.mark.parametrize("mode", MODES)
def test_the_orm_finds_what_is_visible_and_all_of_it(secured: Library, who: str, mode: str) -> None:
    role, tenants, _ = ASKING[who]
    _, visible = connect(secured, who)
    engine = create_engine(sqlalchemy_url(secured.roles.url_of(role)))
    with Session(engine) as session:
        setting = {"tenants": "{" + ",".join(map(str, tenants)) + "}"}
        session.execute(text("SELECT set_config('app.tenants', :tenants, false)"), setting)
        for query, limit in (("word1 word50", 10), ("word1", 200)):
            statement = pgsearch.search(Article, query, mode=mode, limit=limit, vector=a_vector())
            found = session.execute(statement).all()
            assert {article.id for article, _ in found} <= visible
            holding = visible if mode != "keyword" else visible & matching(secured, query)
            assert len(found) == min(limit, len(holding))
        where = [Article.tenant_id == 8]
        statement = pgsearch.search(Article, "word1", mode=mode, where=where, vector=a_vector())
        found = session.execute(statement).all()
        assert (len(found) > 0) == bool(visible & set(range(8, 4000, 100)))
    engine.dispose()


@pytest.mark.parametrize("tenants", [FEW, MANY], ids=["few", "many"])
def test_an_explanation_tells_how_many_rows_are_visible(
    secured: Library, tenants: list[int]
) -> None:
    engine = create_engine(sqlalchemy_url(secured.roles.url_of("app")))
    asked = pgsearch.search(Article, "word1", mode="keyword", limit=3, explain=True)
    with few(400), Session(engine) as session:
        setting = {"tenants": "{" + ",".join(map(str, tenants)) + "}"}
        session.execute(text("SELECT set_config('app.tenants', :tenants, false)"), setting)
        explanations = [hit.explanation for _, hit in session.execute(asked)]
    engine.dispose()
    visible = len(secured.visible(secured.connection("app", tenants)))
    expected = (visible, "each row") if visible <= 400 else (401, "index")
    assert [(each["rows"], each["path"]) for each in explanations] == [expected] * 3


@pytest.mark.parametrize("tenants", [FEW, MANY], ids=["few", "many"])
@pytest.mark.parametrize("mode", MODES)
def test_results_are_those_of_a_filter(secured: Library, tenants: list[int], mode: str) -> None:
    """In the same order, by the same scores: the best of what is visible, not some of it."""
    scored = (
        "SELECT id, score FROM article_search('word2 word5 word9', k => 20, mode => %s,"
        " vector => %s, tenant_id_in => %s::integer[])"
    )
    wanted = secured.superuser.execute(scored, [mode, str(a_vector()), tenants]).fetchall()
    app = secured.connection("app", tenants)
    found = app.execute(scored, [mode, str(a_vector()), None]).fetchall()
    assert found == wanted
    assert len(found) == 20


@pytest.mark.parametrize("mode", MODES)
def test_filters_and_phrases_bring_nothing_else_out(secured: Library, mode: str) -> None:
    app = secured.connection("app", [9])
    assert search(app, "word1", mode, tenant_id=8) == []
    assert search(app, "word1", mode, tenant_id_in=[7, 8]) == []
    assert search(app, "word1", mode, tenant_id_min=10) == []
    assert len(search(app, "word1", mode, tenant_id_max=10)) == 10
    assert search(app, '"purple elephant"', mode) == []
    assert len(search(secured.connection("app", FEW), '"purple elephant"', mode)) == 4


@asking
@pytest.mark.parametrize("table", ["document", "chunk"])
def test_companions_show_what_is_visible(secured: Library, who: str, table: str) -> None:
    connection, visible = connect(secured, who)
    companion = f"article_search_{table}"
    assert set(values(connection, f"SELECT id FROM {companion}")) == visible
    assert values(connection, f"SELECT count(DISTINCT id) FROM {companion}") == [len(visible)]
    # A function that tells what it is given is given nothing else.
    told: list[str] = []
    connection.execute(
        "CREATE OR REPLACE FUNCTION pg_temp.tell(bigint) RETURNS boolean LANGUAGE plpgsql"
        " COST 0.0001 AS $$ BEGIN RAISE NOTICE '%', $1; RETURN false; END $$"
    )
    connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    assert values(connection, f"SELECT id FROM {companion} WHERE pg_temp.tell(id)") == []
    connection._notice_handlers.clear()
    assert set(map(int, told)) == visible


def test_what_is_asked_by_statistics_is_refused(secured: Library) -> None:
    app = secured.connection("app", FEW)
    query = "SELECT tablename FROM pg_stats WHERE tablename LIKE 'article_search%'"
    assert values(app, query) == []
    for private in ("queue", "lexeme"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(f"SELECT FROM article_search_{private}".encode())


def test_a_word_of_a_few_documents_is_not_told_of(secured: Library) -> None:
    """Nobody learns whether somebody else has written a word: what is rare looks like what is not
    there, and neither keeps a common word from bringing results."""
    app = secured.connection("app", [9])
    query = "SELECT document_frequency, idf, tier FROM article_search_terms(%s, 10)"
    ((elephant,), (unknown,), (common,)) = (
        app.execute(query.encode(), [word]).fetchall() for word in ("elephant", "nobody", "word1")
    )
    ((exact,),) = secured.superuser.execute(
        "SELECT count(*) FROM article_search_document WHERE tsv @@ 'eleph'"
    ).fetchall()
    assert exact == 8
    assert elephant == unknown
    assert elephant[0] == 20
    assert common[0] > 3000
    terms = "SELECT tier FROM article_search_terms('nobody word1', 10) ORDER BY idf"
    assert values(app, terms) == [2, 1]
    assert len(search(app, "nobody word1", "keyword")) == 10


def test_default_privileges_open_nothing(secured: Library) -> None:
    """As where a role was given SELECT on all tables."""
    with secured.superuser.transaction(force_rollback=True):
        role = secured.roles.identifier("app")
        secured.superuser.execute(
            SQL("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {}").format(role)
        )
        secured.superuser.execute(
            "INSERT INTO article_search_queue (id) SELECT id FROM article WHERE tenant_id IN (7, 8)"
        )
        secured.superuser.execute(SQL("SET LOCAL ROLE {}").format(role))
        secured.superuser.execute("SET LOCAL app.tenants = '{7}'")
        ids = set(range(7, 4000, 100))
        for table in ("document", "chunk", "queue", "source", "filter"):
            assert set(values(secured.superuser, f"SELECT id FROM article_search_{table}")) == ids
        assert values(secured.superuser, "SELECT lexeme FROM article_search_lexeme") == []


@pytest.mark.parametrize(("mode", "chunks"), [("vector", 25), ("hybrid", 160)])
def test_many_visible_rows_go_through_the_hnsw_index(
    secured: Library, mode: str, chunks: int
) -> None:
    """One scan that goes on until enough chunks have passed the policy; each is asked for once."""
    nearest = part(plan(secured.connection("app", MANY), "word50 word60", mode), "nearest")
    scans = executed(nearest)
    assert scans[HNSW] == 1
    assert nearest[0]["Actual Rows"] == chunks
    assert chunks <= scans["article_pkey"] < 4 * chunks


@pytest.mark.parametrize("mode", MODES)
def test_of_few_visible_rows_each_is_looked_at(secured: Library, mode: str) -> None:
    whole = plan(secured.connection("app", FEW), "word50 word60", mode)
    read = [scans for name in ("nearest", "keyword_leg") for scans in leg(whole, name)]
    assert HNSW not in read
    assert "article_search_document_tsv_idx" not in read
    assert set(read) <= {
        "article_pkey",
        "article_search_document_pkey",
        "article_search_chunk_pkey",
    }


def leg(whole: dict[str, Any], name: str) -> dict[str, float]:
    try:
        return executed(part(whole, name))
    except ValueError:
        return {}


def test_without_row_level_security_nothing_of_it_is_executed(library: Connection) -> None:
    for mode in MODES:
        whole = plan(library, "word50 word60", mode)
        assert executed(part(whole, "few")) == {}
        assert "article" not in {n for name in ("nearest", "keyword_leg") for n in leg(whole, name)}


def test_a_security_barrier_view(secured: Library) -> None:
    """Who has a view of the table and not the table may not search; joined to it, it narrows."""
    view = "CREATE VIEW own WITH (security_barrier) AS SELECT * FROM article WHERE tenant_id = 7"
    secured.superuser.execute(view)
    role = secured.roles.identifier("app")
    joined = "SELECT id FROM own JOIN article_search('word1', mode => %s, vector => %s) USING (id)"
    try:
        secured.superuser.execute(SQL("GRANT SELECT ON own TO {}").format(role))
        for mode in MODES:
            app = secured.connection("app", MANY)
            found = values(app, joined, mode, str(a_vector()))
            assert set(found) <= set(range(7, 4000, 100))
            assert len(values(secured.connection("app", FEW), joined, mode, str(a_vector()))) == 10
        with secured.superuser.transaction(force_rollback=True):
            secured.superuser.execute(SQL("REVOKE ALL ON article FROM {}").format(role))
            secured.superuser.execute(
                SQL("REVOKE SELECT (id, tenant_id) ON article FROM {}").format(role)
            )
            secured.superuser.execute(SQL("SET LOCAL ROLE {}").format(role))
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="table article"):
                secured.superuser.execute("SELECT * FROM article_search('word1')")
    finally:
        secured.superuser.execute("DROP VIEW own")


@pytest.mark.parametrize("tenants", [FEW, MANY], ids=["few", "many"])
def test_words_of_others_keep_nothing_back(secured: Library, tenants: list[int]) -> None:
    """A rare word that only invisible rows hold does not stand for the words beside it."""
    superuser, wanted = secured.superuser, str(set(tenants))
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "INSERT INTO article (id, tenant_id, title, body)"
            " SELECT 10000 + n, 60, 'Zebra', 'zebra' FROM generate_series(1, 40) AS n"
        )
        assert len(search(superuser, "zebra word1", "keyword")) == 10
        superuser.execute(SQL("SET LOCAL ROLE {}").format(secured.roles.identifier("app")))
        superuser.execute("SELECT set_config('app.tenants', %s, true)", [wanted])
        assert len(search(superuser, "zebra word1", "keyword")) == 10
        assert len(search(superuser, "zebra -word1", "keyword")) == 0


def test_words_of_no_row_leave_it_to_others_to_bring_documents(secured: Library) -> None:
    """How rare they are is not told of; beside vectors, few terms bring documents."""
    superuser = secured.superuser
    statement = (
        "SELECT id FROM article_search('no1 no2 no3 no4 no5 zebra', 10, %s::vector,"
        " keyword_weight => 100)"
    )
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "INSERT INTO article (id, tenant_id, title, body)"
            " SELECT 10000 + n, 60, 'Zebra', 'zebra' FROM generate_series(1, 401) AS n"
        )
        assert set(values(superuser, statement, str(a_vector()))) <= set(range(10001, 10402))


def test_a_rare_word_is_found_among_many_rows_of_a_common_one(secured: Library) -> None:
    superuser = secured.superuser
    with superuser.transaction(force_rollback=True):
        superuser.execute(
            "INSERT INTO article (id, tenant_id, body)"
            " SELECT 10000 + n, 7, 'cat' || CASE WHEN n > 22000 THEN ' zebra' ELSE '' END"
            " FROM generate_series(1, 22010) AS n"
        )
        superuser.execute(SQL("SET LOCAL ROLE {}").format(secured.roles.identifier("app")))
        superuser.execute("SELECT set_config('app.tenants', '{7}', true)")
        found = {id_ for id_, _ in search(superuser, "zebra cat", "keyword")}
        assert found == set(range(32001, 32011))


@pytest.mark.parametrize("tenants", [FEW, MANY], ids=["few", "many"])
def test_rows_like_others(secured: Library, tenants: list[int]) -> None:
    """An example that is not to be seen is like nothing; results are to be seen."""
    visible = set(range(1, 4001)) & {n for n in range(4001) if n % 100 in tenants}
    engine = create_engine(sqlalchemy_url(secured.roles.url_of("app")))
    with Session(engine) as session:
        setting = {"tenants": "{" + ",".join(map(str, tenants)) + "}"}
        session.execute(text("SELECT set_config('app.tenants', :tenants, false)"), setting)
        found = session.execute(pgsearch.similar(Article, 107)).all()
        assert {article.id for article, _ in found} < visible
        assert len(found) == 10
        assert session.execute(pgsearch.similar(Article, 160)).all() == []
    engine.dispose()
