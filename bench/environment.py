"""Virtual environments of peers: made once, beside the data of the embedded server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pgsearch import embedded
from pgsearch.errors import Error

_INSTALLED: Final = "installed.txt"


@dataclass(frozen=True)
class Environment:
    """What a peer needs, apart from everything that pgsearch has installed.

    Args:
        name: The peer's name on PyPI.
        version: Its version.
        requirements: What is installed with it.
        without: The option that leaves the peer out, for a hint.
    """

    name: str
    version: str
    requirements: tuple[str, ...]
    without: str

    @property
    def folder(self) -> Path:
        """Where the environment is, whether it is there or not."""
        return embedded.data_folder() / "bench" / f"{self.name}-{self.version}"

    @property
    def is_installed(self) -> bool:
        """Whether the environment is there, with all that is required now."""
        noted = self.folder / _INSTALLED
        return noted.is_file() and noted.read_text(encoding="utf-8") == self._listed

    def python(self, say: Callable[[str], None] = lambda _: None) -> Path:
        """Return the environment's Python; make the environment first if it is not there.

        Args:
            say: Takes a line of progress.

        Raises:
            Error: It cannot be made, for there is no network say.
        """
        home, python = self.folder, self.folder / "bin" / "python"
        if not self.is_installed:
            say(f"installing {self.name} {self.version} from PyPI into {home}: a minute or more")
            shutil.rmtree(home, ignore_errors=True)
            home.parent.mkdir(parents=True, exist_ok=True)
            self._run([sys.executable, "-m", "venv", str(home)])
            packages = (f"{self.name}=={self.version}", *self.requirements)
            self._run([str(python), "-m", "pip", "install", "--quiet", *packages])
            (home / _INSTALLED).write_text(self._listed, encoding="utf-8")
        return python

    @property
    def _listed(self) -> str:
        return "\n".join((f"{self.name}=={self.version}", *self.requirements))

    def _run(self, command: list[str]) -> None:
        # Only pip's errors are of interest, and it shall not ask.
        environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Error(
                f"{self.name} {self.version} could not be installed: {done.stderr.strip()[-1000:]}",
                hint=f"Look at the network, or leave {self.name} out: {self.without}.",
            )
