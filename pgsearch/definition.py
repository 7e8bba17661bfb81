"""A search index written out in full: what migrations carry and the registry keeps.

A `SearchIndex` refers to a SQLAlchemy table; a definition stands on its own,
with the types of its columns, so that SQL can be rendered from it without the
application and, in Alembic's offline mode, without a database.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from pgsearch import names
from pgsearch.errors import DeclarationError

WEIGHTS = ("A", "B", "C", "D")

#: What becomes of passages of a text that has changed, until its new ones are embedded: they are
#: found, and marked as stale in the result, or they are hidden.
STALE = ("serve", "hide")

MAX_CHUNK_TOKENS = 8192

#: Each filter is a parameter of the search functions at least, of which there can be a hundred.
MAX_FILTERS = 89


class TypedColumn(NamedTuple):
    """A column of the source table and its SQL type."""

    name: str
    type: str


class TextColumn(NamedTuple):
    """A text of the source table and its tsvector weight, A to D.

    Without `sql` it is the column of that name; with it, an SQL expression over `columns`.
    """

    name: str
    weight: str
    sql: str | None = None
    columns: tuple[str, ...] = ()

    @property
    def read(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.name,) if self.sql is None else self.columns


@dataclass(frozen=True)
class Expression:
    """An SQL expression over the columns of one row, to be indexed like a text column.

    Where it fails on a row, that text is absent and the server's log has a warning: the
    application's write does not fail.

    Args:
        sql: The expression, as in "payload ->> 'summary'"; its value is read as text.
        weight: Its tsvector weight, A to D.
        columns: The columns that it reads. Found by their names in `sql` where the table is
            known; Alembic's offline mode needs them.
    """

    sql: str
    weight: str
    columns: Sequence[str] = ()

    def text_column(self, name: str, known: Iterable[str] | None) -> TextColumn:
        """Return the expression under its name, with the columns that it reads.

        Args:
            name: What it is called in the search index.
            known: The columns of the table; None where they cannot be read.

        Raises:
            DeclarationError: It reads no column of the table.
        """
        columns = tuple(self.columns)
        if not columns and known is not None:
            columns = tuple(column for column in known if _names(self.sql, column))
        if not columns:
            raise DeclarationError(
                f"The expression {name!r} ({self.sql}) names no column of the table.",
                hint="Write those that it reads: "
                f"Expression({self.sql!r}, weight={self.weight!r}, columns=[…]).",
            )
        return TextColumn(name, self.weight, self.sql, columns)


def text_of(column: str, type_: str) -> str:
    """Return the SQL expression that reads a column of JSON, or an array, as text."""
    quoted = '"' + column.replace('"', '""') + '"'
    if type_.endswith("]"):
        return f"array_to_string({quoted}, ' ')"
    return f"pgsearch.json_text({quoted})"


def _names(sql: str, column: str) -> bool:
    """Return whether an expression may read a column: too often does no harm, too seldom would."""
    return re.search(rf"(?<!\w){re.escape(column)}(?!\w)", sql, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Chunking:
    """How a document's text is cut into the passages that are embedded.

    Args:
        max_tokens: The longest chunk, heading included, in tokens of the model of
            the search index's oldest embedding.
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
class BM25:
    """How keywords are ranked.

    Args:
        k1: How much more a word counts that is there more often, 0 or more: with 0 not at all.
        b: How much the length of a document counts, 0 to 1: with 0 not at all.
        weights: How often an occurrence counts in columns of a weight, as in {"A": 3.0}; once if it
            is not named. Columns of one weight must stand next to each other then.
    """

    k1: float = 1.2
    b: float = 0.75
    weights: Mapping[str, float] | tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        # In pairs, so that it can be hashed and compared.
        pairs = tuple(sorted((str(w), float(v)) for w, v in dict(self.weights).items() if v != 1))
        object.__setattr__(self, "weights", pairs)
        if not (0 <= self.k1 < math.inf and 0 <= self.b <= 1):
            raise DeclarationError(
                f"BM25(k1={self.k1}, b={self.b}): k1 must be 0 or more, and b from 0 to 1.",
                hint="Leave them out for k1=1.2, b=0.75.",
            )
        for weight, value in pairs:
            if weight not in WEIGHTS or not 0 <= value < math.inf:
                raise DeclarationError(
                    f"BM25 counts weight {weight!r} {value} times.",
                    hint="Name weights A, B, C or D with a number from 0, as in {'A': 3.0}.",
                )

    def weight(self, name: str) -> float:
        """Return how often an occurrence counts in columns of a weight."""
        return dict(self.weights).get(name, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return it as a migration and the registry keep it."""
        return {"k1": self.k1, "b": self.b, "weights": dict(self.weights)}


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
        language_column: A column that names a row's own configuration.
        filters: Columns that the search function takes as named parameters.
        chunking: How text is cut into passages.
        stale: What becomes of passages of a text that has changed; see `STALE`.
        notify: Whether a change wakes the workers that listen.
        bm25: How keywords are ranked.
    """

    name: str
    schema: str
    table: str
    key: tuple[TypedColumn, ...]
    text: tuple[TextColumn, ...]
    language: str = "english"
    filters: tuple[TypedColumn, ...] = ()
    chunking: Chunking = field(default_factory=Chunking)
    language_column: str | None = None
    stale: str = "serve"
    notify: bool = False
    bm25: BM25 = field(default_factory=BM25)

    def __post_init__(self) -> None:
        self.names.check()
        names.check(self.schema, "schema")
        names.check(self.table, "table")
        names.check(self.language, "language")
        if self.language_column is not None:
            names.check(self.language_column, "language column")
        self._check_key()
        self._check_text()
        self._check_weights()
        self._check_filters()
        if self.stale not in STALE:
            raise DeclarationError(
                f"Search index {self.name!r}: stale={self.stale!r} is neither 'serve' nor 'hide'.",
                hint="'serve' finds passages of a changed text, marked, until its new ones are "
                "embedded; 'hide' does not.",
            )

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
            if column.type.endswith("]") or column.type in ("int2vector", "oidvector"):
                raise DeclarationError(
                    f"Search index {self.name!r}: key column {column.name!r} is an array "
                    f"({column.type}), by which rows cannot be followed.",
                    hint="Give the table a key of plain values.",
                )

    def _check_text(self) -> None:
        if not self.text:
            raise DeclarationError(
                f"Search index {self.name!r} has no text columns.",
                hint='Name at least one, as in text={"title": "A", "body": "B"}.',
            )
        for column in self.text:
            names.check(column.name, "text column")
            for read in column.columns:
                names.check(read, "column of an expression")
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

    def _check_weights(self) -> None:
        """Raise unless columns of one weight stand together, where weights count differently."""
        order = [column.weight for column in self.text]
        groups = [w for n, w in enumerate(order) if n == 0 or order[n - 1] != w]
        if self.bm25.weights and len(groups) != len(set(groups)):
            raise DeclarationError(
                f"Search index {self.name!r}: BM25 counts weights differently, and columns of one "
                f"weight stand apart: {', '.join(order)}.",
                hint="Write text columns of the same weight next to each other.",
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
        if len(self.filters) > MAX_FILTERS:
            raise DeclarationError(
                f"Search index {self.name!r} has {len(self.filters)} filters; a function of "
                f"PostgreSQL has parameters for {MAX_FILTERS}.",
                hint="Filter by the others with `where` in the ORM call.",
            )

    @property
    def names(self) -> names.IndexNames:
        """The names of the database objects of this search index."""
        return names.IndexNames(self.name)

    @property
    def read_columns(self) -> tuple[str, ...]:
        """The columns besides the key on which a document depends."""
        language = () if self.language_column is None else (self.language_column,)
        texts = (column for text in self.text for column in text.read)
        return tuple(dict.fromkeys((*texts, *language)))

    @property
    def expressions(self) -> tuple[TextColumn, ...]:
        """The texts that are SQL expressions."""
        return tuple(column for column in self.text if column.sql is not None)

    @property
    def body_columns(self) -> tuple[str, ...]:
        """The text columns that are cut into chunks: all but the heading."""
        return tuple(c.name for c in self.text if c.name != self.chunking.heading)

    def to_json(self) -> dict[str, Any]:
        """Return the definition as the registry keeps it."""
        # Without what is not used, so that it equals what earlier versions wrote.
        defaults = {"language_column": None, "stale": "serve", "notify": False}
        used = {
            name: value for name in defaults if (value := getattr(self, name)) != defaults[name]
        }
        if self.bm25 != BM25():
            used["bm25"] = self.bm25.to_json()
        return used | {
            "name": self.name,
            "schema": self.schema,
            "table": self.table,
            "key": [list(column) for column in self.key],
            "text": [
                [t.name, t.weight] if t.sql is None else [t.name, t.weight, t.sql, [*t.columns]]
                for t in self.text
            ],
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
            text=tuple(
                TextColumn(name, weight, *(sql and (sql[0], tuple(sql[1]))))
                for name, weight, *sql in value["text"]
            ),
            language=value["language"],
            filters=tuple(TypedColumn(*column) for column in value["filters"]),
            chunking=Chunking(**value["chunking"]),
            language_column=value.get("language_column"),
            stale=value.get("stale", "serve"),
            notify=value.get("notify", False),
            bm25=BM25(**value.get("bm25", {})),
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
