"""Symmetry-distinct orderings of a supercell: one of them, a table of them, and their conversion to atoms.

They are generated elsewhere: all of them by :mod:`superionic.structures.orderings.listing`, the lowest in energy by
:mod:`superionic.structures.orderings.ranking`, a random sample by :mod:`superionic.structures.orderings.sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from superionic.chemistry import VACANCY, species_key
from superionic.errors import CompositionError
from superionic.structures.crystal.supercells import SupercellSites
from superionic.structures.crystal.symmetry import IntArray
from superionic.structures.orderings.counting import count_orderings
from superionic.structures.orderings.listing import stream_orderings
from superionic.structures.orderings.space import CodeArray, OrderingSpace


@dataclass(frozen=True)
class Ordering:
    """One symmetry-distinct decoration of a supercell.

    Parameters
    ----------
    species
        Species on each site of the supercell, ``"X"`` where it is vacant.
    degeneracy
        Number of decorations that symmetry makes equal to this one, itself included.
    """

    species: tuple[str, ...]
    degeneracy: int


@dataclass(frozen=True, eq=False)
class OrderingTable:
    """Many orderings as arrays: the form for ranking them by the thousand.

    Parameters
    ----------
    symbols
        The species that occur, in the order of formulas, ``"X"`` last.
    codes
        (n, n_sites) uint8: index into ``symbols`` for each site of each ordering.
    degeneracies
        (n,) int64.
    """

    symbols: tuple[str, ...]
    codes: CodeArray
    degeneracies: IntArray

    def __post_init__(self) -> None:
        for field in ("codes", "degeneracies"):
            getattr(self, field).setflags(write=False)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Ordering:
        return Ordering(tuple(self.symbols[c] for c in self.codes[index]), int(self.degeneracies[index]))

    def __iter__(self) -> Iterator[Ordering]:
        return (self[i] for i in range(len(self)))

    @classmethod
    def of(cls, space: OrderingSpace, decorations: CodeArray, degeneracies: IntArray) -> OrderingTable:
        """Build a table from (n, n_free) decorations of a space and their (n,) degeneracies."""
        return cls(space.symbols, space.site_codes(decorations), np.array(degeneracies, dtype=np.int64))


def list_ordering_table(space: OrderingSpace, *, limit: int = 1_000_000) -> OrderingTable:
    """List all symmetry-distinct orderings of a space that respect its exclusions, in lexicographic order.

    To go through more of them than fit in memory use :func:`~superionic.structures.orderings.listing.stream_orderings`.

    Parameters
    ----------
    limit
        Refuse to list more than this many. Without exclusions they are counted first, which takes milliseconds.

    Raises
    ------
    CompositionError
        If there are more than `limit`.
    """
    if not space.has_exclusions:
        _check_limit(space, count_orderings(space.sites, space.composition).distinct, limit)
    decorations, degeneracies, n_listed = [], [], 0
    for chunk in stream_orderings(space):
        n_listed += len(chunk)
        _check_limit(space, n_listed, limit)
        decorations.append(chunk.decorations)
        degeneracies.append(chunk.degeneracies)
    if not decorations:
        return OrderingTable.of(space, np.zeros((0, space.n_free), dtype=np.uint8), np.zeros(0, dtype=np.int64))
    return OrderingTable.of(space, np.concatenate(decorations), np.concatenate(degeneracies))


def _check_limit(space: OrderingSpace, n_orderings: int, limit: int) -> None:
    if n_orderings > limit:
        raise CompositionError(
            f"{space.composition.formula} in the supercell {space.sites.supercell} has "
            f"{n_orderings:,} distinct orderings{' or more' if space.has_exclusions else ''}; the limit is {limit:,}.",
            fix="Sample them instead, use a smaller supercell, or raise the limit.",
        )


def to_atoms(sites: SupercellSites, ordering: Ordering) -> Any:
    """Turn an ordering into atoms: without vacant sites, grouped by element, in the order of formulas.

    Returns
    -------
    ase.Atoms
        Periodic; ``info["degeneracy"]`` holds the degeneracy.
    """
    from ase import Atoms

    if len(ordering.species) != sites.n_sites:
        raise CompositionError(
            f"The ordering has {len(ordering.species)} sites, the supercell {sites.n_sites}.",
            fix="Use the ordering with the supercell that it was made for.",
        )
    occupied = [i for i, s in enumerate(ordering.species) if s != VACANCY]
    order = sorted(occupied, key=lambda i: (species_key(ordering.species[i]), i))
    atoms = Atoms(
        symbols=[ordering.species[i] for i in order],
        scaled_positions=sites.fractional[order],
        cell=sites.cell_A,
        pbc=True,
    )
    atoms.info["degeneracy"] = ordering.degeneracy
    return atoms
