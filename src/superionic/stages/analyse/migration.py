"""Part of the stage *analyse*: migration of the ions in each run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import Context, task
from superionic.results.transport import MigrationRecord
from superionic.stages.base import (
    CrystalText,
    FloatArray,
    Trajectory,
    TransportRun,
    Workbench,
    failures_of,
    read_parent,
)
from superionic.transport.analysis import TransportAnalysis
from superionic.transport.estimate import Estimate
from superionic.transport.sites.migration_summary import MigrationSummary

if TYPE_CHECKING:
    from superionic.settings.analyse import AnalyseSettings
    from superionic.structures.crystal.disordered import DisorderedCrystal
    from superionic.transport.sites.migration import Block

KNOWN_AS = "superionic.stages.analyse_migration"  # its name in keys, from before it moved here
_GRID_A = 0.3


def migration_records(
    settings: AnalyseSettings,
    bench: Workbench,
    runs: Sequence[tuple[TransportRun, Outcome[TransportAnalysis]]],
    crystals: Mapping[str, CrystalText],
) -> tuple[tuple[MigrationRecord, ...], tuple[Failure, ...]]:
    """Analyse migration in each run; return the records and the failures. Flags say why a record lacks a migration.

    Parameters
    ----------
    settings
        The ``analyse`` section.
    runs
        Runs of the stage *transport*, each with the outcome of its analysis.
    crystals
        The crystals of the campaign, whose sites are used if ``sites`` is *crystal*.
    """
    if settings.sites == "none":
        return (), ()
    anions = sorted(element for element, charge in bench.oxidation_states.items() if charge < 0.0)
    tasks = []
    for each, analysed in runs:
        crystal = crystals.get(each.run.ordering.material.crystal) if settings.sites == "crystal" else None
        call = migration_task.of(
            frame_interval_ps=each.frame_interval_ps,
            grid_spacing_A=settings.density_grid_A or _GRID_A,
            mobile_ion=bench.mobile_ion,
            temperature_K=each.run.temperature_K,
            positions=each.positions_A,
            run=each.trajectory,
            tracer_diffusivity_cm2_per_s=analysed.task.result.tracer_diffusivity_cm2_per_s,
            crystal=crystal,
            anions=anions,
        )
        tasks.append(bench.task(f"sites and jumps in {each.run.label}", call))
    outcomes = bench.runner.gather(tasks)
    records = tuple(
        MigrationRecord(each.run, followed.task.key, followed.value.migration, followed.value.flags)
        for (each, _), followed in zip(runs, outcomes, strict=True)
        if followed.ok
    )
    return records, failures_of(outcomes)


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MigrationOfRun:
    """Migration in a run, None if it could not be determined, with cautions in sentences."""

    migration: MigrationSummary | None
    flags: tuple[str, ...]


@task(version=7)
def migration_task(
    context: Context,
    *,
    frame_interval_ps: float,
    grid_spacing_A: float,
    mobile_ion: str,
    temperature_K: float,
    positions: Sequence[FloatArray],
    run: Trajectory,
    tracer_diffusivity_cm2_per_s: Estimate,
    crystal: CrystalText | None = None,
    anions: Sequence[str] = (),
) -> MigrationOfRun:
    """Locate sites, jumps, percolation, profiles and van Hove functions of one run."""
    from ase.data import atomic_masses, atomic_numbers, chemical_symbols

    from superionic.errors import AnalysisError
    from superionic.trajectories.crystal_sites import crystal_sites, framework_symmetry, mean_places, summary_of
    from superionic.transport.density.grid import FrameworkCentre
    from superionic.transport.sites.migration import analyse_migration

    cell = np.asarray(run.cell_A, dtype=np.float64)
    mobile = run.numbers == atomic_numbers[mobile_ion]
    framework = np.flatnonzero(~mobile)
    symbols = [chemical_symbols[number] for number in run.numbers[framework]]

    def blocks() -> Iterator[Block]:
        centre = FrameworkCentre(framework, atomic_masses[run.numbers[framework]]) if len(framework) else None
        for part in positions:
            yield part, cell, None if centre is None else centre.add(part)

    mean_positions = mean_places(blocks(), framework)
    known = None
    flags: list[str] = []
    if crystal is not None:
        try:
            known = crystal_sites(_crystal(crystal, context), (mobile_ion,), cell, symbols, mean_positions)
        except AnalysisError as error:  # an ordering that relaxed away from its crystal still has a density
            flags.append(f"Sites are those of the density, for the crystal's do not fit: {error.message}")
    try:
        migration = analyse_migration(
            blocks,
            np.flatnonzero(mobile),
            sum(len(part) for part in positions),
            frame_interval_ps,
            temperature_K,
            sites=None if known is None else known.sites,
            operations=framework_symmetry(cell, symbols, mean_positions) if known is None else known.operations,
            anions_A=mean_positions[np.isin(symbols, anions)],
            grid_spacing_A=grid_spacing_A,
        )
    except AnalysisError as error:  # a run too short to show sites still has a diffusivity
        return MigrationOfRun(None, (*flags, f"No sites: {error.message}"))
    summary = summary_of(migration, tracer_diffusivity_cm2_per_s, known)
    return MigrationOfRun(summary, (*flags, *summary.flags))


def _crystal(crystal: CrystalText, context: Context) -> DisorderedCrystal:
    """Return the campaign's crystal; substituted elements do not matter for its sites."""
    from superionic.structures.crystal.occupancies import with_occupancies

    parsed = read_parent(crystal.file_name, crystal.text, context)
    return with_occupancies(parsed, crystal.occupancies) if crystal.occupancies else parsed
