"""The application: writers that follow their scripts and note every error that they meet."""

from __future__ import annotations

import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import psycopg

from pgsearch import database as product
from tests.faults.plan import Script, Statement, Transaction


@dataclass(frozen=True)
class Met:
    """An error that a writer met and did not expect."""

    writer: int
    isolation: str
    sqlstate: str
    message: str
    statement: str

    @property
    def kind(self) -> tuple[str, str]:
        """What it has in common with others: isolation level and SQLSTATE."""
        return self.isolation, self.sqlstate

    def __str__(self) -> str:
        return (
            f"writer {self.writer} ({self.isolation}) met {self.sqlstate} "
            f"{self.message!r} at {self.statement}"
        )


@dataclass
class Written:
    """What writers did: transactions that came to their end, errors, and the slowest statement."""

    transactions: int = 0
    met: list[Met] = field(default_factory=list)
    slowest_ms: float = 0.0

    def add(self, other: Written) -> None:
        """Take another one's account in."""
        self.transactions += other.transactions
        self.met += other.met
        self.slowest_ms = max(self.slowest_ms, other.slowest_ms)


def write(url: str, scripts: tuple[Script, ...]) -> Written:
    """Let all writers follow their scripts at the same time, each in a session of its own."""
    total = Written()
    with ThreadPoolExecutor(len(scripts), thread_name_prefix="writer") as threads:
        for written in threads.map(_Writer(url), range(len(scripts)), scripts):
            total.add(written)
    return total


class _Writer:
    def __init__(self, url: str) -> None:
        self._url = url

    def __call__(self, number: int, script: Script) -> Written:
        written = Written()
        with psycopg.connect(f"{self._url}&application_name=writer", autocommit=True) as connection:
            for transaction in script.transactions:
                met = _carry_out(connection, script.isolation, transaction, written)
                if met is None:
                    written.transactions += 1
                    continue
                error, at = met
                connection.execute("ROLLBACK")
                sqlstate = error.sqlstate or type(error).__name__
                message = str(error).partition("\n")[0]
                written.met.append(Met(number, script.isolation, sqlstate, message, at))
        return written


def _carry_out(
    connection: product.Connection, isolation: str, transaction: Transaction, written: Written
) -> tuple[psycopg.Error, str] | None:
    """Follow one transaction; return the error that ended it before, and where."""
    end = Statement("COMMIT" if transaction.commits else "ROLLBACK")
    connection.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
    for statement in (*transaction.statements, end):
        time.sleep(statement.pause_s)
        started = time.perf_counter()
        try:
            connection.execute(statement.text.encode(), statement.parameters or None)
        except psycopg.Error as error:
            if error.sqlstate is None or error.sqlstate != statement.fails:
                return error, _shown(statement)
        written.slowest_ms = max(written.slowest_ms, 1000 * (time.perf_counter() - started))
    return None


def _shown(statement: Statement) -> str:
    """Return a statement with its parameters, long ones cut."""
    parameters = ", ".join(textwrap.shorten(repr(p), 40) for p in statement.parameters)
    return f"{statement.text} ({parameters})" if parameters else statement.text
