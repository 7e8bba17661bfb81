"""Reconciliation: search indexes against their rows, from the data itself.

Triggers do not see everything: not what is written while they are disabled, nor under
`session_replication_role = replica`, nor by logical replication. So rows, documents, chunks and
vectors are compared, in the order of their keys.

    run        ranges of keys, one after the other; what seems wrong is looked at twice
    examine    what is there of some keys, against what their rows want
    vectors    vectors, against those that the model makes now
    repair     rows of the queue, for workers; how far it is
    report     what was found
"""

from __future__ import annotations

from pgsearch.sync.reconciliation.report import (
    Compared,
    Finding,
    Kind,
    ReconciledIndex,
    Reconciliation,
)
from pgsearch.sync.reconciliation.run import reconcile

__all__ = ["Compared", "Finding", "Kind", "ReconciledIndex", "Reconciliation", "reconcile"]
