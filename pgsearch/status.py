"""The state of search indexes, for people and for monitoring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from pgsearch import registry, resources
from pgsearch.database import Connection
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.schema.templates import object_holes


@dataclass(frozen=True)
class EmbeddingStatus:
    """One embedding: how many chunks have its vector, and its HNSW index.

    Args:
        name: Its name.
        model: Name of its model.
        state: filling, indexing, ready, active or retired.
        vectors: Chunks that have a vector.
        coverage: Share of the chunks that have a vector, 0 to 1; None without chunks.
        index_bytes: Size of the HNSW index; None until it is built.
        index_valid: Whether the index can be used; None until it is built.
    """

    name: str
    model: str
    state: str
    vectors: int
    coverage: float | None
    index_bytes: int | None
    index_valid: bool | None


@dataclass(frozen=True)
class IndexStatus:
    """One search index.

    Args:
        name: Its name.
        table: Its source table, as it is called now.
        documents: Rows that keyword search knows.
        capturing: Whether it follows its table; not so while a migration changes it.
        filled: Whether the rows that were there before the index have their documents.
        rebuilding: Whether what is there is done again, while search goes on; as after a change
            of what is declared, or of the table's partitions.
        truncated: Documents whose text was too long for its tsvector.
        chunks: Passages.
        waiting: Queue rows that wait for a worker, or for their next attempt.
        oldest_s: Age of the oldest of them in seconds; None if nothing waits.
        failed: Queue rows that were parked after their last attempt.
        last_error: The error of the row that was parked last.
        document_bytes: Size of the document table.
        chunk_bytes: Size of the chunk table with its vectors.
        keyword_index_bytes: Size of the GIN index.
        embeddings: Its embeddings, in the order of adding.
    """

    name: str
    table: str
    documents: int
    capturing: bool
    filled: bool
    rebuilding: bool
    truncated: int
    chunks: int
    waiting: int
    oldest_s: float | None
    failed: int
    last_error: str | None
    document_bytes: int
    chunk_bytes: int
    keyword_index_bytes: int
    embeddings: tuple[EmbeddingStatus, ...]


def read_status(connection: Connection, *names: str) -> tuple[IndexStatus, ...]:
    """Return the state of search indexes, all of them if none is named.

    Counting reads the companion tables once, so this is for people, not for every second.

    Raises:
        NotInstalled: The schema `pgsearch` is absent or of another version.
        ObjectMissing: A name is not that of a search index.
    """
    return tuple(_index(connection, index) for index in registry.read(connection, *names))


def _row(connection: Connection, query: Composed) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(query).fetchone()
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
        )
    }
    counts = _row(connection, SQL(resources.sql("registry/status.sql")).format(**holes))
    return IndexStatus(
        name=index.name,
        table=index.table or definition.table,
        capturing=index.capturing,
        filled=index.filled,
        rebuilding=not index.filled and (index.refill or index.active is not None),
        embeddings=tuple(
            _embedding(connection, index, embedding, counts["chunks"])
            for embedding in index.embeddings
        ),
        **counts,
    )


def _embedding(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding, chunks: int
) -> EmbeddingStatus:
    schema = index.definition.schema
    found = _row(
        connection,
        SQL(resources.sql("registry/embedding_status.sql")).format(
            chunk=Identifier(schema, index.definition.names.chunk),
            column=Identifier(embedding.column),
            hnsw_index_name=_name(schema, embedding.hnsw_index),
        ),
    )
    return EmbeddingStatus(
        name=embedding.name,
        model=embedding.model.name,
        state=embedding.state,
        coverage=found["vectors"] / chunks if chunks else None,
        **found,
    )


def _name(schema: str, name: str) -> Literal:
    """Return a qualified name as text, as PostgreSQL's regclass reads it."""
    return Literal(Identifier(schema, name).as_string(None))
