"""A number with its error: value, standard error, and intervals with their stated coverage."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.shown import Shown, number_text

FloatArray = NDArray[np.float64]

LEVEL_68 = 0.6827
"""Probability of the shorter stated interval (one standard deviation of a normal distribution)."""
LEVEL_95 = 0.95
"""Probability of the longer stated interval."""


@dataclass(frozen=True, repr=False)
class Estimate(Shown):
    """A quantity with its error, in the unit named by the attribute that holds it.

    Attributes
    ----------
    value
        The estimate; never negative. ``inf`` only for a Haven ratio whose charge diffusivity vanishes.
    error
        One standard error, widened where it rests on few data; compare with the ``interval68`` of skewed distributions.
    interval68, interval95
        Intervals that hold the truth with 68.27 % and 95 % probability; not symmetric when hops are few.
    is_upper_bound
        True where ``interval68`` begins at zero: read ``interval95[1]`` as an upper bound, not ``value`` as a result.
    """

    value: float
    error: float
    interval68: tuple[float, float]
    interval95: tuple[float, float]
    is_upper_bound: bool = False

    @property
    def is_unknown(self) -> bool:
        """Whether the quantity is unbounded on both sides."""
        return self.interval95[0] <= 0.0 and math.isinf(self.interval95[1])

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit, or multiplied by an exactly known positive factor."""
        if not (math.isfinite(factor) and factor > 0.0):
            raise AnalysisError(f"An estimate can be scaled by a positive number only, not by {factor!r}.")
        low68, high68 = self.interval68
        low95, high95 = self.interval95
        return Estimate(
            value=self.value * factor,
            error=self.error * factor,
            interval68=(low68 * factor, high68 * factor),
            interval95=(low95 * factor, high95 * factor),
            is_upper_bound=self.is_upper_bound,
        )

    @property
    def log_error(self) -> float:
        """Half the width of ``interval68`` in the natural logarithm; ``inf`` for an upper bound."""
        low, high = self.interval68
        if low <= 0.0 or not math.isfinite(high):
            return math.inf
        return 0.5 * math.log(high / low)

    def _facts(self) -> Iterator[tuple[str, str]]:
        low, high = self.interval95
        if self.is_upper_bound:
            yield "below", f"{high:.2g} (95 %)"
        else:
            yield "", number_text(self.value, self.error)
            yield "95 %:", f"{low:.2g} to {high:.2g}"


def count_like_estimate(
    value: float,
    variance: float,
    *,
    degrees_of_freedom: float = math.inf,
    bound_per_hop: float | None = None,
    n_hops: int = 0,
    force_upper_bound: bool = False,
) -> Estimate:
    """Turn a value that grows by rare, equal steps, and its variance, into an :class:`Estimate`.

    A diffusivity is a sum of squared hops. With n = value²/variance effective hops its interval is that of a Poisson
    rate (Jeffreys' prior: quantiles of a gamma distribution of shape n + 1/2, in units of value/n). It is skewed for
    few hops, never negative, and becomes the normal interval for many. The variance is itself an estimate, which
    Student's t accounts for. Below one effective hop the interval begins at zero.

    Parameters
    ----------
    value
        Point estimate; a negative one (noise) counts as zero.
    variance
        Its variance, in the square of the same unit.
    degrees_of_freedom
        Degrees of freedom of the variance.
    bound_per_hop
        Contribution of one hop of one ion to ``value``, to be given where hops were few: intervals that begin at zero
        then end no lower than the exact Poisson limits of ``n_hops`` hops, which for none are −ln(1 − p) hops.
    n_hops
        Number of hops; with none, the intervals begin at zero.
    force_upper_bound
        Make the intervals begin at zero although the value is significant.
    """
    value = max(float(value), 0.0)
    sigma = math.sqrt(max(float(variance), 0.0))
    dof = max(float(degrees_of_freedom), 1.0)
    effective = (value / sigma) ** 2 if sigma > 0.0 else math.inf
    intervals: list[tuple[float, float]] = []
    for level in (LEVEL_68, LEVEL_95):
        widening = student_quantile(level, dof) / student_quantile(level, math.inf)
        low, high = _interval(value, sigma * widening, level)
        if (bound_per_hop is not None and n_hops == 0) or force_upper_bound or effective < 1.0:
            low = 0.0
        if bound_per_hop is not None and low == 0.0:
            high = max(high, float(scipy.special.gammaincinv(n_hops + 1.0, level)) * bound_per_hop)
        intervals.append((low, high))
    error = sigma * student_quantile(LEVEL_68, dof)
    if bound_per_hop is not None and n_hops == 0:
        error = max(error, bound_per_hop)
    return Estimate(value, error, intervals[0], intervals[1], is_upper_bound=intervals[0][0] <= 0.0)


def posterior_estimate(
    values: FloatArray,
    probabilities: FloatArray,
    *,
    log_variance: float = 0.0,
    bound_per_hop: float | None = None,
    n_hops: int = 0,
    force_upper_bound: bool = False,
) -> Estimate:
    """Turn a posterior of a variance on a grid into an :class:`Estimate`: harmonic mean, error and central intervals.

    The harmonic mean of the posterior of a Gaussian variance under Jeffreys' prior is the unbiased estimate; median and
    mean are above it, by 8 % and 25 % at ten degrees of freedom. The value of an upper bound is the median.

    Parameters
    ----------
    values, probabilities
        (n,) ascending positive values and their probabilities, which sum to one; empty for zero.
    log_variance
        Variance, in the logarithm, of an independent factor that the intervals and the error include as well.
    bound_per_hop, n_hops
        As for :func:`count_like_estimate`.
    force_upper_bound
        Make the intervals begin at zero although the error is below the value.
    """
    if len(values) == 0:
        return count_like_estimate(0.0, 0.0, bound_per_hop=bound_per_hop, n_hops=n_hops, force_upper_bound=True)
    below = np.cumsum(probabilities) - 0.5 * probabilities
    middle = 1.0 / float(probabilities @ (1.0 / values))
    spread = math.sqrt(float(probabilities @ (values - middle) ** 2)) / middle
    bounded = force_upper_bound or spread > 1.0 or (bound_per_hop is not None and n_hops == 0)
    if bounded:  # the harmonic mean would be dominated by the smallest values of the grid
        middle = float(np.interp(0.5, below, values))
        spread = math.sqrt(float(probabilities @ (values - middle) ** 2)) / middle
    intervals = []
    for level in (LEVEL_68, LEVEL_95):
        tail = 0.5 * (1.0 - level)
        low, high = (float(np.interp(p, below, values)) for p in (tail, 1.0 - tail))
        factor = student_quantile(level, math.inf) * math.sqrt(log_variance)
        high = middle * math.exp(math.hypot(math.log(max(high / middle, 1.0)), factor))
        low = middle * math.exp(-math.hypot(math.log(max(middle / low, 1.0)), factor))
        if bound_per_hop is not None and bounded:
            high = max(high, float(scipy.special.gammaincinv(n_hops + 1.0, level)) * bound_per_hop)
        intervals.append((0.0 if bounded else low, high))
    error = middle * math.sqrt(spread**2 + log_variance)
    return Estimate(middle, error, intervals[0], intervals[1], is_upper_bound=bounded)


def ratio_estimate(numerator: Estimate, denominator: Estimate) -> Estimate:
    """Return the ratio of two estimates with log-normal intervals, assuming independent errors.

    Where the denominator is an upper bound its ratio has no upper end; where the numerator is one it begins at zero.
    """
    if denominator.value <= 0.0:
        return Estimate(math.inf, math.inf, (0.0, math.inf), (0.0, math.inf), is_upper_bound=True)
    value = numerator.value / denominator.value
    intervals: list[tuple[float, float]] = []
    for over, under in ((numerator.interval68, denominator.interval68), (numerator.interval95, denominator.interval95)):
        if numerator.value > 0.0 and over[0] > 0.0:
            low = value * math.exp(-math.hypot(_log(numerator.value, over[0]), _log(under[1], denominator.value)))
        else:
            low = 0.0
        if numerator.value > 0.0 and under[0] > 0.0 and over[1] < math.inf:
            high = value * math.exp(math.hypot(_log(over[1], numerator.value), _log(denominator.value, under[0])))
        elif under[0] > 0.0:
            high = over[1] / under[0]
        else:
            high = math.inf
        intervals.append((low, high))
    relative = math.hypot(
        numerator.error / numerator.value if numerator.value > 0.0 else math.inf, denominator.error / denominator.value
    )
    error = math.inf if denominator.is_upper_bound else value * relative if value > 0.0 else intervals[0][1]
    return Estimate(value, error, intervals[0], intervals[1], is_upper_bound=intervals[0][0] <= 0.0)


def pool(estimates: Sequence[Estimate], weights: Sequence[float] | None = None) -> Estimate:
    """Average independent estimates of one quantity (replicas, orderings) with fixed weights.

    The error is the larger of the propagated one and the one from the scatter between the estimates, so that
    averaging orderings that truly differ does not understate the error. A single estimate is returned unchanged.

    Parameters
    ----------
    estimates
        One or more estimates.
    weights
        Non-negative weights, for instance ions × duration, or degeneracies; equal if omitted. They must not depend on
        the estimated errors: an estimate that is low by chance has a low error too, and would bias the average down.
    """
    if len(estimates) == 0:
        raise AnalysisError("There is nothing to average.", fix="Give at least one estimate.")
    if len(estimates) == 1:
        return estimates[0]
    share = np.ones(len(estimates)) if weights is None else np.asarray(weights, dtype=np.float64)
    if share.shape != (len(estimates),) or not np.all(np.isfinite(share)) or np.any(share < 0) or share.sum() <= 0:
        raise AnalysisError("The weights must be non-negative, one for each estimate, and not all zero.")
    share = share / share.sum()
    values = np.array([e.value for e in estimates])
    errors = np.array([e.error for e in estimates])
    mean = float(share @ values)
    propagated = float((share**2) @ (errors**2))
    remaining = 1.0 - float(share @ share)
    between = float((share**2) @ ((values - mean) ** 2)) / remaining if remaining > 1e-12 else 0.0
    effective = 1.0 / float(share @ share)
    bounded = all(e.is_upper_bound for e in estimates)
    if between > propagated:
        # Degrees of freedom by Welch and Satterthwaite, only for what the scatter adds: two replicas that differ
        # slightly more than expected should not void all certainty.
        added = between - propagated
        dof = max(effective - 1.0, 1.0) * (between / added) ** 2
        return count_like_estimate(mean, between, degrees_of_freedom=dof, force_upper_bound=bounded)
    return count_like_estimate(mean, propagated, force_upper_bound=bounded)


@dataclass(frozen=True)
class PooledEstimate:
    """An average over orderings of averages over replicas, with the origin of its variance.

    Attributes
    ----------
    estimate
        The average.
    statistical, ordering
        Relative standard errors of the average from the statistics of the runs, and from differences between orderings
        beyond it; the latter is zero for a single ordering.
    """

    estimate: Estimate
    statistical: float
    ordering: float
    n_orderings: int


def pool_orderings(estimates: Sequence[Estimate], orderings: Sequence[str]) -> PooledEstimate:
    """Average replicas of each ordering, then the orderings, and split the variance (one-way random effects).

    Scatter of the orderings' averages beyond their own errors is attributed to the orderings (DerSimonian and Laird,
    Control. Clin. Trials 7, 177 (1986), with equal weights).

    Parameters
    ----------
    estimates
        One estimate for each run.
    orderings
        The name of the ordering of each run.
    """
    if len(estimates) != len(orderings):
        raise AnalysisError(f"{len(estimates)} estimates do not go with {len(orderings)} names of orderings.")
    groups = [
        [e for e, name in zip(estimates, orderings, strict=True) if name == ordering]
        for ordering in sorted(set(orderings))
    ]
    each = [pool(group) for group in groups]
    together = pool(each)
    n = len(each)
    if n == 1 or together.value <= 0.0:
        relative = together.error / together.value if together.value > 0.0 else math.inf
        return PooledEstimate(together, relative, 0.0, n)
    statistical = sum(e.error**2 / len(group) ** 2 for group in groups for e in group) / n**2
    between = float(np.var([e.value for e in each], ddof=1)) / n
    between_error = math.sqrt(max(between - statistical, 0.0))
    return PooledEstimate(together, math.sqrt(statistical) / together.value, between_error / together.value, n)


def pooled_ratio(numerator: PooledEstimate, denominator: PooledEstimate) -> PooledEstimate:
    """Return the ratio of two averages over the same runs, assuming independent errors."""
    return PooledEstimate(
        ratio_estimate(numerator.estimate, denominator.estimate),
        math.hypot(numerator.statistical, denominator.statistical),
        math.hypot(numerator.ordering, denominator.ordering),
        numerator.n_orderings,
    )


def _interval(value: float, sigma: float, level: float) -> tuple[float, float]:
    if sigma <= 0.0:
        return value, value
    effective = (value / sigma) ** 2
    tail = 0.5 * (1.0 - level)
    if effective < 1.0:
        return 0.0, sigma * float(scipy.special.gammaincinv(1.5, 1.0 - tail))
    unit = value / effective
    low, high = scipy.special.gammaincinv(effective + 0.5, [tail, 1.0 - tail])
    return float(low) * unit, float(high) * unit


@functools.cache
def normal_quantile(level: float) -> float:
    """Return the half-width, in standard errors, of the central interval of a normal distribution."""
    return student_quantile(level, math.inf)


def student_quantile(level: float, degrees_of_freedom: float) -> float:
    """Return the half-width, in standard errors, of the central interval of Student's t of probability ``level``."""
    if math.isinf(degrees_of_freedom):
        return float(scipy.special.ndtri(0.5 + 0.5 * level))
    return float(scipy.special.stdtrit(degrees_of_freedom, 0.5 + 0.5 * level))


def _log(over: float, under: float) -> float:
    return math.log(over / under) if under > 0.0 else math.inf
