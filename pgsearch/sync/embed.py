"""From claimed texts to what shall be written: chunking, reuse, and the model.

Nothing here holds a transaction open: the reuse of vectors is a query of its own, and the model
computes between two transactions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from pgvector import Vector

from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition
from pgsearch.errors import EmbeddingFailed, ModelMismatch
from pgsearch.models.protocol import Embedder
from pgsearch.registry import RegisteredEmbedding
from pgsearch.sync.chunking import content_hash, split
from pgsearch.sync.queue import Claimed, Key, NewChunk, Write
from pgsearch.sync.statements import Statements

if TYPE_CHECKING:
    from pgsearch.sync.adopt import Adoption

#: Some errors quote the whole text that caused them.
_MAX_ERROR_CHARS: Final = 2000

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


class Vectors(NamedTuple):
    """Vectors or errors of contents: how many a model made, and how many were there already.

    Reused are those of equal chunks, adopted those of the source table.
    """

    outcomes: Outcomes
    embedded: int = 0
    reused: int = 0
    adopted: int = 0


@dataclass
class Prepared:
    """What became of a claim: writes to carry out, and documents that failed with the reason."""

    writes: list[Write] = field(default_factory=list)
    failures: dict[Claimed, str] = field(default_factory=dict)
    embedded: int = 0
    reused: int = 0
    adopted: int = 0


def prepare(
    connection: Connection,
    statements: Statements,
    embeddings: Sequence[LoadedEmbedding],
    documents: Iterable[Claimed],
) -> Prepared:
    """Chunk documents and find or make the vectors that they lack.

    Chunks are cut in tokens of the first embedding's model. Only chunks whose content changed go
    to a model, and content that has a vector anywhere in the search index is not embedded again,
    nor is what the source table has the vector of.
    """
    prepared = Prepared()
    contents: dict[Claimed, list[tuple[str, bytes]]] = {}
    for document in documents:
        try:
            contents[document] = _contents(statements.definition, document, embeddings[0].embedder)
        except Exception as error:
            prepared.failures[document] = describe(error)
    singles = {
        wanted[0][1]: document.key for document, wanted in contents.items() if len(wanted) == 1
    }
    found = [
        vectors(connection, statements, embedding, _lacking(contents, number), singles)
        for number, embedding in enumerate(embeddings)
    ]
    prepared.embedded = sum(each.embedded for each in found)
    prepared.reused = sum(each.reused for each in found)
    prepared.adopted = sum(each.adopted for each in found)
    outcomes = [each.outcomes for each in found]
    for document, wanted in contents.items():
        errors = [
            outcome
            for _, hash_ in wanted
            for known in outcomes
            if isinstance(outcome := known.get(hash_), Exception)
        ]
        if errors:
            prepared.failures[document] = describe(errors[0])
        else:
            prepared.writes.append(_plan(document, wanted, outcomes))
    return prepared


def _contents(
    definition: IndexDefinition, document: Claimed, embedder: Embedder
) -> list[tuple[str, bytes]]:
    """Return a document's chunks as contents with their hashes."""
    if document.is_gone or document.texts is None:
        return []
    contents = cut(definition, document.texts, embedder)
    return [(content, content_hash(content)) for content in contents]


def cut(definition: IndexDefinition, texts: Sequence[str | None], embedder: Embedder) -> list[str]:
    """Return the contents of a document's chunks.

    Args:
        definition: The search index.
        texts: The document's texts, in the order of the definition.
        embedder: The model in whose tokens chunks are measured.
    """
    by_name = dict(zip((column.name for column in definition.text), texts, strict=True))
    heading = by_name.get(definition.chunking.heading or "")
    body = "\n\n".join(text for name in definition.body_columns if (text := by_name[name]))
    return split(body, heading, definition.chunking, embedder)


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


def vectors(
    connection: Connection,
    statements: Statements,
    embedding: LoadedEmbedding,
    contents: Mapping[bytes, str],
    singles: Mapping[bytes, Key] = MappingProxyType({}),
) -> Vectors:
    """Find or make the vectors of contents, given by hash.

    Content that has a vector of this embedding anywhere in the search index is not embedded again,
    nor is what is adopted.

    Args:
        connection: A connection that is in no transaction.
        statements: SQL of the search index.
        embedding: The embedding.
        contents: What its vectors are wanted of.
        singles: For contents that are a document's only chunk, the key of such a document.
    """
    if not contents:
        return Vectors({})
    rows = connection.execute(
        statements.reuse(embedding.column), {"hashes": list(contents)}, binary=True
    )
    found: Outcomes = dict(rows.fetchall())
    adopted: dict[bytes, Vector] = {}
    if embedding.adoption is not None:
        wanted = {h: text for h, text in contents.items() if h in singles and h not in found}
        adopted = embedding.adoption.take(connection, embedding, wanted, singles)
    known = found | adopted
    fresh = {hash_: text for hash_, text in contents.items() if hash_ not in known}
    made = embed(embedding, list(fresh.values()))
    return Vectors(
        outcomes=known | dict(zip(fresh, made, strict=True)),
        embedded=sum(not isinstance(outcome, Exception) for outcome in made),
        reused=len(found),
        adopted=len(adopted),
    )


def embed(embedding: LoadedEmbedding, texts: Sequence[str]) -> list[Vector | Exception]:
    """Embed texts; one on which the model fails yields its error and holds up no other.

    A failing batch is halved until the text that fails stands alone.

    Raises:
        ModelMismatch: The model returned vectors of another length, or not one per text.
    """
    if not texts:
        return []
    try:
        vectors = embedding.embedder.embed_documents(texts)
    except ModelMismatch:
        raise
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
    values = vector.to_list()
    return all(map(math.isfinite, values)) and any(values)


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
