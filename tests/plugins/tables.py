"""Search indexes of any table, against one that is made for it today.

The measure is always the same: whatever was done to a table and its search index, they hold what a
search index would hold that was made for the table as it is now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from psycopg.sql import SQL, Composable, Composed, Identifier

from pgsearch.database import Connection
from pgsearch.declare import Embedding
from pgsearch.definition import IndexDefinition
from pgsearch.sync import Report, Worker
from tests.plugins.search import create, drop, execute_all
from tests.plugins.worker import url_of

Row = tuple[Any, ...]


class Contents(NamedTuple):
    """What a search index holds, without its generations."""

    documents: list[Row]
    chunks: list[Row]


def execute(connection: Connection, statement: str | Composed, *parameters: Any) -> list[Row]:
    """Execute a statement and return its rows."""
    text = statement.encode() if isinstance(statement, str) else statement
    cursor = connection.execute(text, parameters or None)
    return cursor.fetchall() if cursor.description else []


def fill(connection: Connection, definition: IndexDefinition, batch: int = 2) -> int:
    """Write the documents that are missing, a few keys at a time; return in how many ranges."""
    function = Identifier(definition.schema, definition.names.fill)
    last, ranges = None, 0
    while True:
        statement = SQL("SELECT last::text FROM {}(%s::jsonb, %s)").format(function)
        ((last,),) = execute(connection, statement, last, batch)
        if last is None:
            return ranges
        ranges += 1


def drain(connection: Connection, definition: IndexDefinition) -> Report:
    """Let a worker bring a search index up to date."""
    return Worker(url_of(connection), indexes=[f"{definition.schema}.{definition.name}"]).drain()


def contents(connection: Connection, definition: IndexDefinition) -> Contents:
    """Return what a search index holds; keys as text, in one order."""
    names = definition.names
    key = [SQL("{}::text").format(Identifier(column.name)) for column in definition.key]
    vectors = [
        SQL("{}::text").format(Identifier(name))
        for (name,) in execute(
            connection,
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass"
            " AND attname LIKE 'embedding\\_%%' AND NOT attisdropped ORDER BY attname",
            Identifier(definition.schema, names.chunk).as_string(None),
        )
    ]

    def rows(table: str, columns: Iterable[Composable]) -> list[Row]:
        statement = SQL("SELECT {} FROM {}").format(
            SQL(", ").join([*key, *columns]), Identifier(definition.schema, table)
        )
        return sorted(execute(connection, statement), key=repr)

    return Contents(
        rows(names.document, [SQL("tsv::text"), SQL("length"), SQL("truncated")]),
        rows(names.chunk, [SQL("ordinal"), SQL("content"), *vectors]),
    )


def documents(connection: Connection, definition: IndexDefinition) -> list[Row]:
    """Return the documents: key as text, tsvector, length, and whether it was cut."""
    return contents(connection, definition).documents


def contents_of_a_new_one(
    connection: Connection, definition: IndexDefinition, *embeddings: Embedding
) -> Contents:
    """Return what a search index holds that is made now: documents, and chunks if it has any."""
    twin = replace(definition, name="the_twin")
    create(connection, twin, *embeddings)
    if embeddings:
        drain(connection, twin)
    else:
        fill(connection, twin, batch=1000)
    found = contents(connection, twin)
    drop(connection, twin)
    return found


def assert_documents_as_new(connection: Connection, definition: IndexDefinition) -> list[Row]:
    """Compare documents with those of a search index that is made now, and return them."""
    found = documents(connection, definition)
    assert found == contents_of_a_new_one(connection, definition).documents
    return found


def search(
    connection: Connection, definition: IndexDefinition, query: str, **given: Any
) -> set[Any]:
    """Return the keys that a search finds: values, or tuples where the key has several columns.

    Args:
        connection: A connection.
        definition: The search index.
        query: What is asked.
        **given: More parameters of the search function, by name.
    """
    statement = SQL("SELECT {} FROM {}({})").format(
        SQL(", ").join(Identifier(column.name) for column in definition.key),
        Identifier(definition.schema, definition.name),
        SQL(", ").join([SQL("%s"), *(SQL("{} => %s").format(Identifier(name)) for name in given)]),
    )
    rows = execute(connection, statement, query, *given.values())
    return {row if len(row) > 1 else row[0] for row in rows}


def made(connection: Connection, definition: IndexDefinition, *statements: str) -> IndexDefinition:
    """Execute statements, create a search index and return its definition."""
    execute_all(connection, statements)
    create(connection, definition)
    return definition
