"""A model that cannot be used holds up its own search index, and no worker ends for it."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from pgvector import Vector

from pgsearch import Model, errors
from pgsearch.cli import main
from pgsearch.declare import Embedding
from pgsearch.definition import Chunking, TextColumn
from pgsearch.models.protocol import Embedder
from pgsearch.schema.embedding import add_embedding, drop_embedding
from pgsearch.schema.index import create_search_index
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder, hash_model
from tests.integration.test_worker_concurrency import eventually, running
from tests.plugins.embedding_server import EmbeddingServer, refusal, serving
from tests.plugins.search import execute_all
from tests.plugins.worker import SENTENCES, STORY, Stories, Watching

ONE, TWO, THREE, FOUR = SENTENCES

#: Another search index beside that of the stories, with a model of its own.
TITLES = replace(STORY, name="title_search", text=(TextColumn("title", "A"),), chunking=Chunking())


class Ill:
    """A model of 32 dimensions that raises `error` for whatever it is asked, while there is one."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.asked = 0
        self._model = HashEmbedder(32)
        self.dimensions = self._model.dimensions
        self.max_tokens = self._model.max_tokens
        self.count_tokens = self._model.count_tokens
        self.embed_queries = self._model.embed_queries

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self._model.embed_documents(texts)

    def load(self, model: Model) -> Embedder:
        """Load this model where 32 dimensions are asked for."""
        return self if model.dimensions == 32 else HashEmbedder(model.dimensions)


UNAVAILABLE = errors.ModelUnavailable("401 Unauthorized", hint="Set the key.")
THROTTLED = errors.Throttled("429 Too Many Requests", retry_after=0.2)


@pytest.fixture
def both(stories: Stories) -> Stories:
    """Two search indexes, the second one with a model of 32 dimensions; it is the first in turn."""
    execute_all(stories.connection, create_search_index(TITLES))
    embedding = Embedding("hash_v2", hash_model(32))
    execute_all(stories.connection, add_embedding("public", TITLES.name, embedding))
    return stories


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("pgsearch.sync.trouble._UNAVAILABLE_S", 0.1)
    monkeypatch.setattr("pgsearch.sync.trouble._REFUSED_S", 0.1)
    monkeypatch.setattr("pgsearch.sync.worker._FIRST_PAUSE_S", 0.05)
    caplog.set_level(logging.INFO, logger="pgsearch")


def run(worker: Worker) -> None:
    """Run a worker that is to end by itself."""
    too_late = threading.Timer(10, worker.stop)
    too_late.start()
    try:
        worker.run()
    finally:
        too_late.cancel()


def said(caplog: pytest.LogCaptureFixture, what: str) -> list[str]:
    return [record.message for record in caplog.records if what in record.message]


def waiting(stories: Stories, index: str) -> int:
    return int(stories.value(f"SELECT count(*) FROM {index}_queue"))


@pytest.mark.parametrize("error", [UNAVAILABLE, THROTTLED], ids=["401", "429"])
def test_a_model_that_cannot_be_had_holds_up_no_other_search_index(
    both: Stories, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    ill = Ill(error)
    both.insert(ONE, title="A title")
    with running(Worker(both.url, load=ill.load)):
        eventually(lambda: waiting(both, "story_search") == 0 and ill.asked > 3)
        assert waiting(both, "title_search") == 1
        # That it is tried again and again is said once, and that it is there once.
        assert len(said(caplog, "trying again every")) == 1
        ill.error = None
        eventually(lambda: waiting(both, "title_search") == 0)
    assert said(caplog, "title_search: its model") == ["title_search: its model answers again."]


@pytest.mark.parametrize("error", [UNAVAILABLE, THROTTLED], ids=["401", "429"])
def test_a_worker_begins_without_the_only_model(stories: Stories, error: Exception) -> None:
    execute_all(stories.connection, drop_embedding("public", STORY.name, "hash_v1"))
    stories.add_embedding("hash_v2", 32)
    (story,) = stories.insert(ONE)
    ill = Ill(error)
    with running(Worker(stories.url, load=ill.load)):
        eventually(lambda: ill.asked > 2)
        ill.error = None
        eventually(lambda: stories.chunks(story) == [ONE])


def test_a_model_that_goes_away_and_comes_back_is_told_of_once_each(
    both: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    ill = Ill(None)
    both.insert(TWO, title="Another title")
    Worker(both.url).drain()
    with running(Worker(both.url, load=ill.load)):
        eventually(lambda: ill.asked > 0)  # it is loaded
        ill.error = UNAVAILABLE
        both.insert(ONE, title="A title")
        eventually(lambda: ill.asked > 4)
        ill.error = None
        eventually(lambda: waiting(both, "title_search") == 0)
        eventually(lambda: said(caplog, "answers again"))
    assert len(said(caplog, "trying again every")) == 1
    assert len(said(caplog, "answers again")) == 1


def test_a_worker_outlives_its_connection_while_the_model_is_away(stories: Stories) -> None:
    execute_all(stories.connection, drop_embedding("public", STORY.name, "hash_v1"))
    stories.add_embedding("hash_v2", 32)
    ill = Ill(None)
    with running(Worker(stories.url, load=ill.load)):
        (first,) = stories.insert(ONE)
        eventually(lambda: stories.chunks(first) == [ONE])
        ill.error = UNAVAILABLE
        asked = ill.asked
        cut(stories)
        eventually(lambda: ill.asked > asked)
        (second,) = stories.insert(TWO)
        ill.error = None
        eventually(lambda: stories.chunks(second) == [TWO])


def cut(stories: Stories) -> None:
    """End all other connections to the database."""
    stories.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND backend_type = 'client backend'"
    )


def test_a_wrong_model_holds_up_no_other_search_index(
    both: Stories, caplog: pytest.LogCaptureFixture
) -> None:
    both.insert(TWO, title="Another title")
    both.drain()

    def load(model: Model) -> Embedder:
        return Watching(salt="other ", dimensions=32) if model.dimensions == 32 else Watching()

    both.insert(ONE, title="A title")
    with running(Worker(both.url, load=load)):
        eventually(lambda: waiting(both, "story_search") == 0)
    assert waiting(both, "title_search") == 1
    (told,) = said(caplog, "not the one registered")
    assert told.startswith("title_search: trying again every")


def test_a_worker_ends_with_the_error_where_every_model_is_wrong(stories: Stories) -> None:
    stories.insert(ONE)
    stories.drain()
    with pytest.raises(errors.ModelMismatch, match="not the one registered"):
        run(stories.worker(Watching(salt="other ")))


def test_a_worker_ends_at_once_where_no_model_can_be_loaded(both: Stories) -> None:
    def load(model: Model) -> Embedder:
        raise errors.ModelUnavailable(f"{model.name} needs a library.")

    with pytest.raises(errors.ModelUnavailable, match="needs a library"):
        run(Worker(both.url, load=load))

    def load_one(model: Model) -> Embedder:
        return HashEmbedder(64) if model.dimensions == 64 else load(model)

    both.insert(ONE, title="A title")
    with running(Worker(both.url, load=load_one)):
        eventually(lambda: waiting(both, "story_search") == 0)


def test_a_drain_finishes_the_others_and_says_what_it_could_not_do(both: Stories) -> None:
    ill = Ill(UNAVAILABLE)
    both.insert(*(f"Story number {n}." for n in range(40)), title="A title")
    report = Worker(both.url, load=ill.load, batch_rows=5).drain()
    assert (report.documents, report.problems) == (40, [UNAVAILABLE])
    assert (waiting(both, "story_search"), waiting(both, "title_search")) == (0, 40)
    assert ill.asked == 1
    with pytest.raises(errors.ModelUnavailable, match="401"):
        Worker(both.url, load=ill.load, indexes=["title_search"]).drain()


def test_a_drain_waits_for_a_throttle_at_the_load(both: Stories) -> None:
    ill = Ill(THROTTLED)
    both.insert(ONE, title="A title")
    thread = threading.Timer(0.5, lambda: setattr(ill, "error", None))
    thread.start()
    report = Worker(both.url, load=ill.load).drain()
    thread.join()
    assert (report.documents, report.problems) == (2, [])


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with serving(32) as server:
        yield server


@contextmanager
def command(url: str) -> Iterator[subprocess.Popen[str]]:
    """Run `pgsearch worker` in a process of its own."""
    program = Path(sys.executable).with_name("pgsearch")
    with subprocess.Popen(
        [program, "--database", url, "worker"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_the_command_waits_for_an_endpoint(stories: Stories, server: EmbeddingServer) -> None:
    model = Model("m", provider="openai", dimensions=32, url=server.url)
    execute_all(stories.connection, drop_embedding("public", STORY.name, "hash_v1"))
    execute_all(
        stories.connection, add_embedding("public", STORY.name, Embedding("http_v1", model))
    )
    stories.insert(ONE)
    server.behave = lambda _: refusal(401, "Who are you?")
    with command(stories.url) as process:
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        seen = [next(line for line in lines if "Who are you?" in line), next(lines)]
        seen.append(next(line for line in lines if "Waiting" in line))
        process.terminate()
        seen += lines
        assert process.wait(20) == 0
    assert "trying again every 30 s" in seen[0]
    # What the HTTP client has to say of each request is nobody's business.
    assert not any("HTTP Request" in line for line in seen)
    synced = CliRunner().invoke(main, ["--database", stories.url, "sync"])
    assert synced.exit_code == 1
    assert "Who are you?" in synced.stderr
