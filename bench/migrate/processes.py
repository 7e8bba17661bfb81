"""The processes beside the migrations: they start, say "ready", and send what they found."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import psycopg

from pgsearch.errors import Error

if TYPE_CHECKING:
    from multiprocessing.connection import Connection as Pipe
    from multiprocessing.synchronize import Event
    from types import TracebackType
    from typing import Self

Found = TypeVar("Found")

# A process that is forked would share sockets and threads with this one.
_context = multiprocessing.get_context("spawn")

_START_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 120


def event() -> Event:
    """Return an event that can be handed to a Child."""
    return _context.Event()


class Child(Generic[Found]):
    """A process that works until it is told to stop, and then sends what it found.

    Args:
        run: Called in the process with the arguments, an event that is set when it is to stop,
            and a pipe into which it sends "ready" and, in the end, what it found.
        arguments: What it needs.

    Raises:
        Error: The process did not start.
    """

    def __init__(self, run: Callable[..., None], *arguments: object) -> None:
        self._stopping = event()
        self._results, theirs = _context.Pipe(duplex=False)
        self._name = run.__module__.rpartition(".")[2]
        self._process = _context.Process(
            target=run, args=(*arguments, self._stopping, theirs), daemon=True
        )
        self._process.start()
        theirs.close()
        self._receive(_START_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.join()
        self._results.close()

    def stop(self) -> Found:
        """Tell the process to stop; return what it found.

        Raises:
            Error: It ended before, or does not end.
        """
        self._stopping.set()
        found = cast("Found", self._receive(_STOP_TIMEOUT_S))
        self._process.join(_STOP_TIMEOUT_S)
        return found

    def _receive(self, timeout_s: float) -> Any:
        with suppress(EOFError):
            if self._results.poll(timeout_s):
                return self._results.recv()
        raise Error(f"The process {self._name!r} of the bench failed.", hint="See its error above.")


def work(url: str, stopping: Event, results: Pipe) -> None:
    """Run a worker until told to stop; send how often it was interrupted, by message.

    It is started again half a second after an interruption, as a service would be: there is
    nothing to work at before pgsearch is installed, nor once it is uninstalled.

    Args:
        url: The database.
        stopping: Set when it is time to end.
        results: Where "ready" and then a dict of messages with their counts goes.
    """
    from pgsearch.sync import Worker

    interruptions: Counter[str] = Counter()
    worker = Worker(url, distill=False)

    def stop() -> None:
        stopping.wait()
        worker.stop()

    threading.Thread(target=stop, daemon=True).start()
    results.send("ready")
    with suppress(KeyboardInterrupt):
        while not stopping.is_set():
            try:
                worker.run(poll_s=0.2)
            except (Error, psycopg.Error) as error:
                interruptions[f"{type(error).__name__}: {' '.join(str(error).split())}"] += 1
                stopping.wait(0.5)
        results.send(dict(interruptions))
