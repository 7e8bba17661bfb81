"""Rows on which a model failed for good, and their second chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed

from pgsearch import database, registry, resources
from pgsearch.errors import DatabaseError
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.queue import Key, key_arrays
from pgsearch.sync.statements import Statements


@dataclass(frozen=True)
class Retried:
    """Parked rows of one search index that are due again.

    Args:
        search_index: Its name.
        rows: How many they are.
        errors: What the model had said of them, with how many rows each, the commonest first.
    """

    search_index: str
    rows: int
    errors: tuple[tuple[str, int], ...]


def retry(url: str, *indexes: str, keys: Sequence[Key] | None = None) -> tuple[Retried, ...]:
    """Make parked rows due again, as if nothing had been tried; a worker does the rest.

    Args:
        url: The database.
        *indexes: Names of search indexes; all of them if none is named.
        keys: Only these rows of the one search index that is named: their keys as PostgreSQL
            writes them, a text for each column.

    Raises:
        DatabaseError: The database cannot be reached, row-level security hides rows from the role,
            or a key has not the columns that it should have.
        ValueError: Keys are given for several search indexes.
    """
    if keys is not None and len(indexes) != 1:
        raise ValueError("retry(keys=…) needs the one search index to which they belong.")
    with database.connect(url, row_security=True) as connection:
        connection.prepare_threshold = None
        found = registry.read(connection, *indexes)
        registry.require_sight(connection, found)
        for index in found:
            _check(index, keys or ())
        if keys is not None and not keys:
            return tuple(Retried(index.name, 0, ()) for index in found)
        with database.transaction(connection):
            return tuple(
                _retried(
                    index,
                    connection.execute(
                        RetryStatements(index.definition).retry(by_key=bool(keys)),
                        key_arrays(keys or ()),
                    ).fetchall(),
                )
                for index in found
            )


def _check(index: RegisteredIndex, keys: Sequence[Key]) -> None:
    names = [column.name for column in index.definition.key]
    for key in keys:
        if len(key) != len(names):
            raise DatabaseError(
                f"A key of search index {index.name} has the columns {', '.join(names)}; "
                f"{key!r} has {len(key)} values.",
                hint="Give a value for each of them, in this order.",
            )


def _retried(index: RegisteredIndex, errors: Sequence[tuple[str, int]]) -> Retried:
    return Retried(index.name, sum(rows for _, rows in errors), tuple(errors))


class RetryStatements(Statements):
    """SQL for the parked rows of one search index."""

    def retry(self, *, by_key: bool) -> Composed:
        """Make parked rows due again: keys, if it goes by them → error, count."""
        wanted: Composable = SQL("true")
        if by_key:
            given = "({queue_key}) IN (SELECT {key} FROM unnest({key_arrays}) AS given ({key}))"
            wanted = SQL(given).format(**self._holes)
        return SQL(resources.sql("sync/retry.sql")).format(**self._holes, is_wanted=wanted)
