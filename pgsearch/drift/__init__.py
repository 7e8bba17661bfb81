"""Drift: what a database has of its search indexes, against what pgsearch would make of them.

Somebody drops a trigger, edits a function, loses an index: `inspect` finds it in the catalogue and
says which operation mends it. It only reads.
"""

from pgsearch.drift.finding import Finding, Mend
from pgsearch.drift.inspection import Inspected, Inspection, inspect
from pgsearch.drift.subject import Run

__all__ = ["Finding", "Inspected", "Inspection", "Mend", "Run", "inspect"]
