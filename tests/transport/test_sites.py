from __future__ import annotations

import itertools

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.density.grid import probability_density
from superionic.transport.sites.percolation import network_clusters
from superionic.transport.sites.positions import (
    SiteSet,
    density_basins,
    images_around,
    merge_by_symmetry,
    operations_in_supercell,
    sites_in_supercell,
)

SKEW = np.array([[9.0, 0.0, 0.0], [-4.5, 7.8, 0.0], [0.0, 0.7, 8.0]])
GRID = np.array(list(itertools.product(range(3), repeat=3))) / 3 + 0.01


def gaps(one, two, cell):
    off = one[:, None] - two[None]
    return np.linalg.norm((off - np.rint(off)) @ cell, axis=2)


def test_site_set_checks_and_distances():
    sites = SiteSet([[0.0, 0, 0], [0.5, 0.5, 0.5]], ("4g", "4h"), np.diag([4.0, 6.0, 8.0]))
    np.testing.assert_allclose(sites.nearest_distances_A, np.sqrt([4 + 9 + 16] * 2).clip(max=4.0))
    assert {k: v.tolist() for k, v in sites.kinds.items()} == {"4g": [0], "4h": [1]}
    np.testing.assert_allclose(sites.shifted(np.array([1.0, 0, 0])).fractional[0], [0.25, 0, 0])
    more = sites.joined(SiteSet([[0.05, 0.0, 0.95], [0.5, 0, 0]], ("i1", "i2"), sites.cell_A))
    assert more.labels == ("4g", "4h", "i2")
    for wrong in (
        lambda: SiteSet([[0.0, 0, 0]], ("a", "b"), np.eye(3)),
        lambda: SiteSet(np.zeros((0, 3)), (), np.eye(3)),
        lambda: SiteSet([[0.0, 0, 0]], ("a",), np.zeros((3, 3))),
        lambda: SiteSet([[0.0, 0, 0], [0.999, 0, 0]], ("a", "b"), 5 * np.eye(3)),
    ):
        with pytest.raises(AnalysisError):
            wrong()


def test_images_hold_the_nearest_of_any_point():
    rng = np.random.default_rng(0)
    for seed in range(5):
        cell = np.eye(3) * 5 + np.random.default_rng(seed).normal(0, 2.0, (3, 3))
        x = rng.uniform(-1, 2, (4, 3))
        points, which, cells = images_around(x, cell)
        np.testing.assert_allclose(points, (x[which] + cells) @ cell, atol=1e-9)
        shifts = np.array(list(itertools.product(range(-6, 7), repeat=3)))
        everything = ((x[:, None] + shifts).reshape(-1, 3)) @ cell
        for place in rng.uniform(0, 1, (20, 3)) @ cell:
            assert np.linalg.norm(points - place, axis=1).min() == pytest.approx(
                np.linalg.norm(everything - place, axis=1).min()
            )


def test_supercell_sites_and_operations():
    matrix = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 2]])
    parent = np.diag([3.0, 4.0, 5.0])
    sites = sites_in_supercell([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], ["4g", "4h"], matrix, parent)
    assert sites.labels == ("4g",) * 4 + ("4h",) * 4
    back = sites.fractional @ matrix - np.repeat([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], 4, axis=0)
    np.testing.assert_allclose(back, np.rint(back), atol=1e-9)
    assert gaps(sites.fractional, sites.fractional, sites.cell_A)[np.triu_indices(8, 1)].min() > 1.0
    rotations = np.array([np.eye(3), -np.eye(3), np.diag([-1, 1, 1])], dtype=int)
    # the mirror does not keep a lattice of this shape if the second vector leans by half of the first only... it does
    turned, moved = operations_in_supercell(rotations, np.array([[0, 0, 0], [0.7, 0.9, 1.1], [0, 0, 0]]), matrix)
    assert len(turned) == 12
    both = sites_in_supercell([[0.1, 0.2, 0.3], [0.6, 0.7, 0.8]], ["x", "x"], matrix, parent).fractional
    for rotation, shift in zip(turned[:8], moved[:8], strict=True):
        assert gaps(both @ rotation.T + shift, both, sites.cell_A).min(axis=1).max() < 1e-9
    operations, _ = operations_in_supercell(
        rotations[[0, 2]], np.zeros((2, 3)), np.array([[3, 0, 0], [1, 1, 0], [0, 0, 1]])
    )
    assert len(operations) == 3  # this one leans by a third: the mirror is lost


def _crowd(rng, places, spread, n_frames, n_ions, cell):
    which = rng.integers(len(places), size=(n_frames, n_ions))
    return places[which] @ cell + rng.normal(0, spread, (n_frames, n_ions, 3)), which


def test_sites_are_found_in_the_density():
    rng = np.random.default_rng(1)
    positions, which = _crowd(rng, GRID, 0.35, 3000, 10, SKEW)
    basins = density_basins(probability_density(positions, SKEW, grid_spacing_A=0.35))
    assert len(basins.sites) == 27
    distance = gaps(basins.sites.fractional, GRID, SKEW)
    assert distance.min(axis=1).max() < 0.12
    truth = np.bincount(which.ravel(), minlength=27) / 3000
    np.testing.assert_allclose(basins.occupancies, truth[distance.argmin(axis=1)], rtol=0.05)
    assert basins.occupancies.sum() == pytest.approx(10.0, abs=1e-3)
    np.testing.assert_allclose(basins.spreads_A2[:, 0, 0], 0.35**2 + 0.25**2, rtol=0.15)
    (cluster,) = network_clusters(27, basins.edges)
    assert cluster.dimension == 3


def test_cells_of_neighbours_are_right():
    """One chain of sites along a, far apart in the other directions."""
    rng = np.random.default_rng(2)
    chain = np.array([[0.1, 0.5, 0.5], [0.6, 0.5, 0.5]])
    positions, _ = _crowd(rng, chain, 0.35, 4000, 4, np.diag([4.0, 9.0, 9.0]))
    basins = density_basins(probability_density(positions, np.diag([4.0, 9.0, 9.0]), grid_spacing_A=0.4))
    assert len(basins.sites) == 2
    (cluster,) = network_clusters(2, basins.edges)
    assert (cluster.dimension, cluster.axes) == (1, ("a",))
    x = basins.sites.fractional
    steps = (x[basins.edges[:, 1]] - x[basins.edges[:, 0]] + basins.edges[:, 2:]) @ np.diag([4.0, 9.0, 9.0])
    assert np.linalg.norm(steps, axis=1) == pytest.approx([2.0, 2.0], abs=0.1)


def test_noise_makes_no_sites():
    rng = np.random.default_rng(3)
    flat = rng.uniform(0, 8, (60, 20, 3))
    assert (
        len(density_basins(probability_density(flat, 8.0 * np.eye(3), grid_spacing_A=0.4), persistence=0.2).sites) <= 3
    )


def test_symmetry_merges_interstitials():
    """Two orbits under the translations by thirds; one place of an orbit was never visited."""
    rng = np.random.default_rng(4)
    second = GRID + np.full(3, 1 / 6)
    x = np.concatenate([GRID, second[:-1]]) + rng.normal(0, 0.01, (53, 3))
    sites = SiteSet(x, tuple(f"i{k}" for k in range(53)), SKEW)
    held = np.concatenate([np.full(27, 0.3), np.full(26, 0.05)])
    translations = np.array(list(itertools.product(range(3), repeat=3))) / 3
    rotations = np.repeat(np.eye(3, dtype=int)[None], 27, axis=0)
    merged, occupancies = merge_by_symmetry(sites, held, rotations, translations)
    assert merged.labels == ("i1",) * 27 + ("i2",) * 26
    shift = (merged.fractional - GRID.tolist()[0])[:27]
    off = (shift - shift[0]) * 3
    np.testing.assert_allclose(off, np.rint(off), atol=1e-9)  # now exactly symmetric
    merged, occupancies = merge_by_symmetry(sites, held, rotations, translations, complete=True)
    assert merged.labels == ("i1",) * 27 + ("i2",) * 27
    assert occupancies[-1] == 0.0
    assert gaps(merged.fractional[-1:], second[-1:], SKEW).max() < 0.3
