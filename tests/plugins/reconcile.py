"""What reconciliations are asked in tests, and what a database holds before and after."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.declare import Chunking
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.install import install
from pgsearch.sync import Worker
from pgsearch.sync.reconciliation import ReconciledIndex, Reconciliation, reconcile
from tests.plugins.postgres import Databases
from tests.plugins.search import execute_all
from tests.plugins.worker import CREATE_STORY, SENTENCES, STORY, Stories, create_search_index

#: How often each kind of damage was found.
Counts = dict[str, int]


def counts(report: Reconciliation) -> Counts:
    """Return how often each kind of damage was found, in all search indexes together."""
    found: Counts = {}
    for index in report.indexes:
        for finding in index.findings:
            found[finding.kind] = found.get(finding.kind, 0) + finding.count
    return found


def only(report: Reconciliation) -> ReconciledIndex:
    """Return what was found in the only search index."""
    (index,) = report.indexes
    return index


def first_keys(report: Reconciliation) -> dict[str, list[str]]:
    """Return the keys that are named for each kind of damage."""
    return {f.kind: [", ".join(key) for key in f.keys] for f in only(report).findings}


def all_versions(connection: psycopg.Connection[Any]) -> list[Any]:
    """Return every version of every row, and all sequences, but those of PostgreSQL itself."""
    tables = connection.execute(
        "SELECT n.nspname, c.relname, c.relkind FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('public', 'pgsearch') AND c.relkind IN ('r', 'S') ORDER BY 1, 2"
    ).fetchall()
    found: list[Any] = []
    for schema, name, kind in tables:
        what = "ctid, xmin" if kind == "r" else "last_value, is_called"
        statement = SQL("SELECT {} FROM {}").format(SQL(what), Identifier(schema, name))
        found.append((name, connection.execute(statement).fetchall()))
    return found


@pytest.fixture(scope="session")
def whole_template(databases: Databases) -> str:
    """Name of a template with stories that are all up to date; see `whole`."""

    def prepare(url: str) -> None:
        with product.connect(url) as connection:
            execute_all(connection, install())
            connection.execute(CREATE_STORY)
            create_search_index(connection, STORY)
            body = f"{SENTENCES[0]} {SENTENCES[1]} The end of number "
            connection.execute(
                "INSERT INTO story (body) SELECT %s || n || '.' FROM generate_series(0, 5) AS n"
                " UNION ALL SELECT NULL",
                [body],
            )
        Worker(url).drain()

    return databases.template("whole", prepare)


@pytest.fixture
def whole(databases: Databases, whole_template: str) -> Iterator[Stories]:
    """Six stories of three chunks each and one without a text, all of them up to date."""
    with databases.fresh(whole_template) as url, product.connect(url) as connection:
        product.register_vectors(connection)
        yield Stories(url, connection)


def stale_documents(stories: Stories) -> list[Any]:
    """Return ids of rows whose document is not there, or not that of the text, and of no row."""
    return stories.execute(
        "SELECT coalesce(row.id, document.id) FROM story AS row"
        " FULL JOIN story_search_document AS document USING (id)"
        " LEFT JOIN story_search_source AS source USING (id)"
        " LEFT JOIN LATERAL pgsearch.document_tsvector("
        "   source.tsconfig, source.texts, '{A,B}') AS made ON true"
        " WHERE row.id IS NULL OR document.id IS NULL OR made.tsv <> document.tsv"
        "   OR document.length <> pgsearch.token_count(made.tsv) OR document.truncated"
    )


def mended(stories: Stories, **options: Any) -> Counts:
    """Reconcile, let a worker do what is asked for, and see that nothing is wrong any more.

    Returns:
        What was found at first.
    """
    options = {"vectors": "all"} | options
    found = reconcile(stories.url, **options)
    stories.drain()
    assert stories.waiting() == 0
    assert counts(reconcile(stories.url, **options | {"dry_run": True})) == {}
    assert stories.differences() == []
    assert stale_documents(stories) == []
    return counts(found)


class Shape(NamedTuple):
    """A table and its search index, and what happens to the table unseen.

    Args:
        made: Statements that make the table with some rows.
        changed: Statements that change them.
        found: How many documents are missing, stale and left over then.
    """

    made: list[str]
    definition: IndexDefinition
    changed: list[str]
    found: tuple[int, int, int]


SHAPES = {
    "quoted names": Shape(
        [
            'CREATE SCHEMA "My Shop"',
            "CREATE DOMAIN \"My Shop\".size AS varchar(9) CHECK (VALUE <> '')",
            """CREATE TABLE "My Shop"."Order's Items" (
              "Full {} Text" text, "Order No" integer, "Größe" "My Shop".size COLLATE "C",
              found text, PRIMARY KEY ("Order No", "Größe", found))""",
            """INSERT INTO "My Shop"."Order's Items" SELECT 'Text ' || n, n / 2, 'x' || n, 'here'
              FROM generate_series(1, 9) AS n""",
        ],
        IndexDefinition(
            'The "Item" Search',
            "My Shop",
            "Order's Items",
            key=(
                TypedColumn("Order No", "integer"),
                TypedColumn("Größe", "character varying(9)"),
                TypedColumn("found", "text"),
            ),
            text=(TextColumn("Full {} Text", "C"),),
        ),
        [
            """DELETE FROM "My Shop"."Order's Items" WHERE "Order No" = 4""",
            """UPDATE "My Shop"."Order's Items" SET "Full {} Text" = '%s' WHERE "Order No" = 2""",
            """INSERT INTO "My Shop"."Order's Items" VALUES ('New', 7, '"', 'there')""",
        ],
        (1, 2, 2),
    ),
    "expressions and languages": Shape(
        [
            "CREATE TABLE page (id uuid PRIMARY KEY, lang text, title text, data jsonb)",
            """INSERT INTO page SELECT md5(n::text)::uuid, CASE n % 3 WHEN 0 THEN 'german'
                WHEN 1 THEN 'en' END, 'Wings and Häuser', jsonb_build_object('a%b', 'Flügel ' || n)
              FROM generate_series(1, 9) AS n""",
        ],
        IndexDefinition(
            "page_search",
            "public",
            "page",
            key=(TypedColumn("id", "uuid"),),
            text=(
                TextColumn("title", "A"),
                TextColumn("summary", "B", "data ->> 'a%b'", ("data",)),
                TextColumn("number", "D", "(data ->> 'n')::integer", ("data",)),
            ),
            language_column="lang",
            chunking=Chunking(heading="title"),
        ),
        [
            "UPDATE page SET lang = 'fr' WHERE id = md5('3')::uuid",
            "UPDATE page SET data = '{\"n\": \"no number\"}' WHERE id = md5('4')::uuid",
            'UPDATE page SET data = \'{"n": 5, "a%b": "Flügel 5"}\' WHERE id = md5(\'5\')::uuid',
            "DELETE FROM page WHERE id = md5('6')::uuid",
        ],
        (0, 3, 1),
    ),
    "partitions": Shape(
        [
            "CREATE TYPE mood AS ENUM ('sad', 'glad')",
            """CREATE TABLE event (day date, mood mood, note text, PRIMARY KEY (mood, day))
              PARTITION BY LIST (mood)""",
            "CREATE TABLE event_sad PARTITION OF event FOR VALUES IN ('sad')",
            "CREATE TABLE event_glad PARTITION OF event FOR VALUES IN ('glad')",
            """INSERT INTO event SELECT date '2026-01-01' + n,
                (ARRAY['sad', 'glad'])[n % 2 + 1]::mood, 'Note ' || n
              FROM generate_series(1, 9) AS n""",
        ],
        IndexDefinition(
            "event_search",
            "public",
            "event",
            key=(TypedColumn("mood", "mood"), TypedColumn("day", "date")),
            text=(TextColumn("note", "A"),),
        ),
        [
            "TRUNCATE event_sad",
            "UPDATE event SET mood = 'sad' WHERE day = '2026-01-02'",
            "UPDATE event_glad SET note = 'Another' WHERE day = '2026-01-04'",
        ],
        (1, 1, 5),
    ),
}
