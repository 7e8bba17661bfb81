"""The wheel: built, installed into a fresh environment away from the sources, and used."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command and return its standard output; fail with all that it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    run(sys.executable, "-m", "pip", "wheel", *options, ROOT, cwd=folder)
    (wheel,) = folder.glob("pgsearch-*.whl")
    return wheel


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment with the wheel; without a model library."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    programs = folder / "venv" / "bin"
    options = ["--quiet", "--constraint", str(ROOT / "constraints.txt")]
    wanted = f"pgsearch[embedded] @ {wheel.as_uri()}"
    run(programs / "pip", "install", *options, wanted, cwd=folder)
    return programs


def test_it_holds_every_file_of_sql_and_migrations(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        f"pgsearch/{path.relative_to(ROOT)}"
        for folder in ("sql", "migrations")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert "pgsearch/migrations/env.py" in sources
    assert any(path.startswith("pgsearch/sql/install/") for path in sources)
    assert sources <= held
    top = {name.partition("/")[0] for name in held}
    assert {name for name in top if not name.endswith(".dist-info")} == {"pgsearch"}


def test_it_migrates_away_from_its_sources(
    programs: Path, empty_database: str, tmp_path: Path
) -> None:
    ask = "from pgsearch import resources; print(resources.migrations())"
    migrations = Path(run(programs / "python", "-c", ask, cwd=tmp_path).strip())
    assert migrations.is_relative_to(programs.parent)

    applied = run(programs / "pgsearch", "migrate", cwd=tmp_path, DATABASE_URL=empty_database)
    assert len(applied.splitlines()) == len(list((migrations / "versions").glob("[0-9]*.py")))
    with psycopg.connect(empty_database) as connection:
        rows = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind = 'r' "
            "AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        assert {
            "document",
            "document_search_document",
            "document_search_chunk",
            "document_search_queue",
        } <= {name for (name,) in rows}
        connection.execute(
            "INSERT INTO document (title, body) VALUES ('Passwords', 'How to reset one')"
        )
        found = connection.execute("SELECT id FROM document_search('reset a password')").fetchall()
        assert len(found) == 1


def test_its_base_install_is_light(programs: Path, tmp_path: Path) -> None:
    """Neither torch nor a model library; and the overview imports nothing of size."""
    installed = run(programs / "pip", "list", "--format", "freeze", cwd=tmp_path).lower()
    for heavy in ("torch", "transformers", "numpy", "sentence-transformers"):
        assert f"\n{heavy}==" not in f"\n{installed}"
    ask = (
        "import sys; from pgsearch.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print(sorted({'alembic', 'psycopg', 'rich', 'semchunk', 'sqlalchemy'} & set(sys.modules)))"
    )
    shown = run(programs / "python", "-c", ask, cwd=tmp_path)
    assert "worker" in shown
    assert shown.splitlines()[-1] == "[]"
