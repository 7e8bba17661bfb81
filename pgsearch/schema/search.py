"""The statement that answers a query, and the function around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.schema.filters import FilterParameter, filter_parameters
from pgsearch.schema.templates import columns, definition_holes, key_names, render, sql_type

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

#: Documents that the legs bring to a fusion at least: more of them hardly change the first ten.
HYBRID_DEPTH: Final = 100
HYBRID_KEYWORD_DEPTH: Final = 50

#: Documents that a query's rarest terms may bring to be scored: in all, which is what the function
#: of terms goes by, and beside vectors, unless something narrows the search.
BUDGET: Final = 3000
HYBRID_BUDGET: Final = 1000

#: Rows that a filter leaves are few up to here: to look at each takes less time than the scan of
#: an HNSW index that passes over the others. In the function it grows with the documents.
FEW_ROWS: Final = 4000

#: Chunks that the vector leg takes its documents from: under a filter never fewer than these, for
#: the scan ends with the last of them, and the nearest are found the better the longer it goes on.
SPARE_CHUNKS: Final = 20
FILTERED_CHUNKS: Final = 100

#: Chunks that a scan of bits brings at least, to be ranked by the column. In the function they are
#: as many as the scan keeps, which grows with the documents.
RANKED_ANEW: Final = 300

MODES: Final = ("keyword", "vector", "hybrid")
FUSIONS: Final = ("exact", "rrf")

#: What a search function with filters does first. A view's table is locked after all tables that a
#: statement names itself, and a TRUNCATE, which has locked it, waits for those.
_HOLD_SOURCE = """\
  -- In the order of a TRUNCATE: the table, then what belongs to it.
  IF filters <> '' THEN
    PERFORM FROM {} WHERE false;
  END IF;
"""


#: The least that it takes to compare vectors.
_OPERATOR: Final = SQL("{} <=> {}")


def search_statement(
    definition: IndexDefinition,
    mode: str,
    request: Mapping[str, Composable],
    *,
    rows: Composable | None = None,
    boost: Composable | None = None,
    is_conditional: bool = True,
    fusion: str = "exact",
    distance: SQL = _OPERATOR,
) -> str:
    """Return the statement that answers a query.

    Args:
        definition: The search index.
        mode: What answers: "keyword", "vector" or "hybrid".
        request: SQL of the request: query, k, skip, vector, vector_with_settings (the same, or
            what makes settings before a scan), depth, chunks, similarity_stddev, condition,
            keyword_weight, encoder (what made the vector), configuration (of the query's
            language), terms_configuration (the same as one more argument, or nothing), embedding
            (the chunk's column), has_vector, and given (common table expressions that the others
            read, or nothing); where the embedding's graph is coarse, scan_distance (how far a chunk
            is by what it holds, with the settings).
        rows: A query for the keys of the rows that are searched; if None, all, of which row-level
            security may leave few.
        boost: A query for keys and what is added to their scores, called `boost`.
        is_conditional: Whether the query may have a condition.
        fusion: What becomes of the legs' scores: "exact" or "rrf".
        distance: How a stored vector and the query's are compared: by pgvector's operator, which
            has to be on the search_path, or by the function `pgsearch.distance`.
    """
    pieces: dict[str, Composable] = {name: SQL("") for name in (*_PIECES, "boosted")}
    if rows is None:
        pieces |= _hidden(definition)
    else:
        pieces |= _narrowing(definition, rows)
    budget = hybrid_budget(definition) if rows is None and not is_conditional else Literal(BUDGET)
    holes = _holes(definition) | pieces | {"budget": budget} | dict(request)
    holes |= _distances(request, distance)
    if boost is not None:
        holes["boosted"] = _part("boosted", holes | {"boost": boost})
    if is_conditional:
        holes["conditional"] = _part("conditional", holes)
    holes["others"] = _part("others", holes)
    holes["few_chunks"] = _part("few_chunks", holes)
    holes["fused_score"] = _part(f"fusion_{fusion}", holes)
    return _statement(mode, holes)


#: Parts of a statement that are not in every one.
_PIECES: Final = (
    "few",
    "few_documents",
    "few_chunks",
    "narrowed",
    "unless_few",
    "conditional",
    "others",
)


def hybrid_budget(definition: IndexDefinition) -> Composable:
    """Return how many documents keywords may bring beside vectors, where no filter narrows."""
    budget = SQL("CASE WHEN {} THEN {} ELSE {} END")
    return budget.format(_is_hidden(definition), Literal(BUDGET), Literal(HYBRID_BUDGET))


def asked_terms(mode: str, holes: dict[str, Composable]) -> SQL:
    """Return the query for the terms of a search, with the tiers that they have in it.

    Args:
        mode: What answers: "keyword", "vector" or "hybrid".
        holes: The search index's names, and of the request query, keyword_depth, budget and
            terms_configuration.
    """
    return _part("terms_hybrid" if mode == "hybrid" else "terms", holes)


def _statement(mode: str, holes: dict[str, Composable]) -> str:
    depth = holes["depth"]
    if mode == "hybrid":
        # Twice as deep for vectors: pages up to the depth of keywords come from the same documents.
        depth = SQL("greatest({}, {} + {})").format(
            Literal(HYBRID_KEYWORD_DEPTH), holes["k"], holes["skip"]
        )
    holes = holes | {"keyword_depth": depth}
    holes = holes | {"asked_terms": asked_terms(mode, holes)}
    for part in ("question", "keyword_leg", "vector_leg"):
        holes = holes | {part: _part(part, holes)}
    return render(f"search/{mode}.sql", holes)


def _part(name: str, holes: dict[str, Composable]) -> SQL:
    return SQL(render(f"search/{name}.sql", holes).strip("\n"))


def _distances(holes: Mapping[str, Composable], distance: SQL) -> dict[str, Composable]:
    """Return how far a chunk is from what is asked, alone and with the settings of a scan."""
    exact, scan = (
        distance.format(holes["embedding"], holes[vector])
        for vector in ("vector", "vector_with_settings")
    )
    if "scan_distance" in holes:
        return {"distance": exact, "distance_with_settings": exact}
    return {"distance": exact, "distance_with_settings": scan, "scan_distance": scan}


def _narrowing(
    definition: IndexDefinition, rows: Composable, few_rows: Composable | None = None
) -> dict[str, Composable]:
    """Return the parts that look only at some rows, but for `few_chunks`."""
    few_rows = few_rows or Literal(FEW_ROWS)
    narrowed = SQL("JOIN ({}) AS filter USING ({})").format(rows, _holes(definition)["key"])
    limit = SQL("{} + 1").format(few_rows)
    return _few(definition, rows, few_rows, limit, SQL("")) | {"narrowed": narrowed}


def _hidden(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the parts that look only at the rows which row-level security leaves, if few.

    Where it leaves many, the policies of documents and chunks are enough; where there is none,
    nothing of this is executed, and by the limit the planner knows it.
    """
    table = Identifier(definition.schema, definition.table)
    rows = SQL("SELECT {} FROM {} AS source").format(_holes(definition)["source_key"], table)
    hidden = _is_hidden(definition)
    few_rows = Literal(FEW_ROWS)
    limit = SQL("CASE WHEN {} THEN {} + 1 ELSE 0 END").format(hidden, few_rows)
    return _few(definition, rows, few_rows, limit, SQL("AND {}").format(hidden))


def _is_hidden(definition: IndexDefinition) -> Composable:
    """Return the condition that row-level security keeps who asks from some rows."""
    table = Identifier(definition.schema, definition.table)
    return SQL("row_security_active({})").format(Literal(table.as_string(None)))


def _few(
    definition: IndexDefinition,
    rows: Composable,
    few_rows: Composable,
    limit: Composable,
    hidden: Composable,
) -> dict[str, Composable]:
    holes = _holes(definition) | {
        "rows": rows,
        "few_rows": few_rows,
        "few_limit": limit,
        "and_hidden": hidden,
    }
    return {
        "few": _part("few", holes),
        "few_documents": _part("few_documents", holes),
        "unless_few": SQL("AND NOT (SELECT are_few FROM filtered)"),
    }


def _holes(definition: IndexDefinition) -> dict[str, Composable]:
    return definition_holes(definition) | _stale(definition) | _bm25(definition)


def _bm25(definition: IndexDefinition) -> dict[str, Composable]:
    """Return what a term scores in a document, for those that are found and those that are scored.

    Positions stand in the order of the text columns, so that those of the first weights are counted
    by leaving the others out: counting goes on weight by weight, and the differences are weighed.
    """
    bm25 = definition.bm25
    holes: dict[str, Composable] = {}
    for row in ("found", "document"):
        tsv = SQL("{}.tsv").format(SQL(row))
        if (bm25.k1, bm25.b, bm25.weights) == (1.2, 0.75, ()):
            scored = SQL("pgsearch.bm25_term({tsv}, term.term, term.idf, {length})")
        else:
            scored = SQL("pgsearch.bm25({frequency}, term.idf, {length}, {k1}, {b})")
        length = SQL("{}.length / {}").format(SQL(row), _MEAN_LENGTHS[row])
        holes[f"{row}_bm25"] = scored.format(
            tsv=tsv,
            frequency=_frequency(definition, tsv),
            length=length,
            k1=Literal(bm25.k1),
            b=Literal(bm25.b),
        )
    return holes


_MEAN_LENGTHS: Final = {
    "found": SQL("question.mean_length"),
    "document": SQL("(SELECT mean_length FROM question)"),
}


def _frequency(definition: IndexDefinition, tsv: Composable) -> Composable:
    """Return how often a term is in a document, by weights."""
    groups = list(dict.fromkeys(column.weight for column in definition.text))
    weights = [*map(definition.bm25.weight, groups), 0.0]
    parts = []
    for place in range(len(groups)):
        difference = weights[place] - weights[place + 1]
        mask = "{" + ",".join(str(int(w in groups[: place + 1])) for w in "DCBA") + "}"
        count = SQL("{} * pgsearch.term_frequency({}, term.term, {}::real[])")
        if difference:
            parts.append(count.format(Literal(difference), tsv, Literal(mask)))
    return SQL(" + ").join(parts) if parts else SQL("0.0::double precision")


def _stale(definition: IndexDefinition) -> dict[str, Composable]:
    """Return what keeps passages of a text that has changed out, where they are to be hidden."""
    if definition.stale == "serve":
        names = ("timely", "timely_closest", "timely_passage")
        return dict.fromkeys(names, SQL(""))
    holes = definition_holes(definition)
    timely = SQL(
        "AND EXISTS (SELECT FROM {document} AS document\n"
        "      WHERE ({document_key}) = ({chunk_key}) AND document.generation = chunk.generation)"
    )
    return {
        "timely": timely.format(**holes),
        "timely_closest": SQL("AND chunk.generation = candidate.generation"),
        "timely_passage": SQL("AND chunk.generation = best.generation"),
    }


def function_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the search function's parameters, and what is done with them."""
    filters = filter_parameters(definition)
    all_parameters = parameters(definition, PARAMETERS)
    first = len(all_parameters) - len(filters) + 1
    parameter = SQL(",\n  query_language text DEFAULT NULL")
    search = Identifier(definition.schema, definition.names.search)
    signature, identity = identify(search, all_parameters)
    return {
        "language_parameter": SQL("") if definition.language_column is None else parameter,
        "query_configuration": query_configuration(definition, PARAMETERS),
        "signature": signature,
        "search_identity": Literal(identity),
        "search_object": Literal(f"FUNCTION {identity}"),
        **parameter_literals(all_parameters),
        "hybrid_depth": Literal(HYBRID_DEPTH),
        "budget": Literal(BUDGET),
        "hybrid_budget": Literal(HYBRID_BUDGET),
        "spare_chunks": Literal(SPARE_CHUNKS),
        "filtered_chunks": Literal(FILTERED_CHUNKS),
        "few_rows": Literal(FEW_ROWS),
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
    holes: dict[str, Composable] = _holes(definition) | {
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
    holes |= _distances(holes | {"scan_distance": SQL("")}, _OPERATOR)
    rows = SQL("SELECT {} FROM {} AS source WHERE %1$s").format(key, view)
    parts: dict[str, Composable] = _narrowing(definition, rows, few_rows=SQL("%2$s"))
    parts["few_chunks"] = _part("few_chunks", holes | {"conditional": SQL("%2$s")})
    parts["conditional"] = _part("conditional", holes)
    narrowing = {"narrowed": SQL("%1$s"), "unless_few": SQL("%2$s")}
    parts["others"] = _part("others", holes | narrowing)
    for fusion in FUSIONS:
        parts[f"fusion_{fusion}"] = _part(f"fusion_{fusion}", holes)
    placed = (*_PIECES, "fused_score", "scan_distance")
    places = {name: SQL(f"%{n}$s") for n, name in enumerate(placed, start=2)}
    statements = {
        f"{mode}_statement": SQL(_statement(mode, holes | places).strip("\n")) for mode in MODES
    }
    return parts | statements | _scan_parts(definition, holes)


def _scan_parts(definition: IndexDefinition, holes: dict[str, Composable]) -> dict[str, Composable]:
    """Return the parts of a vector search that is a scan and no more: it alone is planned anew.

    What the scan has found is handed on in arrays, one for each column of the key.
    """
    keys = [(Identifier(column.name), sql_type(column.type)) for column in definition.key]
    arrays = [SQL(f"keys_{n}") for n in range(1, len(keys) + 1)]
    aggregates = (SQL("array_agg(nearest.{})").format(name) for name, _ in keys)
    declared = (SQL("  {} {}[];\n").format(a, t) for a, (_, t) in zip(arrays, keys, strict=True))
    coarse = {"scan_distance": SQL("%2$s"), "chunks": SQL("%3$s")}
    holes = holes | {
        "nearest_arrays": SQL(", ").join(aggregates),
        "near_arrays": SQL(", ").join(SQL("answer.{}").format(array) for array in arrays),
    }
    return {
        "declared_keys": SQL("").join(declared),
        "scanned_keys": SQL(", ").join(arrays),
        "scan": _part("scan", holes | {"scanned_chunk": SQL("%2$s")}),
        "scan_coarse": _part("scan_coarse", holes | coarse),
        "scanned": _part("scanned", holes),
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
