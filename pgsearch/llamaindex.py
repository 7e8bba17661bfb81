"""A retriever for LlamaIndex: `pip install "pgsearch[llamaindex]"`.

    retriever = SearchRetriever(Article, engine, limit=5, where=Article.tenant_id == 7)
    nodes = retriever.retrieve("forgotten password")

With an async engine, `aretrieve` asks through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgsearch.declare import SearchIndex
from pgsearch.errors import LibraryMissing

try:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.retrievers import BaseRetriever
    from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

    from pgsearch.orm.retrieval import AsyncSessions, Found, Retrieval, Sessions
except ImportError as error:
    raise LibraryMissing(
        f"pgsearch.llamaindex needs llama-index-core and greenlet: {error}",
        hint='Install them: pip install "pgsearch[llamaindex]"',
    ) from error

__all__ = ["SearchRetriever"]


class SearchRetriever(BaseRetriever):
    """Retrieves the rows that `pgsearch.search` finds, as nodes with their score.

    A node's text is the row's nearest passage, its id the row's key as text. Its metadata holds
    the key, `columns`, score, keyword_score, similarity and stale; of these only `columns` are
    shown to language models. Of a row that no worker has read yet, which is found by its words,
    the text is the beginning of the row's. With `passages=True` nodes are the best passages
    instead, several of one row among them: the id is then the key with the passage's ordinal, as
    in "42#3", and the metadata holds ordinal and document_score, too.

    The vector of a query is made by the search index's own model: an embedding in a QueryBundle,
    which any other retriever may have put there, is left aside.

    Args:
        source: A mapped class, a table or a SearchIndex.
        engine: An engine or a sessionmaker; each call opens a session and closes it.
        async_engine: The same for `aretrieve`, which else asks through `engine` in a thread.
        content: "passage", or "document" for all of a row's text.
        columns: More of a row for the metadata: attributes of the class, or columns of the table.
        limit: How many nodes; this, `where`, `mode`, `index`, `embedding`, `language`, `ef_search`,
            `fusion`, `keyword_weight`, `passages` and `per_document` are arguments of
            `pgsearch.search`.
        callback_manager: What is told of each call.
        verbose: Whether LlamaIndex prints what it does.

    Raises:
        DeclarationError: Something of this cannot be used; its hint says what can.
    """

    def __init__(
        self,
        source: Any,
        engine: Sessions | None = None,
        *,
        async_engine: AsyncSessions | None = None,
        content: str = "passage",
        columns: Sequence[str] = (),
        limit: int = 10,
        where: Any = None,
        mode: str = "hybrid",
        index: SearchIndex | str | None = None,
        embedding: str | None = None,
        language: str | None = None,
        ef_search: int | None = None,
        fusion: str = "exact",
        keyword_weight: float | None = None,
        passages: bool = False,
        per_document: int | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
    ) -> None:
        options = {
            "limit": limit,
            "where": where,
            "mode": mode,
            "index": index,
            "embedding": embedding,
            "language": language,
            "ef_search": ef_search,
            "fusion": fusion,
            "keyword_weight": keyword_weight,
            "passages": passages,
            "per_document": per_document,
        }
        self._retrieval = Retrieval(source, engine, async_engine, content, columns, options)
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._retrieval.ask(query_bundle.query_str)
        return [self._node(each) for each in found]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._retrieval.ask_async(query_bundle.query_str)
        return [self._node(each) for each in found]

    def _node(self, found: Found) -> NodeWithScore:
        hidden = [name for name in found.metadata if name not in self._retrieval.columns]
        node = TextNode(
            id_=found.id,
            text=found.text,
            metadata=found.metadata,
            excluded_llm_metadata_keys=hidden,
            excluded_embed_metadata_keys=hidden,
        )
        return NodeWithScore(node=node, score=found.metadata["score"])
