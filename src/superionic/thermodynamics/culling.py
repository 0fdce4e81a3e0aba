"""Decide which orderings to abandon before they are fully relaxed, from plain numbers.

The energy of a partly relaxed ordering exceeds its relaxed energy by the fall still to come. How far orderings fall
is known from some that were drawn at random and fully relaxed (*pilots*); the spread of their falls is the noise of the
comparison, and nothing is culled within it. Successive halving itself is that of Jamieson and Talwalkar
(Proc. AISTATS 51, 240 (2016)).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_DEVIATIONS = 2.0
_BOOTSTRAPS = 1000
_FEW_BOOTSTRAPS = 400
_SAME_EV = 1.0e-6


@dataclass(frozen=True)
class Cut:
    """The result of one culling.

    Attributes
    ----------
    kept
        Whether each ordering survives, shape (n,).
    gaps_eV_per_atom
        Height of each energy above the last of the lowest ones required, shape (n,); negative below it.
    """

    kept: BoolArray
    gaps_eV_per_atom: FloatArray


def cut(energies_eV_per_atom: FloatArray, n_lowest: int, keep_fraction: float, margin_eV_per_atom: float) -> Cut:
    """Keep the lowest share, at least the number required, and everything within the margin above that.

    Parameters
    ----------
    energies_eV_per_atom
        Energies at the same rung, shape (n,).
    n_lowest
        Number of lowest orderings required in the end.
    keep_fraction
        Share that is kept even where the margin is small.
    margin_eV_per_atom
        Noise of the comparison.
    """
    energies = np.round(energies_eV_per_atom / _SAME_EV) * _SAME_EV  # ties by rounding keep the order of the listing
    order = np.argsort(energies, kind="stable")
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    gaps: FloatArray = energies - energies[order[min(n_lowest, len(order)) - 1]]
    least = max(n_lowest, int(np.ceil(keep_fraction * len(order) - 1e-9)))
    return Cut((place < least) | (gaps <= margin_eV_per_atom), gaps)


def noise_eV_per_atom(falls_eV_per_atom: FloatArray) -> float:
    """Return the noise of energies that still fall: two standard deviations of the falls, or the largest of them.

    Only orderings that fall farther than most can be culled wrongly, so the upper side counts.

    Parameters
    ----------
    falls_eV_per_atom
        Energy at the rung minus relaxed energy, of orderings drawn at random, shape (n,).
    """
    falls = np.asarray(falls_eV_per_atom, dtype=np.float64)
    if len(falls) < 2:
        return float("inf")
    return float(max(_DEVIATIONS * falls.std(ddof=1), falls.max() - np.median(falls), 0.0))


def expected_missed(
    left_to_fall_eV_per_atom: FloatArray, falls_eV_per_atom: Sequence[FloatArray], rungs: Sequence[int], seed: int
) -> tuple[float, float, float]:
    """Estimate how many of the culled orderings belong among the lowest ones, with a 95 % interval.

    A culled ordering belongs there if its energy still falls as far as it lies above that of the last of them. The
    probability is the upper tail of Student's t distribution of the falls of others from the same rung, which (unlike
    the falls themselves) extends beyond the largest fall observed.

    Parameters
    ----------
    left_to_fall_eV_per_atom
        Energy at which each was culled minus the relaxed energy of the last of the lowest orderings, shape (n,).
    falls_eV_per_atom
        For each rung the falls from there to full relaxation, of orderings drawn at random.
    rungs
        Rung at which each was culled.
    seed
        Seed of the bootstrap over the falls.

    Returns
    -------
    expected, low, high
        Numbers of orderings.
    """
    from scipy.stats import t

    heights, places = np.asarray(left_to_fall_eV_per_atom, dtype=np.float64), np.asarray(rungs, dtype=np.intp)
    rng = np.random.default_rng(seed)
    total, draws = 0.0, np.zeros(_BOOTSTRAPS)
    for rung in sorted(set(places.tolist())):
        here, falls = heights[places == rung], np.asarray(falls_eV_per_atom[rung], dtype=np.float64)
        n = len(falls)
        if n < 2:
            return float(len(heights)), 0.0, float(len(heights))
        samples = np.vstack([falls, rng.choice(falls, size=(_BOOTSTRAPS, n))])
        means, spreads = samples.mean(axis=1)[:, None], samples.std(axis=1, ddof=1)[:, None]
        width = np.maximum(spreads, _SAME_EV) * np.sqrt(1.0 + 1.0 / n)
        missed = t.sf((here[None, :] - means) / width, n - 1).sum(axis=1)
        total += float(missed[0])
        draws += missed[1:]
    low, high = np.quantile(draws, [0.025, 0.975])
    return total, float(min(low, total)), float(max(high, total))


def missed_by_prescreen(
    ranked_cheap: FloatArray,
    ranked_eV_per_atom: FloatArray,
    audited_cheap: FloatArray,
    audited_eV_per_atom: FloatArray,
    unseen_cheap: FloatArray,
    threshold_eV_per_atom: float,
    seed: int,
) -> tuple[float, float, float]:
    """Estimate how many of the orderings that a pre-screen left out belong among the lowest, with a 95 % interval.

    A line through all orderings of which both energies are known predicts the relaxed energy from that of the
    pre-screen, which may be on another scale. The scatter about it is taken from those that were screened out and drawn
    at random, since they are like the unseen ones; its upper tail is that of Student's t.

    Parameters
    ----------
    ranked_cheap, ranked_eV_per_atom
        Energies by the pre-screen, and relaxed energies by the ranking potential, of those that went on, shape (n,).
    audited_cheap, audited_eV_per_atom
        The same of the random sample of those screened out, shape (m,).
    unseen_cheap
        Energies by the pre-screen of the others screened out, shape (k,).
    threshold_eV_per_atom
        Relaxed energy of the last of the lowest orderings.
    seed
        Seed of the bootstrap over the scatter.

    Returns
    -------
    expected, low, high
        Numbers among the unseen.
    """
    if len(unseen_cheap) == 0:
        return 0.0, 0.0, 0.0
    x, y = np.concatenate([ranked_cheap, audited_cheap]), np.concatenate([ranked_eV_per_atom, audited_eV_per_atom])
    centre, spread = x.mean(), float(np.var(x))
    slope = float(np.mean((x - centre) * (y - y.mean()))) / spread if spread > 0.0 else 0.0

    def predicted(cheap: FloatArray) -> FloatArray:
        return np.asarray(y.mean() + slope * (cheap - centre))

    n, most = len(audited_cheap), float(len(unseen_cheap))
    if n < 2:
        return most, 0.0, most
    falls = predicted(audited_cheap) - audited_eV_per_atom
    left = predicted(unseen_cheap) - threshold_eV_per_atom
    rng = np.random.default_rng(seed)
    samples = np.vstack([falls, rng.choice(falls, size=(_FEW_BOOTSTRAPS, n))])
    means, spreads = samples.mean(axis=1)[:, None], samples.std(axis=1, ddof=1)[:, None]
    width = np.maximum(spreads, _SAME_EV) * np.sqrt(1.0 + 1.0 / n)
    missed = scipy.special.stdtr(n - 1, (means - left[None, :]) / width).sum(axis=1)
    # The rate is uncertain, and so is the number at a given rate.
    low, high = np.quantile(rng.poisson(missed[1:]), [0.025, 0.975])
    expected = float(missed[0])
    return expected, float(min(low, expected)), float(min(max(high, expected), most))


def drawn(candidates: int, fraction: float, at_least: int, seed: int) -> list[int]:
    """Draw a fraction of the positions at random, but at least a given number (or all); in rising order."""
    count = min(candidates, max(at_least, int(np.ceil(fraction * candidates - 1e-9))))
    rng = np.random.default_rng(seed)
    return sorted(int(i) for i in rng.choice(candidates, size=count, replace=False)) if count else []
