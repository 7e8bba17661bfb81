"""How a search index is written out by PostgreSQL where it has parsed the text, to notice edits."""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Composed, Literal

from pgsearch import resources
from pgsearch.names import IndexNames


def parsed_objects(index: str, schema: str, source: Composable) -> Composed:
    """Return the query for what is parsed of a search index, with a digest of each object.

    It runs under the search path `pg_catalog`.

    Args:
        index: The search index.
        schema: Its schema.
        source: Its table, as SQL of type regclass.
    """
    names = IndexNames(index)
    parsed = [names.read, names.expression, names.source, names.filter]
    parsed += [names.trigger(event) for event in ("insert", "update", "delete")]
    policies = [policy for policy in names.secured.values() if policy is not None]
    row_type = SQL("(SELECT c.reltype FROM pg_class AS c WHERE c.oid = {})").format(source)
    return SQL(resources.sql("drift/parsed.sql")).format(
        schema_literal=Literal(schema),
        parsed=SQL(", ").join(map(Literal, parsed)),
        policies=SQL(", ").join(map(Literal, policies)),
        source=source,
        source_type=row_type,
    )
