"""The encoder of queries that lives in the database: how it is made, and how it is kept.

A search function that gets a text and no vector adds up the vectors of the text's tokens
(`sql/index/encoder.sql`). What is here learns these vectors from the embedding's own model.
"""

from __future__ import annotations

from pgsearch.encoder.build import Distilled, Size, Step, distill
from pgsearch.encoder.store import Fidelity, outdated, switch_off

__all__ = ["Distilled", "Fidelity", "Size", "Step", "distill", "outdated", "switch_off"]
