"""Options and states shared by trainers: plain values and arrays, without any engine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy.typing as npt

from superionic.errors import CampaignFileError
from superionic.training.dataset import ElementReferences

Arrays = Mapping[str, npt.NDArray[Any]]

INITIAL = ("pretrained", "random")


class Options:
    """Frozen options of a trainer, each with a default.

    Attributes
    ----------
    training
        Name of the training in messages.
    """

    training: ClassVar[str]

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Self:
        """Build from plain values.

        Raises
        ------
        CampaignFileError
            If a key is unknown or a value invalid.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]  # its subclasses are dataclasses
        unknown = sorted(set(settings) - set(known))
        if unknown:
            refuse(unknown[0], settings[unknown[0]], f"{cls.training} has only the options: {', '.join(known)}.")
        return cls(**settings)


@dataclass(frozen=True)
class LoopOptions(Options):
    """Options of a training by :mod:`superionic.training.loop`.

    Attributes
    ----------
    epochs
        Length of the whole training, over which the learning rate falls and of which segments are parts.
    batch_size
        Number of structures in one step.
    learning_rate
        Initial learning rate of Adam.
    decay_fraction
        Final learning rate, as a fraction of the initial one.
    freeze
        Modules whose weights stay fixed: a key of :attr:`freezes`.
    initial
        ``"pretrained"``, or ``"random"`` to train from scratch (weights drawn from the seed, while the network's
        energies of elements and its basis stay).
    energy_weight, force_weight, stress_weight
        Weights in the loss of the energy (eV/atom), the forces (eV/Å) and the stress (GPa).
    huber_delta
        Error at which the Huber loss turns from quadratic to linear, in the units above.
    patience
        Number of epochs without a better validation loss after which training ends; ``None`` for never.
    """

    epochs: int = 50
    batch_size: int = 8
    learning_rate: float = 1.0e-3
    decay_fraction: float = 1.0e-2
    freeze: str = "none"
    initial: str = "pretrained"
    energy_weight: float = 1.0
    force_weight: float = 1.0
    stress_weight: float = 0.1
    huber_delta: float = 0.1
    patience: int | None = None

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = {"none": ()}

    def __post_init__(self) -> None:
        if self.freeze not in self.freezes:
            refuse("freeze", self.freeze, f"Choose one of: {', '.join(self.freezes)}.")
        if self.initial not in INITIAL:
            refuse("initial", self.initial, f"Choose one of: {', '.join(INITIAL)}.")
        if self.initial == "random" and self.freeze != "none":
            refuse("freeze", self.freeze, "From random weights, all layers must be trained: use freeze: none.")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                refuse(name, getattr(self, name), "Give a whole number of at least 1.")
        for name in ("learning_rate", "huber_delta"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0.0):
                refuse(name, getattr(self, name), "Give a number above 0.")
        for name in ("energy_weight", "force_weight", "stress_weight", "decay_fraction"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0.0):
                refuse(name, getattr(self, name), "Give a number that is not negative.")
        if self.patience is not None and self.patience < 1:
            refuse("patience", self.patience, "Give a whole number of at least 1, or null.")


@dataclass(frozen=True, kw_only=True)
class AdamState:
    """The state of a training by Adam, as far as trainers have it in common.

    Attributes
    ----------
    model
        Name of the initial model, for readers.
    seed
        Seed of the order of the batches, and of random initial weights.
    options
        Options of the training.
    epoch, steps
        Numbers of completed epochs and of Adam's steps.
    first_moments, second_moments
        Adam's moments, by name of trained parameter (empty before the first step).
    best_weights, best_epoch, best_loss
        Weights at the lowest validation loss so far, their epoch (0 is the untouched start) and that loss. Without a
        validation set, the weights of the last epoch.
    references
        Per-element shifts subtracted from the labels; ``None`` if labels already have the network's zero of energy.
    history
        One entry for each epoch (0 is before training): ``epoch``, ``learning_rate`` at its end, ``train`` and
        ``validation``, each with ``loss`` and the metrics of :class:`superionic.training.metrics.ErrorMetrics`
        (``validation`` is None without a validation set). Training errors are collected in the course of the epoch.
    file
        Path of the model's file on this machine, unless the model is a published one; it is not stored.
    """

    model: str
    seed: int
    options: Any
    epoch: int
    steps: int
    first_moments: Arrays
    second_moments: Arrays
    best_weights: Arrays
    best_epoch: int
    best_loss: float | None
    references: ElementReferences | None
    history: tuple[Mapping[str, Any], ...]
    file: str | None = None

    @property
    def stopped_early(self) -> bool:
        """Whether patience has run out."""
        patience = self.options.patience
        return patience is not None and self.best_loss is not None and self.epoch - self.best_epoch >= patience

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return bool(self.epoch >= self.options.epochs or self.stopped_early)


@dataclass(frozen=True, kw_only=True)
class LoopState(AdamState):
    """Everything on which the rest of a training by :mod:`superionic.training.loop` depends.

    Attributes
    ----------
    weights
        Current weights, by parameter name (the whole state dict of the network).
    """

    weights: Arrays


def refuse(option: str, value: Any, fix: str) -> None:
    """Raise the error for an invalid value of an option.

    Raises
    ------
    CampaignFileError
        Always.
    """
    raise CampaignFileError(f"{option} of the training cannot be {value!r}.", where=f"train.{option}", fix=fix)
