"""A search index that is declared otherwise than it was made: what is written, run and undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.util import CommandError
from sqlalchemy import ARRAY, BigInteger, Computed, Integer, String, Text
from sqlalchemy.dialects.postgresql import DOMAIN, ENUM, JSONB, UUID

from pgsearch import BM25, Chunking, Embedding, Expression, SearchIndex
from pgsearch.testing import hash_model
from tests.plugins.autogenerate import Project, metadata

#: What a change of the search index is, and whether documents and chunks are made anew for it.
CHANGES: dict[str, tuple[dict[str, Any], tuple[bool, bool]]] = {
    "a text less": ({"text": {"title": "A"}}, (True, True)),
    "a text more": ({"text": {"title": "A", "body": "B", "code": "C"}}, (True, True)),
    "their order": ({"text": {"body": "B", "title": "A"}}, (True, True)),
    "a weight": ({"text": {"title": "A", "body": "C"}}, (True, False)),
    "an expression": (
        {"text": {"title": "A", "body": Expression("lower(body)", weight="B")}},
        (True, True),
    ),
    "language": ({"language": "simple"}, (True, False)),
    "language column": ({"language_column": "code"}, (True, False)),
    "filters": ({"filters": ["code"]}, (False, False)),
    "no filters": ({"filters": []}, (False, False)),
    "chunking": ({"chunking": Chunking(max_tokens=64, overlap=8, heading="title")}, (False, True)),
    "heading": ({"chunking": Chunking()}, (False, True)),
    "stale passages": ({"stale": "hide"}, (False, False)),
    "ranking": ({"bm25": BM25(k1=0.9, weights={"A": 3.0})}, (False, False)),
    "notifications": ({"notify": True}, (False, False)),
}


def refills(project: Project) -> tuple[bool, bool]:
    """What a worker has to do again: documents, chunks."""
    row = project.connection.execute(
        sa.text("SELECT refill_documents, refill_chunks FROM pgsearch.search_index")
    ).one()
    project.connection.commit()
    return row[0], row[1]


@pytest.mark.parametrize(("change", "redone"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_altered_and_altered_back(
    project: Project,
    drain: Callable[[], Any],
    change: dict[str, Any],
    redone: tuple[bool, bool],
) -> None:
    project.upgrade(metadata(64))
    drain()
    assert project.calls(metadata(64, **change)) == ["alter_search_index"]
    downgrade = project.upgrade(metadata(64, **change))
    assert refills(project) == redone
    drain()
    assert refills(project) == (False, False)
    assert project.calls(metadata(64, **change)) == []
    project.run(downgrade)
    assert project.calls(metadata(64)) == []


def test_a_new_column_comes_before_it_is_read(project: Project) -> None:
    project.upgrade(metadata(64))
    wanted = metadata(64, columns={"notes": Text}, text={"title": "A", "notes": "D"})
    assert project.calls(wanted) == ["add_column", "alter_search_index"]
    downgrade = project.upgrade(wanted)
    assert project.calls(wanted) == []
    project.run(downgrade)
    assert project.calls(metadata(64)) == []


def test_an_old_column_goes_when_it_is_no_longer_read(project: Project) -> None:
    project.upgrade(metadata(64))
    wanted = metadata(64, columns={"body": None, "code": None}, text={"title": "A"}, filters=[])
    assert project.calls(wanted) == ["alter_search_index", "drop_column", "drop_column"]
    downgrade = project.upgrade(wanted)
    assert project.calls(wanted) == []
    project.run(downgrade)
    assert project.calls(metadata(64)) == []


@pytest.mark.parametrize("column", ["body", "code"], ids=["text", "filter"])
def test_a_column_changes_its_type_while_the_index_lets_go_of_it(
    project: Project, drain: Callable[[], Any], column: str
) -> None:
    project.upgrade(metadata(64))
    drain()
    wanted = metadata(64, columns={column: String(200)})
    assert project.calls(wanted) == ["suspend_search_index", "alter_column", "alter_search_index"]
    downgrade = project.upgrade(wanted)
    assert refills(project) == (True, True)
    drain()
    assert project.calls(wanted) == []
    project.run(downgrade)
    drain()
    assert project.calls(metadata(64)) == []


@pytest.mark.parametrize(
    "columns", [{"id": Integer}, {"id": UUID}], ids=["another type", "quite another type"]
)
def test_a_key_does_not_change_in_place(project: Project, columns: dict[str, Any]) -> None:
    project.upgrade(metadata(64))
    with pytest.raises(
        CommandError, match=r"kept by the key \(id bigint\).* drop the search index"
    ):
        project.generate(metadata(64, columns=columns))


def test_hnsw_parameters_are_built_anew(project: Project, drain: Callable[[], Any]) -> None:
    project.upgrade(metadata(64))
    drain()
    changed = metadata(embeddings=[Embedding("hash_64", hash_model(64), m=8)])
    assert project.calls(changed) == ["reindex_embedding"]
    downgrade = project.upgrade(changed)
    assert project.calls(changed) == []
    options = sa.text(
        "SELECT reloptions FROM pg_class WHERE relname = 'article_search_hash_64_hnsw'"
    )
    assert project.connection.scalar(options) == ["m=8", "ef_construction=64"]
    project.connection.commit()
    project.run(downgrade)
    assert project.calls(metadata(64)) == []


def test_what_is_no_text_is_read_by_an_expression(project: Project) -> None:
    wanted = metadata(
        64,
        columns={"data": JSONB, "tags": ARRAY(Text)},
        text={"title": "A", "data": "B", "tags": "C"},
    )
    code = project.render(project.generate(wanted).upgrade_ops)
    assert 'Expression(\'pgsearch.json_text("data")\', weight="B", columns=["data"])' in code
    project.upgrade(wanted)
    for _ in range(10):
        assert project.calls(wanted) == []
    project.connection.execute(
        sa.text(
            """INSERT INTO article (title, data, tags) VALUES ('t', '{"k": ["green"]}', '{red}')"""
        )
    )
    tsv = project.connection.scalar(sa.text("SELECT tsv::text FROM article_search_document"))
    assert tsv == "'green':1B 'red':2C"


def test_a_virtual_column_is_read_by_what_it_is_made_of(project: Project) -> None:
    version = project.connection.scalar(sa.text("SHOW server_version_num"))
    project.connection.commit()
    # Before PostgreSQL 18 generated columns are stored, and can be read as they are. SQLAlchemy
    # 2.0 writes no others, but reads them.
    is_virtual = int(str(version)) >= 180000 and sa.__version__ >= "2.1"
    shouted = (Text, Computed("upper(title)", persisted=not is_virtual))
    wanted = metadata(64, columns={"shouted": shouted}, text={"shouted": "A", "title": "B"})
    project.upgrade(wanted)
    assert project.calls(wanted) == []
    project.connection.execute(sa.text("INSERT INTO article (title) VALUES ('loud')"))
    tsv = project.connection.scalar(sa.text("SELECT tsv::text FROM article_search_document"))
    assert tsv == "'loud':1A,2B"


def test_a_renamed_table_is_still_the_same(project: Project) -> None:
    project.upgrade(metadata(64))
    project.run('op.rename_table("article", "post")')
    wanted = metadata(64, table="post")
    assert project.calls(wanted) == []
    changed = metadata(64, table="post", language="simple")
    downgrade = project.upgrade(changed)
    assert project.calls(changed) == []
    project.run(downgrade)
    assert project.calls(wanted) == []
    project.run('op.drop_search_index("article_search", "post")')


def test_types_of_the_applications_own(project: Project) -> None:
    project.connection.execute(sa.text("CREATE SCHEMA own"))
    project.connection.execute(sa.text("CREATE TYPE own.mood AS ENUM ('sad', 'glad')"))
    project.connection.execute(sa.text("CREATE DOMAIN slug AS varchar(40) NOT NULL"))
    project.connection.commit()
    wanted = metadata(
        64,
        columns={
            "id": DOMAIN("slug", String(40), create_type=False),
            "mood": ENUM("sad", "glad", name="mood", schema="own", create_type=False),
            "code": String(9),
        },
        filters=["mood", "code"],
    )
    # Not by autogenerate, which with SQLAlchemy 2.0 would create the types again.
    wanted.tables["article"].create(project.connection)
    project.connection.commit()
    code = project.render(project.generate(wanted).upgrade_ops)
    assert 'key={"id": "character varying"}' in code
    assert 'filters={"mood": "own.mood", "code": "character varying(9)"}' in code
    project.upgrade(wanted)
    for _ in range(10):
        assert project.calls(wanted) == []


def test_vectors_that_are_there_are_adopted(project: Project) -> None:
    wanted = metadata(
        columns={"old": sa.ARRAY(BigInteger)},
        embeddings=[Embedding("hash_64", hash_model(64), adopt="old")],
    )
    script = project.generate(wanted)
    assert 'column="old"' in project.render(script.upgrade_ops)
    assert "op.adopt_embedding(" in project.render(script.upgrade_ops)
    assert 'op.drop_embedding("article_search", "hash_64"' in project.render(script.downgrade_ops)


def test_renamed_columns_are_still_the_same(project: Project) -> None:
    project.upgrade(metadata(64))
    project.run('op.alter_column("article", "title", new_column_name="headline")')
    project.run('op.alter_column("article", "tenant_id", new_column_name="owner")')
    renamed = {"title": None, "headline": Text, "tenant_id": None, "owner": Integer}
    text = {"headline": "A", "body": "B"}
    wanted = metadata(
        64,
        columns=renamed,
        text=text,
        filters=["owner", "code"],
        chunking=Chunking(heading="headline"),
    )
    code = project.render(project.generate(wanted).upgrade_ops)
    # The parameter of the search function is what is left to rename; no row is done again for it.
    assert project.calls(wanted) in ([], ["alter_search_index"]), code
    project.upgrade(wanted)
    assert project.calls(wanted) == []


def test_a_renamed_key_goes_on_under_its_name(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    project.upgrade(metadata(64))
    project.run('op.alter_column("article", "id", new_column_name="number")')
    table = sa.Table("article", sa.MetaData(), sa.Column("number", BigInteger, primary_key=True))
    for column in metadata(64).tables["article"].columns:
        if column.name != "id":
            table.append_column(sa.Column(column.name, column.type))
    declared = {"text": {"title": "A", "body": "B"}, "filters": ["tenant_id", "code"]}
    declared |= {"chunking": Chunking(heading="title")}
    SearchIndex(
        "article_search", table, embeddings=[Embedding("hash_64", hash_model(64))], **declared
    )
    assert project.calls(table.metadata) == []
    assert "goes on with the names that its key had" in caplog.text
    other = sa.MetaData()
    table = table.to_metadata(other)
    SearchIndex("article_search", table, **declared | {"language": "simple"})
    with pytest.raises(CommandError, match="A key cannot be changed in place"):
        project.generate(other)


@pytest.mark.parametrize(
    ("damage", "mended", "redone"),
    [
        ('DROP TRIGGER "00_article_search_insert" ON article', "alter_search_index", (True, True)),
        (
            'ALTER TABLE article DISABLE TRIGGER "00_article_search_update"',
            "alter_search_index",
            (True, True),
        ),
        ("DROP FUNCTION article_search", "alter_search_index", (False, False)),
        ("DROP INDEX article_search_hash_64_hnsw", "reindex_embedding", (False, False)),
        ("DROP INDEX article_search_document_tsv_idx", "reindex_search_index", (False, False)),
    ],
)
def test_drift_is_mended(
    project: Project,
    drain: Callable[[], Any],
    damage: str,
    mended: str,
    redone: tuple[bool, bool],
) -> None:
    project.upgrade(metadata(64))
    drain()
    project.connection.execute(sa.text(damage))
    project.connection.commit()
    assert project.calls(metadata(64)) == [mended]
    downgrade = project.upgrade(metadata(64))
    assert refills(project) == redone
    assert project.calls(metadata(64)) == []
    assert "op." not in downgrade  # nobody wants the damage back
    project.run(downgrade)
    assert project.calls(metadata(64)) == []


def test_drift_and_a_change_are_one_alteration(project: Project) -> None:
    project.upgrade(metadata(64))
    project.connection.execute(sa.text('DROP TRIGGER "00_article_search_insert" ON article'))
    project.connection.commit()
    wanted = metadata(64, filters=[])
    assert project.calls(wanted) == ["alter_search_index"]
    project.upgrade(wanted)
    assert refills(project) == (True, True)
    assert project.calls(wanted) == []
