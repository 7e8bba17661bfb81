"""What the search function filters by: its parameters for each declared column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from psycopg.sql import SQL, Composed, Identifier

from pgsearch.definition import MAX_FILTERS, IndexDefinition
from pgsearch.names import MAX_BYTES


class FilterParameter(NamedTuple):
    """A parameter that narrows a search where it is given.

    Args:
        name: As in `tenant_id`, `tenant_id_in`.
        column: What it compares.
        type: Its own type, as SQL.
        condition: SQL with the holes `column` and `value`.
    """

    name: str
    column: str
    type: str
    condition: str

    def compares(self, value: Composed | SQL) -> Composed:
        """Return the condition on a row `source`."""
        return SQL(self.condition).format(column=Identifier("source", self.column), value=value)


#: Behind a column's name: how the parameter compares, and whether it takes an array.
_COMPARISONS = {
    "": ("{column} = {value}", False),
    "_in": ("{column} = ANY ({value})", True),
    "_min": ("{column} >= {value}", False),
    "_max": ("{column} <= {value}", False),
}


def filter_parameters(definition: IndexDefinition) -> tuple[FilterParameter, ...]:
    """Return the parameters for a search index's filters: equality, one of several, a range.

    Those for equality have the names of their columns. Of the others, one whose name is another
    column's is left out, and so is one whose name is too long for PostgreSQL; all of them are,
    where there would be more than a function can have.
    """
    parameters = tuple(_parameters(definition))
    if len(parameters) <= MAX_FILTERS:
        return parameters
    columns = {column.name for column in definition.filters}
    return tuple(parameter for parameter in parameters if parameter.name in columns)


def _parameters(definition: IndexDefinition) -> Iterator[FilterParameter]:
    columns = {column.name for column in definition.filters}
    for column in definition.filters:
        for suffix, (condition, is_array) in _COMPARISONS.items():
            name = column.name + suffix
            is_taken = suffix and (name in columns or len(name.encode()) > MAX_BYTES)
            # An array of arrays is an array: it could not be told from one value.
            if is_taken or (is_array and column.type.endswith("]")):
                continue
            type_ = f"{column.type}[]" if is_array else column.type
            yield FilterParameter(name, column.name, type_, condition)
