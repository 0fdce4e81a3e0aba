"""Fits of a potential to labels: what the stage *train* and the studies of training share.

A fit is a chain: the split with the energy references of its training part, segments of epochs that each continue the
one before bit by bit, and the weights of the best epoch. Any trainer of :mod:`superionic.training.base` does it, in the
environment of its own engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import ChosenPotential, Workbench

DATASET = "superionic.stages.fitting:dataset_task"
DATASET_VERSION = 1
ERRORS = "superionic.stages.fitting:errors_task"
ERRORS_VERSION = 1
PREFLIGHT = "superionic.stages.fitting:preflight_task"
PREFLIGHT_VERSION = 1
_TRAIN_VERSION = 1
_FINISH_VERSION = 1
_DECLARED_VERSION = 1


@dataclass(frozen=True)
class Data:
    """Labelled structures as tasks name them.

    Attributes
    ----------
    structures, labels
        References to structures and to their labels, of equal length.
    """

    structures: Sequence[Ref]
    labels: Sequence[Ref]

    def inputs(self) -> dict[str, Sequence[Ref]]:
        """Give the two as inputs of a task."""
        return {"atoms": self.structures, "labels": self.labels}


def fit(
    bench: Workbench,
    stage: str,
    label: str,
    data: Data,
    dataset: Task,
    pretrained: ChosenPotential,
    *,
    trainer: str,
    options: Mapping[str, Any],
    epochs_per_segment: int,
    seed: int,
    replay: Ref | None = None,
) -> Task:
    """Build the chain of tasks of one fit, and return its last, which gives the weights of the best epoch.

    Parameters
    ----------
    bench
        The workbench.
    stage, label
        What the tasks belong to, and how they are called.
    data
        Structures and labels.
    dataset
        Their split and energy shifts, by :func:`dataset_task`.
    pretrained
        The potential to begin with.
    trainer
        Name of the trainer.
    options
        Its options.
    epochs_per_segment
        Epochs of one task.
    seed
        Seed of the training.
    replay
        Labels of other chemistries for a multi-head training, ``atoms`` and ``targets``.
    """
    from superionic.training.base import FROM_LABELS

    epochs = int(options["epochs"])
    engine = "core" if trainer == FROM_LABELS else pretrained.engine
    segments: list[Task] = []
    for number, first in enumerate(range(0, epochs, epochs_per_segment)):
        inputs: dict[str, Any] = {**data.inputs(), "dataset": Ref(dataset)}
        if replay is not None:
            inputs["replay"] = replay
        if segments:
            inputs["state"] = segments[-1]["state"]
        segments.append(
            bench.task(
                stage,
                f"{label} {number + 1}",
                "superionic.stages.fitting:train_task",
                _TRAIN_VERSION,
                {
                    "n_epochs": min(epochs_per_segment, epochs - first),
                    "options": dict(options),
                    "seed": seed,
                    "trainer": trainer,
                },
                inputs,
                potential=pretrained,
                engine=engine,
            )
        )
    return bench.task(
        stage,
        f"weights of {label}",
        "superionic.stages.fitting:finish_task",
        _FINISH_VERSION,
        {"trainer": trainer, **({"with_replay": True} if replay is not None else {})},
        {"state": segments[-1]["state"]},
        engine=engine,
    )


def declared(
    bench: Workbench,
    stage: str,
    label: str,
    data: Data,
    pretrained: ChosenPotential,
    trainer: str,
    options: Mapping[str, Any],
) -> Task:
    """Build the task that turns the option ``e0s`` into the shift of each element, ``element_references_eV``."""
    return bench.task(
        stage,
        label,
        "superionic.stages.fitting:declared_task",
        _DECLARED_VERSION,
        {"options": dict(options), "trainer": trainer},
        {"atoms": data.structures},
        potential=pretrained,
    )


# ---- task functions -----------------------------------------------------------------------------------------------


def declared_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Find the shifts from the atoms' energies of a potential to those that the options declare."""
    from superionic.training.base import trainer

    potential = settings["potential"]
    chosen: Any = trainer(settings["trainer"])
    shifts = chosen.declared_shifts(
        inputs["atoms"],
        chosen.TrainOptions.from_settings(settings["options"]),
        model=potential["model"],
        file=potential["options"].get("file"),
        weights=inputs.get("weights"),
        **_trust(potential),
    )
    return {"element_references_eV": shifts}


def dataset_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Split the labels (or take the parts as given), and find the energies that bring them to the potential's zero."""
    from dataclasses import replace

    import numpy as np

    from superionic.training.dataset import ElementReferences, Split, composition_of, fit_element_references
    from superionic.training.split import split_in_rounds

    if "parts" in settings:
        given = {name: tuple(settings["parts"][name]) for name in ("train", "validation", "test")}
        split = Split(**given, leak_free=True)
    else:
        split = split_in_rounds(
            settings["groups"],
            settings["rounds"],
            validation_fraction=settings["validation_fraction"],
            test_fraction=settings["test_fraction"],
            seed=settings["seed"],
        )
    compositions = [composition_of(atoms) for atoms in inputs["atoms"]]
    difference = np.array([label["energy_eV"] for label in inputs["labels"]]) - inputs["baseline"]
    trained = [compositions[i] for i in split.train]
    if "declared" in inputs:
        references = ElementReferences(dict(inputs["declared"]), len(inputs["declared"]), 0.0)
        left = difference[list(split.train)] - references.energies_eV(trained)
        left /= np.array([sum(counts.values()) for counts in trained])
        references = replace(references, rms_residual_eV_per_atom=float(np.sqrt(np.mean(left**2))))
    else:
        references = fit_element_references(difference[list(split.train)], trained)
    # An element that no training label has cannot be shifted: its labels would be off by electronvolts.
    shifts = np.full(len(compositions), np.nan)
    for i, counts in enumerate(compositions):
        if set(counts) <= set(references.eV_per_atom):
            shifts[i] = references.energies_eV([counts])[0]
    return {
        "degenerate": bool(references.degenerate),
        "element_references_eV": dict(references.eV_per_atom),
        "leak_free": split.leak_free,
        "notes": list(split.notes),
        "rms_residual_eV_per_atom": references.rms_residual_eV_per_atom,
        "shifts_eV": shifts,
        "test": [int(i) for i in split.test],
        "train": [int(i) for i in split.train],
        "validation": [int(i) for i in split.validation],
    }


def preflight_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Look for what makes a training fail in silence, before it begins."""
    from superionic.training.dataset import Targets
    from superionic.training.preflight import preflight

    split = inputs["dataset"]
    findings = preflight(
        inputs["atoms"],
        inputs["labels"],
        Targets.from_dict(inputs["baseline"]),
        train=split["train"],
        validation=split["validation"],
        test=split["test"],
        groups=settings.get("groups"),
        elements=settings.get("elements"),
        options=settings.get("options", {}),
        with_replay=settings.get("with_replay", False),
    )
    return {"findings": [finding.to_dict() for finding in findings]}


def train_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Train for some epochs, from the pretrained weights or from the state that the segment before left."""
    from dataclasses import replace

    from superionic.training.base import trainer
    from superionic.training.dataset import LabelledSet, Targets

    split, potential = inputs["dataset"], settings["potential"]
    chosen = trainer(settings["trainer"])
    options = chosen.TrainOptions.from_settings(settings["options"])
    file = potential["options"].get("file")

    declares = settings["options"].get("e0s") is not None  # the trainer then takes the same shifts off by itself

    def subset(indices: Sequence[int]) -> LabelledSet:
        return LabelledSet.from_labels(
            [inputs["atoms"][i] for i in indices],
            [inputs["labels"][i] for i in indices],
            energy_shifts_eV=None if declares else [split["shifts_eV"][i] for i in indices],
        )

    if "state" in inputs:
        state = chosen.TrainState.from_dict(inputs["state"])
        if file is not None and hasattr(state, "file"):
            state = replace(state, file=file)
        if state.finished:
            return {"state": state.to_dict()}
    else:
        replay = None
        if "replay" in inputs:
            given = inputs["replay"]
            replay = LabelledSet(
                tuple(given["atoms"]),
                Targets.from_dict(given["targets"]),
                tuple(str(number) for number in range(len(given["atoms"]))),
                "replay",
                "the pretrained model's own",
            )
        state = chosen.start(
            potential["model"],
            file=file,
            weights=inputs.get("weights"),
            seed=settings["seed"],
            options=options,
            train=subset(split["train"]),
            replay=replay,
            **_trust(potential),
        )
    state = chosen.train_epochs(
        state,
        subset(split["train"]),
        subset(split["validation"]) if split["validation"] else None,
        settings["n_epochs"],
        options,
        progress=context.progress,
    )
    return {"state": state.to_dict()}


def finish_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Take the weights of the best epoch out of the last training state."""
    from superionic.training.base import trainer

    state = trainer(settings["trainer"]).TrainState.from_dict(inputs["state"])
    parts = ("train", "validation", *(("replay",) if settings.get("with_replay") else ()))
    history = [
        {"epoch": entry["epoch"], "learning_rate": entry["learning_rate"]}
        | {
            f"{part}_{name}": value
            for part in parts
            for name, value in (entry.get(part) or {}).items()
            if name == "loss" or name.startswith(("mae_", "rmse_"))
        }
        for entry in state.history
    ]
    return {
        "best_epoch": state.best_epoch,
        "best_loss": getattr(state, "best_loss", None),
        "epochs": state.epoch,
        "history": history,
        "notes": list(getattr(state, "notes", ())),
        "weights": dict(state.best_weights),
    }


def errors_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Compute errors on the test set (or, where there is none, on the validation or training set, and say so)."""
    import numpy as np

    from superionic.training.dataset import LabelledSet, Targets
    from superionic.training.metrics import errors, errors_by
    from superionic.units import GPA_PER_EV_PER_A3

    split = inputs["dataset"]
    name = next(part for part in settings.get("sets", ("test", "validation", "train")) if split[part])
    chosen = [i for i in split[name] if np.isfinite(split["shifts_eV"][i])]
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
    kinds = {kind: [values[i] for i in chosen] for kind, values in settings.get("kinds", {}).items()}
    after = {(row["by"], row["value"]): row for row in errors_by(compared["after"], compared["reference"], kinds)}
    before = errors_by(compared["before"], compared["reference"], kinds)
    return {
        "after": errors(compared["after"], compared["reference"]).to_dict(),
        "before": errors(compared["before"], compared["reference"]).to_dict(),
        "by": [
            {"by": row["by"], "value": row["value"], "n_structures": row["n_structures"]}
            | {
                f"{name}_{when}": side[name]
                for name in row
                if name.startswith(("mae_", "rmse_"))
                for when, side in (("before", row), ("after", after[row["by"], row["value"]]))
            }
            for row in before
        ],
        "n_structures": len(chosen),
        "parity": {q: {when: [float(x) for x in v] for when, v in sides.items()} for q, sides in parity.items()},
        "set": name,
    }


def _trust(potential: Mapping[str, Any]) -> dict[str, Any]:
    return {name: potential["options"][name] for name in ("trust_sha256",) if name in potential["options"]}
