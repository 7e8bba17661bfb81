"""SIGTERM and Ctrl-C for a worker: the first one lets it finish, the second one does not."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

#: Seconds that giving back may take.
_GIVE_BACK_S: Final = 5.0

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stopping(stop: Callable[[], None], give_back: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `stop`; a second one calls `give_back` and ends the process.

    A thread calls them, to which the interpreter writes the signals' numbers. A handler would run
    in the main thread, between any two of its steps: what sets an Event there waits forever if
    the main thread is about to wait for that Event and holds its lock.
    """
    with ExitStack() as stack:
        reading, writing = (stack.enter_context(end) for end in socket.socketpair())
        writing.setblocking(False)
        thread = Thread(
            target=_listen, args=[reading, stop, give_back], name="pgsearch-signals", daemon=True
        )
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, before)
        for number in _SIGNALS:
            stack.callback(signal.signal, number, signal.signal(number, _ignore))
        thread.start()
        try:
            yield
        finally:
            writing.shutdown(socket.SHUT_WR)
            thread.join()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Do nothing; the number has been written already."""


def _listen(
    reading: socket.socket, stop: Callable[[], None], give_back: Callable[[], None]
) -> None:
    has_stopped = False
    while numbers := reading.recv(64):
        for number in (number for number in numbers if number in _SIGNALS):
            name = signal.Signals(number).name
            if not has_stopped:
                has_stopped = True
                logging.info("Stopping after this batch (%s); once more ends it at once.", name)
                stop()
                continue
            logging.warning("Ending at once (%s).", name)
            giving = Thread(target=give_back, daemon=True)
            giving.start()
            giving.join(_GIVE_BACK_S)
            os._exit(128 + number)
