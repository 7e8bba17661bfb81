"""A database under row-level security, with roles of several kinds, each with a connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Composed, Identifier

from pgsearch import database as product
from pgsearch.schema import grants
from pgsearch.schema import search as search_ddl
from pgsearch.schema.index import alter_search_index
from tests.plugins.postgres import Databases
from tests.plugins.search import (
    ARTICLE_SEARCH,
    ARTICLE_TABLE,
    HASH_V1,
    create,
    execute_all,
    fill_library,
    install,
)

#: A row is visible to whose setting names its tenant, and to the role that is called as its tenant.
POLICIES = (
    "ALTER TABLE article ENABLE ROW LEVEL SECURITY",
    """CREATE POLICY by_setting ON article
       USING (tenant_id = ANY (nullif(current_setting('app.tenants', true), '')::integer[]))""",
    "CREATE POLICY by_role ON article USING (current_user ~ ('^tenant_' || tenant_id || '_of_'))",
)


class Roles:
    """Roles of a test, which go with it: `role("ann")` is another one in each database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._name = url.partition("?")[0].rpartition("/")[2]
        self._made: list[str] = []

    def name(self, role: str) -> str:
        """Return the role's name on the server."""
        return f"{role}_of_{self._name}"

    def identifier(self, role: str) -> Identifier:
        """Return the role's name as SQL."""
        return Identifier(self.name(role))

    def create(self, role: str, options: str = "") -> None:
        """Create a role that can log in."""
        made = SQL("CREATE ROLE {} LOGIN {}").format(self.identifier(role), SQL(options))
        self.execute(made)
        self._made.append(role)

    def url_of(self, role: str) -> str:
        """Return the URL by which a role connects."""
        return self.url.replace("postgres@", f"{self.name(role)}@")

    def execute(self, *statements: str | Composed) -> None:
        """Execute statements as a superuser."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode() if isinstance(statement, str) else statement)

    def drop(self) -> None:
        """Drop the roles with all that they own and hold in the database."""
        for role in reversed(self._made):
            self.execute(SQL("DROP OWNED BY {} CASCADE").format(self.identifier(role)))
            self.execute(SQL("DROP ROLE {}").format(self.identifier(role)))


@contextmanager
def roles_of(url: str) -> Iterator[Roles]:
    """Yield the roles of a database and drop them in the end."""
    roles = Roles(url)
    try:
        yield roles
    finally:
        roles.drop()


class Library:
    """4,000 rows of 100 tenants under row-level security, and connections of several roles."""

    def __init__(self, roles: Roles, stack: ExitStack) -> None:
        self.roles = roles
        self._stack = stack
        self._connections: dict[str, product.Connection] = {}

    def connection(self, role: str, tenants: Iterable[int] = ()) -> product.Connection:
        """Return the connection of a role, which acts for some tenants."""
        if role not in self._connections:
            connected = product.connect(self.roles.url_of(role), row_security=True)
            self._connections[role] = self._stack.enter_context(connected)
        connection = self._connections[role]
        wanted = "{" + ",".join(map(str, tenants)) + "}"
        connection.execute("SELECT set_config('app.tenants', %s, false)", [wanted])
        return connection

    @property
    def superuser(self) -> product.Connection:
        """A connection that sees everything."""
        if "" not in self._connections:
            self._connections[""] = self._stack.enter_context(
                product.connect(self.roles.url, row_security=True)
            )
        return self._connections[""]

    def visible(self, connection: product.Connection) -> set[int]:
        """Return the ids of the rows that a role may see."""
        return {id_ for (id_,) in connection.execute("SELECT id FROM article")}


def make_owner(roles: Roles, connection: product.Connection) -> None:
    """Create the role `owner`, and let it own what is made next in the schema public."""
    roles.create("owner")
    owner = roles.identifier("owner")
    name = Identifier(connection.info.dbname)
    connection.execute(SQL("GRANT CREATE ON DATABASE {} TO {}").format(name, owner))
    connection.execute(SQL("GRANT CREATE ON SCHEMA public TO {}").format(owner))


@pytest.fixture(scope="session")
def secured(databases: Databases, vector_template: str) -> Iterator[Library]:
    """The library under row-level security; tests only read it."""
    with databases.fresh(vector_template) as url, roles_of(url) as roles, ExitStack() as stack:
        with product.connect(url) as connection:
            make_owner(roles, connection)
        with few(400), product.connect(roles.url_of("owner")) as connection:
            install(connection)
            connection.execute(ARTICLE_TABLE.encode())
            create(connection, ARTICLE_SEARCH, HASH_V1)
            fill_library(connection)
            for statement in POLICIES:
                connection.execute(statement.encode())
            execute_all(connection, alter_search_index(ARTICLE_SEARCH))
            asking = ("app", "tenant_7", "tenant_99", "nobody", "auditor")
            for role in asking:
                roles.create(role, "BYPASSRLS" if role == "auditor" else "")
                name = roles.name(role)
                execute_all(connection, grants.grant_search("public", "article_search", name))
                granted = SQL("GRANT SELECT ON article TO {}")
                connection.execute(granted.format(roles.identifier(role)))
            roles.create("member")
            member = SQL("GRANT {} TO {}")
            roles.execute(member.format(roles.identifier("owner"), roles.identifier("member")))
        yield Library(roles, stack)


@contextmanager
def few(rows: int) -> Iterator[None]:
    """Let so many rows be few: the library is smaller than what is few otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_ddl, "FEW_ROWS", rows)
        yield


def values(connection: product.Connection, query: str, *parameters: Any) -> list[Any]:
    """Return the first column of what a query gives."""
    return [row[0] for row in connection.execute(query.encode(), parameters or None)]
