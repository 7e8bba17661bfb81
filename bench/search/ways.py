"""Ways to ask the same question: pgsearch's, and what people write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, NamedTuple

from pgvector import Vector

from bench.search.corpus import BUCKETS, Query
from pgsearch import database

#: Results that are asked for.
K: Final = 10

#: Twenty of each leg, ranked by window functions, joined in full and fused by reciprocal ranks.
_RECIPE: Final = b"""
WITH near AS (
  SELECT id, rank() OVER (ORDER BY embedding <=> %(vector)s) AS place
  FROM plain WHERE bucket < %(buckets)s
  ORDER BY embedding <=> %(vector)s LIMIT 20
),
worded AS (
  SELECT id, rank() OVER (ORDER BY ts_rank_cd(tsv, asked) DESC) AS place
  FROM plain, plainto_tsquery('english', %(text)s) AS asked
  WHERE tsv @@ asked AND bucket < %(buckets)s
  ORDER BY ts_rank_cd(tsv, asked) DESC LIMIT 20
)
SELECT id FROM near FULL OUTER JOIN worded USING (id)
ORDER BY coalesce(1.0 / (60 + near.place), 0) + coalesce(1.0 / (60 + worded.place), 0) DESC
LIMIT %(k)s
"""


class Answer(NamedTuple):
    """What a way has found, ids with the best first, and the seconds that it took."""

    ids: list[int]
    seconds: float


#: Asks a question among the documents of the buckets below a number.
Ask = Callable[[Query, int], Answer]


class Way(NamedTuple):
    """A way to ask.

    Args:
        name: What it is called in a report.
        ask: Asks.
        share: The part of the queries that is asked, where one takes seconds.
    """

    name: str
    ask: Ask
    share: float = 1.0


@dataclass(frozen=True)
class Ways:
    """All that is asked on one connection.

    Args:
        connection: To the database with both tables.
    """

    connection: database.Connection
    _terms: dict[str, list[Any]] = field(default_factory=dict)
    _made: dict[str, Vector] = field(default_factory=dict)

    def set_up(self) -> None:
        """Set what the SQL by hand needs to find as much as pgsearch does: what it sets."""
        self.connection.execute(
            "SELECT set_config('hnsw.ef_search',"
            " pgsearch.usual_ef_search(document_count, 0, false)::text, false)"
            " FROM pgsearch.search_index"
        )
        self.connection.execute("SET hnsw.iterative_scan = relaxed_order")

    def all(self) -> list[Way]:
        """Return every way, those of pgsearch first."""
        return [
            Way("keyword", self.searched("keyword")),
            Way("vector", self.searched("vector")),
            Way("hybrid", self.searched("hybrid")),
            Way("text_only", self.text_only),
            Way("text_given", self.text_given),
            Way("keyword_by_hand", self.keyword_by_hand),
            Way("vector_by_hand", self.vector_by_hand),
            Way("ts_rank", self.ts_rank, 0.2),
            Way("recipe", self.recipe, 0.1),
        ]

    def searched(self, mode: str) -> Ask:
        """Return the way to ask the search function."""

        def ask(query: Query, buckets: int = BUCKETS) -> Answer:
            below = None if buckets == BUCKETS else buckets - 1
            vector = None if mode == "keyword" else Vector(query.vector)
            return self._answer(
                b"SELECT id FROM article_search(%s, %s, %s, %s, bucket_max => %s)",
                (query.text, K, vector, mode, below),
            )

        return ask

    def text_only(self, query: Query, buckets: int = BUCKETS) -> Answer:  # noqa: ARG002
        """Ask with text alone: the database makes the vector."""
        return self._answer(b"SELECT id FROM article_search(%s, %s)", (query.text, K))

    def text_given(self, query: Query, buckets: int = BUCKETS) -> Answer:  # noqa: ARG002
        """Ask with the vector that the database would make, made beforehand."""
        if query.text not in self._made:
            row = self.connection.execute(
                "SELECT article_search_embed(%s)", [query.text]
            ).fetchone()
            assert row is not None
            self._made[query.text] = row[0]
        statement = b"SELECT id FROM article_search(%s, %s, %s)"
        return self._answer(statement, (query.text, K, self._made[query.text]))

    def vector_by_hand(self, query: Query, buckets: int = BUCKETS) -> Answer:
        """Ask for the nearest rows; with a filter, by iterative scan as pgvector's manual says."""
        if buckets == BUCKETS:
            statement = b"SELECT id FROM plain ORDER BY embedding <=> %s LIMIT %s"
            return self._answer(statement, (Vector(query.vector), K))
        statement = b"SELECT id FROM plain WHERE bucket < %s ORDER BY embedding <=> %s LIMIT %s"
        return self._answer(statement, (buckets, Vector(query.vector), K))

    def keyword_by_hand(self, query: Query, buckets: int = BUCKETS) -> Answer:
        """Ask for the rows that hold one of the query's rarest words, and rank them by all.

        How often a word occurs, and so which are rare, is known here beforehand.
        """
        terms = self._weighed_terms(query.text)
        rarest = " | ".join(term for term, _, is_rare in terms if is_rare)
        score = " + ".join(["%s * ts_rank(tsv, %s::tsquery)"] * len(terms))
        weights = [value for term, idf, _ in terms for value in (idf, term)]
        statement = (
            "SELECT id FROM plain WHERE tsv @@ %s::tsquery AND bucket < %s"
            f" ORDER BY {score} DESC LIMIT %s"
        )
        return self._answer(statement.encode(), (rarest, buckets, *weights, K))

    def _weighed_terms(self, text: str) -> list[tuple[str, float, bool]]:
        if text not in self._terms:
            self._terms[text] = self.connection.execute(
                "SELECT term::text, idf, coalesce(tier = 1, false) FROM article_search_terms(%s)",
                [text],
            ).fetchall()
        return self._terms[text]

    def ts_rank(self, query: Query, buckets: int = BUCKETS) -> Answer:
        """Ask for the rows that hold any of the words, by ts_rank: what is easily written."""
        statement = (
            b"SELECT id FROM plain, (SELECT replace(plainto_tsquery('english', %s)::text, '&', '|')"
            b"::tsquery AS asked) AS query WHERE tsv @@ asked AND bucket < %s"
            b" ORDER BY ts_rank(tsv, asked) DESC LIMIT %s"
        )
        return self._answer(statement, (query.text, buckets, K))

    def recipe(self, query: Query, buckets: int = BUCKETS) -> Answer:
        """Ask both at once and join the ranks, as most examples of hybrid search do."""
        parameters = {
            "text": query.text,
            "vector": Vector(query.vector),
            "buckets": buckets,
            "k": K,
        }
        return self._answer(_RECIPE, parameters)

    def _answer(self, statement: bytes, parameters: Any) -> Answer:
        started = perf_counter()
        ids = [row[0] for row in self.connection.execute(statement, parameters)]
        return Answer(ids, perf_counter() - started)
