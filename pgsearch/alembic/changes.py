"""What brings one search index from what is registered to what is declared."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields

from alembic.operations import MigrateOperation
from alembic.util import CommandError

from pgsearch.alembic import embeddings as embedding_op
from pgsearch.alembic import operations as op
from pgsearch.alembic.mend import mends
from pgsearch.alembic.registered import Registered, Types
from pgsearch.alembic.reindex import ReindexEmbeddingOp
from pgsearch.declare import Embedding, SearchIndex
from pgsearch.definition import IndexDefinition
from pgsearch.drift import Finding, Mend
from pgsearch.schema.index import TEMPLATE_VERSION

log = logging.getLogger(__name__)


def created(
    definition: IndexDefinition, embeddings: Iterable[Embedding], default_schema: str
) -> list[MigrateOperation]:
    """Return what creates a search index with its embeddings."""
    schema = _schema_argument(definition, default_schema)
    create = op.CreateSearchIndexOp.of(definition, schema)
    return [create, *(_added(definition.name, e, schema) for e in embeddings)]


def dropped(index: Registered, default_schema: str) -> list[MigrateOperation]:
    """Return what drops a search index with its embeddings: creating it, undone."""
    made = created(index.definition, index.embeddings.values(), default_schema)
    return [operation.reverse() for operation in reversed(made)]


def _schema_argument(definition: IndexDefinition, default_schema: str) -> str | None:
    return None if definition.schema == default_schema else definition.schema


def _added(index: str, embedding: Embedding, schema: str | None) -> MigrateOperation:
    if embedding.adopt is None:
        return embedding_op.AddEmbeddingOp(index, embedding, schema=schema)
    return embedding_op.AdoptEmbeddingOp(index, embedding, column=embedding.adopt, schema=schema)


@dataclass(frozen=True)
class Change:
    """One search index that is both declared and registered."""

    index: SearchIndex
    declared: IndexDefinition
    registered: Registered
    types: Types
    default_schema: str

    @property
    def _schema(self) -> str | None:
        return _schema_argument(self.declared, self.default_schema)

    def alter(self) -> op.AlterSearchIndexOp | None:
        """Return what changes the search index itself, if that is needed.

        Raises:
            CommandError: The key has changed, by which everything is kept.
        """
        before = self.types.comparable(self.registered.definition)
        after = self.types.comparable(self.declared)
        reasons = [
            f"{field.name} differs"
            for field in fields(IndexDefinition)
            if field.name != "key" and getattr(before, field.name) != getattr(after, field.name)
        ]
        if self.registered.template_version < TEMPLATE_VERSION:
            reasons.append("made by an earlier version of pgsearch")
        self._check_key(before, after, reasons)
        if not reasons:
            return None
        return op.AlterSearchIndexOp.of(
            self.types.written(self.declared),
            self._schema,
            before=self.types.written(self.registered.definition),
            reasons=reasons,
        )

    def _check_key(
        self, before: IndexDefinition, after: IndexDefinition, reasons: list[str]
    ) -> None:
        """Refuse another key; one that only has another name does until something else changes."""
        if before.key == after.key:
            return
        columns = {column.name for column in self.index.source_table.columns}
        pairs = zip(before.key, after.key, strict=False)
        gone = all(b.name == a.name or b.name not in columns for b, a in pairs)
        same = [column.type for column in before.key] == [column.type for column in after.key]
        if same and gone and not reasons:
            log.warning(
                "Search index %r goes on with the names that its key had when it was made: %s.",
                self.index.name,
                _columns(before),
            )
            return
        raise CommandError(
            f"Search index {self.index.name!r} is kept by the key {_columns(before)}, and the "
            f"table is declared with {_columns(after)}. A key cannot be changed in place: drop "
            "the search index before the change, and create it anew after it."
        )

    def embeddings(self) -> Iterator[MigrateOperation]:
        """Yield what brings the embeddings to their declaration.

        Raises:
            CommandError: An embedding has another model or precision than it was added with.
        """
        declared = {embedding.name: embedding for embedding in self.index.embeddings}
        for name, embedding in declared.items():
            known = self.registered.embeddings.get(name)
            if known is None and embedding.retired:
                continue  # nobody asks for it, and it has nothing
            if known is None:
                yield _added(self.index.name, embedding, self._schema)
            elif known.model != embedding.model:
                raise CommandError(
                    f"Embedding {name!r} of search index {self.index.name!r} is declared with "
                    "another model than it was added with. A model is never changed in place: "
                    "declare it as one more Embedding with a name of its own."
                )
            elif known.precision != embedding.precision:
                raise CommandError(
                    f"Embedding {name!r} of search index {self.index.name!r} is declared with "
                    f"{_precise(embedding)}, and was added with {_precise(known)}. That is never "
                    "changed in place, for searches go on meanwhile: declare it as one more "
                    "Embedding with a name of its own."
                )
            elif known != embedding:
                yield ReindexEmbeddingOp(
                    self.index.name,
                    name,
                    m=embedding.m,
                    ef_construction=embedding.ef_construction,
                    precision=embedding.precision,
                    schema=self._schema,
                    before=(known.m, known.ef_construction),
                    reasons=("HNSW parameters differ",),
                )
        yield from self._activated()
        yield from self._retired()
        for name, known in self.registered.embeddings.items():
            if name not in declared:
                yield embedding_op.DropEmbeddingOp(
                    self.index.name, name, schema=self._schema, embedding=known
                )

    def _retired(self) -> Iterator[MigrateOperation]:
        """Yield what retires embeddings and what restores them."""
        for embedding in self.index.embeddings:
            state = self.registered.states.get(embedding.name)
            if state is None or embedding.retired == (state == "retired"):
                continue
            change = (
                embedding_op.RetireEmbeddingOp
                if embedding.retired
                else embedding_op.RestoreEmbeddingOp
            )
            yield change(self.index.name, embedding.name, schema=self._schema)

    def _activated(self) -> Iterator[MigrateOperation]:
        """Yield the activation of the embedding declared active, if it can be activated."""
        index, wanted, active = self.index, self.index.active_embedding, self.registered.active
        if active is None or wanted is None or wanted.name == active:
            return  # a first embedding activates itself
        is_kept = active in {e.name for e in index.embeddings if not e.retired}
        if self.registered.states.get(wanted.name) == "ready":
            if index.active is not None or not is_kept:
                yield embedding_op.ActivateEmbeddingOp(
                    index.name, wanted.name, schema=self._schema, before=active
                )
            return
        if not is_kept:
            raise CommandError(
                f"Embedding {active!r} of search index {index.name!r} answers queries and is no "
                f"longer declared, or declared retired, and {wanted.name!r} is not ready to take "
                f"its place. Declare both, migrate, run `pgsearch sync`, and then remove or retire "
                f"{active!r}."
            )
        log.warning(
            "Embedding %r of search index %r is declared active but is not ready: this migration "
            "does not activate it. Run `pgsearch sync`, then generate the next one.",
            wanted.name,
            index.name,
        )


def mended(
    findings: Iterable[Finding], needed: Iterable[MigrateOperation], default_schema: str
) -> list[MigrateOperation]:
    """Return what changes a search index, and what mends it, each operation once.

    An alteration makes functions and triggers anew anyway; it only has to know whether changes
    may have been missed. So does a new build of an HNSW index.
    """
    changes, found = list(needed), list(findings)
    for finding in found:
        if finding.mend is Mend.BY_HAND:
            log.warning("%s. %s", finding, finding.hint)
    alter = next((o for o in changes if isinstance(o, op.AlterSearchIndexOp)), None)
    reindexed = {o.name for o in changes if isinstance(o, ReindexEmbeddingOp)}
    for mend in mends(found, default_schema=default_schema):
        if isinstance(mend, op.AlterSearchIndexOp) and alter is not None:
            alter.refill |= mend.refill
            alter.reasons += mend.reasons
        elif not isinstance(mend, ReindexEmbeddingOp) or mend.name not in reindexed:
            changes.append(mend)
    return changes


def _precise(embedding: Embedding) -> str:
    precision = embedding.precision
    return f"a column of {precision.type} and a graph of {precision.index}"


def _columns(definition: IndexDefinition) -> str:
    return "(" + ", ".join(f"{column.name} {column.type}" for column in definition.key) + ")"
