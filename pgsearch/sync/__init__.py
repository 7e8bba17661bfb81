"""The sync layer: a queue, a model, and chunks that follow their rows.

`Worker` does all of it; `Worker.drain` returns when nothing waits, `Worker.run` goes on.
`sync_once` is a drain for schedulers. `reconcile` compares all there is with its rows, and `retry`
lets rows be tried again on which a model failed.
"""

from __future__ import annotations

from pgsearch.sync.parked import Retried, retry
from pgsearch.sync.reconciliation import Reconciliation, reconcile
from pgsearch.sync.report import Left, Progress, Report
from pgsearch.sync.worker import Worker, sync_once

__all__ = [
    "Left",
    "Progress",
    "Reconciliation",
    "Report",
    "Retried",
    "Worker",
    "reconcile",
    "retry",
    "sync_once",
]
