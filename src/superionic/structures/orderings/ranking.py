"""The orderings of lowest point-charge energy of a whole space, exactly, without storing the others.

One interaction matrix serves the supercell (see :mod:`.electrostatics`); the energy of every
ordering is carried along the walk that lists them (:mod:`superionic.structures.orderings.listing_kernels`).

Many orderings share one energy: species of equal charge, such as Cl⁻ and Br⁻, change places at no cost. Where the
lowest K end inside such a tie, some of its members must be selected, and this is done evenly: the members in the order
of the listing are cut into as many stretches as are needed, and one is drawn from each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.errors import CompositionError
from superionic.structures.crystal.symmetry import FloatArray, IntArray
from superionic.structures.orderings.electrostatics import charges_of, ewald_energies
from superionic.structures.orderings.listing import CHUNK, NO_LIMIT, Walker
from superionic.structures.orderings.listing_kernels import EMIT_LOWEST, EMIT_PICKED, Choice
from superionic.structures.orderings.space import CodeArray, OrderingSpace

RESOLUTION_EV = 1e-6
"""Energies closer than this count as one level: exact ties differ only by rounding (1e-10 eV)."""

_STEP = 20_000_000


@dataclass(frozen=True)
class Tie:
    """Orderings of equal energy of which only some are among the lowest.

    Parameters
    ----------
    members
        Number of distinct orderings of this energy.
    raw
        Number of decorations of this energy.
    taken
        Number of them selected, one at random from each of as many equal stretches of the listing.
    """

    energy_eV: float
    members: int
    raw: int
    taken: int
    seed: int


@dataclass(frozen=True)
class EnergyHistogram:
    """The distribution of the energies of a listing.

    Parameters
    ----------
    edges_eV
        (b + 1,) edges of the bins.
    distinct, raw
        (b,) distinct orderings, and decorations (distinct ones by their degeneracy), in each bin.
    """

    edges_eV: tuple[float, ...]
    distinct: tuple[int, ...]
    raw: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class RankedOrderings:
    """The lowest orderings of a space, with statistics of all of them.

    Parameters
    ----------
    decorations
        (k, n_free) uint8 codes of the free sites, lowest energy first.
    energies_eV
        (k,) point-charge energy of the supercell.
    degeneracies
        (k,) int64.
    superperiodic
        (k,) bool.
    distinct, raw
        Number of orderings and decorations examined: all that respect the exclusions.
    mean_eV, standard_deviation_eV
        Mean and standard deviation of the energy over all decorations, as at infinite temperature.
    histogram
        Histogram of the energies of all orderings; None if they all have one energy.
    tie
        The tie in which the lowest orderings end, if there is one.
    """

    decorations: CodeArray
    energies_eV: FloatArray
    degeneracies: IntArray
    superperiodic: NDArray[np.bool_]
    distinct: int
    raw: int
    mean_eV: float
    standard_deviation_eV: float
    histogram: EnergyHistogram | None
    tie: Tie | None

    def __len__(self) -> int:
        return len(self.energies_eV)


def lowest_orderings(
    space: OrderingSpace,
    matrix: FloatArray,
    oxidation_states: Mapping[str, float],
    number: int,
    *,
    seed: int = 0,
    max_nodes: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> RankedOrderings:
    """List a space and return its orderings of lowest point-charge energy, exactly.

    Parameters
    ----------
    space
        The space; all its orderings that respect the exclusions are examined.
    matrix
        (n_sites, n_sites) from :func:`~superionic.structures.orderings.electrostatics.ewald_matrix`, in eV/e².
    oxidation_states
        Charge in e of every species.
    number
        Number of orderings to return.
    seed
        Seed of the selection within a tie.
    max_nodes
        Give up after this many steps of the walk.
    progress
        Called from time to time with the number of orderings reached.

    Raises
    ------
    CompositionError
        If the number is not positive, a species has no charge, no ordering respects the exclusions, or the steps
        run out.
    """
    if number < 1:
        raise CompositionError(f"{number} orderings cannot be ranked.", fix="Ask for one or more.")
    symbols = space.symbols
    charges = dict(zip(symbols, (float(q) for q in charges_of(symbols, oxidation_states)), strict=True))
    walker = Walker(
        space,
        capacity=max(CHUNK, min(2 * number, 1 << 20)),
        matrix=matrix,
        charges=charges,
        choice=Choice(EMIT_LOWEST, tolerance_eV=RESOLUTION_EV),
    )
    pool = _walk_lowest(space, walker, number, max_nodes, progress)
    if walker.leaves == 0:
        raise CompositionError(
            f"No ordering of {space.composition.formula} keeps {space.rule}.",
            where=f"supercell {space.sites.supercell}",
            fix="Lower the smallest distance, use a larger supercell, or couple the sublattices.",
        )
    cut = float(walker.choice.cut_eV)
    tie = None
    members, raw_members = walker.at_cut
    below = pool.energies < cut - RESOLUTION_EV
    room = number - int(below.sum())
    if np.isfinite(cut) and members > room:
        # Go through the listing once more for the selected members of the tie.
        choice = Choice(EMIT_PICKED, cut, RESOLUTION_EV, _spread_picks(members, room, seed))
        again = Walker(space, capacity=room + 1, matrix=matrix, charges=charges, choice=choice)
        selected = _Pool.of(again, again.advance())
        pool = pool.select(np.flatnonzero(below)).joined(selected)
        tie = Tie(cut + walker.base_energy_eV, members, raw_members, room, seed)
    values = np.array([charges[s] for s in symbols])
    energies = ewald_energies(matrix, values[space.site_codes(pool.codes)])
    order = np.argsort(np.round(energies / RESOLUTION_EV), kind="stable")[:number]
    raw = int(walker.histogram[1].sum())
    mean = float(walker.statistics.total) / raw
    variance = float(walker.statistics.squares) / raw - mean**2
    return RankedOrderings(
        decorations=pool.codes[order],
        energies_eV=energies[order],
        degeneracies=pool.degeneracies[order],
        superperiodic=pool.superperiodic[order],
        distinct=walker.leaves,
        raw=raw,
        mean_eV=mean + walker.base_energy_eV,
        standard_deviation_eV=float(np.sqrt(max(0.0, variance))),
        histogram=_histogram(walker),
        tie=tie,
    )


def _spread_picks(members: int, room: int, seed: int) -> IntArray:
    """Pick as many members of a tie as there is room for, one at random from each stretch of the listing."""
    edges = np.arange(room + 1) * members // room
    picks: IntArray = np.random.default_rng(seed).integers(edges[:-1], edges[1:]).astype(np.int64)
    return picks


def _walk_lowest(
    space: OrderingSpace,
    walker: Walker,
    number: int,
    max_nodes: int | None,
    progress: Callable[[int], None] | None,
) -> _Pool:
    limit = NO_LIMIT if max_nodes is None else max_nodes
    pool = _Pool.empty(space.n_free)
    while not walker.finished:
        written = walker.advance(min(_STEP, limit - walker.nodes))
        pool = pool.joined(_Pool.of(walker, written))
        if len(pool.energies) > number or walker.finished:
            pool = _cut(pool, walker, number)
        if progress is not None:
            progress(walker.leaves)
        if walker.nodes >= limit and not walker.finished:
            raise CompositionError(
                f"The listing of {space.composition.formula} was abandoned after {limit:,} steps.",
                where=f"supercell {space.sites.supercell}",
                fix="Search for the lowest energy or sample instead, or use a smaller supercell.",
            )
    return pool


def _cut(pool: _Pool, walker: Walker, number: int) -> _Pool:
    """Lower the cut to the energy of the last ordering to be returned, and drop those above.

    All orderings below the cut are in the pool, so that a lower cut has all members of its level there. Members at the
    cut are only counted by the walk; as many as were needed when the cut was set are in the pool.
    """
    if len(pool.energies) < number or number == 0:
        return pool
    order = np.argsort(pool.energies, kind="stable")
    cut = float(pool.energies[order[number - 1]])
    old = float(walker.choice.cut_eV)
    near = np.abs(pool.energies - cut) <= RESOLUTION_EV
    if not np.isfinite(old) or cut < old - RESOLUTION_EV:
        walker.lower_cut(cut, (int(near.sum()), int(pool.degeneracies[near].sum())))
    else:
        cut = old
        near = np.abs(pool.energies - cut) <= RESOLUTION_EV
    below = np.flatnonzero(pool.energies < cut - RESOLUTION_EV)
    at = np.flatnonzero(near)[: number - len(below)]
    return pool.select(np.sort(np.concatenate([below, at])))


@dataclass(frozen=True, eq=False)
class _Pool:
    """The lowest orderings so far, in the order of the listing."""

    codes: CodeArray
    degeneracies: IntArray
    superperiodic: NDArray[np.bool_]
    energies: FloatArray

    @classmethod
    def empty(cls, n_free: int) -> _Pool:
        return cls(np.zeros((0, n_free), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0))

    @classmethod
    def of(cls, walker: Walker, n: int) -> _Pool:
        """Take the first `n` rows of the output of a walk."""
        return cls(walker.codes[:n], walker.degeneracies[:n], walker.superperiodic[:n], walker.energies[:n])

    def select(self, index: IntArray) -> _Pool:
        return _Pool(self.codes[index], self.degeneracies[index], self.superperiodic[index], self.energies[index])

    def joined(self, other: _Pool) -> _Pool:
        return _Pool(
            np.concatenate([self.codes, other.codes]),
            np.concatenate([self.degeneracies, other.degeneracies]),
            np.concatenate([self.superperiodic, other.superperiodic]),
            np.concatenate([self.energies, other.energies]),
        )


def _histogram(walker: Walker) -> EnergyHistogram | None:
    distinct, raw = walker.histogram
    filled = np.flatnonzero(distinct)
    statistics = walker.statistics
    if statistics.maximum - statistics.minimum < RESOLUTION_EV:
        return None
    first, last = int(filled[0]), int(filled[-1])
    low, width = float(statistics.low), float(statistics.width)
    return EnergyHistogram(
        edges_eV=tuple((walker.base_energy_eV + low + width * np.arange(first, last + 2)).tolist()),
        distinct=tuple(distinct[first : last + 1].tolist()),
        raw=tuple(raw[first : last + 1].tolist()),
    )
