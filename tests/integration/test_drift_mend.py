"""What mends drift: in migrations of every mode, through every driver, once for many findings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import render_python_code
from alembic.operations.ops import MigrateOperation, UpgradeOps
from sqlalchemy.ext.asyncio import create_async_engine

from pgsearch import resources
from pgsearch.alembic.catalogue import runner
from pgsearch.alembic.mend import mends
from pgsearch.alembic.render import code, register
from pgsearch.database import sqlalchemy_url
from pgsearch.drift import Mend, inspect
from pgsearch.errors import DeclarationError, NotInstalled, ObjectMissing
from pgsearch.schema.embedding import add_embedding
from pgsearch.sync import Worker
from tests.plugins import search
from tests.plugins.drift import damage, look, mend, run, seen
from tests.plugins.migration import contents, offline_migration, run_script

INDEX_V1 = Path(__file__).parent.parent.joinpath("data", "index_v1.sql").read_text()

TABLE_V1 = """
CREATE TABLE memo (
  tenant_id integer, code text, title text, body text, kind text, PRIMARY KEY (tenant_id, code)
)
"""

UPDATE = '"00_article_search_update"'
LOST = "ALTER TABLE article_search_chunk DROP COLUMN embedding_hash_v1"


def written(url: str, **options: Any) -> str:
    return code(*mends(look(url).findings, **options))


def add_second_embedding(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        search.execute_all(connection, add_embedding("public", "article_search", search.HASH_V2))
    Worker(url).drain()


# What is found besides objects


def test_an_older_schema(database: str) -> None:
    damage(database, resources.sql("install/v1.sql"))
    assert seen(database) == ["schema pgsearch has version 1, this package works with version 3"]
    assert mend(database) == ["pgsearch_install"]
    assert seen(database) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        (
            """
              CREATE OR REPLACE FUNCTION pgsearch.check_request(query text, k integer, mode text)
              RETURNS void LANGUAGE plpgsql AS 'BEGIN END'
            """,
            "function pgsearch.check_request was edited by hand",
        ),
        (
            "DROP FUNCTION pgsearch.source_table CASCADE",
            "function pgsearch.source_table is missing",
        ),
    ],
)
def test_a_function_that_all_search_indexes_share(ready: str, statement: str, problem: str) -> None:
    before = contents(ready)
    damage(ready, statement)
    assert seen(ready) == [problem]
    assert mend(ready) == ["execute", "execute"]
    assert seen(ready) == []
    assert contents(ready) == before


def test_a_search_index_of_an_older_version_is_found_as_a_whole(ready: str) -> None:
    damage(
        ready,
        "UPDATE pgsearch.search_index SET template_version = 1",
        f"DROP TRIGGER {UPDATE} ON article",
        "DROP FUNCTION article_search_read CASCADE",
    )
    assert seen(ready) == ["search index article_search was made by an earlier version of pgsearch"]
    assert mend(ready) == ["alter_search_index"]
    assert seen(ready) == []


def test_what_version_1_has_made(database: str) -> None:
    """Schema and search index are brought up to date by one migration."""
    damage(database, resources.sql("install/v1.sql"), TABLE_V1, INDEX_V1)
    assert seen(database) == [
        "schema pgsearch has version 1, this package works with version 3",
        "search index memo_search was made by an earlier version of pgsearch",
    ]
    assert mend(database) == ["pgsearch_install", "alter_search_index"]
    assert seen(database) == []


def test_one_of_a_newer_version_is_not_judged(ready: str) -> None:
    damage(
        ready,
        "UPDATE pgsearch.search_index SET template_version = 99",
        f"DROP TRIGGER {UPDATE} ON article",
    )
    assert seen(ready) == []


def test_one_that_is_suspended(ready: str) -> None:
    run(ready, 'op.suspend_search_index("article_search", "article")')
    (finding,) = look(ready).findings
    assert str(finding) == (
        "search index article_search does not follow its table: a migration has suspended it, or "
        "stopped in its middle"
    )
    assert finding.mend is Mend.REFILL
    assert mend(ready) == ["alter_search_index"]
    assert seen(ready) == []


def test_what_is_not_there_cannot_be_inspected(database: str, ready: str) -> None:
    with pytest.raises(NotInstalled):
        look(database)
    with pytest.raises(ObjectMissing, match="no search index 'nosuch'") as caught:
        look(ready, "nosuch")
    assert caught.value.hint == "There is: public.article_search."
    assert len(look(ready, "public.article_search").indexes) == 1


# Operations


def test_an_embedding_is_added_again_and_answers_again(ready: str) -> None:
    add_second_embedding(ready)
    damage(ready, LOST)
    assert mend(ready) == ["drop_embedding", "add_embedding", "activate_embedding"]
    Worker(ready).drain()
    assert seen(ready) == []
    assert states(ready) == {"hash_v1": "active", "hash_v2": "ready"}


def test_a_search_index_is_made_anew_with_all_its_embeddings(ready: str) -> None:
    add_second_embedding(ready)
    run(ready, 'op.activate_embedding("article_search", "hash_v2")')
    damage(ready, "DROP TABLE article_search_queue")
    assert mend(ready) == [
        "drop_search_index",
        "create_search_index",
        "add_embedding",
        "add_embedding",
        "activate_embedding",
    ]
    Worker(ready).drain()
    assert seen(ready) == []
    assert states(ready) == {"hash_v1": "ready", "hash_v2": "active"}


def states(url: str) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        return dict(connection.execute("SELECT name, state FROM pgsearch.embedding").fetchall())


def test_a_search_index_is_brought_to_its_declaration(ready: str) -> None:
    damage(ready, f"DROP TRIGGER {UPDATE} ON article")
    declared = search.article_index("article_search", language="simple")
    text = written(ready, declared={("public", "article_search"): declared})
    assert 'language="simple"' in text
    assert "refill=True" in text


def test_another_schema_is_named(ready: str) -> None:
    damage(ready, f"DROP TRIGGER {UPDATE} ON article")
    assert "schema=" not in written(ready)
    assert 'schema="public"' in written(ready, default_schema="app")


def every_operation(url: str) -> list[MigrateOperation]:
    """Damage a search index in many ways, and return all that mends it."""
    add_second_embedding(url)
    damage(
        url,
        f"DROP TRIGGER {UPDATE} ON article",
        "DROP INDEX article_search_document_tsv_idx",
        "DROP INDEX article_search_hash_v2_hnsw",
        LOST,
        "ALTER TABLE article_search_chunk RESET (fillfactor)",
    )
    return mends(look(url).findings)


def test_nobody_wants_the_damage_back(ready: str) -> None:
    register()  # as autogenerate does
    upgrade = UpgradeOps(every_operation(ready))
    assert render_python_code(upgrade).count("op.") == 8
    downgrade = upgrade.reverse()
    assert "op." not in render_python_code(downgrade)
    assert "pass" in render_python_code(downgrade)


def test_alembic_check_says_what_is_wrong(ready: str) -> None:
    said = [diff[-1] for diff in UpgradeOps(every_operation(ready)).as_diffs()]
    assert said == [
        "table article_search_chunk has other storage parameters than fillfactor = 50",
        "trigger 00_article_search_update is missing",
        "index article_search_document_tsv_idx is missing",
        "column embedding_hash_v1 of table article_search_chunk is missing",
        "index article_search_hash_v2_hnsw is missing",
    ]


# Indexes of companion tables


def test_indexes_are_built_as_they_were_made(ready: str) -> None:
    before = contents(ready)
    with offline_migration() as (op, printed):
        op.reindex_search_index("article_search", "article", key=["id"])
    run_script(ready, printed.getvalue())
    assert contents(ready) == before
    assert printed.getvalue().count("CREATE INDEX CONCURRENTLY") == 3
    assert seen(ready) == []


def test_only_what_needs_it_is_built_anew(ready: str) -> None:
    def numbers() -> dict[str, int]:
        with psycopg.connect(ready) as connection:
            rows = connection.execute(
                "SELECT relname, oid::bigint FROM pg_class WHERE relname ~ '^article_search.*_idx$'"
            )
            return dict(rows.fetchall())

    before = numbers()
    damage(ready, "DROP INDEX article_search_queue_key_idx")
    call = 'op.reindex_search_index("article_search", "article")'
    run(ready, call)
    after = numbers()
    assert {name for name in before if before[name] != after[name]} == {
        "article_search_queue_key_idx"
    }
    run(ready, call)
    assert numbers() == after


def test_a_build_that_stopped_in_its_middle_is_no_obstacle(ready: str) -> None:
    damage(
        ready,
        "CREATE INDEX article_search_document_tsv_new ON article_search_document (length)",
        "DROP INDEX article_search_document_tsv_idx",
    )
    assert mend(ready) == ["reindex_search_index"]
    assert seen(ready) == []


def test_offline_the_key_must_be_written() -> None:
    with (
        offline_migration() as (op, _),
        pytest.raises(DeclarationError, match="the key of search index 'a' is not known"),
    ):
        op.reindex_search_index("a", "b")


# Drivers


def test_a_transaction_keeps_its_search_path(ready: str) -> None:
    damage(ready, "CREATE SCHEMA mine")
    engine = sa.create_engine(sqlalchemy_url(ready), poolclass=sa.pool.NullPool)
    with engine.connect() as connection, connection.begin():
        connection.execute(sa.text("SET LOCAL search_path = mine, public"))
        assert inspect(runner(connection)).findings == ()
        assert connection.scalar(sa.text("SHOW search_path")) == "mine, public"


def test_a_session_keeps_its_search_path(ready: str) -> None:
    with psycopg.connect(ready, autocommit=True) as connection:
        connection.execute("SET search_path = public, pg_catalog")
        assert inspect(lambda query: connection.execute(query.encode()).fetchall()).findings == ()
        assert connection.execute("SHOW search_path").fetchone() == ("public, pg_catalog",)


def test_another_driver_sees_the_same(ready: str) -> None:
    damage(ready, f"DROP TRIGGER {UPDATE} ON article", "DROP INDEX article_search_hash_v1_hnsw")

    async def inspected() -> list[str]:
        engine = create_async_engine(sqlalchemy_url(ready).replace("+psycopg", "+asyncpg"))
        async with engine.connect() as connection:
            found = await connection.run_sync(lambda sync: inspect(runner(sync)))
        await engine.dispose()
        return [str(finding) for finding in found.findings]

    assert asyncio.run(inspected()) == seen(ready)
    assert len(seen(ready)) == 2


def test_a_role_that_may_do_nothing_may_look(ready: str) -> None:
    damage(ready, "CREATE ROLE onlooker", f"DROP TRIGGER {UPDATE} ON article")
    try:
        with psycopg.connect(ready, autocommit=True) as connection:
            connection.execute("SET ROLE onlooker")
            found = inspect(lambda query: connection.execute(query.encode()).fetchall())
        assert len(found.findings) == 1
    finally:
        damage(ready, "DROP ROLE onlooker")


def test_what_was_inspected_is_said_as_it_was_declared(ready: str) -> None:
    (found,) = look(ready).indexes
    assert found.definition == search.ARTICLE_SEARCH
