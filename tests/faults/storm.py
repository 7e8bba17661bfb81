"""What befalls workers while writers write: they are killed, cut off and stopped for a while."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random
from typing import Any

import psycopg

from pgsearch.declare import Embedding
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.testing import hash_model
from tests.faults.workers import LEASE_S, Notes, drawn_life, live
from tests.plugins.search import execute_all
from tests.plugins.worker import STORY, create_search_index

WORKERS = 3

#: Name and dimensions of the embeddings: two that are there, and one that is added.
EMBEDDINGS = {"hash_v1": 64, "hash_v2": 32}
ADDED = {"hash_v3": 48}

#: As `pgsearch retry` does, and what is to be tried again later is due now too. What a worker has
#: locked is left out: it may be one that is stopped, and it is from here that it is let go on.
RETRY = """
UPDATE story_search_queue SET attempts = 0, lost = 0, failed_at = NULL, not_before = NULL
WHERE queue_id IN (SELECT queue_id FROM story_search_queue WHERE attempts > 0 OR lost > 0
                   FOR UPDATE SKIP LOCKED)
"""

_CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'worker' ORDER BY random() LIMIT 1
"""


def create_index(url: str) -> None:
    """Put the search index and its two embeddings beside the table."""
    with psycopg.connect(url, autocommit=True) as connection:
        create_search_index(connection, STORY)
        second = Embedding("hash_v2", hash_model(EMBEDDINGS["hash_v2"]))
        execute_all(connection, embedding_ddl.add_embedding("public", STORY.name, second))


def add_embedding(url: str) -> None:
    """Add one more embedding."""
    with psycopg.connect(url, autocommit=True) as connection:
        for name, dimensions in ADDED.items():
            added = Embedding(name, hash_model(dimensions))
            execute_all(connection, embedding_ddl.add_embedding("public", STORY.name, added))


class Storm:
    """Keeps three workers running, and sees to it that none of them lives long.

    Args:
        url: The database.
        chance: What befalls whom, and when.
        folder: Where processes write what happened.
        processes: What starts processes that have imported everything already.
    """

    def __init__(
        self, url: str, chance: Random, folder: Path, processes: ForkServerContext
    ) -> None:
        self._url = url
        self._chance = chance
        self._folder = folder
        self._processes = processes
        self._running: list[Any] = []
        self._stopped: dict[int, float] = {}
        self.notes = Notes(folder / "notes")
        self.workers = 0
        self.stalls = 0
        self.terminated = 0
        self.retries = 0

    def rage(self, over: threading.Event) -> None:
        """Do it until it is over, and then kill all that are left."""
        with psycopg.connect(f"{self._url}&application_name=storm", autocommit=True) as connection:
            try:
                while not over.wait(self._chance.uniform(0.005, 0.025)):
                    self._man()
                    self._strike(connection)
            finally:
                for process in self._running:
                    process.kill()
                    process.join()

    def _man(self) -> None:
        """Start the workers that are missing, and let those go on that were stopped for a while."""
        now = time.monotonic()
        for pid in [pid for pid, until in self._stopped.items() if until < now]:
            _signal(pid, signal.SIGCONT)
            del self._stopped[pid]
        self._running = [process for process in self._running if process.is_alive()]
        while len(self._running) < WORKERS:
            life = drawn_life(self._url, self._chance)
            process = self._processes.Process(target=live, args=(life, self._folder), daemon=True)
            process.start()
            self._running.append(process)
            self.workers += 1

    def _strike(self, connection: psycopg.Connection[Any]) -> None:
        what = self._chance.random()
        process = self._chance.choice(self._running)
        if what < 0.06:
            self.notes.add(Notes.KILLED)
            self._stopped.pop(process.pid, None)
            process.kill()
            process.join()
        elif what < 0.10 and process.is_alive() and process.pid not in self._stopped:
            # As a machine that sleeps, or swaps: it comes back, and its leases have run out.
            self.stalls += 1
            self._stopped[process.pid] = time.monotonic() + self._chance.choice([0.05, 2 * LEASE_S])
            _signal(process.pid, signal.SIGSTOP)
        elif what < 0.12:
            self.terminated += len(connection.execute(_CUT).fetchall())
        elif what < 0.16:
            self.retries += connection.execute(RETRY.encode()).rowcount > 0


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # its fate was faster
        os.kill(pid, number)
