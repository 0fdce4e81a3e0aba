"""Mean squared displacement: over all time origins by Fourier transform, or on a ladder of lags for very long runs."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]

MANY_FRAMES = 10_000
"""Longer runs are analysed on a ladder of lags (:func:`multi_tau_displacement`)."""
_CHUNK_BYTES = 64_000_000
_CHUNK_FRAMES = 4096
_LAGS_PER_OCTAVE = 16
_MOST_DISPLACEMENTS = 250_000
_PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class MeanSquaredDisplacement:
    """Displacements averaged over time origins and, unless collective, over ions.

    Attributes
    ----------
    lags_ps
        (l,) lags, from 0.
    msd_A2
        (l,) mean squared displacement summed over ``dimensions`` axes, in Å².
    tensor_A2
        (l, 3, 3) ⟨Δr_a Δr_b⟩ in Å².
    n_origins
        (l,) time origins behind each lag.
    dimensions
        Number d of axes in ``msd_A2``.
    n_walkers
        Ions averaged over; 1 for a collective displacement.
    """

    lags_ps: FloatArray
    msd_A2: FloatArray
    tensor_A2: FloatArray
    n_origins: NDArray[np.int64]
    dimensions: int
    n_walkers: int

    def running_diffusivity(self) -> tuple[FloatArray, FloatArray]:
        """D(τ) = [MSD(2τ) − MSD(τ)] / (2 d τ): lags in ps and values in Å²/ps; free of the vibrational offset."""
        twice = np.searchsorted(self.lags_ps, 2.0 * self.lags_ps * (1.0 - 1e-9))
        index = np.flatnonzero((twice < len(self.lags_ps)) & (self.lags_ps > 0.0))
        index = index[np.isclose(self.lags_ps[twice[index]], 2.0 * self.lags_ps[index])]
        lags = self.lags_ps[index]
        return lags, (self.msd_A2[twice[index]] - self.msd_A2[index]) / (2.0 * self.dimensions * lags)

    def thinned(self, n_points: int) -> MeanSquaredDisplacement:
        """Keep about ``n_points`` lags, spaced evenly in log(lag), for figures and files."""
        last = len(self.lags_ps) - 1
        if last + 1 <= n_points or n_points < 3:
            return self
        keep = np.unique(np.concatenate([[0], np.geomspace(1, last, n_points - 1).round().astype(np.int64)]))
        return replace(
            self,
            lags_ps=self.lags_ps[keep],
            msd_A2=self.msd_A2[keep],
            tensor_A2=self.tensor_A2[keep],
            n_origins=self.n_origins[keep],
        )


def mean_squared_displacement(
    positions_A: NDArray[np.floating[Any]],
    frame_interval_ps: float,
    *,
    axes: tuple[int, ...] = (0, 1, 2),
    max_lag_fraction: float = 1.0,
) -> MeanSquaredDisplacement:
    """Return the time-averaged mean squared displacement of ions (paper A eq. 1, paper B eq. 1).

    The sum of squares over origins comes from cumulative sums, the correlation from one inverse transform of the power
    spectra summed over ions (Wiener–Khinchin; Calandrini et al., Collection SFN 12, 201 (2011)). Cost
    O(f log f) for each ion; ions are processed in chunks, which bounds the memory beyond the input.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3) unwrapped positions in Å.
    frame_interval_ps
        Time between frames.
    axes
        Cartesian axes that ``msd_A2`` sums over.
    max_lag_fraction
        Longest lag as a fraction of the run.

    Raises
    ------
    AnalysisError
        For a wrong shape or fraction.
    """
    if positions_A.ndim != 3 or positions_A.shape[2] != 3 or positions_A.shape[0] < 2 or positions_A.shape[1] < 1:
        raise AnalysisError(f"Positions must have the shape (frames ≥ 2, ions ≥ 1, 3), not {positions_A.shape}.")
    if not 0.0 < max_lag_fraction <= 1.0:
        raise AnalysisError(f"The longest lag must be a fraction of the run between 0 and 1, not {max_lag_fraction!r}.")
    n_frames, n_ions, _ = positions_A.shape
    n_lags = max(2, min(n_frames, math.floor((n_frames - 1) * max_lag_fraction) + 1))
    length = scipy.fft.next_fast_len(n_frames + n_lags - 1, real=True)
    chunk = max(1, _CHUNK_BYTES // (length * 3 * 24))
    spectra = np.zeros((len(_PAIRS), length // 2 + 1))
    squares = np.zeros((n_frames, len(_PAIRS)))
    for start in range(0, n_ions, chunk):
        part = np.asarray(positions_A[:, start : start + chunk], dtype=np.float64)
        part = part - part.mean(axis=0)  # smaller numbers lose fewer digits in the difference below
        waves = scipy.fft.rfft(part, n=length, axis=0)
        for pair, (a, b) in enumerate(_PAIRS):
            spectra[pair] += np.einsum("ki,ki->k", waves[:, :, a].real, waves[:, :, b].real)
            spectra[pair] += np.einsum("ki,ki->k", waves[:, :, a].imag, waves[:, :, b].imag)
            squares[:, pair] += np.einsum("fi,fi->f", part[:, :, a], part[:, :, b])
    correlation = cast(FloatArray, scipy.fft.irfft(spectra, n=length, axis=1))[:, :n_lags].T
    # Σ over origins of r(t)² + r(t+τ)²: the total of the first and of the last f − τ frames.
    forward = np.concatenate([np.zeros((1, len(_PAIRS))), np.cumsum(squares, axis=0)])
    origins = n_frames - np.arange(n_lags)
    both = forward[origins] + (forward[-1] - forward[np.arange(n_lags)])
    values = (both - 2.0 * correlation) / (origins[:, None] * n_ions)
    values[0] = 0.0
    tensor = np.empty((n_lags, 3, 3))
    for pair, (a, b) in enumerate(_PAIRS):
        tensor[:, a, b] = tensor[:, b, a] = values[:, pair]
    used = list(axes)
    return MeanSquaredDisplacement(
        lags_ps=np.arange(n_lags) * frame_interval_ps,
        msd_A2=np.maximum(tensor[:, used, used].sum(axis=1), 0.0),
        tensor_A2=tensor,
        n_origins=origins.astype(np.int64),
        dimensions=len(used),
        n_walkers=n_ions,
    )


def multi_tau_displacement(
    positions_A: NDArray[np.floating[Any]],
    frame_interval_ps: float,
    *,
    atoms: NDArray[np.bool_] | None = None,
    drift_A: FloatArray | None = None,
    axes: tuple[int, ...] = (0, 1, 2),
    max_lag_fraction: float = 1.0,
) -> MeanSquaredDisplacement:
    """Return the mean squared displacement at sixteen lags an octave, in constant memory beyond the input.

    Origins lie a sixteenth of the lag apart, with at most a quarter of a million displacements at a lag: displacements
    from closer origins are nearly the same, so hardly any information is lost (multiple-tau correlators: Ramírez et
    al., J. Chem. Phys. 133, 154103 (2010); positions are sampled here, not averaged, so that no lag is blurred).

    Parameters
    ----------
    positions_A
        (n_frames ≥ 2, n_atoms, 3) unwrapped positions in Å, single or double precision; not copied.
    frame_interval_ps
        Time between frames.
    atoms
        (n_atoms,) which atoms to average over; all if omitted.
    drift_A
        (n_frames, 3) drift to subtract from all positions.
    axes, max_lag_fraction
        As in :func:`mean_squared_displacement`.
    """
    from superionic.transport.diffusion.msd_kernels import displacement_products

    n_frames, n_atoms, _ = positions_A.shape
    longest = max(1, math.floor((n_frames - 1) * max_lag_fraction))
    lags: list[int] = []
    step = 1
    while not lags or lags[-1] + step <= longest:
        first = 1 if step == 1 else _LAGS_PER_OCTAVE * step
        lags.extend(lag for lag in range(first, 2 * _LAGS_PER_OCTAVE * step, step) if lag <= longest)
        step *= 2
    lag_array = np.array(lags, dtype=np.int64)
    averaged = np.arange(n_atoms) if atoms is None else np.flatnonzero(atoms)
    if len(averaged) == 0:
        raise AnalysisError("There are no atoms to average the displacement over.")
    strides = np.maximum(lag_array // _LAGS_PER_OCTAVE, max(1, n_frames * len(averaged) // _MOST_DISPLACEMENTS))
    drift = np.zeros((n_frames, 3)) if drift_A is None else np.array(drift_A, dtype=np.float64)
    sums = np.zeros((len(lags), len(_PAIRS)))
    displacement_products(positions_A, averaged, drift, lag_array, strides, sums)
    origins = (n_frames - lag_array - 1) // strides + 1
    values = sums / (origins[:, None] * len(averaged))
    tensor = np.zeros((len(lags) + 1, 3, 3))
    for pair, (a, b) in enumerate(_PAIRS):
        tensor[1:, a, b] = tensor[1:, b, a] = values[:, pair]
    used = list(axes)
    return MeanSquaredDisplacement(
        lags_ps=np.concatenate([[0.0], lag_array * frame_interval_ps]),
        msd_A2=tensor[:, used, used].sum(axis=1),
        tensor_A2=tensor,
        n_origins=np.concatenate([[n_frames], origins]).astype(np.int64),
        dimensions=len(used),
        n_walkers=len(averaged),
    )


def displacement(
    positions_A: NDArray[np.floating[Any]],
    frame_interval_ps: float,
    *,
    atoms: NDArray[np.bool_] | None = None,
    drift_A: FloatArray | None = None,
    axes: tuple[int, ...] = (0, 1, 2),
    max_lag_fraction: float = 1.0,
) -> MeanSquaredDisplacement:
    """Return :func:`mean_squared_displacement`, or :func:`multi_tau_displacement` for more than 10,000 frames."""
    if len(positions_A) > MANY_FRAMES and is_compiled():
        return multi_tau_displacement(
            positions_A, frame_interval_ps, atoms=atoms, drift_A=drift_A, axes=axes, max_lag_fraction=max_lag_fraction
        )
    selected = positions_A if atoms is None else positions_A[:, atoms]
    relative = selected if drift_A is None else selected - drift_A[:, None, :]
    return mean_squared_displacement(relative, frame_interval_ps, axes=axes, max_lag_fraction=max_lag_fraction)


def is_compiled() -> bool:
    """Return whether numba is installed, so that loops are compiled."""
    return importlib.util.find_spec("numba") is not None


def collective_walker(positions_A: NDArray[np.floating[Any]], charges: FloatArray | float) -> FloatArray:
    """Return Σᵢ zᵢ rᵢ / √(Σᵢ zᵢ²) as the positions of one walker: (n_frames, 1, 3) in Å.

    Raises
    ------
    AnalysisError
        If the charges are not finite, or all zero.
    """
    numbers = np.broadcast_to(np.asarray(charges, dtype=np.float64), (positions_A.shape[1],))
    if not np.all(np.isfinite(numbers)) or not np.any(numbers != 0.0):
        raise AnalysisError("The charges of the mobile ions must be finite and not all zero.")
    return weighted_sum(positions_A, numbers / math.sqrt(float(numbers @ numbers)))[:, None, :]


def weighted_sum(positions_A: NDArray[np.floating[Any]], weights: FloatArray) -> FloatArray:
    """Return Σᵢ wᵢ rᵢ in each frame, (n_frames, 3), in double precision and without a copy of the positions."""
    atoms = np.flatnonzero(weights)
    total = np.empty((len(positions_A), 3))
    for first in range(0, len(positions_A), _CHUNK_FRAMES):
        part = positions_A[first : first + _CHUNK_FRAMES][:, atoms]
        total[first : first + _CHUNK_FRAMES] = np.einsum("fia,i->fa", part, weights[atoms], dtype=np.float64)
    return total


def remove_drift(
    positions_A: FloatArray, reference: NDArray[np.bool_], *, masses: FloatArray | None = None
) -> FloatArray:
    """Subtract the motion of the centre of the reference atoms from all positions: (n_frames, n_atoms, 3).

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3) unwrapped positions.
    reference
        (n_atoms,) the framework.
    masses
        (n_atoms,) in amu, for the centre of mass; the geometric centre if omitted.
    """
    if reference.shape != (positions_A.shape[1],) or not reference.any():
        raise AnalysisError(
            "There are no framework atoms to measure the drift by.",
            fix="Name the framework atoms, or analyse without removing the drift.",
        )
    return positions_A - framework_drift(positions_A, reference, masses=masses)[:, None, :]


def framework_drift(
    positions_A: FloatArray, reference: NDArray[np.bool_], *, masses: FloatArray | None = None
) -> FloatArray:
    """Return the displacement of the centre of the reference atoms since the first frame: (n_frames, 3) in Å."""
    weights = reference.astype(np.float64) if masses is None else np.where(reference, masses, 0.0)
    centre = weighted_sum(positions_A, weights / weights.sum())
    return cast(FloatArray, centre - centre[0])
