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
        if limit is not None and errors[key] > limit
    ]
    return StageResult({**result, "cautions": cautions, "key": task.key})


def validate_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compute errors on the test set (or, where there is none, on the validation or training set, and say so)."""
    import numpy as np

    from superionic.training.metrics import errors
    from superionic.units import GPA_PER_EV_PER_A3

    split = inputs["dataset"]
    name = next(part for part in ("test", "validation", "train") if split[part])
    chosen = split[name]
    n_atoms = np.array([len(inputs["atoms"][i]) for i in chosen])
    labels = [inputs["labels"][i] for i in chosen]
    reference = {
        "energies_eV": np.array([label["energy_eV"] for label in labels]) - split["shifts_eV"][chosen],
        "forces_eV_per_A": [label["forces_eV_per_A"] for label in labels],
        "stresses_eV_per_A3": np.array([label["stress_eV_per_A3"] for label in labels]),
    }

    def pick(made: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "energies_eV": made["energies_eV"][chosen],
            "forces_eV_per_A": [made["forces_eV_per_A"][i] for i in chosen],
            "stresses_eV_per_A3": made["stresses_eV_per_A3"][chosen],
        }

    compared = {"before": pick(inputs["baseline"]), "after": pick(inputs["after"]), "reference": reference}
    metrics = {
        when: errors(
            compared[when]["energies_eV"],
            reference["energies_eV"],
            compared[when]["forces_eV_per_A"],
            reference["forces_eV_per_A"],
            compared[when]["stresses_eV_per_A3"],
            reference["stresses_eV_per_A3"],
            n_atoms,
        ).to_dict()
        for when in ("before", "after")
    }
    parity = {
        "energy_eV_per_atom": {when: values["energies_eV"] / n_atoms for when, values in compared.items()},
        "force_eV_per_A": {
            when: np.concatenate([np.ravel(f) for f in values["forces_eV_per_A"]]) for when, values in compared.items()
        },
        "stress_GPa": {
            when: np.ravel(values["stresses_eV_per_A3"]) * GPA_PER_EV_PER_A3 for when, values in compared.items()
        },
    }
    return {
        **metrics,
        "n_structures": len(chosen),
        "parity": {q: {when: [float(x) for x in v] for when, v in sides.items()} for q, sides in parity.items()},
        "set": name,
    }
