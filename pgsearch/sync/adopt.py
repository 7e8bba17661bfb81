"""Adopting vectors that a column of the table has already: a model need not make them again.

A column says nothing of what made its vectors, so the worker embeds some of their texts itself and
compares, before it adopts the first one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import mul
from statistics import median
from typing import Any, Final

from pgvector import Vector
from psycopg import errors
from psycopg.sql import SQL, Composed
from psycopg.types.json import Jsonb

from pgsearch import resources
from pgsearch.database import Connection, transaction
from pgsearch.errors import ObjectMissing
from pgsearch.registry import RegisteredEmbedding, RegisteredIndex
from pgsearch.sync.embed import LoadedEmbedding, embed, is_direction
from pgsearch.sync.queue import Key, key_arrays
from pgsearch.sync.statements import Statements

log = logging.getLogger(__name__)

#: How many vectors are compared with the model's own.
COMPARED: Final = 20

#: The median of their cosine similarities must not be lower. Other hardware, or the rounding of a
#: halfvec, hardly changes it; another model does, or another text, as one without its heading.
LEAST_SIMILARITY: Final = 0.98


class Adoption:
    """The vectors of an embedding that a column of the source table has.

    Args:
        index: The search index.
        statements: Its statements.
        embedding: The embedding, which is filling and has a column to adopt.
        cut: Returns the contents of a document's chunks, from its texts.
    """

    def __init__(
        self,
        index: RegisteredIndex,
        statements: Statements,
        embedding: RegisteredEmbedding,
        cut: Callable[[Sequence[str | None]], list[str]],
    ) -> None:
        assert index.table is not None
        assert embedding.adopt_column is not None
        self._index = index
        self._embedding = embedding
        self._cut = cut
        self._statement = statements.adopt(index.table, embedding.adopt_column)
        self._sample_statement = statements.adopt_sample(index.table, embedding.adopt_column)
        #: The event that counts what is adopted, once the vectors are known to be the model's.
        self._event: int | None = None
        self._is_refused = False

    def take(
        self,
        connection: Connection,
        embedding: LoadedEmbedding,
        contents: Mapping[bytes, str],
        keys: Mapping[bytes, Key],
    ) -> dict[bytes, Vector]:
        """Return the vectors that the column has for contents, given by hash.

        There are none of a document that has changed since they were made.

        Args:
            connection: A connection that is in no transaction.
            embedding: The embedding with its model.
            contents: The contents.
            keys: For each, the key of a document whose only chunk it is.

        Raises:
            ObjectMissing: The column is gone.
        """
        if not contents or self._is_refused:
            return {}
        try:
            found = self._read(connection, {hash_: keys[hash_] for hash_ in contents})
            known = [(contents[hash_], vector) for hash_, vector in found.items()]
            if not found or not self._is_proven(connection, embedding, known):
                return {}
        except errors.UndefinedColumn as error:
            raise ObjectMissing(
                f"Embedding {self._embedding.name!r} of search index {self._index.name} adopts "
                f"the vectors of {self._index.table}.{self._embedding.adopt_column}, and there is "
                "no such column any more.",
                hint="Keep the column until `pgsearch status` shows the embedding as ready. If it "
                "is lost, drop the embedding and add it again with op.add_embedding(): then the "
                "model makes all vectors.",
            ) from error
        return found

    def _read(self, connection: Connection, keys: Mapping[bytes, Key]) -> dict[bytes, Vector]:
        hashes = list(keys)
        parameters = key_arrays(keys.values()) | self._limits
        rows = _ask(connection, self._statement, parameters)
        return {
            hashes[place - 1]: self._scaled(vector)
            for place, vector in rows
            if is_direction(vector)
        }

    @property
    def _limits(self) -> dict[str, int | None]:
        embedding = self._embedding
        return {
            "generation": embedding.adopt_generation,
            "dimensions": embedding.model.dimensions,
        }

    def _scaled(self, vector: Vector) -> Vector:
        """Return a vector with the length that the model's vectors have."""
        values = vector.to_list()
        length = math.hypot(*values)
        if not self._embedding.model.normalize or abs(length - 1) < 1e-6:
            return vector
        return Vector([value / length for value in values])

    def _is_proven(
        self,
        connection: Connection,
        embedding: LoadedEmbedding,
        known: Sequence[tuple[str, Vector]],
    ) -> bool:
        """Return whether the column's vectors are the model's, as it was found out once."""
        if self._event is None:
            row = connection.execute(
                resources.sql("sync/adoption.sql"), {"id": self._embedding.id}
            ).fetchone()
            is_wanted, self._event = row or (False, None)
            self._is_refused = not is_wanted
            if is_wanted and self._event is None:
                self._compare(connection, embedding, known)
        return self._event is not None and not self._is_refused

    def _compare(
        self,
        connection: Connection,
        embedding: LoadedEmbedding,
        known: Sequence[tuple[str, Vector]],
    ) -> None:
        """Compare some vectors with the model's and note the outcome in the registry.

        They are drawn from the whole table, and from those at hand if that gives too few.
        """
        drawn = list(islice(self._sample(connection), COMPARED))
        drawn += known[: COMPARED - len(drawn)]
        made = embed(embedding, [content for content, _ in drawn])
        similarities = [
            _cosine(vector, own)
            for (_, vector), own in zip(drawn, made, strict=True)
            if isinstance(own, Vector)
        ]
        if not similarities:
            return  # The model fails on all of them: that is to be seen elsewhere.
        figures = {
            "column": self._embedding.adopt_column,
            "compared": len(similarities),
            "median_similarity": round(median(similarities), 4),
            "lowest_similarity": round(min(similarities), 4),
        }
        if median(similarities) < LEAST_SIMILARITY:
            self._refuse(connection, figures)
        else:
            self._accept(connection, figures)

    def _sample(self, connection: Connection) -> Iterator[tuple[str, Vector]]:
        """Yield contents and vectors of random documents with one chunk that have not changed."""
        for texts, vector in _ask(connection, self._sample_statement, self._limits):
            contents = self._cut(texts)
            if len(contents) == 1 and is_direction(vector):
                yield contents[0], vector

    def _accept(self, connection: Connection, figures: Mapping[str, object]) -> None:
        rows = _ask(
            connection,
            SQL(resources.sql("sync/adoption_accepted.sql")),
            {"id": self._embedding.id, "detail": Jsonb(figures)},
        )
        self._event = rows[0][0] if rows else None
        log.info(
            "%s: embedding %s adopts vectors from column %s: %s",
            *(self._index.name, self._embedding.name, self._embedding.adopt_column),
            _said(figures),
        )

    def _refuse(self, connection: Connection, figures: Mapping[str, object]) -> None:
        self._is_refused = True
        _ask(
            connection,
            SQL(resources.sql("sync/adoption_refused.sql")),
            {"id": self._embedding.id, "detail": Jsonb(figures)},
        )
        log.warning(
            "%s: embedding %s adopts nothing from column %s, whose vectors are not those of the "
            "model %s: %s, at least %s is needed. The model makes them all.",
            *(self._index.name, self._embedding.name, self._embedding.adopt_column),
            *(self._embedding.model.name, _said(figures), LEAST_SIMILARITY),
        )

    def count(self, connection: Connection, vectors: int) -> None:
        """Note that so many more vectors were written that were taken from the column."""
        _ask(
            connection,
            SQL(resources.sql("sync/adoption_count.sql")),
            {"event": self._event, "vectors": vectors},
        )


def _ask(
    connection: Connection, statement: SQL | Composed, parameters: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    """Execute a statement in a transaction of its own, and return its rows if it has any."""
    with transaction(connection):
        cursor = connection.execute(statement, parameters, binary=True)
        return cursor.fetchall() if cursor.description else []


def _cosine(one: Vector, other: Vector) -> float:
    a, b = one.to_list(), other.to_list()
    return float(sum(map(mul, a, b)) / (math.hypot(*a) * math.hypot(*b)))


def _said(figures: Mapping[str, object]) -> str:
    return "of {compared} compared, the median cosine similarity is {median_similarity}".format(
        **figures
    )
