"""`op.reindex_embedding`: an embedding's HNSW index, built anew."""

from __future__ import annotations

from typing import Any

from alembic.operations import MigrateOperation, Operations

from pgsearch.alembic.common import NothingOp
from pgsearch.alembic.embeddings import EmbeddingOp, run_steps
from pgsearch.errors import DeclarationError
from pgsearch.precision import Precision
from pgsearch.schema import embedding as ddl
from pgsearch.schema.steps import Step


@Operations.register_operation("reindex_embedding")
class ReindexEmbeddingOp(EmbeddingOp):
    """Build an embedding's HNSW index anew."""

    def __init__(
        self,
        index: str,
        name: str,
        *,
        m: int = 16,
        ef_construction: int = 64,
        precision: Precision | None = None,
        schema: str | None = None,
        before: tuple[int, int] | None = None,
        reasons: tuple[str, ...] = (),
    ) -> None:
        super().__init__(index, name, schema=schema)
        self.m = m
        self.ef_construction = ef_construction
        self.precision = precision or Precision(0)
        self.vector_type = self.precision.type
        is_coarse = self.precision.is_coarse
        self.index_type = self.precision.index if is_coarse else None
        self.dimensions = self.precision.dimensions if is_coarse else None
        self.before = before
        self.reasons = reasons

    @classmethod
    def reindex_embedding(
        cls,
        operations: Operations,
        index: str,
        name: str,
        *,
        m: int = 16,
        ef_construction: int = 64,
        vector_type: str = "vector",
        index_type: str | None = None,
        dimensions: int | None = None,
        schema: str | None = None,
    ) -> None:
        """Build an embedding's HNSW index anew, CONCURRENTLY, beside the old one.

        For an index that is missing or INVALID, or that shall have other parameters. Nobody waits
        for it but the migration, and searches use the old index until the new one is there.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: The embedding.
            m: HNSW: neighbours per node.
            ef_construction: HNSW: candidates looked at for each node.
            vector_type: What the embedding's column is of, as it was added.
            index_type: What its graph holds, as it was added.
            dimensions: Of its model, where the graph holds less than the column.
            schema: The source table's schema.

        Raises:
            DeclarationError: There is no such graph, or its dimensions are not said.
        """
        precision = Precision(dimensions or 0, vector_type, index_type or vector_type)
        precision.check(name)
        if precision.is_coarse and not dimensions:
            raise DeclarationError(
                f"Embedding {name!r}: a graph of {precision.index} over a column of {vector_type} "
                "needs its number of dimensions.",
                hint="Write that of the embedding's model, as in dimensions=384.",
            )
        operations.invoke(
            cls(
                index,
                name,
                m=m,
                ef_construction=ef_construction,
                precision=precision,
                schema=schema,
            )
        )

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one: the parameters before, if they differ."""
        if self.before is None:
            return NothingOp()
        m, ef_construction = self.before
        return ReindexEmbeddingOp(
            self.index,
            self.name,
            m=m,
            ef_construction=ef_construction,
            precision=self.precision,
            schema=self.schema,
        )

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what `alembic check` prints: the operation, and why it is needed."""
        return (*super().to_diff_tuple(), *self.reasons)


@Operations.implementation_for(ReindexEmbeddingOp)
def _reindex_embedding(operations: Operations, operation: ReindexEmbeddingOp) -> None:
    def steps(schema: str) -> list[Step]:
        return ddl.reindex_embedding(
            schema,
            operation.index,
            operation.name,
            operation.precision,
            m=operation.m,
            ef_construction=operation.ef_construction,
        )

    run_steps(operations, operation, steps)
