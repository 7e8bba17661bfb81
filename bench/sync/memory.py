"""The memory of a worker while it fills a large table for the first time.

The rows are there before the search index. `pgsearch worker` writes their documents, and then
embeds them with the hash model; once a second, its resident memory is read. What counts is by how
much it still grows when a quarter of the rows is embedded: by then all has been loaded and every
cache is as large as it gets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from psycopg.sql import SQL, Identifier

from bench.quality import fresh_database
from bench.report import report
from bench.sync import table, worker
from pgsearch import database
from pgsearch.declare import Embedding
from pgsearch.errors import Error
from pgsearch.schema.index import create_search_index
from pgsearch.schema.install import install
from pgsearch.testing import hash_model

TARGETS: Final = {"memory_growth": "<= 10"}

#: The share of the rows that are embedded when the comparison begins.
WARM: Final = 0.25

_TIMEOUT_S: Final = 7200
_TELL_EVERY_S: Final = 10.0

#: Short texts, no two alike, of a few hundred words: the hash model remembers words, which is not
#: what is measured.
_FILL: Final = """
INSERT INTO article
SELECT n, format('House %%s in street %%s has a room %%s.', n / 10000, n / 100 %% 100, n %% 100)
FROM generate_series(1, %s) AS n
"""

#: Both counts without reading the tables; they may be a second old.
_DONE: Final = """
SELECT coalesce(sum(n_tup_ins) FILTER (WHERE relname = %s), 0)::bigint,
       coalesce(sum(n_tup_ins) FILTER (WHERE relname = %s), 0)::bigint
FROM pg_stat_user_tables
"""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        rows: Rows of the table.
        every_s: Seconds between two looks.
    """

    rows: int = 200_000
    every_s: float = 1.0


class Sample(NamedTuple):
    """The worker's memory at one moment, and how many rows have a document and a vector."""

    seconds: float
    documents: int
    embedded: int
    megabytes: float


@dataclass(frozen=True)
class Memory:
    """What was seen."""

    settings: Settings
    samples: list[Sample] = field(default_factory=list)

    @property
    def warm(self) -> Sample:
        """The first look when a quarter of the rows is embedded."""
        return self._later[0]

    @property
    def largest(self) -> Sample:
        """The most memory from then on."""
        return max(self._later, key=lambda sample: sample.megabytes)

    @property
    def _later(self) -> list[Sample]:
        return [each for each in self.samples if each.embedded >= WARM * self.settings.rows]

    @property
    def growth(self) -> float:
        """By how much memory has grown since, at most; percent."""
        return 100 * (self.largest.megabytes / self.warm.megabytes - 1)

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        report("memory", "rows", self.settings.rows, "rows")
        report("memory", "seconds", self.samples[-1].seconds, "s")
        report("memory", "warm_mb", self.warm.megabytes, "MB")
        report("memory", "largest_mb", self.largest.megabytes, "MB")
        return report("memory", "memory_growth", self.growth, "%", TARGETS["memory_growth"]) is True

    def to_json(self) -> dict[str, Any]:
        """Return all samples."""
        return {
            "rows": self.settings.rows,
            "samples": [
                sample._replace(seconds=round(sample.seconds, 2))._asdict()
                for sample in self.samples
            ],
        }


def measure(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Memory:
    """Run this part.

    Args:
        settings: What is measured.
        say: Takes a line of progress.

    Raises:
        Error: The worker has failed, or does not come to an end; or this is not Linux.
    """
    found = Memory(settings)
    with fresh_database() as url, database.connect(url) as connection:
        table.make_table(connection)
        connection.execute(_FILL, [settings.rows])
        table.settle(connection)
        table.apply(connection, install())
        table.apply(connection, create_search_index(table.SEARCH))
        table.embed_with(connection, Embedding("hashed", hash_model(384)))
        with worker.running(url) as running:
            found.samples.extend(_watch(settings, connection, running, say))
        _check(connection, settings.rows)
    return found


def _watch(
    settings: Settings,
    connection: database.Connection,
    running: worker.RunningWorker,
    say: Callable[[str], None],
) -> Iterator[Sample]:
    """Yield samples until every row is embedded."""
    names = table.SEARCH.names
    started = told_at = time.monotonic()
    embedded = 0
    while embedded < settings.rows:
        time.sleep(settings.every_s)
        now = time.monotonic()
        if now > started + _TIMEOUT_S:
            raise Error(f"The worker takes more than {_TIMEOUT_S / 3600:.0f} hours.")
        counts = connection.execute(_DONE, [names.document, names.chunk]).fetchone()
        assert counts is not None
        documents, embedded = counts
        megabytes = running.resident_bytes() / 1e6
        yield Sample(now - started, documents, embedded, megabytes)
        if now > told_at + _TELL_EVERY_S:
            told_at = now
            say(f"memory: {documents} documents, {embedded} embedded, {megabytes:.0f} MB")


def _check(connection: database.Connection, rows: int) -> None:
    """Raise Error unless every row has its vector."""
    count = SQL("SELECT count(embedding_hashed) FROM {}")
    found = connection.execute(count.format(Identifier(table.SEARCH.names.chunk))).fetchone()
    if found != (rows,):
        raise Error(f"Of {rows:,} rows, {found and found[0]:,} have a vector.")
