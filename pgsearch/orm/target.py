"""What is asked: the search index on a table, the embedding, and the query's vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, inspect, select
from sqlalchemy.orm import Mapper

from pgsearch import models
from pgsearch.declare import Embedding, SearchIndex, declared_on
from pgsearch.errors import DeclarationError, QueryError


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


def find_index(source: Any, index: SearchIndex | str | None) -> SearchIndex:
    """Return the search index that is meant by a class, a table or itself.

    Raises:
        DeclarationError: There is none on the table, or several and none is named.
    """
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


def find_rows(source: Any, index: SearchIndex, where: Any) -> Select[Any] | None:
    """Return a query for the keys of the rows that are searched; None if all of the table are.

    Args:
        source: What is searched: a class, a table, or a search index.
        index: Its search index.
        where: A condition, a list or tuple of conditions, or None.
    """
    conditions = list_conditions(where)
    mapper = inspect(source, raiseerr=False)
    if isinstance(mapper, Mapper) and mapper.single and mapper.polymorphic_on is not None:
        # One of several classes of the table: its rows only.
        kinds = [kind.polymorphic_identity for kind in mapper.self_and_descendants]
        conditions.append(mapper.polymorphic_on.in_(kinds))
    if not conditions:
        return None
    rows = select(*index.source_table.primary_key.columns).where(*conditions)
    # A condition that joins another table may bring a row several times.
    return rows.distinct() if len(rows.get_final_froms()) > 1 else rows


def list_conditions(where: Any) -> list[Any]:
    """Return the conditions of a `where`; None is none."""
    if where is None:
        return []
    return list(where) if isinstance(where, (list, tuple)) else [where]


def find_boost(index: SearchIndex, boost: ColumnElement[Any] | None) -> Select[Any] | None:
    """Return a query for the keys of rows and what is added to their scores.

    Raises:
        QueryError: It takes several values for a row.
    """
    if boost is None:
        return None
    boosted = select(*index.source_table.primary_key.columns, boost.label("boost"))
    named = boosted.get_final_froms()
    if len(named) > 1:
        others = ", ".join(str(each) for each in named if each is not index.source_table)
        raise QueryError(
            f"The boost names {others} beside table {index.source_table.name!r}: it may have "
            "several values for a row.",
            hint="Take one of it by a scalar subquery, as in select(func.count())"
            ".where(Comment.article_id == Article.id).scalar_subquery().",
        )
    return boosted


def find_embedding(index: SearchIndex, name: str | None) -> Embedding | None:
    """Return the embedding of a name, or the active one; None if there is no such.

    Raises:
        QueryError: The search index declares none of that name.
    """
    if name is None:
        return index.active_embedding
    for embedding in index.embeddings:
        if embedding.name == name:
            return embedding
    raise QueryError(
        f"Search index {index.name!r} declares no embedding {name!r}.",
        hint="It declares " + (", ".join(e.name for e in index.embeddings) or "none") + ".",
    )


def query_vector(embedding: Embedding, query: str, given: Sequence[float] | None) -> str:
    """Return the query's vector as text, which every driver can send.

    Raises:
        QueryError: The one that is given does not fit.
        ModelError: None is given, and the model cannot make it.
    """
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
