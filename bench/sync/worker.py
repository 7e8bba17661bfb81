"""`pgsearch worker`, as people run it: a process with the options that it has by default."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pgsearch.errors import Error

#: What it logs when its models are loaded.
_READY: Final = "Waiting for changes."

_START_TIMEOUT_S: Final = 300
_STOP_TIMEOUT_S: Final = 60

_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if sys.platform == "linux" else 0


class RunningWorker:
    """A worker that runs.

    Args:
        process: The process.
        log: Where it writes its log.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    def check(self) -> None:
        """Raise Error if it has ended, with what it said last."""
        if self._process.poll() is not None:
            raise Error(f"The worker has ended: {self.said()[-1000:].strip()}")

    def said(self) -> str:
        """Return what it has logged."""
        return self._log.read_text(encoding="utf-8")

    def resident_bytes(self) -> int:
        """Return how much of its memory is in use (Linux only).

        Raises:
            Error: The worker has ended, or this is another system.
        """
        self.check()
        try:
            fields = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()
        except OSError as error:
            raise Error("The memory of a process can be measured on Linux only.") from error
        return int(fields[1]) * _PAGE


@contextmanager
def running(url: str) -> Iterator[RunningWorker]:
    """Run a worker on a database; stop it in the end as a service would be stopped.

    Raises:
        Error: It does not start, or ends by itself.
    """
    command = [sys.executable, "-c", "from pgsearch.cli import main; main()"]
    command += ["worker", "--no-distill"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=os.environ | {"DATABASE_URL": url}, stdout=output, stderr=output
            )
        try:
            worker = RunningWorker(process, log)
            yield worker
            worker.check()
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_start(worker: RunningWorker) -> None:
    """Wait until a worker has loaded its models.

    Raises:
        Error: It has ended, or takes too long.
    """
    until = time.monotonic() + _START_TIMEOUT_S
    while _READY not in worker.said():
        worker.check()
        if time.monotonic() > until:
            raise Error(f"The worker does not start: {worker.said()[-1000:].strip()}")
        time.sleep(0.1)
