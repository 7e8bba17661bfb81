"""Test collections: documents, queries, and which documents answer which query.

They are read in the layout that the BEIR benchmark made common:

    corpus.jsonl    {"_id": "…", "title": "…", "text": "…"} per line; the title may be absent
    queries.jsonl   {"_id": "…", "text": "…"} per line
    qrels.tsv       a header, then query id, document id and grade per line, by tabs;
                    or qrels/test.tsv, the same
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pgsearch.errors import Error

_JUDGEMENT_FILES = ("qrels.tsv", "qrels/test.tsv")


class Document(NamedTuple):
    """A document of a collection; its title may be empty."""

    title: str
    text: str


@dataclass(frozen=True)
class Collection:
    """A test collection.

    Args:
        documents: By document id.
        queries: Texts by query id; those without judgements included.
        judgements: Grades by query id and document id; 1 or more is relevant. All
            name queries and documents of this collection.
        left_out: How many judgements were left out, because they name a query or a
            document that is not in the collection.
    """

    documents: dict[str, Document]
    queries: dict[str, str]
    judgements: dict[str, dict[str, int]]
    left_out: int = 0

    @property
    def judged_queries(self) -> dict[str, str]:
        """The queries that have a relevant document: those that a metric says something of."""
        return {
            query: text
            for query, text in self.queries.items()
            if any(grade > 0 for grade in self.judgements.get(query, {}).values())
        }


def read_beir(folder: Path) -> Collection:
    """Read a folder in BEIR's layout.

    Raises:
        Error: A file is missing or malformed; the message names it and the line.
    """
    documents = {
        id_: Document(_text(value, "title", where, default=""), _text(value, "text", where))
        for where, id_, value in _records(folder / "corpus.jsonl")
    }
    queries = _queries(folder)
    judgements: dict[str, dict[str, int]] = {}
    left_out = 0
    for query, document, grade in _judgements(folder):
        if query in queries and document in documents:
            judgements.setdefault(query, {})[document] = grade
        else:
            left_out += 1
    return Collection(documents, queries, judgements, left_out)


def read_judged(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Read the queries and judgements of a folder in BEIR's layout, whose documents are elsewhere.

    Returns:
        Texts by query id, and grades by query id and document id; all name queries of the folder.

    Raises:
        Error: A file is missing or malformed; the message names it and the line.
    """
    queries = _queries(folder)
    judgements: dict[str, dict[str, int]] = {}
    for query, document, grade in _judgements(folder):
        if query in queries:
            judgements.setdefault(query, {})[document] = grade
    return queries, judgements


def _queries(folder: Path) -> dict[str, str]:
    return {
        id_: _text(value, "text", where) for where, id_, value in _records(folder / "queries.jsonl")
    }


class _Line(NamedTuple):
    """Where something was read, to be named in messages."""

    path: Path
    number: int

    def reject(self, what: str, hint: str | None = None) -> NoReturn:
        raise Error(f"{self.path}, line {self.number}: {what}.", hint=hint)


def _lines(path: Path) -> Iterator[tuple[_Line, str]]:
    """Yield the lines of a file that are not blank."""
    where = _Line(path, 0)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                where = _Line(path, number)
                if text := line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n"):
                    yield where, text
    except FileNotFoundError:
        raise Error(
            f"{path} does not exist.",
            hint="A collection is a folder with corpus.jsonl, queries.jsonl and qrels.tsv.",
        ) from None
    except OSError as error:
        raise Error(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        where.reject("it is not UTF-8")


def _records(path: Path) -> Iterator[tuple[_Line, str, dict[str, Any]]]:
    """Yield place, id and value of every JSON object of a file."""
    seen: set[str] = set()
    for where, line in _lines(path):
        try:
            value = json.loads(line)
        except ValueError as error:
            where.reject(f"it is not JSON: {error}")
        if not isinstance(value, dict):
            where.reject("it is not a JSON object")
        id_ = _text(value, "_id", where)
        if id_ in seen:
            where.reject(f"the id {id_!r} was there before")
        seen.add(id_)
        yield where, id_, value


def _text(value: dict[str, Any], name: str, where: _Line, default: str | None = None) -> str:
    """Return a string out of a JSON object; null counts as absent."""
    found = value.get(name)
    if found is None:
        found = default
    if not isinstance(found, str):
        what = "is missing" if found is None else f"is {found!r}, not a string"
        where.reject(f'"{name}" {what}')
    return found


def _judgements(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Yield query id, document id and grade of every judgement."""
    paths = [folder / name for name in _JUDGEMENT_FILES]
    path = next((path for path in paths if path.exists()), paths[0])
    for where, line in _lines(path):
        fields = line.split("\t")
        if len(fields) != 3:
            where.reject(
                f"it has {len(fields)} fields",
                hint="Write query id, document id and grade, separated by tabs.",
            )
        query, document, grade = fields
        is_number = grade.strip().removeprefix("-").isdecimal()
        if where.number == 1:
            if is_number:
                where.reject("there is no header", hint="Write: query-id\tcorpus-id\tscore")
        elif not is_number:
            where.reject(f"the grade {grade!r} is not a whole number")
        else:
            yield query, document, int(grade)
