"""Stage *train*: fine-tuning of the potential on the accepted labels, in segments of epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from superionic.errors import StageError
from superionic.execution.task import Ref, Task
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench
from superionic.stages.fitting import DATASET, DATASET_VERSION, PREFLIGHT, PREFLIGHT_VERSION, Data, declared, fit
from superionic.stages.predictions import predictions
from superionic.stages.replay import replay_data

STAGE = "train"
_NOT_OF_THE_TRAINER = (
    "trainer",
    "split_by",
    "validation_fraction",
    "test_fraction",
    "epochs_per_segment",
    "options",
    "preflight",
    "replay",
)


def run(
    settings: Mapping[str, Any],
    bench: Workbench,
    labelled: Sequence[Candidate],
    pretrained: ChosenPotential,
    round_label: str = "",
    ranked: Sequence[Candidate] = (),
) -> StageResult:
    """Fine-tune a potential.

    Parameters
    ----------
    settings
        The ``train`` section.
    bench
        The workbench.
    labelled
        Snapshots with accepted labels of all rounds so far; snapshots of one run never come into two of the three sets,
        and what was held out in a round is held out in all later ones.
    pretrained
        The universal potential to begin with.
    round_label
        The round that this training ends.
    ranked
        Orderings and reference phases of the ranking, which ``replay: foundation`` goes on learning.

    Returns
    -------
    StageResult
        ``tasks["weights"]`` has the weights of the best epoch, ``tasks["dataset"]`` the split,
        ``tasks["baseline"]`` the predictions of the pretrained potential; where the settings ask for them,
        ``tasks["replay"]`` the replay data and ``tasks["declared"]`` the energy shifts that ``e0s`` declares.

    Raises
    ------
    StageError
        If the pre-flight finds what would spoil the training.
    """
    from superionic.training.base import FOUNDATION

    tail = f" {round_label}" if round_label else ""
    data = Data([snapshot.structure for snapshot in labelled], [Ref(_label_task(snapshot)) for snapshot in labelled])
    trainer, options = options_for(settings, pretrained)
    groups = [group_of(snapshot, settings["split_by"]) for snapshot in labelled]
    baseline = predictions(bench, STAGE, f"predictions before training{tail}", data.structures, pretrained)
    made = {"baseline": baseline}
    if options.get("e0s") is not None:
        made["declared"] = declared(bench, STAGE, f"declared energies{tail}", data, pretrained, trainer, options)
    if settings.get("replay") is not None:
        by_foundation = options.get("replay_labels") == FOUNDATION
        made["replay"] = replay_data(settings["replay"], bench, STAGE, pretrained, ranked, by_foundation=by_foundation)
    replay = {"with_replay": True} if "replay" in made else {}
    dataset = bench.task(
        STAGE,
        f"training set{tail}",
        DATASET,
        DATASET_VERSION,
        {
            "groups": groups,
            "rounds": rounds_of(labelled),
            "seed": bench.seed_for(STAGE, "split"),
            "test_fraction": settings["test_fraction"],
            "validation_fraction": settings["validation_fraction"],
        },
        {**data.inputs(), **frame(made)},
    )
    checked = bench.task(
        STAGE,
        f"pre-flight{tail}",
        PREFLIGHT,
        PREFLIGHT_VERSION,
        {"elements": list(pretrained.identity.elements), "groups": groups, "options": options, **replay},
        {**data.inputs(), "baseline": Ref(baseline), "dataset": Ref(dataset)},
    )
    findings = bench.runner.one(checked)["findings"]
    wrong = [finding for finding in findings if finding["severity"] == "error"]
    if wrong and settings["preflight"] == "stop":
        raise StageError(
            "the labels would spoil the training: " + "; ".join(f"{f['name']}: {f['evidence']}" for f in wrong),
            where=f"{STAGE}: pre-flight{tail}",
            fix=f"{wrong[0]['fix']} If the labels are right all the same, set `train.preflight: warn`.",
        )
    finish = fit(
        bench,
        STAGE,
        f"training{tail}",
        data,
        dataset,
        pretrained,
        trainer=trainer,
        options=options,
        epochs_per_segment=settings["epochs_per_segment"],
        seed=bench.seed_for(STAGE, "training", round_label),
        replay=replay_of(made),
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
        "notes": [
            *split["notes"],
            *finished["notes"],
            *(f"Pre-flight: {f['name']}: {f['evidence']}" for f in findings),
        ],
        "preflight": findings,
        "split_by": settings["split_by"],
        "trainer": trainer,
    }
    if "replay" in made:
        summary["n_replay"] = bench.runner.one(made["replay"])["n"]
    return StageResult(summary, tasks={**made, "dataset": dataset, "weights": finish})


def options_for(settings: Mapping[str, Any], pretrained: ChosenPotential) -> tuple[str, dict[str, Any]]:
    """Name the trainer of a potential, and choose its options out of the ``train`` section.

    Raises
    ------
    CampaignFileError
        If there is none, or an option is impossible.
    """
    from superionic.training.base import FOUNDATION, options_of

    name = settings["trainer"] or str(pretrained.settings["name"])
    shared = {key: value for key, value in settings.items() if key not in _NOT_OF_THE_TRAINER}
    # A file with several heads or levels of theory is trained in the one in which it sampled.
    shared["modal"] = pretrained.settings["options"].get("modal")
    if settings.get("replay") == FOUNDATION:
        shared["replay_labels"] = FOUNDATION
    return name, options_of(name, shared, settings.get("options"))


def frame(tasks: Mapping[str, Task]) -> dict[str, Ref]:
    """Take what brings labels to the potential's zero of energy out of the tasks of a training, as inputs."""
    found = {"baseline": tasks["baseline"]["energies_eV"]}
    return {**found, "declared": tasks["declared"]["element_references_eV"]} if "declared" in tasks else found


def replay_of(tasks: Mapping[str, Task]) -> Ref | None:
    """Take the replay data out of the tasks of a training; None where it has none."""
    return Ref(tasks["replay"]) if "replay" in tasks else None


def group_of(snapshot: Candidate, split_by: str) -> str:
    """Name what a snapshot must stay together with: its run, its ordering, or its composition."""
    facts = snapshot.facts
    if split_by == "composition":
        return snapshot.composition_label or str(facts["formula"])
    if split_by == "ordering":
        # A run is called by its ordering, its temperature and its replica.
        return str(facts.get("ordering") or str(facts["run"]).rsplit(f" {facts['temperature_K']:g} K", 1)[0])
    return str(facts["run"])


def rounds_of(labelled: Sequence[Candidate]) -> list[int]:
    """Give each snapshot the number of its round; rungs of a ladder are told apart by their temperatures."""
    if all("round" in snapshot.facts for snapshot in labelled):
        return [int(snapshot.facts["round"]) for snapshot in labelled]
    temperatures = dict.fromkeys(float(snapshot.facts["temperature_K"]) for snapshot in labelled)
    number = {temperature: position for position, temperature in enumerate(temperatures)}
    return [number[float(snapshot.facts["temperature_K"])] for snapshot in labelled]


def _label_task(snapshot: Candidate) -> Task:
    task: Task = snapshot.facts["label"]
    return task
