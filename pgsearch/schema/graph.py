"""What an embedding's HNSW graph is over, by its declared precision."""

from __future__ import annotations

from typing import Final

from psycopg.sql import SQL, Composable, Literal

from pgsearch.precision import Precision

#: What a graph holds of a column, where that is not the column itself.
_COARSER: Final = {
    "halfvec": SQL("({column}::halfvec({dimensions}))"),
    "bit": SQL("(binary_quantize({column})::bit({dimensions}))"),
}

#: The same as a distance from a query's vector, wherever pgvector lies.
_COARSER_DISTANCES: Final = {
    "halfvec": SQL("pgsearch.half_distance({column}, {vector}, {dimensions})"),
    "bit": SQL("pgsearch.bit_distance({column}, {vector}, {dimensions})"),
}


def indexed(precision: Precision, column: Composable) -> Composable:
    """Return what the HNSW index is over: a column, or an expression in parentheses."""
    if not precision.is_coarse:
        return column
    dimensions = Literal(precision.dimensions)
    return _COARSER[precision.index].format(column=column, dimensions=dimensions)


def distance(precision: Precision, column: Composable, vector: Composable) -> Composable:
    """Return how far a column's vector is by a graph that is coarse, which then serves."""
    return _COARSER_DISTANCES[precision.index].format(
        column=column, vector=vector, dimensions=Literal(precision.dimensions)
    )
