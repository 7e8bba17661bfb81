"""`search(Article, "text")`: a Select that gives entities and hits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

from sqlalchemy import (
    ColumnElement,
    ColumnExpressionArgument,
    Select,
    Table,
    Text,
    column,
    func,
    literal,
)

from pgsearch.declare import SearchIndex
from pgsearch.errors import QueryError
from pgsearch.orm.checks import check_options, check_passages, check_request
from pgsearch.orm.explain import explanation, snippet
from pgsearch.orm.hit import Hit, select_hits
from pgsearch.orm.statement import Request, SearchStatement
from pgsearch.orm.target import find_boost, find_embedding, find_index, find_rows, query_vector

__all__ = ["Hit", "search"]

Entity = TypeVar("Entity")

#: Whatever `Select.where` takes.
Condition: TypeAlias = ColumnExpressionArgument[bool]

#: A condition, or several; or none.
Where: TypeAlias = Condition | list[Condition] | tuple[Condition, ...] | None


class Narrowed(TypedDict, total=False):
    """What may be said of `search` and `similar`, for type checkers."""

    limit: int
    offset: int
    where: Where
    index: SearchIndex | str | None
    embedding: str | None
    ef_search: int | None


class SearchOptions(Narrowed, total=False):
    """What else may be said of a `search`."""

    mode: str
    vector: Sequence[float] | None
    language: str | None
    fusion: str
    keyword_weight: float | None
    boost: ColumnElement[Any] | None
    snippets: bool
    explain: bool
    passages: bool
    per_document: int | None


@overload
def search(
    source: type[Entity], query: str, **options: Unpack[SearchOptions]
) -> Select[Entity, Hit]: ...


@overload
def search(
    source: SearchIndex | Table, query: str, **options: Unpack[SearchOptions]
) -> Select[Any]: ...


def search(
    source: Any,
    query: str,
    *,
    limit: int = 10,
    offset: int = 0,
    where: Where = None,
    mode: str = "hybrid",
    index: SearchIndex | str | None = None,
    embedding: str | None = None,
    vector: Sequence[float] | None = None,
    language: str | None = None,
    ef_search: int | None = None,
    fusion: str = "exact",
    keyword_weight: float | None = None,
    boost: ColumnElement[Any] | None = None,
    snippets: bool = False,
    explain: bool = False,
    passages: bool = False,
    per_document: int | None = None,
) -> Select[Any]:
    """Search a table; execute the result in any session, sync or async, with any driver.

        for article, hit in session.execute(search(Article, "forgotten password", limit=5)):
            print(hit.score, article.title)

    Until the embedding is ready, mode "hybrid" answers from keywords.

    Args:
        source: A mapped class; or a table or SearchIndex, and then rows instead of entities.
        query: What is asked, 1 to 8192 characters. Quoted phrases and words with a minus sign
            are conditions, as in PostgreSQL's websearch_to_tsquery.
        limit: How many results, 1 to 1000, best first.
        offset: How many results to leave out before them, for pages; the first 1000 are to be had.
        where: A condition on the source table, or several; None for none. They narrow both legs,
            so that `limit` results come back if there are as many; a `.where` on the Select only
            thins them out.
        mode: "hybrid", "keyword" or "vector".
        index: The search index or its name, if the table has several.
        embedding: Name of the embedding to ask, if not the declared active one.
        vector: The query's vector; if None, the embedding's model makes it in this process.
        language: The language of the query where rows have their own, as in "german" or "de";
            if None, the search index's.
        ef_search: Candidates that the scan of the HNSW index keeps, 1 to 1000: more find more of
            the nearest and take longer. If None, 300, and more for a large table or `limit`.
        fusion: How the legs' scores become one: "exact" by their values, "rrf" by reciprocal ranks.
        keyword_weight: What the keyword leg counts beside the other; if None, 4 of its share of
            the best possible score, or as much as the other by ranks.
        boost: A number for each row, added to its score before the best are taken, as in
            `0.2 * func.ln(1 + Article.views)`: scores of "exact" differ by some 0.1 to 5, those of
            "rrf" by 0.01. It moves what the legs have found, a hundred documents each or more.
            What it takes of other tables, it takes by a scalar subquery.
        snippets: Whether hits have a `snippet`.
        explain: Whether hits have an `explanation`: `terms`, a list of the query's terms with
            `idf`, `tier` (1 or 2 if it brings documents) and `frequency` in the document; with a
            filter or row-level security `rows`, how many it leaves as far as they were counted;
            and `path`, whether each of them was looked at or an index was read. It takes its time.
        passages: Whether the results are passages, of which a row may have several among the best:
            a hit has a `similarity` and `score` of its own then, and an `ordinal`.
        per_document: How many passages of a row at most; None for no limit.

    Returns:
        A Select of (entity, Hit), or of the table's columns followed by Hit's fields.

    Raises:
        QueryError: The query cannot be answered.
        DeclarationError: There is no search index on the table, or several.
        ModelUnavailable: The model cannot be loaded; pass `vector`, or mode "keyword".
    """
    check_request(query, limit, offset, mode, is_vector_given=vector is not None)
    check_options(ef_search, fusion, keyword_weight)
    check_passages(per_document, passages=passages)
    chosen = find_index(source, index)
    asked = find_embedding(chosen, embedding)
    if mode == "vector" and asked is None:
        raise QueryError(
            f"Search index {chosen.name!r} declares no active embedding for mode 'vector'.",
            hint="Declare active='…' on the SearchIndex, or pass embedding='…'.",
        )
    table = chosen.source_table
    key = table.primary_key.columns
    made = query_vector(asked, query, vector) if mode != "keyword" and asked else None
    request = Request(
        query=query,
        k=limit,
        skip=offset,
        # Without an embedding to ask, or its vector, keywords answer.
        mode=mode if made is not None else "keyword",
        vector=None if made is None else func.pgsearch.to_vector(literal(made, Text)),
        language=language,
        ef_search=ef_search,
        fusion=fusion,
        keyword_weight=keyword_weight,
        rows=find_rows(source, chosen, where),
        boost=find_boost(chosen, boost),
        passages=passages,
        per_document=per_document,
    )
    statement = SearchStatement(chosen.definition(), asked, request)
    hits = statement.hits([column(c.name, c.type) for c in key])
    more = []
    if snippets:
        more.append(snippet(chosen.definition(), request, hits))
    if explain:
        more.append(explanation(chosen.definition(), request, hits))
    return select_hits(source, table, hits, more)
