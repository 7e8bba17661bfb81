"""Looking into the catalogue from a migration, through SQLAlchemy and whatever driver it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations

from pgsearch.drift import Mend, Run, inspect
from pgsearch.errors import DeclarationError


def runner(connection: sa.Connection) -> Run:
    """Return what runs the queries of `pgsearch.drift` on a connection."""
    # The driver would read a single % as the start of a parameter.
    doubled = connection.dialect.paramstyle in ("format", "pyformat")

    def run(query: str) -> Sequence[Sequence[Any]]:
        return connection.exec_driver_sql(query.replace("%", "%%") if doubled else query).all()

    return run


def broken_indexes(
    operations: Operations, index: str, schema: str, key: Sequence[str] | None
) -> tuple[Sequence[str], frozenset[str] | None]:
    """Return a search index's key, and which indexes of its tables have to be built anew.

    Offline nothing can be looked at: the key is the one that is given, and the indexes are None,
    which stands for all of them.

    Raises:
        DeclarationError: The key is not known, for there is no database to ask.
        ObjectMissing: There is no such search index.
    """
    if operations.get_context().as_sql:
        if key is None:
            raise DeclarationError(
                f"Offline, the key of search index {index!r} is not known.",
                hint='Write it out, as in key=["id"].',
            )
        return key, None
    (found,) = inspect(runner(operations.get_bind()), f"{schema}.{index}").indexes
    broken = (f for f in found.findings if f.mend is Mend.REINDEX_KEYWORDS)
    columns = [column.name for column in found.definition.key]
    return columns, frozenset(finding.object.removeprefix("index ") for finding in broken)
