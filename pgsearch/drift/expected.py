"""What pgsearch makes for a search index, in the words of the catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pgsearch.definition import IndexDefinition
from pgsearch.schema.index import create_search_index


@dataclass(frozen=True)
class Column:
    """A column of a companion table, or an attribute of a composite type."""

    name: str
    type: str
    is_required: bool = True
    default: str | None = None
    is_identity: bool = False
    #: As in pg_attribute: `e` is EXTERNAL. None: as its type has it.
    storage: str | None = None
    statistics: int | None = None


@dataclass(frozen=True)
class Table:
    """A companion table."""

    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


def tables(definition: IndexDefinition) -> tuple[Table, ...]:
    """Return the companion tables, without the columns of embeddings."""
    names = definition.names
    key = tuple(Column(column.name, column.type) for column in definition.key)
    key_names = tuple(column.name for column in key)
    return (
        Table(
            names.document,
            (
                *key,
                Column("tsv", "tsvector", storage="e", statistics=1000),
                Column("length", "integer"),
                Column("truncated", "boolean"),
                Column("generation", "bigint"),
            ),
            key_names,
            {"toast_tuple_target": "8160", "autovacuum_analyze_scale_factor": "0.05"},
        ),
        Table(
            names.chunk,
            (
                *key,
                Column("ordinal", "integer"),
                Column("content", "text"),
                Column("content_hash", "bytea"),
                Column("generation", "bigint"),
            ),
            (*key_names, "ordinal"),
            {"fillfactor": "50", "toast_tuple_target": "128"},
        ),
        Table(
            names.queue,
            (
                Column("queue_id", "bigint", is_identity=True),
                *(Column(column.name, column.type, is_required=False) for column in key),
                Column("enqueued_at", "timestamptz", default="clock_timestamp()"),
                Column("attempts", "integer", default="0"),
                *(
                    Column(name, "timestamptz", is_required=False)
                    for name in ("leased_until", "not_before", "failed_at")
                ),
                Column("last_error", "text", is_required=False),
                Column("rewrite", "boolean", default="false"),
                Column("lost", "integer", default="0"),
                Column("lease", "bigint", is_required=False),
            ),
            ("queue_id",),
            {"autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "1000"},
        ),
        Table(
            names.lexeme,
            (Column("lexeme", "text"), Column("document_count", "bigint")),
            ("lexeme",),
        ),
        Table(
            names.token,
            (
                Column("embedding_id", "integer"),
                Column("token", "text"),
                Column("vector", "halfvec"),
            ),
            ("embedding_id", "token"),
            {"toast_tuple_target": "8160"},
        ),
    )


def composite_types(definition: IndexDefinition) -> dict[str, tuple[Column, ...]]:
    """Return the composite types with their attributes."""
    key = tuple(Column(column.name, column.type) for column in definition.key)
    hit = (
        *key,
        Column("score", "double precision"),
        Column("keyword_score", "double precision"),
        Column("keyword_rank", "integer"),
        Column("similarity", "double precision"),
        Column("vector_rank", "integer"),
        Column("passage", "text"),
        Column("stale", "boolean"),
        Column("encoder", "text"),
    )
    return {
        definition.names.row: (*key, Column("texts", "text[]"), Column("tsconfig", "regconfig")),
        definition.names.hit: hit,
        definition.names.passage: (
            *hit,
            Column("ordinal", "integer"),
            Column("passage_rank", "integer"),
            Column("document_score", "double precision"),
        ),
    }


@dataclass(frozen=True)
class Routine:
    """A function in PL/pgSQL.

    Args:
        name: Its name.
        body: Its text, as the catalogue keeps it.
        is_definer: Whether it runs with its owner's rights.
        volatility: As in pg_proc: `s` is STABLE, `v` VOLATILE.
        settings: What it sets; None: whatever was in force when it was made.
        is_private: Whether not everybody may call it.
    """

    name: str
    body: str
    is_definer: bool
    volatility: str
    settings: Mapping[str, str | None]
    is_private: bool


#: A function with what stands between its language and its body, and its body.
_FUNCTION = re.compile(
    r'CREATE OR REPLACE FUNCTION "(?:[^"]|"")*"\."((?:[^"]|"")*)"\('
    r"(?:(?!CREATE OR REPLACE FUNCTION).)*?"
    r"\bLANGUAGE plpgsql\b(.*?)\bAS \$function\$(.*?)\$function\$",
    re.DOTALL,
)
_SETTING = re.compile(r"\bSET (\w+) (?:FROM CURRENT|= (.*?))\s*(?=\bSET\b|$)", re.DOTALL)


_PRIVATE = re.compile(r'REVOKE ALL ON FUNCTION "(?:[^"]|"")*"\."((?:[^"]|"")*)"\(')


def routines(definition: IndexDefinition) -> dict[str, Routine]:
    """Return the functions in PL/pgSQL by name, as the templates render them."""
    steps = create_search_index(definition)
    text = "\n\n".join(statement for step in steps for statement in step.statements)
    private = set(_PRIVATE.findall(text))
    found = (
        _routine(quoted.replace('""', '"'), options, body, is_private=quoted in private)
        for quoted, options, body in _FUNCTION.findall(text)
    )
    return {routine.name: routine for routine in found}


def _routine(name: str, options: str, body: str, *, is_private: bool) -> Routine:
    bare = re.sub(r"--[^\n]*", "", options).strip()
    return Routine(
        name,
        body,
        is_definer="SECURITY DEFINER" in bare,
        volatility="s" if re.search(r"\bSTABLE\b", bare) else "v",
        settings={key: value or None for key, value in _SETTING.findall(bare)},
        is_private=is_private,
    )
