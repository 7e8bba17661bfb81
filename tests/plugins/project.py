"""Projects before they know pgsearch: one of Alembic's templates, with models of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from click.testing import CliRunner, Result

from pgsearch.cli import main

#: So that a project's folder holds its own files only.
QUIET = {"PYTHONDONTWRITEBYTECODE": "1"}

#: Every environment that Alembic can begin with.
TEMPLATES = sorted(path.name for path in Path(Config().get_template_directory()).iterdir())

MODELS = """\
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMES)


class Article(Base):
    __tablename__ = "article"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(index=True)
    body: Mapped[str | None]


class Other(DeclarativeBase):
    pass


class Visit(Other):
    __tablename__ = "visit"

    id: Mapped[int] = mapped_column(primary_key=True)
"""

#: It leaves tables alone that no model has, as applications do beside other applications.
ENVIRONMENT = """\
from shop.models import Base, Other


def include_object(object, name, type_, reflected, compare_to):
    return not (type_ == "table" and reflected and compare_to is None)


"""

_RUN_ALEMBIC = """\
import json, sys
from alembic.config import main
for arguments in json.loads(sys.argv[1]):
    main(arguments, prog="alembic")
"""


@dataclass(frozen=True)
class Project:
    """A project in a folder of its own, with Alembic's environment in `migrations`."""

    folder: Path

    @property
    def env(self) -> Path:
        return self.folder / "migrations" / "env.py"

    def files(self) -> dict[str, bytes]:
        """Return every file with its content."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and "__pycache__" not in path.parts
        }

    def alembic(self, *commands: str) -> subprocess.CompletedProcess[str]:
        """Run `alembic` with each of these command lines, until one fails."""
        given = json.dumps([line.split() for line in commands])
        return subprocess.run(
            [sys.executable, "-P", "-c", _RUN_ALEMBIC, given],
            cwd=self.folder,
            env={**os.environ, **QUIET},
            capture_output=True,
            text=True,
        )

    def init(self, *arguments: str, **environment: str) -> Result:
        """Run `pgsearch init` in the project's folder, without a terminal."""
        with chdir(self.folder):
            return CliRunner().invoke(main, ["init", *arguments], env={**QUIET, **environment})


def begin(folder: Path, template: str, *urls: str) -> Project:
    """Make a project of a template, with models and an env.py that knows them.

    Args:
        urls: SQLAlchemy URLs of its database, or of its databases engine1 and engine2.
    """
    config = Config(str(folder / "alembic.ini"), toml_file=str(folder / "pyproject.toml"))
    with chdir(folder):
        command.init(config, "migrations", template=template)
    project = Project(folder)
    (folder / "shop").mkdir()
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "models.py").write_text(MODELS)
    source = project.env.read_text()
    for empty, known in (
        ("target_metadata = None", f"{ENVIRONMENT}target_metadata = Base.metadata"),
        (
            "target_metadata = {}",
            (
                f"{ENVIRONMENT}target_metadata = "
                '{\n    "engine1": Base.metadata,\n    "engine2": Other.metadata,\n}'
            ),
        ),
        ("    url=url,", "    url=url, include_object=include_object,"),
        ("connection=connection,", "connection=connection, include_object=include_object,"),
    ):
        source = source.replace(empty, known)
    project.env.write_text(source)
    ini = folder / "alembic.ini"
    text = ini.read_text()
    for url, place in zip(urls, ("/dbname", "/dbname2"), strict=False):
        text = text.replace(f"driver://user:pass@localhost{place}\n", url.replace("%", "%%") + "\n")
    ini.write_text(text)
    return project
