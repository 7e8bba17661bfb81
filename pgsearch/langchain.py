"""A retriever for LangChain: `pip install "pgsearch[langchain]"`.

    retriever = SearchRetriever(source=Article, engine=engine, limit=5)
    documents = retriever.invoke("forgotten password", where=Article.tenant_id == 7)

With an async engine, `ainvoke` asks through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from pgsearch.errors import LibraryMissing

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from pydantic import model_validator
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

    from pgsearch.orm.retrieval import Found, Retrieval
except ImportError as error:
    raise LibraryMissing(
        f"pgsearch.langchain needs langchain-core and greenlet: {error}",
        hint='Install them: pip install "pgsearch[langchain]"',
    ) from error

__all__ = ["SearchRetriever"]

#: Fields that are arguments of `pgsearch.search`.
_OPTIONS = (
    "limit", "where", "mode", "index", "embedding", "language", "ef_search", "fusion",
    "keyword_weight", "passages", "per_document",
)  # fmt: skip


class SearchRetriever(BaseRetriever):
    """Retrieves the rows that `pgsearch.search` finds, as documents.

    A document's `page_content` is the row's nearest passage, its `id` the row's key as text. Its
    metadata holds the key, `columns`, score, keyword_score, similarity and stale. Of a row that no
    worker has read yet, which is found by its words, `page_content` is the beginning of its text.
    With `passages=True` documents are the best passages instead, several of one row among them:
    `id` is then the key with the passage's ordinal, as in "42#3", and the metadata holds ordinal
    and document_score, too.

    Arguments of `pgsearch.search` may be given with each call, as in `invoke("…", limit=3)`. A
    `where` of a call narrows what the retriever's own `where` leaves.

    Args:
        source: A mapped class, a table or a SearchIndex.
        engine: An engine or a sessionmaker; each call opens a session and closes it.
        async_engine: The same for `ainvoke`, which else asks through `engine` in a thread.
        content: "passage", or "document" for all of a row's text.
        columns: More of a row for the metadata: attributes of the class, or columns of the table.
        limit: How many documents; this and all others are arguments of `pgsearch.search`.
    """

    source: Any
    engine: Engine | sessionmaker[Session] | None = None
    async_engine: AsyncEngine | async_sessionmaker[AsyncSession] | None = None
    content: str = "passage"
    columns: Sequence[str] = ()
    limit: int = 10
    where: Any = None
    mode: str = "hybrid"
    index: Any = None
    embedding: str | None = None
    language: str | None = None
    ef_search: int | None = None
    fusion: str = "exact"
    keyword_weight: float | None = None
    passages: bool = False
    per_document: int | None = None

    @model_validator(mode="after")
    def _check(self) -> SearchRetriever:
        self._retrieval()
        return self

    def _retrieval(self) -> Retrieval:
        return Retrieval(
            self.source,
            self.engine,
            self.async_engine,
            self.content,
            self.columns,
            {name: getattr(self, name) for name in _OPTIONS},
        )

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002
        **options: Any,
    ) -> list[Document]:
        return [_document(found) for found in self._retrieval().ask(query, **options)]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002
        **options: Any,
    ) -> list[Document]:
        return [_document(found) for found in await self._retrieval().ask_async(query, **options)]


def _document(found: Found) -> Document:
    return Document(id=found.id, page_content=found.text, metadata=found.metadata)
