"""Autogenerate: what the metadata declares against what the registry has.

A search index that is only declared is created, one that is only registered is dropped, and one
that is both is brought to its declaration. The tables that pgsearch itself keeps are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate.api import AutogenContext
from alembic.operations import MigrateOperation
from alembic.operations.ops import DropTableOp, ModifyTableOps, UpgradeOps
from alembic.util import PriorityDispatchResult

from pgsearch.alembic import operations as op
from pgsearch.alembic.catalogue import runner
from pgsearch.alembic.changes import Change, created, dropped, mended
from pgsearch.alembic.columns import arrange
from pgsearch.alembic.mend import mends
from pgsearch.alembic.registered import Registered, Types, installed_version, read_registered
from pgsearch.alembic.repeat import make_repeatable
from pgsearch.declare import SearchIndex, declared_on
from pgsearch.drift import Inspection, inspect
from pgsearch.schema.install import VERSION


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
    registered = read_registered(connection)
    if isinstance(filters, list) and (registered or installed_version(connection)):
        default_schema = connection.dialect.default_schema_name or "public"
        companions = _companions(registered.values())

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
    registered = read_registered(connection)
    declared = _declared(context.sorted_tables, default_schema)
    definitions = {key: index.definition(default_schema) for key, index in declared.items()}
    types = Types(connection, [*definitions.values(), *(r.definition for r in registered.values())])
    _leave_companions_alone(upgrade, registered.values(), default_schema)

    inspection = _inspection(connection)
    found = {(i.definition.schema, i.definition.name): i for i in inspection.indexes}
    first: list[MigrateOperation] = []
    last: list[MigrateOperation] = []
    for key, known in registered.items():
        if key not in declared and _is_in_sight(context, known, default_schema):
            first += dropped(known, default_schema)
    for key, index in declared.items():
        if key not in registered:
            last += created(types.written(definitions[key]), index.embeddings, default_schema)
            continue
        # As it was made, but with the names that columns have now.
        now = replace(registered[key], definition=found[key].definition)
        change = Change(index, definitions[key], now, types, default_schema)
        before, alter, after = arrange(upgrade, now.definition, change.alter())
        first += before
        needed = [*alter, *change.embeddings()]
        last += [*mended(found[key].findings, needed, default_schema), *after]
    # A search index goes before its table does, and comes after it.
    install = _installed(connection, declared)
    if declared and not install:
        install = mends(inspection.schema)
    upgrade.ops[:] = [*install, *first, *upgrade.ops, *last]
    make_repeatable(upgrade)
    return PriorityDispatchResult.CONTINUE


def _inspection(connection: sa.Connection) -> Inspection:
    """Return what the search indexes of a database are, and what is wrong with them."""
    if installed_version(connection) is None:
        return Inspection((), ())
    return inspect(runner(connection))


def _installed(
    connection: sa.Connection, declared: dict[tuple[str, str], SearchIndex]
) -> list[MigrateOperation]:
    """Return what brings the schema `pgsearch` to this package's version, if anything needs it."""
    version = installed_version(connection)
    is_behind = version is None or version < VERSION
    return [op.InstallOp(VERSION, before=version)] if declared and is_behind else []


def _declared(
    tables: Iterable[sa.Table], default_schema: str
) -> dict[tuple[str, str], SearchIndex]:
    return {
        (table.schema or default_schema, name): index
        for table in tables
        for name, index in declared_on(table).items()
    }


def _companions(registered: Iterable[Registered]) -> set[tuple[str, str]]:
    return {
        (index.definition.schema, name)
        for index in registered
        for name in index.definition.names.tables
    }


def _leave_companions_alone(
    upgrade: UpgradeOps, registered: Iterable[Registered], default_schema: str
) -> None:
    """Take back what autogenerate wants to do to tables that only pgsearch knows."""
    companions = _companions(registered)

    def is_ours(operation: MigrateOperation) -> bool:
        if not isinstance(operation, (DropTableOp, ModifyTableOps)):
            return False
        schema = operation.schema or default_schema
        return schema == "pgsearch" or (schema, operation.table_name) in companions

    upgrade.ops[:] = [operation for operation in upgrade.ops if not is_ours(operation)]


def _is_in_sight(context: AutogenContext, index: Registered, default_schema: str) -> bool:
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
