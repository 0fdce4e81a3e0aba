"""A space of orderings as the lattice on which Monte Carlo swaps: moving species, their charges and their field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from superionic.chemistry import VACANCY
from superionic.errors import CompositionError
from superionic.structures.crystal.symmetry import FloatArray
from superionic.structures.orderings.electrostatics import charges_of, supercell_ewald_matrix
from superionic.structures.orderings.sampling import find_allowed
from superionic.structures.orderings.space import OrderingSpace
from superionic.thermodynamics.lattice_mc.lattice import EwaldEnergy, SwapSpace
from superionic.thermodynamics.lattice_mc.order_parameters import PairShells, pair_shells

_LONGEST_A = 30.0


@dataclass(frozen=True, eq=False)
class ChargedLattice:
    """The swaps of a space and their point-charge energies.

    Parameters
    ----------
    swaps
        The decorations that swaps connect, with a starting one.
    ewald
        Their point-charge energy in vacuum.
    charges
        For each block the charge in e of each of its codes.
    matrix
        Ewald matrix of all sites, in eV/e².
    """

    swaps: SwapSpace
    ewald: EwaldEnergy
    charges: tuple[FloatArray, ...]
    matrix: FloatArray

    def screened(self, dielectric: float) -> EwaldEnergy:
        """Return the point-charge energy in a medium of a relative permittivity."""
        if not (np.isfinite(dielectric) and dielectric > 0.0):
            raise CompositionError(
                f"{dielectric:g} is not a relative permittivity.", fix="Give a positive number; 1 is the vacuum."
            )
        e = self.ewald
        return EwaldEnergy(e.matrix / dielectric, e.charges, e.field / dielectric, e.constant / dielectric)


def lattice_of(space: OrderingSpace, oxidation_states: Mapping[str, float], rng: np.random.Generator) -> ChargedLattice:
    """Build the lattice of a space.

    Parameters
    ----------
    space, oxidation_states
        The space, and the charge in e of every species.
    rng
        Source of randomness for the starting decoration.

    Raises
    ------
    CompositionError
        If there is no freedom: all sites are fixed, no decoration respects the exclusions, or atoms go together.
    """
    space.demand_swaps()
    start = find_allowed(space, rng)
    if start is None:
        raise CompositionError(
            f"No ordering of {space.composition.formula} was found that respects the distances.",
            where=f"supercell {space.sites.supercell}",
            fix="Lower the smallest distance, or use a larger supercell.",
        )
    if not len(start):
        raise _no_freedom(space)
    charges = tuple(charges_of(block.species, oxidation_states) for block in space.blocks)
    fixed = np.zeros(space.sites.n_sites)
    for group, counts in zip(space.composition.groups, space.composition.counts, strict=True):
        if len(counts) == 1:
            fixed[list(group)] = charges_of(tuple(counts), oxidation_states)[0]
    matrix = supercell_ewald_matrix(space.sites)
    swaps = SwapSpace(
        block_of=space.block_of,
        start=start,
        vacancies=tuple(b.species.index(VACANCY) if VACANCY in b.species else None for b in space.blocks),
        exclusions=space.exclusions,
        blocked=space.blocked,
    )
    if len(swaps.moves().classes) == 0:
        raise _no_freedom(space)
    ewald = EwaldEnergy.from_sites(matrix, space.members, space.block_of, [list(q) for q in charges], fixed)
    return ChargedLattice(swaps, ewald, charges, matrix)


def _no_freedom(space: OrderingSpace) -> CompositionError:
    return CompositionError(
        f"{space.composition.formula} has no freedom: no two unlike species can change places.",
        where=f"supercell {space.sites.supercell}",
        fix="Take a composition or a supercell that mixes species (or ions and vacancies) on its sites, or list it.",
    )


def nearest_shells(space: OrderingSpace, number: int, *, cutoff_A: float = 6.0) -> PairShells | None:
    """Return the nearest pairs of free sites, the first few shells of each pair of blocks.

    Parameters
    ----------
    number
        Largest number of shells of each pair of blocks.
    cutoff_A
        Longest distance; it grows if no pair lies within.

    Returns
    -------
    PairShells or None
        None if no two free sites are within 30 Å.
    """
    from superionic.errors import AnalysisError

    fractional = space.sites.fractional[space.members]
    while True:
        try:
            shells = pair_shells(space.sites.cell_A, fractional, space.block_of, cutoff_A)
            break
        except AnalysisError:
            cutoff_A *= 1.5
            if cutoff_A > _LONGEST_A:
                return None
    # Shells come sorted by blocks, then by distance.
    n_shells: dict[tuple[int, int], int] = {}
    new_index = np.full(len(shells.blocks), -1, dtype=np.int64)
    for shell, (a, b) in enumerate(shells.blocks.tolist()):
        n_shells[a, b] = n_shells.get((a, b), 0) + 1
        if n_shells[a, b] <= number:
            new_index[shell] = int((new_index >= 0).sum())
    pairs = new_index[shells.shell] >= 0
    return PairShells(
        first=shells.first[pairs],
        second=shells.second[pairs],
        shell=new_index[shells.shell[pairs]],
        blocks=shells.blocks[new_index >= 0],
        distances_A=shells.distances_A[new_index >= 0],
        vectors_A=shells.vectors_A[pairs],
    )
