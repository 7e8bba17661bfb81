"""The demo's corpus: large enough, without repeats, and the same in every run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pgsearch.demo.corpus import QUESTIONS, Entry, clean, standard_library

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def entries() -> dict[str, Entry]:
    found = list(standard_library())
    by_title = {entry.title: entry for entry in found}
    assert len(by_title) == len(found), "a title comes twice"
    return by_title


def test_there_are_some_thousand_entries_of_every_kind(entries: dict[str, Entry]) -> None:
    assert 3_000 <= len(entries) <= 5_000
    kinds = Counter(entry.kind for entry in entries.values())
    assert kinds.keys() == {"module", "class", "function", "method"}
    assert min(kinds.values()) > 100


@pytest.mark.parametrize(
    ("title", "kind", "module"),
    [
        ("csv", "module", "csv"),
        ("str.split", "method", "builtins"),
        ("dict.fromkeys", "method", "builtins"),
        ("open", "function", "builtins"),
        ("os.path.join", "function", "os.path"),
        ("random.choice", "function", "random"),
        ("json.dumps", "function", "json"),
        ("asyncio.sleep", "function", "asyncio"),
        ("collections.abc.Mapping.get", "method", "collections.abc"),
        ("urllib.parse.quote", "function", "urllib.parse"),
        ("xml.etree.ElementTree.ElementTree", "class", "xml.etree.ElementTree"),
    ],
)
def test_well_known_objects_stand_where_they_are_documented(
    entries: dict[str, Entry], title: str, kind: str, module: str
) -> None:
    assert (entries[title].kind, entries[title].module) == (kind, module)


@pytest.mark.parametrize(
    "title",
    [
        "io.open",  # it is the builtin
        "posixpath.join",
        "random.Random.choice",
        "this",
        "tkinter",
        "test.support",
        "abc.ABC.__init_subclass__",
    ],
)
def test_other_names_private_names_and_toys_are_left_out(
    entries: dict[str, Entry], title: str
) -> None:
    assert title not in entries


def test_a_body_is_signature_and_docstring(entries: dict[str, Entry]) -> None:
    first, _, rest = entries["textwrap.dedent"].body.partition("\n\n")
    assert first == "dedent(text)"
    assert rest.startswith("Remove any common leading whitespace")


def test_nothing_of_this_machine_or_this_run_is_in_the_text(entries: dict[str, Entry]) -> None:
    for entry in entries.values():
        assert entry.body == clean(entry.body)
        assert " at 0x" not in entry.body
        assert sys.prefix not in entry.body


def test_every_run_gives_the_same_entries() -> None:
    program = (
        "import json, sys; from pgsearch.demo.corpus import standard_library; "
        "sys.stdout.write(json.dumps([vars(e) for e in standard_library()]))"
    )

    def run(**environment: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    first = run(PYTHONHASHSEED="1")
    assert json.loads(first)
    assert run(PYTHONHASHSEED="2", HOME="/nowhere", TERM="dumb") == first


def test_nothing_is_printed_or_warned_of() -> None:
    program = "from pgsearch.demo.corpus import standard_library as s; print(len(list(s())))"
    result = subprocess.run(
        [sys.executable, "-W", "always", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip().isdecimal()
    assert result.stderr == ""


def test_clean_removes_what_postgresql_cannot_store() -> None:
    assert clean("One\x00.\n\n    Two \ud800.\n      Three.") == "One.\n\nTwo .\n  Three."
    assert clean("<object at 0x7f00DEADbeef>") == "<object>"


def test_every_question_has_its_answers_in_the_corpus(entries: dict[str, Entry]) -> None:
    assert len(QUESTIONS) == 5
    for question in QUESTIONS:
        assert question.answers
        assert set(question.answers) <= entries.keys()
