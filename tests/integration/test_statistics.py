"""Keyword statistics: exact when they are taken, honest afterwards, and in nobody's way."""

from __future__ import annotations

import math
from typing import Any

import psycopg
import pytest

from pgsearch import database as product
from pgsearch import registry
from pgsearch.lifecycle import refresh_statistics
from pgsearch.lifecycle.statistics import CHANGED_AT_LEAST, CHANGED_SHARE

REFRESH = "SELECT article_search_refresh_statistics()"


def known(db: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the document counts of the lexemes in the table of common ones."""
    return dict(db.execute("SELECT lexeme, document_count FROM article_search_lexeme").fetchall())


def counted(db: psycopg.Connection[Any]) -> dict[str, int]:
    """Return how many documents hold each lexeme."""
    query = "SELECT word, ndoc FROM ts_stat('SELECT tsv FROM article_search_document')"
    return dict(db.execute(query.encode()).fetchall())


def registered(db: psycopg.Connection[Any]) -> list[Any]:
    """Return document count, mean length and generation as the registry has them."""
    query = "SELECT document_count, mean_length, statistics_generation FROM pgsearch.search_index"
    (row,) = db.execute(query.encode()).fetchall()
    return list(row)


def frequencies(db: psycopg.Connection[Any], query: str) -> dict[str, Any]:
    """Return document frequency, idf and tier of each term of a query."""
    rows = db.execute(
        "SELECT term::text, document_frequency, idf, tier FROM article_search_terms(%s)", [query]
    )
    return {term.strip("'"): tuple(rest) for term, *rest in rows}


def ladder(db: psycopg.Connection[Any], documents: int) -> None:
    """Insert documents so that `word<n>` is in n of them, for every n."""
    db.execute(
        "INSERT INTO article (body) SELECT string_agg('word' || n, ' ')"
        " FROM generate_series(1, %(d)s) AS d, generate_series(d, %(d)s) AS n GROUP BY d",
        {"d": documents},
    )


@pytest.mark.parametrize("documents", [1, 2, 3, 10, 49, 150, 233])
def test_every_frequency_is_exact(db: product.Connection, documents: int) -> None:
    """From one document to all; as shares of a count in single precision they are not whole."""
    ladder(db, documents)
    db.execute(REFRESH)
    assert known(db) == {f"word{n}": n for n in range(1, documents + 1)}
    assert registered(db) == [documents, (documents + 1) / 2, documents]


def test_common_lexemes_of_a_large_table_are_exact(library: product.Connection) -> None:
    exact = counted(library)
    common = known(library)
    assert len(common) > 400
    assert common == {lexeme: exact[lexeme] for lexeme in common}
    assert {f"word{n}" for n in range(1, 401)} <= common.keys()


def test_an_empty_table(db: product.Connection) -> None:
    db.execute(REFRESH)
    assert registered(db)[:2] == [0, None]
    assert known(db) == {}
    assert frequencies(db, "cat")["cat"][0] == 0


def test_empty_documents_count(db: product.Connection) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cat'), (NULL), ('')")
    db.execute(REFRESH)
    assert registered(db) == [3, pytest.approx(1 / 3), 3]
    assert known(db) == {"cat": 1}


def test_lexemes_of_any_characters(db: product.Connection) -> None:
    """They come out of an array's text form, where much has to be quoted."""
    odd = [
        "it's",
        "a,b",
        "{c}",
        'say "d"',
        "e\\f",
        "NULL",
        "null",
        "",
        " ",
        "é",
        "汉字",
        "🎉",
        "%s",
    ]
    for number, lexeme in enumerate(odd):
        db.execute(
            "INSERT INTO article_search_document VALUES"
            " (%s, array_to_tsvector(ARRAY[%s, 'all']), 2, false, 1)",
            [number, lexeme or "nothing"],
        )
    db.execute(REFRESH)
    expected = {lexeme or "nothing": 1 for lexeme in odd} | {"all": len(odd)}
    assert known(db) == expected == counted(db)
    for lexeme in expected:
        row = db.execute(
            "SELECT count(*) FROM article_search_document WHERE tsv @@ pgsearch.lexeme_query(%s)",
            [lexeme],
        ).fetchone()
        assert row == (expected[lexeme],)


def test_they_drift_until_they_are_refreshed(db: product.Connection) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cat'), ('cat dog'), ('bird')")
    db.execute(REFRESH)
    assert frequencies(db, "cat")["cat"] == (2, pytest.approx(math.log(1 + 1.5 / 2.5)), 1)
    db.execute("INSERT INTO article (body) SELECT 'cat wolf' FROM generate_series(1, 7)")
    db.execute("DELETE FROM article WHERE body = 'bird'")
    # A lexeme that is known keeps its count; one that is new is counted.
    assert known(db) == {"cat": 2, "dog": 1, "bird": 1}
    stale = frequencies(db, "cat wolf bird zebra")
    assert {term: found[0] for term, found in stale.items()} == {
        "cat": 2, "wolf": 7, "bird": 1, "zebra": 0
    }  # fmt: skip
    assert all(idf > 0 for _, idf, _ in stale.values())
    db.execute(REFRESH)
    assert known(db) == {"cat": 9, "dog": 1, "wolf": 7} == counted(db)
    assert registered(db) == [9, pytest.approx(17 / 9), 11]
    fresh = frequencies(db, "cat wolf bird zebra")
    assert {term: found[0] for term, found in fresh.items()} == {
        "cat": 9, "wolf": 7, "bird": 0, "zebra": 0
    }  # fmt: skip


def test_a_refresh_rewrites_only_what_changed(db: product.Connection) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cat'), ('cat dog'), ('bird')")
    db.execute(REFRESH)
    versions = "SELECT lexeme, xmin::text FROM article_search_lexeme"
    before: dict[str, str] = dict(db.execute(versions.encode()).fetchall())
    db.execute("INSERT INTO article (body) VALUES ('dog')")
    db.execute(REFRESH)
    after: dict[str, str] = dict(db.execute(versions.encode()).fetchall())
    assert {lexeme for lexeme in before if after[lexeme] != before[lexeme]} == {"dog"}


def test_rare_terms_come_first(library: product.Connection) -> None:
    terms = frequencies(library, "word1 word2 word200 word300 zebra")
    assert terms["zebra"][::2] == (0, None)
    assert [terms[f"word{n}"][2] for n in (300, 200, 2, 1)] == [1, 1, None, None]
    in_order = [terms[word][1] for word in ("zebra", "word300", "word200", "word2", "word1")]
    assert in_order == sorted(in_order, reverse=True)


# Several at once


def test_a_second_refresh_at_the_same_time_does_nothing(
    articles: str, db: product.Connection
) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cat')")
    with psycopg.connect(articles) as first, psycopg.connect(articles, autocommit=True) as second:
        first.execute(REFRESH)
        second.execute("SET lock_timeout = '2s'")
        second.execute(REFRESH)
        assert registered(second) == [None, None, None]
        first.commit()
        assert registered(second) == [1, 1, 1]
        db.execute("INSERT INTO article (body) VALUES ('dog')")
        second.execute(REFRESH)
        assert registered(second) == [2, 1, 2]


def test_a_refresh_that_is_rolled_back_leaves_the_old_ones(db: product.Connection) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cat')")
    db.execute(REFRESH)
    with db.transaction(force_rollback=True):
        db.execute("INSERT INTO article (body) VALUES ('cat'), ('dog')")
        db.execute(REFRESH)
        assert known(db) == {"cat": 2, "dog": 1}
    assert known(db) == {"cat": 1}
    assert registered(db) == [1, 1, 1]


def test_a_refresh_holds_up_neither_writers_nor_searches(
    articles: str, db: product.Connection
) -> None:
    db.execute("INSERT INTO article (body) VALUES ('cat')")
    with psycopg.connect(articles) as refreshing:
        refreshing.execute(REFRESH)
        db.execute("SET lock_timeout = '1s'")
        db.execute("UPDATE article SET body = 'dog'")
        assert db.execute("SELECT id FROM article_search('dog')").fetchall() == [(1,)]
        db.execute("INSERT INTO article (body) VALUES ('bird')")
        db.execute("DELETE FROM article WHERE id = 1")
    assert db.execute("SELECT id FROM article_search('dog bird')").fetchall() == [(2,)]


# When a worker takes them


def test_a_worker_takes_them_when_enough_has_changed(db: product.Connection) -> None:
    (index,) = registry.read(db)
    db.execute("INSERT INTO article (body) SELECT 'cat' FROM generate_series(1, 200)")
    assert refresh_statistics(db, index)
    assert not refresh_statistics(db, index)
    enough = int(CHANGED_SHARE * 200) + CHANGED_AT_LEAST
    db.execute("UPDATE article SET body = 'dog' WHERE id <= %s", [enough])
    assert not refresh_statistics(db, index)
    assert known(db) == {"cat": 200}
    db.execute("UPDATE article SET body = 'dog' WHERE id = %s", [enough + 1])
    assert refresh_statistics(db, index)
    assert known(db) == {"cat": 200 - enough - 1, "dog": enough + 1}


@pytest.mark.parametrize("statement", ["DELETE FROM article WHERE id > 2", "TRUNCATE article"])
def test_deletions_are_changes_too(db: product.Connection, statement: str) -> None:
    (index,) = registry.read(db)
    db.execute("INSERT INTO article (body) SELECT 'cat' FROM generate_series(1, 200)")
    refresh_statistics(db, index)
    db.execute(statement.encode())
    assert refresh_statistics(db, index)
    assert registered(db)[0] == (0 if statement.startswith("TRUNCATE") else 2)
    assert not refresh_statistics(db, index)
