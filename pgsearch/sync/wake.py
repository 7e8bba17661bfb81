"""Waiting for changes: looking at the queues, and being woken where triggers notify."""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import Event, Thread

import psycopg

from pgsearch import database
from pgsearch.errors import Error

log = logging.getLogger(__name__)


class Listener:
    """Listens for notifications on a connection of its own; without one, polling goes on.

    Args:
        url: The database.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._woken = Event()
        self._connection: database.Connection | None = None
        self._thread: Thread | None = None
        self._is_deaf = False

    def start(self) -> None:
        """Begin to listen, unless it does already, or there is a pooler between."""
        if self._is_deaf:
            return
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._listen, name="pgsearch-listen", daemon=True)
            self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait until the time is over or somebody wakes; return whether somebody did."""
        is_woken = self._woken.wait(seconds)
        self._woken.clear()
        return is_woken

    def wake(self) -> None:
        """End a wait."""
        self._woken.set()

    def close(self) -> None:
        """Stop listening."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()

    def _listen(self) -> None:
        try:
            with database.connect(self._url, row_security=True) as self._connection:
                if database.is_pooled(self._connection):
                    self._is_deaf = True
                    log.info("A pooler passes no notifications on: looking for changes instead.")
                    return
                self._connection.execute("LISTEN pgsearch")
                for _ in self._connection.notifies():
                    self._woken.set()
        except (psycopg.Error, Error):
            return  # the worker's own connection tells
        finally:
            self._connection = None
