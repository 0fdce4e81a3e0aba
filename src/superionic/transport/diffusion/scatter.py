"""Expected scatter, over repeated runs, of a sum of contributions of walkers and times."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

EXCHANGE_TEST = 1.645
"""One-sided 5 % quantile by which the halves of the run must differ, ion by ion, to show that ions change speed."""
TOGETHER_TEST = 0.95
"""Confidence with which the sum of walkers must scatter more in time than independent ones, to count as collective."""


@dataclass(frozen=True)
class Scatter:
    """The variance of a sum of contributions.

    Attributes
    ----------
    exchanged
        Whether walkers change between fast and slow during the run, so that which were fast is part of the chance.
    """

    variance: float
    degrees_of_freedom: float
    exchanged: bool


def scatter(contributions: FloatArray, gaussian_variance: float) -> Scatter:
    """Estimate the variance of the sum of ``contributions`` (times, walkers), never below the Gaussian one.

    The variance is that of each walker about its own mean, so that ions which never move do not count as noise. Two
    tests replace it by a larger one. Where the halves of the run differ more, walker by walker, than spans of time do,
    ions change between fast and slow within the run, and the scatter between ions is used. Where the sum of the walkers
    scatters more between spans than independent walkers would, they move together, and that scatter is used.
    """
    n, walkers = contributions.shape
    spans = n_spans(n)
    deviation = deviations(contributions, spans)
    own, dof = _own(deviation)
    if own <= gaussian_variance:
        own, dof = gaussian_variance, math.inf if own <= 0.0 else dof
    exchanged = False
    if walkers > 1 and own > 0.0 and n >= 2:
        halves = np.diff(deviations(contributions, 2), axis=0)[0] ** 2
        between = walkers * float(np.var(contributions.sum(axis=0), ddof=1))
        noise = math.sqrt(walkers * float(np.var(halves, ddof=1)))
        if float(halves.sum()) > own + EXCHANGE_TEST * noise and between > own:
            own, dof, exchanged = between, min(dof, walkers - 1.0), True
    together, spans_dof = in_time(contributions)
    if together > own * float(scipy.special.fdtri(spans_dof, min(dof, 1e6), TOGETHER_TEST)):
        return Scatter(together, spans_dof, exchanged)
    return Scatter(own, dof, exchanged)


def in_time(contributions: FloatArray) -> tuple[float, float]:
    """Estimate the variance, and its degrees of freedom, from the scatter of their sum between spans of time."""
    totals = deviations(contributions, n_spans(len(contributions))).sum(axis=1)
    n = len(totals)
    return float(totals @ totals) * n / max(n - 1, 1), max(n - 1.0, 1.0)


def n_spans(n_times: int) -> int:
    """Choose the number of spans of time: long ones, since contributions correlate over several increments."""
    return min(max(n_times // 12, 4), 16, n_times)


def deviations(contributions: FloatArray, n_spans: int) -> FloatArray:
    """Sum contributions (times, walkers) over spans, less each walker's mean contribution: (n_spans, walkers)."""
    n, walkers = contributions.shape
    owner = (np.arange(n) + 1) * n_spans // (n + 2)
    sums = np.zeros((n_spans, walkers))
    np.add.at(sums, owner, contributions)
    share = np.bincount(owner, minlength=n_spans) / n
    return np.asarray(sums - share[:, None] * contributions.sum(axis=0))


def _own(deviation: FloatArray) -> tuple[float, float]:
    n, walkers = deviation.shape
    per_walker = np.sum(deviation**2, axis=0) * n / max(n - 1, 1)
    own = float(per_walker.sum())
    if walkers > 1:
        spread = walkers * float(np.var(per_walker, ddof=1))
        dof = min(2.0 * own**2 / spread, walkers * (n - 1.0)) if spread > 0.0 else walkers * (n - 1.0)
    else:
        dof = n - 1.0
    return own, max(dof, 4.0)
