from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.density import probability_density

CELL = np.array([[7.0, 0.0, 0.0], [-3.5, 6.06, 0.0], [0.0, 0.5, 6.0]])


def test_normalisation_and_place():
    rng = np.random.default_rng(0)
    positions = (rng.uniform(-2, 3, (500, 4, 3))) @ CELL
    density = probability_density(positions, CELL, grid_spacing_A=0.5)
    assert density.counts.shape == (14, 14, 13)
    assert density.counts.sum() == 2000
    assert density.probability_per_A3.sum() * density.voxel_volume_A3 == pytest.approx(1.0)
    assert density.ions_per_A3.sum() * density.voxel_volume_A3 == pytest.approx(4.0)
    assert density.voxel_volume_A3 * density.counts.size == pytest.approx(abs(np.linalg.det(CELL)))
    still = np.tile(np.array([[0.3, 0.6, 0.8]]) @ CELL + CELL[0], (3, 1, 1))
    one = probability_density(still, CELL, shape=(4, 4, 4))
    assert one.counts[1, 2, 3] == 3
    assert one.relative_noise[1, 2, 3] == pytest.approx(3**-0.5)
    assert np.isinf(one.relative_noise[0, 0, 0])


def test_edges_wrap():
    edge = np.array([[[-1e-17, 0.0, 0.0], [7.0, 7.0, 7.0]]])
    density = probability_density(edge, 7.0 * np.eye(3), shape=(7, 7, 7))
    assert density.counts.sum() == 2
    assert density.counts[0, 0, 0] >= 1


def test_changing_cell_and_chunks(monkeypatch):
    rng = np.random.default_rng(1)
    fractional = rng.uniform(0, 1, (50, 6, 3))
    cells = CELL * np.linspace(0.9, 1.1, 50)[:, None, None]
    whole = probability_density(fractional @ cells, cells, shape=(5, 6, 7))
    fixed = probability_density(fractional @ CELL, CELL, shape=(5, 6, 7))
    assert np.array_equal(whole.counts, fixed.counts)
    np.testing.assert_allclose(whole.cell_A, CELL)
    monkeypatch.setattr("superionic.transport.density._CHUNK_POSITIONS", 20)
    assert np.array_equal(probability_density(fractional @ cells, cells, shape=(5, 6, 7)).counts, whole.counts)


def test_wrong_input():
    positions = np.zeros((4, 2, 3))
    for call, words in (
        (lambda: probability_density(positions[0], CELL), "shape"),
        (lambda: probability_density(positions, CELL[:2]), "Cells"),
        (lambda: probability_density(positions, np.zeros((3, 3))), "volume"),
        (lambda: probability_density(positions, CELL, grid_spacing_A=0.0), "spacing"),
    ):
        with pytest.raises(AnalysisError, match=words):
            call()
