"""Running statements inside a migration, and reading what it left out.

Online, missing types are read from the catalogue. Offline there is no database: what cannot be
read must be written in the migration, and a table without a schema is taken to be in `public`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic.operations import Operations
from psycopg.sql import Identifier

from pgsearch import resources
from pgsearch.definition import Expression, TextColumn, TypedColumn, text_of
from pgsearch.errors import DeclarationError, NotInstalled, ObjectMissing
from pgsearch.schema.install import VERSION
from pgsearch.schema.steps import Kind, LockPatience, Step, in_one_transaction, written

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext


def run(operations: Operations, steps: Iterable[Step], *, uses: str | None = None) -> None:
    """Run steps, or print them in offline mode.

    A step that locks what others use, or that no transaction can hold, is run outside the
    migration's transaction, which is committed before and begun anew after. Where nobody can be
    waiting, all of it runs in the transaction: when the table was made in the same one, and when
    the migration runs in an outer transaction, as in a test that rolls it back.

    Args:
        operations: Given by Alembic.
        steps: What to do, in order.
        uses: The relation that the steps lock, as PostgreSQL quotes it.
    """
    context = operations.get_context()
    patience = _patience(context)
    if _is_in_place(operations, uses):
        for step in steps:
            _execute(operations, in_one_transaction(step))
        return
    is_apart = not context.as_sql and _is_autocommitting(context)
    with _without_notices(operations):
        for is_plain, group in groupby(steps, key=lambda step: step.kind is Kind.PLAIN):
            with _around(operations, is_plain=is_plain, is_apart=is_apart):
                for step in group:
                    _execute(operations, written(step, patience))


def _around(
    operations: Operations, *, is_plain: bool, is_apart: bool
) -> AbstractContextManager[None]:
    """Return what keeps plain steps in a transaction, and all others out of it."""
    if is_apart:
        return _one_transaction(operations) if is_plain else nullcontext()
    return nullcontext() if is_plain else operations.get_context().autocommit_block()


@contextmanager
def _one_transaction(operations: Operations) -> Iterator[None]:
    """Keep statements together where each would be a transaction of its own."""
    _execute(operations, ["BEGIN"])
    try:
        yield
    except BaseException:
        _execute(operations, ["ROLLBACK"])
        raise
    _execute(operations, ["COMMIT"])


@contextmanager
def _without_notices(operations: Operations) -> Iterator[None]:
    """Spare whoever runs a printed script the notices of what is not there to be dropped."""
    as_sql = operations.get_context().as_sql
    if as_sql:
        _execute(operations, ["SET client_min_messages = warning"])
    yield
    if as_sql:
        _execute(operations, ["RESET client_min_messages"])


def _execute(operations: Operations, statements: Iterable[str]) -> None:
    context = operations.get_context()
    for statement in statements:
        if context.as_sql:
            context.impl.static_output(f"{statement.removesuffix(';')};\n")
        else:
            try:
                query(operations, statement)
            except sa.exc.DBAPIError as error:
                # Its message ends with the statement, which would hide what is wrong, and the hint.
                error.statement = "\n".join([*statement.splitlines()[:3], "…"])
                raise


def query(operations: Operations, statement: str) -> sa.CursorResult[Any]:
    """Execute a statement as it is written: nothing in it is a parameter."""
    bind = operations.get_bind()
    # The driver would read a single % as the start of a parameter.
    doubled = bind.dialect.paramstyle in ("format", "pyformat")
    return bind.exec_driver_sql(statement.replace("%", "%%") if doubled else statement)


def _patience(context: MigrationContext) -> LockPatience:
    """Return what env.py has given to `context.configure(…)`, or the defaults."""
    options = {
        name: context.opts[f"pgsearch_lock_{name}"]
        for name in ("timeout_ms", "attempts")
        if f"pgsearch_lock_{name}" in context.opts
    }
    return LockPatience(**options)


def _is_in_place(operations: Operations, relation: str | None) -> bool:
    context = operations.get_context()
    if context.as_sql or _is_autocommitting(context):
        return False
    # Somebody else has begun the transaction, and alone may end it.
    is_others = context._transaction is None
    return is_others or _was_made_here(operations, relation)


def _is_autocommitting(context: MigrationContext) -> bool:
    """Return whether the migration has left its transaction already, with an autocommit block."""
    assert context.connection is not None
    return context.connection.get_isolation_level() == "AUTOCOMMIT"


def _was_made_here(operations: Operations, relation: str | None) -> bool:
    """Return whether a relation was created in this transaction, so that nobody else can see it."""
    if relation is None:
        return False
    query = sa.text(
        # Its row type: a change of the table writes another version of the table's own entry.
        "SELECT t.xmin = pg_current_xact_id_if_assigned()::xid FROM pg_catalog.pg_type AS t"
        " JOIN pg_catalog.pg_class AS c ON c.reltype = t.oid WHERE c.oid = to_regclass(:relation)"
    )
    return bool(operations.get_bind().scalar(query, {"relation": relation}))


def quoted(schema: str, name: str) -> str:
    """Return a qualified name as PostgreSQL reads it."""
    return Identifier(schema, name).as_string(None)


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

    def texts(self, wanted: Mapping[str, str | Expression]) -> tuple[TextColumn, ...]:
        """Return texts with their weights, and with the columns that expressions read."""
        texts = tuple(
            TextColumn(name, text)
            if isinstance(text, str)
            else text.text_column(name, self.columns)
            for name, text in wanted.items()
        )
        self.require(column for text in texts for column in text.read)
        for text in texts:
            type_ = (self.columns or {}).get(text.name, "") if text.sql is None else ""
            if type_ in ("json", "jsonb") or type_.endswith("[]"):
                raise DeclarationError(
                    f"Column {text.name!r} of {self.schema}.{self.table} is no text but {type_}.",
                    hint=f"Say how to read it, as in {{{text.name!r}: "
                    f"Expression({text_of(text.name, type_)!r}, weight={text.weight!r})}}.",
                )
        return texts

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

    def index_schema(self, index: str, schema: str | None, *, or_dropped: bool = False) -> str:
        """Return the schema of a search index; raise ObjectMissing if there is none so called.

        Args:
            index: The search index.
            schema: Its schema, if the migration says so.
            or_dropped: Whether it may be one that was dropped, by a migration that stopped in its
                middle and is run again.
        """
        if self._bind is None or schema is not None:
            return schema or "public"
        if self._bind.scalar(sa.text("SELECT to_regclass('pgsearch.search_index')")) is None:
            raise NotInstalled(
                "The schema pgsearch is not installed in this database.",
                hint=f"Call op.pgsearch_install(version={VERSION}) in an earlier migration.",
            )
        query = sa.text(resources.sql("alembic/index_schema.sql"))
        found = self._bind.scalars(query, {"name": index, "or_dropped": or_dropped}).all()
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
