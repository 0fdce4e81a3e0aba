"""Part of the stage *analyse*: where the ions of each run go, as tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superionic.execution.task import Context, Task
from superionic.stages.base import Candidate, Workbench

if TYPE_CHECKING:
    from superionic.structures.disordered import DisorderedCrystal

_MIGRATION_VERSION = 2


def migration_records(
    stage: str,
    settings: Mapping[str, Any],
    bench: Workbench,
    runs: Sequence[tuple[Candidate, Task]],
    crystals: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Analyse where the ions of each run go; what could not be analysed has the reason among its flags.

    Parameters
    ----------
    stage
        Name of the stage that the tasks belong to.
    settings
        The ``analyse`` section.
    runs
        Runs of the stage *transport*, each with the task that found its diffusivities.
    crystals
        For each crystal ``file_name``, ``text`` and ``occupancies`` of the campaign, whose sites are taken where
        ``sites`` is *crystal*.
    """
    if settings["sites"] == "none":
        return []
    tasks = [
        bench.task(
            stage,
            f"sites and jumps in {run.id}",
            "superionic.stages.analyse_migration:migration_task",
            _MIGRATION_VERSION,
            {
                "frame_interval_ps": run.facts["frame_interval_ps"],
                "grid_spacing_A": settings["density_grid_A"] or 0.3,
                "mobile_ion": bench.mobile_ion,
                "temperature_K": run.facts["temperature_K"],
                **(
                    {"crystal": dict(crystals[run.crystal])}
                    if settings["sites"] == "crystal" and run.crystal in crystals
                    else {}
                ),
            },
            {
                "positions": run.facts["positions"],
                "run": run.structure,
                "tracer_diffusivity_cm2_per_s": task["tracer_diffusivity_cm2_per_s"],
            },
        )
        for run, task in runs
    ]
    return [
        {
            **outcome.value,
            "crystal": run.crystal,
            "id": run.facts["ordering"],
            "key": task.key,
            "run": run.id,
            "temperature_K": run.facts["temperature_K"],
        }
        for (run, _), task, outcome in zip(runs, tasks, bench.runner.gather(tasks), strict=True)
        if outcome.ok
    ]


# ---- task functions -----------------------------------------------------------------------------------------------


def migration_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Find sites, jumps, percolation, profiles and van Hove functions of one run."""
    import numpy as np
    from ase.data import atomic_masses, atomic_numbers, chemical_symbols

    from superionic.dynamics.crystal_sites import crystal_sites, framework_symmetry, mean_places
    from superionic.errors import AnalysisError
    from superionic.transport.density import FrameworkCentre
    from superionic.transport.migration import Block, analyse_migration

    numbers = np.asarray(inputs["run"]["numbers"])
    cell = np.asarray(inputs["run"]["cell_A"], dtype=np.float64)
    mobile = numbers == atomic_numbers[settings["mobile_ion"]]
    framework = np.flatnonzero(~mobile)
    symbols = [chemical_symbols[number] for number in numbers[framework]]
    segments = [np.asarray(part) for part in inputs["positions"]]

    def blocks() -> Iterator[Block]:
        centre = FrameworkCentre(framework, atomic_masses[numbers[framework]]) if len(framework) else None
        for part in segments:
            yield part, cell, None if centre is None else centre.add(part)

    places = mean_places(blocks(), framework)
    known, flags = None, []
    if "crystal" in settings:
        try:
            crystal = _crystal(settings["crystal"], context)
            known = crystal_sites(crystal, (settings["mobile_ion"],), cell, symbols, places)
        except AnalysisError as error:  # an ordering that relaxed away from its crystal still has a density
            flags.append(f"Sites are those of the density, for the crystal's do not fit: {error.message}")
    operations = framework_symmetry(cell, symbols, places) if known is None else known.operations
    try:
        found = analyse_migration(
            blocks,
            np.flatnonzero(mobile),
            sum(len(part) for part in segments),
            settings["frame_interval_ps"],
            settings["temperature_K"],
            sites=None if known is None else known.sites,
            operations=operations,
            grid_spacing_A=settings["grid_spacing_A"],
        )
    except AnalysisError as error:  # a run too short to show sites is no reason to lose its diffusivity
        return {"flags": [*flags, f"No sites: {error.message}"]}
    record = found.to_dict() if known is None else known.described(found.to_dict())
    record["flags"] = flags + record["flags"]
    record["tracer_factor"] = _tracer_factor(inputs["tracer_diffusivity_cm2_per_s"]["value"], record)
    return record


def _crystal(settings: Mapping[str, Any], context: Context) -> DisorderedCrystal:
    """Return the campaign's crystal; elements that the run has in place of its own do not matter for the sites."""
    from superionic.stages.ordering_spaces import parent_crystal
    from superionic.structures.occupancies import with_occupancies

    crystal = parent_crystal({**settings, "substitutions": {}}, context)
    return with_occupancies(crystal, settings["occupancies"]) if settings["occupancies"] else crystal


def _tracer_factor(tracer: float | None, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """D*/D_J, without an error of its own: both come from one run, and the error of D* is known beside it."""
    jump = record["jump_diffusivity_cm2_per_s"]["value"]
    return {"value": tracer / jump} if tracer is not None and jump else None
