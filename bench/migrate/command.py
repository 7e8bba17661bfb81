"""The bench itself: migrations forward and back, with the processes around them."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from bench.migrate import load, locks
from bench.migrate.chart import draw
from bench.migrate.processes import Child, event, work
from bench.migrate.project import REVISIONS, Project, Revision
from bench.migrate.result import Phase, Result
from bench.options import FILE, JSON, POSTGRES, say, write_details
from bench.quality import fresh_database
from bench.server import server
from pgsearch import database, embedded
from pgsearch.errors import Error

#: The long transactions of the load are open for this many times the lock_timeout.
LONG = 2.5

#: A migration that ends with one of these is run again: lock_not_available, deadlock_detected.
_GAVE_UP = ("55P03", "40P01")
_MAX_RUNS = 10

#: How long the worker may take for one fill.
_SETTLE_TIMEOUT_S = 3600

#: Documents without a row and rows without a document; and, of the rows that the load has changed,
#: documents that do not hold what the search index reads. All in one snapshot of the database.
_WRONG_DOCUMENTS = """
SELECT count(*)
FROM article FULL JOIN article_search_document AS document USING (id)
CROSS JOIN pgsearch.search_index
WHERE article.title IS NULL OR document.tsv IS NULL
  OR (article.updated_at > %(since)s AND tsvector_to_array(document.tsv) <> tsvector_to_array((
    SELECT to_tsvector(
      (definition ->> 'language')::regconfig, string_agg(to_jsonb(article) ->> (text ->> 0), ' ')
    )
    FROM jsonb_array_elements(definition -> 'text') AS text
  )))
"""


@dataclass(frozen=True)
class Settings:
    """What is run.

    Args:
        rows: Rows of the table.
        connections: Connections of the load.
        cycles: How often all revisions are applied and taken back.
        lock_timeout_ms: How long a migration waits for a lock before it makes way.
        postgres: Major version of the embedded server.
    """

    rows: int = 200_000
    connections: int = 8
    cycles: int = 2
    lock_timeout_ms: int = 1000
    postgres: int = embedded.DEFAULT_VERSION

    @property
    def pause_s(self) -> float:
        """Seconds of load after each migration: as long as it may have held somebody up."""
        return self.lock_timeout_ms / 1000


@click.command()
@click.option(
    "--rows",
    type=click.IntRange(min=100),
    default=Settings.rows,
    show_default=True,
    help="Rows of the table.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=2),
    default=Settings.connections,
    show_default=True,
    help="Connections of the load.",
)
@click.option(
    "--cycles",
    type=click.IntRange(min=1),
    default=Settings.cycles,
    show_default=True,
    help="How often all migrations are applied and taken back.",
)
@click.option(
    "--lock-timeout-ms",
    type=click.IntRange(min=100),
    default=Settings.lock_timeout_ms,
    show_default=True,
    help="How long a migration waits for a lock before it makes way.",
)
@POSTGRES
@JSON
@click.option("--svg", "picture", type=FILE, help="Where to draw the waits.")
def main(
    rows: int,
    connections: int,
    cycles: int,
    lock_timeout_ms: int,
    postgres: str,
    details: Path | None,
    picture: Path | None,
) -> None:
    """Migrate forward and back under load; say who failed and who waited."""
    settings = Settings(rows, connections, cycles, lock_timeout_ms, int(postgres))
    try:
        result = measure(settings)
    except Error as error:
        raise click.ClickException(str(error)) from error
    write_details(details, result.to_json())
    if picture is not None:
        picture.write_text(draw(result), encoding="utf-8")
    result.show()
    sys.exit(0 if result.tell() else 1)


def measure(settings: Settings, revisions: Sequence[Revision] = REVISIONS) -> Result:
    """Run the bench.

    Raises:
        Error: A migration failed, a worker came to no end, or a process of the bench failed.
    """
    with (
        server(settings.postgres),
        fresh_database() as url,
        tempfile.TemporaryDirectory() as folder,
    ):
        say(f"a table of {settings.rows:,} rows")
        _make_table(url, settings.rows)
        migrations = database.sqlalchemy_url(_named(url, "migration"))
        project = Project(Path(folder, "project"), revisions, migrations, settings.lock_timeout_ms)
        return _Bench(settings, revisions, url, project).run()


class _Bench:
    """The migrations of a run, and the processes around them."""

    def __init__(
        self, settings: Settings, revisions: Sequence[Revision], url: str, project: Project
    ) -> None:
        self._settings = settings
        self._revisions = tuple(enumerate(revisions, start=1))
        self._url = url
        self._project = project
        self._signals = load.Signals(event(), (event(), event()), (event(), event()))
        self._phases: list[Phase] = []

    def run(self) -> Result:
        """Migrate under load; return what was seen."""
        settings = self._settings
        how_much = load.Load(
            settings.connections, settings.rows, LONG * settings.lock_timeout_ms / 1000
        )
        with ExitStack() as stack:
            self._connection = stack.enter_context(database.connect(self._url))
            before = self._storage()
            self._since = datetime.now(UTC)
            watch = stack.enter_context(Child[list[locks.Wait]](locks.run, self._url))
            loading = stack.enter_context(
                Child[list[load.Statement]](load.run, self._url, how_much, self._signals)
            )
            worker = stack.enter_context(Child[dict[str, int]](work, _named(self._url, "worker")))
            time.sleep(settings.pause_s)
            for cycle in range(1, settings.cycles + 1):
                self._cycle(cycle)
            ended = time.monotonic()
            return Result(
                case=f"postgresql-{self._connection.info.server_version // 10000}",
                rows=settings.rows,
                connections=settings.connections,
                lock_timeout_ms=settings.lock_timeout_ms,
                phases=self._phases,
                ended=ended,
                rewrites=int(self._storage() != before),
                statements=loading.stop(),
                waits=watch.stop(),
                interruptions=worker.stop(),
            )

    def _cycle(self, cycle: int) -> None:
        for number, revision in self._revisions:
            self._migrate(cycle, number, revision, "upgrade")
            if revision.creates_search:
                self._signals.searching.set()
            if cycle == 1 and revision.settled is not None:
                self._settle(revision, revision.settled)
        for number, revision in reversed(self._revisions):
            if revision.creates_search:
                self._stop_searching()
            self._migrate(cycle, number, revision, "downgrade")

    def _migrate(self, cycle: int, number: int, revision: Revision, direction: str) -> None:
        from sqlalchemy.exc import DBAPIError

        say(f"cycle {cycle}: {direction} {revision.title}")
        if cycle % 2:
            self._signals.await_long_transactions()
        started = time.monotonic()
        for run in range(1, _MAX_RUNS + 1):
            try:
                self._project.migrate(number, direction)
                break
            except DBAPIError as error:
                said = str(error.orig).partition("CONTEXT:")[0].strip()
                if run == _MAX_RUNS or getattr(error.orig, "sqlstate", None) not in _GAVE_UP:
                    raise Error(f"The {direction} of {revision.title!r} failed: {said}") from error
                say(f"once more, after: {said}")
        migrated = time.monotonic()
        self._phases.append(
            Phase(revision.title, direction, cycle, started, migrated - started, run)
        )
        time.sleep(self._settings.pause_s)

    def _settle(self, revision: Revision, settled: str) -> None:
        """Wait until the worker has done what follows from a revision, and check its documents.

        What it did since the migration, while there was a pause, counts as well.
        """
        say(f"waiting for the worker: {revision.title}")
        started = time.monotonic()
        while self._connection.execute(settled.encode()).fetchone() != (True,):
            if time.monotonic() > started + _SETTLE_TIMEOUT_S:
                raise Error(f"{revision.title}: the worker takes more than an hour.")
            time.sleep(0.2)
        seconds = time.monotonic() - started + self._settings.pause_s
        wrong = self._connection.execute(_WRONG_DOCUMENTS, {"since": self._since}).fetchone()
        assert wrong is not None
        self._phases.append(
            Phase(revision.title, "fill", 1, started, seconds, wrong_documents=wrong[0])
        )

    def _stop_searching(self) -> None:
        """Let nobody search any more, and wait until nobody does."""
        self._signals.searching.clear()
        time.sleep(0.2)
        query = (
            b"SELECT count(*) FROM pg_stat_activity WHERE state = 'active'"
            b" AND application_name LIKE 'load%' AND query LIKE '%article_search(%'"
        )
        while self._connection.execute(query).fetchone() != (0,):
            time.sleep(0.05)

    def _storage(self) -> int:
        """Return the number of the table's file, which a rewrite changes."""
        row = self._connection.execute("SELECT pg_relation_filenode('article')").fetchone()
        assert row is not None
        return int(row[0])


def _make_table(url: str, rows: int) -> None:
    with database.connect(url) as connection:
        connection.execute("CREATE EXTENSION vector")
        connection.execute(load.CREATE_TABLE.encode())
        for statement in load.FILL_TABLE:
            parameters = {"rows": rows, "tenants": load.TENANTS} if "%(" in statement else None
            connection.execute(statement.encode(), parameters)
        connection.execute("CHECKPOINT")


def _named(url: str, application: str) -> str:
    """Return the URL with an application_name, by which the watch knows the process."""
    return f"{url}{'&' if '?' in url else '?'}application_name={application}"
