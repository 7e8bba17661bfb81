"""`alembic revision --autogenerate` sees search indexes, both ways, and then sees nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import MetaData

from pgsearch import Embedding, resources
from pgsearch.declare import declared_on
from pgsearch.testing import hash_model
from tests.plugins.autogenerate import Project, metadata


def relations(project: Project) -> set[str]:
    rows = project.connection.scalars(
        sa.text("SELECT relname FROM pg_class WHERE relname LIKE 'article%' AND relkind = 'r'")
    )
    return set(rows)


def test_it_creates_once_and_then_sees_nothing(project: Project) -> None:
    created = ["pgsearch_install", "create_table", "create_search_index", "add_embedding"]
    assert project.calls(metadata(64)) == created
    project.upgrade(metadata(64))
    for _ in range(10):
        assert project.calls(metadata(64)) == []


def test_the_downgrade_is_real(project: Project, drain: Callable[[], Any]) -> None:
    downgrade = project.upgrade(metadata(64))
    drain()  # now the embedding is active
    project.run(downgrade)
    assert relations(project) == set()
    assert project.connection.scalar(sa.text("SELECT to_regnamespace('pgsearch')")) is None


def test_an_embedding_is_added_activated_and_dropped(
    project: Project, drain: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    project.upgrade(metadata(64))
    drain()
    assert project.calls(metadata(64, 32)) == ["add_embedding"]
    project.upgrade(metadata(64, 32))
    # Not ready yet, so there is nothing that a migration could activate.
    assert project.calls(metadata(64, 32, active="hash_32")) == []
    drain()
    assert project.calls(metadata(64, 32)) == []
    back = project.upgrade(metadata(64, 32, active="hash_32"))
    assert 'op.activate_embedding("article_search", "hash_64", when_ready=True)' in back
    assert project.calls(metadata(64, 32, active="hash_32")) == []
    with caplog.at_level(logging.INFO, logger="alembic"):
        back = project.upgrade(metadata(32, active="hash_32"))
    assert "op.add_embedding(" in back
    (said,) = (line for line in caplog.messages if "is dropped" in line)
    assert "hash_64 of article_search is dropped: its HNSW index has given 0 MB back" in said
    assert project.calls(metadata(32, active="hash_32")) == []


def test_an_embedding_is_retired_and_restored(project: Project, drain: Callable[[], Any]) -> None:
    new = Embedding("hash_32", hash_model(32))

    def declared(*, retired: bool) -> MetaData:
        old = Embedding("hash_64", hash_model(64), retired=retired)
        return metadata(embeddings=[old, new], active=None if retired else "hash_32")

    project.upgrade(metadata(64))
    drain()
    project.upgrade(metadata(64, 32))
    drain()
    # The old one answers still: it is retired behind the activation.
    assert project.calls(declared(retired=True)) == ["activate_embedding", "retire_embedding"]
    back = project.upgrade(declared(retired=True))
    assert project.calls(declared(retired=True)) == []
    assert project.calls(declared(retired=False)) == ["restore_embedding"]
    project.run(back)
    drain()
    project.upgrade(declared(retired=False))
    assert project.calls(declared(retired=False)) == []
    # It is kept for a while, not made: a new database has no use for it.
    project.run('op.drop_embedding("article_search", "hash_64", deactivate=True)')
    assert project.calls(declared(retired=True)) == []


def test_going_over_to_another_declaration_activates_before_it_drops(
    project: Project, drain: Callable[[], Any]
) -> None:
    project.upgrade(metadata(64))
    drain()
    with pytest.raises(CommandError, match="is not ready to take its place"):
        project.generate(metadata(32))
    project.upgrade(metadata(64, 32))
    drain()
    assert project.calls(metadata(32)) == ["activate_embedding", "drop_embedding"]
    project.upgrade(metadata(32))
    assert project.calls(metadata(32)) == []


def test_a_history_with_an_activation_runs_on_an_empty_database_and_back(
    project: Project, drain: Callable[[], Any]
) -> None:
    first = project.upgrade(metadata(64))
    second = project.upgrade(metadata(64, 32))
    project.run('op.activate_embedding("article_search", "hash_32")')  # nothing is filled yet
    assert "hash_32: active" in drain().entered
    project.run('op.drop_embedding("article_search", "hash_64")')
    # Back: hash_64 comes again, to answer when it is filled; until then the other one does.
    project.run(
        'op.add_embedding("article_search", "hash_64", '
        'Model("hash-64", dimensions=64, provider="hash"))\n'
        'op.activate_embedding("article_search", "hash_64", when_ready=True)'
    )
    assert drain().entered == ["hash_64: ready", "hash_64: active"]
    project.run(second)
    project.run(first)
    assert relations(project) == set()


def test_a_removed_search_index_is_dropped_and_can_come_back(
    project: Project, drain: Callable[[], Any]
) -> None:
    project.upgrade(metadata(64))
    drain()
    bare = MetaData()
    metadata(64).tables["article"].to_metadata(bare)
    assert declared_on(bare.tables["article"]) == {}
    downgrade = project.upgrade(bare)
    assert relations(project) == {"article"}
    assert project.calls(bare) == []
    project.run(downgrade)
    assert project.calls(metadata(64)) == []


def test_companions_are_no_foreign_tables(project: Project) -> None:
    project.upgrade(metadata(64))
    project.connection.execute(sa.text("CREATE TABLE other (id integer PRIMARY KEY)"))
    # The application's own stray table is still reported; the companions are not.
    assert project.calls(metadata(64)) == ["drop_table"]
    assert project.calls(metadata(64), include_schemas=True) == ["drop_table"]


def test_another_schema(project: Project) -> None:
    project.connection.execute(sa.text('CREATE SCHEMA "My Shop"'))
    options = {"include_schemas": True}
    script = project.generate(metadata(64, schema="My Shop"), **options)
    project.run(project.render(script.upgrade_ops))
    assert project.calls(metadata(64, schema="My Shop"), **options) == []
    # Alembic itself does not look into other schemas then; pgsearch goes by the registry.
    assert project.calls(metadata(64, schema="My Shop")) == ["create_table"]


def test_a_changed_model_must_have_a_name_of_its_own(project: Project) -> None:
    project.upgrade(metadata(64))
    changed = [Embedding("hash_64", hash_model(32))]
    with pytest.raises(CommandError, match="never changed in place"):
        project.generate(metadata(embeddings=changed))


def test_a_written_migration_carries_its_imports(database: str, tmp_path: Path) -> None:
    shutil.copytree(resources.migrations(), tmp_path / "migrations")
    for old in (tmp_path / "migrations" / "versions").glob("*.py"):
        old.unlink()
    config = Config()
    config.set_main_option("script_location", str(tmp_path / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = database
    with pytest.raises(CommandError, match=r"CreateSearchIndexOp.*document_search"):
        command.check(config)
    command.revision(config, "everything", autogenerate=True)
    (written,) = (tmp_path / "migrations" / "versions").glob("*.py")
    assert "from pgsearch import Chunking" in written.read_text()
    assert "from pgsearch import Model" in written.read_text()
    command.upgrade(config, "head")
    command.check(config)
    command.downgrade(config, "base")
