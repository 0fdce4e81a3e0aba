"""Exact counting of symmetry-distinct orderings, before any of them is made.

Burnside's lemma: the number of orbits of a group G on a set is the mean over g in G of the number of elements that g
leaves as they are. An ordering with given counts is left as it is by g if every cycle of g's permutation carries one
species. So for one group of sites the number is the coefficient of Π_s z_s^(c_s) in Π_cycles (Σ_s z_s^length)
(Pólya, Acta Math. 68, 145 (1937)), and groups multiply, as one operation acts on all of them at once.

Numbers are Python integers: exact at any size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb

import numpy as np

from superionic.errors import StructureError
from superionic.structures.composition import IntegerComposition
from superionic.structures.supercells import SupercellSites
from superionic.structures.symmetry import IntArray


@dataclass(frozen=True)
class OrderingCount:
    """How many orderings a composition of a supercell has.

    Parameters
    ----------
    raw
        All decorations.
    distinct
        Those that no operation of the parent carries into one another; superperiodic ones are included.
    group_order
        Number of operations modulo the lattice of the supercell.
    """

    raw: int
    distinct: int
    group_order: int


CycleType = tuple[tuple[int, int], ...]
"""(length, how many), by rising length."""


def count_orderings(sites: SupercellSites, composition: IntegerComposition) -> OrderingCount:
    """Count the orderings of a composition exactly, by Burnside's lemma.

    Parameters
    ----------
    sites
        The supercell.
    composition
        The counts on its groups of sites.

    Raises
    ------
    StructureError
        If an operation carries a site of one group into another (the composition is of another supercell).
    """
    blocks = disordered_blocks(composition)
    raw = 1
    for _, counts in blocks:
        raw *= _fixed(((1, sum(counts)),), counts)
    types: Counter[tuple[CycleType, ...]] = Counter()
    per_block = [_cycle_types(group_permutations(sites, members)) for members, _ in blocks]
    for g in range(sites.group_order):
        types[tuple(block[g] for block in per_block)] += 1
    total = 0
    for cycle_types, times in types.items():
        fixed = 1
        for cycle_type, (_, counts) in zip(cycle_types, blocks, strict=True):
            fixed *= _fixed(cycle_type, counts)
            if fixed == 0:
                break
        total += times * fixed
    return OrderingCount(raw=raw, distinct=total // sites.group_order, group_order=sites.group_order)


def disordered_blocks(composition: IntegerComposition) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return (sites, counts) of each group that holds more than one species (or vacancies)."""
    return [
        (group, tuple(counts.values()))
        for group, counts in zip(composition.groups, composition.counts, strict=True)
        if len(counts) > 1
    ]


def group_permutations(sites: SupercellSites, members: Sequence[int]) -> IntArray:
    """Return (n_ops, m): how the operations permute a group of sites, in the group's own numbering.

    Raises
    ------
    StructureError
        If the group is not closed under the operations.
    """
    position = np.full(sites.n_sites, -1, dtype=np.int64)
    index = np.asarray(members, dtype=np.int64)
    if len(index) and (index.min() < 0 or index.max() >= sites.n_sites):
        raise StructureError(
            f"The composition names site {int(index.max())}; the supercell has {sites.n_sites} sites.",
            fix="Use the composition with the supercell that it was made for.",
        )
    position[index] = np.arange(len(index))
    mapped: IntArray = position[sites.permutations[:, index]]
    if np.any(mapped < 0):
        raise StructureError(
            "A symmetry operation carries a site of one group of the composition into another group.",
            fix="Use the composition with the supercell and the crystal that it was made for.",
        )
    return mapped


def _cycle_types(permutations: IntArray) -> list[CycleType]:
    """Cycle type of each permutation: (n_ops, m) → list of ((length, how many), …)."""
    n_ops, size = permutations.shape
    # Each site's cycle length is the first power that brings it back; all operations are advanced together.
    lengths = np.zeros((n_ops, size), dtype=np.int64)
    here = np.arange(size)[None, :]
    position = np.array(permutations)
    step = 1
    while True:
        lengths[(position == here) & (lengths == 0)] = step
        if np.all(lengths > 0):
            break
        position = np.take_along_axis(permutations, position, axis=1)
        step += 1
    result = []
    for row in lengths:
        numbers = np.bincount(row).tolist()
        result.append(tuple((length, n // length) for length, n in enumerate(numbers) if n))
    return result


@lru_cache(maxsize=4096)
def _fixed(cycle_type: CycleType, counts: tuple[int, ...]) -> int:
    """Count the decorations with the given counts that are constant on every cycle."""
    if len(counts) <= 1:
        return 1 if sum(length * number for length, number in cycle_type) == sum(counts) else 0
    # The rarest species chooses its cycles first (fewest ways); the others share what is left.
    ordered = tuple(sorted(counts))
    total = 0
    for used, ways in _choices(cycle_type, ordered[0]):
        rest = tuple((length, number - u) for (length, number), u in zip(cycle_type, used, strict=True) if number > u)
        total += ways * _fixed(rest, ordered[1:])
    return total


def _choices(cycle_type: CycleType, sites: int) -> list[tuple[tuple[int, ...], int]]:
    """All ways to take cycles that cover exactly that many sites: (how many of each length, number of ways)."""
    if not cycle_type:
        return [((), 1)] if sites == 0 else []
    (length, number), rest = cycle_type[0], cycle_type[1:]
    result: list[tuple[tuple[int, ...], int]] = []
    for used in range(min(number, sites // length) + 1):
        ways = comb(number, used)
        result.extend(((used, *tail), ways * w) for tail, w in _choices(rest, sites - used * length))
    return result
