"""What search approximates, computed in full: BM25 over the same tokens, and the nearest chunks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pgsearch import database

if TYPE_CHECKING:
    from pgvector import Vector

K1, B = 1.2, 0.75

_TOKENS = """
SELECT id, length, coalesce((
  SELECT jsonb_object_agg(lexeme, cardinality(positions)) FROM unnest(tsv)
), '{}')
FROM document_search_document
"""

_NEAREST = """
SELECT id FROM document_search_chunk
GROUP BY id ORDER BY min(embedding_minilm_v1 <=> %s) + 0, id LIMIT %s
"""


class BM25:
    """BM25 of every document, with the exact frequency of each term, over the tokens of PostgreSQL.

    Args:
        connection: To a database with the search index `document_search`.
    """

    def __init__(self, connection: database.Connection) -> None:
        self._connection = connection
        self._postings: dict[str, dict[int, int]] = {}
        self._lengths: dict[int, int] = {}
        for document, length, tokens in connection.execute(_TOKENS):
            self._lengths[document] = length
            for lexeme, frequency in tokens.items():
                self._postings.setdefault(lexeme, {})[document] = frequency
        self._mean = sum(self._lengths.values()) / max(len(self._lengths), 1)

    def rank(self, query: str, k: int) -> list[int]:
        """Return the ids of the `k` best documents that hold a word of a query, best first."""
        (asked,) = self._connection.execute(
            "SELECT pgsearch.query_lexemes('english', %s)", [query]
        ).fetchone() or ([],)
        scores: dict[int, float] = defaultdict(float)
        for lexeme in asked or []:
            found = self._postings.get(lexeme, {})
            idf = math.log(1 + (len(self._lengths) - len(found) + 0.5) / (len(found) + 0.5))
            for document, frequency in found.items():
                relative = self._lengths[document] / self._mean
                saturated = frequency / (frequency + K1 * (1 - B + B * relative))
                scores[document] += idf * saturated
        return sorted(scores, key=lambda document: (-scores[document], document))[:k]


def nearest(connection: database.Connection, vector: Vector, k: int) -> Sequence[int]:
    """Return the ids of the `k` documents with the nearest chunks, by looking at every chunk."""
    return [row[0] for row in connection.execute(_NEAREST, (vector, k))]
