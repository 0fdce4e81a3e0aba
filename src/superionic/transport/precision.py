"""Statistical precision of a positive number, as one factor and one word."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Grade = Literal["firm", "fair", "thin"]

FIRM_FACTOR = 1.5
"""A 68 % interval whose ends are closer than this factor is firm."""
FAIR_FACTOR = 3.0
"""A wider one whose ends are closer than this is fair; any other, or one open at an end, is thin."""


@dataclass(frozen=True)
class Precision:
    """The width of a 68 % interval of a positive number.

    Attributes
    ----------
    factor
        Upper over lower end; None where an end is zero or infinite.
    """

    factor: float | None

    @property
    def grade(self) -> Grade:
        """The precision in one word."""
        if self.factor is None or self.factor >= FAIR_FACTOR:
            return "thin"
        return "fair" if self.factor >= FIRM_FACTOR else "firm"

    @property
    def words(self) -> str:
        """The precision in a few words, such as ``fair: factor 2.1``."""
        return f"{self.grade}: " + ("one-sided" if self.factor is None else f"factor {two_digits(self.factor)}")


def precision_of(interval68: tuple[float, float]) -> Precision:
    """Grade the 68 % interval of a positive number, in any unit."""
    low, high = interval68
    return Precision(high / low if low > 0.0 and math.isfinite(high) else None)


def two_digits(value: float) -> str:
    """Write a number with at least two significant digits, without an exponent between 0.001 and 100 000."""
    return f"{value:.0f}" if 100.0 <= abs(value) < 1.0e5 else f"{value:.2g}"
