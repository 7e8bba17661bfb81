"""Keys and queries of other collations than the database's."""

from __future__ import annotations

import pytest

from pgsearch import database as product
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.sync import Worker
from tests.plugins.search import HASH_V1, create, vector_of
from tests.plugins.tables import execute
from tests.plugins.worker import url_of

SEARCH = IndexDefinition(
    "keyed_search",
    "public",
    "keyed",
    key=(TypedColumn("id", "text"), TypedColumn("part", "text")),
    text=(TextColumn("title", "A"),),
)


@pytest.fixture(params=['"C"', '"default"'])
def keyed(installed: product.Connection, request: pytest.FixtureRequest) -> product.Connection:
    execute(
        installed,
        f"CREATE TABLE keyed (id text COLLATE {request.param}, part text COLLATE {request.param},"
        " title text, PRIMARY KEY (id, part))",
    )
    create(installed, SEARCH, HASH_V1)
    execute(
        installed,
        "INSERT INTO keyed SELECT 'k' || n / 2, n % 2, 'cat dog word' || n"
        " FROM generate_series(1, 1500) AS n",
    )
    Worker(url_of(installed)).drain()
    execute(installed, "SELECT keyed_search_refresh_statistics()")
    return installed


def lexemes_read(db: product.Connection) -> int:
    execute(db, "SELECT pg_stat_force_next_flush()")
    ((count,),) = execute(
        db, "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'keyed_search_lexeme'"
    )
    return int(count)


@pytest.mark.parametrize("asked", ['"C"', '"POSIX"', '"default"'])
@pytest.mark.parametrize("mode", ["keyword", "vector", "hybrid"])
def test_the_query_s_collation_does_not_matter(
    keyed: product.Connection, mode: str, asked: str
) -> None:
    """Neither to what is found nor to how: words are looked up by an index of the database's."""
    usual = f"('cat dog word7', 10, %s::vector, '{mode}')"
    collated = usual.replace("word7'", f"word7' COLLATE {asked}")
    expected = execute(keyed, f"SELECT id, part, score FROM keyed_search{usual}", vector_of("cat"))
    assert len(expected) == 10
    before = lexemes_read(keyed)
    for function in ("keyed_search", "keyed_search_passages"):
        found = execute(
            keyed, f"SELECT id, part, score FROM {function}{collated}", vector_of("cat")
        )
        assert found == expected
    assert lexemes_read(keyed) == before
