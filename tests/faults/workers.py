"""Workers in processes of their own, with a model that cannot be relied on, and how they end.

A worker's fate strikes at one of its statements, counted from its start: the process is killed
before it, or while the server is at it, or its connection is cut without a word. So every point
of the protocol is hit alike, also those that take no time. And it hesitates now and then between
two statements, for gaps are where others come in.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psycopg
from pgvector import Vector

from pgsearch.declare import Model
from pgsearch.errors import ConnectionFailed, EmbeddingFailed, ModelUnavailable, Throttled
from pgsearch.models.fingerprint import PROBES
from pgsearch.sync import Worker, fill, pipeline, session, trouble
from pgsearch.testing import HashEmbedder
from tests.faults.plan import POISON

#: Short, so that leases run out while their workers are still at it.
LEASE_S = 0.4

_FAILURES = (TimeoutError, RuntimeError, EmbeddingFailed, Throttled, ModelUnavailable)

_LOG_FORMAT = "%(asctime)s.%(msecs)03d %(process)d %(message)s"


class Life(NamedTuple):
    """A worker from its start to its end.

    Args:
        url: The database.
        seed: Of what its model does.
        fate: "killed", "cut", or nothing that comes from within.
        statement: The statement at which it comes.
        delay_s: So long after the statement was sent; 0 to come before it.
        hesitates: The probability that it waits a while before a statement.
        batch_rows: Queue rows per claim.
        max_attempts: After so many failures a document is parked.
    """

    url: str
    seed: int
    fate: str
    statement: int
    delay_s: float
    hesitates: float
    batch_rows: int
    max_attempts: int


def drawn_life(url: str, chance: Random) -> Life:
    """Draw how a worker lives."""
    return Life(
        url=url,
        seed=chance.getrandbits(64),
        fate=chance.choice(["killed", "killed", "cut", ""]),
        statement=chance.choice([chance.randrange(1, 40), *chance.choices(range(40, 300), k=4)]),
        delay_s=chance.choice([0.0, chance.uniform(0, 0.003)]),
        hesitates=chance.choice([0.0, 0.02, 0.1]),
        batch_rows=chance.choice([1, 4, 16, 64]),
        max_attempts=chance.choice([1, 3, 100]),
    )


class Notes:
    """What happened in processes that may be killed: a file of one letter an event."""

    KILLED, CUT, CALLED, FAILED, SLOW, REFUSED, LOST = "KCMFSRL"

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, letter: str) -> None:
        """Note one event."""
        with self._path.open("a") as file:
            file.write(letter)

    def count(self, letter: str) -> int:
        """Return how often something happened."""
        return self._path.read_text().count(letter) if self._path.exists() else 0


class Unreliable:
    """A HashEmbedder that fails at random, takes its time at random and refuses one word."""

    def __init__(self, dimensions: int, chance: Random, note: Callable[[str], None]) -> None:
        self._model = HashEmbedder(dimensions)
        self._chance = chance
        self._note = note
        self.dimensions = dimensions
        self.max_tokens = self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    def embed_documents(self, texts: Sequence[str]) -> list[Vector]:
        if tuple(texts) == PROBES:
            return self._model.embed_documents(texts)
        self._note(Notes.CALLED)
        if any(POISON in text for text in texts):
            self._note(Notes.REFUSED)
            raise EmbeddingFailed(f"{POISON} is poisonous.")
        mood = self._chance.random()
        time.sleep(self._chance.uniform(0, 0.02))
        if mood < 0.1:
            self._note(Notes.FAILED)
            raise self._chance.choice(_FAILURES)("Not now.")
        if mood < 0.2:
            self._note(Notes.SLOW)
            time.sleep(self._chance.choice([0.1, 1.5 * LEASE_S]))
        vectors = self._model.embed_documents(texts)
        if mood > 0.97:
            self._note(Notes.FAILED)
            vectors[0] = Vector([0.0] * self.dimensions)
        return vectors

    def embed_queries(self, texts: Sequence[str]) -> list[Vector]:
        return self._model.embed_queries(texts)


def live(life: Life, folder: Path) -> None:
    """Be a worker until the fate comes; what should not happen is written into the folder."""
    notes = Notes(folder / "notes")
    logging.basicConfig(filename=folder / "log", level=logging.INFO, format=_LOG_FORMAT)
    chance = Random(life.seed)
    _hurry()
    _disturb(life, notes)

    def load(model: Model) -> Unreliable:
        return Unreliable(model.dimensions, chance, notes.add)

    worker = Worker(
        f"{life.url}&application_name=worker",
        load=load,
        lease_s=LEASE_S,
        batch_rows=life.batch_rows,
        max_attempts=life.max_attempts,
    )
    try:
        worker.run(poll_s=0.01)
    except (psycopg.OperationalError, ConnectionFailed):
        # A worker that never reached its database says so and ends.
        notes.add(Notes.LOST)
    except BaseException:
        (folder / f"worker-{os.getpid()}.txt").write_text(traceback.format_exc())


def _hurry() -> None:
    """Let a worker do in a second what else takes a minute: short ranges, short pauses."""
    fill.FIRST_RANGE = fill.LONGEST_RANGE = 2
    fill.KEYS_PER_RANGE = 4
    session._LOOK_AROUND_S = 0.05
    trouble._UNAVAILABLE_S = 0.1
    pipeline._THROTTLED_S = 0.1


def _disturb(life: Life, notes: Notes) -> None:
    """Let the fate come at its statement, and hesitation at any."""
    numbers = itertools.count(1)
    chance = Random(life.seed + 1)
    wait = psycopg.Connection.wait

    def disturbed(connection: psycopg.Connection[Any], *arguments: Any, **named: Any) -> Any:
        if chance.random() < life.hesitates:
            time.sleep(chance.uniform(0, 0.1))
        if next(numbers) == life.statement and life.fate:
            end = partial(_end, life.fate, connection, notes)
            if life.delay_s:
                threading.Timer(life.delay_s, end).start()
            else:
                end()
        return wait(connection, *arguments, **named)

    psycopg.Connection.wait = disturbed  # type: ignore[method-assign]


def _end(fate: str, connection: psycopg.Connection[Any], notes: Notes) -> None:
    if fate == "killed":
        notes.add(Notes.KILLED)
        os.kill(os.getpid(), signal.SIGKILL)
    with suppress(psycopg.OperationalError, OSError):  # it has been closed meanwhile
        with socket.socket(fileno=os.dup(connection.pgconn.socket)) as line:
            line.shutdown(socket.SHUT_RDWR)
        notes.add(Notes.CUT)
