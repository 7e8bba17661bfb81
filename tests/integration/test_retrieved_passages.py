"""Retrievers that give passages: those that `search` finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from pgsearch import search
from pgsearch.errors import DeclarationError
from pgsearch.langchain import SearchRetriever as LangChainRetriever
from pgsearch.llamaindex import SearchRetriever as LlamaIndexRetriever
from pgsearch.orm.retrieval import Retrieval
from tests.plugins.letters import Letter, Numbered

QUERY = "a storm over the harbour"


@pytest.fixture
def session(letters: Engine) -> Iterator[Session]:
    with Session(letters) as session:
        yield session


def test_a_retriever_gives_passages(letters: Engine, session: Session) -> None:
    given = {"limit": 12, "passages": True, "per_document": 2}
    retrieval = Retrieval(Letter, letters, columns=["year"], options=given)
    found = retrieval.ask(QUERY, where=Letter.year == 1901)
    asked = search(Letter, QUERY, where=Letter.year == 1901, **given)
    expected = session.execute(asked).all()
    assert len({each.id for each in found}) == len(found) == 12
    for each, (letter, hit) in zip(found, expected, strict=True):
        assert each.id == f'["{letter.sender}", {letter.number}]#{hit.ordinal}'
        assert each.text == hit.passage
        assert each.metadata == {
            "sender": letter.sender,
            "number": letter.number,
            "year": 1901,
            "score": hit.score,
            "keyword_score": hit.keyword_score,
            "similarity": hit.similarity,
            "stale": False,
            "ordinal": hit.ordinal,
            "document_score": hit.document_score,
        }


def test_a_call_may_ask_for_passages(letters: Engine) -> None:
    retriever = LangChainRetriever(source=Letter, engine=letters, limit=5)
    assert "ordinal" not in retriever.invoke(QUERY)[0].metadata
    documents = retriever.invoke(QUERY, passages=True, per_document=1)
    assert len({(d.metadata["sender"], d.metadata["number"]) for d in documents}) == 5
    assert all("#" in (document.id or "") for document in documents)


def test_nodes_are_passages(letters: Engine) -> None:
    retriever = LlamaIndexRetriever(Letter, letters, limit=20, passages=True, per_document=3)
    nodes = retriever.retrieve(QUERY)
    assert len({node.node_id for node in nodes}) == 20
    assert [node.metadata["score"] for node in nodes] == [node.score for node in nodes]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"content": "document"}, "content='document' and passages=True exclude each other"),
        ({"source": Numbered, "columns": ["ordinal"]}, "that the metadata of a passage has too"),
    ],
)
def test_what_retrievers_cannot_give(letters: Engine, options: Any, problem: str) -> None:
    given = {"source": Letter, "engine": letters} | options
    with pytest.raises(DeclarationError, match=problem):
        Retrieval(**given, options={"passages": True})
    with pytest.raises(DeclarationError, match=problem):
        Retrieval(**given).ask(QUERY, passages=True)
