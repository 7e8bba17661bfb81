"""The standalone Alembic environment: canonical tables and their search."""

from __future__ import annotations

from alembic import context
from sqlalchemy import create_engine, pool

from pgsearch.canonical import Base
from pgsearch.database import database_url, sqlalchemy_url

config = context.config


def run_offline() -> None:
    """Print the SQL instead of executing it; no database is needed."""
    context.configure(
        dialect_name="postgresql",
        target_metadata=Base.metadata,
        literal_binds=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Migrate the database that was named, or the embedded one."""
    url = config.attributes.get("url") or database_url()
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
