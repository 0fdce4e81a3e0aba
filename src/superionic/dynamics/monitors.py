"""Watching a run: what makes it a failure, and what is only worth a flag.

The potential's own check catches numbers that are not finite. Here: temperature that runs away, ions that fall into
each other, a cell that flies apart (paper B saw the pretrained CHGNet do that above 500 K).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii

from superionic.dynamics.settings import MDSettings
from superionic.errors import CalculationFailed
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
    """

    temperature_factor: float = 4.0
    temperature_offset_K: float = 500.0
    distance_fraction: float = 0.5
    volume_change: float = 0.5
    check_every: int = 10


class Monitor:
    """Checks a run as it goes; it decides from the state alone, never from its own history."""

    def __init__(self, numbers: npt.NDArray[np.int64], settings: MDSettings, limits: Limits, volume0_A3: float) -> None:
        self.settings = settings
        self.limits = limits
        self.volume0_A3 = volume0_A3
        self._radii: FloatArray = np.asarray(covalent_radii, dtype=np.float64)[numbers]
        self._cutoff = 2.0 * limits.distance_fraction * float(self._radii.max())

    def check_temperature(self, temperature_K: float, step: int) -> None:
        """Raise :class:`CalculationFailed` if the temperature is not finite or has run away."""
        limit = self.limits.temperature_factor * self.settings.temperature_K + self.limits.temperature_offset_K
        if not np.isfinite(temperature_K):
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


def summary(frames: dict[str, Any]) -> dict[str, Any]:
    """Summarise the last good frames for the record of a failure: JSON scalars only."""
    if not frames["steps"]:
        return {"n_frames": 0}
    return {
        "n_frames": len(frames["steps"]),
        "last_step": int(frames["steps"][-1]),
        "temperature_K": float(frames["temperatures_K"][-1]),
        "potential_energy_eV": float(frames["potential_energies_eV"][-1]),
        "volume_A3": float(abs(np.linalg.det(frames["cells_A"][-1]))),
    }
