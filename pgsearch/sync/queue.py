"""Claim and write: the short transactions around the model.

A claim leases queue rows, then reads text and generation together, and commits. A write takes an
advisory lock per key, which only workers take, and writes a document's chunks only if the document
still has the generation that was read. If it has moved on, nothing is written: a newer queue row
is waiting. If it has not, but another worker has just written chunks of an older generation, the
lease is given back, for what to write depends on the chunks that are there. So neither two workers
nor a lease that ran out can leave an older vector over a newer text, and no lock of a worker can
hold up the application.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Literal

from pgsearch.database import Connection, transaction
from pgsearch.sync.portion import Portion
from pgsearch.sync.statements import Statements

#: A key as PostgreSQL writes it, one text per column; see `Statements`.
Key: TypeAlias = tuple[str, ...]

#: Queue rows from here on are of a backfill; those below are changes that somebody waits for.
FIRST_BACKFILL: Final = 2**62

#: A queue row is parked after so many workers ended while they had it.
MAX_LOST: Final = 8

#: A claim reads no more text than this, but for a single document that is longer; characters.
_TEXT_BUDGET: Final = 8_000_000

#: How long the rewriting of documents waits for the application's locks; milliseconds.
_LOCK_TIMEOUT_MS: Final = 100

#: After which time it is tried again; seconds.
_REWRITE_AGAIN_S: Final = 0.2

#: How often a claim waits for them.
_REFUSALS: Final = 3

#: How long documents are rewritten for one claim; seconds. The rest is claimed again.
_REWRITE_S: Final = 2.0


class IndexChanged(Exception):
    """A migration has changed the search index since the registry was read."""


class StoredChunk(NamedTuple):
    """A chunk as the database has it: its hash, and for each embedding whether it is missing."""

    content_hash: bytes
    missing: tuple[bool, ...]


@dataclass(eq=False, slots=True)
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
        """Whether the row or its document no longer exists: its chunks go too.

        Every change that a trigger sees writes both. A row that lacks only its document was
        written unseen, and these chunks may be those of another row that had the key before. A
        first fill comes to it yet; else it is for a reconciliation to find.
        """
        return self.generation is None or self.texts is None


@dataclass(frozen=True)
class Claim:
    """What one claim leased and read.

    Args:
        lease: The number by which its queue rows are known to be its own.
        documents: What was read.
        truncations: Queue rows that ask to clear the whole index.
        parked: How many queue rows were parked, for worker after worker ended over them.
        is_suspect: Whether a worker has ended over some of them: nothing else should be on its
            way meanwhile, or it would be taken for the cause.
    """

    lease: int
    documents: tuple[Claimed, ...] = ()
    truncations: tuple[int, ...] = ()
    parked: int = 0
    is_suspect: bool = False

    @property
    def queue_ids(self) -> list[int]:
        """All leased queue rows."""
        return [i for d in self.documents for i in d.queue_ids] + list(self.truncations)

    @property
    def backfilled(self) -> int:
        """How many of them are of a backfill."""
        return sum(number >= FIRST_BACKFILL for number in self.queue_ids)


@dataclass
class _Leased:
    """Queue rows that were leased, by key."""

    number: int
    asked: dict[Key, list[int]] = field(default_factory=dict)
    rewrite: set[Key] = field(default_factory=set)
    truncations: list[int] = field(default_factory=list)
    parked: int = 0
    is_suspect: bool = False

    @property
    def queue_ids(self) -> list[int]:
        return [i for ids in self.asked.values() for i in ids] + self.truncations

    def leave(self, keys: Iterable[Key]) -> list[int]:
        """Forget some keys; return their queue rows."""
        return [i for key in keys for i in self.asked.pop(key)]


def claim(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    *,
    rows: int,
    lease_s: float,
    fresh: bool = False,
    on_lost: Callable[[Claim], None] = lambda _: None,
) -> Claim | None:
    """Lease due queue rows and read what they ask for; None if nothing is due.

    Args:
        connection: A connection that is in no transaction.
        statements: SQL of the search index.
        embeddings: The embedding columns that are kept up to date.
        rows: How many queue rows at most.
        lease_s: Seconds after which the rows are anybody's again.
        fresh: Whether rows of a backfill are left alone.
        on_lost: Called with what was leased if the connection is lost before it is read.

    Raises:
        IndexChanged: The definition is not the one that is known any more.
    """
    leased = _lease(connection, statements, rows=rows, lease_s=lease_s, fresh=fresh)
    if not leased.queue_ids and not leased.parked:
        return None
    documents: tuple[Claimed, ...] = ()
    try:
        if leased.rewrite:
            _rewrite(connection, statements, leased)
        if leased.asked:
            documents = _read(connection, statements, embeddings, leased.asked)
            unread = leased.asked.keys() - {document.key for document in documents}
            release(connection, statements, leased.number, leased.leave(unread))
    except BaseException:
        try:
            release(connection, statements, leased.number, leased.queue_ids)
        except psycopg.OperationalError:
            on_lost(Claim(leased.number, truncations=tuple(leased.queue_ids)))
        raise
    return Claim(
        leased.number, documents, tuple(leased.truncations), leased.parked, leased.is_suspect
    )


def _lease(
    connection: Connection, statements: Statements, *, rows: int, lease_s: float, fresh: bool
) -> _Leased:
    leased = _Leased(secrets.randbits(62))
    with transaction(connection, by_key=True, pipelined=True):
        found = connection.execute(
            statements.claim,
            {
                "rows": rows,
                "below": FIRST_BACKFILL if fresh else 2**63 - 1,
                "lease": leased.number,
                "lease_s": lease_s,
                "max_lost": MAX_LOST,
            },
        ).fetchall()
    for queue_id, rewrite, lost, is_parked, *texts in sorted(found):
        key = tuple(texts)
        leased.is_suspect |= lost > 0
        if is_parked:
            leased.parked += 1
        elif None in key:
            leased.truncations.append(queue_id)
        else:
            leased.asked.setdefault(key, []).append(queue_id)
            if rewrite:
                leased.rewrite.add(key)
    return leased


def _rewrite(connection: Connection, statements: Statements, leased: _Leased) -> None:
    """Write documents that could not be written by a trigger, or give their keys back.

    A few at a time, for the application may have to wait for their rows; and not all of very many
    long ones, for others wait behind them.
    """
    left, refused = list(leased.rewrite), list[Key]()
    # Else those that the application is at might be tried first each time, and no others.
    random.shuffle(left)
    portion = Portion(1, len(left))
    until = time.monotonic() + _REWRITE_S
    refusals = 0
    while left and refusals < _REFUSALS and time.monotonic() < until:
        keys = [left.pop() for _ in range(min(portion.rows, len(left)))]
        started = time.perf_counter()
        try:
            with transaction(connection):
                connection.execute(
                    SQL("SET LOCAL lock_timeout = {}").format(Literal(_LOCK_TIMEOUT_MS))
                )
                connection.execute(statements.hold_tables)
                connection.execute(statements.rewrite, key_arrays(keys))
            portion.took(time.perf_counter() - started)
        except (errors.LockNotAvailable, errors.DeadlockDetected):
            # The application is at these rows.
            refused += keys
            refusals += 1
            portion.was_refused()
    ids = leased.leave([*left, *refused])
    delay_s = _REWRITE_AGAIN_S if refused else 0.0
    release(connection, statements, leased.number, ids, delay_s=delay_s)


def _read(
    connection: Connection,
    statements: Statements,
    embeddings: tuple[str, ...],
    asked: Mapping[Key, Sequence[int]],
) -> tuple[Claimed, ...]:
    """Read keys' texts and generations, as many as the budget allows."""
    keys = list(asked)
    with transaction(connection, by_key=True):
        connection.execute(statements.hold_tables)
        # What is read is held now, so that it is read by this definition or not at all.
        if connection.execute(
            statements.is_current, {"version": statements.version}
        ).fetchone() != (True,):
            raise IndexChanged
        rows = _within_budget(connection, statements, keys)
        read = [keys[place - 1] for place, *_ in rows]
        current = connection.execute(statements.current(embeddings), key_arrays(read))
        stored = read_current(current, read)
    return tuple(
        Claimed(
            key=(key := keys[place - 1]),
            queue_ids=tuple(asked[key]),
            generation=generation,
            texts=texts,
            chunks=stored[key].chunks,
        )
        for place, generation, texts in rows
    )


def _within_budget(
    connection: Connection, statements: Statements, keys: Sequence[Key]
) -> list[tuple[Any, ...]]:
    """Read keys one after the other until the budget of text is spent: one may be very long."""
    rows: list[tuple[Any, ...]] = []
    left, longest = _TEXT_BUDGET, _TEXT_BUDGET // 4
    with connection.cursor("pgsearch_read") as cursor:
        cursor.execute(statements.read, key_arrays(keys), binary=True)
        while left > 0 and (found := cursor.fetchmany(max(1, min(left // longest, 256)))):
            lengths = [sum(map(len, filter(None, texts or ()))) for _, _, texts in found]
            rows += found
            left -= sum(lengths)
            longest = max(longest if len(rows) > len(found) else 1, *lengths)
    return rows


class Current(NamedTuple):
    """What a key has at a moment: its document's generation, if it has one, and its chunks."""

    generation: int | None
    chunks: dict[int, StoredChunk]


def read_current(rows: Iterable[tuple[Any, ...]], keys: Sequence[Key]) -> dict[Key, Current]:
    """Return what keys have, from the rows of `Statements.current`."""
    found: dict[Key, Current] = {}
    for place, generation, ordinal, content_hash, missing in rows:
        current = found.setdefault(keys[place - 1], Current(generation, {}))
        if ordinal is not None:
            current.chunks[ordinal] = StoredChunk(content_hash, tuple(missing))
    return found


def fail(
    connection: Connection,
    statements: Statements,
    lease: int,
    failures: Mapping[Claimed, str],
    *,
    max_attempts: int,
) -> int:
    """Count a failed attempt for each document.

    Returns:
        How many queue rows were parked, for they have failed `max_attempts` times.
    """
    parked = 0
    if failures:
        with transaction(connection, by_key=True):
            for claimed, error in failures.items():
                rows = connection.execute(
                    statements.fail,
                    {
                        "ids": list(claimed.queue_ids),
                        "lease": lease,
                        "error": error,
                        "max_attempts": max_attempts,
                    },
                )
                parked += sum(row[0] for row in rows)
    return parked


def release(
    connection: Connection,
    statements: Statements,
    lease: int,
    ids: Sequence[int],
    *,
    delay_s: float = 0.0,
) -> None:
    """Give queue rows back, to be claimed again at once or after a while."""
    if ids:
        with transaction(connection, by_key=True):
            connection.execute(
                statements.release, {"ids": list(ids), "lease": lease, "delay_s": delay_s}
            )


def renew(
    connection: Connection, statements: Statements, claimed: Claim, *, lease_s: float
) -> None:
    """Let the leases of a claim last for some more seconds from now on."""
    with transaction(connection, by_key=True):
        connection.execute(
            statements.renew,
            {"ids": claimed.queue_ids, "lease": claimed.lease, "lease_s": lease_s},
        )


def key_arrays(keys: Iterable[Key]) -> dict[str, Any]:
    """Return keys as one array of text per key column; nothing where there is no key."""
    return {f"key_{n}": list(texts) for n, texts in enumerate(zip(*keys, strict=True))}
