"""Shared faces, edges and corners of the voids of close packings, as any textbook counts them."""

from __future__ import annotations

import numpy as np
import pytest

from superionic.transport.sites.positions import SiteSet
from superionic.transport.sites.sharing import anion_shells, shared_anions, sharing_of

A = 5.0
CUBIC = np.eye(3) * A
CUBIC_ANIONS = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]) @ CUBIC
VOIDS = SiteSet(
    [[0.5, 0.5, 0.5], [0.5, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.25, 0.25], [0.75, 0.75, 0.25]],
    ("oct", "oct", "tet", "tet", "tet"),
    CUBIC,
)
HEIGHT = A * np.sqrt(8.0 / 3.0)
HEXAGONAL = np.array([[A, 0, 0], [-A / 2, A * np.sqrt(0.75), 0], [0, 0, HEIGHT]])
HEXAGONAL_ANIONS = np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]) @ HEXAGONAL
HEXAGONAL_VOIDS = SiteSet(
    [[0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.625], [1 / 3, 2 / 3, 0.875]], ("oct", "oct", "tet", "tet"), HEXAGONAL
)


@pytest.mark.parametrize(
    ("row", "n_common"),
    [
        ((0, 1, 0, 1, 1), 2),  # octahedra along <110>
        ((1, 1, 1, 0, 0), 1),  # octahedra along <100>
        ((0, 2, 0, 0, 0), 3),  # octahedron and tetrahedron
        ((2, 3, 0, 0, 0), 2),  # tetrahedra along <100>
        ((2, 4, 0, 0, 0), 1),  # tetrahedra along <110>
        ((0, 0, 2, 0, 0), 0),
    ],
)
def test_voids_of_cubic_close_packing(row, n_common):
    assert shared_anions(VOIDS, np.array([row]), CUBIC_ANIONS).tolist() == [n_common]


@pytest.mark.parametrize(
    ("row", "n_common"),
    [
        ((0, 1, 0, 0, 0), 3),  # octahedra along c
        ((0, 0, 1, 0, 0), 2),  # octahedra in the plane
        ((2, 3, 0, 0, 0), 3),  # tetrahedra on both sides of an anion layer
        ((1, 2, 0, 0, 0), 3),
    ],
)
def test_voids_of_hexagonal_close_packing(row, n_common):
    assert shared_anions(HEXAGONAL_VOIDS, np.array([row]), HEXAGONAL_ANIONS).tolist() == [n_common]


def test_the_count_does_not_depend_on_cells_and_direction():
    rng = np.random.default_rng(0)
    moved = SiteSet(VOIDS.fractional + rng.integers(-2, 3, (5, 3)), VOIDS.labels, CUBIC)
    rows = np.array([[0, 2, 0, 0, 0], [2, 3, 0, 0, 0]])
    shifts = np.rint(moved.fractional - VOIDS.fractional).astype(int)
    there = np.column_stack([rows[:, :2], rows[:, 2:] + shifts[rows[:, 0]] - shifts[rows[:, 1]]])
    back = np.column_stack([there[:, [1, 0]], -there[:, 2:]])
    anions = CUBIC_ANIONS + A * rng.integers(-1, 2, (4, 3))
    for each in (there, back):
        assert shared_anions(moved, each, anions).tolist() == [3, 2]


def test_polyhedra_bear_the_distortions_of_a_warm_crystal():
    rng = np.random.default_rng(1)
    big = 3.0 * CUBIC
    shifts = np.array(list(np.ndindex(3, 3, 3))) @ CUBIC
    anions = (CUBIC_ANIONS[None] + shifts[:, None]).reshape(-1, 3)
    anions = anions + rng.normal(0.0, 0.1, anions.shape)
    sites = SiteSet(VOIDS.fractional / 3.0, VOIDS.labels, big)
    assert [len(shell) for shell in anion_shells(sites, anions)] == [6, 6, 4, 4, 4]


def test_names():
    assert [sharing_of(n) for n in range(5)] == ["nothing", "corner", "edge", "face", "face"]
    lone = SiteSet([[0.5, 0.5, 0.5]], ("a",), np.eye(3) * 30.0)
    assert shared_anions(lone, np.array([[0, 0, 1, 0, 0]]), np.zeros((1, 3))).tolist() == [0]
