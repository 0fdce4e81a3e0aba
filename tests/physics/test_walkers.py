"""Analytic truths of transport: walkers whose diffusivity, Haven ratio and displacements are known exactly."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter

from superionic.errors import AnalysisError
from superionic.transport.diffusion.diffusivity import charge_diffusivity, haven_ratio, tracer_diffusivity
from superionic.transport.diffusion.msd import collective_walker, mean_squared_displacement
from superionic.transport.diffusion.regime import shapes, take_spectrum

_SPEC = importlib.util.spec_from_file_location("walkers", Path(__file__).parents[2] / "benchmarks" / "walkers.py")
walkers = importlib.util.module_from_spec(_SPEC)
sys.modules["walkers"] = walkers  # by which name compiled functions are kept for the next time
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


def _gas(sites, rate, across, seed):
    return walkers.lattice_gas(
        sites=sites, concentration=0.5, duration_ps=200.0, frame_interval_ps=0.2, attempts_per_ps=rate, across=across,
        seed=seed,
    )  # fmt: skip


SLOW_CAGES = {"n_ions": 72, "duration_ps": 200.0, "hops_per_ion": 700 / 72, "cage_hops_per_ps": 0.12}
# What 600 times as long runs of the same lattices give for D*; exact for the others.
REGIMES = {
    "slow cages": (lambda seed: _hopping(seed, **SLOW_CAGES), 0.25, 0.06),
    "half-filled lattice": (lambda seed: (_gas((6, 6, 4), 0.25 / 6.0, 1.0, seed), 0.850 * 0.18881), 0.2, 0.06),
    "channels": (lambda seed: (_gas((3, 3, 16), 0.25, 0.1, seed), 0.591 * 0.45315), 0.2, 0.08),
}


@pytest.mark.parametrize("name", list(REGIMES))
def test_memories_longer_than_a_lag_are_taken_off(name):
    make, interval, tolerance = REGIMES[name]
    rows = []
    for seed in range(500, 524):
        positions, truth = make(seed)
        estimate = tracer_diffusivity(positions, interval).A2_per_ps
        rows.append((estimate.value / truth, _holds(estimate.interval95, truth)))
    values, holds = np.array(rows).T
    assert np.mean(values) == pytest.approx(1.0, abs=tolerance)
    assert np.mean(holds) >= 0.79  # of 24 that hold with 0.95 each, fewer in one of 300


def test_ions_in_one_anothers_way_have_the_collective_diffusivity_of_free_ones():
    values, holds = [], []
    truth = 0.45315  # exact: exclusion cancels from the sum of all displacements
    for seed in range(500, 524):
        positions = _gas((3, 3, 16), 0.25, 0.1, seed)
        charge = charge_diffusivity(positions, 0.2, 1.0, tracer_diffusivity(positions, 0.2)).A2_per_ps
        values.append(charge.value / truth)
        holds.append(_holds(charge.interval95, truth))
    assert np.mean(values) == pytest.approx(1.0, abs=0.1)
    assert np.mean(holds) >= 0.79


def test_where_the_run_does_not_tell_if_ways_to_and_fro_add_up_the_charge_diffusivity_is_a_bound():
    # Cages of 8 ps whose sum chances to look like a walk without memory: seven times the truth, and not to be believed.
    positions, truth = _hopping(
        10076, n_ions=72, duration_ps=200.0, frame_interval_ps=0.1, hops_per_ion=200 / 72, cage_hops_per_ps=0.12
    )
    tracer = tracer_diffusivity(positions, 0.1)
    low, high = tracer.A2_per_ps.interval95
    assert low <= truth <= high
    charge = charge_diffusivity(positions, 0.1, 1.0, tracer)
    assert charge.A2_per_ps.is_upper_bound
    assert charge.A2_per_ps.interval95[1] >= truth


def test_what_does_not_level_off_is_bounded_from_above_only():
    for seed in range(8):
        positions, truth = _hopping(seed, n_ions=72, duration_ps=200.0, hops_per_ion=1.4, cage_hops_per_ps=0.02)
        tracer = tracer_diffusivity(positions, 0.25)
        charge = charge_diffusivity(positions, 0.25, 1.0, tracer)
        assert not tracer.diffusive
        assert any(flag.startswith("No diffusive regime") for flag in tracer.flags)
        for estimate in (tracer.A2_per_ps, charge.A2_per_ps):
            assert estimate.is_upper_bound
            assert estimate.interval95[0] == estimate.interval68[0] == 0.0
            assert estimate.interval95[1] > truth


def test_closed_cages_give_a_bound_far_below_what_rattles():
    for seed in range(8):
        positions, _ = _hopping(seed, n_ions=72, duration_ps=200.0, hops_per_ion=0.0, cage_hops_per_ps=0.12)
        tracer = tracer_diffusivity(positions, 0.25)
        charge = charge_diffusivity(positions, 0.25, 1.0, tracer)
        rattling = tracer.n_hops * 9.0 / (6.0 * 72 * 200.0)
        assert tracer.A2_per_ps.is_upper_bound
        assert tracer.A2_per_ps.interval95[1] < 0.05 * rattling
        assert charge.A2_per_ps.interval95[0] == 0.0


def test_ions_that_change_between_fast_and_slow_widen_the_interval():
    values, stated, said = [], [], []
    for seed in range(24):
        positions, truth = walkers.exchanging_walkers(
            n_ions=72, duration_ps=200.0, frame_interval_ps=0.25, fast_per_ps=0.1, slow_per_ps=0.005, memory_ps=100.0,
            seed=seed,
        )  # fmt: skip
        result = tracer_diffusivity(positions, 0.25)
        values.append(result.A2_per_ps.value / truth)
        stated.append(result.A2_per_ps.error / truth)
        said.append(any("between fast and slow" in flag for flag in result.flags))
    assert np.mean(said) > 0.6
    assert np.mean(values) == pytest.approx(1.0, abs=0.07)
    assert np.mean(stated) > 0.75 * np.std(values)


def test_the_power_of_a_motion_that_is_forgotten_is_the_one_expected():
    # Many Ornstein-Uhlenbeck walkers in fine steps, averaged over blocks: their spectrum knows nothing of the formula.
    rng = np.random.default_rng(5)
    n, fine, memory = 40, 20, 3.0
    kept = np.exp(-1.0 / (fine * memory))
    noise = rng.normal(0.0, np.sqrt(memory * (1.0 - kept**2)), ((n + 1) * fine, 4000))
    noise[0] = rng.normal(0.0, np.sqrt(memory), 4000)
    path = np.asarray(lfilter([1.0], [1.0, -kept], noise, axis=0))[..., None] * np.ones(3)
    power = take_spectrum(path, 1.0 / fine, (0,), block_ps=1.0).power_A2
    expected = shapes(n, (memory,))[:, 2]
    # each of 40 powers is known to √(2/4000); fine steps instead of a continuous path cost 1e-3
    np.testing.assert_allclose(power, expected, rtol=0.1)
    assert np.mean(power / expected) == pytest.approx(1.0, abs=0.012)


def test_a_window_of_the_users_own_is_what_is_used():
    positions, truth = _hopping(3, n_ions=72, duration_ps=200.0, cage_hops_per_ps=1.0)
    short = tracer_diffusivity(positions, 0.25, window_ps=(0.5, 4.0))
    late = tracer_diffusivity(positions, 0.25, window_ps=(10.0, 100.0))
    assert short.window_ps == (0.5, 4.0)
    assert any("0.5 to 4 ps, as asked for" in flag for flag in short.flags)
    assert short.A2_per_ps.value > 1.5 * truth  # at such lags ions flip in their cages
    assert abs(late.A2_per_ps.value - truth) < 3.0 * late.A2_per_ps.error
    charge = charge_diffusivity(positions, 0.25, 1.0, late, window_ps=(10.0, 100.0))
    assert charge.window_ps == (10.0, 100.0)
    assert abs(charge.A2_per_ps.value - truth) < 4.0 * charge.A2_per_ps.error
    for wrong in ((0.0, 5.0), (5.0, 1.0), (5.0, float("inf")), (10.0, 300.0), (50.0, 100.0)):
        with pytest.raises(AnalysisError):
            tracer_diffusivity(positions, 0.25, window_ps=wrong)
