"""What must hold at any time, whoever is at work: what nothing waits for is up to date.

A key that the queue does not hold has the document and the chunks that its row wants. So a change
that is lost, or an old text that is written over a newer one, is seen at once, and not only if it
happens to be the last one of its key.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

from pgvector import Vector

from pgsearch import database as product
from pgsearch.sync.chunking import split
from pgsearch.testing import HashEmbedder
from tests.faults.storm import EMBEDDINGS
from tests.plugins.worker import STORY

#: In the order of a TRUNCATE, and before there is a snapshot: it does not know what a TRUNCATE did.
_HOLD = """
LOCK TABLE story, story_search_document, story_search_chunk, story_search_queue
IN ACCESS SHARE MODE
"""

_IS_FILLED = "SELECT filled_at IS NOT NULL FROM pgsearch.search_index"

#: Keys with their rows and documents, of which nothing waits for a worker.
_SETTLED = """
SELECT coalesce(source.id, document.id), source.texts, document.generation,
       document.tsv = (pgsearch.document_tsvector(
         source.tsconfig, source.texts, '{A,B}'::"char"[])).tsv
FROM story_search_source AS source
FULL JOIN story_search_document AS document USING (id)
WHERE NOT EXISTS (SELECT FROM story_search_queue AS queue
                  WHERE queue.id = coalesce(source.id, document.id) OR queue.id IS NULL)
"""

_CHUNKS = """
SELECT id, ordinal, content, generation, embedding_hash_v1, embedding_hash_v2
FROM story_search_chunk AS chunk
WHERE NOT EXISTS (SELECT FROM story_search_queue AS queue
                  WHERE queue.id = chunk.id OR queue.id IS NULL)
ORDER BY id, ordinal
"""


class Key(NamedTuple):
    """What there is of a key that nothing waits for."""

    texts: list[str | None] | None = None
    generation: int | None = None
    has_its_document: bool | None = None


class Watch:
    """Looks again and again, in one snapshot each time, until something is wrong.

    Args:
        url: The database.
        chance: When.
    """

    def __init__(self, url: str, chance: Random) -> None:
        self._url = url
        self._chance = chance
        self.looks = 0
        self.settled = 0
        self.found: list[str] = []

    def look_until(self, over: threading.Event) -> None:
        """Look until it is over."""
        with product.connect(f"{self._url}&application_name=watch") as connection:
            product.register_vectors(connection)
            while not self.found and not over.wait(self._chance.uniform(0.01, 0.06)):
                self.found = list(self._look(connection))
                self.looks += 1

    def _look(self, connection: product.Connection) -> Iterator[str]:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute(_HOLD.encode())
        ((is_filled,),) = connection.execute(_IS_FILLED.encode())
        keys = {key: Key(*row) for key, *row in connection.execute(_SETTLED.encode())}
        chunks: dict[int, list[tuple[Any, ...]]] = {}
        for key, *chunk in connection.execute(_CHUNKS.encode()):
            chunks.setdefault(key, []).append(tuple(chunk))
        connection.execute("COMMIT")
        self.settled += len(keys)
        for number in sorted(keys.keys() | chunks.keys()):
            key = keys.get(number, Key())
            if key.texts is not None and key.generation is None and not is_filled:
                continue  # the first fill has not come there
            if what := _wrong(key, chunks.get(number, [])):
                yield f"key {number}, which nothing waits for, {what}"


def _wrong(key: Key, chunks: list[tuple[Any, ...]]) -> str | None:
    """Return what is wrong with a key, if anything is."""
    if key.texts is None:
        return "has no row, but a document or chunks"
    if not key.has_its_document:
        return "has no document" if key.generation is None else "has a document of another text"
    wanted = contents(*key.texts)
    found = tuple(content for _, content, *_ in chunks)
    if found != wanted:
        return f"has the chunks {found}, not {wanted}"
    for ordinal, content, generation, *vectors in chunks:
        if generation != key.generation:
            return f"has a chunk {ordinal} of generation {generation}, not {key.generation}"
        for dimensions, vector in zip(EMBEDDINGS.values(), vectors, strict=True):
            if vector != vector_of(content, dimensions):
                return f"has a chunk {ordinal} with another vector than that of {content!r}"
    return None


@cache
def contents(title: str | None, body: str | None) -> tuple[str, ...]:
    """Return the chunks of a row."""
    return tuple(split(body or "", title, STORY.chunking, HashEmbedder(64)))


@cache
def vector_of(content: str, dimensions: int) -> Vector:
    """Return what a model of so many dimensions makes of a content."""
    return HashEmbedder(dimensions).embed_documents([content])[0]
