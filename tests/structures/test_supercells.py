from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import StructureError
from superionic.structures.crystal.disordered import crystal_from_sites
from superionic.structures.crystal.supercells import (
    Supercell,
    compactness,
    inequivalent_supercells,
    supercell_sites,
)
from superionic.structures.orderings.electrostatics import ewald_matrix


@pytest.mark.parametrize("value", ["1x1x2", "1 X 1".lower() + " x 2", [1, 1, 2], np.diag([1, 1, 2]), "1×1×2"])
def test_parse(value):
    cell = Supercell.parse(value)
    assert cell == Supercell.diagonal(1, 1, 2)
    assert (cell.multiplicity, str(cell)) == (2, "1x1x2")


@pytest.mark.parametrize("value", ["2x2", "axbxc", [1, 2], [[1, 0], [0, 1]], 3, None, [1.5, 1, 1], "0x1x1", [1, -1, 1]])
def test_what_is_no_supercell(value):
    with pytest.raises(StructureError):
        Supercell.parse(value)


MATRICES = ["1x1x1", "1x1x2", "2x1x3", [[1, 1, 0], [-1, 1, 0], [0, 0, 1]], [[2, 1, 0], [0, 1, 1], [1, 0, 2]]]


@pytest.mark.parametrize("matrix", MATRICES)
def test_permutations_are_a_group_of_isometries(lyc, matrix):
    sites = supercell_sites(lyc, matrix)
    n = sites.n_sites
    assert n == len(lyc.sites) * sites.supercell.multiplicity
    assert abs(np.linalg.det(sites.cell_A)) == pytest.approx(lyc.volume_A3 * sites.supercell.multiplicity)
    assert np.all(np.sort(sites.permutations, axis=1) == np.arange(n))
    known = {p.tobytes() for p in sites.permutations}
    assert len(known) == sites.group_order
    assert np.arange(n).tobytes() in known
    rng = np.random.default_rng(0)
    for _ in range(20):
        g, h = rng.integers(sites.group_order, size=2)
        assert sites.permutations[g][sites.permutations[h]].tobytes() in known
    # The interaction of two sites with all their images is left as it is by nothing but isometries of the crystal.
    matrix_of_pairs = ewald_matrix(sites.cell_A, sites.fractional)
    for p in sites.permutations:
        np.testing.assert_allclose(matrix_of_pairs[np.ix_(p, p)], matrix_of_pairs, atol=1e-9)
    assert all(np.array_equal(sites.orbits[p], sites.orbits) for p in sites.permutations)


def test_operations_that_break_the_supercell_are_left_out():
    crystal = crystal_from_sites("cubic", 4 * np.eye(3), np.zeros((1, 3)), [{"Cu": 0.5, "Au": 0.5}])
    assert supercell_sites(crystal, "1x1x1").group_order == 48
    assert supercell_sites(crystal, "1x1x2").group_order == 16 * 2
    assert supercell_sites(crystal, "2x2x2").group_order == 48 * 8


def test_positions_are_those_of_the_parent(lyc):
    sites = supercell_sites(lyc, [[2, 1, 0], [0, 1, 1], [1, 0, 2]])
    parent = sites.fractional @ sites.supercell.array
    difference = parent - lyc.fractional[sites.parent_site]
    np.testing.assert_allclose(difference, np.round(difference), atol=1e-9)
    assert len({tuple(x) for x in np.round(sites.fractional, 6)}) == sites.n_sites


def fcc():
    cell = 2.0 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return crystal_from_sites("fcc", cell, np.zeros((1, 3)), [{"Cu": 0.5, "Au": 0.5}])


def test_inequivalent_supercells_of_fcc():
    crystal = fcc()
    # Hart & Forcade, Phys. Rev. B 77, 224115 (2008), table of the fcc lattice.
    known = [1, 2, 3, 7, 5, 10, 7, 20, 14, 18, 11, 41]
    assert [len(inequivalent_supercells(crystal, n)) for n in range(1, 13)] == known
    cells = inequivalent_supercells(crystal, 4)
    assert all(c.multiplicity == 4 for c in cells)
    assert cells == inequivalent_supercells(crystal, 4)
    ratios = [compactness(crystal, c).ratio for c in cells]
    assert ratios == sorted(ratios, reverse=True)
    # Four atoms: the conventional cube, whose edge is 2^(-1/6) of the best that its volume allows.
    assert ratios[0] == pytest.approx(2.0 ** (-1 / 6))
    assert compactness(crystal, cells[0]).shortest_A == pytest.approx(4.0)
    assert compactness(crystal, "2x2x2").ratio == pytest.approx(1.0)


def test_compactness_does_not_depend_on_the_choice_of_vectors(lyc):
    skewed = [[1, 0, 0], [5, 1, 0], [3, -4, 2]]
    assert compactness(lyc, skewed).shortest_A == pytest.approx(compactness(lyc, "1x1x2").shortest_A)


def test_diagonal_supercells_only(lyc):
    names = {str(c) for c in inequivalent_supercells(lyc, 4, diagonal_only=True)}
    assert len(names) == 4
    assert {"1x1x4", "2x2x1"} < names
    with pytest.raises(StructureError):
        inequivalent_supercells(lyc, 0)


def test_translations_of_a_supercell(lyc):
    sites = supercell_sites(lyc, "2x1x3")
    moves = sites.translations
    assert len(moves) == 6
    np.testing.assert_array_equal(moves[0], np.arange(sites.n_sites))
    assert all(np.array_equal(sites.parent_site[m], sites.parent_site) for m in moves)
    # A centred parent has translations inside its own cell.
    x = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
    centred = crystal_from_sites("bcc", 3 * np.eye(3), x, [{"Fe": 0.5, "Co": 0.5}] * 2)
    assert len(supercell_sites(centred, "1x1x2").translations) == 4
