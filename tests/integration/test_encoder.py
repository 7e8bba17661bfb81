"""Queries become vectors in the database: what is built, what a search says, and who may read it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pgsearch import database as product
from pgsearch import encoder, registry
from pgsearch.encoder import Size
from pgsearch.encoder.train import Schedule
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder

WORDS = [f"{a}{b}" for a in ("har", "vil", "sto", "bak", "tel", "flo", "roa", "hum", "sea", "lan")
         for b in ("bour", "lage", "rm", "er", "egraph", "od", "ds", "ming", "gull", "tern")]  # fmt: skip

SMALL = Size(texts=1500, passages=500, words=500, parts=2000)
QUICK = Schedule(epochs=3, batch=128)


def fill(db: product.Connection, rows: int = 120) -> None:
    draw = random.Random(1)
    for n in range(rows):
        body = ". ".join(" ".join(draw.choices(WORDS, k=8)).capitalize() for _ in range(3)) + "."
        db.execute(
            "INSERT INTO article (id, tenant_id, title, body) VALUES (%s, %s, %s, %s)",
            [n, n % 3, f"Article {n}", body],
        )


def distill(db: product.Connection, **options: Any) -> encoder.Distilled:
    (index,) = registry.read(db, "article_search")
    assert index.active is not None
    options = {"size": SMALL, "schedule": QUICK} | options
    built = encoder.distill(
        db, index, index.active, HashEmbedder(64), is_asked=True, **options
    )
    assert built is not None
    return built


@pytest.fixture
def filled(articles: str, db: product.Connection) -> product.Connection:
    """A connection to a database with many embedded articles."""
    fill(db)
    Worker(articles, distill=False).drain()
    return db


def value(db: product.Connection, statement: str, *parameters: Any) -> Any:
    row = db.execute(statement.encode(), parameters or None).fetchone()
    return None if row is None else row[0]


def test_text_alone_finds_what_the_model_finds(filled: product.Connection) -> None:
    built = distill(filled)
    assert built.version == 1
    assert built.fidelity.cosine > 0.9
    assert built.fidelity.neighbours is not None
    print(built)
    found = filled.execute(
        "SELECT id, encoder, similarity FROM article_search('harbour village storm', k => 3)"
    ).fetchall()
    assert [row[1] for row in found] == ["database"] * 3
    assert all(row[2] is not None for row in found)
