"""Where the SQL files and the standalone migrations lie: in the package or beside it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


@cache
def _folder(name: str) -> Path:
    """Return a folder that a wheel carries inside the package and a checkout beside it."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def migrations() -> Path:
    """Return the folder of the standalone Alembic environment."""
    return _folder("migrations")


@cache
def sql(name: str) -> str:
    """Return the text of a SQL file, as in `sql("search/hybrid.sql")`."""
    return (_folder("sql") / name).read_text(encoding="utf-8")
