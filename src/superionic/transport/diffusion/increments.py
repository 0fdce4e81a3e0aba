r"""Diffusivity from the increments of block-averaged positions, at one time lag and over a ladder of lags.

Positions are averaged over blocks of length τ. For a walker that diffuses and, faster than τ, does anything bounded
(vibrates, rattles in a cage, hops back and forth), the increments of these averages have covariances
:math:`c_0, c_1` and nothing beyond, and :math:`c_0 + 2 c_1 = 2 D τ` (Vestergaard, Blainey & Flyvbjerg, Phys. Rev. E
89, 022726 (2014); with averaging Berglund, Phys. Rev. E 82, 011917 (2010)). Their covariance matrix is
tridiagonal Toeplitz, which the sine transform diagonalises exactly, with the eigenvalues

.. math:: λ_k = 2Dτ · \tfrac12(1 + \cos ω_k) + L · \tfrac12(1 - \cos ω_k), \quad ω_k = πk/(n+1).

So the Gaussian likelihood is a weighted linear regression of the power on two shapes, solved here by iterated
weights. Real hops are not Gaussian; the estimate stays unbiased (it is linear in the power), and its error does not
come from the likelihood but from the contributions of ions and times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_ITERATIONS = 30


@dataclass(frozen=True)
class LagFit:
    """The diffusivity of walkers at one lag.

    Attributes
    ----------
    lag_ps
        Block length τ.
    n_increments
        Number n of increments in time.
    value_A2_per_ps
        D, averaged over walkers and axes; may be slightly negative where there is only noise.
    tensor_A2_per_ps
        (3, 3) diffusion tensor, by the same weights; its trace over the fitted axes gives ``value_A2_per_ps``.
    contributions
        (n, walkers) contributions of every time and walker to ``value_A2_per_ps``; they sum to it.
    gaussian_variance
        Variance of ``value_A2_per_ps`` if the increments were Gaussian and walkers independent.
    """

    lag_ps: float
    n_increments: int
    value_A2_per_ps: float
    tensor_A2_per_ps: FloatArray
    contributions: FloatArray
    gaussian_variance: float


def fit_lag(blocks: FloatArray, lag_ps: float, axes: Sequence[int] = (0, 1, 2)) -> LagFit:
    """Fit D to block-averaged positions.

    Parameters
    ----------
    blocks
        (n + 1, walkers, 3) positions in Å, unwrapped, averaged over consecutive blocks; n ≥ 2.
    lag_ps
        Length of a block in ps.
    axes
        Cartesian axes over which D is averaged.
    """
    increments = np.diff(blocks, axis=0)
    n, walkers, _ = increments.shape
    used = list(axes)
    waves = cast(FloatArray, scipy.fft.dst(increments, type=1, axis=0, norm="ortho"))
    power = np.einsum("kia,kia->k", waves[..., used], waves[..., used]) / (walkers * len(used))
    cosine = np.cos(np.pi * np.arange(1, n + 1) / (n + 1))
    shapes = np.stack([0.5 * (1.0 + cosine), 0.5 * (1.0 - cosine)], axis=1)
    amplitudes, solver = fit_amplitudes(power, shapes)
    kernel = solver / (2.0 * lag_ps)
    filtered = cast(FloatArray, scipy.fft.dst(kernel[:, None, None] * waves, type=1, axis=0, norm="ortho"))
    contributions = np.einsum("tia,tia->ti", increments[..., used], filtered[..., used]) / (walkers * len(used))
    tensor = np.einsum("k,kia,kib->ab", kernel, waves, waves, optimize=True) / walkers
    expected = np.maximum(shapes @ np.maximum(amplitudes, 0.0), 0.0)
    gaussian = float(2.0 * np.sum((kernel * expected) ** 2) / (walkers * len(used)))
    value = float(np.sum(kernel * power))
    return LagFit(lag_ps, n, value, tensor, contributions, gaussian)


def average_blocks(positions: FloatArray, frames: int) -> FloatArray:
    """Average positions (frames, atoms, 3) over consecutive, complete blocks of ``frames`` frames."""
    whole = len(positions) // frames
    if frames == 1:
        return np.ascontiguousarray(positions[:whole], dtype=np.float64)
    shape = (whole, frames, *positions.shape[1:])
    return cast(FloatArray, positions[: whole * frames].reshape(shape).mean(axis=1, dtype=np.float64))


def ladder(
    base_blocks: FloatArray, base_lag_ps: float, *, min_increments: int, axes: Sequence[int] = (0, 1, 2)
) -> list[LagFit]:
    """Fit D at lags that double from ``base_lag_ps`` as long as at least ``min_increments`` increments remain."""
    fits: list[LagFit] = []
    blocks, lag = base_blocks, base_lag_ps
    while len(blocks) - 1 >= min_increments or not fits:
        fits.append(fit_lag(blocks, lag, axes))
        blocks, lag = average_blocks(blocks, 2), 2.0 * lag
    return fits


def fit_amplitudes(power: FloatArray, shapes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Fit power ≈ shapes @ amplitudes with iterated weights.

    Returns the amplitudes (2,) and the row (n,) that maps any power to the first amplitude.
    """
    mean = float(power.mean())
    if mean <= 0.0:
        weights = np.ones(len(power))
        solver = np.linalg.pinv(shapes * weights[:, None])[0] * weights
        return np.zeros(2), cast(FloatArray, solver)
    amplitudes = np.array([mean, mean])
    rows = np.zeros((2, len(power)))
    for _ in range(_ITERATIONS):
        # Averaged over blocks, even pure diffusion has L = A/3 (points: A): the weights must not assume less,
        # nor an A below what a run of n increments can distinguish from zero.
        low = max(float(amplitudes[0]), 0.0)
        high = max(float(amplitudes[1]), 0.25 * low, 1e-6 * mean)
        model = shapes @ np.array([max(low, 2.5 * high / len(power) ** 2), high])
        weights = 1.0 / model**2
        weighted = shapes * weights[:, None]
        rows = np.linalg.solve(shapes.T @ weighted, weighted.T)
        update = rows @ power
        if np.allclose(update, amplitudes, rtol=1e-10, atol=1e-12 * mean):
            amplitudes = update
            break
        amplitudes = update
    return amplitudes, rows[0]
