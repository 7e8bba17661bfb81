"""The load: an application that searches and writes all the time, in a process of its own.

One connection searches, at a bounded rate. Each search names the embedding that it asks, as one
version of an application does while another one names the other: the one that answers now, and
sometimes the one that answered before, while it is there. Between them it names the embedding that
is being filled, which has to be refused. Another connection inserts, edits and deletes rows and
updates another column.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from threading import Event, Thread
from typing import Any, Final

import psycopg

from bench.upgrade.table import DIMENSIONS, INDEX, bodies
from pgsearch import database
from pgsearch.errors import Error
from pgsearch.testing import HashEmbedder

K: Final = 10

#: Searches and writes per second.
SEARCHES_S: Final = 20
WRITES_S: Final = 10

#: Words of a query.
_QUERY_WORDS: Final = 6

_ASK: Final = f"SELECT id FROM {INDEX}(%s, k => {K}, vector => %s::vector, embedding => %s)"

#: The embedding that answers, those that did, and those that may not yet.
_NAMES: Final = """
SELECT coalesce(max(name) FILTER (WHERE state = 'active'), ''),
       array_agg(name) FILTER (WHERE state = 'ready'),
       array_agg(name) FILTER (WHERE state IN ('filling', 'indexing'))
FROM pgsearch.embedding
"""


@dataclass
class Loaded:
    """What the load has seen.

    Args:
        searches: When each began (`time.monotonic`), and the seconds that it took.
        writes: The same of writes.
        failed: Errors of searches that should have been answered.
        short: Searches that were answered with fewer than ten documents.
        answered_early: Searches that an embedding answered which was not ready.
        refused: Searches that were refused, as they had to be.
        failed_writes: Errors of writes.
    """

    searches: list[tuple[float, float]] = field(default_factory=list)
    writes: list[tuple[float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    short: int = 0
    answered_early: int = 0
    refused: int = 0
    failed_writes: list[str] = field(default_factory=list)


@contextmanager
def load(url: str) -> Iterator[Callable[[], Loaded]]:
    """Let the application work; yield what ends it and returns what it has seen."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()

    def end() -> Loaded:
        ours.send("end")
        if not ours.poll(60):
            raise Error("The load does not end.")
        seen = ours.recv()
        assert isinstance(seen, Loaded)
        return seen

    try:
        if not ours.poll(60):
            raise Error("The load does not begin.")
        ours.recv()
        yield end
    finally:
        process.terminate()
        process.join()


def _run(url: str, pipe: Pipe) -> None:
    seen, over = Loaded(), Event()
    threads = [Thread(target=part, args=(url, seen, over)) for part in (_search, _write)]
    for thread in threads:
        thread.start()
    pipe.send("begun")
    pipe.recv()
    over.set()
    for thread in threads:
        thread.join()
    pipe.send(seen)


def _paced(over: Event, per_second: float) -> Iterator[int]:
    """Yield numbers at a rate, at random distances; who is late is not waited for."""
    draw, due, number = random.Random(7), time.monotonic(), 0
    while not over.wait(max(0.0, due - time.monotonic())):
        yield number
        number += 1
        due = max(due + draw.expovariate(per_second), time.monotonic())


def _search(url: str, seen: Loaded, over: Event) -> None:
    models = {name: HashEmbedder(dimensions) for name, dimensions in DIMENSIONS.items()}
    draw, texts = random.Random(11), bodies(seed=2)
    with database.connect(url) as connection:
        for number in _paced(over, SEARCHES_S):
            words = next(texts).split()
            start = draw.randrange(len(words) - _QUERY_WORDS)
            query = " ".join(words[start : start + _QUERY_WORDS])
            active, ready, unready = connection.execute(_NAMES.encode()).fetchone() or ("", [], [])
            if unready and number % 10 == 0:
                _expect_refusal(connection, seen, models, query, unready[0])
                continue
            name = ready[0] if ready and number % 3 == 0 else active
            began = time.monotonic()
            try:
                found = _ask(connection, models, query, name)
            except psycopg.Error as error:
                if not _is_gone(connection, name):
                    seen.failed.append(f"{name}: {error}")
                continue
            seen.searches.append((began, time.monotonic() - began))
            seen.short += len(found) < K


def _ask(
    connection: database.Connection, models: dict[str, HashEmbedder], query: str, name: str
) -> list[tuple[Any, ...]]:
    vector = models[name].embed_queries([query])[0].to_text()
    return connection.execute(_ASK, [query, vector, name]).fetchall()


def _is_gone(connection: database.Connection, name: str) -> bool:
    """Return whether an embedding was retired or dropped, which ends the right to ask it."""
    row = connection.execute(
        "SELECT state FROM pgsearch.embedding WHERE name = %s", [name]
    ).fetchone()
    return row is None or row == ("retired",)


def _expect_refusal(
    connection: database.Connection,
    seen: Loaded,
    models: dict[str, HashEmbedder],
    query: str,
    name: str,
) -> None:
    try:
        _ask(connection, models, query, name)
    except psycopg.errors.ObjectNotInPrerequisiteState:
        seen.refused += 1
        return
    state = connection.execute(
        "SELECT state FROM pgsearch.embedding WHERE name = %s", [name]
    ).fetchone()
    seen.answered_early += state not in (("ready",), ("active",))


def _write(url: str, seen: Loaded, over: Event) -> None:
    draw, texts = random.Random(13), bodies(seed=3)
    with database.connect(url) as connection:
        row = connection.execute("SELECT min(id), max(id) FROM item").fetchone()
        assert row is not None
        first, last = row
        for number in _paced(over, WRITES_S):
            chosen = draw.randrange(first, last)
            began = time.monotonic()
            try:
                if number % 10 == 0:
                    connection.execute("INSERT INTO item (body) VALUES (%s)", [next(texts)])
                elif number % 10 == 1:
                    connection.execute("DELETE FROM item WHERE id = %s", [chosen])
                elif number % 2:
                    connection.execute(
                        "UPDATE item SET body = %s WHERE id = %s", [next(texts), chosen]
                    )
                else:
                    connection.execute("UPDATE item SET views = views + 1 WHERE id = %s", [chosen])
            except psycopg.Error as error:
                seen.failed_writes.append(str(error))
                continue
            seen.writes.append((began, time.monotonic() - began))
