"""The schema `pgsearch` into DDL, by version.

`schema.sql` is the whole of the newest version, which a database without pgsearch gets at once;
`v<N>.sql` brings version N - 1 to N. Versions only add, so a newer schema serves an older package.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Literal

from pgsearch import resources
from pgsearch.errors import DeclarationError
from pgsearch.schema.steps import Step, locked, plain
from pgsearch.schema.templates import render, statements

#: The version of the schema that this package works with.
VERSION = 3


def install(version: int = VERSION) -> list[Step]:
    """Return the steps that bring any database to a version at least; they may be repeated.

    That is the newest one whatever the number, for the operations of this package, also those of
    an earlier migration, are written for it.
    """
    if not 1 <= version <= VERSION:
        raise DeclarationError(
            f"pgsearch_install(version={version}): this package knows versions 1 to {VERSION}.",
            hint=f"Write version={VERSION}, or upgrade the package.",
        )
    steps = [
        plain(statements(resources.sql("install/require.sql"))),
        plain([_when("to_regclass('pgsearch.installation') IS NULL", "install/schema.sql")]),
    ]
    for number in range(2, VERSION + 1):
        holes: dict[str, Composable] = {
            "version": Literal(number),
            "statements": SQL(resources.sql(f"install/v{number}.sql")),
        }
        # Searches read the registry: they must not wait for it to get a column.
        what = f"Version {number} of the schema pgsearch"
        steps.append(locked(what, render("install/upgrade.sql", holes)))
    return steps


def _when(condition: str, file: str) -> str:
    """Return a statement that runs a file's statements where a condition holds."""
    body = resources.sql(file)
    return f"DO $pgsearch$\nBEGIN\nIF {condition} THEN\n{body}\nEND IF;\nEND\n$pgsearch$"


def uninstall() -> list[Step]:
    """Return the steps that take the schema away; they refuse while search indexes exist."""
    return [plain(statements(resources.sql("install/uninstall.sql")))]
