"""The operations on embeddings, each with its reverse.

| operation                 | reverse                              |
| ------------------------- | ------------------------------------ |
| `op.add_embedding`        | `op.drop_embedding`                  |
| `op.adopt_embedding`      | `op.drop_embedding`                  |
| `op.activate_embedding`   | the activation of the one before     |
| `op.retire_embedding`     | `op.restore_embedding`               |
| `op.reindex_embedding`    | itself, with the parameters before   |

The last one is in `pgsearch.alembic.reindex`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from alembic.operations import MigrateOperation, Operations

from pgsearch import resources
from pgsearch.alembic.common import PgsearchOp
from pgsearch.alembic.execute import Reader, query, quoted, run
from pgsearch.declare import Embedding, Model
from pgsearch.names import IndexNames
from pgsearch.schema import embedding as ddl
from pgsearch.schema.steps import Step

#: Below Alembic's own, so that it is shown where Alembic says what it runs.
log = logging.getLogger("alembic.pgsearch")


class EmbeddingOp(PgsearchOp):
    """What the operations on one embedding have in common."""

    def __init__(self, index: str, name: str, *, schema: str | None = None) -> None:
        self.index = index
        self.name = name
        self.schema = schema


@Operations.register_operation("add_embedding")
class AddEmbeddingOp(EmbeddingOp):
    """Add a model version to a search index."""

    def __init__(self, index: str, embedding: Embedding, *, schema: str | None = None) -> None:
        super().__init__(index, embedding.name, schema=schema)
        self.embedding = embedding
        self.model = embedding.model
        self.m = embedding.m
        self.ef_construction = embedding.ef_construction
        self.vector_type = embedding.type
        self.index_type = embedding.index
        self.price = embedding.price

    @classmethod
    def add_embedding(
        cls,
        operations: Operations,
        index: str,
        name: str,
        model: Model,
        *,
        m: int = 16,
        ef_construction: int = 64,
        vector_type: str = "vector",
        index_type: str | None = None,
        price: float | None = None,
        schema: str | None = None,
    ) -> None:
        """Add an embedding: a column, which workers fill; nothing waits for them.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: A lower-case word, as in "minilm_v1".
            model: The model, pinned.
            m: HNSW: neighbours per node.
            ef_construction: HNSW: candidates looked at for each node.
            vector_type: What its column is of, "vector" or "halfvec".
            index_type: What its HNSW graph holds, "vector", "halfvec" or "bit"; what the column
                does if None.
            price: What a million tokens cost at the model's provider, to tell what a fill costs.
            schema: The source table's schema.
        """
        declared = Embedding(
            name,
            model,
            m=m,
            ef_construction=ef_construction,
            type=vector_type,
            index=index_type,
            price=price,
        )
        operations.invoke(cls(index, declared, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return DropEmbeddingOp(
            self.index, self.name, schema=self.schema, deactivate=True, embedding=self.embedding
        )


@Operations.register_operation("adopt_embedding")
class AdoptEmbeddingOp(AddEmbeddingOp):
    """Add a model version whose vectors are there already, in a column of the table."""

    def __init__(
        self, index: str, embedding: Embedding, *, column: str, schema: str | None = None
    ) -> None:
        super().__init__(index, embedding, schema=schema)
        self.column = column

    @classmethod
    def adopt_embedding(
        cls,
        operations: Operations,
        index: str,
        name: str,
        model: Model,
        *,
        column: str,
        m: int = 16,
        ef_construction: int = 64,
        vector_type: str = "vector",
        index_type: str | None = None,
        price: float | None = None,
        schema: str | None = None,
    ) -> None:
        """Add an embedding, and take over the vectors that a column of the table holds.

        The worker takes a row's vector where its text makes a single chunk and has not changed
        since, and embeds the rest. Before that it embeds some of them itself: vectors that do
        not come from this model are not taken over. The column is only read; drop it when the
        embedding is ready.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: A lower-case word, as in "minilm_v1".
            model: The model that made the vectors, pinned.
            column: The column that holds them, of type vector or halfvec.
            m: HNSW: neighbours per node.
            ef_construction: HNSW: candidates looked at for each node.
            vector_type: What its column is of, "vector" or "halfvec".
            index_type: What its HNSW graph holds, "vector", "halfvec" or "bit"; what the column
                does if None.
            price: What a million tokens cost at the model's provider, to tell what a fill costs.
            schema: The source table's schema.
        """
        declared = Embedding(
            name,
            model,
            m=m,
            ef_construction=ef_construction,
            type=vector_type,
            index=index_type,
            price=price,
        )
        operations.invoke(cls(index, declared, column=column, schema=schema))


@Operations.register_operation("drop_embedding")
class DropEmbeddingOp(EmbeddingOp):
    """Drop a model version from a search index."""

    def __init__(
        self,
        index: str,
        name: str,
        *,
        schema: str | None = None,
        deactivate: bool = False,
        embedding: Embedding | None = None,
    ) -> None:
        super().__init__(index, name, schema=schema)
        self.deactivate = deactivate
        self.embedding = embedding

    @classmethod
    def drop_embedding(
        cls,
        operations: Operations,
        index: str,
        name: str,
        *,
        deactivate: bool = False,
        schema: str | None = None,
    ) -> None:
        """Drop an embedding with its vectors and HNSW index.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: The embedding.
            deactivate: Whether to drop it even while it answers queries; keywords answer then. A
                downgrade wants that, for it goes back to before there was the embedding. Without
                it, dropping the active embedding is refused.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, name, schema=schema, deactivate=deactivate))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one; autogenerate knows what was dropped."""
        if self.embedding is None:
            raise ValueError(f"Dropping embedding {self.name!r} does not say how it was made.")
        return AddEmbeddingOp(self.index, self.embedding, schema=self.schema)


@Operations.register_operation("activate_embedding")
class ActivateEmbeddingOp(EmbeddingOp):
    """Make a model version the one that answers."""

    def __init__(
        self,
        index: str,
        name: str,
        *,
        schema: str | None = None,
        when_ready: bool = False,
        before: str | None = None,
    ) -> None:
        super().__init__(index, name, schema=schema)
        self.when_ready = when_ready
        self.before = before

    @classmethod
    def activate_embedding(
        cls,
        operations: Operations,
        index: str,
        name: str,
        *,
        when_ready: bool = False,
        schema: str | None = None,
    ) -> None:
        """Activate an embedding. To go back, activate the other one.

        One that is not ready is refused while another one answers. Where none does, as on a new
        database, it is activated by the worker as soon as it is ready. The first embedding of a
        search index needs no activation: it activates itself.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: The embedding.
            when_ready: Whether to have it activated later instead of refusing it; a downgrade
                wants that, for the embedding to go back to may have to be filled again.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, name, schema=schema, when_ready=when_ready))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one: back to the one before, if there was one."""
        if self.before is None:
            return DeactivateEmbeddingOp(self.index, self.name, schema=self.schema)
        return ActivateEmbeddingOp(
            self.index, self.before, schema=self.schema, when_ready=True, before=self.name
        )


@Operations.register_operation("deactivate_embedding")
class DeactivateEmbeddingOp(EmbeddingOp):
    """Take the active model version out of use."""

    @classmethod
    def deactivate_embedding(
        cls, operations: Operations, index: str, name: str, *, schema: str | None = None
    ) -> None:
        """Deactivate an embedding: search answers from keywords until one is activated."""
        operations.invoke(cls(index, name, schema=schema))


@Operations.register_operation("retire_embedding")
class RetireEmbeddingOp(EmbeddingOp):
    """Stop keeping a model version up to date."""

    @classmethod
    def retire_embedding(
        cls, operations: Operations, index: str, name: str, *, schema: str | None = None
    ) -> None:
        """Retire an embedding: workers no longer embed for it, and no search may ask for it.

        Its vectors and its HNSW index stay until it is dropped, or restored. The active one is
        refused.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: The embedding.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, name, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return RestoreEmbeddingOp(self.index, self.name, schema=self.schema)


@Operations.register_operation("restore_embedding")
class RestoreEmbeddingOp(EmbeddingOp):
    """Keep a retired model version up to date again."""

    @classmethod
    def restore_embedding(
        cls, operations: Operations, index: str, name: str, *, schema: str | None = None
    ) -> None:
        """Restore a retired embedding: workers embed what has changed, and it is ready again.

        Args:
            operations: Given by Alembic.
            index: The search index.
            name: The embedding.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, name, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return RetireEmbeddingOp(self.index, self.name, schema=self.schema)


def run_steps(
    operations: Operations, operation: EmbeddingOp, make: Callable[[str], list[Step]]
) -> None:
    """Run the steps of an operation, which are made for the search index's schema."""
    is_taken_away = isinstance(operation, (DropEmbeddingOp, DeactivateEmbeddingOp))
    schema = Reader(operations).index_schema(
        operation.index, operation.schema, or_dropped=is_taken_away
    )
    run(operations, make(schema), uses=quoted(schema, IndexNames(operation.index).chunk))


@Operations.implementation_for(AddEmbeddingOp)
def _add_embedding(operations: Operations, operation: AddEmbeddingOp) -> None:
    run_steps(
        operations, operation, lambda s: ddl.add_embedding(s, operation.index, operation.embedding)
    )


@Operations.implementation_for(AdoptEmbeddingOp)
def _adopt_embedding(operations: Operations, operation: AdoptEmbeddingOp) -> None:
    def steps(schema: str) -> list[Step]:
        return ddl.add_embedding(
            schema, operation.index, operation.embedding, adopt=operation.column
        )

    run_steps(operations, operation, steps)


@Operations.implementation_for(DropEmbeddingOp)
def _drop_embedding(operations: Operations, operation: DropEmbeddingOp) -> None:
    given_back: list[str] = []

    def steps(schema: str) -> list[Step]:
        given_back.extend(_given_back(operations, operation, schema))
        before = ddl.deactivate_embedding if operation.deactivate else lambda *_: []
        return [
            *before(schema, operation.index, operation.name),
            *ddl.drop_embedding(schema, operation.index, operation.name),
        ]

    run_steps(operations, operation, steps)
    for line in given_back:
        log.info(line)


def _given_back(operations: Operations, operation: DropEmbeddingOp, schema: str) -> Iterator[str]:
    """Yield what a drop gives back of the disk, and when; nothing if that is not known."""
    if operations.get_context().as_sql:
        return
    bind, names = operations.get_bind(), IndexNames(operation.index)
    column = {
        "chunk": quoted(schema, names.chunk),
        "column": names.embedding_column(operation.name),
    }
    if not bind.scalar(sa.text(resources.sql("embedding/has_column.sql")), column):
        return  # it is gone already
    found = query(operations, ddl.space(schema, operation.index, operation.name)).one()
    index_bytes, vector_bytes = (f"{size / 2**20:,.0f} MB" for size in found)
    yield (
        f"Embedding {operation.name} of {operation.index} is dropped: its HNSW index has given "
        f"{index_bytes} back. Its vectors, about {vector_bytes}, give their space back as their "
        f"rows are written again, as by the fill of another embedding, or at once with VACUUM FULL "
        f"{column['chunk']}, which locks the table."
    )


@Operations.implementation_for(ActivateEmbeddingOp)
def _activate_embedding(operations: Operations, operation: ActivateEmbeddingOp) -> None:
    def steps(schema: str) -> list[Step]:
        return ddl.activate_embedding(
            schema, operation.index, operation.name, when_ready=operation.when_ready
        )

    run_steps(operations, operation, steps)


@Operations.implementation_for(DeactivateEmbeddingOp)
def _deactivate_embedding(operations: Operations, operation: DeactivateEmbeddingOp) -> None:
    run_steps(
        operations,
        operation,
        lambda schema: ddl.deactivate_embedding(schema, operation.index, operation.name),
    )


@Operations.implementation_for(RetireEmbeddingOp)
def _retire_embedding(operations: Operations, operation: RetireEmbeddingOp) -> None:
    run_steps(
        operations,
        operation,
        lambda schema: ddl.retire_embedding(schema, operation.index, operation.name),
    )


@Operations.implementation_for(RestoreEmbeddingOp)
def _restore_embedding(operations: Operations, operation: RestoreEmbeddingOp) -> None:
    run_steps(
        operations,
        operation,
        lambda schema: ddl.restore_embedding(schema, operation.index, operation.name),
    )
