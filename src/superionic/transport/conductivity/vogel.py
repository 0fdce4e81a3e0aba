"""Whether an Arrhenius plot is curved as that of a glass is: the law of Vogel, Tammann and Fulcher."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.transport.conductivity.arrhenius import TINY_PROBABILITY, positive_series, weighted_line
from superionic.transport.estimate import Estimate
from superionic.units import BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]

FEWEST_POINTS: Final = 5
"""The law has three parameters; fewer than five temperatures hardly test it."""
SIGNIFICANT: Final = 0.01
"""Probability of chance below which curvature is significant."""
_GRID: Final = 200
_NEAREST: Final = 0.98  # T₀ stays below this share of the coldest temperature


@dataclass(frozen=True, eq=False)
class VogelFit:
    """σT, or D, as A·exp(−B/(T − T₀)): steeper on cooling, where a straight Arrhenius line is not (VTF).

    Attributes
    ----------
    T0_K, B_K, ln_prefactor
        Parameters, with ``…_error_K`` and ``ln_prefactor_error`` their standard errors.
    covariance
        (3, 3) of (ln_prefactor, B_K, T0_K).
    p_value
        Probability that a straight line with these errors looks as curved as this by chance (likelihood ratio against
        T₀ = 0, which bounds the range of T₀, hence half of χ² with one degree of freedom).
    significant
        Whether that is below 1 %.
    temperature_range_K
        Range of the points.
    """

    T0_K: float
    T0_error_K: float
    B_K: float
    B_error_K: float
    ln_prefactor: float
    ln_prefactor_error: float
    covariance: FloatArray
    p_value: float
    significant: bool
    temperature_range_K: tuple[float, float]

    @property
    def B_eV(self) -> float:
        """B times Boltzmann's constant: the activation energy far above T₀."""
        return self.B_K * BOLTZMANN_EV_PER_K

    def value_at(self, temperature_K: float) -> float | None:
        """Return σT, or D, at a temperature, in the unit of the points; None at and below T₀, where the law fails."""
        if temperature_K <= self.T0_K:
            return None
        return math.exp(self.ln_prefactor - self.B_K / (temperature_K - self.T0_K))

    @property
    def words(self) -> str:
        """Parameters in words."""
        return (
            f"T₀ = {self.T0_K:.0f} ± {self.T0_error_K:.0f} K, B = {self.B_K:.0f} ± {self.B_error_K:.0f} K "
            f"({self.B_eV:.2g} eV), ln A = {self.ln_prefactor:.3g} ± {self.ln_prefactor_error:.2g}"
        ).replace("-", "\N{MINUS SIGN}")


def vogel_fit(
    temperatures_K: Sequence[float] | FloatArray, values: Sequence[float] | FloatArray, log_errors: Sequence[float]
) -> VogelFit | None:
    """Fit ln y = ln A − B/(T − T₀) with T₀ ≥ 0, and test it against the straight line T₀ = 0.

    Parameters
    ----------
    temperatures_K
        (n,) temperatures; with fewer than five different ones the result is None.
    values
        (n,) positive σT, or D, in any unit.
    log_errors
        (n,) standard errors of their natural logarithms.

    Returns
    -------
    VogelFit or None
        None also where the plot does not curve this way: T₀ = 0 fits best.

    Raises
    ------
    AnalysisError
        For lists of different lengths, or numbers that are not positive.
    """
    T, y, sigma = positive_series(temperatures_K, values, log_errors)
    if len(np.unique(T)) < FEWEST_POINTS:
        return None
    ln = np.log(y)

    def chi2_at(T0: FloatArray | float) -> FloatArray:
        """Return χ² of the best straight line of ln y against 1/(T − T₀), at each T₀."""
        z = 1.0 / (T - np.asarray(T0)[..., None])
        z = z - np.average(z, axis=-1, weights=sigma**-2)[..., None]
        rest = ln - np.average(ln, weights=sigma**-2)
        slopes = np.sum(z * rest / sigma**2, axis=-1) / np.sum((z / sigma) ** 2, axis=-1)
        return np.asarray(np.sum(((rest - slopes[..., None] * z) / sigma) ** 2, axis=-1))

    T0_grid = np.linspace(0.0, _NEAREST * float(T.min()), _GRID)
    chi2 = chi2_at(T0_grid)
    best = int(np.argmin(chi2))
    low, high = T0_grid[max(best - 1, 0)], T0_grid[min(best + 1, _GRID - 1)]
    minimum = scipy.optimize.minimize_scalar(lambda T0: float(chi2_at(T0)), bounds=(low, high), method="bounded")
    T0 = float(minimum.x)
    (ln_A, B), _, least = weighted_line(np.stack([np.ones(len(T)), -1.0 / (T - T0)], axis=1), ln, sigma)
    fall = float(chi2[0]) - least
    if fall <= 0.0 or best == 0 or B <= 0.0:
        return None
    slopes = np.stack([np.ones(len(T)), -1.0 / (T - T0), -B / (T - T0) ** 2], axis=1) / sigma[:, None]
    covariance = np.linalg.pinv(slopes.T @ slopes, hermitian=True)
    free = len(T) - 3
    if least > free and float(scipy.special.chdtrc(free, least)) < TINY_PROBABILITY:
        covariance, fall = covariance * least / free, fall * free / least
    errors = np.sqrt(np.diag(covariance))
    p_value = 0.5 * float(scipy.special.chdtrc(1, fall))
    return VogelFit(
        T0_K=T0,
        T0_error_K=float(errors[2]),
        B_K=float(B),
        B_error_K=float(errors[1]),
        ln_prefactor=float(ln_A),
        ln_prefactor_error=float(errors[0]),
        covariance=cast(FloatArray, covariance),
        p_value=p_value,
        significant=p_value < SIGNIFICANT,
        temperature_range_K=(float(T.min()), float(T.max())),
    )


def vogel_fit_of_estimates(temperatures_K: Sequence[float], estimates: Sequence[Estimate]) -> VogelFit | None:
    """Fit estimates of σ as σT, leaving out upper bounds."""
    used = [
        (t, e.value * t, e.log_error)
        for t, e in zip(temperatures_K, estimates, strict=True)
        if e.value > 0.0 and math.isfinite(e.log_error) and e.log_error > 0.0
    ]
    if len(used) < FEWEST_POINTS:
        return None
    temperatures, values, errors = zip(*used, strict=True)
    return vogel_fit(list(temperatures), list(values), list(errors))
