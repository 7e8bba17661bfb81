"""What search knows about its corpus: keyword statistics, and the spread of similarity."""

from __future__ import annotations

from psycopg.sql import SQL, Identifier, Literal

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

#: Statistics are taken anew after changes to this share of the documents, and this many more.
CHANGED_SHARE = 0.1
CHANGED_AT_LEAST = 50

#: Where there are too few chunks to measure; models of this kind lie between .09 and .13.
DEFAULT_STDDEV = 0.12

_SAMPLE = 2000


def refresh_statistics(connection: Connection, index: RegisteredIndex) -> bool:
    """Take statistics anew if enough has changed since they were taken.

    Returns:
        Whether they were taken.
    """
    definition = index.definition
    row = connection.execute(
        SQL(resources.sql("lifecycle/changes.sql")).format(
            generation=Identifier(definition.schema, definition.names.generation),
            document=Literal(
                Identifier(definition.schema, definition.names.document).as_string(connection)
            ),
        ),
        {"id": index.id},
    ).fetchone()
    assert row is not None
    documents, changes = row
    if changes is not None and changes <= CHANGED_SHARE * documents + CHANGED_AT_LEAST:
        return False
    function = Identifier(definition.schema, definition.names.refresh)
    with transaction(connection):
        connection.execute(SQL("SELECT {}()").format(function))
    for embedding in index.live:
        if embedding.state in ("ready", "active"):
            measure_similarity(connection, index, embedding)
    return True


def measure_similarity(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> float:
    """Measure and note the standard deviation of the similarity of random chunks."""
    definition = index.definition
    chunk = Identifier(definition.schema, definition.names.chunk)
    with transaction(connection):
        count = connection.execute(SQL("SELECT count(*) FROM {}").format(chunk)).fetchone()
        assert count is not None
        percent = min(100.0, 100.0 * 1.5 * _SAMPLE / max(count[0], 1))
        row = connection.execute(
            SQL(resources.sql("lifecycle/similarity_stddev.sql")).format(
                chunk=chunk, column=Identifier(embedding.column)
            ),
            {"percent": percent},
        ).fetchone()
    # Equal texts throughout would give 0, by which nothing can be divided.
    measured = row and row[0]
    stddev = float(measured) if measured and measured > 0.001 else DEFAULT_STDDEV
    with transaction(connection):
        connection.execute(
            "UPDATE pgsearch.embedding SET similarity_stddev = %s WHERE id = %s",
            [stddev, embedding.id],
        )
    return stddev
