from __future__ import annotations

import numpy as np
import pytest

from superionic.report.isosurface import coarsen, enclosing_level, isosurface

CELL = np.array([[8.0, 0.0, 0.0], [-3.0, 7.0, 0.0], [1.0, 0.5, 9.0]])


def distances(n: int, cell: np.ndarray) -> np.ndarray:
    axes = np.meshgrid(*(np.arange(n) / n,) * 3, indexing="ij")
    fractional = np.stack(axes, axis=-1) - 0.5
    return np.linalg.norm(fractional @ cell, axis=-1)


@pytest.mark.parametrize("cell", [np.eye(3) * 8.0, CELL])
def test_a_ball_has_the_area_and_radius_of_a_ball(cell):
    distance = distances(32, cell)
    vertices, triangles = isosurface(-distance, cell, -2.0)
    centre = 0.5 * cell.sum(axis=0)
    assert np.linalg.norm(vertices - centre, axis=1) == pytest.approx(2.0, abs=0.02)
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    normals = 0.5 * np.cross(b - a, c - a)
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(4 * np.pi * 4.0, rel=0.02)
    # the front of every triangle looks away from the dense side, here the centre
    assert (np.einsum("ij,ij->i", normals, (a + b + c) / 3 - centre) > 0).all()


def test_the_surface_of_a_ball_is_closed():
    _, triangles = isosurface(-distances(16, CELL), CELL, -2.01)  # no grid point lies on it exactly
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()


def test_no_crossing_no_surface():
    vertices, triangles = isosurface(np.ones((4, 4, 4)), CELL, 2.0)
    assert vertices.shape == (0, 3)
    assert triangles.shape == (0, 3)


def test_coarsening_keeps_the_mean():
    grid = np.random.default_rng(1).random((64, 30, 40))
    coarse = coarsen(grid, 16)
    assert coarse.shape == (16, 16, 16)
    even = coarsen(np.random.default_rng(1).random((32, 32, 32)), 16)
    assert even.mean() == pytest.approx(np.random.default_rng(1).random((32, 32, 32)).mean())
    assert coarsen(grid, 64) is not None


def test_the_level_encloses_its_share():
    grid = np.random.default_rng(2).random((10, 10, 10)) ** 4
    level = enclosing_level(grid, 0.5)
    assert grid[grid >= level].sum() / grid.sum() == pytest.approx(0.5, abs=0.01)
    assert enclosing_level(np.zeros((2, 2, 2)), 0.5) == 0.0
