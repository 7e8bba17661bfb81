"""What takes its time beside a worker's other work: in a thread, on a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from typing import TypeAlias

import psycopg

from pgsearch.database import Connection

#: Something to do on a connection.
Work: TypeAlias = Callable[[Connection], object]


class Background:
    """Does one thing at a time.

    Args:
        connect: Opens a connection for it.
        name: What the thread is called.
        on_end: Called by the thread when something has ended.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Connection]],
        name: str,
        on_end: Callable[[], object] = lambda: None,
    ) -> None:
        self._connect = connect
        self._on_end = on_end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._job: Future[None] | None = None
        self._has_ended = False
        self._connection: Connection | None = None
        #: Whether what is done has been cancelled.
        self.is_cancelled = False

    @property
    def is_busy(self) -> bool:
        """Whether something is being done."""
        return self._job is not None and not self._job.done()

    def start(self, work: Work) -> bool:
        """Begin to do something, unless something is being done.

        Raises:
            Exception: What was done last has failed, with that.
        """
        if self.is_busy:
            return False
        self.raise_failure()
        self._job = self._thread.submit(self._run, work)
        self._job.add_done_callback(lambda _: self._on_end())
        return True

    def raise_failure(self) -> None:
        """Raise what made the last thing fail, if it did."""
        if self._job is not None and self._job.done():
            job, self._job = self._job, None
            self._has_ended = True
            job.result()

    def check(self) -> bool:
        """Raise what made the last thing fail; return whether one has ended since it was asked."""
        self.raise_failure()
        ended, self._has_ended = self._has_ended, False
        return ended

    def wait(self) -> None:
        """Wait until nothing is being done."""
        if self._job is not None:
            wait([self._job])

    def close(self) -> None:
        """Cancel what is being done, and end the thread."""
        self.is_cancelled = True
        if self.is_busy and self._connection is not None:
            self._connection.cancel_safe()
        self._thread.shutdown(wait=True)

    def _run(self, work: Work) -> None:
        try:
            with self._connect() as connection:
                self._connection = connection
                if not self.is_cancelled:
                    work(connection)
        except psycopg.errors.QueryCanceled:
            if not self.is_cancelled:
                raise
        finally:
            self._connection = None
