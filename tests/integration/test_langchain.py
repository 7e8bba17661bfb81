"""The retriever for LangChain, by LangChain's own tests and in what they do not ask."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnablePassthrough
from langchain_tests.integration_tests import RetrieversIntegrationTests
from pydantic import ValidationError
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool

from pgsearch import search
from pgsearch.errors import QueryError
from pgsearch.langchain import SearchRetriever
from tests.plugins.orm import QUERY, Article, article_search, ids


class TestStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def given(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def retriever_constructor(self) -> type[SearchRetriever]:
        return SearchRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"source": Article, "engine": self.engine}

    @property
    def retriever_query_example(self) -> str:
        return QUERY

    @property
    def num_results_arg_name(self) -> str:
        return "limit"


class TestStandardWithAnAsyncEngine(TestStandard):
    @pytest.fixture(autouse=True)
    def given_async(self, library_url: str) -> None:
        url = library_url.replace("postgresql://", "postgresql+asyncpg://")
        # Nothing is left open when the loop of a test ends.
        self.async_engine = create_async_engine(url, poolclass=NullPool)

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {
            "source": article_search,
            "engine": sessionmaker(self.engine),
            "async_engine": self.async_engine,
        }


@pytest.fixture
def retriever(engine: Engine) -> SearchRetriever:
    return SearchRetriever(source=Article, engine=engine, limit=4, columns=["title"])


def test_documents_are_what_search_finds(retriever: SearchRetriever, session: Session) -> None:
    article, hit = session.execute(search(Article, QUERY)).all()[0]
    first, *others = retriever.invoke(QUERY)
    assert len(others) == 3
    assert first == Document(
        id=str(article.id),
        page_content=hit.passage or "",
        metadata={
            "id": article.id,
            "title": article.title,
            "score": hit.score,
            "keyword_score": hit.keyword_score,
            "similarity": hit.similarity,
            "stale": False,
        },
    )


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "keyword"},
        {"mode": "vector", "embedding": "hash_v2"},
        {"where": Article.tenant_id == 2},
        {"where": [Article.tenant_id == 1, Article.published]},
        {"fusion": "rrf", "keyword_weight": 2.0, "ef_search": 50},
        {"language": "german", "index": "article_search"},
    ],
)
def test_options_are_those_of_search(
    engine: Engine, session: Session, retriever: SearchRetriever, options: dict[str, Any]
) -> None:
    expected = [str(each) for each in ids(session, search(Article, QUERY, limit=4, **options))]
    made = SearchRetriever(source=Article, engine=engine, limit=4, **options)
    assert [document.id for document in made.invoke(QUERY)] == expected
    assert [document.id for document in retriever.invoke(QUERY, **options)] == expected
    assert [document.id for document in retriever.bind(**options).invoke(QUERY)] == expected
    asynchronous = asyncio.run(retriever.ainvoke(QUERY, **options))
    assert [document.id for document in asynchronous] == expected


def test_it_is_a_runnable_like_all_others(retriever: SearchRetriever) -> None:
    once = retriever.invoke(QUERY)
    assert retriever.batch([QUERY, "winter"])[0] == once
    assert asyncio.run(retriever.abatch(["winter", QUERY]))[1] == once
    assert list(retriever.stream(QUERY)) == [once]
    narrower = retriever.configurable_fields(limit=ConfigurableField(id="limit"))
    assert narrower.invoke(QUERY, {"configurable": {"limit": 2}}) == once[:2]
    prompt = ChatPromptTemplate.from_template("{context}: {question}")
    chain = {"context": retriever, "question": RunnablePassthrough()} | prompt
    assert once[0].page_content.splitlines()[0] in chain.invoke(QUERY).to_string()


def test_callbacks_are_told(retriever: SearchRetriever) -> None:
    class Handler(BaseCallbackHandler):
        def __init__(self) -> None:
            self.told: list[Any] = []

        def on_retriever_start(
            self, serialized: dict[str, Any], query: str, *, run_id: UUID, **kwargs: Any
        ) -> None:
            self.told.append(query)

        def on_retriever_end(self, documents: Any, *, run_id: UUID, **kwargs: Any) -> None:
            self.told.append(documents)

        def on_retriever_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
            self.told.append(type(error))

    handler = Handler()
    documents = retriever.invoke(QUERY, {"callbacks": [handler]})
    with pytest.raises(QueryError):
        retriever.invoke(" ", {"callbacks": [handler]})
    assert handler.told == [QUERY, documents, " ", QueryError]


def test_what_it_cannot_be_made_of_is_refused_with_a_hint(engine: Engine) -> None:
    with pytest.raises(ValidationError, match=r"has no column 'titel'[^$]*There are 'id', "):
        SearchRetriever(source=Article, engine=engine, columns=["titel"])
    with pytest.raises(ValidationError, match=r"no engine[^$]*Pass engine="):
        SearchRetriever(source=Article)
    with pytest.raises(ValidationError, match="limit"):
        SearchRetriever(source=Article, engine=engine, limit="many")  # type: ignore[arg-type]


def test_its_representation_holds_no_password(retriever: SearchRetriever) -> None:
    secret = create_async_engine("postgresql+asyncpg://user:geheim@host/shop")
    assert "geheim" not in repr(SearchRetriever(source=Article, async_engine=secret))
