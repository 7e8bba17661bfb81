"""A history of migrations in an Alembic environment of its own: run, printed, and undone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alembic import command
from alembic.config import Config

ENVIRONMENT = """\
from alembic import context
from sqlalchemy import create_engine, pool

from pgsearch.database import sqlalchemy_url

given = context.config.attributes


def run(connection=None):
    offline = {"dialect_name": "postgresql", "literal_binds": True}
    target = offline if connection is None else {"connection": connection}
    context.configure(**target, **given["options"])
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    run()
elif "connection" in given:
    run(given["connection"])
else:
    engine = create_engine(sqlalchemy_url(given["url"]), poolclass=pool.NullPool)
    with engine.connect() as connection:
        run(connection)
"""

#: An environment for asyncpg, as Alembic's template `async` has it.
ASYNC_ENVIRONMENT = """\
import asyncio

from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from pgsearch.database import sqlalchemy_url

given = context.config.attributes


def run(connection):
    context.configure(connection=connection, **given["options"])
    with context.begin_transaction():
        context.run_migrations()


async def run_async():
    url = sqlalchemy_url(given["url"]).replace("+psycopg", "+asyncpg")
    engine = create_async_engine(url, poolclass=pool.NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)


asyncio.run(run_async())
"""

_SCRIPT = """\
from alembic import op

from pgsearch import Chunking, Expression, Model

revision = {revision!r}
down_revision = {before!r}


def upgrade():
    {upgrade}


def downgrade():
    {downgrade}
"""


class Revision(NamedTuple):
    """One migration: the bodies of its functions, a statement a line."""

    upgrade: str
    downgrade: str = "pass"


class History:
    """Revisions called 1, 2, 3 and so on.

    Args:
        folder: An empty folder.
        revisions: What they do.
        environment: The text of env.py.
        **options: For `context.configure`.
    """

    def __init__(
        self,
        folder: Path,
        revisions: Sequence[Revision],
        environment: str = ENVIRONMENT,
        **options: Any,
    ) -> None:
        versions = folder / "versions"
        versions.mkdir(parents=True)
        (folder / "env.py").write_text(environment)
        for number, revision in enumerate(revisions, start=1):
            text = _SCRIPT.format(
                revision=str(number),
                before=str(number - 1) if number > 1 else None,
                upgrade=revision.upgrade.replace("\n", "\n    "),
                downgrade=revision.downgrade.replace("\n", "\n    "),
            )
            (versions / f"{number:03}.py").write_text(text)
        self._folder = folder
        self._options = {"transaction_per_migration": True, **options}

    def upgrade(self, url: str, target: str, **options: Any) -> None:
        """Run the migrations up to a revision.

        Args:
            url: The database.
            target: The revision, or "head".
            **options: For `context.configure`, beside the history's; or `connection`, for env.py.
        """
        command.upgrade(self._config(url, options), target)

    def downgrade(self, url: str, target: str, **options: Any) -> None:
        """Undo the migrations down to a revision."""
        command.downgrade(self._config(url, options), target)

    def printed(self, start: str, end: str, **options: Any) -> str:
        """Return the SQL that `alembic upgrade|downgrade --sql start:end` prints."""
        config = self._config("", options)
        config.output_buffer = io.StringIO()
        is_down = end == "base" or (start not in ("base", "") and int(end) < int(start))
        step = command.downgrade if is_down else command.upgrade
        step(config, f"{start}:{end}", sql=True)
        return config.output_buffer.getvalue()

    def _config(self, url: str, options: dict[str, Any]) -> Config:
        config = Config()
        config.set_main_option("script_location", str(self._folder))
        config.set_main_option("path_separator", "os")
        config.attributes["url"] = url
        config.attributes["options"] = self._options | options
        if "connection" in options:
            config.attributes["connection"] = config.attributes["options"].pop("connection")
        return config
