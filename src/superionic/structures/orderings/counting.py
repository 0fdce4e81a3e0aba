"""Exact counting of symmetry-distinct orderings, before any of them is made.

Burnside's lemma: the number of orbits of a group G on a set is the mean over g in G of the number of elements that g
fixes. An ordering with given counts is fixed by g if every cycle of g's permutation carries one species. So for one
group of sites the number is the coefficient of Π_s z_s^(c_s) in Π_cycles (Σ_s z_s^length) (Pólya, Acta Math. 68, 145
(1937)), and groups multiply, as one operation acts on all of them at once.

Two conventions are in use. *All orbits* of a supercell include superperiodic orderings, those of a smaller cell
repeated. Codes that go through supercells by their Hermite normal forms leave these out. With T the translations of the
supercell, the orbits without them are by Möbius inversion over the subgroups K of T

    1/|G| Σ_g Σ_K μ(1, K) × number of decorations that g and all of K fix.

Numbers are Python integers: exact at any size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial, inf, lcm

import numpy as np

from superionic.errors import CompositionError, StructureError
from superionic.structures.crystal.composition import IntegerComposition
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.supercells import Supercell, SupercellSites, inequivalent_supercells, supercell_sites
from superionic.structures.crystal.symmetry import IntArray, action_on
from superionic.structures.orderings.joint_counts import Budget, Pool, Shares
from superionic.structures.orderings.permutations import (
    conjugacy_classes,
    distinct_permutations,
    moebius_terms,
    orbits_of,
)

_BATCH = 1 << 20

CycleType = tuple[tuple[int, int], ...]
"""(length, number of cycles), by rising length."""


@dataclass(frozen=True)
class OrderingCount:
    """The numbers of orderings of a composition in a supercell.

    Parameters
    ----------
    raw
        All decorations.
    distinct
        Those that no operation of the parent carries into one another.
    group_order
        Number of operations modulo the lattice of the supercell.
    """

    raw: int
    distinct: int
    group_order: int


def count_orderings(sites: SupercellSites, composition: IntegerComposition) -> OrderingCount:
    """Count the orderings of a composition exactly, superperiodic ones included, by Burnside's lemma.

    Parameters
    ----------
    composition
        The counts on its groups of sites.

    Raises
    ------
    StructureError
        If an operation carries a site of one group into another (the composition is of another supercell).
    """
    blocks = disordered_blocks(composition)
    actions = distinct_permutations(action_on(sites.permutations, [members for members, _ in blocks]))
    return _count_compositions(actions, [counts for _, counts in blocks], None, sites.group_order)[0]


def count_both(sites: SupercellSites, composition: IntegerComposition) -> tuple[OrderingCount, OrderingCount]:
    """Return :func:`count_orderings`, and the same without superperiodic orderings, those of a smaller supercell."""
    blocks = disordered_blocks(composition)
    groups = [members for members, _ in blocks]
    translations = sites.translations
    if not blocks:
        only = int(len(translations) == 1)
        return OrderingCount(1, 1, sites.group_order), OrderingCount(only, only, sites.group_order)
    actions = distinct_permutations(action_on(sites.permutations, groups))
    inner = distinct_permutations(action_on(translations, groups))
    return _count_compositions(actions, [counts for _, counts in blocks], inner, sites.group_order)


def count_all_compositions(
    sites: SupercellSites,
    groups: Sequence[tuple[Sequence[int], int]],
    *,
    exchangeable: bool = False,
) -> tuple[OrderingCount, OrderingCount]:
    """Count the orderings of all compositions together: any species of a group on any of its sites.

    Parameters
    ----------
    groups
        (indices of the sites, number of species, the vacancy counted as one) of each group that has a choice.
    exchangeable
        Count orderings that differ only in the names of the species as one, as in Hart & Forcade (2008); for one group.

    Returns
    -------
    everything, non_superperiodic
        With and without the orderings of smaller cells repeated.

    Raises
    ------
    StructureError
        If an operation carries a site of one group into another.
    CompositionError
        If species are to be exchanged in several groups.
    """
    if exchangeable and len(groups) != 1:
        raise CompositionError(
            f"Species can be exchanged in one group of sites only; there are {len(groups)}.",
            fix="Count with exchangeable=False.",
        )
    members = [list(sites_of) for sites_of, _ in groups]
    actions = distinct_permutations(action_on(sites.permutations, members))
    inner = distinct_permutations(action_on(sites.translations, members)) if members else actions
    n = actions.shape[1]
    kinds = np.repeat([k for _, k in groups], [len(m) for m in members]).astype(np.int64)
    tally = _Tally(len(actions), sites.group_order)
    relabellings = list(_relabellings(int(groups[0][1]))) if exchangeable else [((), 1)]
    for lengths, times in relabellings:
        # A relabelling of order m cycles along with the operation: orbits on sites × levels show how often.
        order = lcm(1, *lengths)
        for system in _systems(actions, inner, order):
            fixed = 1
            for point, components in _components_over(system.labels, n, order):
                # A species can occupy the orbit if that power of the relabelling fixes it.
                fixed *= sum(c for c in lengths if components % c == 0) if lengths else int(kinds[point])
            tally.add(system, fixed, times, unlabelled=order == 1)
    return tally.counts(sum(t for _, t in relabellings))


@dataclass(frozen=True)
class SupercellCount:
    """The orderings of one of the supercells of an index.

    Parameters
    ----------
    composition
        The counts on its groups of sites; None for all compositions together.
    raw, distinct, group_order
        As in :class:`OrderingCount`.
    non_superperiodic
        Distinct orderings without those of a smaller cell repeated.
    """

    supercell: Supercell
    composition: IntegerComposition | None
    raw: int
    distinct: int
    non_superperiodic: int
    group_order: int


@dataclass(frozen=True)
class IndexCount:
    """The orderings of all inequivalent supercells of an index.

    Parameters
    ----------
    index
        Number of parent cells.
    supercells
        One count for each supercell, most compact first.
    problem
        Why there are no orderings, if no composition fits the index; else None.
    """

    index: int
    supercells: tuple[SupercellCount, ...]
    problem: str | None = None

    @property
    def n_supercells(self) -> int:
        """Number of supercells."""
        return len(self.supercells)

    @property
    def raw(self) -> int:
        """All decorations of all supercells."""
        return sum(s.raw for s in self.supercells)

    @property
    def distinct(self) -> int:
        """All distinct orderings, the superperiodic ones in each supercell again."""
        return sum(s.distinct for s in self.supercells)

    @property
    def non_superperiodic(self) -> int:
        """Distinct orderings that no smaller supercell has: each counted once over all supercells and indices."""
        return sum(s.non_superperiodic for s in self.supercells)


def count_by_index(
    crystal: DisorderedCrystal,
    max_index: int,
    compose: Callable[[Supercell], IntegerComposition] | None = None,
    *,
    min_index: int = 1,
    exchangeable: bool = False,
    diagonal_only: bool = False,
) -> tuple[IndexCount, ...]:
    """Count the orderings of all inequivalent supercells up to an index.

    Parameters
    ----------
    crystal
        The parent; its primitive cell is used.
    max_index, min_index
        Largest and smallest number of parent cells.
    compose
        Gives the composition of a supercell of the primitive parent (it depends on the index only, so it is called once
        per index); a :class:`CompositionError` leaves the index without orderings. None: all compositions together.
    exchangeable
        As in :func:`count_all_compositions`; for all compositions only.
    diagonal_only
        Only supercells that repeat the parent along its own vectors.

    Raises
    ------
    CompositionError
        If species are to be exchanged at a given composition, or in several groups.
    StructureError
        If an index is not positive, or the crystal has disorder groups of several atoms.
    """
    if exchangeable and compose is not None:
        raise CompositionError(
            "Species can be exchanged only where all compositions are counted.",
            fix="Count with exchangeable=False, or all compositions together.",
        )
    parent = crystal.primitive()
    if any(site.alternative is not None for site in parent.sites):
        raise StructureError(
            "The crystal has disorder groups, whose atoms go together; counts over many supercells fill each site "
            "independently.",
            where=crystal.name,
            fix="Count in one supercell, such as --supercell 1x1x2.",
        )
    counts = []
    for index in range(min_index, max_index + 1):
        cells = inequivalent_supercells(parent, index, diagonal_only=diagonal_only)
        composition, problem = None, None
        if compose is not None:
            try:
                composition = compose(cells[0])
            except CompositionError as error:
                problem = error.message
        supercell_counts = (
            [] if problem else [_count_supercell(parent, cell, composition, exchangeable) for cell in cells]
        )
        counts.append(IndexCount(index, tuple(supercell_counts), problem))
    return tuple(counts)


def _count_supercell(
    parent: DisorderedCrystal, cell: Supercell, composition: IntegerComposition | None, exchangeable: bool
) -> SupercellCount:
    sites = supercell_sites(parent, cell)
    if composition is not None:
        count, aperiodic = count_both(sites, composition)
    else:
        groups = [
            (np.flatnonzero(np.isin(sites.parent_site, s.sites)).tolist(), len(s.species) + (s.vacancy > 0.0))
            for s in parent.sublattices
            if not s.is_ordered
        ]
        count, aperiodic = count_all_compositions(sites, groups, exchangeable=exchangeable)
    return SupercellCount(cell, composition, count.raw, count.distinct, aperiodic.distinct, count.group_order)


def disordered_blocks(composition: IntegerComposition) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return (sites, counts) of each group that holds more than one species (or vacancies)."""
    return [
        (group, tuple(counts.values()))
        for group, counts in zip(composition.groups, composition.counts, strict=True)
        if len(counts) > 1
    ]


@dataclass(frozen=True, eq=False)
class _System:
    """A class of operations together with a subgroup of translations.

    Parameters
    ----------
    size
        Number of operations in the class.
    moebius
        Möbius number of the subgroup.
    identity, trivial
        Whether the operation is the identity, and whether the subgroup is that alone.
    labels
        (n × levels,) the orbits of the two together; the operation also moves each site one level on.
    """

    size: int
    moebius: int
    identity: bool
    trivial: bool
    labels: IntArray


class _Tally:
    """The sums of Burnside's lemma, over the trivial subgroup alone and over all with their Möbius numbers."""

    def __init__(self, n_actions: int, group_order: int) -> None:
        self._n_actions, self._group_order = n_actions, group_order
        self._raw, self._total = [0, 0], [0, 0]

    def add(self, system: _System, fixed: int, times: int = 1, *, unlabelled: bool = True) -> None:
        for which, factor in ((0, int(system.trivial)), (1, system.moebius)):
            self._total[which] += factor * system.size * times * fixed
            if system.identity and unlabelled:
                self._raw[which] += factor * fixed

    def counts(self, n_relabellings: int = 1) -> tuple[OrderingCount, OrderingCount]:
        order = self._n_actions * n_relabellings
        first, second = (
            OrderingCount(raw, total // order, self._group_order)
            for raw, total in zip(self._raw, self._total, strict=True)
        )
        return first, second


def _count_compositions(
    actions: IntArray, counts: Sequence[tuple[int, ...]], inner: IntArray | None, group_order: int
) -> tuple[OrderingCount, OrderingCount]:
    """Sum over operations (and subgroups of the inner translations) the decorations with given counts that they fix."""
    block_of = np.repeat(np.arange(len(counts)), [sum(c) for c in counts])
    tally = _Tally(len(actions), group_order)
    for system in _systems(actions, inner, 1):
        sizes = np.bincount(system.labels, minlength=len(system.labels))
        fixed = 1
        for block, numbers in enumerate(counts):
            lengths = np.bincount(sizes[block_of == block])
            cycles = tuple((length, int(lengths[length])) for length in np.flatnonzero(lengths).tolist() if length)
            fixed *= fixed_decorations(cycles, numbers)
            if fixed == 0:
                break
        tally.add(system, fixed)
    return tally.counts()


def _systems(actions: IntArray, inner: IntArray | None, levels: int) -> Iterator[_System]:
    """Yield the pairs of a class of operations and a subgroup of translations."""
    n = actions.shape[1]
    representatives, class_sizes = conjugacy_classes(actions)
    terms = [(1, np.zeros((0, n), dtype=np.int64))] if inner is None else moebius_terms(inner)
    most = max(len(generators) for _, generators in terms)
    step = np.arange(n * levels).reshape(levels, n)
    batch = max(1, _BATCH // max(1, len(terms) * (1 + most) * levels * n))
    for start in range(0, len(representatives), batch):
        part = representatives[start : start + batch]
        generators = np.empty((len(part), len(terms), 1 + most, levels, n), dtype=np.int64)
        generators[:] = step
        for p, representative in enumerate(part):
            generators[p, :, 0] = np.roll(step, -1, axis=0)[:, actions[representative]]
        for k, (_, translations) in enumerate(terms):
            for r, translation in enumerate(translations):
                generators[:, k, 1 + r] = step[:, translation]
        flat = generators.reshape(len(part) * len(terms), 1 + most, levels * n)
        labels = orbits_of(flat).reshape(len(part), len(terms), levels * n)
        for representative, size, rows in zip(part, class_sizes[start : start + batch], labels, strict=True):
            for k, (moebius, _) in enumerate(terms):
                yield _System(int(size), moebius, representative == 0, k == 0, rows[k])


def _components_over(labels: IntArray, n: int, levels: int) -> Iterator[tuple[int, int]]:
    """Yield for each orbit of sites its smallest site and how many orbits on sites × levels lie over it."""
    by_level = labels.reshape(levels, n)
    # Orbits over one orbit of sites are shifted copies; each of its sites meets all of them.
    sites = by_level.min(axis=0)
    for point in np.unique(sites).tolist():
        yield point, len(np.unique(by_level[:, point]))


def _relabellings(n_species: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield the cycle lengths of the permutations of the species, and how many permutations have them."""

    def partitions(rest: int, largest: int) -> Iterator[tuple[int, ...]]:
        if rest == 0:
            yield ()
        for part in range(min(rest, largest), 0, -1):
            for tail in partitions(rest - part, part):
                yield (part, *tail)

    for lengths in partitions(n_species, n_species):
        ways = factorial(n_species)
        for length, times in Counter(lengths).items():
            ways //= length**times * factorial(times)
        yield lengths, ways


@lru_cache(maxsize=4096)
def fixed_decorations(cycle_type: CycleType, counts: tuple[int, ...]) -> int:
    """Count the decorations of a group of sites with the given counts that are constant on every cycle."""
    rest = counts.index(max(counts))
    target = tuple(c for k, c in enumerate(counts) if k != rest)
    pools = [Pool(length, number, 0, len(target)) for length, number in cycle_type]
    if sum(p.length * p.number for p in pools) != sum(counts):
        return 0
    return Shares(pools, target, Budget(inf)).count
