"""The schema `pgsearch` into DDL, by version."""

from __future__ import annotations

from pgsearch import resources
from pgsearch.errors import DeclarationError
from pgsearch.schema.templates import statements

#: The version of the schema that this package works with.
VERSION = 1


def install(version: int = VERSION) -> list[str]:
    """Return the statements that bring a database without pgsearch to a version."""
    if not 1 <= version <= VERSION:
        raise DeclarationError(
            f"pgsearch_install(version={version}): this package knows versions 1 to {VERSION}.",
            hint=f"Write version={VERSION}, or upgrade the package.",
        )
    files = ["install/require.sql", *(f"install/v{n}.sql" for n in range(1, version + 1))]
    return [statement for file in files for statement in statements(resources.sql(file))]


def uninstall() -> list[str]:
    """Return the statements that take the schema away; they refuse while search indexes exist."""
    return statements(resources.sql("install/uninstall.sql"))
