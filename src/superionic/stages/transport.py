"""Stage *transport*: NPT equilibration, average cell, NVT production, at several temperatures and with replicas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from superionic.chemistry import parse_formula
from superionic.dynamics.monitors import Limits
from superionic.errors import AnalysisError, StageError
from superionic.execution.runner import Outcome
from superionic.execution.task import Context, Task, task
from superionic.potentials.repulsion import holes_within_reach
from superionic.results.identity import Run
from superionic.results.transport import RepulsionTest, SimulatedRun, TransportResult
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    FloatArray,
    IntArray,
    OfTeacher,
    Trajectory,
    TransportRun,
    Workbench,
    failures_of,
    lowest_of_each,
    nothing_left,
    of_compositions,
)
from superionic.stages.chains import Chain, Phase, chain, md_settings
from superionic.stages.predictions import Repulsion, repulsion_task
from superionic.structures.crystal.refined_cell import parameters
from superionic.transport.observables.volumes import MeanCell, VolumeTrace, mean_cell

if TYPE_CHECKING:
    from superionic.settings.transport import LongRuns, TransportSettings

_STUDENT: Final = "student"
# A grade costs about as much as a step of the student.
_GRADE_EVERY_FS = 200.0
_NEVER = 1.0e12
_REPULSION_STEP_A = 0.2
# Points of a trace that is enough for a figure.
_TRACE_POINTS = 500


@dataclass(frozen=True)
class TransportOutput:
    """The output of the stage: its result, and the runs for the analysis."""

    result: TransportResult
    runs: tuple[TransportRun, ...]


def run(
    settings: TransportSettings,
    bench: Workbench,
    candidates: Sequence[Candidate],
    potentials: Sequence[ChosenPotential],
    *,
    teacher: str = "",
    ask_teacher: Callable[[Workbench, Sequence[TransportRun]], OfTeacher] | None = None,
) -> TransportOutput:
    """Run molecular dynamics of the lowest orderings.

    Parameters
    ----------
    settings
        The ``transport`` section.
    candidates
        Relaxed orderings with their energies; references are ignored.
    potentials
        The potential that drives the dynamics, or the members of a committee: replicas take turns with them, so that
        the scatter of replicas includes the disagreement of members.
    teacher
        Name of the teacher of these students where the campaign has several, and they are not those of the first.
    ask_teacher
        Has the teacher of these students judge the runs; None for other potentials.

    Raises
    ------
    StageError
        If every run failed, or no ordering is left to run.
    """
    bench = bench.at("transport")
    planned = [
        (candidate, *_identity(settings, candidate, temperature, replica, potentials, teacher))
        for candidate in lowest_orderings(settings, candidates)
        for temperature in settings.temperatures_K
        for replica in range(settings.replicas)
    ]
    chains = [_chain(settings, bench, candidate, run, potentials, seed_name) for candidate, run, seed_name in planned]
    graded = potentials[0].name == _STUDENT
    tasks = [_collect(settings, bench, run, built, graded) for (_, run, _), built in zip(planned, chains, strict=True)]
    interval = _frame_interval_ps(settings)
    simulated: list[SimulatedRun] = []
    runs: list[TransportRun] = []
    pushed = _most_elements([candidate for candidate, _, _ in planned])
    tests = _repulsion_tests(bench, pushed, potentials)
    at_once: list[Task[Any]] = [*tasks, *tests]
    bench.runner.gather(at_once)
    outcomes = bench.runner.gather(tasks)
    for (candidate, run, _), built, outcome in zip(planned, chains, outcomes, strict=True):
        if not outcome.ok:
            continue
        simulated.append(_simulated(settings, run, candidate.formula, outcome))
        positions = tuple(segment.result.positions_A for segment in built.segments("production"))
        runs.append(TransportRun(run, candidate.formula, outcome.task.result, positions, interval))
    failures = failures_of(outcomes)
    repulsion = tuple(
        RepulsionTest(pushed.ordering, number if len(tests) > 1 else None, tested.value.curves)
        for number, tested in enumerate(bench.runner.gather(tests), 1)
        if tested.ok
    )
    if not runs:
        fix = _remedy(repulsion, max(settings.temperatures_K))
        raise nothing_left("every transport run failed", failures, where=bench.stage, fix=fix)
    said = OfTeacher() if ask_teacher is None else ask_teacher(bench, runs)
    result = TransportResult(
        potential=runs[0].run.potential,
        runs=tuple(replace(each, own_frames=said.frames.get(each.run.label)) for each in simulated),
        failures=(*failures, *said.failures),
        series=settings.name or "",
        repulsion=repulsion,
        verdict=said.verdict,
    )
    return TransportOutput(result, tuple(runs))


def _simulated(settings: TransportSettings, run: Run, formula: str, outcome: Outcome[Trajectory]) -> SimulatedRun:
    """Describe a run by the task that collected its trajectory."""
    collected = outcome.value
    lengths, angles = parameters(collected.cell_A)
    return SimulatedRun(
        run=run,
        formula=formula,
        key=outcome.task.key,
        ensemble="NVT",
        thermostat=settings.thermostat,
        length_ps=collected.length_ps,
        mean_temperature_K=collected.mean_temperature_K,
        n_atoms=collected.n_atoms,
        n_mobile=collected.n_mobile,
        volume_A3_per_atom=collected.volume_A3_per_atom,
        lengths_A=lengths,
        angles_deg=angles,
        supercell=settings.supercell,
        npt=collected.npt,
        mean_cell=collected.mean_cell,
        npt_drift=collected.npt_drift,
        worst_extrapolation=collected.worst_extrapolation,
        flags=tuple(dict.fromkeys(collected.flags)),
    )


def lowest_orderings(settings: TransportSettings, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the orderings to run: the lowest of each crystal and composition within the limits of the section.

    Raises
    ------
    StageError
        If no ordering has a requested composition, or is within the limit.
    """
    limit = settings.max_energy_above_hull_meV_per_atom
    requested = of_compositions(candidates, settings.compositions, where="transport.compositions")
    within_limit = [
        candidate
        for candidate in lowest_of_each(requested, settings.per_composition)
        if limit is None
        or candidate.e_above_hull_eV_per_atom is None
        or candidate.e_above_hull_eV_per_atom * 1000.0 <= limit
    ]
    if not within_limit:
        raise StageError(
            f"no ordering is within {limit:g} meV/atom of the hull",
            where="transport.max_energy_above_hull_meV_per_atom",
            fix="raise the limit, or remove it",
        )
    return within_limit


def _most_elements(candidates: Sequence[Candidate]) -> Candidate:
    """Return the first of those orderings that have most elements, and so most kinds of pairs."""
    return max(candidates, key=lambda candidate: len(parse_formula(candidate.formula)))


def _repulsion_tests(
    bench: Workbench, pushed: Candidate, potentials: Sequence[ChosenPotential]
) -> list[Task[Repulsion]]:
    """Build the tasks that push pairs of atoms together by each potential that drives runs."""
    tasks = []
    for number, potential in enumerate(potentials, 1):
        of_member = f" by member {number}" if len(potentials) > 1 else ""
        call = repulsion_task.of(potential=potential.single, atoms=pushed.structure, step_A=_REPULSION_STEP_A)
        tasks.append(bench.task(f"repulsion of pairs in {pushed.id}{of_member}", call))
    return tasks


def _remedy(repulsion: Sequence[RepulsionTest], hottest_K: float) -> str:
    """Return what to do after every run failed: another potential, if the repulsion by this one has holes."""
    holes = holes_within_reach((curve for test in repulsion for curve in test.curves), hottest_K)
    if holes:
        return f"use another potential, since the repulsion by this one has holes: {'; '.join(holes)}"
    return "lower the temperatures or the time step"


def lengths_at(settings: TransportSettings, temperature_K: float) -> TransportSettings | LongRuns:
    """Return the section with ``nvt_equilibration_ps`` and ``production_ps`` for a temperature."""
    long_runs = settings.long_runs
    return long_runs if long_runs is not None and temperature_K < long_runs.below_K else settings


def _identity(
    settings: TransportSettings,
    candidate: Candidate,
    temperature_K: float,
    replica: int,
    potentials: Sequence[ChosenPotential],
    teacher: str,
) -> tuple[Run, str]:
    """Return the identity of a run, and the name of its seed: that of the series is no part of it.

    So series start with the same velocities, and a name that is added or changed repeats no dynamics.
    """
    several = f" replica {replica + 1}" if settings.replicas > 1 else ""
    label = f"{candidate.id} {temperature_K:g} K{several}" + (f" (teacher {teacher})" if teacher else "")
    run = Run(
        ordering=candidate.ordering,
        temperature_K=temperature_K,
        replica=replica + 1,
        potential=f"{potentials[0].name} of {teacher}" if teacher else potentials[0].name,
        pressure_GPa=settings.pressure_GPa if settings.npt_ps > 0 else None,
        member=replica % len(potentials) + 1 if len(potentials) > 1 else None,
        label=label if settings.name is None else f"{label} ({settings.name})",
        series=settings.name or "",
    )
    return run, label


def _chain(
    settings: TransportSettings,
    bench: Workbench,
    candidate: Candidate,
    run: Run,
    potentials: Sequence[ChosenPotential],
    seed_name: str,
) -> Chain:
    potential = potentials[0 if run.member is None else run.member - 1]
    lengths = lengths_at(settings, run.temperature_K)
    nvt = md_settings(settings, run.temperature_K, "nvt", engine=settings.md_engine)
    npt = md_settings(
        settings,
        run.temperature_K,
        "npt",
        engine=settings.md_engine,
        barostat=settings.barostat,
        cell_motion=settings.cell_motion,
    )
    limits, longest, discard = _limits(settings, potential), settings.segment_ps, settings.npt_discard_fraction
    equilibration = lengths.nvt_equilibration_ps
    before = Phase("nvt before npt", nvt, settings.nvt_before_npt_ps, longest, limits=limits)
    averaged = replace(before, average_cell_of="npt", discard_fraction=discard)
    phases = (
        replace(before, name="heating", length_ps=settings.heating_ps, ramp_from_K=settings.heating_from_K),
        before,
        replace(before, name="npt", md=npt, length_ps=settings.npt_ps),
        replace(averaged, name="equilibration", length_ps=equilibration),
        replace(averaged if equilibration == 0 else before, name="production", length_ps=lengths.production_ps),
    )
    return chain(bench, run.label, candidate.structure, settings.supercell, potential, phases, seed_name=seed_name)


def _limits(settings: TransportSettings, potential: ChosenPotential) -> Limits | None:
    """Return limits by which a student records its extrapolation without stopping; the report judges that."""
    if potential.name != _STUDENT:
        return None
    every = max(1, round(_GRADE_EVERY_FS / settings.timestep_fs))
    return Limits(extrapolation_every=every, max_collected=0, max_extrapolation=_NEVER)


def _collect(settings: TransportSettings, bench: Workbench, run: Run, built: Chain, graded: bool) -> Task[Trajectory]:
    production, npt = built.segments("production"), built.segments("npt")
    call = collect_task.of(
        run=run,
        frame_interval_ps=_frame_interval_ps(settings),
        mobile_ion=bench.mobile_ion,
        cells=[segment.result.cells_A for segment in production],
        flags=[segment.result.flags for segment in (*npt, *production)],
        grades=[segment.result.extrapolation for segment in (*npt, *production)] if graded else [],
        npt_cells=[segment.result.cells_A for segment in npt],
        npt_times_ps=[segment.result.times_ps for segment in npt],
        numbers=production[0].result.state.numbers,
        temperatures_K=[segment.result.temperatures_K for segment in production],
    )
    return bench.task(f"trajectory of {run.label}", call)


def _frame_interval_ps(settings: TransportSettings) -> float:
    every = max(1, round(settings.save_every_fs / settings.timestep_fs))
    return float(every * settings.timestep_fs * 1.0e-3)


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=3)
def collect_task(
    _context: Context,
    *,
    run: Run,
    frame_interval_ps: float,
    mobile_ion: str,
    cells: Sequence[FloatArray],
    flags: Sequence[tuple[str, ...]],
    grades: Sequence[FloatArray],
    npt_cells: Sequence[FloatArray],
    npt_times_ps: Sequence[FloatArray],
    numbers: IntArray,
    temperatures_K: Sequence[FloatArray],
) -> Trajectory:
    """Describe a run by cell, temperature, volumes and number of mobile ions; positions stay in its segments."""
    from ase.data import atomic_numbers

    cell = cells[0][0]
    temperatures = np.concatenate(temperatures_K)
    npt, mean, drift = VolumeTrace(), None, None
    if npt_cells:
        through, times = np.concatenate(npt_cells), np.concatenate(npt_times_ps)
        volumes = abs(np.linalg.det(through)) / len(numbers)
        stride = max(1, len(times) // _TRACE_POINTS)
        npt = VolumeTrace(tuple(times[::stride].tolist()), tuple(volumes[::stride].tolist()))
        mean = _mean_cell(through, frame_interval_ps, len(numbers))
        if (quarter := len(volumes) // 4) > 0:
            late, before = volumes[-quarter:].mean(), volumes[-2 * quarter : -quarter].mean()
            drift = float((late - before) / before)
    worst = [float(np.max(of_segment)) for of_segment in grades if len(of_segment)]
    return Trajectory(
        cell_A=cell,
        numbers=numbers,
        flags=tuple(flag for of_segment in flags for flag in of_segment),
        length_ps=(len(temperatures) - 1) * frame_interval_ps,
        mean_temperature_K=float(temperatures.mean()),
        n_atoms=len(numbers),
        n_mobile=int(np.sum(numbers == atomic_numbers[mobile_ion])),
        npt=npt,
        mean_cell=mean,
        npt_drift=drift,
        volume_A3_per_atom=abs(float(np.linalg.det(cell))) / len(numbers),
        worst_extrapolation=max(worst, default=None),
    )


def _mean_cell(cells: FloatArray, frame_interval_ps: float, n_atoms: int) -> MeanCell | None:
    try:
        return mean_cell(cells, frame_interval_ps, n_atoms=n_atoms)
    except AnalysisError:  # too few frames for a mean with an error; the trace remains
        return None
