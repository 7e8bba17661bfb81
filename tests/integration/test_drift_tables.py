"""Drift on tables of every shape and after changes of them; and none where all is well."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import psycopg
import pytest

from pgsearch import embedded
from pgsearch.alembic.mend import mends
from pgsearch.definition import Chunking, IndexDefinition, TextColumn, TypedColumn
from tests.plugins import search, shapes
from tests.plugins.drift import damage, look, mend, run, seen
from tests.plugins.migration import run_script
from tests.plugins.postgres import Databases


class Shape(NamedTuple):
    """A table, its search index, and new names for the table and its columns but the key."""

    made: str
    definition: IndexDefinition
    renamed: str


SHAPES = {
    "plain": Shape(
        "CREATE TABLE note (id integer PRIMARY KEY, tenant_id integer, text text, old varchar)",
        IndexDefinition(
            "note_search",
            "public",
            "note",
            key=(TypedColumn("id", "integer"),),
            text=(TextColumn("text", "A"), TextColumn("old", "B")),
            filters=(TypedColumn("tenant_id", "integer"),),
            chunking=Chunking(heading="text"),
        ),
        """
          ALTER TABLE note RENAME TO source;
          ALTER TABLE source RENAME text TO old_text;
          ALTER TABLE source RENAME old TO text;
          ALTER TABLE source RENAME tenant_id TO "new";
          ALTER TABLE source ADD COLUMN old text, ADD COLUMN tenant_id integer;
        """,
    ),
    "quoted": Shape(
        """
          CREATE SCHEMA "My ""Shop";
          CREATE TYPE "My ""Shop"."Größe" AS ENUM ('L', 'XL');
          CREATE DOMAIN "My ""Shop".words AS text;
          CREATE TABLE "My ""Shop"."It's: an 'item'" (
            "No." integer, "Größe" "My ""Shop"."Größe", code varchar(9) COLLATE "C",
            "select" "My ""Shop".words, "Full Text" text, PRIMARY KEY (code, "Größe", "No.")
          );
        """,
        IndexDefinition(
            'the "search" index',
            'My "Shop',
            "It's: an 'item'",
            key=(
                TypedColumn("code", "character varying(9)"),
                TypedColumn("Größe", '"My ""Shop"."Größe"'),
                TypedColumn("No.", "integer"),
            ),
            text=(TextColumn("select", "A"), TextColumn("code", "C"), TextColumn("Full Text", "B")),
            filters=(TypedColumn("code", "character varying(9)"),),
        ),
        """
          ALTER TABLE "My ""Shop"."It's: an 'item'" RENAME TO item;
          ALTER TABLE "My ""Shop".item RENAME "select" TO chosen;
          ALTER TABLE "My ""Shop".item RENAME "Full Text" TO "select";
        """,
    ),
    "expressions": Shape(
        """
          CREATE TABLE page (id uuid PRIMARY KEY, lang text, title text, data jsonb, source text);
          CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE RETURN upper($1);
        """,
        IndexDefinition(
            "page_search",
            "public",
            "page",
            key=(TypedColumn("id", "uuid"),),
            text=(
                TextColumn("summary", "A", "data ->> 'it''s data'", ("data",)),
                TextColumn("title", "B"),
                TextColumn(
                    "both", "C", "shout(title) || ' title of ' || source", ("title", "source")
                ),
                TextColumn("source", "D"),
            ),
            language_column="lang",
            filters=(TypedColumn("lang", "text"),),
        ),
        """
          ALTER TABLE page RENAME TO title;
          ALTER TABLE title RENAME data TO payload;
          ALTER TABLE title RENAME title TO data;
          ALTER TABLE title RENAME lang TO title;
        """,
    ),
    "partitioned": Shape(
        """
          CREATE TABLE event (day date, id integer, note text, PRIMARY KEY (id, day))
          PARTITION BY RANGE (day);
          CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
          CREATE TABLE event_2 PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
          PARTITION BY LIST (id);
          CREATE TABLE event_2_all PARTITION OF event_2 DEFAULT;
        """,
        IndexDefinition(
            "event_search",
            "public",
            "event",
            key=(TypedColumn("id", "integer"), TypedColumn("day", "date")),
            text=(TextColumn("note", "A"),),
        ),
        "ALTER TABLE event RENAME TO happening; ALTER TABLE happening RENAME note TO event",
    ),
}


@pytest.fixture(scope="module")
def shaped_template(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            search.install(connection)
            for shape in SHAPES.values():
                connection.execute(shape.made.encode())
                search.create(connection, shape.definition, search.HASH_V1)
        yield url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
def shaped(databases: Databases, shaped_template: str) -> Iterator[str]:
    """URL of a fresh database with tables of all shapes and their search indexes."""
    with databases.fresh(shaped_template) as url:
        yield url


def rename(url: str) -> None:
    damage(url, *(shape.renamed for shape in SHAPES.values()))


def test_nothing_is_seen_where_all_is_well(shaped: str) -> None:
    assert len(look(shaped).indexes) == len(SHAPES)
    assert seen(shaped) == []


@pytest.mark.parametrize("name", shapes.SHAPES)
def test_no_migration_leaves_drift(empty_database: str, name: str) -> None:
    """Whatever operation has made something, and whichever undone."""
    for revision, (upgrade, downgrade) in shapes.revisions(shapes.SHAPES[name]).items():
        if revision == "ready":
            break  # that is said of embeddings without an index
        for migration in (upgrade, downgrade, upgrade):
            run(empty_database, migration)
            if revision not in ("nothing", "install"):
                assert seen(empty_database) == [], revision


def test_what_is_renamed_is_no_drift(shaped: str) -> None:
    rename(shaped)
    assert seen(shaped) == []


@pytest.mark.parametrize("is_renamed", [False, True])
def test_what_is_restored_is_no_drift(
    databases: Databases, shaped: str, pytestconfig: pytest.Config, *, is_renamed: bool
) -> None:
    if is_renamed:
        rename(shaped)
    # A column that is no more leaves a gap, which a restored table has not.
    damage(shaped, "ALTER TABLE event ADD gap text" if not is_renamed else "SELECT 1")
    with databases.fresh() as restored:
        run_script(restored, dumped(shaped, pytestconfig))
        assert seen(restored) == []
        # What is seen there is seen in the restored database too.
        damage(
            restored,
            "ALTER TABLE {} DISABLE TRIGGER USER".format("source" if is_renamed else "note"),
        )
        assert len(seen(restored)) == 4


def dumped(url: str, pytestconfig: pytest.Config, *options: str) -> str:
    program = embedded.psql(pytestconfig.getoption("--postgres")).with_name("pg_dump")
    command = [str(program), *options, url]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "options", [["--no-comments"], ["--no-comments", "--no-owner", "--no-privileges"]]
)
def test_a_dump_without_comments_takes_the_means_to_see_edits(
    databases: Databases, ready: str, pytestconfig: pytest.Config, options: list[str]
) -> None:
    with databases.fresh() as restored:
        run_script(restored, dumped(ready, pytestconfig, *options))
        found = seen(restored)
        assert found[-1] == (
            "function article_search_read, trigger 00_article_search_delete, trigger"
            " 00_article_search_insert, trigger 00_article_search_update, view"
            " article_search_filter, view article_search_source has no comment by which an edit"
            " would be noticed"
        )
        assert mend(restored) == ["alter_search_index"]
        assert seen(restored) == []


def test_another_version_of_postgresql_may_write_things_out_otherwise(ready: str) -> None:
    damage(
        ready,
        """
          COMMENT ON FUNCTION article_search_read IS
            'Search index article_search. Made by pgsearch, do not edit [9:0123456789abcdef]'
        """,
    )
    assert seen(ready) == []


def test_names_are_those_of_today(ready: str) -> None:
    damage(
        ready,
        "ALTER TABLE article RENAME TO entry",
        "ALTER TABLE entry RENAME title TO headline",
        "ALTER TABLE entry RENAME tenant_id TO owner",
        'DROP TRIGGER "00_article_search_insert" ON entry',
    )
    (finding,) = look(ready).findings
    assert finding.index is not None
    assert finding.index.table == "entry"
    assert [text.name for text in finding.index.text] == ["headline", "body"]
    assert finding.index.chunking.heading == "headline"
    assert mend(ready) == ["alter_search_index"]
    assert seen(ready) == []
    damage(ready, "INSERT INTO entry (headline) VALUES ('fresh')")


def by_hand(url: str) -> tuple[str, str | None]:
    """Return the only finding, which no operation mends, and what to do about it."""
    (finding,) = look(url).findings
    assert mends([finding]) == []
    return str(finding), finding.hint


def test_a_key_that_was_renamed_is_left_to_people(ready: str) -> None:
    damage(
        ready,
        "ALTER TABLE article RENAME id TO number",
        'DROP TRIGGER "00_article_search_insert" ON article',
    )
    found, hint = by_hand(ready)
    assert found == "trigger 00_article_search_insert is missing"
    assert hint == (
        "Its key column 'id' is called 'number' by now, and a search index cannot change its key: "
        "drop it and create it anew, or name the column back first."
    )


def test_an_expression_over_a_renamed_column_is_left_to_people(shaped: str) -> None:
    damage(
        shaped,
        "ALTER TABLE page RENAME data TO payload",
        'DROP TRIGGER "00_page_search_delete" ON page',
    )
    found, hint = by_hand(shaped)
    assert found == "trigger 00_page_search_delete is missing"
    assert hint == (
        "The column 'data' of the expression 'summary' is called 'payload' by now: alter the "
        "search index with an expression that says so."
    )


def test_an_edited_expression_is_seen(shaped: str) -> None:
    damage(
        shaped,
        """
          DO $do$
          BEGIN
            EXECUTE replace(
              pg_get_functiondef('page_search_expression'::regproc), 'it''''s data', 'its data');
          END
          $do$
        """,
    )
    assert seen(shaped) == ["function page_search_expression was edited by hand"]
    assert mend(shaped) == ["alter_search_index"]
    assert seen(shaped) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            'ALTER TABLE event_1 DISABLE TRIGGER "00_event_search_update"',
            "trigger 00_event_search_update of partition event_1 is disabled",
        ),
        (
            'DROP TRIGGER "00_event_search_truncate" ON event_2_all',
            "trigger 00_event_search_truncate of partition event_2_all is missing",
        ),
    ],
)
def test_a_trigger_of_a_partition(shaped: str, statement: str, problem: str) -> None:
    damage(shaped, statement)
    assert seen(shaped) == [problem]
    assert mend(shaped) == ["alter_search_index"]
    assert seen(shaped) == []


def test_a_partition_that_a_worker_has_not_noticed_is_no_drift(shaped: str) -> None:
    damage(
        shaped,
        "CREATE TABLE event_3 PARTITION OF event FOR VALUES FROM ('2030-01-01') TO (maxvalue)",
    )
    assert seen(shaped) == []


def test_a_trigger_before_updates_of_a_partition_counts(shaped: str) -> None:
    damage(
        shaped,
        """
          CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
          CREATE TRIGGER tidy BEFORE UPDATE ON event_1 FOR EACH ROW EXECUTE FUNCTION tidy()
        """,
    )
    assert [line.partition(" does ")[0] for line in seen(shaped)] == [
        "trigger 00_event_search_update"
    ]
    assert mend(shaped) == ["alter_search_index"]
    assert seen(shaped) == []


def test_a_text_column_that_was_dropped(ready: str) -> None:
    damage(ready, "ALTER TABLE article DROP COLUMN body CASCADE")
    (finding,) = look(ready).findings
    assert finding.object == "column body of table article"
    assert finding.problem == (
        "is gone, and with it trigger 00_article_search_insert,"
        " trigger 00_article_search_update, trigger 00_article_search_delete,"
        " function article_search_read, view article_search_source"
    )
    assert finding.hint == "Declare the search index without it, too."
    assert mend(ready) == ["alter_search_index"]
    assert seen(ready) == []
    damage(ready, "UPDATE article SET title = 'follows again'")
    with psycopg.connect(ready) as connection:
        hits = connection.execute("SELECT id FROM article_search('follows')").fetchall()
    assert hits == [(1,)]


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        (["title", "body"], "None of its text columns is left: drop the search index."),
        (["id"], "Its key column 'id' is gone, and a search index cannot change its key"),
    ],
)
def test_too_many_columns_that_were_dropped(ready: str, columns: list[str], hint: str) -> None:
    damage(ready, *(f"ALTER TABLE article DROP COLUMN {name} CASCADE" for name in columns))
    found, said = by_hand(ready)
    assert found.startswith(f"column {', '.join(columns)} of table article")
    assert str(said).startswith(hint)


def test_a_filter_that_was_dropped(ready: str) -> None:
    damage(ready, "ALTER TABLE article DROP COLUMN tenant_id CASCADE")
    assert seen(ready) == [
        "column tenant_id of table article is gone, and with it view article_search_filter"
    ]
    assert mend(ready) == ["alter_search_index"]
    assert seen(ready) == []


def test_a_table_that_is_gone(ready: str) -> None:
    damage(ready, "DROP TABLE article CASCADE")
    assert seen(ready) == ["table article is gone"]
    assert mend(ready) == ["drop_search_index"]
    assert look(ready).indexes == ()


def test_a_table_that_was_made_anew(ready: str) -> None:
    damage(ready, "DROP TABLE article CASCADE", search.ARTICLE_TABLE)
    assert len(seen(ready)) == 7
    assert mend(ready) == ["alter_search_index"]
    assert seen(ready) == []


def test_a_table_that_was_moved(ready: str) -> None:
    damage(ready, "CREATE SCHEMA other", "ALTER TABLE article SET SCHEMA other")
    found, hint = by_hand(ready)
    assert found == "table article was moved to the schema other, and its search index was not"
    assert str(hint).startswith("Move it back")


def test_a_table_that_others_inherit_from(ready: str) -> None:
    damage(ready, "CREATE TABLE newest () INHERITS (article)")
    found, hint = by_hand(ready)
    assert found == (
        "table article has tables that inherit from it, whose changes are not captured"
    )
    assert "NO INHERIT" in str(hint)
