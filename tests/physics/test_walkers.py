"""Analytic truths of transport: walkers whose diffusivity, Haven ratio and displacements are known exactly."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from superionic.transport.diffusivity import charge_diffusivity, haven_ratio, tracer_diffusivity
from superionic.transport.msd import collective_walker, mean_squared_displacement

_SPEC = importlib.util.spec_from_file_location("walkers", Path(__file__).parents[2] / "benchmarks" / "walkers.py")
walkers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(walkers)

N_SEEDS = 60


def _hopping(seed, **changes):
    settings = {"n_ions": 36, "duration_ps": 100.0, "frame_interval_ps": 0.25, "hops_per_ion": 8.0, "seed": seed}
    return walkers.hopping_walkers(**(settings | changes))


@pytest.fixture(scope="module")
def gas():
    """Every seed of the ideal gas of hopping walkers: the truth, D*, D_σ and H."""
    results = []
    for seed in range(1000, 1000 + N_SEEDS):
        positions, truth = _hopping(seed)
        tracer = tracer_diffusivity(positions, 0.25)
        charge = charge_diffusivity(positions, 0.25, 1.0, tracer)
        results.append((truth, tracer.A2_per_ps, charge.A2_per_ps, haven_ratio(tracer, charge)))
    return results


def _holds(interval, truth):
    return interval[0] <= truth <= interval[1]


def test_tracer_diffusivity_is_recovered_and_its_interval_is_right_as_often_as_it_says(gas):
    relative = np.array([tracer.value / truth for truth, tracer, _, _ in gas])
    stated = np.array([tracer.error / truth for truth, tracer, _, _ in gas])
    assert abs(relative.mean() - 1.0) < 3.0 * stated.mean() / np.sqrt(N_SEEDS)
    # the scatter of 60 values is itself known to 9 %, and the generator's own hop counts scatter by as much
    assert relative.std() == pytest.approx(stated.mean(), rel=0.3)
    assert 0.55 <= np.mean([_holds(tracer.interval68, truth) for truth, tracer, _, _ in gas]) <= 0.82
    assert np.mean([_holds(tracer.interval95, truth) for truth, tracer, _, _ in gas]) >= 0.88


def test_charge_diffusivity_and_haven_ratio_of_the_ideal_gas(gas):
    relative = np.array([charge.value / truth for truth, _, charge, _ in gas])
    assert abs(relative.mean() - 1.0) < 0.05
    assert relative.std() < 0.2
    assert 0.55 <= np.mean([_holds(charge.interval68, truth) for truth, _, charge, _ in gas]) <= 0.85
    assert np.mean([_holds(haven.interval95, 1.0) for _, _, _, haven in gas]) >= 0.9
    inverse = np.mean([1.0 / haven.value for _, _, _, haven in gas])
    assert inverse == pytest.approx(1.0, abs=0.06)  # 1/H is the unbiased one: D_σ stands on top


def test_frozen_ions_do_not_inflate_the_error():
    estimates = []
    for seed in range(20):
        positions, truth = _hopping(seed, frozen_fraction=0.5)
        result = tracer_diffusivity(positions, 0.25)
        estimates.append((result.A2_per_ps.value / truth, result.A2_per_ps.error / truth))
        assert any("never hopped" in flag for flag in result.flags)
    values, errors = np.array(estimates).T
    assert abs(values.mean() - 1.0) < 0.05
    assert errors.mean() < 1.6 * values.std()


def test_rattling_in_a_cage_is_not_diffusion():
    values = []
    for seed in range(12):
        positions, truth = _hopping(seed, duration_ps=200.0, hops_per_ion=16.0, cage_hops_per_ps=1.0)
        values.append(tracer_diffusivity(positions, 0.25).A2_per_ps.value / truth)
    assert np.mean(values) == pytest.approx(1.0, abs=0.07)


def test_brownian_walkers():
    positions = walkers.brownian_walkers(
        n_ions=64, n_frames=2000, frame_interval_ps=0.1, diffusivity_A2_per_ps=0.1, seed=3
    )
    result = tracer_diffusivity(positions, 0.1)
    assert abs(result.A2_per_ps.value - 0.1) < 3.0 * result.A2_per_ps.error
    assert result.diffusive
    np.testing.assert_allclose(np.trace(result.tensor_A2_per_ps) / 3.0, result.A2_per_ps.value, rtol=1e-12)


def test_displacements_of_known_walks_are_exact():
    n, dt = 200, 0.5
    velocity = np.array([0.3, -1.2, 2.0])
    straight = np.arange(n)[:, None, None] * dt * velocity
    msd = mean_squared_displacement(straight, dt)
    np.testing.assert_allclose(msd.msd_A2, (velocity @ velocity) * msd.lags_ps**2, rtol=0, atol=1e-7)
    np.testing.assert_allclose(msd.tensor_A2[7], np.outer(velocity, velocity) * (7 * dt) ** 2, atol=1e-7)
    zigzag = np.zeros((n, 2, 3))
    zigzag[1::2, :, 0] = 3.0
    flat = mean_squared_displacement(zigzag, dt)
    np.testing.assert_allclose(flat.msd_A2, np.where(np.arange(n) % 2 == 1, 9.0, 0.0), atol=1e-9)
    # two ions that move as one: the collective displacement is twice that of one
    together = mean_squared_displacement(collective_walker(zigzag, 1.0), dt)
    np.testing.assert_allclose(together.msd_A2, 2.0 * flat.msd_A2, atol=1e-9)


def test_haven_ratio_of_ions_that_move_in_pairs_is_one_half():
    values = []
    for seed in range(20):
        positions, _ = _hopping(seed, vibration_A=0.0)
        pairs = np.concatenate([positions, positions + 1.0], axis=1)
        tracer = tracer_diffusivity(pairs, 0.25)
        charge = charge_diffusivity(pairs, 0.25, 1.0, tracer)
        values.append(charge.A2_per_ps.value / tracer.A2_per_ps.value)
    assert np.mean(values) == pytest.approx(2.0, rel=0.15)
