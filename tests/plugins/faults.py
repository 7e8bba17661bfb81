"""Work that stops before each of its statements: what happens between any two of them is chosen.

A `Stepped` runs a part of a worker in a thread, on a connection that waits for leave before every
statement. So two workers and an application can be interleaved in any way, again and again in the
same one, and a worker can be killed between any two statements.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.sql import Composable

from pgsearch import database, resources

#: A statement that takes longer may be one that waits for a lock; seconds.
_SOON_S = 0.05

_PATIENCE_S = 30.0


class Killed(BaseException):
    """Raised in the work of a worker that is dead."""


class Noting(psycopg.Cursor[Any]):
    """A cursor that notes what the transaction has executed."""

    def execute(self, query: Any, *arguments: Any, **named: Any) -> Any:
        connection = self.connection
        assert isinstance(connection, Paced)
        text = query.as_string(connection) if isinstance(query, Composable) else str(query)
        if text == resources.sql("sync/session.sql"):
            connection.statements.clear()  # every transaction of a worker begins with it
        connection.statements.append(text)
        return super().execute(query, *arguments, **named)


class Paced(psycopg.Connection[tuple[Any, ...]]):
    """A connection that asks before every statement."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.cursor_factory = Noting
        self.before: Callable[[], None] | None = None
        self.statements: list[str] = []

    def wait(self, *arguments: Any, **named: Any) -> Any:
        if self.before is not None:
            self.before()
        return super().wait(*arguments, **named)

    @contextmanager
    def unpaced(self) -> Iterator[None]:
        """Do not ask for a while."""
        before, self.before = self.before, None
        yield
        self.before = before


class Stepped:
    """A part of a worker that goes on only when it is told to.

    Args:
        url: The database.
        name: What to call it.
        work: What it does on its connection.
        observer: Another connection, to see what it waits for.
    """

    def __init__(
        self,
        url: str,
        name: str,
        work: Callable[[Paced], object],
        observer: psycopg.Connection[Any],
    ) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._connection = Paced.connect(f"{url}&application_name=worker", autocommit=True)
        database.register_vectors(self._connection)
        self._pid = self._connection.info.backend_pid
        self._observer = observer
        self._leave = threading.Semaphore(0)
        self._rests = threading.Event()
        self._is_over = threading.Event()
        self._is_dead = False
        self._thread = threading.Thread(target=self._run, args=[work], name=name, daemon=True)
        self._connection.before = self._pause
        self._thread.start()
        self.settle()

    def _run(self, work: Callable[[Paced], object]) -> None:
        try:
            work(self._connection)
        except BaseException as error:
            self.error = error
        finally:
            self._connection.before = None
            self._connection.close()
            self._is_over.set()
            self._rests.set()

    def _pause(self) -> None:
        if not self._is_dead:
            self._rests.set()
            self._leave.acquire()
        if self._is_dead:
            raise Killed

    @property
    def is_done(self) -> bool:
        """Whether its work has come to an end, be it a bad one."""
        return self._is_over.is_set()

    def settle(self) -> bool:
        """Wait until it stands before a statement or is done; return False if it waits for a lock.

        Which it does for another one that stands still: it would wait for ever.
        """
        end = time.monotonic() + _PATIENCE_S
        while not self._rests.wait(_SOON_S):
            assert time.monotonic() < end, f"{self.name} came to no end"
            if self._activity("wait_event_type = 'Lock'"):
                return False
        return True

    def go(self, statements: int) -> bool:
        """Let it execute some statements; return False if it came to wait for a lock."""
        for _ in range(statements):
            if not self.settle():
                return False
            if self.is_done:
                break
            self._rests.clear()
            self._leave.release()
        return self.settle()

    def finish(self) -> bool:
        """Let it come to its end; return False if it came to wait for a lock."""
        while not self.is_done:
            if not self.go(1):
                return False
        return True

    @property
    def is_in_transaction(self) -> bool:
        """Whether it holds a transaction open."""
        return bool(self._activity("xact_start IS NOT NULL"))

    @property
    def statements(self) -> list[str]:
        """What it has executed in its transaction."""
        return self._connection.statements

    def kill(self) -> None:
        """End it as SIGKILL would: it does nothing more, and the server rolls back."""
        self._is_dead = True
        self._end_session()
        self._leave.release()
        self._thread.join(_PATIENCE_S)
        assert not self._thread.is_alive()

    def cut(self) -> None:
        """End its connection; the work goes on and meets that."""
        self._end_session()

    def _end_session(self) -> None:
        end = time.monotonic() + _PATIENCE_S
        while self._activity("pg_terminate_backend(pid)"):
            assert time.monotonic() < end, f"the session of {self.name} does not end"
            time.sleep(0.001)

    def _activity(self, wanted: str) -> Any:
        query = f"SELECT {wanted} FROM pg_stat_activity WHERE pid = {self._pid}"
        row = self._observer.execute(query.encode()).fetchone()
        return row[0] if row else None
