"""Vibrations of mobile ions: attempt frequency, amplitude, velocity spectrum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.units import AMU_A2_PER_PS2_TO_EV, BOLTZMANN_EV_PER_K

FloatArray = NDArray[np.float64]

SEEN_WELL = 0.6
"""Share of the thermal speed² that frame differences must show: below it, frames are too far apart."""
TOO_FAST = 1.3
"""Ratio to the thermal speed² above which the temperature or the time between frames is wrong."""

_SEGMENT_PS = 10.0
_FEWEST_FRAMES = 64
_HIGH = 0.75
_MOST_HIGH = 0.3
_LEAST_TRANSFER = 0.1
_BINS = 400
_IONS_AT_ONCE = 64_000_000


@dataclass(frozen=True, eq=False)
class Vibrations:
    """Vibrations of the mobile ions of one run.

    Frequencies are None where frames are too far apart to resolve them; `flags` says so.

    Attributes
    ----------
    attempt_frequency_THz, attempt_frequency_error_THz
        As GEMDAT defines it (https://github.com/GEMDAT-repos/GEMDAT, after N. J. J. de Klerk et al., ACS Appl. Energy
        Mater. 1, 3230 (2018)): mean frequency Σ f P(f)/Σ P(f) of the periodogram of the speed, which is the rate of
        change of an ion's distance from its position in the first frame; mean over the ions, and its standard error.
    attempt_frequency_spread_THz
        Standard deviation over the ions, as GEMDAT reports it.
    amplitude_A
        As GEMDAT defines it: standard deviation of the excursions, the changes of that distance between turning
        points.
    mean_frequency_THz, mean_frequency_error_THz
        Mean frequency of the velocities' power spectrum, the density of states of the ions; exact for harmonic ones.
    frequencies_THz, spectrum_per_THz
        (n_bins,) that spectrum, of integral 1, corrected for finite differences.
    thermal_share
        Mean m v² from frame differences over 3 k_B T; None without a temperature.
    flags
        Sentences for the reader.
    """

    attempt_frequency_THz: float | None
    attempt_frequency_error_THz: float | None
    attempt_frequency_spread_THz: float | None
    amplitude_A: float | None
    mean_frequency_THz: float | None
    mean_frequency_error_THz: float | None
    frequencies_THz: FloatArray
    spectrum_per_THz: FloatArray
    thermal_share: float | None
    flags: tuple[str, ...]


def vibrations(
    positions_A: NDArray[Any],
    frame_interval_ps: float,
    *,
    temperature_K: float | None = None,
    masses_amu: FloatArray | None = None,
) -> Vibrations:
    """Analyse the vibrations of ions.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3) unwrapped, framework drift removed.
    frame_interval_ps
        Time between frames.
    temperature_K, masses_amu
        Temperature of the run, and (n_ions,) masses: with both, speeds are compared with thermal ones, to check whether
        the frames resolve the vibrations.

    Raises
    ------
    AnalysisError
        For wrong shapes, fewer than 64 frames, or ions that stand still.
    """
    if positions_A.ndim != 3 or positions_A.shape[2] != 3 or positions_A.shape[1] == 0:
        raise AnalysisError(f"Positions have the shape (n_frames, n_ions, 3), not {positions_A.shape}.")
    if len(positions_A) < _FEWEST_FRAMES:
        raise AnalysisError(
            f"{len(positions_A)} frames are too few to see vibrations.", fix=f"Analyse at least {_FEWEST_FRAMES}."
        )
    if not (math.isfinite(frame_interval_ps) and frame_interval_ps > 0.0):
        raise AnalysisError(f"The frame interval must be positive, not {frame_interval_ps!r} ps.")
    frequencies, power, squares = _velocity_spectrum(positions_A, frame_interval_ps)
    if not power.sum() > 0.0:
        raise AnalysisError(
            "The ions do not move, and so have no frequency.", fix="Name the mobile ions with --mobile."
        )
    share = None
    if temperature_K is not None and masses_amu is not None:
        kinetic = float(np.mean(np.asarray(masses_amu) * squares)) * AMU_A2_PER_PS2_TO_EV
        share = kinetic / (3.0 * BOLTZMANN_EV_PER_K * temperature_K)
    flags = _flags(share, temperature_K, frequencies, power.sum(axis=0), frame_interval_ps)
    per_ion = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-300) @ frequencies
    whole = power.sum(axis=0)
    width = float(frequencies[1] - frequencies[0])
    spectrum = whole / (whole.sum() * width)
    if _unseen(share, frequencies, whole):
        return Vibrations(None, None, None, None, None, None, frequencies, spectrum, share, flags)
    attempts, amplitude = _excursions(positions_A, frame_interval_ps)
    return Vibrations(
        attempt_frequency_THz=float(attempts.mean()),
        attempt_frequency_error_THz=_standard_error(attempts),
        attempt_frequency_spread_THz=float(attempts.std()),
        amplitude_A=amplitude,
        mean_frequency_THz=float(whole @ frequencies / whole.sum()),
        mean_frequency_error_THz=_standard_error(per_ion),
        frequencies_THz=frequencies,
        spectrum_per_THz=spectrum,
        thermal_share=share,
        flags=flags,
    )


def _unseen(share: float | None, frequencies: FloatArray, power: FloatArray) -> bool:
    if share is not None and share < SEEN_WELL:
        return True
    high = float(power[frequencies > _HIGH * frequencies[-1]].sum() / power.sum())
    return high > _MOST_HIGH


def _flags(
    share: float | None, temperature_K: float | None, frequencies: FloatArray, power: FloatArray, interval_ps: float
) -> tuple[str, ...]:
    if share is not None and temperature_K is not None and share > TOO_FAST:
        fast = f"The ions are as fast as at {share * temperature_K:.0f} K, not at {temperature_K:g} K"
        return (f"{fast}: check the temperature and the time between frames, of which one is wrong.",)
    if not _unseen(share, frequencies, power):
        return ()
    shown = "" if share is None else f" (they show {100 * share:.0f} % of the thermal speed²)"
    unseen = f"Frames {1000.0 * interval_ps:g} fs apart do not show how the ions vibrate{shown}"
    return (f"{unseen}: there is no attempt frequency and no amplitude. Write frames more often, every 10 fs or so.",)


def _standard_error(values: FloatArray) -> float | None:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None


def _velocity_spectrum(positions: NDArray[Any], interval_ps: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return frequencies, (n_ions, n) power of the velocities there, and (n_ions,) mean squared speed from differences.

    Segments of 10 ps, half overlapping, with a Hann window (P. D. Welch, IEEE Trans. Audio 15, 70 (1967)). A difference
    of frames shows sin²(π f Δt)/(π f Δt)² of the power; this is divided out.
    """
    n_frames, n_ions, _ = positions.shape
    length = min(n_frames - 1, max(_FEWEST_FRAMES // 2, round(_SEGMENT_PS / interval_ps)))
    window = np.hanning(length)[:, None]
    frequencies = np.fft.rfftfreq(length, interval_ps)
    transfer = np.maximum(np.sinc(frequencies * interval_ps) ** 2, _LEAST_TRANSFER)
    power = np.zeros((n_ions, len(frequencies)))
    squares = np.zeros(n_ions)
    n_segments = 0
    starts = range(0, n_frames - length, max(1, length // 2))
    at_once = max(1, _IONS_AT_ONCE // (64 * length))
    for start in starts:
        for ions in range(0, n_ions, at_once):
            chunk = slice(ions, ions + at_once)
            block = np.asarray(positions[start : start + length + 1, chunk], dtype=np.float64)
            velocity = np.diff(block, axis=0) / interval_ps
            squares[chunk] += np.mean(np.sum(velocity**2, axis=2), axis=0)
            for axis in range(3):
                transformed = np.fft.rfft(velocity[:, :, axis] * window, axis=0)
                power[chunk] += (np.abs(transformed) ** 2).T
        n_segments += 1
    power /= transfer
    power[:, 0] *= 0.5
    if length % 2 == 0:
        power[:, -1] *= 0.5
    together = max(1, len(frequencies) // _BINS)
    n_used = len(frequencies) // together * together
    shape = (len(frequencies) // together, together)
    coarse = frequencies[:n_used].reshape(shape).mean(axis=1)
    binned = power[:, :n_used].reshape(n_ions, *shape).sum(axis=2)
    return np.asarray(coarse), np.asarray(binned), squares / n_segments


def _excursions(positions: NDArray[Any], interval_ps: float) -> tuple[FloatArray, float | None]:
    """Return (n_ions,) attempt frequencies and the amplitude of all ions, from distances to the first position."""
    n_frames, n_ions, _ = positions.shape
    at_once = max(1, _IONS_AT_ONCE // (8 * n_frames))
    frequencies = np.fft.rfftfreq(n_frames - 1, interval_ps)
    attempts = np.zeros(n_ions)
    number, total, squared = 0, 0.0, 0.0
    for ions in range(0, n_ions, at_once):
        block = np.asarray(positions[:, ions : ions + at_once], dtype=np.float64)
        distance = np.linalg.norm(block - block[0], axis=2)
        steps = np.diff(distance, axis=0)
        power = np.abs(np.fft.rfft(steps - steps.mean(axis=0), axis=0)) ** 2
        if (n_frames - 1) % 2 == 0:
            power[-1] *= 0.5
        attempts[ions : ions + at_once] = frequencies @ power / np.maximum(power.sum(axis=0), 1e-300)
        for path, change in zip(distance.T, steps.T, strict=True):
            turned = np.flatnonzero(np.sign(change[1:]) != np.sign(change[:-1])) + 1
            excursions = np.diff(path[turned])  # without those cut off by the ends of the run
            number += len(excursions)
            total += float(excursions.sum())
            squared += float(np.square(excursions).sum())
    if number < 2:
        return attempts, None
    return attempts, math.sqrt(max(squared / number - (total / number) ** 2, 0.0))
