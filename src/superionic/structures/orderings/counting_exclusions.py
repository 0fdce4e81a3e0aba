"""Exact counting of the orderings that respect minimum distances, and an estimate where that is too slow."""

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
"""Largest number of 64-bit words touched; a few seconds of work."""

_CHUNK = 1 << 22


@dataclass(frozen=True)
class AllowedFraction:
    """Fraction of all decorations that respect the exclusions, estimated from random ones.

    Parameters
    ----------
    fraction
        Hits over draws; 0 if there was no hit, which does not mean that none exist.
    standard_error
        Binomial standard error of the fraction.
    upper_bound
        Upper bound at 95 % confidence: 3 / draws without a hit, else the fraction plus 1.645 standard errors.
    draws
        Number of random decorations.
    """

    fraction: float
    standard_error: float
    upper_bound: float
    draws: int


def count_allowed(space: OrderingSpace, *, budget: float = DEFAULT_BUDGET) -> OrderingCount | None:
    """Count exactly the orderings that respect the exclusions of a space, by Burnside's lemma.

    Parameters
    ----------
    budget
        Work allowed, in words of 64 bits touched.

    Returns
    -------
    OrderingCount or None
        Raw decorations and orbits that respect the exclusions; None if the count takes more than the budget.
    """
    invariant = InvariantDecorations(space, budget=budget)
    try:
        return OrderingCount(invariant.raw, invariant.distinct, space.group_order)
    except BudgetExceededError:
        return None


def random_decorations(space: OrderingSpace, n: int, rng: np.random.Generator) -> CodeArray:
    """Draw (n, n_free) decorations uniformly, whether they respect the exclusions or not."""
    drawn = np.empty((n, space.n_free), dtype=np.uint8)
    for index, block in enumerate(space.blocks):
        codes = np.repeat(np.arange(len(block.counts)), block.counts).astype(np.uint8)
        drawn[:, space.block_slice(index)] = rng.permuted(np.broadcast_to(codes, (n, block.size)), axis=1)
    return drawn


def estimate_allowed(space: OrderingSpace, rng: np.random.Generator, n: int) -> AllowedFraction:
    """Estimate the fraction of all decorations that respect the exclusions.

    Parameters
    ----------
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
