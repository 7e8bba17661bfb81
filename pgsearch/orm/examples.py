"""`similar(Article, 42)`: rows like others, by the vectors that are stored."""

from __future__ import annotations

from typing import Any, Unpack, overload

from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Select,
    Table,
    column,
    func,
    not_,
    select,
    table,
    tuple_,
)
from sqlalchemy.orm import Mapper

from pgsearch.declare import Embedding, SearchIndex
from pgsearch.definition import IndexDefinition
from pgsearch.errors import QueryError
from pgsearch.orm.checks import MAX_K, check_options, check_request
from pgsearch.orm.hit import Hit, select_hits
from pgsearch.orm.select import Entity, Narrowed, Where
from pgsearch.orm.statement import Request, SearchStatement
from pgsearch.orm.target import find_embedding, find_index, find_rows


class SimilarOptions(Narrowed, total=False):
    """What may be said of `similar`, for type checkers."""

    unlike: Any
    min_similarity: float | None


@overload
def similar(
    source: type[Entity], to: Any, **options: Unpack[SimilarOptions]
) -> Select[Entity, Hit]: ...


@overload
def similar(
    source: SearchIndex | Table, to: Any, **options: Unpack[SimilarOptions]
) -> Select[Any]: ...


def similar(
    source: Any,
    to: Any,
    *,
    unlike: Any = None,
    limit: int = 10,
    offset: int = 0,
    where: Where = None,
    min_similarity: float | None = None,
    index: SearchIndex | str | None = None,
    embedding: str | None = None,
    ef_search: int | None = None,
) -> Select[Any]:
    """Find the rows that mean nearly what some rows mean; no model is needed for it.

        session.execute(similar(Article, 42, limit=5))
        session.execute(similar(Article, [42, 7], unlike=13, min_similarity=0.9))

    What is looked for is the mean of the examples' vectors, moved as far away from the mean of
    those that it is to be unlike. The examples themselves are no results. An example that has no
    vector yet is passed over; if none of `to` has one, nothing is found.

    Args:
        source: A mapped class; or a table or SearchIndex, and then rows instead of entities.
        to: The examples: a primary key (a tuple where it has several columns), an entity, or a list
            of these.
        unlike: Examples of what is not meant, in the same way; None if there are none.
        limit: How many results, the most similar first.
        offset: How many results to leave out before them.
        where: Conditions on the source table, as in `search`.
        min_similarity: Cosine similarity of a result at least, as in 0.95 for near-duplicates.
        index: The search index or its name, if the table has several.
        embedding: Name of the embedding to ask, if not the declared active one.
        ef_search: As in `search`.

    Returns:
        A Select of (entity, Hit), or of the table's columns followed by Hit's fields.

    Raises:
        QueryError: There is no example or no embedding, or too many results are asked for.
        DeclarationError: There is no search index on the table, or several.
    """
    chosen = find_index(source, index)
    asked = find_embedding(chosen, embedding)
    if asked is None:
        raise QueryError(
            f"Search index {chosen.name!r} declares no active embedding to compare rows by.",
            hint="Declare active='…' on the SearchIndex, or pass embedding='…'.",
        )
    source_table = chosen.source_table
    likes = _keys(source_table, to)
    unlikes = [] if unlike is None else _keys(source_table, unlike)
    if not likes:
        raise QueryError(
            f"No row of {source_table.name!r} is named that results are to be similar to.",
            hint="Pass a primary key, as in similar(Article, 42).",
        )
    examples = {*likes, *unlikes}
    check_request("", limit, offset, "vector", is_vector_given=True)
    check_options(ef_search, "exact", None)
    definition = chosen.definition()
    key = source_table.primary_key.columns
    request = Request(
        query="",
        # The examples are the most similar of all, and left out afterwards.
        k=min(limit + offset + len(examples), MAX_K),
        skip=0,
        mode="vector",
        vector=_vector(definition, source_table, asked, likes, unlikes),
        language=None,
        ef_search=ef_search,
        fusion="exact",
        keyword_weight=None,
        rows=find_rows(source, chosen, where),
        boost=None,
    )
    hits = SearchStatement(definition, asked, request).hits([column(c.name, c.type) for c in key])
    others = not_(tuple_(*(hits.c[c.name] for c in key)).in_(list(examples)))
    found = select_hits(source, source_table, hits).where(others).limit(limit).offset(offset)
    return found if min_similarity is None else found.where(hits.c.similarity >= min_similarity)


def _keys(source: Table, named: Any) -> list[tuple[Any, ...]]:
    """Return the primary keys that are named, by themselves or by entities."""
    several = named if isinstance(named, (list, set, frozenset)) else [named]
    if named == ():
        several = []
    return [_key(source, each) for each in several]


def _key(source: Table, named: Any) -> tuple[Any, ...]:
    mapper = getattr(type(named), "__mapper__", None)
    if not isinstance(mapper, Mapper):
        key = named if isinstance(named, tuple) else (named,)
    elif source in mapper.tables:
        key = tuple(mapper.primary_key_from_instance(named))
    else:
        key = ()
    if len(key) != len(source.primary_key.columns) or None in key:
        raise QueryError(
            f"{named!r} is no primary key of {source.name!r}.",
            hint="Pass its value, a tuple of them where it has several columns, or an entity.",
        )
    return key


def _vector(
    definition: IndexDefinition,
    source: Table,
    embedding: Embedding,
    likes: list[tuple[Any, ...]],
    unlikes: list[tuple[Any, ...]],
) -> ColumnElement[Any]:
    """Return the vector that is looked for, as SQL over what is stored."""
    names = definition.names
    stored = names.embedding_column(embedding.name)
    key_columns: list[ColumnClause[Any]] = [
        # With their types, by which SQLAlchemy sends the values of the examples' keys.
        column(c.name, c.type)
        for c in source.primary_key.columns
    ]
    chunk = table(names.chunk, *key_columns, column(stored), schema=definition.schema)
    key = tuple_(*(chunk.c[c.name] for c in key_columns))

    def vectors(keys: list[tuple[Any, ...]]) -> ColumnElement[Any]:
        return select(func.array_agg(chunk.c[stored])).where(key.in_(keys)).scalar_subquery()

    given = (vectors(keys) for keys in (likes, unlikes) if keys)
    made: ColumnElement[Any] = func.pgsearch.example(*given)
    return made
