"""The indexes of a search index's companion tables, and how they are built anew."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg.sql import SQL, Composed, Identifier

from pgsearch.names import IndexNames
from pgsearch.schema.steps import Step
from pgsearch.schema.swap import Swap


@dataclass(frozen=True)
class CompanionIndex:
    """An index over a companion table, other than its primary key and the HNSW indexes.

    Args:
        name: Its name.
        table: The companion table.
        method: Its access method.
        columns: Its columns.
        option: A storage parameter, as in `gin_pending_list_limit = 2048`.
        condition: Which rows are in it; all of them if None.
    """

    name: str
    table: str
    method: str
    columns: tuple[str, ...]
    option: tuple[str, str] | None = None
    condition: str | None = None

    @property
    def new_name(self) -> str:
        """The name under which it is built beside the old one."""
        return self.name.removesuffix("idx") + "new"

    def rebuilt(self, schema: str) -> list[Step]:
        """Return the steps that build it anew beside the old one."""
        old = self.name.removesuffix("idx") + "old"
        swap = Swap(schema, self.name, new=self.new_name, old=old)
        return swap.steps(self.create(schema).as_string(None))

    def create(self, schema: str) -> Composed:
        """Return the statement that builds it under its new name, CONCURRENTLY."""
        parts = [
            SQL("CREATE INDEX CONCURRENTLY {} ON {} USING {} ({})").format(
                Identifier(self.new_name),
                Identifier(schema, self.table),
                SQL(self.method),
                SQL(", ").join(map(Identifier, self.columns)),
            )
        ]
        if self.option is not None:
            parts.append(SQL("WITH ({} = {})").format(*map(SQL, self.option)))
        if self.condition is not None:
            parts.append(SQL("WHERE {}").format(SQL(self.condition)))
        return SQL(" ").join(parts)


def companion_indexes(index: str, key: Sequence[str]) -> tuple[CompanionIndex, ...]:
    """Return the indexes that a search index has beside its tables' primary keys.

    Args:
        index: The search index.
        key: Its key columns.
    """
    names = IndexNames(index)
    return (
        CompanionIndex(
            names.document_tsv_index,
            names.document,
            "gin",
            ("tsv",),
            ("gin_pending_list_limit", "2048"),
        ),
        CompanionIndex(names.chunk_hash_index, names.chunk, "btree", ("content_hash",)),
        CompanionIndex(
            names.queue_key_index, names.queue, "btree", tuple(key), condition="attempts > 0"
        ),
    )


def reindex_search_index(
    schema: str, index: str, key: Sequence[str], *, only: Collection[str] | None = None
) -> list[Step]:
    """Return the steps that build indexes of companion tables anew, beside the old ones.

    Whoever searches or writes meanwhile uses the old ones, where they are valid.

    Args:
        schema: The source table's schema.
        index: The search index.
        key: Its key columns.
        only: Names of the indexes that need it; all of them if None.
    """
    return [
        step
        for companion in companion_indexes(index, key)
        if only is None or companion.name in only
        for step in companion.rebuilt(schema)
    ]
