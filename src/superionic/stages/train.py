"""Stage *train*: fine-tuning of the potential on the accepted labels, in segments of epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from superionic.errors import StageError
from superionic.execution.task import Task
from superionic.results.learning import CommitteeMember, TrainResult
from superionic.stages.base import Candidate, ChosenPotential, Snapshot, Weights, Workbench
from superionic.stages.fitting import (
    Data,
    Dataset,
    Shifts,
    Trained,
    dataset_task,
    declared_task,
    divided_task,
    fit,
    preflight_task,
)
from superionic.stages.predictions import predictions
from superionic.stages.replay import replay_data
from superionic.training.dataset import LabelledSet, Split, Targets

if TYPE_CHECKING:
    from superionic.settings.train import TrainSettings

STAGE = "train"
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
    """What a training gives.

    Attributes
    ----------
    result
        For the report.
    weights
        Weights of the best epoch, of each member of the committee; the first is the potential.
    dataset
        The split of the labels, and their shifts.
    baseline
        Predictions of the pretrained potential.
    """

    result: TrainResult
    weights: tuple[Weights, ...]
    dataset: Task[Dataset]
    baseline: Task[Targets]


@dataclass(frozen=True)
class _Training:
    """What all members of a committee have in common."""

    settings: TrainSettings
    bench: Workbench
    data: Data
    pretrained: ChosenPotential
    trainer: str
    options: Mapping[str, Any]
    groups: Sequence[str]
    baseline: Task[Targets]
    declared: Task[Shifts] | None
    replay: Task[LabelledSet] | None

    def fit(self, label: str, dataset: Task[Dataset], seed: int) -> Task[Trained]:
        """Build one fit."""
        return fit(
            self.bench,
            STAGE,
            label,
            self.data,
            dataset,
            self.pretrained,
            trainer=self.trainer,
            options=self.options,
            epochs_per_segment=self.settings.epochs_per_segment,
            seed=seed,
            replay=None if self.replay is None else self.replay.result,
        )


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
    number
        Number of the round.
    members
        Potentials that are trained, a committee if several.

    Raises
    ------
    StageError
        If the pre-flight finds what would spoil the training.
    """
    from superionic.training.base import FOUNDATION

    tail = f" {round_label}" if round_label else ""
    data = Data.of(labelled)
    trainer, options = options_for(settings, pretrained)
    replay: Task[LabelledSet] | None = None
    if settings.replay is not None:
        by_foundation = options.get("replay_labels") == FOUNDATION
        replay = replay_data(settings.replay, bench, STAGE, pretrained, ranked, by_foundation=by_foundation)
    declared: Task[Shifts] | None = None
    if options.get("e0s") is not None:
        declares = declared_task.of(potential=pretrained, trainer=trainer, options=options, atoms=data.structures)
        declared = bench.task(STAGE, f"declared energies{tail}", declares)
    training = _Training(
        settings,
        bench,
        data,
        pretrained,
        trainer,
        options,
        [group_of(snapshot, settings.split_by) for snapshot in labelled],
        predictions(bench, STAGE, f"predictions before training{tail}", data.structures, pretrained),
        declared,
        replay,
    )
    dataset = bench.task(
        STAGE,
        f"training set{tail}",
        dataset_task.of(
            atoms=data.structures,
            labels=data.labels,
            baseline=training.baseline.result.energies_eV,
            declared=None if declared is None else declared.result.element_references_eV,
            groups=training.groups,
            rounds=[snapshot.round for snapshot in labelled],
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
            seed=bench.seed_for(STAGE, "split"),
        ),
    )
    checked = bench.task(
        STAGE,
        f"pre-flight{tail}",
        preflight_task.of(
            atoms=data.structures,
            labels=data.labels,
            baseline=training.baseline.result,
            dataset=dataset.result,
            groups=training.groups,
            elements=pretrained.identity.elements,
            options=options,
            with_replay=replay is not None,
        ),
    )
    findings = bench.runner.one(checked).findings
    wrong = [finding for finding in findings if finding.severity == "error"]
    if wrong and settings.preflight == "stop":
        raise StageError(
            "the labels would spoil the training: " + "; ".join(f"{f.name}: {f.evidence}" for f in wrong),
            where=f"{STAGE}: pre-flight{tail}",
            fix=f"{wrong[0].fix} If the labels are right all the same, set `train.preflight: warn`.",
        )
    first = training.fit(f"training{tail}", dataset, bench.seed_for(STAGE, "training", round_label))
    finished = bench.runner.one(first)
    divided = bench.runner.one(dataset)
    further = _further_members(training, divided.split, members, round_label)
    result = TrainResult(
        round=number,
        trainer=trainer,
        key=first.key,
        best_epoch=finished.best_epoch,
        history=finished.history,
        members=tuple(
            CommitteeMember(position, bench.runner.one(member).best_epoch, member.key)
            for position, member in enumerate(further, 2)
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
    return TrainOutput(result, weights, dataset, training.baseline)


def options_for(settings: TrainSettings, pretrained: ChosenPotential) -> tuple[str, dict[str, Any]]:
    """Name the trainer of a potential, and choose its options out of the ``train`` section.

    Raises
    ------
    CampaignFileError
        If there is none, or an option is impossible.
    """
    from superionic.training.base import FOUNDATION, options_of

    name = settings.trainer or pretrained.identity.name
    shared = settings.model_dump(mode="json", exclude=_NOT_OF_THE_TRAINER)
    # A file with several heads or levels of theory is trained in the one in which it sampled.
    shared |= {"modal": pretrained.options.get("modal")}
    if settings.replay == FOUNDATION:
        shared |= {"replay_labels": FOUNDATION}
    return name, options_of(name, shared, settings.options)


def group_of(snapshot: Snapshot, split_by: str) -> str:
    """Name what a snapshot must stay together with: its run, its ordering, or its composition."""
    if split_by == "composition":
        return snapshot.composition
    if split_by == "ordering" and snapshot.ordering is not None:
        return snapshot.ordering.id
    return snapshot.run


def _further_members(training: _Training, split: Split, count: int, round_label: str) -> list[Task[Trained]]:
    """Train the further members of a committee, all at once: other seeds, other splits, the same test set.

    Each leaves out runs of its own for its validation, so that the members disagree where the labels do not decide;
    what the first one is tested on none of them sees.
    """
    from superionic.training.committee import member_split

    bench, data, declared = training.bench, training.data, training.declared
    rest = [index for index in range(len(training.groups)) if index not in set(split.test)]
    finished = []
    for member in range(2, count + 1):
        word = f"member {member} {round_label}".strip()
        own = member_split(
            [training.groups[index] for index in rest],
            training.settings.validation_fraction,
            bench.seed_for(STAGE, "split of a member", member),
        )
        dataset = bench.task(
            STAGE,
            f"training set of {word}",
            divided_task.of(
                atoms=data.structures,
                labels=data.labels,
                baseline=training.baseline.result.energies_eV,
                declared=None if declared is None else declared.result.element_references_eV,
                split=Split(
                    train=tuple(rest[index] for index in own.train),
                    validation=tuple(rest[index] for index in own.validation),
                    test=split.test,
                    leak_free=True,
                ),
            ),
        )
        seed = bench.seed_for(STAGE, "training of a member", member, round_label)
        finished.append(training.fit(f"training of {word}", dataset, seed))
    for outcome in bench.runner.gather(finished):
        if outcome.failure is not None:
            bench.runner.one(outcome.task)  # raises what went wrong
    return finished
