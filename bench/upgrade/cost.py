"""What writing vectors into a second column costs, beside inserting the same rows anew.

Batch by batch in turn, so that what disturbs one disturbs both: the statement of workers on the
chunks of a search index whose first embedding has its HNSW index, and an INSERT of the same
passages with the same vectors into a table that has a primary key and no other index.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from bench.upgrade.table import DIMENSIONS, NAMES, embedding
from pgsearch.database import Connection
from pgsearch.lifecycle import replace
from pgsearch.registry import RegisteredIndex
from pgsearch.schema import embedding as ddl
from pgsearch.sync.statements import Statements
from pgsearch.testing import HashEmbedder

#: Rows of a batch, as a worker writes them, and how many batches at most.
_BATCH: Final = 1000
_BATCHES: Final = 40

_NAME: Final = "third_v1"
_COLUMN: Final = NAMES.embedding_column(_NAME)

_READ: Final = f"""
SELECT c.id::text, ordinal, content, content_hash, generation FROM {NAMES.chunk} AS c
WHERE c.id > %s ORDER BY c.id LIMIT {_BATCH}
"""

_FRESH: Final = f"""
CREATE TABLE fresh (
  id bigint, ordinal integer, content text, content_hash bytea, generation bigint,
  vector vector({DIMENSIONS[_NAME]}),
  PRIMARY KEY (id, ordinal)
) WITH (fillfactor = 50, toast_tuple_target = 128);
ALTER TABLE fresh ALTER COLUMN vector SET STORAGE EXTERNAL
"""

_INSERT: Final = """
INSERT INTO fresh
SELECT * FROM unnest(
  %(key_0)b::text[]::bigint[], %(ordinals)b::integer[], %(contents)b::text[], %(hashes)b::bytea[],
  %(generations)b::bigint[], %(vectors_0)b::vector[])
"""


def fill_cost(connection: Connection, index: RegisteredIndex) -> tuple[float, float]:
    """Return the seconds that a fill's statements take, and those of inserts of the same rows.

    Args:
        connection: An autocommit connection that knows pgvector's types.
        index: The search index, which is filled; it is left as it was.
    """
    replace.add(connection, index, embedding(_NAME))
    for statement in _FRESH.split(";"):
        connection.execute(statement.encode())
    fill = Statements(index.definition, index.version).fill_chunks((_COLUMN,))
    model, after = HashEmbedder(DIMENSIONS[_NAME]), 0
    filled_s = inserted_s = 0.0
    for number in range(_BATCHES):
        rows = connection.execute(_READ.encode(), [after]).fetchall()
        if not rows:
            break
        after = int(rows[-1][0])
        given = _parameters(rows, model)
        # Either is first as often: what comes second finds the machine as the first has left it.
        for is_fill in (True, False) if number % 2 else (False, True):
            started = time.perf_counter()
            connection.execute(fill if is_fill else _INSERT.encode(), given)
            taken = time.perf_counter() - started
            filled_s += taken * is_fill
            inserted_s += taken * (not is_fill)
    connection.execute("DROP TABLE fresh")
    definition = index.definition
    replace.execute(connection, ddl.drop_embedding(definition.schema, definition.name, _NAME))
    return filled_s, inserted_s


def _parameters(rows: Sequence[tuple[Any, ...]], model: HashEmbedder) -> dict[str, Any]:
    keys, ordinals, contents, hashes, generations = map(list, zip(*rows, strict=True))
    vectors = model.embed_documents(contents)
    return {
        "key_0": keys,
        "ordinals": ordinals,
        "contents": contents,
        "hashes": hashes,
        "generations": generations,
        "vectors_0": vectors,
    }
