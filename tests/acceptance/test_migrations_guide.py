"""docs/migrations.md, done as it is written: every block of it, in order, in one project."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pgsearch import Chunking, Expression, Model
from pgsearch.database import sqlalchemy_url
from tests.plugins.migration import migration

GUIDE = Path(__file__).parents[2] / "docs" / "migrations.md"

ENV_PY = """
import os
from alembic import context
from sqlalchemy import create_engine
from models import Base

target_metadata = Base.metadata


def include_name(name, type_, parents):
    # The guide has tables that are not declared.
    return type_ != "table" or name in target_metadata.tables


def run(connection):
    context.configure(
        connection=connection,
        target_metadata=target_metadata,
        transaction_per_migration=True,
        include_name=include_name,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=target_metadata)
    with context.begin_transaction():
        context.run_migrations()
else:
    with create_engine(os.environ["APPLICATION_URL"]).connect() as connection:
        run(connection)
"""

FIRST = '''
"""The application's own table."""
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
    op.execute("INSERT INTO article (tenant_id, title, body) VALUES (7, 'Storm', 'At sea.')")


def downgrade():
    op.drop_table("article")
'''

SCRIPT = '''"""${message}"""
revision, down_revision = ${repr(up_revision)}, ${repr(down_revision)}
from alembic import op
import sqlalchemy as sa
${imports if imports else ''}
def upgrade():
    ${upgrades}

def downgrade():
    ${downgrades}
'''

ADOPTED = """
CREATE TABLE adopted (id integer PRIMARY KEY, title text, vector_v1 vector(384))
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of the guide with the comment that stands before it."""

    marker: str
    language: str
    code: str


def blocks() -> Iterator[Block]:
    text = GUIDE.read_text(encoding="utf-8")
    fence = r"(?:<!-- ([^\n]*) -->\n)?```(\w+)\n(.*?)^```$"
    for found in re.finditer(fence, text, re.DOTALL | re.MULTILINE):
        yield Block(found[1] or "", found[2], found[3])


class Reader:
    """Somebody who follows the guide."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        versions = folder / "migrations" / "versions"
        versions.mkdir(parents=True)
        (folder / "alembic.ini").write_text(
            "[alembic]\nscript_location = migrations\nprepend_sys_path = .\npath_separator = os\n"
        )
        (folder / "migrations" / "env.py").write_text(ENV_PY)
        (folder / "migrations" / "script.py.mako").write_text(SCRIPT)
        (versions / "0001.py").write_text(FIRST)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(ADOPTED.encode())

    def follow(self, block: Block) -> None:
        what, _, about = block.marker.partition(": ")
        steps = {
            "file": self.begin,
            "edit": self.edit,
            "generates": self.generate,
            "run": self.run,
            "run, exit status 1": self.run_in_vain,
            "sql": self.sql,
            "refused": self.refused,
            "migration": self.migrate,
            "migration on": self.adopt,
            "env.py": self.configure,
        }
        steps[what](block.code, about)

    def write(self, code: str, name: str) -> None:
        (self.folder / name).write_text(code)

    def begin(self, code: str, name: str) -> None:
        """Write the models; the table itself was there before."""
        self.write(code, name)
        self.run("$ alembic upgrade head", "")

    def edit(self, code: str, name: str) -> None:
        lines = code.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if line[0] != "+")
        new = "".join(f"{line[1:]}\n" for line in lines if line[0] != "-")
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, old
        self.write(text.replace(old, new), name)

    def run(self, code: str, expected: str, status: int = 0) -> None:
        for line in code.splitlines():
            command = line.removeprefix("$ ").partition("  #")[0]
            done = self.execute(command)
            assert done.returncode == status, f"{command}\n{done.stdout}\n{done.stderr}"
            assert expected in done.stdout

    def run_in_vain(self, code: str, expected: str) -> None:
        self.run(code, expected, status=1)

    def execute(self, command: str) -> subprocess.CompletedProcess[str]:
        bin_folder = Path(sys.executable).parent
        program, *arguments = shlex.split(command.partition(" > ")[0])
        environment = os.environ | {
            "DATABASE_URL": self.url,
            "APPLICATION_URL": sqlalchemy_url(self.url),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.run(
            [str(bin_folder / program), *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def generate(self, code: str, message: str) -> None:
        """Autogenerate, compare with what the guide shows, and apply it."""
        self.run(f'$ alembic revision --autogenerate -m "{message}"', "")
        slug = message.replace(" ", "_")
        (written,) = (self.folder / "migrations" / "versions").glob(f"*_{slug}.py")
        shown, found = functions(code), functions(written.read_text())
        for name, body in shown.items():
            assert found[name] == body
        self.run("$ alembic upgrade head", "")

    def sql(self, code: str, _: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            for line in re.split(r"(?<=;)(?=\s*(?:--[^\n]*)?\n)", code):
                self.one(connection, line)

    def one(self, connection: psycopg.Connection[tuple[object, ...]], statement: str) -> None:
        """Run a statement; what the comment behind it says of its result must be so."""
        comment, sql = re.match(r"(?:\s*-- ([^\n]*))?(.*)", statement, re.DOTALL).groups()  # type: ignore[union-attr]
        self.check(comment)
        self.rows: list[tuple[object, ...]] | None = None
        if sql.strip():
            done = connection.execute(sql.encode())
            self.rows = done.fetchall() if done.description else None

    def check(self, comment: str | None) -> None:
        if comment is None:
            return
        assert self.rows, comment
        if comment == "0":
            assert self.rows == [(0,)]

    def refused(self, code: str, why: str) -> None:
        with psycopg.connect(self.url) as connection, pytest.raises(psycopg.Error) as caught:
            connection.execute(code.encode())
        assert why in str(caught.value)

    def migrate(self, code: str, _: str) -> None:
        names = {"Chunking": Chunking, "Expression": Expression, "Model": Model}
        with migration(self.url) as op:
            exec(code, names | {"op": op})

    def adopt(self, code: str, table: str) -> None:
        create = f'op.create_search_index("{table}_search", "{table}", text={{"title": "A"}})\n'
        self.migrate(create + code, "")

    def configure(self, code: str, _: str) -> None:
        ast.parse(code)
        path = self.folder / "migrations" / "env.py"
        found = re.search(
            r"    context\.configure\(\n        connection.*?\n    \)\n", ENV_PY, re.DOTALL
        )
        assert found
        more = code.replace("\n)", "\n    include_name=include_name,\n)")
        indented = "".join(f"    {line}\n" for line in more.splitlines())
        path.write_text(ENV_PY.replace(found[0], indented))


def functions(code: str) -> dict[str, list[str]]:
    """Return the bodies of functions, to compare whatever their layout."""
    return {
        node.name: [ast.unparse(statement) for statement in node.body]
        for node in ast.parse(code).body
        if isinstance(node, ast.FunctionDef)
    }


def test_every_block_says_how_it_is_run() -> None:
    unmarked = [block for block in blocks() if not block.marker and block.language != "text"]
    assert unmarked == []


def test_the_guide_does_what_it_says(database: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, database)
    for block in blocks():
        if block.marker:
            reader.follow(block)
