"""Questions to the search function, in plain SQL and with a clock beside it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from psycopg.sql import SQL

from pgsearch import resources
from pgsearch.database import Connection
from pgsearch.models import Embedder

#: How often a question is asked to take its time: one measurement says little.
TIMES = 5


@dataclass(frozen=True)
class Answer:
    """What one mode answered.

    Args:
        titles: Titles of the hits, the best first.
        ms: Time of the SQL in milliseconds, the way to the server and back included; the median
            of several calls.
    """

    titles: tuple[str, ...]
    ms: float

    @property
    def first(self) -> str:
        """Title of the best hit; empty if nothing was found."""
        return self.titles[0] if self.titles else ""


@dataclass(frozen=True)
class Vector:
    """A question's vector, as PostgreSQL reads it, and the milliseconds that its making took."""

    text: str
    ms: float


def vector(embedder: Embedder, question: str) -> Vector:
    """Let the model make a question's vector."""
    started = time.perf_counter()
    made = embedder.embed_queries([question])[0]
    return Vector(made.to_text(), _since(started))


def ask(
    connection: Connection, question: str, *, mode: str, vector: Vector | None = None, k: int = 3
) -> Answer:
    """Ask `document_search` for the `k` best hits in one mode."""
    values = {"question": question, "k": k, "mode": mode, "vector": vector and vector.text}
    return timed(connection, SQL(resources.sql("demo/search.sql")), values)


def timed(connection: Connection, statement: SQL, values: dict[str, Any] | None = None) -> Answer:
    """Execute a search that gives titles, a few times."""
    times = []
    for _ in range(TIMES):
        started = time.perf_counter()
        rows = connection.execute(statement, values).fetchall()
        times.append(_since(started))
    return Answer(tuple(title for (title,) in rows), median(times))


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
