"""What is left in the queues when a worker returns, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.report import Left

#: No more rows of a queue are counted: it may be as long as a table.
COUNTED_AT_MOST: Final = 100_000


def read_left(connection: Connection, indexes: Iterable[RegisteredIndex]) -> Left:
    """Return what search indexes have left in their queues, together.

    Args:
        connection: A connection that is in no transaction.
        indexes: The search indexes, as the registry has them now.
    """
    left = Left()
    for index in indexes:
        queue = Identifier(index.definition.schema, index.definition.names.queue)
        query = SQL(resources.sql("sync/left.sql")).format(queue=queue)
        try:
            # A role's time limit shall not cost the report.
            with transaction(connection), connection.cursor(row_factory=dict_row) as cursor:
                row = cursor.execute(query, {"at_most": COUNTED_AT_MOST}).fetchone()
        except psycopg.errors.UndefinedTable:
            continue  # dropped meanwhile
        assert row is not None
        reading = () if index.filled else (index.name,)
        left = left.plus(Left(**row, reading=reading))
    return left
