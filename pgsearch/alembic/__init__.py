"""pgsearch inside Alembic: `op.create_search_index` and its kin, and their autogeneration.

The package's entry point in the group `alembic.plugins` makes Alembic call `setup` when it is
imported, so that a migration needs no import of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from alembic.operations.ops import UpgradeOps
    from alembic.runtime.plugins import Plugin
    from alembic.util import PriorityDispatchResult

__all__ = ["setup"]


def setup(plugin: Plugin) -> None:
    """Register the operations and the comparison; called once, when Alembic is imported.

    The plugin's name begins with `alembic.autogenerate.`, so that Alembic's default for
    `autogenerate_plugins` takes it in: without the comparison, autogenerate would take the
    companion tables for foreign ones and drop them.
    """
    import pgvector.sqlalchemy  # noqa: F401  so that reflection knows the type `vector`
    from alembic.util import DispatchPriority

    from pgsearch.alembic import embeddings, grants, operations, reindex  # noqa: F401  they register

    for comparator, priority in (
        (_hide_companions, DispatchPriority.FIRST),
        (_compare, DispatchPriority.LAST),  # to see what Alembic itself has found
    ):
        plugin.add_autogenerate_comparator(
            comparator, "schema", qualifier="postgresql", priority=priority
        )


# Imported when they are called: while Alembic itself is being imported, it would be circular.
def _hide_companions(
    context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]
) -> PriorityDispatchResult:
    from pgsearch.alembic import compare

    return compare.hide_companions(context, upgrade, schemas)


def _compare(
    context: AutogenContext, upgrade: UpgradeOps, schemas: set[str | None]
) -> PriorityDispatchResult:
    from pgsearch.alembic import compare, render

    render.register()
    return compare.compare(context, upgrade, schemas)


class _Plugin(ModuleType):
    """This module. Alembic before 1.20.1 iterates over what an entry point names."""

    def __iter__(self) -> Iterator[ModuleType]:
        yield self


sys.modules[__name__].__class__ = _Plugin

# Alembic, when it is imported, calls `setup`, which imports the modules of this package. Whichever
# of them is imported first, Alembic has to be imported before.
import alembic  # noqa: E402, F401
