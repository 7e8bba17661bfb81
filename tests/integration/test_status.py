"""How far what workers do for all rows is, and how long it takes, as `pgsearch status` says it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence

import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch import registry
from pgsearch.cli import main
from pgsearch.declare import Embedding
from pgsearch.errors import DeclarationError
from pgsearch.schema.embedding import add_embedding
from pgsearch.schema.index import alter_search_index
from pgsearch.status import Cost, IndexStatus, Progress, read_status
from pgsearch.sync.fill import DocumentFill
from pgsearch.sync.reconciliation.statements import ReconcileStatements
from pgsearch.sync.statements import Statements
from pgsearch.testing import HashEmbedder, hash_model
from tests.integration.test_worker_concurrency import eventually
from tests.plugins.reconcile import SHAPES
from tests.plugins.search import create, execute_all
from tests.plugins.worker import STORY, Stories, Watching

BEGAN = "UPDATE pgsearch.search_index SET fill_started_at = clock_timestamp() - interval '60 s'"


@pytest.fixture(autouse=True)
def ranges_of_seven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows be several ranges."""
    for constant in ("FIRST_RANGE", "LONGEST_RANGE", "KEYS_PER_RANGE"):
        monkeypatch.setattr(f"pgsearch.sync.fill.{constant}", 7)


def analyse(stories: Stories) -> None:
    """Let PostgreSQL count rows, after what is still to be added to its counters."""
    stories.execute("SELECT pg_stat_force_next_flush()")
    stories.execute("ANALYZE")


@pytest.fixture
def old_stories(stories: Stories) -> Stories:
    """Twenty-one rows that were there before their search index, which PostgreSQL has counted."""
    stories.execute("ALTER TABLE story DISABLE TRIGGER USER")
    stories.insert(*(f"Story {n} is old." for n in range(21)))
    stories.execute("ALTER TABLE story ENABLE TRIGGER USER")
    analyse(stories)
    return stories


def status(stories: Stories) -> IndexStatus:
    (found,) = read_status(stories.connection, "story_search")
    return found


def shown(stories: Stories) -> str:
    return CliRunner().invoke(main, ["--database", stories.url, "status"]).stdout


def filling(stories: Stories) -> list[str]:
    """Return what the command says of fills; a test takes a moment."""
    lines = [line for line in shown(stories).splitlines() if line.startswith("  filling    ")]
    rounded = [re.sub("3[0-3] s", "30 s", line[13:]) for line in lines]
    return [re.sub("12[0-3] s", "2 min", line) for line in rounded]


def step(stories: Stories) -> None:
    """Fill one range, as a worker does, in a fill that began a minute ago."""
    (known,) = registry.read(stories.connection)
    DocumentFill(known).step(stories.connection)
    stories.execute(BEGAN)


def about(share: float, seconds: float, rows: int = 21) -> Progress:
    """Return what is as good as this progress; a test takes a moment."""
    speed = pytest.approx(rows * (1 - share) / seconds, rel=0.1)
    return Progress(pytest.approx(share), pytest.approx(seconds, abs=3), speed)


def test_the_rows_of_an_existing_table(old_stories: Stories) -> None:
    before = status(old_stories)
    assert before.rows == 21
    assert (before.reading, before.catching_up) == (Progress(0, None), None)
    step(old_stories)
    first = status(old_stories)
    assert first.reading == about(7 / 21, 60 * 14 / 7)
    assert first.catching_up == first.embeddings[0].filling == Progress(0, None)
    step(old_stories)
    old_stories.execute("DELETE FROM story_search_queue WHERE id <= 7")
    second = status(old_stories)
    assert second.reading == about(14 / 21, 60 * 7 / 14)
    # Seven of twenty-one, at seven a minute.
    assert second.catching_up == second.embeddings[0].filling == about(7 / 21, 120)
    assert filling(old_stories) == [
        "documents 66 % of about 21 rows, 0.2 rows/s, about 30 s left",
        "hash_v1 33 %, 0.1 rows/s, about 2 min left",
    ]
    while not status(old_stories).filled:
        step(old_stories)
    third = status(old_stories)
    assert third.reading is None
    assert third.catching_up == about(7 / 21, 120)
    old_stories.drain()
    done = status(old_stories)
    assert (done.reading, done.catching_up, done.embeddings[0].filling) == (None, None, None)
    assert filling(old_stories) == []


def test_nothing_is_said_of_a_table_that_was_never_counted(stories: Stories) -> None:
    assert status(stories).reading == Progress(None, None)
    assert filling(stories) == []


def test_what_is_done_again(old_stories: Stories) -> None:
    """Nothing that the fill before it has done counts."""
    old_stories.drain()
    execute_all(old_stories.connection, alter_search_index(STORY, refill=True))
    before = status(old_stories)
    assert (before.reading, before.catching_up) == (Progress(0, None), None)
    step(old_stories)
    step(old_stories)
    old_stories.execute("DELETE FROM story_search_queue WHERE id <= 7")
    found = status(old_stories)
    assert found.reading == about(14 / 21, 30)
    assert found.catching_up == about(7 / 21, 120)
    assert found.embeddings[0].filling is None
    assert filling(old_stories) == [
        "documents 66 % of about 21 rows, 0.2 rows/s, about 30 s left",
        "passages 33 %, 0.1 rows/s, about 2 min left",
    ]


def test_an_added_embedding(stories: Stories) -> None:
    stories.insert(*(f"Story {n} is told." for n in range(20)))
    stories.drain()
    stories.add_embedding("hash_v2", 32)
    assert status(stories).embeddings[1].filling == Progress(0, None)
    found: list[IndexStatus] = []

    def look(texts: Sequence[str]) -> None:
        stories.execute(BEGAN.replace("search_index", "embedding"))
        found.append(status(stories))

    models = {64: HashEmbedder(64), 32: Watching(look, dimensions=32)}
    stories.worker(load=lambda model: models[model.dimensions], batch_rows=5).drain()
    halves = [index for index in found if 0 < index.embeddings[1].vectors < 20]
    assert halves
    for index in halves:
        vectors = index.embeddings[1].vectors
        assert index.embeddings[1].filling == about(vectors / 20, 60 * (20 - vectors) / vectors)
        assert (index.reading, index.catching_up) == (None, None)
    assert status(stories).embeddings[1].filling is None


def test_what_a_reconciliation_has_mended_is_no_fill(old_stories: Stories) -> None:
    old_stories.drain()
    old_stories.execute(
        "INSERT INTO story_search_queue (queue_id, id) OVERRIDING SYSTEM VALUE"
        " SELECT pgsearch.backfill_id('story_search_queue_queue_id_seq'), id FROM story"
    )
    found = status(old_stories)
    assert (found.waiting, found.catching_up) == (21, None)


def test_large_tables_are_not_counted(
    old_stories: Stories, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_stories.drain()
    old_stories.insert("One more.")
    analyse(old_stories)
    exact = status(old_stories)
    monkeypatch.setattr("pgsearch.status._LARGE", 0)
    found = status(old_stories)
    assert not exact.estimated
    assert found.estimated
    for name in ("documents", "chunks", "waiting", "rows"):
        assert getattr(found, name) == getattr(exact, name)
    assert found.embeddings == exact.embeddings
    assert found.oldest_s == pytest.approx(exact.oldest_s, abs=3)
    assert (found.truncated, found.failed, found.last_error) == (None, None, None)
    text = shown(old_stories)
    assert "  documents  about 22 (" in text
    assert "about 1 waiting, the oldest for 0 s, the failed ones not counted" in text


def test_progress_as_json(old_stories: Stories) -> None:
    step(old_stories)
    done = CliRunner().invoke(main, ["--database", old_stories.url, "status", "--json"])
    found = json.loads(done.stdout)
    assert found["rows"] == 21
    assert found["reading"] == {
        "share": pytest.approx(1 / 3),
        "left_s": pytest.approx(120, abs=6),
        "per_s": pytest.approx(0.117, abs=0.01),
    }
    assert found["embeddings"][0]["filling"] == {"share": 0.0, "left_s": None, "per_s": None}
    assert found["embeddings"][0]["indexing"] is None


def test_an_index_that_is_being_built(stories: Stories) -> None:
    """A transaction that has looked before keeps a build from its end."""
    stories.insert("A story.")
    stories.drain()
    stories.add_embedding("hash_v2", 32)
    with product.connect(stories.url, autocommit=False) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT FROM story")
        worker = threading.Thread(target=stories.drain)
        worker.start()
        eventually(lambda: status(stories).embeddings[1].indexing is not None)
        assert status(stories).embeddings[0].indexing is None
        assert "  indexing   hash_v2 " in shown(stories)
    worker.join()
    assert status(stories).embeddings[1].indexing is None
    assert stories.states()["hash_v2"] == "ready"


@pytest.mark.parametrize("kind", ["expressions and languages", "partitions"])
def test_rows_are_estimated_by_what_postgresql_has_counted(
    installed: product.Connection, kind: str
) -> None:
    """A partitioned table knows the sum of its partitions itself, which must not be added to it."""
    shape = SHAPES[kind]
    execute_all(installed, shape.made)
    create(installed, shape.definition)
    table = Identifier(shape.definition.table)
    installed.execute("SELECT pg_stat_force_next_flush()")
    installed.execute(SQL("ANALYZE {}").format(table))
    rows = installed.execute(SQL("SELECT count(*) FROM {}").format(table)).fetchone()
    assert rows is not None
    (found,) = read_status(installed, shape.definition.name)
    statements = Statements(shape.definition)
    assert found.rows == rows[0]
    assert installed.execute(statements.rows_left, {"refill": True}).fetchone() == rows
    # Nothing is counted: rows that are new since are not seen.
    installed.execute(SQL("DELETE FROM {}").format(table))
    size = ReconcileStatements(shape.definition).size
    assert installed.execute(size).fetchone() == rows


def test_what_a_fill_costs(stories: Stories) -> None:
    """At a thousand for a million tokens, and four characters to a token."""
    stories.insert(*("x" * 40 + f" {n:07}" for n in range(6)))
    stories.drain()
    declared = Embedding("hash_v2", hash_model(32), price=1000.0)
    execute_all(stories.connection, add_embedding("public", STORY.name, declared))
    before = status(stories)
    assert [embedding.cost for embedding in before.embeddings] == [
        None,
        Cost(0, pytest.approx(6 * 12 * 1000 / 1e6)),
    ]
    assert "  cost       hash_v2 about 0.00 so far, 0.07 to come\n" in shown(stories)
    stories.drain()
    assert status(stories).embeddings[1].cost == Cost(pytest.approx(0.072), 0)
    assert "  cost       hash_v2 about 0.07 so far\n" in shown(stories)


@pytest.mark.parametrize("price", [0.0, -1.0, float("inf"), float("nan")])
def test_what_is_no_price(price: float) -> None:
    with pytest.raises(DeclarationError, match="is no price"):
        Embedding("hash_v2", hash_model(32), price=price)
