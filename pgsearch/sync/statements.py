"""The statements of one search index's synchronisation, composed once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import LiteralString

from psycopg import errors
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal, Placeholder

from pgsearch import resources
from pgsearch.database import Connection
from pgsearch.definition import IndexDefinition
from pgsearch.schema.templates import columns, definition_holes, key_names, sql_type


@dataclass(frozen=True)
class Statements:
    """SQL for one search index; parameters are named, keys are `key_0`, `key_1`, …

    Keys are text here, as PostgreSQL writes and reads it, and never values of Python: that would
    be another type, with fewer values, or none at all. Statements about many keys take one array
    of text per key column and answer with a key's place in it, from 1. It is the text that is cast,
    so that indexes on keys are used.

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
        aliases = ("queue", "wanted", "leased", "kept", "gone", "put", "done", "found")
        holes |= {f"{alias}_key": columns(key, alias) for alias in aliases}
        texts = [
            SQL("{}::text[]").format(Placeholder(f"key_{position}", "b"))
            for position in range(len(key))
        ]
        arrays = [
            SQL("{}::{}[]").format(text, sql_type(column.type))
            for text, column in zip(texts, self.definition.key, strict=True)
        ]
        pairs = [SQL("{}, asked.{}").format(Literal(name), Identifier(name)) for name in key]
        return holes | {
            "key_arrays": SQL(", ").join(arrays),
            "key_text_arrays": SQL(", ").join(texts),
            "key_pairs": SQL(", ").join(pairs),
            "leased_key_texts": _each("first_value(leased.{}::text) OVER same", key),
            "range_key_pairs": SQL(", ").join(
                SQL("{}, range.{}").format(Literal(name), Identifier(name)) for name in key
            ),
            "range_key_descending": _each("range.{} DESC", key),
        }

    def _compose(self, name: str, **holes: Composable) -> Composed:
        return SQL(resources.sql(f"sync/{name}.sql")).format(**self._holes, **holes)

    @cached_property
    def hold_tables(self) -> Composed:
        """Keep the source and the documents from being truncated until the transaction ends."""
        return self._compose("hold_tables")

    @cached_property
    def hold_index(self) -> Composed:
        """Keep embeddings from being added until the transaction ends."""
        return self._compose("hold_index")

    @cached_property
    def has_embedding(self) -> Composed:
        """Ask whether the search index has an embedding: → boolean."""
        return self._compose("has_embedding")

    @cached_property
    def is_current(self) -> Composed:
        """Ask whether the search index is still what is known of it: `version` → boolean."""
        return self._compose("is_current")

    @cached_property
    def claim(self) -> Composed:
        """Lease due queue rows: `rows`, `below`, `lease`, `lease_s`, `max_lost`.

        → id, whether the document has to be rewritten, how often it was lost, whether it was
        parked instead, key
        """
        return self._compose("claim")

    @cached_property
    def rewrite(self) -> Composed:
        """Write keys' documents anew."""
        return self._compose("rewrite")

    @cached_property
    def read(self) -> Composed:
        """Read keys' texts: → place, generation, array of texts."""
        return self._compose("read")

    @cached_property
    def lock_keys(self) -> Composed:
        """Share the workers' lock of the search index and take those of keys: `seed`."""
        hashed = SQL("hash_record_extended(ROW({}), {})")
        if not self.is_hashable:
            hashed = SQL("hashtextextended(ROW({})::text, {})")
        number = hashed.format(self._holes["wanted_key"], Placeholder("seed"))
        return self._compose("lock_keys", number=number)

    @cached_property
    def keep_chunks(self) -> Composed:
        """Move unchanged chunks on: keys, `generations`, `ordinals`."""
        return self._compose("keep_chunks")

    @cached_property
    def cut_chunks(self) -> Composed:
        """Remove chunks: keys, `ordinals`."""
        return self._compose("cut_chunks")

    @cached_property
    def cut_orphans(self) -> Composed:
        """Remove documents without a source row that have `generations`: → their places."""
        return self._compose("cut_orphans")

    @cached_property
    def clear(self) -> Composed:
        """Remove chunks without a document."""
        return self._compose("clear")

    @cached_property
    def held(self) -> Composed:
        """Lock queue rows that are a claim's: `ids`, `lease` → id."""
        return self._compose("held")

    @cached_property
    def embeddings_left(self) -> Composed:
        """Count embeddings that are still there: `embeddings`, their ids → count."""
        return self._compose("embeddings_left")

    @cached_property
    def done(self) -> Composed:
        """Delete queue rows, and what failed before on keys that were written.

        `ids`, `lease`, `written`
        """
        return self._compose("done")

    @cached_property
    def is_due(self) -> Composed:
        """Ask whether a queue row can be claimed: `fresh`, `backfilled`, numbers to begin from.

        → for fresh changes and for backfills, whether one can, and the first that is not parked
        """
        return self._compose("is_due")

    @cached_property
    def waiting(self) -> Composed:
        """Count queue rows that are neither parked nor put off, up to `limit`: → count or estimate.

        They are counted from the numbers `fresh` and `backfilled` on.
        """
        return self._compose("waiting")

    @cached_property
    def rows_left(self) -> Composed:
        """Estimate how many rows a fill goes over: `refill` → count or NULL."""
        return self._compose("rows_left")

    @cached_property
    def backlog(self) -> Composed:
        """Count the rows of a backfill, up to `limit`: → count."""
        return self._compose("backlog")

    @cached_property
    def fail(self) -> Composed:
        """Count a failed attempt: `ids`, `lease`, `error`, `max_attempts` → whether parked."""
        return self._compose("fail")

    @cached_property
    def release(self) -> Composed:
        """Give leases back: `ids`, `lease`, `delay_s`."""
        return self._compose("release")

    @cached_property
    def renew(self) -> Composed:
        """Make leases last: `ids`, `lease`, `lease_s`."""
        return self._compose("renew")

    def current(self, embeddings: tuple[str, ...]) -> Composed:
        """Read what keys have now, a row for each chunk, and one for a key without chunks.

        → place, generation, ordinal, hash, for each embedding column if it is missing
        """
        missing = [SQL("chunk.{} IS NULL").format(Identifier(column)) for column in embeddings]
        return self._compose("current", missing=SQL(", ").join(missing))

    def reuse(self, *embeddings: str) -> Composed:
        """Find vectors by content, in the first of these columns: `hashes` → hash, vector."""
        columns_ = [Identifier(column) for column in embeddings]
        vector = SQL(", ").join(SQL("{}::vector").format(column) for column in columns_)
        has_vector = SQL(" OR ").join(SQL("{} IS NOT NULL").format(column) for column in columns_)
        return self._compose(
            "reuse",
            vector=SQL("coalesce({})").format(vector),
            has_vector=SQL("({})").format(has_vector),
        )

    def put_chunks(self, embeddings: tuple[str, ...]) -> Composed:
        """Write chunks: keys, `ordinals`, `contents`, `hashes`, `generations`, vectors.

        The vectors of the n-th embedding column are `vectors_n`.
        """
        numbered = range(len(embeddings))
        return self._compose(
            "put_chunks",
            columns=_listed(SQL("{}").format(Identifier(column)) for column in embeddings),
            put_columns=_listed(_comparable(n) for n in numbered),
            vector_names=_listed(Identifier(f"vector_{n}") for n in numbered),
            vector_arrays=_listed(_vectors(n) for n in numbered),
        )

    def fill_chunks(self, embeddings: tuple[str, ...]) -> Composed:
        """Give chunks vectors: keys, `ordinals`, `generations`, vectors as in `put_chunks`."""
        numbered = range(len(embeddings))
        return self._compose(
            "fill_chunks",
            column_updates=_listed(
                SQL("{} = {}").format(Identifier(column), _comparable(n))
                for n, column in enumerate(embeddings)
            ),
            vector_names=_listed(Identifier(f"vector_{n}") for n in numbered),
            vector_arrays=_listed(_vectors(n) for n in numbered),
        )

    def unfilled(self, embedding: str, *, resumed: bool) -> Composed:
        """Put the next keys that lack an embedding into the queue: `rows`; resumed, `after`.

        → the last key as JSON, NULL at the end, and how many keys there were
        """
        after = SQL("({}) > ({})").format(
            self._holes["chunk_key"],
            SQL(", ").join(
                SQL("(jsonb_populate_record(NULL::{}, {}::jsonb)).{}").format(
                    self._holes["document"], Placeholder("after"), Identifier(name)
                )
                for name in key_names(self.definition)
            ),
        )
        return self._compose(
            "unfilled", column=Identifier(embedding), after=after if resumed else SQL("true")
        )

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


def _listed(parts: Iterable[Composable]) -> Composed:
    """Return more members of a list, each behind a comma."""
    return SQL("").join(SQL(",\n  {}").format(part) for part in parts)


def _vectors(number: int) -> Composed:
    """Return the array of an embedding's vectors."""
    return SQL("{}::vector[]").format(Placeholder(f"vectors_{number}", "b"))


def _comparable(number: int) -> Composed:
    """Return an embedding's vector as it is written.

    Half precision would refuse very long vectors, and make very short ones zero.
    """
    return SQL("pgsearch.comparable({})").format(Identifier("put", f"vector_{number}"))


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
