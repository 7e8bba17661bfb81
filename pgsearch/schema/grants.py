"""Privileges of the roles that ask a search index, and of those that work on it, as SQL."""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.schema.steps import Step, plain
from pgsearch.schema.templates import object_holes, render, statements

#: The search functions, with whatever filters, and what they ask for terms and vectors.
_SEARCH_ROUTINES = """\
SELECT p.oid::regprocedure FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = to_regnamespace(quote_ident({schema_literal})) AND (
      (p.proname = {index_literal} AND p.prorettype = to_regtype({hit_name}))
      OR (p.proname = {passages_literal} AND p.prorettype = to_regtype({passage_type_name}))
      OR p.oid IN (to_regprocedure({terms_name_now}), to_regprocedure({encode_name_now}),
                   to_regprocedure({embed_name_now})))"""


def grant_search(schema: str, index: str, role: str) -> list[Step]:
    """Return the step that lets a role ask a search index.

    Args:
        schema: The source table's schema.
        index: The search index.
        role: The role.
    """
    return _step("grant_search", schema, index, role)


def revoke_search(schema: str, index: str, role: str) -> list[Step]:
    """Return the step that takes from a role what `grant_search` gave it."""
    return _step("revoke_search", schema, index, role)


def grant_worker(schema: str, index: str, role: str) -> list[Step]:
    """Return the step that lets a role work on a search index.

    Args:
        schema: The source table's schema.
        index: The search index.
        role: The role.
    """
    return _step("grant_worker", schema, index, role)


def revoke_worker(schema: str, index: str, role: str) -> list[Step]:
    """Return the step that takes from a role what `grant_worker` gave it."""
    return _step("revoke_worker", schema, index, role)


def _step(file: str, schema: str, index: str, role: str) -> list[Step]:
    # The table may have another name by now: it is asked for where the step runs.
    holes: dict[str, Composable] = object_holes(index, schema, index)
    signatures = {
        "fill": "jsonb,integer",
        "terms": "text,integer,regconfig",
        "encode": "text,integer",
        "embed": "text,text",
    }
    fill, terms, encode, embed = (
        Literal(f"{holes[name].as_string(None)}({types})") for name, types in signatures.items()
    )
    holes |= {
        "schema": Identifier(schema),
        "role": Identifier(role),
        "role_literal": Literal(Identifier(role).as_string(None)),
        "fill_name_literal": fill,
        "terms_name_now": terms,
        "encode_name_now": encode,
        "embed_name_now": embed,
    }
    holes["search_routines"] = SQL(_SEARCH_ROUTINES).format(**holes)
    return [plain(statements(render(f"grants/{file}.sql", holes)))]
