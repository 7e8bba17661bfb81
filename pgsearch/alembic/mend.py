"""What mends drift, as operations for a migration."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from alembic.operations import MigrateOperation
from alembic.operations.ops import ExecuteSQLOp

from pgsearch.alembic import embeddings as embedding_op
from pgsearch.alembic import operations as op
from pgsearch.alembic.common import NothingOp
from pgsearch.alembic.reindex import ReindexEmbeddingOp
from pgsearch.definition import IndexDefinition
from pgsearch.drift import Finding, Mend
from pgsearch.schema.install import VERSION


class MendOp(MigrateOperation):
    """Several operations that mend one thing together; there is nothing to undo."""

    def __init__(self, operations: Sequence[MigrateOperation], reasons: Iterable[str]) -> None:
        self.operations = tuple(operations)
        self.reasons = tuple(reasons)

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one: nobody wants the damage back."""
        return NothingOp()

    def to_diff_tuple(self) -> tuple[Any, ...]:
        """Return what `alembic check` prints: the operations, and why they are needed."""
        return (*(part for o in self.operations for part in o.to_diff_tuple()), *self.reasons)


def mends(
    findings: Iterable[Finding],
    *,
    default_schema: str = "public",
    declared: Mapping[tuple[str, str], IndexDefinition] | None = None,
) -> list[MigrateOperation]:
    """Return the operations that mend what was found, each once and with its reasons.

    Args:
        findings: What `pgsearch.drift.inspect` has found.
        default_schema: The schema that operations need not name.
        declared: What search indexes are declared as, by schema and name. One that is not among
            them is brought to what it was made as.
    """
    found = list(findings)
    made: list[MigrateOperation] = []
    if any(finding.mend is Mend.INSTALL for finding in found):
        made.append(op.InstallOp(VERSION, before=VERSION - 1))
    made += _executed([finding for finding in found if finding.index is None])
    indexes = [(finding.index, finding) for finding in found if finding.index is not None]
    for index, group in groupby(indexes, key=lambda pair: pair[0]):
        wanted = (declared or {}).get((index.schema, index.name), index)
        schema = None if wanted.schema == default_schema else wanted.schema
        made += _Mending(wanted, schema, [finding for _, finding in group]).operations()
    return made


def _executed(findings: Iterable[Finding]) -> Iterator[MigrateOperation]:
    """Yield what runs the statements of findings."""
    found = [finding for finding in findings if finding.statement is not None]
    statements = dict.fromkeys(str(finding.statement) for finding in found)
    if statements:
        # Whoever comes after a statement that waits for a lock waits too.
        timeout = "SET LOCAL lock_timeout = '1s'"
        executed = (statement.replace(":", r"\:") for statement in statements)
        yield MendOp([*map(ExecuteSQLOp, [timeout, *executed])], map(str, found))


class _Mending:
    """What mends one search index."""

    def __init__(
        self, index: IndexDefinition, schema: str | None, findings: Sequence[Finding]
    ) -> None:
        self._index = index
        self._schema = schema
        self._findings = findings

    def _found(self, *mends: Mend) -> list[Finding]:
        return [finding for finding in self._findings if finding.mend in mends]

    def operations(self) -> Iterator[MigrateOperation]:
        """Yield the operations in the order in which they have to run."""
        if gone := self._found(Mend.REMOVE):
            yield MendOp([self._drop()], map(str, gone))
            return
        if lost := self._found(Mend.RECREATE):
            yield MendOp([self._drop(), *self._create(lost[0])], map(str, self._findings))
            return
        yield from _executed(self._findings)
        if altered := self._found(Mend.ALTER, Mend.REFILL):
            yield op.AlterSearchIndexOp.of(
                self._index,
                self._schema,
                refill=any(finding.mend is Mend.REFILL for finding in altered),
                reasons=[str(finding) for finding in altered],
            )
        if broken := self._found(Mend.REINDEX_KEYWORDS):
            yield op.ReindexSearchIndexOp(
                self._index.name,
                self._index.table,
                key=[column.name for column in self._index.key],
                schema=self._schema,
                reasons=[str(finding) for finding in broken],
            )
        yield from self._embeddings()

    def _drop(self) -> MigrateOperation:
        return op.DropSearchIndexOp(self._index.name, self._index.table, schema=self._schema)

    def _create(self, finding: Finding) -> Iterator[MigrateOperation]:
        name = self._index.name
        yield op.CreateSearchIndexOp.of(self._index, self._schema)
        for embedding in finding.embeddings:
            yield embedding_op.AddEmbeddingOp(name, embedding, schema=self._schema)
        yield from self._activated(finding)

    def _activated(self, finding: Finding) -> Iterator[MigrateOperation]:
        """Yield what lets the same embedding answer again; an only one does so by itself."""
        if finding.active is not None and len(finding.embeddings) > 1:
            yield embedding_op.ActivateEmbeddingOp(
                self._index.name, finding.active, schema=self._schema, when_ready=True
            )

    def _embeddings(self) -> Iterator[MigrateOperation]:
        lost = self._found(Mend.READD)
        for finding in lost:
            assert finding.embedding is not None
            name = self._index.name
            drop = embedding_op.DropEmbeddingOp(
                name, finding.embedding.name, deactivate=True, schema=self._schema
            )
            add = embedding_op.AddEmbeddingOp(name, finding.embedding, schema=self._schema)
            was_active = finding.embedding.name == finding.active
            activated = self._activated(finding) if was_active else ()
            yield MendOp([drop, add, *activated], [str(finding)])
        anew = {finding.embedding for finding in lost}
        for finding in self._found(Mend.REINDEX):
            if finding.embedding in anew:
                continue
            assert finding.embedding is not None
            yield ReindexEmbeddingOp(
                self._index.name,
                finding.embedding.name,
                m=finding.embedding.m,
                ef_construction=finding.embedding.ef_construction,
                precision=finding.embedding.precision,
                schema=self._schema,
                reasons=(str(finding),),
            )
