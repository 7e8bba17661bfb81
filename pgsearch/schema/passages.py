"""The statement that takes the best documents apart into passages, and the function around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch.definition import IndexDefinition
from pgsearch.schema.search_function import (
    PARAMETERS,
    identify,
    parameter_literals,
    parameters,
    query_configuration,
)
from pgsearch.schema.templates import definition_holes, render

#: Parameters of the function before query_language and the filters.
PASSAGES_PARAMETERS: Final = {**PARAMETERS, "per_document": "integer"}

#: Parameters $1 to $8 of the statement inside it.
_ARGUMENTS: Final = {
    "query": "$1",
    "k": "$2",
    "vector": "$3",
    "skip": "$4",
    "per_document": "$5",
    "best_documents": "unnest($6)",
    "similarity_stddev": "$7",
    "configuration": "$8",
}

#: What a passage scores, by what made its document's score. By ranks, which are those of documents,
#: and by keywords alone it is the same for all passages of a document.
_SCORES: Final = {
    "vector": "(best.score - best.similarity) + own.similarity",
    "exact": "best.score - (best.similarity - own.similarity) / {similarity_stddev}",
    "rrf": "best.score",
}


def passages_statement(definition: IndexDefinition, holes: Mapping[str, Composable]) -> str:
    """Return the statement that takes documents apart into passages.

    Args:
        definition: The search index.
        holes: SQL of the request: query, configuration, k, skip, per_document, passage_score,
            best_documents (a relation with the columns of a hit), own_similarity (of the chunk),
            has_embedding (whether it has one), given and best (common table expressions that the
            others read, each with its comma, or nothing).
    """
    timely = SQL(
        "" if definition.stale == "serve" else "AND chunk.generation = document.generation"
    )
    made = definition_holes(definition) | {"timely_document": timely} | dict(holes)
    return render("search/passages.sql", made)


def passage_score(mode: str, fusion: str, similarity_stddev: Composable) -> Composable:
    """Return what a passage scores.

    Args:
        mode: What answers: "keyword", "vector" or "hybrid".
        fusion: "exact" or "rrf".
        similarity_stddev: The spread of similarities.
    """
    made = {"keyword": "rrf", "vector": "vector"}.get(mode, fusion)
    return SQL(_SCORES[made]).format(similarity_stddev=similarity_stddev)


def passages_holes(definition: IndexDefinition) -> dict[str, Composable]:
    """Return the function's parameters, its statement, and how it asks the search function."""
    declared = parameters(definition, PASSAGES_PARAMETERS)
    passages = Identifier(definition.schema, definition.names.passages)
    signature, identity = identify(passages, declared)
    places = {name: f"${place}" for place, (name, _) in enumerate(declared, start=1)}
    given = places | {"k": "{k} + {skip}".format(**places), "skip": "0"}
    asked = [SQL(given[name]) for name, _ in parameters(definition, PARAMETERS)]
    holes: dict[str, Composable] = {name: SQL(text) for name, text in _ARGUMENTS.items()}
    scores = {
        f"score_{name}": SQL(text).format(similarity_stddev=holes["similarity_stddev"])
        for name, text in _SCORES.items()
    }
    holes |= {
        "given": SQL(""),
        "best": SQL(""),
        "own_similarity": SQL("1 - (%1$s <=> {})").format(holes["vector"]),
        "has_embedding": SQL("%1$s IS NOT NULL"),
        "passage_score": SQL("%2$s"),
    }
    return {
        "passages_signature": signature,
        "passages_identity": Literal(identity),
        "passages_object": Literal(f"FUNCTION {identity}"),
        **parameter_literals(declared, "passages_"),
        "passages_configuration": query_configuration(definition, PASSAGES_PARAMETERS),
        "search_arguments": SQL(", ").join(asked),
        "passages_statement": SQL(passages_statement(definition, holes).strip("\n")),
        **scores,
    }
