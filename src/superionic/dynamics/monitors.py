"""Monitor a run: stop it on failure, and flag what is only worth noting.

The potential's own check catches numbers that are not finite. Here: runaway temperature, overlapping ions, a cell that
explodes (as with the pretrained CHGNet above 500 K in paper B), a drift of the conserved quantity, and a framework that
melts. The extrapolation of a potential and the disagreement of a committee are monitored in
:mod:`superionic.dynamics.extrapolation`.

Every decision depends on the state, on the reference positions that the caller passes to each segment, and (drift of
the conserved quantity) on the segment's own first value. So a continued run is judged as an uninterrupted one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import covalent_radii

from superionic.dynamics.settings import MDSettings
from superionic.errors import CalculationFailed, SuperionicError
from superionic.potentials.neighbours import pairs_within
from superionic.transport.observables.framework import LONGEST_REACH_A, MELTING_SHARE, Framework

FloatArray = npt.NDArray[np.float64]
Melting = Literal["off", "warn", "stop"]

_MOST_IN_PAIRS = 4000
"""Largest number of atoms of which all pairs are compared; a cell search is faster for more."""
_DRIFT_FLAG_EV = 1.0e-3
_DRIFT_FLAG_LEAST_EV = 5.0e-3
"""Drift of the conserved quantity that is flagged: per atom and ps, and per atom in all."""


@dataclass(frozen=True)
class Limits:
    """Limits at which a run is stopped.

    Attributes
    ----------
    temperature_factor, temperature_offset_K
        Stop above factor × target + offset. Both are generous: a run from an unrelaxed structure may start hot.
    distance_fraction
        Stop if two atoms come closer than this fraction of the sum of their covalent radii.
    volume_change
        Stop if the volume differs from the initial one by more than this fraction.
    check_every
        Interval, in steps, at which distances are checked (besides every saved frame).
    extrapolation_every
        Interval, in steps, at which the extrapolation grade is evaluated; 0: never. Above 1 the potential extrapolates
        from its training set (Podryabinkin and Shapeev, Comput. Mater. Sci. 140, 171 (2017)).
    collect_extrapolation
        Structures of a higher grade are collected for labelling.
    max_extrapolation
        The run ends at the first structure of a higher grade, which is the last one collected.
    max_collected
        Largest number of structures collected in one segment; if more qualify, they are thinned evenly in time.
    conserved_eV_per_atom
        Stop if the conserved quantity of the ensemble (the energy, including that of thermostat and barostat) has
        changed by more than this since the start of the segment; None: never. LAMMPS reports none for Berendsen and
        Langevin, and a temperature ramp changes the conserved quantity.
    melting
        Action when the framework leaves its sites: none, a flag, or a stop. Requires reference positions.
    melting_share
        Share of the framework ions that must have left their sites.
    melting_reach_A
        An ion has left its site when it is further off than half the distance to the next site of its kind, or than
        this.
    mobile_number
        Atomic number of the mobile ion, which is not part of the framework; 0: all ions are.
    keep_frames
        Whether a failing run ends as *stopped*, with the reason, which saves its frames; otherwise the failure is
        raised and the segment is lost.
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
    conserved_eV_per_atom: float | None = 0.1
    melting: Melting = "off"
    melting_share: float = MELTING_SHARE
    melting_reach_A: float = LONGEST_REACH_A
    mobile_number: int = 0
    keep_frames: bool = False

    def __post_init__(self) -> None:
        if self.melting not in get_args(Melting) or not 0.0 < self.melting_share <= 1.0:
            raise SuperionicError(
                f"Limits of a run: melting is {self.melting!r} with a share of {self.melting_share}.",
                fix="Write off, warn or stop, and a share above 0 and up to 1.",
            )
        if self.check_every < 1 or self.extrapolation_every < 0 or self.max_collected < 0:
            raise SuperionicError(
                "Limits of a run: check_every, extrapolation_every or max_collected is out of range.",
                fix="Give whole numbers of at least 1, 0 and 0.",
            )


class Monitor:
    """Checks of a running segment, which depend on the state and the reference, never on its own history.

    Parameters
    ----------
    numbers
        Atomic numbers.
    limits
        Limits at which it is stopped.
    volume0_A3
        Volume at the start of the run.
    reference
        Structure with the sites of the framework; None: melting is not monitored.
    """

    def __init__(
        self,
        numbers: npt.NDArray[np.int64],
        settings: MDSettings,
        limits: Limits,
        volume0_A3: float,
        reference: Atoms | None = None,
    ) -> None:
        self.settings = settings
        self.limits = limits
        self.volume0_A3 = volume0_A3
        self._radii: FloatArray = np.asarray(covalent_radii, dtype=np.float64)[numbers]
        self._cutoff = 2.0 * limits.distance_fraction * float(self._radii.max())
        self._temperature_limit = limits.temperature_factor * settings.temperature_K + limits.temperature_offset_K
        self._framework: Framework | None = None
        if limits.melting != "off":
            if reference is None or not np.array_equal(reference.numbers, numbers):
                raise SuperionicError(
                    "Melting cannot be monitored without reference positions of these ions.",
                    fix="Pass the structure that the run started from, or set melting to off.",
                )
            self._ions = np.flatnonzero(reference.numbers != limits.mobile_number)
            if len(self._ions) == 0:
                raise SuperionicError(
                    "There is no framework to monitor: all ions are mobile.",
                    fix="Set melting to off, or give the mobile ion.",
                )
            self._framework = Framework(
                reference.positions[self._ions],
                reference.cell.array,
                reference.numbers[self._ions],
                longest_reach_A=limits.melting_reach_A,
            )
        self._conserved0_eV: float | None = None
        self.melted_from: int | None = None
        self.most_moved = 0.0

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

    def begin(self, conserved_eV: float | None) -> None:
        """Store the conserved quantity at the start of the segment; None where the ensemble has none."""
        monitored = self.limits.conserved_eV_per_atom is not None and self.settings.ramp_from_K is None
        self._conserved0_eV = conserved_eV if monitored else None

    def check_conserved(self, conserved_eV: float | None, step: int) -> None:
        """Raise :class:`CalculationFailed` if the conserved quantity has changed too much since the segment began."""
        limit = self.limits.conserved_eV_per_atom
        if self._conserved0_eV is None or conserved_eV is None or limit is None:
            return
        change = (conserved_eV - self._conserved0_eV) / len(self._radii)
        if not abs(change) <= limit:
            raise CalculationFailed(
                f"the conserved energy drifted by {1e3 * change:+.0f} meV/atom within the segment",
                {"step": step, "drift_eV_per_atom": change, "limit_eV_per_atom": limit},
            )

    def check_framework(self, atoms: Atoms, step: int) -> None:
        """Record that the framework has left its sites; raise :class:`CalculationFailed` if that stops the run."""
        if self._framework is None:
            return
        off = self._framework.off_sites(atoms.positions[self._ions], atoms.cell.array)
        share = float(off.left.mean())
        self.most_moved = max(self.most_moved, share)
        if share < self.limits.melting_share:
            return
        if self.melted_from is None:
            self.melted_from = step
        if self.limits.melting == "stop":
            raise CalculationFailed(
                f"the framework melts: {100.0 * share:.0f} % of its ions have left their sites",
                {"step": step, "share": share, "limit": self.limits.melting_share},
            )

    def flags(self) -> tuple[str, ...]:
        """Return the observations that did not stop the run."""
        if self.melted_from is None:
            return ()
        time_ps = self.melted_from * self.settings.timestep_fs * 1.0e-3
        most = f"{100.0 * self.most_moved:.0f} %"
        return (f"the framework melts from {time_ps:.3f} ps on: up to {most} of its ions have left their sites",)

    def check_structure(self, atoms: Atoms, step: int) -> None:
        """Raise :class:`CalculationFailed` if atoms have come too close or the volume has changed too much."""
        volume = float(atoms.get_volume())
        change = volume / self.volume0_A3 - 1.0
        if not np.isfinite(volume) or abs(change) > self.limits.volume_change:
            raise CalculationFailed(
                f"the volume changed by {100.0 * change:+.0f} %",
                {"step": step, "volume_A3": volume, "starting_volume_A3": self.volume0_A3},
            )
        if self._are_apart(atoms):
            return
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

    def _are_apart(self, atoms: Atoms) -> bool:
        """Return True if compiled loops show that no atoms are too close; False where a search for pairs must decide.

        With a fast potential that search would cost a tenth of the run; for others importing numba is not worth it.
        """
        cell = np.ascontiguousarray(atoms.cell.array, dtype=np.float64)
        if "numba" not in sys.modules or not atoms.pbc.all() or len(atoms) > _MOST_IN_PAIRS:
            return False
        from superionic.dynamics.contacts import nearest_share

        inverse = np.ascontiguousarray(np.linalg.inv(cell))
        # Within half the least height of the cell, the nearest image is that of the rounded fractional coordinates.
        if 2.0 * self._cutoff * sqrt(float(np.square(inverse).sum(axis=0).max())) > 1.0:
            return False
        nearest = nearest_share(np.ascontiguousarray(atoms.positions), cell, inverse, self._radii)
        return nearest > self.limits.distance_fraction * (1.0 + 1.0e-9)


def soft_flags(
    settings: MDSettings,
    temperatures_K: FloatArray,
    cells_A: FloatArray,
    volume0_A3: float,
    conserved_eV_per_atom: FloatArray | None = None,
) -> tuple[str, ...]:
    """Return flags of a segment that did not fail.

    Parameters
    ----------
    volume0_A3
        Volume at the start of the run.
    conserved_eV_per_atom
        Conserved quantity of the frames; None where there is none.
    """
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
    if conserved_eV_per_atom is not None and len(conserved_eV_per_atom) > 2 and settings.ramp_from_K is None:
        # A straight line through the segment: the conserved quantity oscillates, and only its drift matters.
        times = np.arange(len(conserved_eV_per_atom)) * settings.frame_interval_ps
        slope = float(np.polyfit(times, conserved_eV_per_atom - conserved_eV_per_atom[0], 1)[0])
        if abs(slope) > _DRIFT_FLAG_EV and abs(slope) * times[-1] > _DRIFT_FLAG_LEAST_EV:
            flags.append(f"the conserved energy drifts by {1e3 * slope:+.1f} meV/atom per ps")
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
