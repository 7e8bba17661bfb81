"""What must hold in the end: the search index says what the rows say, and nothing else is left."""

from __future__ import annotations

import time
from typing import Any

from pgsearch import database as product
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder
from tests.faults.storm import RETRY
from tests.plugins.worker import STORY, differences

#: How long the last worker may take, with what dead ones have leased.
_PATIENCE_S = 20.0

_DOCUMENTS = """
SELECT coalesce(source.id, document.id),
  CASE
    WHEN document.id IS NULL THEN 'has no document'
    WHEN source.id IS NULL THEN 'is gone, and its document is not'
    WHEN document.tsv <> made.tsv THEN 'has the document ' || document.tsv || ', not ' || made.tsv
    WHEN document.length <> pgsearch.token_count(made.tsv) THEN 'has a document of another length'
    WHEN document.truncated <> made.truncated THEN 'is said to be cut, or not to be'
  END
FROM story_search_source AS source
FULL JOIN story_search_document AS document USING (id)
LEFT JOIN LATERAL pgsearch.document_tsvector(
  source.tsconfig, source.texts, '{A,B}'::"char"[]
) AS made ON source.id IS NOT NULL
"""

_QUEUED = "SELECT count(*) FROM story_search_queue"

#: What the server goes on with though the worker is dead.
_BUILT = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database()"

_LEFT_OVER = """
SELECT 'chunk ' || id || '/' || ordinal || ' has no row'
FROM story_search_chunk AS chunk WHERE NOT EXISTS (SELECT FROM story WHERE id = chunk.id)
UNION ALL
SELECT 'chunk ' || id || '/' || ordinal || ' is of generation ' || chunk.generation
  || ', its document of ' || document.generation
FROM story_search_chunk AS chunk JOIN story_search_document AS document USING (id)
WHERE chunk.generation <> document.generation
UNION ALL
SELECT 'the queue has ' || to_jsonb(queue)::text FROM story_search_queue AS queue
UNION ALL
SELECT 'embedding ' || name || ' is ' || state FROM pgsearch.embedding
WHERE state NOT IN ('ready', 'active')
UNION ALL
SELECT 'the fill has come to no end' FROM pgsearch.search_index WHERE filled_at IS NULL
UNION ALL
SELECT indexrelid::regclass::text || ' is not valid' FROM pg_index WHERE NOT indisvalid
"""


def settle(url: str) -> None:
    """Cure the model, make all that failed due again, and let a worker do what is left."""
    end = time.monotonic() + _PATIENCE_S
    worker = Worker(url, load=lambda model: HashEmbedder(model.dimensions))
    with product.connect(url) as connection:
        connection.execute(RETRY.encode())
        while time.monotonic() < end:
            built = _rows(connection, _BUILT)
            worker.drain(max_seconds=_PATIENCE_S)
            # What dead workers have leased is not due yet, and what is built for them comes late.
            if _rows(connection, _QUEUED) == built == [(0,)]:
                return
            time.sleep(0.02)


def untruths(url: str, embeddings: dict[str, int]) -> list[str]:
    """Return what in the search index is not as the rows want it.

    Args:
        url: The database.
        embeddings: Name and dimensions of the embeddings that should be there.
    """
    with product.connect(url) as connection:
        product.register_vectors(connection)
        found = [f"row {key} {what}" for key, what in _rows(connection, _DOCUMENTS) if what]
        found += [what for (what,) in _rows(connection, _LEFT_OVER)]
        models = {name: HashEmbedder(dimensions) for name, dimensions in embeddings.items()}
        return found + differences(connection, STORY, models)


def contents(url: str) -> list[tuple[Any, ...]]:
    """Return the rows of the table."""
    with product.connect(url) as connection:
        return _rows(connection, "SELECT id, views, title, body FROM story ORDER BY id")


def _rows(connection: product.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()
