"""Triggers: no text makes a write fail, however long or strange it is."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgsearch import database as product
from tests.plugins.search import documents

MEGABYTES_5 = 5_000_000


def long_texts() -> dict[str, tuple[str, bool]]:
    """Return texts of 5 MB, and whether their documents are cut."""

    def repeated(text: str) -> str:
        return text * (MEGABYTES_5 // len(text.encode()) + 1)

    numbers = range(400_000)
    return {
        "distinct words": (" ".join(f"w{n}x{n * 7}" for n in numbers), True),
        "one word": (repeated("cats "), False),
        "CJK": (repeated("汉字搜索引擎"), False),
        "distinct CJK words": (
            " ".join(chr(0x4E00 + n % 20_000) + chr(0x4E00 + n // 20_000) for n in numbers),
            True,
        ),
        "emoji": (repeated("😀🎉 "), False),
        "2-byte words": (" ".join(f"жук{n}ж" for n in numbers), True),
        "compounds": (" ".join(f"a{n}-b{n}-c{n}-d{n}" for n in numbers), True),
        "one compound": ("-".join(f"a{n}" for n in numbers), True),
        "URLs": (" ".join(f"http://h{n}.org/p{n}/q{n}?a={n}" for n in numbers), True),
        "words of 2 kB": (" ".join("é" * 1000 + str(n) for n in range(2500)), True),
    }


@pytest.mark.parametrize(("text", "truncated"), long_texts().values(), ids=long_texts().keys())
def test_a_row_of_5_mb(db: product.Connection, text: str, truncated: bool) -> None:
    db.execute("INSERT INTO article (id, title, body) VALUES (1, 'found by title', %s)", [text])
    document = documents(db)[1]
    assert document.truncated is truncated
    assert document.length >= 2
    found = db.execute("SELECT id FROM article_search('title')").fetchall()
    assert found == [(1,)]


def test_both_columns_of_5_mb(db: product.Connection) -> None:
    text = long_texts()["distinct words"][0]
    db.execute("INSERT INTO article (id, title, body) VALUES (1, %s, 'body')", [text])
    assert documents(db)[1].truncated
    db.execute("UPDATE article SET title = body, body = title")
    assert documents(db)[1].truncated
    assert db.execute("SELECT id FROM article_search('body')").fetchall() == [(1,)]
    db.execute("UPDATE article SET body = ''")
    assert documents(db)[1][:3] == ("'bodi':1A", 1, False)


def test_long_text_is_cut_between_words(db: product.Connection) -> None:
    """What is taken in pieces gives the lexemes of the whole."""
    body = " ".join(f"word{n % 9973}" for n in range(30_000))
    db.execute("INSERT INTO article (body) VALUES (%s)", [body])
    ((extra, missing, truncated),) = db.execute(
        "SELECT ARRAY(SELECT unnest(held) EXCEPT SELECT unnest(whole)),"
        " ARRAY(SELECT unnest(whole) EXCEPT SELECT unnest(held)), truncated"
        " FROM (SELECT tsvector_to_array(tsv) AS held, truncated,"
        "   tsvector_to_array(to_tsvector('english', body)) AS whole"
        "   FROM article_search_document JOIN article USING (id)) AS document"
    ).fetchall()
    assert (extra, missing, truncated) == ([], [], False)


unicode_text = st.none() | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=400
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(unicode_text, unicode_text), min_size=1, max_size=8))
def test_any_unicode_text_is_captured(
    db: product.Connection, rows: list[tuple[str | None, str | None]]
) -> None:
    db.execute("TRUNCATE article")
    for title, body in rows:
        db.execute("INSERT INTO article (title, body) VALUES (%s, %s)", [title, body])
    ((count, wrong),) = db.execute(
        "SELECT count(*), count(*) FILTER (WHERE tsv <> expected OR length <> tokens OR truncated)"
        " FROM article JOIN article_search_document USING (id), LATERAL ("
        "   SELECT setweight(to_tsvector('english', coalesce(title, '')), 'A')"
        "       || setweight(to_tsvector('english', coalesce(body, '')), 'B') AS expected"
        " ) AS whole, LATERAL ("
        "   SELECT coalesce(sum(cardinality(positions)), 0) AS tokens FROM unnest(expected)"
        " ) AS counted"
    ).fetchall()
    assert (count, wrong) == (len(rows), 0)
