"""Search indexes that are altered: what they become, and what is done again for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.definition import Chunking, IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema.index import alter_search_index, suspend_search_index
from tests.plugins.migration import migration
from tests.plugins.search import HASH_V1, HASH_V2, catalogue, create, drop, execute_all
from tests.plugins.tables import (
    Contents,
    contents,
    contents_of_a_new_one,
    documents,
    drain,
    execute,
    fill,
    search,
)
from tests.plugins.worker import SENTENCES, url_of

TABLE = """
CREATE TABLE story (
  id integer PRIMARY KEY, title text, body text, extra text, lang text,
  tenant_id integer, kind text, payload jsonb
)
"""

TITLE, BODY, EXTRA = TextColumn("title", "A"), TextColumn("body", "B"), TextColumn("extra", "C")
NOTES = TextColumn("notes", "D", "payload ->> 'notes'", ("payload",))
TENANT, KIND = TypedColumn("tenant_id", "integer"), TypedColumn("kind", "text")

BASE = IndexDefinition(
    "story_search",
    "public",
    "story",
    key=(TypedColumn("id", "integer"),),
    text=(TITLE, BODY),
    filters=(TENANT,),
    chunking=Chunking(max_tokens=16, overlap=0, heading="title"),
)


class Kind(NamedTuple):
    """A definition, and what a change to it from BASE asks for."""

    definition: IndexDefinition
    rewrites: bool = False
    rechunks: bool = False
    embeds: bool = False


KINDS = {
    "base": Kind(BASE),
    "a text added": Kind(replace(BASE, text=(TITLE, BODY, EXTRA)), True, True, True),
    "a text removed": Kind(replace(BASE, text=(TITLE,)), True, True, True),
    "the texts turned round": Kind(replace(BASE, text=(BODY, TITLE)), rewrites=True, rechunks=True),
    "other weights": Kind(replace(BASE, text=(TITLE._replace(weight="D"), BODY)), rewrites=True),
    "another language": Kind(replace(BASE, language="german"), rewrites=True),
    "a language per row": Kind(replace(BASE, language_column="lang"), rewrites=True),
    "no filters": Kind(replace(BASE, filters=())),
    "more filters": Kind(replace(BASE, filters=(KIND, TENANT))),
    "another filter": Kind(replace(BASE, filters=(KIND,))),
    "longer chunks": Kind(
        replace(BASE, chunking=Chunking(max_tokens=40, overlap=8, heading="title")),
        rechunks=True,
        embeds=True,
    ),
    "no heading": Kind(
        replace(BASE, chunking=Chunking(max_tokens=16, overlap=0)), rechunks=True, embeds=True
    ),
    "an expression": Kind(replace(BASE, text=(TITLE, BODY, NOTES)), True, True, True),
    "another expression": Kind(
        replace(BASE, text=(TITLE, BODY, NOTES._replace(sql="upper(title)", columns=("title",)))),
        True,
        True,
        True,
    ),
    "two expressions": Kind(
        replace(
            BASE,
            text=(TextColumn("loud", "A", "upper(extra)", ("extra",)), TITLE, NOTES, BODY),
            language_column="lang",
            filters=(TENANT, KIND),
        ),
        True,
        True,
        True,
    ),
}


@pytest.fixture
def db(installed: product.Connection) -> product.Connection:
    """A connection to a database with the table `story` and no search index."""
    execute(installed, TABLE)
    execute(
        installed,
        "INSERT INTO story SELECT n, 'Comet ' || n, %s, 'More of ' || n || ' and die Hasen',"
        " (ARRAY['de', 'english', NULL])[n %% 3 + 1], n %% 2, (ARRAY['a', 'b'])[n %% 2 + 1],"
        " jsonb_build_object('notes', 'Note ' || n, 'views', n)"
        " FROM generate_series(1, 6) AS n",
        " ".join(SENTENCES),
    )
    execute(installed, "UPDATE story SET body = NULL WHERE id = 6")
    return installed


def generations(connection: product.Connection) -> list[tuple[object, ...]]:
    return execute(connection, "SELECT id, generation FROM story_search_document ORDER BY id")


def given(*definitions: IndexDefinition) -> dict[str, object]:
    """Return filters that all these definitions have."""
    return {
        column.name: {"tenant_id": 1, "kind": "b"}[column.name]
        for column in definitions[0].filters
        if all(column in definition.filters for definition in definitions)
    }


def alter_and_search(
    connection: product.Connection, before: IndexDefinition, after: IndexDefinition
) -> None:
    """Alter a search index; search after every statement and write after every step."""
    filters = given(before, after)
    for n, step in enumerate(alter_search_index(after)):
        execute_all(connection, [step])
        assert search(connection, before, "comet", **filters), step.what
        execute(connection, "INSERT INTO story (id, title) VALUES (%s, 'Comet late')", 100 + n)
        execute(connection, "UPDATE story SET title = title || '.' WHERE id = %s", 100 + n)
        execute(connection, "DELETE FROM story WHERE id = %s", 100 + n)


@pytest.fixture(scope="module")
def new_ones() -> dict[str, Contents]:
    """What search indexes hold that were made as they are, by kind."""
    return {}


def new_one(connection: product.Connection, kind: str, known: dict[str, Contents]) -> Contents:
    if kind not in known:
        definition = KINDS[kind].definition
        known[kind] = contents_of_a_new_one(connection, definition, HASH_V1, HASH_V2)
    return known[kind]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "base"])
def test_from_one_definition_to_another(
    db: product.Connection, new_ones: dict[str, Contents], kind: str
) -> None:
    """And back again: it is as if it had been made that way, and no more is done than it takes."""
    changed = KINDS[kind]
    create(db, BASE, HASH_V1, HASH_V2)
    drain(db, BASE)
    assert contents(db, BASE) == new_one(db, "base", new_ones)
    before, first = generations(db), documents(db, BASE)
    alter_and_search(db, BASE, changed.definition)
    assert generations(db) == before
    ((rewrites, rechunks, is_filled),) = execute(
        db,
        "SELECT refill_documents, refill_chunks, filled_at IS NOT NULL FROM pgsearch.search_index",
    )
    assert (rewrites, rechunks) == (changed.rewrites, changed.rechunks)
    assert is_filled is not (rewrites or rechunks)
    report = drain(db, changed.definition)
    assert contents(db, changed.definition) == new_one(db, kind, new_ones)
    assert (report.embedded > 0) is changed.embeds
    assert (generations(db) != before) is (changed.rewrites and changed.rechunks)
    assert (documents(db, changed.definition) != first) is changed.rewrites
    assert search(db, changed.definition, "comet", **given(changed.definition))
    execute_all(db, alter_search_index(BASE))
    report = drain(db, BASE)
    assert contents(db, BASE) == new_one(db, "base", new_ones)
    assert search(db, BASE, "comet", tenant_id=1) == {1, 3, 5}


def test_from_each_to_the_next(db: product.Connection, new_ones: dict[str, Contents]) -> None:
    names = list(KINDS)
    create(db, BASE, HASH_V1, HASH_V2)
    drain(db, BASE)
    before = "base"
    for kind in (*names[1:], *names[::-2], *names[::3]):
        alter_and_search(db, KINDS[before].definition, KINDS[kind].definition)
        drain(db, KINDS[kind].definition)
        assert contents(db, KINDS[kind].definition) == new_one(db, kind, new_ones), (before, kind)
        before = kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_catalogue_is_that_of_a_new_one(db: product.Connection, kind: str) -> None:
    """Altered once or several times, nothing is left of what was before."""
    definition = KINDS[kind].definition
    create(db, definition, HASH_V1)
    wanted = catalogue(db)
    drop(db, definition)
    create(db, KINDS["two expressions"].definition, HASH_V1)
    for repeated in (definition, definition, BASE, definition):
        execute_all(db, alter_search_index(repeated))
        execute_all(db, alter_search_index(repeated))
    found = catalogue(db)
    assert [row for row in found if row not in wanted] == []
    assert [row for row in wanted if row not in found] == []


def test_an_alteration_that_changes_nothing(db: product.Connection) -> None:
    create(db, BASE, HASH_V1)
    drain(db, BASE)
    before, held = generations(db), contents(db, BASE)
    execute_all(db, alter_search_index(BASE))
    assert drain(db, BASE).embedded == 0
    assert (generations(db), contents(db, BASE)) == (before, held)
    execute_all(db, alter_search_index(BASE, refill=True))
    assert drain(db, BASE).embedded == 0
    assert contents(db, BASE) == held


def test_an_alteration_of_what_is_not_filled_yet(
    db: product.Connection, new_ones: dict[str, Contents]
) -> None:
    """Nor embedded: in the middle of the first fill, and with changes that wait."""
    create(db, BASE, HASH_V1, HASH_V2)
    execute(db, "SELECT story_search_fill(NULL, 2)")
    execute(db, "UPDATE story SET title = title || '!' WHERE id IN (1, 5)")
    execute(db, "UPDATE story SET title = 'Comet ' || id WHERE id IN (1, 5)")
    for kind in ("longer chunks", "another language", "two expressions"):
        execute_all(db, alter_search_index(KINDS[kind].definition))
        execute(db, "SELECT story_search_fill('{\"id\": 2}', 1)")
    drain(db, KINDS["two expressions"].definition)
    assert contents(db, KINDS["two expressions"].definition) == new_one(
        db, "two expressions", new_ones
    )


def test_rows_that_change_while_nothing_is_captured(db: product.Connection) -> None:
    """A fill after a suspension finds rows that came, went, changed and got other keys."""
    create(db, BASE, HASH_V1)
    drain(db, BASE)
    execute_all(db, suspend_search_index("story_search", "story", "public"))
    for statement in (
        "INSERT INTO story (id, title) VALUES (0, 'first'), (50, 'in the middle'), (99, 'last')",
        "DELETE FROM story WHERE id IN (1, 6)",
        "UPDATE story SET title = 'changed' WHERE id = 3",
        "UPDATE story SET id = 70 WHERE id = 4",
    ):
        execute(db, statement)
    execute_all(db, alter_search_index(BASE))
    drain(db, BASE)
    assert contents(db, BASE) == contents_of_a_new_one(db, BASE, HASH_V1)
    assert [row[0] for row in documents(db, BASE)] == ["0", "2", "3", "5", "50", "70", "99"]


def test_an_emptied_table(db: product.Connection) -> None:
    create(db, BASE)
    fill(db, BASE)
    execute_all(db, suspend_search_index("story_search", "story", "public"))
    execute(db, "TRUNCATE story")
    execute_all(db, alter_search_index(BASE, refill=True))
    fill(db, BASE)
    assert documents(db, BASE) == []


def test_a_type_that_changes_in_one_migration(db: product.Connection) -> None:
    create(db, BASE, HASH_V1)
    drain(db, BASE)
    with migration(url_of(db)) as op:
        op.suspend_search_index("story_search", "story")
        op.execute("ALTER TABLE story ALTER COLUMN title TYPE varchar(80)")
        op.alter_search_index(
            "story_search",
            "story",
            text={"title": "A", "body": "B"},
            filters=["tenant_id"],
            chunking=BASE.chunking,
            refill=True,
        )
    assert drain(db, BASE).embedded == 0
    assert contents(db, BASE) == contents_of_a_new_one(db, BASE, HASH_V1)


def test_a_key_cannot_be_altered(db: product.Connection) -> None:
    create(db, BASE)
    before = catalogue(db)
    key = (TypedColumn("tenant_id", "integer"), TypedColumn("id", "integer"))
    with pytest.raises(psycopg.errors.FeatureNotSupported, match="is kept by the key"):
        execute_all(db, alter_search_index(replace(BASE, key=key)))
    assert catalogue(db) == before


# Privileges


@pytest.fixture
def reader(db: product.Connection) -> Iterator[str]:
    """A role that may search, as the documentation says, and nothing else."""
    name = f"reader_{db.info.dbname}"
    role = Identifier(name)
    db.execute(SQL("CREATE ROLE {}").format(role))
    yield name
    execute(db, "RESET ROLE")
    db.execute(SQL("DROP OWNED BY {}").format(role))
    db.execute(SQL("DROP ROLE {}").format(role))


def grant_search(connection: product.Connection, reader: str) -> None:
    for grant in (
        "SELECT ON story, story_search_document, story_search_chunk",
        "EXECUTE ON FUNCTION story_search_terms",
    ):
        execute(connection, SQL("GRANT " + grant + " TO {}").format(Identifier(reader)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "base"])
def test_who_may_search_may_go_on(db: product.Connection, reader: str, kind: str) -> None:
    definition = KINDS[kind].definition
    create(db, BASE)
    fill(db, BASE)
    grant_search(db, reader)
    execute(db, f"SET ROLE {reader}")
    assert search(db, BASE, "comet", tenant_id=1) == {1, 3, 5}
    for before, after in ((BASE, definition), (definition, BASE)):
        for step in alter_search_index(after):
            execute(db, "RESET ROLE")
            execute_all(db, [step])
            execute(db, f"SET ROLE {reader}")
            assert search(db, before, "comet", **given(before, after)), step.what
    assert search(db, BASE, "comet", tenant_id=1) == {1, 3, 5}


def test_privileges_of_their_own_are_kept(db: product.Connection, reader: str) -> None:
    """Those that an administrator gave and took: nobody gets more or less by an alteration."""
    create(db, BASE)
    role = Identifier(reader)
    for statement in (
        "REVOKE ALL ON FUNCTION story_search FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION story_search TO {} WITH GRANT OPTION",
        "GRANT EXECUTE ON FUNCTION story_search_terms TO PUBLIC",
        "GRANT SELECT ON story_search_filter TO {} WITH GRANT OPTION",
        "REVOKE SELECT ON story_search_source FROM PUBLIC",
    ):
        execute(db, SQL(statement).format(role))
    privileges = (
        "SELECT proname, proacl::text FROM pg_proc WHERE proname IN"
        " ('story_search', 'story_search_terms', 'story_search_fill', 'story_search_capture')"
        " UNION ALL SELECT relname, relacl::text FROM pg_class"
        " WHERE relname IN ('story_search_filter', 'story_search_source') ORDER BY 1"
    )
    before = execute(db, privileges)
    for kind in ("more filters", "another filter", "a language per row", "base"):
        execute_all(db, alter_search_index(KINDS[kind].definition))
        assert execute(db, privileges) == before, kind
