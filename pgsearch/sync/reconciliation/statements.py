"""The statements of one search index's reconciliation, composed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal, Placeholder

from pgsearch import resources
from pgsearch.registry import RegisteredEmbedding
from pgsearch.schema.templates import columns, key_names, sql_type
from pgsearch.sync.statements import Statements


@dataclass(frozen=True)
class ReconcileStatements(Statements):
    """More SQL for one search index; keys travel as in `Statements`."""

    @cached_property
    def _more_holes(self) -> dict[str, Composable]:
        definition = self.definition
        key = key_names(definition)
        texts = [f"text_{number}" for number in range(len(definition.text))]
        weights = "{" + ",".join(column.weight for column in definition.text) + "}"
        return self._holes | {
            "seen_key": columns(key, "seen"),
            "seen_key_texts": SQL(", ").join(
                SQL("{}::text").format(Identifier("seen", name)) for name in key
            ),
            "gone_key": columns(key, "gone"),
            "text_arrays": SQL(", ").join(
                SQL("{}::text[]").format(Placeholder(f"texts_{number}"))
                for number in range(len(texts))
            ),
            "texts": SQL(", ").join(Identifier("given", name) for name in texts),
            "text_names": SQL(", ").join(map(Identifier, texts)),
            "weights": SQL('{}::"char"[]').format(Literal(weights)),
        }

    def _reconcile(self, name: str, **holes: Composable) -> Composed:
        template = SQL(resources.sql(f"reconcile/{name}.sql"))
        return template.format(**self._more_holes, **holes)

    def keys(self, *, resumed: bool) -> Composed:
        """Read the next keys: `rows`; resumed, the key before as `after_0`, … → key."""
        after = SQL(", ").join(
            SQL("{}::text::{}").format(Placeholder(f"after_{position}"), sql_type(column.type))
            for position, column in enumerate(self.definition.key)
        )
        conditions = {
            f"after_{alias}": SQL("({}) > ({})").format(self._more_holes[f"{alias}_key"], after)
            if resumed
            else SQL("true")
            for alias in ("source", "document", "chunk")
        }
        return self._reconcile("keys", **conditions)

    @cached_property
    def facts(self) -> Composed:
        """Read keys' rows and documents: `bytes`.

        → place, size, texts if they have no more bytes, configuration, generation, length,
        whether truncated, digest of the tsvector
        """
        return self._reconcile("facts")

    def chunk_states(self, embeddings: tuple[RegisteredEmbedding, ...], *, zeros: bool) -> Composed:
        """Read keys' chunks: → place, ordinal, generation, hash, whether it holds, states.

        The state of a vector is `missing`, `zero` (with `zeros`) or NULL.
        """
        zero = SQL(" WHEN vector_norm(chunk.{}::vector) = 0 THEN 'zero'") if zeros else SQL("")
        states = [
            SQL("CASE WHEN chunk.{} IS NULL THEN 'missing'{} END").format(
                column := Identifier(embedding.column), zero.format(column)
            )
            for embedding in embeddings
        ]
        return self._reconcile("chunks", states=SQL(", ").join(states))

    @cached_property
    def orphans(self) -> Composed:
        """Count keys' chunks: → place, count, ordinals below zero with their generations."""
        return self._reconcile("orphans")

    @cached_property
    def queued(self) -> Composed:
        """Ask which keys are in the queue: → place, NULL for all, and whether they are parked."""
        return self._reconcile("queue")

    @cached_property
    def expected(self) -> Composed:
        """Say what documents should be: `configurations`, `texts_0`, …

        → digest of the tsvector, length, whether truncated, in the order of the texts
        """
        return self._reconcile("expected")

    def wrong_vectors(self, embedding: str) -> Composed:
        """Compare vectors: keys, `ordinals`, `hashes`, `vectors`, `distance` → places."""
        return self._reconcile("wrong_vectors", column=Identifier(embedding))

    def clear_vectors(self, embedding: str) -> Composed:
        """Take wrong vectors away and ask for others: `hashes`, `vectors`, `distance` → count."""
        return self._reconcile("clear_vectors", column=Identifier(embedding))

    @cached_property
    def remove_chunks(self) -> Composed:
        """Remove chunks: keys, `ordinals`, `generations`."""
        return self._reconcile("remove_chunks")

    @cached_property
    def ask(self) -> Composed:
        """Ask for keys: `anew`, whether the document has to be written, too."""
        return self._reconcile("ask")

    @cached_property
    def size(self) -> Composed:
        """Say about how many rows there are: → count."""
        return self._reconcile("size")
