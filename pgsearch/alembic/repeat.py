"""Migrations that may have to be run again from their beginning.

What locks something is run outside of a migration's transaction, which is committed before. If such
a migration stops in its middle, then what came before is done, and is met again. The operations of
pgsearch can be repeated; Alembic's own can where they say IF EXISTS or IF NOT EXISTS.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from alembic.operations import MigrateOperation
from alembic.operations.ops import CreateTableOp, OpContainer, UpgradeOps

from pgsearch.alembic import embeddings, grants, operations
from pgsearch.alembic.common import PgsearchOp

#: What runs in the migration's transaction.
_STAYS = (
    operations.InstallOp,
    operations.UninstallOp,
    embeddings.ActivateEmbeddingOp,
    embeddings.DeactivateEmbeddingOp,
    embeddings.RetireEmbeddingOp,
    embeddings.RestoreEmbeddingOp,
    grants.GrantOp,
)


def make_repeatable(upgrade: UpgradeOps) -> None:
    """Let Alembic's operations be repeated in a migration that leaves its transaction."""
    flat = [*_flat(upgrade.ops)]
    new_tables = {op.table_name for op in flat if isinstance(op, CreateTableOp)}
    new_indexes = {
        op.name
        for op in flat
        if isinstance(op, operations.CreateSearchIndexOp) and op.table in new_tables
    }

    def leaves(op: MigrateOperation) -> bool:
        if not isinstance(op, PgsearchOp) or isinstance(op, _STAYS):
            return False
        # Of a search index on a table that nobody else can see yet, all is done in place.
        return getattr(op, "index", getattr(op, "name", None)) not in new_indexes

    if any(map(leaves, flat)):
        for op in flat:
            for option in ("if_exists", "if_not_exists"):
                if getattr(op, option, True) is None:
                    setattr(op, option, True)


def _flat(ops: Iterable[MigrateOperation]) -> Iterator[MigrateOperation]:
    for op in ops:
        if isinstance(op, OpContainer):
            yield from _flat(op.ops)
        else:
            yield op
