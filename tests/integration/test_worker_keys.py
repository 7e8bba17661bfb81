"""Keys of any type: they travel as text, and come back as what they were."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.declare import Embedding
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.schema import embedding as embedding_ddl
from pgsearch.sync import Worker, queue
from pgsearch.sync.statements import Statements, is_hashable
from pgsearch.sync.write import lock
from pgsearch.testing import HashEmbedder, hash_model
from tests.plugins.search import execute_all
from tests.plugins.worker import create_search_index, differences, url_of

SETTINGS = (
    "TimeZone = 'Asia/Kathmandu'",
    "DateStyle = 'German, DMY'",
    "IntervalStyle = 'sql_standard'",
    "extra_float_digits = 0",
    "bytea_output = 'escape'",
)

BOTH = {"hash_v1": HashEmbedder(64), "hash_v2": HashEmbedder(32)}


class Kind(NamedTuple):
    """A kind of key: its columns with their types, and their values for a row `n`.

    Where a column is declared otherwise than the search index says, as one of a domain is, `table`
    has the table's types. `before` makes what they need.
    """

    key: dict[str, str]
    values: str
    table: Sequence[str] = ()
    before: str = ""


KINDS = {
    "bigint": Kind({"id": "bigint"}, "(n - 6) * 9007199254740993"),
    "uuid": Kind({"id": "uuid"}, "md5(n::text)::uuid"),
    "text": Kind({"id": "text"}, "chr(100 - n * 3) || '\"\\''{,} ' || n"),
    "text in C": Kind(
        {"id": "text"}, "(ARRAY['a', 'B', 'é', 'É', 'z', ''])[n % 6 + 1] || n", ['text COLLATE "C"']
    ),
    "varchar": Kind({"id": "character varying(20)"}, "'NULL '' row ' || n"),
    "char": Kind({"id": "character(8)"}, "'row ' || n"),
    "date": Kind(
        {"id": "date"},
        "CASE n WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN '0044-03-15 BC'"
        " WHEN 9 THEN '12026-01-01' ELSE '1999-12-20' END::date + n",
    ),
    "timestamptz": Kind(
        {"id": "timestamp with time zone"},
        "CASE n WHEN 3 THEN 'infinity' ELSE '2026-03-29 00:00Z'::timestamptz"
        " + n * interval '1000.000001 s' END",
    ),
    "interval": Kind({"id": "interval"}, "n * interval '-1 mon 2 days 03:04:05.000006'"),
    "numeric": Kind({"id": "numeric"}, "CASE n WHEN 3 THEN 'NaN' ELSE n / 7.0 + 1e20 END"),
    "double": Kind(
        {"id": "double precision"}, "CASE n WHEN 3 THEN 'Infinity' ELSE n / 7::float8 END"
    ),
    "bytea": Kind({"id": "bytea"}, "decode(md5(n::text), 'hex')"),
    "enum": Kind(
        {"id": "mood"},
        "(enum_range(NULL::mood))[n]",
        before="CREATE TYPE mood AS ENUM "
        "('m', 'a', 'Z', 'it''s', '{', '\"', 'x y', 'null', 'b', 'é', 'l', 'c')",
    ),
    "domain over text": Kind(
        {"id": "text"},
        "'code ' || n",
        ["code"],
        "CREATE DOMAIN code AS text NOT NULL CHECK (VALUE LIKE 'code %')",
    ),
    "domain over integer": Kind(
        {"id": "integer"},
        "n",
        ["positive"],
        "CREATE DOMAIN positive AS integer NOT NULL CHECK (VALUE > 0)",
    ),
    "type in another schema": Kind(
        {'the "id"': '"Odd types"."Mood"'},
        '(enum_range(NULL::"Odd types"."Mood"))[n]',
        before='CREATE SCHEMA "Odd types"; CREATE TYPE "Odd types"."Mood" AS ENUM '
        "('m', 'a', 'Z', 'd', 'e', 'f', 'g', 'h', 'b', 'i', 'l', 'c')",
    ),
    "no hash function": Kind({"id": "bit varying(8)"}, "n::bit(8)::bit varying"),
    "composite": Kind(
        {"shelf": "text", "at": "timestamp with time zone", "number": "numeric(30,10)"},
        "chr(65 + n % 3), '2026-11-20 12:00Z'::timestamptz + n % 2 * interval '1 us',"
        " (24 - n / 3.0)::numeric(30,10)",
        ['text COLLATE "C"', "timestamptz", "numeric(30,10)"],
    ),
}


@pytest.fixture(autouse=True)
def ranges_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few rows be several ranges."""
    for constant in ("FIRST_RANGE", "LONGEST_RANGE", "KEYS_PER_RANGE"):
        monkeypatch.setattr(f"pgsearch.sync.fill.{constant}", 2)


class Leaves:
    """A table `leaf` with a key of some kind, and its search index."""

    def __init__(self, connection: product.Connection, kind: Kind) -> None:
        self.connection = connection
        self._kind = kind
        self._names = ", ".join(Identifier(name).as_string(None) for name in kind.key)
        self.definition = IndexDefinition(
            "leaf_search",
            "public",
            "leaf",
            key=tuple(TypedColumn(*column) for column in kind.key.items()),
            text=(TextColumn("body", "A"),),
        )
        for preparation in filter(None, kind.before.split("; ")):
            self.execute(preparation)
        types = kind.table or kind.key.values()
        names = self._names.split(", ")
        columns = ", ".join(map(" ".join, zip(names, types, strict=True)))
        self.execute(f"CREATE TABLE leaf ({columns}, body text, PRIMARY KEY ({self._names}))")

    def execute(self, statement: str) -> int:
        return self.connection.execute(statement.encode()).rowcount

    def insert(self, first: int, last: int) -> None:
        """Insert the rows from one number to another."""
        self.execute(
            f"INSERT INTO leaf ({self._names}, body) SELECT {self._kind.values}, 'Leaf ' || n"
            f" FROM generate_series({first}, {last}) AS n"
        )

    def change(self, statement: str, n: int) -> None:
        """Execute a statement for one row."""
        assert self.execute(f"{statement} WHERE ({self._names}) = ({self._key(n)})") == 1

    def move(self, n: int, to: int) -> None:
        """Give a row the key of another number."""
        self.change(f"UPDATE leaf SET ({self._names}) = ({self._key(to)})", n)

    def _key(self, n: int) -> str:
        return f"SELECT {self._kind.values} FROM (VALUES ({n})) AS v (n)"

    def add_embedding(self) -> None:
        declared = Embedding("hash_v2", hash_model(32))
        execute_all(self.connection, embedding_ddl.add_embedding("public", "leaf_search", declared))

    def drain(self, batch_rows: int = 3) -> tuple[int, int, int]:
        """Let a worker do all that is due; return documents, chunks and failures."""
        report = Worker(url_of(self.connection), batch_rows=batch_rows).drain()
        assert self.connection.execute("SELECT count(*) FROM leaf_search_queue").fetchone() == (0,)
        return report.documents, report.chunks, report.failed


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_any_type(installed: product.Connection, kind: str) -> None:
    for setting in SETTINGS:
        # Whatever the database sets, a worker's session writes and reads keys alike.
        statement = f'ALTER DATABASE "{installed.info.dbname}" SET {setting}'
        installed.execute(statement.encode())
    leaves = Leaves(installed, KINDS[kind])
    leaves.insert(1, 8)
    create_search_index(installed, leaves.definition)
    assert leaves.drain() == (8, 8, 0)
    assert differences(installed, leaves.definition, {"hash_v1": BOTH["hash_v1"]}) == []
    leaves.insert(9, 10)
    leaves.change("UPDATE leaf SET body = 'Changed.'", 1)
    leaves.change("DELETE FROM leaf", 2)
    leaves.move(3, to=11)
    # Two new rows, one changed, one gone; one under a new key and no more under its old one.
    assert leaves.drain() == (6, 4, 0)
    assert differences(installed, leaves.definition, {"hash_v1": BOTH["hash_v1"]}) == []
    leaves.add_embedding()
    assert leaves.drain() == (9, 9, 0)
    assert differences(installed, leaves.definition, BOTH) == []


def test_keys_that_are_equal_are_one_document(installed: product.Connection) -> None:
    leaves = Leaves(installed, KINDS["numeric"])
    create_search_index(installed, leaves.definition)
    leaves.execute("INSERT INTO leaf VALUES (1.0, 'One.')")
    leaves.execute("UPDATE leaf SET id = 1.00, body = 'The same one.'")
    leaves.execute("DELETE FROM leaf")
    leaves.execute("INSERT INTO leaf VALUES (1, 'One again.')")
    assert leaves.drain(batch_rows=10) == (1, 1, 0)
    leaves.execute("UPDATE leaf SET id = 1.000, body = 'Changed.'")
    assert leaves.drain(batch_rows=10) == (1, 1, 0)
    assert installed.execute("SELECT content FROM leaf_search_chunk").fetchall() == [("Changed.",)]


@pytest.fixture
def bystander(installed: product.Connection) -> Iterator[product.Connection]:
    """Another connection, in a transaction, that waits for no lock for long."""
    with product.connect(url_of(installed), autocommit=False) as connection:
        connection.execute("SET lock_timeout = '20ms'")
        connection.commit()
        yield connection


@pytest.mark.parametrize(
    ("kind", "key", "equal", "other"),
    [
        pytest.param(KINDS["numeric"], "1.0", "1.00", "1.01", id="numeric"),
        pytest.param(KINDS["interval"], "1 day", "24:00:00", "1 mon", id="interval"),
        pytest.param(KINDS["no hash function"], "001", "001", "0010", id="bit varying"),
    ],
)
def test_keys_that_are_equal_have_one_lock(
    installed: product.Connection,
    bystander: product.Connection,
    kind: Kind,
    key: str,
    equal: str,
    other: str,
) -> None:
    leaves = Leaves(installed, kind)
    create_search_index(installed, leaves.definition)
    statements = Statements(
        leaves.definition, is_hashable=is_hashable(installed, leaves.definition)
    )
    with installed.transaction():
        lock(installed, statements, [(key,)])
        lock(bystander, statements, [(other,)])
        with pytest.raises(psycopg.errors.LockNotAvailable):
            lock(bystander, statements, [(equal,)])


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("kind", ["bigint", "uuid", "text in C", "timestamptz", "composite"])
def test_keys_are_looked_up_in_indexes(installed: product.Connection, kind: str, mode: str) -> None:
    leaves = Leaves(installed, KINDS[kind])
    create_search_index(installed, leaves.definition)
    leaves.insert(1, 1000)
    key = ", ".join(KINDS[kind].key)
    leaves.execute(
        f"INSERT INTO leaf_search_chunk ({key}, ordinal, content, content_hash, generation)"
        f" SELECT {key}, 0, 'Leaf', '', generation FROM leaf_search_document"
    )
    leaves.execute("ANALYZE leaf, leaf_search_document, leaf_search_chunk")
    leaves.execute(f"SET plan_cache_mode = {mode}")
    for way in ("seqscan", "hashjoin", "mergejoin"):
        # They are faster on a table as small as this one.
        leaves.execute(f"SET enable_{way} = off")
    statements = Statements(leaves.definition)
    texts = ", ".join(f"{name}::text" for name in KINDS[kind].key)
    keys = installed.execute(f"SELECT {texts} FROM leaf LIMIT 256".encode()).fetchall()
    one = queue.key_arrays(keys[:1])
    for statement, parameters, tables in (
        (statements.read, queue.key_arrays(keys), 2),
        (statements.current(("embedding_hash_v1",)), queue.key_arrays(keys), 2),
        (
            statements.unfilled("embedding_hash_v1", resumed=True),
            {"after": json.dumps(dict(zip(KINDS[kind].key, keys[0], strict=True))), "rows": 256},
            2,  # of the queue, too
        ),
        (statements.cut_chunks, one | {"ordinals": [0]}, 1),
    ):
        rows = installed.execute(SQL("EXPLAIN {}").format(statement), parameters, prepare=True)
        plan = "\n".join(line for (line,) in rows)
        assert plan.count("Index Cond: ") == tables, plan
