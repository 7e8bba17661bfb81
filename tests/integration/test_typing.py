"""A type checker knows what a search gives: mypy reads `tests/typing` as a user's code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "typing"


def test_entities_and_hits_are_inferred(tmp_path: Path) -> None:
    source = FOLDER / "search.py"
    checked = subprocess.run(
        [
            sys.executable, "-m", "mypy", "--strict", "--hide-error-context", "--no-pretty",
            "--no-error-summary", "--config-file=", f"--cache-dir={tmp_path}", source.name,
        ],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert checked.stderr == ""
    assert said(checked.stdout) == {
        number: line.partition("  # ")[2]
        for number, line in enumerate(source.read_text().splitlines(), start=1)
        if "  # " in line
    }


def said(output: str) -> dict[int, str]:
    """Return by line the type that was revealed, or the code of an error."""
    found = {}
    for number, kind, message in re.findall(r"^search\.py:(\d+): (\w+): (.*)$", output, re.M):
        revealed = re.fullmatch(r'Revealed type is "(.*)"', message)
        if revealed:
            # A named tuple is shown with its fields, and its name last.
            found[int(number)] = re.sub(
                r"tuple\[.*, fallback=(.*)\]", r"\1", revealed[1]
            ).rpartition(".")[2]
        elif kind == "error":
            found[int(number)] = f"error: {message.rpartition('[')[2].rstrip(']')}"
    return found
