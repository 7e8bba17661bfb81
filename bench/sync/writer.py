"""What a search index costs whoever writes.

    python -m bench.sync.writer [--data FOLDER] [--rows 10000] [--rounds 5] [--json FILE]

Three tables hold the same rows: `bare` has no search; `generated` has what people make today, a
tsvector column GENERATED ALWAYS ... STORED with a GIN index, all by PostgreSQL's defaults; and
`searched` has a search index of pgsearch over the same texts with the same weights. Each operation
is done to two of them in turn, A B, then B A, single rows a few at a time; the ratio is the median
of the rounds' ratios.

- `insert`, `update`: 10,000 rows at once, where there are 10,000 rows before.
- `insert_single`, `update_single`: rows in transactions of their own, synchronous_commit off.
- `insert_durable`, `update_durable`: the same with synchronous_commit on.
- `unrelated`, `unrelated_single`: another column changes, against `bare`; all rows, or one by one.

A GIN index puts off work: new entries wait in a list. What an operation left there is moved into
the index afterwards, and that time counts as the operation's, on both sides. Before each operation
its table is vacuumed and a checkpoint made; autovacuum is off, so that it does not come at random.
What workers do with the queue is not in it: they have connections of their own.

An operation's ratio is the geometric mean over the lengths of text, `text_write_ratio` that of the
worst operation on text, `unrelated_update_ratio` that of the worse of the others. What a trigger
costs whatever the text is weighs more where the text is short: each length is told as well. The
exit status is 1 if a target is missed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from statistics import geometric_mean, median
from typing import Any

import click
from psycopg.sql import SQL, Identifier, Literal

from bench.quality import fresh_database
from bench.report import report
from bench.sync.texts import collection_words, made_words, texts
from pgsearch import database
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.errors import Error
from pgsearch.schema.index import create_search_index, drop_search_index
from pgsearch.schema.install import install
from pgsearch.schema.steps import LockPatience, written

BARE, GENERATED, SEARCHED = "bare", "generated", "searched"

TARGETS = {"text_write_ratio": "<= 1.3", "unrelated_update_ratio": "<= 1.05"}

SEARCH = IndexDefinition(
    name="searched_search",
    schema="public",
    table=SEARCHED,
    key=(TypedColumn("id", "bigint"),),
    text=(TextColumn("title", "A"), TextColumn("body", "B")),
)

_TABLE = """
CREATE TABLE {} (
  id bigint PRIMARY KEY, tenant_id integer NOT NULL DEFAULT 1, views integer NOT NULL DEFAULT 0,
  title text, body text
)
"""

_GENERATED = """
ALTER TABLE generated ADD COLUMN tsv tsvector GENERATED ALWAYS AS (
  setweight(to_tsvector('english', coalesce(title, '')), 'A')
  || setweight(to_tsvector('english', coalesce(body, '')), 'B')
) STORED
"""

#: The GIN indexes, whose lists are emptied.
_INDEXES = {GENERATED: "generated_tsv_idx", SEARCHED: SEARCH.names.document_tsv_index}


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Args:
        rows: Rows of an operation on many; as many are there before.
        single: Transactions of one row, without waiting for the disk.
        durable: Transactions of one row that wait for it.
        rounds: How often all is done.
        lengths: Words of a body; all is measured for each.
        data: A collection whose texts are taken; words are made if None.
    """

    rows: int = 10_000
    single: int = 2_000
    durable: int = 500
    rounds: int = 5
    lengths: Sequence[int] = (60, 200)
    data: Path | None = None


@dataclass(frozen=True)
class Operation:
    """What is done to a table.

    Args:
        statement: With the table's name in braces.
        parameters: A query for the statement's parameters: each row of it is a transaction.
        against: The table beside `searched` to which it is done.
        is_bulk: Whether a transaction writes many rows; together they write all.
        is_durable: Whether each transaction waits for the disk.
        at_a_time: So many transactions are done to one table before it is the other one's turn.
        often: How often it is done in each round.
    """

    statement: str
    parameters: str
    against: str = GENERATED
    is_bulk: bool = False
    is_durable: bool = False
    at_a_time: int = 50
    often: int = 1


_SINGLE = "FROM given WHERE n > 2 * %(rows)s AND n <= 2 * %(rows)s + %(single)s ORDER BY n"
_DURABLE = "FROM given WHERE n > 2 * %(rows)s + %(single)s ORDER BY n"
_INSERT = "INSERT INTO {} (id, title, body) VALUES (%s, %s, %s)"
_UPDATE = "UPDATE {} SET body = %s WHERE id = %s"
#: Rows all over the table, none twice.
_ANY_ROW = "n * 7919 %% %(rows)s + 1"

OPERATIONS = {
    "insert": Operation(
        "INSERT INTO {} (id, title, body)"
        " SELECT n, title, body FROM given WHERE n > %s AND n <= 2 * %s ORDER BY n",
        "SELECT %(rows)s, %(rows)s",
        is_bulk=True,
    ),
    "update": Operation(
        "UPDATE {} AS kept SET body = given.other FROM given WHERE kept.id = n AND n <= %s",
        "SELECT %(rows)s",
        is_bulk=True,
    ),
    "insert_single": Operation(_INSERT, f"SELECT n, title, body {_SINGLE}"),
    "insert_durable": Operation(_INSERT, f"SELECT n, title, body {_DURABLE}", is_durable=True),
    "update_single": Operation(_UPDATE, f"SELECT other, {_ANY_ROW} {_SINGLE}"),
    "update_durable": Operation(_UPDATE, f"SELECT other, {_ANY_ROW} {_DURABLE}", is_durable=True),
    # It takes no longer than another process may disturb it: a twentieth of the rows at a time.
    "unrelated": Operation(
        "UPDATE {} SET views = views + 1 WHERE id > %s AND id <= %s",
        "SELECT (n - 1) * %(rows)s / 20, n * %(rows)s / 20 FROM generate_series(1, 20) AS n",
        BARE,
        is_bulk=True,
        at_a_time=1,
        often=3,
    ),
    "unrelated_single": Operation(
        "UPDATE {} SET views = views + 1 WHERE id = %s", f"SELECT {_ANY_ROW} {_SINGLE}", BARE
    ),
}


@dataclass(frozen=True)
class Timing:
    """How long an operation took; seconds.

    Args:
        length: Words of a body.
        operation: Its name.
        table: BARE, GENERATED or SEARCHED.
        turn: Which of the pairs, from 0.
        rows: Rows that were written.
        seconds: The operation itself.
        cleaning: What it had put off, in its GIN index.
    """

    length: int
    operation: str
    table: str
    turn: int
    rows: int
    seconds: float
    cleaning: float

    @property
    def per_row(self) -> float:
        """All of it, for each row."""
        return (self.seconds + self.cleaning) / self.rows


@dataclass(frozen=True)
class Writing:
    """What writing costs: all times, and ratios of them."""

    settings: Settings
    timings: list[Timing] = field(default_factory=list)

    def seconds(self, length: int, operation: str, table: str) -> float:
        """Return the median of an operation's times, for each row."""
        return median(t.per_row for t in self._of(length, operation, table))

    def ratios(self, against: str) -> dict[str, float]:
        """Return each operation's ratio to another table, the geometric mean over the lengths."""
        return {
            name: geometric_mean(self.ratio(length, name) for length in self.settings.lengths)
            for name, operation in OPERATIONS.items()
            if operation.against == against
        }

    def ratio(self, length: int, operation: str) -> float:
        """Return the time with a search index over the time of the other table."""
        ours = self._of(length, operation, SEARCHED)
        theirs = self._of(length, operation, OPERATIONS[operation].against)
        return median(a.per_row / b.per_row for a, b in zip(ours, theirs, strict=True))

    @property
    def text_write_ratio(self) -> float:
        """The worst operation's on text, to a generated tsvector."""
        return max(self.ratios(GENERATED).values())

    @property
    def unrelated_update_ratio(self) -> float:
        """The worse operation's on another column, to a table without search."""
        return max(self.ratios(BARE).values())

    def tell(self) -> bool:
        """Print the measurements; return whether every target was met."""
        for length in self.settings.lengths:
            case = f"writer, {length} words"
            for name, operation in OPERATIONS.items():
                for table in (operation.against, SEARCHED):
                    microseconds = 1e6 * self.seconds(length, name, table)
                    report(case, f"{name}_{table}", microseconds, "us per row")
                report(case, f"{name}_ratio", self.ratio(length, name), "ratio")
        outcomes = [report("writer", m, getattr(self, m), "ratio", t) for m, t in TARGETS.items()]
        return False not in outcomes

    def to_json(self) -> dict[str, Any]:
        """Return the settings, the ratios and all times."""
        return {
            "settings": asdict(self.settings) | {"data": self.settings.data and "collection"},
            **{metric: round(getattr(self, metric), 3) for metric in TARGETS},
            "ratios": {
                f"{name}, {length} words": round(self.ratio(length, name), 3)
                for length in self.settings.lengths
                for name in OPERATIONS
            },
            "timings": [asdict(timing) for timing in self.timings],
        }

    def _of(self, length: int, operation: str, table: str) -> list[Timing]:
        wanted = (length, operation, table)
        return [t for t in self.timings if (t.length, t.operation, t.table) == wanted]


class _Bench:
    """The tables, with texts of one length."""

    def __init__(self, connection: database.Connection, settings: Settings, length: int) -> None:
        self._connection = connection
        self._settings = settings
        self._length = length

    def make(self, words: list[str]) -> None:
        """Make the tables, and `given` with the texts that are written to them."""
        execute, settings = self._connection.execute, self._settings
        for table in (BARE, GENERATED, SEARCHED):
            execute(SQL(_TABLE).format(Identifier(table)))
        execute(_GENERATED)
        execute("CREATE INDEX generated_tsv_idx ON generated USING gin (tsv)")
        for step in create_search_index(SEARCH):
            for statement in written(step, LockPatience()):
                execute(statement.encode())
        for table in (BARE, GENERATED, SEARCHED, *SEARCH.names.tables):
            off = SQL("ALTER TABLE {} SET (autovacuum_enabled = off)")
            execute(off.format(Identifier(table)))
        execute("CREATE TABLE given (n integer PRIMARY KEY, title text, body text, other text)")
        count = 2 * settings.rows + settings.single + settings.durable
        with (
            self._connection.cursor() as cursor,
            cursor.copy("COPY given FROM STDIN") as copy,
        ):
            for n, text in enumerate(islice(texts(words, self._length), count), start=1):
                copy.write_row((n, *text))
        execute("VACUUM ANALYZE given")

    def drop(self) -> None:
        """Take the tables away."""
        for step in drop_search_index(SEARCH.name, SEARCH.table, SEARCH.schema):
            for statement in written(step, LockPatience()):
                self._connection.execute(statement.encode())
        self._connection.execute("DROP TABLE bare, generated, searched, given")

    def turn(self, number: int) -> Iterator[Timing]:
        """Do every operation to its two tables; yield how long each took."""
        self._empty()
        for name, operation in OPERATIONS.items():
            for turn in range(number * operation.often, (number + 1) * operation.often):
                for table, (rows, seconds) in self._do(operation, turn).items():
                    yield Timing(self._length, name, table, turn, rows, seconds, self._clean(table))

    def _empty(self) -> None:
        """Leave the first rows in each table, and nothing else."""
        insert = "INSERT INTO {} (id, title, body) SELECT n, title, body FROM given WHERE n <= {}"
        for table in (BARE, GENERATED, SEARCHED):
            self._connection.execute(SQL("TRUNCATE {}").format(Identifier(table)))
            self._connection.execute(
                SQL(insert).format(Identifier(table), Literal(self._settings.rows))
            )
        self._connection.execute(SQL("TRUNCATE {}").format(Identifier(SEARCH.names.queue)))

    def _settle(self, table: str) -> None:
        names = [table, *(SEARCH.names.tables if table == SEARCHED else ())]
        vacuum = SQL("VACUUM ANALYZE {}").format(SQL(", ").join(map(Identifier, names)))
        self._connection.execute(vacuum)

    def _do(self, operation: Operation, turn: int) -> dict[str, tuple[int, float]]:
        """Return how many rows were written to each table, and in how many seconds."""
        settings, execute = self._settings, self._connection.execute
        pair = (operation.against, SEARCHED)
        for table in pair:
            self._settle(table)
        execute("CHECKPOINT")
        execute(SQL("SET synchronous_commit = {}").format(Literal(operation.is_durable)))
        transactions = execute(
            operation.parameters.encode(), {"rows": settings.rows, "single": settings.single}
        ).fetchall()
        seconds = dict.fromkeys(pair, 0.0)
        for start in range(0, len(transactions), operation.at_a_time):
            some = transactions[start : start + operation.at_a_time]
            for table in pair if turn % 2 else reversed(pair):
                seconds[table] += self._time(operation, table, some)
            turn += 1
        rows = settings.rows if operation.is_bulk else len(transactions)
        return {table: (rows, seconds[table]) for table in pair}

    def _time(
        self, operation: Operation, table: str, transactions: Sequence[tuple[Any, ...]]
    ) -> float:
        """Return the seconds that some transactions take, one after the other."""
        statement = SQL(operation.statement).format(Identifier(table))
        with self._connection.cursor() as cursor:
            started = time.perf_counter()
            for parameters in transactions:
                cursor.execute(statement, parameters, prepare=True)
            return time.perf_counter() - started

    def _clean(self, table: str) -> float:
        """Return the seconds that it takes to empty the list of a GIN index."""
        if table not in _INDEXES:
            return 0.0
        started = time.perf_counter()
        self._connection.execute("SELECT gin_clean_pending_list(%s)", [_INDEXES[table]])
        return time.perf_counter() - started


def measure(settings: Settings, say: Callable[[str], None] = lambda _: None) -> Writing:
    """Run the bench in a fresh database.

    Args:
        settings: What is measured.
        say: Takes a line of progress.

    Raises:
        Error: The texts cannot be read, or the database cannot be used.
    """
    words = made_words() if settings.data is None else collection_words(settings.data)
    result = Writing(settings)
    with fresh_database() as url, database.connect(url) as connection:
        connection.execute("CREATE EXTENSION vector")
        for step in install():
            for statement in written(step, LockPatience()):
                connection.execute(statement.encode())
        for length in settings.lengths:
            bench = _Bench(connection, settings, length)
            bench.make(words)
            for number in range(settings.rounds):
                say(f"writer: {length} words, round {number + 1} of {settings.rounds}")
                result.timings.extend(bench.turn(number))
            bench.drop()
    return result


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A collection in BEIR's layout whose texts are written; without it, words are made.",
)
@click.option("--rows", type=click.IntRange(min=100), default=Settings.rows, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=Settings.rounds, show_default=True)
@click.option(
    "--json",
    "details",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Where to write all times.",
)
def main(data: Path | None, rows: int, rounds: int, details: Path | None) -> None:
    """Measure what a search index costs whoever writes."""
    settings = Settings(rows, single=rows // 5, durable=rows // 20, rounds=rounds, data=data)
    try:
        result = measure(settings, lambda line: click.echo(line, err=True))
    except Error as error:
        raise click.ClickException(str(error)) from error
    if details is not None:
        details.write_text(json.dumps(result.to_json(), indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if result.tell() else 1)


if __name__ == "__main__":
    main()
