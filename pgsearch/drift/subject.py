"""One search index under inspection: what the registry says, and what the catalogue has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

from psycopg.sql import SQL, Composable, Identifier, Literal

from pgsearch import resources
from pgsearch.declare import Embedding, Model
from pgsearch.definition import IndexDefinition, TextColumn, TypedColumn
from pgsearch.drift.finding import Finding, Mend

#: The digest at the end of a comment: the server's major version, and that of the text.
NOTE = re.compile(r" \[(\d+):([0-9a-f]+)\]$")

#: Runs a query, which has no parameters, and returns its rows.
Run: TypeAlias = Callable[[str], Sequence[Sequence[Any]]]


def ask(run: Run, file: str, **holes: Composable) -> Any:
    """Return what a query of `sql/drift/` finds: one value, written as JSON; None without a row."""
    rows = run(SQL(resources.sql(f"drift/{file}.sql")).format(**holes).as_string(None))
    return json.loads(rows[0][0]) if rows and rows[0][0] is not None else None


def literals(values: Sequence[str]) -> Composable:
    """Return texts for a list in SQL."""
    return SQL(", ").join(map(Literal, values))


@dataclass(frozen=True)
class Source:
    """The source table as it is now."""

    oid: int
    schema: str
    name: str
    is_in_place: bool
    has_children: bool
    has_before_update: bool
    #: Whether it has row-level security.
    is_secured: bool
    #: By number.
    columns: Mapping[int, str]
    #: Leaf partitions: their names by number.
    leaves: Mapping[int, str]
    triggers: Sequence[Mapping[str, Any]]

    @property
    def regclass(self) -> Composable:
        """The table in SQL, by its number."""
        return SQL("{}::oid::regclass").format(Literal(self.oid))

    def number(self, column: str) -> int | None:
        """Return the number of a column; None if there is none of that name."""
        return next((number for number, name in self.columns.items() if name == column), None)


def read_source(run: Run, definition: IndexDefinition) -> Source | None:
    """Return a search index's table, however it is called now; None if it is gone."""
    names = definition.names
    events = ("insert", "update", "delete", "truncate")
    found = ask(
        run,
        "source",
        schema_literal=Literal(definition.schema),
        reader_function=Literal(names.reader(definition.schema)),
        capture_function=Literal(names.capture),
        trigger_names=literals([names.trigger(event) for event in events]),
        table_name=Literal(quoted(definition.schema, definition.table)),
    )
    if found is None:
        return None
    for numbered in ("columns", "leaves"):
        found[numbered] = {int(n): name for n, name in (found[numbered] or {}).items()}
    return Source(**found | {"triggers": found["triggers"] or []})


@dataclass(frozen=True)
class Subject:
    """A search index under inspection.

    Args:
        definition: As it was made.
        state: Its row in the registry.
        source: Its table.
        parsed: What PostgreSQL has parsed of it, by name; see `sql/drift/parsed.sql`.
    """

    definition: IndexDefinition
    state: Mapping[str, Any]
    source: Source
    parsed: Mapping[str, Mapping[str, Any]]

    @cached_property
    def embeddings(self) -> dict[str, Embedding]:
        """Its embeddings by name."""
        return {e["name"]: embedding(e) for e in self.state["embeddings"] or ()}

    @property
    def active(self) -> str | None:
        """Name of the embedding that answers queries."""
        found = (e["name"] for e in self.state["embeddings"] or () if e["state"] == "active")
        return next(found, None)

    @cached_property
    def read_names(self) -> tuple[str, ...]:
        """The columns that triggers watch, as they were declared, in the triggers' order."""
        return (*(column.name for column in self.definition.key), *self.definition.read_columns)

    @cached_property
    def row_names(self) -> tuple[str, ...]:
        """The columns that are read of a row as they are, as they were declared, in order."""
        definition = self.definition
        texts = (text.name for text in definition.text if text.sql is None)
        language = () if definition.language_column is None else (definition.language_column,)
        return (*(column.name for column in definition.key), *texts, *language)

    @cached_property
    def column_names(self) -> dict[str, str]:
        """What the declared columns are called now; one that is gone is left out."""
        names = self.definition.names
        key, filters = self.definition.key, self.definition.filters
        filtered = tuple(dict.fromkeys(c.name for c in (*key, *filters)))
        declared = dict.fromkeys((*self.read_names, *filtered))
        found = {name: name for name in declared if self.source.number(name) is not None}
        for made, columns in (
            (names.filter, filtered),
            (names.read, self.row_names),
            (names.trigger("delete"), self.read_names),
            (names.trigger("insert"), self.read_names),
        ):
            numbers = self.numbers(made)
            if len(numbers) == len(columns):
                now = (self.source.columns[number] for number in numbers)
                found |= dict(zip(columns, now, strict=True))
        return found

    def numbered(self, declared: Sequence[str]) -> tuple[int | None, ...]:
        """Return the numbers of columns, given as they were declared."""
        return tuple(self.source.number(self.column_names[name]) for name in declared)

    def numbers(self, name: str) -> tuple[int, ...]:
        """Return the numbers of the table's columns that a parsed object names, in order."""
        return tuple((self.parsed.get(name) or {}).get("columns") or ())

    def is_edited(self, name: str, wanted: tuple[int | None, ...] | None) -> bool:
        """Return whether something parsed is known to differ from what was made.

        Args:
            name: Its name.
            wanted: Which columns it should name; None if nothing is known of that.
        """
        parsed = self.parsed.get(name)
        if parsed is None:
            return False  # a trigger without a condition
        now, note = parsed["digest"].split(":"), NOTE.search(parsed["comment"] or "")
        # Another version of PostgreSQL may write the same thing out in another way.
        if note is not None and note[1] == now[0] and note[2] != now[1]:
            return True
        return wanted is not None and self.numbers(name) != wanted

    @cached_property
    def gone(self) -> tuple[str, ...]:
        """Declared columns that the table has no more."""
        filters = (column.name for column in self.definition.filters)
        declared = dict.fromkeys((*self.read_names, *filters))
        return tuple(name for name in declared if name not in self.column_names)

    @cached_property
    def current(self) -> IndexDefinition | None:
        """The definition with the names of today and without what is gone, for an operation.

        None if no operation can bring the search index to it; `obstacle` says why.
        """
        if self.obstacle is not None:
            return None
        now = self.column_names

        def text(column: TextColumn) -> TextColumn:
            return column if column.sql else TextColumn(now[column.name], column.weight)

        definition = self.definition
        texts = [t for t in definition.text if not set(t.read) & set(self.gone)]
        heading = definition.chunking.heading
        renamed = {t.name: text(t).name for t in texts}
        return replace(
            definition,
            table=self.source.name,
            text=tuple(map(text, texts)),
            language_column=now.get(definition.language_column or ""),
            filters=tuple(
                TypedColumn(now[c.name], c.type) for c in definition.filters if c.name in now
            ),
            chunking=replace(definition.chunking, heading=renamed.get(heading or "")),
        )

    @cached_property
    def obstacle(self) -> str | None:
        """What keeps `op.alter_search_index` from mending anything, and what to do instead."""
        definition, now = self.definition, self.column_names
        for column in definition.key:
            if now.get(column.name) != column.name:
                return (
                    f"Its key column {column.name!r} is "
                    + (f"called {now[column.name]!r} by now" if column.name in now else "gone")
                    + ", and a search index cannot change its key: drop it and create it anew"
                    + (", or name the column back first." if column.name in now else ".")
                )
        for text in definition.expressions:
            for read in text.columns:
                if now.get(read, read) != read:
                    return (
                        f"The column {read!r} of the expression {text.name!r} is called "
                        f"{now[read]!r} by now: alter the search index with an expression that "
                        "says so."
                    )
        if all(set(text.read) & set(self.gone) for text in definition.text):
            return "None of its text columns is left: drop the search index."
        return None

    @property
    def shown(self) -> IndexDefinition:
        """The current definition, or else what it was made of, on the table of today."""
        return self.current or replace(self.definition, table=self.source.name)

    def finding(self, object_: str, problem: str, mend: Mend, **details: Any) -> Finding:
        """Return a finding about this search index."""
        if mend in (Mend.ALTER, Mend.REFILL) and self.obstacle is not None:
            mend, details = Mend.BY_HAND, {"hint": self.obstacle}
        if mend in (Mend.RECREATE, Mend.READD):
            details |= {"embeddings": tuple(self.embeddings.values()), "active": self.active}
        return Finding(self.shown, object_, problem, mend, **details)


def embedding(row: Mapping[str, Any]) -> Embedding:
    """Return an embedding from its row in the registry."""
    model = Model.from_json(row["model"])
    return Embedding(
        row["name"],
        model,
        m=row["m"],
        ef_construction=row["ef_construction"],
        # An older version of the registry has no place for it.
        type=row.get("vector_type", "vector"),
        index=row.get("index_type"),
    )


def quoted(schema: str, name: str) -> str:
    """Return a qualified name as PostgreSQL reads it."""
    return Identifier(schema, name).as_string(None)
