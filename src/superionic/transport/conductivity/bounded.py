"""Averages over runs of which some give only an upper bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from superionic.transport.conductivity.arrhenius import bound_log_error
from superionic.transport.estimate import Estimate


def respect_bounds(average: Estimate, estimates: Sequence[Estimate], shares: Sequence[float]) -> Estimate:
    """Make an average no more certain than the estimates that enter it.

    Runs with few hops each add up their hops, so their average may be a value where no single run has one. A run in
    which D did not level off is different: its value may include motion that is not diffusion, and averaging more such
    runs does not bound it from below. Its part of the average may be anything down to zero.

    Parameters
    ----------
    average
        Average of the values of the estimates.
    estimates
        Those of the runs.
    shares
        Weight of each run; only their ratios count.

    Returns
    -------
    Estimate
        The average itself if D levelled off in every run. Otherwise the runs in which it did not count as zero in the
        lower ends and as half in the value; an upper bound if there are no other runs.
    """
    open_below = [bound_log_error(each) is not None for each in estimates]
    if not any(open_below) or average.value <= 0.0:
        return average
    total = sum(share * each.value for share, each in zip(shares, estimates, strict=True))
    levelled = sum(
        share * each.value for share, each, is_open in zip(shares, estimates, open_below, strict=True) if not is_open
    )
    levelled_share = levelled / total if total > 0.0 else 0.0
    (low68, high68), (low95, high95) = average.interval68, average.interval95
    if levelled_share <= 0.0:
        return replace(average, interval68=(0.0, high68), interval95=(0.0, high95), is_upper_bound=True)
    low68, low95 = low68 * levelled_share, low95 * levelled_share
    error = max(average.error, 0.5 * (high68 - low68)) if math.isfinite(high68) else average.error
    value = average.value * 0.5 * (1.0 + levelled_share)
    return Estimate(value, error, (low68, high68), (low95, high95), is_upper_bound=low68 <= 0.0)
