"""Writing: what a document's chunks shall be, if its text is still the one that was read."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pgvector import Vector
from psycopg import errors
from psycopg.sql import Composed

from pgsearch.database import Connection, transaction
from pgsearch.definition import IndexDefinition
from pgsearch.sync.queue import (
    Claimed,
    Current,
    IndexChanged,
    Key,
    key_arrays,
    read_current,
    release,
)
from pgsearch.sync.statements import Statements

#: Documents per transaction of a write: each takes a lock of its own.
_WRITTEN_TOGETHER: Final = 256

#: The same of a write with pauses: a search that meets one is held up by a part of its time only.
_WRITTEN_GENTLY: Final = 32

#: After which time documents are looked at again that the application was at; seconds.
_AGAIN_S: Final = 0.2

#: What the database says of a document that it cannot hold, as one whose key is too long for an
#: index with a passage's number.
_REFUSALS: Final = (errors.DataError, errors.IntegrityError, errors.ProgramLimitExceeded)


class NewChunk(NamedTuple):
    """A chunk to write; a vector that is None is there, and stays as it is."""

    ordinal: int
    content: str
    content_hash: bytes
    vectors: tuple[Vector | None, ...]


@dataclass(slots=True)
class Write:
    """What one document's chunks shall be: some written, some kept, the rest cut off."""

    claimed: Claimed
    put: tuple[NewChunk, ...] = ()
    keep: tuple[int, ...] = ()
    length: int = 0

    def has(self, chunk: NewChunk) -> bool:
        """Whether a chunk was there with this content, and lacked no more than vectors."""
        stored = self.claimed.chunks.get(chunk.ordinal)
        return stored is not None and stored.content_hash == chunk.content_hash


class Outcome(NamedTuple):
    """What became of writes: those that were carried out, and those that the database refused."""

    written: list[Write]
    refused: dict[Claimed, errors.Error]


def write(
    connection: Connection,
    statements: Statements,
    embeddings: Mapping[int, str],
    lease: int,
    writes: Sequence[Write],
    *,
    truncations: Sequence[int] = (),
    pause: Callable[[float], None] | None = None,
) -> Outcome:
    """Write documents' chunks and delete their queue rows, some documents per transaction.

    What is in neither part of the outcome has moved on. The lease is what proves that a claim is
    still this worker's: what was read may be of a search index that exists no more.

    Args:
        connection: A connection that is in no transaction, and was open before the claim: else a
            server that has lost its last transactions in between might number others like them.
        statements: SQL of the search index.
        embeddings: The columns that are written, by the ids of their embeddings.
        lease: The claim's.
        writes: What to write.
        truncations: Queue rows that ask to clear the whole index.
        pause: Called after each transaction with the seconds that it took; there are more of them,
            with fewer documents.

    Raises:
        IndexChanged: An embedding is not there any more, or the first one has come.
    """
    if truncations:
        _clear(connection, statements, lease, truncations)
    outcome = Outcome([], {})
    together = _WRITTEN_TOGETHER if pause is None else _WRITTEN_GENTLY
    for start in range(0, len(writes), together):
        started = time.perf_counter()
        part = writes[start : start + together]
        _write_or_split(connection, statements, embeddings, lease, part, outcome)
        if pause is not None:
            pause(time.perf_counter() - started)
    return outcome


def _clear(
    connection: Connection, statements: Statements, lease: int, truncations: Sequence[int]
) -> None:
    """Remove the chunks of rows that went with a TRUNCATE."""
    with transaction(connection):
        lock_all(connection, statements)
        connection.execute(statements.clear)
        done = {"ids": list(truncations), "written": [], "lease": lease}
        connection.execute(statements.done, done)


def _write_or_split(
    connection: Connection,
    statements: Statements,
    embeddings: Mapping[int, str],
    lease: int,
    writes: Sequence[Write],
    outcome: Outcome,
) -> None:
    """Write documents; halve them until one that the database refuses stands alone."""
    try:
        written = _write(connection, statements, embeddings, lease, writes)
    except _REFUSALS as error:
        if len(writes) == 1:
            outcome.refused[writes[0].claimed] = error
            return
        middle = len(writes) // 2
        for half in (writes[:middle], writes[middle:]):
            _write_or_split(connection, statements, embeddings, lease, half, outcome)
    else:
        outcome.written.extend(written)


def _check_without_embedding(connection: Connection, statements: Statements) -> None:
    """Raise IndexChanged if an embedding has come, which would miss what is taken for done now."""
    connection.execute(statements.hold_index)
    if connection.execute(statements.has_embedding).fetchone() == (True,):
        raise IndexChanged


def _write(
    connection: Connection,
    statements: Statements,
    embeddings: Mapping[int, str],
    lease: int,
    writes: Sequence[Write],
) -> list[Write]:
    keys = [item.claimed.key for item in writes]
    ids = [i for item in writes for i in item.claimed.queue_ids]
    columns = tuple(embeddings.values())
    with transaction(connection, by_key=True, pipelined=True):
        if not embeddings:
            _check_without_embedding(connection, statements)
        # In this order: who has a key's lock may delete an older queue row of the key.
        lock(connection, statements, keys)
        held = connection.execute(statements.held, {"ids": ids, "lease": lease})
        current = connection.execute(statements.current(columns), key_arrays(keys))
        # Now that the chunks' table is locked no column can go that is still there.
        left = connection.execute(statements.embeddings_left, {"embeddings": list(embeddings)})
        valid, again = _sorted_out(
            writes, {number for (number,) in held}, read_current(current, keys)
        )
        if left.fetchone() != (len(embeddings),):
            raise IndexChanged
        _put(connection, statements, columns, valid)
        kept = _cut_orphans(connection, statements, valid)
        again += [i for item in kept for i in item.claimed.queue_ids]
        done = {"ids": list(set(ids).difference(again)), "lease": lease}
        written = [i for item in valid for i in item.claimed.queue_ids]
        connection.execute(statements.done, done | {"written": written})
    release(connection, statements, lease, again, delay_s=_AGAIN_S if kept else 0.0)
    return valid


def _sorted_out(
    writes: Sequence[Write], held: set[int], current: Mapping[Key, Current]
) -> tuple[list[Write], list[int]]:
    """Return which writes are right now, and the queue rows of those to be looked at again.

    The others' documents have moved on, or their queue rows are not this claim's any more.
    """
    valid, again = list[Write](), list[int]()
    for item in writes:
        now = current[item.claimed.key]
        if not held.issuperset(item.claimed.queue_ids):
            again.extend(item.claimed.queue_ids)
        elif now.generation == item.claimed.generation:
            if now.chunks == item.claimed.chunks:
                valid.append(item)
            else:
                again.extend(item.claimed.queue_ids)
    return valid, again


def lock(connection: Connection, statements: Statements, keys: Iterable[Key]) -> None:
    """Take the workers' locks of keys until the transaction ends, always in the same order.

    Every write shares the lock of the search index; see `lock_all`.
    """
    number = lock_number(statements.definition)
    connection.execute(statements.lock_keys, key_arrays(keys) | {"seed": number})


def lock_all(connection: Connection, statements: Statements) -> None:
    """Have the lock of the search index alone: what follows may touch the chunks of any key."""
    number = lock_number(statements.definition)
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [number])


def _put(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    writes: Sequence[Write],
) -> None:
    cut, kept = _Rows("ordinals"), _Rows("generations", "ordinals")
    put = _Rows("generations", "ordinals", "contents", "hashes", *_names(embeddings))
    for item in writes:
        key, generation = item.claimed.key, item.claimed.generation
        for ordinal in _unwanted(item):
            cut.add(key, ordinal)
        for ordinal in item.keep:
            kept.add(key, generation, ordinal)
        for chunk in item.put:
            if not item.has(chunk):
                put.add(
                    key,
                    generation,
                    chunk.ordinal,
                    chunk.content,
                    chunk.content_hash,
                    *chunk.vectors,
                )
    for statement, rows in (
        (statements.cut_chunks, cut),
        (statements.keep_chunks, kept),
        (statements.put_chunks(embeddings), put),
        *_fills(statements, embeddings, writes),
    ):
        if rows:
            connection.execute(statement, rows.parameters)


def _fills(
    statements: Statements, embeddings: tuple[str, ...], writes: Sequence[Write]
) -> Iterator[tuple[Composed, _Rows]]:
    """Yield what gives vectors to chunks that are there: a statement for what they lack alike.

    They are still there: so the transaction has found, and it holds their keys' locks.
    """
    lacking: dict[tuple[str, ...], _Rows] = {}
    for item in writes:
        for chunk in filter(item.has, item.put):
            pairs = zip(embeddings, chunk.vectors, strict=True)
            given = {column: vector for column, vector in pairs if vector is not None}
            rows = lacking.setdefault(
                tuple(given), _Rows("generations", "ordinals", *_names(given))
            )
            rows.add(item.claimed.key, item.claimed.generation, chunk.ordinal, *given.values())
    for columns, rows in lacking.items():
        yield statements.fill_chunks(columns), rows


def _names(embeddings: Collection[str]) -> list[str]:
    """Return the names of the arrays of embeddings' vectors."""
    return [f"vectors_{n}" for n in range(len(embeddings))]


def _cut_orphans(
    connection: Connection, statements: Statements, writes: Sequence[Write]
) -> list[Write]:
    """Remove the documents of rows that are gone; return those that the application is at.

    It comes last, for the application waits for whoever removes a document.
    """
    gone = [item for item in writes if item.claimed.is_gone and item.claimed.generation is not None]
    if not gone:
        return []
    orphans = _Rows("generations")
    for item in gone:
        orphans.add(item.claimed.key, item.claimed.generation)
    removed = {place for (place,) in connection.execute(statements.cut_orphans, orphans.parameters)}
    return [item for place, item in enumerate(gone, start=1) if place not in removed]


class _Rows:
    """Rows for a statement about many keys: one array for each column."""

    def __init__(self, *columns: str) -> None:
        self._columns = columns
        self._keys: list[Key] = []
        self._rows: list[tuple[Any, ...]] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, key: Key, *values: Any) -> None:
        """Add a row: a key, and a value for each column."""
        self._keys.append(key)
        self._rows.append(values)

    @property
    def parameters(self) -> dict[str, Any]:
        """The arrays, those of the key among them."""
        columns = map(list, zip(*self._rows, strict=True))
        return key_arrays(self._keys) | dict(zip(self._columns, columns, strict=True))


def _unwanted(item: Write) -> list[int]:
    """Return the ordinals of stored chunks that have other content now, or none.

    They are deleted and not updated: no vector of the old content can stay, not even one of an
    embedding that was added while this worker had the old registry before it.
    """
    wanted = {chunk.ordinal: chunk.content_hash for chunk in item.put}
    return [
        ordinal
        for ordinal, stored in item.claimed.chunks.items()
        if not 0 <= ordinal < item.length
        or wanted.get(ordinal, stored.content_hash) != stored.content_hash
    ]


def lock_number(definition: IndexDefinition) -> int:
    """Return the number of the advisory lock of a search index, and the seed of its keys'."""
    name = f"{definition.schema}.{definition.name}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
