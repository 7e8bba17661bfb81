"""The README's way to add search to a table, done as it is written, in a project of its own."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pgsearch.database import sqlalchemy_url

ROOT = Path(__file__).parents[2]

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine
from models import Base

engine = create_engine(os.environ["APPLICATION_URL"])
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
"""

TABLE = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

def upgrade():
    op.create_table(
        "article",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant_id", sa.Integer, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text),
    )
    op.execute(
        "INSERT INTO article (tenant_id, title, body) VALUES"
        " (7, 'Forgotten credentials', 'Follow the link in the mail to choose new ones.'),"
        " (7, 'Opening hours', 'We are there from nine to five.'),"
        " (8, 'Reset your password', 'This one belongs to another tenant.')"
    )

def downgrade():
    op.drop_table("article")
"""

ASK = """
import os
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

session = Session(create_engine(os.environ["APPLICATION_URL"]))
"""


def block(name: str) -> str:
    """Return the README's code block of a name."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- file: {re.escape(name)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, f"the README has no block {name}"
    return found[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a table, and with the README's files."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = migrations\nprepend_sys_path = .\npath_separator = os\n"
    )
    (tmp_path / "migrations" / "env.py").write_text(ENV_PY)
    (versions / "0001.py").write_text(TABLE)
    script = '"""${message}"""\nrevision, down_revision = ${repr(up_revision)}, "0001"\n'
    script += "from alembic import op\nimport sqlalchemy as sa\n${imports if imports else ''}\n"
    script += "def upgrade():\n    ${upgrades}\n\ndef downgrade():\n    ${downgrades}\n"
    (tmp_path / "migrations" / "script.py.mako").write_text(script)
    (tmp_path / "models.py").write_text(block("models.py"))
    (tmp_path / "ask.py").write_text(ASK + block("ask.py"))
    return tmp_path


def bodies(code: str) -> dict[str, list[str]]:
    """Return the statements of a migration's functions, whatever their layout."""
    return {
        node.name: [ast.unparse(statement) for statement in node.body]
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef)
    }


def run(project: Path, url: str, *command: str) -> str:
    done = subprocess.run(
        [Path(sys.executable).parent / command[0], *command[1:]],
        cwd=project,
        env={**os.environ, "DATABASE_URL": url, "APPLICATION_URL": sqlalchemy_url(url)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_search_is_added_asked_and_removed(project: Path, database: str) -> None:
    run(project, database, "alembic", "upgrade", "0001")
    run(project, database, "alembic", "revision", "--autogenerate", "--rev-id", "0002", "-m", "x")
    (written,) = (project / "migrations" / "versions").glob("0002*")
    assert bodies(written.read_text()) == bodies(block("migration"))
    run(project, database, "alembic", "upgrade", "head")
    run(project, database, "alembic", "check")
    assert "3 passages embedded" in run(project, database, "pgsearch", "sync")
    assert "none failed" in run(project, database, "pgsearch", "status")

    with psycopg.connect(database) as connection:
        # By keywords: the words of the question are in no article of this tenant.
        assert connection.execute(block("ask.sql")).fetchall() == []
        by_word = block("ask.sql").replace("how do I reset my password", "forgotten")
        (found,) = connection.execute(by_word).fetchall()
        assert found[0] == "Forgotten credentials"

    # By meaning as well: the right article comes first, and the other tenant's is not there.
    lines = run(project, database, "python", "ask.py").splitlines()
    assert "Forgotten credentials" in lines[0]
    assert not any("another tenant" in line for line in lines)

    run(project, database, "alembic", "downgrade", "0001")
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relname LIKE 'article%' AND relkind = 'r'"
        )
        assert rows.fetchall() == [("article",)]
