"""A search index that version 1 made is brought up to date, under writes and searches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch import registry, resources
from pgsearch.definition import Chunking, IndexDefinition, TextColumn, TypedColumn
from pgsearch.errors import NotInstalled
from pgsearch.models.fingerprint import PROBES
from pgsearch.schema.index import alter_search_index, drop_search_index, suspend_search_index
from pgsearch.schema.install import install
from pgsearch.sync.chunking import split
from pgsearch.testing import HashEmbedder
from tests.plugins.search import HASH_V1, catalogue, create, execute_all, put_chunks
from tests.plugins.tables import (
    contents,
    contents_of_a_new_one,
    documents,
    drain,
    execute,
    fill,
    search,
)
from tests.plugins.worker import SENTENCES

INDEX_V1 = Path(__file__).parent.parent.joinpath("data", "index_v1.sql").read_text()

MEMOS = IndexDefinition(
    "memo_search",
    "public",
    "memo",
    key=(TypedColumn("tenant_id", "integer"), TypedColumn("code", "text")),
    text=(TextColumn("title", "A"), TextColumn("body", "B")),
    filters=(TypedColumn("tenant_id", "integer"), TypedColumn("kind", "text")),
    chunking=Chunking(max_tokens=16, overlap=0, heading="title"),
)

TABLE = """
CREATE TABLE memo (
  tenant_id integer, code text, title text, body text, kind text, PRIMARY KEY (tenant_id, code)
)
"""


def put_vectors(connection: product.Connection) -> None:
    """Write chunks and vectors as a worker of version 1 did, and let the embedding answer."""
    model = HashEmbedder(64)
    rows = []
    for tenant_id, code, title, body in execute(
        connection, "SELECT tenant_id, code, title, body FROM memo"
    ):
        for ordinal, content in enumerate(split(body or "", title, MEMOS.chunking, model)):
            (vector,) = model.embed_documents([content])
            rows.append(((tenant_id, code), ordinal, content, vector.to_list()))
    put_chunks(connection, MEMOS, "hash_v1", rows)
    probes = [vector.to_list() for vector in model.embed_documents(PROBES)]
    execute(
        connection,
        "CREATE INDEX memo_search_hash_v1_hnsw ON memo_search_chunk"
        " USING hnsw (embedding_hash_v1 vector_cosine_ops) WITH (m = 16, ef_construction = 64)",
    )
    execute(
        connection,
        "UPDATE pgsearch.embedding SET state = 'active', similarity_stddev = 0.1,"
        " fingerprint = to_jsonb(%s::real[])",
        probes,
    )
    execute(connection, "UPDATE pgsearch.search_index SET filled_at = now()")


def insert(connection: product.Connection, tenant_id: int, code: str) -> None:
    statement = "INSERT INTO memo VALUES (%s, %s, 'Memo ' || %s, %s, 'new')"
    execute(connection, statement, tenant_id, code, code, SENTENCES[0])


@pytest.fixture
def old(connection: product.Connection) -> product.Connection:
    """A connection to a database in which version 1 keeps a table with four rows up to date."""
    execute(connection, resources.sql("install/v1.sql"))
    execute(connection, TABLE)
    execute(connection, INDEX_V1)
    for n in range(4):
        insert(connection, n % 2, f"c{n}")
    put_vectors(connection)
    return connection


@pytest.fixture
def reader(old: product.Connection) -> Iterator[str]:
    """A role that may read and write the table, and search as version 1 documented it."""
    name = f"reader_{old.info.dbname}"
    for statement in (
        "CREATE ROLE {}",
        "GRANT ALL ON memo TO {}",
        "GRANT SELECT ON memo_search_document, memo_search_chunk TO {}",
        "GRANT EXECUTE ON FUNCTION memo_search_terms TO {}",
    ):
        execute(old, SQL(statement).format(Identifier(name)))
    yield name
    execute(old, "RESET ROLE")
    execute(old, SQL("DROP OWNED BY {}").format(Identifier(name)))
    execute(old, SQL("DROP ROLE {}").format(Identifier(name)))


def upgraded_step_by_step(
    connection: product.Connection, between: Callable[[int], None] = lambda _: None
) -> None:
    """Install version 2 and alter the search index, with something in between."""
    for n, step in enumerate([*install(2), *alter_search_index(MEMOS)]):
        execute_all(connection, [step])
        between(n)


def test_writes_and_searches_between_all_steps(old: product.Connection, reader: str) -> None:
    def write_and_search(step: int) -> None:
        execute(old, f"SET ROLE {reader}")
        insert(old, 5, f"n{step}")
        insert(old, 6, f"n{step}")
        execute(old, "UPDATE memo SET title = 'Other title' WHERE (tenant_id, code) = (0, 'c0')")
        execute(old, "UPDATE memo SET title = 'Memo c0' WHERE (tenant_id, code) = (0, 'c0')")
        execute(old, f"UPDATE memo SET tenant_id = 7 WHERE (tenant_id, code) = (5, 'n{step}')")
        execute(old, f"DELETE FROM memo WHERE (tenant_id, code) = (6, 'n{step}')")
        assert search(old, MEMOS, "harbour", tenant_id=1) == {(1, "c1"), (1, "c3")}
        assert search(old, MEMOS, "harbour", tenant_id=5) == set()
        vector = str(HashEmbedder(64).embed_queries(["harbour"])[0].to_list())
        found = search(old, MEMOS, "harbour", k=4, vector=vector, mode="vector", tenant_id=0)
        assert found == {(0, "c0"), (0, "c2")}
        execute(old, "RESET ROLE")

    write_and_search(99)
    upgraded_step_by_step(old, write_and_search)
    drain(old, MEMOS)
    write_and_search(100)
    drain(old, MEMOS)
    assert contents(old, MEMOS) == contents_of_a_new_one(old, MEMOS, HASH_V1)


def test_nothing_is_done_again(old: product.Connection) -> None:
    before = contents(old, MEMOS)
    generations = "SELECT code, generation FROM memo_search_document ORDER BY 1"
    drawn = execute(old, generations)
    upgraded_step_by_step(old)
    report = drain(old, MEMOS)
    assert (report.embedded, report.documents) == (0, 0)
    assert contents(old, MEMOS) == before
    assert execute(old, generations) == drawn
    assert before == contents_of_a_new_one(old, MEMOS, HASH_V1)


def test_the_catalogue_is_that_of_a_new_one(
    old: product.Connection, installed: product.Connection
) -> None:
    for _ in range(2):
        upgraded_step_by_step(old)
    execute(installed, TABLE)
    create(installed, MEMOS, HASH_V1)
    execute(
        installed,
        "CREATE INDEX memo_search_hash_v1_hnsw ON memo_search_chunk"
        " USING hnsw (embedding_hash_v1 vector_cosine_ops) WITH (m = 16, ef_construction = 64)",
    )
    found, wanted = catalogue(old), catalogue(installed)
    assert [row for row in found if row not in wanted] == []
    assert [row for row in wanted if row not in found] == []


def test_a_worker_leaves_it_alone_until_it_is_altered(old: product.Connection) -> None:
    execute_all(old, install(2))
    with pytest.raises(NotInstalled, match="was made by an older version of pgsearch"):
        drain(old, MEMOS)
    execute_all(old, alter_search_index(MEMOS))
    assert registry.read(old)[0].problem is None
    insert(old, 9, "after")
    assert drain(old, MEMOS).documents == 1


def test_it_cannot_be_altered_before_the_schema_is_there(old: product.Connection) -> None:
    before = catalogue(old)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="older than") as caught:
        execute_all(old, alter_search_index(MEMOS))
    assert "op.pgsearch_install(version=3)" in (caught.value.diag.message_hint or "")
    assert catalogue(old) == before


def test_it_goes_on_in_the_middle_of_its_first_fill(old: product.Connection) -> None:
    execute(old, "TRUNCATE memo_search_document, memo_search_chunk, memo_search_queue")
    execute(old, "SELECT memo_search_fill(NULL, 1)")
    execute(
        old,
        "UPDATE pgsearch.search_index"
        """ SET fill_key = '{"tenant_id": 0, "code": "c0"}', filled_at = NULL""",
    )
    assert len(documents(old, MEMOS)) == 1
    upgraded_step_by_step(old)
    drain(old, MEMOS)
    assert contents(old, MEMOS) == contents_of_a_new_one(old, MEMOS, HASH_V1)


@pytest.mark.parametrize("version", [1, 2])
def test_it_is_dropped(old: product.Connection, version: int) -> None:
    """Also without being altered: a migration may be written to do so."""
    before = [row for row in catalogue(old) if "memo_search" not in row[1]]
    if version == 2:
        upgraded_step_by_step(old)
    else:
        execute_all(old, install(2))
    execute_all(old, drop_search_index("memo_search", "memo", "public"))
    assert not [row for row in catalogue(old) if row[1].startswith("public.memo_search")]
    insert(old, 9, "after")
    assert {row[1] for row in before if row[1].startswith("public.")} <= {
        row[1] for row in catalogue(old)
    }


def test_a_type_changes_with_the_upgrade(old: product.Connection) -> None:
    execute_all(old, install(2))
    execute_all(old, suspend_search_index("memo_search", "memo", "public"))
    execute(old, "ALTER TABLE memo ALTER COLUMN title TYPE varchar(50)")
    execute_all(old, alter_search_index(MEMOS, refill=True))
    drain(old, MEMOS)
    assert contents(old, MEMOS) == contents_of_a_new_one(old, MEMOS, HASH_V1)


def test_a_partitioned_table(connection: product.Connection) -> None:
    """What version 1 did not see of its partitions is made good."""
    execute(connection, resources.sql("install/v1.sql"))
    execute(connection, TABLE.replace(")\n)", ")\n) PARTITION BY LIST (tenant_id)"))
    for n in range(3):
        execute(connection, f"CREATE TABLE memo_{n} PARTITION OF memo FOR VALUES IN ({n})")
    execute(connection, INDEX_V1)
    for n in range(3):
        insert(connection, n, f"c{n}")
    put_vectors(connection)
    execute(connection, "TRUNCATE memo_2")
    execute(connection, "ALTER TABLE memo DETACH PARTITION memo_1")
    execute(connection, "ALTER TABLE memo ATTACH PARTITION memo_1 FOR VALUES IN (1)")
    execute(connection, "CREATE TABLE memo_3 (LIKE memo INCLUDING ALL)")
    execute(connection, "INSERT INTO memo_3 VALUES (3, 'unseen', 'Memo', 'harbour', 'new')")
    execute(connection, "ALTER TABLE memo ATTACH PARTITION memo_3 FOR VALUES IN (3)")
    assert [row[0] for row in documents(connection, MEMOS)] == ["0", "1", "2"]
    upgraded_step_by_step(connection)
    drain(connection, MEMOS)
    assert contents(connection, MEMOS) == contents_of_a_new_one(connection, MEMOS, HASH_V1)
    execute(connection, "TRUNCATE memo_3")
    assert [row[0] for row in documents(connection, MEMOS)] == ["0", "1"]
    assert fill(connection, MEMOS) == 0
