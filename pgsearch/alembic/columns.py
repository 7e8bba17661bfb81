"""Where an alteration of a search index stands among the changes of its table's columns.

A column must be there before the search index reads it, and must not be read any more when it is
dropped. PostgreSQL refuses to change the type of a column that is read: the search index has to
let go of it before.
"""

from __future__ import annotations

from alembic.operations import MigrateOperation
from alembic.operations.ops import AlterColumnOp, DropColumnOp, ModifyTableOps, UpgradeOps

from pgsearch.alembic.operations import AlterSearchIndexOp, SuspendSearchIndexOp
from pgsearch.definition import IndexDefinition


def arrange(
    upgrade: UpgradeOps, registered: IndexDefinition, alter: AlterSearchIndexOp | None
) -> tuple[list[MigrateOperation], list[MigrateOperation], list[MigrateOperation]]:
    """Take the drops of columns that are read out of a migration, and say what comes where.

    Args:
        upgrade: What autogenerate has found; drops of columns are taken out of it.
        registered: The search index as it is.
        alter: What changes it, if anything does.

    Returns:
        What comes before the changes of the table; the alteration; and what comes after it.
    """
    used = {*registered.read_columns, *(c.name for c in (*registered.key, *registered.filters))}
    drops: list[MigrateOperation] = []
    retyped: set[str] = set()
    for changes in _changes(upgrade, registered):
        for change in list(changes.ops):
            if isinstance(change, DropColumnOp) and change.column_name in used:
                changes.ops.remove(change)
                tail = ModifyTableOps(changes.table_name, [change], schema=changes.schema)
                drops.append(tail)
            elif isinstance(change, AlterColumnOp) and change.modify_type is not None:
                retyped |= {change.column_name} & used
    before: list[MigrateOperation] = []
    if retyped:
        alter = alter or _unchanged(registered, upgrade)
        suspend = SuspendSearchIndexOp(
            registered.name,
            registered.table,
            filters=bool(retyped & {c.name for c in (*registered.key, *registered.filters)}),
            schema=alter.schema,
        )
        alter.refill = True
        suspend.end_with(alter)
        before.append(suspend)
    return before, [] if alter is None else [alter], drops


def _changes(upgrade: UpgradeOps, registered: IndexDefinition) -> list[ModifyTableOps]:
    return [
        operation
        for operation in upgrade.ops
        if isinstance(operation, ModifyTableOps)
        and operation.table_name == registered.table
        and operation.schema in (None, registered.schema)
    ]


def _unchanged(registered: IndexDefinition, upgrade: UpgradeOps) -> AlterSearchIndexOp:
    """Return the alteration that only takes hold of the table again."""
    schema = next(change.schema for change in _changes(upgrade, registered))
    return AlterSearchIndexOp.of(
        registered, schema, before=registered, reasons=["a column's type changes"]
    )
