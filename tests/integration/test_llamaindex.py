"""The retriever for LlamaIndex, which publishes no tests for those of others."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core import QueryBundle
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode, NodeWithScore
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from pgsearch import search
from pgsearch.errors import DeclarationError, QueryError
from pgsearch.llamaindex import SearchRetriever
from tests.plugins.orm import QUERY, Article, Draft, draft_bodies, ids


@pytest.fixture
def retriever(engine: Engine) -> SearchRetriever:
    return SearchRetriever(Article, engine, limit=4, columns=["title"])


def plain(nodes: list[NodeWithScore]) -> list[tuple[Any, ...]]:
    return [(each.node_id, each.text, each.metadata, each.score) for each in nodes]


def test_nodes_are_what_search_finds(retriever: SearchRetriever, session: Session) -> None:
    expected = session.execute(search(Article, QUERY, limit=4)).all()
    assert plain(retriever.retrieve(QUERY)) == [
        (
            str(article.id),
            hit.passage,
            {
                "id": article.id,
                "title": article.title,
                "score": hit.score,
                "keyword_score": hit.keyword_score,
                "similarity": hit.similarity,
                "stale": False,
            },
            hit.score,
        )
        for article, hit in expected
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "keyword"},
        {"mode": "vector", "embedding": "hash_v2"},
        {"where": Article.tenant_id == 2},
        {"fusion": "rrf", "keyword_weight": 2.0, "ef_search": 50},
        {"language": "german", "index": "article_search"},
    ],
)
def test_options_are_those_of_search(
    engine: Engine, session: Session, options: dict[str, Any]
) -> None:
    expected = [str(each) for each in ids(session, search(Article, QUERY, limit=4, **options))]
    made = SearchRetriever(Article, engine, limit=4, **options)
    assert [node.node_id for node in made.retrieve(QUERY)] == expected


def test_a_bundle_is_asked_by_its_text(retriever: SearchRetriever) -> None:
    """Another retriever may have put the vector of another model into it."""
    foreign = QueryBundle(QUERY, embedding=[1.0, 0.0])
    assert plain(retriever.retrieve(foreign)) == plain(retriever.retrieve(QUERY))


def test_it_can_be_awaited(retriever: SearchRetriever, engine: Engine, library_url: str) -> None:
    async def ask() -> list[NodeWithScore]:
        url = library_url.replace("postgresql://", "postgresql+asyncpg://")
        asking = create_async_engine(url)
        own = SearchRetriever(Article, async_engine=asking, limit=4, columns=["title"])
        found = await own.aretrieve(QueryBundle(QUERY))
        await asking.dispose()
        return found

    expected = plain(retriever.retrieve(QUERY))
    assert plain(asyncio.run(ask())) == expected
    assert plain(asyncio.run(retriever.aretrieve(QUERY))) == expected


def test_callbacks_are_told(engine: Engine) -> None:
    handler = LlamaDebugHandler(print_trace_on_end=False)
    manager = CallbackManager([handler])
    retriever = SearchRetriever(Article, engine, callback_manager=manager)
    nodes = retriever.retrieve(QUERY)
    ((start, end),) = handler.get_event_pairs(CBEventType.RETRIEVE)
    assert start.payload == {EventPayload.QUERY_STR: QUERY}
    assert end.payload == {EventPayload.NODES: nodes}


def test_rows_with_the_same_text_are_all_given(engine: Engine) -> None:
    """LlamaIndex drops nodes that are alike; the key in the metadata tells these apart."""
    retriever = SearchRetriever(Draft, engine, index=draft_bodies, mode="keyword")
    nodes = retriever.retrieve("harbour")
    assert [node.text for node in nodes] == ["The harbour at night"] * 3
    assert len({node.node_id for node in nodes}) == 3


def test_a_query_engine_answers_from_it(retriever: SearchRetriever) -> None:
    answering = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    nodes = retriever.retrieve(QUERY)
    for answer in (answering.query(QUERY), asyncio.run(answering.aquery(QUERY))):
        assert plain(answer.source_nodes) == plain(nodes)
        # The mock repeats its prompt.
        assert all(node.text in str(answer) for node in nodes)


def test_a_language_model_is_shown_no_keys_and_scores(retriever: SearchRetriever) -> None:
    (first, *_) = retriever.retrieve(QUERY)
    for mode in (MetadataMode.LLM, MetadataMode.EMBED):
        shown = first.node.get_content(mode)
        assert shown == f"title: {first.metadata['title']}\n\n{first.text}"


def test_what_cannot_be_asked_is_refused(engine: Engine, retriever: SearchRetriever) -> None:
    with pytest.raises(DeclarationError, match="has no column 'titel'"):
        SearchRetriever(Article, engine, columns=["titel"])
    with pytest.raises(DeclarationError, match="has no engine"):
        SearchRetriever(Article)
    with pytest.raises(QueryError, match="query is empty"):
        retriever.retrieve(" ")
