"""Replacing a model without a migration: what `pgsearch upgrade` and `pgsearch activate` do.

The statements are those of the migrations, and the registry is left as they leave it. Whatever was
done can be done again: the journey goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from pgsearch.database import Connection
from pgsearch.declare import Embedding
from pgsearch.errors import DatabaseError, LifecycleError
from pgsearch.registry import RegisteredIndex
from pgsearch.schema import embedding as ddl
from pgsearch.schema.steps import Kind, LockPatience, Step, written

#: Nobody waits longer behind an activation; it locks rows of the registry, and searches none.
_LOCK_TIMEOUT: Final = "1s"


def add(connection: Connection, index: RegisteredIndex, embedding: Embedding) -> None:
    """Add an embedding to a search index; workers fill it. What is there already stays.

    Args:
        connection: An autocommit connection of the table's owner.
        index: The search index.
        embedding: The embedding.

    Raises:
        DatabaseError: The search index has an embedding of that name with another model.
    """
    definition = index.definition
    execute(connection, ddl.add_embedding(definition.schema, definition.name, embedding))


def restore(connection: Connection, index: RegisteredIndex, name: str) -> None:
    """Let workers keep a retired embedding up to date again."""
    definition = index.definition
    execute(connection, ddl.restore_embedding(definition.schema, definition.name, name))


def retire(connection: Connection, index: RegisteredIndex, name: str) -> None:
    """Let nobody keep an embedding up to date any more.

    Raises:
        LifecycleError: It is the active one.
    """
    definition = index.definition
    execute(connection, ddl.retire_embedding(definition.schema, definition.name, name))


def activate(connection: Connection, index: RegisteredIndex, name: str) -> None:
    """Make an embedding the one that answers, in one short transaction; also to go back.

    Raises:
        LifecycleError: It is not ready.
        DatabaseError: There is no such embedding, or somebody else changes the search index.
    """
    definition = index.definition
    with refusals(), connection.transaction():
        connection.execute("SELECT set_config('lock_timeout', %s, true)", [_LOCK_TIMEOUT])
        connection.execute(
            "SELECT pgsearch.activate_embedding(%s, %s, %s)",
            [definition.schema, definition.name, name],
        )


def answers_text(connection: Connection, index: RegisteredIndex, name: str) -> bool:
    """Return whether the database makes queries' vectors for an embedding itself."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pgsearch.encoder AS n JOIN pgsearch.embedding AS e"
        " ON e.id = n.embedding_id WHERE e.search_index_id = %s AND e.name = %s AND n.tokens > 0)",
        [index.id, name],
    ).fetchone()
    return row == (True,)


def execute(connection: Connection, steps: Iterable[Step]) -> None:
    """Run steps as a migration runs them, each in the transaction that it needs."""
    with refusals():
        for step in steps:
            statements = [statement.encode() for statement in written(step, LockPatience())]
            if step.kind is Kind.PLAIN:
                with connection.transaction():
                    for statement in statements:
                        connection.execute(statement)
            else:
                for statement in statements:
                    connection.execute(statement)


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what the database refuses as an error of pgsearch, with its hint."""
    try:
        yield
    except (
        psycopg.errors.ObjectNotInPrerequisiteState,
        psycopg.errors.ObjectInUse,
    ) as error:
        raise LifecycleError(*_message(error), hint=error.diag.message_hint) from error
    except psycopg.errors.LockNotAvailable as error:
        raise DatabaseError(
            f"The search index is being changed by somebody else: {error}",
            hint="Nothing was changed. Run it again in a moment.",
        ) from error
    except (
        psycopg.errors.UndefinedObject,
        psycopg.errors.DuplicateObject,
        psycopg.errors.InsufficientPrivilege,
    ) as error:
        raise DatabaseError(
            *_message(error),
            hint=error.diag.message_hint
            or "Connect as the role that owns the table, or as a member of it.",
        ) from error


def _message(error: psycopg.Error) -> tuple[str]:
    return ((error.diag.message_primary or str(error)).removeprefix("pgsearch: ") + ".",)
