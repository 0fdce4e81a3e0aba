"""Mean cells and volumes of constant-pressure runs, and thermal expansion, with their errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.estimate import LEVEL_68, LEVEL_95, student_quantile

FloatArray = NDArray[np.float64]

_WINDOW = 5.0
_STARTS = 20
_LONGEST_DISCARD = 0.5
FEW_SAMPLES = 10.0
"""Fewer independent samples than this are flagged."""
_IMPROBABLE = 0.01


@dataclass(frozen=True)
class SeriesMean:
    """Mean of a correlated series.

    Attributes
    ----------
    value, error
        Mean and its standard error, from the autocorrelation.
    interval68, interval95
        Intervals by Student's t for the number of independent samples.
    standard_deviation
        Standard deviation of the series itself (fluctuations, not the error).
    correlation_time_ps
        Integrated autocorrelation time.
    independent_samples
        Length over twice the correlation time.
    """

    value: float
    error: float
    interval68: tuple[float, float]
    interval95: tuple[float, float]
    standard_deviation: float
    correlation_time_ps: float
    independent_samples: float


@dataclass(frozen=True)
class MeanCell:
    """Mean cell of a run whose cell changes.

    Attributes
    ----------
    lengths_A, angles_deg
        a, b, c and α, β, γ.
    volume_per_atom_A3
        Volume per atom; None if the number of atoms is unknown.
    discarded_ps
        Time discarded at the start as not equilibrated.
    flags
        Sentences for the reader.
    """

    lengths_A: tuple[SeriesMean, SeriesMean, SeriesMean]
    angles_deg: tuple[SeriesMean, SeriesMean, SeriesMean]
    volume_A3: SeriesMean
    volume_per_atom_A3: SeriesMean | None
    discarded_ps: float
    flags: tuple[str, ...]


@dataclass(frozen=True)
class VolumeTrace:
    """Volume over time in a run whose cell changes, thinned for a figure; empty without such a run."""

    time_ps: tuple[float, ...] = ()
    volume_A3_per_atom: tuple[float, ...] = ()


@dataclass(frozen=True)
class ThermalExpansion:
    """A straight line through volumes (or lengths) at several temperatures.

    Attributes
    ----------
    volumetric_per_K, volumetric_error_per_K
        β = (1/V) dV/dT at the mean temperature.
    linear_per_K, linear_error_per_K
        α = β/3, the mean of the linear expansions.
    volume_at_mean_A3, mean_temperature_K
        Point at which the line is evaluated.
    reduced_chi2
        χ² per degree of freedom of the points about the line; None for two points.
    flags
        Sentences for the reader.
    """

    volumetric_per_K: float
    volumetric_error_per_K: float
    volume_at_mean_A3: float
    mean_temperature_K: float
    reduced_chi2: float | None
    flags: tuple[str, ...]

    @property
    def linear_per_K(self) -> float:
        """α = β/3."""
        return self.volumetric_per_K / 3.0

    @property
    def linear_error_per_K(self) -> float:
        """Error of α."""
        return self.volumetric_error_per_K / 3.0


def correlation_samples(series: FloatArray) -> float:
    """Return the integrated autocorrelation time of a series in units of its interval, at least 1/2.

    τ = 1/2 + Σ ρ(t), summed to the first t ≥ 5 τ (Sokal, in Functional Integration, NATO ASI B 361, 131 (1997)).
    """
    x = np.asarray(series, dtype=np.float64)
    n = len(x)
    centred = x - x.mean()
    if n < 4 or not np.any(np.abs(centred) > 1e-14 * max(1.0, float(np.abs(x).max()))):
        return 0.5
    length = scipy.fft.next_fast_len(2 * n, real=True)
    waves = scipy.fft.rfft(centred, n=length)
    correlation = cast(FloatArray, scipy.fft.irfft(waves.real**2 + waves.imag**2, n=length))[:n]
    times = 0.5 + np.cumsum(correlation[1:] / correlation[0])
    inside = np.flatnonzero(np.arange(1, n) >= _WINDOW * times)
    tau = float(times[inside[0]] if len(inside) else times.max())
    return max(0.5, tau)


def series_mean(series: FloatArray, interval_ps: float) -> SeriesMean:
    """Return the mean of a correlated, stationary series with its error √(2 τ s²/n).

    Parameters
    ----------
    series
        (n,) values at equal intervals.
    interval_ps
        Time between them.

    Raises
    ------
    AnalysisError
        For fewer than two values, or values that are not finite.
    """
    x = np.asarray(series, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.all(np.isfinite(x)) or interval_ps <= 0.0:
        raise AnalysisError("A mean needs at least two finite values and a positive interval.")
    tau = correlation_samples(x)
    independent = max(len(x) / (2.0 * tau), 1.0)
    spread = float(x.std(ddof=1))
    # The variance of a correlated series is too low by the variance of its mean.
    spread *= math.sqrt(1.0 / max(1.0 - 1.0 / independent, 0.5)) if independent < len(x) else 1.0
    error = spread / math.sqrt(independent)
    value = float(x.mean())
    freedom = max(independent - 1.0, 1.0)
    widths = [student_quantile(level, freedom) * error for level in (LEVEL_68, LEVEL_95)]
    return SeriesMean(
        value,
        error,
        (value - widths[0], value + widths[0]),
        (value - widths[1], value + widths[1]),
        spread,
        tau * interval_ps,
        independent,
    )


def equilibrated_from(series: FloatArray) -> int:
    """Return the first frame of the part that has the most independent samples, at most the second half.

    Chodera, J. Chem. Theory Comput. 12, 1799 (2016): a drift at the start lengthens the correlation time of the whole.
    """
    x = np.asarray(series, dtype=np.float64)
    starts = np.unique(np.linspace(0, math.floor(_LONGEST_DISCARD * len(x)), _STARTS + 1).astype(np.int64))
    samples = [(len(x) - s) / (2.0 * correlation_samples(x[s:])) for s in starts if len(x) - s >= 4]
    return int(starts[int(np.argmax(samples))]) if samples else 0


def mean_cell(
    cells_A: FloatArray, frame_interval_ps: float, *, n_atoms: int | None = None, discard_ps: float | None = None
) -> MeanCell:
    """Return the mean lengths, angles and volume of an NPT run.

    Parameters
    ----------
    cells_A
        (n_frames, 3, 3) cells, rows are vectors.
    frame_interval_ps
        Time between them.
    n_atoms
        Number of atoms, for the volume per atom.
    discard_ps
        Time to discard at the start; determined from the volumes if None.

    Raises
    ------
    AnalysisError
        For wrong shapes, or fewer than two frames left.
    """
    cells = np.asarray(cells_A, dtype=np.float64)
    if cells.ndim != 3 or cells.shape[1:] != (3, 3):
        raise AnalysisError(f"Cells must have the shape (frames, 3, 3), not {cells.shape}.")
    volumes = np.abs(np.linalg.det(cells))
    first = equilibrated_from(volumes) if discard_ps is None else math.ceil(discard_ps / frame_interval_ps - 1e-9)
    cells, volumes = cells[first:], volumes[first:]
    if len(cells) < 2:
        raise AnalysisError("Fewer than two frames are left to average the cell over.", fix="Discard a shorter time.")
    lengths = np.linalg.norm(cells, axis=2)
    units = cells / lengths[:, :, None]
    cosines = np.stack([np.sum(units[:, i] * units[:, j], axis=1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=1)
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    means = [series_mean(row, frame_interval_ps) for row in (*lengths.T, *angles.T, volumes)]
    flags = []
    volume = means[6]
    if volume.independent_samples < FEW_SAMPLES:
        flags.append(
            f"The volume has only {volume.independent_samples:.0f} independent samples (it forgets itself in "
            f"{volume.correlation_time_ps:.2g} ps): its error is rough. Run NPT longer."
        )
    halves = [series_mean(part, frame_interval_ps) for part in np.array_split(volumes, 2) if len(part) >= 2]
    if len(halves) == 2:
        apart = abs(halves[0].value - halves[1].value)
        expected = math.hypot(halves[0].error, halves[1].error)
        if apart > 3.0 * expected > 0.0:
            flags.append("The volume drifts: the means of both halves differ by more than three times their error.")
    return MeanCell(
        (means[0], means[1], means[2]),
        (means[3], means[4], means[5]),
        volume,
        None if n_atoms is None else series_mean(volumes / n_atoms, frame_interval_ps),
        first * frame_interval_ps,
        tuple(flags),
    )


def thermal_expansion(
    temperatures_K: Sequence[float], volumes_A3: Sequence[float], errors_A3: Sequence[float]
) -> ThermalExpansion:
    """Fit a weighted straight line V(T), and return β = (1/V) dV/dT at the mean temperature.

    The error follows from those of the points; it is enlarged by the reduced χ² where chance explains the scatter about
    the line in less than 1 % of cases.

    Parameters
    ----------
    temperatures_K, volumes_A3, errors_A3
        (n ≥ 2,) values at two or more different temperatures; errors are standard errors.

    Raises
    ------
    AnalysisError
        For lists of different lengths, fewer than two temperatures, or values that are not positive.
    """
    T, V, sigma = (np.asarray(x, dtype=np.float64) for x in (temperatures_K, volumes_A3, errors_A3))
    if T.ndim != 1 or V.shape != T.shape or sigma.shape != T.shape:
        raise AnalysisError("Temperatures, volumes and errors must be lists of one length.")
    if len(np.unique(T)) < 2:
        raise AnalysisError("Thermal expansion needs at least two temperatures.")
    if not (np.all(np.isfinite(V)) and np.all(V > 0.0) and np.all(np.isfinite(sigma)) and np.all(sigma > 0.0)):
        raise AnalysisError("Volumes and their errors must be positive.")
    weights = 1.0 / sigma**2
    centre = float(weights @ T / weights.sum())
    x = T - centre
    middle = float(weights @ V / weights.sum())
    spread = float(weights @ x**2)
    slope = float(weights @ (x * V)) / spread
    chi2 = float(weights @ (V - middle - slope * x) ** 2)
    variances = (1.0 / spread, 1.0 / float(weights.sum()))
    reduced, flags = None, []
    if len(T) > 2:
        reduced = chi2 / (len(T) - 2)
        if reduced > 1.0 and float(scipy.special.chdtrc(len(T) - 2, chi2)) < _IMPROBABLE:
            variances = (variances[0] * reduced, variances[1] * reduced)
            flags.append(f"V(T) is not a straight line within the errors (χ² per degree of freedom {reduced:.2g}).")
    else:
        flags.append("Two temperatures only: nothing tests whether V(T) is a straight line.")
    beta = slope / middle
    error = math.sqrt(variances[0] + beta**2 * variances[1]) / middle
    return ThermalExpansion(beta, error, middle, centre, reduced, tuple(flags))
