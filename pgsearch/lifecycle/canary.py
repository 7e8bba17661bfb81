"""A canary: a candidate that answers a share of the queries, and what came of it.

Which one answers is decided in SQL, by `pgsearch.embedding_for`, so that all applications agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import TYPE_CHECKING

from psycopg.rows import class_row

from pgsearch import resources
from pgsearch.lifecycle.replace import refusals

if TYPE_CHECKING:
    from pgsearch.database import Connection
    from pgsearch.registry import RegisteredIndex


@dataclass(frozen=True)
class Canary:
    """A candidate that answers a share of the queries.

    Args:
        embedding: Its name.
        share: The share of the queries, above 0 to 1.
        started_at: Since when it has answered.
    """

    embedding: str
    share: float
    started_at: datetime


@dataclass(frozen=True)
class Outcomes:
    """What logged searches of one embedding have come to.

    Args:
        embedding: Its name; None where keywords alone have answered.
        searches: How many were logged.
        queries: How many different ones.
        without_results: Searches that found nothing.
        with_outcome: Searches of which an outcome was noted.
        value: The sum of the outcomes' values.
        reciprocal_rank: Mean of 1 / rank of the best document that was chosen, 0 without one.
        p50_ms: The median of the times that were logged; None if none was.
        p95_ms: The same, which 5 % exceed.
    """

    embedding: str | None
    searches: int
    queries: int
    without_results: int
    with_outcome: int
    value: float
    reciprocal_rank: float
    p50_ms: float | None
    p95_ms: float | None


def start(connection: Connection, index: RegisteredIndex, name: str, share: float) -> None:
    """Let an embedding answer a share of the queries; called again, another share.

    Args:
        connection: An autocommit connection of the table's owner.
        index: The search index.
        name: The embedding, which is ready.
        share: Above 0, up to 1.

    Raises:
        LifecycleError: It is not ready, or it is the active one.
        DatabaseError: There is no such embedding, or somebody else changes the search index.
    """
    definition = index.definition
    with refusals(), connection.transaction():
        connection.execute(
            "SELECT pgsearch.start_canary(%s, %s, %s, %s)",
            [definition.schema, definition.name, name, share],
        )


def stop(connection: Connection, index: RegisteredIndex) -> bool:
    """Let the active embedding answer all queries; return False if it did already."""
    definition = index.definition
    with refusals(), connection.transaction():
        row = connection.execute(
            "SELECT pgsearch.stop_canary(%s, %s)", [definition.schema, definition.name]
        ).fetchone()
    return row == (True,)


def read(connection: Connection, index: RegisteredIndex) -> Canary | None:
    """Return the canary of a search index, if there is one."""
    with connection.cursor(row_factory=class_row(Canary)) as cursor:
        return cursor.execute(
            "SELECT e.name AS embedding, c.share, c.started_at FROM pgsearch.canary AS c"
            " JOIN pgsearch.embedding AS e ON e.id = c.embedding_id WHERE c.search_index_id = %s",
            [index.id],
        ).fetchone()


def outcomes(
    connection: Connection, index: RegisteredIndex, since: datetime
) -> tuple[Outcomes, ...]:
    """Return what the searches have come to that were logged since a time, by embedding."""
    with refusals(), connection.cursor(row_factory=class_row(Outcomes)) as cursor:
        statement = resources.sql("evaluate/canary.sql").encode()
        return tuple(cursor.execute(statement, {"id": index.id, "since": since}).fetchall())


def difference_p(one: Outcomes, other: Outcomes) -> float | None:
    """Return how likely two shares of searches with an outcome differ as much by chance.

    The two-sided test of two proportions; None where there are too few searches to say.
    """
    searches = one.searches + other.searches
    rate = (one.with_outcome + other.with_outcome) / max(searches, 1)
    if min(one.searches, other.searches) < 5 or not 0 < rate < 1:
        return None
    spread = math.sqrt(rate * (1 - rate) * (1 / one.searches + 1 / other.searches))
    difference = one.with_outcome / one.searches - other.with_outcome / other.searches
    return 2 * NormalDist().cdf(-abs(difference) / spread)
