"""The state of search indexes, for people and for monitoring."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from pgsearch import registry, resources
from pgsearch.database import Connection
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.schema.templates import object_holes

#: A table of more bytes than these is not counted, but estimated: counting takes about a second
#: for each GB in memory, and far longer from a disk.
_LARGE: Final = 2**30

#: Pages of a large table's sample. It is off by about half a percent.
_SAMPLE_PAGES: Final = 10_000


@dataclass(frozen=True)
class Progress:
    """How far something is that workers do once for all rows. Both are estimates.

    Args:
        share: How much is done, 0 to 1; None where nobody knows how many rows the table has.
        left_s: Seconds that the rest takes, at the mean speed since it began; pauses of all
            workers count. None while there is nothing to go by.
        per_s: Rows or chunks per second since it began; None while there is nothing to go by.
    """

    share: float | None
    left_s: float | None
    per_s: float | None = None


@dataclass(frozen=True)
class Cost:
    """What an embedding costs at its model's provider, in the currency of the declared price.

    Both are estimates, of four characters to a token; vectors that were taken over from equal
    content, or adopted, cost nothing and are counted all the same.

    Args:
        so_far: Of the vectors that are there.
        to_come: Of those that are missing; None where nobody knows how many there will be.
    """

    so_far: float
    to_come: float | None


@dataclass(frozen=True)
class EmbeddingStatus:
    """One embedding: how many chunks have its vector, and its HNSW index.

    Args:
        name: Its name.
        model: Name of its model.
        vector_type: What its column is of.
        index_type: What its HNSW graph holds.
        state: filling, indexing, ready, active or retired.
        vectors: Chunks that have a vector.
        coverage: Share of the chunks that have a vector, 0 to 1; None without chunks.
        index_bytes: Size of the HNSW index; None until it is built.
        index_valid: Whether the index can be used; None until it is built.
        filling: How far its fill is; None once it is filled.
        encoder_version: How often its encoder was built; None where it has none.
        canary_share: The share of the queries that it answers as a canary; None if it is none.
        encoder_cosine: How near that comes to the model, on texts that it was not trained on.
        cost: About what its vectors have cost so far, and what the missing ones will cost, at the
            declared price of its model; None without a price.
        indexing: How far the build of its HNSW index is; None while none is being built.
    """

    name: str
    model: str
    vector_type: str
    index_type: str
    state: str
    vectors: int
    coverage: float | None
    index_bytes: int | None
    index_valid: bool | None
    filling: Progress | None
    encoder_version: int | None
    encoder_cosine: float | None
    canary_share: float | None
    indexing: Progress | None
    cost: Cost | None


@dataclass(frozen=True)
class IndexStatus:
    """One search index.

    Args:
        name: Its name.
        table: Its source table, as it is called now.
        rows: About how many rows that has; None where PostgreSQL has never counted them.
        documents: Rows that keyword search knows.
        capturing: Whether it follows its table; not so while a migration changes it.
        filled: Whether the rows that were there before the index have their documents.
        reading: How far that is, or doing it again; None when it is done.
        catching_up: How far the passages of those rows are; None when none of them waits.
        rebuilding: Whether what is there is done again, while search goes on; as after a change
            of what is declared, or of the table's partitions.
        truncated: Documents whose text was too long for its tsvector; None if not counted.
        chunks: Passages.
        waiting: Queue rows that wait for a worker, or for their next attempt.
        oldest_s: Age of the oldest of them in seconds; None if nothing waits.
        failed: Queue rows that were parked after their last attempt; None if not counted.
        retrying: Queue rows that wait for another attempt, for a model failed on them; None if not
            counted.
        last_error: The error of the row that was parked last; where none is, of one that is being
            tried again.
        document_bytes: Size of the document table.
        chunk_bytes: Size of the chunk table with its vectors.
        keyword_index_bytes: Size of the GIN index.
        estimated: Whether some numbers of rows are estimates, for a table is larger than 1 GB.
        blind: The role whose functions workers call, if row-level security hides rows from it.
        embeddings: Its embeddings, in the order of adding.
    """

    name: str
    table: str
    rows: int | None
    documents: int
    capturing: bool
    filled: bool
    rebuilding: bool
    reading: Progress | None
    catching_up: Progress | None
    truncated: int | None
    chunks: int
    waiting: int
    oldest_s: float | None
    failed: int | None
    retrying: int | None
    last_error: str | None
    document_bytes: int
    chunk_bytes: int
    keyword_index_bytes: int
    estimated: bool
    blind: str | None
    embeddings: tuple[EmbeddingStatus, ...]


def read_status(connection: Connection, *names: str) -> tuple[IndexStatus, ...]:
    """Return the state of search indexes, all of them if none is named.

    Counting reads the companion tables once, save for those that are larger than 1 GB, so this is
    for people, not for every second.

    Raises:
        NotInstalled: The schema `pgsearch` is absent or of another version.
        ObjectMissing: A name is not that of a search index.
        DatabaseError: Row-level security hides rows from the role that asks.
    """
    indexes = registry.read(connection, *names)
    registry.require_sight(connection, indexes)
    return tuple(_index(connection, index) for index in indexes)


def _row(connection: Connection, query: Composed, **parameters: object) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query, {"large": _LARGE, **parameters}).fetchone()
    assert row is not None
    return row


def _index(connection: Connection, index: RegisteredIndex) -> IndexStatus:
    definition = index.definition
    names = definition.names
    holes = object_holes(definition.name, definition.schema, definition.table)
    holes |= {
        hole: _name(definition.schema, name)
        for hole, name in (
            ("document_name", names.document),
            ("chunk_name", names.chunk),
            ("tsv_index_name", names.document_tsv_index),
            ("queue_name", names.queue),
        )
    }
    counts = _row(
        connection, SQL(resources.sql("registry/status.sql")).format(**holes), id=index.id
    )
    reading, catching_up = _fill(index, counts)
    return IndexStatus(
        name=index.name,
        table=index.table or definition.table,
        capturing=index.capturing,
        filled=index.filled,
        blind=index.blind,
        rebuilding=not index.filled and (index.refill or index.active is not None),
        reading=reading,
        catching_up=catching_up,
        embeddings=tuple(
            _embedding(connection, index, embedding, counts["chunks"], catching_up)
            for embedding in index.embeddings
        ),
        **counts,
    )


def _fill(
    index: RegisteredIndex, counts: dict[str, Any]
) -> tuple[Progress | None, Progress | None]:
    """Return how far rows from before are read, and embedded; `counts` loses what tells it."""
    gone_over, seconds, backlog = (counts.pop(name) for name in ("fill_rows", "fill_s", "backlog"))
    rows, read = counts["rows"], gone_over if index.refill else counts["documents"]
    unread = 0 if index.filled else None if rows is None else max(rows - read, 0)
    reading = None if index.filled else _progress(read, unread, gone_over, seconds)
    if not backlog:
        return reading, None
    left = None if unread is None else unread + backlog
    return reading, _progress(max(read - backlog, 0), left, gone_over - backlog, seconds)


def _progress(done: int, left: int | None, since: int, seconds: float | None) -> Progress:
    """Return how far something is.

    Args:
        done: How much is done.
        left: How much is left; None if that is not known.
        since: How much was done since it began.
        seconds: The time since then; None if it has not begun.
    """
    share = None if left is None else done / (done + left) if done + left else 1.0
    if left is None or seconds is None or since <= 0:
        return Progress(share, None)
    return Progress(share, seconds * left / since, since / seconds if seconds else None)


def _embedding(
    connection: Connection,
    index: RegisteredIndex,
    embedding: RegisteredEmbedding,
    chunks: int,
    catching_up: Progress | None,
) -> EmbeddingStatus:
    schema, names = index.definition.schema, index.definition.names
    found = _row(
        connection,
        SQL(resources.sql("registry/embedding_status.sql")).format(
            chunk=Identifier(schema, names.chunk),
            chunk_name=_name(schema, names.chunk),
            column=Identifier(embedding.column),
            hnsw_index_name=_name(schema, embedding.hnsw_index),
        ),
        id=embedding.id,
        chunks=chunks,
        pages=_SAMPLE_PAGES,
    )
    vectors, seconds = found["vectors"], found.pop("fill_s")
    blocks, all_blocks, build_s = (
        found.pop(name) for name in ("blocks_done", "blocks_total", "build_s")
    )
    filling = indexing = None
    if all_blocks:
        built = _progress(blocks, all_blocks - blocks, blocks, build_s)
        indexing = replace(built, per_s=None)  # of blocks, which say nothing to anybody
    if embedding.state == "filling":
        # While rows are still read, nobody knows how many chunks there will be.
        left = max(chunks - vectors, 0) if index.filled else None
        filling = catching_up or _progress(vectors, left, vectors, seconds)
    chunk_tokens, cost = found.pop("chunk_tokens"), None
    if embedding.token_price is not None:
        of_one = embedding.token_price * (chunk_tokens or 0) / 1e6
        missing = max(chunks - vectors, 0) if embedding.is_live else 0
        cost = Cost(of_one * vectors, of_one * missing if index.filled else None)
    return EmbeddingStatus(
        name=embedding.name,
        model=embedding.model.name,
        vector_type=embedding.type,
        index_type=embedding.index,
        state=embedding.state,
        coverage=vectors / chunks if chunks else None,
        filling=filling,
        indexing=indexing,
        cost=cost,
        **found,
    )


def _name(schema: str, name: str) -> Literal:
    """Return a qualified name as text, as PostgreSQL's regclass reads it."""
    return Literal(Identifier(schema, name).as_string(None))
