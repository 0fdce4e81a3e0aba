"""Synthetic trajectories of ions whose diffusivity is known exactly; for benchmarks and tests, never for results.

Every generator returns positions (frames, ions, 3) in Å, unwrapped, and takes an explicit seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def brownian_walkers(
    *, n_ions: int, n_frames: int, frame_interval_ps: float, diffusivity_A2_per_ps: float, seed: int
) -> FloatArray:
    """Make the ideal gas of walkers: independent Gaussian steps."""
    rng = np.random.default_rng(seed)
    step = np.sqrt(2.0 * diffusivity_A2_per_ps * frame_interval_ps)
    return np.cumsum(rng.normal(0.0, step, (n_frames, n_ions, 3)), axis=0)


def hopping_walkers(
    *,
    n_ions: int,
    duration_ps: float,
    frame_interval_ps: float,
    hops_per_ion: float,
    seed: int,
    hop_length_A: float = 3.0,
    hop_time_ps: float = 0.2,
    vibration_A: float = 0.3,
    vibration_time_ps: float = 0.1,
    frozen_fraction: float = 0.0,
    cage_hops_per_ps: float = 0.0,
) -> tuple[FloatArray, float]:
    """Free walkers on a simple cubic lattice: Poisson hops of finite duration, vibration, frozen ions, cages.

    ``hops_per_ion`` is the mean number of long-range hops of each ion, frozen ones included in the mean.
    With ``cage_hops_per_ps`` every ion also flips to and fro between two positions ``hop_length_A`` apart.

    Returns
    -------
    positions, diffusivity
        (frames, ions, 3) in Å and the exact D = Γ a²/6, averaged over all ions, in Å²/ps.
    """
    rng = np.random.default_rng(seed)
    n_frames = round(duration_ps / frame_interval_ps) + 1
    times = np.arange(n_frames) * frame_interval_ps
    positions = _vibration(rng, n_frames, n_ions, vibration_A, frame_interval_ps / vibration_time_ps)
    mobile = n_ions - round(frozen_fraction * n_ions)
    rate = hops_per_ion * n_ions / (mobile * duration_ps)
    steps = hop_length_A * np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    for ion in range(mobile):
        for start in rng.uniform(0.0, duration_ps, rng.poisson(rate * duration_ps)):
            ramp = (
                np.clip((times - start) / hop_time_ps, 0.0, 1.0) if hop_time_ps > 0 else (times >= start).astype(float)
            )
            positions[:, ion] += ramp[:, None] * steps[rng.integers(6)]
    if cage_hops_per_ps > 0.0:
        flips = rng.random((n_frames, n_ions)) < 0.5 * (1.0 - np.exp(-2.0 * cage_hops_per_ps * frame_interval_ps))
        side = np.cumsum(flips, axis=0) % 2
        axes = rng.integers(3, size=n_ions)
        positions[:, np.arange(n_ions), axes] += hop_length_A * side
    return positions, hops_per_ion / duration_ps * hop_length_A**2 / 6.0


def lattice_gas(
    *, sites_per_edge: int, concentration: float, duration_ps: float, frame_interval_ps: float, attempts_per_ps: float,
    seed: int, hop_length_A: float = 3.0, vibration_A: float = 0.3,
) -> FloatArray:  # fmt: skip
    """Ions that exclude one another on a simple cubic lattice with periodic boundaries; returns positions."""
    rng = np.random.default_rng(seed)
    edge = sites_per_edge
    n_sites = edge**3
    n_ions = round(concentration * n_sites)
    where = rng.permutation(n_sites)[:n_ions]
    occupied = np.zeros(n_sites, dtype=bool)
    occupied[where] = True
    coordinates = np.stack(np.unravel_index(where, (edge, edge, edge)), axis=1)
    n_frames = round(duration_ps / frame_interval_ps) + 1
    path = np.empty((n_frames, n_ions, 3))
    moves = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    for frame in range(n_frames):
        path[frame] = coordinates
        n_attempts = rng.poisson(n_ions * attempts_per_ps * frame_interval_ps)
        for ion, direction in zip(rng.integers(n_ions, size=n_attempts), rng.integers(6, size=n_attempts), strict=True):
            target = coordinates[ion] + moves[direction]
            x, y, z = target % edge
            site = (x * edge + y) * edge + z
            if not occupied[site]:
                x, y, z = coordinates[ion] % edge
                occupied[(x * edge + y) * edge + z] = False
                occupied[site] = True
                coordinates[ion] = target
    return path * hop_length_A + _vibration(rng, n_frames, n_ions, vibration_A, 1.0)


def _vibration(
    rng: np.random.Generator, n_frames: int, n_ions: int, amplitude_A: float, steps_per_memory: float
) -> FloatArray:
    """Gaussian displacements with an exponential memory."""
    from scipy.signal import lfilter

    keep = np.exp(-steps_per_memory)
    noise = rng.normal(0.0, amplitude_A * np.sqrt(1.0 - keep**2), (n_frames, n_ions, 3))
    noise[0] = rng.normal(0.0, amplitude_A, (n_ions, 3))
    return np.asarray(lfilter([1.0], [1.0, -keep], noise, axis=0))
