"""Steps of a migration: which statements belong into one transaction, and how they may be run.

A step that has to lock something that an application uses is a transaction of its own, takes one
lock, and gives way when it does not get it at once. Every step may be repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from psycopg.sql import SQL, Composable, Literal

from pgsearch import resources
from pgsearch.errors import DeclarationError


class Kind(Enum):
    """How a step is run."""

    PLAIN = "in the migration's transaction, for it locks nothing that others use"
    LOCKED = "in a transaction of its own, with a lock timeout and retries"
    CONCURRENT = "outside of any transaction"


@dataclass(frozen=True)
class Step:
    """Statements that belong together, and how they are run.

    Args:
        kind: How they are run.
        statements: What is run.
        what: What that does, if it is locked.
        table: What is locked, quoted, if autovacuum may be at it.
    """

    kind: Kind
    statements: tuple[str, ...]
    what: str = ""
    table: str = ""


@dataclass(frozen=True)
class LockPatience:
    """How long a step may wait for a lock, and how often it tries.

    Args:
        timeout_ms: Nobody waits longer than this behind a step that waits for a lock; milliseconds.
        attempts: After so many attempts the migration fails, and can be run again.
    """

    timeout_ms: int = 1000
    attempts: int = 30

    def __post_init__(self) -> None:
        for name, value, least in (
            ("timeout_ms", self.timeout_ms, 10),
            ("attempts", self.attempts, 1),
        ):
            if value < least:
                raise DeclarationError(
                    f"pgsearch_lock_{name}={value} is less than {least}.",
                    hint="Leave it out for the default, or give it in context.configure(…).",
                )


def plain(statements: Iterable[str]) -> Step:
    """Return statements that lock nothing that others use."""
    return Step(Kind.PLAIN, tuple(statements))


def locked(what: str, body: str, table: Composable | None = None) -> Step:
    """Return a step that locks one table, as statements of PL/pgSQL.

    Args:
        what: What it does, for the comment and the error.
        body: The statements, each with its semicolon.
        table: The table, unless it is so small that autovacuum takes no time for it.
    """
    return Step(Kind.LOCKED, (body.strip(),), what, "" if table is None else table.as_string(None))


def concurrent(*statements: str) -> Step:
    """Return statements with CONCURRENTLY, which no transaction can hold."""
    return Step(Kind.CONCURRENT, tuple(map(_explained, statements)))


def _explained(statement: str) -> str:
    """Return a statement with a comment for linters, and for whoever reads what is printed."""
    if statement.startswith("CREATE"):
        return (
            "-- Nobody waits for it. IF NOT EXISTS would take an INVALID index for one that is\n"
            f"-- done.\n-- squawk-ignore prefer-robust-stmts, require-lock-timeout\n{statement}"
        )
    return f"-- Nobody waits for it.\n-- squawk-ignore require-lock-timeout\n{statement}"


def written(step: Step, patience: LockPatience) -> list[str]:
    """Return a step's statements as they are executed."""
    if step.kind is not Kind.LOCKED:
        return list(step.statements)
    (body,) = step.statements
    clear = SQL("")
    if step.table:
        cleared = {"table": SQL(step.table), "table_name": Literal(step.table)}
        clear = SQL(
            "\n" + SQL(resources.sql("autovacuum.sql").rstrip()).format(**cleared).as_string(None)
        )
    holes = {
        "clear": clear,
        "what": SQL(step.what),
        "what_literal": Literal(step.what),
        "attempts": Literal(patience.attempts),
        # Room for the step itself, so that nobody waits longer than was promised.
        "longest_ms": Literal(patience.timeout_ms * 4 // 5),
        "statements": SQL(body),
    }
    text = SQL(resources.sql("locked.sql")).format(**holes).as_string(None)
    return [text.strip()]


def in_one_transaction(step: Step) -> list[str]:
    """Return a step's statements for a transaction that others cannot leave: nothing CONCURRENTLY.

    For a database that nobody else uses, as in a test that rolls everything back.
    """
    if step.kind is Kind.CONCURRENT:
        return [re.sub(r" CONCURRENTLY\b", "", statement) for statement in step.statements]
    return written(step, LockPatience())
