from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from superionic.potentials.reference import li3ycl6_cell
from superionic.stages.base import RelaxedOrdering
from superionic.stages.rank.duplicates import fingerprint, merge_task, repeated_starts_task, repeats


def test_the_fingerprint_knows_no_cell_no_origin_no_order_and_no_turn():
    atoms = li3ycl6_cell()
    first = fingerprint(atoms)
    other = make_supercell(atoms, [[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    other = other[np.random.default_rng(0).permutation(len(other))]
    other.rotate(37.0, (1, 2, 3), rotate_cell=True)
    other.positions += [1.0, 2.0, 3.0]
    other.wrap()
    assert fingerprint(other) == pytest.approx(first, abs=1e-9)
    moved = atoms.copy()
    moved.positions[0] += [0.3, 0.0, 0.0]
    assert np.abs(fingerprint(moved) - first).max() > 0.01


def test_the_nearest_distances_of_rock_salt_are_the_known_ones():
    salt = bulk("NaCl", "rocksalt", a=5.0)
    values = fingerprint(salt).reshape(2, 2, 8)
    assert values[0, 1] == pytest.approx([2.5] * 6 + [2.5 * np.sqrt(3)] * 2)
    assert values[0, 0] == pytest.approx([5.0 / np.sqrt(2)] * 8)


def test_repeats_are_found_across_cells_and_different_orderings_are_not():
    parent = bulk("NaCl", "rocksalt", a=5.3, cubic=True) * (2, 1, 1)
    cations = np.flatnonzero(parent.numbers == 11)
    structures = []
    for chosen in ([0, 1], [0, 4], [2, 3]):
        atoms = parent.copy()
        atoms.numbers[cations[chosen]] = 3
        structures.append(atoms)
    structures.append(structures[1] * (1, 1, 2))
    same_as = list(repeated_starts_task(None, atoms=structures))
    # By symmetry, the pair of one layer is that of the other layer; the fourth is the second in a larger cell.
    assert same_as[1] is None
    assert same_as[3] == 1
    assert same_as == [None, None, same_as[2], 1]
    assert same_as[2] in (None, 0)


def relaxed(atoms, energy_eV):
    return RelaxedOrdering(
        atoms=atoms,
        composition={"Cl": 18, "Li": 9, "Y": 3},
        converged=True,
        energy_eV=energy_eV,
        formula="Li3YCl6",
        largest_force_eV_per_A=0.0,
        n_atoms=30,
        n_evaluations=1,
        n_steps=0,
        start_energy_eV=energy_eV,
        volume_A3=float(atoms.get_volume()),
    )


def test_relaxed_structures_are_merged_within_tolerances_only():
    atoms = li3ycl6_cell()
    again = atoms[::-1]
    tolerances = {"energy_tolerance_eV_per_atom": 1e-4, "volume_tolerance": 1e-3}
    first = relaxed(atoms, -120.0)
    near, far = relaxed(again, -120.0 + 30 * 0.9e-4), relaxed(again, -120.0 + 30 * 1.1e-4)
    assert merge_task(None, relaxed=[first, near], **tolerances) == (None, 0)
    assert merge_task(None, relaxed=[first, far], **tolerances) == (None, None)
    moved = atoms.copy()
    moved.positions[0] += [1.0, 0.0, 0.0]
    assert merge_task(None, relaxed=[first, relaxed(moved, -120.0)], **tolerances) == (None, None)


def test_an_element_that_is_too_dilute_is_refused():
    lone = bulk("NaCl", "rocksalt", a=120.0, cubic=True)
    with pytest.raises(ValueError, match="too dilute"):
        repeats([lone], relaxed=True, energies_eV_per_atom=[0.0], volumes_A3_per_atom=[1.0],
                energy_tolerance_eV_per_atom=0.0, volume_tolerance=0.0)  # fmt: skip
