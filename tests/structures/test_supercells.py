from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import StructureError
from superionic.structures.disordered import crystal_from_sites
from superionic.structures.electrostatics import ewald_matrix
from superionic.structures.supercells import Supercell, SupercellSites, supercell_sites


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


def test_round_trip_through_plain_values(lyc):
    sites = supercell_sites(lyc, "1x1x2")
    again = SupercellSites.from_dict(sites.to_dict())
    np.testing.assert_array_equal(again.permutations, sites.permutations)
    assert again.supercell == sites.supercell
