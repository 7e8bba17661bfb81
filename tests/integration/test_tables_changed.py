"""Tables that change after their search index was made: renamed, moved, with columns dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.definition import Chunking, IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import alter_search_index, suspend_search_index
from tests.plugins.search import HASH_V1, catalogue, create, drop, execute_all
from tests.plugins.tables import (
    Contents,
    assert_documents_as_new,
    contents,
    contents_of_a_new_one,
    documents,
    drain,
    execute,
    fill,
    search,
)

TABLE = """
CREATE TABLE article (
  junk integer, id integer, title text, lang text, payload jsonb, tenant_id integer,
  views integer NOT NULL DEFAULT 0,
  PRIMARY KEY (id) DEFERRABLE
)
"""

DEFINITION = IndexDefinition(
    "article_search",
    "public",
    "article",
    key=(TypedColumn("id", "integer"),),
    text=(TextColumn("title", "A"), TextColumn("notes", "B", "payload ->> 'notes'", ("payload",))),
    filters=(TypedColumn("tenant_id", "integer"),),
    language_column="lang",
    chunking=Chunking(heading="title"),
)

#: What may happen to a table, and what it and its columns are called then.
CHANGES: dict[str, tuple[Sequence[str], dict[str, str]]] = {
    "nothing": ([], {}),
    "the table is renamed": (
        ['ALTER TABLE article RENAME TO "A {story}"'],
        {"article": '"A {story}"'},
    ),
    "its place is taken": (
        [
            "ALTER TABLE article RENAME TO story",
            "CREATE TABLE article (id integer PRIMARY KEY, title integer)",
            "INSERT INTO article VALUES (1, 1), (77, 1)",
        ],
        {"article": "story"},
    ),
    "the table is moved": (
        ['CREATE SCHEMA "o\'ther"', 'ALTER TABLE article SET SCHEMA "o\'ther"'],
        {"article": '"o\'ther".article'},
    ),
    "columns are renamed": (
        [
            f"ALTER TABLE article RENAME COLUMN {column} TO {new}"
            for column, new in [
                ("id", "number"),
                ("title", '"The Title"'),
                ("lang", "language"),
                ("payload", "data"),
                ("tenant_id", "customer"),
            ]
        ],
        {
            "id": "number",
            "title": '"The Title"',
            "lang": "language",
            "payload": "data",
            "tenant_id": "customer",
        },
    ),
    "columns change names": (
        [
            "ALTER TABLE article RENAME COLUMN title TO x",
            "ALTER TABLE article RENAME COLUMN lang TO title",
            "ALTER TABLE article RENAME COLUMN x TO lang",
            "ALTER TABLE article RENAME COLUMN id TO x",
            "ALTER TABLE article RENAME COLUMN tenant_id TO id",
            "ALTER TABLE article RENAME COLUMN x TO tenant_id",
        ],
        {"title": "lang", "lang": "title", "id": "tenant_id", "tenant_id": "id"},
    ),
    "other columns go and come": (
        [
            "ALTER TABLE article DROP COLUMN junk, DROP COLUMN views",
            "ALTER TABLE article ADD COLUMN views integer NOT NULL DEFAULT 0",
            "ALTER TABLE article ADD COLUMN note text",
        ],
        {},
    ),
    "other columns change their type": (
        ["ALTER TABLE article ALTER COLUMN junk TYPE text, ALTER COLUMN views TYPE numeric"],
        {},
    ),
}


class Changing:
    """The table `article`, whatever it and its columns are called now."""

    def __init__(self, connection: product.Connection) -> None:
        self.connection = connection
        self._names = {
            name: name for name in ("article", "id", "title", "lang", "payload", "tenant_id")
        }
        self.write(TABLE)
        self.write(
            "INSERT INTO {article} ({id}, {title}, {lang}, {payload}, {tenant_id}) VALUES"
            " (1, 'cats', NULL, '{{\"notes\": \"old birds\"}}', 7),"
            " (2, 'Katzen', 'german', NULL, 8)"
        )

    def change(self, name: str) -> None:
        statements, names = CHANGES[name]
        execute_all(self.connection, statements)
        self._names |= names

    def write(self, statement: str) -> None:
        execute(self.connection, statement.format(**self._names))

    def write_all(self) -> None:
        """Write in every way: in the end rows 1, 3 and 5 are there."""
        self.write(
            "INSERT INTO {article} ({id}, {title}, {lang}, {payload}, {tenant_id}) VALUES"
            " (3, 'dogs', 'en', '{{\"notes\": \"bark\"}}', 7), (4, 'birds', 'nonsense', NULL, 7)"
        )
        self.write("UPDATE {article} SET {title} = 'more cats' WHERE {id} = 1")
        self.write('UPDATE {article} SET {payload} = \'{{"notes": "new bees"}}\' WHERE {id} = 1')
        self.write("UPDATE {article} SET {lang} = 'de', {tenant_id} = 9 WHERE {id} = 4")
        self.write("UPDATE {article} SET {id} = 7 - {id} WHERE {id} IN (3, 4)")
        self.write("UPDATE {article} SET {id} = 5 WHERE {id} = 4")
        self.write("DELETE FROM {article} WHERE {id} = 2")


#: What the search index holds after `Changing.write_all`.
WRITTEN = Contents(
    [
        ("1", "'bee':4B 'cat':2A 'new':3B", 4, False),
        ("3", "'birds':1A", 1, False),
        ("5", "'bark':2B 'dog':1A", 2, False),
    ],
    [],
)


@pytest.fixture
def changing(installed: product.Connection) -> Changing:
    return Changing(installed)


def assert_written(connection: product.Connection) -> None:
    found = documents(connection, DEFINITION)
    assert [row[0] for row in found] == ["1", "3", "5"]
    assert [row[1].replace(" 'more':1A", "").replace("bird'", "birds'") for row in found] == [
        row[1] for row in WRITTEN.documents
    ]
    assert search(connection, DEFINITION, "bees") == {1}
    assert search(connection, DEFINITION, "dog cat", tenant_id=7) == {1, 5}
    assert search(connection, DEFINITION, "birds", tenant_id=9, query_language="de") == {3}
    assert search(connection, DEFINITION, "birds", tenant_id=7, query_language="de") == set()


@pytest.mark.parametrize("change", CHANGES)
def test_writes_and_searches_after_a_change(changing: Changing, change: str) -> None:
    create(changing.connection, DEFINITION, HASH_V1)
    drain(changing.connection, DEFINITION)
    changing.change(change)
    changing.write_all()
    drain(changing.connection, DEFINITION)
    assert_written(changing.connection)
    chunks = contents(changing.connection, DEFINITION).chunks
    assert [row[:3] for row in chunks] == [
        ("1", 0, "more cats\n\nnew bees"),
        ("3", 0, "birds"),
        ("5", 0, "dogs\n\nbark"),
    ]
    changing.write("TRUNCATE {article}")
    assert documents(changing.connection, DEFINITION) == []
    changing.write("INSERT INTO {article} ({id}, {title}) VALUES (6, 'last cats')")
    assert search(changing.connection, DEFINITION, "cats") == {6}


@pytest.mark.parametrize("change", CHANGES)
def test_a_first_fill_after_a_change(changing: Changing, change: str) -> None:
    create(changing.connection, DEFINITION)
    changing.change(change)
    changing.write_all()
    assert fill(changing.connection, DEFINITION, batch=1) == 0
    execute(changing.connection, "TRUNCATE article_search_document")
    assert fill(changing.connection, DEFINITION, batch=1) == 3
    assert_written(changing.connection)


@pytest.mark.parametrize("change", CHANGES)
def test_a_drop_after_a_change(changing: Changing, change: str) -> None:
    before = [row for row in catalogue(changing.connection) if "article" not in row[1]]
    create(changing.connection, DEFINITION)
    changing.change(change)
    drop(changing.connection, DEFINITION)
    after = {row[1] for row in catalogue(changing.connection)} - {row[1] for row in before}
    assert not [name for name in after if "search" in name]
    changing.write_all()


# Columns that are read


@pytest.mark.parametrize("column", ["id", "title", "lang", "payload", "tenant_id"])
def test_a_column_that_is_read_cannot_be_dropped_or_changed(
    changing: Changing, column: str
) -> None:
    create(changing.connection, DEFINITION)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist) as caught:
        execute(changing.connection, f"ALTER TABLE article DROP COLUMN {column}")
    assert "article_search_" in (caught.value.diag.message_detail or "")
    type_ = "json" if column == "payload" else "varchar(99)"
    with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
        execute(
            changing.connection,
            f"ALTER TABLE article ALTER COLUMN {column} TYPE {type_} USING NULL::{type_}",
        )
    assert "article_search_" in f"{refused.value} {refused.value.diag.message_detail}"
    changing.write_all()
    assert_written(changing.connection)


@pytest.mark.parametrize("column", ["title", "lang", "payload"])
def test_a_column_dropped_with_cascade(changing: Changing, column: str) -> None:
    """Nothing is captured any more, and no write fails."""
    create(changing.connection, DEFINITION)
    fill(changing.connection, DEFINITION)
    before = documents(changing.connection, DEFINITION)
    execute(changing.connection, f"ALTER TABLE article DROP COLUMN {column} CASCADE")
    ((table, waiting),) = execute(
        changing.connection,
        "SELECT pgsearch.source_table('public', 'article_search'), count(*)"
        " FROM article_search_queue",
    )
    assert table is None
    for statement in (
        "INSERT INTO article (id, tenant_id) VALUES (3, 9)",
        "UPDATE article SET tenant_id = 10",
        "UPDATE article SET id = id + 10",
        "DELETE FROM article WHERE id = 11",
        "TRUNCATE article",
        "INSERT INTO article (id) VALUES (3)",
    ):
        execute(changing.connection, statement)
    assert documents(changing.connection, DEFINITION) == before
    assert execute(changing.connection, "SELECT count(*) FROM article_search_queue") == [(waiting,)]
    assert search(changing.connection, DEFINITION, "cats") == {1}
    definition = replace(
        DEFINITION,
        text=tuple(text for text in DEFINITION.text if column not in text.read)
        or (TextColumn("id", "A"),),
        language_column=None if column == "lang" else "lang",
        chunking=Chunking(),
    )
    # Without being told to, everything is done again: what was written meanwhile was not captured.
    execute_all(changing.connection, alter_search_index(definition))
    assert execute(
        changing.connection, "SELECT refill_documents, refill_chunks FROM pgsearch.search_index"
    ) == [(True, True)]
    fill(changing.connection, definition)
    assert_documents_as_new(changing.connection, definition)


def test_a_filter_dropped_with_cascade(changing: Changing) -> None:
    """Captures go on; only searches that name the filter fail, until it is taken out."""
    create(changing.connection, DEFINITION)
    fill(changing.connection, DEFINITION)
    execute(changing.connection, "ALTER TABLE article DROP COLUMN tenant_id CASCADE")
    changing.write("UPDATE article SET title = 'dogs' WHERE id = 1")
    assert search(changing.connection, DEFINITION, "dogs") == {1}
    with pytest.raises(psycopg.errors.UndefinedTable, match="article_search_filter"):
        search(changing.connection, DEFINITION, "dogs", tenant_id=7)
    definition = replace(DEFINITION, filters=())
    execute_all(changing.connection, alter_search_index(definition))
    assert search(changing.connection, definition, "dogs") == {1}


def test_a_table_that_is_dropped(changing: Changing) -> None:
    create(changing.connection, DEFINITION)
    with pytest.raises(psycopg.errors.DependentObjectsStillExist, match="cannot drop table"):
        execute(changing.connection, "DROP TABLE article")
    execute(changing.connection, "DROP TABLE article CASCADE")
    drop(changing.connection, DEFINITION)
    names = [row[1] for row in catalogue(changing.connection)]
    assert not [name for name in names if "article" in name]


# Types that change


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "no rows"])
@pytest.mark.parametrize(
    ("column", "type_", "using"),
    [
        ("title", "varchar(200)", "upper(title)"),
        ("title", "jsonb", "to_jsonb(title)"),
        ("payload", "json", "payload::json"),
        ("lang", "regconfig", "CASE WHEN lang IS NULL THEN 'simple' ELSE lang END::regconfig"),
        ("tenant_id", "bigint", "tenant_id + 1"),
    ],
)
def test_a_type_that_changes(
    changing: Changing, column: str, type_: str, using: str, rows: bool
) -> None:
    """In one migration or in two, with writes in between."""
    connection = changing.connection
    create(connection, DEFINITION, HASH_V1)
    drain(connection, DEFINITION)
    is_filter = column == "tenant_id"
    definition = DEFINITION
    if is_filter:
        definition = replace(definition, filters=(TypedColumn("tenant_id", "bigint"),))
    execute_all(
        connection, suspend_search_index("article_search", "article", "public", filters=is_filter)
    )
    assert search(connection, DEFINITION, "cats") == {1}
    execute(connection, f"ALTER TABLE article ALTER COLUMN {column} TYPE {type_} USING {using}")
    if rows:
        changing.write("INSERT INTO {article} (id, tenant_id) VALUES (3, 9)")
        changing.write("UPDATE {article} SET id = 4 WHERE id = 1")
        changing.write("DELETE FROM {article} WHERE id = 2")
    execute_all(connection, alter_search_index(definition, refill=True))
    drain(connection, definition)
    assert contents(connection, definition) == contents_of_a_new_one(
        connection, definition, HASH_V1
    )
    changing.write(
        'INSERT INTO {article} (id, payload, tenant_id) VALUES (9, \'{{"notes": "owls"}}\', 9)'
    )
    assert search(connection, definition, "owls", tenant_id=9) == {9}


def test_a_key_whose_type_changes(changing: Changing) -> None:
    """What is kept beside the table cannot follow; that is said before anything is altered."""
    connection = changing.connection
    create(connection, DEFINITION)
    execute_all(
        connection, suspend_search_index("article_search", "article", "public", filters=True)
    )
    execute(connection, "ALTER TABLE article ALTER COLUMN id TYPE bigint")
    definition = replace(DEFINITION, key=(TypedColumn("id", "bigint"),))
    with pytest.raises(psycopg.errors.DatatypeMismatch, match=r"key column id .* is bigint, but"):
        execute_all(connection, alter_search_index(definition, refill=True))
    changing.write("INSERT INTO {article} (id) VALUES (9999999999)")
    drop(connection, DEFINITION)
    create(connection, definition)
    assert fill(connection, definition) == 2
