"""Where D levels off, what it levels off to, and how much that may err.

D at a ladder of lags (:mod:`.increments`) falls to the diffusivity as motion that leads nowhere is left behind:
vibration and cages at once, hops to and fro only over some residence times. No single lag is right. Short ones are
biased, long ones noisy, and a test which takes the first lag that *seems* level keeps what noise hides: +6 % in a
half-filled lattice gas of ten hops an ion. So the limit is averaged over descriptions of the way there
(:func:`level_off`), each weighted by how well it explains all lags together, whose joint covariance comes from the
contributions of every ion in time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from superionic.transport.increments import LagFit, average_blocks, ladder

FloatArray = NDArray[np.float64]

SHORTEST_LAG_PS = 0.25
"""Vibrations of light ions have periods near 0.1 ps; below this lag they would pass for motion."""
BASE_LAGS_PER_RUN = 200
"""The ladder of lags begins at the run's length over this number: more would not lower the error."""
MIN_INCREMENTS = 8
"""The longest lag leaves at least so many increments."""
MIN_COLLECTIVE_INCREMENTS = 8
"""The same for the one collective walker, whose D has a relative error near √(2/n)."""

POWERS = (0.5, 1.5, 3.0)
"""How an excess of D may decay with the lag; 3/2 is the tail of hops to and fro in three dimensions."""
MEMORY = 2.5
"""Besides: (1 + MEMORY·τ/τ_res)^(−3/2) with the residence time τ_res; measured in lattice gases at half filling."""
EXCESS_SHARE = 0.2
"""Standard deviation expected of the excess at the first lag that a description covers, in units of D."""
FREE_SHARE = 1.0
"""The same of what D may differ by at shorter lags, which a description leaves out."""
PROBABILITY_OF_EXCESS = 0.5
"""Prior probability that D still falls beyond the first lag covered."""
MEMORY_SHARE = 0.4
"""Share of it for the memory of a residence time, where hops were seen; the powers share the rest."""
PROBABILITY_OF_LATE = 0.3
"""Prior weight of descriptions that cover the last two lags only, where no levelling off can be seen."""
CORRELATION_OF_OCTAVES = 0.7
"""Between the D_σ of two lags an octave apart; 0.64 to 0.81 in walks with and without cages (150 runs each)."""
ADDING_UP_SPREAD = 0.5
"""Prior standard deviation of the share of the tracer's excess that the collective motion has, too."""


@dataclass(frozen=True)
class Level:
    """What D levels off to.

    Attributes
    ----------
    value_A2_per_ps, variance
        The limit of D and its variance, the uncertainty of the way there included.
    weights
        (n_lags,) with sum one: the limit is this combination of the D of all lags, which makes it as unbiased as they
        are, and gives each ion its share.
    first_lag
        Index of the lag from which on D is described: the median over all descriptions.
    probability_level
        Probability that D was seen to level off, over three lags at least.
    covariance
        (n_lags, n_lags) of the D of all lags, see :func:`ladder_covariance`.
    """

    value_A2_per_ps: float
    variance: float
    weights: FloatArray
    first_lag: int
    probability_level: float
    covariance: FloatArray


def fit_ladder(
    positions_A: FloatArray, frame_interval_ps: float, axes: tuple[int, ...], *, base_ps: float
) -> list[LagFit]:
    """Fit D at doubling lags from ``base_ps`` on, or shorter ones where the run has few frames.

    Takes positions (n_frames ≥ 2, walkers, 3); fits at least one lag.
    """
    frames = max(1, round(max(base_ps, SHORTEST_LAG_PS) / frame_interval_ps))
    frames = max(1, min(frames, len(positions_A) // (MIN_INCREMENTS + 1)))
    blocks = average_blocks(positions_A, frames)
    if len(blocks) < 3:  # two frames: their halves cannot be told apart, so the one increment counts twice
        blocks = np.concatenate([blocks, 2.0 * blocks[-1:] - blocks[-2:-1]])
    enough = MIN_INCREMENTS if positions_A.shape[1] > 1 else MIN_COLLECTIVE_INCREMENTS
    return ladder(blocks, frames * frame_interval_ps, min_increments=enough, axes=axes)


def level_off(fits: list[LagFit], residence_ps: float) -> Level:
    """Find what D levels off to by averaging over descriptions of the way there.

    A description says: from lag s on, D = D∞ + A·shape(τ), where A is zero or has one of a few shapes; what came before
    s is anything. All are linear, so that evidence, D∞ and variance have closed forms (a flat prior on D∞).

    Parameters
    ----------
    fits
        D at doubling lags, of many walkers.
    residence_ps
        Mean time between two hops of an ion; infinite where none was seen.
    """
    values = np.array([fit.value_A2_per_ps for fit in fits])
    covariance = ladder_covariance(fits)
    n = len(values)
    scale = max(float(np.median(values)), math.sqrt(covariance[-1, -1]))
    if scale <= 0.0:
        return Level(0.0, 0.0, np.full(n, 1.0 / n), 0, 1.0 if n > 2 else 0.0, covariance)
    lags = np.array([fit.lag_ps for fit in fits])
    shapes = [(lags**-power, 1.0 / len(POWERS)) for power in POWERS]
    if math.isfinite(residence_ps):
        shapes = [(shape, (1.0 - MEMORY_SHARE) * share) for shape, share in shapes]
        shapes.append(((1.0 + MEMORY * lags / residence_ps) ** -1.5, MEMORY_SHARE))
    found: list[tuple[float, int, float, float, FloatArray]] = []
    for first in range(n):
        before = np.diag(np.where(np.arange(n) < first, (FREE_SHARE * scale) ** 2, 0.0))
        late = n > 2 and first >= n - 2
        for shape, share in [(None, 1.0)] if first >= n - 2 else [(None, 1.0), *shapes]:
            prior = PROBABILITY_OF_LATE if late else 1.0 - PROBABILITY_OF_EXCESS
            spread = covariance + before
            if shape is not None:
                excess = np.where(np.arange(n) >= first, shape / shape[first], 0.0) * EXCESS_SHARE * scale
                spread = spread + np.outer(excess, excess)
                prior = PROBABILITY_OF_EXCESS * share
            inverse = np.linalg.inv(spread)
            precision = float(inverse.sum())
            weights = inverse.sum(axis=0) / precision
            limit = float(weights @ values)
            residual = values - limit
            evidence = -0.5 * (np.linalg.slogdet(spread)[1] + math.log(precision) + residual @ inverse @ residual)
            found.append((evidence + math.log(prior), first, limit, 1.0 / precision, weights))
    evidence = np.array([entry[0] for entry in found])
    probability = np.exp(evidence - evidence.max())
    probability /= probability.sum()
    limits = np.array([entry[2] for entry in found])
    mean = float(probability @ limits)
    variance = float(probability @ (np.array([entry[3] for entry in found]) + (limits - mean) ** 2))
    by_first = np.bincount([entry[1] for entry in found], weights=probability, minlength=n)
    return Level(
        value_A2_per_ps=mean,
        variance=variance,
        weights=probability @ np.array([entry[4] for entry in found]),
        first_lag=int(np.searchsorted(np.cumsum(by_first), 0.5)),
        probability_level=float(by_first[: n - 2].sum()) if n > 2 else 0.0,
        covariance=covariance,
    )


def level_off_with(
    fits: list[LagFit],
    excess: FloatArray,
    excess_variance: FloatArray,
    one_ion_variance: FloatArray,
    tracer_A2_per_ps: float,
) -> tuple[float, float, FloatArray]:
    """Find what the one collective walker's D levels off to, knowing how much the tracer's exceeds its limit.

    One walker's fluctuations hardly show the way to its limit. What leads nowhere for single ions may lead nowhere for
    their sum (ions in cages of their own: all of the tracer's excess) or cancel from it (ions in one another's way in a
    lattice gas: none of it). So D_σ(τ) = D_σ + β·excess(τ), fitted to all lags together. Beforehand β is expected to be
    e²/(1 + e²) ± 0.5 where e is the excess at the first lag over D*: cages, whose share is large, add up in the sum;
    what little excess ions have that only get in one another's way does not.

    Parameters
    ----------
    fits
        D at doubling lags of one walker.
    excess, excess_variance
        (n_lags,) what the tracer's D at the same lags exceeds its limit by, and the variance of that.
    one_ion_variance
        (n_lags,) Gaussian variance of the tracer's D if it were that of one ion: the collective walker's, but for its
        size. Its own estimate is low where D_σ is low by chance, and weights must not follow that.
    tracer_A2_per_ps
        The tracer's limit.

    Returns
    -------
    D_σ, its variance (Gaussian), and the weights of the lags.
    """
    values = np.array([fit.value_A2_per_ps for fit in fits])
    n = len(values)
    own = np.array([fit.gaussian_variance for fit in fits])
    if not np.any(own > 0.0) or not np.any(one_ion_variance > 0.0):
        return 0.0, 0.0, np.full(n, 1.0 / n)
    gaussian = one_ion_variance * float(np.mean(own)) / float(np.mean(one_ion_variance))
    scale = max(float(np.median(values)), math.sqrt(gaussian[-1]))
    scatter = np.sqrt(gaussian)
    octaves = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    covariance = np.outer(scatter, scatter) * CORRELATION_OF_OCTAVES**octaves
    covariance += np.diag(excess_variance + 1e-9 * scale**2)
    share = max(float(excess[0]), 0.0) / tracer_A2_per_ps if tracer_A2_per_ps > 0.0 else 0.0
    adding_up = share**2 / (1.0 + share**2)
    spread = covariance + ADDING_UP_SPREAD**2 * np.outer(excess, excess)
    inverse = np.linalg.inv(spread)
    precision = float(inverse.sum())
    weights = inverse.sum(axis=0) / precision
    # The more of what is seen leads nowhere, the more rests on its description (measured: 1.6 times the variance where
    # the excess is 0.7 D*).
    return float(weights @ (values - adding_up * excess)), (1.0 + min(share, 1.0)) / precision, weights


def ladder_covariance(fits: list[LagFit]) -> FloatArray:
    """Covariance of the D of all lags, (n_lags, n_lags).

    Half of it comes from the contributions of walkers over spans of time, which know of ions that never move. A lag
    whose D is high by chance shows more scatter there, too, and would be trusted less than its neighbours; so the other
    half is what Gaussian increments scatter (an efficient estimate at a short lag shares all of its variance with one
    at a longer lag), and the noise of the number of hops, common to all. Never less than the Gaussian part.
    """
    deviations = [fit.deviations(_segments(fits[-1])) for fit in fits]
    n, n_lags = len(deviations[0]), len(fits)
    flat = [array.ravel() for array in deviations]
    seen = np.array([[float(one @ other) for other in flat] for one in flat]) * n / max(n - 1, 1)
    gaussian = np.array([fit.gaussian_variance for fit in fits])
    expected = np.minimum.outer(gaussian, gaussian) + max(float(np.mean(np.diag(seen) - gaussian)), 0.0)
    covariance = 0.5 * (seen + expected)
    covariance += max(0.0, float(np.max(gaussian - np.diag(covariance))))
    return np.asarray(covariance + 1e-6 * np.trace(covariance) / n_lags * np.eye(n_lags))


def _segments(fit: LagFit) -> int:
    """Choose the number of spans of time: long ones, since contributions correlate over several increments."""
    return min(max(fit.n_increments // 12, 4), 16, fit.n_increments)


def _spread(deviations: FloatArray) -> float:
    """Estimate the variance of the sum over times and walkers if they are independent."""
    n = len(deviations)
    return float(np.sum(deviations**2)) * n / max(n - 1, 1)


def own_variance(fit: LagFit) -> tuple[float, float]:
    """Estimate the variance of D averaged over many walkers, and its degrees of freedom.

    It is that of each walker about its own mean, so that ions which never move do not count as noise; where the
    walkers together scatter significantly more between blocks of time (F test at 5 %), they move together, and that
    scatter is taken instead.
    """
    deviations = fit.deviations(_segments(fit))
    n, walkers = deviations.shape
    own = _spread(deviations)
    if own <= 0.0:
        return fit.gaussian_variance, math.inf
    per_walker = np.sum(deviations**2, axis=0) * n / max(n - 1, 1)
    if walkers > 1:
        spread = walkers * float(np.var(per_walker, ddof=1))
        dof = min(2.0 * own**2 / spread, walkers * (n - 1.0)) if spread > 0.0 else walkers * (n - 1.0)
    else:
        dof = n - 1.0
    own, dof = max(own, fit.gaussian_variance), max(dof, 4.0)
    together, blocks_dof = block_variance(fit)
    if together > own * float(special.fdtri(blocks_dof, dof, 0.95)):
        return together, blocks_dof
    return own, dof


def block_variance(fit: LagFit) -> tuple[float, float]:
    """Estimate the variance of D from the scatter of all walkers together between blocks of time."""
    totals = fit.deviations(_segments(fit)).sum(axis=1)
    n = len(totals)
    return float(totals @ totals) * n / max(n - 1, 1), max(n - 1.0, 1.0)
