"""Rows per second through a model that costs nothing: pgsearch, pgai's vectorizer, and raw COPY.

All get the same texts, of which one chunk is made each, in a database of their own on the same
server; the vectors come from the same endpoint (`endpoint`). The clock runs from when all rows wait
in the queue, with a worker that has imported everything, until every row has its vector. Nobody
builds an HNSW index. Each has one worker process; pgai's batch size and concurrency are the best of
some, which are tried first. COPY gets rows with vectors in PostgreSQL's own binary form.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from psycopg.sql import SQL, Composable, Identifier

from bench.processes import Process
from bench.quality import fresh_database
from bench.report import report
from bench.sync import endpoint, our_worker, pgai_worker, table
from bench.sync.pgai_environment import ENVIRONMENT
from bench.sync.texts import texts
from pgsearch import database
from pgsearch.declare import Embedding, Model
from pgsearch.errors import Error

PGSEARCH, PGAI, COPY = "pgsearch", "pgai", "copy"

TARGETS: Final = {"rows_per_s": ">= 5000", "ratio_to_pgai": ">= 4"}

DIMENSIONS: Final = 384

#: Words of a text: one chunk.
_WORDS: Final = 40

#: A run may take that long; seconds.
_TIMEOUT_S: Final = 3600

_CHUNK: Final = Identifier(table.SEARCH.names.chunk)
_COLUMN: Final = "embedding_hashed"

_VECTORIZER: Final = """
SELECT ai.create_vectorizer(
  'article'::regclass,
  loading => ai.loading_column('body'),
  parsing => ai.parsing_none(),
  chunking => ai.chunking_none(),
  embedding => ai.embedding_openai('hash', %s, base_url => %s),
  indexing => ai.indexing_none(),
  scheduling => ai.scheduling_none(),
  processing => ai.processing_default(batch_size => %s, concurrency => %s),
  destination => ai.destination_table('article_embedding')
)
"""

_COPIED: Final = SQL(
    "CREATE TABLE copied (id bigint PRIMARY KEY, content text, embedding vector({}))"
).format(DIMENSIONS)


class PgaiSetting(NamedTuple):
    """What pgai can be told about its pace."""

    batch_size: int
    concurrency: int


#: Its defaults are 50 and 1; it takes at most 2048 and 10.
PGAI_SETTINGS: Final = (
    PgaiSetting(50, 1),
    PgaiSetting(50, 4),
    PgaiSetting(200, 2),
    PgaiSetting(200, 4),
    PgaiSetting(500, 1),
    PgaiSetting(500, 4),
    PgaiSetting(2048, 2),
)


class Run(NamedTuple):
    """How long a contestant took, and how long its own process was computing; seconds."""

    seconds: float
    computed: float = 0.0


@dataclass(frozen=True)
class Settings:
    """What is raced.

    Args:
        rows: Rows of each run.
        rounds: How often each has a run.
        with_pgai: Whether pgai takes part.
        pgai_settings: What is tried for it.
    """

    rows: int = 20_000
    rounds: int = 3
    with_pgai: bool = True
    pgai_settings: Sequence[PgaiSetting] = PGAI_SETTINGS

    @property
    def tried_rows(self) -> int:
        """Rows with which each setting of pgai is tried."""
        return max(1, self.rows // 4)


@dataclass(frozen=True)
class Race:
    """What was seen.

    Args:
        settings: What was raced.
        tried: Rows per second with each setting of pgai that was tried.
        runs: The runs of each contestant, in order.
    """

    settings: Settings
    tried: dict[PgaiSetting, float] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)

    @property
    def chosen(self) -> PgaiSetting:
        """The best setting of pgai."""
        return max(self.tried, key=lambda setting: self.tried[setting])

    def rows_per_s(self, contestant: str) -> float:
        """Return the median of a contestant's runs."""
        return self.settings.rows / median(run.seconds for run in self.runs[contestant])

    def computed_us(self, contestant: str) -> float:
        """Return the microseconds that a contestant's process computes for a row."""
        return 1e6 * median(run.computed for run in self.runs[contestant]) / self.settings.rows

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        outcomes: list[bool | None] = []

        def tell(metric: str, value: float, unit: str) -> None:
            outcomes.append(report("race", metric, value, unit, TARGETS.get(metric)))

        tell("rows", self.settings.rows, "rows")
        tell("rows_per_s", self.rows_per_s(PGSEARCH), "rows/s")
        tell("worker_us_per_row", self.computed_us(PGSEARCH), "us")
        if PGAI in self.runs:
            tell("pgai_rows_per_s", self.rows_per_s(PGAI), "rows/s")
            if PGAI_SETTINGS[0] in self.tried:
                tell("pgai_default_rows_per_s", self.tried[PGAI_SETTINGS[0]], "rows/s")
            tell("pgai_worker_us_per_row", self.computed_us(PGAI), "us")
            tell("pgai_batch_size", self.chosen.batch_size, "rows")
            tell("pgai_concurrency", self.chosen.concurrency, "tasks")
            tell("ratio_to_pgai", self.rows_per_s(PGSEARCH) / self.rows_per_s(PGAI), "ratio")
        tell("copy_rows_per_s", self.rows_per_s(COPY), "rows/s")
        return False not in outcomes

    def to_json(self) -> dict[str, Any]:
        """Return the times of all runs."""
        return {
            "rows": self.settings.rows,
            "pgai_version": ENVIRONMENT.version,
            "pgai_tried": [
                setting._asdict() | {"rows_per_s": round(rate)}
                for setting, rate in self.tried.items()
            ],
            "runs": {name: [run._asdict() for run in runs] for name, runs in self.runs.items()},
        }


def measure(
    settings: Settings, words: list[str], say: Callable[[str], None] = lambda _: None
) -> Race:
    """Run the race.

    Args:
        settings: What is raced.
        words: Running text, of which texts are made.
        say: Takes a line of progress.

    Raises:
        Error: A contestant failed, or did not embed every row.
    """
    with ExitStack() as stack:
        bench = _Bench(stack, settings, words, say)
        race = Race(settings)
        if settings.with_pgai:
            for setting in settings.pgai_settings:
                rate = settings.tried_rows / bench.run_pgai(setting, settings.tried_rows).seconds
                say(f"race: pgai with {setting}: {rate:.0f} rows/s")
                race.tried[setting] = rate
        for number in range(settings.rounds):
            contestants: dict[str, Callable[[], Run]] = {
                PGSEARCH: bench.run_pgsearch,
                COPY: bench.run_copy,
            }
            if settings.with_pgai:
                contestants[PGAI] = lambda: bench.run_pgai(race.chosen, settings.rows)
            for contestant, run in contestants.items():
                done = run()
                say(
                    f"race: round {number + 1} of {settings.rounds}: {contestant}, "
                    f"{settings.rows / done.seconds:.0f} rows/s"
                )
                race.runs.setdefault(contestant, []).append(done)
    return race


class _Bench:
    """The endpoint, the workers and the texts."""

    def __init__(
        self,
        stack: ExitStack,
        settings: Settings,
        words: list[str],
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._bodies = _bodies(words, settings.rows)
        self._endpoint = stack.enter_context(endpoint.serving(DIMENSIONS))
        self._ours = self._start(
            "the worker of pgsearch", [sys.executable, "-m", our_worker.__name__]
        )
        if settings.with_pgai:
            python = ENVIRONMENT.python(say)
            # A file called .env is read by pgai, wherever it runs.
            folder = Path(stack.enter_context(TemporaryDirectory()))
            command = [str(python), "-P", str(Path(pgai_worker.__file__).resolve())]
            self._pgai = self._start("the worker of pgai", command, folder)
        self._copied = b""

    def _start(self, name: str, command: list[str], folder: Path | None = None) -> Process:
        # Nobody checks the key; pgai wants one.
        process = Process(name, command, {"OPENAI_API_KEY": "none"}, folder)
        self._stack.enter_context(process)
        process.read()
        return process

    def run_pgsearch(self) -> Run:
        """Let pgsearch embed all rows."""
        model = Model("hash", provider="openai", url=self._endpoint, dimensions=DIMENSIONS)
        with fresh_database() as url, database.connect(url) as connection:
            table.make_table(connection)
            table.make_search(connection, url)
            table.embed_with(connection, Embedding("hashed", model))
            table.fill_table(connection, self._bodies)
            task = {"work": url, "rows": len(self._bodies)}
            run = _ask(self._ours, task)
            have = SQL("{} WHERE {} IS NOT NULL").format(_CHUNK, Identifier(_COLUMN))
            _check(connection, have, len(self._bodies))
            rows = SQL("SELECT id, content, {} FROM {} ORDER BY id")
            self._copied = _copy_out(connection, rows.format(Identifier(_COLUMN), _CHUNK))
        return run

    def run_pgai(self, setting: PgaiSetting, rows: int) -> Run:
        """Let pgai embed some rows."""
        with fresh_database() as url, database.connect(url) as connection:
            table.make_table(connection)
            _ask(self._pgai, {"install": url})
            created = connection.execute(
                _VECTORIZER, [DIMENSIONS, self._endpoint, setting.batch_size, setting.concurrency]
            ).fetchone()
            assert created is not None
            table.fill_table(connection, self._bodies[:rows])
            task = {"work": url, "vectorizer": created[0], "concurrency": setting.concurrency}
            run = _ask(self._pgai, task)
            _check(connection, SQL("article_embedding_store WHERE embedding IS NOT NULL"), rows)
        return run

    def run_copy(self) -> Run:
        """Copy the rows that pgsearch has written into a table without anything else."""
        with fresh_database() as url, database.connect(url) as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(_COPIED)
            connection.execute("CHECKPOINT")
            started = time.perf_counter()
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy,
            ):
                copy.write(self._copied)
            seconds = time.perf_counter() - started
            _check(connection, SQL("copied"), len(self._bodies))
        return Run(seconds)


def _ask(worker: Process, task: dict[str, Any]) -> Run:
    return Run(*map(float, worker.ask(json.dumps(task), timeout_s=_TIMEOUT_S).split()))


def _bodies(words: list[str], count: int) -> list[str]:
    """Return so many different texts."""
    known: dict[str, None] = {}
    for text in texts(words, _WORDS):
        known.setdefault(text.body)
        if len(known) == count:
            break
    return list(known)


def _copy_out(connection: database.Connection, query: Composable) -> bytes:
    with (
        connection.cursor() as cursor,
        cursor.copy(SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query)) as copy,
    ):
        return b"".join(copy)


def _check(connection: database.Connection, rows: Composable, expected: int) -> None:
    """Raise Error unless there are as many rows as there should be."""
    found = connection.execute(SQL("SELECT count(*) FROM {}").format(rows)).fetchone()
    if found != (expected,):
        raise Error(f"Of {expected:,} rows, {found and found[0]:,} have a vector.")
