"""langchain-postgres asks, in its own environment: it knows nothing of pgsearch.

    python langchain_asker.py URL TABLE DIMENSIONS

It says "ready" when it has connected. Then it takes lines of JSON, {"text": …, "vector": […],
"k": N, "below": N or null}, and answers each with {"seconds": …, "ids": […]}: what its hybrid
search took, the vector of the query being there already.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_postgres import PGEngine, PGVectorStore
from langchain_postgres.v2.hybrid_search_config import HybridSearchConfig


class _Given(Embeddings):
    """Makes the vector that was given with the question."""

    def __init__(self) -> None:
        self.vector: list[float] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vector for _ in texts]

    def embed_query(self, text: str) -> list[float]:  # noqa: ARG002
        return self.vector


def _answer(store: Any, given: _Given, asked: dict[str, Any]) -> dict[str, Any]:
    given.vector = asked["vector"]
    below = asked["below"]
    options = {} if below is None else {"filter": {"bucket": {"$lt": below}}}
    # It keeps the text of the first question in its configuration, so each gets one of its own.
    config = HybridSearchConfig(tsv_column="tsv", tsv_lang="english", fts_query=asked["text"])
    started = time.perf_counter()
    found = store.similarity_search(
        asked["text"], k=asked["k"], hybrid_search_config=config, **options
    )
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "ids": [int(document.id) for document in found]}


def _main(url: str, table: str) -> None:
    given = _Given()
    store = PGVectorStore.create_sync(
        engine=PGEngine.from_connection_string(url),
        embedding_service=given,
        table_name=table,
        id_column="id",
        content_column="content",
        embedding_column="embedding",
        metadata_columns=["bucket"],
        metadata_json_column=None,
        hybrid_search_config=HybridSearchConfig(tsv_column="tsv", tsv_lang="english"),
    )
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(store, given, json.loads(line))), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
