"""Types and functions of PostgreSQL's contrib modules, which the embedded server does not have.

Set CONTRIB_DATABASE_URL to a server with contrib and pgvector, on which the user may create
databases, to run these.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy.exc import NotSupportedError

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import alter_search_index
from tests.plugins.migration import migration
from tests.plugins.search import HASH_V1, create, execute_all, install
from tests.plugins.tables import (
    assert_documents_as_new,
    contents,
    contents_of_a_new_one,
    documents,
    drain,
    execute,
    fill,
    search,
)
from tests.plugins.worker import url_of

URL = os.environ.get("CONTRIB_DATABASE_URL")

pytestmark = pytest.mark.skipif(
    URL is None, reason="CONTRIB_DATABASE_URL names no server with PostgreSQL's contrib modules"
)


@pytest.fixture
def db() -> Iterator[product.Connection]:
    """A connection to a fresh database on the server with contrib."""
    assert URL is not None
    name = f"test_contrib_{os.getpid()}"
    with psycopg.connect(URL, autocommit=True) as server:
        server.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
        try:
            with product.connect(urlsplit(URL)._replace(path=f"/{name}").geturl()) as connection:
                connection.execute("CREATE EXTENSION vector")
                product.register_vectors(connection)
                install(connection)
                yield connection
        finally:
            server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


@pytest.fixture(params=["public", "extensions"])
def schema(db: product.Connection, request: pytest.FixtureRequest) -> str:
    """The schema that extensions are in: on the search path, or not."""
    if request.param != "public":
        execute(db, f"CREATE SCHEMA {request.param}")
    return str(request.param)


def people(schema: str) -> IndexDefinition:
    return IndexDefinition(
        "person_search",
        "public",
        "person",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("name", "A"), TextColumn("loud", "B", "upper(name)", ("name",))),
        filters=(TypedColumn("town", f"{schema}.citext"),),
        language_column="lang",
    )


def test_columns_of_citext(db: product.Connection, schema: str) -> None:
    """A change of case is a change of the text, though citext calls both equal."""
    execute(db, f"CREATE EXTENSION citext SCHEMA {schema}")
    citext = f"{schema}.citext"
    execute(
        db,
        "CREATE TABLE person"
        f" (id integer PRIMARY KEY, name {citext}, town {citext}, lang {citext})",
    )
    execute(db, "INSERT INTO person VALUES (1, 'mr jones', 'Rome', 'EN')")
    definition = people(schema)
    # Filters compare as they do for who makes the search index.
    execute(db, f"SET search_path = public, {schema}")
    create(db, definition, HASH_V1)
    execute(db, "RESET search_path")
    drain(db, definition)
    execute(db, "UPDATE person SET name = 'MR Jones'")
    execute(db, "INSERT INTO person VALUES (2, 'die Hasen', 'ROME', 'De')")
    drain(db, definition)
    assert contents(db, definition).chunks[0][2] == "MR Jones\n\nMR JONES"
    assert search(db, definition, "jones", town="rome") == {1}
    assert search(db, definition, "Hase", town="rome", query_language="de") == {2}
    assert contents(db, definition) == contents_of_a_new_one(db, definition, HASH_V1)
    execute(db, "DELETE FROM person_search_queue")
    execute(db, "UPDATE person SET town = 'Oslo'")
    assert execute(db, "SELECT count(*) FROM person_search_queue") == [(0,)]


@pytest.mark.parametrize("key", ["citext", "email"])
def test_a_key_of_citext_is_refused(db: product.Connection, schema: str, key: str) -> None:
    """Of a domain over it as well; as a text such a column is welcome."""
    execute(db, f"CREATE EXTENSION citext SCHEMA {schema}")
    execute(db, f"CREATE DOMAIN email AS {schema}.citext NOT NULL CHECK (VALUE LIKE '%@%'::text)")
    type_ = f"{schema}.citext" if key == "citext" else key
    execute(db, f"CREATE TABLE person (id {type_} PRIMARY KEY, number integer NOT NULL UNIQUE)")
    with (
        pytest.raises(NotSupportedError, match="compares by an operator of its own") as caught,
        migration(url_of(db)) as op,
    ):
        op.create_search_index("mail_search", "person", text={"number": "A"})
    assert "such a column can be a text or a filter" in str(caught.value)
    with migration(url_of(db)) as op:
        op.create_search_index("mail_search", "person", text={"id": "A"}, key={"number": "integer"})
    execute(db, "INSERT INTO person VALUES ('Ann@a.org', 1)")
    assert execute(db, "SELECT number FROM mail_search('ann@a.org')") == [(1,)]


def test_expressions_with_contrib(db: product.Connection, schema: str) -> None:
    """Functions are found as they were when the search index was made, whoever writes."""
    for name in ("unaccent", "hstore", "ltree"):
        execute(db, f"CREATE EXTENSION {name} SCHEMA {schema}")
    execute(db, f"SET search_path = public, {schema}")
    execute(
        db,
        "CREATE TABLE person (id integer PRIMARY KEY, name text, facts hstore, place ltree)",
    )
    definition = IndexDefinition(
        "person_search",
        "public",
        "person",
        key=(TypedColumn("id", "integer"),),
        text=(
            TextColumn("plain", "A", "unaccent(name)", ("name",)),
            TextColumn("job", "B", "facts -> 'job'", ("facts",)),
            TextColumn("town", "C", "subpath(place, -1)", ("place",)),
            TextColumn("place", "D"),
        ),
    )
    create(db, definition)
    execute(db, "RESET search_path")
    execute(
        db,
        "INSERT INTO person VALUES (1, 'Hôtel Été', 'job=>cook, age=>7', 'europe.italy.rome')",
    )
    assert [row[1] for row in documents(db, definition)] == [
        "'cook':3B 'ete':2A 'europe.italy.rome':5 'hotel':1A 'rome':4C"
    ]
    execute(db, f"SET search_path = public, {schema}")
    assert_documents_as_new(db, definition)
    execute(db, "DELETE FROM person_search_queue")
    execute(db, "UPDATE person SET facts = facts || 'age=>8'")
    assert execute(db, "SELECT count(*) FROM person_search_queue") == [(0,)]


def test_a_configuration_without_accents(db: product.Connection, schema: str) -> None:
    """As the search index's own language, and as a row's."""
    execute(db, f"CREATE EXTENSION unaccent SCHEMA {schema}")
    execute_all(
        db,
        [
            "CREATE TEXT SEARCH CONFIGURATION fr (COPY = french)",
            (
                "ALTER TEXT SEARCH CONFIGURATION fr ALTER MAPPING FOR hword, hword_part, word"
                f" WITH {schema}.unaccent, french_stem"
            ),
            "CREATE TABLE page (id integer PRIMARY KEY, body text, lang text)",
            "INSERT INTO page VALUES (1, 'Hôtel', NULL), (2, 'Hôtel', 'public.fr')",
        ],
    )
    definition = IndexDefinition(
        "page_search",
        "public",
        "page",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("body", "A"),),
        language_column="lang",
    )
    create(db, definition)
    fill(db, definition)
    assert [row[1] for row in documents(db, definition)] == ["'hôtel':1A", "'hotel':1A"]
    assert search(db, definition, "hotel", query_language="public.fr") == {2}
    definition = IndexDefinition(
        "page_search",
        "public",
        "page",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("body", "A"),),
        language="public.fr",
    )
    execute_all(db, alter_search_index(definition))
    fill(db, definition)
    assert search(db, definition, "Hôtel") == {1, 2}
    assert search(db, definition, "hotel") == {1, 2}
