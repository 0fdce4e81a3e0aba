"""Madelung constants and invariances of the Ewald matrix."""

from __future__ import annotations

import numpy as np
import pytest

from superionic.structures.orderings.electrostatics import ewald_energies, ewald_matrix
from superionic.units import COULOMB_EV_A

FCC = np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


@pytest.mark.parametrize(
    ("cell", "second", "nearest", "constant"),
    [
        (FCC, [0.5, 0.5, 0.5], 0.5, 1.747564594633),
        (np.eye(3), [0.5, 0.5, 0.5], np.sqrt(3) / 2, 1.762674773071),
        (FCC, [0.25, 0.25, 0.25], np.sqrt(3) / 4, 1.638055053388),
    ],
    ids=["NaCl", "CsCl", "ZnS"],
)
def test_madelung_constants(cell, second, nearest, constant):
    a = 5.64
    matrix = ewald_matrix(a * cell, np.array([[0.0, 0.0, 0.0], second]))
    energy = ewald_energies(matrix, np.array([1.0, -1.0]))[0]
    assert -energy * nearest * a / COULOMB_EV_A == pytest.approx(constant, abs=5e-12 * 10)


def test_conventional_and_primitive_cell_agree():
    a = 5.64
    positions = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    matrix = ewald_matrix(a * np.eye(3), np.vstack([positions, positions + np.array([0.5, 0, 0])]))
    energy = ewald_energies(matrix, np.array([1.0] * 4 + [-1.0] * 4))[0]
    assert energy / 4 == pytest.approx(-1.747564594633 * COULOMB_EV_A / (a / 2), rel=1e-12)


def test_energy_does_not_depend_on_the_width_of_the_gaussians_even_if_charged():
    rng = np.random.default_rng(3)
    cell = np.array([[6.0, 0.3, -0.2], [1.9, 7.0, 0.4], [-0.8, 1.1, 5.0]])
    x = rng.random((7, 3))
    charges = rng.normal(size=(4, 7))
    reference = ewald_energies(ewald_matrix(cell, x), charges)
    for alpha in (0.25, 0.5, 1.0):
        np.testing.assert_allclose(
            ewald_energies(ewald_matrix(cell, x, alpha_per_A=alpha), charges), reference, rtol=1e-11
        )


def test_energy_does_not_depend_on_origin_images_or_shape_of_the_cell():
    rng = np.random.default_rng(4)
    cell = np.array([[6.0, 0.3, -0.2], [1.9, 7.0, 0.4], [-0.8, 1.1, 5.0]])
    x = rng.random((6, 3))
    charges = np.array([1.0, -2.0, 3.0, -1.0, 0.0, -1.0])
    energy = ewald_energies(ewald_matrix(cell, x), charges)[0]
    shear = np.array([[1, 0, 0], [2, 1, 0], [0, -1, 1]])
    moved = (x + rng.random(3) + rng.integers(-2, 3, (6, 3))) @ np.linalg.inv(shear)
    assert ewald_energies(ewald_matrix(shear @ cell, moved), charges)[0] == pytest.approx(energy, rel=1e-12)


def test_matrix_is_symmetric_and_vacancies_do_nothing():
    rng = np.random.default_rng(5)
    x = rng.random((5, 3))
    cell = 7.0 * np.eye(3)
    matrix = ewald_matrix(cell, x)
    np.testing.assert_array_equal(matrix, matrix.T)
    with_vacancy = ewald_energies(matrix, np.array([1.0, 0.0, -1.0, 0.0, 0.0]))[0]
    without = ewald_energies(ewald_matrix(cell, x[[0, 2]]), np.array([1.0, -1.0]))[0]
    assert with_vacancy == pytest.approx(without, rel=1e-12)
