"""Fits of a potential to labels, shared by the stage *train* and the studies of training.

A fit is a chain of tasks: the split with the energy references of its training set, segments of epochs that each
continue the one before bit by bit, and the weights of the best epoch. It runs with any trainer of
:mod:`superionic.training.base`, in the environment of the trainer's engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.execution.codec import from_tree, to_tree
from superionic.execution.task import ArgumentGroup, Context, Task, task
from superionic.labels.base import Label
from superionic.potentials.exported import base_of, is_exported, read_exported, read_weights
from superionic.registry import DELTA, find
from superionic.results.learning import ErrorsApart, HeldOutErrors, Parity, ParityPoints
from superionic.stages.base import ChosenPotential, Snapshot, Weights, Workbench
from superionic.stages.label_file import SetName
from superionic.training.dataset import (
    ElementReferences,
    LabelledSet,
    Split,
    Targets,
    composition_of,
    fit_element_references,
)
from superionic.training.metrics import EpochRecord, epoch_record, errors, errors_by
from superionic.training.preflight import Finding, preflight
from superionic.training.split import split_in_rounds
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Data(ArgumentGroup):
    """Labelled structures as arguments of tasks: as many structures as labels, all parts of results."""

    atoms: Sequence[Atoms]
    labels: Sequence[Label]

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> Data:
        """Return the structures and labels of snapshots that are labelled."""
        labels = [snapshot.label for snapshot in snapshots if snapshot.label is not None]
        return cls([snapshot.structure for snapshot in snapshots], labels)


@dataclass(frozen=True)
class Shifts:
    """Energy differences between labels and a potential, in eV per atom of each element."""

    element_references_eV: Mapping[str, float]


@dataclass(frozen=True)
class Dataset:
    """A divided set of labels.

    Attributes
    ----------
    split
        Indices of its parts.
    element_references
        Energies that shift labels to the potential's zero of energy, fitted to the training set.
    shifts_eV
        Shift of each label's cell, shape (n,); NaN if the cell has an element that no training label has.
    """

    split: Split
    element_references: ElementReferences
    shifts_eV: FloatArray


@dataclass(frozen=True)
class Checked:
    """Problems of labels detected before training."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Differences:
    """Labels less the predictions of a potential for the same structures: what a correction has to give."""

    labels: tuple[Label, ...]


@dataclass(frozen=True)
class TrainingState:
    """The state of a training (see :mod:`superionic.training.base`) as plain values."""

    state: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A completed training.

    Attributes
    ----------
    best_epoch, best_loss
        Epoch of the lowest validation loss, and that loss; None if the trainer does not record it.
    epochs
        Number of epochs.
    history
        Errors after each epoch.
    notes
        Remarks for the reader, in sentences.
    weights
        Weights of the best epoch.
    """

    best_epoch: int
    best_loss: float | None
    epochs: int
    history: tuple[EpochRecord, ...]
    notes: tuple[str, ...]
    weights: Weights


@dataclass(frozen=True)
class Training:
    """Labels, and the potential to train on them, shared by all fits of a stage.

    Attributes
    ----------
    potential, trainer
        The potential, and the name of its trainer.
    data
        Structures and labels.
    baseline
        Predictions of the pretrained potential.
    declared
        The shifts to declared energies of atoms; None if shifts are fitted.
    """

    bench: Workbench
    potential: ChosenPotential
    trainer: str
    data: Data
    baseline: Task[Targets]
    declared: Task[Shifts] | None

    def divided(self, label: str, split: Split) -> Task[Dataset]:
        """Build the task that divides the labels by a given split."""
        call = divided_task.of(
            data=self.data,
            baseline=self.baseline.result.energies_eV,
            declared=None if self.declared is None else self.declared.result.element_references_eV,
            split=split,
        )
        return self.bench.task(label, call)

    def checked(
        self,
        label: str,
        dataset: Task[Dataset],
        groups: Sequence[str],
        options: Mapping[str, Any],
        *,
        with_replay: bool = False,
    ) -> Task[Checked]:
        """Build the task that checks the labels before training."""
        call = preflight_task.of(
            data=self.data,
            baseline=self.baseline.result,
            dataset=dataset.result,
            groups=groups,
            elements=self.potential.identity.elements,
            options=options,
            with_replay=with_replay,
        )
        return self.bench.task(label, call)

    def fit(
        self,
        label: str,
        dataset: Task[Dataset],
        options: Mapping[str, Any],
        *,
        epochs_per_segment: int,
        seed: int,
        replay: LabelledSet | None = None,
    ) -> Task[Trained]:
        """Build the chain of tasks of one fit, and return the last one, which gives the weights of the best epoch.

        ``replay`` holds labels of other chemistries for a multi-head training: a part of a task's result.
        """
        epochs = int(options["epochs"])
        model, data = find(self.trainer), self.data
        engine = "core" if model is None or model.from_labels else self.potential.engine
        if self.trainer == DELTA:
            call = differences_task.of(labels=data.labels, baseline=self.baseline.result)
            differences = self.bench.task("labels less predictions", call)
            data = Data(data.atoms, [differences.result.labels[i] for i in range(len(data.labels))])
            epochs_per_segment = epochs  # all of them take seconds
        state: Mapping[str, Any] | None = None
        for number, first in enumerate(range(0, epochs, epochs_per_segment), 1):
            segment = train_task.of(
                potential=self.potential,
                trainer=self.trainer,
                options=options,
                n_epochs=min(epochs_per_segment, epochs - first),
                seed=seed,
                data=data,
                dataset=dataset.result,
                state=state,
                replay=replay,
            )
            state = self.bench.task(f"{label} {number}", segment, engine=engine).result.state
        if state is None:
            raise ValueError("a training needs at least one epoch")
        finish = finish_task.of(trainer=self.trainer, state=state)
        return self.bench.task(f"weights of {label}", finish, engine=engine)

    def errors(
        self,
        label: str,
        after: Task[Targets],
        dataset: Task[Dataset],
        kinds: Mapping[str, Sequence[str | float | None]],
        sets: Sequence[SetName],
    ) -> Task[HeldOutErrors]:
        """Build the task that compares predictions before and after training with labels; see :func:`errors_task`."""
        call = errors_task.of(
            data=self.data,
            baseline=self.baseline.result,
            after=after.result,
            dataset=dataset.result,
            kinds=kinds,
            sets=sets,
        )
        return self.bench.task(label, call)


# ---- task functions -------------------------------------------------------------------------------------------------


@task(version=2)
def declared_task(
    _context: Context, *, potential: ChosenPotential, trainer: str, options: Mapping[str, Any], atoms: Sequence[Atoms]
) -> Shifts:
    """Find the shifts from a potential's energies of atoms to those declared by the option ``e0s``."""
    from superionic.training import base

    module: Any = base.trainer(trainer)
    return Shifts(
        module.declared_shifts(
            atoms,
            module.TrainOptions.from_settings(options),
            **_start_of(potential),
            **_trust(potential),
        )
    )


@task(version=3)
def dataset_task(
    _context: Context,
    *,
    data: Data,
    baseline: FloatArray,
    declared: Mapping[str, float] | None,
    groups: Sequence[str],
    rounds: Sequence[int],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> Dataset:
    """Split labels by rounds, and find the energies that shift them to the potential's zero."""
    split = split_in_rounds(
        groups, rounds, validation_fraction=validation_fraction, test_fraction=test_fraction, seed=seed
    )
    return _dataset(split, data, baseline, declared)


@task(version=3)
def divided_task(
    _context: Context,
    *,
    data: Data,
    baseline: FloatArray,
    declared: Mapping[str, float] | None,
    split: Split,
) -> Dataset:
    """Divide labels by a given split, and find the energies that shift them to the potential's zero."""
    return _dataset(split, data, baseline, declared)


@task(version=4)
def preflight_task(
    _context: Context,
    *,
    data: Data,
    baseline: Targets,
    dataset: Dataset,
    groups: Sequence[str],
    elements: Sequence[str],
    options: Mapping[str, Any],
    with_replay: bool,
) -> Checked:
    """Check labels before training for problems that would spoil it unnoticed."""
    findings = preflight(
        data.atoms,
        data.labels,
        baseline,
        train=dataset.split.train,
        validation=dataset.split.validation,
        test=dataset.split.test,
        groups=groups,
        elements=elements,
        options=options,
        with_replay=with_replay,
    )
    return Checked(tuple(findings))


@task(version=1)
def differences_task(_context: Context, *, labels: Sequence[Label], baseline: Targets) -> Differences:
    """Subtract predictions from labels."""
    differences = []
    for k, label in enumerate(labels):
        stress = label.stress_eV_per_A3
        differences.append(
            replace(
                label,
                energy_eV=label.energy_eV - float(baseline.energies_eV[k]),
                forces_eV_per_A=label.forces_eV_per_A - baseline.forces_eV_per_A[k],
                stress_eV_per_A3=None if stress is None else stress - baseline.stresses_eV_per_A3[k],
            )
        )
    return Differences(tuple(differences))


@task(version=2)
def train_task(
    context: Context,
    *,
    potential: ChosenPotential,
    trainer: str,
    options: Mapping[str, Any],
    n_epochs: int,
    seed: int,
    data: Data,
    dataset: Dataset,
    state: Mapping[str, Any] | None,
    replay: LabelledSet | None,
) -> TrainingState:
    """Train for some epochs, from the pretrained weights or from the state of the previous segment."""
    from superionic.training import base

    module = base.trainer(trainer)
    train_options = module.TrainOptions.from_settings(options)
    start = _start_of(potential)

    declares = options.get("e0s") is not None  # the trainer then subtracts the same shifts itself

    def subset(indices: Sequence[int]) -> LabelledSet:
        return LabelledSet.from_labels(
            [data.atoms[i] for i in indices],
            [data.labels[i] for i in indices],
            energy_shifts_eV=None if declares else [float(dataset.shifts_eV[i]) for i in indices],
        )

    if state is not None:
        current = from_tree(state, module.TrainState, "state")
        if start["file"] is not None and hasattr(current, "file"):
            current = replace(current, file=start["file"])
        if current.finished:
            return _stored(current)
    else:
        current = module.start(
            **start,
            seed=seed,
            options=train_options,
            train=subset(dataset.split.train),
            replay=replay,
            **_trust(potential),
        )
    current = module.train_epochs(
        current,
        subset(dataset.split.train),
        subset(dataset.split.validation) if dataset.split.validation else None,
        n_epochs,
        train_options,
        progress=context.progress,
    )
    return _stored(current)


def _stored(state: Any) -> TrainingState:
    """Return a state without the path of a file on this machine."""
    return TrainingState({name: value for name, value in to_tree(state).items() if name != "file"})


@task(version=2)
def finish_task(_context: Context, *, trainer: str, state: Mapping[str, Any]) -> Trained:
    """Return the weights of the best epoch from the last training state."""
    from superionic.training import base

    ended = from_tree(state, base.trainer(trainer).TrainState, "state")
    return Trained(
        best_epoch=ended.best_epoch,
        best_loss=getattr(ended, "best_loss", None),
        epochs=ended.epoch,
        history=tuple(epoch_record(entry) for entry in ended.history),
        notes=tuple(getattr(ended, "notes", ())),
        weights=dict(ended.best_weights),
    )


@task(version=3)
def errors_task(
    _context: Context,
    *,
    data: Data,
    baseline: Targets,
    after: Targets,
    dataset: Dataset,
    kinds: Mapping[str, Sequence[str | float | None]],
    sets: Sequence[SetName],
) -> HeldOutErrors:
    """Calculate errors on the first of ``sets`` that is not empty."""
    parts = {"train": dataset.split.train, "validation": dataset.split.validation, "test": dataset.split.test}
    name = next(part for part in sets if parts[part])
    members = [i for i in parts[name] if np.isfinite(dataset.shifts_eV[i])]
    every = LabelledSet.from_labels(
        data.atoms, data.labels, energy_shifts_eV=[float(shift) for shift in dataset.shifts_eV]
    )
    reference, old, new = every.targets.subset(members), baseline.subset(members), after.subset(members)
    sorted_by = {kind: [values[i] for i in members] for kind, values in kinds.items()}
    return _compared(name, reference, old, new, sorted_by)


@task(version=1)
def check_task(
    _context: Context,
    *,
    data: Data,
    predicted: Targets,
    kinds: Mapping[str, Sequence[str | float | None]],
) -> HeldOutErrors:
    """Calculate errors of a potential that was not trained on any of the labels, after one shift of each element."""
    every = range(len(data.labels))
    dataset = _dataset(
        Split(train=tuple(every), validation=(), test=(), leak_free=True), data, predicted.energies_eV, None
    )
    reference = LabelledSet.from_labels(data.atoms, data.labels, energy_shifts_eV=dataset.shifts_eV.tolist()).targets
    return _compared("all", reference, None, predicted, kinds)


def _compared(
    name: str,
    reference: Targets,
    before: Targets | None,
    after: Targets,
    kinds: Mapping[str, Sequence[str | float | None]],
) -> HeldOutErrors:
    """Return the errors of predictions, for all structures and by kind, and the points of the parity plots."""
    new = errors_by(after, reference, kinds)
    old = [None] * len(new) if before is None else [each.errors for each in errors_by(before, reference, kinds)]

    def points(values_of: Callable[[Targets], FloatArray]) -> ParityPoints:
        known, old, new = (
            None if targets is None else tuple(values_of(targets).tolist()) for targets in (reference, before, after)
        )
        return ParityPoints(known or (), old, new or ())

    has_stress = np.isfinite(reference.stresses_eV_per_A3)
    return HeldOutErrors(
        set=name,
        n_structures=len(reference.energies_eV),
        before=None if before is None else errors(before, reference),
        after=errors(after, reference),
        by=tuple(ErrorsApart(n.by, n.value, o, n.errors) for o, n in zip(old, new, strict=True)),
        parity=Parity(
            energy_eV_per_atom=points(lambda targets: targets.energies_eV / targets.n_atoms),
            force_eV_per_A=points(lambda targets: np.concatenate(targets.forces_eV_per_A).ravel()),
            stress_GPa=points(lambda targets: targets.stresses_eV_per_A3[has_stress] * GPA_PER_EV_PER_A3),
        ),
    )


def _dataset(
    split: Split,
    data: Data,
    baseline: FloatArray,
    declared: Mapping[str, float] | None,
) -> Dataset:
    compositions = [composition_of(structure) for structure in data.atoms]
    difference = np.array([label.energy_eV for label in data.labels]) - baseline
    trained = [compositions[i] for i in split.train]
    if declared is not None:
        references = ElementReferences(declared, len(declared), 0.0)
        residuals = difference[list(split.train)] - references.energies_eV(trained)
        residuals /= np.array([sum(counts.values()) for counts in trained])
        references = replace(references, rms_residual_eV_per_atom=float(np.sqrt(np.mean(residuals**2))))
    else:
        references = fit_element_references(difference[list(split.train)], trained)
    # An element that no training label has cannot be shifted: its labels would be wrong by electronvolts.
    shifts = np.full(len(compositions), np.nan)
    for i, counts in enumerate(compositions):
        if set(counts) <= set(references.eV_per_atom):
            shifts[i] = references.energies_eV([counts])[0]
    return Dataset(split, references, shifts)


def _start_of(potential: ChosenPotential) -> dict[str, Any]:
    """Return what a training begins with: model, file and weights; for an exported potential, those in its file."""
    file = potential.options.get("file")
    if file is None or not is_exported(file):
        return {"model": potential.model, "file": file, "weights": potential.weights}
    weights = read_weights(file) if potential.weights is None else potential.weights
    return {"model": read_exported(file).model, "file": base_of(file), "weights": weights}


def _trust(potential: ChosenPotential) -> dict[str, Any]:
    return {name: potential.options[name] for name in ("trust_sha256",) if name in potential.options}
