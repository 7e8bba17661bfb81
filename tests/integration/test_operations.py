"""What a migration calls: every operation, its reverse, and what each of them refuses."""

from __future__ import annotations

import io
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.operations import MigrateOperation
from psycopg.sql import SQL, Identifier
from sqlalchemy.exc import DBAPIError

from pgsearch import Chunking, Embedding
from pgsearch.alembic.embeddings import ActivateEmbeddingOp, AddEmbeddingOp, DropEmbeddingOp
from pgsearch.alembic.operations import (
    CreateSearchIndexOp,
    DropSearchIndexOp,
    InstallOp,
    UninstallOp,
)
from pgsearch.cli.migrate import configuration
from pgsearch.errors import DeclarationError, NotInstalled, ObjectMissing
from pgsearch.sync import Worker
from pgsearch.testing import hash_model
from tests.plugins.migration import contents, invoke, migration, offline_migration, run_script
from tests.plugins.search import HASH_V1, HASH_V2, vector_of


def refused(url: str, operation: MigrateOperation) -> psycopg.errors.Diagnostic:
    """Return what the server says when it refuses an operation."""
    with pytest.raises(DBAPIError) as caught:
        invoke(url, operation)
    assert isinstance(caught.value.orig, psycopg.Error)
    return caught.value.orig.diag


def comes_and_goes(url: str, operation: MigrateOperation) -> None:
    """Assert that an operation does something, and that its reverse leaves nothing of it."""
    before = contents(url)
    invoke(url, operation)
    after = contents(url)
    assert after != before
    invoke(url, operation.reverse())
    assert contents(url) == before
    invoke(url, operation)
    assert contents(url) == after


def make_ready(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE pgsearch.embedding SET state = 'ready'")


def second_search(**changes: Any) -> CreateSearchIndexOp:
    given: dict[str, Any] = {"text": {"title": "A", "body": "B"}} | changes
    return CreateSearchIndexOp("second_search", given.pop("table", "article"), **given)


# Each operation and its reverse


def test_install(database: str) -> None:
    comes_and_goes(database, InstallOp(1))


def test_install_brings_the_extension(empty_database: str) -> None:
    invoke(empty_database, InstallOp(1))
    invoke(empty_database, UninstallOp())
    objects, _ = contents(empty_database)
    assert [row[:2] for row in objects] == [
        ("extension", "plpgsql"),
        ("extension", "vector"),
        ("schema", "public"),
    ]


def test_create_search_index(articles: str) -> None:
    comes_and_goes(articles, second_search(filters=["tenant_id"]))


def test_add_embedding(articles: str) -> None:
    comes_and_goes(articles, AddEmbeddingOp("article_search", HASH_V2))


def test_activate_embedding(articles: str) -> None:
    make_ready(articles)
    comes_and_goes(articles, ActivateEmbeddingOp("article_search", "hash_v1"))


def test_activation_takes_turns(articles: str) -> None:
    invoke(articles, AddEmbeddingOp("article_search", HASH_V2))
    make_ready(articles)
    for active, other in (("hash_v1", "hash_v2"), ("hash_v2", "hash_v1"), ("hash_v1", "hash_v2")):
        for _ in range(2):  # the second time there is nothing to do
            invoke(articles, ActivateEmbeddingOp("article_search", active))
        _, registered = contents(articles)
        assert {row[3]: row[4] for row in registered} == {active: "active", other: "ready"}


def test_what_a_migration_leaves_out_is_read_from_the_database(articles: str) -> None:
    with migration(articles) as op:
        op.create_search_index(
            "second_search",
            "article",
            text={"body": "C"},
            filters=["tenant_id"],
            language="simple",
            chunking=Chunking(max_tokens=64, overlap=8),
        )
        op.add_embedding("second_search", "hash_v2", hash_model(32), m=8, ef_construction=32)
    with psycopg.connect(articles) as connection:
        rows = connection.execute(
            "SELECT definition, e.name, dimensions, m, ef_construction, state"
            " FROM pgsearch.search_index AS i JOIN pgsearch.embedding AS e"
            " ON e.search_index_id = i.id WHERE i.name = 'second_search'"
        ).fetchall()
    assert rows == [
        (
            {
                "name": "second_search",
                "schema": "public",
                "table": "article",
                "key": [["id", "bigint"]],
                "text": [["body", "C"]],
                "language": "simple",
                "filters": [["tenant_id", "integer"]],
                "chunking": {"max_tokens": 64, "overlap": 8, "heading": None},
            },
            "hash_v2",
            32,
            8,
            32,
            "filling",
        )
    ]


def test_a_table_goes_with_its_search_index_or_not_at_all(articles: str) -> None:
    """PostgreSQL refuses to drop it, and with CASCADE nothing is left that cannot be dropped."""
    with psycopg.connect(articles) as connection:
        with pytest.raises(
            psycopg.errors.DependentObjectsStillExist, match="article_search_source"
        ):
            connection.execute("DROP TABLE article")
        connection.rollback()
        connection.execute("DROP TABLE article CASCADE")
    invoke(articles, DropSearchIndexOp("article_search", "article"))
    objects, registered = contents(articles)
    assert registered == []
    assert [row for row in objects if "article" in row[1]] == []


def test_an_operation_that_fails_leaves_nothing_behind(articles: str) -> None:
    before = contents(articles)
    with psycopg.connect(articles) as connection:
        connection.execute("CREATE TABLE second_search_queue ()")
    said = refused(articles, second_search())
    assert "second_search_queue already, which pgsearch has not made" in str(said.message_primary)
    with psycopg.connect(articles) as connection:
        connection.execute("DROP TABLE second_search_queue")
    assert contents(articles) == before


# The standalone environment


def test_up_down_up(database: str) -> None:
    config = configuration(database)
    command.upgrade(config, "head")
    up = contents(database)
    assert [row[:2] for row in up[1]] == [("public", "document_search")]
    command.downgrade(config, "base")
    with psycopg.connect(database) as connection:
        connection.execute("DROP TABLE alembic_version")
    assert [row[0] for row in contents(database)[0]] == ["extension", "extension", "schema"]
    command.upgrade(config, "head")
    assert contents(database) == up


def printed_sql(step: Any, revision: str) -> str:
    config = configuration("postgresql://")
    config.output_buffer = io.StringIO()
    step(config, revision, sql=True)
    return config.output_buffer.getvalue()


def test_what_is_printed_does_what_is_executed(empty_database: str, migrated: str) -> None:
    script = printed_sql(command.upgrade, "head")
    run_script(empty_database, script)
    with psycopg.connect(empty_database) as connection:
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert contents(empty_database) == contents(migrated)
    with psycopg.connect(migrated) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == version


def test_what_is_printed_on_the_way_down_undoes_it(migrated: str) -> None:
    script = printed_sql(command.downgrade, "head:base")
    run_script(migrated, script)
    with psycopg.connect(migrated, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS alembic_version")  # Alembic 1.18 does
    left = [row[:2] for row in contents(migrated)[0]]
    assert left == [("extension", "plpgsql"), ("extension", "vector"), ("schema", "public")]


def test_the_other_operations_are_printed_too(articles: str) -> None:
    """Activation runs as printed, and says why it cannot be."""
    with offline_migration() as (op, printed):
        op.add_embedding("article_search", "hash_v2", hash_model(32))
        op.activate_embedding("article_search", "hash_v1")
        op.deactivate_embedding("article_search", "hash_v1")
        op.drop_embedding("article_search", "hash_v2")
    make_ready(articles)
    before = contents(articles)
    run_script(articles, printed.getvalue())
    with psycopg.connect(articles) as connection:
        events = connection.execute("SELECT embedding, kind FROM pgsearch.event").fetchall()
    assert events == [
        ("hash_v1", "activated"),
        ("hash_v1", "deactivated"),
        ("hash_v2", "dropped"),
    ]
    assert contents(articles) == before


def test_offline_the_key_and_the_types_must_be_written() -> None:
    with offline_migration() as (op, printed):
        with pytest.raises(DeclarationError, match="primary key of 'article'") as caught:
            op.create_search_index("article_search", "article", text={"title": "A"})
        assert caught.value.hint == 'Write it out, as in key={"id": "bigint"}.'
        with pytest.raises(DeclarationError, match="types of 'tenant_id'") as caught:
            op.create_search_index(
                "article_search",
                "article",
                text={"title": "A"},
                key={"id": "bigint"},
                filters=["tenant_id"],
            )
        assert caught.value.hint == 'Write them out, as in {"tenant_id": "integer"}.'
    assert printed.getvalue() == ""


# What is refused


def test_a_table_that_does_not_exist(articles: str) -> None:
    with pytest.raises(ObjectMissing, match=r"no table articel to put") as caught:
        invoke(articles, second_search(table="articel"))
    assert "Create it in an earlier migration" in str(caught.value.hint)
    with pytest.raises(ObjectMissing, match=r"no table other\.article"):
        invoke(articles, second_search(schema="other"))


@pytest.mark.parametrize("relation", ["VIEW newest AS SELECT * FROM article", "SEQUENCE newest"])
def test_what_is_not_a_table(articles: str, relation: str) -> None:
    with psycopg.connect(articles) as connection:
        connection.execute(f"CREATE {relation}".encode())
    with pytest.raises(ObjectMissing, match="no table newest"):
        invoke(articles, second_search(table="newest"))


@pytest.mark.parametrize(
    "changes",
    [{"text": {"titel": "A"}}, {"filters": ["titel"]}, {"key": {"titel": "bigint"}}],
    ids=["text", "filter", "key"],
)
def test_a_column_that_does_not_exist(articles: str, changes: dict[str, Any]) -> None:
    with pytest.raises(ObjectMissing, match=r"public\.article has no column 'titel'") as caught:
        invoke(articles, second_search(**changes))
    assert caught.value.hint == "It has 'id', 'tenant_id', 'title', 'body'."


def test_a_table_without_a_primary_key(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        connection.execute("CREATE TABLE log (line text NOT NULL UNIQUE)")
    with pytest.raises(DeclarationError, match="'log' has no primary key"):
        invoke(articles, second_search(table="log", text={"line": "A"}))


@pytest.mark.parametrize("version", [0, 4, -1])
def test_a_version_that_is_not_known(database: str, version: int) -> None:
    with pytest.raises(DeclarationError, match=rf"version={version}\): .* versions 1 to 3"):
        invoke(database, InstallOp(version))


@pytest.mark.parametrize("name", ["a" * 45, "é" * 23])
def test_a_name_that_is_too_long(articles: str, name: str) -> None:
    with pytest.raises(DeclarationError, match="would pass PostgreSQL's 63") as caught:
        invoke(articles, CreateSearchIndexOp(name, "article", text={"title": "A"}))
    assert caught.value.hint == "Use at most 44 bytes."


def test_the_longest_names_work(articles: str) -> None:
    index, embedding = "é" * 22, Embedding("e" * 13, hash_model(8))
    with psycopg.connect(articles) as connection:
        connection.execute("INSERT INTO article (title) VALUES ('the longest name')")
    before = contents(articles)
    invoke(articles, CreateSearchIndexOp(index, "article", text={"title": "A"}))
    invoke(articles, AddEmbeddingOp(index, embedding))
    Worker(articles, indexes=[index]).drain()
    with psycopg.connect(articles) as connection:
        found = SQL("SELECT vector_rank FROM {}('name', vector => %s)").format(Identifier(index))
        assert connection.execute(found, [vector_of("name", 8)]).fetchall() == [(1,)]
    longer = Embedding("e" * 14, hash_model(8))
    with pytest.raises(DeclarationError, match="64 bytes long; PostgreSQL keeps 63"):
        invoke(articles, AddEmbeddingOp(index, longer))
    invoke(articles, DropSearchIndexOp(index, "article"))
    assert contents(articles)[0] == before[0]


def test_a_name_that_functions_could_not_hold(articles: str) -> None:
    for name in ("100%", "two\nlines", "a$function$b"):
        with pytest.raises(DeclarationError, match="cannot be written into functions"):
            invoke(articles, CreateSearchIndexOp(name, "article", text={"title": "A"}))


@pytest.mark.parametrize("language", ["englisch", "mine", "public.yours"])
def test_a_language_that_writes_would_not_find(articles: str, language: str) -> None:
    """It is refused here: later, it would be the application's writes that fail."""
    with psycopg.connect(articles) as connection:
        connection.execute("CREATE TEXT SEARCH CONFIGURATION mine (COPY = english)")
    said = refused(articles, second_search(language=language))
    assert said.message_primary == (f"pgsearch: there is no text search configuration '{language}'")
    assert "with its schema" in str(said.message_hint)


def test_a_language_of_ones_own(articles: str) -> None:
    with psycopg.connect(articles) as connection:
        connection.execute("CREATE TEXT SEARCH CONFIGURATION mine (COPY = english)")
    invoke(articles, second_search(language="public.mine"))
    with psycopg.connect(articles) as connection:
        connection.execute("INSERT INTO article (title) VALUES ('The cats')")
        assert connection.execute("SELECT score > 0 FROM second_search('cat')").fetchall() == [
            (True,)
        ]


def test_the_active_embedding_cannot_be_dropped(articles: str) -> None:
    make_ready(articles)
    invoke(articles, ActivateEmbeddingOp("article_search", "hash_v1"))
    before = contents(articles)
    said = refused(articles, DropEmbeddingOp("article_search", "hash_v1"))
    assert said.message_primary == (
        "pgsearch: embedding 'hash_v1' of search index article_search answers queries"
        " and cannot be dropped"
    )
    assert str(said.message_hint).startswith("Activate another one first")
    assert contents(articles) == before


@pytest.mark.parametrize("unready", ["filling", "indexing", "retired"])
def test_an_embedding_that_is_not_ready_cannot_be_activated(articles: str, unready: str) -> None:
    invoke(articles, AddEmbeddingOp("article_search", HASH_V2))
    with psycopg.connect(articles) as connection:
        connection.execute(
            "UPDATE pgsearch.embedding SET state = CASE name WHEN 'hash_v1' THEN %s"
            " ELSE 'active' END",
            [unready],
        )
    said = refused(articles, ActivateEmbeddingOp("article_search", "hash_v1"))
    assert said.message_primary == (
        f"pgsearch: embedding 'hash_v1' of search index article_search cannot be activated: it is"
        f" {unready}"
    )
    assert "Run `pgsearch sync`" in str(said.message_hint)


def test_an_embedding_that_does_not_exist_cannot_be_activated(articles: str) -> None:
    said = refused(articles, ActivateEmbeddingOp("article_search", "hash_v9"))
    assert str(said.message_primary).endswith("article_search has no embedding 'hash_v9'")
    assert said.message_hint == "It has hash_v1."
    said = refused(articles, DropEmbeddingOp("article_search", "hash_v9"))
    assert str(said.message_primary).endswith("article_search has no embedding 'hash_v9'")


def test_an_embedding_is_added_once(articles: str) -> None:
    before = contents(articles)
    invoke(articles, AddEmbeddingOp("article_search", HASH_V1))  # as after a failure further on
    assert contents(articles) == before
    other = Embedding(HASH_V1.name, hash_model(32))
    said = str(refused(articles, AddEmbeddingOp("article_search", other)).message_primary)
    assert "has an embedding 'hash_v1' already, of another model" in said
    assert contents(articles) == before


@pytest.mark.parametrize(
    "operation",
    [
        AddEmbeddingOp("artical_search", HASH_V2),
        DropEmbeddingOp("artical_search", "hash_v1"),
        ActivateEmbeddingOp("artical_search", "hash_v1"),
        DropSearchIndexOp("artical_search", "article"),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_a_search_index_that_does_not_exist(articles: str, operation: MigrateOperation) -> None:
    with pytest.raises(ObjectMissing, match="There is no search index 'artical_search'"):
        invoke(articles, operation)


def test_a_database_without_pgsearch(database: str) -> None:
    with pytest.raises(NotInstalled, match="not installed") as caught:
        invoke(database, AddEmbeddingOp("article_search", HASH_V1))
    assert "op.pgsearch_install(version=3)" in str(caught.value.hint)


def test_uninstall_while_search_indexes_are_left(articles: str) -> None:
    before = contents(articles)
    said = refused(articles, UninstallOp())
    assert said.message_primary == ("pgsearch: search indexes still exist: public.article_search")
    assert said.message_hint == "Drop them first, with op.drop_search_index."
    assert contents(articles) == before


def test_a_server_without_pgvector(server_without_pgvector: str) -> None:
    said = refused(server_without_pgvector, InstallOp(1))
    assert said.message_primary == (
        "pgsearch: the extension pgvector is not available on this server"
    )
    assert "pgvector/pgvector" in str(said.message_hint)


def test_a_pgvector_that_is_too_old(database: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'")
    said = refused(database, InstallOp(1))
    assert said.message_primary == (
        "pgsearch: this database has pgvector 0.7.4, pgsearch needs 0.8.0 or newer"
    )
    assert "ALTER EXTENSION vector UPDATE" in str(said.message_hint)
