"""Stage *train*: fine-tuning of the potential on the accepted labels, in segments of epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.execution.task import Context, Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench
from superionic.stages.predictions import predictions

STAGE = "train"
_DATASET_VERSION = 1
_TRAIN_VERSION = 1
_FINISH_VERSION = 1


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    labelled: Sequence[Candidate],
    pretrained: ChosenPotential,
    round_label: str = "",
) -> StageResult:
    """Fine-tune a potential.

    Parameters
    ----------
    settings
        The ``train`` section.
    bench
        The workbench.
    labelled
        Snapshots with accepted labels; snapshots of one run never come into two of the three sets.
    pretrained
        The universal potential to begin with.
    round_label
        The round that this training ends.

    Returns
    -------
    StageResult
        ``tasks["weights"]`` has the weights of the best epoch, ``tasks["dataset"]`` the split,
        ``tasks["baseline"]`` the predictions of the pretrained potential.
    """
    tail = f" {round_label}" if round_label else ""
    structures = [snapshot.structure for snapshot in labelled]
    labels = [Ref(_label_task(snapshot)) for snapshot in labelled]
    baseline = predictions(bench, STAGE, f"predictions before training{tail}", structures, pretrained)
    dataset = bench.task(
        STAGE,
        f"training set{tail}",
        "superionic.stages.train:dataset_task",
        _DATASET_VERSION,
        {
            "groups": [snapshot.facts["run"] for snapshot in labelled],
            "seed": bench.seed_for(STAGE, "split"),
            "test_fraction": settings["test_fraction"],
            "validation_fraction": settings["validation_fraction"],
        },
        {"atoms": structures, "baseline": baseline["energies_eV"], "labels": labels},
    )
    data = {"atoms": structures, "dataset": Ref(dataset), "labels": labels}
    not_of_the_trainer = ("trainer", "validation_fraction", "test_fraction", "epochs_per_segment")
    options = {name: value for name, value in settings.items() if name not in not_of_the_trainer}
    segments: list[Task] = []
    for number, first in enumerate(range(0, settings["epochs"], settings["epochs_per_segment"])):
        inputs: dict[str, Any] = dict(data)
        if segments:
            inputs["state"] = segments[-1]["state"]
        segments.append(
            bench.task(
                STAGE,
                f"training{tail} {number + 1}",
                "superionic.stages.train:train_task",
                _TRAIN_VERSION,
                {
                    "n_epochs": min(settings["epochs_per_segment"], settings["epochs"] - first),
                    "options": options,
                    "seed": bench.seed_for(STAGE, "training", round_label),
                    "trainer": settings["trainer"],
                },
                inputs,
                potential=pretrained,
            )
        )
    finish = bench.task(
        STAGE,
        f"fine-tuned weights{tail}",
        "superionic.stages.train:finish_task",
        _FINISH_VERSION,
        {},
        {"state": segments[-1]["state"]},
        engine=pretrained.engine,
    )
    finished = bench.runner.one(finish)
    split = bench.runner.one(dataset)
    summary = {
        "best_epoch": finished["best_epoch"],
        "element_references_eV": split["element_references_eV"],
        "element_references_degenerate": split["degenerate"],
        "history": finished["history"],
        "key": finish.key,
        "n_test": len(split["test"]),
        "n_train": len(split["train"]),
        "n_validation": len(split["validation"]),
        "notes": split["notes"],
        "trainer": settings["trainer"],
    }
    return StageResult(summary, tasks={"baseline": baseline, "dataset": dataset, "weights": finish})


def _label_task(snapshot: Candidate) -> Task:
    task: Task = snapshot.facts["label"]
    return task


# ---- task functions -----------------------------------------------------------------------------------------------


def dataset_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Split the labels by run, and find the per-element energies that bring labels to the potential's own zero."""
    import numpy as np

    from superionic.training.dataset import fit_element_references, split_groups

    split = split_groups(
        settings["groups"],
        validation_fraction=settings["validation_fraction"],
        test_fraction=settings["test_fraction"],
        seed=settings["seed"],
    )
    symbols = [atoms.get_chemical_symbols() for atoms in inputs["atoms"]]
    difference = np.array([label["energy_eV"] for label in inputs["labels"]]) - inputs["baseline"]
    references = fit_element_references(
        [difference[i] for i in split.train],
        [{s: symbols[i].count(s) for s in sorted(set(symbols[i]))} for i in split.train],
    )
    return {
        "degenerate": bool(references.degenerate),
        "element_references_eV": dict(references.eV_per_atom),
        "notes": list(split.notes),
        "shifts_eV": np.array([references.shift_eV(symbols_of) for symbols_of in symbols]),
        "test": [int(i) for i in split.test],
        "train": [int(i) for i in split.train],
        "validation": [int(i) for i in split.validation],
    }


def train_task(settings: Mapping[str, Any], inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Train for some epochs, from the pretrained weights or from the state that the segment before left."""
    from superionic.training.chgnet import TrainOptions, TrainState, start, train_epochs
    from superionic.training.dataset import LabelledSet

    split = inputs["dataset"]

    def subset(indices: Sequence[int]) -> LabelledSet:
        return LabelledSet.from_labels(
            [inputs["atoms"][i] for i in indices],
            [inputs["labels"][i] for i in indices],
            energy_shifts_eV=[split["shifts_eV"][i] for i in indices],
        )

    options = TrainOptions(**settings["options"])
    if "state" in inputs:
        state = TrainState.from_dict(inputs["state"])
    else:
        state = start(
            settings["potential"]["model"], weights=inputs.get("weights"), seed=settings["seed"], options=options
        )
    state = train_epochs(
        state,
        subset(split["train"]),
        subset(split["validation"]),
        settings["n_epochs"],
        options,
        progress=context.progress,
    )
    return {"state": state.to_dict()}


def finish_task(_settings: Mapping[str, Any], inputs: Mapping[str, Any], _context: Context) -> dict[str, Any]:
    """Take the weights of the best epoch out of the last training state."""
    from superionic.training.chgnet import TrainState

    state = TrainState.from_dict(inputs["state"])
    history = [
        {"epoch": entry["epoch"], "learning_rate": entry["learning_rate"]}
        | {
            f"{part}_{name}": value
            for part in ("train", "validation")
            for name, value in (entry[part] or {}).items()
            if name == "loss" or name.startswith(("mae_", "rmse_"))
        }
        for entry in state.history
    ]
    return {"best_epoch": state.best_epoch, "history": history, "weights": dict(state.best_weights)}
