"""Two embeddings of one search index, asked the same queries.

The search function answers each query twice, once by each embedding, with the query's vector made
by that embedding's own model.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Final, NamedTuple

from pgsearch.errors import LifecycleError, ObjectMissing
from pgsearch.evaluate.asked import Asked, Key
from pgsearch.evaluate.metrics import (
    ndcg,
    overlap,
    randomization_p,
    rank_biased_overlap,
    recall,
    reciprocal_rank,
)

if TYPE_CHECKING:
    from pgsearch.database import Connection
    from pgsearch.models import Embedder
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

#: Queries whose vectors are made one at a time, as an application makes them, to time that.
_ALONE: Final = 20

#: Queries that are asked before any is timed, so that none pays for a cold cache.
_WARM: Final = 10

_BATCH: Final = 64


class Hit(NamedTuple):
    """A document that was found, and its best passage; keyword search alone knows none."""

    key: Key
    passage: str | None


@dataclass(frozen=True)
class Side:
    """What one embedding answered, and what it costs.

    Args:
        name: The embedding.
        model: Its model's name.
        dimensions: Length of its vectors.
        type: What its column is of, "vector" or "halfvec".
        graph: What its HNSW graph holds, "vector", "halfvec" or "bit".
        answers: By query, in order: what was found, best first.
        search_ms: By query: milliseconds that the search took, without the query's vector.
        encode_ms: Of some queries: milliseconds that one query's vector took.
        vectors: Chunks that have its vector.
        vector_bytes: What a vector takes in the table, on average; None without any.
        index_bytes: Size of its HNSW index.
        cost_per_million: About what a million chunks cost at its model's provider, at the declared
            price; None without one.
    """

    name: str
    model: str
    dimensions: int
    type: str
    graph: str
    answers: tuple[tuple[Hit, ...], ...]
    search_ms: tuple[float, ...]
    encode_ms: tuple[float, ...]
    vectors: int
    vector_bytes: float | None
    index_bytes: int
    cost_per_million: float | None

    @property
    def bytes_per_million(self) -> float | None:
        """Bytes on disk of a million chunks: vectors and HNSW index; None without vectors."""
        if not self.vectors or self.vector_bytes is None:
            return None
        return 1e6 * (self.vector_bytes + self.index_bytes / self.vectors)

    def keys(self, query: int) -> list[Key]:
        """Return the keys that a query found, best first."""
        return [hit.key for hit in self.answers[query]]


class Judged(NamedTuple):
    """A metric of both embeddings, its means over the queries, and how sure the difference is."""

    first: float
    second: float
    p: float

    @property
    def difference(self) -> float:
        """What the second has more than the first."""
        return self.second - self.first


@dataclass(frozen=True)
class Comparison:
    """How two embeddings answer the same queries.

    Args:
        index: The search index.
        mode: hybrid or vector.
        k: How many documents were asked for.
        queries: What was asked, in order.
        first: The embedding that is compared with, mostly the active one.
        second: The one that may take its place.
        judged: By metric (`ndcg10`, `recall10`, `mrr10`, for k = 10), if there are judgements.
        overlap: Share of the first k documents that both found, mean over the queries.
        rbo: Rank-biased overlap, mean over the queries.
        unlike: Queries by how differently they were answered, most first.
    """

    index: str
    mode: str
    k: int
    queries: tuple[str, ...]
    first: Side
    second: Side
    judged: dict[str, Judged]
    overlap: float
    rbo: float
    unlike: tuple[int, ...]

    def figures(self) -> dict[str, float]:
        """Return what a gate can require, by name.

        Of judged metrics it is the difference, second less first; of times and sizes the ratio,
        second to first.
        """
        found = {name: judged.difference for name, judged in self.judged.items()}
        found |= {f"overlap{self.k}": self.overlap, "rbo": self.rbo}
        for name, percent in (("p50", 50), ("p95", 95)):
            first, second = (percentile(s.search_ms, percent) for s in (self.first, self.second))
            found[f"search_{name}_ratio"] = second / first
        sizes = (self.first.bytes_per_million, self.second.bytes_per_million)
        if sizes[0] and sizes[1]:
            found["size_ratio"] = sizes[1] / sizes[0]
        return found


def compare(
    connection: Connection,
    index: RegisteredIndex,
    first: str,
    second: str,
    asked: Asked,
    *,
    k: int = 10,
    mode: str = "hybrid",
    on_query: Callable[[], object] = lambda: None,
) -> Comparison:
    """Ask two embeddings the same queries.

    Args:
        connection: An autocommit connection of a role that may search.
        index: The search index.
        first: The embedding to compare with.
        second: The one that may take its place.
        asked: The queries, and judgements if there are any.
        k: How many documents are looked at, 1 to 1000.
        mode: hybrid or vector.
        on_query: Called when both have answered a query.

    Raises:
        ObjectMissing: The search index has no embedding of that name.
        LifecycleError: An embedding is not ready.
        ModelError: A model cannot be used.
    """
    from pgsearch import models

    embeddings = [_find(index, name) for name in (first, second)]
    vectors, encode_ms = [], []
    for embedding in embeddings:
        made, taken = _encode(models.load(embedding.model), asked.queries)
        vectors.append(made)
        encode_ms.append(taken)
    ask = partial(_ask, connection, index, k=k, mode=mode)
    for query, *both in list(zip(asked.queries, *vectors, strict=True))[:_WARM]:
        for embedding, vector in zip(embeddings, both, strict=True):
            ask(embedding, query, vector)
    answers: tuple[list[tuple[Hit, ...]], ...] = ([], [])
    search_ms: tuple[list[float], ...] = ([], [])
    for number, query in enumerate(asked.queries):
        # In turn, so that neither always finds what the other one has just read.
        for side in (0, 1) if number % 2 else (1, 0):
            hits, taken_ms = ask(embeddings[side], query, vectors[side][number])
            answers[side].append(hits)
            search_ms[side].append(taken_ms)
        on_query()
    one, other = (
        Side(
            embeddings[side].name,
            embeddings[side].model.name,
            embeddings[side].model.dimensions,
            embeddings[side].precision.type,
            embeddings[side].precision.index,
            tuple(answers[side]),
            tuple(search_ms[side]),
            tuple(encode_ms[side]),
            *_sizes(connection, index, embeddings[side]),
        )
        for side in (0, 1)
    )
    return _compared(index.name, mode, k, asked, one, other)


def _compared(index: str, mode: str, k: int, asked: Asked, one: Side, other: Side) -> Comparison:
    numbers = range(len(asked.queries))
    pairs = [(one.keys(n), other.keys(n)) for n in numbers]
    alike = [rank_biased_overlap(*pair) for pair in pairs]
    judged, gained = {}, [0.0] * len(pairs)
    if asked.judgements:
        grades = [asked.judgements[query] for query in asked.queries]
        for name, metric in (("ndcg", ndcg), ("recall", recall), ("mrr", reciprocal_rank)):
            values = [
                [metric(keys, of, k) for keys, of in zip(side, grades, strict=True)]
                for side in zip(*pairs, strict=True)
            ]
            differences = [b - a for a, b in zip(*values, strict=True)]
            first, second = map(fmean, values)
            judged[f"{name}{k}"] = Judged(first, second, randomization_p(differences))
            if name == "ndcg":
                gained = differences
    return Comparison(
        index=index,
        mode=mode,
        k=k,
        queries=asked.queries,
        first=one,
        second=other,
        judged=judged,
        overlap=fmean(overlap(*pair, k) for pair in pairs),
        rbo=fmean(alike),
        unlike=tuple(sorted(numbers, key=lambda n: (-abs(gained[n]), alike[n], n))),
    )


def _find(index: RegisteredIndex, name: str) -> RegisteredEmbedding:
    for embedding in index.embeddings:
        if embedding.name == name:
            if embedding.state not in ("ready", "active"):
                raise LifecycleError(
                    f"Embedding {name!r} of search index {index.name} is {embedding.state}: only "
                    "one that is ready answers.",
                    hint="Run `pgsearch sync`, or wait for the worker; `pgsearch status` shows how "
                    "far it is.",
                )
            return embedding
    known = ", ".join(embedding.name for embedding in index.embeddings) or "none"
    raise ObjectMissing(
        f"Search index {index.name} has no embedding {name!r}.", hint=f"It has: {known}."
    )


def _encode(embedder: Embedder, queries: Sequence[str]) -> tuple[list[str], list[float]]:
    """Return the vectors of queries as text, and the milliseconds that some took alone."""
    vectors, taken = [], []
    embedder.embed_queries(queries[:1])
    for query in queries[:_ALONE]:
        started = time.perf_counter()
        vectors += embedder.embed_queries([query])
        taken.append(1000 * (time.perf_counter() - started))
    for start in range(_ALONE, len(queries), _BATCH):
        vectors += embedder.embed_queries(queries[start : start + _BATCH])
    return [str(vector.to_text()) for vector in vectors], taken


def _ask(
    connection: Connection,
    index: RegisteredIndex,
    embedding: RegisteredEmbedding,
    query: str,
    vector: str,
    *,
    k: int,
    mode: str,
) -> tuple[tuple[Hit, ...], float]:
    from psycopg.sql import SQL, Identifier

    definition = index.definition
    statement = SQL(
        "SELECT {}, passage FROM {}(%s, k => %s, vector => %s::vector, mode => %s, embedding => %s)"
    ).format(
        SQL(", ").join(
            SQL("{}::text").format(Identifier(column.name)) for column in definition.key
        ),
        Identifier(definition.schema, definition.names.search),
    )
    started = time.perf_counter()
    rows = connection.execute(statement, [query, k, vector, mode, embedding.name]).fetchall()
    taken_ms = 1000 * (time.perf_counter() - started)
    return tuple(Hit(tuple(key), passage) for *key, passage in rows), taken_ms


def _sizes(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> tuple[int, float | None, int, float | None]:
    """Return the vectors, the bytes of one and of the HNSW index, and the cost of a million."""
    from psycopg.sql import SQL, Identifier, Literal

    from pgsearch import resources

    definition = index.definition
    hnsw_index = Identifier(definition.schema, embedding.hnsw_index)
    row = connection.execute(
        SQL(resources.sql("evaluate/sizes.sql")).format(
            chunk=Identifier(definition.schema, definition.names.chunk),
            column=Identifier(embedding.column),
            hnsw_index_name=Literal(hnsw_index.as_string(connection)),
        )
    ).fetchone()
    assert row is not None
    vectors, vector_bytes, index_bytes, chunk_tokens = row
    price = embedding.token_price
    cost = None if price is None or chunk_tokens is None else price * chunk_tokens
    return vectors, vector_bytes, index_bytes, cost


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that a share of them does not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(len(ranked) * percent / 100))]
