"""Synthetic trajectories of ions whose diffusivity is known exactly; for benchmarks and tests, never for results.

Every generator returns positions (frames, ions, 3) in Å, unwrapped, and takes an explicit seed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superionic.compiled import compiled

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


def exchanging_walkers(
    *, n_ions: int, duration_ps: float, frame_interval_ps: float, fast_per_ps: float, slow_per_ps: float,
    memory_ps: float, seed: int, hop_length_A: float = 3.0, vibration_A: float = 0.3,
) -> tuple[FloatArray, float]:  # fmt: skip
    """Free walkers that change between a fast and a slow rate of hops, half of the time each, with so long a memory.

    Returns
    -------
    positions, diffusivity
        The exact D = (fast + slow)/2 · a²/6, in Å²/ps.
    """
    rng = np.random.default_rng(seed)
    n_frames = round(duration_ps / frame_interval_ps) + 1
    change = 0.5 * (1.0 - np.exp(-frame_interval_ps / memory_ps))
    changes = rng.random((n_frames, n_ions)) < change
    fast = (rng.integers(2, size=n_ions) + np.cumsum(changes, axis=0)) % 2 == 0
    hops = rng.poisson(np.where(fast, fast_per_ps, slow_per_ps) * frame_interval_ps)
    steps = hop_length_A * np.concatenate([np.eye(3), -np.eye(3)])
    positions = _vibration(rng, n_frames, n_ions, vibration_A, 1.0)
    for most in range(1, int(hops.max(initial=0)) + 1):
        positions += np.cumsum(steps[rng.integers(6, size=hops.shape)] * (hops >= most)[..., None], axis=0)
    return positions, 0.5 * (fast_per_ps + slow_per_ps) * hop_length_A**2 / 6.0


def strings(*, size: int, n_ions: int, vibration_A: float = 0.3, seed: int, **walk: float) -> tuple[FloatArray, float]:
    """Ions that hop together, so many at a time, with vibrations of their own: H = 1/size. See hopping_walkers."""
    walkers, diffusivity = hopping_walkers(n_ions=n_ions // size, vibration_A=0.0, seed=seed, **walk)  # type: ignore[arg-type]
    rng = np.random.default_rng((seed, size))
    return np.repeat(walkers, size, axis=1) + _vibration(rng, len(walkers), n_ions, vibration_A, 1.0), diffusivity


def lattice_gas(
    *, sites: tuple[int, int, int], concentration: float, duration_ps: float, frame_interval_ps: float,
    attempts_per_ps: float, seed: int, across: float = 1.0, hop_length_A: float = 3.0, vibration_A: float = 0.3,
) -> FloatArray:  # fmt: skip
    """Ions that exclude one another on a simple cubic lattice with periodic boundaries; returns positions.

    ``attempts_per_ps`` is the rate to each of the two neighbours along z, and ``across`` times that the one to each of
    the four others: far below one, ions move in channels along z and are in one another's way.
    """
    rng = np.random.default_rng(seed)
    n_sites = sites[0] * sites[1] * sites[2]
    n_ions = round(concentration * n_sites)
    where = rng.permutation(n_sites)[:n_ions]
    n_frames = round(duration_ps / frame_interval_ps) + 1
    rates = attempts_per_ps * np.array([across, across, across, across, 1.0, 1.0])
    attempts = rng.poisson(n_ions * rates.sum() * frame_interval_ps, n_frames)
    ions = rng.integers(n_ions, size=attempts.sum())
    directions = rng.choice(6, size=attempts.sum(), p=rates / rates.sum())
    path = _lattice_path(np.array(sites), where, attempts, ions, directions)
    return path * hop_length_A + _vibration(rng, n_frames, n_ions, vibration_A, 1.0)


@compiled
def _lattice_path(
    sites: NDArray[np.int64],
    where: NDArray[np.int64],
    attempts: NDArray[np.int64],
    ions: NDArray[np.int64],
    directions: NDArray[np.int64],
) -> FloatArray:
    """Follow attempts to hop, so many before each next frame; those to occupied sites do nothing."""
    nx, ny, nz = sites[0], sites[1], sites[2]
    occupied = np.zeros((nx, ny, nz), dtype=np.bool_)
    place = np.zeros((len(where), 3), dtype=np.int64)
    for ion in range(len(where)):
        place[ion, 0] = where[ion] // (ny * nz)
        place[ion, 1] = (where[ion] // nz) % ny
        place[ion, 2] = where[ion] % nz
        occupied[place[ion, 0], place[ion, 1], place[ion, 2]] = True
    path = np.empty((len(attempts), len(where), 3))
    attempt = 0
    for frame in range(len(attempts)):
        path[frame] = place
        for _ in range(attempts[frame]):
            ion, direction = ions[attempt], directions[attempt]
            attempt += 1
            x, y, z = place[ion, 0], place[ion, 1], place[ion, 2]
            step = 1 - 2 * (direction % 2)
            if direction // 2 == 0:
                x += step
            elif direction // 2 == 1:
                y += step
            else:
                z += step
            if not occupied[x % nx, y % ny, z % nz]:
                occupied[place[ion, 0] % nx, place[ion, 1] % ny, place[ion, 2] % nz] = False
                occupied[x % nx, y % ny, z % nz] = True
                place[ion, 0], place[ion, 1], place[ion, 2] = x, y, z
    return path


def _vibration(
    rng: np.random.Generator, n_frames: int, n_ions: int, amplitude_A: float, steps_per_memory: float
) -> FloatArray:
    """Gaussian displacements with an exponential memory."""
    from scipy.signal import lfilter

    keep = np.exp(-steps_per_memory)
    noise = rng.normal(0.0, amplitude_A * np.sqrt(1.0 - keep**2), (n_frames, n_ions, 3))
    noise[0] = rng.normal(0.0, amplitude_A, (n_ions, 3))
    return np.asarray(lfilter([1.0], [1.0, -keep], noise, axis=0))
