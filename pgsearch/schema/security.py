"""Row-level security of the companion tables, which follows that of the source table."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.names import IndexNames
from pgsearch.schema.parsed import parsed_objects
from pgsearch.schema.steps import Step, locked
from pgsearch.schema.templates import columns, key_names, render


def follow_row_security(definition: IndexDefinition, holes: Mapping[str, Composable]) -> list[Step]:
    """Return the steps that give companion tables the row-level security that their table has.

    What is as it should be is not touched. A step for each table, which locks it for a moment
    where something is to be changed.

    Args:
        definition: The search index.
        holes: Its objects, for templates.
    """
    source = SQL("{}::regclass").format(holes["table_name"])
    parsed = parsed_objects(definition.name, definition.schema, source)
    steps = []
    for table, policy in definition.names.secured.items():
        companion = Identifier(definition.schema, table)
        filled = dict(holes) | {
            "companion": companion,
            "companion_name": Literal(companion.as_string(None)),
            "policy_name": Literal(policy or ""),
            "parsed_objects": parsed,
            "policy": SQL(""),
            "drop_policy": SQL(""),
        }
        if policy is not None:
            filled |= {
                "policy_plain": Identifier(policy),
                "companion_key": columns(key_names(definition), table),
            }
            for part in ("policy", "drop_policy"):
                filled[part] = SQL(render(f"index/{part}.sql", filled).strip("\n"))
        body = render("index/security.sql", filled)
        steps.append(locked(f"Row-level security of table {table}", body, companion))
    return steps


def close_to_others(index: str, schema: str) -> list[Step]:
    """Return the steps that take away what admits others to companion tables under RLS.

    The policies depend on the key columns of the source. Without them, roles that are under
    row-level security find nothing.

    Args:
        index: The search index.
        schema: Its schema.
    """
    steps = []
    for table, policy in IndexNames(index).secured.items():
        if policy is None:
            continue
        companion = Identifier(schema, table)
        holes: dict[str, Composable] = {
            "policy_plain": Identifier(policy),
            "policy_name": Literal(policy),
            "companion": companion,
            "companion_name": Literal(companion.as_string(None)),
        }
        body = render("index/drop_policy.sql", holes)
        steps.append(locked(f"The policy of table {table}", body, companion))
    return steps
