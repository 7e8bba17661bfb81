"""The journey: from one model to the next, back, and on to a third while workers are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bench.quality import fresh_database
from bench.report import percentile, report
from bench.upgrade.cost import fill_cost
from bench.upgrade.load import Loaded, load
from bench.upgrade.table import DIMENSIONS, INDEX, NAMES, embedding, make
from pgsearch import database, registry
from pgsearch.database import Connection
from pgsearch.errors import Error
from pgsearch.lifecycle import replace
from pgsearch.registry import RegisteredIndex
from pgsearch.schema import embedding as ddl
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder

FIRST, SECOND, THIRD = DIMENSIONS

#: Seconds between activations.
_BETWEEN_S: Final = 3.0

#: A phase that takes longer than this many seconds has failed.
_LONGEST_S: Final = 3600.0

#: The share of workers that are killed while the embedding is filled.
_KILLED_WHILE_FILLING: Final = 0.7

_STATISTICS: Final = """
SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        rows: Rows, of one chunk each.
        kills: How often a worker is killed.
        rate: Rows per second that the fill may take; None for no limit.
        share: Of the time, how much the fill may write; None for what workers do by themselves.
        before_s: Seconds that the load is watched before the fill.
    """

    rows: int = 100_000
    kills: int = 20
    rate: float | None = None
    share: float | None = None
    before_s: float = 30.0


@dataclass
class Seen:
    """What was seen.

    Args:
        settings: What was measured.
        load: What the application has seen.
        phases: When each began, by the clock of the load's searches.
        activation_s: Seconds of each activation, whose locks last no longer.
        updates: Updates of chunks during the fill, and those of them that were HOT.
        old_index_bytes: Of the first HNSW index, before the fill and after.
        cost_s: Seconds of a fill's statements, and of inserts of the same rows.
        killed: Workers that were killed, by the state that the embedding was in.
        survived: Kills after which all came to the same end.
    """

    settings: Settings
    load: Loaded = field(default_factory=Loaded)
    phases: dict[str, float] = field(default_factory=dict)
    activation_s: list[float] = field(default_factory=list)
    updates: tuple[int, int] = (0, 0)
    old_index_bytes: tuple[int, int] = (0, 0)
    cost_s: tuple[float, float] = (0.0, 0.0)
    killed: dict[str, int] = field(default_factory=dict)
    survived: int = 0

    def searches_ms(self, phase: str) -> list[float]:
        """Return the milliseconds of the searches that began in a phase."""
        starts = [*self.phases.values(), float("inf")]
        begin = self.phases[phase]
        end = starts[starts.index(begin) + 1]
        return [1000 * taken for at, taken in self.load.searches if begin <= at < end]

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        case, load = f"{self.settings.rows} chunks", self.load
        for phase in self.phases:
            found = self.searches_ms(phase)
            if found:
                report(f"{case}, {phase}", "search_p50_ms", percentile(found, 50), "ms")
                report(f"{case}, {phase}", "search_p95_ms", percentile(found, 95), "ms")
        before, during = (percentile(self.searches_ms(p), 95) for p in ("before", "filling"))
        updated, hot = self.updates
        old, new = self.old_index_bytes
        measured: list[tuple[str, float, str, str | None]] = [
            ("searches", len(load.searches), "searches", "> 0"),
            ("refused_searches", load.refused, "searches", "> 0"),
            ("writes", len(load.writes), "writes", "> 0"),
            ("failed_searches", len(load.failed), "searches", "== 0"),
            ("short_searches", load.short, "searches", "== 0"),
            ("half_filled_answers", load.answered_early, "searches", "== 0"),
            ("failed_writes", len(load.failed_writes), "writes", "== 0"),
            ("activation_lock_ms", 1000 * max(self.activation_s), "ms", "<= 50"),
            ("search_p95_ratio", during / before, "ratio", "<= 1.5"),
            ("fill_rows_s", self.settings.rows / self._lasted("filling"), "rows/s", None),
            ("fill_cost_ratio", self.cost_s[0] / self.cost_s[1], "ratio", "<= 1.2"),
            ("hot_share", hot / max(updated, 1), "share", ">= 0.99"),
            ("old_index_growth", new / old, "ratio", "<= 1.02"),
            ("kills_survived", self.survived, "kills", f"== {self.settings.kills}"),
        ]
        held = [report(case, *each) for each in measured]
        return False not in held

    def _lasted(self, phase: str) -> float:
        starts = list(self.phases.values())
        begin = self.phases[phase]
        return starts[starts.index(begin) + 1] - begin

    def to_json(self) -> dict[str, Any]:
        """Return everything that was seen."""
        return asdict(self)


def measure(settings: Settings, say: Say) -> Seen:
    """Replace the model of a table that is searched and written all the time.

    Raises:
        Error: Something does not come to its end, or not to the right one.
    """
    seen = Seen(settings)
    with fresh_database() as url, database.connect(url) as connection:
        say(f"making {settings.rows} rows and their first embedding")
        index = make(connection, settings.rows)
        database.register_vectors(connection)
        Worker(url).drain()
        connection.execute(f"VACUUM ANALYZE {NAMES.chunk}".encode())
        seen.cost_s = fill_cost(connection, index)
        # That has left an old version of each row. While a transaction writes in another database
        # of the server, VACUUM alone sees that nobody needs them, and the fill has no room.
        connection.execute(f"VACUUM {NAMES.chunk}".encode())
        with load(url) as end:
            with _worker(url, settings):
                _replace(connection, index, seen, say)
            _kill(connection, url, index, seen, say)
            seen.load = end()
        say("comparing every vector with the model's")
        Worker(url).drain()
        _check(connection, THIRD)
        seen.survived = sum(seen.killed.values())
    return seen


def _replace(connection: Connection, index: RegisteredIndex, seen: Seen, say: Say) -> None:
    """Go over to the second embedding, back, and over again; drop the first."""

    def phase(name: str) -> None:
        say(name)
        seen.phases[name] = time.monotonic()

    phase("before")
    time.sleep(seen.settings.before_s)
    size = _index_bytes(connection)
    before = _updates(connection)
    phase("filling")
    replace.add(connection, index, embedding(SECOND))
    _until(lambda: _state(connection, SECOND) != "filling")
    phase("indexing")
    after = _updates(connection)
    seen.updates = (after[0] - before[0], after[1] - before[1])
    seen.old_index_bytes = (size, _index_bytes(connection))
    _until(lambda: _state(connection, SECOND) == "ready")
    for name, what in ((SECOND, "activated"), (FIRST, "rolled back"), (SECOND, "activated again")):
        phase(what)
        started = time.perf_counter()
        replace.activate(connection, index, name)
        seen.activation_s.append(time.perf_counter() - started)
        time.sleep(_BETWEEN_S)
    phase("dropped")
    replace.retire(connection, index, FIRST)
    definition = index.definition
    replace.execute(connection, ddl.drop_embedding(definition.schema, definition.name, FIRST))
    time.sleep(_BETWEEN_S)


def _kill(connection: Connection, url: str, index: RegisteredIndex, seen: Seen, say: Say) -> None:
    """Go over to the third embedding, and kill the worker again and again."""
    say("killing workers")
    seen.phases["killing"] = time.monotonic()
    draw = random.Random(seen.settings.rows)
    lasted = seen.phases["activated"] - seen.phases["filling"]
    replace.add(connection, index, embedding(THIRD))
    for number in range(seen.settings.kills):
        with _worker(url, seen.settings) as process:
            # The last ones come when the fill is over: while the graph is built, or is there.
            if number >= _KILLED_WHILE_FILLING * seen.settings.kills:
                _end_leases(connection)
                _until(lambda: _state(connection, THIRD) != "filling")
            time.sleep(1 + draw.uniform(0, 2 * lasted / seen.settings.kills))
            state = _state(connection, THIRD)
            process.send_signal(signal.SIGKILL)
            process.wait()
        seen.killed[state] = seen.killed.get(state, 0) + 1
    with _worker(url, seen.settings):
        _end_leases(connection)
        _until(lambda: _state(connection, THIRD) == "ready")
    replace.activate(connection, index, THIRD)


def _end_leases(connection: Connection) -> None:
    """Let what was leased by workers that were killed be anybody's, as in five minutes it is."""
    connection.execute(f"UPDATE {NAMES.queue} SET leased_until = now()".encode())


@contextmanager
def _worker(url: str, settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """Let `pgsearch worker` run; end it as a service manager does."""
    command = [sys.executable, "-c", "from pgsearch.cli import main; main()", "--database", url]
    command += ["worker", INDEX]
    command += [] if settings.share is None else ["--share", str(settings.share)]
    command += [] if settings.rate is None else ["--rate", str(settings.rate)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _LONGEST_S
    while not holds():
        if time.monotonic() > end:
            raise Error(f"An embedding is not ready after {_LONGEST_S:.0f} s.")
        time.sleep(0.05)


def _state(connection: Connection, name: str) -> str:
    (index,) = registry.read(connection, INDEX)
    return next(each.state for each in index.embeddings if each.name == name)


def _index_bytes(connection: Connection) -> int:
    row = connection.execute(
        "SELECT pg_relation_size(%s::regclass)", [NAMES.hnsw_index(FIRST)]
    ).fetchone()
    assert row is not None
    return int(row[0])


def _updates(connection: Connection) -> tuple[int, int]:
    """Return how many updates of chunks there were, and how many of them HOT."""
    time.sleep(2)  # what a session has counted is known a second later
    row = connection.execute(_STATISTICS.encode(), [NAMES.chunk]).fetchone()
    assert row is not None
    return row[0], row[1]


def _check(connection: Connection, name: str) -> None:
    """Raise unless every row has its chunk, with the vector that the model makes of it."""
    model, column = HashEmbedder(DIMENSIONS[name]), NAMES.embedding_column(name)
    wanted = connection.execute("SELECT count(*) FROM item").fetchone()
    checked = 0
    with connection.transaction(), connection.cursor(name="chunks") as cursor:
        cursor.execute(
            f"SELECT i.body, c.content, c.{column} FROM item AS i"
            f" JOIN {NAMES.chunk} AS c USING (id)".encode()
        )
        while rows := cursor.fetchmany(1000):
            vectors = model.embed_documents([content for _, content, _ in rows])
            for (body, content, stored), vector in zip(rows, vectors, strict=True):
                if stored != vector or content != body:
                    raise Error(f"A chunk of {INDEX} has not the vector of its row: {body[:60]!r}.")
            checked += len(rows)
    if wanted != (checked,):
        raise Error(f"{INDEX} has {checked} chunks for {wanted} rows.")
