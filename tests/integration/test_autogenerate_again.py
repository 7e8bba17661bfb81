"""A generated migration can be run again from its beginning, after it stopped anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, String, Table, Text

from pgsearch import Embedding
from pgsearch.testing import hash_model
from tests.plugins.autogenerate import Project, metadata


def with_another_table(found: MetaData) -> MetaData:
    Table(
        "note", found, Column("id", Integer, primary_key=True), Column("text", String, index=True)
    )
    Index("article_title", found.tables["article"].c.title)
    return found


#: What a project may become that has the table and one embedding.
CHANGES: dict[str, Callable[[], MetaData]] = {
    "a column more": lambda: metadata(
        64, columns={"notes": Text}, text={"title": "A", "notes": "D"}
    ),
    "a column less": lambda: metadata(64, columns={"body": None}, text={"title": "A"}),
    "another type": lambda: metadata(64, columns={"body": String(200)}),
    "a table and an index": lambda: with_another_table(metadata(64, language="simple")),
    "an embedding more": lambda: with_another_table(metadata(64, 32)),
    "an index built anew": lambda: with_another_table(
        metadata(embeddings=[Embedding("hash_64", hash_model(64), m=8)])
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_all_that_was_done_may_be_done_again(
    project: Project, change: Callable[[], MetaData]
) -> None:
    project.upgrade(metadata(64))
    script = project.generate(change())
    there, back = project.render(script.upgrade_ops), project.render(script.downgrade_ops)
    for _ in range(2):
        project.run(there)
    assert project.calls(change()) == []
    project.run(back)
    assert project.calls(metadata(64)) == []


def test_columns_may_come_and_go_again_on_the_way_back(project: Project) -> None:
    project.upgrade(metadata(64))
    wanted = metadata(64, columns={"body": None, "notes": Text}, text={"title": "A", "notes": "B"})
    back = project.upgrade(wanted)
    for _ in range(2):
        project.run(back)
    assert project.calls(metadata(64)) == []


@pytest.mark.parametrize("wanted", [metadata(64), metadata(64, columns={"notes": Text})])
def test_nothing_is_said_where_it_is_one_transaction(project: Project, wanted: Any) -> None:
    if "notes" in wanted.tables["article"].c:
        project.upgrade(metadata(64))
    script = project.generate(wanted)
    for code in (project.render(script.upgrade_ops), project.render(script.downgrade_ops)):
        assert "exists" not in code
