from __future__ import annotations

import numpy as np
import pytest

from superionic.errors import AnalysisError
from superionic.transport.density.grid import Density, probability_density
from superionic.transport.sites.pathways import free_energy_profile
from superionic.units import BOLTZMANN_EV_PER_K

TEMPERATURE_K = 600.0
KT = BOLTZMANN_EV_PER_K * TEMPERATURE_K


def metropolis(heights, *, n_walkers, n_steps, seed):
    """Walkers in Σ h/2 (1 − cos 2πx/3 Å): the barrier along each axis is its h, exactly."""
    rng = np.random.default_rng(seed)

    def energy(x):
        return (np.asarray(heights) / 2 * (1 - np.cos(2 * np.pi * x / 3.0))).sum(axis=1)

    x = rng.uniform(0, 3, (n_walkers, 3))
    here = energy(x)
    frames = []
    for step in range(n_steps):
        there = x + rng.normal(0, 0.5, x.shape)
        new = energy(there)
        taken = rng.random(n_walkers) < np.exp(np.minimum((here - new) / KT, 0.0))
        x[taken], here[taken] = there[taken], new[taken]
        if step > 100 and step % 3 == 0:
            frames.append(x.copy())
    return np.array(frames)


def test_barriers_of_a_cosine_potential():
    heights = (0.10, 0.15, 0.22)
    positions = metropolis(heights, n_walkers=1500, n_steps=2500, seed=0)
    density = probability_density(positions, 3.0 * np.eye(3), shape=(20, 20, 20))
    for axis, height in enumerate(heights):
        profile = free_energy_profile(density, np.zeros(3), np.eye(3)[axis], TEMPERATURE_K)
        assert profile.is_seen
        # half a voxel beside the extrema, the potential differs by up to 1.2 % of the height
        assert profile.barrier_eV == pytest.approx(height, abs=0.02 * height + 3 * profile.barrier_error_eV)
        assert profile.barrier_error_eV < 0.004
        middle = profile.fractional[profile.saddle]
        assert middle[axis] == pytest.approx(0.5, abs=0.08)
        assert 2.9 < profile.distance_A[-1] < 3.5


def test_path_goes_round():
    """The straight way is closed, and the one way around leads through another cell."""
    grid = np.zeros((16, 16, 16), dtype=np.int64)
    grid[13:, 8, 8], grid[:3, 8, 8] = 900, 900
    grid[2, 8, 8] = grid[13, 8, 8] = 1000
    density = Density(grid, 8.0 * np.eye(3), 1, int(grid.sum()))
    profile = free_energy_profile(
        density, (0.84, 0.53, 0.53), (1.16, 0.53, 0.53), TEMPERATURE_K, smoothing_A=0.0, margin_A=1.0
    )
    assert profile.distance_A[-1] == pytest.approx(2.5)
    assert np.isnan(profile.error_eV).all()
    assert np.isnan(profile.barrier_error_eV)
    with pytest.raises(AnalysisError, match="No ion"):
        free_energy_profile(density, (0.84, 0.53, 0.53), (0.16, 0.53, 0.53), TEMPERATURE_K, smoothing_A=0.0)
    with pytest.raises(AnalysisError, match="temperature"):
        free_energy_profile(density, np.zeros(3), np.ones(3), -1.0)


def test_minimax_prefers_the_higher_pass():
    """A short way over a low density loses against a detour through a higher one."""
    grid = np.zeros((12, 12, 3), dtype=np.int64)
    grid[2, 2], grid[8, 2] = 1000, 1000
    grid[3:8, 2] = 10
    grid[2, 2:7], grid[8, 2:7], grid[2:9, 6] = 200, 200, 200
    grid[2, 2], grid[8, 2] = 1000, 1000
    density = Density(grid, np.diag([6.0, 6.0, 1.5]), 1, int(grid.sum()))
    place = np.array([2.5, 2.5, 1.5]) / (12, 12, 3)
    profile = free_energy_profile(
        density, place, place + np.array([0.5, 0, 0]), TEMPERATURE_K, smoothing_A=0.0, margin_A=3.0
    )
    assert profile.barrier_eV == pytest.approx(KT * np.log(5.0))
