"""How every bench reports: measurements on standard output, progress on standard error.

A measurement is one line that is one JSON object:

    {"case": "scifact", "metric": "hybrid_ndcg10", "value": 0.716, "unit": "nDCG",
     "target": ">= 0.71", "holds": true}

`target` and `holds` are there where the measurement has a target.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pgsearch.errors import Error

if TYPE_CHECKING:
    from rich.progress import Progress

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
_TARGET = re.compile(r"(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)")

#: Decimals that are kept, so that what is printed is what is compared with the target.
_DECIMALS = 6


def report(
    case: str, metric: str, value: float, unit: str, target: str | None = None
) -> bool | None:
    """Print one measurement; return whether it meets its target, None if it has none.

    Args:
        case: What was measured, such as the name of a collection.
        metric: The name of the measurement.
        value: Its value, in `unit`; a finite number.
        unit: As in "ms", "rows" or "nDCG".
        target: What the value should be, as in ">= 0.64" or "< 30".

    Raises:
        Error: The target is not written in that way, or the value is not finite.
    """
    rounded = round(value, _DECIMALS)
    line: dict[str, object] = {"case": case, "metric": metric, "value": rounded, "unit": unit}
    holds = None
    if target is not None:
        holds = _meets(rounded, target)
        line |= {"target": target, "holds": holds}
    try:
        text = json.dumps(line, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise Error(f"The measurement {metric!r} of {case!r} is {value}.") from error
    print(text, flush=True)
    return holds


def _meets(value: float, target: str) -> bool:
    match = _TARGET.fullmatch(target)
    if match is None:
        raise Error(
            f"The target {target!r} cannot be read.",
            hint='Write a comparison and a number, as in ">= 0.64".',
        )
    return _COMPARISONS[match[1]](value, float(match[2]))


def progress() -> Progress:
    """Return a progress display on standard error, to be used in a `with` statement."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def percentile(values: Sequence[float], p: float) -> float:
    """Return the `p`-th percentile, 0 to 100, linear between the two nearest values.

    Raises:
        Error: There are no values, or `p` is outside 0 to 100.
    """
    if not values or not 0 <= p <= 100:
        raise Error(f"There is no percentile {p} of {len(values)} values.")
    ordered = sorted(values)
    position = (len(ordered) - 1) * p / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
