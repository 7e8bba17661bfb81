"""A sample of an embedding's vectors, in temporary tables, kept and indexed in several ways.

Nothing of it outlives the session, and nobody else sees it. No transaction is longer than the
statement that needs it: drawing the vectors, or building one HNSW index of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgsearch import database, resources
from pgsearch.errors import DatabaseError

if TYPE_CHECKING:
    from pgsearch.database import Connection
    from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

#: Neighbours that are looked for.
NEIGHBOURS: Final = 10

#: Candidates that a search takes from an index whose order is the column's, or nearly: its ten
#: documents, and some to spare.
_CANDIDATES: Final = 30

#: Memory that the temporary tables, and the build of an index, may take at most; kB.
_MEMORY_KB: Final = 1024 * 1024

#: Of a table with more bytes than these only some pages are read.
_LARGE: Final = 2**30

_TABLES: Final = ("pgsearch_drawn", "pgsearch_sample")

#: What is measured is a scan of the index, and nothing that the planner may like better.
_SETTINGS: Final = {
    "statement_timeout": "0",
    "jit": "off",
    "hnsw.iterative_scan": "off",
}


@dataclass(frozen=True)
class Variant:
    """How vectors are kept, and what their HNSW graph is of.

    Args:
        type: The column's type: vector or halfvec.
        index: What the graph is of: vector, halfvec or bit.
        m: Neighbours per node.
        dimensions: Length of the vectors; fewer than the model's are the first of them.
    """

    type: str
    index: str
    m: int
    dimensions: int


@dataclass(frozen=True)
class Column:
    """What there is.

    Args:
        type: The column's type: vector or halfvec.
        index: What its graph is of; None without one.
        is_large: Whether the table is too large to read all of its rows.
    """

    type: str
    index: str | None
    is_large: bool


def column_of(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> Column:
    """Return what an embedding's column and HNSW index are."""
    definition = index.definition
    chunk = Identifier(definition.schema, definition.names.chunk)
    hnsw_index = Identifier(definition.schema, embedding.hnsw_index)
    row = connection.execute(
        SQL(resources.sql("evaluate/advise_column.sql")).format(
            chunk_name=Literal(chunk.as_string(connection)),
            column_literal=Literal(embedding.column),
            hnsw_index_name=Literal(hnsw_index.as_string(connection)),
        )
    ).fetchone()
    if row is None:
        raise DatabaseError(
            f"Search index {index.name} lacks the column of embedding {embedding.name!r}.",
            hint="`pgsearch doctor` prints the operation that mends it.",
        )
    type_, operators, size = row
    return Column(type_, None if operators is None else operators.partition("_")[0], size > _LARGE)


class Sample:
    """Vectors of an embedding, some of them held out as queries.

    Args:
        connection: An autocommit connection whose session is the sample's own.
        dimensions: Length of the vectors.
        limit: Vectors that are drawn at most.

    Attributes:
        notes: What makes the figures less than they could be, in words.
        vectors: How many vectors there are in the sample, queries not counted.
    """

    def __init__(self, connection: Connection, dimensions: int, limit: int) -> None:
        self._connection = connection
        self._dimensions = dimensions
        self._limit = limit
        self._held = 0
        self.notes: list[str] = []
        self.vectors = 0

    @contextmanager
    def session(self, most_m: int) -> Iterator[None]:
        """Prepare the session, and leave nothing behind in it.

        Args:
            most_m: The largest graph that is built has so many neighbours per node.

        Raises:
            DatabaseError: A pooler stands between: temporary tables would be somebody else's. Or
                there can be none, as on a standby.
        """
        if database.is_pooled(self._connection):
            raise DatabaseError(
                "A pooler stands between here and the server, and a session is not one's own.",
                hint="Name the server itself in --database.",
            )
        self._check_writable()
        settings = _SETTINGS | self._memory(most_m)
        # pgvector's settings are known once it has been used.
        self._connection.execute("SELECT '[1]'::vector <=> '[1]'")
        try:
            for name, value in settings.items():
                self._set(name, value)
            yield
        finally:
            if not self._connection.closed:
                for table in _TABLES:
                    self._connection.execute(
                        SQL("DROP TABLE IF EXISTS pg_temp.{}").format(Identifier(table))
                    )
                for name in (*settings, "enable_seqscan", "hnsw.ef_search"):
                    self._connection.execute(SQL("RESET {}").format(_setting(name)))

    def _check_writable(self) -> None:
        """Raise DatabaseError unless the session may have temporary tables."""
        row = self._connection.execute(
            "SELECT current_setting('transaction_read_only') = 'on',"
            " has_database_privilege(current_database(), 'TEMPORARY')"
        ).fetchone()
        if row == (False, True):
            return
        if row is not None and row[0]:
            raise DatabaseError(
                "The sample is kept in temporary tables, and this session can only read.",
                hint="Name the primary in --database, with default_transaction_read_only off.",
            )
        raise DatabaseError(
            "The sample is kept in temporary tables, and this role may have none.",
            hint="Connect as another one, or: GRANT TEMPORARY ON DATABASE … TO ….",
        )

    def _memory(self, most_m: int) -> dict[str, str]:
        """Return settings by which tables and builds fit memory, as far as they may."""
        vector = 4 * self._dimensions
        # As for an index of a search: the vector, and two neighbour lists' worth of pointers.
        graph_kb = self._limit * (vector + 32 * most_m + 256) // 1024
        tables_kb = graph_kb + self._limit * 3 * vector // 1024
        if tables_kb > _MEMORY_KB:
            self.notes.append(
                f"The sample takes more than {_MEMORY_KB // 1024:,} MB, which is what it may have "
                "of the server's memory: times are rather too long. A smaller --sample fits."
            )
        rows = self._connection.execute(
            "SELECT name, setting::bigint * CASE unit WHEN '8kB' THEN 8 ELSE 1 END "
            "FROM pg_catalog.pg_settings WHERE name IN ('temp_buffers', 'maintenance_work_mem')"
        ).fetchall()
        wanted = {"temp_buffers": tables_kb, "maintenance_work_mem": graph_kb}
        return {
            name: f"{min(wanted[name], _MEMORY_KB)}kB" for name, kb in rows if kb < wanted[name]
        }

    def _set(self, name: str, value: str) -> None:
        try:
            self._connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        except psycopg.errors.InvalidParameterValue:
            self.notes.append(f"{name} could not be set to {value}: times are rather too long.")

    def draw(
        self,
        index: RegisteredIndex,
        embedding: RegisteredEmbedding,
        *,
        share: float,
        is_large: bool,
    ) -> int:
        """Draw vectors of a column; return how many there are.

        Args:
            index: The search index.
            embedding: The embedding.
            share: How much of the table is read, above 0; 1 and more are all of it.
            is_large: Whether that are some pages, and not some rows of all pages.
        """
        definition = index.definition
        self._connection.execute(
            _sql(
                "draw",
                column=Identifier(embedding.column),
                chunk=Identifier(definition.schema, definition.names.chunk),
                dimensions=Literal(self._dimensions),
                method=SQL("SYSTEM" if is_large else "BERNOULLI"),
                percent=Literal(min(100.0, 100 * share)),
                limit=Literal(self._limit),
            )
        )
        self._connection.execute("ANALYZE pg_temp.pgsearch_drawn")
        row = self._connection.execute("SELECT count(*) FROM pg_temp.pgsearch_drawn").fetchone()
        assert row is not None
        self.vectors = int(row[0])
        return self.vectors

    def hold_out(self, queries: int) -> list[str]:
        """Take some vectors out of the sample, to ask for; return them as PostgreSQL reads them."""
        rows = self._connection.execute(
            "SELECT embedding::text FROM pg_temp.pgsearch_drawn WHERE n <= %s ORDER BY n", [queries]
        )
        held = [str(text) for (text,) in rows]
        self._held = len(held)
        self.vectors -= len(held)
        return held

    def nearest(self, vector: str) -> frozenset[int]:
        """Return the numbers of a query's nearest vectors, by a look at all of them."""
        rows = self._connection.execute(
            SQL(resources.sql("evaluate/advise_nearest.sql")),
            {"queries": self._held, "vector": vector, "k": NEIGHBOURS},
        )
        return frozenset(n for (n,) in rows)

    def cut(self, vectors: Sequence[str], dimensions: int) -> list[str]:
        """Return the first numbers of vectors, scaled to length 1 again."""
        if dimensions == self._dimensions:
            return list(vectors)
        statement = SQL("SELECT {}::text").format(_kept(SQL("%s::vector"), dimensions))
        rows = [self._connection.execute(statement, [vector]).fetchone() for vector in vectors]
        return [str(row[0]) for row in rows if row is not None]

    @contextmanager
    def kept(self, type_: str, dimensions: int) -> Iterator[None]:
        """Keep the sample in a column of a type for a while."""
        embedding: Composable = SQL("embedding")
        if dimensions < self._dimensions:
            embedding = _kept(embedding, dimensions)
        self._connection.execute(
            _sql(
                "table",
                kept=embedding,
                type=_type(type_, dimensions),
                queries=Literal(self._held),
            )
        )
        self._connection.execute("ANALYZE pg_temp.pgsearch_sample")
        # Behind what looks at each vector, which needs it.
        self._connection.execute("SET enable_seqscan = off")
        yield
        self._connection.execute("RESET enable_seqscan")
        self._connection.execute("DROP TABLE pg_temp.pgsearch_sample")

    @contextmanager
    def indexed(self, variant: Variant, ef_construction: int) -> Iterator[float]:
        """Build an HNSW index of what is kept, for a while; yield the seconds that it took."""
        expression, _, operators = _parts(variant, SQL("embedding"))
        started = time.perf_counter()
        self._connection.execute(
            _sql(
                "index",
                indexed=expression,
                operators=operators,
                m=Literal(variant.m),
                ef_construction=Literal(max(ef_construction, 2 * variant.m)),
            )
        )
        yield time.perf_counter() - started
        self._connection.execute("DROP INDEX pg_temp.pgsearch_sample_hnsw")

    def sizes(self) -> tuple[float, float]:
        """Return the bytes that each vector takes in the column and in the index."""
        row = self._connection.execute(_sql("sizes")).fetchone()
        assert row is not None
        return float(row[0]), float(row[1])

    def searched(
        self, variant: Variant, ef_search: int, vectors: Sequence[str]
    ) -> Iterator[tuple[list[int], float]]:
        """Yield what each query finds by the index, and the milliseconds that it took."""
        self._connection.execute("SELECT set_config('hnsw.ef_search', %s, false)", [str(ef_search)])
        asked = SQL("%(vector)s::{}").format(_type(variant.type, variant.dimensions))
        expression, operator, _ = _parts(variant, SQL("embedding"))
        of_query, _, _ = _parts(variant, asked)
        # Of single bits all candidates are looked at: their order is a rough one.
        candidates = ef_search if variant.index == "bit" else min(_CANDIDATES, ef_search)
        statement = _sql(
            "search",
            distance=SQL("{} {} {}").format(expression, operator, of_query),
            candidates=Literal(candidates),
            asked=asked,
            k=Literal(NEIGHBOURS),
        )
        for vector in vectors:
            started = time.perf_counter()
            rows = self._connection.execute(statement, {"vector": vector}, prepare=True).fetchall()
            yield [n for (n,) in rows], 1000 * (time.perf_counter() - started)


def _parts(variant: Variant, vector: Composable) -> tuple[Composable, SQL, SQL]:
    """Return a vector as the index has it, the operator of its distance, and its operator class."""
    if variant.index == "bit":
        bits = SQL("binary_quantize({})::{}").format(vector, _type("bit", variant.dimensions))
        return bits, SQL("<~>"), SQL("bit_hamming_ops")
    if variant.index != variant.type:
        vector = SQL("({})::{}").format(vector, _type(variant.index, variant.dimensions))
    return vector, SQL("<=>"), SQL(f"{variant.index}_cosine_ops")


def _type(name: str, dimensions: int) -> Composed:
    return SQL("{}({})").format(Identifier(name), Literal(dimensions))


def _kept(vector: Composable, dimensions: int) -> Composed:
    return SQL("l2_normalize(subvector({}, 1, {}))").format(vector, Literal(dimensions))


def _setting(name: str) -> Composable:
    return Identifier(*name.split("."))


def _sql(name: str, **holes: Composable) -> Composed:
    return SQL(resources.sql(f"evaluate/advise_{name}.sql")).format(**holes)
