"""The function that answers a query: its parameters, and the statements inside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.schema import search
from pgsearch.schema.filters import FilterParameter, filter_parameters
from pgsearch.schema.templates import columns, key_names, sql_type

#: Parameters $1 to $12 of the statements inside a search function; filters follow.
_ARGUMENTS: Final = {
    "query": "$1",
    "k": "$2",
    "vector": "$3",
    "skip": "$4",
    "depth": "$5",
    "similarity_stddev": "$6",
    "configuration": "$7",
    "condition": "$8",
    "chunks": "$9",
    "keyword_weight": "$10",
    "encoder": "$11",
    "budget": "$12",
}
_FIRST_FILTER: Final = len(_ARGUMENTS) + 1

#: Parameters of a search function before query_language and the filters. Those are read by number,
#: whatever they and the search index are called.
PARAMETERS: Final = {
    "query": "text",
    "k": "integer",
    "vector": "vector",
    "mode": "text",
    "embedding": "text",
    "skip": "integer",
    "ef_search": "integer",
    "fusion": "text",
    "keyword_weight": "double precision",
}

#: What a search function with filters does first. A view's table is locked after all tables that a
#: statement names itself, and a TRUNCATE, which has locked it, waits for those.
_HOLD_SOURCE = """\
  -- In the order of a TRUNCATE: the table, then what belongs to it.
  IF filters <> '' THEN
    PERFORM FROM {} WHERE false;
  END IF;
"""


def function_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the search function's parameters, and what is done with them."""
    filters = filter_parameters(definition)
    all_parameters = parameters(definition, PARAMETERS)
    first = len(all_parameters) - len(filters) + 1
    parameter = SQL(",\n  query_language text DEFAULT NULL")
    function = Identifier(definition.schema, definition.names.search)
    signature, identity = identify(function, all_parameters)
    return {
        "language_parameter": SQL("") if definition.language_column is None else parameter,
        "query_configuration": query_configuration(definition, PARAMETERS),
        "signature": signature,
        "search_identity": Literal(identity),
        "search_object": Literal(f"FUNCTION {identity}"),
        **parameter_literals(all_parameters),
        "hybrid_depth": Literal(search.HYBRID_DEPTH),
        "hybrid_keyword_depth": Literal(search.HYBRID_KEYWORD_DEPTH),
        "budget": Literal(search.BUDGET),
        "hybrid_budget": Literal(search.HYBRID_BUDGET),
        "spare_chunks": Literal(search.SPARE_CHUNKS),
        "spare_nearest": Literal(search.SPARE_NEAREST),
        "filtered_chunks": Literal(search.FILTERED_CHUNKS),
        "few_rows": Literal(search.FEW_ROWS),
        **_function_parts(definition),
        **_filter_holes(definition, filters, first=first),
    }


def parameters(definition: IndexDefinition, own: Mapping[str, str]) -> list[tuple[str, SQL]]:
    """Return all parameters of a search function with their types.

    Args:
        definition: The search index.
        own: Those before query_language and the filters.
    """
    named = [(name, sql_type(type_)) for name, type_ in own.items()]
    if definition.language_column is not None:
        named.append(("query_language", SQL("text")))
    return named + [(f.name, sql_type(f.type)) for f in filter_parameters(definition)]


def identify(function: Identifier, declared: list[tuple[str, SQL]]) -> tuple[Composable, str]:
    """Return the types of a function's parameters, and its name with them."""
    signature = SQL(", ").join(type_ for _, type_ in declared)
    return signature, SQL("{}({})").format(function, signature).as_string(None)


def parameter_literals(declared: list[tuple[str, SQL]], prefix: str = "") -> dict[str, Composable]:
    """Return parameters by name and by type, to be compared with those in the catalogue."""
    return {
        f"{prefix}parameter_names": SQL(", ").join(Literal(name) for name, _ in declared),
        f"{prefix}parameter_types": SQL(", ").join(
            SQL("{}::regtype").format(Literal(t.as_string(None))) for _, t in declared
        ),
    }


def query_configuration(definition: IndexDefinition, own: Mapping[str, str]) -> Composable:
    """Return the configuration of a query's language in a search function, as SQL.

    Args:
        definition: The search index.
        own: The function's parameters before query_language.
    """
    configuration = SQL("{}::regconfig").format(Literal(definition.language))
    if definition.language_column is None:
        return configuration
    asked = SQL(f"${len(own) + 1}")
    return SQL("pgsearch.query_configuration({}, {})").format(asked, configuration)


def _function_parts(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the statements inside the function and their parts, for `format` and EXECUTE.

    Placeholders of `format` stand where a statement differs from call to call: the embedding's
    column is the first one, in the statements and in `few_chunks`.
    """
    stored, key = SQL("%1$s"), columns(key_names(definition), "source")
    view = Identifier(definition.schema, definition.names.filter)
    holes: dict[str, Composable] = search.holes_of(definition) | {
        name: SQL(argument) for name, argument in _ARGUMENTS.items()
    }
    holes |= {
        "vector_with_settings": holes["vector"],
        "terms_configuration": SQL(", ") + holes["configuration"],
        "embedding": stored,
        "has_vector": stored + SQL(" IS NOT NULL"),
        "given": SQL(""),
        "boosted": SQL(""),
    }
    holes |= search.distances(holes | {"scan_distance": SQL("")}, search.OPERATOR)
    rows = SQL("SELECT {} FROM {} AS source WHERE %1$s").format(key, view)
    parts: dict[str, Composable] = search.narrowing(definition, rows, few_rows=SQL("%2$s"))
    parts["few_chunks"] = search.part("few_chunks", holes | {"conditional": SQL("%2$s")})
    parts["conditional"] = search.part("conditional", holes)
    narrowing = {"narrowed": SQL("%1$s"), "unless_few": SQL("%2$s")}
    parts["others"] = search.part("others", holes | narrowing)
    for fusion in search.FUSIONS:
        parts[f"fusion_{fusion}"] = search.part(f"fusion_{fusion}", holes)
    placed = (*search.OPTIONAL, "fused_score", "scan_distance")
    places = {name: SQL(f"%{n}$s") for n, name in enumerate(placed, start=2)}
    statements = {
        f"{mode}_statement": SQL(search.compose(mode, holes | places)) for mode in search.MODES
    }
    return parts | statements | _kept_parts(definition, holes)


def _kept_parts(definition: IndexDefinition, holes: dict[str, Composable]) -> dict[str, Composable]:
    """Return what answers where nothing narrows a search: statements whose plans PL/pgSQL keeps.

    The scan alone is planned anew, for embeddings differ.
    """
    nothing: dict[str, Composable] = dict.fromkeys((*search.OPTIONAL, "boosted"), SQL(""))
    keys = _key_holes(definition)
    kept = holes | nothing | _KEPT_ARGUMENTS | keys
    fusions = {fusion: search.part(f"fusion_{fusion}", kept) for fusion in search.FUSIONS}
    chosen = SQL("CASE $8 WHEN 'rrf' THEN\n    {rrf}\n    ELSE\n    {exact}\n    END")
    kept |= {"fused_score": chosen.format(**fusions)}
    kept |= {"asked_terms": search.asked_terms("hybrid", kept)}
    for name in ("question", "keyword_leg", "fused"):
        kept[name] = search.part(name, kept)
    names = ("kept_keywords", "kept_keyword", "kept_vector", "kept_hybrid")
    statements = {name: search.part(name, kept) for name in names}
    return statements | keys | _scans(holes | keys)


def _scans(holes: dict[str, Composable]) -> dict[str, Composable]:
    """Return the scans of an HNSW index for `format`, alone and with what keywords have brought."""
    scans = holes | {"chunks": SQL("$4"), "scan_distance": SQL("%2$s"), "unless_found": SQL("%3$s")}
    scans |= {"scan_coarse": search.part("scan_coarse", scans), "scanned_chunk": SQL("%2$s")}
    for name in ("scan", "scan_hybrid", "unless_found"):
        scans[name] = search.part(name, scans)
    return {name: scans[name] for name in ("scan_coarse", "scan", "scan_hybrid", "unless_found")}


#: Of statements inside a search function that PL/pgSQL keeps: its parameters and its variables. The
#: query is compared by the database's collation, whatever the caller's has: indexes go by that one.
_KEPT_ARGUMENTS: Final[dict[str, Composable]] = {
    "query": SQL('$1 COLLATE pg_catalog."default"'),
    "skip": SQL("$6"),
    "keyword_weight": SQL("coalesce($9, CASE $8 WHEN 'rrf' THEN 1 ELSE 4 END)"),
    "depth": SQL("answer.depth"),
    "keyword_depth": SQL("answer.keyword_depth"),
    "budget": SQL("answer.budget"),
    "similarity_stddev": SQL("answer.answering.similarity_stddev"),
    "configuration": SQL("answer.configuration"),
    "terms_configuration": SQL(", answer.configuration"),
    "condition": SQL("NULL::tsquery"),
    "encoder": SQL("answer.encoder"),
}

#: The parameters of a scan's statement that follow what all have: where it is the first, the
#: generations and keys of what keywords have brought, where it is a further one, the keys that were
#: found; of keys an array for each column.
_FOUND: Final = 5


def _key_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return how arrays of keys are made and read, one for each column of the key."""
    keys = [(Identifier(column.name), sql_type(column.type)) for column in definition.key]

    def listed(pattern: str, separator: str = ", ") -> Composable:
        return SQL(separator).join(
            SQL(pattern).format(number=SQL(str(number)), key=key, type=type_)
            for number, (key, type_) in enumerate(keys, start=1)
        )

    found = [SQL(f"${_FOUND + n}") for n in range(len(keys) + 1)]
    extended = (
        "          scanned.keys_{number} := scanned.keys_{number} || further.keys_{number};\n"
    )
    ranked = "array_agg(keyword_leg.{key} ORDER BY keyword_leg.keyword_rank) AS keys_{number}"
    return {
        "nearest_aggregates": listed("array_agg(nearest.{key}) AS keys_{number}"),
        "near_arrays": listed("answer.scanned.keys_{number}"),
        "brought_aggregates": listed(ranked),
        "brought_arrays": listed("answer.brought.keys_{number}"),
        "brought_keys": listed("brought.keys_{number}"),
        "scanned_keys": listed("scanned.keys_{number}"),
        "extended_keys": listed(extended, ""),
        "asked_arrays": SQL(", ").join([*found[1:], found[0]]),
        "found_arrays": SQL(", ").join(found[:-1]),
        # In an array a key has lost its precision, which the function's result has.
        "precise_key": listed("{key}::{type} AS {key}"),
        "precise_best_key": listed("best.{key}::{type}"),
    }


def _filter_holes(
    definition: IndexDefinition, filters: tuple[FilterParameter, ...], *, first: int
) -> dict[str, Composable]:
    """Return the parameters of the declared filters, their conditions and arguments.

    Args:
        definition: The search index.
        filters: The parameters.
        first: The number of the first of them in the function.
    """
    parameters, conditions, arguments = list[Composable](), list[Composable](), list[Composable]()
    for place, filter_ in enumerate(filters):
        # In the function the parameter, in the statements inside it the argument.
        parameter, argument = SQL(f"${first + place}"), SQL(f"${_FIRST_FILTER + place}")
        declared = SQL(",\n  {} {} DEFAULT NULL")
        parameters.append(declared.format(Identifier(filter_.name), sql_type(filter_.type)))
        condition = Literal(filter_.compares(argument).as_string(None))
        tested = SQL(",\n    CASE WHEN {} IS NOT NULL THEN {} END")
        conditions.append(tested.format(parameter, condition))
        arguments.append(SQL(", {}").format(parameter))
    view = Identifier(definition.schema, definition.names.filter)
    return {
        "hold_source": SQL(_HOLD_SOURCE).format(view),
        "filter_parameters": SQL("").join(parameters),
        "filter_conditions": SQL("").join(conditions) if conditions else SQL(", NULL"),
        "filter_arguments": SQL("").join(arguments),
    }
