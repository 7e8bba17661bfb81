"""Operations that stop in their middle, after any statement, and are run again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pgsearch import database as product
from pgsearch.definition import Chunking, IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import (
    alter_search_index,
    create_search_index,
    drop_search_index,
    suspend_search_index,
)
from pgsearch.schema.install import install
from pgsearch.schema.steps import LockPatience, Step, written
from tests.plugins.search import HASH_V1, CatalogueRow, catalogue, create, execute_all
from tests.plugins.tables import assert_documents_as_new, contents, drain, execute, fill

TABLE = """
CREATE TABLE "the page" (
  tenant integer, code text COLLATE "C", body text, lang text, payload jsonb, kind text,
  PRIMARY KEY (tenant, code)
) PARTITION BY LIST (tenant);
CREATE TABLE page_1 PARTITION OF "the page" FOR VALUES IN (1);
CREATE TABLE page_2 PARTITION OF "the page" FOR VALUES IN (2);
INSERT INTO "the page" VALUES (1, 'a', 'cats'), (2, 'b', 'dogs')
"""

PAGES = IndexDefinition(
    "page_search",
    "public",
    "the page",
    key=(TypedColumn("tenant", "integer"), TypedColumn("code", "text")),
    text=(TextColumn("body", "A"), TextColumn("notes", "B", "payload ->> 'notes'", ("payload",))),
    filters=(TypedColumn("kind", "text"),),
    language_column="lang",
)

#: Another one in every respect, without expressions and filters.
OTHER = replace(
    PAGES,
    text=(TextColumn("payload", "C"), TextColumn("body", "D")),
    filters=(),
    language_column=None,
    language="german",
    chunking=Chunking(max_tokens=99, overlap=9),
)

PATIENCE = LockPatience()


def statements(steps: Sequence[Step]) -> list[str]:
    """Return the statements of steps, each of which is committed by itself."""
    return [statement for step in steps for statement in written(step, PATIENCE)]


def beginnings(steps: Sequence[Step], every: int = 1) -> range:
    """Return how many statements may have been run when an operation stops in its middle."""
    return range(1, len(statements(steps)), every)


CREATE = create_search_index(PAGES)
ALTER = alter_search_index(OTHER)
ALTER_BACK = alter_search_index(PAGES)
DROP = drop_search_index("page_search", "the page", "public")
SUSPEND = suspend_search_index("page_search", "the page", "public", filters=True)


@pytest.fixture
def db(installed: product.Connection) -> product.Connection:
    execute(installed, TABLE)
    return installed


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, list[CatalogueRow]]:
    """The catalogues after operations that were not disturbed, by name."""
    return {}


def differences(
    connection: product.Connection,
    known: dict[str, list[CatalogueRow]],
    name: str,
    *operations: Sequence[Step],
) -> list[CatalogueRow]:
    """Return what is not as these operations leave it, on a table without a search index."""
    found = catalogue(connection)
    if name not in known:
        execute_all(connection, DROP)
        for operation in operations:
            execute_all(connection, operation)
        known[name] = catalogue(connection)
    wanted = known[name]
    return [row for row in found if row not in wanted] + [row for row in wanted if row not in found]


def write(connection: product.Connection, number: int) -> None:
    """Write in every way; nothing of it may fail, whatever state the search index is in."""
    for statement in (
        "INSERT INTO \"the page\" VALUES (1, 'n{0}', 'new', 'de', '{{\"notes\": \"note\"}}')",
        "UPDATE \"the page\" SET body = 'newer' WHERE code = 'n{0}'",
        "UPDATE \"the page\" SET tenant = 2, code = 'm{0}' WHERE code = 'n{0}'",
        "DELETE FROM \"the page\" WHERE code = 'm{0}'",
        "TRUNCATE page_2",
        "INSERT INTO \"the page\" VALUES (2, 'b', 'dogs')",
    ):
        execute(connection, statement.format(number))


@pytest.mark.parametrize("count", beginnings(CREATE, every=2))
def test_create_again(
    db: product.Connection, undisturbed: dict[str, list[CatalogueRow]], count: int
) -> None:
    execute_all(db, statements(CREATE)[:count])
    write(db, count)
    execute_all(db, CREATE)
    assert fill(db, PAGES) > 0
    assert_documents_as_new(db, PAGES)
    assert differences(db, undisturbed, "created", CREATE) == []


def test_create_twice(db: product.Connection, undisturbed: dict[str, list[CatalogueRow]]) -> None:
    """Of an index that is at work: nothing of it is lost or done again."""
    create(db, PAGES, HASH_V1)
    drain(db, PAGES)
    held = contents(db, PAGES)
    execute_all(db, CREATE)
    assert drain(db, PAGES).documents == 0
    assert contents(db, PAGES) == held
    execute_all(db, DROP)
    for statement in statements(CREATE):
        execute_all(db, [statement, statement])
    assert differences(db, undisturbed, "created", CREATE) == []


@pytest.mark.parametrize("count", beginnings(ALTER))
def test_alter_again(
    db: product.Connection, undisturbed: dict[str, list[CatalogueRow]], count: int
) -> None:
    """Or back to what it was before, as when the migration is given up."""
    create(db, PAGES)
    fill(db, PAGES)
    execute_all(db, statements(ALTER)[:count])
    write(db, count)
    execute_all(db, ALTER_BACK if count % 2 else ALTER)
    fill(db, PAGES if count % 2 else OTHER)
    assert_documents_as_new(db, PAGES if count % 2 else OTHER)
    if count % 2:
        assert differences(db, undisturbed, "created", CREATE) == []
    else:
        assert differences(db, undisturbed, "altered", CREATE, ALTER) == []


@pytest.mark.parametrize("count", beginnings(ALTER_BACK, every=3))
def test_alter_back_again(
    db: product.Connection, undisturbed: dict[str, list[CatalogueRow]], count: int
) -> None:
    create(db, OTHER)
    fill(db, OTHER)
    execute_all(db, statements(ALTER_BACK)[:count])
    write(db, count)
    execute_all(db, ALTER_BACK)
    fill(db, PAGES)
    assert_documents_as_new(db, PAGES)
    assert differences(db, undisturbed, "created", CREATE) == []


@pytest.mark.parametrize("count", beginnings(DROP))
def test_drop_again(
    db: product.Connection, undisturbed: dict[str, list[CatalogueRow]], count: int
) -> None:
    nothing = catalogue(db)
    create(db, PAGES, HASH_V1)
    fill(db, PAGES)
    execute_all(db, statements(DROP)[:count])
    write(db, count)
    execute_all(db, DROP)
    assert catalogue(db) == nothing
    execute_all(db, DROP)
    execute_all(db, CREATE)
    fill(db, PAGES)
    assert_documents_as_new(db, PAGES)


@pytest.mark.parametrize("count", beginnings(DROP, every=2))
def test_a_drop_that_is_given_up(
    db: product.Connection, undisturbed: dict[str, list[CatalogueRow]], count: int
) -> None:
    """The search index is created again, over what is left of it."""
    create(db, PAGES)
    fill(db, PAGES)
    execute(db, "UPDATE pgsearch.search_index SET filled_at = now()")
    execute_all(db, statements(DROP)[:count])
    write(db, count)
    execute_all(db, CREATE)
    assert execute(db, "SELECT capturing, filled_at FROM pgsearch.search_index") == [(True, None)]
    fill(db, PAGES)
    assert_documents_as_new(db, PAGES)
    assert differences(db, undisturbed, "created", CREATE) == []


@pytest.mark.parametrize("count", range(1, len(statements(SUSPEND)) + 1))
def test_suspend_again(
    db: product.Connection, undisturbed: dict[str, list[CatalogueRow]], count: int
) -> None:
    """Or altered without having been suspended wholly."""
    create(db, PAGES, HASH_V1)
    drain(db, PAGES)
    execute_all(db, statements(SUSPEND)[:count])
    write(db, count)
    if count % 2:
        execute_all(db, SUSPEND)
        write(db, 99)
    execute(db, "INSERT INTO \"the page\" VALUES (1, 'late', 'birds')")
    execute_all(db, ALTER_BACK)
    drain(db, PAGES)
    assert len(assert_documents_as_new(db, PAGES)) == 3


def test_install_again(database: str) -> None:
    """The steps that bring a schema of version 1 up to date, and that of a new database."""
    from pgsearch import resources

    with product.connect(database) as db:
        execute_all(db, install())
        wanted = catalogue(db)
        execute_all(db, install())
        assert catalogue(db) == wanted
        execute(db, "DROP SCHEMA pgsearch CASCADE")
        execute(db, resources.sql("install/v1.sql"))
        upgrade = statements(install(2))
        for count in range(1, len(upgrade) + 1):
            execute_all(db, upgrade[:count])
        assert catalogue(db) == wanted
