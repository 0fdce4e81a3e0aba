"""Molecular dynamics in segments that can be cut anywhere and continued exactly.

``run_segment`` is a function from a state to a later state and the frames between them. Nothing survives from one
call to the next but :class:`MDState`: k segments of n steps equal one of k·n steps bit for bit (same machine, same
libraries), for every ensemble of both engines. A frame is saved at each step that is a multiple of ``save_every``,
counted from the start of the run; the frame of step 0 belongs to the first segment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.dynamics.ensembles import build_stepper
from superionic.dynamics.evaluation import Evaluation
from superionic.dynamics.extrapolation import Extrapolation
from superionic.dynamics.monitors import Limits, Monitor, soft_flags, summary
from superionic.dynamics.settings import MDSettings
from superionic.dynamics.state import (
    MDState,
    Stepper,
    continued_state,
    degrees_of_freedom,
    initial_state,
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
        Conserved quantity of the ensemble, shape (n_frames,); ``None`` for Langevin and Berendsen by LAMMPS.
    times_ps
        Time of each frame since the start of the run, shape (n_frames,).
    frame_interval_ps
        Time between frames in ps.
    n_evaluations
        Evaluations of the potential.
    flags
        Sentences for the reader.
    extrapolation_steps, extrapolation
        Steps at which the extrapolation grade was evaluated, and its largest value over the atoms, shape (n,); see
        :class:`Limits`.
    collected_positions_A, collected_cells_A, collected_grades
        Structures for further training: shapes (m, n_atoms, 3), (m, 3, 3) and (m,).
    stopped
        Why the segment ended before its last step; ``None`` if it did not. The frames up to then are valid.
    engine_parity
        Differences by :func:`superionic.dynamics.lammps.parity.check_engine_parity`, in the first segment of a run by
        LAMMPS; ``None`` elsewhere.
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
    times_ps: FloatArray
    frame_interval_ps: float
    n_evaluations: int
    flags: tuple[str, ...] = ()
    extrapolation_steps: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    extrapolation: FloatArray = field(default_factory=lambda: np.zeros(0))
    collected_positions_A: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 3)))
    collected_cells_A: FloatArray = field(default_factory=lambda: np.zeros((0, 3, 3)))
    collected_grades: FloatArray = field(default_factory=lambda: np.zeros(0))
    stopped: str | None = None
    engine_parity: Mapping[str, float] | None = None


def run_segment(
    state: MDState,
    potential: Potential,
    settings: MDSettings,
    n_steps: int,
    *,
    progress: Progress | None = None,
    limits: Limits | None = None,
    reference: Atoms | None = None,
) -> Segment:
    """Make ``n_steps`` steps from ``state``.

    Parameters
    ----------
    state
        State from :func:`initial_state`, :func:`continued_state` or the previous segment.
    potential
        A potential, see :func:`superionic.potentials.base.load_potential`.
    settings
        Settings of the run, the same for all its segments.
    progress
        Called now and then with the fraction done and a message.
    limits
        Limits at which the run is stopped; ``None`` for the defaults of :class:`Limits`.
    reference
        The structure from which the whole run started, for the monitor of melting; the same for all segments.

    Raises
    ------
    CalculationFailed
        If the run fails (numbers that are not finite, runaway temperature, overlapping atoms, volume, drift of the
        conserved energy, melting). ``details`` has the step and a summary of the last good frame. Where the limits
        keep frames or collect structures, the segment is ``stopped`` instead, so that these are not lost.
    PotentialError
        If the potential does not cover an element, or has no extrapolation grade where the limits require one.
    EngineError
        If the engine is LAMMPS and it is not installed here, or fails the parity check.
    SuperionicError
        If the state belongs to a run by the other engine, or by another integrator.
    """
    limits = limits or Limits()
    atoms = state.to_atoms()
    potential.check_elements(atoms)
    extrapolation = Extrapolation(potential, limits)
    if n_steps == 0:
        return _gathered(state, settings, [], extrapolation, 0)
    parity = None
    if settings.engine == "lammps" and state.step == 0:
        from superionic.dynamics.lammps.parity import check_engine_parity

        parity = check_engine_parity(state, potential)
    evaluation = Evaluation(potential, stress=settings.needs_stress)
    atoms.calc = evaluation
    running = _RunningSegment(atoms, state, settings, limits, extrapolation, reference)
    stopped, internals, stepper = None, {}, None

    # An exploding run overflows before a monitor sees it; the monitors decide, not numpy's warnings.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        try:
            stepper = build_stepper(atoms, state, settings)
            stopped = running.run(stepper, n_steps, progress)
            internals = stepper.internals()
        except CalculationFailed as failure:
            time_ps = running.time_ps
            collects = limits.extrapolation_every > 0 and limits.max_collected > 0
            if not (limits.keep_frames or collects):
                details = {"step": running.step, "time_ps": time_ps, **failure.details}
                details["last_good"] = summary(running.frames)
                raise CalculationFailed(f"after {time_ps:.3f} ps {failure.reason}", details) from failure
            stopped = failure.reason
        finally:
            if stepper is not None:
                stepper.close()
        end = MDState(
            numbers=state.numbers,
            positions_A=atoms.get_positions(),
            momenta=atoms.get_momenta(),
            masses_amu=state.masses_amu,
            cell_A=atoms.cell.array,
            pbc=state.pbc,
            step=running.step,
            rng=state.rng if stepper is None else stepper.random(),
            reference_volume_A3=state.reference_volume_A3,
            internals=internals,
        )
        segment = _gathered(end, settings, running.frames, extrapolation, evaluation.n_evaluations)
    reason = None if stopped is None else f"after {running.time_ps:.3f} ps {stopped}"
    return replace(segment, stopped=reason, engine_parity=parity, flags=(*segment.flags, *running.flags))


class _RunningSegment:
    """A segment in progress: steps, monitors and frames."""

    def __init__(
        self,
        atoms: Atoms,
        state: MDState,
        settings: MDSettings,
        limits: Limits,
        extrapolation: Extrapolation,
        reference: Atoms | None,
    ) -> None:
        self.frames: list[dict[str, Any]] = []
        self.step = state.step
        self._atoms = atoms
        self._settings = settings
        self._limits = limits
        self._extrapolation = extrapolation
        self._monitor = Monitor(state.numbers, settings, limits, state.reference_volume_A3, reference)

    @property
    def flags(self) -> tuple[str, ...]:
        """Observations of the monitors that did not stop the run."""
        return self._monitor.flags()

    @property
    def time_ps(self) -> float:
        """Time since the start of the run."""
        return self.step * self._settings.timestep_fs * 1.0e-3

    def run(self, stepper: Stepper, n_steps: int, progress: Progress | None) -> str | None:
        """Make the steps; return the reason if they end early."""
        settings = self._settings
        report_every = max(1, n_steps // 100)
        stepper.set_temperature(settings.target_temperature_K(self.step + 1))
        self._monitor.begin(stepper.conserved_eV())
        stopped = None
        if self.step == 0:
            stopped = self._look(stepper, float(self._atoms.get_kinetic_energy()), keep=True)
        for done in range(1, n_steps + 1):
            if stopped is not None:
                break
            self.step += 1
            if self.step <= settings.ramp_steps:
                stepper.set_temperature(settings.target_temperature_K(self.step))
            stepper.step()
            kinetic = float(self._atoms.get_kinetic_energy())
            temperature = _temperature(kinetic, len(self._atoms))
            self._monitor.check_temperature(temperature, self.step)
            stopped = self._look(stepper, kinetic, keep=self.step % settings.save_every == 0)
            if progress is not None and (done % report_every == 0 or done == n_steps):
                progress(done / n_steps, f"step {self.step}, {temperature:.0f} K")
        return stopped

    def _look(self, stepper: Stepper, kinetic: float, *, keep: bool) -> str | None:
        if keep or self.step % self._limits.check_every == 0:
            self._monitor.check_structure(self._atoms, self.step)
            self._monitor.check_framework(self._atoms, self.step)
            self._monitor.check_conserved(stepper.conserved_eV(), self.step)
        stopped = None
        if self._extrapolation.is_due(self.step):
            stopped = self._extrapolation.look(self._atoms, self.step)
        if keep and stopped is None:
            self.frames.append(_frame(stepper, self._settings, self.step, kinetic))
        return stopped


def _gathered(
    state: MDState,
    settings: MDSettings,
    frames: list[dict[str, Any]],
    extrapolation: Extrapolation,
    n_evaluations: int,
) -> Segment:
    column = {name: [frame[name] for frame in frames] for name in ("steps", *_FLOATS, *_MAYBE)}
    temperatures = np.array(column["temperatures_K"], dtype=np.float64)
    cells = np.array(column["cells_A"], dtype=np.float64).reshape(-1, 3, 3)
    positions, collected_cells, grades = extrapolation.collected(len(state.numbers))
    conserved = _maybe(column["conserved_eV"])
    per_atom = None if conserved is None else conserved / len(state.numbers)
    steps = np.array(column["steps"], dtype=np.int64)
    return Segment(
        state=state,
        steps=steps,
        positions_A=np.array(column["positions_A"], dtype=np.float64).reshape(-1, len(state.numbers), 3),
        cells_A=cells,
        temperatures_K=temperatures,
        potential_energies_eV=np.array(column["potential_energies_eV"], dtype=np.float64),
        kinetic_energies_eV=np.array(column["kinetic_energies_eV"], dtype=np.float64),
        pressures_GPa=_maybe(column["pressures_GPa"]),
        conserved_eV=conserved,
        times_ps=np.array(steps * (settings.timestep_fs * 1.0e-3), dtype=np.float64),
        frame_interval_ps=settings.frame_interval_ps,
        n_evaluations=n_evaluations,
        flags=soft_flags(settings, temperatures, cells, state.reference_volume_A3, per_atom),
        extrapolation_steps=np.array(extrapolation.steps, dtype=np.int64),
        extrapolation=np.array(extrapolation.grades, dtype=np.float64),
        collected_positions_A=positions,
        collected_cells_A=collected_cells,
        collected_grades=grades,
    )


def _frame(stepper: Stepper, settings: MDSettings, step: int, kinetic: float) -> dict[str, Any]:
    atoms = stepper.atoms
    pressure = None
    if settings.needs_stress:
        stress = atoms.get_stress(apply_constraint=False)
        pressure = gpa(-float(stress[:3].sum()) / 3.0 + 2.0 * kinetic / (3.0 * float(atoms.get_volume())))
    return {
        "steps": step,
        "positions_A": atoms.get_positions(),
        "cells_A": atoms.cell.array.copy(),
        "temperatures_K": _temperature(kinetic, len(atoms)),
        "potential_energies_eV": float(atoms.get_potential_energy()),
        "kinetic_energies_eV": kinetic,
        "pressures_GPa": pressure,
        "conserved_eV": stepper.conserved_eV(),
    }


def _temperature(kinetic_eV: float, n_atoms: int) -> float:
    return 2.0 * kinetic_eV / (degrees_of_freedom(n_atoms) * BOLTZMANN_EV_PER_K)


def _maybe(values: list[float | None]) -> FloatArray | None:
    if not values or values[0] is None:
        return None
    return np.array(values, dtype=np.float64)
