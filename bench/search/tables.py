"""The same documents twice: behind a search index, and in a table as one writes it by hand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from pgvector import Vector
from psycopg.sql import SQL, Identifier, Literal

from bench.search.corpus import DIMENSIONS, Corpus
from bench.sync.table import apply, settle
from pgsearch import database, registry
from pgsearch.declare import Embedding, Model
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.encoder import store
from pgsearch.errors import Error
from pgsearch.schema.embedding import add_embedding
from pgsearch.schema.index import create_search_index
from pgsearch.schema.install import install
from pgsearch.sync import Progress, Worker

if TYPE_CHECKING:
    from rich.progress import Progress as Display

SEARCH: Final = IndexDefinition(
    name="article_search",
    schema="public",
    table="article",
    key=(TypedColumn("id", "bigint"),),
    text=(TextColumn("body", "B"),),
    filters=(TypedColumn("bucket", "integer"),),
)

_MODEL: Final = Model("made", provider="bench", dimensions=DIMENSIONS)

#: Documents whose words have vectors, and how many words at most.
_LEARNED_FROM, _WORDS = 50_000, 50_000

#: What a table by hand has that is laid out for one model: all in the row, with the same indexes.
#: The names of its columns are those that langchain-postgres knows.
_BY_HAND: Final = f"""
CREATE TABLE plain (
  id        bigint PRIMARY KEY,
  content   text NOT NULL,
  bucket    integer NOT NULL,
  tsv       tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
  embedding vector({DIMENSIONS}) NOT NULL
)
"""

_INDEXES: Final = (
    "CREATE INDEX plain_bucket ON plain (bucket)",
    "CREATE INDEX plain_tsv ON plain USING gin (tsv) WITH (fastupdate = off)",
    "CREATE INDEX plain_hnsw ON plain USING hnsw (embedding vector_cosine_ops)",
)


class _Known:
    """An Embedder that knows the vector of every document."""

    def __init__(self, corpus: Corpus) -> None:
        self.dimensions, self.max_tokens = DIMENSIONS, 100_000
        self._corpus = corpus
        self._rows = {body: row for row, body in enumerate(corpus.bodies)}

    def count_tokens(self, text: str) -> int:
        return text.count(" ") + 1

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        # The texts of a fingerprint are no documents.
        rows = [self._rows.get(text, number) for number, text in enumerate(texts)]
        return [Vector(self._corpus.vectors[row]) for row in rows]

    embed_queries = embed_documents


def give_memory(connection: database.Connection, build: str) -> None:
    """Let graphs be built in memory; without that, the one of a million rows takes hours.

    Args:
        connection: To the database, whose later sessions are meant.
        build: What `maintenance_work_mem` is to be.
    """
    name = Identifier(connection.info.dbname)
    connection.execute(
        SQL("ALTER DATABASE {} SET maintenance_work_mem = {}").format(name, Literal(build))
    )
    connection.execute(SQL("SET maintenance_work_mem = {}").format(Literal(build)))


def make_by_hand(
    connection: database.Connection, corpus: Corpus, display: Display, say: Callable[[str], None]
) -> None:
    """Make the table `plain`, fill it, and index it."""
    connection.execute(_BY_HAND.encode())
    rows = zip(corpus.bodies, corpus.buckets.tolist(), corpus.vectors, strict=True)
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY plain (id, content, bucket, embedding) FROM STDIN BINARY") as copy,
    ):
        copy.set_types(("bigint", "text", "integer", "vector"))
        tracked = display.track(rows, total=len(corpus.bodies), description="COPY plain")
        for number, (body, bucket, vector) in enumerate(tracked, start=1):
            copy.write_row((number, body, bucket, Vector(vector)))
    for index in _INDEXES:
        say(index)
        connection.execute(index.encode())
    settle(connection)


def make_searched(
    connection: database.Connection, url: str, corpus: Corpus, display: Display
) -> None:
    """Make the table `article`, fill it, and let a worker do what a migration has left to it."""
    connection.execute(
        "CREATE TABLE article (id bigint PRIMARY KEY, body text NOT NULL, bucket integer NOT NULL)"
    )
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY article (id, body, bucket) FROM STDIN") as copy,
    ):
        rows = zip(corpus.bodies, corpus.buckets.tolist(), strict=True)
        for number, row in enumerate(rows, start=1):
            copy.write_row((number, *row))
    connection.execute("CREATE INDEX article_bucket ON article (bucket)")
    apply(connection, install())
    apply(connection, create_search_index(SEARCH))
    embedding = Embedding("made", _MODEL)
    apply(connection, add_embedding(SEARCH.schema, SEARCH.name, embedding))
    known = _Known(corpus)
    tasks = {
        step: display.add_task(f"pgsearch: {step}", total=len(corpus.bodies), start=False)
        for step in ("documents", "embed")
    }

    def show(state: Progress) -> None:
        if state.step in tasks:
            display.start_task(tasks[state.step])
            display.advance(tasks[state.step], state.done)

    report = Worker(url, load=lambda _: known, distill=False, on_progress=show).drain()
    if report.failed or report.documents != len(corpus.bodies):
        raise Error(
            f"Of {len(corpus.bodies)} documents {report.documents} were embedded and "
            f"{report.failed} failed."
        )
    settle(connection)


def make_encoder(connection: database.Connection, corpus: Corpus) -> None:
    """Let text alone have a vector: of a word, the mean vector of the documents that hold it.

    It is as large as one that is learned, and its vectors lie where documents are.
    """
    rows: dict[str, list[int]] = defaultdict(list)
    for row, body in enumerate(corpus.bodies[:_LEARNED_FROM]):
        for word in set(body.split()):
            rows[word].append(row)
    words = sorted(rows, key=lambda word: -len(rows[word]))[:_WORDS]
    vectors = np.array([corpus.vectors[rows[word][:100]].mean(axis=0) for word in words])
    (index,) = registry.read(connection)
    assert index.active is not None
    store.write(
        connection,
        index,
        index.active,
        tokens=words,
        vectors=vectors.astype(np.float32),
        corpus=store.Corpus(len(corpus.bodies), is_secured=False, generation=len(corpus.bodies)),
        at_least=1,
        fidelity=store.Fidelity(texts=0, cosine=0.0, neighbours=None, unknown=0.0),
    )
    settle(connection)
