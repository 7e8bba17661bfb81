"""Keys of every kind: what is written to a table is in its search index, under the same key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import psycopg
import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.sync import Worker
from tests.plugins.search import HASH_V1, create, execute_all, vector_of
from tests.plugins.tables import assert_documents_as_new, documents, execute, fill, search


class Kind(NamedTuple):
    """A kind of key.

    Args:
        columns: Its columns in the table, with their types.
        values: Four keys, as SQL writes a row of them.
        declared: Its types in the search index, where they differ.
        is_fixed: Whether PostgreSQL refuses to update it.
        before: What has to be there first.
    """

    columns: Sequence[tuple[str, str]]
    values: tuple[str, str, str, str]
    declared: Sequence[str] = ()
    is_fixed: bool = False
    before: Sequence[str] = ()


def single(type_: str, *values: str, declared: str = "", before: str = "") -> Kind:
    one, two, three, four = values
    return Kind(
        [("id", type_)],
        (one, two, three, four),
        [declared] if declared else (),
        before=[before] if before else (),
    )


KINDS = {
    "smallint": single("smallint", "-32768", "0", "7", "32767"),
    "identity": Kind(
        [("id", "bigint GENERATED ALWAYS AS IDENTITY")],
        ("1", "2", "3", "4"),
        ["bigint"],
        is_fixed=True,
    ),
    "serial": single("bigserial", "1", "2", "3", "9223372036854775807", declared="bigint"),
    "uuid": single("uuid", *(f"'0000000{n}-0000-4000-8000-00000000000f'" for n in range(4))),
    "text": single("text", "''", "'a \"b\" ''c'''", "'Ключ {0} \\ $1'", "'NULL'"),
    "text of its own collation": single(
        'text COLLATE "C"', "'a'", "'B'", "'É'", "'z'", declared="text"
    ),
    "text as varchar": single("text", "'a'", "'B'", "'c'", "'D'", declared="character varying"),
    "varchar": single("varchar(3)", "'a'", "'b c'", "'d'", "'e'", declared="character varying(3)"),
    "char": single("char(4)", "'a'", "'b'", "'b c'", "''", declared="character(4)"),
    "numeric": single("numeric", "1.50", "-0.001", "'NaN'", "1e40"),
    "numeric of a precision": single("numeric(6,2)", "1.5", "-2", "3333.33", "0"),
    "double precision": single("double precision", "0.1", "1e-300", "'-Infinity'", "2"),
    "date": single("date", "'2024-02-29'", "'0044-03-15 BC'", "'infinity'", "'12026-01-01'"),
    "timestamptz": single(
        "timestamptz", "'2024-02-29 12:00:00.000001Z'", "'-infinity'", "'epoch'", "'1883-11-18'"
    ),
    "bytea": single("bytea", r"'\x00ff'", r"'\x'", r"'\xdead'", r"'\x5c'"),
    "boolean and inet": Kind(
        [("public", "boolean"), ("host", "inet")],
        ("true, '::1'", "false, '::1'", "true, '10.0.0.0/8'", "false, '10.0.0.1'"),
    ),
    "enum": single(
        "mood", "'sad'", "'gl''ad'", "'so so'", "'x'",
        before="CREATE TYPE mood AS ENUM ('sad', 'gl''ad', 'so so', 'x')",
    ),
    "domain": single(
        "slug", "'a'", "'b'", "'c'", "'d'", declared="text",
        before="CREATE DOMAIN word AS text NOT NULL; CREATE DOMAIN slug AS word",
    ),
    "composite": Kind(
        [("tenant", "uuid"), ("code", "text"), ("number", "integer")],
        tuple(f"'0000000{n % 2}-0000-4000-8000-00000000000f', 'c{n}', {n}" for n in range(4)),  # type: ignore[arg-type]
    ),
}  # fmt: skip


class Leaves:
    """A table `leaf` with a key of some kind and two rows that are older than its search index."""

    def __init__(self, connection: product.Connection, kind: Kind) -> None:
        self.connection = connection
        self._kind = kind
        self.is_fixed = kind.is_fixed
        execute_all(connection, kind.before)
        columns = ", ".join(f"{name} {type_}" for name, type_ in kind.columns)
        self._key = ", ".join(name for name, _ in kind.columns)
        execute(
            connection,
            f"CREATE TABLE leaf ({columns}, title text, PRIMARY KEY ({self._key}) DEFERRABLE)",
        )
        self.insert(0, "early cats")
        self.insert(1, "early dogs")
        declared = kind.declared or [type_ for _, type_ in kind.columns]
        self.definition = IndexDefinition(
            "leaf_search",
            "public",
            "leaf",
            key=tuple(
                TypedColumn(name, type_)
                for (name, _), type_ in zip(kind.columns, declared, strict=True)
            ),
            text=(TextColumn("title", "A"),),
        )

    def insert(self, row: int, title: str) -> None:
        values = f"VALUES ({self._kind.values[row]}, '{title}')"
        override = "OVERRIDING SYSTEM VALUE" if self._kind.is_fixed else ""
        execute(self.connection, f"INSERT INTO leaf ({self._key}, title) {override} {values}")

    def where(self, row: int) -> str:
        return f"WHERE ({self._key}) = ({self._kind.values[row]})"

    def update(self, row: int, assignment: str) -> None:
        execute(self.connection, f"UPDATE leaf SET {assignment} {self.where(row)}")

    def delete(self, row: int) -> None:
        execute(self.connection, f"DELETE FROM leaf {self.where(row)}")

    def move(self, row: int, to: int) -> None:
        self.update(row, f"({self._key}) = ROW({self._kind.values[to]})")

    def swap(self, row: int, other: int) -> None:
        """Let two rows change keys in one statement."""
        both = f"(({self._kind.values[row]}), ({self._kind.values[other]}))"
        of_other = ", ".join(f"other.{name}" for name, _ in self._kind.columns)
        execute(
            self.connection,
            f"UPDATE leaf SET ({self._key}) = ("
            f" SELECT {of_other} FROM leaf AS other"
            f" WHERE ({of_other}) IN {both} AND other.title <> leaf.title"
            f") WHERE ({self._key}) IN {both}",
        )

    def found(self, query: str) -> list[str]:
        """Return the titles of the rows that a search finds, joined by their keys."""
        return [
            title
            for (title,) in execute(
                self.connection,
                f"SELECT title FROM leaf_search(%s) JOIN leaf USING ({self._key}) ORDER BY title",
                query,
            )
        ]


@pytest.fixture
def leaves(installed: product.Connection, request: pytest.FixtureRequest) -> Leaves:
    return Leaves(installed, KINDS[request.param])


@pytest.mark.parametrize("leaves", KINDS, indirect=True)
def test_rows_that_were_there_and_rows_that_come(leaves: Leaves) -> None:
    create(leaves.connection, leaves.definition)
    assert fill(leaves.connection, leaves.definition, batch=1) == 2
    leaves.insert(2, "late cats")
    leaves.update(1, "title = 'late dogs'")
    assert leaves.found("cat") == ["early cats", "late cats"]
    assert leaves.found("dog") == ["late dogs"]
    leaves.delete(0)
    assert leaves.found("cat") == ["late cats"]
    if not leaves.is_fixed:
        leaves.move(1, to=3)
        leaves.insert(0, "late birds")
        leaves.swap(0, 3)
        assert leaves.found("dog") == ["late dogs"]
        assert leaves.found("bird") == ["late birds"]
    found = assert_documents_as_new(leaves.connection, leaves.definition)
    assert len(found) == (2 if leaves.is_fixed else 3)
    execute(leaves.connection, "TRUNCATE leaf")
    assert documents(leaves.connection, leaves.definition) == []


# Keys that a search index was not made for


@pytest.mark.parametrize(
    ("declared", "actual"),
    [
        ("integer", "bigint"),
        ("character varying(3)", "character varying(20)"),
        ("character varying(3)", "text"),
        ("uuid", "text"),
        ("numeric(4,1)", "numeric"),
        ("text", "character(3)"),
        ("date", "timestamp with time zone"),
    ],
)
def test_a_key_that_would_not_fit_is_refused(
    installed: product.Connection, declared: str, actual: str
) -> None:
    execute(installed, f"CREATE TABLE leaf (id {actual} PRIMARY KEY, title text)")
    definition = IndexDefinition(
        "leaf_search",
        "public",
        "leaf",
        key=(TypedColumn("id", declared),),
        text=(TextColumn("title", "A"),),
    )
    refused = pytest.raises(psycopg.errors.DatatypeMismatch, match=r"key column id .* keeps it")
    with refused as caught, installed.transaction():
        create(installed, definition)
    assert f'Declare key={{"id": "{actual}"}}.' in (caught.value.diag.message_hint or "")


@pytest.mark.parametrize(
    ("declared", "actual"),
    [
        ("bigint", "integer"),
        ("bigint", "smallint"),
        ("character varying", "text"),
        ("text", "varchar(9)"),
    ],
)
def test_a_key_in_a_wider_type(installed: product.Connection, declared: str, actual: str) -> None:
    execute(installed, f"CREATE TABLE leaf (id {actual} PRIMARY KEY, title text)")
    execute(installed, "INSERT INTO leaf VALUES ('1', 'early cats')")
    definition = IndexDefinition(
        "leaf_search",
        "public",
        "leaf",
        key=(TypedColumn("id", declared),),
        text=(TextColumn("title", "A"),),
    )
    create(installed, definition)
    fill(installed, definition)
    execute(installed, "INSERT INTO leaf VALUES ('2', 'late cats')")
    execute(installed, "UPDATE leaf SET id = '3' WHERE id = '2'")
    assert {str(key) for key in search(installed, definition, "cats")} == {"1", "3"}
    execute(installed, "DELETE FROM leaf WHERE id = '3'")
    assert len(assert_documents_as_new(installed, definition)) == 1


@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
def test_equals_come_in_the_order_of_their_keys(
    articles: str, db: product.Connection, mode: str
) -> None:
    """As the column compares them, whatever the database's own collation is; on each page."""
    # One that compares otherwise than the database's own, where the server has such.
    ((collation,),) = db.execute(
        "SELECT coalesce(min(collname), 'C') FROM pg_collation WHERE collname = 'und-x-icu'"
    )
    execute_all(
        db,
        [
            f'CREATE TABLE note (id text COLLATE "{collation}" PRIMARY KEY, body text)',
            "INSERT INTO note SELECT unnest('{b,A,é,Z,a,B,É,z,c,C}'::text[]), 'the same storm'",
        ],
    )
    index = IndexDefinition(
        "note_search", "public", "note", (TypedColumn("id", "text"),), (TextColumn("body", "A"),)
    )
    create(db, index, HASH_V1)
    Worker(articles, indexes=["note_search"]).drain()

    def page(k: int, skip: int = 0) -> list[str]:
        rows = db.execute(
            "SELECT id FROM note_search('storm', %s, %s, mode => %s, skip => %s)",
            [k, vector_of("storm"), mode, skip],
        )
        return [id_ for (id_,) in rows]

    expected = [id_ for (id_,) in db.execute("SELECT id FROM note ORDER BY id")]
    assert page(k=10) == expected
    assert [*page(3), *page(3, 3), *page(3, 6), *page(3, 9)] == expected
    # More than there are: another way to the same rows.
    assert page(k=50) == expected
