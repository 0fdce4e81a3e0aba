"""Exact counting of the orderings that keep minimum distances, and an honest estimate where that is too much work."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np

from superionic.errors import CompositionError
from superionic.structures.orderings.counting import OrderingCount
from superionic.structures.orderings.invariant import InvariantDecorations
from superionic.structures.orderings.joint_counts import BudgetExceededError
from superionic.structures.orderings.space import CodeArray, OrderingSpace

DEFAULT_BUDGET = 1e9
"""Words of 64 bits that may be touched; a few seconds."""

_CHUNK = 1 << 22


@dataclass(frozen=True)
class AllowedFraction:
    """Part of all decorations that keeps the exclusions, estimated from random ones.

    Parameters
    ----------
    fraction
        Hits over draws; 0 if there was no hit, which does not mean that there are none.
    standard_error
        Of the fraction, binomial.
    upper_bound
        At 95 % confidence: 3 / draws without a hit, else the fraction plus 1.645 standard errors.
    draws
        Number of random decorations.
    """

    fraction: float
    standard_error: float
    upper_bound: float
    draws: int


def count_allowed(space: OrderingSpace, *, budget: float = DEFAULT_BUDGET) -> OrderingCount | None:
    """Count the orderings that keep the exclusions of a space exactly, by Burnside's lemma.

    Parameters
    ----------
    space
        The space.
    budget
        Work allowed, in words of 64 bits touched.

    Returns
    -------
    OrderingCount or None
        Raw decorations and orbits that keep the exclusions; None if the count takes more than the budget.
    """
    invariant = InvariantDecorations(space, budget=budget)
    try:
        return OrderingCount(invariant.raw, invariant.distinct, space.group_order)
    except BudgetExceededError:
        return None


def random_decorations(space: OrderingSpace, n: int, rng: np.random.Generator) -> CodeArray:
    """Draw (n, n_free) decorations uniformly, whether they keep the exclusions or not."""
    drawn = np.empty((n, space.n_free), dtype=np.uint8)
    for index, block in enumerate(space.blocks):
        codes = np.repeat(np.arange(len(block.counts)), block.counts).astype(np.uint8)
        drawn[:, space.block_slice(index)] = rng.permuted(np.broadcast_to(codes, (n, block.size)), axis=1)
    return drawn


def estimate_allowed(space: OrderingSpace, rng: np.random.Generator, n: int) -> AllowedFraction:
    """Estimate which part of all decorations keeps the exclusions.

    Parameters
    ----------
    space
        The space.
    rng
        Source of randomness.
    n
        Number of random decorations.

    Raises
    ------
    CompositionError
        If `n` is not positive.
    """
    if n < 1:
        raise CompositionError(f"{n} decorations cannot be drawn.", fix="Draw one or more.")
    hits = 0
    step = max(1, _CHUNK // max(1, space.n_free))
    for start in range(0, n, step):
        hits += int(space.allows(random_decorations(space, min(step, n - start), rng)).sum())
    fraction = hits / n
    error = sqrt(fraction * (1.0 - fraction) / n)
    return AllowedFraction(fraction, error, min(1.0, fraction + 1.645 * error if hits else 3.0 / n), n)
