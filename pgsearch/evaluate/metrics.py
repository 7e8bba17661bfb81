"""How good a ranking is, for one query, by the definitions that trec_eval uses.

A ranking is a sequence of document ids, best first, each once. Judgements give a
grade to document ids: 1 or more is relevant, 0 or less is not, and what was not
judged counts as not relevant. All results are from 0 to 1, and 0 for a query
that has no relevant document. The mean over queries is left to the caller.
"""

from __future__ import annotations

import math
import random
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


def overlap(one: Sequence[Id], other: Sequence[Id], k: int = 10) -> float:
    """Return which share of the first `k` documents two rankings have in common, from 0 to 1.

    Where both are shorter than `k`, it is the share of the longer one; two empty ones are alike.

    Raises:
        Error: `k` is below 1, or a ranking names a document twice.
    """
    first, second = _top(one, k), _top(other, k)
    longest = max(len(first), len(second))
    return len(set(first) & set(second)) / longest if longest else 1.0


def rank_biased_overlap(one: Sequence[Id], other: Sequence[Id], p: float = 0.9) -> float:
    """Return how alike two rankings are, the first places counting most, from 0 to 1.

    It is the extrapolated measure of Webber, Moffat and Zobel (2010): the agreement at each depth,
    weighted by p to the power of the depth, taken to go on below the end as it was seen at the end.
    With p = .9 the first ten places make 86 % of it.

    Args:
        one: A ranking.
        other: Another one; it may be of another length.
        p: How patient the reader is, between 0 and 1.

    Raises:
        Error: A ranking names a document twice.
    """
    long, short = sorted((one, other), key=len, reverse=True)
    if not long:
        return 1.0
    long, short = _top(long, len(long)), short and _top(short, len(short))
    if not short:
        return 0.0
    common = 0
    seen: tuple[set[Id], set[Id]] = (set(), set())
    total, common_of_short = 0.0, 0
    for depth, document in enumerate(long, start=1):
        seen[0].add(document)
        common += document in seen[1]
        if depth <= len(short):
            seen[1].add(short[depth - 1])
            common += short[depth - 1] in seen[0]
            common_of_short = common
        agreement = common / depth
        if depth > len(short):
            agreement += common_of_short * (depth - len(short)) / (len(short) * depth)
        total += agreement * p**depth
    rest = (common - common_of_short) / len(long) + common_of_short / len(short)
    return (1 - p) / p * total + rest * p ** len(long)


def randomization_p(differences: Sequence[float], rounds: int = 10_000) -> float:
    """Return how likely differences at least as large are by chance, two-sided, above 0 to 1.

    Fisher's randomization test of paired values: were both systems alike, each difference might
    as well have had the other sign. The same differences give the same p.

    Args:
        differences: One per query, what one system has more than the other.
        rounds: How many assignments of signs are tried, at random.
    """
    changed = [value for value in differences if value]
    seen = abs(math.fsum(changed))
    if not changed or not seen:
        return 1.0
    draw = random.Random(len(changed))  # noqa: S311
    # Rounding must not make a sum smaller than itself.
    bound = seen * (1 - 1e-9)
    extreme = 0
    for _ in range(rounds):
        signs = draw.getrandbits(len(changed))
        total = 0.0
        for place, value in enumerate(changed):
            total += value if signs >> place & 1 else -value
        extreme += abs(total) >= bound
    return (extreme + 1) / (rounds + 1)


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
