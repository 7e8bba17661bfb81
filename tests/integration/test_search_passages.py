"""Searches for passages, against a score of every passage that is worked out here."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import mul
from typing import Any, NamedTuple

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.database import Connection
from pgsearch.definition import Chunking
from pgsearch.schema.index import alter_search_index
from pgsearch.sync import Worker
from tests.plugins.postgres import Databases
from tests.plugins.search import (
    ARTICLE_SEARCH,
    HASH_V1,
    execute_all,
    make_ready,
    put_chunks,
    vector_of,
)
from tests.plugins.security import roles_of

MODES = ("keyword", "vector", "hybrid")
WORDS = ("cat", "dog", "bird", "fish", "moon", "boat", "harbor", "winter")
TENANTS = 3


class Passage(NamedTuple):
    """A row of the function, as its type says."""

    id: int
    score: float
    keyword_score: float | None
    keyword_rank: int | None
    similarity: float | None
    vector_rank: int | None
    passage: str | None
    stale: bool
    encoder: str
    ordinal: int | None
    passage_rank: int
    document_score: float


def passages(db: psycopg.Connection[Any], query: str | None, **arguments: Any) -> list[Passage]:
    """Call the function with named arguments."""
    return [Passage(*row) for row in _call(db, "article_search_passages", query, arguments)]


def documents(db: psycopg.Connection[Any], query: str, **arguments: Any) -> list[tuple[Any, ...]]:
    """Call the search function with named arguments."""
    return _call(db, "article_search", query, arguments)


def _call(
    db: psycopg.Connection[Any], function: str, query: str | None, arguments: dict[str, Any]
) -> list[tuple[Any, ...]]:
    given = [SQL("{} => {}").format(Identifier(name), value) for name, value in arguments.items()]
    call = SQL("SELECT * FROM {}({})").format(
        Identifier(function), SQL(", ").join([SQL("%s"), *given])
    )
    return db.execute(call, [query]).fetchall()


@dataclass(frozen=True)
class Shelf:
    """Sixty documents of one to nine passages, all of which have vectors."""

    db: Connection
    contents: dict[tuple[int, int], str]
    vectors: dict[tuple[int, int], Sequence[float]]

    def brute_force(
        self,
        query: str,
        vector: Sequence[float],
        mode: str,
        fusion: str,
        tenant: int | None,
        per_document: int | None,
    ) -> list[tuple[tuple[int, int], float]]:
        """Return all passages with their scores, best first."""
        near = {key: _cosine(vector, stored) for key, stored in self.vectors.items()}
        asked: dict[str, Any] = {"k": 500, "vector": _text(vector), "ef_search": 1000}
        if tenant is not None:
            asked["tenant_id"] = tenant
        by_words = {row[0]: row[1] for row in documents(self.db, query, **asked, mode="keyword")}
        fused = {row[0]: row[1] for row in documents(self.db, query, **asked, fusion="rrf")}
        ((spread, bound),) = self.db.execute(
            "SELECT similarity_stddev, (SELECT sum(idf) FROM article_search_terms(%s))"
            " FROM pgsearch.embedding WHERE state = 'active'",
            [query],
        ).fetchall()

        def score(key: tuple[int, int]) -> float | None:
            if mode == "keyword":
                return by_words.get(key[0])
            if mode == "vector":
                return near[key]
            if fusion == "rrf":
                return fused.get(key[0])
            return near[key] / spread + 4 * by_words.get(key[0], 0) / bound

        def nearness(key: tuple[int, int]) -> float:
            if mode == "keyword":
                return len(set(query.split()) & set(self.contents[key].split()))
            return near[key]

        found = [
            (key, value)
            for key in self.contents
            if (tenant is None or key[0] % TENANTS == tenant) and (value := score(key)) is not None
        ]
        found.sort(key=lambda each: (-each[1], each[0][0], -nearness(each[0]), each[0][1]))
        taken: dict[int, int] = {}
        kept = []
        for key, value in found:
            taken[key[0]] = taken.get(key[0], 0) + 1
            if per_document is None or taken[key[0]] <= per_document:
                kept.append((key, value))
        return kept


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(mul, one, other)) / (math.hypot(*one) * math.hypot(*other))


def _text(vector: Sequence[float]) -> str:
    return str([*vector])


def _vector(draw: random.Random) -> list[float]:
    # As PostgreSQL keeps them: exactly.
    return [float(draw.randint(-9, 9)) for _ in range(64)]


@pytest.fixture(scope="module")
def shelf(databases: Databases, articles_template: str) -> Iterator[Shelf]:
    draw = random.Random(7)
    with databases.fresh(articles_template) as url, product.connect(url) as db:
        contents = {
            (n, ordinal): " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))
            for n in range(1, 61)
            for ordinal in range(draw.randint(1, 9))
        }
        vectors: dict[tuple[int, int], Sequence[float]] = {key: _vector(draw) for key in contents}
        # Two passages of one document, and those of two documents, are equally near.
        vectors[2, 0] = vectors[1, 0]
        contents |= {(3, 0): "cat", (3, 1): "dog cat"}
        vectors |= {(3, 0): vectors[1, 0], (3, 1): vectors[1, 0]}
        for n in range(1, 61):
            body = " ".join(text for key, text in contents.items() if key[0] == n)
            row = [n, n % TENANTS, body]
            db.execute("INSERT INTO article (id, tenant_id, body) VALUES (%s, %s, %s)", row)
        rows = [((key[0],), key[1], contents[key], vectors[key]) for key in contents]
        put_chunks(db, ARTICLE_SEARCH, HASH_V1.name, rows)
        make_ready(db, ARTICLE_SEARCH)
        db.execute("SELECT article_search_refresh_statistics()")
        yield Shelf(db, contents, vectors)


@pytest.mark.parametrize("fusion", ["exact", "rrf"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(12))
def test_the_best_of_all_passages(shelf: Shelf, mode: str, fusion: str, seed: int) -> None:
    draw = random.Random(seed)
    query = " ".join(draw.sample(WORDS, draw.randint(1, 4)))
    # Random, or that of a passage.
    vector = shelf.vectors[draw.choice(sorted(shelf.vectors))] if seed % 2 else _vector(draw)
    tenant = draw.choice([None, 0, 1, 2])
    per_document = draw.choice([None, None, 1, 2, 3])
    k, skip = draw.randint(5, 12), draw.randint(0, 8)
    given: dict[str, Any] = {"vector": _text(vector), "mode": mode, "fusion": fusion}
    if tenant is not None:
        given["tenant_id"] = tenant
    if per_document is not None:
        given["per_document"] = per_document
    found = passages(shelf.db, query, k=k, skip=skip, ef_search=1000, **given)
    expected = shelf.brute_force(query, vector, mode, fusion, tenant, per_document)
    expected = expected[skip : skip + k]
    assert [hit.score for hit in found] == pytest.approx([score for _, score in expected])
    # Where two documents score the same but for the last digit, they may come either way round.
    scores = [score for _, score in expected]
    if all(a == b or not math.isclose(a, b) for a, b in pairwise(scores)):
        assert [(hit.id, hit.ordinal) for hit in found] == [key for key, _ in expected]
    for hit in found:
        assert hit.ordinal is not None
        assert hit.passage == shelf.contents[hit.id, hit.ordinal]
        assert not hit.stale
        if mode != "keyword":
            similarity = _cosine(vector, shelf.vectors[hit.id, hit.ordinal])
            assert hit.similarity == pytest.approx(similarity)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fusion", ["exact", "rrf"])
def test_a_document_scores_what_its_best_passage_does(shelf: Shelf, mode: str, fusion: str) -> None:
    asked: dict[str, Any] = {"vector": _text(shelf.vectors[9, 0]), "mode": mode, "fusion": fusion}
    found = passages(shelf.db, "cat moon", per_document=1, **asked)
    best = documents(shelf.db, "cat moon", **asked)
    assert len(found) == 10
    # To the last digit; keywords alone may take another passage than the first.
    last = 6 if mode == "keyword" else 8
    assert [tuple(hit[:last]) for hit in found] == [row[:last] for row in best]
    assert all(hit.score == hit.document_score and hit.passage_rank == 1 for hit in found)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("per_document", [None, 2])
def test_pages_follow_each_other(shelf: Shelf, mode: str, per_document: int | None) -> None:
    asked: dict[str, Any] = {"vector": _text(shelf.vectors[9, 0]), "mode": mode}
    if per_document:
        asked["per_document"] = per_document
    whole = passages(shelf.db, "cat moon", k=50, **asked)
    pages = [passages(shelf.db, "cat moon", k=10, skip=skip, **asked) for skip in range(0, 50, 10)]
    assert [hit for page in pages for hit in page] == whole
    assert len({(hit.id, hit.ordinal) for hit in whole}) == 50


def test_a_condition_holds_for_the_document(shelf: Shelf) -> None:
    found = passages(shelf.db, "cat -moon", k=100, vector=_text(shelf.vectors[9, 0]))
    bodies = {n: "" for n, _ in shelf.contents}
    for (n, _), content in shelf.contents.items():
        bodies[n] += f" {content}"
    assert found
    assert all("moon" not in bodies[hit.id] for hit in found)


def test_what_is_not_to_be_asked(shelf: Shelf) -> None:
    for message, arguments in {
        "per_document is 0, it must be 1 or more": {"per_document": 0},
        "k is 0, it must lie between 1 and 1000": {"k": 0},
        "skip is 999, it must lie between 0 and 990": {"skip": 999},
        "mode is 'words'": {"mode": "words"},
        "vector has 2 dimensions": {"vector": "[1,2]"},
    }.items():
        with pytest.raises(psycopg.Error, match=message):
            passages(shelf.db, "cat", **arguments)
    with pytest.raises(psycopg.Error, match="the query is empty"):
        passages(shelf.db, " ")


def test_without_words_a_vector_is_enough(shelf: Shelf) -> None:
    found = passages(shelf.db, None, vector=_text(shelf.vectors[9, 0]), mode="vector", k=3)
    assert (found[0].id, found[0].ordinal) == (9, 0)


# What is not as it will be


@pytest.fixture
def three(articles: str, db: Connection) -> Connection:
    """Three articles of several passages."""
    body = "A {0} sleeps on the mat. " * 60 + "\n\n" + "The {1} is in the boat. " * 60
    for n, words in enumerate((("cat", "moon"), ("dog", "fish"), ("cat", "dog")), start=1):
        db.execute(
            "INSERT INTO article (id, tenant_id, body) VALUES (%s, %s, %s)",
            [n, n, body.format(*words)],
        )
    definition = replace(ARTICLE_SEARCH, chunking=Chunking(max_tokens=64))
    execute_all(db, alter_search_index(definition))
    Worker(articles).drain()
    return db


def test_keywords_bring_the_passages_that_hold_them_first(three: Connection) -> None:
    found = passages(three, "fish", mode="keyword", k=100)
    assert {hit.id for hit in found} == {2}
    holds = ["fish" in (hit.passage or "") for hit in found]
    assert holds == sorted(holds, reverse=True)
    assert any(holds)
    assert not all(holds)
    first = [hit.ordinal for hit, held in zip(found, holds, strict=True) if held]
    assert first == sorted(first, key=int)
    assert first[0] != 0
    assert len({hit.score for hit in found}) == 1


def test_a_document_without_passages_is_found_by_its_words(three: Connection) -> None:
    three.execute("INSERT INTO article (id, body) VALUES (4, 'A new zebra')")
    for mode in ("keyword", "hybrid"):
        (new,) = (
            hit
            for hit in passages(three, "zebra", vector=vector_of("zebra"), mode=mode, k=100)
            if hit.id == 4
        )
        assert (new.passage, new.ordinal, new.similarity, new.stale) == (None, None, None, False)
        assert new.score == new.document_score
    by_vector = passages(three, "zebra", vector=vector_of("zebra"), mode="vector", k=100)
    assert {hit.id for hit in by_vector} == {1, 2, 3}


def test_passages_without_a_vector(three: Connection) -> None:
    """Beside others they are left out; where there are no others, words decide."""
    three.execute("UPDATE article_search_chunk SET embedding_hash_v1 = NULL WHERE ordinal > 0")
    asked: dict[str, Any] = {"vector": vector_of("cat"), "k": 100}
    assert {hit.ordinal for hit in passages(three, "cat", **asked)} == {0}
    three.execute("UPDATE article_search_chunk SET embedding_hash_v1 = NULL WHERE id = 1")
    found = [hit for hit in passages(three, "moon", **asked) if hit.id == 1]
    assert "moon" in (found[0].passage or "")
    assert len(found) > 2
    assert {hit.similarity for hit in found} == {None}


@pytest.mark.parametrize("mode", MODES)
def test_passages_of_a_changed_text(three: Connection, mode: str) -> None:
    three.execute("UPDATE article SET body = 'A cat in a new moon' WHERE id = 1")
    asked: dict[str, Any] = {"vector": vector_of("cat"), "mode": mode, "k": 100}
    found = passages(three, "cat", **asked)
    assert {hit.id for hit in found if hit.stale} == {1}
    hiding = replace(ARTICLE_SEARCH, chunking=Chunking(max_tokens=64), stale="hide")
    execute_all(three, alter_search_index(hiding))
    found = passages(three, "cat", **asked)
    assert not any(hit.stale for hit in found)
    assert [hit.passage for hit in found if hit.id == 1] == ([] if mode == "vector" else [None])


def test_before_an_embedding_is_ready_keywords_answer(db: Connection) -> None:
    db.execute("INSERT INTO article (title) VALUES ('cats'), ('dogs')")
    (hit,) = passages(db, "cat", vector=vector_of("cat"))
    assert (hit.passage, hit.keyword_rank) == (None, 1)


# Who may ask, and what it costs


def test_row_level_security_holds(articles: str, three: Connection) -> None:
    three.execute("ALTER TABLE article ENABLE ROW LEVEL SECURITY")
    three.execute(
        "CREATE POLICY own ON article"
        " USING (tenant_id = nullif(current_setting('app.tenant', true), '')::integer)"
    )
    execute_all(
        three, alter_search_index(replace(ARTICLE_SEARCH, chunking=Chunking(max_tokens=64)))
    )
    with roles_of(articles) as roles:
        roles.create("reader")
        reader = roles.identifier("reader")
        for privilege in (
            "SELECT ON article, article_search_document, article_search_chunk",
            "EXECUTE ON FUNCTION article_search_terms",
        ):
            three.execute(SQL("GRANT {} TO {}").format(SQL(privilege), reader))
        with product.connect(roles.url_of("reader"), row_security=True) as asking:
            asked: dict[str, Any] = {"vector": vector_of("cat"), "k": 100}
            for mode in MODES:
                assert passages(asking, "cat dog", mode=mode, **asked) == []
            asking.execute("SET app.tenant = '3'")
            for mode in MODES:
                found = passages(asking, "cat dog", mode=mode, **asked)
                assert {hit.id for hit in found} == {3}
                assert len(found) > 2


@pytest.mark.parametrize("mode", MODES)
def test_passages_are_read_by_their_key(library: Connection, mode: str) -> None:
    def scans() -> dict[str, int]:
        library.execute("SELECT pg_stat_force_next_flush()")
        return dict(
            library.execute(
                "SELECT relname::text, seq_scan FROM pg_stat_user_tables UNION ALL"
                " SELECT indexrelname::text, idx_scan FROM pg_stat_user_indexes"
            ).fetchall()
        )

    asked: dict[str, Any] = {"mode": mode, "vector": str([1] * 64)}
    before = scans()
    documents(library, "word50 word60", **asked)
    between = scans()
    found = passages(library, "word50 word60", per_document=3, **asked)
    after = scans()
    assert len(found) == 10
    # Of so small a table the search may read all; what comes behind it does not.
    for table in ("article", "article_search_chunk", "article_search_document"):
        assert after[table] - between[table] == between[table] - before[table]
    for key in ("article_search_chunk_pkey", "article_search_document_pkey"):
        assert after[key] - between[key] == between[key] - before[key] + 10
