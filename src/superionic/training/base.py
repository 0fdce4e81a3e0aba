"""The contract that every trainer fulfils, and the lookup of a trainer by its name: that of a model, or ``delta``.

A trainer is a module that offers five names:

``TrainOptions``
    Frozen dataclass of plain values with a default for each; ``TrainOptions.from_settings(mapping)`` rejects
    unknown keys. Names that trainers share mean the same in all of them: ``epochs``, ``batch_size``,
    ``learning_rate``, ``freeze``, ``energy_weight``, ``force_weight``, ``stress_weight``, ``patience``.
``TrainState``
    Frozen dataclass of everything on which the rest of a training depends, in types that can be stored (see
    :mod:`superionic.execution.codec`); ``epoch``, ``history``, ``best_epoch``, ``best_weights``, ``finished``. The
    state of a model from a file also has ``file``, its path on this machine, which is not stored.
``start(model=None, *, file=None, weights=None, seed, options=None, train=None, replay=None) -> TrainState``
    ``train``: training labels, whose per-element energies are fitted and subtracted. ``replay``: labels of other
    chemistries on which a multi-head training keeps training; trainers without such a method refuse them.
``train_epochs(state, train, validation, n_epochs, options=None, *, progress=None) -> TrainState``
    One segment. k segments equal one run bit for bit on one thread of a CPU.
``predict(structures, *, model=None, file=None, weights=None) -> Targets``
    Energies, forces and stresses of the network.

Importing a trainer imports no engine; :mod:`superionic.training.conformance` tests each in its engine's environment.
``best_weights`` can be passed as ``weights`` to :func:`superionic.potentials.base.load_potential` for the same model.

The trainer ``delta`` (:mod:`superionic.training.delta`) belongs to no model: its labels are the differences between
labels and the predictions of the potential, and its weights correct that potential.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, Protocol

from ase import Atoms

from superionic.errors import CampaignFileError
from superionic.labels.base import Progress
from superionic.registry import DELTA, find, trainable
from superionic.training.dataset import LabelledSet, Targets

NEEDS_REPLAY: Final = "multihead"
"""The training method that needs replay data."""

FOUNDATION: Final = "foundation"
"""Replay data labelled by the pretrained model itself."""


class Trainer(Protocol):
    """The names that the module of a trainer offers; see the docstring of this module."""

    TrainOptions: Any
    TrainState: Any

    def start(
        self,
        model: str | None = None,
        *,
        file: str | None = None,
        weights: Mapping[str, Any] | None = None,
        seed: int,
        options: Any = None,
        train: LabelledSet | None = None,
        replay: LabelledSet | None = None,
    ) -> Any:
        """Begin a training."""
        ...

    def train_epochs(
        self,
        state: Any,
        train: LabelledSet,
        validation: LabelledSet | None,
        n_epochs: int,
        options: Any = None,
        *,
        progress: Progress | None = None,
    ) -> Any:
        """Train for one segment."""
        ...

    def predict(
        self,
        structures: Sequence[Atoms],
        *,
        model: str | None = None,
        file: str | None = None,
        weights: Mapping[str, Any] | None = None,
    ) -> Targets:
        """Evaluate many structures."""
        ...


def trainer_names() -> tuple[str, ...]:
    """Return the names of all trainers, in alphabetical order."""
    return tuple(sorted((DELTA, *trainable())))


def trainer(name: str) -> Trainer:
    """Return the trainer of this name.

    Raises
    ------
    CampaignFileError
        If there is none.
    """
    model = trainable().get(name)
    place = "superionic.training.delta" if name == DELTA else None if model is None else model.trainer
    if place is None:
        raise CampaignFileError(
            f"There is no trainer for the potential {name!r}.",
            where="train.trainer",
            fix=f"Write trainer: {DELTA}, which corrects any potential; or sample with a potential of one of: "
            f"{', '.join(trainable())}.",
        )
    module: Trainer = importlib.import_module(place)
    return module


def can_replay(name: str) -> bool:
    """Return whether a trainer has a method that learns from replay data."""
    model = find(name)
    return model is not None and NEEDS_REPLAY in model.methods


def has_option(name: str, option: str) -> bool:
    """Return whether a trainer has an option of this name."""
    return option in {field.name for field in fields(trainer(name).TrainOptions)}


def options_of(name: str, settings: Mapping[str, Any], further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Select the shared settings that a trainer accepts, add its own options, and validate them all.

    Parameters
    ----------
    settings
        Shared settings; None stands for the trainer's default, except for ``patience``, where it means never. Names
        that the trainer lacks are ignored.
    further
        Options specific to this trainer; an unknown one is an error.

    Returns
    -------
    dict
        Plain values for ``TrainOptions.from_settings``.

    Raises
    ------
    CampaignFileError
        If there is no such trainer, or an option is unknown or invalid.
    """
    options_class = trainer(name).TrainOptions
    known = {field.name for field in fields(options_class)}
    if "foundation_head" in known and settings.get("modal") is not None:  # MACE's name for it
        settings = {**settings, "foundation_head": settings["modal"]}
    accepted = {key: value for key, value in settings.items() if key in known and value is not None}
    if (
        "patience" in settings
        and settings["patience"] is None
        and getattr(options_class(), "patience", None) is not None
    ):
        accepted["patience"] = None
    accepted |= dict(further or {})
    options_class.from_settings(accepted)
    return accepted
