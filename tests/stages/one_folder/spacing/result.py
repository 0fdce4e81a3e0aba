"""What the stage gives."""

from __future__ import annotations

from dataclasses import dataclass

from superionic.results.further import StageResult
from superionic.results.identity import Ordering


@dataclass(frozen=True)
class OrderingSpacing:
    """One ordering.

    Attributes
    ----------
    ordering, formula
        Its identity and reduced formula.
    shortest_A
        Shortest distance between two mobile ions, periodic images included.
    key
        Key of the task that measured it.
    """

    ordering: Ordering
    formula: str
    shortest_A: float
    key: str


@dataclass(frozen=True)
class SpacingResult(StageResult):
    """Shortest distances between mobile ions.

    Attributes
    ----------
    orderings
        The orderings that were measured, in the order of the ranking.
    """

    orderings: tuple[OrderingSpacing, ...]
