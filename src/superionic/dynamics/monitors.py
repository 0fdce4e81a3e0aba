"""Watching a run: what makes it a failure, and what is only worth a flag.

The potential's own check catches numbers that are not finite. Here: temperature that runs away, ions that fall into
each other, a cell that flies apart (paper B saw the pretrained CHGNet do that above 500 K).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii

from superionic.dynamics.settings import MDSettings
from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.neighbours import pairs_within

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Limits:
    """Where a run is stopped.

    Attributes
    ----------
    temperature_factor, temperature_offset_K
        Stop above factor x target + offset. Both are wide: the start of a run from an unrelaxed structure may be hot.
    distance_fraction
        Stop if two atoms come closer than this fraction of the sum of their covalent radii.
    volume_change
        Stop if the volume differs from the starting one by more than this fraction.
    check_every
        Distances are looked at each so many steps (and at each kept frame).
    extrapolation_every
        The potential's extrapolation grade is looked at each so many steps; 0: never. Above 1 the potential
        extrapolates from its training set (Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017)).
    collect_extrapolation
        Structures of a higher grade are collected, to be labelled.
    max_extrapolation
        A run ends, cleanly, at the first structure of a higher grade; that structure is the last one collected.
    max_collected
        Structures collected in one segment at most. If more qualify, they are thinned out evenly in time.
    """

    temperature_factor: float = 4.0
    temperature_offset_K: float = 500.0
    distance_fraction: float = 0.5
    volume_change: float = 0.5
    check_every: int = 10
    extrapolation_every: int = 0
    collect_extrapolation: float = 2.0
    max_extrapolation: float = 10.0
    max_collected: int = 20

    def __post_init__(self) -> None:
        if self.check_every < 1 or self.extrapolation_every < 0 or self.max_collected < 0:
            raise SuperionicError(
                "Limits of a run: check_every, extrapolation_every or max_collected is out of range.",
                fix="Give whole numbers of at least 1, 0 and 0.",
            )


class Monitor:
    """Checks a run as it goes; it decides from the state alone, never from its own history."""

    def __init__(self, numbers: npt.NDArray[np.int64], settings: MDSettings, limits: Limits, volume0_A3: float) -> None:
        self.settings = settings
        self.limits = limits
        self.volume0_A3 = volume0_A3
        self._radii: FloatArray = np.asarray(covalent_radii, dtype=np.float64)[numbers]
        self._cutoff = 2.0 * limits.distance_fraction * float(self._radii.max())
        self._temperature_limit = limits.temperature_factor * settings.temperature_K + limits.temperature_offset_K

    def check_temperature(self, temperature_K: float, step: int) -> None:
        """Raise :class:`CalculationFailed` if the temperature is not finite or has run away."""
        limit = self._temperature_limit
        if not isfinite(temperature_K):
            raise CalculationFailed("the temperature is no longer a number", {"step": step})
        if temperature_K > limit:
            raise CalculationFailed(
                f"the temperature ran away to {temperature_K:.0f} K (target {self.settings.temperature_K:.0f} K)",
                {"step": step, "temperature_K": temperature_K, "limit_K": limit},
            )

    def check_structure(self, atoms: Atoms, step: int) -> None:
        """Raise :class:`CalculationFailed` if atoms have come too close or the volume has changed too much."""
        volume = float(atoms.get_volume())
        change = volume / self.volume0_A3 - 1.0
        if not np.isfinite(volume) or abs(change) > self.limits.volume_change:
            raise CalculationFailed(
                f"the volume changed by {100.0 * change:+.0f} %",
                {"step": step, "volume_A3": volume, "starting_volume_A3": self.volume0_A3},
            )
        pairs = pairs_within(atoms.positions, atoms.cell.array, atoms.pbc, self._cutoff)
        if len(pairs.distances_A) == 0:
            return
        allowed = self.limits.distance_fraction * (self._radii[pairs.centre] + self._radii[pairs.neighbour])
        ratio = pairs.distances_A / allowed
        worst = int(np.argmin(ratio))
        if ratio[worst] < 1.0:
            symbols = atoms.get_chemical_symbols()
            first, second = symbols[pairs.centre[worst]], symbols[pairs.neighbour[worst]]
            raise CalculationFailed(
                f"two atoms fell into each other: {first} and {second} at {pairs.distances_A[worst]:.2f} Å",
                {"step": step, "distance_A": float(pairs.distances_A[worst]), "allowed_A": float(allowed[worst])},
            )


def soft_flags(
    settings: MDSettings, temperatures_K: FloatArray, cells_A: FloatArray, volume0_A3: float
) -> tuple[str, ...]:
    """Say what a reader should know about a segment that did not fail."""
    flags: list[str] = []
    if len(temperatures_K) == 0:
        return ()
    if settings.ensemble != "nve" and settings.ramp_from_K is None:
        mean = float(np.mean(temperatures_K))
        if abs(mean - settings.temperature_K) > 0.2 * settings.temperature_K:
            flags.append(f"mean temperature {mean:.0f} K is off the target of {settings.temperature_K:.0f} K")
    change = float(np.abs(np.linalg.det(cells_A)).max() / volume0_A3 - 1.0)
    if abs(change) > 0.2:
        flags.append(f"volume changed by {100.0 * change:+.0f} %")
    return tuple(flags)


def summary(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the last good frame for the record of a failure: JSON scalars only."""
    if not frames:
        return {"n_frames": 0}
    last = frames[-1]
    return {
        "n_frames": len(frames),
        "last_step": int(last["steps"]),
        "temperature_K": float(last["temperatures_K"]),
        "potential_energy_eV": float(last["potential_energies_eV"]),
        "volume_A3": float(abs(np.linalg.det(last["cells_A"]))),
    }
