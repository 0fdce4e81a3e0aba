"""Detection of orderings that are the same crystal: by a fingerprint independent of the cell, then by exact matching.

The fingerprint holds, for each ordered pair of elements, the mean distance from an atom of the first to its nearest,
second nearest … atom of the second (averages of minimum distances, Widdowson et al., MATCH 87, 529 (2022), by element).
It does not depend on cell, origin or order of atoms: structures whose fingerprints differ need no matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.execution.task import Context, task
from superionic.stages.base import RelaxedOrdering

KNOWN_AS = "superionic.stages.duplicates"  # its name in keys, from before it moved here
_NEIGHBOURS = 8
_FIRST_REACH_A = 6.0
_LARGEST_REACH_A = 40.0
# Unrelaxed orderings of one parent occupy exactly the same sites; relaxed ones agree within the force threshold.
_SAME_SITES_A = 1.0e-3
_SAME_RELAXED_A = 0.05
# Tolerance of pymatgen's matcher, in units of the cube root of the volume per atom: far less than a hop.
_SAME_SITES_STOL = 0.02


def fingerprint(atoms: Atoms) -> NDArray[np.float64]:
    """Return the fingerprint of a crystal, shape (n_elements² x 8,), in Å; elements in order of atomic number."""
    from superionic.potentials.neighbours import pairs_within

    elements = sorted(set(atoms.numbers.tolist()))
    reach = _FIRST_REACH_A
    while reach <= _LARGEST_REACH_A:
        pairs = pairs_within(atoms.positions, atoms.cell.array, True, reach)
        rows = []
        for first in elements:
            centres = np.flatnonzero(atoms.numbers == first)
            for second in elements:
                of_kind = atoms.numbers[pairs.neighbour] == second
                near = [
                    np.sort(pairs.distances_A[of_kind & (pairs.centre == centre)])[:_NEIGHBOURS] for centre in centres
                ]
                rows.append(near)
        if all(len(distances) == _NEIGHBOURS for near in rows for distances in near):
            return np.concatenate([np.mean(near, axis=0) for near in rows])
        reach *= 1.3
    raise ValueError("an element of the crystal is too dilute to compare")


def repeats(
    structures: Sequence[Atoms], *, relaxed: bool, energies_eV_per_atom: Sequence[float],
    volumes_A3_per_atom: Sequence[float],
    energy_tolerance_eV_per_atom: float, volume_tolerance: float,
) -> list[int | None]:  # fmt: skip
    """Return for each structure the index of the earlier one that it repeats, or None.

    Two structures are the same if energy, volume and fingerprint agree within tolerances and pymatgen's matcher maps
    one onto the other.

    Parameters
    ----------
    structures
        Structures of the same elements.
    relaxed
        Whether they are relaxed, so that positions agree only approximately.
    energies_eV_per_atom, volumes_A3_per_atom
        Energy and volume of each.
    energy_tolerance_eV_per_atom, volume_tolerance
        Largest difference of energies, and relative difference of volumes.
    """
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.io.ase import AseAtomsAdaptor

    matcher = (
        StructureMatcher(primitive_cell=True, attempt_supercell=False)
        if relaxed
        else StructureMatcher(primitive_cell=True, attempt_supercell=False, scale=False, stol=_SAME_SITES_STOL)
    )
    energies, volumes = np.asarray(energies_eV_per_atom), np.asarray(volumes_A3_per_atom)
    tolerance = _SAME_RELAXED_A if relaxed else _SAME_SITES_A
    prints = np.array([fingerprint(atoms) for atoms in structures])
    converted: dict[int, Any] = {}

    def structure(i: int) -> Any:
        if i not in converted:
            converted[i] = AseAtomsAdaptor.get_structure(_bare(structures[i]))
        return converted[i]

    same_as: list[int | None] = []
    for i in range(len(structures)):
        near = (
            (np.abs(energies[:i] - energies[i]) <= energy_tolerance_eV_per_atom)
            & (np.abs(volumes[:i] / volumes[i] - 1.0) <= volume_tolerance)
            & (np.abs(prints[:i] - prints[i]).max(axis=1, initial=0.0) <= tolerance)
        )
        original = next(
            (
                j
                for j in np.flatnonzero(near).tolist()
                if same_as[j] is None and matcher.fit(structure(i), structure(j))
            ),
            None,
        )
        same_as.append(original)
    return same_as


def _bare(atoms: Atoms) -> Atoms:
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=2)
def merge_task(
    _context: Context,
    *,
    relaxed: Sequence[RelaxedOrdering],
    energy_tolerance_eV_per_atom: float,
    volume_tolerance: float,
) -> tuple[int | None, ...]:
    """Return for each relaxed structure, lowest energy first, the index of the earlier one that it repeats, or None."""
    return tuple(
        repeats(
            [ordering.atoms for ordering in relaxed],
            relaxed=True,
            energies_eV_per_atom=[ordering.energy_eV / ordering.n_atoms for ordering in relaxed],
            volumes_A3_per_atom=[ordering.volume_A3 / ordering.n_atoms for ordering in relaxed],
            energy_tolerance_eV_per_atom=energy_tolerance_eV_per_atom,
            volume_tolerance=volume_tolerance,
        )
    )


@task(version=1)
def repeated_starts_task(_context: Context, *, atoms: Sequence[Atoms]) -> tuple[int | None, ...]:
    """Return for each unrelaxed ordering the index of the earlier one that it repeats, or None."""
    return tuple(
        repeats(
            atoms,
            relaxed=False,
            energies_eV_per_atom=[0.0] * len(atoms),
            volumes_A3_per_atom=[structure.get_volume() / len(structure) for structure in atoms],
            energy_tolerance_eV_per_atom=0.0,
            volume_tolerance=1.0e-6,
        )
    )
