"""Tables and columns of any name: names that need quotes, and names that pgsearch itself uses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.definition import MAX_FILTERS, Chunking, IndexDefinition, TextColumn, TypedColumn
from pgsearch.names import RESERVED_COLUMNS, RESERVED_PARAMETERS
from tests.plugins.search import HASH_V1, create
from tests.plugins.tables import (
    Row,
    assert_documents_as_new,
    contents,
    contents_of_a_new_one,
    documents,
    drain,
    execute,
    fill,
    search,
)

#: Variables, aliases, columns and parameters of our own functions, and words of SQL.
OUR_WORDS = (
    "brought", "is_stale", "others", "rarer",
    "after", "answer", "again_chunks", "boosted", "conditional", "content", "contents", "distance",
    "distances", "few", "few_chunks", "filtered", "further", "generations", "given",
    "brought_distances", "brought_ordinals", "candidates", "coarse_scan", "idfs", "is_last",
    "keyword_leg", "mean_length", "ordinals", "scanned_chunk", "scores", "unless_found",
    "vector_leg",
    "keys_1", "keys_2", "narrowed", "near", "settings", "stored", "unless_few",
    "scan_distance", "scanned",
    "again_chunks", "again_documents", "answering", "asked", "ask", "batch", "best",
    "candidate", "chunk", "chunks", "closest", "condition", "configuration", "counted", "depth",
    "document", "documents", "embedding", "filter", "filters", "fill", "found", "fused", "gone",
    "hit", "idf", "indexed", "item", "k", "key", "known", "last", "leaf", "leaves", "lexeme",
    "made", "mode", "named", "nearest", "new", "old", "part", "partitions", "query", "question",
    "queue", "range", "ranked", "read", "rest", "row", "scored", "source", "table", "term",
    "terms", "text", "tg_op", "tg_relid", "tier", "vector", "was", "watch", "words", "written",
)  # fmt: skip


#: Words that SQL and PL/pgSQL reserve, in their bodies or everywhere.
SQL_WORDS = ("begin", "case", "elsif", "from", "into", "null", "select", "using", "where", "with")


class Named:
    """A table whose columns have odd names, with two rows that are older than its search index."""

    def __init__(
        self,
        connection: product.Connection,
        *,
        key: str = "id",
        text: str = "title",
        language: str = "lang",
        tenant: str = "tenant_id",
        schema: str = "public",
        table: str = "named",
    ) -> None:
        self.connection = connection
        self._names = {
            "table": Identifier(schema, table),
            "key": Identifier(key),
            "text": Identifier(text),
            "language": Identifier(language),
            "tenant": Identifier(tenant),
        }
        self.definition = IndexDefinition(
            "named_search",
            schema,
            table,
            key=(TypedColumn(key, "integer"),),
            text=(TextColumn(text, "A"), self._expression(text)),
            filters=(TypedColumn(tenant, "integer"),),
            language_column=language,
            chunking=Chunking(heading=text),
        )
        self.execute(
            "CREATE TABLE {table}"
            " ({key} int PRIMARY KEY DEFERRABLE, {text} text, {tenant} int, {language} text)"
        )
        self.execute("INSERT INTO {table} VALUES (1, 'cats', 7, NULL), (2, 'Katzen', 8, 'german')")

    @staticmethod
    def _expression(text: str) -> TextColumn:
        column = Identifier(text).as_string(None)
        return TextColumn("loud", "B", f"upper({column}) || '!'", (text,))

    def execute(self, statement: str) -> list[Row]:
        return execute(self.connection, SQL(statement).format(**self._names))


def exercise(named: Named) -> None:
    """Write in every way, and compare with a search index that is made now."""
    connection, definition = named.connection, named.definition
    filter_column = definition.filters[0].name
    create(connection, definition, HASH_V1)
    assert fill(connection, definition, batch=1) == 2
    named.execute("INSERT INTO {table} VALUES (3, 'dogs', 7, 'en'), (4, 'birds', 8, 'no such')")
    named.execute("UPDATE {table} SET {text} = 'more cats' WHERE {key} = 1")
    named.execute("UPDATE {table} SET {key} = 7 - {key} WHERE {key} IN (3, 4)")
    named.execute("UPDATE {table} SET {language} = 'german', {tenant} = 9 WHERE {key} = 4")
    named.execute("DELETE FROM {table} WHERE {key} = 3")
    drain(connection, definition)
    assert contents(connection, definition) == contents_of_a_new_one(
        connection, definition, HASH_V1
    )
    assert search(connection, definition, "cat") == {1}
    assert search(connection, definition, "dogs", **{filter_column: 9}) == {4}
    assert search(connection, definition, "dogs", **{filter_column: 7}) == set()
    assert search(connection, definition, "Katze", query_language="de") == {2}
    named.execute("TRUNCATE {table}")
    assert documents(connection, definition) == []


@pytest.mark.parametrize(
    ("schema", "table", "column"),
    [
        ("My Schema", 'Weird "Table".x', 'Col "A".b'),
        ("it's", "o'clock", "'"),
        ("{schema}", "{table}", "{key}"),
        ("Schöma", "таблица", "列"),
        ("select", "from", "where"),
        ("; --", "/*", "*/"),
        ("back\\slash", "$1", ":name"),
        ("new\N{SNOWMAN}", "a.b.c", " "),
    ],
)
def test_names_that_need_quotes(
    installed: product.Connection, schema: str, table: str, column: str
) -> None:
    execute(installed, SQL("CREATE SCHEMA {}").format(Identifier(schema)))
    named = Named(
        installed,
        schema=schema,
        table=table,
        key=f"{column} key",
        text=f"{column} text",
        language=f"{column} language",
        tenant=f"{column} tenant",
    )
    exercise(named)


#: A key has at most 32 columns.
KEYS = sorted({*OUR_WORDS, *SQL_WORDS} - RESERVED_COLUMNS)
FILTERS = sorted({*OUR_WORDS, *RESERVED_COLUMNS} - RESERVED_PARAMETERS)
TEXTS = sorted({*OUR_WORDS, *RESERVED_COLUMNS, *RESERVED_PARAMETERS})


@pytest.mark.parametrize(
    ("key", "text", "filters"),
    [
        *((KEYS[start : start + 30], ["title"], ["tenant"]) for start in range(0, len(KEYS), 30)),
        *((["id"], TEXTS[start::3], ["tenant"]) for start in range(3)),
        *((["id"], ["title"], FILTERS[start::5]) for start in range(5)),
        (["id"], ["title"], FILTERS[:MAX_FILTERS]),
    ],
    ids=lambda names: names[0],
)
def test_columns_called_like_our_words(
    installed: product.Connection, key: list[str], text: list[str], filters: list[str]
) -> None:
    definition = IndexDefinition(
        "wide_search",
        "public",
        "wide",
        key=tuple(TypedColumn(name, "integer") for name in key),
        text=tuple(TextColumn(name, "A") for name in text),
        filters=tuple(TypedColumn(name, "integer") for name in filters),
    )
    keys, texts, numbers = (SQL(", ").join(map(Identifier, n)) for n in (key, text, filters))

    def write(statement: str) -> None:
        composed = SQL(statement).format(
            keys=keys,
            texts=texts,
            numbers=numbers,
            first=Identifier(key[0]),
            some_text=Identifier(text[-1]),
        )
        execute(installed, composed)

    def row(number: int, word: str) -> str:
        values = [str(number)] * len(key) + [f"'{word}'"] * len(text) + ["7"] * len(filters)
        return f"({', '.join(values)})"

    columns = [
        *(SQL("{} integer").format(Identifier(name)) for name in (*key, *filters)),
        *(SQL("{} text").format(Identifier(name)) for name in text),
        SQL("PRIMARY KEY ({}) DEFERRABLE").format(keys),
    ]
    execute(installed, SQL("CREATE TABLE wide ({})").format(SQL(", ").join(columns)))
    insert = "INSERT INTO wide ({keys}, {texts}, {numbers}) VALUES "
    write(insert + f"{row(1, 'cats')}, {row(2, 'dogs')}")
    create(installed, definition, HASH_V1)
    assert fill(installed, definition, batch=1) == 2
    write(insert + row(3, "birds"))
    write("UPDATE wide SET {some_text} = 'bats'")
    write("UPDATE wide SET {first} = 5 - {first} WHERE {first} IN (2, 3)")
    write("DELETE FROM wide WHERE {first} = 1")
    drain(installed, definition)
    found = assert_documents_as_new(installed, definition)
    assert [row[0] for row in found] == ["2", "3"]
    assert len(search(installed, definition, "bats", **dict.fromkeys(filters, 7))) == 2
    for mode in ("vector", "hybrid"):
        scan = (
            f"SELECT score FROM wide_search('bats', 2, array_fill(1, '{{64}}')::vector, '{mode}')"
        )
        assert len(execute(installed, scan)) == 2
    assert search(installed, definition, "bats", **{filters[-1]: 8}) == set()


@pytest.mark.parametrize("word", ["part", "gone", "document", "source", "old", "was"])
def test_partitions_with_a_key_called_like_our_words(
    installed: product.Connection, word: str
) -> None:
    name = Identifier(word)
    for statement in (
        "CREATE TABLE leaf ({name} integer PRIMARY KEY, title text) PARTITION BY LIST ({name})",
        "CREATE TABLE leaf_1 PARTITION OF leaf FOR VALUES IN (1)",
        "CREATE TABLE leaf_2 PARTITION OF leaf FOR VALUES IN (2, 3)",
        "INSERT INTO leaf VALUES (1, 'cats'), (2, 'cats'), (3, 'cats')",
    ):
        execute(installed, SQL(statement).format(name=name))
    definition = IndexDefinition(
        "leaf_search",
        "public",
        "leaf",
        key=(TypedColumn(word, "integer"),),
        text=(TextColumn("title", "A"),),
    )
    create(installed, definition)
    fill(installed, definition)
    execute(installed, "TRUNCATE leaf_1")
    assert search(installed, definition, "cats") == {2, 3}
    move = "UPDATE leaf SET {name} = 4 - {name} WHERE {name} = 3"
    execute(installed, SQL(move).format(name=name))
    execute(installed, "ALTER TABLE leaf DETACH PARTITION leaf_2")
    assert execute(installed, "SELECT leaf_search_watch_partitions()") == [(True,)]
    assert [row[0] for row in documents(installed, definition)] == ["1"]


def test_search_indexes_called_like_our_words(installed: product.Connection) -> None:
    """And with a filter that is called so too."""
    for word in OUR_WORDS[::3]:
        filter_column = word if word not in RESERVED_PARAMETERS else "tenant"
        with installed.transaction(force_rollback=True):
            named = Named(installed, tenant=filter_column)
            definition = replace(named.definition, name=word)
            create(installed, definition)
            fill(installed, definition)
            named.execute("UPDATE {table} SET {key} = 5 WHERE {key} = 1")
            named.execute("INSERT INTO {table} VALUES (3, 'cats', 3, NULL)")
            assert search(installed, definition, "cat", **{filter_column: 7}) == {5}, word
            named.execute("DELETE FROM {table} WHERE {key} = 3")
            assert [row[0] for row in documents(installed, definition)] == ["2", "5"], word
