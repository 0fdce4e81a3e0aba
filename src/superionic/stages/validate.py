"""Stage *validate*: errors of the fine-tuned and of the pretrained potential on labels that training has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.execution.task import Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench
from superionic.stages.fitting import ERRORS, ERRORS_VERSION
from superionic.stages.predictions import predictions

STAGE = "validate"


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    labelled: Sequence[Candidate],
    tuned: ChosenPotential,
    baseline: Task,
    dataset: Task,
) -> StageResult:
    """Compare predictions before and after training with the labels.

    Parameters
    ----------
    settings
        The ``validate`` section: limits above which the report warns.
    bench
        The workbench.
    labelled
        Snapshots with accepted labels, in the order of the data set.
    tuned
        The fine-tuned potential.
    baseline
        Predictions of the pretrained potential.
    dataset
        The split into sets, and the energy shifts.
    """
    structures = [snapshot.structure for snapshot in labelled]
    after = predictions(bench, STAGE, "predictions after training", structures, tuned)
    task = bench.task(
        STAGE,
        "errors before and after",
        ERRORS,
        ERRORS_VERSION,
        {"kinds": kinds_of(labelled)},
        {
            "after": Ref(after),
            "atoms": structures,
            "baseline": Ref(baseline),
            "dataset": Ref(dataset),
            "labels": [Ref(snapshot.facts["label"]) for snapshot in labelled],
        },
    )
    result = bench.runner.one(task)
    errors = result["after"]
    cautions = [
        f"{name} error {errors[key]:.3g} {unit} is above the limit of {limit:g} {unit}"
        for name, key, unit, limit in (
            ("energy", "mae_energy_meV_per_atom", "meV/atom", settings["max_energy_mae_meV_per_atom"]),
            ("force", "mae_force_meV_per_A", "meV/Å", settings["max_force_mae_meV_per_A"]),
            ("stress", "mae_stress_GPa", "GPa", settings["max_stress_mae_GPa"]),
        )
        if limit is not None and errors[key] is not None and errors[key] > limit
    ]
    return StageResult({**result, "cautions": cautions, "key": task.key})


def kinds_of(labelled: Sequence[Candidate]) -> dict[str, list[str | float | None]]:
    """Sort snapshots by composition, phase and temperature, for errors apart."""
    return {
        "composition": [str(snapshot.composition_label or snapshot.facts["formula"]) for snapshot in labelled],
        "phase": [snapshot.crystal for snapshot in labelled],
        "temperature_K": [snapshot.facts.get("temperature_K") for snapshot in labelled],
    }
