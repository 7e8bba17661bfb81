"""Row-level security that does not follow its table is found, and who cannot work under it."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL

from pgsearch import database as product
from pgsearch.cli import main
from pgsearch.errors import DatabaseError
from pgsearch.schema.index import alter_search_index
from pgsearch.sync import Worker
from tests.plugins.drift import damage, look, mend, seen
from tests.plugins.search import ARTICLE_SEARCH, catalogue, execute_all
from tests.plugins.security import Roles, roles_of

ENABLE = "ALTER TABLE article ENABLE ROW LEVEL SECURITY"
OPEN = "has no row-level security, and table article has: whoever may read it reads all rows"
ALTER = ["alter_search_index"]
DOCUMENT, CHUNK = "article_search_document", "article_search_chunk"


@pytest.fixture
def secured_url(ready: str) -> str:
    """URL of a database whose search index follows the row-level security of its table."""
    damage(ready, ENABLE)
    with psycopg.connect(ready, autocommit=True) as connection:
        execute_all(connection, alter_search_index(ARTICLE_SEARCH))
    assert seen(ready) == []
    return ready


@pytest.fixture
def roles(ready: str) -> Iterator[Roles]:
    with roles_of(ready) as roles:
        yield roles


def tables(problem: str) -> list[str]:
    companions = ("document", "chunk", "queue", "lexeme", "token")
    return [f"table article_search_{n} {problem}" for n in companions]


def test_a_table_that_gets_row_level_security(ready: str) -> None:
    damage(ready, ENABLE)
    assert seen(ready) == tables(OPEN)
    assert mend(ready) == ALTER
    assert seen(ready) == []


def test_a_table_that_loses_it(secured_url: str) -> None:
    with psycopg.connect(secured_url) as connection:
        before = catalogue(connection)
    damage(secured_url, "ALTER TABLE article DISABLE ROW LEVEL SECURITY")
    assert seen(secured_url) == tables("has row-level security, and table article has none")
    assert mend(secured_url) == ALTER
    assert seen(secured_url) == []
    with psycopg.connect(secured_url) as connection:
        after = catalogue(connection)

    def policies(rows: list[tuple[str, ...]]) -> list[str]:
        of_all = "pgsearch."  # of the log of searches, which has nothing to do with the table
        return [name for kind, name, _ in rows if kind == "policy" and not name.startswith(of_all)]

    assert not policies(after)
    assert len(policies(before)) == 3
    damage(secured_url, ENABLE)
    assert mend(secured_url) == ALTER
    with psycopg.connect(secured_url) as connection:
        assert catalogue(connection) == before


@pytest.mark.parametrize(
    ("done", "found", "mended_by"),
    [
        (
            f"ALTER TABLE {CHUNK} DISABLE ROW LEVEL SECURITY",
            f"table {CHUNK} {OPEN}",
            ALTER,
        ),
        (
            f"DROP POLICY {DOCUMENT}_visible ON {DOCUMENT}",
            f"policy {DOCUMENT}_visible of table {DOCUMENT} is missing",
            ALTER,
        ),
        (
            f"ALTER POLICY {CHUNK}_visible ON {CHUNK} USING (true)",
            f"policy {CHUNK}_visible of table {CHUNK} was edited by hand",
            ALTER,
        ),
        (
            f"""ALTER POLICY {CHUNK}_visible ON {CHUNK} USING (EXISTS
                (SELECT FROM article AS source WHERE source.id = {CHUNK}.ordinal OFFSET 0))""",
            f"policy {CHUNK}_visible of table {CHUNK} was edited by hand",
            ALTER,
        ),
        (
            f"ALTER POLICY {CHUNK}_visible ON {CHUNK} TO pg_monitor",
            f"policy {CHUNK}_visible of table {CHUNK} was edited by hand",
            ALTER,
        ),
        (
            f"CREATE POLICY mine ON {DOCUMENT} FOR SELECT USING (length < 3)",
            f"policy mine of table {DOCUMENT} admits more than table article does",
            ["execute", "execute"],
        ),
        (
            "CREATE POLICY mine ON article_search_lexeme USING (true)",
            "policy mine of table article_search_lexeme admits more than table article does",
            ["execute", "execute"],
        ),
        (
            f"ALTER TABLE {DOCUMENT} FORCE ROW LEVEL SECURITY",
            f"table {DOCUMENT} forces row-level security on its owner, whose triggers write it",
            ALTER,
        ),
    ],
)
def test_damage(secured_url: str, done: str, found: str, mended_by: list[str]) -> None:
    damage(secured_url, done)
    assert seen(secured_url) == [found]
    assert mend(secured_url) == mended_by
    assert seen(secured_url) == []


def test_a_policy_that_only_takes_rows_away_is_left(secured_url: str) -> None:
    policy = f"CREATE POLICY mine ON {DOCUMENT} AS RESTRICTIVE FOR SELECT USING (length > 3)"
    damage(secured_url, policy)
    assert seen(secured_url) == []


def test_a_table_that_is_renamed_is_followed(secured_url: str) -> None:
    damage(secured_url, "ALTER TABLE article RENAME TO post")
    damage(secured_url, "ALTER TABLE post RENAME COLUMN tenant_id TO owner_id")
    assert seen(secured_url) == []


def test_what_is_as_it_should_be_is_not_locked(secured_url: str) -> None:
    """An alteration does not wait for what reads documents and chunks, as a dump does."""
    with psycopg.connect(secured_url) as reading, psycopg.connect(secured_url) as altering:
        reading.execute(f"SELECT count(*) FROM {DOCUMENT}".encode())
        reading.execute(f"SELECT count(*) FROM {CHUNK}".encode())
        altering.autocommit = True
        execute_all(altering, alter_search_index(ARTICLE_SEARCH))


def test_a_worker_that_cannot_see_all_rows(secured_url: str, roles: Roles) -> None:
    roles.create("hand")
    name = roles.name("hand")
    fill = f"GRANT EXECUTE ON FUNCTION article_search_fill TO {name}"
    roles.execute(fill, f"GRANT SELECT ON {DOCUMENT}, {CHUNK}, article_search_queue TO {name}")
    (finding,) = look(secured_url).findings
    assert str(finding) == (
        f"role {name} may work on search index article_search, and row-level security hides rows "
        "of table article from it"
    )
    assert "BYPASSRLS" in str(finding.hint)
    with pytest.raises(DatabaseError, match=f"hides rows of table article from the role '{name}'"):
        Worker(roles.url_of("hand")).drain()
    said = CliRunner().invoke(main, ["--database", roles.url_of("hand"), "status"]).output
    assert f"error: Row-level security hides rows of table article from the role '{name}'" in said
    assert "hint: Let it be the role that owns the table" in said
    said = CliRunner().invoke(main, ["--database", roles.url_of("hand"), "retry"]).output
    assert f"error: Row-level security hides rows of table article from the role '{name}'" in said
    roles.execute(f"ALTER ROLE {name} BYPASSRLS")
    assert seen(secured_url) == []
    said = CliRunner().invoke(main, ["--database", roles.url_of("hand"), "status"]).output
    assert "Row-level" not in said
    assert "documents  1 " in said


def test_an_owner_that_cannot_see_all_rows(secured_url: str, roles: Roles) -> None:
    """As where the table forces its row-level security on its owner: the functions are his."""
    roles.create("owner")
    name = roles.identifier("owner")
    roles.execute(
        SQL("ALTER TABLE article OWNER TO {}").format(name),
        *(
            SQL("ALTER FUNCTION {} OWNER TO {}").format(SQL(function), name)
            for function in ("article_search_fill", "article_search_rewrite")
        ),
        SQL("ALTER TABLE article_search_document OWNER TO {}").format(name),
        SQL("ALTER TABLE article_search_chunk OWNER TO {}").format(name),
        SQL("ALTER TABLE article_search_queue OWNER TO {}").format(name),
        SQL("ALTER TABLE article_search_lexeme OWNER TO {}").format(name),
        SQL("ALTER TABLE article_search_token OWNER TO {}").format(name),
    )
    assert seen(secured_url) == []
    damage(secured_url, "ALTER TABLE article FORCE ROW LEVEL SECURITY")
    (finding,) = look(secured_url).findings
    assert str(finding) == (
        f"role {roles.name('owner')} owns the functions that read table article for workers, and "
        "row-level security hides rows from it"
    )
    assert "NO FORCE" in str(finding.hint)
    with pytest.raises(DatabaseError, match=f"from the role '{roles.name('owner')}'"):
        Worker(secured_url).drain()
    said = CliRunner().invoke(main, ["--database", secured_url, "status"]).output
    remark = f"Row-level security hides rows from the role {roles.name('owner')}, whose functions"
    assert remark in " ".join(said.split())
    damage(secured_url, "ALTER TABLE article NO FORCE ROW LEVEL SECURITY")
    with product.connect(secured_url):
        assert Worker(secured_url).drain().problems == []
