"""Molecular dynamics in segments that can be cut anywhere and continued exactly.

``run_segment`` is a function from a state to a later state and the frames between them. Nothing survives from one
call to the next but :class:`MDState`: k segments of n steps equal one of k·n steps bit for bit (same machine, same
libraries), for every ensemble. A frame is kept at each step that is a multiple of ``save_every``, counted from the
start of the run; the frame of step 0 belongs to the first segment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.dynamics.ensembles import Integrator, build_integrator
from superionic.dynamics.monitors import Limits, Monitor, soft_flags, summary
from superionic.dynamics.settings import MDSettings
from superionic.dynamics.state import (
    MDState,
    continued_state,
    degrees_of_freedom,
    initial_state,
    pack_rng,
    unpack_rng,
)
from superionic.errors import CalculationFailed
from superionic.potentials.base import Potential
from superionic.units import BOLTZMANN_EV_PER_K, gpa

__all__ = ["Limits", "MDSettings", "MDState", "Segment", "continued_state", "initial_state", "run_segment"]

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

_FLOATS = ("positions_A", "cells_A", "temperatures_K", "potential_energies_eV", "kinetic_energies_eV")
_MAYBE = ("pressures_GPa", "conserved_eV")


@dataclass(frozen=True, eq=False)
class Segment:
    """Frames of one segment and the state at its end.

    Attributes
    ----------
    state
        State after the last step: the input of the next segment.
    steps
        Step number of each frame, shape (n_frames,).
    positions_A
        Unwrapped positions, shape (n_frames, n_atoms, 3), in Å.
    cells_A
        Cells, shape (n_frames, 3, 3), in Å.
    temperatures_K, potential_energies_eV, kinetic_energies_eV
        Shape (n_frames,).
    pressures_GPa
        Pressure with its kinetic part, shape (n_frames,); ``None`` where stress was not evaluated.
    conserved_eV
        Conserved quantity of the ensemble, shape (n_frames,); ``None`` for Langevin and Berendsen.
    frame_interval_ps
        Time between frames in ps.
    n_evaluations
        Evaluations of the potential.
    flags
        What a reader should know.
    """

    state: MDState
    steps: npt.NDArray[np.int64]
    positions_A: FloatArray
    cells_A: FloatArray
    temperatures_K: FloatArray
    potential_energies_eV: FloatArray
    kinetic_energies_eV: FloatArray
    pressures_GPa: FloatArray | None
    conserved_eV: FloatArray | None
    frame_interval_ps: float
    n_evaluations: int
    flags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain arrays and JSON scalars; exact."""
        plain: dict[str, Any] = {"state": self.state.to_dict(), "steps": np.array(self.steps)}
        plain |= {name: np.array(getattr(self, name)) for name in _FLOATS}
        for name in _MAYBE:
            value = getattr(self, name)
            plain[name] = None if value is None else np.array(value)
        plain["frame_interval_ps"] = float(self.frame_interval_ps)
        plain["n_evaluations"] = int(self.n_evaluations)
        plain["flags"] = list(self.flags)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Segment:
        """Inverse of :meth:`to_dict`."""
        return cls(**{**values, "state": MDState.from_dict(values["state"]), "flags": tuple(values["flags"])})


def run_segment(
    state: MDState,
    potential: Potential,
    settings: MDSettings,
    n_steps: int,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Segment:
    """Make ``n_steps`` steps from ``state``.

    Parameters
    ----------
    state
        From :func:`initial_state`, :func:`continued_state` or the segment before.
    potential
        Anything that :func:`superionic.potentials.base.load_potential` gives.
    settings
        Of the run; the same for all its segments.
    n_steps
        Steps to make.
    progress
        Called now and then with the fraction done and a message.
    limits
        Where the run is stopped; ``None`` for the defaults of :class:`Limits`.

    Raises
    ------
    CalculationFailed
        If the run blows up (not-a-number, runaway temperature, atoms in each other, volume). ``details`` has the step
        and a summary of the last good frame.
    PotentialError
        If the potential does not cover an element.
    """
    atoms = state.to_atoms()
    potential.check_elements(atoms)
    calculator = potential.calculator(stress=settings.needs_stress)
    atoms.calc = calculator
    rng = unpack_rng(state.rng)
    monitor = Monitor(state.numbers, settings, limits or Limits(), state.reference_volume_A3)
    frames: dict[str, list[Any]] = {name: [] for name in ("steps", *_FLOATS, *_MAYBE)}
    step = state.step
    report_every = max(1, n_steps // 100)

    # An exploding run overflows before a monitor sees it; the monitors decide, not numpy's warnings.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            integrator = build_integrator(atoms, settings, state.internals, rng)
            integrator.set_temperature(settings.target_temperature_K(step + 1))
            if step == 0 and n_steps > 0:
                monitor.check_structure(atoms, step)
                _record(frames, integrator, settings, step)
            for done in range(1, n_steps + 1):
                step += 1
                if step <= settings.ramp_steps:
                    integrator.set_temperature(settings.target_temperature_K(step))
                integrator.step()
                monitor.check_temperature(_temperature(atoms), step)
                keep = step % settings.save_every == 0
                if keep or step % monitor.limits.check_every == 0:
                    monitor.check_structure(atoms, step)
                if keep:
                    _record(frames, integrator, settings, step)
                if progress is not None and (done % report_every == 0 or done == n_steps):
                    progress(done / n_steps, f"step {step}, {_temperature(atoms):.0f} K")
        except CalculationFailed as failure:
            time_ps = step * settings.timestep_fs * 1.0e-3
            details = {"step": step, "time_ps": time_ps, **failure.details, "last_good": summary(frames)}
            raise CalculationFailed(f"after {time_ps:.3f} ps {failure.reason}", details) from failure

        temperatures = np.array(frames["temperatures_K"], dtype=np.float64)
        cells = np.array(frames["cells_A"], dtype=np.float64).reshape(-1, 3, 3)
        return Segment(
            state=MDState(
                numbers=state.numbers,
                positions_A=atoms.get_positions(),
                momenta=atoms.get_momenta(),
                masses_amu=state.masses_amu,
                cell_A=atoms.cell.array,
                pbc=state.pbc,
                step=step,
                rng=pack_rng(rng),
                reference_volume_A3=state.reference_volume_A3,
                internals=integrator.internals(),
            ),
            steps=np.array(frames["steps"], dtype=np.int64),
            positions_A=np.array(frames["positions_A"], dtype=np.float64).reshape(-1, len(atoms), 3),
            cells_A=cells,
            temperatures_K=temperatures,
            potential_energies_eV=np.array(frames["potential_energies_eV"], dtype=np.float64),
            kinetic_energies_eV=np.array(frames["kinetic_energies_eV"], dtype=np.float64),
            pressures_GPa=_maybe(frames["pressures_GPa"]),
            conserved_eV=_maybe(frames["conserved_eV"]),
            frame_interval_ps=settings.frame_interval_ps,
            n_evaluations=calculator.n_evaluations,
            flags=soft_flags(settings, temperatures, cells, state.reference_volume_A3),
        )


def _record(frames: dict[str, list[Any]], integrator: Integrator, settings: MDSettings, step: int) -> None:
    # All values first: an evaluation that fails must not leave half a frame behind.
    atoms = integrator.atoms
    kinetic = float(atoms.get_kinetic_energy())
    potential_energy = float(atoms.get_potential_energy())
    pressure = None
    if settings.needs_stress:
        stress = atoms.get_stress(apply_constraint=False)
        pressure = gpa(-float(stress[:3].sum()) / 3.0 + 2.0 * kinetic / (3.0 * float(atoms.get_volume())))
    frame = {
        "steps": step,
        "positions_A": atoms.get_positions(),
        "cells_A": atoms.cell.array.copy(),
        "temperatures_K": _temperature(atoms),
        "potential_energies_eV": potential_energy,
        "kinetic_energies_eV": kinetic,
        "pressures_GPa": pressure,
        "conserved_eV": integrator.conserved_eV(),
    }
    for name, value in frame.items():
        frames[name].append(value)


def _temperature(atoms: Any) -> float:
    kinetic = float(atoms.get_kinetic_energy())
    return 2.0 * kinetic / (degrees_of_freedom(len(atoms)) * BOLTZMANN_EV_PER_K)


def _maybe(values: list[float | None]) -> FloatArray | None:
    if not values or values[0] is None:
        return None
    return np.array(values, dtype=np.float64)
