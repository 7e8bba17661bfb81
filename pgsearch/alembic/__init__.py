"""pgsearch inside Alembic: `op.create_search_index` and its kin.

The package's entry point in the group `alembic.plugins` makes Alembic call `setup` when it is
imported, so that a migration needs no import of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.runtime.plugins import Plugin

__all__ = ["setup"]


def setup(plugin: Plugin) -> None:  # noqa: ARG001  comparators will be added to the plugin
    """Register the operations; called by Alembic once, when it is imported."""
    from pgsearch.alembic import operations  # noqa: F401  importing registers them
