"""What must hold at any time, whoever is at work: what nothing waits for is up to date.

A key that the queue does not hold has the document and the chunks that its row wants, and a chunk
with its document's generation has the text of its row. So a change that is lost, or an old text
that is written over a newer one, is seen at once, and not only if it happens to be the last one of
its key.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from random import Random
from typing import NamedTuple

from pgvector import Vector

from pgsearch import database as product
from pgsearch.sync.chunking import split
from pgsearch.testing import HashEmbedder
from tests.plugins.worker import STORY

#: In the order of a TRUNCATE, and before there is a snapshot: it does not know what a TRUNCATE did.
_HOLD = """
LOCK TABLE story, story_search_document, story_search_chunk, story_search_queue
IN ACCESS SHARE MODE
"""

_IS_FILLED = "SELECT filled_at IS NOT NULL FROM pgsearch.search_index"

#: Keys with their rows and documents, and whether anything waits for a worker.
_KEYS = """
SELECT coalesce(source.id, document.id), source.texts, document.generation,
       CASE WHEN source.id IS NOT NULL THEN document.tsv = (pgsearch.document_tsvector(
         source.tsconfig, source.texts, '{A,B}'::"char"[])).tsv END,
       EXISTS (SELECT FROM story_search_queue AS queue
               WHERE queue.id = coalesce(source.id, document.id) OR queue.id IS NULL)
FROM story_search_source AS source
FULL JOIN story_search_document AS document USING (id)
"""

_CHUNKS = """
SELECT id, ordinal, content, generation,
       EXISTS (SELECT FROM story_search_queue AS queue
               WHERE queue.id = chunk.id OR queue.id IS NULL), {vectors}
FROM story_search_chunk AS chunk ORDER BY id, ordinal
"""


class Chunk(NamedTuple):
    """A chunk as it is stored; the vector of an embedding is None while it has none."""

    ordinal: int
    content: str
    generation: int
    vectors: tuple[Vector | None, ...]


class Key(NamedTuple):
    """What there is of a key, all of one snapshot."""

    texts: list[str | None] | None
    generation: int | None
    has_its_document: bool | None
    waits: bool
    chunks: list[Chunk]


class Watch:
    """Looks again and again, in one snapshot each time, until something is wrong.

    Args:
        url: The database.
        chance: When.
        embeddings: Name and dimensions of the embeddings to look at.
    """

    def __init__(self, url: str, chance: Random, embeddings: Mapping[str, int]) -> None:
        self._url = url
        self._chance = chance
        self._embeddings = embeddings
        self.looks = 0
        self.settled = 0
        self.found: list[str] = []

    def look_until(self, over: threading.Event) -> None:
        """Look until it is over."""
        with product.connect(f"{self._url}&application_name=watch") as connection:
            product.register_vectors(connection)
            while not self.found and not over.wait(self._chance.uniform(0.01, 0.06)):
                keys, is_filled = snapshot(connection, tuple(self._embeddings))
                self.found = wrong(
                    keys, self._embeddings, is_filled=is_filled, whole=len(self._embeddings)
                )
                self.settled += sum(not key.waits for key in keys.values())
                self.looks += 1


def snapshot(
    connection: product.Connection, embeddings: Sequence[str]
) -> tuple[dict[int, Key], bool]:
    """Return what there is of each key, and whether the first fill is over."""
    vectors = ", ".join(f"embedding_{name}" for name in embeddings)
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute(_HOLD.encode())
        ((is_filled,),) = connection.execute(_IS_FILLED.encode()).fetchall()
        keys = {
            key: Key(*row, chunks=[]) for key, *row in connection.execute(_KEYS.encode()).fetchall()
        }
        chunks = connection.execute(_CHUNKS.format(vectors=vectors).encode()).fetchall()
    for number, ordinal, content, generation, waits, *found in chunks:
        key = keys.setdefault(number, Key(None, None, None, waits, []))
        key.chunks.append(Chunk(ordinal, content, generation, tuple(found)))
    return keys, is_filled


def wrong(
    keys: Mapping[int, Key], embeddings: Mapping[str, int], *, is_filled: bool, whole: int
) -> list[str]:
    """Return what must not be, whoever is at work.

    Args:
        keys: What there is.
        embeddings: Name and dimensions of the embeddings whose vectors were read.
        is_filled: Whether every row should have its document.
        whole: How many of the embeddings were there from the start; others are being filled.
    """
    found = []
    for number, key in sorted(keys.items()):
        if what := _wrong_vector(key, embeddings):
            found.append(f"key {number} has {what}")
        if not key.waits and (is_filled or key.texts is None or key.generation is not None):
            if what := _unsettled(key, whole):
                found.append(f"key {number}, which nothing waits for, has {what}")
        elif key.has_its_document and (what := _unmarked(key)):
            found.append(f"key {number} has {what}, which is not marked as stale")
    return found


def _wrong_vector(key: Key, embeddings: Mapping[str, int]) -> str | None:
    """Return a vector that is not its content's."""
    for chunk in key.chunks:
        for (name, dimensions), vector in zip(embeddings.items(), chunk.vectors, strict=True):
            if vector is not None and vector != vector_of(chunk.content, dimensions):
                return f"a chunk {chunk.ordinal} whose {name} is not that of {chunk.content!r}"
    return None


def _unsettled(key: Key, whole: int) -> str | None:
    """Return what is wrong with a key that has all that it will get."""
    if key.texts is None:
        return "no row, but a document or chunks"
    if not key.has_its_document:
        return "no document" if key.generation is None else "the document of another text"
    if tuple(chunk.content for chunk in key.chunks) != contents(*key.texts):
        return f"the chunks {key.chunks}, not {contents(*key.texts)}"
    for chunk in key.chunks:
        if chunk.generation != key.generation:
            return f"a chunk of generation {chunk.generation}; its document has {key.generation}"
        if None in chunk.vectors[:whole]:
            return f"a chunk {chunk.ordinal} without a vector"
    return None


def _unmarked(key: Key) -> str | None:
    """Return an old chunk of a key whose document is new, if it looks as new as that."""
    assert key.texts is not None
    wanted = dict(enumerate(contents(*key.texts)))
    for chunk in key.chunks:
        if chunk.generation == key.generation and wanted.get(chunk.ordinal) != chunk.content:
            return f"the chunk {chunk.content!r}, not {wanted.get(chunk.ordinal)!r}"
    return None


@cache
def contents(title: str | None, body: str | None) -> tuple[str, ...]:
    """Return the chunks of a row."""
    return tuple(split(body or "", title, STORY.chunking, HashEmbedder(64)))


@cache
def vector_of(content: str, dimensions: int) -> Vector:
    """Return what a model of so many dimensions makes of a content."""
    return HashEmbedder(dimensions).embed_documents([content])[0]
