"""What is there of some keys, against what their rows want.

All that is read of a key is read in one snapshot, in which a row, its document and its place in
the queue belong together, whatever is being written. What documents and chunks should be is worked
out afterwards, when no table is held any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from psycopg import IsolationLevel
from psycopg.sql import SQL, Composed

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding
from pgsearch.sync.chunking import content_hash
from pgsearch.sync.embed import cut
from pgsearch.sync.queue import IndexChanged, Key, key_arrays
from pgsearch.sync.reconciliation.report import Found, Kind
from pgsearch.sync.reconciliation.statements import ReconcileStatements

#: Texts of several keys are read together up to so many bytes; a longer one is read by itself.
TEXT_BYTES: Final = 8_000_000


class Passage(NamedTuple):
    """A chunk that is as it should be, to have its vectors compared.

    `embeddings` are the numbers of those of which it has a vector.
    """

    key: Key
    ordinal: int
    content: str
    content_hash: bytes
    embeddings: tuple[int, ...]


@dataclass
class Examined:
    """What is wrong with one key.

    Args:
        key: The key.
        generation: The document's; None without one.
        found: How often each kind of damage was found.
        passages: Chunks whose vectors may be compared.
        unfit: Ordinals and generations of chunks that no worker would mend.
        zeros: Numbers of embeddings and content hashes of chunks with a vector of zeros.
        refused: Whether the text could not be cut into passages.
        is_queued: Whether the key waits in the queue; known if it was asked for.
        is_parked: Whether it is only parked there.
    """

    key: Key
    generation: int | None
    found: Counter[Found] = field(default_factory=Counter)
    passages: list[Passage] = field(default_factory=list)
    unfit: list[tuple[int, int]] = field(default_factory=list)
    zeros: list[tuple[int, bytes]] = field(default_factory=list)
    refused: bool = False
    is_queued: bool = False
    is_parked: bool = False

    @property
    def wants_document(self) -> bool:
        """Whether its document has to be written anew."""
        return any(found.kind in _OF_ROWS for found in self.found)

    @property
    def is_asked_for(self) -> bool:
        """Whether a worker is asked for it; where vectors are cleared, they are asked for then."""
        return any(found.kind is not Kind.WRONG_VECTOR for found in self.found)

    @property
    def of_documents(self) -> Counter[Found]:
        """What was found of its document, and not of its chunks."""
        return Counter({f: n for f, n in self.found.items() if f.kind in _OF_DOCUMENTS})


_OF_ROWS: Final = (Kind.MISSING_DOCUMENT, Kind.STALE_DOCUMENT)
_OF_DOCUMENTS: Final = (*_OF_ROWS, Kind.ORPHANED_DOCUMENT)


class _Facts(NamedTuple):
    """A row and a document as they were read; a text that is too long was left out."""

    size: int | None
    texts: Sequence[str | None] | None
    configuration: int | None
    generation: int | None
    length: int | None
    truncated: bool | None
    digest: bytes | None

    @property
    def is_left_out(self) -> bool:
        return self.size is not None and self.texts is None


class _Chunk(NamedTuple):
    """A chunk as it was read; of each vector the state, None if there is nothing to say."""

    generation: int
    content_hash: bytes
    holds: bool
    states: Sequence[str | None]


class _Orphans(NamedTuple):
    """The chunks of a key without a row: how many, and which of them no worker would remove."""

    number: int = 0
    unfit: Sequence[tuple[int, int]] | None = None


class _Snapshot(NamedTuple):
    """What was read of some keys, by their places; `queued` says whether one is only parked."""

    facts: Mapping[int, _Facts]
    chunks: Mapping[int, Sequence[tuple[int, _Chunk]]]
    orphans: Mapping[int, _Orphans]
    queued: Mapping[int | None, bool]


class Examiner:
    """Compares keys of one search index with their rows.

    Args:
        connection: A connection that is in no transaction.
        statements: SQL of the search index.
        embeddings: Its live embeddings; without any there is nothing but documents.
        cutter: The model in whose tokens chunks are measured: the first embedding's.
        zeros: Whether vectors of zeros are looked for.
    """

    def __init__(
        self,
        connection: Connection,
        statements: ReconcileStatements,
        embeddings: tuple[RegisteredEmbedding, ...],
        cutter: Embedder | None,
        *,
        zeros: bool,
    ) -> None:
        self._connection = connection
        self._statements = statements
        self._embeddings = embeddings
        self._cutter = cutter
        self._chunk_states = statements.chunk_states(embeddings, zeros=zeros)
        # What is being filled lacks vectors until all of it is in the queue.
        self._complete = [e.state != "filling" or e.filled for e in embeddings]

    def keys(self, after: Key | None, rows: int) -> list[Key]:
        """Return the next keys of rows, documents and chunks, in their order."""
        parameters = {f"after_{n}": text for n, text in enumerate(after or ())}
        with self._reading():
            return self._connection.execute(
                self._statements.keys(resumed=after is not None), parameters | {"rows": rows}
            ).fetchall()

    def examine(self, keys: Sequence[Key], *, queue: bool = False) -> Iterator[Examined]:
        """Compare keys; what has a long text comes last, and is read when it is asked for.

        Args:
            keys: The keys.
            queue: Whether to look for them in the queue, too.
        """
        snapshot = self._read(keys, TEXT_BYTES // max(len(keys), 1), queue=queue)
        left_out = [keys[place - 1] for place, f in snapshot.facts.items() if f.is_left_out]
        yield from self._compare(keys, snapshot)
        del snapshot
        for key in left_out:
            yield from self._compare([key], self._read([key], None, queue=queue))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Open a transaction of one snapshot, which writes nothing."""
        connection = self._connection
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            with connection.transaction():
                connection.execute("SET LOCAL lock_timeout = 0")
                # Before the snapshot is taken: it would not know of a TRUNCATE after it.
                connection.execute(self._statements.hold_tables)
                connection.execute(SQL(resources.sql("sync/session.sql")))
                if connection.execute(
                    self._statements.is_current, {"version": self._statements.version}
                ).fetchone() != (True,):
                    raise IndexChanged
                yield
        finally:
            if not connection.closed:
                connection.isolation_level = IsolationLevel.READ_COMMITTED
                connection.read_only = False

    def _read(self, keys: Sequence[Key], limit: int | None, *, queue: bool) -> _Snapshot:
        """Read what there is of keys, but for texts of more bytes than a limit."""
        statements = self._statements
        with self._reading():
            rows = self._connection.execute(
                statements.facts,
                key_arrays(keys) | {"bytes": 2**62 if limit is None else limit},
                binary=True,
            )
            facts = {place: _Facts(*row) for place, *row in rows}
            chunks: dict[int, list[tuple[int, _Chunk]]] = defaultdict(list)
            orphans: dict[int, _Orphans] = {}
            if self._embeddings:
                there = [p for p, f in facts.items() if f.texts is not None]
                for place, ordinal, *chunk in self._of(self._chunk_states, keys, there):
                    chunks[place].append((ordinal, _Chunk(*chunk)))
                gone = [p for p, f in facts.items() if f.size is None]
                for place, *orphan in self._of(statements.orphans, keys, gone):
                    orphans[place] = _Orphans(*orphan)
            queued: dict[int | None, bool] = {}
            if queue:
                queued = dict(self._connection.execute(statements.queued, key_arrays(keys)))
        return _Snapshot(facts, chunks, orphans, queued)

    def _of(
        self, statement: Composed, keys: Sequence[Key], places: Sequence[int]
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a statement about some of the keys, by their places among all."""
        if places:
            arrays = key_arrays(keys[place - 1] for place in places)
            for place, *row in self._connection.execute(statement, arrays, binary=True):
                yield places[place - 1], *row

    def _compare(self, keys: Sequence[Key], snapshot: _Snapshot) -> Iterator[Examined]:
        expected = self._expected(snapshot.facts)
        for place, facts in snapshot.facts.items():
            if facts.is_left_out:
                continue
            examined = Examined(keys[place - 1], facts.generation)
            if facts.texts is None:
                self._examine_gone(examined, facts, snapshot.orphans.get(place, _Orphans()))
            else:
                self._examine_document(examined, facts, expected.get(place))
                if self._cutter is not None:
                    self._examine_chunks(examined, facts.texts, snapshot.chunks.get(place, ()))
            self._note_queue(examined, facts, snapshot.queued, place)
            yield examined

    def _expected(self, facts: Mapping[int, _Facts]) -> dict[int, tuple[bytes, int, bool]]:
        """Return what the documents that rows have should be: digest, length, whether truncated."""
        rows = {
            place: f.texts
            for place, f in facts.items()
            if f.texts is not None and f.generation is not None
        }
        if not rows:
            return {}
        parameters: dict[str, Any] = {
            f"texts_{number}": list(column)
            for number, column in enumerate(zip(*rows.values(), strict=True))
        }
        parameters["configurations"] = [facts[place].configuration for place in rows]
        with transaction(self._connection):
            found = self._connection.execute(self._statements.expected, parameters, binary=True)
            return dict(zip(rows, found, strict=True))

    def _examine_gone(self, examined: Examined, facts: _Facts, chunks: _Orphans) -> None:
        if facts.generation is not None:
            examined.found[Found(Kind.ORPHANED_DOCUMENT)] = 1
        if chunks.number:
            examined.found[Found(Kind.ORPHANED_CHUNK)] = chunks.number
            examined.unfit += chunks.unfit or ()

    def _examine_document(
        self, examined: Examined, facts: _Facts, expected: tuple[bytes, int, bool] | None
    ) -> None:
        if facts.generation is None:
            examined.found[Found(Kind.MISSING_DOCUMENT)] = 1
        elif (facts.digest, facts.length, facts.truncated) != expected:
            examined.found[Found(Kind.STALE_DOCUMENT)] = 1

    def _examine_chunks(
        self,
        examined: Examined,
        texts: Sequence[str | None],
        stored: Sequence[tuple[int, _Chunk]],
    ) -> None:
        assert self._cutter is not None
        try:
            contents = cut(self._statements.definition, texts, self._cutter)
        except Exception:  # a worker parks it, with the reason
            examined.refused = True
            return
        by_ordinal: dict[int, list[_Chunk]] = defaultdict(list)
        for ordinal, chunk in stored:
            by_ordinal[ordinal].append(chunk)
        for ordinal, content in enumerate(contents):
            chunks = by_ordinal.pop(ordinal, [])
            if len(chunks) == 1:
                self._examine_chunk(examined, ordinal, content, chunks[0])
            elif chunks:
                examined.found[Found(Kind.DUPLICATE_CHUNK)] += len(chunks) - 1
                examined.unfit += [(ordinal, chunk.generation) for chunk in chunks]
            else:
                examined.found[Found(Kind.MISSING_CHUNK)] += 1
        for ordinal, chunks in by_ordinal.items():
            examined.found[Found(Kind.SURPLUS_CHUNK)] += len(chunks)
            if ordinal < 0:
                examined.unfit += [(ordinal, chunk.generation) for chunk in chunks]

    def _examine_chunk(self, examined: Examined, ordinal: int, content: str, chunk: _Chunk) -> None:
        found = examined.found
        hash_ = content_hash(content)
        if not chunk.holds:
            found[Found(Kind.EDITED_CHUNK)] += 1
            examined.unfit.append((ordinal, chunk.generation))
            return
        if chunk.content_hash != hash_:
            found[Found(Kind.STALE_CHUNK)] += 1
            return
        if examined.generation not in (None, chunk.generation):
            found[Found(Kind.UNMATCHED_CHUNK)] += 1
        whole = []
        for number, (embedding, state) in enumerate(
            zip(self._embeddings, chunk.states, strict=True)
        ):
            if state is None:
                whole.append(number)
            elif state == "zero":
                found[Found(Kind.WRONG_VECTOR, embedding.name)] += 1
                examined.zeros.append((number, hash_))
            elif self._complete[number]:
                found[Found(Kind.MISSING_VECTOR, embedding.name)] += 1
        passage = Passage(examined.key, ordinal, content, hash_, tuple(whole))
        examined.passages.append(passage)

    def _note_queue(
        self, examined: Examined, facts: _Facts, queued: Mapping[int | None, bool], place: int
    ) -> None:
        if place in queued:
            examined.is_queued = not queued[place]
            examined.is_parked = queued[place]
        elif None in queued and facts.size is None and facts.generation is None:
            examined.is_queued = True  # after a TRUNCATE
