"""Filling what was there before: documents of an existing table, vectors of an added embedding.

Both go by key ranges, and only while no fresh change waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import errors
from psycopg.sql import SQL, Identifier, Literal

from pgsearch import resources
from pgsearch.database import Connection
from pgsearch.registry import RegisteredIndex
from pgsearch.sync.embed import LoadedEmbedding, Outcomes, vectors
from pgsearch.sync.queue import Key, key_values, lock
from pgsearch.sync.statements import Statements

#: Source rows per transaction: few, for the application may have to wait for their documents.
DOCUMENTS_PER_RANGE = 100

#: How long a range waits for the application's locks before it gives way; milliseconds.
_LOCK_TIMEOUT_MS = 100


def fill_documents(connection: Connection, index: RegisteredIndex) -> int | None:
    """Write the documents of the next key range of a table that was there before its index.

    Returns:
        How many documents there were to write; None if the fill is done, or another worker is
        at it.
    """
    try:
        return _fill_range(connection, index)
    except (errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure):
        return 0  # the application is at these rows: the same range again


def _fill_range(connection: Connection, index: RegisteredIndex) -> int | None:
    definition = index.definition
    function = Identifier(definition.schema, definition.names.fill)
    with connection.transaction():
        connection.execute(SQL("SET LOCAL lock_timeout = {}").format(Literal(_LOCK_TIMEOUT_MS)))
        connection.execute(Statements(definition).hold_tables)
        position = connection.execute(
            SQL(resources.sql("sync/fill_position.sql")), {"id": index.id}
        ).fetchone()
        if position is None:
            return None
        row = connection.execute(
            SQL("SELECT last::text, documents FROM {}(%s::jsonb, %s)").format(function),
            [position[0], DOCUMENTS_PER_RANGE],
        ).fetchone()
        assert row is not None
        connection.execute(
            SQL(resources.sql("sync/fill_advance.sql")), {"id": index.id, "last": row[0]}
        )
    return int(row[1])


class FillStep(NamedTuple):
    """What one step of a fill did, in chunks."""

    embedding: str
    filled: int
    failed: int
    embedded: int
    reused: int
    adopted: int


class EmbeddingFill:
    """The fill of an added embedding: chunks that lack its vector, in the order of their keys."""

    def __init__(self, statements: Statements, embedding: LoadedEmbedding) -> None:
        self._statements = statements
        self._embedding = embedding
        self._position: Mapping[str, Any] | None = None

    @property
    def embedding_id(self) -> int:
        """The embedding, as the registry numbers it."""
        return self._embedding.registered.id

    def step(self, connection: Connection, rows: int) -> FillStep | None:
        """Embed the next chunks; None after the last one, and the next step starts over.

        A document on which the model fails goes to the queue, which counts attempts and parks it.
        """
        statements, embedding = self._statements, self._embedding
        parameters = {"rows": rows} | dict(self._position or {})
        unfilled = statements.unfilled(
            embedding.column,
            resumed=self._position is not None,
            singles=embedding.adoption is not None,
        )
        with connection.transaction():
            # Before the new column is analysed, the planner expects nearly nothing to be found,
            # and would read all chunks at each step.
            connection.execute("SET LOCAL enable_seqscan = off")
            found = connection.execute(unfilled, parameters).fetchall()
        if not found:
            self._position = None
            return None
        *last_key, last_ordinal, _, _, _ = found[-1]
        self._position = key_values(tuple(last_key)) | {"ordinal": last_ordinal}
        contents: dict[bytes, str] = {}
        singles: dict[bytes, Key] = {}
        for *key, _, content_hash, content, is_single in found:
            contents[content_hash] = content
            if is_single:
                singles[content_hash] = tuple(key)
        made = vectors(connection, statements, embedding, contents, singles)
        filled, failed = self._write(connection, found, made.outcomes)
        return FillStep(
            embedding.registered.name,
            filled=filled,
            failed=failed,
            embedded=made.embedded,
            reused=made.reused,
            adopted=made.adopted,
        )

    def _write(
        self, connection: Connection, found: Sequence[tuple[Any, ...]], outcomes: Outcomes
    ) -> tuple[int, int]:
        """Write vectors and put documents that failed into the queue; count chunks of both."""
        width = len(self._statements.definition.key)
        writes: list[dict[str, Any]] = []
        failed: list[Key] = []
        for *key, ordinal, content_hash, _, _ in found:
            outcome = outcomes[content_hash]
            if isinstance(outcome, Exception):
                failed.append(tuple(key))
            else:
                chunk = {"ordinal": ordinal, "content_hash": content_hash, "vector": outcome}
                writes.append(key_values(tuple(key)) | chunk)
        with connection.transaction(), connection.cursor() as cursor:
            lock(connection, self._statements, {tuple(row[:width]) for row in found})
            if writes:
                cursor.executemany(self._statements.fill_chunk(self._embedding.column), writes)
            if failed:
                keys = map(key_values, dict.fromkeys(failed))
                cursor.executemany(self._statements.enqueue, list(keys))
        return len(writes), len(failed)
