"""Claim and write: the two short transactions around the model.

A claim leases queue rows and reads text and generation together, then commits. A write takes an
advisory lock per key, which only workers take, and writes a document's chunks only if the document
still has the generation that was read. If it has moved on, nothing is written: a newer queue row
is waiting. If it has not, but another worker has just written chunks of an older generation, the
lease is given back, for what to write depends on the chunks that are there. So neither two workers
nor a lease that ran out can leave an older vector over a newer text, and no lock of a worker can
hold up the application.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from pgvector import Vector
from psycopg.sql import SQL

from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition
from pgsearch.sync.statements import Statements

#: A key as PostgreSQL writes it, one text per column; see `Statements`.
Key: TypeAlias = tuple[str, ...]


class IndexChanged(Exception):
    """A migration has changed the search index since the registry was read."""


class StoredChunk(NamedTuple):
    """A chunk as the database has it: its hash, and for each embedding whether it is missing."""

    content_hash: bytes
    missing: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class Claimed:
    """A key with the queue rows that ask for it, and what was read of it in the claim.

    `texts` are those of the definition, in its order; None without a source row.
    """

    key: Key
    queue_ids: tuple[int, ...]
    generation: int | None
    texts: Sequence[str | None] | None
    chunks: Mapping[int, StoredChunk]

    @property
    def is_gone(self) -> bool:
        """Whether the row or its document no longer exists: its chunks go too."""
        return self.generation is None or self.texts is None


@dataclass(frozen=True)
class Claim:
    """What one claim leased; `truncations` are queue rows that ask to clear the whole index."""

    documents: tuple[Claimed, ...]
    truncations: tuple[int, ...] = ()

    @property
    def queue_ids(self) -> list[int]:
        """All leased queue rows."""
        return [i for d in self.documents for i in d.queue_ids] + list(self.truncations)


class NewChunk(NamedTuple):
    """A chunk to write; a vector that is None stays as it is."""

    ordinal: int
    content: str
    content_hash: bytes
    vectors: tuple[Vector | None, ...]


@dataclass(frozen=True)
class Write:
    """What one document's chunks shall be: some written, some kept, the rest cut off."""

    claimed: Claimed
    put: tuple[NewChunk, ...] = ()
    keep: tuple[int, ...] = ()
    length: int = 0


def claim(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    *,
    rows: int,
    lease_s: float,
) -> Claim | None:
    """Lease the oldest due queue rows and read what they ask for; None if nothing is due.

    Args:
        connection: A connection that is in no transaction.
        statements: SQL of the search index.
        embeddings: The embedding columns that are kept up to date.
        rows: How many queue rows at most.
        lease_s: Seconds after which the rows are anybody's again.

    Raises:
        IndexChanged: The definition is not the one that is known any more.
    """
    with connection.transaction():
        connection.execute(statements.hold_tables)
        # What is read is held now, so that it is read by this definition or not at all.
        if connection.execute(
            statements.is_current, {"version": statements.version}
        ).fetchone() != (True,):
            raise IndexChanged
        leased = connection.execute(statements.claim, {"rows": rows, "lease_s": lease_s}).fetchall()
        if not leased:
            return None
        asked: dict[Key, list[int]] = {}
        for queue_id, *key in sorted(leased):
            asked.setdefault(tuple(key), []).append(queue_id)
        truncations = [asked.pop(key) for key in list(asked) if None in key]
        documents = _read(connection, statements, embeddings, asked) if asked else ()
    return Claim(documents, tuple(i for ids in truncations for i in ids))


def _read(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    asked: Mapping[Key, Sequence[int]],
) -> tuple[Claimed, ...]:
    keys = list(asked)
    rows = connection.execute(statements.read, key_arrays(keys), binary=True).fetchall()
    stored = _stored_chunks(connection, statements, embeddings, keys)
    return tuple(
        Claimed(
            key=(key := keys[place - 1]),
            queue_ids=tuple(asked[key]),
            generation=generation,
            texts=texts,
            chunks=stored.get(key, {}),
        )
        for place, generation, texts in rows
    )


def _stored_chunks(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    keys: Sequence[Key],
) -> dict[Key, dict[int, StoredChunk]]:
    stored: dict[Key, dict[int, StoredChunk]] = {}
    rows = connection.execute(statements.chunks(embeddings), key_arrays(keys))
    for place, ordinal, content_hash, missing in rows:
        chunks = stored.setdefault(keys[place - 1], {})
        chunks[ordinal] = StoredChunk(content_hash, tuple(missing))
    return stored


def write(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    writes: Sequence[Write],
    *,
    truncations: Sequence[int] = (),
) -> list[Write]:
    """Write documents' chunks and delete their queue rows, in one transaction.

    Returns:
        The writes that were carried out; the others' documents or chunks have moved on.
    """
    keys = [item.claimed.key for item in writes]
    with connection.transaction():
        lock(connection, statements, keys, whole_index=bool(truncations))
        if truncations:
            connection.execute(statements.clear)
        current = _generations(connection, statements, keys)
        timely = [w for w in writes if current.get(w.claimed.key) == w.claimed.generation]
        stored = _stored_chunks(connection, statements, embeddings, keys) if keys else {}
        valid = [w for w in timely if stored.get(w.claimed.key, {}) == w.claimed.chunks]
        _put(connection, statements, embeddings, valid)
        again = {i for w in timely if w not in valid for i in w.claimed.queue_ids}
        done = {i for w in writes for i in w.claimed.queue_ids} - again | set(truncations)
        connection.execute(statements.done, {"ids": list(done)})
        _forget_failures(connection, statements, valid)
        connection.execute(statements.release, {"ids": list(again)})
    return valid


def _forget_failures(
    connection: Connection, statements: Statements, writes: Sequence[Write]
) -> None:
    """Delete older queue rows of these keys, on which a model failed: they are up to date now."""
    if writes:
        newest = [max(w.claimed.queue_ids) for w in writes]
        keys = key_arrays(w.claimed.key for w in writes)
        connection.execute(statements.forget_failures, keys | {"newest": newest})


def lock(
    connection: Connection,
    statements: Statements,
    keys: Iterable[Key],
    *,
    whole_index: bool = False,
) -> None:
    """Take the workers' locks until the transaction ends, always in the same order.

    Every write shares the lock of the search index; one that may touch the chunks of any key
    has it for itself.
    """
    number = lock_number(statements.definition)
    shared = "" if whole_index else "_shared"
    connection.execute(SQL("SELECT pg_advisory_xact_lock{}(%s)").format(SQL(shared)), [number])
    if arrays := key_arrays(keys):
        connection.execute(statements.lock_keys, arrays | {"seed": number})


def _generations(
    connection: Connection, statements: Statements, keys: Sequence[Key]
) -> dict[Key, int]:
    if not keys:
        return {}
    rows = connection.execute(statements.generations, key_arrays(keys))
    return {keys[place - 1]: generation for place, generation in rows}


def _put(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    writes: Sequence[Write],
) -> None:
    kept, cut, orphans, put = [], [], [], []
    for item in writes:
        key = key_values(item.claimed.key)
        generation = {"generation": item.claimed.generation}
        if item.claimed.is_gone and item.claimed.generation is not None:
            orphans.append(key | generation)
        if item.keep:
            kept.append(key | generation | {"ordinals": list(item.keep)})
        if unwanted := _unwanted(item):
            cut.append(key | {"ordinals": unwanted})
        for chunk in item.put:
            vectors = {f"vector_{n}": vector for n, vector in enumerate(chunk.vectors)}
            put.append(key | generation | chunk._asdict() | vectors)
    with connection.cursor() as cursor:
        for statement, parameters in (
            (statements.cut_orphan, orphans),
            (statements.cut_chunks, cut),
            (statements.keep_chunks, kept),
            (statements.put_chunk(embeddings), put),
        ):
            if parameters:
                cursor.executemany(statement, parameters)


def _unwanted(item: Write) -> list[int]:
    """Return the ordinals of stored chunks that have other content now, or none.

    They are deleted and not updated: no vector of the old content can stay, not even one of an
    embedding that was added while this worker had the old registry before it.
    """
    wanted = {chunk.ordinal: chunk.content_hash for chunk in item.put}
    return [
        ordinal
        for ordinal, stored in item.claimed.chunks.items()
        if ordinal >= item.length or wanted.get(ordinal, stored.content_hash) != stored.content_hash
    ]


def fail(
    connection: Connection,
    statements: Statements,
    failures: Mapping[Claimed, str],
    *,
    max_attempts: int,
) -> int:
    """Count a failed attempt for each document.

    Returns:
        How many queue rows were parked, for they have failed `max_attempts` times.
    """
    parked = 0
    for claimed, error in failures.items():
        rows = connection.execute(
            statements.fail,
            {"ids": list(claimed.queue_ids), "error": error, "max_attempts": max_attempts},
        )
        parked += sum(row[0] for row in rows)
    return parked


def release(connection: Connection, statements: Statements, claimed: Claim) -> None:
    """Give the leases of a claim back."""
    connection.execute(statements.release, {"ids": claimed.queue_ids})


def key_arrays(keys: Iterable[Key]) -> dict[str, Any]:
    """Return keys as one array of text per key column; nothing where there is no key."""
    return {f"key_{n}": list(texts) for n, texts in enumerate(zip(*keys, strict=True))}


def key_values(key: Key) -> dict[str, Any]:
    """Return a key as one text per key column."""
    return {f"key_{n}": text for n, text in enumerate(key)}


def lock_number(definition: IndexDefinition) -> int:
    """Return the number of the advisory lock of a search index, and the seed of its keys'."""
    name = f"{definition.schema}.{definition.name}"
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
