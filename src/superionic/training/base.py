"""One contract for every trainer, and how it is found by the name of its model.

A trainer is a module that offers five names:

``TrainOptions``
    Frozen dataclass of plain values with a default for each; ``TrainOptions.from_settings(mapping)`` refuses what it
    does not know. Names that trainers share mean the same in all of them: ``epochs``, ``batch_size``,
    ``learning_rate``, ``freeze``, ``energy_weight``, ``force_weight``, ``stress_weight``, ``patience``.
``TrainState``
    Frozen dataclass of all that the rest of a training depends on, of types that can be stored (see
    :mod:`superionic.execution.codec`); ``epoch``, ``history``, ``best_epoch``, ``best_weights``, ``finished``. A state
    of a model from a ``file`` has the attribute ``file``, which is where that lies on this machine and is not stored.
``start(model=None, *, file=None, weights=None, seed, options=None, train=None, replay=None) -> TrainState``
    ``train``: the per-element energies of its labels are fitted and taken off. ``replay``: labels of other chemistries
    that a multi-head training goes on learning; trainers without one refuse it.
``train_epochs(state, train, validation, n_epochs, options=None, *, progress=None) -> TrainState``
    One segment. k segments equal one run bit for bit on one thread of a CPU.
``predict(structures, *, model=None, file=None, weights=None) -> Targets``
    The network's energies, forces and stresses.

Importing a trainer imports no engine; :mod:`superionic.training.conformance` judges each in its engine's environment.
``best_weights`` are what ``weights`` of :func:`superionic.potentials.base.load_potential` takes, for the same model.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, Protocol

from ase import Atoms

from superionic.errors import CampaignFileError
from superionic.labels.base import Progress
from superionic.registry import find, trainable
from superionic.training.dataset import LabelledSet, Targets

NEEDS_REPLAY: Final = "multihead"
"""The way that needs replay data."""

FOUNDATION: Final = "foundation"
"""Replay data that the pretrained model labels itself."""


class Trainer(Protocol):
    """The names that the module of a trainer offers; see the head of this module."""

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
    """Names of the trainers that there are, in alphabetical order."""
    return tuple(trainable())


def trainer(name: str) -> Trainer:
    """Find a trainer.

    Raises
    ------
    CampaignFileError
        If there is none of this name.
    """
    model = trainable().get(name)
    if model is None or model.trainer is None:
        raise CampaignFileError(
            f"There is no trainer for the potential {name!r}.",
            where="train.trainer",
            fix=f"Sample with a potential of one of: {', '.join(trainer_names())}; or leave out `train`.",
        )
    found: Trainer = importlib.import_module(model.trainer)
    return found


def can_replay(name: str) -> bool:
    """Say whether a trainer has a way that learns from replay data."""
    model = find(name)
    return model is not None and NEEDS_REPLAY in model.methods


def has_option(name: str, option: str) -> bool:
    """Say whether a trainer has an option of this name."""
    return option in {field.name for field in fields(trainer(name).TrainOptions)}


def options_of(name: str, settings: Mapping[str, Any], further: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Choose from shared settings those that a trainer has, and judge them.

    Parameters
    ----------
    name
        The trainer.
    settings
        Shared settings; None stands for the trainer's own default, but for ``patience``, where it means never. A name
        that the trainer does not have is left out.
    further
        Options of this trainer alone; each must be known to it.

    Returns
    -------
    dict
        Plain values that ``TrainOptions.from_settings`` takes.

    Raises
    ------
    CampaignFileError
        If there is no such trainer, or an option is unknown or impossible.
    """
    options = trainer(name).TrainOptions
    known = {field.name for field in fields(options)}
    if "foundation_head" in known and settings.get("modal") is not None:  # what MACE calls it
        settings = {**settings, "foundation_head": settings["modal"]}
    chosen = {key: value for key, value in settings.items() if key in known and value is not None}
    if "patience" in settings and settings["patience"] is None and getattr(options(), "patience", None) is not None:
        chosen["patience"] = None
    chosen |= dict(further or {})
    options.from_settings(chosen)
    return chosen
