"""Building an index anew beside the one that is in use."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal

from pgsearch.schema.steps import Step, concurrent, locked
from pgsearch.schema.templates import render


@dataclass(frozen=True)
class Swap:
    """An index that is built under another name and then takes its place.

    At every moment there is one of them under the name that is used, if there was one before; so
    this can stop anywhere and be done again.

    Args:
        schema: Its schema.
        name: Its name.
        new: Its name while it is being built.
        old: The name of the one before, until it is dropped.
    """

    schema: str
    name: str
    new: str
    old: str

    def steps(self, create: str) -> list[Step]:
        """Return the steps; `create` builds it under its new name, CONCURRENTLY."""
        holes = {
            "new_name": Literal(Identifier(self.schema, self.new).as_string(None)),
            "new": Identifier(self.schema, self.new),
            "index": Identifier(self.schema, self.name),
            "index_plain": Identifier(self.name),
            "old_plain": Identifier(self.old),
        }
        return [
            # A build that failed in its middle has left an invalid one.
            concurrent(self._drop(self.new), self._drop(self.old), create),
            locked(f"The name of index {self.name}", render("swap_index.sql", holes)),
            concurrent(self._drop(self.old)),
        ]

    def _drop(self, name: str) -> str:
        drop = SQL("DROP INDEX CONCURRENTLY IF EXISTS {}")
        return drop.format(Identifier(self.schema, name)).as_string(None)
