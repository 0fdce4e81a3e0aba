"""Stage *train*: fine-tuning of the potential on the accepted labels, in segments of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from superionic.errors import StageError
from superionic.execution.task import Task
from superionic.results.learning import CommitteeMember, TrainResult
from superionic.stages.base import Candidate, ChosenPotential, Snapshot, Weights, Workbench
from superionic.stages.fitting import Data, Dataset, Shifts, Trained, Training, dataset_task, declared_task
from superionic.stages.predictions import predictions
from superionic.stages.replay import replay_data
from superionic.training.dataset import LabelledSet, Split

if TYPE_CHECKING:
    from superionic.settings.train import TrainSettings

_NOT_OF_THE_TRAINER = {
    "trainer",
    "split_by",
    "validation_fraction",
    "test_fraction",
    "epochs_per_segment",
    "options",
    "preflight",
    "preset",
    "replay",
}


@dataclass(frozen=True)
class TrainOutput:
    """The output of the stage.

    Attributes
    ----------
    weights
        Weights of the best epoch of each committee member; the first is the potential.
    dataset
        The split of the labels, and their shifts.
    training
        The training data.
    """

    result: TrainResult
    weights: tuple[Weights, ...]
    dataset: Task[Dataset]
    training: Training


def run(
    settings: TrainSettings,
    bench: Workbench,
    labelled: Sequence[Snapshot],
    pretrained: ChosenPotential,
    round_label: str = "",
    ranked: Sequence[Candidate] = (),
    *,
    number: int = 1,
    members: int = 1,
) -> TrainOutput:
    """Fine-tune a potential.

    Parameters
    ----------
    settings
        The ``train`` section.
    labelled
        Snapshots with accepted labels of all rounds so far; snapshots of one run are never divided between the three
        sets, and those held out in one round are held out in all later ones.
    pretrained
        The universal potential to start from.
    round_label
        The round that this training ends.
    ranked
        Orderings and reference phases of the ranking, which ``replay: foundation`` keeps training on.
    members
        Number of potentials to train; several form a committee.

    Raises
    ------
    StageError
        If the pre-flight check detects a problem that would spoil the training.
    """
    bench = bench.at("train")
    from superionic.training.base import FOUNDATION

    tail = f" {round_label}" if round_label else ""
    data = Data.of(labelled)
    trainer, options = options_for(settings, pretrained)
    replay: Task[LabelledSet] | None = None
    if settings.replay is not None:
        by_foundation = options.get("replay_labels") == FOUNDATION
        replay = replay_data(settings.replay, bench, pretrained, ranked, by_foundation=by_foundation)
    declared: Task[Shifts] | None = None
    if options.get("e0s") is not None:
        declaration = declared_task.of(potential=pretrained, trainer=trainer, options=options, atoms=data.atoms)
        declared = bench.task(f"declared energies{tail}", declaration)
    baseline = predictions(bench, f"predictions before training{tail}", data.atoms, pretrained)
    training = Training(bench, pretrained, trainer, data, baseline, declared)
    groups = [group_of(snapshot, settings.split_by) for snapshot in labelled]
    dataset = bench.task(
        f"training set{tail}",
        dataset_task.of(
            data=data,
            baseline=baseline.result.energies_eV,
            declared=None if declared is None else declared.result.element_references_eV,
            groups=groups,
            rounds=[snapshot.round for snapshot in labelled],
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=bench.seed_for("split"),
        ),
    )
    checked = training.checked(f"pre-flight{tail}", dataset, groups, options, with_replay=replay is not None)
    findings = bench.runner.one(checked).findings
    wrong = [finding for finding in findings if finding.severity == "error"]
    if wrong and settings.preflight == "stop":
        raise StageError(
            "the labels would spoil the training: " + "; ".join(f"{f.name}: {f.evidence}" for f in wrong),
            where=f"{bench.stage}: pre-flight{tail}",
            fix=f"{wrong[0].fix} If the labels are right nevertheless, set `train.preflight: warn`.",
        )

    def fitted(label: str, dataset: Task[Dataset], seed: int) -> Task[Trained]:
        extra, each = None if replay is None else replay.result, settings.epochs_per_segment
        return training.fit(label, dataset, options, epochs_per_segment=each, seed=seed, replay=extra)

    first = fitted(f"training{tail}", dataset, bench.seed_for("training", round_label))
    finished = bench.runner.one(first)
    divided = bench.runner.one(dataset)
    further = []
    for member in range(2, members + 1):
        word = f"member {member} {round_label}".strip()
        own = _split_of_member(settings, bench, groups, divided.split, member)
        seed = bench.seed_for("training of a member", member, round_label)
        further.append(fitted(f"training of {word}", training.divided(f"training set of {word}", own), seed))
    ended = [outcome.value for outcome in bench.runner.gather(further)]
    result = TrainResult(
        round=number,
        trainer=trainer,
        key=first.key,
        best_epoch=finished.best_epoch,
        history=finished.history,
        members=tuple(
            CommitteeMember(position, trained.best_epoch, member.key)
            for position, (member, trained) in enumerate(zip(further, ended, strict=True), 2)
        ),
        element_references=divided.element_references,
        n_train=len(divided.split.train),
        n_validation=len(divided.split.validation),
        n_test=len(divided.split.test),
        n_replay=None if replay is None else len(bench.runner.one(replay)),
        split_by=settings.split_by,
        notes=(
            *divided.split.notes,
            *finished.notes,
            *(f"Pre-flight: {finding.name}: {finding.evidence}" for finding in findings),
        ),
        preflight=findings,
    )
    weights = tuple(member.result.weights for member in (first, *further))
    return TrainOutput(result, weights, dataset, training)


def options_for(settings: TrainSettings, pretrained: ChosenPotential) -> tuple[str, dict[str, Any]]:
    """Return the name of a potential's trainer, and its options from the ``train`` section.

    Raises
    ------
    CampaignFileError
        If there is no trainer, or an option is invalid.
    """
    from superionic.training.base import FOUNDATION, options_of

    name = settings.trainer or pretrained.identity.name
    shared = settings.model_dump(mode="json", exclude=_NOT_OF_THE_TRAINER)
    # A file with several heads or levels of theory is trained in the one that sampled.
    shared |= {"modal": pretrained.options.get("modal")}
    if settings.replay == FOUNDATION:
        shared |= {"replay_labels": FOUNDATION}
    return name, options_of(name, shared, settings.options)


def group_of(snapshot: Snapshot, split_by: str) -> str:
    """Return the name of a snapshot's group, which the split never divides: its run, ordering or composition."""
    if split_by == "composition":
        return snapshot.composition
    if split_by == "ordering" and snapshot.ordering is not None:
        return snapshot.ordering.id
    return snapshot.run


def _split_of_member(
    settings: TrainSettings, bench: Workbench, groups: Sequence[str], split: Split, member: int
) -> Split:
    """Divide the labels for a further committee member: another split, but the same test set.

    Each member is validated on different runs, so that members disagree where the labels leave freedom; none of them is
    trained on the test set of the first.
    """
    from superionic.training.committee import member_split

    rest = [index for index in range(len(groups)) if index not in set(split.test)]
    seed = bench.seed_for("split of a member", member)
    own = member_split([groups[index] for index in rest], settings.validation_fraction, seed)
    train, validation = (tuple(rest[index] for index in part) for part in (own.train, own.validation))
    return Split(train=train, validation=validation, test=split.test, leak_free=True)
