"""The search statement as a SQLAlchemy element.

It is the statement of the SQL function, out of the same file, with bound parameters and with any
SQLAlchemy expression as the filter inside both legs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Final

from psycopg.sql import SQL, Composable, Identifier, Literal
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    column,
    literal,
    literal_column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import TableValuedAlias

from pgsearch.declare import Embedding
from pgsearch.definition import IndexDefinition
from pgsearch.schema import graph
from pgsearch.schema.passages import passage_score, passages_statement
from pgsearch.schema.search import (
    FILTERED_CHUNKS,
    HYBRID_DEPTH,
    HYBRID_KEYWORD_DEPTH,
    RANKED_ANEW,
    SPARE_CHUNKS,
    search_statement,
)

#: Columns of a hit behind the source key, as in the composite type of the SQL function.
HIT_COLUMNS: tuple[ColumnElement[Any], ...] = (
    column("score", Float),
    column("keyword_score", Float),
    column("keyword_rank", Integer),
    column("similarity", Float),
    column("vector_rank", Integer),
    column("passage", Text),
    column("stale", Boolean),
)

#: What a passage has besides, as in the composite type of the function for passages.
PASSAGE_COLUMNS: tuple[ColumnElement[Any], ...] = (
    column("ordinal", Integer),
    column("passage_rank", Integer),
    column("document_score", Float),
)

#: Single legs bring as many documents as are wanted, in these steps, so that requests of many
#: sizes make few statements.
_STEPS: Final = (10, 20, 50, 100, 200, 500, 1000)

#: A vector, once settings are made for the scan that it is for.
_WITH_SETTINGS: Final = SQL(
    "(SELECT CASE WHEN set_config('hnsw.iterative_scan', 'relaxed_order', true) IS NOT NULL"
    " AND set_config('hnsw.ef_search', {}::text, true) IS NOT NULL"
    " AND set_config('hnsw.max_scan_tuples', '100000', true) IS NOT NULL"
    " AND set_config('hnsw.scan_mem_multiplier', '8', true) IS NOT NULL"
    " THEN {} END)"
)


#: How vectors are compared wherever pgvector lies. PostgreSQL puts the operator in for it, and then
#: sees that the HNSW index serves.
_DISTANCE: Final = SQL("pgsearch.distance({}, {})")

#: The query's vector, read once; there is none while the embedding cannot answer.
_GIVEN: Final = SQL(
    "given AS MATERIALIZED (\n"
    "  SELECT {} AS vector, similarity_stddev, documents\n"
    "  FROM pgsearch.answering({}, {}, {}, {}) WHERE similarity_stddev IS NOT NULL\n"
    "),"
)


@dataclass(frozen=True)
class Request:
    """What is asked of a search index.

    Args:
        query: The text.
        k: How many results.
        skip: How many are left out before them.
        mode: "keyword", "vector" or "hybrid".
        vector: The query's vector as SQL; None for keywords.
        language: The language of the query, where rows have one.
        ef_search: Candidates that a scan of the HNSW index keeps; chosen if None.
        fusion: "exact" or "rrf".
        keyword_weight: What the keyword leg counts in the fusion; its own default if None.
        rows: A query for the keys of the rows that are searched; all if None.
        boost: A query for keys and what is added to their scores, called `boost`.
        passages: Whether passages are wanted instead of documents.
        per_document: How many of one document at most; None if there is no limit.
    """

    query: str
    k: int
    skip: int
    mode: str
    vector: ColumnElement[Any] | None
    language: str | None
    ef_search: int | None
    fusion: str
    keyword_weight: float | None
    rows: Select[Any] | None
    boost: Select[Any] | None
    passages: bool = False
    per_document: int | None = None

    @property
    def depth(self) -> int:
        """How many documents each leg brings."""
        wanted = self.k + self.skip
        if self.mode == "hybrid" or self.boost is not None:
            return max(HYBRID_DEPTH, 2 * wanted)
        return min(step for step in _STEPS if step >= wanted)

    @property
    def keyword_depth(self) -> int:
        """How many documents the keyword leg brings."""
        return (
            max(HYBRID_KEYWORD_DEPTH, self.k + self.skip) if self.mode == "hybrid" else self.depth
        )

    @property
    def chunks(self) -> int:
        """How many chunks the vector leg takes these documents from."""
        chunks = self.depth + SPARE_CHUNKS
        return chunks if self.rows is None else max(chunks, FILTERED_CHUNKS)

    @property
    def is_conditional(self) -> bool:
        """Whether there may be a phrase or a word with a minus sign in the query."""
        return '"' in self.query or "-" in self.query

    def values(self) -> dict[str, ColumnElement[Any]]:
        """Return what the statement binds: nothing that it does not read, for drivers mind that."""
        bound: dict[str, ColumnElement[Any]] = {
            "k": literal(self.k, Integer),
            "skip": literal(self.skip, Integer),
        }
        if self.passages:
            bound["documents"] = literal(self.k + self.skip, Integer)
        if self.per_document is not None:
            bound["per_document"] = literal(self.per_document, Integer)
        if self.mode != "vector" or self.is_conditional:
            bound["query"] = literal(self.query, Text)
            if self.language is not None:
                bound["language"] = literal(self.language, Text)
        if self.vector is not None:
            bound["vector"] = self.vector
        if self.mode == "hybrid":
            usual = 1.0 if self.fusion == "rrf" else 4.0
            weight = usual if self.keyword_weight is None else self.keyword_weight
            bound["keyword_weight"] = literal(weight, Float)
        if self.rows is not None:
            bound["rows"] = self.rows.correlate(None).scalar_subquery()
        if self.boost is not None:
            bound["boost"] = self.boost.correlate(None).scalar_subquery()
        return bound


class SearchStatement(FunctionElement[Any]):
    """The statement that answers one query, as something to select from.

    Its first clause is what its text depends on, which is never rendered but part of the cache key;
    then comes what it binds, and perhaps a filter.
    """

    inherit_cache = True

    def __init__(
        self,
        definition: IndexDefinition,
        embedding: Embedding | None,
        request: Request,
    ) -> None:
        self.definition = definition
        self.embedding = embedding
        self.request = request
        identity = json.dumps(
            [
                definition.to_json(),
                embedding and [embedding.name, *astuple(embedding.precision)],
                request.mode,
                request.depth,
                request.ef_search,
                request.fusion,
                request.is_conditional,
                request.language is None,
                request.passages,
                request.per_document is None,
            ]
        )
        clauses = request.values()
        self.places = tuple(clauses)
        super().__init__(literal_column(identity.replace(":", "\\:")), *clauses.values())

    def hits(self, key: list[ColumnElement[Any]]) -> TableValuedAlias:
        """Return the results to select from: key columns, HIT_COLUMNS, and those of passages."""
        more = PASSAGE_COLUMNS if self.request.passages else ()
        return self.table_valued(*key, *HIT_COLUMNS, *more, name="hit")


@compiles(SearchStatement)
def _compile(element: SearchStatement, compiler: SQLCompiler, **options: Any) -> str:
    _, *clauses = (compiler.process(clause, **options) for clause in element.clauses)
    # What SQLAlchemy has compiled must not be touched again, so it takes its place at the end.
    places = {f"\x00{name}\x00": text for name, text in zip(element.places, clauses, strict=True)}
    text = _render(element, {name: SQL(f"\x00{name}\x00") for name in element.places})
    for place, clause in places.items():
        text = text.replace(place, clause)
    return f"({text})"


def _render(element: SearchStatement, bound: Mapping[str, Composable]) -> str:
    definition, embedding, request = element.definition, element.embedding, element.request
    nothing: Composable = SQL("NULL")
    query = bound.get("query", nothing)
    configuration: Composable = SQL("{}::regconfig").format(Literal(definition.language))
    if "language" in bound:
        language = bound["language"]
        configuration = SQL("pgsearch.query_configuration({}, {})").format(language, configuration)
    given: Composable = SQL("")
    stored = nothing
    chunks, coarse = request.chunks, None
    if embedding is not None and "vector" in bound:
        stored = Identifier("chunk", definition.names.embedding_column(embedding.name))
        coarse = embedding.precision if embedding.precision.is_coarse else None
        if embedding.precision.index == "bit":
            chunks = max(chunks, request.ef_search or RANKED_ANEW)
        # NULL while the embedding cannot answer, which mode "vector" does not accept.
        needed = request.mode == "vector"
        given = _GIVEN.format(
            bound["vector"], definition.schema, definition.name, embedding.name, needed
        )
    vector = SQL("(SELECT vector FROM given)")
    ef_search: Composable = SQL(
        "(SELECT pgsearch.usual_ef_search(documents, {}, {}) FROM given)"
    ).format(chunks, request.rows is not None)
    if request.ef_search is not None:
        ef_search = Literal(request.ef_search)
    scanning = _WITH_SETTINGS.format(ef_search, vector)
    condition = SQL("(SELECT pgsearch.query_condition({}, {}))").format(configuration, query)
    # Left out where it is the index's own, so that an older index can answer too.
    of_terms = SQL(", ") + configuration if "language" in bound else SQL("")
    # A vector that cannot be used is as good as none.
    encoder: Composable = SQL("'none'")
    if given != SQL(""):
        encoder = SQL("CASE WHEN {} IS NULL THEN 'none' ELSE 'caller' END").format(vector)
    statement = search_statement(
        definition,
        request.mode,
        {
            "query": query,
            "k": bound.get("documents", bound["k"]),
            "skip": Literal(0) if request.passages else bound["skip"],
            "given": SQL("") if request.passages else given,
            "vector": vector,
            "vector_with_settings": scanning,
            "has_vector": SQL("{} IS NOT NULL AND {} IS NOT NULL").format(vector, stored),
            "depth": Literal(request.depth),
            "chunks": Literal(chunks),
            "similarity_stddev": SQL("(SELECT similarity_stddev FROM given)"),
            "condition": condition,
            "keyword_weight": bound.get("keyword_weight", nothing),
            "encoder": encoder,
            "configuration": configuration,
            "terms_configuration": of_terms,
            "embedding": stored,
            **({"scan_distance": graph.distance(coarse, stored, scanning)} if coarse else {}),
        },
        rows=bound.get("rows"),
        boost=bound.get("boost"),
        is_conditional=request.is_conditional,
        fusion=request.fusion,
        distance=_DISTANCE,
    )
    if not request.passages:
        return statement
    similarity: Composable = SQL("NULL::double precision")
    if request.mode != "keyword":
        similarity = SQL("1 - {}").format(_DISTANCE.format(stored, vector))
    return passages_statement(
        definition,
        {
            "query": query,
            "configuration": configuration,
            "k": bound["k"],
            "skip": bound["skip"],
            "per_document": bound.get("per_document", nothing),
            "given": given,
            "best": SQL("best AS MATERIALIZED (\n{}\n),").format(SQL(statement)),
            "best_documents": SQL("best"),
            "own_similarity": similarity,
            "has_embedding": SQL("{} IS NOT NULL").format(stored),
            "passage_score": passage_score(
                request.mode, request.fusion, SQL("(SELECT similarity_stddev FROM given)")
            ),
        },
    )
