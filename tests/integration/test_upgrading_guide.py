"""docs/upgrading-models.md, done as it is written, in order. A model without weights stands for
the one of the hub, which not every machine reaches."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from psycopg.sql import SQL

from pgsearch import database as product
from pgsearch.cli import main
from pgsearch.declare import Embedding
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins.postgres import Databases
from tests.plugins.search import create, install
from tests.plugins.worker import CREATE_STORY, SENTENCES, STORY

GUIDE = (Path(__file__).parents[2] / "docs" / "upgrading-models.md").read_text(encoding="utf-8")
BLOCKS = re.findall(
    r"^ *<!-- (run|sql) -->\n *```\w+\n(.*?)^ *```$", GUIDE, re.MULTILINE | re.DOTALL
)
HUB = "BAAI/bge-small-en-v1.5"


@pytest.fixture
def url(databases: Databases, vector_template: str) -> Iterator[str]:
    """A table `article` whose search index answers by `minilm_v1`."""
    article = replace(STORY, name="article_search", table="article")
    with databases.fresh(vector_template) as url, product.connect(url) as connection:
        install(connection)
        connection.execute(CREATE_STORY.replace("TABLE story", "TABLE article").encode())
        create(connection, article, Embedding("minilm_v1", hash_model(64)))
        for sentence in SENTENCES:
            connection.execute("INSERT INTO article (body) VALUES (%s)", [sentence])
        # So many that there is something to be advised of.
        connection.execute(
            "INSERT INTO article (body) SELECT 'Entry ' || n || ' of a log.' "
            "FROM generate_series(1, 600) AS n"
        )
        Worker(url).drain()
        yield url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the guide's commands find their judgements and queries."""
    asked = {"1": "fishing boats when the storm came", "3": "carried the flour up to the attic"}
    judged = tmp_path / "judged"
    judged.mkdir()
    lines = [json.dumps({"_id": name, "text": text}) for name, text in asked.items()]
    (judged / "queries.jsonl").write_text("\n".join(lines))
    (judged / "qrels.tsv").write_text("q\td\tg\n" + "".join(f"{n}\t{n}\t1\n" for n in asked))
    (tmp_path / "queries.txt").write_text("\n".join(asked.values()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_guide_does_what_it_says(url: str, folder: Path) -> None:
    assert len(BLOCKS) == 16
    with product.connect(url) as connection:
        for kind, block in BLOCKS:
            if kind == "sql":
                for statement in block.split(";\n"):
                    connection.execute(SQL(statement.strip()))
                continue
            for line in block.strip().splitlines():
                run(url, line)
        active = connection.execute(
            "SELECT name FROM pgsearch.embedding WHERE state = 'active'"
        ).fetchall()
    assert active == [("bge_v1",)]


def run(url: str, line: str) -> None:
    program, *arguments = shlex.split(line)
    assert program == "pgsearch"
    if HUB in arguments:
        at = arguments.index(HUB)
        arguments[at : at + 1] = ["hash-128", "--provider", "hash", "--dimensions", "128"]
        arguments += ["--require", "ndcg10 >= -1"]
    if "--share" in arguments:
        # Who begins with a share has answered no, when `pgsearch upgrade` asked.
        run(url, "pgsearch activate article_search minilm_v1")
    done = CliRunner().invoke(main, ["--database", url, *arguments], input="y\n")
    assert done.exit_code == 0, (line, done.stdout, done.stderr)
