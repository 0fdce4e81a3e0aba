from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from superionic.errors import AnalysisError, StructureError
from superionic.training.snapshots import farthest_point_sampling, random_snapshots, random_strain


def test_farthest_points_on_a_line():
    x = np.array([0.0, 0.1, 0.2, 1.0, 2.0, 1.9])
    positions = np.zeros((6, 1, 3))
    positions[:, 0, 0] = x
    assert farthest_point_sampling(positions, 10 * np.eye(3), 4).tolist() == [0, 4, 3, 2]
    assert farthest_point_sampling(positions, 10 * np.eye(3), 2, start=4).tolist() == [4, 0]


def test_farthest_points_see_periodic_images():
    positions = np.zeros((3, 1, 3))
    positions[:, 0, 0] = [0.0, 3.0, 9.9]  # 9.9 is 0.1 from 0 in a cell of 10, also when unwrapped
    for shift in (0.0, 10.0, -30.0):
        moved = positions + np.array([0.0, 0.0, shift])[:, None, None] * np.array([1.0, 0, 0])
        assert farthest_point_sampling(moved, 10 * np.eye(3), 3).tolist() == [0, 1, 2]


def test_farthest_points_match_brute_force_in_a_skewed_cell():
    rng = np.random.default_rng(11)
    cell = np.array([[6.0, 0.0, 0.0], [5.5, 3.0, 0.0], [-4.0, 2.5, 5.0]])
    positions = rng.uniform(-9, 9, size=(25, 4, 3))
    # 12 images each way; ase.geometry.find_mic misses the shortest one in cells as skewed as this
    images = np.array(list(product(range(-12, 13), repeat=3))) @ cell
    squares = np.zeros((25, 25))
    for a, b in combinations(range(25), 2):
        lengths = ((positions[a] - positions[b])[:, None] + images) ** 2
        squares[a, b] = squares[b, a] = lengths.sum(axis=-1).min(axis=-1).mean()
    expected = [2]
    while len(expected) < 10:
        nearest = squares[expected].min(axis=0)
        nearest[expected] = -1
        expected.append(int(np.argmax(nearest)))
    assert farthest_point_sampling(positions, cell, 10, start=2).tolist() == expected


def test_farthest_points_of_equal_frames_do_not_repeat():
    assert sorted(farthest_point_sampling(np.zeros((4, 2, 3)), np.eye(3), 4).tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("positions", "cell", "n"),
    [
        (np.zeros((3, 2)), np.eye(3), 1),
        (np.zeros((3, 2, 3)), np.eye(2), 1),
        (np.zeros((3, 2, 3)), np.eye(3), 4),
        (np.zeros((3, 2, 3)), np.eye(3), 0),
        (np.full((3, 2, 3), np.nan), np.eye(3), 2),
        (np.zeros((3, 2, 3)), np.zeros((3, 3)), 2),
    ],
)
def test_farthest_points_refuse_bad_input(positions, cell, n):
    with pytest.raises(AnalysisError):
        farthest_point_sampling(positions, cell, n)


def test_random_snapshots():
    chosen = random_snapshots(100, 30, np.random.default_rng(0))
    assert len(set(chosen.tolist())) == 30
    assert np.all(np.diff(chosen) > 0)
    assert np.array_equal(chosen, random_snapshots(100, 30, np.random.default_rng(0)))
    with pytest.raises(AnalysisError):
        random_snapshots(10, 30, np.random.default_rng(0))


def test_random_strain_is_symmetric_bounded_and_keeps_fractional_positions():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    atoms.rattle(0.05, seed=1)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    before = atoms.copy()
    seen = []
    for seed in range(50):
        strained = random_strain(atoms, 0.03, np.random.default_rng(seed))
        tensor = np.linalg.solve(np.asarray(atoms.cell), np.asarray(strained.cell)) - np.eye(3)
        np.testing.assert_allclose(tensor, tensor.T, atol=1e-14)
        assert np.abs(tensor).max() <= 0.03 + 1e-12
        np.testing.assert_allclose(
            strained.get_scaled_positions(wrap=False), atoms.get_scaled_positions(wrap=False), atol=1e-12
        )
        assert strained.calc is None
        seen.append(tensor)
    assert np.abs(seen).max() > 0.028
    assert atoms == before
    assert random_strain(atoms, 0.0, np.random.default_rng(0)) == before


def test_random_strain_refuses_bad_input():
    rng = np.random.default_rng(0)
    with pytest.raises(StructureError):
        random_strain(bulk("Li"), -0.1, rng)
    with pytest.raises(StructureError):
        random_strain(bulk("Li"), 3.0, rng)
    with pytest.raises(StructureError):
        random_strain(Atoms("Li"), 0.03, rng)
