from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import StructureError
from superionic.structures.crystal.hermite import (
    batch_row_hermite,
    compact_basis,
    hermite_matrices,
    inequivalent_hermite_matrices,
)
from superionic.structures.crystal.symmetry import row_hermite

CUBIC = np.array(
    [
        np.array([[(p == j) * s for j in range(3)] for p, s in zip(order, signs, strict=True)])
        for order in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0))
        for signs in np.array(np.meshgrid([1, -1], [1, -1], [1, -1])).T.reshape(-1, 3)
    ]
)


def divisor_sum(n):
    return sum(d for d in range(1, n + 1) if n % d == 0)


@pytest.mark.parametrize("index", [1, 2, 3, 4, 6, 8, 12, 16])
def test_number_of_sublattices(index):
    # Number of sublattices of index n in three dimensions: the sum over d | n of d sigma(d) (OEIS A001001).
    matrices = hermite_matrices(index)
    assert len(matrices) == sum(d * divisor_sum(d) for d in range(1, index + 1) if index % d == 0)
    assert np.all(np.round(np.linalg.det(matrices)) == index)
    assert len({m.tobytes() for m in matrices}) == len(matrices)
    np.testing.assert_array_equal(batch_row_hermite(matrices), matrices)


def test_number_of_inequivalent_sublattices_of_a_simple_cubic_lattice():
    # OEIS A159842 counts those of Z3 under the 48 operations of the cube.
    assert [len(inequivalent_hermite_matrices(n, CUBIC)) for n in range(1, 11)] == [1, 3, 3, 9, 5, 13, 7, 24, 14, 23]
    assert [len(inequivalent_hermite_matrices(n, CUBIC, diagonal_only=True)) for n in (1, 2, 4, 8, 12)] == [
        1,
        1,
        2,
        3,
        4,
    ]


def test_an_index_below_one_is_refused():
    with pytest.raises(StructureError, match="index 0"):
        hermite_matrices(0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(-6, 6), min_size=3, max_size=3), min_size=3, max_size=3), st.integers(0, 10**6))
def test_reduction_keeps_the_lattice_and_finds_its_shortest_vectors(rows, seed):
    matrix = np.array(rows)
    if round(np.linalg.det(matrix)) == 0:
        return
    np.testing.assert_array_equal(batch_row_hermite(matrix[None])[0], row_hermite(matrix))
    cell = np.eye(3) + 0.4 * np.random.default_rng(seed).normal(size=(3, 3))
    if abs(np.linalg.det(cell)) < 0.1:
        return
    reduced = compact_basis(matrix, cell)
    np.testing.assert_array_equal(row_hermite(reduced), row_hermite(matrix))
    assert round(np.linalg.det(reduced)) > 0
    lengths = np.sort(np.linalg.norm(reduced @ cell, axis=1))
    # The successive minima, by looking at all short vectors.
    grid = np.indices((7, 7, 7)).reshape(3, -1).T - 3
    grid = grid[np.any(grid != 0, axis=1)]
    vectors = grid @ reduced
    norms = np.linalg.norm(vectors @ cell, axis=1)
    chosen: list[int] = []
    for k in np.argsort(norms, kind="stable"):
        if np.linalg.matrix_rank(vectors[[*chosen, k]]) == len(chosen) + 1:
            chosen.append(int(k))
        if len(chosen) == 3:
            break
    np.testing.assert_allclose(norms[chosen], lengths, rtol=1e-7)
