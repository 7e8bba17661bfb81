"""The Alembic project that is migrated with: a table of revisions, and the files made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.config import Config


@dataclass(frozen=True)
class Revision:
    """A migration, and what the bench has to know of it.

    Args:
        title: What it is about.
        upgrade: The statement of its upgrade.
        downgrade: The statement of its downgrade.
        creates_search: Whether `article_search` exists only after it: nobody may search before.
        settled: SQL that is true when the worker has done what follows from the upgrade; from
            then on, documents are as the rows are.
    """

    title: str
    upgrade: str
    downgrade: str
    creates_search: bool = False
    settled: str | None = None


def _state(embedding: str, *states: str) -> str:
    wanted = ", ".join(f"'{state}'" for state in states)
    return (
        f"SELECT EXISTS (SELECT FROM pgsearch.embedding"
        f" WHERE name = '{embedding}' AND state IN ({wanted}))"
    )


def _add(name: str, dimensions: int) -> str:
    return f'op.add_embedding({_INDEX}, "{name}", hash_model({dimensions}), {_HNSW})'


def _drop(name: str) -> str:
    return f'op.drop_embedding({_INDEX}, "{name}", deactivate=True)'


def _activate(name: str) -> str:
    return f'op.activate_embedding({_INDEX}, "{name}", when_ready=True)'


def _define(operation: str, definition: str, **options: str) -> str:
    given = "".join(f", {name}={value}" for name, value in options.items())
    return f'op.{operation}({_INDEX}, "article", {definition}{given})'


_INDEX = '"article_search"'

#: Small graphs: how fast they are built is not what is measured.
_HNSW = "m=8, ef_construction=16"

_FIRST = 'text={"title": "A", "body": "B"}, filters=["tenant_id"]'
_WEIGHTS = 'text={"title": "B", "body": "A"}, language="simple", filters=["tenant_id"]'
_FILTERS = _WEIGHTS.replace('["tenant_id"]', '["tenant_id", "views"]')
_TEXT = (
    'text={"title": "A", "summary": "B", "body": "C"}, filters=["tenant_id", "views"],'
    ' chunking=Chunking(max_tokens=64, heading="title")'
)

_FILLED = "SELECT bool_and(filled_at IS NOT NULL) FROM pgsearch.search_index"

#: Every operation, in the order in which an application comes to need it.
REVISIONS = (
    Revision("install", "op.pgsearch_install()", "op.pgsearch_uninstall()"),
    Revision(
        "create_search_index",
        _define("create_search_index", _FIRST),
        f'op.drop_search_index({_INDEX}, "article")',
        creates_search=True,
    ),
    Revision("add_embedding a", _add("a", 32), _drop("a"), settled=_state("a", "active")),
    Revision("add_embedding b", _add("b", 48), _drop("b"), settled=_state("b", "ready", "active")),
    Revision("activate_embedding b", _activate("b"), _activate("a")),
    Revision(
        "reindex_embedding b",
        f'op.reindex_embedding({_INDEX}, "b", m=4, ef_construction=16)',
        f'op.reindex_embedding({_INDEX}, "b", {_HNSW})',
    ),
    Revision(
        "alter_search_index: language",
        _define("alter_search_index", _WEIGHTS),
        _define("alter_search_index", _FIRST),
        settled=_FILLED,
    ),
    Revision(
        "alter_search_index: filters",
        _define("alter_search_index", _FILTERS),
        _define("alter_search_index", _WEIGHTS),
    ),
    Revision(
        "alter_search_index: text",
        _define("alter_search_index", _TEXT),
        _define("alter_search_index", _FILTERS),
    ),
    Revision(
        "suspend_search_index",
        f"""op.suspend_search_index({_INDEX}, "article")
    {_define("alter_search_index", _TEXT, refill="True")}""",
        "pass",
    ),
    Revision(
        "adopt_embedding c",
        f'op.adopt_embedding({_INDEX}, "c", hash_model(16), column="vector", {_HNSW})',
        _drop("c"),
    ),
    Revision("drop_embedding a", _drop("a"), _add("a", 32)),
)

_ENV = '''"""Runs each migration in a transaction of its own."""

from alembic import context
from sqlalchemy import create_engine, pool

attributes = context.config.attributes
engine = create_engine(attributes["url"], poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=None,
        transaction_per_migration=True,
        pgsearch_lock_timeout_ms=attributes["lock_timeout_ms"],
    )
    with context.begin_transaction():
        context.run_migrations()
'''

_MIGRATION = '''"""{title}"""

from alembic import op

from pgsearch.declare import Chunking
from pgsearch.testing import hash_model

revision = "{revision}"
down_revision = {down_revision!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
'''


class Project:
    """An Alembic project of those revisions.

    Args:
        folder: An empty folder; the project is written there.
        revisions: The revisions, oldest first.
        url: The database, as SQLAlchemy takes it.
        lock_timeout_ms: How long a migration waits for a lock before it makes way.
    """

    def __init__(
        self, folder: Path, revisions: Sequence[Revision], url: str, lock_timeout_ms: int
    ) -> None:
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(_ENV, encoding="utf-8")
        for number, revision in enumerate(revisions, start=1):
            text = _MIGRATION.format(
                title=revision.title,
                revision=_identifier(number),
                down_revision=_identifier(number - 1),
                upgrade=revision.upgrade,
                downgrade=revision.downgrade,
            )
            path = folder / "versions" / f"{_identifier(number)}.py"
            path.write_text(text, encoding="utf-8")
        self._folder = folder
        self._attributes = {"url": url, "lock_timeout_ms": lock_timeout_ms}

    def migrate(self, number: int, direction: str) -> None:
        """Apply a revision, or take it back.

        Args:
            number: Which one, counted from 1.
            direction: "upgrade" or "downgrade".
        """
        from alembic import command

        if direction == "upgrade":
            command.upgrade(self._config(), _identifier(number) or "base")
        else:
            command.downgrade(self._config(), _identifier(number - 1) or "base")

    def _config(self) -> Config:
        from alembic.config import Config

        config = Config()
        # ConfigParser reads % as the start of an interpolation.
        config.set_main_option("script_location", str(self._folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes.update(self._attributes)
        return config


def _identifier(number: int) -> str | None:
    """Return the revision identifier of a number; None is where the history begins."""
    return f"{number:04}" if number else None
