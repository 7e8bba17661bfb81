"""BM25 as a search index declares it: its parameters, and weights of columns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.sql import SQL

from pgsearch import BM25
from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn
from pgsearch.errors import DeclarationError
from pgsearch.schema.index import alter_search_index
from tests.plugins.search import ARTICLE_SEARCH, article_index, create, execute_all

PROPERTY = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20
)

WORDS = ("cat", "dog", "bird", "fish", "moon", "boat", "harbour", "winter")

BODY_FIRST = (TextColumn("body", "B"), TextColumn("title", "A"))


def expected(
    db: product.Connection, bm25: BM25, terms: Sequence[str], name: str
) -> dict[int, float]:
    """Return the score of each document that holds a term, its positions counted by weight."""
    documents: dict[int, dict[str, dict[str, int]]] = {}
    lengths: dict[int, int] = {}
    for key, length, lexeme, weight, count in db.execute(
        SQL(
            "SELECT d.id, d.length, l.lexeme, w, count(*) FROM {} AS d"
            " LEFT JOIN LATERAL unnest(d.tsv) AS l ON true"
            " LEFT JOIN LATERAL unnest(l.weights) AS w ON true GROUP BY 1, 2, 3, 4"
        ).format(SQL(f"{name}_document"))
    ):
        lengths[key] = length
        if lexeme is not None:
            documents.setdefault(key, {}).setdefault(lexeme, {})[weight] = count
    mean = sum(lengths.values()) / len(lengths)
    scores: dict[int, float] = {}
    for term in set(terms):
        holding = [key for key in documents if term in documents[key]]
        idf = math.log(1 + (len(lengths) - len(holding) + 0.5) / (len(holding) + 0.5))
        for key in holding:
            by_weight = documents[key][term]
            frequency = sum(bm25.weight(weight) * count for weight, count in by_weight.items())
            norm = bm25.k1 * (1 - bm25.b + bm25.b * lengths[key] / mean)
            score = idf * frequency / (frequency + norm) if frequency else 0
            scores[key] = scores.get(key, 0) + score
    return scores


def found(db: product.Connection, query: str, name: str) -> dict[int, float]:
    call = SQL("SELECT id, score FROM {}(%s, k => 100, mode => 'keyword')").format(SQL(name))
    return dict(db.execute(call, [query]).fetchall())


rows = st.tuples(
    st.lists(st.sampled_from(WORDS), max_size=4), st.lists(st.sampled_from(WORDS), max_size=20)
)


@pytest.mark.parametrize(
    ("bm25", "text"),
    [
        (BM25(k1=0.9, b=0.4), ARTICLE_SEARCH.text),
        (BM25(k1=0.0), ARTICLE_SEARCH.text),
        (BM25(b=0.0, weights={"A": 3.0}), ARTICLE_SEARCH.text),
        (BM25(weights={"A": 3.0, "B": 0.5}), BODY_FIRST),
        (BM25(weights={"A": 0.0}), ARTICLE_SEARCH.text),
    ],
)
@PROPERTY
@given(st.lists(rows, min_size=1, max_size=12), st.lists(st.sampled_from(WORDS), min_size=1))
def test_scores(
    db: product.Connection,
    bm25: BM25,
    text: tuple[TextColumn, ...],
    corpus: list[tuple[list[str], list[str]]],
    question: list[str],
) -> None:
    made = made_once(db, article_index("ranked_search", bm25=bm25, text=text))
    db.execute("TRUNCATE article")
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO article (title, body) VALUES (%s, %s)",
            [(" ".join(title), " ".join(body)) for title, body in corpus],
        )
    if not any(title or body for title, body in corpus):
        return
    right = expected(db, bm25, question, made.name)
    assert found(db, " ".join(question), made.name) == pytest.approx(right, rel=1e-3, abs=1e-9)


def made_once(db: product.Connection, definition: IndexDefinition) -> IndexDefinition:
    if db.execute("SELECT to_regclass('ranked_search_document')").fetchone() == (None,):
        create(db, definition)
    return definition


def test_it_can_be_changed_without_a_document_being_written_again(db: product.Connection) -> None:
    db.execute("INSERT INTO article (title, body) VALUES ('cat', 'dog dog'), ('dog', 'cat cat')")
    documents = "SELECT id, xmin::text, generation FROM article_search_document"
    before = db.execute(documents).fetchall()
    changed = replace(ARTICLE_SEARCH, bm25=BM25(weights={"A": 10.0}))
    assert list(found(db, "cat", "article_search")) == [2, 1]
    execute_all(db, alter_search_index(changed))
    assert list(found(db, "cat", "article_search")) == [1, 2]
    state = db.execute(
        "SELECT refill_documents, refill_chunks, filled_at IS NULL FROM pgsearch.search_index"
    ).fetchone()
    assert state is not None
    assert not any(state[:2])
    assert db.execute(documents).fetchall() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"k1": -1.0},
        {"k1": math.nan},
        {"b": 1.1},
        {"weights": {"E": 2.0}},
        {"weights": {"A": -1.0}},
        {"weights": {"A": math.inf}},
    ],
)
def test_what_cannot_be(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(DeclarationError) as refused:
        BM25(**wrong)
    assert refused.value.hint


def test_columns_of_one_weight_stand_together() -> None:
    apart = (TextColumn("a", "A"), TextColumn("b", "B"), TextColumn("c", "A"))
    article_index("any_search", text=apart, chunking=replace(ARTICLE_SEARCH.chunking, heading=None))
    with pytest.raises(DeclarationError, match="stand apart: A, B, A"):
        article_index(
            "any_search",
            text=apart,
            chunking=replace(ARTICLE_SEARCH.chunking, heading=None),
            bm25=BM25(weights={"A": 2.0}),
        )


def test_it_is_kept_as_json() -> None:
    for bm25 in (BM25(), BM25(k1=0.9), BM25(weights={"A": 2, "D": 0.5, "B": 1})):
        definition = article_index("any_search", bm25=bm25)
        assert IndexDefinition.from_json(definition.to_json()) == definition
    assert "bm25" not in article_index("any_search").to_json()
    assert hash(BM25(weights={"A": 2})) == hash(BM25(weights=(("A", 2.0),)))
