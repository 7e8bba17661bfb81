"""Texts that are SQL expressions: over JSON, arrays, functions; those that fail; generated ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from tests.plugins.search import HASH_V1, create, execute_all
from tests.plugins.tables import (
    assert_documents_as_new,
    contents,
    documents,
    drain,
    execute,
    fill,
    search,
)

TABLE = """
CREATE TABLE product (
  id integer PRIMARY KEY, name text, payload jsonb, tags text[], price numeric, "source" text,
  item text, views integer NOT NULL DEFAULT 0
)
"""


def index_of(*texts: TextColumn) -> IndexDefinition:
    return IndexDefinition(
        "product_search", "public", "product", key=(TypedColumn("id", "integer"),), text=texts
    )


def expression(sql: str, *columns: str) -> TextColumn:
    return TextColumn("made up", "B", sql, columns)


@pytest.fixture
def db(installed: product.Connection) -> product.Connection:
    execute(installed, TABLE)
    return installed


@contextmanager
def warnings(connection: product.Connection) -> Iterator[list[str]]:
    """Yield the warnings that the server sends meanwhile."""
    told: list[str] = []

    def note(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            told.append(diagnostic.message_primary or "")

    connection.add_notice_handler(note)
    yield told
    connection.remove_notice_handler(note)


EXPRESSIONS = {
    "payload ->> 'notes'": (["payload"], ["note"]),
    "payload #>> '{parts,1,name}'": (["payload"], ["bolt"]),
    "pgsearch.json_text(payload)": (["payload"], ["bolt", "note", "nut"]),
    "pgsearch.json_text(payload -> 'parts')": (["payload"], ["bolt", "nut"]),
    "array_to_string(tags, ' ')": (["tags"], ["green", "red"]),
    "tags": (["tags"], ["green", "red"]),
    "tags[1] || ' ' || name": (["tags", "name"], ["name", "red"]),
    "concat_ws(E'\\n', name, payload ->> 'missing', tags[2])": (
        ["name", "payload", "tags"],
        ["green", "name"],
    ),
    "CASE WHEN price > 5 THEN 'expensive' ELSE name END": (["price", "name"], ["expens"]),
    "price": (["price"], ["9.50"]),
    "(SELECT string_agg(upper(tag), ' ') FROM unnest(tags) AS tag)": (["tags"], ["green", "red"]),
    "source || ' ' || item": (["source", "item"], ["item", "sourc"]),
    'product.source || "product"."item"': (["source", "item"], ["sourceitem"]),
    "shout(name)": (["name"], ["name", "shout"]),
    "name -- with a comment; and 'quotes' %s {0} $1": (["name"], ["name"]),
}


@pytest.mark.parametrize("sql", EXPRESSIONS)
def test_expressions(db: product.Connection, sql: str) -> None:
    """Their texts are what the table would show in a query, filled and captured alike."""
    columns, words = EXPRESSIONS[sql]
    execute_all(
        db,
        [
            "CREATE FUNCTION loud(what text) RETURNS text LANGUAGE sql RETURN upper(what)",
            # Not even this, which looks for another function along the search path, fails.
            (
                "CREATE FUNCTION shout(what text) RETURNS text LANGUAGE plpgsql IMMUTABLE"
                " AS $$ BEGIN RETURN loud(what) || ' shout'; END $$"
            ),
        ],
    )
    values = (
        'VALUES ({}, \'Name\', \'{{"notes": "note", "parts": [{{"name": "nut"}},'
        " {{\"name\": \"bolt\"}}]}}', '{{red,green}}', 9.50, 'source', 'item')"
    )
    execute(db, "INSERT INTO product " + values.format(1))
    definition = index_of(expression(sql, *columns))
    create(db, definition)
    with warnings(db) as told:
        assert fill(db, definition) == 1
        execute(db, "INSERT INTO product " + values.format(2))
        execute(db, "UPDATE product SET id = 3 WHERE id = 2")
        found = assert_documents_as_new(db, definition)
    assert told == []
    assert [row[0] for row in found] == ["1", "3"]
    ((one, two),) = execute(
        db,
        "SELECT array_agg(tsvector_to_array(tsv)::text ORDER BY id), count(DISTINCT tsv)"
        " FROM product_search_document",
    )
    assert (one[0], two) == ("{" + ",".join(words) + "}", 1)


def test_an_expression_that_fails_on_some_rows(db: product.Connection) -> None:
    """The write succeeds with a warning; the text is absent, the others are there."""
    execute(db, "INSERT INTO product (id, name, price) VALUES (1, 'zero', 0), (2, 'one', 1)")
    definition = index_of(TextColumn("name", "A"), expression("'per ' || 10 / price", "price"))
    create(db, definition, HASH_V1)
    warning = "pgsearch: expression 1 of search index product_search failed: division by zero"
    with warnings(db) as told:
        fill(db, definition)
        assert told == [warning]
        execute(db, "INSERT INTO product (id, name, price) VALUES (3, 'nothing', 0), (4, 'two', 2)")
        assert told == [warning] * 2
        execute(db, "DELETE FROM product WHERE id = 3")
        assert told == [warning] * 2
        execute(db, "UPDATE product SET price = 0 WHERE id = 4")
        execute(db, "UPDATE product SET price = 5 WHERE id = 1")
    assert [row[:2] for row in documents(db, definition)] == [
        ("1", "'2.0000000000000000':3B 'per':2B 'zero':1A"),
        ("2", "'10.0000000000000000':3B 'one':1A 'per':2B"),
        ("4", "'two':1A"),
    ]
    drain(db, definition)
    assert [row[2] for row in contents(db, definition).chunks] == [
        "zero\n\nper 2.0000000000000000",
        "one\n\nper 10.0000000000000000",
        "two",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        """UPDATE product SET payload = payload || '{"views": 2}'""",
        "UPDATE product SET payload = payload - 'other'",
        "UPDATE product SET price = 12",
        "UPDATE product SET tags = tags || 'new'::text",
        "UPDATE product SET payload = payload, name = name",
    ],
)
def test_a_change_that_the_expression_does_not_see(db: product.Connection, statement: str) -> None:
    """Of a document that holds more, or of a value that comes out as before."""
    definition = index_of(
        TextColumn("name", "A"),
        expression("payload ->> 'notes'", "payload"),
        TextColumn("tag", "C", "tags[1]", ("tags",)),
        TextColumn("class", "D", "CASE WHEN price > 5 THEN 'expensive' END", ("price",)),
    )
    create(db, definition)
    execute(
        db,
        "INSERT INTO product (id, name, payload, tags, price)"
        """ VALUES (1, 'Name', '{"notes": "cats", "other": 1}', '{red}', 9)""",
    )
    physical = "SELECT ctid, xmin::text, * FROM product_search_document"
    before = execute(db, physical)
    execute(db, "DELETE FROM product_search_queue")
    execute(db, statement)
    assert execute(db, physical) == before
    assert execute(db, "SELECT count(*) FROM product_search_queue") == [(0,)]


def test_a_change_of_other_columns_does_not_even_call_the_trigger(db: product.Connection) -> None:
    definition = index_of(TextColumn("name", "A"), expression("payload ->> 'a'", "payload"))
    create(db, definition)
    execute(db, "INSERT INTO product (id, name, payload) VALUES (1, 'Name', '{\"a\": 1}')")
    calls = (
        "SELECT coalesce(sum(calls), 0)::integer FROM pg_stat_xact_user_functions"
        " WHERE funcname = 'product_search_capture'"
    )
    with db.transaction():
        execute(db, "SET LOCAL track_functions = 'all'")
        execute(db, "UPDATE product SET views = views + 1, tags = '{a}', \"source\" = 'b'")
        execute(db, "UPDATE product SET name = name, payload = payload")
        assert execute(db, calls) == [(0,)]
        execute(db, 'UPDATE product SET payload = \'{"a": 1, "b": 2}\'')
        assert execute(db, calls) == [(1,)]


def test_columns_that_an_expression_does_not_read_may_change(db: product.Connection) -> None:
    create(db, index_of(expression("upper(name)", "name")))
    execute(db, "ALTER TABLE product DROP COLUMN payload, ALTER COLUMN tags TYPE varchar(9)[]")
    execute(db, "ALTER TABLE product ALTER COLUMN item TYPE varchar(9), ADD COLUMN extra text")
    execute(db, "INSERT INTO product (id, name, extra) VALUES (1, 'cats', 'dogs')")
    assert search(db, index_of(expression("upper(name)", "name")), "cats") == {1}


def test_a_column_that_is_not_said_to_be_read(db: product.Connection) -> None:
    """Its changes would not be seen; nor is the name taken for anything else."""
    for sql in ("name || tags[1]", "name || item", "name || source"):
        with pytest.raises(psycopg.errors.UndefinedColumn), db.transaction():
            create(db, index_of(expression(sql, "name")))


def test_an_expression_that_makes_no_sense(db: product.Connection) -> None:
    before = execute(db, "SELECT count(*) FROM pg_class")
    for sql in ("no_such(name)", "name ->> 'a'", "name)", "(name", "name; DROP TABLE product"):
        with pytest.raises(psycopg.Error), db.transaction():
            create(db, index_of(expression(sql, "name")))
    assert execute(db, "SELECT count(*) FROM pg_class") == before


# Generated columns


def test_a_stored_generated_column(db: product.Connection) -> None:
    execute(
        db,
        "ALTER TABLE product ADD COLUMN title text"
        " GENERATED ALWAYS AS (name || ' of ' || item) STORED",
    )
    definition = index_of(TextColumn("title", "A"), expression("lower(title)", "title"))
    execute(db, "INSERT INTO product (id, name, item) VALUES (1, 'cats', 'legend')")
    create(db, definition)
    fill(db, definition)
    execute(db, "INSERT INTO product (id, name, item) VALUES (2, 'dogs', 'war')")
    execute(db, "UPDATE product SET item = 'peace' WHERE id = 2")
    assert [row[1] for row in assert_documents_as_new(db, definition)] == [
        "'cat':1A,4B 'legend':3A,6B",
        "'dog':1A,4B 'peac':3A,6B",
    ]
    execute(db, "UPDATE product SET views = 7")
    assert execute(db, "SELECT count(*) FROM product_search_queue") == [(3,)]


@pytest.mark.parametrize(
    "text",
    [TextColumn("title", "A"), expression("upper(title)", "title")],
    ids=["column", "expression"],
)
def test_a_virtual_column(db: product.Connection, text: TextColumn) -> None:
    if db.info.server_version < 180000:
        with pytest.raises(psycopg.errors.SyntaxError):
            execute(db, "CREATE TABLE v (a text, b text GENERATED ALWAYS AS (a) VIRTUAL)")
        return
    execute(
        db,
        "ALTER TABLE product ADD COLUMN title text"
        " GENERATED ALWAYS AS (name || ' \"of\" ' || item) VIRTUAL",
    )
    refused = pytest.raises(psycopg.errors.FeatureNotSupported, match=r"title .* is virtual")
    with refused as caught:
        create(db, index_of(text))
    hint = caught.value.diag.message_hint or ""
    assert hint.startswith("Make it STORED, or declare what it is made of: Expression(")
    assert "name" in hint
    execute(db, "ALTER TABLE product RENAME COLUMN title TO extra")
    # As a filter it is read by the search itself, and may be virtual.
    definition = IndexDefinition(
        "product_search",
        "public",
        "product",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("made", "A", "name || ' of ' || item", ("name", "item")),),
        filters=(TypedColumn("extra", "text"),),
    )
    create(db, definition)
    execute(db, "INSERT INTO product (id, name, item) VALUES (1, 'cats', 'legend')")
    assert search(db, definition, "legends", extra='cats "of" legend') == {1}
