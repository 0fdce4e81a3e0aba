"""The agreement of two rankings, and inference from an audit of the orderings that a ranking culled.

All functions take plain arrays; intervals are 95 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_BOOTSTRAPS = 1000
_LEVEL = 0.95


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its interval.

    Attributes
    ----------
    value
        Between -1 and 1; ``None`` where one of the two rankings consists only of ties.
    low, high
        Ends of the interval (percentile bootstrap over the structures).
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class RankCorrelations:
    """Spearman's rho and Kendall's tau-b of two rankings."""

    spearman: Correlation
    kendall: Correlation


def correlations(first: npt.ArrayLike, second: npt.ArrayLike, seed: int) -> RankCorrelations:
    """Return Spearman's rho and Kendall's tau-b of two sets of energies, with bootstrap intervals.

    Parameters
    ----------
    first, second
        Energies of the same structures, shape (n,).
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError("the two rankings must be of the same structures")
    if len(x) < 3 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return RankCorrelations(Correlation(None, None, None), Correlation(None, None, None))
    # A bootstrap sample is the number of times each structure was drawn; the first row is the original sample.
    rng = np.random.default_rng(seed)
    times = np.vstack([np.ones((1, len(x))), rng.multinomial(len(x), np.full(len(x), 1.0 / len(x)), _BOOTSTRAPS)])
    return RankCorrelations(_with_interval(_spearman(x, y, times)), _with_interval(_kendall(x, y, times)))


def _with_interval(values: FloatArray) -> Correlation:
    """Return the correlation of the first sample, with its interval from the others."""
    low, high = np.nanquantile(values[1:], [(1.0 - _LEVEL) / 2.0, (1.0 + _LEVEL) / 2.0])
    return Correlation(float(values[0]), float(low), float(high))


def _kendall(x: FloatArray, y: FloatArray, times: FloatArray) -> FloatArray:
    """Return Kendall's tau-b of each sample (row of ``times``); NaN where all of a sample are tied."""
    one, two = np.sign(x[:, None] - x[None, :]), np.sign(y[:, None] - y[None, :])

    def pairs(signs: FloatArray) -> FloatArray:
        total: FloatArray = ((times @ signs) * times).sum(axis=1)
        return total

    with np.errstate(invalid="ignore", divide="ignore"):
        tau: FloatArray = pairs(one * two) / np.sqrt(pairs(np.abs(one)) * pairs(np.abs(two)))
    return tau


def _spearman(x: FloatArray, y: FloatArray, times: FloatArray) -> FloatArray:
    """Return Spearman's rho of each sample (row of ``times``): the correlation of its ranks, ties at their mean."""

    def centred(values: FloatArray) -> FloatArray:
        below = (values[None, :] < values[:, None]) + 0.5 * (values[None, :] == values[:, None])
        ranks: FloatArray = times @ below.T
        mean: FloatArray = (ranks * times).sum(axis=1, keepdims=True) / len(values)
        return ranks - mean

    one, two = centred(x), centred(y)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho: FloatArray = (times * one * two).sum(axis=1) / np.sqrt(
            (times * one**2).sum(axis=1) * (times * two**2).sum(axis=1)
        )
    return rho


def overlap_of_lowest(first: npt.ArrayLike, second: npt.ArrayLike, count: int) -> float:
    """Return the share of the ``count`` lowest of one ranking that are among the ``count`` lowest of the other.

    Ties are broken by position. 1 where there are at most ``count`` structures.
    """
    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    most = min(count, len(x))
    lowest = [set(np.argsort(values, kind="stable")[:most].tolist()) for values in (x, y)]
    return len(lowest[0] & lowest[1]) / most if most else 1.0


def proportion_interval(hits: int, trials: int, population: int) -> tuple[float, float]:
    """Return an interval for how many of a population have a property that ``hits`` of ``trials`` drawn members have.

    The exact interval of Clopper and Pearson (Biometrika 26, 404 (1934)) for drawing without replacement: all numbers
    for which so many, or so few, hits have a probability above 2.5 %.

    Parameters
    ----------
    hits, trials
        Members with the property, and members drawn.
    population
        Members in all.

    Returns
    -------
    low, high
        Numbers of members with the property.
    """
    from scipy.stats import hypergeom

    if not 0 <= hits <= trials <= population:
        raise ValueError("0 ≤ hits ≤ trials ≤ population must hold")
    if trials == 0:
        return 0.0, float(population)
    numbers = np.arange(hits, population - (trials - hits) + 1)
    tail = (1.0 - _LEVEL) / 2.0
    enough = hypergeom.sf(hits - 1, population, numbers, trials) > tail
    few = hypergeom.cdf(hits, population, numbers, trials) > tail
    possible = numbers[enough & few]
    return float(possible.min()), float(possible.max())


def element_shift(
    differences_eV: Sequence[float], compositions: Sequence[Mapping[str, int]]
) -> tuple[dict[str, float], FloatArray]:
    """Remove from the differences between two energy scales the part that shifts per element explain.

    Two potentials may count energies from different zeros (raw DFT, corrected, fitted references). A shift for each
    element removes that; the remaining difference between two compositions is one of chemistry.

    Parameters
    ----------
    differences_eV
        Energy of the second minus the first potential, of whole cells, shape (n,), in eV.
    compositions
        Atoms of each element in each cell.

    Returns
    -------
    shifts, left
        Shift of each element in eV/atom (least squares, the smallest where the compositions leave it undetermined), and
        the remainder in eV/atom, shape (n,).
    """
    elements = sorted({symbol for composition in compositions for symbol in composition})
    counts = np.array([[float(composition.get(symbol, 0)) for symbol in elements] for composition in compositions])
    atoms = counts.sum(axis=1)
    per_atom = np.asarray(differences_eV, dtype=np.float64) / atoms
    shifts = np.linalg.lstsq(counts / atoms[:, None], per_atom, rcond=1e-10)[0]
    left: FloatArray = per_atom - (counts / atoms[:, None]) @ shifts
    return {symbol: float(value) for symbol, value in zip(elements, shifts, strict=True)}, left
