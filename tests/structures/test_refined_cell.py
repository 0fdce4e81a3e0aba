"""Calculated cells beside the refined one: known strains of known crystals."""

from __future__ import annotations

import numpy as np
import pytest
from ase.geometry import cell_to_cellpar, cellpar_to_cell

from superionic.structures.crystal.refined_cell import RefinedCell, compare_with_refined
from superionic.structures.io.files import read_crystal

ROCK_SALT = """data_x
_cell_length_a {a}
_cell_length_b {a}
_cell_length_c {c}
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma {gamma}
_symmetry_space_group_name_H-M 'P 1'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Li1 Li 0 0 0 1
Li2 Li 0.5 0.5 0 0.5
Na2 Na 0.5 0.5 0 0.5
Cl1 Cl 0.5 0 0.5 1
Cl2 Cl 0 0.5 0.5 1
"""


@pytest.fixture
def refined(tmp_path):
    path = tmp_path / "x.cif"
    path.write_text(ROCK_SALT.format(a=5.0, c=7.0, gamma=120), encoding="utf-8")
    return RefinedCell.of(read_crystal(path))


def strained(refined, strain, matrix):
    """Lengths and angles of a supercell of the refined cell, strained and turned."""
    cell = np.array(cellpar_to_cell([*refined.lengths_A, *refined.angles_deg])) @ (np.eye(3) + strain)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    parameters = cell_to_cellpar(np.array(matrix) @ cell @ turn)
    return parameters[:3], parameters[3:]


@pytest.mark.parametrize(
    "matrix",
    [np.eye(3, dtype=int), np.diag([2, 1, 3]), [[1, 1, 0], [-1, 1, 0], [0, 0, 2]], [[0, 0, 1], [1, 0, 0], [1, 2, 1]]],
)
def test_known_strains_are_found_in_any_supercell_and_orientation(refined, matrix):
    same = compare_with_refined(refined, *strained(refined, np.zeros((3, 3)), matrix), matrix)
    assert same.volume_percent == pytest.approx(0.0, abs=1e-9)
    assert same.severity is None
    found = compare_with_refined(refined, *strained(refined, np.diag([0.01, 0.01, 0.02]), matrix), matrix)
    assert found.lengths_percent == pytest.approx((1.0, 1.0, 2.0))
    assert found.angles_difference_deg == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert found.volume_percent == pytest.approx(100 * (1.01**2 * 1.02 - 1))
    assert found.lengths_A == pytest.approx((5.05, 5.05, 7.14))
    assert found.severity == "caution"  # 4.05 %
    assert found.volume_per_formula_unit_A3 == pytest.approx(found.volume_A3)
    assert "volume +4.1 % (" in found.words
    assert "a +1.0 %, b +1.0 %, c +2.0 %)" in found.words


@pytest.mark.parametrize(
    ("strain", "severity"),
    [
        ((0.009, 0.009, 0.009), None),
        ((0.011, 0.011, 0.011), "caution"),
        ((0.019, 0.019, 0.019), "caution"),
        ((0.021, 0.021, 0.021), "warning"),
        ((-0.021, -0.021, -0.022), "warning"),
        ((0.04, -0.02, -0.02), "caution"),  # the volume is right, its shape is not
        ((0.07, -0.035, -0.035), "warning"),
    ],
)
def test_three_per_cent_are_a_caution_and_six_a_warning(refined, strain, severity):
    stretched = [length * (1 + part) for length, part in zip(refined.lengths_A, strain, strict=True)]
    assert compare_with_refined(refined, stretched, refined.angles_deg, np.eye(3, dtype=int)).severity == severity


def test_angles_are_compared(refined):
    alpha, beta, gamma = refined.angles_deg
    found = compare_with_refined(refined, refined.lengths_A, (alpha, beta + 1.5, gamma), np.eye(3, dtype=int))
    assert found.angles_difference_deg == pytest.approx((0.0, 1.5, 0.0), abs=1e-9)
    assert "β +1.5°" in found.words


def test_formula_units_and_compositions(refined, tmp_path):
    assert (refined.formula_units, refined.is_of({"Li": 3, "Na": 1, "Cl": 4})) == (1, True)
    assert refined.composition == {"Li": 1.5, "Na": 0.5, "Cl": 2.0}
    assert refined.is_of({"Li": 4, "Cl": 4}) is False  # an eighth of the atoms is of another element
    assert refined.is_of({"Li": 12, "Na": 4, "Cl": 15, "Br": 1})
    assert refined.is_of({}) is False
    path = tmp_path / "full.cif"
    path.write_text(ROCK_SALT.replace("0.5\nNa2", "1\nNa2").replace("Na2 Na 0.5 0.5 0 0.5\n", "").format(
        a=5.0, c=7.0, gamma=90), encoding="utf-8")  # fmt: skip
    full = RefinedCell.of(read_crystal(path))
    assert full.formula_units == 2
    found = compare_with_refined(full, full.lengths_A, full.angles_deg, np.eye(3, dtype=int))
    assert found.refined_volume_per_formula_unit_A3 == pytest.approx(5 * 5 * 7 / 2)


def test_a_supercell_of_the_primitive_cell_is_compared_in_the_refined_setting(root):
    """NaSICON in R-3c: the rhombohedral primitive cell has a third of the volume and none of the hexagonal lengths."""
    crystal = read_crystal(root / "examples" / "nasicon" / "nasicon_r-3c.cif")
    primitive = crystal.primitive()
    assert primitive.volume_A3 == pytest.approx(crystal.volume_A3 / 3.0)
    matrix = np.diag([1, 2, 1])
    parameters = cell_to_cellpar(1.01 * matrix @ np.array(primitive.cell_A))
    refined = RefinedCell.of(crystal, primitive=True)
    found = compare_with_refined(refined, parameters[:3], parameters[3:], matrix)
    assert found.lengths_percent == pytest.approx((1.0, 1.0, 1.0))
    assert found.angles_difference_deg == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert found.volume_percent == pytest.approx(100.0 * (1.01**3 - 1.0))
