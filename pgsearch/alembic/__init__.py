"""pgsearch inside Alembic: `op.create_search_index` and its kin, and their autogeneration.

The package's entry point in the group `alembic.plugins` makes Alembic call `setup` when it is
imported, so that a migration needs no import of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import UpgradeOps
    from alembic.runtime.plugins import Plugin
    from alembic.util import PriorityDispatchResult

__all__ = ["setup"]


def setup(plugin: Plugin) -> None:
    """Register the operations and the comparison; called once, when Alembic is imported.

    The comparison runs where env.py asks for it:
    `context.configure(autogenerate_plugins=["alembic.autogenerate.*", "pgsearch"], …)`.
    """
    import pgvector.sqlalchemy  # noqa: F401  so that reflection knows the type `vector`
    from alembic.util import DispatchPriority

    from pgsearch.alembic import operations  # noqa: F401  importing registers them

    # Last, to see what Alembic itself has found.
    plugin.add_autogenerate_comparator(
        _compare, "schema", qualifier="postgresql", priority=DispatchPriority.LAST
    )


def _compare(
    context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]
) -> PriorityDispatchResult:
    """Compare, with imports that would be circular while Alembic itself is being imported."""
    from pgsearch.alembic import compare, render

    render.register()
    return compare.compare(context, upgrade, schemas)
