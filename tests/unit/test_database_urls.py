"""URLs: which are taken, what libpq and SQLAlchemy get, and that no password is shown."""

from __future__ import annotations

import psycopg
import pytest
from sqlalchemy import make_url

from pgsearch.database import connect, database_url, describe, is_recent, sqlalchemy_url
from pgsearch.errors import DatabaseError

REST = "ann:s3cret@db.example.com:6432/app?sslmode=require"


@pytest.mark.parametrize(
    "scheme",
    [
        "postgres",
        "postgresql",
        "postgresql+psycopg",
        "postgresql+psycopg_async",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
    ],
)
def test_every_spelling_becomes_one(scheme: str) -> None:
    assert database_url(f"{scheme}://{REST}") == f"postgresql://{REST}"
    assert sqlalchemy_url(f"{scheme}://{REST}") == f"postgresql+psycopg://{REST}"


def test_the_environment_names_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://db/app")
    assert database_url() == "postgresql://db/app"
    assert database_url("postgresql://db/other") == "postgresql://db/other"


def test_white_space_around_a_url_is_nothing() -> None:
    assert database_url(" postgresql://db/app\n") == "postgresql://db/app"


def test_the_ssl_parameter_of_asyncpg_gets_the_name_that_libpq_has() -> None:
    url = "postgresql+asyncpg://db/app?application_name=x&ssl=require"
    assert database_url(url) == "postgresql://db/app?application_name=x&sslmode=require"


def test_sqlalchemy_understands_the_url_of_a_socket() -> None:
    url = make_url(sqlalchemy_url("postgresql://postgres@/app?host=/var/run/postgresql"))
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.host, url.database) == ("postgres", None, "app")
    assert url.query == {"host": "/var/run/postgresql"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://ann:s3cret@db/app", "begins with mysql://"),
        ("postgresql+pg8000://ann:s3cret@db/app", "begins with postgresql+pg8000://"),
        ("host=db password=s3cret dbname=app", "does not begin with postgresql://"),
        ("postgresql://ann:s3cret%zz@db/app", "libpq cannot read it"),
        ("postgresql://ann:s3cret@db/app?shoe_size=43", 'query parameter: "shoe_size"'),
    ],
)
def test_what_is_no_url_is_refused_without_its_password(url: str, said: str) -> None:
    for use in (database_url, sqlalchemy_url, describe, connect):
        with pytest.raises(DatabaseError) as caught:
            use(url)
        assert said in caught.value.message
        assert "postgresql://user:password@host:5432/database" in str(caught.value.hint)
        assert "s3cret" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://{REST}", "database 'app' on db.example.com:6432 as ann"),
        ("postgresql://ann@db/app?password=s3cret", "database 'app' on db:5432 as ann"),
        ("postgresql://ann@/app?host=/run/pg", "database 'app' on /run/pg as ann"),
        ("postgresql://ann@db", "database 'ann' on db:5432 as ann"),
    ],
)
def test_people_see_database_host_and_user(url: str, shown: str) -> None:
    assert describe(url) == shown


def test_what_people_see_includes_the_defaults_of_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db")
    monkeypatch.setenv("PGPORT", "6432")
    monkeypatch.setenv("PGUSER", "ann")
    monkeypatch.setenv("PGPASSWORD", "s3cret")
    assert describe("postgresql:///app") == "database 'app' on db:6432 as ann"


def test_an_unreachable_server_is_named_without_the_password() -> None:
    with pytest.raises(DatabaseError) as caught:
        connect("postgresql://ann:s3cret@127.0.0.1:1/app")
    shown = "".join(map(str, (caught.value, caught.value.__cause__)))
    assert "database 'app' on 127.0.0.1:1 as ann" in shown
    assert "s3cret" not in shown
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


@pytest.mark.parametrize("version", ["0.8.0", "0.8.5", "0.10.0", "1.0", "0.8.0-dev"])
def test_recent_versions_of_pgvector(version: str) -> None:
    assert is_recent(version)


@pytest.mark.parametrize("version", ["0.7.4", "0.7.10", "0.5", "0"])
def test_older_versions_of_pgvector(version: str) -> None:
    assert not is_recent(version)
