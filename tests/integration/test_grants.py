"""What readers and workers are granted: enough, no more than that, kept, and taken back."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from alembic.operations import MigrateOperation
from psycopg.sql import SQL

from pgsearch import database as product
from pgsearch.alembic.grants import (
    GrantSearchOp,
    GrantWorkerOp,
    RevokeSearchOp,
    RevokeWorkerOp,
)
from pgsearch.alembic.render import code
from pgsearch.database import Connection
from pgsearch.definition import TypedColumn
from pgsearch.schema.index import alter_search_index, drop_search_index, suspend_search_index
from pgsearch.sync import Worker
from tests.plugins.migration import invoke
from tests.plugins.search import ARTICLE_SEARCH, article_index, create, execute_all, vector_of
from tests.plugins.security import Roles, roles_of, values

MODES = ("keyword", "vector", "hybrid")


@pytest.fixture
def roles(ready: str) -> Iterator[Roles]:
    with roles_of(ready) as roles:
        for role in ("reader", "worker"):
            roles.create(role)
        yield roles


@pytest.fixture
def owner(ready: str) -> Iterator[Connection]:
    with product.connect(ready) as connection:
        yield connection


def held(owner: Connection, roles: Roles, role: str) -> set[str]:
    """Return what a role holds by its own name."""
    rows = owner.execute(
        """
        SELECT o.object || ': ' || held.privilege_type
        FROM (
          SELECT oid::regclass::text, relacl FROM pg_class
          UNION ALL
          SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute
          UNION ALL
          SELECT proname::text, proacl FROM pg_proc
          UNION ALL
          SELECT nspname::text, nspacl FROM pg_namespace
        ) AS o (object, acl), aclexplode(o.acl) AS held
        WHERE held.grantee = %s::regrole
        """,
        [roles.name(role)],
    )
    return {row[0] for row in rows}


def asks(url: str, **given: int) -> None:
    """Search in all modes; a missing privilege is an error."""
    named = "".join(f", {name} => {value}" for name, value in given.items())
    with product.connect(url, row_security=True) as connection:
        for mode in MODES:
            query = f"SELECT id FROM article_search('one', mode => %s, vector => %s{named})"
            assert len(values(connection, query, mode, vector_of("one"))) == 1


def test_a_reader(ready: str, roles: Roles, owner: Connection) -> None:
    owner.execute("UPDATE article SET tenant_id = 7")
    owner.execute("REVOKE EXECUTE ON FUNCTION article_search FROM PUBLIC")
    name = roles.name("reader")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        asks(roles.url_of("reader"))
    invoke(ready, GrantSearchOp("article_search", name))
    asks(roles.url_of("reader"))
    asks(roles.url_of("reader"), tenant_id=7)
    assert held(owner, roles, "reader") == {
        "public: USAGE",
        "article_search_document: SELECT",
        "article_search_chunk: SELECT",
        "article_search_filter: SELECT",
        "article.id: SELECT",
        "article.tenant_id: SELECT",
        "article_search: EXECUTE",
        "article_search_passages: EXECUTE",
        "article_search_terms: EXECUTE",
        "article_search_encode: EXECUTE",
        "article_search_embed: EXECUTE",
    }
    with product.connect(roles.url_of("reader"), row_security=True) as connection:
        for refused in (
            "SELECT title FROM article",
            "SELECT lexeme FROM article_search_lexeme",
            "SELECT token FROM article_search_token",
            "SELECT id FROM article_search_queue",
            "DELETE FROM article_search_document",
            "SELECT article_search_refresh_statistics()",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())
    invoke(ready, GrantSearchOp("article_search", name).reverse())
    assert held(owner, roles, "reader") == {"public: USAGE"}


def test_who_may_search_may_ask_for_passages(ready: str, roles: Roles, owner: Connection) -> None:
    """Also where they come later, as in a search index that an older version made."""
    owner.execute("REVOKE EXECUTE ON FUNCTION article_search FROM PUBLIC")
    invoke(ready, GrantSearchOp("article_search", roles.name("reader")))
    owner.execute("DROP TYPE article_search_passage CASCADE")
    roles.create("stranger")
    execute_all(owner, alter_search_index(ARTICLE_SEARCH))
    for role, may in (("reader", True), ("stranger", False)):
        ((is_so,),) = owner.execute(
            "SELECT has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc"
            " WHERE proname = 'article_search_passages'",
            [roles.name(role)],
        )
        assert is_so is may
    # Another filter is another function.
    owner.execute(
        "REVOKE EXECUTE ON FUNCTION article_search_passages FROM {}".format(
            roles.identifier("reader").as_string(None)
        )
    )
    more = article_index("article_search", filters=(TypedColumn("title", "text"),))
    execute_all(owner, alter_search_index(more))
    assert "article_search_passages: EXECUTE" not in held(owner, roles, "reader")
    assert "article_search: EXECUTE" in held(owner, roles, "reader")


def test_each_is_needed(ready: str, roles: Roles, owner: Connection) -> None:
    """Without any one of them, a search fails: under row-level security each of them is used."""
    owner.execute("UPDATE article SET tenant_id = 7")
    owner.execute("REVOKE EXECUTE ON FUNCTION article_search FROM PUBLIC")
    owner.execute("REVOKE SELECT ON article_search_filter FROM PUBLIC")
    owner.execute("ALTER TABLE article ENABLE ROW LEVEL SECURITY")
    owner.execute("CREATE POLICY everyone ON article USING (true)")
    execute_all(owner, alter_search_index(ARTICLE_SEARCH))
    reader = roles.identifier("reader")
    invoke(ready, GrantSearchOp("article_search", roles.name("reader")))
    asks(roles.url_of("reader"))
    for privilege in (
        "SELECT ON article_search_document",
        "SELECT ON article_search_chunk",
        "SELECT ON article_search_filter",
        "SELECT (id) ON article",
        "SELECT (tenant_id) ON article",
        "EXECUTE ON FUNCTION article_search",
        "EXECUTE ON FUNCTION article_search_terms",
    ):
        owner.execute(SQL("REVOKE {} FROM {}").format(SQL(privilege), reader))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            asks(roles.url_of("reader"), tenant_id=7)
        owner.execute(SQL("GRANT {} TO {}").format(SQL(privilege), reader))
        asks(roles.url_of("reader"), tenant_id=7)


def test_they_hold_over_alterations(ready: str, roles: Roles, owner: Connection) -> None:
    """Another filter is another column of the table; a suspension takes the views away."""
    owner.execute("ALTER TABLE article ADD COLUMN year integer DEFAULT 2024, ADD COLUMN n integer")
    invoke(ready, GrantSearchOp("article_search", roles.name("reader")))
    invoke(ready, GrantWorkerOp("article_search", roles.name("worker")))
    more = article_index(
        "article_search", filters=(*ARTICLE_SEARCH.filters, TypedColumn("year", "integer"))
    )
    for definition, given in ((more, {"year": 2024}), (ARTICLE_SEARCH, {}), (more, {"year": 2024})):
        execute_all(owner, alter_search_index(definition))
        asks(roles.url_of("reader"), **given)
        execute_all(
            owner, suspend_search_index("article_search", "article", "public", filters=True)
        )
        execute_all(owner, alter_search_index(definition, refill=True))
        asks(roles.url_of("reader"), **given)
        owner.execute("UPDATE article SET body = body || ' more'")
        assert Worker(roles.url_of("worker")).drain().problems == []
        assert values(owner, "SELECT count(*) FROM article_search_queue") == [0]
    with (
        product.connect(roles.url_of("reader"), row_security=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("SELECT n FROM article")


def test_who_could_not_filter_is_not_given_columns(
    ready: str, roles: Roles, owner: Connection
) -> None:
    """As where an administrator has granted the rest by hand."""
    invoke(ready, GrantSearchOp("article_search", roles.name("reader")))
    revoked = SQL("REVOKE SELECT (tenant_id) ON article FROM {}")
    owner.execute(revoked.format(roles.identifier("reader")))
    execute_all(owner, alter_search_index(ARTICLE_SEARCH))
    assert "article.tenant_id: SELECT" not in held(owner, roles, "reader")


def test_a_table_that_has_another_name_by_now(ready: str, roles: Roles, owner: Connection) -> None:
    owner.execute("ALTER TABLE article RENAME TO post")
    owner.execute("ALTER TABLE post RENAME COLUMN tenant_id TO owner_id")
    invoke(ready, GrantSearchOp("article_search", roles.name("reader")))
    assert {"post.id: SELECT", "post.owner_id: SELECT"} < held(owner, roles, "reader")
    invoke(ready, RevokeSearchOp("article_search", roles.name("reader")))
    assert held(owner, roles, "reader") == {"public: USAGE"}


def test_who_reads_and_works(ready: str, roles: Roles, owner: Connection) -> None:
    """What is taken for the one is left for the other, on this search index and on others."""
    create(owner, article_index("other_search"))
    name = roles.name("worker")
    search, work = GrantSearchOp("article_search", name), GrantWorkerOp("article_search", name)
    other = GrantWorkerOp("other_search", name)
    alone: dict[str, set[str]] = {}
    for operation in (search, work, other):
        invoke(ready, operation)
        alone[str(operation.to_diff_tuple())] = held(owner, roles, "worker")
        invoke(ready, operation.reverse())
        assert held(owner, roles, "worker") == {"public: USAGE"}

    def holding(*operations: MigrateOperation) -> set[str]:
        return set().union(*(alone[str(operation.to_diff_tuple())] for operation in operations))

    for taken in (search, work, other):
        for operation in (search, work, other):
            invoke(ready, operation)
        assert held(owner, roles, "worker") == holding(search, work, other)
        invoke(ready, taken.reverse())
        left = [operation for operation in (search, work, other) if operation is not taken]
        assert held(owner, roles, "worker") == holding(*left)


def test_whom_row_level_security_concerns_is_no_worker(
    ready: str, roles: Roles, owner: Connection
) -> None:
    owner.execute("ALTER TABLE article ENABLE ROW LEVEL SECURITY")
    operation = GrantWorkerOp("article_search", roles.name("worker"))
    with pytest.raises(Exception, match="row-level security hides rows of article from") as refused:
        invoke(ready, operation)
    assert "give it BYPASSRLS" in str(refused.value)
    owner.execute(SQL("ALTER ROLE {} BYPASSRLS").format(roles.identifier("worker")))
    invoke(ready, operation)
    execute_all(owner, alter_search_index(ARTICLE_SEARCH))
    owner.execute("INSERT INTO article (title) VALUES ('two')")
    assert Worker(roles.url_of("worker")).drain().documents == 1


def test_of_a_search_index_that_is_gone(ready: str, roles: Roles, owner: Connection) -> None:
    execute_all(owner, drop_search_index("article_search", "article", "public"))
    for revoke in (RevokeSearchOp, RevokeWorkerOp):
        invoke(ready, revoke("article_search", roles.name("reader")))
    with pytest.raises(Exception, match="no search index"):
        invoke(ready, GrantSearchOp("article_search", roles.name("reader")))


def test_as_a_migration_has_them() -> None:
    grants = [GrantSearchOp("s", 'the "app"'), GrantWorkerOp("s", "w", schema="shop")]
    assert code(*grants, *(grant.reverse() for grant in grants)) == (
        """op.grant_search("s", 'the "app"')\n"""
        """op.grant_worker("s", "w", schema="shop")\n"""
        """op.revoke_search("s", 'the "app"')\n"""
        """op.revoke_worker("s", "w", schema="shop")"""
    )
    for grant in grants:
        assert code(grant.reverse().reverse()) == code(grant)
