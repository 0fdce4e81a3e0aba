"""Whether one Arrhenius line holds: a test for two regimes with different activation energies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.transport.conductivity.arrhenius import positive_series
from superionic.transport.estimate import Estimate
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]

FEWEST_POINTS = 5
"""Two lines that meet have four parameters; with fewer than five points no test is possible."""
SIGNIFICANT = 0.01
"""Probability of chance below which a break is significant."""
_DRAWS = 4000
_BREAKS_BETWEEN_POINTS = 8


@dataclass(frozen=True)
class SlopeBreak:
    """The best broken line, y = ln D (or ln σT) of two slopes that meet at a temperature, against a straight one.

    Attributes
    ----------
    temperature_K
        Temperature at which the two lines meet.
    Ea_below_eV, Ea_above_eV
        Activation energies below and above that temperature, with ``…_error_eV`` at the best break.
    p_value
        Probability that a straight line with these errors looks as broken as this by chance. This
        includes the search for the break: the same search is made on lines with random errors.
    significant
        Whether that is below 1 %.
    """

    temperature_K: float
    Ea_below_eV: float
    Ea_below_error_eV: float
    Ea_above_eV: float
    Ea_above_error_eV: float
    p_value: float
    significant: bool

    @property
    def flag(self) -> str | None:
        """Sentence for the reader; None where the break is not significant."""
        if not self.significant:
            return None
        return (
            f"The Arrhenius line breaks at {self.temperature_K:.0f} K: {self.Ea_below_eV:.2f} ± "
            f"{self.Ea_below_error_eV:.2f} eV below, {self.Ea_above_eV:.2f} ± {self.Ea_above_error_eV:.2f} eV above "
            f"(by chance in {100.0 * self.p_value:.2g} % of cases). Extrapolate with the points of one side only."
        )


def slope_break(
    temperatures_K: Sequence[float] | FloatArray, values: Sequence[float] | FloatArray, log_errors: Sequence[float]
) -> SlopeBreak | None:
    """Test a straight Arrhenius line against a broken one (as in Li3YCl6 where its lithium disorders).

    The statistic is the fall of χ² from the best straight to the best broken line, the break anywhere between the
    second temperature from either end. Its distribution has no closed form, since the break exists under only one of
    the hypotheses (Davies, Biometrika 74, 33 (1987)); it is sampled with a fixed seed.

    Parameters
    ----------
    temperatures_K
        (n,) temperatures; with fewer than five different ones the result is None.
    values
        (n,) positive D, or σT, in any unit.
    log_errors
        (n,) standard errors of their natural logarithms.

    Raises
    ------
    AnalysisError
        For lists of different lengths, or numbers that are not positive.
    """
    T, y, sigma = positive_series(temperatures_K, values, log_errors)
    x = 1.0 / (BOLTZMANN_EV_PER_K * T)
    inverse_kT = np.unique(x)
    if len(inverse_kT) < FEWEST_POINTS:
        return None
    steps = np.arange(_BREAKS_BETWEEN_POINTS) / _BREAKS_BETWEEN_POINTS
    inner = inverse_kT[1:-1]
    breaks = np.append((inner[:-1, None] + np.diff(inner)[:, None] * steps).ravel(), inner[-1])
    straight = _residual_maker([np.ones(len(x)), x], sigma)
    broken = [_residual_maker([np.ones(len(x)), x, np.maximum(x - b, 0.0)], sigma) for b in breaks]

    def falls(z: FloatArray) -> FloatArray:
        """Return the fall of χ² at each break; z is (n,) or (n, draws), in units of the errors."""
        whole = np.sum((straight @ z) ** 2, axis=0)
        return np.asarray(whole - np.array([np.sum((maker @ z) ** 2, axis=0) for maker in broken]))

    z = np.log(y) / sigma
    observed = falls(z)
    best = int(np.argmax(observed))
    chance = falls(np.random.default_rng(0).normal(size=(len(x), _DRAWS))).max(axis=0)
    p_value = float((1 + np.count_nonzero(chance >= observed[best])) / (1 + _DRAWS))
    if p_value < 2.0 / _DRAWS:  # too small to sample: χ² with one degree for the slope, one for the break
        p_value = min(p_value, float(scipy.special.chdtrc(2, float(observed[best]))) * len(inner))
    design = np.stack([np.ones(len(x)), x, np.maximum(x - breaks[best], 0.0)], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    _, above, change = covariance @ (design.T @ z)
    return SlopeBreak(
        temperature_K=1.0 / (BOLTZMANN_EV_PER_K * float(breaks[best])),
        Ea_below_eV=-float(above + change),
        Ea_below_error_eV=math.sqrt(float(covariance[1, 1] + 2.0 * covariance[1, 2] + covariance[2, 2])),
        Ea_above_eV=-float(above),
        Ea_above_error_eV=math.sqrt(float(covariance[1, 1])),
        p_value=p_value,
        significant=p_value < SIGNIFICANT,
    )


def slope_break_of_estimates(temperatures_K: Sequence[float], estimates: Sequence[Estimate]) -> SlopeBreak | None:
    """Test estimates of D or σT, leaving out upper bounds."""
    used = [
        (t, e.value, e.log_error)
        for t, e in zip(temperatures_K, estimates, strict=True)
        if e.value > 0.0 and math.isfinite(e.log_error) and e.log_error > 0.0
    ]
    if len(used) < FEWEST_POINTS:
        return None
    temperatures, values, errors = zip(*used, strict=True)
    return slope_break(list(temperatures), list(values), list(errors))


def _residual_maker(columns: list[FloatArray], sigma: FloatArray) -> FloatArray:
    """Return the matrix that projects weighted data onto the residuals of a fit of the columns."""
    q, _ = np.linalg.qr(np.stack(columns, axis=1) / sigma[:, None])
    return np.asarray(np.eye(len(sigma)) - q @ q.T)
