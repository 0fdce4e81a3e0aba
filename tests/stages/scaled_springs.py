"""A potential with one weight, and its trainer: springs to lattice sites, fitted in milliseconds (for tests).

Energy, forces and stress are those of the pair potential times ``scale``. Training moves the scale a third of the way
to the slope of the labels in each epoch, so that every number can be worked out by hand.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from superionic.models.pair import potential as pair
from superionic.potentials.base import BasePotential, Prediction
from superionic.training.dataset import ElementReferences, Targets, fit_element_references
from superionic.training.metrics import errors
from superionic.training.state import Options

STEP = 1.0 / 3.0


class Scaled(BasePotential):
    def __init__(self, inner: Any, scale: float) -> None:
        super().__init__(replace(inner.identity, name="scaled"))
        self._inner, self._scale = inner, scale

    def evaluate(self, atoms, *, stress=True):
        found = self._inner.evaluate(atoms, stress=stress)
        tensor = None if found.stress_eV_per_A3 is None else self._scale * found.stress_eV_per_A3
        return Prediction(self._scale * found.energy_eV, self._scale * found.forces_eV_per_A, tensor)


def describe(model=None, **options):
    return replace(pair.describe(None, **options), name="scaled", engine="core")


def load(model=None, *, weights=None, threads=1, **options):
    return Scaled(pair.load(None, **options), 1.0 if weights is None else float(weights["scale"][0]))


@dataclass(frozen=True)
class TrainOptions(Options):
    epochs: int = 6
    batch_size: int = 2
    learning_rate: float = 1.0
    freeze: str = "none"
    energy_weight: float = 1.0
    force_weight: float = 1.0
    stress_weight: float = 0.1
    patience: int | None = None
    mode: str = "naive"

    training = "Training of springs"


@dataclass(frozen=True)
class TrainState:
    options: TrainOptions
    seed: int
    epoch: int
    weights: dict[str, Any]
    best_weights: dict[str, Any]
    best_epoch: int
    best_loss: float | None
    references: ElementReferences | None
    history: tuple[dict[str, Any], ...]

    @property
    def finished(self):
        return self.epoch >= self.options.epochs


def start(model=None, *, file=None, weights=None, seed, options=None, train=None, replay=None):
    first = {"scale": np.array([1.0])} if weights is None else dict(weights)
    references = None
    if train is not None:
        own = predict(train.structures, weights=first)
        references = fit_element_references(train.targets.energies_eV - own.energies_eV, train.compositions())
    return TrainState(options or TrainOptions(), seed, 0, first, first, 0, None, references, ())


def train_epochs(state, train, validation, n_epochs, options=None, *, progress=None):
    own = np.concatenate(predict(train.structures).forces_eV_per_A).ravel()
    target = float(own @ np.concatenate(train.targets.forces_eV_per_A).ravel() / (own @ own))
    last = min(state.epoch + n_epochs, state.options.epochs)
    if not state.history:
        state = _recorded(state, train, validation)
    while state.epoch < last:
        scale = float(state.weights["scale"][0])
        scale += STEP * state.options.learning_rate * (target - scale)
        state = replace(state, epoch=state.epoch + 1, weights={"scale": np.array([scale])})
        state = _recorded(state, train, validation)
    return state


def _recorded(state, train, validation):
    def judged(part):
        found = errors(predict(part.structures, weights=state.weights), part.targets)
        return {"loss": found.mae_force_meV_per_A, **asdict(found)}

    entry = {
        "epoch": state.epoch,
        "learning_rate": state.options.learning_rate,
        "train": judged(train),
        "validation": None if validation is None else judged(validation),
    }
    state = replace(state, history=(*state.history, entry))
    loss = None if validation is None else entry["validation"]["loss"]
    if loss is None or state.best_loss is None or loss < state.best_loss:
        return replace(state, best_weights=state.weights, best_epoch=state.epoch, best_loss=loss)
    return state


def predict(structures, *, model=None, file=None, weights=None):
    found = [load(weights=weights).evaluate(atoms) for atoms in structures]
    return Targets(
        np.array([one.energy_eV for one in found]),
        tuple(one.forces_eV_per_A for one in found),
        np.array([one.stress_eV_per_A3 for one in found]),
    )
