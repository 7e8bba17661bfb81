"""Autogenerate as a project uses it: what it finds, what it writes, and that what it wrote runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.operations.ops import MigrationScript
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import postgresql

from pgsearch import BM25, Chunking, Embedding, Expression, Model, SearchIndex
from pgsearch.database import sqlalchemy_url
from pgsearch.sync import Worker
from pgsearch.testing import hash_model


def metadata(
    *embeddings: int,
    schema: str | None = None,
    table: str = "article",
    columns: Mapping[str, Any] | None = None,
    **options: Any,
) -> MetaData:
    """A table with a search index.

    Args:
        *embeddings: Dimensions of hash models.
        schema: Its schema.
        table: Its name.
        columns: Types of columns that are added or replaced; None takes one away.
        **options: Of the search index, instead of those below.
    """
    metadata = MetaData()
    types = {"id": BigInteger, "tenant_id": Integer, "title": Text, "body": Text}
    types |= {"code": String(9)} | dict(columns or {})
    made = Table(
        table,
        metadata,
        *(
            Column(name, *([type_] if isinstance(type_, type) else _parts(type_)))
            if name != "id"
            else Column(name, type_, primary_key=True)
            for name, type_ in types.items()
            if type_ is not None
        ),
        schema=schema,
    )
    SearchIndex(
        "article_search",
        made,
        **{
            "text": {"title": "A", "body": "B"},
            "filters": ["tenant_id", "code"],
            "chunking": Chunking(heading="title"),
            "embeddings": [Embedding(f"hash_{n}", hash_model(n)) for n in embeddings],
            **options,
        },
    )
    return metadata


def _parts(type_: Any) -> tuple[Any, ...]:
    return type_ if isinstance(type_, tuple) else (type_,)


class Project:
    """Autogenerates against a database and runs what was generated, as text."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection

    def generate(self, wanted: MetaData, **options: Any) -> MigrationScript:
        context = MigrationContext.configure(
            self.connection,
            opts={"target_metadata": wanted, **options},
        )
        script = produce_migrations(context, wanted)
        # As at the end of the command: a transaction left open would hold up an index build.
        self.connection.commit()
        return script

    def render(self, operations: Any) -> str:
        context = MigrationContext.configure(self.connection)
        return render_python_code(operations, migration_context=context)

    def calls(self, wanted: MetaData, **options: Any) -> list[str]:
        """The names of the operations that an upgrade would call."""
        code = self.render(self.generate(wanted, **options).upgrade_ops)
        return [
            line.strip().removeprefix("op.").partition("(")[0]
            for line in code.splitlines()
            if line.strip().startswith("op.")
        ]

    def run(self, code: str) -> None:
        """Run what was rendered, in a transaction that is Alembic's own, as a migration's is."""
        context = MigrationContext.configure(self.connection)
        names = {
            "op": Operations(context),
            "sa": sa,
            "postgresql": postgresql,
            "BM25": BM25,
            "Chunking": Chunking,
            "Expression": Expression,
            "Model": Model,
        }
        with context.begin_transaction():
            exec("if True:\n    " + code.replace("\n", "\n    "), names)

    def upgrade(self, wanted: MetaData) -> str:
        """Bring the database to the metadata; return the code of the downgrade."""
        script = self.generate(wanted)
        self.run(self.render(script.upgrade_ops))
        return self.render(script.downgrade_ops)


@pytest.fixture
def project(database: str) -> Iterator[Project]:
    engine = sa.create_engine(sqlalchemy_url(database))
    with engine.connect() as connection:
        yield Project(connection)
    engine.dispose()


@pytest.fixture
def drain(database: str) -> Callable[[], Any]:
    return lambda: Worker(database).drain()
