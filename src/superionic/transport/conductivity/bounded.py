"""Averages of runs some of which give an upper bound only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from superionic.transport.conductivity.arrhenius import bound_log_error
from superionic.transport.estimate import Estimate


def respect_bounds(average: Estimate, estimates: Sequence[Estimate], shares: Sequence[float]) -> Estimate:
    """Make an average no more certain than what it is the average of.

    Of runs with few hops each the hops of all together count, and the average may be a value where none of the runs
    has one. A run that did not level off is another matter: its value holds what may be no diffusion, and however many
    of its kind are averaged, nothing bounds that from below. Its part of the average may be anything down to zero.

    Parameters
    ----------
    average
        Of the estimates, each taken at its value.
    estimates
        Those of the runs.
    shares
        Weight of each run; only their ratios count.

    Returns
    -------
    Estimate
        The same where no run that did not level off is among them; else with lower ends that such runs do not
        hold up, the value in the middle between both ends of their part; an upper bound if there are no others.
    """
    open_below = [bound_log_error(each) is not None for each in estimates]
    if not any(open_below) or average.value <= 0.0:
        return average
    total = sum(share * each.value for share, each in zip(shares, estimates, strict=True))
    held = sum(
        share * each.value for share, each, is_open in zip(shares, estimates, open_below, strict=True) if not is_open
    )
    part = held / total if total > 0.0 else 0.0
    (low68, high68), (low95, high95) = average.interval68, average.interval95
    if part <= 0.0:
        return replace(average, interval68=(0.0, high68), interval95=(0.0, high95), is_upper_bound=True)
    low68, low95 = low68 * part, low95 * part
    error = max(average.error, 0.5 * (high68 - low68)) if math.isfinite(high68) else average.error
    value = average.value * 0.5 * (1.0 + part)
    return Estimate(value, error, (low68, high68), (low95, high95), is_upper_bound=low68 <= 0.0)
