from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from superionic.chemistry import amounts_text, reduced_formula, sort_species
from superionic.errors import StructureError
from superionic.structures.crystal.disordered import DisorderedCrystal, close_pairs, crystal_from_sites
from superionic.structures.crystal.oxidation import guess_mobile_ion, guess_oxidation_states
from superionic.structures.crystal.symmetry import map_sites, row_hermite


def test_formulas():
    assert reduced_formula({"Cl": 18, "Li": 9, "Y": 3, "X": 5}) == "Li3YCl6"
    assert reduced_formula({"Cl": 18.004, "Li": 8.995, "Y": 3}) == "Li3YCl6"
    assert reduced_formula({"Cl": 6, "Li": 2.5, "Y": 1}) == "Li2.5YCl6"
    assert amounts_text({"Y": 1.0, "Li": 2.8761}) == "Li2.876 Y"
    assert sort_species(["X", "Cl", "Br", "Y", "Li", "Cl"]) == ("Li", "Y", "Br", "Cl", "X")


def test_values_are_frozen_and_copied():
    cell = 4.0 * np.eye(3)
    crystal = crystal_from_sites("x", cell, np.zeros((1, 3)), [{"Cu": 0.5, "Au": 0.5}])
    cell[0, 0] = 9.0
    assert crystal.volume_A3 == pytest.approx(64.0)
    with pytest.raises(ValueError, match="read-only"):
        crystal.cell_A[0, 0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        crystal.name = "y"
    with pytest.raises(TypeError):
        crystal.sites[0].species["Cu"] = 1.0


def test_round_trip_through_plain_values(lyc):
    again = DisorderedCrystal.from_dict(lyc.to_dict())
    assert again.sites == lyc.sites
    assert again.sublattices == lyc.sublattices
    np.testing.assert_array_equal(again.cell_A, lyc.cell_A)
    np.testing.assert_array_equal(again.rotations, lyc.rotations)
    np.testing.assert_array_equal(again.translations, lyc.translations)


def test_occupancies_decide_the_symmetry():
    x = np.array([[0, 0, 0], [0.5, 0.5, 0.5]])
    equal = crystal_from_sites("a", 4 * np.eye(3), x, [{"Li": 0.5}, {"Li": 0.5}])
    unequal = crystal_from_sites("b", 4 * np.eye(3), x, [{"Li": 0.5}, {"Li": 0.6}])
    assert equal.spacegroup_symbol == "Im-3m"
    assert unequal.spacegroup_symbol == "Pm-3m"
    assert [s.name for s in equal.sublattices] == ["Li"]
    assert [s.name for s in unequal.sublattices] == ["Li_1", "Li_2"]


def test_noise_is_moved_onto_the_symmetry():
    rng = np.random.default_rng(0)
    x = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) + 3e-4 * rng.normal(size=(4, 3))
    cell = 4 * np.eye(3) + 1e-4 * rng.normal(size=(3, 3))
    crystal = crystal_from_sites("noisy", cell, x, [{"Cu": 1.0}] * 4, symprec=0.02)
    assert crystal.spacegroup_number == 225
    metric = crystal.cell_A @ crystal.cell_A.T
    np.testing.assert_allclose(metric, metric[0, 0] * np.eye(3), atol=1e-9)
    map_sites(crystal.cell_A, crystal.fractional, [0] * 4, crystal.rotations, crystal.translations, tolerance_A=1e-3)


def test_primitive_cell_keeps_density_and_names(examples):
    from superionic.structures.io.files import read_crystal

    crystal = read_crystal(examples / "li3ycl6-xbrx" / "li3ybr6_c2m.cif")
    primitive = crystal.primitive()
    assert len(primitive.sites) * 2 == len(crystal.sites)
    assert len(primitive.rotations) * 2 == len(crystal.rotations)
    assert primitive.density_g_per_cm3 == pytest.approx(crystal.density_g_per_cm3)
    assert [s.name for s in primitive.sublattices] == [s.name for s in crystal.sublattices]
    assert primitive.spacegroup_number == crystal.spacegroup_number


def test_unknown_sublattice_lists_those_that_exist(lyc):
    with pytest.raises(StructureError, match="Li1, Li2"):
        lyc.sublattice("Na1")


def test_row_hermite_spans_the_same_lattice():
    rng = np.random.default_rng(1)
    for _ in range(50):
        matrix = rng.integers(-4, 5, (4, 3))
        if np.linalg.matrix_rank(matrix) < 3:
            continue
        hermite = row_hermite(matrix)
        assert np.all(np.tril(hermite, -1) == 0)
        assert np.all(np.diag(hermite) > 0)
        coordinates = matrix @ np.linalg.inv(hermite)
        np.testing.assert_allclose(coordinates, np.round(coordinates), atol=1e-9)
    with pytest.raises(StructureError):
        row_hermite(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]]))


def test_guesses(lyc):
    assert guess_oxidation_states(lyc) == {"Li": 1, "Y": 3, "Cl": -1}
    assert guess_mobile_ion(lyc) == "Li"


def test_close_pairs_are_those_of_ase():
    from ase.neighborlist import primitive_neighbor_list

    rng = np.random.default_rng(3)
    for _ in range(20):
        cell = rng.normal(size=(3, 3)) * 2 + 3 * np.eye(3)
        if abs(np.linalg.det(cell)) < 5:
            continue
        x = rng.random((6, 3)) * 3 - 1
        i, j, d = primitive_neighbor_list("ijd", (True, True, True), cell, x @ cell, 2.5)
        keep = i <= j
        expected = sorted(zip(i[keep].tolist(), j[keep].tolist(), np.round(d[keep], 8).tolist(), strict=True))
        first, second, distances = close_pairs(cell, x, 2.5)
        assert distances == sorted(distances)
        assert sorted(zip(first, second, np.round(distances, 8).tolist(), strict=True)) == expected
