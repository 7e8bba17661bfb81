"""The statements of one search index's synchronisation, composed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import LiteralString

from psycopg import errors
from psycopg.sql import SQL, Composable, Composed, Identifier, Placeholder

from pgsearch import resources
from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition
from pgsearch.schema.templates import columns, definition_holes, key_names, sql_type


@dataclass(frozen=True)
class Statements:
    """SQL for one search index; parameters are named, keys are `key_0`, `key_1`, …

    Keys are text here, as PostgreSQL writes and reads it, and never values of Python: that would
    be another type, with fewer values, or none at all. Statements about many keys take one array
    of text per key column and answer with a key's place in it, from 1; those about one key take a
    text per column. It is the text that is cast, so that indexes on keys are used.

    Args:
        definition: The search index.
        version: Its version, as the registry has it.
        is_hashable: Whether all types of the key have a hash function; see `is_hashable`.
    """

    definition: IndexDefinition
    version: str = ""
    is_hashable: bool = True

    @cached_property
    def _holes(self) -> dict[str, Composable]:
        key = key_names(self.definition)
        holes = definition_holes(self.definition)
        holes |= {f"{alias}_key": columns(key, alias) for alias in ("queue", "wanted", "leased")}
        arrays = [
            SQL("{}::text[]::{}[]").format(Placeholder(f"key_{position}"), sql_type(column.type))
            for position, column in enumerate(self.definition.key)
        ]
        values = [
            SQL("{}::text::{}").format(Placeholder(f"key_{position}"), sql_type(column.type))
            for position, column in enumerate(self.definition.key)
        ]
        return holes | {
            "key_arrays": SQL(", ").join(arrays),
            "key_values": SQL(", ").join(values),
            "leased_key_texts": _each("first_value(leased.{}::text) OVER same", key),
            "chunk_key_texts": _each("chunk.{}::text", key),
        }

    def _compose(self, name: str, **holes: Composable) -> Composed:
        return SQL(resources.sql(f"sync/{name}.sql")).format(**self._holes, **holes)

    @cached_property
    def hold_tables(self) -> Composed:
        """Keep the source and the documents from being truncated until the transaction ends."""
        return self._compose("hold_tables")

    @cached_property
    def is_current(self) -> Composed:
        """Ask whether the search index is still what is known of it: `version` → boolean."""
        return self._compose("is_current")

    @cached_property
    def claim(self) -> Composed:
        """Lease due queue rows: `rows`, `lease_s` → id, key."""
        return self._compose("claim")

    @cached_property
    def read(self) -> Composed:
        """Read keys' texts: → place, generation, array of texts."""
        return self._compose("read")

    @cached_property
    def generations(self) -> Composed:
        """Read keys' generations: → place, generation."""
        return self._compose("generations")

    @cached_property
    def lock_keys(self) -> Composed:
        """Take the workers' locks of keys until the transaction ends: `seed`."""
        hashed = SQL("hash_record_extended(ROW({}), {})")
        if not self.is_hashable:
            hashed = SQL("hashtextextended(ROW({})::text, {})")
        number = hashed.format(self._holes["wanted_key"], Placeholder("seed"))
        return self._compose("lock_keys", number=number)

    @cached_property
    def keep_chunks(self) -> Composed:
        """Move unchanged chunks on: key, `generation`, `ordinals`."""
        return self._compose("keep_chunks")

    @cached_property
    def cut_chunks(self) -> Composed:
        """Remove the chunks with `ordinals`."""
        return self._compose("cut_chunks")

    @cached_property
    def cut_orphan(self) -> Composed:
        """Remove a document without a source row, if it has `generation`."""
        return self._compose("cut_orphan")

    @cached_property
    def clear(self) -> Composed:
        """Remove chunks without a document."""
        return self._compose("clear")

    @cached_property
    def done(self) -> Composed:
        """Delete queue rows: `ids`."""
        return self._compose("done")

    @cached_property
    def forget_failures(self) -> Composed:
        """Delete keys' queue rows that failed and are older than `newest`, an id for each key."""
        return self._compose("forget_failures")

    @cached_property
    def enqueue(self) -> Composed:
        """Ask for a key to be brought up to date."""
        return self._compose("enqueue")

    @cached_property
    def is_due(self) -> Composed:
        """Ask whether a queue row can be claimed: → boolean."""
        return self._compose("is_due")

    @cached_property
    def waiting(self) -> Composed:
        """Count queue rows that are neither parked nor put off: → count."""
        return self._compose("waiting")

    @cached_property
    def fail(self) -> Composed:
        """Count a failed attempt: `ids`, `error`, `max_attempts` → whether parked."""
        return self._compose("fail")

    @cached_property
    def release(self) -> Composed:
        """Give leases back: `ids`."""
        return self._compose("release")

    def chunks(self, embeddings: tuple[str, ...]) -> Composed:
        """Read keys' chunks: → place, ordinal, hash, for each embedding column if it is missing."""
        missing = [SQL("chunk.{} IS NULL").format(Identifier(column)) for column in embeddings]
        return self._compose("chunks", missing=SQL(", ").join(missing))

    def reuse(self, embedding: str) -> Composed:
        """Find vectors by content: `hashes` → hash, vector."""
        return self._compose("reuse", column=Identifier(embedding))

    def put_chunk(self, embeddings: tuple[str, ...]) -> Composed:
        """Write one chunk: key, `ordinal`, `content`, `content_hash`, `generation`, vectors.

        The vector of the n-th embedding column is `vector_n`, None to leave it as it is.
        """
        names = [Identifier(column) for column in embeddings]
        updates = [SQL(",\n  {0} = coalesce(excluded.{0}, old.{0})").format(name) for name in names]
        return self._compose(
            "put_chunk",
            columns=SQL("").join(SQL(", {}").format(name) for name in names),
            column_values=SQL("").join(
                SQL(", {}").format(Placeholder(f"vector_{n}")) for n in range(len(names))
            ),
            column_updates=SQL("").join(updates),
        )

    def unfilled(self, embedding: str, *, resumed: bool, singles: bool = False) -> Composed:
        """Read the next chunks without a vector: `rows`, and when resumed the last key, `ordinal`.

        → key, ordinal, hash, content, whether it is its document's only chunk (with `singles`)
        """
        after = SQL("({}, chunk.ordinal) > ({}, {})").format(
            self._holes["chunk_key"], self._holes["key_values"], Placeholder("ordinal")
        )
        return self._compose(
            "unfilled",
            column=SQL("chunk.{}").format(Identifier(embedding)),
            after=after if resumed else SQL("true"),
            is_single=self._is_single if singles else SQL("NULL"),
        )

    @property
    def _is_single(self) -> Composed:
        return SQL(
            "chunk.ordinal = 0 AND NOT EXISTS "
            "(SELECT FROM {} AS next WHERE ({}) = ({}) AND next.ordinal = 1)"
        ).format(
            self._holes["chunk"],
            columns(key_names(self.definition), "next"),
            self._holes["chunk_key"],
        )

    def fill_chunk(self, embedding: str) -> Composed:
        """Add a vector to a chunk: key, `ordinal`, `content_hash`, `vector`."""
        return self._compose("fill_chunk", column=Identifier(embedding))

    def adopt(self, table: str, column: str) -> Composed:
        """Read keys' vectors from a column of the source: `generation`, `dimensions`.

        → place, vector

        Args:
            table: The source table as `regclass` writes it.
            column: Its column.
        """
        read = self._holes["read"]
        key = [
            SQL("({}(source.*)).{}").format(read, Identifier(name))
            for name in key_names(self.definition)
        ]
        return self._compose(
            "adopt",
            current_table=_as_written(table),
            adopt_column=Identifier(column),
            read_key=SQL(", ").join(key),
        )

    def adopt_sample(self, table: str, column: str) -> Composed:
        """Read random rows' texts with such vectors: `generation`, `dimensions` → texts, vector."""
        return self._compose(
            "adopt_sample",
            current_table=_as_written(table),
            adopt_column=Identifier(column),
            drawn_key=_each("(drawn.entry).{}", key_names(self.definition)),
        )


def _each(template: LiteralString, names: tuple[str, ...]) -> Composed:
    """Return the same expression of each of some columns."""
    return SQL(", ").join(SQL(template).format(Identifier(name)) for name in names)


def _as_written(table: str) -> SQL:
    """Return a table's name as PostgreSQL has written it, for a statement with parameters."""
    return SQL(table.replace("%", "%%"))


def is_hashable(connection: Connection, definition: IndexDefinition) -> bool:
    """Return whether all types of a key have a hash function; most have, `money` has not.

    Keys that are equal have the same hash, also where their texts differ.
    """
    types = [SQL("NULL::{}").format(sql_type(column.type)) for column in definition.key]
    try:
        connection.execute(
            SQL("SELECT hash_record_extended(ROW({}), 0)").format(SQL(", ").join(types))
        )
    except errors.UndefinedFunction:
        return False
    return True
