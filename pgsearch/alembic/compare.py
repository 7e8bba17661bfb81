"""Autogenerate: what the metadata declares against what the registry has.

A search index that is only declared is created, one that is only registered is dropped, and so are
embeddings. The tables that pgsearch itself keeps are left alone.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from alembic.util import CommandError, PriorityDispatchResult

from pgsearch import resources
from pgsearch.alembic import embeddings as embedding_op
from pgsearch.alembic import operations as op
from pgsearch.declare import Embedding, Model, SearchIndex, declared_on
from pgsearch.definition import IndexDefinition, TypedColumn
from pgsearch.schema.install import VERSION

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Registered:
    """A search index as the registry has it."""

    definition: IndexDefinition
    embeddings: dict[str, Embedding]
    states: dict[str, str]

    @property
    def active(self) -> str | None:
        return next((name for name, state in self.states.items() if state == "active"), None)


def hide_companions(
    context: AutogenContext,
    upgrade: UpgradeOps,  # noqa: ARG001
    schemas: set[str | None],  # noqa: ARG001
) -> PriorityDispatchResult:
    """Keep Alembic from reflecting pgsearch's own tables and reporting them as removed.

    `compare` takes back what is done to them anyway; this spares the reflection and the log.
    """
    connection = context.connection
    filters = getattr(context, "_name_filters", None)
    assert connection is not None
    if isinstance(filters, list) and _is_installed(connection):
        default_schema = connection.dialect.default_schema_name or "public"
        companions = _companions(_registered(connection).values())

        def is_the_applications(name: str | None, type_: str, parents: Any) -> bool:
            if type_ == "schema":
                return name != "pgsearch"
            schema = parents.get("schema_name") or default_schema
            return type_ != "table" or (schema, name) not in companions

        filters.append(is_the_applications)
    return PriorityDispatchResult.CONTINUE


def compare(
    context: AutogenContext,
    upgrade: UpgradeOps,
    schemas: set[str | None],  # noqa: ARG001  what is declared says where it lies
) -> PriorityDispatchResult:
    """Add what is missing to a migration, and keep pgsearch's own tables out of it."""
    connection = context.connection
    assert connection is not None
    default_schema = connection.dialect.default_schema_name or "public"
    is_installed = _is_installed(connection)
    registered = _registered(connection) if is_installed else {}
    declared = _declared(context.sorted_tables, default_schema)
    _leave_companions_alone(upgrade, registered.values(), default_schema)
    removed = [
        operation
        for key, index in registered.items()
        if key not in declared and _is_in_sight(context, index, default_schema)
        for operation in _dropped(index, default_schema)
    ]
    added = [
        operation
        for key, index in declared.items()
        for operation in (
            _changed(index, registered[key], default_schema)
            if key in registered
            else _created(index.definition(default_schema), default_schema, index.embeddings)
        )
    ]
    if added and not is_installed:
        added.insert(0, op.InstallOp(VERSION))
    # A search index goes before its table does, and comes after it.
    upgrade.ops[:0] = removed
    upgrade.ops.extend(added)
    return PriorityDispatchResult.CONTINUE


def _is_installed(connection: Connection) -> bool:
    return connection.scalar(sa.text("SELECT to_regclass('pgsearch.search_index')")) is not None


def _registered(connection: Connection) -> dict[tuple[str, str], _Registered]:
    found: dict[tuple[str, str], _Registered] = {}
    for row in connection.execute(sa.text(resources.sql("alembic/registered.sql"))):
        definition = IndexDefinition.from_json(row.definition)
        found[definition.schema, definition.name] = _Registered(
            definition,
            {
                e["name"]: Embedding(
                    e["name"],
                    Model.from_json(e["model"]),
                    m=e["m"],
                    ef_construction=e["ef_construction"],
                )
                for e in row.embeddings
            },
            {e["name"]: e["state"] for e in row.embeddings},
        )
    return found


def _declared(
    tables: Iterable[sa.Table], default_schema: str
) -> dict[tuple[str, str], SearchIndex]:
    return {
        (table.schema or default_schema, name): index
        for table in tables
        for name, index in declared_on(table).items()
    }


def _companions(registered: Iterable[_Registered]) -> set[tuple[str, str]]:
    return {
        (index.definition.schema, name)
        for index in registered
        for name in index.definition.names.tables
    }


def _leave_companions_alone(
    upgrade: UpgradeOps, registered: Iterable[_Registered], default_schema: str
) -> None:
    """Take back what autogenerate wants to do to tables that only pgsearch knows."""
    companions = _companions(registered)

    def is_ours(operation: MigrateOperation) -> bool:
        if not isinstance(operation, (DropTableOp, ModifyTableOps)):
            return False
        schema = operation.schema or default_schema
        return schema == "pgsearch" or (schema, operation.table_name) in companions

    upgrade.ops[:] = [operation for operation in upgrade.ops if not is_ours(operation)]


def _is_in_sight(context: AutogenContext, index: _Registered, default_schema: str) -> bool:
    """Return whether this metadata is about the search index's table.

    With several environments on one database, each must leave the others' alone: the table is
    this one's if it declares it, or if autogenerate is about to drop it.
    """
    definition = index.definition
    schema = None if definition.schema == default_schema else definition.schema
    if not context.opts.get("include_schemas", False) and schema is not None:
        keys = {(table.schema or default_schema, table.name) for table in context.sorted_tables}
        return (definition.schema, definition.table) in keys
    return bool(
        context.run_name_filters(schema, "schema", {})
        and context.run_name_filters(definition.table, "table", {"schema_name": schema})
    )


def _schema_argument(definition: IndexDefinition, default_schema: str) -> str | None:
    return None if definition.schema == default_schema else definition.schema


def _created(
    definition: IndexDefinition, default_schema: str, embeddings: Iterable[Embedding]
) -> list[MigrateOperation]:
    """Return what creates a search index with its embeddings."""
    schema = _schema_argument(definition, default_schema)
    create = op.CreateSearchIndexOp.of(definition, schema)
    return [
        create,
        *(embedding_op.AddEmbeddingOp(definition.name, e, schema=schema) for e in embeddings),
    ]


def _dropped(index: _Registered, default_schema: str) -> list[MigrateOperation]:
    """Return what drops a search index with its embeddings: creating it, undone."""
    created = _created(index.definition, default_schema, index.embeddings.values())
    return [operation.reverse() for operation in reversed(created)]


def _changed(
    index: SearchIndex, registered: _Registered, default_schema: str
) -> Iterator[MigrateOperation]:
    """Yield what brings a registered search index to its declaration."""
    definition = index.definition(default_schema)
    schema = _schema_argument(definition, default_schema)
    declared = {embedding.name: embedding for embedding in index.embeddings}
    if _comparable(definition) != _comparable(registered.definition):
        raise CommandError(
            f"Search index {definition.name!r} is declared otherwise than it was created. "
            "Autogenerate cannot change one in place yet: declare it under a new name beside "
            "the old one, or drop it and create it anew."
        )
    for name, embedding in declared.items():
        known = registered.embeddings.get(name)
        if known is None:
            yield embedding_op.AddEmbeddingOp(definition.name, embedding, schema=schema)
        elif known != embedding:
            raise CommandError(
                f"Embedding {name!r} of search index {definition.name!r} is declared with "
                "another model or other HNSW parameters than it was added with. A model is "
                "never changed in place: declare it as one more Embedding with a name of its own."
            )
    yield from _activated(index, registered, schema)
    for name, known in registered.embeddings.items():
        if name not in declared:
            yield embedding_op.DropEmbeddingOp(
                definition.name, name, schema=schema, embedding=known
            )


def _activated(
    index: SearchIndex, registered: _Registered, schema: str | None
) -> Iterator[MigrateOperation]:
    """Yield the activation of the embedding that is declared active, if it can be activated."""
    wanted = index.active_embedding
    active = registered.active
    if active is None or wanted is None or wanted.name == active:
        return  # a first embedding activates itself
    must = index.active is not None or active not in {e.name for e in index.embeddings}
    if registered.states.get(wanted.name) == "ready":
        if must:
            yield embedding_op.ActivateEmbeddingOp(
                index.name, wanted.name, schema=schema, before=active
            )
        return
    if active not in {e.name for e in index.embeddings}:
        raise CommandError(
            f"Embedding {active!r} of search index {index.name!r} answers queries and is no "
            f"longer declared, and {wanted.name!r} is not ready to take its place. Declare both, "
            f"migrate, run `pgsearch sync`, and then remove {active!r}."
        )
    log.warning(
        "Embedding %r of search index %r is declared active but is not ready: this migration "
        "does not activate it. Run `pgsearch sync`, then generate the next one.",
        wanted.name,
        index.name,
    )


def _comparable(definition: IndexDefinition) -> IndexDefinition:
    """Return a definition with one spelling for each type: `varchar(9)` has two names."""

    def spelt(columns: Iterable[TypedColumn]) -> tuple[TypedColumn, ...]:
        return tuple(TypedColumn(c.name, _spelling(c.type)) for c in columns)

    return replace(definition, key=spelt(definition.key), filters=spelt(definition.filters))


#: How SQLAlchemy writes a type, and how PostgreSQL shows it.
_SPELLINGS = {
    "varchar": "character varying",
    "char": "character",
    "decimal": "numeric",
    "int": "integer",
    "float": "double precision",
    "bool": "boolean",
    "timestamp": "timestamp without time zone",
    "time": "time without time zone",
}


def _spelling(type_: str) -> str:
    word = re.match(r"\w+", type_)
    if word is None or type_.endswith("time zone"):
        return type_
    return _SPELLINGS.get(word[0], word[0]) + type_[word.end() :].replace(", ", ",")
