"""From claimed texts to what shall be written: chunking, reuse, and the model.

`prepare` asks the database for what is there already, `compute` asks the models for the rest, and
`planned` says what is to be written. Nothing here holds a transaction open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from pgvector import Vector
from psycopg.sql import Composed

from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition
from pgsearch.errors import EmbeddingFailed, ModelMismatch, ModelUnavailable, Throttled
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding
from pgsearch.sync.chunking import content_hash, split
from pgsearch.sync.queue import Claimed, Key
from pgsearch.sync.statements import Statements
from pgsearch.sync.write import NewChunk, Write

if TYPE_CHECKING:
    from pgsearch.sync.adopt import Adoption

#: Some errors quote the whole text that caused them.
_MAX_ERROR_CHARS: Final = 2000

#: A model is given no more texts at once, so that a worker can be stopped between two calls.
TEXTS_PER_CALL: Final = 512


class Interrupted(Exception):
    """The worker was stopped before the models were done."""


#: A vector for each content hash, or the error that its content caused.
Outcomes: TypeAlias = dict[bytes, Vector | Exception]


@dataclass(frozen=True)
class LoadedEmbedding:
    """An embedding with the model that fills it, which is loaded when it is first needed.

    Args:
        registered: The embedding.
        load: Loads its model.
        adoption: The vectors that the source table has already, while it is filled.
    """

    registered: RegisteredEmbedding
    load: Callable[[], Embedder]
    adoption: Adoption | None = None

    @cached_property
    def embedder(self) -> Embedder:
        """The model."""
        return self.load()

    @property
    def column(self) -> str:
        """The chunk table's column."""
        return self.registered.column

    def gives(self, other: LoadedEmbedding) -> bool:
        """Whether another embedding's vectors are these: of the same model, and no more exact."""
        mine, wanted = self.registered, other.registered
        return (
            self is not other
            and mine.model == wanted.model
            and mine.type in ("vector", wanted.type)
        )


@dataclass
class Found:
    """What one embedding needs for a batch, and what is known of it.

    Args:
        wanted: Contents whose vectors the database does not have in place, by hash.
        outcomes: Their vectors or errors, as far as they are known.
        reused: How many vectors equal chunks had already.
        adopted: How many the source table had already.
        embedded: How many a model made.
    """

    wanted: dict[bytes, str]
    outcomes: Outcomes = field(default_factory=dict)
    reused: int = 0
    adopted: int = 0
    embedded: int = 0

    @property
    def lacking(self) -> dict[bytes, str]:
        """The contents that go to a model."""
        return {h: text for h, text in self.wanted.items() if h not in self.outcomes}


@dataclass
class Prepared:
    """Documents cut into chunks, with what is known of their vectors.

    Args:
        contents: Each document's chunks, as contents with their hashes.
        failures: Documents that could not be cut, with the reason.
        found: What each embedding needs.
    """

    contents: dict[Claimed, list[tuple[str, bytes]]]
    failures: dict[Claimed, str]
    found: list[Found]


def prepare(
    connection: Connection,
    statements: Statements,
    embeddings: Sequence[LoadedEmbedding],
    documents: Iterable[Claimed],
    *,
    tick: Callable[[], None] = lambda: None,
) -> Prepared:
    """Chunk documents and find the vectors that are there already.

    Chunks are cut in tokens of the first embedding's model. Only chunks whose content changed go
    to a model, and content that has a vector anywhere in the search index is not embedded again,
    be it of another embedding with the same model; nor is what the source table has the vector of.

    Args:
        connection: A connection that is in no transaction.
        statements: SQL of the search index.
        embeddings: The embeddings.
        documents: What was claimed.
        tick: Called now and then, for this may take a while.
    """
    prepared = Prepared({}, {}, [])
    for document in documents:
        tick()
        try:
            prepared.contents[document] = _contents(
                statements.definition, document, embeddings, tick
            )
        except Exception as error:
            prepared.failures[document] = describe(error)
    singles = {
        wanted[0][1]: document.key
        for document, wanted in prepared.contents.items()
        if len(wanted) == 1
    }
    for number, embedding in enumerate(embeddings):
        statement = statements.reuse(
            embedding.column, *(other.column for other in embeddings if other.gives(embedding))
        )
        lacking = _lacking(prepared.contents, number)
        prepared.found.append(_find(connection, statement, embedding, lacking, singles))
    return prepared


def compute(
    prepared: Prepared,
    embeddings: Sequence[LoadedEmbedding],
    *,
    earlier: Sequence[Prepared] = (),
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Let models make the vectors that are lacking; nothing here touches the database.

    Args:
        prepared: What `prepare` made; the vectors are added to it.
        embeddings: The embeddings, as they were given to it.
        earlier: The batches before, whose vectors may not have been written when this one was
            prepared: what several contain is embedded once.
        go_on: Asked between calls of a model.

    Raises:
        Interrupted: It was not to go on.
        Throttled: A provider asks to wait.
        ModelUnavailable: A provider refuses every text.
        ModelMismatch: A model returned vectors of another length, or not one per text.
    """
    for number, embedding in enumerate(embeddings):
        found = prepared.found[number]
        for before in earlier:
            _share(before.found[number], found)
        for place, other in enumerate(embeddings[:number]):
            if other.gives(embedding):
                found.reused += _share(prepared.found[place], found)
        lacking = list(found.lacking.items())
        for start in range(0, len(lacking), TEXTS_PER_CALL):
            if not go_on():
                raise Interrupted
            hashes, texts = zip(*lacking[start : start + TEXTS_PER_CALL], strict=True)
            made = embed(embedding, texts)
            found.outcomes |= dict(zip(hashes, made, strict=True))
            found.embedded += sum(not isinstance(outcome, Exception) for outcome in made)


def _share(known: Found, found: Found) -> int:
    """Take over the vectors that are known and lacking; return how many."""
    vectors = {
        hash_: known.outcomes[hash_] for hash_ in found.lacking.keys() & known.outcomes.keys()
    }
    vectors = {h: v for h, v in vectors.items() if not isinstance(v, Exception)}
    found.outcomes |= vectors
    return len(vectors)


def planned(prepared: Prepared) -> tuple[list[Write], dict[Claimed, str]]:
    """Return what shall be written of a batch, and the documents that failed, with the reason."""
    writes, failures = [], dict(prepared.failures)
    outcomes = [found.outcomes for found in prepared.found]
    for document, wanted in prepared.contents.items():
        errors = (
            outcome
            for _, hash_ in wanted
            for known in outcomes
            if isinstance(outcome := known.get(hash_), Exception)
        )
        error = next(errors, None)
        if error is None:
            writes.append(_plan(document, wanted, outcomes))
        else:
            failures[document] = describe(error)
    return writes, failures


def _contents(
    definition: IndexDefinition,
    document: Claimed,
    embeddings: Sequence[LoadedEmbedding],
    tick: Callable[[], None],
) -> list[tuple[str, bytes]]:
    """Return a document's chunks as contents with their hashes; none without an embedding."""
    if document.is_gone or document.texts is None or not embeddings:
        return []
    contents = cut(definition, document.texts, embeddings[0].embedder, on_piece=tick)
    return [(content, content_hash(content)) for content in contents]


def cut(
    definition: IndexDefinition,
    texts: Sequence[str | None],
    embedder: Embedder,
    *,
    on_piece: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return the contents of a document's chunks.

    Args:
        definition: The search index.
        texts: The document's texts, in the order of the definition.
        embedder: The model in whose tokens chunks are measured.
        on_piece: Called now and then while a very long text is cut.
    """
    by_name = dict(zip((column.name for column in definition.text), texts, strict=True))
    heading = by_name.get(definition.chunking.heading or "")
    body = "\n\n".join(text for name in definition.body_columns if (text := by_name[name]))
    return split(body, heading, definition.chunking, embedder, on_piece=on_piece)


def _lacking(
    contents: Mapping[Claimed, Sequence[tuple[str, bytes]]], number: int
) -> dict[bytes, str]:
    """Return the contents for which the database has no vector of one embedding in place."""
    lacking: dict[bytes, str] = {}
    for document, wanted in contents.items():
        for ordinal, (content, hash_) in enumerate(wanted):
            stored = document.chunks.get(ordinal)
            if stored is None or stored.content_hash != hash_ or stored.missing[number]:
                lacking[hash_] = content
    return lacking


def _find(
    connection: Connection,
    reuse: Composed,
    embedding: LoadedEmbedding,
    wanted: dict[bytes, str],
    singles: Mapping[bytes, Key],
) -> Found:
    """Look for the vectors of contents: by `reuse` in chunks, and in the source table.

    `singles` has, for contents that are a document's only chunk, the key of such a document.
    """
    found = Found(wanted)
    if not wanted:
        return found
    rows = connection.execute(reuse, {"hashes": list(wanted)}, binary=True)
    found.outcomes.update(rows.fetchall())
    found.reused = len(found.outcomes)
    if embedding.adoption is not None:
        contents = {h: text for h, text in found.lacking.items() if h in singles}
        adopted = embedding.adoption.take(connection, embedding, contents, singles)
        found.outcomes.update(adopted)
        found.adopted = len(adopted)
    return found


def embed(embedding: LoadedEmbedding, texts: Sequence[str]) -> list[Vector | Exception]:
    """Embed texts; one on which the model fails yields its error and holds up no other.

    A failing batch is halved until the text that fails stands alone.

    Raises:
        Throttled: The provider asks to wait.
        ModelUnavailable: The provider refuses every text.
        ModelMismatch: The model returned vectors of another length, or not one per text.
    """
    if not texts:
        return []
    try:
        vectors = embedding.embedder.embed_documents(texts)
    except (ModelMismatch, ModelUnavailable, Throttled):
        raise  # whatever the texts are
    except Exception as error:
        if len(texts) == 1:
            return [error]
        middle = len(texts) // 2
        return embed(embedding, texts[:middle]) + embed(embedding, texts[middle:])
    _check(embedding.registered, texts, vectors)
    return [_usable(vector, text) for vector, text in zip(vectors, texts, strict=True)]


def _usable(vector: Vector, text: str) -> Vector | Exception:
    """Return a vector, or the error that it is no direction: one such would stop a whole batch."""
    if is_direction(vector):
        return vector
    return EmbeddingFailed(
        f"The model's vector of the text {text[:60]!r} is all zeros or not finite.",
        hint="Look at the text and, if every text fails, at the model.",
    )


def is_direction(vector: Vector) -> bool:
    """Return whether all values of a vector are finite, and not all are zero."""
    # Of each value the sign and the upper bits of the exponent: all are set in what is not finite,
    # and in numbers that no model makes.
    upper = vector.to_binary()[4::4]
    if any(upper) and 0x7F not in upper and 0xFF not in upper:
        return True
    values = vector.to_list()
    return math.isfinite(sum(values)) and any(values)


def _check(
    registered: RegisteredEmbedding, texts: Sequence[str], vectors: Sequence[Vector]
) -> None:
    if len(vectors) != len(texts):
        raise EmbeddingFailed(
            f"Model {registered.model.name!r} returned {len(vectors)} vectors for "
            f"{len(texts)} texts.",
            hint="Mend the Embedder: it must return one vector per text, in order.",
        )
    check_dimensions(registered, (vector.dimensions() for vector in vectors))


def check_dimensions(embedding: RegisteredEmbedding, lengths: Iterable[int]) -> None:
    """Raise ModelMismatch unless vectors of these lengths fit an embedding."""
    model = embedding.model
    for length in lengths:
        if length != model.dimensions:
            raise ModelMismatch(
                f"Model {model.name!r} returned a vector of {length} dimensions; embedding "
                f"{embedding.name!r} has {model.dimensions}.",
                hint="Nothing was written. Declare the model with its real dimensions, as a new "
                "embedding.",
            )


def _plan(
    document: Claimed, wanted: Sequence[tuple[str, bytes]], outcomes: Sequence[Outcomes]
) -> Write:
    put: list[NewChunk] = []
    keep: list[int] = []
    for ordinal, (content, hash_) in enumerate(wanted):
        stored = document.chunks.get(ordinal)
        same = stored is not None and stored.content_hash == hash_
        if stored is not None and same and not any(stored.missing):
            keep.append(ordinal)
            continue
        vectors = tuple(
            None
            if stored is not None and same and not stored.missing[number]
            else _vector(known[hash_])
            for number, known in enumerate(outcomes)
        )
        put.append(NewChunk(ordinal, content, hash_, vectors))
    return Write(document, tuple(put), tuple(keep), len(wanted))


def _vector(outcome: Vector | Exception) -> Vector:
    assert isinstance(outcome, Vector)
    return outcome


def describe(error: Exception) -> str:
    """Return an error as the queue keeps it: its type and its real message, if need be cut."""
    text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
