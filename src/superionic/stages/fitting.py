"""Fits of a potential to labels: what the stage *train* and the studies of training share.

A fit is a chain: the split with the energy references of its training part, segments of epochs that each continue the
one before bit by bit, and the weights of the best epoch. Any trainer of :mod:`superionic.training.base` does it, in the
environment of its own engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.execution.codec import from_tree, to_tree
from superionic.execution.task import ArgumentGroup, Context, Task, task
from superionic.labels.base import Label
from superionic.registry import models
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
    """Labelled structures as tasks name them: parts of results, equally many."""

    atoms: Sequence[Atoms]
    labels: Sequence[Label]

    @classmethod
    def of(cls, snapshots: Sequence[Snapshot]) -> Data:
        """Take snapshots that have their labels."""
        labels = [snapshot.label for snapshot in snapshots if snapshot.label is not None]
        return cls([snapshot.structure for snapshot in snapshots], labels)


@dataclass(frozen=True)
class Shifts:
    """Energies by which labels differ from a potential, in eV per atom of each element."""

    element_references_eV: Mapping[str, float]


@dataclass(frozen=True)
class Dataset:
    """A divided set of labels.

    Attributes
    ----------
    split
        Indices of its parts.
    element_references
        What brings labels to the potential's zero of energy, by the training part.
    shifts_eV
        The same for the cell of each label, shape (n,); NaN where an element is in no training label.
    """

    split: Split
    element_references: ElementReferences
    shifts_eV: FloatArray


@dataclass(frozen=True)
class Checked:
    """What was noticed about labels before training."""

    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class TrainingState:
    """Where a training stands: the state of its trainer (see :mod:`superionic.training.base`) as plain values."""

    state: Mapping[str, Any]


@dataclass(frozen=True)
class Trained:
    """A training that has ended.

    Attributes
    ----------
    best_epoch, best_loss
        Epoch of the lowest validation loss, and that loss; None where the trainer does not keep it.
    epochs
        Epochs done.
    history
        All of them.
    notes
        What a reader has to know, in sentences.
    weights
        Of the best epoch.
    """

    best_epoch: int
    best_loss: float | None
    epochs: int
    history: tuple[EpochRecord, ...]
    notes: tuple[str, ...]
    weights: Weights


@dataclass(frozen=True)
class Training:
    """Labels, and the potential that is trained on them: what all fits of a stage have in common.

    Attributes
    ----------
    bench
        The workbench.
    potential, trainer
        What is trained, and by whom.
    data
        Structures and labels.
    baseline
        Predictions of the pretrained potential.
    declared
        The shifts to the energies of atoms that are declared; None where they are fitted.
    """

    bench: Workbench
    potential: ChosenPotential
    trainer: str
    data: Data
    baseline: Task[Targets]
    declared: Task[Shifts] | None

    def divided(self, label: str, split: Split) -> Task[Dataset]:
        """Build the task that takes the parts as they are given."""
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
        """Build the task that looks the labels over before training."""
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
        """Build the chain of tasks of one fit, and return its last, which gives the weights of the best epoch.

        ``replay`` are labels of other chemistries for a multi-head training: a part of a task's result.
        """
        epochs = int(options["epochs"])
        engine = "core" if models()[self.trainer].from_labels else self.potential.engine
        state: Mapping[str, Any] | None = None
        for number, first in enumerate(range(0, epochs, epochs_per_segment), 1):
            call = train_task.of(
                potential=self.potential,
                trainer=self.trainer,
                options=options,
                n_epochs=min(epochs_per_segment, epochs - first),
                seed=seed,
                data=self.data,
                dataset=dataset.result,
                state=state,
                replay=replay,
            )
            state = self.bench.task(f"{label} {number}", call, engine=engine).result.state
        if state is None:
            raise ValueError("a training has one epoch at least")
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
        """Build the task that compares predictions before and after with the labels; see :func:`errors_task`."""
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
    """Find the shifts from the atoms' energies of a potential to those that the option ``e0s`` declares."""
    from superionic.training import base

    chosen: Any = base.trainer(trainer)
    return Shifts(
        chosen.declared_shifts(
            atoms,
            chosen.TrainOptions.from_settings(options),
            model=potential.model,
            file=potential.options.get("file"),
            weights=potential.weights,
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
    """Split labels as they came in rounds, and find the energies that bring them to the potential's zero."""
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
    """Take the parts as they are given, and find the energies that bring labels to the potential's zero."""
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
    """Look for what makes a training fail in silence, before it begins."""
    found = preflight(
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
    return Checked(tuple(found))


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
    """Train for some epochs, from the pretrained weights or from the state that the segment before left."""
    from superionic.training import base

    chosen = base.trainer(trainer)
    how = chosen.TrainOptions.from_settings(options)
    file = potential.options.get("file")

    declares = options.get("e0s") is not None  # the trainer then takes the same shifts off by itself

    def subset(indices: Sequence[int]) -> LabelledSet:
        return LabelledSet.from_labels(
            [data.atoms[i] for i in indices],
            [data.labels[i] for i in indices],
            energy_shifts_eV=None if declares else [float(dataset.shifts_eV[i]) for i in indices],
        )

    if state is not None:
        current = from_tree(state, chosen.TrainState, "state")
        if file is not None and hasattr(current, "file"):
            current = replace(current, file=file)
        if current.finished:
            return _stored(current)
    else:
        current = chosen.start(
            potential.model,
            file=file,
            weights=potential.weights,
            seed=seed,
            options=how,
            train=subset(dataset.split.train),
            replay=replay,
            **_trust(potential),
        )
    current = chosen.train_epochs(
        current,
        subset(dataset.split.train),
        subset(dataset.split.validation) if dataset.split.validation else None,
        n_epochs,
        how,
        progress=context.progress,
    )
    return _stored(current)


def _stored(state: Any) -> TrainingState:
    """Keep all of a state but where a file lies on this machine."""
    return TrainingState({name: value for name, value in to_tree(state).items() if name != "file"})


@task(version=2)
def finish_task(_context: Context, *, trainer: str, state: Mapping[str, Any]) -> Trained:
    """Take the weights of the best epoch out of the last training state."""
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
    """Compute errors on the first of ``sets`` that is not empty."""
    parts = {"train": dataset.split.train, "validation": dataset.split.validation, "test": dataset.split.test}
    name = next(part for part in sets if parts[part])
    chosen = [i for i in parts[name] if np.isfinite(dataset.shifts_eV[i])]
    every = LabelledSet.from_labels(
        data.atoms, data.labels, energy_shifts_eV=[float(shift) for shift in dataset.shifts_eV]
    )
    reference, old, new = every.targets.subset(chosen), baseline.subset(chosen), after.subset(chosen)
    sorted_by = {kind: [values[i] for i in chosen] for kind, values in kinds.items()}
    pairs = zip(errors_by(old, reference, sorted_by), errors_by(new, reference, sorted_by), strict=True)
    has_stress = np.isfinite(reference.stresses_eV_per_A3)
    return HeldOutErrors(
        set=name,
        n_structures=len(chosen),
        before=errors(old, reference),
        after=errors(new, reference),
        by=tuple(ErrorsApart(b.by, b.value, b.errors, a.errors) for b, a in pairs),
        parity=Parity(
            energy_eV_per_atom=_points(*(t.energies_eV / t.n_atoms for t in (reference, old, new))),
            force_eV_per_A=_points(*(np.concatenate(t.forces_eV_per_A).ravel() for t in (reference, old, new))),
            stress_GPa=_points(*(t.stresses_eV_per_A3[has_stress] * GPA_PER_EV_PER_A3 for t in (reference, old, new))),
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
    return Dataset(split, references, shifts)


def _points(reference: FloatArray, before: FloatArray, after: FloatArray) -> ParityPoints:
    return ParityPoints(*(tuple(float(value) for value in values) for values in (reference, before, after)))


def _trust(potential: ChosenPotential) -> dict[str, Any]:
    return {name: potential.options[name] for name in ("trust_sha256",) if name in potential.options}
