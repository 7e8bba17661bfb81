"""A search index written out in full: what migrations carry and the registry keeps.

A `SearchIndex` refers to a SQLAlchemy table; a definition stands on its own,
with the types of its columns, so that SQL can be rendered from it without the
application and, in Alembic's offline mode, without a database.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from pgsearch import names
from pgsearch.errors import DeclarationError

WEIGHTS = ("A", "B", "C", "D")
MAX_CHUNK_TOKENS = 8192


class TypedColumn(NamedTuple):
    """A column of the source table and its SQL type."""

    name: str
    type: str


class TextColumn(NamedTuple):
    """A text column of the source table and its tsvector weight, A to D."""

    name: str
    weight: str


@dataclass(frozen=True)
class Chunking:
    """How a document's text is cut into the passages that are embedded.

    Args:
        max_tokens: The longest chunk, heading included, in tokens of the model of
            the search index's first embedding.
        overlap: How many tokens neighbouring chunks share.
        heading: A text column put in front of every chunk, such as the title.
    """

    max_tokens: int = 256
    overlap: int = 32
    heading: str | None = None

    def __post_init__(self) -> None:
        if not 16 <= self.max_tokens <= MAX_CHUNK_TOKENS:
            raise DeclarationError(
                f"Chunking(max_tokens={self.max_tokens}) is outside 16 to {MAX_CHUNK_TOKENS}.",
                hint="Write the model's window or less, as in Chunking(max_tokens=256).",
            )
        if not 0 <= self.overlap <= self.max_tokens // 2:
            raise DeclarationError(
                f"Chunking(overlap={self.overlap}) is outside 0 to half of "
                f"max_tokens={self.max_tokens}.",
                hint=f"Write Chunking(max_tokens={self.max_tokens}, "
                f"overlap={self.max_tokens // 8}).",
            )


@dataclass(frozen=True)
class IndexDefinition:
    """A search index over one source table, complete and validated.

    Args:
        name: Name of the search index, and of its search function.
        schema: Schema of the source table and of everything made for it.
        table: Name of the source table.
        key: Its primary key, in order, with SQL types.
        text: Its text columns with their weights, in the order they are read.
        language: Text search configuration.
        filters: Columns that the search function takes as named parameters.
        chunking: How text is cut into passages.
    """

    name: str
    schema: str
    table: str
    key: tuple[TypedColumn, ...]
    text: tuple[TextColumn, ...]
    language: str = "english"
    filters: tuple[TypedColumn, ...] = ()
    chunking: Chunking = field(default_factory=Chunking)

    def __post_init__(self) -> None:
        self.names.check()
        names.check(self.schema, "schema")
        names.check(self.table, "table")
        names.check(self.language, "language")
        self._check_key()
        self._check_text()
        self._check_filters()

    def _check_key(self) -> None:
        if not self.key:
            raise DeclarationError(
                f"Search index {self.name!r}: table {self.table!r} has no primary key.",
                hint="Add one: every document is found by the key of its row.",
            )
        for column in self.key:
            names.check(column.name, "key column")
            if column.name in names.RESERVED_COLUMNS:
                raise DeclarationError(
                    f"Search index {self.name!r}: key column {column.name!r} has the name of a "
                    "column that pgsearch itself uses.",
                    hint=f"Rename the key column, for instance to '{self.table}_{column.name}'.",
                )

    def _check_text(self) -> None:
        if not self.text:
            raise DeclarationError(
                f"Search index {self.name!r} has no text columns.",
                hint='Name at least one, as in text={"title": "A", "body": "B"}.',
            )
        for column in self.text:
            names.check(column.name, "text column")
            if column.weight not in WEIGHTS:
                raise DeclarationError(
                    f"Search index {self.name!r}: text column {column.name!r} has the weight "
                    f"{column.weight!r}.",
                    hint="Write one of 'A', 'B', 'C' or 'D'.",
                )
        heading = self.chunking.heading
        if heading is not None and heading not in {column.name for column in self.text}:
            raise DeclarationError(
                f"Search index {self.name!r}: the heading {heading!r} is not a text column.",
                hint=f'Add it to the text columns, as in text={{"{heading}": "A", …}}.',
            )

    def _check_filters(self) -> None:
        seen: set[str] = set()
        for column in self.filters:
            names.check(column.name, "filter column")
            if column.name in names.RESERVED_PARAMETERS:
                raise DeclarationError(
                    f"Search index {self.name!r}: a filter column cannot be called "
                    f"{column.name!r}, for that name is taken in the search function.",
                    hint="Rename the column, or filter by it with `where` in the ORM call.",
                )
            if column.name in seen:
                raise DeclarationError(
                    f"Search index {self.name!r} names the filter {column.name!r} twice.",
                    hint="Name it once.",
                )
            seen.add(column.name)

    @property
    def names(self) -> names.IndexNames:
        """The names of the database objects of this search index."""
        return names.IndexNames(self.name)

    @property
    def body_columns(self) -> tuple[str, ...]:
        """The text columns that are cut into chunks: all but the heading."""
        return tuple(c.name for c in self.text if c.name != self.chunking.heading)

    def to_json(self) -> dict[str, Any]:
        """Return the definition as the registry keeps it."""
        return {
            "name": self.name,
            "schema": self.schema,
            "table": self.table,
            "key": [list(column) for column in self.key],
            "text": [list(column) for column in self.text],
            "language": self.language,
            "filters": [list(column) for column in self.filters],
            "chunking": asdict(self.chunking),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> IndexDefinition:
        """Read what `to_json` wrote."""
        return cls(
            name=value["name"],
            schema=value["schema"],
            table=value["table"],
            key=tuple(TypedColumn(*column) for column in value["key"]),
            text=tuple(TextColumn(*column) for column in value["text"]),
            language=value["language"],
            filters=tuple(TypedColumn(*column) for column in value["filters"]),
            chunking=Chunking(**value["chunking"]),
        )


#: What PostgreSQL's format_type and SQLAlchemy's compiler write for a type, and nothing else.
_TYPE = re.compile(r'[A-Za-z_"][\w" .]*(\(\d+(, ?\d+)?\))?[\w ]*(\[\])*', re.UNICODE)


def check_type(type_: str, what: str) -> str:
    """Return a SQL type's text if it can stand in DDL as it is, else raise DeclarationError."""
    if not _TYPE.fullmatch(type_):
        raise DeclarationError(
            f"The type {type_!r} of {what} is not one that pgsearch can write into SQL.",
            hint="Write it as PostgreSQL shows it, as in 'bigint' or 'character varying(20)'.",
        )
    return type_
