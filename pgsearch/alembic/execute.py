"""Running statements inside a migration, and reading what it left out.

Online, missing types are read from the catalogue. Offline there is no database: what cannot be
read must be written in the migration, and a table without a schema is taken to be in `public`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from alembic.operations import Operations

from pgsearch import resources
from pgsearch.definition import TypedColumn
from pgsearch.errors import DeclarationError, NotInstalled, ObjectMissing


def run(operations: Operations, statements: Iterable[str]) -> None:
    """Execute statements one by one, or print them in offline mode."""
    context = operations.get_context()
    for statement in statements:
        if context.as_sql:
            context.impl.static_output(f"{statement};\n")
        else:
            bind = operations.get_bind()
            # The driver would read a single % as the start of a parameter.
            doubled = bind.dialect.paramstyle in ("format", "pyformat")
            bind.exec_driver_sql(statement.replace("%", "%%") if doubled else statement)


@dataclass(frozen=True)
class Source:
    """A source table as the database has it; offline, only its name is known."""

    schema: str
    table: str
    columns: Mapping[str, str] | None = None
    primary_key: Sequence[str] = ()

    def require(self, names: Iterable[str]) -> None:
        """Raise ObjectMissing if a column does not exist."""
        if self.columns is None:
            return
        for name in names:
            if name not in self.columns:
                raise ObjectMissing(
                    f"Table {self.schema}.{self.table} has no column {name!r}.",
                    hint="It has " + ", ".join(repr(column) for column in self.columns) + ".",
                )

    def typed(self, wanted: Mapping[str, str] | Sequence[str]) -> tuple[TypedColumn, ...]:
        """Return columns with their types, as written or as the database has them."""
        if isinstance(wanted, Mapping):
            return tuple(TypedColumn(name, type_) for name, type_ in wanted.items())
        if wanted and self.columns is None:
            raise DeclarationError(
                f"Offline, the types of {', '.join(map(repr, wanted))} are not known.",
                hint=f'Write them out, as in {{"{wanted[0]}": "integer"}}.',
            )
        self.require(wanted)
        return tuple(TypedColumn(name, (self.columns or {})[name]) for name in wanted)

    def key(self, written: Mapping[str, str] | None) -> tuple[TypedColumn, ...]:
        """Return the primary key, as written or as the database has it."""
        if written is not None:
            self.require(written)
            return self.typed(written)
        if self.columns is None:
            raise DeclarationError(
                f"Offline, the primary key of {self.table!r} is not known.",
                hint='Write it out, as in key={"id": "bigint"}.',
            )
        return self.typed(self.primary_key)


class Reader:
    """Reads from the database of a migration what the migration does not say."""

    def __init__(self, operations: Operations) -> None:
        offline = operations.get_context().as_sql
        self._bind = None if offline else operations.get_bind()

    def source(self, table: str, schema: str | None) -> Source:
        """Return a source table; raise ObjectMissing if it does not exist."""
        if self._bind is None:
            return Source(schema or "public", table)
        query = sa.text(resources.sql("alembic/source.sql"))
        rows = self._bind.execute(query, {"table": table, "schema": schema}).all()
        if not rows:
            named = f"{schema}.{table}" if schema else table
            raise ObjectMissing(
                f"There is no table {named} to put a search index on.",
                hint="Create it in an earlier migration, or name its schema with schema=.",
            )
        return Source(
            schema=rows[0].schema,
            table=table,
            columns={row.column: row.type for row in rows},
            primary_key=[
                row.column
                for row in sorted(rows, key=lambda row: row.key_position or 0)
                if row.key_position
            ],
        )

    def index_schema(self, index: str, schema: str | None) -> str:
        """Return the schema of a search index; raise ObjectMissing if there is none so called."""
        if self._bind is None or schema is not None:
            return schema or "public"
        if self._bind.scalar(sa.text("SELECT to_regclass('pgsearch.search_index')")) is None:
            raise NotInstalled(
                "The schema pgsearch is not installed in this database.",
                hint="Call op.pgsearch_install(version=1) in an earlier migration.",
            )
        found = self._bind.scalars(
            sa.text("SELECT schema_name FROM pgsearch.search_index WHERE name = :name"),
            {"name": index},
        ).all()
        if len(found) == 1:
            return str(found[0])
        if found:
            raise ObjectMissing(
                f"{len(found)} schemas have a search index called {index!r}.",
                hint=f"Name one with schema=: {', '.join(map(repr, found))}.",
            )
        raise ObjectMissing(
            f"There is no search index {index!r}.",
            hint="Create it in an earlier migration, with op.create_search_index().",
        )
