from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import AnalysisError
from superionic.transport.msd import (
    collective_displacement,
    framework_drift,
    mean_squared_displacement,
    remove_drift,
)


def double_loop(positions):
    n = len(positions)
    tensor = np.zeros((n, 3, 3))
    for lag in range(1, n):
        steps = positions[lag:] - positions[:-lag]
        tensor[lag] = np.einsum("tia,tib->ab", steps, steps) / (steps.shape[0] * steps.shape[1])
    return tensor


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 60), st.integers(1, 5), st.integers(0, 2**31))
def test_equals_the_double_loop(n_frames, n_ions, seed):
    positions = np.random.default_rng(seed).normal(size=(n_frames, n_ions, 3)).cumsum(axis=0) + 50.0
    msd = mean_squared_displacement(positions, 0.1)
    expected = double_loop(positions)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(msd.tensor_A2, expected, atol=1e-10 * scale)
    np.testing.assert_allclose(msd.msd_A2, np.trace(expected, axis1=1, axis2=2), atol=1e-10 * scale)
    assert msd.n_origins.tolist() == list(range(n_frames, 0, -1))


def test_chunks_of_ions_change_nothing(monkeypatch):
    positions = np.random.default_rng(0).normal(size=(50, 7, 3)).cumsum(axis=0)
    whole = mean_squared_displacement(positions, 0.1)
    monkeypatch.setattr("superionic.transport.msd._CHUNK_BYTES", 1)
    np.testing.assert_allclose(mean_squared_displacement(positions, 0.1).tensor_A2, whole.tensor_A2, atol=1e-11)


def test_planar_and_short_lags():
    positions = np.random.default_rng(0).normal(size=(40, 4, 3)).cumsum(axis=0)
    whole = mean_squared_displacement(positions, 0.1)
    plane = mean_squared_displacement(positions, 0.1, axes=(0, 2), max_lag_fraction=0.5)
    n = len(plane.lags_ps)
    assert n == 20
    np.testing.assert_allclose(plane.msd_A2, whole.tensor_A2[:n, 0, 0] + whole.tensor_A2[:n, 2, 2], atol=1e-11)
    lags, running = plane.running_diffusivity()
    np.testing.assert_allclose(running[2], (plane.msd_A2[6] - plane.msd_A2[3]) / (4 * lags[2]))


def test_thinning_keeps_first_and_last():
    positions = np.random.default_rng(0).normal(size=(500, 2, 3)).cumsum(axis=0)
    whole = mean_squared_displacement(positions, 0.1)
    few = whole.thinned(30)
    assert len(few.lags_ps) <= 30
    assert few.lags_ps[0] == 0.0
    assert few.msd_A2[-1] == whole.msd_A2[-1]
    assert whole.thinned(1000) is whole


def test_drift_is_removed_by_number_or_mass():
    rng = np.random.default_rng(1)
    own = rng.normal(size=(30, 5, 3))
    reference = np.array([False, True, True, False, True])
    masses = np.array([7.0, 35.0, 35.0, 7.0, 89.0])
    drift = rng.normal(size=(30, 1, 3)).cumsum(axis=0)
    for weights in (None, masses):
        still = remove_drift(own, reference, masses=weights)
        moved = remove_drift(own + drift, reference, masses=weights)
        np.testing.assert_allclose(moved - moved[0], still - still[0], atol=1e-12)
        np.testing.assert_allclose(framework_drift(moved, reference, masses=weights), 0.0, atol=1e-12)
    with pytest.raises(AnalysisError, match="no framework"):
        remove_drift(own, np.zeros(5, dtype=bool))


def test_collective_displacement_weighs_charges():
    positions = np.zeros((3, 2, 3))
    positions[1:, 0, 0] = 1.0
    positions[2:, 1, 0] = 1.0
    msd = collective_displacement(positions, 1.0, np.array([1.0, 2.0]))
    np.testing.assert_allclose(msd.msd_A2, [0.0, (1 + 4) / 2 / 5, 9 / 5], atol=1e-12)
    with pytest.raises(AnalysisError, match="all zero"):
        collective_displacement(positions, 1.0, 0.0)


@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 3), (5, 0, 3), (5, 2, 2)])
def test_wrong_shapes(shape):
    with pytest.raises(AnalysisError, match="shape"):
        mean_squared_displacement(np.zeros(shape), 1.0)


def test_wrong_fraction():
    with pytest.raises(AnalysisError, match="fraction"):
        mean_squared_displacement(np.zeros((5, 1, 3)), 1.0, max_lag_fraction=1.5)
