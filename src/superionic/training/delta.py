"""A correction that few labels can teach, added to a potential instead of changing its weights: the trainer ``delta``.

The labels that it sees are differences: labels less the predictions of the potential. It fits them by a function of
distance for each pair of elements (:mod:`superionic.potentials.pair_correction`), of some twelve coefficients each. The
sum of squares is minimised by conjugate gradients from zero (M. R. Hestenes and E. Stiefel, J. Res. Natl. Bur. Stand.
49, 409 (1952)), each coefficient scaled to unit curvature: one step is one epoch, over all labels at once. To stop
early regularises, since steps go along directions of which the labels say much before those of which they say little
(M. Hanke, Conjugate Gradient Type Methods for Ill-Posed Problems (1995)), so the epoch of the lowest validation loss
is used, as elsewhere. Epoch 0 is the potential as it was.

It needs numpy alone, and runs in the core; the correction is evaluated wherever its potential is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CampaignFileError, StageError
from superionic.labels.base import Progress
from superionic.potentials.pair_correction import PairCorrection, corrected_weights
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.state import Options, refuse
from superionic.units import GPA_PER_EV_PER_A3

FloatArray = npt.NDArray[np.float64]

_CONVERGED: Final = 1.0e-10
_SMALLEST_CURVATURE: Final = 1.0e-2
"""Fraction of the largest curvature of the loss along a coefficient that is added to all of them before scaling."""
_SIGNIFICANT: Final = 2.0


@dataclass(frozen=True)
class TrainOptions(Options):
    """How to train.

    Attributes
    ----------
    epochs
        Largest number of steps.
    patience
        Steps without a better validation loss after which training ends; None for never.
    energy_weight, force_weight, stress_weight
        Weights in the loss of the mean squared errors of energy (eV/atom), forces (eV/Å) and stress (GPa).
    cutoff_A, spacing_A
        Reach of the functions, and the interval of their splines.
    """

    epochs: int = 100
    patience: int | None = None
    energy_weight: float = 1.0
    force_weight: float = 1.0
    stress_weight: float = 0.1
    cutoff_A: float = 6.0
    spacing_A: float = 0.5

    training: ClassVar[str] = "Training of a correction"

    def __post_init__(self) -> None:
        for name in ("epochs", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                refuse(name, value, "Give a whole number of at least 1.")
        for name in ("energy_weight", "force_weight", "stress_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                refuse(name, getattr(self, name), "Give a number that is not negative.")
        if not 0.0 < self.spacing_A <= self.cutoff_A <= 20.0:
            refuse("spacing_A", self.spacing_A, "Give an interval above 0 and within cutoff_A, and that up to 20 Å.")


@dataclass(frozen=True, eq=False)
class TrainState:
    """The state of a training.

    Attributes
    ----------
    options
        Of the training.
    start_weights
        Weights of the potential to which the correction is added; empty for the published ones.
    correction
        The correction at the start.
    coefficients, direction
        What was added to its coefficients so far, and the direction of the next step; None before the first segment.
    slope2
        Square of the scaled slope of the loss, from which the next direction follows.
    epoch, best_epoch, best_loss, best_coefficients
        Steps taken, and the step of the lowest validation loss; without validation, the last one.
    gain, gain_error
        Mean over the validation structures of the loss at the start less that at the best epoch, and its standard
        error; the error is None where there is one structure.
    history
        One entry for each epoch, of which 0 is before training.
    """

    options: TrainOptions
    start_weights: Mapping[str, npt.NDArray[Any]]
    correction: PairCorrection
    coefficients: FloatArray
    direction: FloatArray | None = None
    slope2: float = 0.0
    converged: bool = False
    epoch: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    best_coefficients: FloatArray | None = None
    gain: float | None = None
    gain_error: float | None = None
    history: tuple[Mapping[str, Any], ...] = ()

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        patience = self.options.patience
        waited = patience is not None and self.best_loss is not None and self.epoch - self.best_epoch >= patience
        return bool(waited or self.converged or self.epoch >= self.options.epochs)

    @property
    def best_weights(self) -> dict[str, npt.NDArray[Any]]:
        """Weights of the corrected potential, for :func:`superionic.potentials.base.load_potential`."""
        best = self.coefficients if self.best_coefficients is None else self.best_coefficients
        corrected = self.correction.with_coefficients(self.correction.coefficients + best)
        return {**self.start_weights, **corrected.to_weights()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know, in sentences."""
        if self.gain is None:
            return ()
        if self.gain_error is None:
            return (
                "One label was held out for validation: it cannot tell whether the correction is better beyond chance.",
            )
        if self.gain > _SIGNIFICANT * self.gain_error:
            return ()
        words = "On labels held out for validation the correction is no better than the potential as it was"
        return (f"{words}, beyond chance: keep that potential and leave out `train`, or label more.",)


def start(
    model: str | None = None,
    *,
    file: str | None = None,
    weights: Mapping[str, npt.NDArray[Any]] | None = None,
    seed: int,
    options: TrainOptions | None = None,
    train: LabelledSet | None = None,
    replay: LabelledSet | None = None,
) -> TrainState:
    """Begin a training.

    Parameters
    ----------
    model, file
        Of the potential to which the correction is added; they do not matter.
    weights
        Weights of that potential, if they are not the published ones; a correction among them is continued.
    seed
        Not needed: nothing is drawn.
    options
        How to train.
    train
        The training set: differences between labels and predictions.
    replay
        None: there is nothing that could be forgotten.

    Raises
    ------
    StageError
        If there is nothing to train on.
    CampaignFileError
        If replay data are given, or the weights hold a correction of another form.
    """
    del model, file, seed
    options = TrainOptions() if options is None else options
    if replay is not None:
        raise CampaignFileError(
            "A correction leaves the potential as it is, which cannot forget.",
            where="train.replay",
            fix="Leave replay out.",
        )
    if train is None or len(train) == 0:
        raise StageError("There is nothing to train on.", fix="Label some structures first.")
    numbers = np.unique(np.concatenate([atoms.numbers for atoms in train.structures]))
    correction = PairCorrection.zero(numbers, options.cutoff_A, options.spacing_A)
    own, earlier = corrected_weights(weights)
    if earlier is not None:
        form = earlier.numbers.tolist(), earlier.cutoff_A, earlier.spacing_A
        if form != (correction.numbers.tolist(), options.cutoff_A, options.spacing_A):
            raise CampaignFileError(
                "The potential has a correction of other elements or of another form, which cannot be continued.",
                where="train.trainer",
                fix="Start from the potential without a correction, and train on all labels together.",
            )
        correction = earlier
    return TrainState(options, dict(own or {}), correction, np.zeros(len(correction.coefficients)))


def train_epochs(
    state: TrainState,
    train: LabelledSet,
    validation: LabelledSet | None,
    n_epochs: int,
    options: TrainOptions | None = None,
    *,
    progress: Progress | None = None,
) -> TrainState:
    """Train for one segment; see :meth:`superionic.training.loop.Trainer.train_epochs`.

    Raises
    ------
    ValueError
        If ``options`` are not those of ``state``.
    """
    if options is not None and options != state.options:
        raise ValueError("options cannot change during a training")
    of_train = _Errors.of(train, state.correction)
    checks = None if validation is None or len(validation) == 0 else validation
    of_checks = None if checks is None else _Errors.of(checks, state.correction)
    curve = of_train.loss(state.options)
    diagonal = np.diag(curve.matrix)
    # A spline that a few distances at its edge touch has hardly any curvature, and scaled by that it would learn noise.
    scale = 1.0 / np.sqrt(diagonal + _SMALLEST_CURVATURE * max(float(diagonal.max()), 1.0e-300))
    if state.direction is None:
        slope = scale * curve.vector
        state = replace(state, direction=slope, slope2=float(slope @ slope))
        state = _recorded(state, of_train, of_checks)
    largest = float(np.sum((scale * curve.vector) ** 2))
    last = min(state.epoch + n_epochs, state.options.epochs)
    first = state.epoch
    while state.epoch < last and not state.finished:
        direction = np.asarray(state.direction)
        step = scale * direction
        curvature = float(step @ curve.matrix @ step)
        if state.slope2 <= _CONVERGED**2 * largest or curvature <= 0.0:
            state = replace(state, converged=True)
            break
        coefficients = state.coefficients + (state.slope2 / curvature) * step
        slope = scale * (curve.vector - curve.matrix @ coefficients)
        slope2 = float(slope @ slope)
        state = replace(
            state,
            coefficients=coefficients,
            direction=slope + (slope2 / state.slope2) * direction,
            slope2=slope2,
            epoch=state.epoch + 1,
        )
        state = _recorded(state, of_train, of_checks)
        if progress is not None:
            progress((state.epoch - first) / max(1, last - first), f"epoch {state.epoch} of {state.options.epochs}")
    return state if checks is None else _judged(state, checks)


def predict(
    structures: Sequence[Atoms],
    *,
    model: str | None = None,
    file: str | None = None,
    weights: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Targets:
    """Evaluate the correction alone, which is zero without weights."""
    del model, file
    correction = corrected_weights(weights)[1] or PairCorrection.zero(np.zeros(0, dtype=np.int64), 6.0, 0.5)
    parts = [correction.evaluate(atoms) for atoms in structures]
    return Targets(
        np.array([energy for energy, _, _ in parts]),
        tuple(forces for _, forces, _ in parts),
        np.array([stress for _, _, stress in parts]).reshape(-1, 6),
    )


@dataclass(frozen=True)
class _Quadratic:
    """A mean of squared errors as a function of the coefficients x: x·Ax − 2 b·x + c."""

    matrix: FloatArray
    vector: FloatArray
    constant: float

    @classmethod
    def of(cls, rows: FloatArray, target: FloatArray) -> _Quadratic:
        return cls(rows.T @ rows, rows.T @ target, float(target @ target))

    def __add__(self, other: _Quadratic) -> _Quadratic:
        return _Quadratic(self.matrix + other.matrix, self.vector + other.vector, self.constant + other.constant)

    def times(self, factor: float) -> _Quadratic:
        return _Quadratic(factor * self.matrix, factor * self.vector, factor * self.constant)

    def at(self, x: FloatArray) -> float:
        return max(0.0, float(x @ self.matrix @ x - 2.0 * (self.vector @ x)) + self.constant)


@dataclass(frozen=True)
class _Errors:
    """Mean squared errors over a set: of the energy per atom in eV, of forces in eV/Å, of stresses in GPa."""

    energy: _Quadratic
    force: _Quadratic
    stress: _Quadratic

    @classmethod
    def of(cls, part: LabelledSet, correction: PairCorrection) -> _Errors:
        zero = _Quadratic.of(np.zeros((1, len(correction.coefficients))), np.zeros(1))
        energy, force, stress, n_forces, n_stresses = zero, zero, zero, 0, 0
        # Of the nine components of a stress, the off-diagonal ones count twice.
        weights = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]) * GPA_PER_EV_PER_A3
        targets = part.targets
        for k, atoms in enumerate(part.structures):
            rows = correction.rows(atoms)
            energy += _Quadratic.of(rows.energy[None, :] / len(atoms), targets.energies_eV[k : k + 1] / len(atoms))
            force += _Quadratic.of(rows.forces_per_A, targets.forces_eV_per_A[k].ravel())
            n_forces += 3 * len(atoms)
            if np.isfinite(targets.stresses_eV_per_A3[k]).all():
                stress += _Quadratic.of(weights[:, None] * rows.stress_per_A3, weights * targets.stresses_eV_per_A3[k])
                n_stresses += 9
        return cls(energy.times(1.0 / len(part)), force.times(1.0 / n_forces), stress.times(1.0 / max(1, n_stresses)))

    def loss(self, options: TrainOptions) -> _Quadratic:
        return (
            self.energy.times(options.energy_weight)
            + self.force.times(options.force_weight)
            + self.stress.times(options.stress_weight)
        )

    def entry(self, options: TrainOptions, x: FloatArray) -> dict[str, float]:
        """Return loss and errors, named like those of the other trainers."""
        return {
            "loss": self.loss(options).at(x),
            "rmse_energy_meV_per_atom": 1.0e3 * math.sqrt(self.energy.at(x)),
            "rmse_force_meV_per_A": 1.0e3 * math.sqrt(self.force.at(x)),
            "rmse_stress_GPa": math.sqrt(self.stress.at(x)),
        }


def _recorded(state: TrainState, train: _Errors, validation: _Errors | None) -> TrainState:
    """Add an epoch to the history, and keep its coefficients if they are the best so far."""
    x, options = state.coefficients, state.options
    checked = None if validation is None else validation.entry(options, x)
    entry = {
        "epoch": state.epoch,
        "learning_rate": None,
        "train": train.entry(options, x),
        "validation": checked,
    }
    state = replace(state, history=(*state.history, entry))
    if checked is None or state.best_loss is None or checked["loss"] < state.best_loss:
        loss = None if checked is None else checked["loss"]
        return replace(state, best_epoch=state.epoch, best_loss=loss, best_coefficients=x)
    return state


def _judged(state: TrainState, validation: LabelledSet) -> TrainState:
    """Compare the losses of the validation structures at the start and at the best epoch, structure by structure."""
    gains = []
    for k in range(len(validation)):
        loss = _Errors.of(validation.subset([k]), state.correction).loss(state.options)
        gains.append(loss.constant - loss.at(np.asarray(state.best_coefficients)))
    error = float(np.std(gains, ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else None
    return replace(state, gain=float(np.mean(gains)), gain_error=error)
