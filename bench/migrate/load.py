"""The load: an application that reads and writes one table all the time.

Several connections, each with rows of its own, so that none of them ever waits for another: who
waits, waits for a migration or for a worker. They live in a process of their own, send statements
at a bounded rate, and note for each one when it was sent, when its last row was there, and the
error if there was one.

The mix: points and ranges read; inserts, deletes, updates of text and of another column, each a
transaction of its own; transactions of three statements that hold their row locks for 100 to
300 ms; readers of that length in REPEATABLE READ; keyword searches with a filter, while there is a
search index. And now and then two of the connections keep a transaction open for a multiple of the
migrations' lock_timeout, one that writes and one in REPEATABLE READ: behind them a migration queues
for its lock, and behind the migration the other connections.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import psycopg

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.synchronize import Event

#: Begins the application_name of each connection of the load.
APPLICATION = "load"

TENANTS = 50

CREATE_TABLE = """
CREATE TABLE article (
  id         bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id  integer     NOT NULL,
  title      text        NOT NULL,
  summary    text,
  body       text        NOT NULL,
  views      integer     NOT NULL DEFAULT 0,
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  vector     vector
)
"""

#: Rows of 300 to 500 characters: five sentences of twelve words, common words and rare ones.
FILL_TABLE = (
    "SELECT setseed(0.5)",
    """
    CREATE TEMPORARY TABLE word AS
    SELECT n, initial[1 + n % 12] || middle[1 + n / 12 % 12] || final[1 + n / 144 % 12] AS word
    FROM generate_series(0, 1727) AS n, (VALUES (
      '{ba,ce,di,fo,gu,ha,ke,li,mo,nu,pra,sto}'::text[],
      '{ban,ca,der,fi,gol,la,min,no,per,ri,su,tel}'::text[],
      '{d,ge,k,la,m,ne,p,ra,st,te,v,x}'::text[]
    )) AS syllable (initial, middle, final)
    """,
    """
    CREATE TEMPORARY TABLE sentence AS
    SELECT place.n, string_agg(word, ' ') || '.' AS sentence
    FROM (
      SELECT s AS n, floor(1728 * random() ^ 2)::integer AS drawn
      FROM generate_series(0, 4999) AS s, generate_series(1, 12)
    ) AS place
    JOIN word ON word.n = place.drawn
    GROUP BY 1
    """,
    """
    INSERT INTO article (tenant_id, title, summary, body)
    SELECT i %% %(tenants)s, left(min(sentence), 40) || ' ' || i, max(sentence),
           string_agg(sentence, ' ')
    FROM (
      SELECT i, floor(5000 * random())::integer AS drawn
      FROM generate_series(1, %(rows)s) AS i, generate_series(1, 5)
    ) AS place
    JOIN sentence ON sentence.n = place.drawn
    GROUP BY i
    """,
    "DROP TABLE word, sentence",
    "ANALYZE article",
)

_POINT = "SELECT title, body, views FROM article WHERE id = %s"
_RANGE = "SELECT id, title, updated_at FROM article WHERE id >= %s ORDER BY id LIMIT 20"
_INSERT = (
    "INSERT INTO article (tenant_id, title, summary, body) VALUES (%s, %s, %s, %s) RETURNING id"
)
_UPDATE_TEXT = "UPDATE article SET body = %s, updated_at = clock_timestamp() WHERE id = %s"
_UPDATE_OTHER = "UPDATE article SET views = views + 1 WHERE id = %s"
_DELETE = "DELETE FROM article WHERE id = %s"
_SEARCH = "SELECT id, score, passage FROM article_search(%s, k => 10, tenant_id => %s)"

#: What a connection does next, and how often in a hundred times.
_MIX = {
    "point": 28,
    "range": 10,
    "insert": 10,
    "update_text": 14,
    "update_other": 14,
    "delete": 8,
    "transaction": 6,
    "snapshot": 5,
    "search": 5,
}

#: So many connections have long transactions: the first one writes, the second one reads.
_LONG = 2

_Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]


@dataclass(frozen=True)
class Load:
    """How much load there is.

    Args:
        connections: How many connections there are.
        rows: Rows of the table, with the keys 1 to `rows`.
        rate: Statements per second of each connection, while nothing holds it up.
        long_s: Seconds that a long transaction is open; twice that if it is one that only reads.
    """

    connections: int
    rows: int
    long_s: float
    rate: float = 25.0


class Signals(NamedTuple):
    """What the migrations and the load tell each other.

    Args:
        searching: Set while there is `article_search`; nobody searches while it is not.
        wanted: Set when a long transaction is to begin at once: one that writes, one that reads.
        held: Set when it has taken its locks.
    """

    searching: Event
    wanted: tuple[Event, Event]
    held: tuple[Event, Event]

    def await_long_transactions(self) -> None:
        """Return when long transactions have just taken their locks."""
        # The reader first, for it is open for longer.
        for wanted, held in zip(reversed(self.wanted), reversed(self.held), strict=True):
            held.clear()
            wanted.set()
            held.wait(timeout=60)


class Statement(NamedTuple):
    """A statement as its client saw it; times are those of time.monotonic()."""

    kind: str
    pid: int
    started: float
    ended: float
    error: str | None


class _Session:
    """One connection with the rows that only it writes."""

    def __init__(
        self, number: int, load: Load, url: str, texts: Sequence[str], signals: Signals
    ) -> None:
        self.statements: list[Statement] = []
        self._number = number
        self._load = load
        self._url = url
        self._texts = texts
        self._signals = signals
        self._random = random.Random(number)
        self._rows = list(range(number + 1, load.rows + 1, load.connections))
        self._random.shuffle(self._rows)
        self._next_long = 0.0
        self._kind, self._started = "connect", 0.0
        self._connection: _Connection
        self._pid = 0

    async def run(self, stopping: Event) -> None:
        """Send statements until told to stop."""
        await self._connect()
        while not stopping.is_set():
            action, statements = self._choose()
            try:
                await action()
            except psycopg.Error as error:
                await self._failed(error)
            await asyncio.sleep(self._random.expovariate(self._load.rate / statements))
        await self._connection.close()

    async def _connect(self) -> None:
        self._connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, application_name=f"{APPLICATION} {self._number}"
        )
        self._pid = self._connection.info.backend_pid

    async def _failed(self, error: psycopg.Error) -> None:
        """Note a failure of the statement that was sent last; go on with a usable connection."""
        self._note(f"{error.diag.message_primary or error} ({error.sqlstate})")
        if self._number < _LONG:
            self._locks_taken()  # or never will be
        if self._connection.closed:
            await self._connect()

    def _choose(self) -> tuple[Callable[[], Awaitable[None]], int]:
        """Return what to do next, and of how many statements it is."""
        if self._number < _LONG and (
            self._signals.wanted[self._number].is_set() or time.monotonic() > self._next_long
        ):
            gap = self._random.uniform(1, 4) * self._load.long_s
            self._next_long = time.monotonic() + (1 + self._number) * self._load.long_s + gap
            return (self._long_snapshot if self._number else self._long), 3
        (name,) = self._random.choices(list(_MIX), list(_MIX.values()))
        if name == "search" and not self._signals.searching.is_set():
            name = "point"
        actions: dict[str, tuple[Callable[[], Awaitable[None]], int]] = {
            "point": (self._point, 1),
            "range": (self._range, 1),
            "insert": (self._insert, 1),
            "update_text": (self._update_text, 1),
            "update_other": (self._update_other, 1),
            "delete": (self._delete, 1),
            "transaction": (self._transaction, 3),
            "snapshot": (self._snapshot, 3),
            "search": (self._search, 1),
        }
        return actions[name]

    async def _send(self, kind: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        self._kind, self._started = kind, time.monotonic()
        cursor = await self._connection.execute(query.encode(), parameters)
        rows = await cursor.fetchall() if cursor.description else []
        self._note(None)
        return rows

    def _note(self, error: str | None) -> None:
        """Keep what became of the statement that was sent last."""
        ended = time.monotonic()
        self.statements.append(Statement(self._kind, self._pid, self._started, ended, error))

    def _own(self) -> int:
        """Return the key of a row that only this connection writes."""
        return self._random.choice(self._rows)

    def _any(self) -> int:
        return self._random.randint(1, self._load.rows)

    def _text(self) -> str:
        return " ".join(self._random.sample(self._texts, 5))

    async def _point(self) -> None:
        await self._send("point", _POINT, self._any())

    async def _range(self) -> None:
        await self._send("range", _RANGE, self._any())

    async def _insert(self) -> None:
        sentence = self._random.choice(self._texts)
        tenant = self._random.randrange(TENANTS)
        rows = await self._send("insert", _INSERT, tenant, sentence[:40], sentence, self._text())
        self._rows.append(rows[0][0])

    async def _update_text(self) -> None:
        await self._send("update_text", _UPDATE_TEXT, self._text(), self._own())

    async def _update_other(self) -> None:
        await self._send("update_other", _UPDATE_OTHER, self._own())

    async def _delete(self) -> None:
        place = self._random.randrange(len(self._rows))
        self._rows[place], self._rows[-1] = self._rows[-1], self._rows[place]
        if len(self._rows) > 1:
            await self._send("delete", _DELETE, self._rows.pop())

    async def _search(self) -> None:
        words = self._random.sample(self._random.choice(self._texts).rstrip(".").split(), 3)
        await self._send("search", _SEARCH, " ".join(words), self._random.randrange(TENANTS))

    async def _search_if_possible(self) -> None:
        await (self._search() if self._signals.searching.is_set() else self._point())

    async def _transaction(self) -> None:
        """Hold row locks for a while between statements."""
        async with self._connection.transaction():
            await self._update_text()
            await self._hold()
            await self._update_other()
            await self._hold()
            await self._insert()

    @asynccontextmanager
    async def _snapshot_transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            await self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield

    async def _snapshot(self) -> None:
        """Read in REPEATABLE READ: search and table are as they were at the first statement."""
        async with self._snapshot_transaction():
            await self._point()
            await self._hold()
            await self._search_if_possible()
            await self._hold()
            await self._range()

    async def _hold(self) -> None:
        await asyncio.sleep(self._random.uniform(0.05, 0.15))

    async def _long_snapshot(self) -> None:
        """Search in a snapshot that is older than the migration, and all that it waited for."""
        async with self._snapshot_transaction():
            await self._point()
            self._locks_taken()
            await asyncio.sleep(2 * self._load.long_s)
            await self._search_if_possible()

    async def _long(self) -> None:
        """Keep locks on the table, and on the search index if it is there, for long."""
        async with self._connection.transaction():
            await self._update_text()
            await self._search_if_possible()
            self._locks_taken()
            await asyncio.sleep(self._load.long_s)
            await self._update_text()

    def _locks_taken(self) -> None:
        self._signals.wanted[self._number].clear()
        self._signals.held[self._number].set()


async def _run(url: str, load: Load, signals: Signals, stopping: Event, results: Pipe) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        cursor = await connection.execute("SELECT summary FROM article ORDER BY id LIMIT 1000")
        texts = [row[0] for row in await cursor.fetchall()]
    sessions = [_Session(n, load, url, texts, signals) for n in range(load.connections)]
    results.send("ready")
    await asyncio.gather(*(session.run(stopping) for session in sessions))
    results.send([statement for session in sessions for statement in session.statements])


def run(url: str, load: Load, signals: Signals, stopping: Event, results: Pipe) -> None:
    """Send statements until told to stop, then send what they were: a list of Statement.

    Args:
        url: The database with the filled table.
        load: How much of it.
        signals: What it is told, and tells.
        stopping: Set when it is time to end.
        results: Where "ready" and then the statements go.
    """
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(url, load, signals, stopping, results))
