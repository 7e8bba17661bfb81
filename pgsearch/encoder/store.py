"""Where an encoder is kept: tokens beside the search index, what is known of it in the registry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from struct import pack
from typing import TYPE_CHECKING, Final

from psycopg.sql import SQL, Composed, Identifier, Literal
from psycopg.types.json import Jsonb

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex

if TYPE_CHECKING:
    from pgsearch.encoder.train import Floats

#: An encoder is built anew after changes to this share of the documents, and this many more.
CHANGED_SHARE: Final = 0.3
CHANGED_AT_LEAST: Final = 200

#: Passages of a corpus that an encoder is made of without being asked for, at least.
ENOUGH: Final = 100

#: How long a worker may take for one before another one begins; seconds.
LEASE_S: Final = 900

#: The largest number of a halfvec.
_LARGEST: Final = 65504.0


@dataclass(frozen=True)
class Fidelity:
    """How near an encoder's vectors are to the model's, on texts that it was not trained on.

    Args:
        texts: How many texts were compared.
        cosine: The mean cosine of both vectors.
        neighbours: Which share of the ten passages nearest to the model's vector is among the ten
            nearest to the encoder's; None where there were too few passages to tell.
        unknown: Which share of their words the encoder does not know but by their parts.
    """

    texts: int
    cosine: float
    neighbours: float | None
    unknown: float


@dataclass(frozen=True)
class Corpus:
    """What is known of the passages that an encoder learns from.

    Args:
        passages: How many there are, about.
        is_secured: Whether row-level security holds for the table.
        generation: The newest document.
    """

    passages: int
    is_secured: bool
    generation: int


def compose(name: str, index: RegisteredIndex, column: str = "") -> Composed:
    """Return a statement on a search index, out of its file."""
    definition = index.definition
    names = definition.names

    def named(table: str) -> Identifier:
        return Identifier(definition.schema, table)

    return SQL(resources.sql(f"encoder/{name}.sql")).format(
        chunk=named(names.chunk),
        chunk_name=Literal(named(names.chunk).as_string(None)),
        document_name=Literal(named(names.document).as_string(None)),
        generation=named(names.generation),
        key=SQL(", ").join(Identifier(c.name) for c in definition.key),
        column=Identifier(column) if column else SQL(""),
    )


def read_corpus(connection: Connection, index: RegisteredIndex, *, limit: int) -> Corpus:
    """Return what is known of a search index's passages, which are counted up to a limit."""
    row = connection.execute(compose("size", index), {"limit": limit}).fetchone()
    assert row is not None
    counted, estimated, is_secured, generation = row
    return Corpus(counted if counted < limit else max(limit, estimated), is_secured, generation)


def logged_queries(connection: Connection, index: RegisteredIndex, *, limit: int) -> list[str]:
    """Return the queries that were logged last, each once; none for who may not read."""
    may_read = "SELECT has_table_privilege('pgsearch.search_log', 'SELECT')"
    if connection.execute(may_read).fetchone() != (True,):
        return []
    statement = resources.sql("evaluate/logged.sql").encode()
    found = connection.execute(statement, {"id": index.id, "limit": limit})
    return list(dict.fromkeys(query for query, *_ in found))


def outdated(connection: Connection, index: RegisteredIndex) -> list[int]:
    """Return the ids of ready embeddings whose encoder is lacking, or of another corpus by now."""
    changed = {
        "id": index.id,
        "share": CHANGED_SHARE,
        "at_least": CHANGED_AT_LEAST,
        "enough": ENOUGH,
    }
    return [row[0] for row in connection.execute(compose("outdated", index), changed)]


def lease(connection: Connection, embedding: RegisteredEmbedding, *, is_asked: bool) -> bool:
    """Take the building of an encoder; return whether it is ours.

    Args:
        connection: A connection that is in no transaction.
        embedding: Its embedding.
        is_asked: Whether somebody asks for it, whoever else is building it.
    """
    asked = {"id": embedding.id, "lease_s": LEASE_S, "is_asked": is_asked}
    statement = resources.sql("encoder/lease.sql").encode()
    with transaction(connection):
        return connection.execute(statement, asked).fetchone() is not None


def renew(connection: Connection, embedding: RegisteredEmbedding) -> None:
    """Keep the building of an encoder for as long again."""
    with transaction(connection):
        connection.execute(
            "UPDATE pgsearch.encoder"
            " SET leased_until = clock_timestamp() + %s * interval '1 second'"
            " WHERE embedding_id = %s AND leased_until IS NOT NULL",
            [LEASE_S, embedding.id],
        )


def give_back(connection: Connection, embedding: RegisteredEmbedding) -> None:
    """Let another worker build an encoder that this one was not to finish."""
    with transaction(connection):
        connection.execute(
            "UPDATE pgsearch.encoder SET leased_until = NULL WHERE embedding_id = %s",
            [embedding.id],
        )


def write(
    connection: Connection,
    index: RegisteredIndex,
    embedding: RegisteredEmbedding,
    *,
    tokens: Sequence[str],
    vectors: Floats,
    corpus: Corpus,
    at_least: int,
    fidelity: Fidelity,
) -> int:
    """Put an encoder in the place of the one before, in one transaction; return its version."""
    definition = index.definition
    table = Identifier(definition.schema, definition.names.token)
    with transaction(connection):
        # Two that were built at the same time come one after the other.
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('pgsearch.encoder', %s))",
            [embedding.id],
        )
        connection.execute(
            SQL("DELETE FROM {} WHERE embedding_id = %s").format(table), [embedding.id]
        )
        copy = SQL("COPY {} (embedding_id, token, vector) FROM STDIN (FORMAT BINARY)")
        with connection.cursor() as cursor, cursor.copy(copy.format(table)) as writer:
            # What a halfvec is made of are bytes to a driver that does not know it.
            writer.set_types(["int4", "text", "bytea"])
            for token, vector in zip(tokens, _halves(vectors), strict=True):
                writer.write_row((embedding.id, token, vector))
        row = connection.execute(
            resources.sql("encoder/write.sql").encode(),
            {
                "id": embedding.id,
                "generation": corpus.generation,
                "documents": corpus.passages,
                "at_least": at_least,
                "tokens": len(tokens),
                "fidelity": Jsonb(asdict(fidelity)),
            },
        ).fetchone()
        assert row is not None
        connection.execute(
            "INSERT INTO pgsearch.event (search_index_id, embedding, kind, detail)"
            " VALUES (%s, %s, 'distilled', %s)",
            [index.id, embedding.name, Jsonb({"version": row[0], "tokens": len(tokens)})],
        )
    return int(row[0])


def switch_off(
    connection: Connection, index: RegisteredIndex, embedding: RegisteredEmbedding
) -> None:
    """Take an encoder away, and let no worker build one until somebody asks for it."""
    definition = index.definition
    table = Identifier(definition.schema, definition.names.token)
    with transaction(connection):
        connection.execute(
            SQL("DELETE FROM {} WHERE embedding_id = %s").format(table), [embedding.id]
        )
        connection.execute(
            "INSERT INTO pgsearch.encoder AS e (embedding_id, is_wanted) VALUES (%s, false)"
            " ON CONFLICT (embedding_id) DO UPDATE SET is_wanted = false, tokens = 0,"
            " fidelity = NULL, leased_until = NULL",
            [embedding.id],
        )


def numbers(sent: bytes) -> Floats:
    """Return the numbers of a real[] as PostgreSQL sends it: a length before each of them."""
    import numpy as np

    head = 20  # dimensions, flags, type, length and lower bound
    return np.frombuffer(sent, dtype=[("size", ">i4"), ("value", ">f4")], offset=head)[
        "value"
    ].astype(np.float32)


def _halves(vectors: Floats) -> Iterator[bytes]:
    """Yield vectors as a halfvec is sent: its dimensions, and numbers of two bytes."""
    head = pack(">hh", vectors.shape[1], 0)
    for vector in vectors.clip(-_LARGEST, _LARGEST).astype(">f2"):
        yield head + vector.tobytes()
