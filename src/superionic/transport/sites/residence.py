"""Distribution of residence times on a kind of site, including stays that the run cuts off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_MOST_POINTS = 200
_Z95 = 1.959963984540054
_FEWEST_ENDED = 5


@dataclass(frozen=True, eq=False)
class StayDistribution:
    """Share of stays that last longer than a time.

    Stays that began before the run are left out; those that outlast it are censored at its end (E. L. Kaplan and P.
    Meier, J. Am. Stat. Assoc. 53, 457 (1958)).

    Attributes
    ----------
    times_ps, survival
        (n,) times at which stays ended, from 0, and S(t), the share that lasts longer.
    low95, high95
        (n,) 95 % interval of S, of ln(−ln S) by Greenwood's formula.
    median_ps, median95_ps
        Median length of a stay, infinite where S stays above one half, and its 95 % interval.
    shape, shape95
        Exponent k of a Weibull law S = exp(−(t/τ)^k) by maximum likelihood, and its 95 % interval: 1 for a
        memoryless process, below 1 where many stays are short (ions that jump back at once), above 1 where an ion has
        to wait. None with fewer than five completed stays.
    n_ended, n_cut
        Completed stays, and those cut off.
    """

    times_ps: FloatArray
    survival: FloatArray
    low95: FloatArray
    high95: FloatArray
    median_ps: float
    median95_ps: tuple[float, float]
    shape: float | None
    shape95: tuple[float, float] | None
    n_ended: int
    n_cut: int

    @classmethod
    def of(cls, lengths_ps: FloatArray, ended: NDArray[np.bool_]) -> StayDistribution | None:
        """Estimate from stays that began in the run, and whether they were completed; None if none was."""
        if not ended.any():
            return None
        times, deaths = np.unique(lengths_ps[ended], return_counts=True)
        ordered = np.sort(lengths_ps)
        at_risk = len(ordered) - np.searchsorted(ordered, times, side="left")
        survival = np.cumprod(1.0 - deaths / at_risk)
        with np.errstate(divide="ignore", invalid="ignore"):
            greenwood = np.cumsum(deaths / (at_risk * (at_risk - deaths)))
            spread = _Z95 * np.sqrt(greenwood) / np.abs(np.log(survival))
            low = np.where(survival > 0.0, survival ** np.exp(spread), 0.0)
            high = np.where(survival > 0.0, survival ** np.exp(-spread), np.nan)
        high = np.where(np.isnan(high), _before(np.asarray(high), np.asarray(survival)), high)
        times = np.concatenate([[0.0], times])
        curves = [np.concatenate([[1.0], each]) for each in (survival, low, high)]
        shape, shape95 = _weibull(lengths_ps, ended)
        stored = _stored(curves[0])
        return cls(
            times_ps=np.asarray(times[stored]),
            survival=np.asarray(curves[0][stored]),
            low95=np.asarray(curves[1][stored]),
            high95=np.asarray(curves[2][stored]),
            median_ps=_falls_below_half(times, curves[0]),
            median95_ps=(_falls_below_half(times, curves[1]), _falls_below_half(times, curves[2])),
            shape=shape,
            shape95=shape95,
            n_ended=int(ended.sum()),
            n_cut=int((~ended).sum()),
        )


def _before(high: FloatArray, survival: FloatArray) -> float:
    """Return the last finite upper end, for the end of the last stay, where S is zero without an error."""
    known = high[(survival > 0.0) & np.isfinite(high)]
    return float(known[-1]) if len(known) else 1.0


def _falls_below_half(times: FloatArray, curve: FloatArray) -> float:
    below = np.flatnonzero(curve <= 0.5)
    return float(times[below[0]]) if len(below) else math.inf


def _stored(survival: FloatArray) -> NDArray[np.int64]:
    """Return indices of points to store, spread evenly in S and in number, both ends included."""
    n = len(survival)
    if n <= _MOST_POINTS:
        return np.arange(n)
    by_number = np.round(np.linspace(0, n - 1, _MOST_POINTS // 2)).astype(np.int64)
    levels = np.linspace(1.0, float(survival[-1]), _MOST_POINTS // 2)
    by_level = np.minimum(np.searchsorted(-survival, -levels), n - 1)
    return np.unique(np.concatenate([by_number, by_level]))


def _weibull(lengths_ps: FloatArray, ended: NDArray[np.bool_]) -> tuple[float | None, tuple[float, float] | None]:
    """Return the maximum-likelihood exponent of censored stays, and its interval from the curvature of ln k."""
    from scipy.optimize import brentq

    positive = lengths_ps > 0.0
    x, completed = lengths_ps[positive], ended[positive]
    n = int(completed.sum())
    if n < _FEWEST_ENDED or float(np.ptp(np.log(x))) < 1e-9:
        return None, None
    logs = np.log(x / x.max())
    mean = float(logs[completed].mean())

    def slope(k: float) -> float:
        weights = np.exp(k * logs)
        return float(weights @ logs / weights.sum()) - mean - 1.0 / k

    try:
        k = float(brentq(slope, 1e-3, 1e3, xtol=1e-10))
    except ValueError:  # the likelihood has no maximum: all ends at one time
        return None, None
    weights = np.exp(k * logs)
    first, second = (float(weights @ logs**power / weights.sum()) for power in (1, 2))
    information = n * (1.0 + k * k * (second - first * first))  # −d²lnL/d(ln k)² at the maximum
    spread = math.exp(_Z95 / math.sqrt(information))
    return k, (k / spread, k * spread)
