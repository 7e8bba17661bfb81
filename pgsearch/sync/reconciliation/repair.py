"""Repairs: mostly rows of the queue, so that workers do the rest as they do it always."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.errors import DatabaseError
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.queue import Key, key_arrays
from pgsearch.sync.reconciliation.examine import Examined
from pgsearch.sync.reconciliation.report import Tally
from pgsearch.sync.reconciliation.statements import ReconcileStatements
from pgsearch.sync.reconciliation.vectors import WrongVectors
from pgsearch.sync.write import lock, lock_all


@dataclass
class Position:
    """How far a reconciliation is: the last key, and how many were compared up to it."""

    after: Key | None = None
    compared: int = 0

    @property
    def is_new(self) -> bool:
        """Whether it is at the beginning."""
        return self.after is None


class Repairs:
    """Writes what a reconciliation asks for, and how far it is, in one transaction.

    Args:
        connection: A connection that is in no transaction.
        index: The search index.
        statements: Its SQL.
    """

    def __init__(
        self, connection: Connection, index: RegisteredIndex, statements: ReconcileStatements
    ) -> None:
        self._connection = connection
        self._index = index
        self._statements = statements

    def begin(self, vectors: str, *, restart: bool) -> tuple[Position, Tally]:
        """Return how far an earlier one came that did not end, and what it had found."""
        parameters = {"id": self._index.id, "vectors": vectors, "restart": restart}
        with transaction(self._connection):
            self._connection.execute(_sql("begin_again"), parameters)
            row = self._connection.execute(_sql("begin"), parameters).fetchone()
        assert row is not None
        after, compared, found = row
        return Position(None if after is None else tuple(after), compared), Tally.from_json(found)

    def write(
        self,
        damaged: Sequence[Examined],
        wrong: Iterable[WrongVectors],
        tally: Tally,
        before: Position,
        now: Position,
    ) -> None:
        """Ask workers for what is damaged, and take away what they would leave.

        Args:
            damaged: What was found of keys.
            wrong: Wrong vectors.
            tally: What was found up to now; what is asked for is added.
            before: How far the reconciliation was.
            now: How far it is.

        Raises:
            DatabaseError: Another reconciliation has come between.
        """
        clearing = [item for item in wrong if item.right]
        with transaction(self._connection):
            if clearing:
                lock_all(self._connection, self._statements)
                tally.asked += sum(self._clear(item) for item in clearing)
            self._remove(damaged, locked=bool(clearing))
            if asked := [examined for examined in damaged if examined.is_asked_for]:
                anew = [examined.wants_document for examined in asked]
                keys = key_arrays(examined.key for examined in asked)
                self._connection.execute(self._statements.ask, keys | {"anew": anew})
                tally.asked += len(asked)
            self._advance(tally, before, now)

    def _clear(self, wrong: WrongVectors) -> int:
        parameters = {
            "hashes": list(wrong.right),
            "vectors": list(wrong.right.values()),
            "distance": wrong.distance,
        }
        statement = self._statements.clear_vectors(wrong.embedding.column)
        row = self._connection.execute(statement, parameters).fetchone()
        assert row is not None
        return int(row[0])

    def _remove(self, damaged: Sequence[Examined], *, locked: bool) -> None:
        unfit = [
            (examined.key, ordinal, generation)
            for examined in damaged
            for ordinal, generation in examined.unfit
        ]
        if not unfit:
            return
        keys, ordinals, generations = zip(*unfit, strict=True)
        if not locked:
            lock(self._connection, self._statements, set(keys))
        parameters = {"ordinals": list(ordinals), "generations": list(generations)}
        self._connection.execute(self._statements.remove_chunks, key_arrays(keys) | parameters)

    def _advance(self, tally: Tally, before: Position, now: Position) -> None:
        parameters: dict[str, Any] = {
            "id": self._index.id,
            "after": _as_json(before.after),
            "last": _as_json(now.after),
            "compared": now.compared,
            "found": Jsonb(tally.to_json()),
        }
        if self._connection.execute(_sql("advance"), parameters).rowcount == 0:
            raise DatabaseError(
                f"Another process is reconciling search index {self._index.name}.",
                hint="Let it come to its end; if it was stopped, run this again, and it goes on "
                "where that one was.",
            )

    def finish(self, tally: Tally, compared: int) -> None:
        """Note that a reconciliation has come to its end."""
        detail = Jsonb(tally.to_json() | {"compared": compared})
        with transaction(self._connection):
            self._connection.execute(_sql("finish"), {"id": self._index.id, "detail": detail})


def _sql(name: str) -> SQL:
    return SQL(resources.sql(f"reconcile/{name}.sql"))


def _as_json(key: Key | None) -> Jsonb | None:
    return None if key is None else Jsonb(list(key))
