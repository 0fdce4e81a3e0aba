"""Where the diffusive regime begins, and how much the diffusivity found in it may err."""

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
MIN_COLLECTIVE_INCREMENTS = 24
"""The same for the one collective walker, whose D has a relative error near √(2/n)."""
PLATEAU_SIGMAS = 2.5
"""Two lags disagree if their D differ by more than so many standard deviations of the difference."""


@dataclass(frozen=True)
class LagChoice:
    """The lag to use: its index in the ladder, whether D levels off, and the variance to add for the choice."""

    used: int
    plateau_lag_ps: float
    used_lag_ps: float
    plateau: bool
    variance: float
    n_lags: int


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


def choose_lag(fits: list[LagFit], *, safety: int = 1) -> LagChoice:
    """Find the shortest lag that agrees with all longer ones; use the lag ``safety`` octaves beyond it."""
    last = len(fits) - 1
    values = [fit.value_A2_per_ps for fit in fits]
    collective = fits[0].contributions.shape[1] == 1
    deviations = [] if collective else [fit.deviations(_segments(fits[-1])) for fit in fits]

    def difference_variance(first: int, second: int) -> float:
        if collective:  # one walker cannot show its own scatter; sums over ions are nearly Gaussian
            return fits[first].gaussian_variance * (fits[first].n_increments / fits[second].n_increments - 1.0)
        return _spread(deviations[second] - deviations[first])

    start = last
    for first in range(last + 1):
        if all(
            abs(values[later] - values[first]) <= PLATEAU_SIGMAS * math.sqrt(difference_variance(first, later))
            for later in range(first + 1, last + 1)
        ):
            start = first
            break
    plateau = start < last or last == 0
    used = min(start + safety, last)
    variance = 0.0
    if last > 0:
        other = used + 1 if used < last else used - 1
        change = (values[other] - values[used]) ** 2
        variance = change if not plateau else 0.5 * max(change - difference_variance(*sorted((used, other))), 0.0)
    return LagChoice(used, fits[start].lag_ps, fits[used].lag_ps, plateau, variance, last + 1)


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
