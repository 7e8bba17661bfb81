"""`search(Article, "text")`: a Select that gives entities and hits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, cast, overload

from sqlalchemy import ColumnExpressionArgument, Select, Table, and_, column, inspect, select
from sqlalchemy.orm import Bundle, Mapper

from pgsearch import models
from pgsearch.declare import Embedding, SearchIndex, declared_on
from pgsearch.errors import DeclarationError, QueryError
from pgsearch.orm.statement import HIT_COLUMNS, Request, SearchStatement
from pgsearch.schema.search import FUSIONS, MODES

if TYPE_CHECKING:
    from sqlalchemy.engine import Row
    from sqlalchemy.sql.selectable import TableValuedAlias

Entity = TypeVar("Entity")

#: Whatever `Select.where` takes.
Condition: TypeAlias = ColumnExpressionArgument[bool]

MAX_K = 1000
MAX_EF_SEARCH = 1000
MAX_QUERY_LENGTH = 8192


class Hit(NamedTuple):
    """What made a row a result.

    Attributes:
        score: By which results are ordered; comparable within one query only.
        keyword_score: BM25 of the document, 0 if no term is in it.
        keyword_rank: Its place in the keyword leg, None if it was not found there.
        similarity: Cosine similarity of its nearest passage, None without vectors.
        vector_rank: Its place in the vector leg, None if it was not found there.
        passage: The nearest passage, None if the document has no chunk yet.
        stale: Whether the passage is older than the row.
    """

    score: float
    keyword_score: float | None
    keyword_rank: int | None
    similarity: float | None
    vector_rank: int | None
    passage: str | None
    stale: bool


class _HitBundle(Bundle[Hit]):
    """Makes Hit tuples of a row's columns."""

    inherit_cache = True

    def create_row_processor(
        self,
        query: Any,  # noqa: ARG002
        procs: Sequence[Callable[[Row[Any]], Any]],
        labels: Sequence[str],  # noqa: ARG002
    ) -> Callable[[Row[Any]], Hit]:
        """Return what turns a row into a Hit."""

        def make(row: Row[Any]) -> Hit:
            return Hit(*(process(row) for process in procs))

        return make


@overload
def search(
    source: type[Entity],
    query: str,
    *,
    limit: int = ...,
    offset: int = ...,
    where: Condition | list[Condition] | tuple[Condition, ...] = ...,
    mode: str = ...,
    index: SearchIndex | str | None = ...,
    embedding: str | None = ...,
    vector: Sequence[float] | None = ...,
    language: str | None = ...,
    ef_search: int | None = ...,
    fusion: str = ...,
    keyword_weight: float | None = ...,
) -> Select[Entity, Hit]: ...


@overload
def search(
    source: SearchIndex | Table,
    query: str,
    *,
    limit: int = ...,
    offset: int = ...,
    where: Condition | list[Condition] | tuple[Condition, ...] = ...,
    mode: str = ...,
    index: SearchIndex | str | None = ...,
    embedding: str | None = ...,
    vector: Sequence[float] | None = ...,
    language: str | None = ...,
    ef_search: int | None = ...,
    fusion: str = ...,
    keyword_weight: float | None = ...,
) -> Select[Any]: ...


def search(
    source: Any,
    query: str,
    *,
    limit: int = 10,
    offset: int = 0,
    where: Condition | list[Condition] | tuple[Condition, ...] = (),
    mode: str = "hybrid",
    index: SearchIndex | str | None = None,
    embedding: str | None = None,
    vector: Sequence[float] | None = None,
    language: str | None = None,
    ef_search: int | None = None,
    fusion: str = "exact",
    keyword_weight: float | None = None,
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
        where: Conditions on the source table. They narrow both legs, so that `limit` results
            come back if there are as many; a `.where` on the Select only thins them out.
        mode: "hybrid", "keyword" or "vector".
        index: The search index or its name, if the table has several.
        embedding: Name of the embedding to ask, if not the declared active one.
        vector: The query's vector; if None, the embedding's model makes it in this process.
        language: The language of the query where rows have their own, as in "german" or "de";
            if None, the search index's.
        ef_search: Candidates that the scan of the HNSW index keeps, 1 to 1000: more find more of
            the nearest and take longer. If None, 100, or more where `limit` needs it.
        fusion: How the legs' scores become one: "exact" by their values, "rrf" by reciprocal ranks.
        keyword_weight: What the keyword leg counts beside the other; if None, 4 of its share of
            the best possible score, or as much as the other by ranks.

    Returns:
        A Select of (entity, Hit), or of the table's columns followed by Hit's fields.

    Raises:
        QueryError: The query cannot be answered.
        DeclarationError: There is no search index on the table, or several.
        ModelUnavailable: The model cannot be loaded; pass `vector`, or mode "keyword".
    """
    _check_request(query, limit, offset, mode, is_vector_given=vector is not None)
    _check_options(ef_search, fusion, keyword_weight)
    chosen = index_of(source, index)
    asked = _embedding(chosen, embedding)
    if mode == "vector" and asked is None:
        raise QueryError(
            f"Search index {chosen.name!r} declares no active embedding for mode 'vector'.",
            hint="Declare active='…' on the SearchIndex, or pass embedding='…'.",
        )
    table = chosen.source_table
    conditions = list(where) if isinstance(where, (list, tuple)) else [where]
    keys = select(*table.primary_key.columns).where(*conditions) if conditions else None
    made = _vector(asked, query, vector) if mode != "keyword" and asked else None
    request = Request(
        query=query,
        k=limit,
        skip=offset,
        # Without an embedding to ask, or its vector, keywords answer.
        mode=mode if made is not None else "keyword",
        vector=made,
        language=language,
        ef_search=ef_search,
        fusion=fusion,
        keyword_weight=keyword_weight,
    )
    statement = SearchStatement(chosen.definition(), asked, request, keys)
    hits = statement.hits([column(c.name, c.type) for c in table.primary_key.columns])
    return _select(source, table, hits)


def _check_request(
    query: str, limit: int, offset: int, mode: str, *, is_vector_given: bool
) -> None:
    if not isinstance(query, str):
        raise QueryError(
            f"The query is not a text but {query!r}.", hint="Pass what was asked, as a str."
        )
    if not query.strip() and not (mode == "vector" and is_vector_given):
        raise QueryError(
            "The query is empty.", hint="Pass at least one word, or a vector and mode 'vector'."
        )
    if len(query) > MAX_QUERY_LENGTH:
        raise QueryError(
            f"The query is {len(query)} characters long, at most {MAX_QUERY_LENGTH} are answered.",
            hint="Pass the words or sentences that matter.",
        )
    if "\x00" in query or any("\ud800" <= character <= "\udfff" for character in query):
        raise QueryError(
            "The query holds a NUL character or a lone surrogate, which no PostgreSQL text can.",
            hint="Remove it, as in query.replace('\\x00', '').encode('utf-8', 'ignore').decode().",
        )
    if not 1 <= limit <= MAX_K:
        raise QueryError(
            f"limit={limit} is outside 1 to {MAX_K}.", hint="Ask for the best few, as in limit=10."
        )
    if not 0 <= offset <= MAX_K - limit:
        raise QueryError(
            f"offset={offset} with limit={limit} is outside 0 to {MAX_K - limit}.",
            hint=f"The first {MAX_K} results are to be had; ask another question, or with where=….",
        )
    if mode not in MODES:
        raise QueryError(
            f"There is no mode {mode!r}.", hint=f"There are {', '.join(map(repr, MODES))}."
        )


def _check_options(ef_search: int | None, fusion: str, keyword_weight: float | None) -> None:
    if ef_search is not None and not 1 <= ef_search <= MAX_EF_SEARCH:
        raise QueryError(
            f"ef_search={ef_search} is outside 1 to {MAX_EF_SEARCH}.",
            hint="Leave it out to have it chosen by the limit.",
        )
    if fusion not in FUSIONS:
        raise QueryError(
            f"There is no fusion {fusion!r}.", hint=f"There are {', '.join(map(repr, FUSIONS))}."
        )
    if keyword_weight is not None and not 0 <= keyword_weight < math.inf:
        raise QueryError(
            f"keyword_weight={keyword_weight} is no weight.", hint="Pass 0 or more, as in 4.0."
        )


def _table(source: Any) -> Table:
    if isinstance(source, Table):
        return source
    mapper = inspect(source, raiseerr=False)
    if not isinstance(mapper, Mapper) or not isinstance(mapper.local_table, Table):
        raise DeclarationError(
            f"{source!r} is neither a mapped class nor a table nor a SearchIndex.",
            hint="Write search(Article, '…') with a class that is mapped to a table.",
        )
    return mapper.local_table


def index_of(source: Any, index: SearchIndex | str | None) -> SearchIndex:
    """Return the search index that is asked, as `search` chooses it."""
    if isinstance(source, SearchIndex):
        return source
    table = _table(source)
    if isinstance(index, str):
        if index not in declared_on(table):
            raise DeclarationError(
                f"No search index {index!r} is declared on table {table.name!r}.",
                hint="There is: " + (", ".join(map(repr, declared_on(table))) or "none") + ".",
            )
        return declared_on(table)[index]
    if index is not None:
        if index.table is not table:
            raise DeclarationError(
                f"Search index {index.name!r} is on table {index.source_table.name!r}, "
                f"not on {table.name!r}.",
                hint="Pass a search index of the table that is searched.",
            )
        return index
    declared = declared_on(table)
    if len(declared) == 1:
        return next(iter(declared.values()))
    if not declared:
        raise DeclarationError(
            f"No search index is declared on table {table.name!r}.",
            hint=f"Declare one: SearchIndex('{table.name}_search', {table.name}, text={{…}}).",
        )
    raise DeclarationError(
        f"Several search indexes are declared on table {table.name!r}: {', '.join(declared)}.",
        hint="Pass index=… to say which one.",
    )


def _embedding(index: SearchIndex, name: str | None) -> Embedding | None:
    if name is None:
        return index.active_embedding
    for embedding in index.embeddings:
        if embedding.name == name:
            return embedding
    raise QueryError(
        f"Search index {index.name!r} declares no embedding {name!r}.",
        hint="It declares " + (", ".join(e.name for e in index.embeddings) or "none") + ".",
    )


def _vector(embedding: Embedding, query: str, given: Sequence[float] | None) -> str:
    """Return the query's vector as text, which every driver can send."""
    model = embedding.model
    if given is None:
        return models.load(model).embed_queries([query])[0].to_text()
    if len(given) != model.dimensions:
        raise QueryError(
            f"The query's vector has {len(given)} dimensions, embedding {embedding.name!r} has "
            f"{model.dimensions}.",
            hint=f"Make it with {model.name}, the model of that embedding.",
        )
    values = [float(value) for value in given]
    if not all(map(math.isfinite, values)) or not any(values):
        raise QueryError(
            "The query's vector is all zeros, or has a value that is not finite.",
            hint=f"Make it with {model.name}, the model of that embedding.",
        )
    return "[" + ",".join(map(repr, values)) + "]"


def _select(source: Any, table: Table, hits: TableValuedAlias) -> Select[Any]:
    key = [column.name for column in table.primary_key.columns]
    same_row = and_(*(table.c[name] == hits.c[name] for name in key))
    found = [hits.c[str(column.key)] for column in HIT_COLUMNS]
    order = [hits.c.score.desc().nulls_last(), *(hits.c[name] for name in key)]
    if isinstance(source, (Table, SearchIndex)):
        return cast("Select[Any]", select(table, *found).join(hits, same_row).order_by(*order))
    bundle = _HitBundle("hit", *found)
    return cast("Select[Any]", select(source, bundle).join(hits, same_row).order_by(*order))
