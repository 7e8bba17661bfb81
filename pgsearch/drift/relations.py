"""Companion tables, their indexes, sequence and types, against what they should be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from pgsearch.declare import Embedding
from pgsearch.drift import expected
from pgsearch.drift.finding import Finding, Mend
from pgsearch.drift.subject import Run, Subject, ask, literals
from pgsearch.schema import graph
from pgsearch.schema.companions import CompanionIndex, companion_indexes
from pgsearch.schema.filters import filter_parameters

_STORAGES = {"p": "PLAIN", "e": "EXTERNAL", "m": "MAIN", "x": "EXTENDED"}

#: States of an embedding in which its HNSW index has to be there.
_INDEXED = ("ready", "active")


class Relations:
    """The relations of one search index, and the types that its columns should have."""

    def __init__(self, run: Run, subject: Subject) -> None:
        definition = subject.definition
        self._subject = subject
        self._tables = expected.tables(definition)
        self._types = expected.composite_types(definition)
        wanted = [c for table in self._tables for c in table.columns]
        wanted += [c for attributes in self._types.values() for c in attributes]
        types = {c.type for c in wanted} | {f.type for f in filter_parameters(definition)}
        names = definition.names
        relations = [*names.tables, names.generation, names.source, names.filter, *self._types]
        found = ask(
            run,
            "relations",
            schema_literal=Literal(definition.schema),
            names=literals(relations),
            types=literals(sorted(types)),
        )
        self._found: dict[str, dict[str, Any]] = found["relations"] or {}
        #: Numbers of the types that were asked for; None for one that is not there.
        self.types: Mapping[str, int | None] = found["types"]

    def get(self, name: str, kind: str) -> dict[str, Any] | None:
        """Return what there is of a relation of some kind, as in pg_class."""
        found = self._found.get(name)
        return found if found is not None and found["kind"] == kind else None

    def findings(self) -> Iterator[Finding]:
        """Yield what is wrong with them."""
        subject, names = self._subject, self._subject.definition.names
        for table in self._tables:
            found = self.get(table.name, "r")
            if found is None:
                # Nothing else is lost with the vectors of tokens, which are learned again.
                mend = Mend.ALTER if table.name == names.token else Mend.RECREATE
                yield subject.finding(f"table {table.name}", "is missing", mend)
            else:
                yield from self._table(table, found)
        yield from self._notify()
        if self.get(names.generation, "S") is None:
            yield subject.finding(f"sequence {names.generation}", "is missing", Mend.RECREATE)
        yield from self.composite_type(names.hit, Mend.RECREATE)
        yield from self.composite_type(names.passage, Mend.ALTER)
        yield from self.companion_indexes()
        for embedding in subject.embeddings.values():
            yield from self._embedding(embedding)

    def _notify(self) -> Iterator[Finding]:
        """Yield that the queue wakes nobody though it should, or the other way round."""
        definition = self._subject.definition
        queue = self.get(definition.names.queue, "r")
        if queue is None:
            return
        notifies = definition.names.notify in (queue["triggers"] or ())
        if notifies != definition.notify:
            yield self._subject.finding(
                f"trigger {definition.names.notify}",
                "wakes workers though notify is not declared" if notifies else "is missing",
                Mend.ALTER,
            )

    def composite_type(self, name: str, mend: Mend) -> Iterator[Finding]:
        """Yield what is wrong with a composite type.

        Args:
            name: Its name.
            mend: What mends it if it is missing.
        """
        found, attributes = self.get(name, "c"), self._types[name]
        if found is None:
            yield self._subject.finding(f"type {name}", "is missing", mend)
            return
        has = [column["name"] for column in found["columns"] or ()]
        wrong = [
            column["name"]
            for column, wanted in zip(found["columns"] or (), attributes, strict=False)
            if not self._is_type(column, wanted.type)
        ]
        wanted = [attribute.name for attribute in attributes]
        if has != wanted or wrong:
            # The last one of a hit is added where it is missing.
            is_short = name == self._subject.definition.names.hit and has == wanted[:-1]
            mend = Mend.ALTER if is_short and not wrong else Mend.RECREATE
            yield self._subject.finding(f"type {name}", "has other attributes", mend)

    def _table(self, table: expected.Table, found: Mapping[str, Any]) -> Iterator[Finding]:
        columns = {column["name"]: column for column in found["columns"] or ()}
        for wanted in table.columns:
            yield from self._column(table.name, wanted, columns.get(wanted.name))
        primary = [i["columns"] for i in found["indexes"] or () if i["is_primary"]]
        if primary != [list(table.primary_key)]:
            yield self._subject.finding(
                f"table {table.name}",
                f"has no primary key ({', '.join(table.primary_key)})",
                Mend.RECREATE,
            )
        options = found["options"] or {}
        wrong = {k: v for k, v in table.options.items() if options.get(k) != v}
        if wrong:
            yield self._subject.finding(
                f"table {table.name}",
                "has other storage parameters than " + _parameters(wrong),
                Mend.EXECUTE,
                statement=SQL("ALTER TABLE {} SET ({})")
                .format(self._qualified(table.name), SQL(_parameters(wrong)))
                .as_string(None),
            )

    def _column(
        self, table: str, wanted: expected.Column, found: Mapping[str, Any] | None
    ) -> Iterator[Finding]:
        subject, object_ = self._subject, f"column {wanted.name} of table {table}"
        if found is None:
            yield subject.finding(object_, "is missing", Mend.RECREATE)
            return
        if not self._is_type(found, wanted.type):
            problem = f"is of type {found['shown']}, not {wanted.type}"
            yield subject.finding(object_, problem, Mend.RECREATE)
            return
        yield from self._changed(table, wanted, found)

    def _changed(
        self, table: str, wanted: expected.Column, found: Mapping[str, Any]
    ) -> Iterator[Finding]:
        """Yield what a statement can mend of a column that has the right type."""
        object_ = f"column {wanted.name} of table {table}"
        alter = SQL("ALTER TABLE {} ALTER COLUMN {} ").format(
            self._qualified(table), Identifier(wanted.name)
        )
        for problem, change in _column_changes(wanted, found):
            statement = alter.as_string(None) + change
            if wanted.is_identity:
                hint = f"Start it above the largest queue_id: {statement}"
                yield self._subject.finding(object_, problem, Mend.BY_HAND, hint=hint)
            else:
                yield self._subject.finding(object_, problem, Mend.EXECUTE, statement=statement)

    def _is_type(self, column: Mapping[str, Any], wanted: str) -> bool:
        # A type that is not found is not on the search path: then it cannot be compared.
        number = self.types[wanted]
        return number is None or number in (column["type"], column["base"])

    def companion_indexes(self) -> Iterator[Finding]:
        """Yield which indexes of companion tables, but HNSW indexes, have to be built anew."""
        definition = self._subject.definition
        for wanted in companion_indexes(definition.name, [c.name for c in definition.key]):
            table = self.get(wanted.table, "r")
            if table is None:
                continue
            indexes = {index["name"]: index for index in table["indexes"] or ()}
            problem = _companion_problem(wanted, indexes.get(wanted.name))
            if problem is not None:
                yield self._subject.finding(f"index {wanted.name}", problem, Mend.REINDEX_KEYWORDS)

    def _embedding(self, embedding: Embedding) -> Iterator[Finding]:
        subject, definition = self._subject, self._subject.definition
        chunk = self.get(definition.names.chunk, "r")
        if chunk is None:
            return
        name = definition.names.embedding_column(embedding.name)
        object_ = f"column {name} of table {definition.names.chunk}"
        columns = {column["name"]: column for column in chunk["columns"] or ()}
        column = columns.get(name)
        if column is None:
            yield subject.finding(object_, "is missing", Mend.READD, embedding=embedding)
            return
        type_ = embedding.precision.column_type
        if column["shown"].rpartition(".")[2] != type_:
            problem = f"is of type {column['shown']}, not {type_}"
            yield subject.finding(object_, problem, Mend.READD, embedding=embedding)
            return
        wanted = expected.Column(name, embedding.type, is_required=False, storage="e")
        yield from self._changed(definition.names.chunk, wanted, column)
        (registered,) = (e for e in subject.state["embeddings"] if e["name"] == embedding.name)
        if registered["state"] in _INDEXED:
            indexes = {index["name"]: index for index in chunk["indexes"] or ()}
            index = indexes.get(registered["index_name"])
            if wrong := _hnsw_problem(embedding, name, index):
                yield subject.finding(
                    f"index {registered['index_name']}", wrong, Mend.REINDEX, embedding=embedding
                )

    def _qualified(self, name: str) -> Identifier:
        return Identifier(self._subject.definition.schema, name)


def _parameters(options: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items())


def _column_changes(wanted: expected.Column, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a column of the right type, and the change that mends it."""
    if wanted.is_required and not found["is_required"]:
        yield "may be NULL", "SET NOT NULL"
    if wanted.is_identity and not found["is_identity"]:
        yield "is no identity column", "ADD GENERATED ALWAYS AS IDENTITY (START WITH …)"
    if wanted.default is not None and found["default"] != wanted.default:
        yield f"has not the default {wanted.default}", f"SET DEFAULT {wanted.default}"
    if wanted.storage is not None and found["storage"] != wanted.storage:
        storage = _STORAGES[wanted.storage]
        yield f"has not the storage {storage}", f"SET STORAGE {storage}"
    if wanted.statistics is not None and found["statistics"] != wanted.statistics:
        yield (
            f"has not the statistics target {wanted.statistics}",
            f"SET STATISTICS {wanted.statistics}",
        )


def _companion_problem(wanted: CompanionIndex, found: Mapping[str, Any] | None) -> str | None:
    if found is None:
        return "is missing"
    option = wanted.option or (None, None)
    condition = (found["condition"] or "").strip("()") or None
    is_other = (
        found["method"] != wanted.method
        or found["columns"] != list(wanted.columns)
        or (found["options"] or {}).get(option[0]) != option[1]
        or condition != wanted.condition
        or found["is_unique"]
    )
    if is_other:
        return "is of another definition"
    return None if found["is_valid"] else "is INVALID"


def _over(found: Mapping[str, Any]) -> str:
    """Return what an index is over: its columns, or an expression in parentheses."""
    if found["expression"] is None:
        return ", ".join(found["columns"])
    # pgvector's names come with its schema where that is not on the search path.
    return "(" + re.sub(r'(?:"(?:[^"]|"")+"|\b\w+)\.', "", found["expression"]) + ")"


def _hnsw_problem(embedding: Embedding, column: str, found: Mapping[str, Any] | None) -> str | None:
    """Return what is wrong with an HNSW index."""
    if found is None:
        return "is missing"
    if found["method"] != "hnsw":
        return f"is a {found['method']} index, not hnsw"
    precision = embedding.precision
    # A column's name needs no quotes, and comes without.
    wanted_over = graph.indexed(precision, SQL(column)).as_string(None)
    if _over(found) != wanted_over or found["condition"] is not None:
        kind = "" if precision.is_coarse else "column "
        return f"is not over the whole {kind}{wanted_over}"
    if found["classes"] != [precision.operator_class]:
        classes = ", ".join(found["classes"])
        return f"has the operator class {classes}, not {precision.operator_class}"
    wanted = {"m": embedding.m, "ef_construction": embedding.ef_construction}
    has = {"m": 16, "ef_construction": 64}
    has |= {name: int(value) for name, value in (found["options"] or {}).items() if name in has}
    if has != wanted:
        return "was built with " + ", ".join(
            f"{name} = {has[name]}, not {wanted[name]}"
            for name in wanted
            if has[name] != wanted[name]
        )
    return None if found["is_valid"] else "is INVALID"
