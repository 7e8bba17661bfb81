"""A worker whose model is behind an endpoint; nothing of its key comes into the database."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from psycopg.sql import SQL, Identifier

from pgsearch.declare import Embedding, Model
from pgsearch.schema import embedding as embedding_ddl
from tests.plugins.embedding_server import EmbeddingServer, Request, refusal, serving
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, STORY, Stories

KEY = "sk-proj-abcdEFGH1234567890ijklMNOP_qrst-uvwx"


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serving(32) as server:
        yield server


def everything(stories: Stories) -> str:
    """Return all rows of all tables, as text."""
    tables = stories.execute(
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE relkind IN ('r', 'p') AND nspname IN ('public', 'pgsearch')"
    )
    rows = (
        SQL("SELECT string_agg(t::text, E'\\n') FROM {} AS t").format(Identifier(*table))
        for table in tables
    )
    return "\n".join(str(stories.connection.execute(query).fetchone()) for query in rows)


def test_a_key_that_an_endpoint_echoes_stays_out_of_the_database(
    stories: Stories,
    server: EmbeddingServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("TEI_API_KEY", KEY)

    def refuse_poison(request: Request):  # type: ignore[no-untyped-def]
        assert request.headers["authorization"] == f"Bearer {KEY}"
        if any("poison" in text for text in request.texts):
            return refusal(400, f"Bearer {KEY} may not ask for poison, nor may {KEY[:20]}…")
        return None

    server.behave = refuse_poison
    model = Model("m", provider="openai", dimensions=32, url=server.url, key_variable="TEI_API_KEY")
    added = embedding_ddl.add_embedding("public", STORY.name, Embedding("http_v1", model))
    execute_all(stories.connection, added)
    stories.insert(*SENTENCES[:3], "This one is poison.")
    with caplog.at_level(logging.DEBUG):
        report = stories.drain()
    assert report.failed == 1
    vectors = dict(
        stories.execute(
            "SELECT content, embedding_http_v1 FROM story_search_chunk"
            " WHERE embedding_http_v1 IS NOT NULL"
        )
    )
    wanted = server.embedder.embed_documents(SENTENCES[:3])
    assert vectors == dict(zip(SENTENCES[:3], wanted, strict=True))
    held = everything(stories)
    # The model's name and the endpoint's message are there, so the rows have been looked at.
    assert "TEI_API_KEY" in held
    assert "Bearer [key] may not ask for poison, nor may [key]" in held
    parts = {KEY[at : at + 8] for at in range(len(KEY) - 7)}
    assert not [part for part in parts if part in held or part in caplog.text]
