"""Stage *train*: fine-tuning of the potential on the accepted labels, in segments of epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from superionic.chemistry import parse_formula
from superionic.errors import StageError
from superionic.execution.runner import Outcome
from superionic.execution.task import Task
from superionic.results.learning import CommitteeMember, TrainResult
from superionic.stages.base import Candidate, ChosenPotential, Snapshot, Weights, Workbench
from superionic.stages.fitting import Data, Dataset, Shifts, Trained, Training, dataset_task, declared_task
from superionic.stages.predictions import predictions
from superionic.stages.replay import replay_data
from superionic.training.curves import nested_groups
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
    options, replay
        Options of the trainer, and the labels of other chemistries that a multi-head training goes on with.
    """

    result: TrainResult
    weights: tuple[Weights, ...]
    dataset: Task[Dataset]
    training: Training
    options: Mapping[str, Any]
    replay: Task[LabelledSet] | None


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
    return TrainOutput(result, weights, dataset, training, options, replay)


@dataclass(frozen=True)
class FitOfSize:
    """The training on a number of the labels of a campaign.

    Attributes
    ----------
    size
        Number of labels.
    dataset
        These labels, with the validation and the test set of all.
    outcome
        The trained weights, or the failure of the training.
    """

    size: int
    dataset: Task[Dataset]
    outcome: Outcome[Trained]


def on_sizes(
    settings: TrainSettings, bench: Workbench, labelled: Sequence[Snapshot], whole: TrainOutput, sizes: Sequence[int]
) -> tuple[tuple[FitOfSize, ...], dict[int, str]]:
    """Train on nested parts of the training set of a campaign, with the same options, validation set and seed.

    Parameters
    ----------
    settings
        The ``train`` section.
    labelled
        Snapshots with accepted labels, in the order of the data set.
    whole
        The training on all of them.
    sizes
        Numbers of labels, above 0.

    Returns
    -------
    fits, left_out
        One training for each size that there is, and why each of the other sizes is left out.
    """
    bench = bench.at("train")
    split = bench.runner.one(whole.dataset).split
    elements = [frozenset(parse_formula(snapshot.formula)) for snapshot in labelled]
    needed = frozenset[str]().union(*(elements[i] for i in (*split.train, *split.validation)))
    left_out: dict[int, str] = {}
    built: list[tuple[int, Task[Dataset], Task[Trained]]] = []
    groups = [group_of(labelled[i], settings.split_by) for i in split.train]
    subsets = nested_groups(groups, sizes, bench.seed_for("sizes"), [elements[i] for i in split.train])
    for size, subset in zip(sizes, subsets, strict=True):
        own = [split.train[i] for i in subset]
        missing = sorted(needed.difference(*(elements[i] for i in own)))
        if size >= len(split.train):
            n_labels = f"the training set has {len(split.train)} labels"
            left_out[size] = n_labels + (", and those are trained on anyway" if size == len(split.train) else "")
        elif missing:
            left_out[size] = f"so few labels have no {' and no '.join(missing)}"
        else:
            dataset = whole.training.divided(f"training set of {size} labels", replace(split, train=tuple(own)))
            fitted = whole.training.fit(
                f"training on {size} labels",
                dataset,
                whole.options,
                epochs_per_segment=settings.epochs_per_segment,
                seed=bench.seed_for("training on a number of labels"),
                replay=None if whole.replay is None else whole.replay.result,
            )
            built.append((size, dataset, fitted))
    outcomes = bench.runner.gather([fitted for _, _, fitted in built])
    fits = [FitOfSize(size, dataset, done) for (size, dataset, _), done in zip(built, outcomes, strict=True)]
    return tuple(fits), left_out


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
        return snapshot.formula
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
