"""Analyse transport in one call: from arrays of positions to all that is reported."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.shown import Shown
from superionic.transport.diffusion.diffusivity import (
    ChargeDiffusivity,
    TracerDiffusivity,
    charge_diffusivity,
    check_axes,
    checked_positions,
    haven_ratio,
    tracer_diffusivity,
)
from superionic.transport.diffusion.msd import MeanSquaredDisplacement, displacement, framework_drift
from superionic.transport.diffusion.tensor import TensorEstimate, tensor_of_run
from superionic.transport.estimate import Estimate
from superionic.transport.nernst_einstein import ionic_conductivity, nernst_einstein
from superionic.transport.observables.framework import FrameworkMotion, framework_motion

FloatArray = NDArray[np.float64]

STANDS_STILL = 1.0e-3
"""D_σ/D* below which D_σ is only noise where all atoms are mobile, since their momentum stays zero."""
_UNKNOWN = Estimate(0.0, math.inf, (0.0, math.inf), (0.0, math.inf), is_upper_bound=True)


@dataclass(frozen=True, repr=False)
class TransportAnalysis(Shown):
    """Transport properties from one trajectory.

    Attributes
    ----------
    tracer_diffusivity_cm2_per_s, charge_diffusivity_cm2_per_s, haven_ratio
        Estimates of D*, D_σ and H = D*/D_σ.
    nernst_einstein_conductivity_S_per_cm, ionic_conductivity_S_per_cm
        Conductivities from D* and from D_σ; None without temperature and charges.
    window_ps
        The lag from which D is within a tenth of its limit, and the length of the run; or the requested window.
    n_hops
        Hops of mobile ions, including hops to and fro.
    flags
        Sentences for the reader, most general first.
    tracer, charge
        Full results.
    msd, framework_msd
        Mean squared displacement of the mobile ions and of the framework (None without one), thinned in log(lag).
    framework_moved
        Share of framework atoms that left their sites, except in polyanions that turned; None without a framework.
    framework
        Whether the framework stayed on its sites, and when it began to melt; None without one.
    diffusivity_tensor_cm2_per_s
        D* as a tensor in the frame of the cell, with joint errors; None unless D* is over all three axes, and where
        nothing moved.
    """

    tracer_diffusivity_cm2_per_s: Estimate
    charge_diffusivity_cm2_per_s: Estimate
    haven_ratio: Estimate
    nernst_einstein_conductivity_S_per_cm: Estimate | None
    ionic_conductivity_S_per_cm: Estimate | None
    window_ps: tuple[float, float]
    n_hops: int
    flags: tuple[str, ...]
    n_ions: int
    duration_ps: float
    volume_A3: float
    temperature_K: float | None
    tracer: TracerDiffusivity
    charge: ChargeDiffusivity
    msd: MeanSquaredDisplacement
    framework_msd: MeanSquaredDisplacement | None
    framework_moved: float | None
    framework: FrameworkMotion | None
    diffusivity_tensor_cm2_per_s: TensorEstimate | None = None


def analyse_displacements(
    positions_A: FloatArray,
    cell_A: FloatArray,
    mobile_mask: NDArray[np.bool_],
    frame_interval_ps: float,
    temperature_K: float | None = None,
    charges: FloatArray | float | None = None,
    *,
    masses: FloatArray | None = None,
    kinds: NDArray[np.generic] | None = None,
    hop_length_A: float = 3.0,
    axes: tuple[int, ...] = (0, 1, 2),
    plane: tuple[int, int] | None = None,
    window_ps: tuple[float, float] | None = None,
) -> TransportAnalysis:
    """Compute diffusivities, Haven ratio and conductivities, with their errors, from unwrapped positions.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3) unwrapped positions in Å.
    cell_A
        (3, 3) cell, or (n_frames, 3, 3) cells, of which the mean volume is used.
    mobile_mask
        (n_atoms,) True for mobile ions; the others are the framework whose drift is removed.
    frame_interval_ps
        Time between frames in ps.
    temperature_K
        Temperature of the run, for the conductivities.
    charges
        Charge numbers in e: one for all mobile ions, or one for each atom (n_atoms,), of which those of mobile
        ions are used. Without them D_σ is that of equal charges, and there is no conductivity.
    masses
        (n_atoms,) masses, to remove the motion of the framework's centre of mass; if omitted, of its geometric centre.
    kinds
        (n_atoms,) atomic numbers, which identify the nearest site of a framework ion's own kind; else the masses.
    hop_length_A
        Typical distance between neighbouring sites.
    axes
        Cartesian axes to average over; two for planar diffusion.
    plane
        Instead of axes, the plane of two vectors of the (mean) cell, such as (0, 2) for the ac plane of paper A; d = 2.
        Tensors are then given in axes of the plane: the first along the first vector, the third across it.
    window_ps
        Lags between which D is taken as constant, instead of the limit to which it levels off.

    Raises
    ------
    AnalysisError
        For inconsistent arrays, positions that are not finite, or no mobile ion. Never for few hops.
    """
    positions = checked_positions(positions_A, frame_interval_ps)
    check_axes(axes, hop_length_A)
    n_frames, n_atoms, _ = positions.shape
    mask = np.asarray(mobile_mask, dtype=bool)
    if mask.shape != (n_atoms,):
        raise AnalysisError(f"The mask of mobile ions has the shape {mask.shape}, the positions have {n_atoms} atoms.")
    if not mask.any():
        raise AnalysisError("No mobile ion in the trajectory.", fix="Name an element of the trajectory.")
    if temperature_K is not None and not (np.isfinite(temperature_K) and temperature_K > 0.0):
        raise AnalysisError(f"The temperature must be positive, not {temperature_K!r} K.")
    cells = np.asarray(cell_A, dtype=np.float64)
    if cells.shape not in {(3, 3), (n_frames, 3, 3)}:
        raise AnalysisError(f"The cell must have the shape (3, 3) or ({n_frames}, 3, 3), not {cells.shape}.")
    volume = float(np.mean(np.abs(np.linalg.det(cells))))
    numbers = _mobile_charges(charges, mask)
    flags: list[str] = []
    mobile = np.take(positions, np.flatnonzero(mask), axis=1)  # unlike indexing by a mask, contiguous: twice as fast
    framework_msd = framework = None
    if mask.all():
        flags.append("No framework atoms: drift of the whole was not removed.")
    else:
        drift = framework_drift(positions, ~mask, masses=masses)
        mobile -= drift[:, None, :].astype(mobile.dtype)
        framework_msd = displacement(
            positions, frame_interval_ps, atoms=~mask, drift_A=drift, max_lag_fraction=0.5
        ).thinned(200)
        mean_cell = cells if cells.ndim == 2 else cells.mean(axis=0)
        framework = framework_motion(positions, mean_cell, ~mask, frame_interval_ps, masses if kinds is None else kinds)
        flags += framework.flags()
    if plane is not None:
        mobile = (mobile @ _axes_of_plane(cells, plane).T).astype(mobile.dtype)
        axes = (0, 1)
    msd = displacement(mobile, frame_interval_ps, axes=axes, max_lag_fraction=0.7)
    tracer = tracer_diffusivity(
        mobile, frame_interval_ps, hop_length_A=hop_length_A, axes=axes, window_ps=window_ps, msd=msd
    )
    charge = charge_diffusivity(
        mobile, frame_interval_ps, 1.0 if numbers is None else numbers, tracer, axes=axes, window_ps=window_ps
    )
    n_ions = int(mask.sum())
    still = bool(mask.all()) and charge.A2_per_ps.value < STANDS_STILL * tracer.A2_per_ps.value
    if still:
        words = (
            "All atoms are mobile, and the sum of their displacements stands still, as momentum does: the run says "
            "nothing of D_σ, of the Haven ratio and of the conductivity from D_σ."
        )
        charge = replace(charge, A2_per_ps=_UNKNOWN, beyond_hops_A2_per_ps=_UNKNOWN, flags=(words,))
    nernst = ionic = None
    if numbers is not None and temperature_K is not None:
        root = float(np.sqrt(np.mean(numbers**2)))
        nernst = nernst_einstein(
            tracer.A2_per_ps, n_ions=n_ions, charge=root, volume_A3=volume, temperature_K=temperature_K
        )
        ionic = (
            None
            if still
            else ionic_conductivity(
                charge.A2_per_ps, n_ions=n_ions, charge=root, volume_A3=volume, temperature_K=temperature_K
            )
        )
        if np.ptp(np.abs(numbers)) > 0.0:
            flags.append(
                "Mobile ions of several charges: the Nernst–Einstein conductivity takes one D for all of them."
            )
    return TransportAnalysis(
        tracer_diffusivity_cm2_per_s=tracer.cm2_per_s,
        charge_diffusivity_cm2_per_s=charge.cm2_per_s,
        haven_ratio=haven_ratio(tracer, charge),
        nernst_einstein_conductivity_S_per_cm=nernst,
        ionic_conductivity_S_per_cm=ionic,
        window_ps=tracer.window_ps,
        n_hops=tracer.n_hops,
        flags=(*flags, *tracer.flags, *charge.flags),
        n_ions=n_ions,
        duration_ps=(n_frames - 1) * frame_interval_ps,
        volume_A3=volume,
        temperature_K=temperature_K,
        tracer=tracer,
        charge=charge,
        msd=msd.thinned(200),
        framework_msd=framework_msd,
        framework_moved=None if framework is None else framework.share_left,
        framework=framework,
        diffusivity_tensor_cm2_per_s=tensor_of_run(
            mobile, frame_interval_ps, cells if cells.ndim == 2 else cells.mean(axis=0), tracer
        )
        if plane is None and sorted(axes) == [0, 1, 2]
        else None,
    )


def _axes_of_plane(cells: FloatArray, plane: tuple[int, int]) -> FloatArray:
    """Return orthonormal rows: along the first vector of the plane, across it in the plane, and normal to the plane."""
    if sorted(plane) not in ([0, 1], [0, 2], [1, 2]):
        raise AnalysisError(f"A plane is spanned by two of the cell's vectors 0, 1 and 2, not by {plane!r}.")
    mean = cells if cells.ndim == 2 else cells.mean(axis=0)
    first = mean[plane[0]] / np.linalg.norm(mean[plane[0]])
    normal = np.cross(first, mean[plane[1]])
    normal /= np.linalg.norm(normal)
    return np.array([first, np.cross(normal, first), normal])


def _mobile_charges(charges: FloatArray | float | None, mask: NDArray[np.bool_]) -> FloatArray | None:
    if charges is None:
        return None
    numbers = np.asarray(charges, dtype=np.float64)
    n_ions = int(mask.sum())
    if numbers.ndim == 0:
        numbers = np.full(n_ions, float(numbers))
    elif numbers.shape == mask.shape:
        numbers = numbers[mask]
    else:
        raise AnalysisError(
            f"Charges must be one number or one for each of the {len(mask)} atoms, not {numbers.shape}."
        )
    if not np.all(np.isfinite(numbers)) or not np.any(numbers != 0.0):
        raise AnalysisError("The charges of the mobile ions must be finite and not all zero.")
    return numbers
