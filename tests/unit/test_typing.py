"""A type checker knows what a search gives: it reads `tests/typing` as the code of a user."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "tests" / "typing" / "search.py"


def test_entities_and_hits_are_inferred(tmp_path: Path) -> None:
    checked = check(
        "mypy", "--strict", "--hide-error-context", "--no-pretty", "--no-error-summary",
        "--config-file=", f"--cache-dir={tmp_path}", SOURCE.name, folder=SOURCE.parent,
    )  # fmt: skip
    assert said_by_mypy(checked) == expected()


def test_pyright_infers_the_same(tmp_path: Path) -> None:
    """But for the codes of its errors."""
    shutil.copy(SOURCE, tmp_path)
    configuration = {"extraPaths": [str(ROOT)]}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(configuration))
    checked = check(
        "pyright", "--outputjson", "--pythonpath", sys.executable, SOURCE.name, folder=tmp_path
    )
    assert said_by_pyright(checked) == {
        number: said.partition(":")[0] if said.startswith("error") else said
        for number, said in expected().items()
    }


def check(program: str, *arguments: str, folder: Path) -> str:
    """Run a type checker in a folder and return what it says."""
    checked = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=folder,
        # pyright: the Node that PyPI has, and nothing else from anywhere.
        env=os.environ | {"PYRIGHT_PYTHON_GLOBAL_NODE": "0", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.stderr == ""
    return checked.stdout


def expected() -> dict[int, str]:
    """Return by line what is to be said, which is the comment behind it."""
    return {
        number: line.partition("  # ")[2]
        for number, line in enumerate(SOURCE.read_text().splitlines(), start=1)
        if "  # " in line
    }


def said_by_mypy(output: str) -> dict[int, str]:
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


def said_by_pyright(output: str) -> dict[int, str]:
    """Return by line the type that was revealed, or that there is an error."""
    found = {}
    for each in json.loads(output)["generalDiagnostics"]:
        revealed = re.fullmatch(r'Type of ".*" is "(.*)"', each["message"])
        number = each["range"]["start"]["line"] + 1
        found[number] = revealed[1] if revealed else each["severity"]
    return found
