"""The demo's rows in the table `document`: whose they are, loading them, putting them back."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from psycopg.rows import class_row
from psycopg.sql import SQL

from pgsearch import resources
from pgsearch.database import Connection, describe
from pgsearch.demo.corpus import Entry
from pgsearch.demo.edits import EDITS
from pgsearch.errors import DatabaseError


class Findable(NamedTuple):
    """By what keyword search finds the rows of `document`; all but `wordless` are counts.

    Attributes:
        rows: Rows of the table.
        documents: Rows that have a document in the search index.
        by_title: Rows that the words of their own title find.
        by_text: Of the `wordless`, rows that the first line of their text finds.
        wordless: Titles that have no word but stop words.
    """

    rows: int
    documents: int
    by_title: int
    by_text: int
    wordless: list[str]


def stage(connection: Connection, entries: Sequence[Entry]) -> None:
    """Lay the rows as they should be, and the demo's own edits, into a temporary table."""
    edited = {edit.title: edit.body for edit in EDITS}
    connection.execute(_sql("entries"))
    with connection.cursor().copy("COPY demo_entry FROM STDIN") as copy:
        for position, entry in enumerate(entries):
            text = edited.pop(entry.title, None)
            copy.write_row((position, entry.title, entry.body, entry.kind, entry.module, text))
        for title, text in edited.items():
            copy.write_row((None, title, None, None, None, text))
    connection.execute("ANALYZE demo_entry")


def require_own(connection: Connection, url: str, revisions: Sequence[str]) -> None:
    """Raise unless every row of `document` is the demo's; an absent table will be.

    Args:
        connection: The connection on which the rows are staged.
        url: Its URL, for messages.
        revisions: The revisions of Alembic that the database is at.

    Raises:
        DatabaseError: The table, or a row of it, is someone else's. It was not touched.
    """
    if _value(connection, SQL("SELECT to_regclass('document') IS NULL")):
        return
    if not revisions:
        raise DatabaseError(
            f"There is a table document in {describe(url)} that pgsearch's migrations did not "
            "make. The demo left it as it is.",
            hint="Name an empty database in DATABASE_URL.",
        )
    row = connection.execute(_sql("foreign")).fetchone()
    assert row is not None
    number, title = row
    if number:
        version = platform.python_version()
        raise DatabaseError(
            f"The table document in {describe(url)} holds rows that the demo does not know from "
            f"the documentation of Python {version}: {number:,}, the first is {title!r}. "
            "The demo left them as they are.",
            hint="Name an empty database in DATABASE_URL. If nobody needs these rows, "
            "TRUNCATE document; makes room for the demo's.",
        )


def load(connection: Connection, entries: Sequence[Entry]) -> int:
    """Bring the table to what is staged: by COPY if it is empty; return how many rows changed."""
    if count(connection) == 0:
        with connection.cursor() as cursor:
            with cursor.copy("COPY document (title, body, kind, module) FROM STDIN") as copy:
                for entry in entries:
                    copy.write_row((entry.title, entry.body, entry.kind, entry.module))
            return cursor.rowcount
    return restore(connection)


def restore(connection: Connection) -> int:
    """Undo the demo's own edits, whether of this run or of one that was cut short.

    Returns:
        How many rows changed.
    """
    with connection.transaction():
        steps = ("restore_updated", "restore_inserted", "restore_deleted")
        return sum(connection.execute(_sql(step)).rowcount for step in steps)


def findable(connection: Connection) -> Findable:
    """Return by what keyword search finds the rows, in one statement over all of them."""
    with connection.cursor(row_factory=class_row(Findable)) as cursor:
        found = cursor.execute(_sql("findable")).fetchone()
    assert found is not None
    return found


def count(connection: Connection) -> int:
    """Return how many rows the table has."""
    return _value(connection, SQL("SELECT count(*) FROM document"))


def newest_generation(connection: Connection) -> int:
    """Return the generation of the document that changed last."""
    return _value(connection, SQL("SELECT max(generation) FROM document_search_document"))


def embedded_since(connection: Connection, generation: int) -> int:
    """Return how many documents have a passage that is newer than a generation."""
    return _value(connection, _sql("embedded_since"), {"generation": generation})


def waiting(connection: Connection) -> int:
    """Return how many changes wait in the queue."""
    return _value(connection, SQL("SELECT count(*) FROM document_search_queue"))


def _sql(name: str) -> SQL:
    return SQL(resources.sql(f"demo/{name}.sql"))


def _value(connection: Connection, query: SQL, values: Mapping[str, object] | None = None) -> int:
    """Return the one number that a query gives."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])
