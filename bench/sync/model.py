"""A real model, all-MiniLM-L6-v2: what does it cost that there is a worker around it?

Documents wait in the queue; the clock runs while a worker drains it, from its first connection
until the embedding has its HNSW index and answers. The chunks that it has made are then given to
one call of `SentenceTransformer.encode`, with nothing else running. The two take turns, and the
ratio is the median of the ratios of pairs. Each is a process of its own, which has loaded the model
and embedded something before.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, Final

from psycopg.sql import SQL, Identifier

from bench.processes import Process
from bench.quality import fresh_database
from bench.report import report
from bench.sync import encoder, our_worker, table
from bench.sync.texts import made_words, texts
from pgsearch import database
from pgsearch.canonical import MINILM
from pgsearch.declare import Embedding
from pgsearch.errors import Error
from pgsearch.evaluate.collection import read_beir

TARGETS: Final = {"end_to_end_over_encode": ">= 0.95"}

#: Words of a text where no collection is named: about as long as an abstract.
_WORDS: Final = 150

_WARM_UP: Final = 32

#: A turn may take that long; seconds.
_TIMEOUT_S: Final = 3600


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        texts: How many documents.
        rounds: How often each side has its turn.
        data: A collection whose documents are taken; words are made if None.
    """

    texts: int = 1000
    rounds: int = 3
    data: Path | None = None


@dataclass(frozen=True)
class Pair:
    """The worker and the model, on the same chunks; seconds."""

    chunks: int
    drained: float
    encoded: float


@dataclass(frozen=True)
class Overhead:
    """What was seen: a pair for each round."""

    settings: Settings
    pairs: list[Pair] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The worker's rate over the model's."""
        return median(pair.encoded / pair.drained for pair in self.pairs)

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        chunks = self.pairs[0].chunks
        report("model", "documents", self.settings.texts, "documents")
        report("model", "chunks", chunks, "chunks")
        encoded, drained = (
            chunks / median(seconds)
            for seconds in zip(*((p.encoded, p.drained) for p in self.pairs), strict=True)
        )
        report("model", "encode_per_s", encoded, "chunks/s")
        report("model", "end_to_end_per_s", drained, "chunks/s")
        metric = "end_to_end_over_encode"
        return report("model", metric, self.ratio, "ratio", TARGETS[metric]) is True

    def to_json(self) -> dict[str, Any]:
        """Return the times of all rounds."""
        return {"documents": self.settings.texts, "pairs": [asdict(pair) for pair in self.pairs]}


def measure(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Overhead:
    """Run this part.

    Args:
        settings: What is measured.
        say: Takes a line of progress.

    Raises:
        Error: The texts cannot be read, or there are not enough; the model cannot be loaded.
    """
    bodies = _bodies(settings)
    found = Overhead(settings)
    with _started(our_worker.__name__) as worker, _started(encoder.__name__) as model:
        worker.ask(json.dumps({"embed": bodies[:_WARM_UP]}), timeout_s=_TIMEOUT_S)
        _encode(model, bodies[:_WARM_UP])
        contents: list[str] = []
        for number in range(settings.rounds):
            # The chunks are known after the first turn of the worker.
            encoded = _encode(model, contents) if number % 2 else None
            drained, contents = _drain(worker, bodies)
            if encoded is None:
                encoded = _encode(model, contents)
            say(
                f"model: round {number + 1} of {settings.rounds}: the worker {drained:.1f} s, "
                f"the model alone {encoded:.1f} s"
            )
            found.pairs.append(Pair(len(contents), drained, encoded))
    return found


@contextmanager
def _started(module: str) -> Iterator[Process]:
    """Run a module of the bench as a process that says when it is ready."""
    # The library shows a bar while it loads.
    with Process(module, [sys.executable, "-m", module], {"TQDM_DISABLE": "1"}) as process:
        process.read(timeout_s=_TIMEOUT_S)
        yield process


def _bodies(settings: Settings) -> list[str]:
    if settings.data is None:
        made = texts(made_words(), _WORDS)
        return [text.body for text in islice(made, settings.texts)]
    documents = read_beir(settings.data).documents.values()
    bodies = list(dict.fromkeys(d.text for d in documents if d.text.strip()))[: settings.texts]
    if len(bodies) < settings.texts:
        raise Error(f"{settings.data} has {len(bodies)} texts, fewer than {settings.texts}.")
    return bodies


def _encode(model: Process, contents: Sequence[str]) -> float:
    """Return the seconds that the model takes alone."""
    return float(model.ask(json.dumps(contents), timeout_s=_TIMEOUT_S))


def _drain(worker: Process, bodies: Sequence[str]) -> tuple[float, list[str]]:
    """Return the seconds that a worker takes, and the chunks that it has made."""
    with fresh_database() as url, database.connect(url) as connection:
        table.make_table(connection)
        table.make_search(connection, url)
        table.embed_with(connection, Embedding("minilm", MINILM))
        table.fill_table(connection, bodies)
        seconds = worker.ask(json.dumps({"drain": url}), timeout_s=_TIMEOUT_S).split()[0]
        state = connection.execute("SELECT state FROM pgsearch.embedding").fetchone()
        if state != ("active",):
            raise Error(f"The worker has left the embedding {state}.", hint="See its log above.")
        names = table.SEARCH.names
        rows = SQL("SELECT content FROM {} ORDER BY id, ordinal").format(Identifier(names.chunk))
        return float(seconds), [row[0] for row in connection.execute(rows)]
