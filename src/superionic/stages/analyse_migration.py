"""Part of the stage *analyse*: where the ions of each run go, as tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from superionic.execution.task import Context, Task
from superionic.stages.base import Candidate, Workbench

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MIGRATION_VERSION = 1
_SYMMETRY_TOLERANCE_A = 0.3


def migration_records(
    stage: str, settings: Mapping[str, Any], bench: Workbench, runs: Sequence[tuple[Candidate, Task]]
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


def migration_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Find sites, jumps, percolation, profiles and van Hove functions of one run."""
    import numpy as np
    from ase.data import atomic_masses, atomic_numbers

    from superionic.errors import AnalysisError
    from superionic.transport.density import FrameworkCentre
    from superionic.transport.migration import Block, analyse_migration

    numbers = np.asarray(inputs["run"]["numbers"])
    cell = np.asarray(inputs["run"]["cell_A"], dtype=np.float64)
    mobile = numbers == atomic_numbers[settings["mobile_ion"]]
    framework = np.flatnonzero(~mobile)
    segments = [np.asarray(part) for part in inputs["positions"]]

    def blocks() -> Iterator[Block]:
        centre = FrameworkCentre(framework, atomic_masses[numbers[framework]]) if len(framework) else None
        for part in segments:
            yield part, cell, None if centre is None else centre.add(part)

    try:
        found = analyse_migration(
            blocks,
            np.flatnonzero(mobile),
            sum(len(part) for part in segments),
            settings["frame_interval_ps"],
            settings["temperature_K"],
            operations=_framework_symmetry(cell, numbers[framework], _mean_framework(blocks(), framework)),
            grid_spacing_A=settings["grid_spacing_A"],
        )
    except AnalysisError as error:  # a run too short to show sites is no reason to lose its diffusivity
        return {"flags": [f"No sites: {error.message}"]}
    record = found.to_dict()
    record["tracer_factor"] = _tracer_factor(inputs["tracer_diffusivity_cm2_per_s"]["value"], record)
    return record


def _mean_framework(blocks: Iterator[Any], framework: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    total, count = np.zeros((len(framework), 3)), 0
    for positions, _, drift in blocks:
        total += positions[:, framework].sum(axis=0, dtype=np.float64)
        total -= 0.0 if drift is None else drift.sum(axis=0)
        count += len(positions)
    return np.asarray(total / max(count, 1), dtype=np.float64)


def _framework_symmetry(
    cell_A: NDArray[np.float64], numbers: NDArray[np.int64], positions_A: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Operations of the mean framework, which make equivalent sites one kind; None where it has no symmetry."""
    import numpy as np

    from superionic.errors import StructureError
    from superionic.structures.symmetry import find_symmetry

    if len(numbers) == 0:
        return None
    try:
        found = find_symmetry(
            cell_A, positions_A @ np.linalg.inv(cell_A), numbers.tolist(), symprec=_SYMMETRY_TOLERANCE_A
        )
    except StructureError:
        return None
    return np.asarray(found.rotations), np.asarray(found.translations)


def _tracer_factor(tracer: float | None, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """D*/D_J, without an error of its own: both come from one run, and the error of D* is known beside it."""
    jump = record["jump_diffusivity_cm2_per_s"]["value"]
    return {"value": tracer / jump} if tracer is not None and jump else None
