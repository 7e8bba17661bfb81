"""Triggers: what every kind of write leaves in the documents and the queue."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.definition import Chunking, TextColumn, TypedColumn
from pgsearch.sync import Worker
from pgsearch.testing import HashEmbedder
from tests.plugins.search import (
    ARTICLE_SEARCH,
    Document,
    article_index,
    create,
    documents,
    execute_all,
)
from tests.plugins.worker import differences


def texts(db: product.Connection, table: str = "article") -> dict[int, str]:
    """Return the documents' lexemes with positions."""
    return {key: document.tsv for key, document in documents(db, table).items()}


def queue(db: product.Connection) -> list[int | None]:
    """Return the keys that wait, oldest first."""
    rows = db.execute("SELECT id FROM article_search_queue ORDER BY queue_id")
    return [key for (key,) in rows]


def last_generation(db: product.Connection) -> int:
    row = db.execute("SELECT last_value FROM article_search_generation").fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def two(db: product.Connection) -> product.Connection:
    """A connection to a database with rows 1 and 2, whose queue was done."""
    db.execute("INSERT INTO article (id, tenant_id, title, body) VALUES (1, 7, 'One', 'cats')")
    db.execute("INSERT INTO article (id, tenant_id, title, body) VALUES (2, 7, 'Two', 'dogs')")
    db.execute("DELETE FROM article_search_queue")
    return db


# Every kind of write


def test_insert(db: product.Connection) -> None:
    db.execute("INSERT INTO article (id, title, body) VALUES (5, 'The Cat', 'cats and a dog')")
    assert documents(db) == {5: Document("'cat':2A,3B 'dog':6B", 3, False, 1)}
    assert queue(db) == [5]


def test_insert_of_many_rows(db: product.Connection) -> None:
    db.execute(
        "INSERT INTO article (id, body) SELECT n, 'row ' || n FROM generate_series(1, 500) AS n"
    )
    found = documents(db)
    assert {key: document.tsv for key, document in found.items()} == {
        n: f"'{n}':2B 'row':1B" for n in range(1, 501)
    }
    assert sorted(document.generation for document in found.values()) == list(range(1, 501))
    assert queue(db) == list(range(1, 501))


def test_update(two: product.Connection) -> None:
    before = documents(two)
    two.execute("UPDATE article SET body = 'birds' WHERE id = 1")
    after = documents(two)
    assert after[1][:3] == ("'bird':2B 'one':1A", 2, False)
    assert after[1].generation > before[2].generation
    assert after[2] == before[2]
    assert queue(two) == [1]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE article SET tenant_id = 8",
        "UPDATE article SET title = title, body = body",
        "UPDATE article SET title = upper(left(title, 1)) || substr(title, 2), tenant_id = 9",
        "UPDATE article SET body = 'birds' WHERE id = 3",
        "INSERT INTO article (id, body) VALUES (1, 'birds') ON CONFLICT DO NOTHING",
        "INSERT INTO article (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET tenant_id = 8",
    ],
)
def test_a_write_that_changes_no_text_writes_nothing(
    two: product.Connection, statement: str
) -> None:
    physical = "SELECT ctid, xmin, * FROM article_search_document ORDER BY id"
    before = two.execute(physical).fetchall()
    drawn = last_generation(two)
    two.execute(statement.encode())
    assert two.execute(physical).fetchall() == before
    assert queue(two) == []
    assert last_generation(two) == drawn


@pytest.mark.parametrize("nothing", [None, "", " \n ", "the"])
def test_text_that_goes_leaves_an_empty_document(
    two: product.Connection, nothing: str | None
) -> None:
    drawn = last_generation(two)
    two.execute("UPDATE article SET title = %s, body = %s WHERE id = 1", [nothing, nothing])
    assert documents(two)[1][:3] == ("", 0, False)
    assert documents(two)[1].generation > drawn
    assert queue(two) == [1]


def test_a_row_without_text_has_an_empty_document(db: product.Connection) -> None:
    db.execute("INSERT INTO article DEFAULT VALUES")
    assert documents(db) == {1: Document("", 0, False, 1)}
    db.execute("UPDATE article SET body = ''")
    assert documents(db)[1].generation == 2


def test_delete(two: product.Connection) -> None:
    two.execute("DELETE FROM article WHERE id = 1")
    assert list(documents(two)) == [2]
    assert queue(two) == [1]


def test_truncate(two: product.Connection) -> None:
    drawn = last_generation(two)
    two.execute("TRUNCATE article RESTART IDENTITY")
    assert documents(two) == {}
    assert queue(two) == [None]
    two.execute("INSERT INTO article (title) VALUES ('new')")
    assert documents(two)[1].generation > drawn


def test_truncate_that_is_rolled_back(two: product.Connection) -> None:
    before = documents(two)
    with two.transaction(force_rollback=True):
        two.execute("TRUNCATE article")
    assert documents(two) == before
    assert queue(two) == []


def test_a_key_that_changes(two: product.Connection) -> None:
    drawn = last_generation(two)
    two.execute("UPDATE article SET id = 10 WHERE id = 1")
    assert texts(two) == {2: "'dog':2B 'two':1A", 10: "'cat':2B 'one':1A"}
    assert documents(two)[10].generation > drawn
    assert queue(two) == [1, 10]


@pytest.mark.parametrize(
    ("statement", "order"),
    [
        ("UPDATE place SET id = 3 - id WHERE id < 3", ["two", "one", "three"]),
        ("UPDATE place SET id = id % 3 + 1", ["three", "one", "two"]),
        ("UPDATE place SET id = id + 1", [None, "one", "two", "three"]),
        ("UPDATE place SET id = id - 1", ["two", "three"]),
        ("UPDATE place SET id = 4 - id, title = title || 's'", ["threes", "twos", "ones"]),
    ],
    ids=["swap", "rotate", "up", "down", "turn"],
)
def test_keys_that_change_hands_in_one_statement(
    db: product.Connection, statement: str, order: Sequence[str | None]
) -> None:
    db.execute("CREATE TABLE place (id int PRIMARY KEY DEFERRABLE, title text)")
    definition = article_index(
        "place_search",
        table="place",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("title", "A"),),
        filters=(),
    )
    create(db, definition)
    db.execute("INSERT INTO place VALUES (1, 'one'), (2, 'two'), (3, 'three')")
    db.execute(statement.encode())
    expected = db.execute(
        "SELECT id, setweight(to_tsvector('english', title), 'A')::text FROM place"
    ).fetchall()
    assert texts(db, "place") == dict(expected)
    assert {key for (key,) in db.execute("SELECT id FROM place_search_queue")} >= {
        key for key, _ in expected
    }
    where = {title: n for n, title in enumerate(order, 1) if title}
    kept = {title: key for key, title in db.execute("SELECT id, title FROM place").fetchall()}
    assert where.items() <= kept.items()


def test_copy(db: product.Connection) -> None:
    with db.cursor().copy("COPY article (id, title, body) FROM STDIN") as copy:
        copy.write_row([1, "One", "cats"])
        copy.write_row([2, None, None])
        copy.write_row([3, "Three", "emoji 🎉 and \t tab"])
    assert texts(db) == {1: "'cat':2B 'one':1A", 2: "", 3: "'emoji':2B 'tab':4B 'three':1A"}
    assert queue(db) == [1, 2, 3]


def test_on_conflict(two: product.Connection) -> None:
    two.execute(
        "INSERT INTO article (id, title) VALUES (1, 'Uno'), (3, 'Tre')"
        " ON CONFLICT (id) DO UPDATE SET title = excluded.title"
    )
    assert texts(two) == {1: "'cat':2B 'uno':1A", 2: "'dog':2B 'two':1A", 3: "'tre':1A"}
    assert queue(two) == [1, 3]


def test_merge(two: product.Connection) -> None:
    two.execute(
        "MERGE INTO article AS a"
        " USING (VALUES (1, 'Uno'), (2, NULL), (3, 'Tre')) AS new (id, title)"
        " ON a.id = new.id"
        " WHEN MATCHED AND new.title IS NULL THEN DELETE"
        " WHEN MATCHED THEN UPDATE SET title = new.title"
        " WHEN NOT MATCHED THEN INSERT (id, title) VALUES (new.id, new.title)"
    )
    assert texts(two) == {1: "'cat':2B 'uno':1A", 3: "'tre':1A"}
    assert sorted(map(str, queue(two))) == ["1", "2", "3"]


def test_generations_never_come_again(two: product.Connection) -> None:
    """Not even for a key that was deleted and inserted again, nor in one statement."""
    seen = {document.generation for document in documents(two).values()}
    for statement in (
        "UPDATE article SET body = body || '.' || id",
        "UPDATE article SET id = id + 10",
        "UPDATE article SET id = id - 10",
        "WITH gone AS (DELETE FROM article RETURNING *) INSERT INTO article SELECT * FROM gone",
        "DELETE FROM article",
        "INSERT INTO article (id, title) VALUES (1, 'One'), (2, 'Two')",
        "TRUNCATE article",
        "INSERT INTO article (id, title) VALUES (1, 'One'), (2, 'Two')",
    ):
        two.execute(statement.encode())
        drawn = [document.generation for document in documents(two).values()]
        assert all(generation > max(seen) for generation in drawn), statement
        seen.update(drawn)


def test_what_is_rolled_back_leaves_nothing(two: product.Connection) -> None:
    before = documents(two)
    with two.transaction(force_rollback=True):
        two.execute("UPDATE article SET body = 'birds'")
        two.execute("DELETE FROM article WHERE id = 1")
    assert documents(two) == before
    assert queue(two) == []


# Columns that change in other ways


def test_a_trigger_that_changes_a_column_which_the_statement_does_not_name(
    db: product.Connection,
) -> None:
    execute_all(
        db,
        [
            "CREATE TABLE note (id int PRIMARY KEY, draft text, title text)",
            (
                "CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN NEW.title := NEW.draft || ' tidy'; RETURN NEW; END $$"
            ),
            (
                "CREATE TRIGGER tidy BEFORE INSERT OR UPDATE ON note"
                " FOR EACH ROW EXECUTE FUNCTION tidy()"
            ),
        ],
    )
    definition = article_index(
        "note_search",
        table="note",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("title", "A"),),
        filters=(),
    )
    create(db, definition)
    db.execute("INSERT INTO note (id, draft) VALUES (1, 'cats')")
    assert texts(db, "note") == {1: "'cat':1A 'tidi':2A"}
    db.execute("UPDATE note SET draft = 'dogs'")
    assert texts(db, "note") == {1: "'dog':1A 'tidi':2A"}


def test_a_column_that_is_generated_from_one_that_the_statement_names(
    db: product.Connection,
) -> None:
    db.execute(
        "CREATE TABLE note (id int PRIMARY KEY, draft text,"
        " title text GENERATED ALWAYS AS (draft || ' tidy') STORED)"
    )
    definition = article_index(
        "note_search",
        table="note",
        key=(TypedColumn("id", "integer"),),
        text=(TextColumn("title", "A"),),
        filters=(),
    )
    create(db, definition)
    db.execute("INSERT INTO note (id, draft) VALUES (1, 'cats')")
    db.execute("UPDATE note SET draft = 'dogs'")
    assert texts(db, "note") == {1: "'dog':1A 'tidi':2A"}


def test_text_in_columns_of_other_types(db: product.Connection) -> None:
    db.execute(
        "CREATE TABLE note"
        " (id int PRIMARY KEY, a varchar(20), b jsonb, c text[], d integer, e json)"
    )
    definition = article_index(
        "note_search",
        table="note",
        key=(TypedColumn("id", "integer"),),
        text=tuple(TextColumn(name, "A") for name in "abcde"),
        filters=(),
        chunking=Chunking(),
    )
    create(db, definition)
    db.execute("""INSERT INTO note VALUES (1, 'cats', '{"a": "dogs"}', '{birds}', 42, '["elk"]')""")
    assert texts(db, "note") == {1: "'42':5A 'bird':4A 'cat':1A 'dog':3A 'elk':6A"}
    db.execute("""UPDATE note SET e = '["wolf"]'""")
    assert texts(db, "note") == {1: "'42':5A 'bird':4A 'cat':1A 'dog':3A 'wolf':6A"}
    drawn = documents(db, "note")[1].generation
    db.execute("""UPDATE note SET a = a, b = '{"a" : "dogs"}', e = '["wolf"]'""")
    assert documents(db, "note")[1].generation == drawn


def test_two_search_indexes_on_one_table(db: product.Connection) -> None:
    create(db, article_index("title_search", text=(TextColumn("title", "D"),), language="simple"))
    db.execute("INSERT INTO article (id, title, body) VALUES (1, 'The Cats', 'dogs')")
    assert texts(db) == {1: "'cat':2A 'dog':3B"}
    assert texts(db, "title") == {1: "'cats':2 'the':1"}


# Whoever writes


@contextmanager
def role(db: product.Connection, *grants: str) -> Iterator[Identifier]:
    """Make a role that may do no more than these grants say, for as long as the context lasts."""
    name = Identifier(f"writer_{db.info.dbname}")
    db.execute(SQL("CREATE ROLE {}").format(name))
    try:
        for grant in grants:
            db.execute(SQL("GRANT " + grant + " TO {}").format(name))
        yield name
    finally:
        db.execute("RESET ROLE")
        db.execute(SQL("DROP OWNED BY {}").format(name))
        db.execute(SQL("DROP ROLE {}").format(name))


def test_a_role_without_rights_on_companions_writes(two: product.Connection) -> None:
    with role(two, "SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON article") as writer:
        two.execute(SQL("SET ROLE {}").format(writer))
        two.execute("INSERT INTO article (id, title) VALUES (3, 'Three')")
        two.execute("UPDATE article SET title = 'Uno' WHERE id = 1")
        two.execute("UPDATE article SET id = 4 WHERE id = 3")
        two.execute("DELETE FROM article WHERE id = 2")
        for forbidden in (
            "SELECT FROM article_search_document",
            "DELETE FROM article_search_queue",
            "SELECT nextval('article_search_generation')",
            "SELECT article_search_fill(NULL, 1)",
            "SELECT article_search_refresh_statistics()",
            "UPDATE pgsearch.embedding SET state = 'active'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                two.execute(forbidden.encode())
        two.execute("RESET ROLE")
        assert texts(two) == {1: "'cat':2B 'uno':1A", 4: "'three':1A"}
        assert queue(two) == [3, 1, 3, 4, 2]
        two.execute(SQL("SET ROLE {}").format(writer))
        two.execute("TRUNCATE article")
        two.execute("RESET ROLE")
        assert texts(two) == {}


def test_a_role_cannot_write_documents_from_a_table_of_its_own(two: product.Connection) -> None:
    before = documents(two)
    with role(two, "CREATE, USAGE ON SCHEMA public") as writer:
        two.execute(SQL("SET ROLE {}").format(writer))
        two.execute("CREATE TABLE mine (id bigint, title text, body text)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            two.execute(
                "CREATE TRIGGER forge AFTER INSERT ON mine"
                " FOR EACH ROW EXECUTE FUNCTION article_search_capture()"
            )
        two.execute("INSERT INTO mine (id, title) VALUES (1, 'forged')")
        two.execute("RESET ROLE")
    assert documents(two) == before


HOSTILE_PATHS = ("''", "evil, pg_catalog", "pg_temp, evil, pg_catalog, public")


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_writer_with_another_search_path(two: product.Connection, path: str) -> None:
    """Functions and tables of the same name in front of the real ones are not used."""
    execute_all(
        two,
        [
            "CREATE SCHEMA evil",
            "CREATE FUNCTION evil.nextval(regclass) RETURNS bigint LANGUAGE sql RETURN -1",
            (
                "CREATE FUNCTION evil.to_tsvector(regconfig, text) RETURNS tsvector"
                " LANGUAGE sql RETURN 'evil'::tsvector"
            ),
            "CREATE FUNCTION evil.length(text) RETURNS integer LANGUAGE sql RETURN 1 / 0",
            "CREATE TABLE evil.article_search_document (LIKE public.article_search_document)",
            "CREATE TEMP TABLE article_search_queue (LIKE public.article_search_queue)",
            "CREATE TEMP TABLE article_search_document (LIKE public.article_search_document)",
            "CREATE TEXT SEARCH CONFIGURATION evil.english (COPY = simple)",
            f"SET search_path = {path}",
            "INSERT INTO public.article (id, title) VALUES (3, 'The birds')",
            "UPDATE public.article SET title = 'The worms' WHERE id = 1",
            "DELETE FROM public.article WHERE id = 2",
            "RESET search_path",
            "DROP TABLE pg_temp.article_search_queue, pg_temp.article_search_document",
        ],
    )
    assert texts(two) == {1: "'cat':3B 'worm':2A", 3: "'bird':2A"}
    assert queue(two) == [3, 1, 2]
    assert sorted(documents(two)[key].generation for key in (1, 3)) == [3, 4]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_writer_with_an_old_snapshot_and_a_worker_that_drains(articles: str, level: str) -> None:
    """Nothing that a worker does makes the application's transaction fail."""
    with (
        product.connect(articles) as db,
        psycopg.connect(articles, autocommit=True) as application,
        psycopg.connect(articles, autocommit=True) as other,
    ):
        product.register_vectors(db)
        db.execute(
            "INSERT INTO article (id, title) SELECT n, 'row ' || n FROM generate_series(1, 9) n"
        )
        Worker(articles).drain()
        db.execute("UPDATE article SET title = 'new ' || id WHERE id <= 4")
        db.execute("DELETE FROM article WHERE id = 5")
        application.execute(f"BEGIN ISOLATION LEVEL {level}".encode())
        application.execute("SELECT count(*) FROM article")
        other.execute("UPDATE article SET title = 'other' WHERE id = 6")
        assert Worker(articles).drain().documents == 6
        for statement in (
            "UPDATE article SET title = 'newer' WHERE id = 1",
            "UPDATE article SET id = 12 WHERE id = 2",
            "DELETE FROM article WHERE id = 3",
            "INSERT INTO article (id, title) VALUES (5, 'back again'), (10, 'ten')",
            "UPDATE article SET title = 'newer' WHERE id > 6",
        ):
            application.execute(statement.encode())
            Worker(articles).drain()
        application.execute("COMMIT")
        Worker(articles).drain()
        assert differences(db, ARTICLE_SEARCH, {"hash_v1": HashEmbedder(64)}) == []
        assert queue(db) == []


def test_an_after_trigger_of_the_application_has_the_last_word(db: product.Connection) -> None:
    db.execute(
        "CREATE FUNCTION enrich() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE article SET body = NEW.body || ' enriched' WHERE id = NEW.id; RETURN NULL; END $$"
    )
    db.execute(
        "CREATE TRIGGER aaa_enrich AFTER INSERT ON article FOR EACH ROW EXECUTE FUNCTION enrich()"
    )
    db.execute("INSERT INTO article (title, body) VALUES ('a', 'hello')")
    found = db.execute("SELECT count(*) FROM article_search('enriched', mode => 'keyword')")
    assert found.fetchone() == (1,)
