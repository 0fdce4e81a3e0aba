from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from superionic.errors import AnalysisError
from superionic.transport.diffusion.msd import (
    collective_walker,
    framework_drift,
    mean_squared_displacement,
    multi_tau_displacement,
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
    monkeypatch.setattr("superionic.transport.diffusion.msd._CHUNK_BYTES", 1)
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
    msd = mean_squared_displacement(collective_walker(positions, np.array([1.0, 2.0])), 1.0)
    np.testing.assert_allclose(msd.msd_A2, [0.0, (1 + 4) / 2 / 5, 9 / 5], atol=1e-12)
    with pytest.raises(AnalysisError, match="all zero"):
        collective_walker(positions, 0.0)


@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 3), (5, 0, 3), (5, 2, 2)])
def test_wrong_shapes(shape):
    with pytest.raises(AnalysisError, match="shape"):
        mean_squared_displacement(np.zeros(shape), 1.0)


def test_wrong_fraction():
    with pytest.raises(AnalysisError, match="fraction"):
        mean_squared_displacement(np.zeros((5, 1, 3)), 1.0, max_lag_fraction=1.5)


def test_the_ladder_of_lags_equals_the_double_loop():
    """Up to 31 frames every origin is taken, beyond it origins a sixteenth of the lag apart."""
    rng = np.random.default_rng(5)
    positions = rng.normal(size=(300, 6, 3)).cumsum(axis=0)
    drift = rng.normal(size=(300, 3)).cumsum(axis=0)
    selected = np.array([True, False, True, True, False, True])
    expected = double_loop(positions[:, selected] - drift[:, None])
    msd = multi_tau_displacement(
        positions.astype(np.float32), 0.5, atoms=selected, drift_A=drift, axes=(0, 2), max_lag_fraction=0.8
    )
    lags = (msd.lags_ps / 0.5).round().astype(int)
    assert lags[:34].tolist() == [*range(32), 32, 34]
    assert lags[-1] <= 0.8 * 299
    np.testing.assert_allclose(msd.tensor_A2[:32], expected[:32], rtol=1e-5, atol=1e-4)
    for k in range(32, len(lags)):
        stride = max(lags[k] // 16, 1)
        steps = (positions - drift[:, None])[:, selected]
        steps = (steps[lags[k] :] - steps[: -lags[k]])[::stride]
        assert msd.n_origins[k] == len(steps)
        mean = np.einsum("tia,tib->ab", steps, steps) / (len(steps) * 4)
        np.testing.assert_allclose(msd.tensor_A2[k], mean, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(msd.msd_A2, msd.tensor_A2[:, 0, 0] + msd.tensor_A2[:, 2, 2])


def test_the_running_diffusivity_of_a_ladder_takes_lags_that_have_their_double():
    positions = np.random.default_rng(5).normal(size=(400, 3, 3)).cumsum(axis=0)
    lags, values = multi_tau_displacement(positions, 1.0).running_diffusivity()
    whole = mean_squared_displacement(positions, 1.0)
    exact = (whole.msd_A2[14] - whole.msd_A2[7]) / (6.0 * 7.0)
    assert values[list(lags).index(7.0)] == pytest.approx(exact, rel=1e-9)
    assert np.all(np.isin(2.0 * lags, multi_tau_displacement(positions, 1.0).lags_ps))
