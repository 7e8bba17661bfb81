"""How soon a change is found: from COMMIT until vector search has the row.

`pgsearch worker` runs, with its default options, on a table whose embedding is active. A client
inserts a row at random moments, a few in a second, and then asks the search function for the vector
of that row's text, again and again, until the row is the answer. What the model takes for one such
text alone, while nothing else runs, is `model_p95_ms`: the row cannot be found sooner than that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any, Final

from bench.quality import fresh_database
from bench.report import percentile, report
from bench.sync import table, worker
from bench.sync.texts import texts
from pgsearch import database, models
from pgsearch.canonical import MINILM
from pgsearch.declare import Embedding, Model
from pgsearch.errors import Error
from pgsearch.sync import Worker
from pgsearch.testing import hash_model

if TYPE_CHECKING:
    from pgvector import Vector

#: A row is found that much later than the model takes, at most; milliseconds.
ALLOWED_MS: Final = 250

MODELS: Final = {"minilm": MINILM, "hash": hash_model(384)}

#: Words of a text.
_WORDS: Final = 40

#: Mean pause between a row that was found and the next COMMIT, and the shortest; seconds.
_PAUSE_S: Final = 0.3
_SHORTEST_PAUSE_S: Final = 0.05

_POLL_S: Final = 0.002

#: After which time a row is given up; seconds.
_PATIENCE_S: Final = 60.0

#: Not asked with the text, where a minus or quotation marks would be conditions.
_FIND: Final = "SELECT id FROM article_search('text', k => 1, vector => %s, mode => 'vector')"


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        commits: How many rows are inserted and waited for.
        rows: How many are there before.
        models: By name.
    """

    commits: int = 200
    rows: int = 1000
    models: dict[str, Model] = field(default_factory=lambda: dict(MODELS))


@dataclass(frozen=True)
class Freshness:
    """What was seen with one model; milliseconds, in the order in which it was seen."""

    model_ms: list[float]
    found_ms: list[float]

    @property
    def model_p95_ms(self) -> float:
        """What the model takes for one text."""
        return percentile(self.model_ms, 95)

    @property
    def allowed_ms(self) -> float:
        """How long a row may take to be found."""
        return ALLOWED_MS + self.model_p95_ms


@dataclass(frozen=True)
class Freshnesses:
    """What was seen, by the model's name."""

    by_model: dict[str, Freshness] = field(default_factory=dict)

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        outcomes = []
        for name, seen in self.by_model.items():
            case = f"freshness, {name}"
            report(case, "commits", len(seen.found_ms), "commits")
            report(case, "model_p50_ms", percentile(seen.model_ms, 50), "ms")
            report(case, "model_p95_ms", seen.model_p95_ms, "ms")
            report(case, "freshness_p50_ms", percentile(seen.found_ms, 50), "ms")
            p95, target = percentile(seen.found_ms, 95), f"<= {seen.allowed_ms:.1f}"
            outcomes.append(report(case, "freshness_p95_ms", p95, "ms", target))
            report(case, "freshness_max_ms", max(seen.found_ms), "ms")
        return False not in outcomes

    def to_json(self) -> dict[str, Any]:
        """Return every time that was measured."""
        return {name: asdict(seen) for name, seen in self.by_model.items()}


def measure(
    settings: Settings, words: list[str], say: Callable[[str], None] = lambda _: None
) -> Freshnesses:
    """Run this part.

    Args:
        settings: What is measured.
        words: Running text, of which texts are made.
        say: Takes a line of progress.

    Raises:
        Error: A model cannot be loaded, a row is not found, or the worker has failed.
    """
    found = Freshnesses()
    for name, model in settings.models.items():
        say(f"freshness: {settings.commits} commits, each waited for, with the model {name}")
        found.by_model[name] = _measure(settings, model, words)
    return found


def _measure(settings: Settings, model: Model, words: list[str]) -> Freshness:
    count = settings.rows + settings.commits
    bodies = [text.body for text in islice(texts(words, _WORDS), count)]
    before, new = bodies[: settings.rows], bodies[settings.rows :]
    with fresh_database() as url, database.connect(url) as connection:
        table.make_table(connection)
        table.make_search(connection, url)
        table.embed_with(connection, Embedding("measured", model))
        table.fill_table(connection, before)
        if "measured: active" not in Worker(url, distill=False).drain().entered:
            raise Error("The embedding is not active.", hint="See the log above.")
        model_ms, vectors = _embed_one_by_one(model, new)
        table.settle(connection)
        database.register_vectors(connection)
        with worker.running(url) as running:
            worker.await_start(running)
            client = _Client(connection, settings.rows)
            return Freshness(model_ms, client.write(new, vectors))


def _embed_one_by_one(model: Model, bodies: Sequence[str]) -> tuple[list[float], list[Vector]]:
    """Return how long the model takes for each text, and the vectors."""
    embedder = models.load(model)
    embedder.embed_documents(["The first call also warms up."])
    milliseconds: list[float] = []
    vectors: list[Vector] = []

    def embed() -> None:
        for body in bodies:
            # A busy machine lets those go first who have slept, as the worker has.
            time.sleep(_SHORTEST_PAUSE_S)
            started = time.perf_counter()
            vectors.extend(embedder.embed_documents([body]))
            milliseconds.append(1000 * (time.perf_counter() - started))

    # As in a worker, not in the main thread: there, torch's threads spin while they wait for each
    # other, which takes several times as long where others want the processors.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(embed).result()
    return milliseconds, vectors


class _Client:
    """Who writes, and wants to find it.

    Args:
        connection: A connection in autocommit.
        last: The highest key.
    """

    def __init__(self, connection: database.Connection, last: int) -> None:
        self._connection = connection
        self._last = last
        self._random = Random(1)

    def write(self, bodies: Sequence[str], vectors: Sequence[Vector]) -> list[float]:
        """Return how long each row took to be found; milliseconds."""
        return [self._wait(*each) for each in zip(bodies, vectors, strict=True)]

    def _wait(self, body: str, vector: Vector) -> float:
        time.sleep(max(_SHORTEST_PAUSE_S, self._random.expovariate(1 / _PAUSE_S)))
        self._last += 1
        self._connection.execute("INSERT INTO article VALUES (%s, %s)", [self._last, body])
        committed = time.perf_counter()
        while self._connection.execute(_FIND, [vector]).fetchone() != (self._last,):
            if time.perf_counter() - committed > _PATIENCE_S:
                raise Error(f"Row {self._last} is not found within {_PATIENCE_S:.0f} s.")
            time.sleep(_POLL_S)
        return 1000 * (time.perf_counter() - committed)
