"""Companions under the row-level security of tables of every shape, and over their changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg.sql import SQL, Composable, Identifier

from pgsearch import database as product
from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition
from pgsearch.schema.grants import grant_search
from pgsearch.schema.index import (
    alter_search_index,
    create_search_index,
    drop_search_index,
    suspend_search_index,
)
from pgsearch.schema.install import install
from pgsearch.schema.steps import LockPatience, written
from tests.integration.test_tables_partitions import EVENTS, INSERT, TABLES, YEARS
from tests.integration.test_tables_upgraded import INDEX_V1, MEMOS, TABLE
from tests.plugins.drift import look
from tests.plugins.reconcile import SHAPES
from tests.plugins.search import HASH_V1, catalogue, create, execute_all
from tests.plugins.security import Roles, make_owner, roles_of, values
from tests.plugins.tables import drain, execute, search


@pytest.fixture
def roles(installed: Connection) -> Iterator[Roles]:
    info = installed.info
    url = f"postgresql://postgres@/{info.dbname}?host={info.host}"
    with roles_of(url) as roles:
        roles.create("app")
        yield roles


def secure(connection: Connection, definition: IndexDefinition, condition: str) -> None:
    """Put a table under row-level security, and let its search index follow."""
    table = Identifier(definition.schema, definition.table)
    execute(connection, SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
    policy = SQL("CREATE POLICY part ON {} USING ({})").format(table, SQL(condition))
    execute(connection, policy)


def admit(connection: Connection, definition: IndexDefinition, roles: Roles) -> None:
    execute_all(connection, grant_search(definition.schema, definition.name, roles.name("app")))


def keys(roles: Roles, definition: IndexDefinition, relation: str) -> set[tuple[object, ...]]:
    """Return the keys that the role sees in a relation of a search index."""
    columns = SQL(", ").join(SQL("{}::text").format(Identifier(c.name)) for c in definition.key)
    asked: Composable = SQL("SELECT {} FROM {}").format(
        columns, Identifier(definition.schema, relation)
    )
    with product.connect(roles.url_of("app"), row_security=True) as connection:
        return set(connection.execute(asked).fetchall())


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("shape", ["quoted names", "expressions and languages", "partitions"])
def test_any_table(installed: Connection, roles: Roles, shape: str, is_first: bool) -> None:
    """Row-level security that is there before its search index, and that comes later."""
    made, definition = SHAPES[shape].made, SHAPES[shape].definition
    key = ", ".join(f'"{column.name}"' for column in definition.key)
    hashed = f"hashtext(concat({key})) % 2 = 0"
    execute_all(installed, made)
    if is_first:
        secure(installed, definition, hashed)
    create(installed, definition, HASH_V1)
    if not is_first:
        secure(installed, definition, hashed)
        execute_all(installed, alter_search_index(definition))
    drain(installed, definition)
    admit(installed, definition, roles)
    names = definition.names
    visible = keys(roles, definition, names.filter)
    for table in (names.document, names.chunk):
        assert keys(roles, definition, table) == visible
        ((count,),) = execute(
            installed,
            SQL("SELECT count(*) FROM {}").format(Identifier(definition.schema, table)),
        )
        assert 0 < len(visible) < count
    assert [str(f) for f in look(roles.url).findings] == []
    execute_all(installed, drop_search_index(definition.name, definition.table, definition.schema))
    assert [
        row
        for row in catalogue(installed)
        if row[0] == "policy" and ".part" not in row[1] and not row[1].startswith("pgsearch.")
    ] == []


def test_partitions_ask_the_policies_of_their_table(installed: Connection, roles: Roles) -> None:
    execute(installed, TABLES)
    for year in YEARS:
        execute(installed, INSERT.format(table="event", year=year))
    secure(installed, EVENTS, "year > 2024")
    # Its own are for whoever reads it by itself.
    execute(installed, "ALTER TABLE event_2025 ENABLE ROW LEVEL SECURITY")
    create(installed, EVENTS, HASH_V1)
    drain(installed, EVENTS)
    admit(installed, EVENTS, roles)
    wanted = {(str(year), str(n)) for year in YEARS[1:] for n in (1, 2, 3)}
    assert keys(roles, EVENTS, "event_search_document") == wanted
    with product.connect(roles.url_of("app"), row_security=True) as connection:
        assert search(connection, EVENTS, "cats1") == {(2025, 1), (2026, 1)}
        assert search(connection, EVENTS, "cats1", tenant_id=2) == set()


def test_an_index_of_an_older_version(installed: Connection, roles: Roles) -> None:
    execute(installed, TABLE)
    secure(installed, MEMOS, "tenant_id = 1")
    execute(
        installed, "INSERT INTO memo VALUES (1, 'a', 'cats', '', 'x'), (2, 'b', 'cats', '', 'x')"
    )
    installed.execute(INDEX_V1.encode())
    execute_all(installed, install())
    execute_all(installed, alter_search_index(MEMOS))
    drain(installed, MEMOS)
    admit(installed, MEMOS, roles)
    assert keys(roles, MEMOS, "memo_search_document") == {("1", "a")}
    with product.connect(roles.url_of("app"), row_security=True) as connection:
        assert search(connection, MEMOS, "cats") == {(1, "a")}


@pytest.fixture
def notes(installed: Connection, roles: Roles) -> IndexDefinition:
    """A table of which the role sees odd rows, with its search index."""
    definition = replace(SHAPES["quoted names"].definition, name="note_search")
    made = (
        "CREATE TABLE note (id integer PRIMARY KEY, body text)",
        "INSERT INTO note SELECT n, 'cats and dogs' FROM generate_series(1, 6) AS n",
    )
    execute_all(installed, made)
    definition = IndexDefinition.from_json(
        definition.to_json()
        | {
            "schema": "public",
            "table": "note",
            "key": [["id", "bigint"]],
            "text": [["body", "A"]],
        }
    )
    secure(installed, definition, "id % 2 = 1")
    create(installed, definition, HASH_V1)
    drain(installed, definition)
    admit(installed, definition, roles)
    return definition


ODD = {("1",), ("3",), ("5",)}


def test_while_it_is_suspended(installed: Connection, roles: Roles, notes: IndexDefinition) -> None:
    """Search goes on; while a key changes its type, others than the owner are shown nothing."""
    with product.connect(roles.url_of("app"), row_security=True) as app:
        execute_all(installed, suspend_search_index("note_search", "note", "public"))
        assert search(app, notes, "cats") == {1, 3, 5}
        execute_all(installed, alter_search_index(notes, refill=True))
        execute_all(installed, suspend_search_index("note_search", "note", "public", filters=True))
        assert keys(roles, notes, "note_search_document") == set()
        with pytest.raises(psycopg.errors.UndefinedTable, match="note_search_filter"):
            search(app, notes, "cats")
        execute(installed, "DROP POLICY part ON note")
        execute(installed, "ALTER TABLE note ALTER COLUMN id TYPE bigint")
        execute(installed, "CREATE POLICY part ON note USING (id % 2 = 1)")
        execute_all(installed, alter_search_index(notes, refill=True))
        drain(installed, notes)
        assert search(app, notes, "cats") == {1, 3, 5}
    assert keys(roles, notes, "note_search_chunk") == ODD


def test_changes_are_visible_at_once(
    installed: Connection, roles: Roles, notes: IndexDefinition
) -> None:
    """Of rows, and of what policies ask: nothing about visibility is kept."""
    execute(installed, "UPDATE note SET id = 7 WHERE id = 2")
    execute(installed, "UPDATE note SET id = 8 WHERE id = 1")
    execute(installed, "DELETE FROM note WHERE id = 3")
    with product.connect(roles.url_of("app"), row_security=True) as app:
        assert search(app, notes, "cats") == {5, 7}
        # Chunks of what is gone are there until a worker comes.
        assert keys(roles, notes, "note_search_chunk") == {("5",)}
        execute(installed, "ALTER POLICY part ON note USING (id = 8)")
        assert search(app, notes, "cats") == {8}
        execute(installed, "DROP POLICY part ON note")
        assert search(app, notes, "cats") == set()


def test_who_may_write_the_table_needs_nothing_else(
    installed: Connection, roles: Roles, notes: IndexDefinition
) -> None:
    """Triggers write companions as their owner, in every isolation level."""
    role = roles.identifier("app")
    execute(installed, SQL("GRANT ALL ON note TO {}").format(role))
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        with product.connect(roles.url_of("app"), row_security=True) as app, app.transaction():
            app.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
            app.execute("INSERT INTO note VALUES (11, 'owls')")
            app.execute("UPDATE note SET body = 'more owls', id = 13 WHERE id = 11")
            app.execute("DELETE FROM note WHERE id IN (1, 13)")
            app.execute("INSERT INTO note VALUES (1, 'cats and dogs')")
    drain(installed, notes)
    assert keys(roles, notes, "note_search_document") == ODD


def test_a_migration_waits_for_nobody_for_long(
    installed: Connection, roles: Roles, notes: IndexDefinition
) -> None:
    """What reads companions holds it up, but not those who come after it for more than a moment."""
    execute(installed, "ALTER TABLE note DISABLE ROW LEVEL SECURITY")
    info = installed.info
    with psycopg.connect(host=info.host, user="postgres", dbname=info.dbname) as reading:
        reading.execute("SELECT count(*) FROM note_search_document")
        security = next(
            step for step in alter_search_index(notes) if "security" in step.what.lower()
        )
        (statement,) = written(security, LockPatience(timeout_ms=50, attempts=2))
        with pytest.raises(psycopg.errors.LockNotAvailable, match="was not to be had"):
            installed.execute(statement.encode())
        execute(installed, "INSERT INTO note VALUES (9, 'cats')")
    execute_all(installed, alter_search_index(notes))
    assert ("2",) in keys(roles, notes, "note_search_document")


def test_a_role_that_sees_a_part_makes_no_search_index(installed: Connection) -> None:
    url = f"postgresql://postgres@/{installed.info.dbname}?host={installed.info.host}"
    with roles_of(url) as roles:
        make_owner(roles, installed)
        owner_ = roles.identifier("owner")
        for granted in ("SCHEMA pgsearch", "ALL TABLES IN SCHEMA pgsearch"):
            execute(installed, SQL("GRANT ALL ON {} TO {}").format(SQL(granted), owner_))
        definition = MEMOS
        with product.connect(roles.url_of("owner"), row_security=True) as owner:
            owner.execute(TABLE.encode())
            owner.execute("ALTER TABLE memo ENABLE ROW LEVEL SECURITY")
            owner.execute("ALTER TABLE memo FORCE ROW LEVEL SECURITY")
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as refused:
                execute_all(owner, create_search_index(definition))
            assert "BYPASSRLS" in str(refused.value.diag.message_hint)
            owner.execute("ALTER TABLE memo NO FORCE ROW LEVEL SECURITY")
            execute_all(owner, create_search_index(definition))
            # Searches honour it, also where the owner asks; the companions are his.
            owner.execute("INSERT INTO memo VALUES (1, 'a', 'cats'), (2, 'b', 'cats')")
            assert search(owner, definition, "cats") == {(1, "a"), (2, "b")}
            owner.execute("CREATE POLICY part ON memo USING (tenant_id = 1)")
            owner.execute("ALTER TABLE memo FORCE ROW LEVEL SECURITY")
            assert search(owner, definition, "cats") == {(1, "a")}
            assert len(values(owner, "SELECT code FROM memo_search_document")) == 2


def test_the_script_that_is_printed_says_why(installed: Connection) -> None:
    execute(installed, TABLE)
    text = "\n".join(s for step in create_search_index(MEMOS) for s in step.statements)
    assert text.count("CREATE POLICY") == 3
