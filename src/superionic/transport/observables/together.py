"""Observables of a run besides transport, in one call: vibrations, rotation of polyanions, pair distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.diffusion.msd import framework_drift
from superionic.transport.observables.pair_distribution import PairDistribution, pair_distributions
from superionic.transport.observables.rotation import Rotation, find_bonds, rotation
from superionic.transport.observables.vibrations import Vibrations, vibrations
from superionic.transport.sites.jumps import SiteOccupation

FloatArray = NDArray[np.float64]

OBSERVABLES = ("vibrations", "rotation", "pairs")
"""Names of the observables."""

_MOST_FRAMES = 200


@dataclass(frozen=True, eq=False)
class Observables:
    """Observables of one run besides transport.

    Attributes
    ----------
    vibrations
        Vibrations of the mobile ions; None if not requested, or not determined.
    rotations
        Rotation of each kind of polyanion; empty if not requested, or without polyanions.
    pairs
        g(r) of each pair of elements, and around the mobile ions on each kind of site; empty if not requested.
    flags
        Sentences for the reader, including those of the parts.
    """

    vibrations: Vibrations | None
    rotations: tuple[Rotation, ...]
    pairs: tuple[PairDistribution, ...]
    flags: tuple[str, ...]


def observe(
    positions_A: NDArray[Any],
    cells_A: FloatArray,
    symbols: Sequence[str],
    mobile: Sequence[str],
    frame_interval_ps: float,
    *,
    observables: Sequence[str] = OBSERVABLES,
    temperature_K: float | None = None,
    reference: NDArray[np.bool_] | None = None,
    masses: FloatArray | None = None,
    occupation: SiteOccupation | None = None,
) -> Observables:
    """Compute the requested observables; flags name those that cannot be determined.

    Parameters
    ----------
    positions_A
        (n_frames, n_atoms, 3) unwrapped positions.
    cells_A
        (3, 3) or (n_frames, 3, 3).
    symbols, mobile
        (n_atoms,) elements, and those that are mobile.
    frame_interval_ps
        Time between frames.
    observables
        Some of :data:`OBSERVABLES`.
    reference, masses
        (n_atoms,) mask of the atoms that define the drift (not removed without one), and their weights in the mean.
    occupation
        Site occupation of the mobile ions, for g(r) by kind of site.

    Raises
    ------
    AnalysisError
        For an unknown observable.
    """
    unknown = [each for each in observables if each not in OBSERVABLES]
    if unknown:
        raise AnalysisError(
            f"There is no observable {unknown[0][:40]!r}.", fix=f"Choose among {', '.join(OBSERVABLES)}."
        )
    flags: list[str] = []
    names = np.array(symbols)
    vibration: Vibrations | None = None
    if "vibrations" in observables:
        from ase.data import atomic_masses, atomic_numbers

        ions = np.flatnonzero(np.isin(names, mobile))
        moved = np.take(positions_A, ions, axis=1)
        if reference is not None and reference.any() and not reference.all():
            moved = moved - framework_drift(positions_A, reference, masses=masses)[:, None, :].astype(moved.dtype)
        try:
            vibration = vibrations(
                moved,
                frame_interval_ps,
                temperature_K=temperature_K,
                masses_amu=np.array([atomic_masses[atomic_numbers[s]] for s in names[ions]]),
            )
        except AnalysisError as error:
            flags.append(f"No vibrations: {error.message}")
        else:
            flags += vibration.flags
    rotations: list[Rotation] = []
    if "rotation" in observables:
        mean_cell = cells_A if cells_A.ndim == 2 else cells_A.mean(axis=0)
        for bonds in find_bonds(symbols, positions_A, mean_cell, exclude=mobile):
            try:
                rotations.append(rotation(positions_A, bonds, frame_interval_ps))
            except AnalysisError as error:
                flags.append(f"No rotation of {bonds.name}: {error.message}")
            else:
                flags += (f"{bonds.name}: {words}" for words in rotations[-1].flags)
    pairs: tuple[PairDistribution, ...] = ()
    if "pairs" in observables:
        pairs = _pairs(positions_A, cells_A, symbols, mobile, occupation)
    return Observables(vibration, tuple(rotations), pairs, tuple(flags))


def _pairs(
    positions: NDArray[Any],
    cells: FloatArray,
    symbols: Sequence[str],
    mobile: Sequence[str],
    occupation: SiteOccupation | None,
) -> tuple[PairDistribution, ...]:
    """Count pairs in some of the frames, around the mobile ions by the kind of their site as well."""
    n_frames = len(positions)
    frames = np.unique(np.linspace(0, n_frames - 1, min(n_frames, _MOST_FRAMES)).astype(np.int64))
    labels: tuple[tuple[str, ...], NDArray[np.int64]] | None = None
    if occupation is not None and len(mobile) == 1:
        kinds = tuple(occupation.sites.kinds)
        kind_of = np.array([kinds.index(label) for label in occupation.sites.labels])
        sites = occupation.sites_at(frames)
        on = np.full((len(frames), len(symbols)), -1, dtype=np.int64)
        ions = np.flatnonzero(np.isin(np.array(symbols), mobile))
        on[:, ions] = np.where(sites >= 0, kind_of[sites], -1)
        labels = kinds, on
    return pair_distributions(positions[frames], cells if cells.ndim == 2 else cells[frames], symbols, labels=labels)
