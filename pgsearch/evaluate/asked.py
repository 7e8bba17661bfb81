"""What embeddings are compared by: queries, and judgements of them where there are any."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pgsearch import resources
from pgsearch.errors import DatabaseError, Error, ObjectMissing
from pgsearch.evaluate.collection import read_judged

if TYPE_CHECKING:
    from pgsearch.database import Connection
    from pgsearch.registry import RegisteredIndex

#: A document's key, its columns as text.
Key = tuple[str, ...]


@dataclass(frozen=True)
class Asked:
    """Queries, and which documents answer them.

    Args:
        queries: Each once.
        judgements: By query: grades by the documents' keys. Empty without judgements.
    """

    queries: tuple[str, ...]
    judgements: dict[str, dict[Key, int]] = field(default_factory=dict)


def read_queries(path: Path) -> Asked:
    """Read queries, one per line; blank lines do not count.

    Raises:
        Error: The file cannot be read, or there is no query in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Error(
            f"{path} cannot be read: {error}.", hint="Write one query per line, in UTF-8."
        ) from error
    return Asked(_some(filter(None, map(str.strip, lines)), str(path)))


def read_folder(folder: Path, index: RegisteredIndex) -> Asked:
    """Read judged queries of a folder in BEIR's layout; its document ids are the table's keys.

    Raises:
        Error: A file is missing or malformed, or the table's key has several columns.
    """
    if len(index.definition.key) > 1:
        raise Error(
            f"The key of {index.name} has {len(index.definition.key)} columns, and {folder} names "
            "documents by one.",
            hint="Put the judgements into a table: --judgements-table.",
        )
    queries, judged = read_judged(folder)
    judgements: dict[str, dict[Key, int]] = {
        queries[query]: {(document,): grade for document, grade in grades.items()}
        for query, grades in judged.items()
        if any(grade > 0 for grade in grades.values())
    }
    return Asked(_some(judgements, str(folder)), judgements)


def read_table(connection: Connection, table: str, index: RegisteredIndex) -> Asked:
    """Read judged queries of a table: `query`, `grade`, and the key columns of the source.

    Args:
        connection: A connection.
        table: The table, with or without its schema.
        index: The search index.

    Raises:
        ObjectMissing: There is no such table, or it lacks a column.
        Error: No query in it has a relevant document.
    """
    import psycopg
    from psycopg.sql import SQL, Identifier

    key = [column.name for column in index.definition.key]
    columns = SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in key)
    statement = SQL("SELECT query::text, grade::integer, {} FROM {}").format(
        columns, Identifier(*table.split(".", 1))
    )
    try:
        rows = connection.execute(statement).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise ObjectMissing(
            f"The judgements of {table} cannot be read: {error.diag.message_primary}.",
            hint=f"It needs the columns query, grade and {', '.join(key)}.",
        ) from error
    judgements: dict[str, dict[Key, int]] = {}
    for query, grade, *document in rows:
        judgements.setdefault(query, {})[tuple(document)] = grade
    relevant = {q: grades for q, grades in judgements.items() if max(grades.values()) > 0}
    return Asked(_some(relevant, table), relevant)


def read_log(
    connection: Connection, index: RegisteredIndex, limit: int, *, is_judged: bool = False
) -> Asked:
    """Read the queries that were logged last.

    Args:
        connection: A connection of a role that may read the log.
        index: The search index.
        limit: How many queries at most.
        is_judged: Whether outcomes judge: a document whose values sum up to more than 0 answers
            its query. Then only queries with such a document are asked.

    Raises:
        DatabaseError: The role may not read the log.
        Error: No such query was logged.
    """
    import psycopg

    statement = resources.sql("evaluate/logged.sql").encode()
    try:
        rows = connection.execute(statement, {"id": index.id, "limit": limit}).fetchall()
    except psycopg.errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"The searches that were logged cannot be read: {error.diag.message_primary}.",
            hint="Connect as the owner of the schema pgsearch, or as a member of that role.",
        ) from error
    judgements: dict[str, dict[Key, int]] = {}
    for query, document, value in rows:
        grades = judgements.setdefault(query, {})
        if document is not None:
            parts = document if isinstance(document, list) else [document]
            grades[tuple(map(str, parts))] = int(value > 0)
    where = f"the log of {index.name}"
    if not is_judged:
        return Asked(_some(judgements, where))
    chosen = {query: grades for query, grades in judgements.items() if any(grades.values())}
    return Asked(_some(chosen, where + " with a document that was chosen"), chosen)


def _some(queries: Iterable[str], where: str) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(queries))
    if not found:
        raise Error(f"There is no query in {where} to compare by.", hint="A few hundred are good.")
    return found
