"""What comes back: entities, or rows, with what made them a hit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Select, Table, and_, select
from sqlalchemy.orm import Bundle

from pgsearch.declare import SearchIndex
from pgsearch.orm.statement import HIT_COLUMNS, PASSAGE_COLUMNS

if TYPE_CHECKING:
    from sqlalchemy.engine import Row
    from sqlalchemy.sql.selectable import TableValuedAlias


class Hit(NamedTuple):
    """What made a row, or a passage of it, a result.

    Attributes:
        score: By which results are ordered; comparable within one query only.
        keyword_score: BM25 of the document, 0 if no term is in it; None in mode "vector".
        keyword_rank: Its place in the keyword leg, None if it was not found there.
        similarity: Cosine similarity of its nearest passage, None without vectors and in mode
            "keyword".
        vector_rank: Its place in the vector leg, None if it was not found there.
        passage: The nearest passage, None if the document has no chunk yet.
        stale: Whether the passage is older than the row.
        snippet: The part of the passage that answers, where snippets were asked for: what was
            found is between <b> and </b>, and nothing is escaped.
        explanation: Why it is a hit, where that was asked for: see `search`.
        ordinal: Where passages were asked for: the number of this one in its document, from 0.
        passage_rank: Its place among the passages of its document.
        document_score: The score of its document, which is that of its nearest passage.
    """

    score: float
    keyword_score: float | None
    keyword_rank: int | None
    similarity: float | None
    vector_rank: int | None
    passage: str | None
    stale: bool
    snippet: str | None = None
    explanation: dict[str, object] | None = None
    ordinal: int | None = None
    passage_rank: int | None = None
    document_score: float | None = None


class _HitBundle(Bundle[Hit]):
    """Makes Hit tuples of a row's columns."""

    inherit_cache = True

    def create_row_processor(
        self,
        query: Any,  # noqa: ARG002
        procs: Sequence[Callable[[Row[Any]], Any]],
        labels: Sequence[str],
    ) -> Callable[[Row[Any]], Hit]:
        """Return what turns a row into a Hit."""

        def make(row: Row[Any]) -> Hit:
            return Hit(**dict(zip(labels, (process(row) for process in procs), strict=True)))

        return make


def select_hits(
    source: Any, table: Table, hits: TableValuedAlias, more: Sequence[ColumnElement[Any]] = ()
) -> Select[Any]:
    """Return the results as a Select: entities and hits, or the table's columns and the hit's.

    Args:
        source: What was searched, as it was named: a class, a table, or a search index.
        table: Its table.
        hits: The results of the search statement.
        more: Fields of a Hit that are not among them, labelled so.
    """
    key = [column.name for column in table.primary_key.columns]
    same_row = and_(*(table.c[name] == hits.c[name] for name in key))
    found: list[ColumnElement[Any]] = [hits.c[str(column.key)] for column in HIT_COLUMNS]
    order = [hits.c.score.desc().nulls_last(), *(hits.c[name] for name in key)]
    if "passage_rank" in hits.c:
        found += [hits.c[str(column.key)] for column in PASSAGE_COLUMNS]
        order.append(hits.c.passage_rank)
    found += more
    if isinstance(source, (Table, SearchIndex)):
        return cast("Select[Any]", select(table, *found).join(hits, same_row).order_by(*order))
    bundle = _HitBundle("hit", *found)
    return cast("Select[Any]", select(source, bundle).join(hits, same_row).order_by(*order))
