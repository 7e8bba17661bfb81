"""Keyword search: BM25 out of the tsvector, and what quotes and minus signs mean."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgsearch import database as product
from tests.plugins.search import LIBRARY_ROWS, vector_of

WORDS = ["cat", "dogs", "running", "birds", "flying", "stone", "rivers", "wolf"]

HYPOTHESIS = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30
)


def tokens(db: product.Connection) -> dict[int, Counter[str]]:
    """Return how often each document holds each lexeme."""
    rows = db.execute(
        "SELECT id, array_agg(lexeme ORDER BY lexeme) FILTER (WHERE lexeme IS NOT NULL),"
        " array_agg(cardinality(positions) ORDER BY lexeme)"
        " FROM article_search_document LEFT JOIN LATERAL unnest(tsv) ON true GROUP BY id"
    )
    return {
        key: Counter(dict(zip(words, counts, strict=True))) if words else Counter()
        for key, words, counts in rows
    }


def bm25(documents: Mapping[int, Counter[str]], terms: Sequence[str]) -> dict[int, float]:
    """Return the BM25 score of each document that holds a term: k1 = 1.2, b = 0.75."""
    count = len(documents)
    mean = sum(document.total() for document in documents.values()) / count
    scores: dict[int, float] = {}
    for term in terms:
        holding = [key for key, document in documents.items() if document[term]]
        idf = math.log(1 + (count - len(holding) + 0.5) / (len(holding) + 0.5))
        for key in holding:
            frequency = documents[key][term]
            length = 0.25 + 0.75 * documents[key].total() / mean
            scores[key] = scores.get(key, 0) + idf * frequency / (frequency + 1.2 * length)
    return scores


def lexemes(db: product.Connection, text: str) -> list[str]:
    row = db.execute("SELECT tsvector_to_array(to_tsvector('english', %s))", [text]).fetchone()
    assert row is not None
    return list(row[0])


def found(db: product.Connection, query: str, k: int = 10) -> dict[int, float]:
    """Return the keyword scores of the results, best first."""
    rows = db.execute(
        "SELECT id, score, keyword_score, keyword_rank, similarity, vector_rank"
        " FROM article_search(%s, k => %s, mode => 'keyword')",
        [query, k],
    ).fetchall()
    assert [row[3] for row in rows] == list(range(1, len(rows) + 1))
    assert all(row[1] == row[2] and row[4] is None and row[5] is None for row in rows)
    assert rows == sorted(rows, key=lambda row: (-row[1], row[0]))
    return {row[0]: row[1] for row in rows}


def refresh(db: product.Connection) -> None:
    db.execute("SELECT article_search_refresh_statistics()")


def forget(db: product.Connection) -> None:
    """Leave the statistics as they are before they are first taken."""
    db.execute("DELETE FROM article_search_lexeme")
    db.execute("UPDATE pgsearch.search_index SET document_count = NULL, mean_length = NULL")


# BM25


corpora = st.lists(st.lists(st.sampled_from(WORDS), max_size=30), min_size=1, max_size=25)
questions = st.lists(st.sampled_from([*WORDS, "unknown", "the"]), min_size=1, max_size=6)


@HYPOTHESIS
@given(corpora, questions, st.booleans())
def test_scores_are_bm25(
    db: product.Connection, corpus: list[list[str]], question: list[str], refreshed: bool
) -> None:
    """With statistics and without, for exactly the documents that hold a term."""
    db.execute("TRUNCATE article")
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO article (title, body) VALUES (%s, %s)",
            [(" ".join(text[:2]), " ".join(text[2:])) for text in corpus],
        )
    if refreshed:
        refresh(db)
    else:
        forget(db)
    query = " ".join(question)
    expected = bm25(tokens(db), lexemes(db, query)) if any(corpus) else {}
    assert found(db, query, k=100) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_scores_are_bm25_in_a_large_corpus(library: product.Connection) -> None:
    documents = tokens(library)
    for query in ("word57 word201", "word399 word400 word3", "word90", "titles of word31"):
        expected = bm25(documents, lexemes(library, query))
        best = sorted(expected.items(), key=lambda item: (-item[1], item[0]))[:20]
        assert found(library, query, k=20) == pytest.approx(dict(best), rel=1e-4)


def test_a_term_of_every_document_still_counts_a_little(db: product.Connection) -> None:
    db.execute("INSERT INTO article (body) SELECT 'cat' FROM generate_series(1, 3)")
    assert found(db, "cat") == pytest.approx(
        dict.fromkeys((1, 2, 3), math.log(1 + 0.5 / 3.5) / 2.2)
    )


def test_term_frequency_is_exact(db: product.Connection) -> None:
    rows = db.execute(
        "SELECT tf, pgsearch.term_frequency(tsv, 'cat') FROM generate_series(1, 255) AS tf,"
        " to_tsvector('simple', 'dog ' || repeat('cat ', tf)) AS tsv"
    ).fetchall()
    assert [read for _, read in rows] == [tf for tf, _ in rows]


def test_term_frequency_under_all_weights(db: product.Connection) -> None:
    rows = db.execute(
        "SELECT tf, pgsearch.term_frequency(tsv, 'cat'), pgsearch.term_frequency(tsv, 'dog')"
        " FROM generate_series(1, 60) AS tf, LATERAL ("
        "  SELECT setweight(part, 'A') || setweight(part, 'B') || setweight(part, 'C') || part"
        "  FROM to_tsvector('simple', repeat('cat ', tf)) AS part) AS whole (tsv)"
    ).fetchall()
    assert [(read, absent) for _, read, absent in rows] == [(4 * tf, 0) for tf, _, _ in rows]


def test_a_term_more_frequent_than_a_tsvector_counts(db: product.Connection) -> None:
    """A tsvector keeps 255 positions of a word, the first 16,383 of a document."""
    rows = db.execute(
        "SELECT pgsearch.term_frequency(to_tsvector('simple', text), 'cat') FROM (VALUES"
        " (repeat('cat ', 256)), (repeat('cat ', 10000)),"
        " ((SELECT string_agg('w' || n, ' ') FROM generate_series(1, 17000) AS n)"
        "   || repeat(' cat', 5))) AS document (text)"
    ).fetchall()
    assert rows == [(255,), (255,), (1,)]


# What is found


def test_one_of_many_terms_is_enough(library: product.Connection) -> None:
    assert found(library, "what is a purple thing like, and how would one know") != {}
    assert set(found(library, "purple zebra", 100)) == set(found(library, "purple", 100))


@pytest.mark.parametrize("refreshed", [False, True])
def test_before_and_after_statistics(db: product.Connection, refreshed: bool) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cats'), ('dogs'), ('cats and dogs')")
    if refreshed:
        refresh(db)
    assert set(found(db, "cat")) == {1, 3}
    db.execute("INSERT INTO article (body) VALUES ('birds and cats')")
    assert set(found(db, "cat")) == {1, 3, 4}
    assert set(found(db, "bird")) == {4}


def test_statistics_of_empty_documents_say_nothing(db: product.Connection) -> None:
    db.execute("INSERT INTO article DEFAULT VALUES")
    refresh(db)
    db.execute("INSERT INTO article (body) VALUES ('cats'), ('cats and dogs')")
    assert found(db, "cat") == pytest.approx(bm25(tokens(db), ["cat"]))


@pytest.mark.parametrize("refreshed", [False, True])
def test_an_empty_table(db: product.Connection, refreshed: bool) -> None:
    if refreshed:
        refresh(db)
    assert found(db, "cat") == {}


@pytest.mark.parametrize(
    "query", ["zebra", "the", "to be or not to be", "...", "🎉", "-word1", "-zebra", '""', '"', "-"]
)
def test_what_finds_nothing(library: product.Connection, query: str) -> None:
    """Unknown words, stop words, no words, and what only says what not to find."""
    assert found(library, query) == {}


def test_of_common_words_documents_that_hold_several_come_first(db: product.Connection) -> None:
    """Wherever they lie: here behind more documents of one word than are ever looked at."""
    db.execute(
        "INSERT INTO article (id, body) SELECT n, CASE WHEN n % 2 = 0 THEN 'moon' ELSE 'boat' END"
        " || ' and stone' FROM generate_series(1, 42000) AS n"
    )
    db.execute("INSERT INTO article (id, body) VALUES (50000, 'moon, boat')")
    scores = found(db, "moon boat")
    assert next(iter(scores)) == 50000
    assert len(scores) == 10
    # A quoted phrase or a minus holds for those of one word, too.
    assert list(found(db, "moon boat -stone")) == [50000]
    assert {key % 2 for key in found(db, '"moon and stone" boat')} == {0}


def test_ties_are_in_the_order_of_keys(db: product.Connection) -> None:
    db.execute("INSERT INTO article (body) SELECT 'same text' FROM generate_series(1, 30)")
    assert list(found(db, "text", 7)) == [1, 2, 3, 4, 5, 6, 7]


# Conditions

MODES = ("keyword", "vector", "hybrid")


def ids(db: product.Connection, query: str, mode: str, k: int = 20) -> list[int]:
    """Return the keys of results; the query's vector is that of other words."""
    rows = db.execute(
        "SELECT id FROM article_search(%s, k => %s, vector => %s, mode => %s)",
        [query, k, vector_of("something else"), mode],
    )
    return [key for (key,) in rows]


PHRASE, TURNED = {7, 1007, 2007, 3007}, {8, 1008, 2008, 3008}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('"purple elephant"', PHRASE),
        ('word1 word2 "purple elephant" word3', PHRASE),
        ('"purple elephants" "title"', PHRASE),
        ('"elephant purple"', TURNED),
        ('"purple elephant" "elephant purple"', set()),
        ('purple elephant -"elephant purple" "purple"', PHRASE),
        ('"purple" -"purple elephant"', TURNED),
        ('"elephant" -zebra', PHRASE | TURNED),
        ('"the" "elephant"', PHRASE | TURNED),
        ('"of the" purple -the "elephant purple"', TURNED),
        ('"purple elephant" -title', set()),
        ('"PURPLE   Elephant"', PHRASE),
        ('"purple elephant" or "elephant purple"', PHRASE | TURNED),
        ('"purple elephant" title OR "elephant purple" -title', PHRASE),
        ('or "purple elephant" Or', PHRASE),
    ],
)
def test_phrases_are_conditions(
    library: product.Connection, mode: str, query: str, expected: set[int]
) -> None:
    assert set(ids(library, query, mode)) == expected


@pytest.mark.parametrize("mode", MODES)
def test_a_word_with_a_minus_is_in_no_result(library: product.Connection, mode: str) -> None:
    """There are as many results as are asked for, nonetheless."""
    results = ids(library, "word3 title -word1", mode)
    assert len(results) == 20
    row = library.execute(
        "SELECT count(*) FROM article_search_document WHERE tsv @@ 'word1' AND id = ANY(%s)",
        [results],
    ).fetchone()
    assert row == (0,)


@pytest.mark.parametrize("query", ["well-known", "2020-10-05", "a - b", "x-ray --- y", "word1 -"])
def test_other_dashes_are_no_minus(library: product.Connection, query: str) -> None:
    row = library.execute("SELECT pgsearch.query_condition('english', %s)", [query]).fetchone()
    assert row == (None,)


@pytest.mark.parametrize(
    ("query", "condition"),
    [
        ('"purple elephant" or title', None),
        ('title or -purple "grey elephant"', None),
        ('"now or never"', "'never'"),
        ('"a b" or "c d" x or -y', "'b' | 'c' <-> 'd' | !'y'"),
    ],
)
def test_alternatives_hold_apart(
    library: product.Connection, query: str, condition: str | None
) -> None:
    """As in websearch_to_tsquery: what meets one of them need not meet the conditions of others."""
    row = library.execute(
        "SELECT pgsearch.query_condition('english', %s)::text", [query]
    ).fetchone()
    assert row == (condition,)


def test_or_is_no_word_that_is_looked_for(db: product.Connection) -> None:
    asked = "SELECT pgsearch.query_lexemes('simple', %s)"
    assert db.execute(asked, ["cats OR dogs"]).fetchone() == (["cats", "dogs"],)
    assert db.execute(asked, ['"now or never" -cats']).fetchone() == (["never", "now", "or"],)


def test_stop_words_alone_are_no_condition(library: product.Connection) -> None:
    assert len(ids(library, '"the" word3 -and', "keyword")) == 20


# Any query at all

PIECES = [
    "word1", "purple", "zebra", '"', "'", "''", "-", "|", "&", "!", ":", "*", ":*A", "<->", "(",
    ")", "\\", "\\'", "%", "%s", "%1$s", "$1", "$$", "{0}", "{query}", ";", "--", "/*",
    "http://a.b/c?d='e'", "a@b.org", "3.14e-9", "<b>", "&amp;", "\t", "\n", "é", "汉字", "🎉",
    "\u200b", "\ufffe", "OR", "AND", "x" * 3000,
]  # fmt: skip
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=9)


@settings(HYPOTHESIS, max_examples=60)
@given(st.lists(st.sampled_from(PIECES) | anything), st.sampled_from(["", " "]))
def test_any_query_is_answered(
    library: product.Connection, pieces: list[str], separator: str
) -> None:
    query = f"word2 {separator.join(pieces)}"[:8192]
    assert len(ids(library, query, "hybrid", k=3)) <= 3
    assert len(found(library, query, k=3)) <= 3


def test_a_query_is_never_sql(library: product.Connection) -> None:
    plain = found(library, "word300 article")
    for query in (
        "word300'; DROP TABLE article; --",
        "word300 ' | article",
        "word300 $search$ || (SELECT 1) || $search$ %1$s",
        "word300 \\' OR true",
    ):
        assert "word300" in lexemes(library, query)
        assert found(library, query) != {}
    assert found(library, "word300 article") == plain
    row = library.execute("SELECT count(*) FROM article").fetchone()
    assert row == (LIBRARY_ROWS,)
