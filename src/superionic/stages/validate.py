"""Stage *validate*: errors of the fine-tuned and of the pretrained potential on labels that training has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench
from superionic.stages.predictions import predictions

STAGE = "validate"
_VALIDATE_VERSION = 1


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
        "superionic.stages.validate:validate_task",
        _VALIDATE_VERSION,
        {},
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


def validate_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compute errors on the test set (or, where there is none, on the validation or training set, and say so)."""
    import numpy as np

    from superionic.training.dataset import LabelledSet, Targets
    from superionic.training.metrics import errors
    from superionic.units import GPA_PER_EV_PER_A3

    split = inputs["dataset"]
    name = next(part for part in ("test", "validation", "train") if split[part])
    chosen = split[name]
    compared = {
        "reference": LabelledSet.from_labels(
            inputs["atoms"], inputs["labels"], energy_shifts_eV=split["shifts_eV"]
        ).targets.subset(chosen),
        "before": Targets.from_dict(inputs["baseline"]).subset(chosen),
        "after": Targets.from_dict(inputs["after"]).subset(chosen),
    }
    parity = {
        "energy_eV_per_atom": {when: t.energies_eV / t.n_atoms for when, t in compared.items()},
        "force_eV_per_A": {when: np.concatenate(t.forces_eV_per_A).ravel() for when, t in compared.items()},
        "stress_GPa": {when: t.stresses_eV_per_A3.ravel() * GPA_PER_EV_PER_A3 for when, t in compared.items()},
    }
    return {
        "after": errors(compared["after"], compared["reference"]).to_dict(),
        "before": errors(compared["before"], compared["reference"]).to_dict(),
        "n_structures": len(chosen),
        "parity": {q: {when: [float(x) for x in v] for when, v in sides.items()} for q, sides in parity.items()},
        "set": name,
    }
