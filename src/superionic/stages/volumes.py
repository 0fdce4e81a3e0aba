"""Stage *volumes*: mean cells at constant pressure against temperature, without production (paper B, figures 2d, e)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from ase import Atoms

from superionic.dynamics.settings import MDSettings
from superionic.errors import AnalysisError, CalculationFailed
from superionic.execution.task import Context, Task, task
from superionic.results.identity import Ordering, Rows, Run
from superionic.results.volumes import OrderingExpansion, RelaxedCell, VolumeRun, VolumesResult
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    FloatArray,
    IntArray,
    Workbench,
    failures_of,
    load,
    lowest_of_each,
    nothing_left,
)
from superionic.stages.chains import Chain, Phase, chain
from superionic.structures.crystal.refined_cell import parameters
from superionic.transport.observables.volumes import MeanCell, VolumeTrace, mean_cell, thermal_expansion

if TYPE_CHECKING:
    from superionic.settings.volumes import VolumesSettings

_TRACE_POINTS: Final = 500


@dataclass(frozen=True)
class DescribedRun:
    """The cell of a run at constant pressure; see :class:`superionic.results.volumes.VolumeRun`."""

    n_atoms: int
    length_ps: float
    mean_cell: MeanCell
    trace: VolumeTrace
    drift: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True)
class CellAtRest:
    """A relaxed cell; see :class:`superionic.results.volumes.RelaxedCell`."""

    lengths_A: tuple[float, float, float]
    angles_deg: tuple[float, float, float]
    volume_A3_per_atom: float
    converged: bool


def run(
    settings: VolumesSettings,
    bench: Workbench,
    candidates: Sequence[Candidate],
    potentials: Sequence[ChosenPotential],
    *,
    again: bool = False,
) -> VolumesResult:
    """Run the lowest orderings at constant pressure, and relax their cells.

    Parameters
    ----------
    settings
        The ``volumes`` section.
    bench
        The workbench.
    candidates
        Relaxed orderings with their energies; references are ignored.
    potentials
        The potential, or the members of a committee, with which replicas take turns; the first one relaxes.
    again
        Whether this repeats the stage by another potential or at another pressure.

    Raises
    ------
    StageError
        If every run failed; if the stage is repeated, they are left out instead.
    """
    bench = bench.at("volumes")
    lowest = lowest_of_each(candidates, settings.per_composition)
    planned = [
        (candidate, _identity(settings, candidate, temperature, replica, potentials, again=again))
        for candidate in lowest
        for temperature in settings.temperatures_K
        for replica in range(settings.replicas)
    ]
    described = [
        _described(settings, bench, run, _chain(settings, bench, candidate, run, potentials))
        for candidate, run in planned
    ]
    at_rest = [
        bench.task(
            f"relaxed cell of {candidate.id}",
            relaxed_cell_task.of(
                potential=potentials[0],
                structure=candidate.structure,
                supercell=settings.supercell,
                fmax_eV_per_A=settings.fmax_eV_per_A,
                max_steps=settings.max_steps,
                pressure_GPa=settings.pressure_GPa,
            ),
        )
        for candidate in lowest
    ]
    bench.runner.gather([*described, *at_rest])  # side by side; what follows looks them up
    outcomes, relaxed = bench.runner.gather(described), bench.runner.gather(at_rest)
    runs = tuple(
        VolumeRun(
            run=run,
            formula=candidate.formula,
            key=outcome.task.key,
            n_atoms=outcome.value.n_atoms,
            supercell=settings.supercell,
            length_ps=outcome.value.length_ps,
            mean_cell=outcome.value.mean_cell,
            trace=outcome.value.trace,
            drift=outcome.value.drift,
            flags=outcome.value.flags,
        )
        for (candidate, run), outcome in zip(planned, outcomes, strict=True)
        if outcome.ok
    )
    failures = (*failures_of(outcomes), *failures_of(relaxed))
    if not runs and not again:
        fix = "lower the temperatures or the time step"
        raise nothing_left("every run at constant pressure failed", failures, where=bench.stage, fix=fix)
    return VolumesResult(
        potential=potentials[0].name,
        pressure_GPa=settings.pressure_GPa,
        runs=runs,
        relaxed=tuple(
            RelaxedCell(
                candidate.ordering,
                candidate.formula,
                outcome.task.key,
                outcome.value.lengths_A,
                outcome.value.angles_deg,
                outcome.value.volume_A3_per_atom,
                outcome.value.converged,
            )
            for candidate, outcome in zip(lowest, relaxed, strict=True)
            if outcome.ok
        ),
        expansions=expansions(runs),
        failures=failures,
    )


def expansions(runs: Sequence[VolumeRun]) -> tuple[OrderingExpansion, ...]:
    """Return the thermal expansion of each ordering that was run at two temperatures or more."""
    groups: dict[Ordering, list[VolumeRun]] = {}
    for each in runs:
        groups.setdefault(each.run.ordering, []).append(each)
    fitted = []
    for ordering, members in groups.items():
        means = [(each.run.temperature_K, each.mean_cell.volume_per_atom_A3) for each in members]
        points = [(temperature, mean.value, mean.error) for temperature, mean in means if mean is not None]
        try:
            fitted.append(
                OrderingExpansion(ordering, members[0].formula, thermal_expansion(*zip(*points, strict=True)))
            )
        except AnalysisError:  # one temperature, or volumes without fluctuations: the cells remain
            continue
    return tuple(fitted)


def _identity(
    settings: VolumesSettings,
    candidate: Candidate,
    temperature_K: float,
    replica: int,
    potentials: Sequence[ChosenPotential],
    *,
    again: bool,
) -> Run:
    several = f" replica {replica + 1}" if settings.replicas > 1 else ""
    return Run(
        ordering=candidate.ordering,
        temperature_K=temperature_K,
        replica=replica + 1,
        potential=potentials[0].name,
        pressure_GPa=settings.pressure_GPa,
        member=replica % len(potentials) + 1 if len(potentials) > 1 else None,
        label=f"{candidate.id} {temperature_K:g} K at {settings.pressure_GPa:g} GPa{several}"
        + (f" by {potentials[0].name}" if again else ""),
    )


def _chain(
    settings: VolumesSettings, bench: Workbench, candidate: Candidate, run: Run, potentials: Sequence[ChosenPotential]
) -> Chain:
    nvt = MDSettings(
        run.temperature_K,
        thermostat="nose-hoover-chain",
        timestep_fs=settings.timestep_fs,
        thermostat_time_fs=settings.thermostat_time_fs,
        save_every=_save_every(settings),
    )
    npt = MDSettings(
        run.temperature_K,
        ensemble="npt",
        thermostat="nose-hoover-chain",
        timestep_fs=settings.timestep_fs,
        thermostat_time_fs=settings.thermostat_time_fs,
        save_every=_save_every(settings),
        barostat="mtk",
        barostat_time_fs=settings.barostat_time_fs,
        cell_motion=settings.cell_motion,
        pressure_GPa=settings.pressure_GPa,
    )
    longest = settings.segment_ps
    phases = (
        Phase("heating", nvt, settings.heating_ps, longest, ramp_from_K=settings.heating_from_K),
        Phase("nvt before npt", nvt, settings.nvt_before_npt_ps, longest),
        Phase("npt", npt, settings.npt_ps, longest),
    )
    potential = potentials[0 if run.member is None else run.member - 1]
    return chain(bench, run.label, candidate.structure, settings.supercell, potential.single, phases)


def _save_every(settings: VolumesSettings) -> int:
    return max(1, round(settings.save_every_fs / settings.timestep_fs))


def _described(settings: VolumesSettings, bench: Workbench, run: Run, built: Chain) -> Task[DescribedRun]:
    npt = built.segments("npt")
    call = describe_task.of(
        frame_interval_ps=_save_every(settings) * settings.timestep_fs * 1.0e-3,
        discard_fraction=settings.npt_discard_fraction,
        cells=[segment.result.cells_A for segment in npt],
        times_ps=[segment.result.times_ps for segment in npt],
        flags=[segment.result.flags for segment in npt],
        numbers=npt[0].result.state.numbers,
    )
    return bench.task(f"mean cell of {run.label}", call)


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=1)
def describe_task(
    _context: Context,
    *,
    frame_interval_ps: float,
    discard_fraction: float,
    cells: Sequence[FloatArray],
    times_ps: Sequence[FloatArray],
    flags: Sequence[tuple[str, ...]],
    numbers: IntArray,
) -> DescribedRun:
    """Average the cell of a run at constant pressure, with errors from its autocorrelation."""
    through, times = np.concatenate(cells), np.concatenate(times_ps)
    length = (len(through) - 1) * frame_interval_ps
    try:
        mean = mean_cell(through, frame_interval_ps, n_atoms=len(numbers), discard_ps=discard_fraction * length)
    except AnalysisError as error:
        raise CalculationFailed(f"no mean cell: {error.message}") from error
    volumes = abs(np.linalg.det(through)) / len(numbers)
    stride, quarter = max(1, len(times) // _TRACE_POINTS), len(volumes) // 4
    late, before = (volumes[-quarter:].mean(), volumes[-2 * quarter : -quarter].mean()) if quarter else (0.0, 0.0)
    return DescribedRun(
        n_atoms=len(numbers),
        length_ps=length,
        mean_cell=mean,
        trace=VolumeTrace(tuple(times[::stride].tolist()), tuple(volumes[::stride].tolist())),
        drift=float((late - before) / before) if quarter else None,
        flags=tuple(dict.fromkeys((*(flag for of_segment in flags for flag in of_segment), *mean.flags))),
    )


@task(version=1)
def relaxed_cell_task(
    context: Context,
    *,
    potential: ChosenPotential,
    structure: Atoms,
    supercell: Rows,
    fmax_eV_per_A: float,
    max_steps: int,
    pressure_GPa: float,
) -> CellAtRest:
    """Relax positions and cell of an ordering at a pressure, and describe the cell repeated as in the runs."""
    from superionic.dynamics.relax import relax

    relaxed = relax(
        structure,
        load(potential, context),
        fmax_eV_per_A=fmax_eV_per_A,
        max_steps=max_steps,
        pressure_GPa=pressure_GPa,
        progress=context.progress,
    )
    lengths, angles = parameters(np.array(supercell) @ np.asarray(relaxed.atoms.cell.array))
    return CellAtRest(lengths, angles, relaxed.atoms.get_volume() / len(structure), relaxed.converged)
