"""Random orderings from spaces of any size: uniform over orbits, or uniform over decorations.

Draws uniform over orbits use Burnside pairs: choose an operation g with a probability proportional to the number of
decorations that it fixes, then one of these decorations uniformly. Each orbit has |G| such pairs, so that no draw is
rejected (Dixon & Wilf, J. Algorithms 4, 205 (1983)). All choices are made with exact integers.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from superionic.chemistry import VACANCY
from superionic.errors import CompositionError
from superionic.structures.crystal.symmetry import IntArray
from superionic.structures.orderings.counting_exclusions import DEFAULT_BUDGET, estimate_allowed, random_decorations
from superionic.structures.orderings.invariant import InvariantDecorations
from superionic.structures.orderings.joint_counts import BudgetExceededError, random_below
from superionic.structures.orderings.space import CodeArray, OrderingSpace

_CHUNK = 1 << 21
_PROBES = 20_000
_REJECT_ABOVE = 1e-3
_BATCH = 4096


@dataclass(frozen=True, eq=False)
class OrderingSample:
    """Independent draws, with repetition.

    Parameters
    ----------
    decorations
        (n, n_free) uint8, canonical.
    degeneracies
        (n,) sizes of their orbits.
    exact
        Whether the draws follow the stated distribution exactly.
    method
        The method of drawing, in a few words.
    """

    decorations: CodeArray
    degeneracies: IntArray
    exact: bool
    method: str

    def __post_init__(self) -> None:
        self.decorations.setflags(write=False)
        self.degeneracies.setflags(write=False)

    def __len__(self) -> int:
        return len(self.decorations)


def sample_uniform_orbits(
    space: OrderingSpace, n: int, rng: np.random.Generator, *, budget: float = DEFAULT_BUDGET
) -> OrderingSample:
    """Draw orderings that respect the exclusions, every distinct one with the same probability.

    Parameters
    ----------
    budget
        Work allowed for counting those that respect the exclusions, in 64-bit words. Beyond it decorations are drawn
        without the exclusions and those that violate them rejected, which is exact as well; where fewer than one in a
        thousand would be accepted, they are drawn by a random walk of swaps, which is not (``exact`` says so).

    Raises
    ------
    CompositionError
        If `n` is negative, or no ordering respects the exclusions.
    """
    return _sample(space, n, rng, budget, by_orbit=True)


def sample_raw(
    space: OrderingSpace, n: int, rng: np.random.Generator, *, budget: float = DEFAULT_BUDGET
) -> OrderingSample:
    """Draw orderings in proportion to their degeneracies, as at infinite temperature: uniformly over decorations.

    Parameters, errors and the handling of exclusions are those of :func:`sample_uniform_orbits`.
    """
    return _sample(space, n, rng, budget, by_orbit=False)


def _sample(space: OrderingSpace, n: int, rng: np.random.Generator, budget: float, *, by_orbit: bool) -> OrderingSample:
    if n < 0:
        raise CompositionError(f"{n} orderings cannot be drawn.", fix="Ask for one or more.")
    try:
        drawn = _draw_invariant(space, n, rng, budget, by_orbit, exclusions=True)
        method = "Burnside pairs" if by_orbit else "uniform decorations"
        exact = True
    except BudgetExceededError:
        if estimate_allowed(space, rng, _PROBES).fraction >= _REJECT_ABOVE:
            method = ("Burnside pairs" if by_orbit else "uniform decorations") + ", rejected where sites are too close"
            drawn, exact = _draw_rejecting(space, n, rng, by_orbit), True
        else:
            space.demand_swaps()
            method = "random walk of swaps that keeps the distances; orbits weighted by degeneracy"
            drawn, exact = _walk(space, n, rng, budget), False
    decorations, degeneracies = canonicalise(space, drawn)
    return OrderingSample(decorations, degeneracies, exact, method)


def _draw_invariant(
    space: OrderingSpace, n: int, rng: np.random.Generator, budget: float, by_orbit: bool, *, exclusions: bool
) -> CodeArray:
    counter = InvariantDecorations(space, exclusions=exclusions, budget=budget)
    if counter.raw == 0:
        raise _impossible(space)
    # The tables for drawing are rebuilt, only for the classes drawn from: nearly always the identity.
    drawer = InvariantDecorations(space, exclusions=exclusions, budget=budget, keep=True)
    if not by_orbit:
        return drawer.draw(0, n, rng)
    weights = list(accumulate(s * c for s, c in zip(counter.class_sizes, counter.counts, strict=True)))
    classes = np.array([bisect_right(weights, random_below(rng, weights[-1])) for _ in range(n)], dtype=np.int64)
    drawn = np.empty((n, space.n_free), dtype=np.uint8)
    for index in np.unique(classes).tolist():
        mine = np.flatnonzero(classes == index)
        drawn[mine] = drawer.draw(index, len(mine), rng)
    return drawn


def _draw_rejecting(space: OrderingSpace, n: int, rng: np.random.Generator, by_orbit: bool) -> CodeArray:
    """Draw without the exclusions and reject decorations that violate them; whole orbits do or do not."""
    accepted: list[CodeArray] = []
    missing = n
    while missing > 0:
        drawn = _draw_invariant(space, _BATCH, rng, np.inf, by_orbit, exclusions=False)
        accepted.append(drawn[space.allows(drawn)][:missing])
        missing -= len(accepted[-1])
    return np.concatenate([np.empty((0, space.n_free), dtype=np.uint8), *accepted])


def _impossible(space: OrderingSpace) -> CompositionError:
    return CompositionError(
        f"No ordering of {space.composition.formula} keeps {space.rule}.",
        where=f"supercell {space.sites.supercell}",
        fix="Lower the smallest distance, use a larger supercell, or choose counts with fewer atoms on these sites.",
    )


def canonicalise(space: OrderingSpace, decorations: CodeArray) -> tuple[CodeArray, IntArray]:
    """Bring decorations into canonical form: the lexicographically smallest image under the actions of the space.

    Parameters
    ----------
    decorations
        (m, n_free) codes.

    Returns
    -------
    canonical : (m, n_free) uint8
    degeneracies : (m,) int
        Number of distinct images of each.
    """
    codes = np.ascontiguousarray(decorations, dtype=np.uint8)
    n_actions, n_free = space.permutations.shape
    canonical = np.empty_like(codes)
    degeneracies = np.ones(len(codes), dtype=np.int64)
    sources = np.argsort(space.permutations, axis=1)
    step = max(1, _CHUNK // max(1, n_actions))
    for start in range(0, len(codes), step):
        part = codes[start : start + step]
        # Site by site only the images that are smallest so far stay; nearly all are gone after a few sites.
        row = np.repeat(np.arange(len(part)), n_actions)
        action = np.tile(np.arange(n_actions), len(part))
        for site in range(n_free):
            if len(row) == len(part):
                break
            values = part[row, sources[action, site]]
            first = np.flatnonzero(np.diff(row, prepend=-1))
            smallest = np.minimum.reduceat(values, first)
            keep = values == smallest[row]
            row, action = row[keep], action[keep]
        first = np.flatnonzero(np.diff(row, prepend=-1))
        canonical[start : start + step] = np.take_along_axis(part, sources[action[first]], axis=1)
        degeneracies[start : start + step] = n_actions // np.bincount(row, minlength=len(part))
    return canonical, degeneracies


def find_allowed(
    space: OrderingSpace, rng: np.random.Generator, *, steps: int = 20_000, budget: float = DEFAULT_BUDGET
) -> CodeArray | None:
    """Find one decoration that respects the exclusions.

    If a hundredth of the budget suffices to count them, one is drawn. Otherwise atoms that are too close move to the
    least crowded sites, one after another (min-conflicts: Minton et al., Artif. Intell. 58, 161 (1992)); if that
    fails, the whole budget is spent on counting.

    Parameters
    ----------
    steps
        Number of moves tried.
    budget
        Work allowed for the exact count, in words of 64 bits.

    Returns
    -------
    (n_free,) uint8 or None
        None if there is none (where the count was within the budget) or none was reached.
    """
    for part, tried in ((0.01, steps), (1.0, 0)):
        drawer = InvariantDecorations(space, budget=part * budget, keep=True)
        try:
            impossible = drawer.raw == 0
        except BudgetExceededError:
            decoration = _min_conflicts(space, rng, tried)
            if decoration is not None:
                return decoration
        else:
            if impossible:
                return None
            drawn: CodeArray = drawer.draw(0, 1, rng)[0]
            return drawn
    return None


def _min_conflicts(space: OrderingSpace, rng: np.random.Generator, steps: int) -> CodeArray | None:
    neighbours = _neighbours(space)
    codes = random_decorations(space, 1, rng)
    occupied = np.append(space.occupied(codes)[0], False)
    state: CodeArray = codes[0]
    load = occupied[neighbours].sum(axis=1)
    restart = max(100, 20 * space.n_free)
    for step in range(steps):
        clash = occupied[:-1] & ((load > 0) | space.blocked)
        if not clash.any():
            return state
        if step % restart == restart - 1:
            state = random_decorations(space, 1, rng)[0]
            occupied[:-1] = space.occupied(state[None])[0]
            load = occupied[neighbours].sum(axis=1)
            continue
        site = int(rng.choice(np.flatnonzero(clash)))
        free = np.flatnonzero(~occupied[:-1] & ~space.blocked & (space.block_of == space.block_of[site]))
        if not len(free):
            return None  # a site that must be vacant, in a group without room
        # Without its own load on its neighbours, with a little noise to prevent cycling.
        cost = load[free] - np.isin(free, neighbours[site]) + (rng.random(len(free)) < 0.02) * rng.integers(0, 3)
        target = int(rng.choice(free[cost == cost.min()]))
        state[[site, target]] = state[[target, site]]
        occupied[[site, target]] = False, True
        for moved, change in ((site, -1), (target, 1)):
            real = neighbours[moved][neighbours[moved] < space.n_free]
            load[real] += change
    return None


def _neighbours(space: OrderingSpace) -> IntArray:
    """Return (n_free, most) the sites that each site excludes, padded with n_free."""
    lists: list[list[int]] = [[] for _ in range(space.n_free)]
    for i, j in space.exclusions.tolist():
        lists[i].append(j)
        lists[j].append(i)
    table = np.full((space.n_free, max([1, *map(len, lists)])), space.n_free, dtype=np.int64)
    for site, others in enumerate(lists):
        table[site, : len(others)] = others
    return table


def _walk(space: OrderingSpace, n: int, rng: np.random.Generator, budget: float) -> CodeArray:
    """Run one random walk per draw, all from one decoration that respects the exclusions.

    A move swaps the species of one or two pairs of sites of a group and is accepted if it respects the exclusions, so
    that the walk samples uniformly the decorations that it can reach.
    """
    from superionic.structures.orderings.sampling_kernels import swap_walk

    start = find_allowed(space, rng, budget=budget)
    if start is None:
        raise _impossible(space)
    vacancies = [b.species.index(VACANCY) if VACANCY in b.species else 255 for b in space.blocks]
    vacant_code = np.array(vacancies, dtype=np.uint8)[space.block_of]
    neighbours = _neighbours(space)
    first = np.array([space.block_slice(k).start for k in range(len(space.blocks))], dtype=np.int64)[space.block_of]
    size = np.array([b.size for b in space.blocks], dtype=np.int64)[space.block_of]
    drawn = np.empty((n, space.n_free), dtype=np.uint8)
    moves = 1000 + 200 * space.n_free
    for k in range(n):
        state = np.array(start)
        sites = rng.integers(space.n_free, size=(moves, 2))
        partners = first[sites] + (rng.random((moves, 2)) * size[sites]).astype(np.int64)
        both = rng.random(moves) < 0.5
        swap_walk(state, vacant_code, neighbours, space.blocked, sites, partners, both)
        drawn[k] = state
    return drawn
