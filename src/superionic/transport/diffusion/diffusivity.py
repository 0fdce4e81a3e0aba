"""Tracer and charge diffusivity, with intervals of the stated coverage, and the Haven ratio.

The fits of the papers, with paper B's error bars (He et al. 2018), are in :mod:`.literature`, for comparison.

Steps of an estimate (docs/theory/transport.md has the derivations):

1. positions are averaged over blocks, and the power spectrum of their increments is modelled as diffusion plus motions
   with a finite memory; the limit of D is averaged over the possible memories (:mod:`.regime`);
2. the variance includes the uncertainty of that model and the scatter of each ion's contributions in time, or a larger
   one where ions move together or change between fast and slow (:mod:`.scatter`);
3. where D has not levelled off, the interval begins at zero (D at a ladder of lags is also reported,
:mod:`.increments`); 4. the interval is that of a rate of rare events (:func:`.estimate.count_like_estimate`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.diffusion.hops import count_hops
from superionic.transport.diffusion.increments import LagFit
from superionic.transport.diffusion.literature import LiteratureFit, he2018_fit, paper_b_fit
from superionic.transport.diffusion.msd import MeanSquaredDisplacement, collective_walker, displacement
from superionic.transport.diffusion.regime import (
    NOT_LEVEL,
    Memories,
    fit_ladder,
    level_off,
    level_off_with,
    level_within,
    take_spectrum,
)
from superionic.transport.diffusion.scatter import in_time, scatter
from superionic.transport.estimate import Estimate, count_like_estimate, posterior_estimate, ratio_estimate
from superionic.units import A2_PER_PS_TO_CM2_PER_S

FloatArray = NDArray[np.float64]

SHORT_RUN_PS = 20.0
"""Runs shorter than this are flagged: it takes picoseconds to distinguish hops to and fro from diffusion."""
LAGS_TO_SHOW_A_PLATEAU = 3
"""With fewer lags to compare, their agreement means little."""
FEW_HOPS = 30
"""Fewer independent hops than this are flagged."""


@dataclass(frozen=True)
class LagLadder:
    """D as a function of the lag, to judge and plot the diffusive regime; arrays (n_lags,)."""

    lag_ps: FloatArray
    value_A2_per_ps: FloatArray
    error_A2_per_ps: FloatArray
    n_increments: NDArray[np.int64]


@dataclass(frozen=True)
class TracerDiffusivity:
    """Tracer (self-)diffusivity D* of one kind of ion.

    Attributes
    ----------
    A2_per_ps
        The estimate in Å²/ps; ``cm2_per_s`` is the same in cm²/s.
    tensor_A2_per_ps
        (3, 3) diffusion tensor by the same fit; a third of its trace is the value (over all three axes).
    window_ps
        The lag from which D is within a tenth of its limit, and the length of the run; or the requested window.
    n_hops
        Number of hops, including hops to and fro.
    bound_per_hop_A2_per_ps
        Contribution of one hop of one ion to D in a run of this length, a²/(2 d N t): the unit of the bound without
        hops.
    effective_hops
        value²/variance: the number of independent hops with the same scatter.
    diffusive
        Whether D levels off within the run; if not, the intervals begin at zero.
    he2018, paper_b
        The literature's fits, for comparison; None where their window does not exist.
    lags
        D as a function of the lag.
    flags
        Sentences for the reader.
    hop_noise
        Relative variance of D beyond that of Gaussian increments: that of the number of hops, which D_σ shares.
    memories
        Motions with finite memory, which raise D at short lags.
    beyond_hops_A2_per_ps
        Estimate without the noise that D* and D_σ share, for their ratio.
    """

    A2_per_ps: Estimate
    tensor_A2_per_ps: FloatArray
    window_ps: tuple[float, float]
    n_ions: int
    n_hops: int
    bound_per_hop_A2_per_ps: float
    effective_hops: float
    diffusive: bool
    he2018: LiteratureFit | None
    paper_b: LiteratureFit | None
    lags: LagLadder
    flags: tuple[str, ...]
    hop_noise: float
    memories: Memories
    beyond_hops_A2_per_ps: Estimate

    @property
    def cm2_per_s(self) -> Estimate:
        """The estimate in cm²/s."""
        return self.A2_per_ps.scaled(A2_PER_PS_TO_CM2_PER_S)

    @property
    def tensor_cm2_per_s(self) -> FloatArray:
        """(3, 3) diffusion tensor in cm²/s; in axes of the plane in planar analyses."""
        return np.asarray(self.tensor_A2_per_ps * A2_PER_PS_TO_CM2_PER_S)

    @property
    def principal_cm2_per_s(self) -> tuple[float, float, float]:
        """Eigenvalues of the tensor in cm²/s, the largest first: D along its own axes, without errors.

        Noise alone splits them, so few hops look anisotropic.
        """
        tensor = self.tensor_cm2_per_s
        low, middle, high = (float(value) for value in np.linalg.eigvalsh(0.5 * (tensor + tensor.T)))
        return high, middle, low


@dataclass(frozen=True)
class ChargeDiffusivity:
    """Charge (conductivity) diffusivity D_σ, with the factor 1/N: equal to D* for ions that ignore one another.

    D_σ = lim ⟨|Σᵢ zᵢ Δrᵢ|²⟩ / (2 d t Σᵢ zᵢ²). Attributes as in :class:`TracerDiffusivity`.
    """

    A2_per_ps: Estimate
    window_ps: tuple[float, float]
    diffusive: bool
    lags: LagLadder
    flags: tuple[str, ...]
    beyond_hops_A2_per_ps: Estimate

    @property
    def cm2_per_s(self) -> Estimate:
        """The estimate in cm²/s."""
        return self.A2_per_ps.scaled(A2_PER_PS_TO_CM2_PER_S)


def tracer_diffusivity(
    positions_A: FloatArray,
    frame_interval_ps: float,
    *,
    hop_length_A: float = 3.0,
    axes: tuple[int, ...] = (0, 1, 2),
    window_ps: tuple[float, float] | None = None,
    msd: MeanSquaredDisplacement | None = None,
) -> TracerDiffusivity:
    """Estimate D* of ions from their unwrapped positions.

    Too few hops are no error: the intervals widen or begin at zero, and a flag says why.

    Parameters
    ----------
    positions_A
        (n_frames ≥ 2, n_ions ≥ 1, 3) unwrapped positions in Å, framework drift removed.
    frame_interval_ps
        Time between frames in ps.
    hop_length_A
        Typical distance between neighbouring sites: half of it counts as a hop; without any hop it sets the bound.
    axes
        Cartesian axes to average over: all three, or two for planar diffusion (n = 2 of paper A).
    window_ps
        Lags between which D is taken as constant, instead of the limit to which it levels off.
    msd
        Mean squared displacement over the same axes, to 0.7 of the run, if already computed.

    Raises
    ------
    AnalysisError
        For arrays of the wrong shape, positions that are not finite, or fewer than two frames.
    """
    positions_A = checked_positions(positions_A, frame_interval_ps)
    check_axes(axes, hop_length_A)
    n_frames, n_ions, _ = positions_A.shape
    duration_ps = (n_frames - 1) * frame_interval_ps
    hops = count_hops(positions_A, frame_interval_ps, hop_distance_A=0.5 * hop_length_A)
    n_hops = int(hops.sum())
    check_window(window_ps, duration_ps)
    fits = fit_ladder(positions_A, frame_interval_ps, axes)
    spectrum = take_spectrum(positions_A, frame_interval_ps, axes)
    level = level_off(spectrum)
    value, gaussian, kernel = level.value_A2_per_ps, level.gaussian_variance, level.kernel
    variance, dispersion = level.variance, level.dispersion
    if window_ps is not None:
        spectrum = take_spectrum(positions_A, frame_interval_ps, axes, block_ps=window_ps[0])
        value, gaussian, kernel, _ = level_within(spectrum, window_ps[1])
        variance, dispersion = gaussian, 1.0
    chance = scatter(spectrum.contributions(kernel), gaussian)
    dof = chance.degrees_of_freedom
    variance += chance.variance - gaussian
    if 0 < n_hops < FEW_HOPS:  # the scatter of so few contributions is unreliable: use at least Poisson's variance
        variance = max(variance, value**2 / n_hops)
    comparable = len(fits) >= LAGS_TO_SHOW_A_PLATEAU
    diffusive = comparable and level.slow_share < NOT_LEVEL
    bounded = comparable and not diffusive and window_ps is None
    per_hop = hop_length_A**2 / (2.0 * len(axes) * n_ions * duration_ps)
    estimate = count_like_estimate(
        value,
        variance,
        degrees_of_freedom=dof,
        bound_per_hop=per_hop if n_hops < FEW_HOPS else None,
        n_hops=n_hops,
        force_upper_bound=bounded,
    )
    effective = value**2 / variance if value > 0.0 and variance > 0.0 else 0.0
    flags = _flags(
        estimate, duration_ps=duration_ps, n_ions=n_ions, n_hops=n_hops, effective=effective, not_level=bounded
    )
    if not comparable:
        lags = "lag was" if len(fits) == 1 else "lags were"
        flags.append(f"The run is too short to show that D has levelled off (only {len(fits)} {lags} compared).")
    elif not diffusive:
        flags.append(
            f"No diffusive regime: D still falls at lags near a tenth of the run ({0.1 * duration_ps:.3g} ps); "
            + ("only the upper bound means something. " if bounded else "")
            + "A longer run is needed."
        )
    if window_ps is not None:
        flags.append(
            f"D is what it is at lags of {window_ps[0]:.3g} to {window_ps[1]:.3g} ps, as asked for; what it would "
            "level off to is not in it, nor in its error."
        )
    if chance.exchanged:
        flags.append(
            "Ions change between fast and slow within the run: which were fast is part of the chance, and of the error."
        )
    if (idle := int(np.count_nonzero(hops == 0))) and _heterogeneous(hops):
        flags.append(f"{idle} of {n_ions} mobile ions never hopped, more than chance explains; D is their average.")
    if msd is None:
        msd = displacement(positions_A, frame_interval_ps, axes=axes, max_lag_fraction=0.7)
    return TracerDiffusivity(
        A2_per_ps=estimate,
        tensor_A2_per_ps=spectrum.tensor(kernel),
        window_ps=(level.from_ps, duration_ps) if window_ps is None else window_ps,
        n_ions=n_ions,
        n_hops=n_hops,
        bound_per_hop_A2_per_ps=per_hop,
        effective_hops=float(effective),
        diffusive=diffusive,
        he2018=he2018_fit(msd, n_ions, hop_length_A=hop_length_A, duration_ps=duration_ps),
        paper_b=paper_b_fit(msd, n_ions, hop_length_A=hop_length_A, duration_ps=duration_ps),
        lags=_ladder_table(fits),
        flags=tuple(flags),
        hop_noise=max(chance.variance - gaussian / dispersion, 0.0) / value**2 if value > 0.0 else math.inf,
        memories=level.memories,
        beyond_hops_A2_per_ps=count_like_estimate(
            value,
            max(variance - chance.variance, 0.0) + gaussian,
            degrees_of_freedom=dof,
            bound_per_hop=per_hop if n_hops < FEW_HOPS else None,
            n_hops=n_hops,
            force_upper_bound=bounded,
        ),
    )


def charge_diffusivity(
    positions_A: FloatArray,
    frame_interval_ps: float,
    charges: FloatArray | float,
    tracer: TracerDiffusivity,
    *,
    axes: tuple[int, ...] = (0, 1, 2),
    window_ps: tuple[float, float] | None = None,
) -> ChargeDiffusivity:
    """Estimate D_σ from the collective displacement of charge.

    There is only one collective walker, so its fluctuations hardly show how D_σ levels off; those of the tracers do
    (:func:`.regime.level_off_with`). Its increments are sums over many ions and so nearly Gaussian; the hop noise of
    the tracer is added to their variance. Estimate and intervals are those of the posterior. Where the run does not
    determine whether the memories of single ions add up in the sum, D_σ is an upper bound.

    Parameters
    ----------
    positions_A
        (n_frames, n_ions, 3) unwrapped positions in Å relative to the framework.
    charges
        One charge number for all, or one for each ion (n_ions,), in e.
    tracer
        The tracer diffusivity of the same ions from the same frames.
    window_ps
        As for :func:`tracer_diffusivity`.
    """
    positions_A = checked_positions(positions_A, frame_interval_ps)
    n_frames = len(positions_A)
    walker = collective_walker(positions_A, charges)
    duration_ps = (n_frames - 1) * frame_interval_ps
    check_window(window_ps, duration_ps)
    noise = tracer.hop_noise if math.isfinite(tracer.hop_noise) else 0.0
    per_hop = tracer.bound_per_hop_A2_per_ps if tracer.n_hops < FEW_HOPS else None
    undecided = False
    if window_ps is None:
        spectrum = take_spectrum(walker, frame_interval_ps, axes)
        values, probabilities, undecided = level_off_with(spectrum, tracer.memories, tracer.A2_per_ps.value)
        bounded = undecided or tracer.A2_per_ps.is_upper_bound
        estimate, beyond = (
            posterior_estimate(
                values,
                probabilities,
                log_variance=extra,
                bound_per_hop=per_hop,
                n_hops=tracer.n_hops,
                force_upper_bound=bounded,
            )
            for extra in (noise, 0.0)
        )
    else:
        estimate, beyond = _charge_within(walker, frame_interval_ps, axes, window_ps, tracer)
    flags = []
    if undecided:
        flags.append(
            "Charge diffusivity: the run does not tell whether the ions' ways to and fro add up in the sum or cancel; "
            "only the upper bound means something."
        )
    elif estimate.is_upper_bound:
        flags.append("Charge diffusivity: its interval begins at zero; only the upper bound means something.")
    return ChargeDiffusivity(
        A2_per_ps=estimate,
        window_ps=tracer.window_ps,
        diffusive=tracer.diffusive,
        lags=_ladder_table(fit_ladder(walker, frame_interval_ps, axes)),
        flags=tuple(flags),
        beyond_hops_A2_per_ps=beyond,
    )


def _charge_within(
    walker_A: FloatArray,
    frame_interval_ps: float,
    axes: tuple[int, ...],
    window_ps: tuple[float, float],
    tracer: TracerDiffusivity,
) -> tuple[Estimate, Estimate]:
    """Estimate D_σ between two lags, with and without the noise of the number of hops."""
    spectrum = take_spectrum(walker_A, frame_interval_ps, axes, block_ps=window_ps[0])
    value, variance, kernel, n = level_within(spectrum, window_ps[1])
    between, between_dof = in_time(spectrum.contributions(kernel))
    dof = float(len(axes) * n)
    noise = tracer.hop_noise if math.isfinite(tracer.hop_noise) else 0.0
    with_hops = variance + noise * value**2
    if between > with_hops * float(scipy.special.fdtri(between_dof, 1e6, 0.95)):
        variance = with_hops = between
        dof = between_dof
    whole, beyond = (
        count_like_estimate(
            value,
            one,
            degrees_of_freedom=dof,
            bound_per_hop=tracer.bound_per_hop_A2_per_ps if tracer.n_hops < FEW_HOPS else None,
            n_hops=tracer.n_hops,
        )
        for one in (with_hops, variance)
    )
    return whole, beyond


def haven_ratio(tracer: TracerDiffusivity, charge: ChargeDiffusivity) -> Estimate:
    """Return H = D*/D_σ with its intervals; 1 for independent ions (Murch, Solid State Ionics 7, 177 (1982)).

    D* and D_σ arise from the same hops, so the noise of their number is left out of the ratio.
    """
    return ratio_estimate(tracer.beyond_hops_A2_per_ps, charge.beyond_hops_A2_per_ps)


def checked_positions(positions_A: FloatArray, frame_interval_ps: float) -> FloatArray:
    """Return the positions as a float array after checking shape, finiteness and the frame interval."""
    array = np.asarray(positions_A)
    if array.ndim != 3 or array.shape[2] != 3 or array.shape[1] < 1:
        raise AnalysisError(
            f"Positions must have the shape (frames, ions, 3) with one ion at least, not {array.shape}."
        )
    if len(array) < 2:
        raise AnalysisError("A trajectory of one frame contains no motion.", fix="Give at least two frames.")
    if not (math.isfinite(frame_interval_ps) and frame_interval_ps > 0.0):
        raise AnalysisError(f"The time between frames must be positive, not {frame_interval_ps!r} ps.")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float64)
    for first in range(0, len(array), 4096):  # in chunks, since a mask of all values would need much memory
        if not np.all(np.isfinite(array[first : first + 4096])):
            raise AnalysisError("Some positions are not finite numbers.", fix="Cut the trajectory before they begin.")
    return array


def check_window(window_ps: tuple[float, float] | None, duration_ps: float) -> None:
    """Raise :class:`AnalysisError` for an invalid window of lags, or one longer than the run allows."""
    if window_ps is None:
        return
    first, last = window_ps
    if not (math.isfinite(first) and math.isfinite(last) and 0.0 < first < last):
        raise AnalysisError(
            f"A window of lags needs two times in ps, the shorter one first, not {first!r} to {last!r}.",
            fix="Write, for instance, --from-ps 5 --to-ps 50.",
        )
    if last > duration_ps or first > duration_ps / 9.0:
        raise AnalysisError(
            f"A window of {first:g} to {last:g} ps does not fit into a run of {duration_ps:.4g} ps.",
            fix=f"Let it end at {duration_ps:.4g} ps at the latest and begin at {duration_ps / 9.0:.3g} ps or earlier: "
            "fewer than eight increments are not enough.",
        )


def check_axes(axes: tuple[int, ...], hop_length_A: float) -> None:
    """Raise :class:`AnalysisError` for axes other than 0, 1 and 2, or a hop length that is not positive."""
    if hop_length_A <= 0.0 or not axes or len(set(axes)) < len(axes) or any(axis not in (0, 1, 2) for axis in axes):
        raise AnalysisError("The hop length must be positive, and the axes distinct ones of 0, 1 and 2.")


def _heterogeneous(hops: NDArray[np.int64]) -> bool:
    """Whether hop counts differ between ions by more than those of a Poisson process (dispersion test at 0.1 %)."""
    mean = float(hops.mean())
    if len(hops) < 2 or mean < 1.0:
        return False
    return float(np.sum((hops - mean) ** 2)) / mean > float(scipy.special.chdtri(len(hops) - 1, 1e-3))


def _flags(
    estimate: Estimate, *, duration_ps: float, n_ions: int, n_hops: int, effective: float, not_level: bool
) -> list[str]:
    """Return flags on the number of hops; that D did not level off has a flag of its own."""
    flags = []
    if duration_ps < SHORT_RUN_PS:
        flags.append(
            f"Trajectory shorter than {SHORT_RUN_PS:g} ps ({duration_ps:.3g} ps): "
            "hops to and fro may pass for diffusion."
        )
    if n_hops == 0:
        flags.append(
            "No hop seen: only the upper bound means something; it assumes that the run was long enough to relax."
        )
    elif estimate.is_upper_bound and not not_level:
        flags.append("The interval of D begins at zero: only the upper bound means something.")
    if 0 < (n_hops if not_level else min(n_hops, effective)) < FEW_HOPS:
        independent = f", worth {effective:.2g} independent ones" if effective < 0.7 * n_hops else ""
        flags.append(f"Few hops ({n_hops}{independent}): the error of D is large and its interval skewed.")
    if n_ions < 10:
        flags.append(f"Only {n_ions} mobile ions in the cell: effects of its size are not in the error.")
    return flags


def _ladder_table(fits: list[LagFit]) -> LagLadder:
    return LagLadder(
        lag_ps=np.array([fit.lag_ps for fit in fits]),
        value_A2_per_ps=np.array([fit.value_A2_per_ps for fit in fits]),
        error_A2_per_ps=np.sqrt(np.array([scatter(fit.contributions, fit.gaussian_variance).variance for fit in fits])),
        n_increments=np.array([fit.n_increments for fit in fits], dtype=np.int64),
    )
