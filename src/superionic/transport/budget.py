"""Errors of a conductivity that statistics do not hold, put beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from superionic.transport.estimate import LEVEL_68, LEVEL_95, student_quantile
from superionic.units import BOLTZMANN_EV_PER_K


@dataclass(frozen=True)
class TransferTerm:
    """What it adds that a student potential stands in for its teacher.

    Attributes
    ----------
    ln_sigma
        Standard deviation of ln σ at ``temperature_K``.
    Ea_eV
        Standard deviation of the activation energy, independent of it.
    temperature_K
        Where the two are independent: about the middle of the temperatures of the comparison.
    """

    ln_sigma: float
    Ea_eV: float
    temperature_K: float

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> TransferTerm:
        """Read the three numbers out of a mapping that may hold more."""
        return cls(float(values["ln_sigma"]), float(values["Ea_eV"]), float(values["temperature_K"]))

    def log_error(self, temperature_K: float) -> float:
        """Give the standard deviation of ln σ at a temperature; it grows away from where the two were compared."""
        lever = (1.0 / temperature_K - 1.0 / self.temperature_K) / BOLTZMANN_EV_PER_K
        return math.hypot(self.ln_sigma, self.Ea_eV * lever)


def widened(
    value: float, interval: tuple[float, float] | None, log_error: float, level: float
) -> tuple[float, float] | None:
    """Widen an interval of a positive number by an independent error of its logarithm, in quadrature.

    Parameters
    ----------
    value
        The number.
    interval
        Its interval; None stays None, and an open end stays open.
    log_error
        Standard deviation of the logarithm that comes on top.
    level
        Probability of the interval.
    """
    if interval is None or value <= 0.0:
        return interval
    extra = student_quantile(level, math.inf) * log_error
    low, high = interval
    if low > 0.0:
        low = value * math.exp(-math.hypot(math.log(value / low), extra))
    if math.isfinite(high):
        high = value * math.exp(math.hypot(math.log(high / value), extra))
    return low, high


LEVELS = {"interval68": LEVEL_68, "interval95": LEVEL_95}
"""Probabilities of the stated intervals by name."""
