from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from superionic.potentials import neighbours
from superionic.potentials.neighbours import pairs_within
from superionic.potentials.reference import li3ycl6_cell


def as_set(centre, neighbour, vectors):
    return sorted((int(i), int(j), *np.round(v, 6)) for i, j, v in zip(centre, neighbour, vectors, strict=True))


@pytest.mark.parametrize("cutoff_A", [2.6, 6.0, 13.0])
@pytest.mark.parametrize(
    "atoms",
    [
        li3ycl6_cell(),
        bulk("NaCl", "rocksalt", a=5.64),
        Atoms("H", cell=[[2, 0, 0], [1.5, 1, 0], [0.3, 0.4, 3]], pbc=True),
        Atoms("H2O", positions=[[0, 0, 0], [1, 0, 0], [0, 1, 0.1]], cell=[5, 5, 5], pbc=[True, False, True]),
        Atoms("H2", positions=[[0, 0, 0], [1, 0, 0]]),
    ],
    ids=["Li3YCl6", "NaCl", "skew", "slab", "molecule"],
)
def test_same_pairs_as_ase(atoms, cutoff_A):
    i, j, vectors = neighbor_list("ijD", atoms, cutoff_A)
    pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, cutoff_A)
    assert as_set(pairs.centre, pairs.neighbour, pairs.vectors_A) == as_set(i, j, vectors)
    assert pairs.distances_A == pytest.approx(np.linalg.norm(pairs.vectors_A, axis=1))
    assert (np.diff(pairs.centre) >= 0).all()


def test_unwrapped_positions_change_nothing():
    atoms = li3ycl6_cell()
    shifted = atoms.positions + np.array([[3, -2, 5]] * 10 + [[0, 1, 0]] * 20) @ atoms.cell.array
    a = pairs_within(atoms.positions, atoms.cell.array, True, 5.0)
    b = pairs_within(shifted, atoms.cell.array, True, 5.0)
    assert as_set(a.centre, a.neighbour, a.vectors_A) == as_set(b.centre, b.neighbour, b.vectors_A)


def test_blocks_give_the_same(monkeypatch):
    atoms = li3ycl6_cell()
    whole = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, 5.0)
    monkeypatch.setattr(neighbours, "_PAIRS_AT_ONCE", 700)
    blocks = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, 5.0)
    assert np.array_equal(whole.vectors_A, blocks.vectors_A)


def test_no_atoms_no_pairs():
    assert len(pairs_within(np.zeros((0, 3)), np.eye(3), True, 3.0).distances_A) == 0


@pytest.mark.parametrize("cutoff_A", [1.5, 2.2, 2.6])
def test_the_tree_gives_the_same_bits_as_the_rows(cutoff_A, monkeypatch):
    atoms = li3ycl6_cell().repeat(2)
    atoms.rattle(0.3, seed=1)
    result = []
    for enough in (0, 10**9):
        monkeypatch.setattr(neighbours, "_ENOUGH_FOR_A_TREE", enough)
        result.append(pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, cutoff_A))
    for name in ("centre", "neighbour", "vectors_A", "distances_A"):
        assert np.array_equal(getattr(result[0], name), getattr(result[1], name)), name
