"""What operations have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from alembic.operations import MigrateOperation

from pgsearch.alembic.execute import Reader
from pgsearch.definition import BM25, Chunking, Expression, IndexDefinition


class PgsearchOp(MigrateOperation):
    """What all operations have in common: how `alembic check` names them."""

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return the operation's class and what it is about, as `alembic check` prints it."""
        about = ("index", "name", "role", "version")
        values = [vars(self)[name] for name in about if name in vars(self)]
        return (type(self).__name__, *values)


class NothingOp(MigrateOperation):
    """The reverse of what mends something: nobody wants the damage back."""


class DefiningOp(PgsearchOp):
    """What the operations have in common that carry a whole definition."""

    def __init__(
        self,
        name: str,
        table: str,
        *,
        text: Mapping[str, str | Expression],
        key: Mapping[str, str] | None = None,
        language: str = "english",
        language_column: str | None = None,
        filters: Mapping[str, str] | Sequence[str] = (),
        chunking: Chunking | None = None,
        stale: str = "serve",
        bm25: BM25 | None = None,
        notify: bool = False,
        schema: str | None = None,
    ) -> None:
        self.name = name
        self.table = table
        self.text = dict(text)
        self.key = None if key is None else dict(key)
        self.language = language
        self.language_column = language_column
        self.filters = filters
        self.chunking = chunking or Chunking()
        self.stale = stale
        self.bm25 = bm25 or BM25()
        self.notify = notify
        self.schema = schema

    @classmethod
    def of(cls, definition: IndexDefinition, schema: str | None, **options: Any) -> Self:
        """Return the operation that carries a definition."""
        return cls(
            definition.name,
            definition.table,
            text={
                text.name: text.weight
                if text.sql is None
                else Expression(text.sql, weight=text.weight, columns=text.columns)
                for text in definition.text
            },
            key=dict(definition.key),
            language=definition.language,
            language_column=definition.language_column,
            filters=dict(definition.filters),
            chunking=definition.chunking,
            stale=definition.stale,
            bm25=definition.bm25,
            notify=definition.notify,
            schema=schema,
            **options,
        )

    def definition(self, reader: Reader) -> IndexDefinition:
        """Return the search index written out, with what the migration left out."""
        source = reader.source(self.table, self.schema)
        source.require([*self.filters, *([self.language_column] if self.language_column else [])])
        return IndexDefinition(
            name=self.name,
            schema=source.schema,
            table=self.table,
            key=source.key(self.key),
            text=source.texts(self.text),
            language=self.language,
            language_column=self.language_column,
            filters=source.typed(self.filters),
            chunking=self.chunking,
            stale=self.stale,
            bm25=self.bm25,
            notify=self.notify,
        )
