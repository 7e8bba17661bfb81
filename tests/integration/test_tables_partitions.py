"""Partitioned tables, partitions as tables of their own, and tables that are refused."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import alter_search_index
from tests.plugins.search import catalogue, create, drop, execute_all
from tests.plugins.tables import (
    assert_documents_as_new,
    documents,
    execute,
    fill,
    search,
)

EVENTS = IndexDefinition(
    "event_search",
    "public",
    "event",
    key=(TypedColumn("year", "integer"), TypedColumn("id", "integer")),
    text=(TextColumn("title", "A"), TextColumn("notes", "B", "payload ->> 'notes'", ("payload",))),
    filters=(TypedColumn("tenant_id", "integer"),),
    language_column="lang",
)

#: Partitions whose columns are in another order, with columns dropped between them, and parts of
#: a partition.
TABLES = """
CREATE TABLE event (
  gone integer, year integer, id integer, title text, payload jsonb, tenant_id integer, lang text,
  PRIMARY KEY (year, id) DEFERRABLE
) PARTITION BY RANGE (year);
ALTER TABLE event DROP COLUMN gone;
CREATE TABLE event_2024 PARTITION OF event FOR VALUES FROM (2024) TO (2025);
CREATE TABLE event_2025 (
  payload jsonb, dropped text, lang text, title text, other integer, id integer NOT NULL,
  tenant_id integer, year integer NOT NULL
);
ALTER TABLE event_2025 DROP COLUMN dropped, DROP COLUMN other;
ALTER TABLE event ATTACH PARTITION event_2025 FOR VALUES FROM (2025) TO (2026);
CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM (2026) TO (2027) PARTITION BY LIST (id);
CREATE TABLE event_2026_1 PARTITION OF event_2026 FOR VALUES IN (1);
CREATE TABLE event_2026_rest PARTITION OF event_2026 DEFAULT
"""

INSERT = (
    "INSERT INTO {table} (year, id, title, payload, tenant_id, lang)"
    " SELECT {year}, n, title || n, jsonb_build_object('notes', 'note' || n), n, 'english'"
    " FROM unnest(ARRAY['cats', 'dogs', 'birds']) WITH ORDINALITY AS u (title, n)"
)

YEARS = (2024, 2025, 2026)


@pytest.fixture
def db(installed: product.Connection) -> product.Connection:
    """A connection to a database with the table `event`, three rows in each of its partitions."""
    execute(installed, TABLES)
    for year in YEARS:
        execute(installed, INSERT.format(table="event", year=year))
    return installed


@pytest.fixture
def events(db: product.Connection) -> product.Connection:
    """The same, with a search index that is filled."""
    create(db, EVENTS)
    assert fill(db, EVENTS, batch=4) == 3
    execute(db, "DELETE FROM event_search_queue")
    return db


def years(connection: product.Connection) -> list[int]:
    """Return the year of each document, in order."""
    return sorted(int(row[0]) for row in documents(connection, EVENTS))


def queue(connection: product.Connection) -> list[tuple[int | None, ...]]:
    rows = execute(connection, "SELECT DISTINCT year, id FROM event_search_queue ORDER BY 1, 2")
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("through", ["event", "the partition"])
@pytest.mark.parametrize("year", YEARS)
def test_rows_written_to_the_table_or_to_a_partition(
    events: product.Connection, through: str, year: int
) -> None:
    table = "event" if through == "event" else f"event_{year}"
    if through == "the partition" and year == 2026:
        table = "event_2026_rest"
    execute(
        events,
        f"INSERT INTO {table} (year, id, title, payload, tenant_id, lang) VALUES"
        f" ({year}, 7, 'Hasen', '{{\"notes\": \"owls\"}}', 7, 'de')",
    )
    execute(events, f"UPDATE {table} SET title = 'late cats' WHERE (year, id) = ({year}, 2)")
    execute(events, f"UPDATE {table} SET id = 9 WHERE (year, id) = ({year}, 2)")
    execute(events, f"DELETE FROM {table} WHERE (year, id) = ({year}, 3)")
    assert len(assert_documents_as_new(events, EVENTS)) == 9
    assert search(events, EVENTS, "Hase", tenant_id=7, query_language="de") == {(year, 7)}
    assert search(events, EVENTS, "late cats", tenant_id=2) >= {(year, 9)}
    assert queue(events) == [(year, n) for n in (2, 3, 7, 9)]


def test_updates_of_other_columns_are_free(events: product.Connection) -> None:
    before = execute(events, "SELECT ctid, xmin::text, * FROM event_search_document ORDER BY 1")
    execute(events, "UPDATE event SET tenant_id = 8, payload = payload || '{\"a\": 1}'")
    after = execute(events, "SELECT ctid, xmin::text, * FROM event_search_document ORDER BY 1")
    assert after == before
    assert queue(events) == []


MOVES = {
    "to the next one": "UPDATE event SET year = year + 1, id = id + 3 WHERE year < 2026",
    "into the other's place": "UPDATE event SET year = 4050 - year",
    "all around": "UPDATE event SET year = (year - 1) % 3 + 2024",
    "with new text": "UPDATE event SET year = (year - 1) % 3 + 2024, title = title || ' owls'",
    "within and between": "UPDATE event SET year = 4050 - year, id = 4 - id",
    "within": "UPDATE event SET id = 4 - id",
    "deleted and inserted": """
        WITH gone AS (DELETE FROM event_2024 RETURNING *)
        INSERT INTO event (year, id, title) SELECT year, id, title || ' owls' FROM gone
    """,
    "inserted and deleted": """
        WITH come AS (INSERT INTO event (year, id, title) VALUES (2024, 1, 'owls') RETURNING *)
        DELETE FROM event USING come WHERE event.year = come.year AND event.id = come.id
    """,
    "merged": """
        MERGE INTO event AS e
        USING (VALUES (2024, 1, NULL), (2025, 2, 'owls'), (2026, 9, 'new')) AS n (year, id, title)
        ON (e.year, e.id) = (n.year, n.id)
        WHEN MATCHED AND n.title IS NULL THEN UPDATE SET year = 2026, id = 77
        WHEN MATCHED THEN UPDATE SET title = n.title
        WHEN NOT MATCHED THEN INSERT (year, id, title) VALUES (n.year, n.id, n.title)
    """,
}


@pytest.mark.parametrize("move", MOVES)
def test_rows_that_move_between_partitions(events: product.Connection, move: str) -> None:
    """Also into each other's places: the statement takes a key away and gives it out again."""
    with events.transaction():
        execute(events, "SET CONSTRAINTS ALL DEFERRED")
        execute(events, MOVES[move])
    assert_documents_as_new(events, EVENTS)


# TRUNCATE


@pytest.mark.parametrize(
    ("truncated", "left"),
    [
        ("event", []),
        ("event_2024", [2025] * 3 + [2026] * 3),
        ("event_2025", [2024] * 3 + [2026] * 3),
        ("event_2026", [2024] * 3 + [2025] * 3),
        ("event_2026_1", [2024] * 3 + [2025] * 3 + [2026] * 2),
        ("event_2024, event_2026_rest", [2025] * 3 + [2026]),
        ("event_2024, event", []),
        ("event, event_2024", []),
        ("event_2026, event_2026_1", [2024] * 3 + [2025] * 3),
    ],
)
def test_truncate(events: product.Connection, truncated: str, left: Sequence[int]) -> None:
    with events.transaction(force_rollback=True):
        execute(events, f"TRUNCATE {truncated}")
        assert years(events) == left
    assert len(years(events)) == 9
    assert queue(events) == []
    execute(events, f"TRUNCATE {truncated}")
    assert years(events) == left
    waiting = queue(events)
    assert (None, None) in waiting if not left else len(waiting) == 9 - len(left)
    execute(events, "INSERT INTO event (year, id, title) VALUES (2024, 7, 'new cats')")
    assert_documents_as_new(events, EVENTS)


@pytest.mark.parametrize("detached", ["event_2024", "event_2026"])
def test_a_detached_partition_is_no_part_any_more(
    events: product.Connection, detached: str
) -> None:
    """Whatever happens to it leaves the documents of live rows alone, which may have its keys."""
    year = int(detached[-4:])
    execute(events, f"ALTER TABLE event DETACH PARTITION {detached}")
    execute(
        events,
        f"CREATE TABLE another PARTITION OF event FOR VALUES FROM ({year}) TO ({year + 1})",
    )
    execute(events, INSERT.format(table="event", year=year))
    before = documents(events, EVENTS)
    waiting = queue(events)
    execute(events, f"UPDATE {detached} SET id = 50 WHERE id = 2")
    execute(events, f"UPDATE {detached} SET title = 'owls'")
    execute(events, f"DELETE FROM {detached} WHERE id = 1")
    execute(events, f"TRUNCATE {detached}")
    execute(events, f"DROP TABLE {detached}")
    assert documents(events, EVENTS) == before
    assert queue(events) == waiting
    drop(events, EVENTS)
    assert not [row for row in catalogue(events) if row[1].startswith("public.event_search")]


def test_partitions_that_come_and_go_are_noticed(events: product.Connection) -> None:
    """Also those that came just before the search index was altered."""
    watch = "SELECT event_search_watch_partitions()"
    assert execute(events, watch) == [(False,)]
    execute(
        events,
        "CREATE TABLE event_2023 (title text, id integer NOT NULL, year integer NOT NULL,"
        " lang text, payload jsonb, tenant_id integer)",
    )
    execute(events, INSERT.format(table="event_2023", year=2023))
    execute(
        events, "ALTER TABLE event ATTACH PARTITION event_2023 FOR VALUES FROM (2023) TO (2024)"
    )
    execute(events, "ALTER TABLE event DETACH PARTITION event_2024")
    execute_all(events, alter_search_index(EVENTS))
    while execute(events, watch) == [(True,)]:
        pass
    assert execute(events, "SELECT filled_at FROM pgsearch.search_index") == [(None,)]
    fill(events, EVENTS)
    assert years(events) == [2023] * 3 + [2025] * 3 + [2026] * 3
    assert_documents_as_new(events, EVENTS)
    execute(events, "TRUNCATE event_2023")
    assert years(events) == [2025] * 3 + [2026] * 3


def test_a_partition_that_comes_back_changed(events: product.Connection) -> None:
    """Its rows changed unseen, and there are as many partitions as before."""
    watch = "SELECT event_search_watch_partitions()"
    execute(events, "ALTER TABLE event DETACH PARTITION event_2024")
    execute(events, "UPDATE event_2024 SET title = 'owls' WHERE id = 1")
    execute(events, "UPDATE event_2024 SET id = 99 WHERE id = 2")
    execute(events, "DELETE FROM event_2024 WHERE id = 3")
    attach = "ALTER TABLE event ATTACH PARTITION event_2024 FOR VALUES FROM (2024) TO (2025)"
    execute(events, attach)
    execute(events, "INSERT INTO event (year, id, title) VALUES (2024, 4, 'late cats')")
    assert search(events, EVENTS, "owls") == set()
    assert execute(events, watch) == [(True,)]
    while execute(events, watch) == [(True,)]:
        pass
    fill(events, EVENTS)
    assert [row[:2] for row in assert_documents_as_new(events, EVENTS)][:3] == [
        ("2024", "1"),
        ("2024", "4"),
        ("2024", "99"),
    ]
    assert search(events, EVENTS, "owls") == {(2024, 1)}
    execute_all(events, alter_search_index(EVENTS))
    assert execute(events, watch) == [(False,)]
    execute(events, "TRUNCATE event_2024")
    assert years(events) == [2025] * 3 + [2026] * 3


# Triggers of the application


@pytest.mark.parametrize("table", ["event", "event_2025"])
def test_a_trigger_that_changes_columns_which_the_statement_does_not_name(
    db: product.Connection, table: str
) -> None:
    """On the table or on one partition only."""
    execute_all(
        db,
        [
            (
                "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.title := 'tidy ' || NEW.tenant_id; RETURN NEW; END $$"
            ),
            (
                f"CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON {table}"
                " FOR EACH ROW EXECUTE FUNCTION tidy()"
            ),
        ],
    )
    create(db, EVENTS)
    fill(db, EVENTS)
    execute(db, "UPDATE event SET tenant_id = 42")
    found = assert_documents_as_new(db, EVENTS)
    assert len([row for row in found if "tidi" in row[2]]) == (9 if table == "event" else 3)


# A partition as a table of its own


@pytest.mark.parametrize("table", ["event_2025", "event_2026"])
def test_a_search_index_of_a_partition(events: product.Connection, table: str) -> None:
    """Beside one of the whole; a row that leaves the partition leaves its search index."""
    year = int(table[-4:])
    definition = IndexDefinition(
        "part_search",
        "public",
        table,
        key=EVENTS.key,
        text=EVENTS.text,
        filters=EVENTS.filters,
        language_column="lang",
    )
    create(events, definition)
    fill(events, definition)
    execute(events, f"UPDATE event SET year = 2024, id = 77 WHERE (year, id) = ({year}, 1)")
    execute(events, f"UPDATE event SET year = {year}, id = 78 WHERE (year, id) = (2024, 2)")
    execute(events, f"UPDATE event SET title = 'owls' WHERE (year, id) = ({year}, 3)")
    found = assert_documents_as_new(events, definition)
    assert [row[:2] for row in found] == [(str(year), n) for n in ("2", "3", "78")]
    assert search(events, definition, "owls", tenant_id=3) == {(year, 3)}
    assert_documents_as_new(events, EVENTS)
    execute(events, "TRUNCATE event")
    assert documents(events, definition) == []
    drop(events, definition)
    execute(events, INSERT.format(table=table, year=year))
    assert len(assert_documents_as_new(events, EVENTS)) == 3


# Tables that are refused, and those beside them that are not


def note_index(table: str) -> IndexDefinition:
    return IndexDefinition(
        "note_search",
        "public",
        table,
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("title", "A"),),
    )


@pytest.mark.parametrize(
    ("statement", "message", "hint"),
    [
        (
            "CREATE TABLE child () INHERITS (note)",
            "other tables inherit from note, which a search index cannot follow",
            "Triggers do not fire for the rows of its children. Partition it, or index each child.",
        ),
        (
            "ALTER TABLE note RENAME TO real_note; CREATE VIEW note AS SELECT * FROM real_note",
            "note is not a table that can have a search index",
            "Views, foreign and temporary tables cannot: name the table that holds the rows.",
        ),
        (
            "ALTER TABLE note RENAME TO x; CREATE MATERIALIZED VIEW note AS SELECT * FROM x",
            "note is not a table that can have a search index",
            "Views, foreign and temporary tables cannot: name the table that holds the rows.",
        ),
        (
            """
            DROP TABLE note; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
            CREATE FOREIGN TABLE note (id integer, title text) SERVER s
            """,
            "note is not a table that can have a search index",
            "Views, foreign and temporary tables cannot: name the table that holds the rows.",
        ),
        ("DROP TABLE note", 'there is no table "public"."note"', "Create it first."),
    ],
)
def test_what_is_refused(
    installed: product.Connection, statement: str, message: str, hint: str
) -> None:
    execute(installed, "CREATE TABLE note (id integer PRIMARY KEY, title text)")
    execute(installed, statement)
    before = catalogue(installed)
    with pytest.raises(psycopg.Error) as caught:
        create(installed, note_index("note"))
    assert caught.value.diag.message_primary == f"pgsearch: {message}"
    assert caught.value.diag.message_hint == hint
    assert catalogue(installed) == before


def test_a_temporary_table_is_refused(installed: product.Connection) -> None:
    execute(installed, "CREATE TEMP TABLE note (id integer PRIMARY KEY, title text)")
    ((schema,),) = execute(installed, "SELECT pg_my_temp_schema()::regnamespace::text")
    definition = IndexDefinition(
        "note_search",
        str(schema),
        "note",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("title", "A"),),
    )
    with pytest.raises(psycopg.errors.WrongObjectType, match="not a table that can have"):
        create(installed, definition)


def test_a_child_table_has_a_search_index_of_its_own_rows(installed: product.Connection) -> None:
    execute_all(
        installed,
        [
            "CREATE TABLE note (id integer PRIMARY KEY, title text)",
            "CREATE TABLE child (PRIMARY KEY (id)) INHERITS (note)",
            "INSERT INTO note VALUES (1, 'parent cats')",
            "INSERT INTO child VALUES (2, 'child cats')",
        ],
    )
    definition = note_index("child")
    create(installed, definition)
    fill(installed, definition)
    execute(installed, "UPDATE note SET title = title || ' owls'")
    execute(installed, "INSERT INTO note VALUES (3, 'parent cats')")
    assert len(assert_documents_as_new(installed, definition)) == 1
    assert search(installed, definition, "owls") == {2}
    execute(installed, "TRUNCATE note")
    assert documents(installed, definition) == []


def test_an_unlogged_table(installed: product.Connection) -> None:
    execute(installed, "CREATE UNLOGGED TABLE note (id integer PRIMARY KEY, title text)")
    create(installed, note_index("note"))
    execute(installed, "INSERT INTO note VALUES (1, 'cats')")
    assert search(installed, note_index("note"), "cat") == {1}
