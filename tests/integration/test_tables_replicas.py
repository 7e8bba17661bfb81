"""Triggers that an operator has enabled for what is replicated, over alterations and partitions."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import alter_search_index, suspend_search_index
from tests.plugins.search import create, execute_all
from tests.plugins.tables import execute, fill

NOTES = IndexDefinition(
    "note_search",
    "public",
    "note",
    key=(TypedColumn("part", "integer"), TypedColumn("id", "integer")),
    text=(TextColumn("title", "A"),),
)

TABLES = """
CREATE TABLE note (part integer, id integer, title text, PRIMARY KEY (part, id))
PARTITION BY LIST (part);
CREATE TABLE note_1 PARTITION OF note FOR VALUES IN (1);
CREATE TABLE note_2 PARTITION OF note FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE note_2_rest PARTITION OF note_2 DEFAULT
"""

WATCH = "SELECT note_search_watch_partitions()"

#: What is written as a subscription writes it.
REPLICATED = """
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO note SELECT part, 7, 'late cats' FROM generate_series(1, {last}) AS part;
COMMIT
"""


@pytest.fixture
def notes(installed: product.Connection) -> product.Connection:
    """A connection to a database with the partitioned table `note` and its search index."""
    execute(installed, TABLES)
    create(installed, NOTES)
    while execute(installed, WATCH) == [(True,)]:
        pass
    return installed


def enable(connection: product.Connection, how: str, table: str = "note") -> None:
    """Set when a table's triggers fire, and not those of its partitions."""
    for event in ("insert", "update", "delete", "truncate"):
        if table != "note_2" or event != "truncate":
            execute(connection, f'ALTER TABLE ONLY {table} {how} TRIGGER "00_note_search_{event}"')


def enabled(connection: product.Connection) -> dict[str, str]:
    """Return when each table's triggers fire, one letter for each of them."""
    rows = execute(
        connection,
        "SELECT tgrelid::regclass::text, string_agg(tgenabled::text, '' ORDER BY tgname)"
        " FROM pg_trigger WHERE tgfoid = 'note_search_capture'::regproc GROUP BY 1",
    )
    return {str(table): str(states) for table, states in rows}


def alter(connection: product.Connection, through: str) -> None:
    if through != "altered":
        execute_all(connection, suspend_search_index("note_search", "note", "public"))
        assert enabled(connection) == {}
    if through == "suspended twice":
        execute_all(connection, suspend_search_index("note_search", "note", "public"))
    execute_all(connection, alter_search_index(NOTES))


#: What is set, and what is there after an alteration.
SETTINGS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "all of them": (
        dict.fromkeys(("note", "note_1", "note_2", "note_2_rest"), "ENABLE ALWAYS"),
        {"note": "AAAA", "note_1": "AAAA", "note_2": "AAA", "note_2_rest": "AAAA"},
    ),
    "one partition": (
        {"note_1": "ENABLE ALWAYS"},
        {"note": "OOOO", "note_1": "AAAA", "note_2": "OOO", "note_2_rest": "OOOO"},
    ),
    "all but one partition": (
        dict.fromkeys(("note", "note_2", "note_2_rest"), "ENABLE ALWAYS"),
        {"note": "AAAA", "note_1": "OOOO", "note_2": "AAA", "note_2_rest": "AAAA"},
    ),
    "replicas only": (
        dict.fromkeys(("note", "note_1"), "ENABLE REPLICA"),
        {"note": "AAAA", "note_1": "AAAA", "note_2": "OOO", "note_2_rest": "OOOO"},
    ),
    "disabled": (
        {"note": "DISABLE", "note_1": "DISABLE", "note_2_rest": "ENABLE ALWAYS"},
        {"note": "OOOO", "note_1": "OOOO", "note_2": "OOO", "note_2_rest": "AAAA"},
    ),
    "nothing": (
        {},
        {"note": "OOOO", "note_1": "OOOO", "note_2": "OOO", "note_2_rest": "OOOO"},
    ),
}


@pytest.mark.parametrize("through", ["altered", "suspended", "suspended twice"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_an_alteration_keeps_what_fires_for_what_is_replicated(
    notes: product.Connection, setting: str, through: str
) -> None:
    """A trigger of which it cannot have been the wish sees the application's changes after it."""
    given, wanted = SETTINGS[setting]
    for table, how in given.items():
        enable(notes, how, table)
    alter(notes, through)
    assert enabled(notes) == wanted
    assert execute(notes, "SELECT replicated FROM pgsearch.search_index") == [(None,)]
    for table in wanted:
        enable(notes, "ENABLE", table)
    alter(notes, "suspended")
    assert set("".join(enabled(notes).values())) == {"O"}


@pytest.mark.parametrize("how", ["DISABLE", "ENABLE REPLICA"])
def test_what_a_trigger_missed_is_looked_for_once_it_is_enabled_again(
    notes: product.Connection, how: str
) -> None:
    enable(notes, how, "note_1")
    execute(notes, "INSERT INTO note VALUES (1, 7, 'late cats')")
    assert execute(notes, "SELECT count(*) FROM note_search_document") == [(0,)]
    alter(notes, "altered")
    fill(notes, NOTES)
    assert execute(notes, "SELECT count(*) FROM note_search_document") == [(1,)]


def test_an_alteration_looks_for_nothing_where_all_was_seen(notes: product.Connection) -> None:
    enable(notes, "ENABLE ALWAYS", "note_1")
    fill(notes, NOTES)
    execute(notes, "UPDATE pgsearch.search_index SET filled_at = now()")
    alter(notes, "altered")
    assert execute(notes, "SELECT filled_at IS NULL FROM pgsearch.search_index") == [(False,)]


def test_one_trigger_alone_may_be_enabled(notes: product.Connection) -> None:
    execute(notes, 'ALTER TABLE note ENABLE ALWAYS TRIGGER "00_note_search_insert"')
    before = enabled(notes)
    assert before["note"] == "OAOO"
    alter(notes, "altered")
    assert enabled(notes) == before


@pytest.mark.parametrize("through", ["altered", "suspended", "noticed"])
def test_a_new_partition_does_as_its_table(notes: product.Connection, through: str) -> None:
    for table in enabled(notes):
        enable(notes, "ENABLE ALWAYS", table)
    if through == "suspended":
        execute_all(notes, suspend_search_index("note_search", "note", "public"))
    execute(notes, "CREATE TABLE note_3 PARTITION OF note FOR VALUES IN (3)")
    if through != "noticed":
        execute_all(notes, alter_search_index(NOTES))
    while execute(notes, WATCH) == [(True,)]:
        pass
    assert enabled(notes) == {
        "note": "AAAA",
        "note_1": "AAAA",
        "note_2": "AAA",
        "note_2_rest": "AAAA",
        "note_3": "AAAA",
    }
    execute(notes, REPLICATED.format(last=3))
    assert execute(notes, "SELECT count(*) FROM note_search_document") == [(3,)]
