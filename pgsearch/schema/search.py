"""The statement that answers a query."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.schema.templates import definition_holes, render

#: Documents that the legs bring to a fusion at least: more of them hardly change the first ten.
HYBRID_DEPTH: Final = 100
HYBRID_KEYWORD_DEPTH: Final = 50

#: Documents that a query's rarest terms may bring to be scored: in all, which is what the function
#: of terms goes by, and beside vectors, unless something narrows the search.
BUDGET: Final = 3000
HYBRID_BUDGET: Final = 400

#: Documents that each term is said to have at least where a table has row-level security.
FEWEST: Final = 20

#: Rows that a filter leaves are few up to here: to look at each takes less time than the scan of
#: an HNSW index that passes over the others. In the function it grows with the documents.
FEW_ROWS: Final = 4000

#: Chunks that the vector leg takes its documents from: under a filter never fewer than these, for
#: the scan ends with the last of them, and the nearest are found the better the longer it goes on.
SPARE_CHUNKS: Final = 20
FILTERED_CHUNKS: Final = 100

#: The same where a function's scan is planned alone, and another one brings what it lacks.
SPARE_NEAREST: Final = 5

#: Chunks that a scan of bits brings at least, to be ranked by the column. In the function they are
#: as many as the scan keeps, which grows with the documents.
RANKED_ANEW: Final = 300

MODES: Final = ("keyword", "vector", "hybrid")
FUSIONS: Final = ("exact", "rrf")

#: The least that it takes to compare vectors.
OPERATOR: Final = SQL("{} <=> {}")


def search_statement(
    definition: IndexDefinition,
    mode: str,
    request: Mapping[str, Composable],
    *,
    rows: Composable | None = None,
    boost: Composable | None = None,
    is_conditional: bool = True,
    fusion: str = "exact",
    distance: SQL = OPERATOR,
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
    optional: dict[str, Composable] = {name: SQL("") for name in (*OPTIONAL, "boosted")}
    if rows is None:
        optional |= _hidden(definition)
    else:
        optional |= narrowing(definition, rows)
    budget = hybrid_budget(definition) if rows is None and not is_conditional else Literal(BUDGET)
    holes = holes_of(definition) | optional | {"budget": budget} | dict(request)
    holes |= distances(request, distance)
    if boost is not None:
        holes["boosted"] = part("boosted", holes | {"boost": boost})
    if is_conditional:
        holes["conditional"] = part("conditional", holes)
    holes["others"] = part("others", holes)
    holes["few_chunks"] = part("few_chunks", holes)
    holes["fused_score"] = part(f"fusion_{fusion}", holes)
    return compose(mode, holes)


#: Parts of a statement that are not in every one.
OPTIONAL: Final = (
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
    if mode != "hybrid":
        return part("terms", holes)
    return part("terms_hybrid", holes | {"fewest": Literal(FEWEST)})


def compose(mode: str, holes: dict[str, Composable]) -> str:
    """Return the whole statement that answers in a mode."""
    depth = holes["depth"]
    if mode == "hybrid":
        # Twice as deep for vectors: pages up to the depth of keywords come from the same documents.
        depth = SQL("greatest({}, {} + {})").format(
            Literal(HYBRID_KEYWORD_DEPTH), holes["k"], holes["skip"]
        )
    holes = holes | {"keyword_depth": depth}
    holes = holes | {"asked_terms": asked_terms(mode, holes)}
    holes |= {
        name: part(name, holes) for name in ("question", "keyword_leg", "vector_leg", "fused")
    }
    return render(f"search/{mode}.sql", holes).strip("\n")


def part(name: str, holes: dict[str, Composable]) -> SQL:
    """Return a part of a statement, by the name of its file."""
    return SQL(render(f"search/{name}.sql", holes).strip("\n"))


def distances(holes: Mapping[str, Composable], distance: SQL) -> dict[str, Composable]:
    """Return how far a chunk is from what is asked, alone and with the settings of a scan."""
    exact, scan = (
        distance.format(holes["embedding"], holes[vector])
        for vector in ("vector", "vector_with_settings")
    )
    if "scan_distance" in holes:
        return {"distance": exact, "distance_with_settings": exact}
    return {"distance": exact, "distance_with_settings": scan, "scan_distance": scan}


def narrowing(
    definition: IndexDefinition, rows: Composable, few_rows: Composable | None = None
) -> dict[str, Composable]:
    """Return the parts that look only at some rows, but for `few_chunks`."""
    few_rows = few_rows or Literal(FEW_ROWS)
    narrowed = SQL("JOIN ({}) AS filter USING ({})").format(rows, holes_of(definition)["key"])
    limit = SQL("{} + 1").format(few_rows)
    return _few(definition, rows, few_rows, limit, SQL("")) | {"narrowed": narrowed}


def _hidden(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the parts that look only at the rows which row-level security leaves, if few.

    Where it leaves many, the policies of documents and chunks are enough; where there is none,
    nothing of this is executed, and by the limit the planner knows it.
    """
    table = Identifier(definition.schema, definition.table)
    rows = SQL("SELECT {} FROM {} AS source").format(holes_of(definition)["source_key"], table)
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
    holes = holes_of(definition) | {
        "rows": rows,
        "few_rows": few_rows,
        "few_limit": limit,
        "and_hidden": hidden,
    }
    return {
        "few": part("few", holes),
        "few_documents": part("few_documents", holes),
        "unless_few": SQL("AND NOT (SELECT are_few FROM filtered)"),
    }


def holes_of(definition: IndexDefinition) -> dict[str, Composable]:
    """Return what every statement has of a search index: its objects, its key, how it scores."""
    return definition_holes(definition) | _stale(definition) | _bm25(definition)


def _bm25(definition: IndexDefinition) -> dict[str, Composable]:
    """Return what a term scores in a document, for those that are found and those that are scored.

    Positions stand in the order of the text columns, so that those of the first weights are counted
    by leaving the others out: counting goes on weight by weight, and the differences are weighed.
    """
    bm25 = definition.bm25
    holes: dict[str, Composable] = {}
    for row in ("found", "document", "vector_leg"):
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
    "vector_leg": SQL("(SELECT mean_length FROM question)"),
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
