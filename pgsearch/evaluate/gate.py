"""What a comparison must show for an embedding to be activated, as in `ndcg10 >= -0.005`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pgsearch.errors import Error, LifecycleError

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}

_WRITTEN: Final = re.compile(r"\s*(\w+)\s*(>=|<=|>|<)\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*", re.ASCII)


@dataclass(frozen=True)
class Requirement:
    """A bound for a figure of a comparison.

    Args:
        figure: Its name, as in `ndcg10`; see `Comparison.figures`.
        relation: >=, <=, > or <.
        bound: The number.
    """

    figure: str
    relation: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read a requirement.

        Raises:
            Error: It is not written as one.
        """
        found = _WRITTEN.fullmatch(text)
        if found is None:
            raise Error(
                f"{text!r} is no requirement.", hint='Write one such as "ndcg10 >= -0.005".'
            )
        figure, relation, bound = found.groups()
        return cls(figure, relation, float(bound))

    def __str__(self) -> str:
        return f"{self.figure} {self.relation} {self.bound:g}"

    def value(self, figures: Mapping[str, float]) -> float:
        """Return the figure that is bounded.

        Raises:
            Error: The comparison has no such figure.
        """
        if self.figure not in figures:
            raise Error(
                f"The comparison has no figure {self.figure!r}.",
                hint=f"It has {', '.join(figures)}; ndcg, recall and mrr need judgements.",
            )
        return figures[self.figure]

    def holds(self, figures: Mapping[str, float]) -> bool:
        """Return whether a comparison meets it."""
        return _OPERATORS[self.relation](self.value(figures), self.bound)


def require(requirements: tuple[Requirement, ...], figures: Mapping[str, float]) -> None:
    """Raise LifecycleError unless a comparison meets all requirements."""
    missed = [each for each in requirements if not each.holds(figures)]
    if missed:
        said = "; ".join(f"{each} is required, it is {each.value(figures):+.4f}" for each in missed)
        raise LifecycleError(
            f"The comparison does not meet what is required: {said}.",
            hint="The active embedding goes on answering. Look at the queries that were answered "
            "most differently, require less, or drop the other one in a migration: "
            "op.drop_embedding.",
        )
