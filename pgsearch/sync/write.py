"""Writing: what a document's chunks shall be, if its text is still the one that was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pgvector import Vector

from pgsearch.database import Connection, transaction
from pgsearch.definition import IndexDefinition
from pgsearch.sync.queue import Claimed, IndexChanged, Key, key_arrays, read_current, release
from pgsearch.sync.statements import Statements

#: Documents per transaction of a write: each takes a lock of its own.
_WRITTEN_TOGETHER: Final = 256


class NewChunk(NamedTuple):
    """A chunk to write; a vector that is None stays as it is."""

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


def write(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    lease: int,
    writes: Sequence[Write],
    *,
    truncations: Sequence[int] = (),
) -> list[Write]:
    """Write documents' chunks and delete their queue rows, some documents per transaction.

    Returns:
        The writes that were carried out; the others' documents or chunks have moved on.
    """
    if truncations:
        _clear(connection, statements, truncations)
    return [
        valid
        for start in range(0, len(writes), _WRITTEN_TOGETHER)
        for valid in _write(
            connection, statements, embeddings, lease, writes[start : start + _WRITTEN_TOGETHER]
        )
    ]


def _clear(connection: Connection, statements: Statements, truncations: Sequence[int]) -> None:
    """Remove the chunks of rows that went with a TRUNCATE."""
    with transaction(connection):
        lock_all(connection, statements)
        connection.execute(statements.clear)
        connection.execute(statements.done, {"ids": list(truncations), "written": []})


def _check_without_embedding(connection: Connection, statements: Statements) -> None:
    """Raise IndexChanged if an embedding has come, which would miss what is taken for done now."""
    connection.execute(statements.hold_index)
    if connection.execute(statements.has_embedding).fetchone() == (True,):
        raise IndexChanged


def _write(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    lease: int,
    writes: Sequence[Write],
) -> list[Write]:
    keys = [item.claimed.key for item in writes]
    again = set[int]()
    with transaction(connection, by_key=True, pipelined=True):
        if not embeddings:
            _check_without_embedding(connection, statements)
        lock(connection, statements, keys)
        current = read_current(connection, statements, embeddings, keys)
        valid = []
        for item in writes:
            now = current[item.claimed.key]
            if now.generation != item.claimed.generation:
                continue
            if now.chunks == item.claimed.chunks:
                valid.append(item)
            else:
                again.update(item.claimed.queue_ids)
        _put(connection, statements, embeddings, valid)
        done = {i for w in writes for i in w.claimed.queue_ids} - again
        written = [i for w in valid for i in w.claimed.queue_ids]
        connection.execute(statements.done, {"ids": list(done), "written": written})
    release(connection, statements, lease, list(again))
    return valid


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
    orphans, cut, kept = _Rows("generations"), _Rows("ordinals"), _Rows("generations", "ordinals")
    vectors = tuple(f"vectors_{n}" for n in range(len(embeddings)))
    put = _Rows("generations", "ordinals", "contents", "hashes", *vectors)
    for item in writes:
        key, generation = item.claimed.key, item.claimed.generation
        if item.claimed.is_gone and generation is not None:
            orphans.add(key, generation)
        for ordinal in _unwanted(item):
            cut.add(key, ordinal)
        for ordinal in item.keep:
            kept.add(key, generation, ordinal)
        for chunk in item.put:
            put.add(
                key, generation, chunk.ordinal, chunk.content, chunk.content_hash, *chunk.vectors
            )
    for statement, rows in (
        (statements.cut_orphans, orphans),
        (statements.cut_chunks, cut),
        (statements.keep_chunks, kept),
        (statements.put_chunks(embeddings), put),
    ):
        if rows:
            connection.execute(statement, rows.parameters)


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
