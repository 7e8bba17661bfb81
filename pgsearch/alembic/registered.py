"""What the registry has, read through SQLAlchemy, in the words of declarations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pgsearch import resources
from pgsearch.declare import Embedding, Model
from pgsearch.definition import IndexDefinition, TypedColumn

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection


@dataclass(frozen=True)
class Registered:
    """A search index as the registry has it, with the name that its table has now."""

    definition: IndexDefinition
    template_version: int
    embeddings: dict[str, Embedding]
    states: dict[str, str]

    @property
    def active(self) -> str | None:
        """Name of the embedding that answers queries."""
        return next((name for name, state in self.states.items() if state == "active"), None)


def installed_version(connection: Connection) -> int | None:
    """Return the version of the schema `pgsearch`; None where it is not installed."""
    if connection.scalar(sa.text("SELECT to_regclass('pgsearch.installation')")) is None:
        return None
    version: int = connection.scalar(sa.text("SELECT max(version) FROM pgsearch.installation")) or 0
    return version


def read_registered(connection: Connection) -> dict[tuple[str, str], Registered]:
    """Return the search indexes of a database by schema and name."""
    if installed_version(connection) is None:
        return {}
    found: dict[tuple[str, str], Registered] = {}
    for row in connection.execute(sa.text(resources.sql("alembic/registered.sql"))):
        definition = IndexDefinition.from_json(row.definition)
        found[definition.schema, definition.name] = Registered(
            replace(definition, table=row.table_now or definition.table),
            row.template_version,
            {e["name"]: _embedding(e) for e in row.embeddings},
            {e["name"]: e["state"] for e in row.embeddings},
        )
    return found


def _embedding(row: dict[str, Any]) -> Embedding:
    return Embedding(
        row["name"],
        Model.from_json(row["model"]),
        m=row["m"],
        ef_construction=row["ef_construction"],
        # An older version of the registry has no place for it.
        type=row.get("vector_type", "vector"),
        index=row.get("index_type"),
    )


class Types:
    """How a database spells the types of key and filter columns: `varchar` has two names."""

    def __init__(self, connection: Connection, definitions: Iterable[IndexDefinition]) -> None:
        asked = {c.type for d in definitions for c in (*d.key, *d.filters)}
        rows = connection.execute(
            sa.text(resources.sql("alembic/types.sql")), {"types": sorted(asked)}
        )
        self._spelt: dict[str, str | None] = {row.asked: row.type for row in rows}

    def written(self, definition: IndexDefinition) -> IndexDefinition:
        """Return a definition as a migration writes it: types as the companions have them."""
        return self._respelt(definition, self._written)

    def comparable(self, definition: IndexDefinition) -> IndexDefinition:
        """Return a definition with one spelling for each type, to compare it with another."""
        return self._respelt(definition, lambda type_: self._spelt.get(type_) or type_)

    def _written(self, type_: str) -> str:
        spelt = self._spelt.get(type_)
        length = re.search(r"\((\d+(?:, ?\d+)?)\)", type_)
        if spelt is None:
            return type_
        if length is None or "." in spelt:
            return spelt
        head, *rest = spelt.split(" with", 1)
        return f"{head}({length[1].replace(' ', '')})" + "".join(f" with{part}" for part in rest)

    @staticmethod
    def _respelt(definition: IndexDefinition, spell: Any) -> IndexDefinition:
        def spelt(columns: Iterable[TypedColumn]) -> tuple[TypedColumn, ...]:
            return tuple(TypedColumn(c.name, spell(c.type)) for c in columns)

        return replace(definition, key=spelt(definition.key), filters=spelt(definition.filters))
