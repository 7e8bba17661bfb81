"""The schema `pgsearch`: its version, and the functions that all search indexes share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from pgsearch import resources
from pgsearch.drift.finding import Finding, Mend
from pgsearch.drift.subject import Run, ask
from pgsearch.schema.install import VERSION
from pgsearch.schema.templates import statements

_FUNCTION = re.compile(
    r"^CREATE FUNCTION pgsearch\.(\w+)\((?:.*\bAS \$\$(.*)\$\$$)?", re.DOTALL | re.MULTILINE
)


def findings(run: Run, version: int) -> Iterator[Finding]:
    """Yield what is wrong with the schema.

    Args:
        run: Runs a query.
        version: The version that is installed.
    """
    if version < VERSION:
        problem = f"has version {version}, this package works with version {VERSION}"
        yield Finding(None, "schema pgsearch", problem, Mend.INSTALL)
    if version != VERSION:
        return
    found = ask(run, "helpers") or {}
    for name, body, statement in _functions():
        object_, bodies = f"function pgsearch.{name}", found.get(name, [])
        if not bodies:
            yield Finding(None, object_, "is missing", Mend.EXECUTE, statement=statement)
        elif body not in bodies:
            yield Finding(None, object_, "was edited by hand", Mend.EXECUTE, statement=statement)


@cache
def _functions() -> tuple[tuple[str, str, str], ...]:
    """Return the name and body of each function, and the statement that makes it.

    The body of one in SQL, which PostgreSQL parses, is empty, as it is in the catalogue.
    """
    made = []
    for statement in statements(resources.sql("install/schema.sql")):
        if function := _FUNCTION.search(statement):
            create = statement[function.start() :].replace("CREATE ", "CREATE OR REPLACE ", 1)
            made.append((function[1], function[2] or "", create))
    return tuple(made)
