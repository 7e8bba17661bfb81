"""How good a ranking is, for one query, by the definitions that trec_eval uses.

A ranking is a sequence of document ids, best first, each once. Judgements give a
grade to document ids: 1 or more is relevant, 0 or less is not, and what was not
judged counts as not relevant. All results are from 0 to 1, and 0 for a query
that has no relevant document. The mean over queries is left to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from pgsearch.errors import Error

Id = TypeVar("Id", bound=Hashable)


def ndcg(ranked: Sequence[Id], relevant: Mapping[Id, int], k: int = 10) -> float:
    """Return the normalised discounted cumulative gain of the first `k` documents.

    The gain of a document is its grade, divided by log2(rank + 1); the sum is
    divided by that of the best ranking that all judgements allow.

    Raises:
        Error: `k` is below 1, or the ranking names a document twice.
    """
    found = _discounted([_gain(relevant, document) for document in _top(ranked, k)])
    grades = sorted((_gain(relevant, document) for document in relevant), reverse=True)
    ideal = _discounted(grades[:k])
    return found / ideal if ideal else 0.0


def recall(ranked: Sequence[Id], relevant: Mapping[Id, int], k: int) -> float:
    """Return which share of the relevant documents is among the first `k`.

    Raises:
        Error: `k` is below 1, or the ranking names a document twice.
    """
    wanted = sum(1 for document in relevant if _gain(relevant, document))
    found = sum(1 for document in _top(ranked, k) if _gain(relevant, document))
    return found / wanted if wanted else 0.0


def reciprocal_rank(ranked: Sequence[Id], relevant: Mapping[Id, int], k: int) -> float:
    """Return 1 / rank of the first relevant document, or 0 if none is among the first `k`.

    Raises:
        Error: `k` is below 1, or the ranking names a document twice.
    """
    for rank, document in enumerate(_top(ranked, k), start=1):
        if _gain(relevant, document):
            return 1 / rank
    return 0.0


def _top(ranked: Sequence[Id], k: int) -> Sequence[Id]:
    """Return the first `k` documents of a ranking that is one."""
    if k < 1:
        raise Error(f"A metric over the first {k} documents is not defined.", hint="Use k >= 1.")
    top = ranked[:k]
    if len(set(top)) < len(top):
        twice = next(document for document in top if list(top).count(document) > 1)
        raise Error(
            f"The ranking names the document {twice!r} twice.",
            hint="Rank documents, not passages: keep the first place of each.",
        )
    return top


def _gain(relevant: Mapping[Id, int], document: Id) -> int:
    """Return a document's grade, with 0 for a negative one and for one not judged."""
    return max(0, relevant.get(document, 0))


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))
