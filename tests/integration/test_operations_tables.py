"""Search indexes on tables as they are in the wild: made, filled, asked, dropped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.exc import DBAPIError

from pgsearch.alembic.embeddings import AddEmbeddingOp
from pgsearch.alembic.operations import CreateSearchIndexOp
from pgsearch.errors import ObjectMissing
from pgsearch.names import RESERVED_PARAMETERS
from pgsearch.sync import Worker
from tests.plugins.migration import contents, invoke
from tests.plugins.search import HASH_V1, HASH_V2, execute_all, vector_of


@contextmanager
def made_and_dropped(url: str, operation: CreateSearchIndexOp) -> Iterator[psycopg.Connection[Any]]:
    """Create a search index with an embedding, fill it, and see that it can be dropped.

    Yields a connection for the time when all is filled.
    """
    before = contents(url)
    invoke(url, operation)
    invoke(url, AddEmbeddingOp(operation.name, HASH_V1, schema=operation.schema))
    report = Worker(url, indexes=[operation.name]).drain()
    assert report.failed == 0
    assert report.entered == ["hash_v1: ready", "hash_v1: active"]
    with psycopg.connect(url) as connection:
        yield connection
    assert Worker(url, indexes=[operation.name]).drain().failed == 0
    with psycopg.connect(url) as connection:
        names = operation.name
        refresh = Identifier(operation.schema or "public", f"{names}_refresh_statistics")
        connection.execute(SQL("SELECT {}()").format(refresh))
    invoke(url, operation.reverse())
    assert contents(url)[0] == before[0]


def test_names_that_need_quotes(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        execute_all(
            connection,
            [
                'CREATE SCHEMA "My Schema"',
                (
                    'CREATE TABLE "My Schema"."Order Items"'
                    ' ("Order No" int PRIMARY KEY, "Full Text" text, "Group" int)'
                ),
                """INSERT INTO "My Schema"."Order Items" VALUES (1, 'early cats', 5)""",
            ],
        )
    operation = CreateSearchIndexOp(
        "Item Search",
        "Order Items",
        text={"Full Text": "A"},
        filters=["Group"],
        schema="My Schema",
    )
    with made_and_dropped(articles, operation) as connection:
        execute_all(
            connection,
            [
                """INSERT INTO "My Schema"."Order Items" VALUES (2, 'late cats', 6)""",
                """UPDATE "My Schema"."Order Items" SET "Order No" = 3 WHERE "Order No" = 2""",
            ],
        )
        found = 'SELECT "Order No", similarity FROM "My Schema"."Item Search"(\'cat\'{})'
        assert [row[0] for row in connection.execute(found.format("").encode())] == [1, 3]
        filtered = found.format(', "Group" => 6').encode()
        assert connection.execute(filtered).fetchall() == [(3, None)]
        vector = found.format(f", vector => '{vector_of('cat')}', \"Group\" => 5").encode()
        assert [(key, similarity > 0) for key, similarity in connection.execute(vector)] == [
            (1, True)
        ]


def test_one_name_in_two_schemas(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        execute_all(
            connection,
            ["CREATE SCHEMA other", "CREATE TABLE other.article (id int PRIMARY KEY, title text)"],
        )
    invoke(
        articles,
        CreateSearchIndexOp("article_search", "article", text={"title": "A"}, schema="other"),
    )
    with pytest.raises(ObjectMissing, match="2 schemas have a search index called") as caught:
        invoke(articles, AddEmbeddingOp("article_search", HASH_V2))
    assert caught.value.hint == "Name one with schema=: 'other', 'public'."
    invoke(articles, AddEmbeddingOp("article_search", HASH_V2, schema="other"))
    _, registered = contents(articles)
    assert [(row[0], row[3]) for row in registered] == [("other", "hash_v2"), ("public", "hash_v1")]


def test_a_table_found_along_the_search_path(articles: str) -> None:
    with psycopg.connect(articles, autocommit=True) as connection:
        execute_all(
            connection,
            [
                "CREATE SCHEMA other",
                "CREATE TABLE other.note (id int PRIMARY KEY, title text)",
                f'ALTER DATABASE "{connection.info.dbname}" SET search_path = other, public',
            ],
        )
    invoke(articles, CreateSearchIndexOp("note_search", "note", text={"title": "A"}))
    with psycopg.connect(articles) as connection:
        connection.execute("INSERT INTO note VALUES (1, 'found')")
        assert connection.execute("SELECT id FROM other.note_search('found')").fetchall() == [(1,)]


def test_a_key_of_several_columns_one_of_which_is_a_filter(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        connection.execute(
            "CREATE TABLE page (body text, code text, tenant uuid, PRIMARY KEY (tenant, code))"
        )
        connection.execute(
            "INSERT INTO page SELECT 'cats of number ' || n, 'c' || n,"
            " lpad((n % 3)::text, 32, '0')::uuid FROM generate_series(1, 1200) AS n"
        )
    operation = CreateSearchIndexOp("page_search", "page", text={"body": "A"}, filters=["tenant"])
    tenant = "00000000-0000-0000-0000-000000000001"
    with made_and_dropped(articles, operation) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM page_search_document), count(*),"
            " count(embedding_hash_v1) FROM page_search_chunk"
        ).fetchone()
        assert counts == (1200, 1200, 1200)
        found = connection.execute(
            "SELECT tenant::text, code FROM page_search('number 7 cats', k => 3, vector => %s)",
            [vector_of("number 7 cats")],
        ).fetchall()
        assert found[0] == (tenant, "c7")
        for mode in ("keyword", "vector", "hybrid"):
            filtered = connection.execute(
                "SELECT DISTINCT tenant::text, count(*) FROM page_search("
                " 'cats', k => 200, vector => %s, mode => %s, tenant => %s) GROUP BY 1",
                [vector_of("cats"), mode, tenant],
            ).fetchall()
            assert filtered == [(tenant, 200)]
        connection.execute("UPDATE page SET code = 'moved' WHERE code = 'c7'")
        moved = connection.execute("SELECT code FROM page_search('7', k => 1)").fetchall()
        assert moved == [("moved",)]
        assert connection.execute(
            "SELECT tenant::text, code FROM page_search_queue ORDER BY 2"
        ).fetchall() == [(tenant, "c7"), (tenant, "moved")]


#: Names that variables, parameters or columns have inside the functions of a search index, and
#: names that quoting must hold together.
HOSTILE_NAMES = (
    "after", "batch", "document", "documents", "filter", "found", "k", "last", "made", "mode",
    "new", "old", "query", "rank", "select", "source", "term", "tg_op", "vector", "o'clock",
    'say "hi"', "back\\slash", "{0}", "{key}", ";--", "$one", ":name", "ключ",
)  # fmt: skip


def hostile_table(url: str, table: str, key: Sequence[str], text: Sequence[str]) -> None:
    """Make a table with these and integer columns of all hostile names, and one row in it."""
    others = [name for name in HOSTILE_NAMES if name not in {*key, *text}]
    types = dict.fromkeys([*key, *others], "integer NOT NULL") | dict.fromkeys(text, "text")
    columns = SQL(", ").join(SQL("{} " + kind).format(Identifier(n)) for n, kind in types.items())
    with psycopg.connect(url) as connection:
        connection.execute(
            SQL("CREATE TABLE {} ({}, PRIMARY KEY ({}))").format(
                Identifier(table), columns, SQL(", ").join(map(Identifier, key))
            )
        )
        values = ["'cats'" if kind == "text" else "1" for kind in types.values()]
        connection.execute(
            SQL("INSERT INTO {} VALUES (" + ", ".join(values) + ")").format(Identifier(table))
        )


@pytest.mark.parametrize(
    ("key", "text"),
    [(HOSTILE_NAMES, ["body"]), (["id"], HOSTILE_NAMES), (["id"], ["body"])],
    ids=["key", "text", "filter"],
)
def test_columns_of_any_name(articles: str, key: Sequence[str], text: Sequence[str]) -> None:
    hostile_table(articles, "it's", key, text)
    filters = [name for name in HOSTILE_NAMES if name not in {*text, *RESERVED_PARAMETERS}]
    operation = CreateSearchIndexOp(
        "o'neil's {search}", "it's", text=dict.fromkeys(text, "A"), filters=filters
    )
    with made_and_dropped(articles, operation) as connection:
        given = SQL("").join(SQL(", {} => 1").format(Identifier(name)) for name in filters)
        for mode in ("keyword", "vector", "hybrid"):
            found = connection.execute(
                SQL("SELECT count(*) FROM {}('cat', mode => %s, vector => %s{})").format(
                    Identifier(operation.name), given
                ),
                [mode, vector_of("cat")],
            ).fetchone()
            assert found == (1,)
        changed = SQL("UPDATE {} SET {} = {}").format(
            Identifier("it's"), Identifier(key[0]), SQL("2")
        )
        connection.execute(changed)
        queue = Identifier(f"{operation.name}_queue")
        assert connection.execute(SQL("SELECT count(*) FROM {}").format(queue)).fetchone() == (2,)


def test_key_types_outside_the_catalogue(articles: str) -> None:
    """Functions with a pinned search path know them too."""
    with psycopg.connect(articles) as connection:
        execute_all(
            connection,
            [
                "CREATE TYPE mood AS ENUM ('sad', 'glad')",
                "CREATE TABLE diary (mood mood, day date, body text, PRIMARY KEY (mood, day))",
                "INSERT INTO diary VALUES ('glad', '2024-02-29', 'cats'), ('sad', 'today', 'dogs')",
            ],
        )
    operation = CreateSearchIndexOp("diary_search", "diary", text={"body": "A"}, filters=["mood"])
    with made_and_dropped(articles, operation) as connection:
        found = "SELECT day::text FROM diary_search('cats dogs', mood => 'glad')"
        assert connection.execute(found.encode()).fetchall() == [("2024-02-29",)]


def test_a_partitioned_table(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        execute_all(
            connection,
            [
                (
                    "CREATE TABLE event (id int, year int, body text, PRIMARY KEY (id, year))"
                    " PARTITION BY LIST (year)"
                ),
                "CREATE TABLE event_2024 PARTITION OF event FOR VALUES IN (2024)",
                "CREATE TABLE event_2025 PARTITION OF event FOR VALUES IN (2025)",
                "INSERT INTO event VALUES (1, 2024, 'early cats')",
            ],
        )
    operation = CreateSearchIndexOp("event_search", "event", text={"body": "A"})
    with made_and_dropped(articles, operation) as connection:
        execute_all(
            connection,
            [
                "INSERT INTO event VALUES (2, 2025, 'late cats')",
                "UPDATE event SET year = 2025 WHERE id = 1",  # moves the row
            ],
        )
        found = "SELECT id, year FROM event_search('cats')"
        assert connection.execute(found.encode()).fetchall() == [(1, 2025), (2, 2025)]


def test_a_column_that_triggers_cannot_read(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        if connection.info.server_version < 180000:
            return  # virtual columns came with PostgreSQL 18
        connection.execute(
            "CREATE TABLE note (id int PRIMARY KEY, draft text,"
            " title text GENERATED ALWAYS AS (draft || '!') VIRTUAL)"
        )
    with pytest.raises(DBAPIError, match="column title of note is virtual") as caught:
        invoke(articles, CreateSearchIndexOp("note_search", "note", text={"title": "A"}))
    assert "Make it STORED" in str(caught.value)
    invoke(articles, CreateSearchIndexOp("note_search", "note", text={"draft": "A"}))
