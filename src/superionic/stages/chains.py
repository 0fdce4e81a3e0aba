"""Molecular dynamics as chains of segments: each segment is a task whose input is the one before.

A chain has phases (heating, NPT, NVT …). Within a phase the full state of the integrator passes from segment to
segment; between phases positions and velocities are kept, and the thermostat starts afresh. Segment boundaries are
fixed by the settings, so that an interrupted chain equals an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.dynamics.md import MDState, Segment, continued_state, initial_state, run_segment
from superionic.dynamics.monitors import Limits
from superionic.dynamics.settings import Barostat, CellMotion, Engine, MDSettings
from superionic.execution.task import Context, Task, task
from superionic.stages.base import ChosenPotential, Workbench, load

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil
    from superionic.settings.sample import SampleSettings
    from superionic.settings.transport import TransportSettings

Rows = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Phase:
    """One part of a chain.

    Attributes
    ----------
    name
        ``heating``, ``npt``, ``production`` …
    md
        Settings of the dynamics, without a ramp.
    length_ps
        Length of the phase; a phase of zero length is skipped.
    segment_ps
        Largest length of a segment.
    average_cell_of
        Name of an earlier NPT phase in whose average cell this phase runs.
    discard_fraction
        Initial fraction of that phase that the average leaves out.
    limits
        Limits at which it stops; None for the defaults. After a segment that limits end early, further segments make no
        steps and pass on the reason.
    ramp_from_K
        Temperature from which the target rises over the whole phase; None for no ramp.
    """

    name: str
    md: MDSettings
    length_ps: float
    segment_ps: float
    average_cell_of: str | None = None
    discard_fraction: float = 0.0
    limits: Limits | None = None
    ramp_from_K: float | None = None

    def n_steps(self, length_ps: float) -> int:
        """Return the number of steps in a length of time."""
        return round(length_ps * 1000.0 / self.md.timestep_fs)


@dataclass(frozen=True)
class AverageCell:
    """The mean cell of an NPT phase.

    Attributes
    ----------
    cell
        Vectors as rows, shape (3, 3), in Å; None if the phase stopped before its first frame.
    n_frames
        Number of frames of the phase, including those that the average leaves out.
    """

    cell: NDArray[np.float64] | None
    n_frames: int


@dataclass(frozen=True)
class Chain:
    """The tasks of one run.

    Attributes
    ----------
    phases
        Segments of each phase that is not skipped, by name and in the order in which they run.
    average_cell
        The task that averages the cell of the NPT phase, if a later phase runs in it.
    """

    phases: Mapping[str, tuple[Task[Segment], ...]]
    average_cell: Task[AverageCell] | None = None

    def segments(self, *phases: str) -> tuple[Task[Segment], ...]:
        """Return the segments of phases in order; none for a phase that was skipped."""
        return tuple(segment for phase in phases for segment in self.phases.get(phase, ()))


def md_settings(
    section: SampleSettings | TransportSettings | ResolvedDistil,
    temperature_K: float,
    ensemble: Literal["nvt", "npt"],
    *,
    engine: Engine = "ase",
    barostat: Barostat = "mtk",
    cell_motion: CellMotion = "anisotropic",
) -> MDSettings:
    """Return the settings of a run from a stage's section; barostat and motion of the cell apply to NPT."""
    nvt = MDSettings(
        temperature_K,
        thermostat=section.thermostat,
        timestep_fs=section.timestep_fs,
        thermostat_time_fs=section.thermostat_time_fs,
        save_every=max(1, round(section.save_every_fs / section.timestep_fs)),
        engine=engine,
    )
    if ensemble == "nvt":
        return nvt
    return replace(
        nvt,
        ensemble="npt",
        # Each barostat has the thermostat with which it was derived; the stage's own thermostat drives NVT.
        thermostat="berendsen" if barostat == "berendsen" else "nose-hoover-chain",
        barostat=barostat,
        barostat_time_fs=section.barostat_time_fs,
        cell_motion=cell_motion,
        pressure_GPa=section.pressure_GPa,
    )


def chain(
    bench: Workbench,
    label: str,
    structure: Atoms,
    supercell: Rows,
    potential: ChosenPotential,
    phases: Sequence[Phase],
    *,
    seed_name: str | None = None,
) -> Chain:
    """Build the tasks of one run.

    The seed of the initial velocities derives from ``seed_name``, by default from the label: runs with the same seed
    name start with the same velocities. ``structure`` is a part of a task's result.
    """
    built: dict[str, tuple[Task[Segment], ...]] = {}
    average: Task[AverageCell] | None = None
    previous: Task[Segment] | None = None
    may_stop = any(phase.limits is not None for phase in phases)
    watches_sites = any(phase.limits is not None and phase.limits.melting != "off" for phase in phases)
    for phase in phases:
        steps = phase.n_steps(phase.length_ps)
        if steps == 0:
            continue
        cell: Task[AverageCell] | None = None
        if phase.average_cell_of in built:
            averaged = built[phase.average_cell_of]
            average = cell = bench.task(
                f"average cell of {label}",
                average_cell_task.of(
                    discard_fraction=phase.discard_fraction,
                    cells=[segment.result.cells_A for segment in averaged],
                    stopped=averaged[-1].result.stopped if may_stop else None,
                ),
            )
        md = phase.md
        if phase.ramp_from_K is not None:
            md = replace(md, ramp_from_K=phase.ramp_from_K, ramp_steps=steps)
        every = md.save_every
        longest = max(every, phase.n_steps(phase.segment_ps) // every * every)
        segments: list[Task[Segment]] = []
        for number, first in enumerate(range(0, steps, longest)):
            n_steps = min(longest, steps - first)
            if previous is None:
                call = first_segment_task.of(
                    potential=potential,
                    md=md,
                    n_steps=n_steps,
                    limits=phase.limits,
                    structure=structure,
                    supercell=supercell,
                    seed=bench.seed_for(label if seed_name is None else seed_name),
                )
            else:
                call = next_segment_task.of(
                    potential=potential,
                    md=md,
                    n_steps=n_steps,
                    limits=phase.limits,
                    state=previous.result.state,
                    new_phase=number == 0,
                    cell=cell.result.cell if cell is not None and number == 0 else None,
                    stopped=previous.result.stopped if may_stop else None,
                    # All segments measure displacements from the initial structure of the chain.
                    reference=structure if watches_sites else None,
                    supercell=supercell if watches_sites else None,
                )
            previous = bench.task(
                f"{label} {phase.name} {number + 1}", call, engine="lammps" if md.engine == "lammps" else None
            )
            segments.append(previous)
        built[phase.name] = tuple(segments)
    return Chain(built, average)


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=2)
def first_segment_task(
    context: Context,
    *,
    potential: ChosenPotential,
    md: MDSettings,
    n_steps: int,
    limits: Limits | None,
    structure: Atoms,
    supercell: Rows,
    seed: int,
) -> Segment:
    """Run the first segment of a chain, from a structure with random velocities."""
    driver = load(potential, context)
    start = _repeated(structure, supercell)
    driver.check_elements(start)
    state = initial_state(start, md, seed)
    return run_segment(state, driver, md, n_steps, progress=context.progress, limits=limits, reference=start)


@task(version=2)
def next_segment_task(
    context: Context,
    *,
    potential: ChosenPotential,
    md: MDSettings,
    n_steps: int,
    limits: Limits | None,
    state: MDState,
    new_phase: bool,
    cell: NDArray[np.float64] | None,
    stopped: str | None,
    reference: Atoms | None,
    supercell: Rows | None,
) -> Segment:
    """Run a segment from the final state of the previous one; make no step if the run has ``stopped``."""
    driver = load(potential, context)
    if stopped is not None:
        return replace(run_segment(state, driver, md, 0, limits=limits), stopped=stopped)
    if new_phase:
        state = continued_state(state, cell_A=cell)
    start = None if reference is None or supercell is None else _repeated(reference, supercell)
    return run_segment(state, driver, md, n_steps, progress=context.progress, limits=limits, reference=start)


@task(version=1)
def average_cell_task(
    _context: Context, *, discard_fraction: float, cells: Sequence[NDArray[np.float64]], stopped: str | None
) -> AverageCell:
    """Average the cell vectors of an NPT run without its first part; no cell if it stopped before its first frame."""
    from superionic.trajectories.mean_cell import average_cell

    joined = np.concatenate(cells)
    if len(joined) == 0 and stopped is not None:
        return AverageCell(None, 0)
    return AverageCell(average_cell(joined, discard_fraction), len(joined))


def _repeated(structure: Atoms, supercell: Rows) -> Atoms:
    from ase.build import make_supercell

    return make_supercell(structure, np.array(supercell))
