"""The operations that a migration calls, each with its reverse.

| operation                 | reverse                                     |
| ------------------------- | ------------------------------------------- |
| `op.pgsearch_install`     | `op.pgsearch_uninstall`                     |
| `op.create_search_index`  | `op.drop_search_index`                      |
| `op.alter_search_index`   | itself, with the definition before          |
| `op.reindex_search_index` | nothing: it changes nothing that was right  |
| `op.suspend_search_index` | none: `op.alter_search_index` ends it       |

Those on embeddings are in `pgsearch.alembic.embeddings`, those on roles in
`pgsearch.alembic.grants`. Each is a list of steps of plain SQL, so
each also works in Alembic's offline mode, `--sql`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alembic.operations import MigrateOperation, Operations

from pgsearch.alembic.catalogue import broken_indexes
from pgsearch.alembic.common import DefiningOp, NothingOp, PgsearchOp
from pgsearch.alembic.execute import Reader, quoted, run
from pgsearch.definition import BM25, Chunking, Expression, IndexDefinition
from pgsearch.names import IndexNames
from pgsearch.schema import companions
from pgsearch.schema import index as index_ddl
from pgsearch.schema import install as install_ddl


@Operations.register_operation("pgsearch_install")
class InstallOp(PgsearchOp):
    """Create the schema `pgsearch`, and the extension pgvector where it is missing."""

    def __init__(self, version: int, *, before: int | None = None) -> None:
        self.version = version
        self.before = before

    @classmethod
    def pgsearch_install(
        cls, operations: Operations, *, version: int = install_ddl.VERSION
    ) -> None:
        """Bring the schema `pgsearch` to a version at least.

        That is the newest one, for the operations of this package are written for it, also those
        of an earlier migration. Versions only add, so there is no way back and no need for one.

        Args:
            operations: Given by Alembic.
            version: The version that the migration needs.

        Raises:
            DeclarationError: This package does not know the version.
            sqlalchemy.exc.DBAPIError: The server has no pgvector, or one older than 0.8.0.
        """
        operations.invoke(cls(version))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one: an upgrade of the schema stays."""
        return UninstallOp() if self.before is None else InstallOp(self.before)


@Operations.register_operation("pgsearch_uninstall")
class UninstallOp(PgsearchOp):
    """Drop the schema `pgsearch`; the extension stays."""

    @classmethod
    def pgsearch_uninstall(cls, operations: Operations) -> None:
        """Drop the schema `pgsearch`; refused while search indexes exist."""
        operations.invoke(cls())


@Operations.register_operation("create_search_index")
class CreateSearchIndexOp(DefiningOp):
    """Put a search index beside a table."""

    @classmethod
    def create_search_index(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        text: Mapping[str, str | Expression],
        key: Mapping[str, str] | None = None,
        language: str = "english",
        language_column: str | None = None,
        filters: Mapping[str, str] | Sequence[str] = (),
        chunking: Chunking | None = None,
        stale: str = "serve",
        bm25: BM25 | None = None,
        notify: bool = False,
        schema: str | None = None,
    ) -> None:
        """Create a search index. Rows that exist already are left to the worker.

        Args:
            operations: Given by Alembic.
            name: Its name; the search function is called so.
            table: The table.
            text: Text columns with their weights, as in {"title": "A", "body": "B"}, and
                expressions by a name of your own: {"notes": Expression("data ->> 'notes'", …)}.
            key: Its primary key with types, as in {"id": "bigint"}; read from the database when
                left out, which offline mode cannot.
            language: Text search configuration.
            language_column: A column that names a row's own, as in 'german' or 'de'; rows that
                name none are read in `language`.
            filters: Columns that the search function takes as named parameters, with their types
                or, where the database can be read, by name.
            chunking: How text is cut into passages.
            stale: What becomes of passages of a text that has changed, until its new ones are
                embedded: "serve" finds them, marked, "hide" does not.
            bm25: How keywords are ranked.
            notify: Whether a change wakes the workers that listen.
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
                language_column=language_column,
                filters=filters,
                chunking=chunking,
                stale=stale,
                bm25=bm25,
                notify=notify,
                schema=schema,
            )
        )

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return DropSearchIndexOp(self.name, self.table, schema=self.schema, create=self)


@Operations.register_operation("alter_search_index")
class AlterSearchIndexOp(DefiningOp):
    """Bring a search index to another definition, or mend it."""

    def __init__(
        self,
        name: str,
        table: str,
        *,
        refill: bool = False,
        before: IndexDefinition | None = None,
        reasons: Sequence[str] = (),
        **definition: Any,
    ) -> None:
        super().__init__(name, table, **definition)
        self.refill = refill
        self.before = before
        self.reasons = tuple(reasons)
        #: What let go of the table before it, if anything did.
        self.suspension: SuspendSearchIndexOp | None = None

    @classmethod
    def alter_search_index(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        text: Mapping[str, str | Expression],
        key: Mapping[str, str] | None = None,
        language: str = "english",
        language_column: str | None = None,
        filters: Mapping[str, str] | Sequence[str] = (),
        chunking: Chunking | None = None,
        stale: str = "serve",
        bm25: BM25 | None = None,
        notify: bool = False,
        schema: str | None = None,
        refill: bool = False,
    ) -> None:
        """Bring a search index to this definition, whatever it was before.

        Its functions, views and triggers are made anew. What has to be done again for its rows
        is left to workers, and is no more than the change asks for: filters nothing, weights and
        language the tsvectors, chunking the chunks, text columns both. Search answers meanwhile,
        and chunks that come out as before keep their vectors.

        Args:
            operations: Given by Alembic.
            name: The search index.
            table: Its table.
            text: As in `create_search_index`.
            key: As in `create_search_index`; it cannot be changed.
            language: As in `create_search_index`.
            language_column: As in `create_search_index`.
            filters: As in `create_search_index`.
            chunking: As in `create_search_index`.
            stale: As in `create_search_index`.
            bm25: As in `create_search_index`.
            notify: As in `create_search_index`.
            schema: The table's schema.
            refill: Whether workers shall do everything again, for changes may have been missed.
        """
        operations.invoke(
            cls(
                name,
                table,
                text=text,
                key=key,
                language=language,
                language_column=language_column,
                filters=filters,
                chunking=chunking,
                stale=stale,
                bm25=bm25,
                notify=notify,
                schema=schema,
                refill=refill,
            )
        )

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one; autogenerate knows what was before."""
        if self.suspension is not None:
            return self.suspension
        if self.before is None and self.reasons:
            return NothingOp()
        if self.before is None:
            raise ValueError(
                f"Altering search index {self.name!r} does not say what it was before."
            )
        return type(self).of(self.before, self.schema)

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what `alembic check` prints: the operation, and why it is needed."""
        return (*super().to_diff_tuple(), *self.reasons)


@Operations.register_operation("reindex_search_index")
class ReindexSearchIndexOp(PgsearchOp):
    """Build indexes of a search index's own tables anew."""

    def __init__(
        self,
        name: str,
        table: str,
        *,
        key: Sequence[str] | None = None,
        schema: str | None = None,
        reasons: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.table = table
        self.key = None if key is None else list(key)
        self.schema = schema
        self.reasons = tuple(reasons)

    @classmethod
    def reindex_search_index(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        key: Sequence[str] | None = None,
        schema: str | None = None,
    ) -> None:
        """Build what is missing, INVALID or altered of the indexes of keywords, chunks and queue.

        They are built CONCURRENTLY, beside the old ones: nobody waits for it but the migration.
        HNSW indexes have `reindex_embedding`. Offline, where nothing can be looked at, all of
        them are built anew.

        Args:
            operations: Given by Alembic.
            name: The search index.
            table: Its table.
            key: The columns of its key; read from the database when left out, which offline mode
                cannot.
            schema: The table's schema.
        """
        operations.invoke(cls(name, table, key=key, schema=schema))

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one: there is nothing to undo."""
        return NothingOp()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what `alembic check` prints: the operation, and why it is needed."""
        return (*super().to_diff_tuple(), *self.reasons)


@Operations.register_operation("suspend_search_index")
class SuspendSearchIndexOp(PgsearchOp):
    """Let go of a search index's table, so that its columns can be changed."""

    def __init__(
        self,
        name: str,
        table: str,
        *,
        filters: bool = False,
        schema: str | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.filters = filters
        self.schema = schema
        self.end: AlterSearchIndexOp | None = None

    def end_with(self, alter: AlterSearchIndexOp) -> None:
        """Note what takes hold of the table again, so that both can be undone."""
        assert alter.before is not None
        alter.suspension = self
        self.end = AlterSearchIndexOp.of(alter.before, self.schema, refill=True)

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one; autogenerate knows what was before."""
        if self.end is None:
            raise ValueError(f"Suspending search index {self.name!r} does not say what it was.")
        return self.end

    @classmethod
    def suspend_search_index(
        cls,
        operations: Operations,
        name: str,
        table: str,
        *,
        filters: bool = False,
        schema: str | None = None,
    ) -> None:
        """Let go of the table for a change of a column's type, which PostgreSQL refuses else.

        Search answers meanwhile, from what is there. Nothing is captured until
        `alter_search_index(…, refill=True)`, which has to follow the change.

        Args:
            operations: Given by Alembic.
            name: The search index.
            table: Its table.
            filters: Whether a filter column, or one of the key, is to be changed; searches with
                filters, and those under row-level security, fail meanwhile.
            schema: The table's schema.
        """
        operations.invoke(cls(name, table, filters=filters, schema=schema))


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


@Operations.implementation_for(InstallOp)
def _install(operations: Operations, operation: InstallOp) -> None:
    run(operations, install_ddl.install(operation.version))


@Operations.implementation_for(UninstallOp)
def _uninstall(operations: Operations, operation: UninstallOp) -> None:  # noqa: ARG001
    run(operations, install_ddl.uninstall())


@Operations.implementation_for(CreateSearchIndexOp)
def _create_search_index(operations: Operations, operation: CreateSearchIndexOp) -> None:
    definition = operation.definition(Reader(operations))
    run(operations, index_ddl.create_search_index(definition), uses=_source(definition))


@Operations.implementation_for(AlterSearchIndexOp)
def _alter_search_index(operations: Operations, operation: AlterSearchIndexOp) -> None:
    definition = operation.definition(Reader(operations))
    steps = index_ddl.alter_search_index(definition, refill=operation.refill)
    run(operations, steps, uses=_source(definition))


@Operations.implementation_for(NothingOp)
def _nothing(operations: Operations, operation: NothingOp) -> None:
    pass


@Operations.implementation_for(ReindexSearchIndexOp)
def _reindex_search_index(operations: Operations, operation: ReindexSearchIndexOp) -> None:
    schema = Reader(operations).index_schema(operation.name, operation.schema)
    key, broken = broken_indexes(operations, operation.name, schema, operation.key)
    steps = companions.reindex_search_index(schema, operation.name, key, only=broken)
    run(operations, steps, uses=quoted(schema, IndexNames(operation.name).document))


@Operations.implementation_for(SuspendSearchIndexOp)
def _suspend_search_index(operations: Operations, operation: SuspendSearchIndexOp) -> None:
    schema = Reader(operations).index_schema(operation.name, operation.schema)
    steps = index_ddl.suspend_search_index(
        operation.name, operation.table, schema, filters=operation.filters
    )
    run(operations, steps, uses=quoted(schema, operation.table))


@Operations.implementation_for(DropSearchIndexOp)
def _drop_search_index(operations: Operations, operation: DropSearchIndexOp) -> None:
    schema = Reader(operations).index_schema(operation.name, operation.schema, or_dropped=True)
    steps = index_ddl.drop_search_index(operation.name, operation.table, schema)
    run(operations, steps, uses=quoted(schema, operation.table))


def _source(definition: IndexDefinition) -> str:
    return quoted(definition.schema, definition.table)
