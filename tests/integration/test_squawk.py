"""What migrations print passes squawk, the linter of migrations, on every supported PostgreSQL.

Squawk does not look into DO blocks, where the statements are that lock something. So these are
taken out of them, and linted as well.
"""

from __future__ import annotations

import json
import re
import subprocess
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.history import History, Revision
from tests.plugins.migration import split
from tests.plugins.shapes import SHAPES, Shape, revisions

CONFIGURATION = Path(__file__).parents[2] / ".squawk.toml"

#: What begins a statement that squawk can judge.
LINTED = re.compile(
    r"(ALTER|COMMENT|CREATE|DELETE|DROP|GRANT|INSERT|LOCK|REVOKE|SET|TRUNCATE|UPDATE|WITH)\b"
)

#: What stands before a statement in PL/pgSQL and is none.
CONTROL = re.compile(
    r"(DECLARE\b.*?;\s*(?:--[^\n]*\s*)*BEGIN\b|BEGIN\b|IF\b.*?\bTHEN\b|ELSIF\b.*?\bTHEN\b|ELSE\b"
    r"|FOR(EACH)?\b.*?\bLOOP\b|END IF;|END LOOP;|END;|END$|EXCEPTION\b.*?\bTHEN\b)",
    re.DOTALL,
)

#: A statement with names that are found when it is executed.
DYNAMIC = re.compile(r"EXECUTE format\(\s*'((?:ALTER|CREATE|DROP|GRANT|LOCK|REVOKE)(?:[^']|'')*)'")

#: What squawk has nothing to say of: it changes nothing that lasts.
OTHERS = re.compile(r"(EXECUTE format\(\s*'COMMENT|PERFORM|RAISE|RETURN|SELECT)\b|\w+ :=")


def linted(folder: Path, scripts: dict[str, str], version: int, *excluded: str) -> str:
    """Return what squawk has to say of scripts: nothing, if they are clean."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}.sql".replace(" ", "_") for name in scripts]
    for path, text in zip(paths, scripts.values(), strict=True):
        path.write_text(text)
    squawk = Path(sysconfig.get_path("scripts"), "squawk")
    rules = [*tomllib.loads(CONFIGURATION.read_text())["excluded_rules"], *excluded]
    options = [f"--exclude={','.join(rules)}", f"--pg-version={version}", "--reporter=json"]
    done = subprocess.run([squawk, *options, *paths], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    found = []
    for report in json.loads(done.stdout):
        path = Path(report["file"])
        line = path.read_text().splitlines()[report["line"]]
        found.append(f"{path.stem}: {report['rule_name']}: {report['message']}\n  {line}")
    assert bool(found) == bool(done.returncode)
    return "\n".join(found)


def printed(shape: Shape, folder: Path) -> dict[str, str]:
    """Return the SQL of each operation and its reverse; the application's own is left out."""

    def ours(revision: Revision) -> Revision:
        lines = [
            "\n".join(line for line in part.splitlines() if not line.startswith("op.execute"))
            for part in revision
        ]
        return Revision(*(line or "pass" for line in lines))

    made = {name: ours(revision) for name, revision in revisions(shape).items()}
    history = History(folder / "migrations", [*made.values()])
    scripts = {}
    for number, name in enumerate(made, start=1):
        if number > 1:
            scripts[f"{name}, up"] = history.printed(str(number - 1), str(number))
            scripts[f"{name}, down"] = history.printed(str(number), str(number - 1))
    return scripts


def unwrapped(script: str) -> str:
    """Return a script with the statements of its DO blocks in the place of these."""
    statements: list[str] = []
    for statement in split(script):
        block = re.search(r"^DO (\$\w*\$)(.*)\1;$", statement, re.DOTALL | re.MULTILINE)
        statements += [statement] if block is None else _of_block(*block.groups())
    return "\n".join(statements)


def _of_block(tag: str, body: str) -> list[str]:
    statements = _plain(body)
    if tag != "$pgsearch_locked$":
        return [*statements]  # in the transaction that is open
    assert "PERFORM set_config('lock_timeout'" in body
    return ["BEGIN;", "SET LOCAL lock_timeout = '800ms';", *statements, "COMMIT;"]


def _plain(body: str) -> Iterator[str]:
    """Yield the statements of a body of PL/pgSQL, those of every branch."""
    rest = body.strip()
    while rest:
        comments = re.match(r"(--[^\n]*\n\s*)*", rest)
        assert comments is not None
        code = rest[comments.end() :]
        if control := CONTROL.match(code):
            rest = code[control.end() :].lstrip()
            continue
        statement = split(code)[0]
        if dynamic := DYNAMIC.match(code):
            yield comments[0] + re.sub("%[Is]", '"a name"', dynamic[1].replace("''", "'")) + ";"
        elif LINTED.match(code):
            yield comments[0] + statement
        else:
            assert OTHERS.match(code), statement
        rest = code[len(statement) :].lstrip()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_is_printed_is_clean(shape: Shape, tmp_path: Path) -> None:
    scripts = printed(shape, tmp_path)
    for version in (16, 18):
        assert linted(tmp_path, scripts, version) == ""


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_is_inside_of_it_is_clean(shape: Shape, tmp_path: Path) -> None:
    scripts = {name: unwrapped(script) for name, script in printed(shape, tmp_path).items()}
    assert "SET LOCAL lock_timeout = '800ms';\n-- squawk-ignore ban-drop" in scripts["drop, up"]
    assert "CREATE OR REPLACE TRIGGER" in scripts["create, up"]
    for version in (16, 18):
        # A block is executed as a whole or not at all, and looks itself at what is there already.
        assert linted(tmp_path, scripts, version, "prefer-robust-stmts") == ""
