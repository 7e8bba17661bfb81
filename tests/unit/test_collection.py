"""Reading test collections: both layouts, and a message with the line for every defect."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsearch.errors import Error
from pgsearch.evaluate.collection import Document, read_beir

FILES = {
    "corpus.jsonl": '{"_id": "d1", "title": "Otter", "text": "It swims."}\n'
    '{"_id": "d2", "text": "Größe"}\n',
    "queries.jsonl": '{"_id": "q1", "text": "what swims"}\n{"_id": "q2", "text": "size"}\n',
    "qrels.tsv": "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td2\t0\n",
}


def write(folder: Path, **changed: str) -> Path:
    for name, text in (FILES | {k.replace("_", "."): v for k, v in changed.items()}).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_a_collection_is_read(tmp_path: Path) -> None:
    collection = read_beir(write(tmp_path))
    assert collection.documents == {
        "d1": Document("Otter", "It swims."),
        "d2": Document("", "Größe"),
    }
    assert collection.queries == {"q1": "what swims", "q2": "size"}
    assert collection.judgements == {"q1": {"d1": 2, "d2": 0}, "q2": {"d2": 0}}
    assert collection.left_out == 0


def test_only_queries_with_a_relevant_document_are_judged(tmp_path: Path) -> None:
    assert read_beir(write(tmp_path)).judged_queries == {"q1": "what swims"}


def test_judgements_in_a_folder(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels.tsv").rename(tmp_path / "qrels" / "test.tsv")
    assert read_beir(tmp_path).judgements["q1"] == {"d1": 2, "d2": 0}


def test_judgements_of_what_is_not_there_are_counted(tmp_path: Path) -> None:
    text = FILES["qrels.tsv"] + "q1\tgone\t1\nq9\td1\t1\n"
    collection = read_beir(write(tmp_path, qrels_tsv=text))
    assert collection.left_out == 2
    assert collection.judgements.keys() == {"q1", "q2"}
    assert "gone" not in collection.judgements["q1"]


def test_windows_line_ends_byte_order_mark_and_blank_lines(tmp_path: Path) -> None:
    write(tmp_path)
    for name, text in FILES.items():
        data = "\ufeff" + text.replace("\n", "\r\n\r\n")
        (tmp_path / name).write_bytes(data.encode())
    collection = read_beir(tmp_path)
    assert list(collection.documents) == ["d1", "d2"]
    assert collection.judgements["q1"] == {"d1": 2, "d2": 0}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(Error, match=rf"{name} does not exist"):
        read_beir(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"_id": "d3"', "corpus.jsonl, line 3: it is not JSON"),
        ('["d3"]', "line 3: it is not a JSON object"),
        ('{"title": "no id", "text": ""}', 'line 3: "_id" is missing'),
        ('{"_id": 7, "text": ""}', 'line 3: "_id" is 7, not a string'),
        ('{"_id": "d3", "title": "Otter"}', 'line 3: "text" is missing'),
        ('{"_id": "d3", "title": ["x"], "text": ""}', r'line 3: "title" is \[\'x\'\]'),
        ('{"_id": "d1", "text": ""}', "line 3: the id 'd1' was there before"),
    ],
)
def test_a_malformed_document_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, corpus_jsonl=FILES["corpus.jsonl"] + line + "\n")
    with pytest.raises(Error, match=message):
        read_beir(tmp_path)


def test_text_that_is_not_utf_8_is_named_by_its_line(tmp_path: Path) -> None:
    write(tmp_path)
    with (tmp_path / "corpus.jsonl").open("ab") as file:
        file.write('{"_id": "d3", "text": "Größe"}'.encode("latin-1"))
    with pytest.raises(Error, match="line 3: it is not UTF-8"):
        read_beir(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q1\td1\t1\n", "qrels.tsv, line 1: there is no header"),
        ("query-id\tcorpus-id\tscore\nq1 d1 1\n", "line 2: it has 1 fields"),
        ("query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td2\t0.5\n", "line 3: the grade '0.5'"),
        ("query-id\tcorpus-id\tscore\nq1\t0\td1\t1\n", "line 2: it has 4 fields"),
    ],
)
def test_a_malformed_judgement_is_named_by_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    write(tmp_path, qrels_tsv=text)
    with pytest.raises(Error, match=message):
        read_beir(tmp_path)
