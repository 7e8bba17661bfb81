"""Keys of any type and tables of any shape: compared in their order, and gone on with."""

from __future__ import annotations

import pytest
from psycopg.sql import SQL, Identifier

from pgsearch import database as product
from pgsearch.sync import Worker
from pgsearch.sync.reconciliation import Compared, Reconciliation, reconcile
from pgsearch.testing import HashEmbedder
from tests.integration.test_worker_keys import KINDS, SETTINGS, Leaves
from tests.plugins.reconcile import SHAPES, counts, only
from tests.plugins.search import HASH_V1, create, execute_all
from tests.plugins.tables import contents, contents_of_a_new_one
from tests.plugins.worker import create_search_index, differences, url_of


def in_pieces(url: str, *indexes: str) -> Reconciliation:
    """Reconcile in ranges of two, each by a run of its own."""

    def interrupt(_: Compared) -> None:
        raise KeyboardInterrupt

    for _ in range(100):
        try:
            return reconcile(url, *indexes, batch=2, vectors="all", on_progress=interrupt)
        except KeyboardInterrupt:
            continue
    raise AssertionError("it came to no end")


#: Some that an order, a type or a text could make wrong.
SOME = (
    *("text in C", "varchar", "char", "date", "timestamptz", "interval", "numeric", "double"),
    *("bytea", "domain over text", "type in another schema", "no hash function", "composite"),
)


@pytest.mark.parametrize("kind", SOME)
def test_keys_of_any_type_are_compared(installed: product.Connection, kind: str) -> None:
    for setting in SETTINGS:
        statement = f'ALTER DATABASE "{installed.info.dbname}" SET {setting}'
        installed.execute(statement.encode())
    leaves = Leaves(installed, KINDS[kind])
    leaves.insert(1, 8)
    create_search_index(installed, leaves.definition)
    leaves.drain()
    url = url_of(installed)
    assert counts(reconcile(url)) == {}
    installed.execute("SET session_replication_role = replica")
    leaves.insert(9, 10)
    leaves.change("UPDATE leaf SET body = 'Changed.'", 1)
    leaves.change("DELETE FROM leaf", 2)
    leaves.move(3, to=11)
    installed.execute("RESET session_replication_role")
    found = in_pieces(url)
    assert counts(found) == {
        "missing document": 3,
        "stale document": 1,
        "orphaned document": 2,
        "missing chunk": 3,
        "stale chunk": 1,
        "orphaned chunk": 2,
    }
    assert (only(found).asked, only(found).compared) == (6, 11)
    leaves.drain()
    assert counts(reconcile(url)) == {}
    assert differences(installed, leaves.definition, {"hash_v1": HashEmbedder(64)}) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_tables_of_any_shape_are_compared(installed: product.Connection, shape: str) -> None:
    made, definition, changed, (missing, stale, orphaned) = SHAPES[shape]
    execute_all(installed, made)
    create(installed, definition, HASH_V1)
    url = url_of(installed)
    Worker(url).drain()
    assert counts(reconcile(url)) == {}
    execute_all(
        installed,
        ["SET session_replication_role = replica", *changed, "RESET session_replication_role"],
    )
    found = counts(in_pieces(url))
    assert (
        found.get("missing document", 0),
        found.get("stale document", 0),
        found.get("orphaned document", 0),
    ) == (missing, stale, orphaned)
    Worker(url).drain()
    assert counts(reconcile(url)) == {}
    queue = Identifier(definition.schema, definition.names.queue)
    assert installed.execute(SQL("SELECT count(*) FROM {}").format(queue)).fetchone() == (0,)
    assert contents(installed, definition) == contents_of_a_new_one(installed, definition, HASH_V1)
