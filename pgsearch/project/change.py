"""A change to one file: shown as a diff, then written, unless the file is another one by then."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgsearch.errors import Error


@dataclass(frozen=True)
class Change:
    """A file as it is and as it is to be.

    Args:
        path: The file.
        before: What it holds; None if there is no such file.
        after: What it is to hold.
        encoding: How a diff reads it.
    """

    path: Path
    before: bytes | None
    after: bytes
    encoding: str = "utf-8"

    def diff(self, root: Path) -> list[str]:
        """Return its unified diff, with line endings, as `git apply` takes it.

        Args:
            root: The folder that names of files are relative to.
        """
        name = os.path.relpath(self.path, root).replace(os.sep, "/")
        lines = difflib.unified_diff(
            _lines((self.before or b"").decode(self.encoding)),
            _lines(self.after.decode(self.encoding)),
            "/dev/null" if self.before is None else f"a/{name}",
            f"b/{name}",
        )
        return [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        ]


def write(changes: Iterable[Change]) -> None:
    """Write changes: each file at once or not at all, and none if one of them is not as it was.

    Raises:
        Error: A file has changed, or cannot be written.
    """
    changes = list(changes)
    for change in changes:
        _check(change)
    for change in changes:
        try:
            _create(change) if change.before is None else _replace(change)
        except OSError as error:
            raise Error(
                f"{change.path} cannot be written: {error.strerror}.",
                hint="Nothing in it has changed; see that you may write there, and run this again.",
            ) from error


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _check(change: Change) -> None:
    now = change.path.read_bytes() if change.path.exists() else None
    if now != change.before:
        raise Error(
            f"{change.path} has changed since the diff was made; nothing was written.",
            hint="Run this again.",
        )


def _create(change: Change) -> None:
    """Write a new file; if there is one by now, fail."""
    with change.path.open("xb") as file:
        try:
            file.write(change.after)
        except OSError:
            with suppress(OSError):
                change.path.unlink()
            raise


def _replace(change: Change) -> None:
    """Put a new file in a file's place; behind a link, in the place of what it leads to."""
    path = change.path.resolve()
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with new.open("xb") as file:
            file.write(change.after)
        shutil.copymode(path, new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
