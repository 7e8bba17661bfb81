"""The operations that a migration calls, each with its reverse.

| operation                 | reverse                     |
| ------------------------- | --------------------------- |
| `op.pgsearch_install`     | `op.pgsearch_uninstall`     |
| `op.create_search_index`  | `op.drop_search_index`      |
| `op.add_embedding`        | `op.drop_embedding`         |
| `op.activate_embedding`   | `op.deactivate_embedding`   |

Each is a list of plain SQL statements, so each also works in Alembic's offline mode, `--sql`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations

from pgsearch.alembic.execute import Reader, run
from pgsearch.declare import Embedding, Model
from pgsearch.definition import Chunking, IndexDefinition, TextColumn
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.schema import index as index_ddl
from pgsearch.schema import install as install_ddl


class PgsearchOp(MigrateOperation):
    """What all operations have in common: how `alembic check` names them."""

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the operation's class and what it is about, as `alembic check` prints it."""
        about = ("index", "name", "version")
        values = [vars(self)[name] for name in about if name in vars(self)]
        return (type(self).__name__, *values)


@Operations.register_operation("pgsearch_install")
class InstallOp(PgsearchOp):
    """Create the schema `pgsearch`, and the extension pgvector where it is missing."""

    def __init__(self, version: int) -> None:
        self.version = version

    @classmethod
    def pgsearch_install(
        cls, operations: Operations, *, version: int = install_ddl.VERSION
    ) -> None:
        """Install the schema `pgsearch`.

        Args:
            operations: Given by Alembic.
            version: The schema's version; name it, so that the migration stays what it was.

        Raises:
            DeclarationError: This package does not know the version.
            sqlalchemy.exc.DBAPIError: The server has no pgvector, or one older than 0.8.0.
        """
        operations.invoke(cls(version))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return UninstallOp()


@Operations.register_operation("pgsearch_uninstall")
class UninstallOp(PgsearchOp):
    """Drop the schema `pgsearch`; the extension stays."""

    @classmethod
    def pgsearch_uninstall(cls, operations: Operations) -> None:
        """Drop the schema `pgsearch`; refused while search indexes exist."""
        operations.invoke(cls())


@Operations.register_operation("create_search_index")
class CreateSearchIndexOp(PgsearchOp):
    """Put a search index beside a table."""

    def __init__(
        self,
        name: str,
        table: str,
        *,
        text: Mapping[str, str],
        key: Mapping[str, str] | None = None,
        language: str = "english",
        filters: Mapping[str, str] | Sequence[str] = (),
        chunking: Chunking | None = None,
        schema: str | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.text = text
        self.key = key
        self.language = language
        self.filters = filters
        self.chunking = chunking or Chunking()
        self.schema = schema

    @classmethod
    def create_search_index(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        text: Mapping[str, str],
        key: Mapping[str, str] | None = None,
        language: str = "english",
        filters: Mapping[str, str] | Sequence[str] = (),
        chunking: Chunking | None = None,
        schema: str | None = None,
    ) -> None:
        """Create a search index.

        The table is not rewritten; triggers are added to it. Its rows are read later, by a worker.

        Args:
            operations: Given by Alembic.
            name: Name of the search index and of its search function.
            table: The source table.
            text: Its text columns with their weights, as in {"title": "A", "body": "B"}.
            key: Its primary key with types, as in {"id": "bigint"}; read from the database when
                left out, which offline mode cannot.
            language: Text search configuration.
            filters: Columns that the search function takes as named parameters, with their types
                or, where the database can be read, by name.
            chunking: How text is cut into passages.
            schema: The table's schema; found along the search path when left out.

        Raises:
            DeclarationError: The search index cannot work; the hint says what to write.
            ObjectMissing: The table or a column does not exist.
        """
        operations.invoke(
            cls(
                name,
                table,
                text=text,
                key=key,
                language=language,
                filters=filters,
                chunking=chunking,
                schema=schema,
            )
        )

    def definition(self, reader: Reader) -> IndexDefinition:
        """Return the search index written out, with what the migration left out."""
        source = reader.source(self.table, self.schema)
        source.require([*self.text, *self.filters])
        return IndexDefinition(
            name=self.name,
            schema=source.schema,
            table=self.table,
            key=source.key(self.key),
            text=tuple(TextColumn(name, weight) for name, weight in self.text.items()),
            language=self.language,
            filters=source.typed(self.filters),
            chunking=self.chunking,
        )

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return DropSearchIndexOp(self.name, self.table, schema=self.schema, create=self)


@Operations.register_operation("drop_search_index")
class DropSearchIndexOp(PgsearchOp):
    """Take a search index away; the table keeps its rows."""

    def __init__(
        self,
        name: str,
        table: str,
        *,
        schema: str | None = None,
        create: CreateSearchIndexOp | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.schema = schema
        self.create = create

    @classmethod
    def drop_search_index(
        cls, operations: Operations, name: str, table: str, *, schema: str | None = None
    ) -> None:
        """Drop a search index with its documents, chunks, embeddings, queue and functions."""
        operations.invoke(cls(name, table, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one; autogenerate knows what was dropped."""
        if self.create is None:
            raise ValueError(f"Dropping search index {self.name!r} does not say how it was made.")
        return self.create


class _EmbeddingOp(PgsearchOp):
    """What the operations on one embedding have in common."""

    def __init__(self, index: str, name: str, *, schema: str | None = None) -> None:
        self.index = index
        self.name = name
        self.schema = schema


@Operations.register_operation("add_embedding")
class AddEmbeddingOp(_EmbeddingOp):
    """Add a model version to a search index."""

    def __init__(self, index: str, embedding: Embedding, *, schema: str | None = None) -> None:
        super().__init__(index, embedding.name, schema=schema)
        self.embedding = embedding
        self.model = embedding.model
        self.m = embedding.m
        self.ef_construction = embedding.ef_construction

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
            schema: The source table's schema.
        """
        declared = Embedding(name, model, m=m, ef_construction=ef_construction)
        operations.invoke(cls(index, declared, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return DropEmbeddingOp(
            self.index, self.name, schema=self.schema, deactivate=True, embedding=self.embedding
        )


@Operations.register_operation("drop_embedding")
class DropEmbeddingOp(_EmbeddingOp):
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
class ActivateEmbeddingOp(_EmbeddingOp):
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
class DeactivateEmbeddingOp(_EmbeddingOp):
    """Take the active model version out of use."""

    @classmethod
    def deactivate_embedding(
        cls, operations: Operations, index: str, name: str, *, schema: str | None = None
    ) -> None:
        """Deactivate an embedding: search answers from keywords until one is activated."""
        operations.invoke(cls(index, name, schema=schema))


@Operations.implementation_for(InstallOp)
def _install(operations: Operations, operation: InstallOp) -> None:
    run(operations, install_ddl.install(operation.version))


@Operations.implementation_for(UninstallOp)
def _uninstall(operations: Operations, operation: UninstallOp) -> None:  # noqa: ARG001
    run(operations, install_ddl.uninstall())


@Operations.implementation_for(CreateSearchIndexOp)
def _create_search_index(operations: Operations, operation: CreateSearchIndexOp) -> None:
    run(operations, index_ddl.create_search_index(operation.definition(Reader(operations))))


@Operations.implementation_for(DropSearchIndexOp)
def _drop_search_index(operations: Operations, operation: DropSearchIndexOp) -> None:
    schema = Reader(operations).index_schema(operation.name, operation.schema)
    run(operations, index_ddl.drop_search_index(operation.name, operation.table, schema))


@Operations.implementation_for(AddEmbeddingOp)
def _add_embedding(operations: Operations, operation: AddEmbeddingOp) -> None:
    schema = Reader(operations).index_schema(operation.index, operation.schema)
    run(operations, embedding_ddl.add_embedding(schema, operation.index, operation.embedding))


@Operations.implementation_for(DropEmbeddingOp)
def _drop_embedding(operations: Operations, operation: DropEmbeddingOp) -> None:
    schema = Reader(operations).index_schema(operation.index, operation.schema)
    if operation.deactivate:
        run(operations, embedding_ddl.deactivate_embedding(schema, operation.index, operation.name))
    run(operations, embedding_ddl.drop_embedding(schema, operation.index, operation.name))


@Operations.implementation_for(ActivateEmbeddingOp)
def _activate_embedding(operations: Operations, operation: ActivateEmbeddingOp) -> None:
    schema = Reader(operations).index_schema(operation.index, operation.schema)
    statements = embedding_ddl.activate_embedding(
        schema, operation.index, operation.name, when_ready=operation.when_ready
    )
    run(operations, statements)


@Operations.implementation_for(DeactivateEmbeddingOp)
def _deactivate_embedding(operations: Operations, operation: DeactivateEmbeddingOp) -> None:
    schema = Reader(operations).index_schema(operation.index, operation.schema)
    run(operations, embedding_ddl.deactivate_embedding(schema, operation.index, operation.name))
