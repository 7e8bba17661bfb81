"""Processes that are told what to do line by line, and answer so.

The peer has packages of its own and cannot be a child by `multiprocessing`: all it shares with the
bench is a pipe.
"""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pgsearch.errors import Error

_ROOT: Final = Path(__file__).parents[1]

_STOP_TIMEOUT_S: Final = 30


class Process:
    """A process whose standard input and output are pipes; it ends when its input does.

    Args:
        name: What it is, for messages.
        command: Its command line.
        environment: Variables beside those of this process.
        folder: Where it runs; at the top of the repository if None.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._name = name
        self._process = subprocess.Popen(
            command,
            cwd=folder or _ROOT,
            env=os.environ | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._input, self._output = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(BrokenPipeError):
            self._input.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    def ask(self, line: str, *, timeout_s: float = 60) -> str:
        """Send a line and return the line that it answers.

        Raises:
            Error: The process has ended, or does not answer.
        """
        with suppress(BrokenPipeError):
            self._input.write(line + "\n")
            self._input.flush()
        return self.read(timeout_s=timeout_s)

    def read(self, *, timeout_s: float = 60) -> str:
        """Return the next line that it says.

        Raises:
            Error: The process has ended, or says nothing.
        """
        readable, _, _ = select.select([self._output], [], [], timeout_s)
        line = self._output.readline() if readable else ""
        if line:
            return line.rstrip("\n")
        if not readable:
            raise Error(f"{self._name} says nothing for {timeout_s:.0f} s.")
        status = self._process.wait(_STOP_TIMEOUT_S)
        raise Error(f"{self._name} has ended with status {status}.", hint="See its error above.")
