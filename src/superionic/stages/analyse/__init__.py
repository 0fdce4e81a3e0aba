"""Stage *analyse*: diffusivities, conductivities, activation energies and density maps of the transport runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import Context, Task, task
from superionic.results.identity import Material
from superionic.results.transport import AnalysedRun, AnalyseResult, MaterialTransport, RunDensity
from superionic.stages.analyse.drawn import drawn_runs
from superionic.stages.analyse.migration import migration_records
from superionic.stages.analyse.observables import observed_runs
from superionic.stages.base import CrystalText, FloatArray, Trajectory, TransportRun, Workbench, failures_of, grouped
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.conductivity.arrhenius import ArrheniusForm
from superionic.transport.conductivity.budget import TransferTerm
from superionic.transport.conductivity.of_temperature import RunTransport, TemperatureDependence, temperature_dependence
from superionic.transport.density.map import DensityMap, framework_sites

if TYPE_CHECKING:
    from superionic.settings.analyse import AnalyseSettings
    from superionic.training.parity import TransferError

_AXES = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True)
class AnalyseOutput:
    """The output of the stage: its result, and the density grids that it names, as parts of tasks' results."""

    result: AnalyseResult
    grids: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class FurtherAnalysis:
    """Transport by the students of a further teacher.

    Attributes
    ----------
    materials
        σ(T) of each material.
    lines
        The tasks that gave them, for the error of the model's form.
    failures
        Analyses that failed.
    """

    materials: tuple[MaterialTransport, ...]
    lines: Mapping[Material, Task[TemperatureDependence]]
    failures: tuple[Failure, ...]


def run(
    settings: AnalyseSettings,
    bench: Workbench,
    runs: Sequence[TransportRun],
    transfer: TransferError | None,
    crystals: Mapping[str, CrystalText],
    teacher: str = "",
    further: Mapping[str, FurtherAnalysis] = MappingProxyType({}),
) -> AnalyseOutput:
    """Analyse every run, and every material over its temperatures.

    Parameters
    ----------
    settings
        The ``analyse`` section.
    transfer
        Error from the step from teacher to student; None if no student drove the runs, or if it is unknown.
    crystals
        Each crystal, with the sites on which ions are located.
    teacher
        Teacher of the students that drove the runs; only used beside further ones.
    further
        Transport by the students of further teachers, by their names: see :func:`analyse_further`.
    """
    bench = bench.at("analyse")
    analysed, failed_runs = _analysed(settings, bench, runs)
    analysed_runs = [each for each, _ in analysed]
    densities, grids, failed_densities = _densities(settings, bench, analysed_runs)
    migration, failed_migration = migration_records(settings, bench, analysed, crystals)
    observables, failed_observables = observed_runs(settings, bench, analysed_runs)
    lines = _lines(settings, bench, analysed, transfer, teacher, further)
    materials, failed_fits = _materials(bench, analysed, lines)
    failures = (*failed_runs, *failed_densities, *failed_migration, *failed_observables, *failed_fits)
    transport = tuple(AnalysedRun(each.run, each.formula, o.task.key, o.value) for each, o in analysed)
    result = AnalyseResult(
        mobile_ion=bench.mobile_ion,
        charge=bench.oxidation_states[bench.mobile_ion],
        runs=transport,
        arrhenius=materials,
        densities=densities,
        migration=migration,
        observables=observables,
        failures=failures,
        drawn=drawn_runs(settings.densities, transport, materials),
    )
    return AnalyseOutput(result, grids)


def analyse_further(
    settings: AnalyseSettings,
    bench: Workbench,
    runs: Sequence[TransportRun],
    transfer: TransferError | None,
    teacher: str,
) -> FurtherAnalysis:
    """Analyse transport alone in the runs by the students of a further teacher, and fit the line of each material.

    Parameters are those of :func:`run`.
    """
    bench = bench.at("analyse")
    analysed, failed_runs = _analysed(settings, bench, runs)
    lines = _lines(settings, bench.noted(f"teacher {teacher}"), analysed, transfer)
    materials, failed_fits = _materials(bench, analysed, lines)
    fitted = {each.material for each in materials}
    good = {material: task for material, task in lines.items() if material in fitted}
    return FurtherAnalysis(materials, good, (*failed_runs, *failed_fits))


_Analysed = list[tuple[TransportRun, Outcome[TransportAnalysis]]]


def _analysed(
    settings: AnalyseSettings, bench: Workbench, runs: Sequence[TransportRun]
) -> tuple[_Analysed, tuple[Failure, ...]]:
    """Analyse transport in every run; returns those that could be, with their outcomes, and the failures."""
    tasks = [
        bench.task(
            f"transport in {each.run.label}",
            analyse_task.of(
                axes=[_AXES[axis] for axis in settings.axes],
                charge=bench.oxidation_states[bench.mobile_ion],
                window_ps=settings.window_ps,
                frame_interval_ps=each.frame_interval_ps,
                mobile_ion=bench.mobile_ion,
                temperature_K=each.run.temperature_K,
                positions=each.positions_A,
                run=each.trajectory,
            ),
        )
        for each in runs
    ]
    outcomes = bench.runner.gather(tasks)
    analysed = [(each, outcome) for each, outcome in zip(runs, outcomes, strict=True) if outcome.ok]
    return analysed, failures_of(outcomes)


def _by_material(runs: _Analysed) -> dict[Material, _Analysed]:
    return grouped(runs, lambda analysed: analysed[0].run.ordering.material)


def _lines(
    settings: AnalyseSettings,
    bench: Workbench,
    runs: _Analysed,
    transfer: TransferError | None,
    teacher: str = "",
    further: Mapping[str, FurtherAnalysis] = MappingProxyType({}),
) -> dict[Material, Task[TemperatureDependence]]:
    """Build the task that gives σ(T) of each material, with the lines of further teachers where there are any."""
    tasks = {}
    for material, members in _by_material(runs).items():
        orderings = [each.run.ordering.id for each, _ in members]
        analyses = [outcome.task.result for _, outcome in members]
        term = None if transfer is None else transfer.term
        others = {name: one.lines[material].result for name, one in further.items() if material in one.lines}
        call = arrhenius_task.of(
            form=settings.arrhenius_form,
            orderings=orderings,
            report_temperatures_K=settings.report_temperatures_K,
            runs=analyses,
            transfer=term,
        )
        if others:
            call = arrhenius_of_teachers_task.of(
                form=settings.arrhenius_form,
                orderings=orderings,
                report_temperatures_K=settings.report_temperatures_K,
                runs=analyses,
                transfer=term,
                teachers=[teacher, *others],
                others=list(others.values()),
            )
        tasks[material] = bench.task(f"Arrhenius fit of {material.label}", call)
    return tasks


def _materials(
    bench: Workbench, runs: _Analysed, lines: Mapping[Material, Task[TemperatureDependence]]
) -> tuple[tuple[MaterialTransport, ...], tuple[Failure, ...]]:
    outcomes = bench.runner.gather(list(lines.values()))
    fitted = tuple(
        MaterialTransport(material, members[0][0].formula, fit.task.key, len(members), fit.value)
        for (material, members), fit in zip(_by_material(runs).items(), outcomes, strict=True)
        if fit.ok
    )
    return fitted, failures_of(outcomes)


def _densities(
    settings: AnalyseSettings, bench: Workbench, runs: Sequence[TransportRun]
) -> tuple[tuple[RunDensity, ...], dict[str, NDArray[np.float32]], tuple[Failure, ...]]:
    if settings.density_grid_A is None:
        return (), {}, ()
    tasks = [
        bench.task(
            f"density in {each.run.label}",
            density_task.of(
                grid_spacing_A=settings.density_grid_A,
                mobile_ion=bench.mobile_ion,
                positions=each.positions_A,
                run=each.trajectory,
            ),
        )
        for each in runs
    ]
    densities: list[RunDensity] = []
    grids: dict[str, NDArray[np.float32]] = {}
    outcomes = bench.runner.gather(tasks)
    for number, (each, counted) in enumerate(zip(runs, outcomes, strict=True)):
        if counted.ok:
            name = f"density_{number:03d}"
            grids[name] = counted.task.result.probability_per_A3
            densities.append(RunDensity(each.run, counted.task.key, name, counted.value.map))
    return tuple(densities), grids, failures_of(outcomes)


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=7)
def analyse_task(
    _context: Context,
    *,
    axes: Sequence[int],
    charge: float,
    frame_interval_ps: float,
    mobile_ion: str,
    temperature_K: float,
    positions: Sequence[FloatArray],
    run: Trajectory,
    window_ps: tuple[float, float] | None = None,
) -> TransportAnalysis:
    """Analyse one run."""
    from ase.data import atomic_masses, atomic_numbers

    from superionic.transport.analysis import analyse_displacements

    return analyse_displacements(
        np.concatenate(positions),
        run.cell_A,
        run.numbers == atomic_numbers[mobile_ion],
        frame_interval_ps,
        temperature_K,
        charge,
        masses=atomic_masses[run.numbers],
        kinds=run.numbers,
        axes=tuple(axes),
        window_ps=None if window_ps is None else (window_ps[0], window_ps[1]),
    )


@dataclass(frozen=True)
class CountedDensity:
    """The density of the mobile ions of one run: the map, and its grid ``(a, b, c)`` with ∫P = 1."""

    map: DensityMap
    probability_per_A3: NDArray[np.float32]


@task(version=4)
def density_task(
    _context: Context, *, grid_spacing_A: float, mobile_ion: str, positions: Sequence[FloatArray], run: Trajectory
) -> CountedDensity:
    """Map where the mobile ions were, relative to the framework."""
    from ase.data import atomic_masses, atomic_numbers, chemical_symbols

    from superionic.transport.density.grid import probability_density
    from superionic.transport.diffusion.msd import remove_drift

    mobile = run.numbers == atomic_numbers[mobile_ion]
    all_positions = np.concatenate(positions)
    if not mobile.all():
        all_positions = remove_drift(all_positions, ~mobile, masses=atomic_masses[run.numbers])
    density = probability_density(all_positions[:, mobile], run.cell_A, grid_spacing_A=grid_spacing_A)
    symbols = [chemical_symbols[number] for number in run.numbers[~mobile]]
    framework = framework_sites(symbols, all_positions[:, ~mobile].mean(axis=0))
    return CountedDensity(DensityMap.of(density, framework), np.asarray(density.probability_per_A3, dtype=np.float32))


@task(version=5)
def arrhenius_task(
    _context: Context,
    *,
    form: ArrheniusForm,
    orderings: Sequence[str],
    report_temperatures_K: Sequence[float],
    runs: Sequence[TransportAnalysis],
    transfer: TransferTerm | None = None,
) -> TemperatureDependence:
    """Average replicas and orderings at each temperature, fit the Arrhenius line, and evaluate σ."""
    return temperature_dependence(
        [RunTransport.of(run, ordering=ordering) for run, ordering in zip(runs, orderings, strict=True)],
        form=form,
        report_temperatures_K=report_temperatures_K,
        transfer=transfer,
    )


@task(version=1)
def arrhenius_of_teachers_task(
    _context: Context,
    *,
    form: ArrheniusForm,
    orderings: Sequence[str],
    report_temperatures_K: Sequence[float],
    runs: Sequence[TransportAnalysis],
    transfer: TransferTerm | None,
    teachers: Sequence[str],
    others: Sequence[TemperatureDependence],
) -> TemperatureDependence:
    """Fit the line of the students of the first teacher, with the scatter of all teachers' lines in its errors."""
    return temperature_dependence(
        [RunTransport.of(run, ordering=ordering) for run, ordering in zip(runs, orderings, strict=True)],
        form=form,
        report_temperatures_K=report_temperatures_K,
        transfer=transfer,
        teacher=teachers[0],
        others=dict(zip(teachers[1:], others, strict=True)),
    )
