"""The table of the bench, and the search index over it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from pgsearch import database
from pgsearch.declare import Embedding
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.embedding import add_embedding
from pgsearch.schema.index import create_search_index
from pgsearch.schema.install import install
from pgsearch.schema.steps import LockPatience, Step, written
from pgsearch.sync import Worker

SEARCH: Final = IndexDefinition(
    name="article_search",
    schema="public",
    table="article",
    key=(TypedColumn("id", "bigint"),),
    text=(TextColumn("body", "A"),),
)


def make_table(connection: database.Connection) -> None:
    """Make an empty table `article` in an empty database."""
    connection.execute("CREATE EXTENSION vector")
    connection.execute("CREATE TABLE article (id bigint PRIMARY KEY, body text NOT NULL)")


def fill_table(connection: database.Connection, bodies: Sequence[str]) -> None:
    """Copy rows into `article`, numbered from 1, and let the server settle."""
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY article (id, body) FROM STDIN") as copy,
    ):
        for row in enumerate(bodies, start=1):
            copy.write_row(row)
    settle(connection)


def settle(connection: database.Connection) -> None:
    """Vacuum, analyse and write out everything, so that none of it falls into a measurement."""
    connection.execute("VACUUM ANALYZE")
    connection.execute("CHECKPOINT")


def make_search(connection: database.Connection, url: str) -> None:
    """Make a search index over `article`, and read for keywords what is in it."""
    apply(connection, install())
    apply(connection, create_search_index(SEARCH))
    Worker(url, distill=False).drain()


def embed_with(connection: database.Connection, embedding: Embedding) -> None:
    """Add an embedding to the search index, to be filled by a worker."""
    apply(connection, add_embedding(SEARCH.schema, SEARCH.name, embedding))


def apply(connection: database.Connection, steps: Iterable[Step]) -> None:
    """Run steps of a migration on a connection in autocommit."""
    for step in steps:
        for statement in written(step, LockPatience()):
            connection.execute(statement.encode())
