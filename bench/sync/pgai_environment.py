"""pgai's own virtual environment: made once, beside the data of the embedded server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pgsearch import embedded
from pgsearch.errors import Error

VERSION: Final = "0.12.1"

#: What its worker imports for plain text and an endpoint like OpenAI's. The extra
#: `vectorizer-worker` brings the same, and gigabytes to read PDF files: docling and torch.
_REQUIREMENTS: Final = (
    f"pgai=={VERSION}",
    "filetype==1.2.0",
    "ijson>=3.3,<4",
    "numpy<3",
    "openai>=1.44,<2",
    "pgvector>=0.3,<1",
    "tiktoken>=0.7,<1",
    "tokenizers<1",
)

_INSTALLED: Final = "installed.txt"


def folder() -> Path:
    """Return where the environment is, whether it is there or not."""
    return embedded.data_folder() / "bench" / f"pgai-{VERSION}"


def is_installed() -> bool:
    """Return whether the environment is there, complete."""
    return _complete(folder())


def python(say: Callable[[str], None] = lambda _: None) -> Path:
    """Return the environment's Python; make the environment first if it is not there.

    Args:
        say: Takes a line of progress.

    Raises:
        Error: It cannot be made, for there is no network say.
    """
    home = folder()
    if not _complete(home):
        say(f"installing pgai {VERSION} from PyPI into {home}: this takes a minute or more")
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _run([sys.executable, "-m", "venv", str(home)])
        _run([str(_python(home)), "-m", "pip", "install", "--quiet", *_REQUIREMENTS])
        (home / _INSTALLED).write_text("\n".join(_REQUIREMENTS), encoding="utf-8")
    return _python(home)


def _complete(home: Path) -> bool:
    """Return whether an environment has what is required now."""
    noted = home / _INSTALLED
    return noted.is_file() and noted.read_text(encoding="utf-8") == "\n".join(_REQUIREMENTS)


def _python(home: Path) -> Path:
    return home / "bin" / "python"


def _run(command: list[str]) -> None:
    # Only pip's errors are of interest, and it shall not ask.
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Error(
            f"pgai {VERSION} could not be installed: {done.stderr.strip()[-1000:]}",
            hint="Look at the network, or leave pgai out: --no-pgai.",
        )
