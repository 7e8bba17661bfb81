"""A language per row: documents are read in theirs, queries in the one that is asked for."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import alter_search_index
from tests.plugins.search import HASH_V1, create, execute_all
from tests.plugins.tables import (
    assert_documents_as_new,
    contents,
    documents,
    drain,
    execute,
    fill,
    search,
)

PAGES = IndexDefinition(
    "page_search",
    "public",
    "page",
    key=(TypedColumn("id", "integer"),),
    text=(TextColumn("body", "A"),),
    language_column="lang",
)

#: Stems differ: English "run" and "rabbit", German "Hase" from "Hasen", simple neither.
BODY = "the running rabbits und die Hasen"
ENGLISH = "'die':5A 'hasen':6A 'rabbit':3A 'run':2A 'und':4A"
GERMAN = "'has':6A 'rabbit':3A 'running':2A 'the':1A"
SIMPLE = "'die':5A 'hasen':6A 'rabbits':3A 'running':2A 'the':1A 'und':4A"

#: What a row may name, and how it is read then.
NAMED = {
    "english": ENGLISH,
    "en": ENGLISH,
    "en-GB": ENGLISH,
    "EN_us": ENGLISH,
    "german": GERMAN,
    "German": GERMAN,
    "de": GERMAN,
    "de-AT": GERMAN,
    "de_CH.UTF-8": GERMAN,
    "simple": SIMPLE,
    "pg_catalog.simple": SIMPLE,
    "public.plain": SIMPLE,
    "public.My Plain": SIMPLE,
    # Read in the language of the search index.
    "": ENGLISH,
    "klingon": ENGLISH,
    "zz": ENGLISH,
    "deutsch": ENGLISH,
    "'; DROP TABLE page; --": ENGLISH,
    "plain": ENGLISH,
    "pg_catalog.no_such": ENGLISH,
    ".": ENGLISH,
    '"': ENGLISH,
    "12345": ENGLISH,
}


def table(connection: product.Connection, type_: str) -> product.Connection:
    execute_all(
        connection,
        [
            "CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple)",
            'CREATE TEXT SEARCH CONFIGURATION "My Plain" (COPY = simple)',
            f"CREATE TABLE page (id integer PRIMARY KEY, body text, lang {type_})",
        ],
    )
    return connection


@pytest.fixture
def db(installed: product.Connection) -> product.Connection:
    return table(installed, "text")


def same(found: str, wanted: str) -> bool:
    """Return whether a document is as wanted; stemmers differ between versions of PostgreSQL."""
    return found in (wanted, wanted.replace("'rabbit':", "'rabbits':"))


@pytest.mark.parametrize("type_", ["text", "varchar(30)", "char(30)", "name", "locale"])
def test_what_a_row_may_name(installed: product.Connection, type_: str) -> None:
    if type_ == "locale":
        execute(installed, "CREATE DOMAIN locale AS text")
    db = table(installed, type_)
    names = list(NAMED)
    insert = (
        "INSERT INTO page SELECT n, %s, named"
        " FROM unnest(%s::text[]) WITH ORDINALITY AS u (named, n)"
    )
    execute(db, insert, BODY, names)
    execute(db, "INSERT INTO page VALUES (100, %s, NULL)", BODY)
    create(db, PAGES)
    fill(db, PAGES)
    filled = documents(db, PAGES)
    execute(db, "TRUNCATE page")
    execute(db, insert, BODY, names)
    execute(db, "INSERT INTO page VALUES (100, %s, NULL)", BODY)
    assert documents(db, PAGES) == filled
    read = {int(row[0]): row[1] for row in filled}
    assert same(read.pop(100), ENGLISH)
    wrong = {
        name: read[n]
        for n, (name, wanted) in enumerate(NAMED.items(), start=1)
        if not same(read[n], wanted)
    }
    assert wrong == {}


def test_a_column_of_configurations(installed: product.Connection) -> None:
    """Whatever search_path the writer has, which decides how they are written."""
    db = table(installed, "regconfig")
    create(db, PAGES)
    names = ["german", "simple", "plain", None]
    for n, name in enumerate(names):
        execute(db, "INSERT INTO page VALUES (%s, %s, %s::regconfig)", n, BODY, name)
    wanted = [GERMAN, SIMPLE, SIMPLE, ENGLISH]
    for path in ("public", "pg_catalog", "''"):
        execute(db, f"SET search_path = {path}")
        execute(db, "UPDATE public.page SET body = body || '' || ' x'")
        execute(db, "UPDATE public.page SET body = left(body, -2)")
        found = [row[1] for row in documents(db, PAGES)]
        assert [a for a, b in zip(found, wanted, strict=True) if not same(a, b)] == []
    execute(db, "RESET search_path")
    # One that is gone is written as a number.
    execute(db, "DROP TEXT SEARCH CONFIGURATION plain")
    execute(db, "UPDATE page SET body = body || ' more' WHERE id = 2")
    assert_documents_as_new(db, PAGES)


def test_the_language_alone_changes(db: product.Connection) -> None:
    """The document is written anew, and nothing is embedded."""
    create(db, PAGES, HASH_V1)
    execute(db, "INSERT INTO page VALUES (1, %s, 'en')", BODY)
    drain(db, PAGES)
    ((generation,),) = execute(db, "SELECT generation FROM page_search_document")
    execute(db, "UPDATE page SET lang = 'english'")
    execute(db, "UPDATE page SET lang = 'de'")
    ((_, tsv, *_),) = assert_documents_as_new(db, PAGES)
    assert same(tsv, GERMAN)
    assert execute(db, "SELECT generation > %s FROM page_search_document", generation) == [(True,)]
    before = contents(db, PAGES).chunks
    assert drain(db, PAGES).embedded == 0
    assert contents(db, PAGES).chunks == before
    assert execute(db, "SELECT stale FROM page_search('rabbit Hase')") == [(False,)]


def test_queries_in_a_language(db: product.Connection) -> None:
    create(db, PAGES)
    execute(
        db,
        "INSERT INTO page VALUES (1, 'the red houses', 'en'), (2, 'die roten Häuser', 'de'),"
        " (3, 'houses Häuser', 'simple')",
    )
    asked = {
        ("house", None): {1},
        ("houses", None): {1},
        ("houses", "en-GB"): {1},
        ("house", "english"): {1},
        ("Häusern", "de"): {2},
        ("Haus", "german"): {2},
        ("Häuser", "simple"): {3},
        ("houses", "pg_catalog.simple"): {3},
        ('"red house"', "en"): {1},
        ("Häusern -rote", "de"): set(),
    }
    found = {key: search(db, PAGES, key[0], query_language=key[1]) for key in asked}
    assert found == asked
    for unknown in ("klingon", "", "zz-ZZ", "no.such"):
        with pytest.raises(
            psycopg.errors.InvalidParameterValue,
            match="there is no text search configuration for the language",
        ) as caught:
            search(db, PAGES, "house", query_language=unknown)
        assert "'german'" in (caught.value.diag.message_hint or "")


def test_an_index_of_another_language(db: product.Connection) -> None:
    """Rows that name none, or nonsense, are read in the language of the search index."""
    definition = replace(PAGES, language="german")
    execute(db, "INSERT INTO page VALUES (1, %s, NULL), (2, %s, 'x'), (3, %s, 'en')", *[BODY] * 3)
    create(db, definition)
    fill(db, definition)
    found = [row[1] for row in assert_documents_as_new(db, definition)]
    assert [same(a, b) for a, b in zip(found, [GERMAN, GERMAN, ENGLISH], strict=True)] == [True] * 3
    assert search(db, definition, "Hase") == {1, 2}
    execute_all(db, alter_search_index(PAGES))
    fill(db, PAGES)
    assert search(db, PAGES, "Hase") == set()
    assert search(db, PAGES, "run") == {1, 2, 3}
