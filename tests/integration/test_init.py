"""Projects that were there before pgsearch, from `pgsearch init` to the first hit and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from pgsearch.database import sqlalchemy_url
from tests.plugins.postgres import Databases
from tests.plugins.project import TEMPLATES, Project, begin

INIT = ("--yes", "--table", "article", "--text", "title:A", "--text", "body:B")
MODEL = ("--model", "example/model", "--revision", "0123abc", "--dimensions", "384")


@pytest.fixture
def second_database(databases: Databases) -> Iterator[str]:
    """URL of one more fresh database."""
    with databases.fresh() as url:
        yield url


def asyncpg_url(url: str) -> str:
    """Return a URL of a server on a Unix socket as asyncpg takes it."""
    parts = urlsplit(url)
    (folder,) = parse_qs(parts.query)["host"]
    return f"postgresql+asyncpg://{parts.username}@{parts.path}?host={folder}"


def relations(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'v') AND relname NOT IN ('alembic_version')"
        )
        return {row[0] for row in rows}


def done(project: Project, *commands: str) -> str:
    """Run `alembic` commands that must succeed; return what they wrote."""
    ran = project.alembic(*commands)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_project_gets_search_and_loses_it_again(
    template: str, database: str, second_database: str, tmp_path: Path
) -> None:
    to_sqlalchemy = asyncpg_url if "async" in template else sqlalchemy_url
    project = begin(tmp_path, template, *map(to_sqlalchemy, (database, second_database)))
    if template.startswith("pyproject"):
        assert "script_location" not in (tmp_path / "alembic.ini").read_text()
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE of_another_application (id integer)")
    done(project, "revision --autogenerate -m models", "upgrade head")
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO article (title, body) VALUES ('old', 'harbour')")
    before = relations(database), relations(second_database)

    began = project.init(*INIT, *MODEL)
    assert began.exit_code == 0, began.stderr

    done(project, "revision --autogenerate -m search", "upgrade head", "check")
    (written,) = (tmp_path / "migrations" / "versions").glob("*_search.py")
    assert written.read_text().count("op.create_search_index(") == 1
    assert "drop_table" not in written.read_text()
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO article (title, body) VALUES ('new', 'storm and harbour')")
        found = connection.execute("SELECT id FROM article_search('storm')").fetchall()
        assert found == [(2,)]
        (states,) = connection.execute("SELECT array_agg(state) FROM pgsearch.embedding")
        assert states == (["filling"],)
    assert relations(second_database) == before[1]

    if template != "multidb":  # which writes a file for each
        script = done(project, "upgrade head --sql")
        assert script.count("BEGIN;") == script.count("COMMIT;") >= 2  # a migration each
        assert "article_search_document" in script
    done(project, "downgrade -1", "upgrade head", "downgrade base")
    assert relations(database) == {"of_another_application"}
    assert relations(second_database) == set()
