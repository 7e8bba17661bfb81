"""Whatever is written, in whatever order: documents are those of a search index made now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from tests.plugins.search import create
from tests.plugins.tables import Row, documents, execute, fill

#: Rows move between its partitions, whose columns are in another order.
PARTITIONED = """
CREATE TABLE event (
  year integer, id integer, title text, payload jsonb, views integer, lang text,
  PRIMARY KEY (year, id) DEFERRABLE
) PARTITION BY LIST (year);
CREATE TABLE event_0 PARTITION OF event FOR VALUES IN (0);
CREATE TABLE event_1 (
  lang text, views integer, title text, gone text, id integer NOT NULL, payload jsonb,
  year integer NOT NULL
);
ALTER TABLE event_1 DROP COLUMN gone;
ALTER TABLE event ATTACH PARTITION event_1 FOR VALUES IN (1);
CREATE TABLE event_rest PARTITION OF event DEFAULT PARTITION BY LIST (id);
CREATE TABLE event_rest_0 PARTITION OF event_rest FOR VALUES IN (0, 1);
CREATE TABLE event_rest_1 PARTITION OF event_rest DEFAULT
"""

PLAIN = """
CREATE TABLE event (
  year integer, id integer, title text, payload jsonb, views integer, lang text,
  PRIMARY KEY (year, id) DEFERRABLE
)
"""

EVENTS = IndexDefinition(
    "event_search",
    "public",
    "event",
    key=(TypedColumn("id", "integer"), TypedColumn("year", "integer")),
    text=(
        TextColumn("title", "A"),
        TextColumn("notes", "B", "payload ->> 'notes'", ("payload",)),
        TextColumn("share", "C", "'share ' || 10 / views", ("views",)),
    ),
    language_column="lang",
)
NEW = replace(EVENTS, name="new_search")

years = st.integers(0, 3)
ids = st.integers(0, 3)
words = st.sampled_from(["cats", "dogs", "die Hasen", "", "the", "cats"])
where = st.sampled_from(
    ["true", "year = 0", "id = 1", "year = id", "year + id = 3", "(year, id) = (1, 2)"]
)
sets = st.sampled_from(
    [
        "title = title || ' more'",
        "payload = payload || '{\"views\": 1}'",
        'payload = \'{"notes": "noted"}\'',
        "views = views + 1",
        "views = 0",
        "lang = CASE lang WHEN 'de' THEN 'en' ELSE 'de' END",
        "title = title, payload = payload, views = views, lang = lang",
        "title = NULL, payload = NULL",
        "year = 3 - year",
        "year = (year + 1) % 4",
        "id = 3 - id",
        "id = (id + 1) % 4, title = 'turned'",
        "year = id, id = year",
        "year = year + 4",
    ]
)
tables = st.sampled_from(
    ["event", "event_0", "event_1", "event_rest", "event_rest_1", "event_0, event_rest"]
)

writes = st.one_of(
    st.builds(
        "INSERT INTO event VALUES ({}, {}, '{}', '{{\"notes\": \"{}\"}}', {}, 'en')".format,
        years, ids, words, words, ids,
    ),
    st.builds(
        "INSERT INTO event (year, id, title) SELECT n % 4, {}, '{} ' || n"
        " FROM generate_series(0, {}) AS n WHERE NOT EXISTS"
        " (SELECT FROM event WHERE (year, id) = (n % 4, {}))".format,
        ids, words, years, ids,
    ),
    st.builds("UPDATE event SET {} WHERE {}".format, sets, where),
    st.builds("UPDATE event SET {} WHERE {}".format, sets, where),
    st.builds("DELETE FROM event WHERE {}".format, where),
    st.builds(
        "WITH gone AS (DELETE FROM event WHERE {} RETURNING *)"
        " INSERT INTO event SELECT year, id, '{}' FROM gone".format,
        where, words,
    ),
    st.builds(
        "MERGE INTO event AS e USING generate_series(0, 3) AS n ON e.year = n AND e.id = {}"
        " WHEN MATCHED AND n = 2 THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET title = '{}'"
        " WHEN NOT MATCHED THEN INSERT (year, id, title) VALUES (n, {}, 'merged')".format,
        st.shared(ids, key="merged"), words, st.shared(ids, key="merged"),
    ),
    st.builds("TRUNCATE {}".format, tables),
)  # fmt: skip

#: Statements that are run one after the other, or in a transaction that is committed or not.
histories = st.lists(
    st.one_of(
        st.tuples(st.just("alone"), writes.map(lambda write: [write])),
        st.tuples(st.sampled_from(["committed", "rolled back"]), st.lists(writes, max_size=4)),
    ),
    max_size=8,
)


class Events:
    """The table `event`, its search index, and one beside it that is made anew for comparison."""

    def __init__(self, connection: product.Connection, table: str) -> None:
        self.connection = connection
        self._is_partitioned = table == PARTITIONED
        execute(connection, table)
        create(connection, EVENTS)
        create(connection, NEW)
        # The one beside it captures nothing.
        for event in ("insert", "update", "delete"):
            execute(connection, f'DROP TRIGGER "00_new_search_{event}" ON event')

    def new(self) -> list[Row]:
        execute(self.connection, "TRUNCATE new_search_document")
        fill(self.connection, NEW, batch=100)
        return documents(self.connection, NEW)

    def found(self) -> dict[tuple[Any, ...], Row]:
        rows = execute(self.connection, "SELECT id, year, generation FROM event_search_document")
        return {row[:2]: row for row in rows}

    def write(self, statement: str) -> None:
        if not self._is_partitioned and statement.startswith("TRUNCATE"):
            statement = "TRUNCATE event"
        with self.connection.transaction():
            execute(self.connection, "SET LOCAL client_min_messages = error")
            execute(self.connection, statement)


@pytest.fixture(scope="module", params=[PARTITIONED, PLAIN], ids=["partitioned", "plain"])
def events(request: pytest.FixtureRequest, databases: Any, installed_template: str) -> Any:
    with databases.fresh(installed_template) as url, product.connect(url) as connection:
        yield Events(connection, request.param)


def attempt(events: Events, statement: str) -> bool:
    """Write; return whether it was done, and not refused because a key is there already."""
    try:
        events.write(statement)
    except psycopg.errors.UniqueViolation as error:
        if "search" in (error.diag.table_name or ""):
            raise
        return False
    return True


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
@example(
    history=[
        ("alone", ["INSERT INTO event SELECT n % 4, n % 3, 'row' FROM generate_series(0, 11) n"]),
        ("alone", ["UPDATE event SET year = 3 - year WHERE true"]),
        ("committed", ["UPDATE event SET year = id, id = year WHERE id = 1", "TRUNCATE event_0"]),
    ]
)
def test_any_history(events: Events, history: list[tuple[str, list[str]]]) -> None:
    connection = events.connection
    execute(connection, "TRUNCATE event")
    for how, statements in history:
        execute(connection, "TRUNCATE event_search_queue")
        before = events.found()
        if how == "alone":
            for statement in statements:
                attempt(events, statement)
        else:
            with connection.transaction(force_rollback=how == "rolled back"):
                for statement in statements:
                    attempt(events, statement)
        assert documents(connection, EVENTS) == events.new(), (how, statements)
        after = events.found()
        changed = {key for key in before | after if before.get(key) != after.get(key)}
        waiting = set(execute(connection, "SELECT DISTINCT id, year FROM event_search_queue"))
        assert (None, None) in waiting or changed <= waiting, (how, statements)
        if how == "rolled back":
            assert not changed
        assert len({row[2] for row in after.values()}) == len(after)
