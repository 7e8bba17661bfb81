"""The sync layer: a queue, a model, and chunks that follow their rows.

`Worker` does all of it; `Worker.drain` returns when nothing waits, `Worker.run` goes on.
"""

from __future__ import annotations

from pgsearch.sync.report import Progress, Report
from pgsearch.sync.worker import Worker

__all__ = ["Progress", "Report", "Worker"]
