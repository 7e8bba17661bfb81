"""The operations that let roles ask a search index, and work on it, each with its reverse.

| operation          | reverse             |
| ------------------ | ------------------- |
| `op.grant_search`  | `op.revoke_search`  |
| `op.grant_worker`  | `op.revoke_worker`  |

What they give holds over every later operation on the search index but `op.drop_search_index`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from alembic.operations import MigrateOperation, Operations

from pgsearch.alembic.common import PgsearchOp
from pgsearch.alembic.execute import Reader, quoted, run
from pgsearch.names import IndexNames
from pgsearch.schema import grants as ddl
from pgsearch.schema.steps import Step


class GrantOp(PgsearchOp):
    """What the operations on one role have in common."""

    def __init__(self, index: str, role: str, *, schema: str | None = None) -> None:
        self.index = index
        self.role = role
        self.schema = schema

    def reverse(self) -> MigrateOperation:
        """Return the operation that undoes this one."""
        return _KINDS[type(self)].undone_by(self.index, self.role, schema=self.schema)


@Operations.register_operation("grant_search")
class GrantSearchOp(GrantOp):
    """Let a role ask a search index."""

    @classmethod
    def grant_search(
        cls, operations: Operations, index: str, role: str, *, schema: str | None = None
    ) -> None:
        """Give a role what it needs to ask a search index, and nothing else.

        That is to read documents and passages, and the columns of the key and of the filters,
        and to call the search function. Where the table has row-level security, the role finds
        the rows that it may see.

        Args:
            operations: Given by Alembic.
            index: The search index.
            role: The role, which must be there.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, role, schema=schema))


@Operations.register_operation("revoke_search")
class RevokeSearchOp(GrantOp):
    """Let a role no longer ask a search index."""

    @classmethod
    def revoke_search(
        cls, operations: Operations, index: str, role: str, *, schema: str | None = None
    ) -> None:
        """Take from a role what `grant_search` gave it, but for the use of the schema.

        Args:
            operations: Given by Alembic.
            index: The search index.
            role: The role.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, role, schema=schema))


@Operations.register_operation("grant_worker")
class GrantWorkerOp(GrantOp):
    """Let a role work on a search index."""

    @classmethod
    def grant_worker(
        cls, operations: Operations, index: str, role: str, *, schema: str | None = None
    ) -> None:
        """Give a role what `pgsearch worker` and `pgsearch sync` need, and nothing else.

        It does all but build HNSW indexes, for which a role must be a member of the owner; it
        leaves them to the owner's `pgsearch sync`. A worker reads all rows: a role that is under
        the table's row-level security is refused.

        Args:
            operations: Given by Alembic.
            index: The search index.
            role: The role, which must be there.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, role, schema=schema))


@Operations.register_operation("revoke_worker")
class RevokeWorkerOp(GrantOp):
    """Let a role no longer work on a search index."""

    @classmethod
    def revoke_worker(
        cls, operations: Operations, index: str, role: str, *, schema: str | None = None
    ) -> None:
        """Take from a role what `grant_worker` gave it, but for the use of the schema.

        Args:
            operations: Given by Alembic.
            index: The search index.
            role: The role.
            schema: The source table's schema.
        """
        operations.invoke(cls(index, role, schema=schema))


class _Kind(NamedTuple):
    """What makes an operation's steps, of schema, search index and role; and what undoes it."""

    steps: Callable[[str, str, str], list[Step]]
    undone_by: type[GrantOp]


_KINDS: Final[dict[type[GrantOp], _Kind]] = {
    GrantSearchOp: _Kind(ddl.grant_search, RevokeSearchOp),
    RevokeSearchOp: _Kind(ddl.revoke_search, GrantSearchOp),
    GrantWorkerOp: _Kind(ddl.grant_worker, RevokeWorkerOp),
    RevokeWorkerOp: _Kind(ddl.revoke_worker, GrantWorkerOp),
}


@Operations.implementation_for(GrantOp)
def _run(operations: Operations, operation: GrantOp) -> None:
    is_taken_away = isinstance(operation, (RevokeSearchOp, RevokeWorkerOp))
    schema = Reader(operations).index_schema(
        operation.index, operation.schema, or_dropped=is_taken_away
    )
    steps = _KINDS[type(operation)].steps(schema, operation.index, operation.role)
    run(operations, steps, uses=quoted(schema, IndexNames(operation.index).document))
