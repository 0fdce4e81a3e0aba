r"""The limit to which D levels off, and its error.

An ion that hops to and fro, in a cage of several sites or because a neighbour is in its way, spreads faster at short
lags than at long ones. No single lag is right for reading D: short ones are biased, long ones noisy. So all motion
that is later undone is modelled, and subtracted, as a sum of motions with memories :math:`T_j`. The power
spectrum of the increments of block-averaged positions (:mod:`.increments`) is

.. math:: P(ω) = 2 D τ · s_∞(ω) + L · (1 - \cos ω) + Σ_j a_j τ · s(ω; T_j), \quad D, L, a_j ≥ 0.

The first term is diffusion, the second is motion that is forgotten within a block (vibration), and a motion with the
memory :math:`T_j` raises D by :math:`a_j` at lags far below :math:`T_j` and not at all far above. No :math:`a_j` can be
negative in overdamped motion at equilibrium, whatever its mechanism: D can only fall with the lag, as a sum of
relaxations (its velocity autocorrelation is completely monotone except for the part at zero). The number of memories is
not known beforehand, so the posterior is averaged over their presence.

Motion slower than a tenth of the run cannot be distinguished from diffusion, and is not modelled. Where the slowest
memories in the model carry most of D, D has not levelled off, and the result is an upper bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.transport.diffusion.increments import LagFit, average_blocks, fit_amplitudes, ladder

FloatArray = NDArray[np.float64]

SHORTEST_LAG_PS = 0.25
"""Vibrations of light ions have periods near 0.1 ps; below this lag they would pass for motion."""
BASE_LAGS_PER_RUN = 200
"""Number of blocks in a run: more would not lower the error."""
MIN_INCREMENTS = 8
"""Fewest increments that blocks must leave, also at the longest lag of the ladder."""

FASTEST_MEMORY = 0.35
"""Shortest memory in the model, in blocks; faster ones look like vibration."""
SLOWEST_MEMORY = 0.1
"""Longest memory, in lengths of the run."""
MEMORIES_PER_OCTAVE = 2
"""Closer ones cannot be distinguished: any memory between two of them is a sum of both within 1 %."""

SCALES_OF_MEMORY = np.array((0.1, 0.3, 1.0, 3.0, 10.0, 30.0))
"""Prior of what a memory, if present, adds to D: half-normal with one of these widths, in units of D at long lags."""
CHANCES_OF_MEMORY = np.array((0.1, 0.1, 0.01, 0.01, 0.01, 0.01))
"""Prior probability of each of them, in an octave of time."""
N_SWEEPS, N_FIRST_SWEEPS = 6000, 300
"""Samples of the posterior, and initial ones that are discarded: the mean is known to 3 % of its error."""
NOT_LEVEL = 0.4
"""Share of D that memories longer than ``LONG_MEMORY`` of the run carry where D has not levelled off."""
LONG_MEMORY = 1.0 / 15.0
LEVEL_WITHIN = 0.1
"""D counts as level from the lag at which memories raise it by no more than this fraction."""

SHARES_OF_SLOW = np.array([0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0])
"""Shares of the tracer's excess that the collective motion may have as well."""
SHARES_OF_FAST = np.array([0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 2.0])
"""The same for motion forgotten within a block: vibrations may add up or cancel."""
CANCELS_AT_LEAST = 0.5
"""Prior probability, at least, that none of the tracer's excess is in the collective motion."""
ADDS_UP = 0.8
"""Prior probability that all of it is, where some of it is."""
RATIO_OF_INDEPENDENT = 0.5
"""Standard deviation of ln(D_σ/D*), before the data, where half of the tracer's excess or more is in the collective
motion: ions that move to and fro independently mostly also diffuse independently."""
UNDECIDED, UNDECIDED_RATIO = 0.03, 1.5
"""Undecided where both answers have at least this posterior probability and D_σ differs by at least this ratio."""


@dataclass(frozen=True)
class Spectrum:
    """Power spectrum of the increments of block-averaged positions.

    Attributes
    ----------
    lag_ps
        Length τ of a block.
    increments, waves
        (n, walkers, 3) increments in Å, and their sine transform in time (type I, orthonormal).
    axes
        Cartesian axes over which the power is averaged.
    power_A2
        (n,) squares of the waves, averaged over walkers and axes.
    """

    lag_ps: float
    increments: FloatArray
    waves: FloatArray
    axes: tuple[int, ...]
    power_A2: FloatArray

    def contributions(self, kernel: FloatArray) -> FloatArray:
        """Split the sum Σ kernel·power into contributions of every time and walker, (n, walkers)."""
        used = list(self.axes)
        filtered = scipy.fft.dst(kernel[:, None, None] * self.waves, type=1, axis=0, norm="ortho")
        shares = np.einsum("tia,tia->ti", self.increments[..., used], filtered[..., used])
        return np.asarray(shares / (self.increments.shape[1] * len(used)))

    def tensor(self, kernel: FloatArray) -> FloatArray:
        """Return the same sum for each pair of axes, (3, 3)."""
        tensor = np.einsum("k,kia,kib->ab", kernel, self.waves, self.waves, optimize=True)
        return np.asarray(tensor / self.increments.shape[1])


@dataclass(frozen=True)
class Memories:
    """Motions with finite memory, which raise D at short lags.

    Attributes
    ----------
    memory_ps, excess_A2_per_ps
        (m,) memories, and what each adds to D at lags far below it, averaged over the posterior.
    vibration_A2
        L, the power of motion that is forgotten within a block.
    block_ps
        Length of a block.
    """

    memory_ps: FloatArray
    excess_A2_per_ps: FloatArray
    vibration_A2: float
    block_ps: float

    def excess_at(self, lags_ps: FloatArray) -> FloatArray:
        """Return what they add to D at lags τ, as in a fit at one lag: Σ a_j ((1 − e^{−τ/T})/(τ/T))³."""
        x = np.divide.outer(np.asarray(lags_ps, dtype=np.float64), self.memory_ps)
        return np.asarray(((-np.expm1(-x) / x) ** 3) @ self.excess_A2_per_ps)


@dataclass(frozen=True)
class Level:
    """The limit to which D levels off.

    Attributes
    ----------
    value_A2_per_ps, variance
        The limit of D, and its variance from Gaussian increments and from the possible memories.
    gaussian_variance
        The part of it from Gaussian increments.
    kernel
        (n,) weights of the power: their product with the power sums to the limit.
    dispersion
        Scatter of the power over that of as many independent walkers, ≥ 1.
    memories
        Motions with finite memory.
    from_ps
        Lag from which D is within a tenth of its limit.
    slow_share
        Share of D at shorter lags that belongs to the longest memories in the model.
    """

    value_A2_per_ps: float
    variance: float
    gaussian_variance: float
    kernel: FloatArray
    dispersion: float
    memories: Memories
    from_ps: float
    slow_share: float


def take_spectrum(
    positions_A: FloatArray, frame_interval_ps: float, axes: tuple[int, ...], *, block_ps: float | None = None
) -> Spectrum:
    """Compute the spectrum of positions (n_frames ≥ 2, walkers, 3), in blocks of 0.25 ps or 1/200 of the run."""
    blocks, lag_ps = _blocks(positions_A, frame_interval_ps, block_ps)
    increments = np.diff(blocks, axis=0)
    waves = np.asarray(scipy.fft.dst(increments, type=1, axis=0, norm="ortho"))
    used = waves[..., list(axes)]
    power = np.einsum("kia,kia->k", used, used) / (used.shape[1] * len(axes))
    return Spectrum(lag_ps, increments, waves, axes, power)


def fit_ladder(positions_A: FloatArray, frame_interval_ps: float, axes: tuple[int, ...]) -> list[LagFit]:
    """Fit D at doubling lags, for display: from the same blocks on, as long as eight increments remain."""
    blocks, lag_ps = _blocks(positions_A, frame_interval_ps, None)
    return ladder(blocks, lag_ps, min_increments=MIN_INCREMENTS, axes=axes)


def _blocks(positions_A: FloatArray, frame_interval_ps: float, block_ps: float | None) -> tuple[FloatArray, float]:
    if block_ps is None:
        block_ps = max(SHORTEST_LAG_PS, (len(positions_A) - 1) * frame_interval_ps / BASE_LAGS_PER_RUN)
    frames = max(1, round(block_ps / frame_interval_ps))
    frames = max(1, min(frames, len(positions_A) // (MIN_INCREMENTS + 1)))
    blocks = average_blocks(positions_A, frames)
    if len(blocks) < 3:  # two frames have a single increment, which counts twice
        blocks = np.concatenate([blocks, 2.0 * blocks[-1:] - blocks[-2:-1]])
    return blocks, frames * frame_interval_ps


def level_off(spectrum: Spectrum) -> Level:
    """Find the limit to which D of many walkers levels off, averaged over the possible memories.

    The power is averaged over many walkers and so nearly Gaussian, with a variance of 2 P²/(walkers × axes) times a
    dispersion, estimated from the scatter about the best fit (ions that move together count as fewer walkers).
    """
    from superionic.transport.diffusion.regime_kernels import sample_memories

    power, n, lag = spectrum.power_A2, len(spectrum.power_A2), spectrum.lag_ps
    memories = memories_in_blocks(n)
    columns = shapes(n, memories) * lag
    columns[:, 1] /= lag  # L is an area
    if not np.any(power > 0.0):
        no_memories = Memories(lag * np.array(memories), np.zeros(len(memories)), 0.0, lag)
        return Level(0.0, 0.0, 0.0, np.zeros(n), 1.0, no_memories, lag, 0.0)
    expected, amplitudes = _best(columns, power)
    low = float(expected[0])
    walkers = spectrum.increments.shape[1] * len(spectrum.axes)
    free = max(n - int(np.count_nonzero(amplitudes)), 1)
    dispersion = max(1.0, float(np.sum((power / expected - 1.0) ** 2)) / free * walkers / 2.0)
    weight = walkers / (2.0 * dispersion * expected**2)
    samples = sample_memories(
        columns.T @ (weight[:, None] * columns),
        columns.T @ (weight * power),
        amplitudes,
        SCALES_OF_MEMORY * low / (2.0 * lag),
        CHANCES_OF_MEMORY / MEMORIES_PER_OCTAVE,
        _uniform_draws(),
        N_SWEEPS,
        N_FIRST_SWEEPS,
    )
    limits, mean = samples[:, 0], samples.mean(axis=0)
    value = float(np.median(limits))  # the posterior has a tail towards zero, of undetected memories
    # Since the noise is Gaussian, the derivative of a posterior mean by the data is a covariance, whatever the prior.
    covariance = (limits - mean[0]) @ (samples - mean) / len(samples)
    kernel = weight * (columns @ covariance)
    kernel_value = float(kernel @ power)
    if kernel_value > 0.0:
        kernel = kernel * (value / kernel_value)
    forgotten = Memories(lag * np.array(memories), mean[2:], float(mean[1]), lag)
    slow = float(forgotten.excess_A2_per_ps[forgotten.memory_ps >= LONG_MEMORY * n * lag].sum())
    lags = np.geomspace(lag, n * lag, 200)
    above = forgotten.excess_at(lags) > LEVEL_WITHIN * value
    return Level(
        value_A2_per_ps=value,
        variance=float(np.mean((limits - value) ** 2)),
        gaussian_variance=float(np.sum(kernel**2 / weight)),
        kernel=kernel,
        dispersion=dispersion,
        memories=forgotten,
        from_ps=float(lags[min(int(np.count_nonzero(above)), len(lags) - 1)]),
        slow_share=slow / (slow + value) if slow > 0.0 else 0.0,
    )


def level_within(spectrum: Spectrum, longest_ps: float) -> tuple[float, float, FloatArray, int]:
    """Fit a constant D between the lag of the blocks and ``longest_ps``, ignoring memories.

    Returns
    -------
    D, its variance from Gaussian increments of independent walkers, the kernel (n,), and the number of frequencies
    with half a period of at most ``longest_ps``.
    """
    n = len(spectrum.power_A2)
    first = min(max(math.ceil((n + 1) * spectrum.lag_ps / longest_ps - 1e-9) - 1, 0), n - 1)
    kernel = np.zeros(n)
    index = np.arange(1, n + 1)[first:]
    cosine = np.cos(np.pi * index / (n + 1))
    columns = np.stack([0.5 * (1.0 + cosine), 0.5 * (1.0 - cosine)], axis=1)
    amplitudes, row = fit_amplitudes(spectrum.power_A2[first:], columns)
    kernel[first:] = row / (2.0 * spectrum.lag_ps)
    expected = columns @ np.maximum(amplitudes, 0.0)
    walkers = spectrum.increments.shape[1] * len(spectrum.axes)
    gaussian = float(2.0 * np.sum((kernel[first:] * expected) ** 2) / walkers)
    value = float(kernel @ spectrum.power_A2)
    return value, gaussian, kernel, n - first


def memories_in_blocks(n: int) -> tuple[float, ...]:
    """Return the memories that n increments can resolve, in blocks, the shortest first."""
    octaves = math.log2(SLOWEST_MEMORY * n / FASTEST_MEMORY) if n > FASTEST_MEMORY / SLOWEST_MEMORY else -1.0
    number = math.floor(octaves * MEMORIES_PER_OCTAVE + 1e-9) + 1
    return tuple(SLOWEST_MEMORY * n * 2.0 ** (-k / MEMORIES_PER_OCTAVE) for k in range(max(number, 0)))[::-1]


@lru_cache(maxsize=32)
def shapes(n: int, memories: tuple[float, ...]) -> FloatArray:
    """Return the expected power of n increments for D = 1, L = 1 and each a = 1, in blocks: (n, 2 + memories).

    It is exact for diffusion and for motion that is forgotten at once. A motion with the position's covariance
    aT·exp(−t/T) has, in averages over blocks, b₀ = 2aT(x − 1 + e⁻ˣ)/x² and b_m = aT((1 − e⁻ˣ)/x)² e^{−(m−1)x} with x =
    τ/T (Berglund 2010, for a trapped particle), whose increments are transformed as a whole: they are not diagonal in
    the sine waves.
    """
    index = np.arange(1, n + 1)
    cosine = np.cos(np.pi * index / (n + 1))
    sines = math.sqrt(2.0 / (n + 1)) * np.sin(np.pi / (n + 1) * np.outer(index, index))
    separation = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    columns = [2.0 * (2.0 + cosine) / 3.0, 1.0 - cosine]
    for memory in memories:
        x = 1.0 / memory
        decay = math.exp(-x)
        blocks = memory * ((1.0 - decay) / x) ** 2 * np.exp(-x * np.arange(-1.0, n + 1.0))
        blocks[0] = memory * 2.0 * (x - 1.0 + decay) / x**2
        covariance = 2.0 * blocks[: n + 1] - blocks[1 : n + 2]
        covariance[1:] -= blocks[:n]
        covariance[0] = 2.0 * (blocks[0] - blocks[1])
        columns.append(np.einsum("ki,ki->k", sines, sines @ covariance[separation]))
    return np.array(columns).T.copy()


def _best(columns: FloatArray, power: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit the power with non-negative amplitudes by iterated weights."""
    mean = float(power.mean())
    expected: FloatArray = np.full(len(power), mean)
    floor = 1e-4 * mean
    for _ in range(12):
        amplitudes, _ = scipy.optimize.nnls(columns / expected[:, None], power / expected)
        expected = np.maximum(columns @ amplitudes, floor)
    return expected, amplitudes


@lru_cache(maxsize=1)
def _uniform_draws() -> FloatArray:
    return np.random.default_rng(20231).random(1 << 17)


def level_off_with(
    spectrum: Spectrum, memories: Memories, tracer_A2_per_ps: float
) -> tuple[FloatArray, FloatArray, bool]:
    """Find the limit to which D of the one collective walker levels off, given the memories of single ions.

    The fluctuations of one walker hardly show memories. Motion of single ions that leads nowhere may persist in their
    sum (ions in separate cages: all of the tracer's excess) or cancel from it (ions that block one another in a lattice
    gas: none of it). So P_σ = 2 D_σ τ·s_∞ + β·(slow excess of the tracer) + γ·(its vibration), with the likelihood of
    three Gaussian variables at each frequency, Jeffreys' prior for D_σ, and a sum over β, which is zero with the
    probability max(½, 1/(1 + e²/4)), where e is the tracer's excess over its D*, otherwise one with probability 0.8, or
    else between. Where β is ½ or more, the power of cages leaves few frequencies that determine D_σ, and the prior
    places it within a factor of e^½ (one standard deviation) of D*; this prior is no evidence about β.

    Returns
    -------
    values, probabilities, undecided
        A grid of D_σ, ascending, and the posterior on it; both empty where nothing moves. ``undecided`` says that the
        run leaves open whether D_σ contains the tracer's excess, where that matters: the posterior is then that without
        it, the larger one.
    """
    from superionic.transport.diffusion.regime_kernels import collective_likelihood

    power, n, lag = spectrum.power_A2, len(spectrum.power_A2), spectrum.lag_ps
    if not np.any(power > 0.0):
        return np.zeros(0), np.zeros(0), False
    columns = shapes(n, memories_in_blocks(n)) * lag
    excess, within = memories.excess_A2_per_ps, memories.memory_ps < lag
    slow = columns[:, 2:][:, ~within] @ excess[~within]
    fast = columns[:, 2:][:, within] @ excess[within] + columns[:, 1] / lag * memories.vibration_A2
    fast = fast + 1e-9 * float(power.mean())
    size = float(excess[~within].sum())
    ratio = min(size / tracer_A2_per_ps, 10.0) if tracer_A2_per_ps > 0.0 else 10.0
    prior = np.empty(len(SHARES_OF_SLOW))
    prior[0] = min(max(CANCELS_AT_LEAST, 1.0 / (1.0 + ratio**2 / 4.0)), 1.0 - 1e-9)
    prior[1:] = (1.0 - ADDS_UP) * (1.0 - prior[0]) / (len(prior) - 1)
    prior[-1] += ADDS_UP * (1.0 - prior[0])
    cancels = SHARES_OF_SLOW < 0.5
    level = float(power[: max(n // 10, 2)].mean()) / (2.0 * lag)
    grid = level * np.geomspace(1e-3, 30.0, 60)
    for _ in range(2):  # first locate the posterior, then resolve it
        log = collective_likelihood(
            power, columns[:, 0], slow, fast, grid, SHARES_OF_SLOW, SHARES_OF_FAST, len(spectrum.axes)
        )
        log += np.log(prior)[:, None, None]
        by_share = np.exp(log - log.max()).sum(axis=1) * np.gradient(grid)
        by_share /= by_share.sum()
        values, likely = grid, np.flatnonzero(by_share.sum(axis=0) > 1e-6)
        grid = np.geomspace(grid[max(likely[0] - 1, 0)], grid[min(likely[-1] + 1, len(grid) - 1)], 160)
    ways = np.array([by_share[cancels].sum(axis=0), by_share[~cancels].sum(axis=0)])
    chances = ways.sum(axis=1)
    if tracer_A2_per_ps > 0.0:
        # The prior of D_σ holds where the excess is in it, and is no evidence of whether it is.
        ways[1] *= np.exp(-0.5 * (np.log(values / tracer_A2_per_ps) / RATIO_OF_INDEPENDENT) ** 2)
        if ways[1].sum() > 0.0:
            ways[1] *= chances[1] / ways[1].sum()
    if chances.min() > UNDECIDED:
        without, within_sum = (ways @ values) / chances
        if without > UNDECIDED_RATIO * within_sum:
            return values, ways[0] / chances[0], True
    return values, ways.sum(axis=0), False
