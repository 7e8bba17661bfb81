"""The search statement as a SQLAlchemy element.

It is the statement of the SQL function, out of the same file, with bound parameters and with any
SQLAlchemy expression as the filter inside both legs.
"""

from __future__ import annotations

import json
from typing import Any

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
from pgsearch.schema.index import search_statement
from pgsearch.schema.templates import columns, key_names

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


class SearchStatement(FunctionElement[Any]):
    """The statement that answers one query, as something to select from.

    Its clauses are what its text depends on or what it binds, in this order: the search index and
    embedding (never rendered, but part of the cache key), query, k, vector, and perhaps a
    language and a filter.
    """

    inherit_cache = True

    def __init__(
        self,
        definition: IndexDefinition,
        embedding: Embedding | None,
        *,
        query: str,
        k: int,
        mode: str,
        vector: str | None,
        language: str | None,
        keys: Select[Any] | None,
    ) -> None:
        self.definition = definition
        self.embedding = embedding
        self.mode = mode
        self.depth = max(100, 2 * k)
        self.has_language = language is not None
        identity = json.dumps(
            [definition.to_json(), embedding and embedding.name, mode, self.depth, language is None]
        )
        clauses: list[Any] = [
            literal_column(identity.replace(":", "\\:")),
            literal(query, Text),
            literal(k, Integer),
            literal(vector, Text),
        ]
        if language is not None:
            clauses.append(literal(language, Text))
        if keys is not None:
            clauses.append(keys.correlate(None).scalar_subquery())
        super().__init__(*clauses)

    def hits(self, key: list[ColumnElement[Any]]) -> TableValuedAlias:
        """Return the results to select from: key columns, then HIT_COLUMNS."""
        return self.table_valued(*key, *HIT_COLUMNS, name="hit")


@compiles(SearchStatement)
def _compile(element: SearchStatement, compiler: SQLCompiler, **options: Any) -> str:
    _, *clauses = (compiler.process(clause, **options) for clause in element.clauses)
    # What SQLAlchemy has compiled must not be touched again, so it takes its place at the end.
    places = {f"\x00{position}\x00": clause for position, clause in enumerate(clauses)}
    text = _render(element, *(SQL(place) for place in places))
    for place, clause in places.items():
        text = text.replace(place, clause)
    return f"({text})"


def _render(
    element: SearchStatement,
    query: SQL,
    k: SQL,
    vector: SQL,
    *more: SQL,
) -> str:
    definition, embedding = element.definition, element.embedding
    stddev: Composable = SQL("NULL::double precision")
    stored: Composable = SQL("NULL::vector")
    if embedding is not None:
        # NULL while the embedding cannot answer, which mode "vector" does not accept.
        stddev = SQL(
            "(SELECT similarity_stddev FROM pgsearch.answering_embedding({}, {}, {}, {}))"
        ).format(definition.schema, definition.name, embedding.name, element.mode == "vector")
        stored = Identifier("chunk", definition.names.embedding_column(embedding.name))
    rest = list(more)
    configuration: Composable = SQL("{}::regconfig").format(Literal(definition.language))
    if element.has_language:
        asked = rest.pop(0)
        configuration = SQL("pgsearch.query_configuration({}, {})").format(asked, configuration)
    keys = rest[0] if rest else None
    joined = SQL("JOIN {} AS filter USING ({})")
    return search_statement(
        definition,
        {
            "query": query,
            "k": k,
            # In a subquery the text is read as a vector once, not once per row.
            "vector": SQL("(SELECT CAST({} AS vector) WHERE {} IS NOT NULL)").format(
                vector, stddev
            ),
            "mode": Literal(element.mode),
            "depth": Literal(element.depth),
            "configuration": configuration,
            # Left out where it is the index's own, so that an older index can answer too.
            "terms_configuration": SQL(", ") + configuration if element.has_language else SQL(""),
            "similarity_stddev": stddev,
            "embedding": stored,
            "filter": joined.format(keys, columns(key_names(definition))) if keys else SQL(""),
        },
    )
