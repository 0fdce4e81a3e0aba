"""Training of a small potential straight from labels: a trainer like those of :mod:`superionic.training.base`.

The potential is a NEP, trained from scratch by :mod:`superionic.models.nep.fit`; the potential that sampled does not
matter, since only the zero of its energies is kept. It needs numpy and numba alone, so it runs in the core.

The weights of the loss are relative to those that suit a NEP: 1 for energies and forces and 0.1 for stresses, the
defaults of the campaign file, stand for those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.errors import CampaignFileError, StageError
from superionic.labels.base import Progress
from superionic.models.nep import fit as nep
from superionic.models.nep.state import Epoch, EpochErrors, NepOptions, NepState
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.state import Options, refuse

__all__ = ["TrainOptions", "TrainState", "predict", "start", "train_epochs"]

_OWN = NepOptions()
_USUAL_STRESS_WEIGHT = 0.1


@dataclass(frozen=True)
class TrainOptions(Options):
    """How to train; everything else has the defaults of :class:`superionic.models.nep.state.NepOptions`.

    Attributes
    ----------
    epochs, batch_size, learning_rate, patience
        As for all trainers.
    energy_weight, force_weight, stress_weight
        Relative to a NEP's own, see the head of the module.
    cutoff_radial_A, cutoff_angular_A, n_radial, n_angular, basis_radial, basis_angular, l_max, four_body, five_body
        Form of the descriptors, as :class:`superionic.models.nep.state.NepOptions` has it.
    n_neurons, longest_zbl_A
        Width of the networks and reach of the core's repulsion, likewise.
    """

    epochs: int = 300
    batch_size: int = 4
    learning_rate: float = 2.0e-3
    energy_weight: float = 1.0
    force_weight: float = 1.0
    stress_weight: float = _USUAL_STRESS_WEIGHT
    patience: int | None = None
    cutoff_radial_A: float = _OWN.cutoff_radial_A
    cutoff_angular_A: float = _OWN.cutoff_angular_A
    n_radial: int = _OWN.n_radial
    n_angular: int = _OWN.n_angular
    basis_radial: int = _OWN.basis_radial
    basis_angular: int = _OWN.basis_angular
    l_max: int = _OWN.l_max
    four_body: bool = _OWN.four_body
    five_body: bool = _OWN.five_body
    n_neurons: int = _OWN.n_neurons
    longest_zbl_A: float = _OWN.longest_zbl_A

    training: ClassVar[str] = "Training from labels"

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            refuse("patience", self.patience, "Give a whole number of at least 1, or null.")
        _ = self.of_nep

    @property
    def of_nep(self) -> NepOptions:
        """Return the options in the form that the loop of :mod:`superionic.models.nep.fit` takes.

        Raises
        ------
        CampaignFileError
            If one is out of its range.
        """
        shared = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "patience"}
        shared["energy_weight"] = _OWN.energy_weight * self.energy_weight
        shared["force_weight"] = _OWN.force_weight * self.force_weight
        shared["stress_weight"] = _OWN.stress_weight * self.stress_weight / _USUAL_STRESS_WEIGHT
        return NepOptions(**shared, final_learning_rate=0.01 * self.learning_rate)


@dataclass(frozen=True, eq=False)
class TrainState:
    """Where a training stands.

    Attributes
    ----------
    options, seed
        Of the training.
    nep
        The state of the loop; None before the first segment, which sees the labels that decide the form.
    best_weights
        The best potential so far, with the active set of its training part, as arrays.
    """

    options: TrainOptions
    seed: int
    nep: NepState | None = None
    best_weights: Mapping[str, npt.NDArray[Any]] | None = None

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return 0 if self.nep is None else self.nep.epoch

    @property
    def best_epoch(self) -> int:
        """Epoch of the lowest validation loss."""
        return 0 if self.nep is None else self.nep.best_epoch

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """One entry for each epoch, with the errors named as for the other trainers."""
        return () if self.nep is None else tuple(_named(entry) for entry in self.nep.history)

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        if self.nep is None:
            return False
        patience = self.options.patience
        waited = self.nep.best_loss is not None and patience is not None and self.epoch - self.best_epoch >= patience
        return bool(waited or self.epoch >= self.options.epochs)


def start(
    model: str | None = None,
    *,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    seed: int,
    options: TrainOptions | None = None,
    train: LabelledSet | None = None,
    replay: LabelledSet | None = None,
) -> TrainState:
    """Begin a training.

    Parameters
    ----------
    model, file, weights
        Of the potential that sampled; nothing of it is kept.
    seed
        Of the first weights and of the order of the batches.
    options
        How to train.
    train
        Not needed: the first segment sees the labels.
    replay
        None: there is no head to keep.

    Raises
    ------
    CampaignFileError
        If replay data are given.
    """
    del model, file, weights, train
    if replay is not None:
        raise CampaignFileError(
            "A potential that is trained from labels alone has nothing to replay.",
            where="train.replay",
            fix="Leave replay out, or train MACE.",
        )
    return TrainState(TrainOptions() if options is None else options, seed)


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
    CalculationFailed
        If the loss is no longer finite.
    StageError
        If there is nothing to train on.
    ValueError
        If ``options`` are not those of ``state``.
    """
    if options is not None and options != state.options:
        raise ValueError("options cannot change during a training")
    if len(train) == 0:
        raise StageError("There is nothing to train on.", fix="Label some structures first.")
    inner = state.nep if state.nep is not None else nep.start(train, state.options.of_nep, state.seed)
    now = replace(state, nep=inner)
    checks = validation if validation is not None and len(validation) else None
    last = min(inner.epoch + n_epochs, state.options.epochs)
    while now.epoch < last and not now.finished:
        # One by one where patience may end it: the epoch at which it does must not depend on the segments.
        step = 1 if state.options.patience is not None else last - now.epoch
        now = replace(now, nep=nep.train_epochs(now.nep or inner, train, checks, step, progress=progress))
    return replace(now, best_weights=nep.finish(now.nep or inner, train))


def predict(
    structures: Sequence[Atoms],
    *,
    model: str | None = None,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
) -> Targets:
    """Evaluate the trained potential.

    Raises
    ------
    CampaignFileError
        If there are no weights: there is no pretrained potential of this kind.
    """
    del model, file
    if weights is None:
        raise CampaignFileError("There is no pretrained potential to evaluate.", fix="Give the weights of a training.")
    return nep.predict(weights, structures)


def _named(entry: Epoch) -> dict[str, Any]:
    """Return the errors of an epoch, named like the metrics of the other trainers."""

    def part(errors: EpochErrors | None) -> dict[str, float] | None:
        return (
            None
            if errors is None
            else {
                "loss": errors.loss,
                "rmse_energy_meV_per_atom": 1.0e3 * errors.rmse_energy_eV_per_atom,
                "rmse_force_meV_per_A": 1.0e3 * errors.rmse_force_eV_per_A,
                "rmse_stress_GPa": errors.rmse_stress_GPa,
            }
        )

    return {
        "epoch": entry.epoch,
        "learning_rate": entry.learning_rate,
        "train": part(entry.train),
        "validation": part(entry.validation),
    }
