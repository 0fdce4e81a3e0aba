"""Options and state of a training of MACE: plain values and arrays, no engine needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy.typing as npt

from superionic.errors import CampaignFileError
from superionic.training.dataset import ElementReferences, LabelledSet

Arrays = Mapping[str, npt.NDArray[Any]]

MODES: Final = ("naive", "frozen", "lora", "multihead", "scratch")
"""What is trained: all weights; all but those that ``freeze`` names; additions of low rank to the weights (LoRA); all
weights with a second head for the labels, while the first goes on learning replay data; a new network."""

LOSSES: Final = ("stress", "universal")
"""Loss functions, by the names that mace has for them."""

DTYPES: Final = ("float32", "float64")

FREEZE: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "embeddings": ("node_embedding", "radial_embedding"),
    "interactions": ("node_embedding", "radial_embedding", "interactions"),
    "all-but-readout": ("node_embedding", "radial_embedding", "interactions", "products"),
}
"""Choices of ``freeze`` → modules that keep their weights: embeddings of elements and distances; with the messages as
well; with the products as well, so that the readouts alone are trained."""

ARCHITECTURE: Final[Mapping[str, Any]] = {"channels": 128, "layers": 2, "correlation": 3, "r_max_A": 5.0, "max_L": 1}
"""Form of a new network where the options say nothing (paper A: 128 channels, 2 layers, correlation 3, 5 Å)."""

_CAN_BE_NONE: Final = ("patience", "clip_gradient", "ema_decay", *ARCHITECTURE)


@dataclass(frozen=True)
class TrainOptions:
    """How to train. Every value is used as it stands; none is changed in silence.

    Attributes
    ----------
    mode
        One of :data:`MODES`.
    epochs
        Longest training, over which the learning rate falls; segments are parts of it (paper A: 500).
    patience
        Epochs without a better validation loss after which training ends; ``None`` for never (paper A: 20).
    batch_size
        Structures in one step; in multi-head training that many, and as many of the replay data.
    learning_rate
        Initial learning rate of Adam (paper A: 0.01).
    decay_fraction
        Learning rate at the end as a fraction of the initial one, cosine in between; 1 for a constant rate.
    freeze
        Modules that keep their weights, see :data:`FREEZE`.
    initial
        ``"pretrained"``; ``"random"`` is heeded in ``"scratch"`` alone, and refused elsewhere.
    loss
        ``"stress"``: squared errors; ``"universal"``: Huber, where large forces count less.
    energy_weight, force_weight, stress_weight
        Weights of the energy (eV/atom), the forces (eV/Å) and the stress (GPa).
    replay_weight
        Weight of the loss over replay data against that over the labels.
    replay_labels
        ``"given"``: as the replay set has them; ``"foundation"``: replaced by what the checkpoint says of its
        structures.
    ema_decay
        Decay of the running mean of the weights, which is what is validated and kept; ``None`` for no mean.
    amsgrad
        Whether Adam divides by the largest second moment so far.
    weight_decay
        Penalty on squared weights of messages and products, as in mace.
    clip_gradient
        Largest norm of the gradient; a larger one is scaled down. ``None`` for no limit.
    dtype
        ``"float64"`` or ``"float32"``: a checkpoint is brought to it before training.
    e0s
        Energy in eV of an isolated atom of each element in the labels' own frame; by default they are fitted to the
        training labels.
    foundation_head
        Head of the checkpoint to begin from, if its file has several.
    lora_rank, lora_alpha
        Rank of the additions of ``"lora"``, and their scale times the rank.
    channels, layers, correlation, r_max_A, max_L
        Form of a new network (``"scratch"``), see :data:`ARCHITECTURE`. In any other mode the form is that of the
        checkpoint, and a value that differs from it is refused.
    """

    mode: str = "naive"
    epochs: int = 500
    patience: int | None = 20
    batch_size: int = 8
    learning_rate: float = 1.0e-2
    decay_fraction: float = 1.0e-2
    freeze: str = "none"
    initial: str = "pretrained"
    loss: str = "stress"
    energy_weight: float = 1.0
    force_weight: float = 1.0
    stress_weight: float = 0.1
    replay_weight: float = 1.0
    replay_labels: str = "given"
    ema_decay: float | None = 0.99
    amsgrad: bool = True
    weight_decay: float = 5.0e-7
    clip_gradient: float | None = 10.0
    dtype: str = "float64"
    e0s: Mapping[str, float] | None = None
    foundation_head: str | None = None
    lora_rank: int = 4
    lora_alpha: float = 4.0
    channels: int | None = None
    layers: int | None = None
    correlation: int | None = None
    r_max_A: float | None = None
    max_L: int | None = None

    def __post_init__(self) -> None:
        choices: dict[str, Any] = {"mode": MODES, "freeze": tuple(FREEZE), "loss": LOSSES, "dtype": DTYPES}
        for name, known in {**choices, "replay_labels": ("given", "foundation")}.items():
            if getattr(self, name) not in known:
                _refuse(name, getattr(self, name), f"Choose one of: {', '.join(known)}.")
        for name in ("epochs", "batch_size", "lora_rank", "patience", "channels", "layers", "correlation"):
            self._judge(name, "Give a whole number of at least 1.", lambda value: value >= 1)
        for name in ("learning_rate", "lora_alpha", "clip_gradient", "r_max_A"):
            self._judge(name, "Give a number above 0.", lambda value: math.isfinite(value) and value > 0.0)
        names = ("energy_weight", "force_weight", "stress_weight", "replay_weight", "decay_fraction", "weight_decay")
        for name in (*names, "max_L"):
            self._judge(name, "Give a number that is not negative.", lambda value: math.isfinite(value) and value >= 0)
        self._judge("ema_decay", "Give a number between 0 and 1, or null for no mean.", lambda value: 0.0 < value < 1.0)
        self._judge_mode()

    def _judge(self, name: str, fix: str, is_good: Callable[[Any], bool]) -> None:
        value = getattr(self, name)
        if value is None and name in _CAN_BE_NONE:
            return
        if value is None or not is_good(value):
            _refuse(name, value, fix)

    def _judge_mode(self) -> None:
        if self.initial not in ("pretrained", "random") or (self.initial == "random" and self.mode != "scratch"):
            _refuse("initial", self.initial, "MACE is trained from random weights by the option mode: scratch.")
        if self.mode == "frozen" and self.freeze == "none":
            _refuse("freeze", self.freeze, f"Say what keeps its weights: {', '.join(list(FREEZE)[1:])}.")
        if self.mode in ("naive", "lora", "scratch") and self.freeze != "none":
            _refuse("freeze", self.freeze, f"Mode {self.mode} freezes nothing; say mode: frozen, or freeze: none.")
        if self.mode == "multihead" and self.replay_weight == 0.0:
            _refuse("replay_weight", 0.0, "Without replay the first head forgets; give a weight above 0.")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> TrainOptions:
        """Build from plain values.

        Raises
        ------
        CampaignFileError
            If a key is unknown or a value impossible.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            _refuse(unknown[0], settings[unknown[0]], f"Training of MACE knows only: {', '.join(known)}.")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, from which :meth:`from_settings` makes the same options."""
        return {**asdict(self), "e0s": None if self.e0s is None else dict(self.e0s)}

    def architecture(self) -> dict[str, Any]:
        """Form of a new network, with the defaults filled in."""
        given = {name: getattr(self, name) for name in ARCHITECTURE}
        return {name: default if given[name] is None else given[name] for name, default in ARCHITECTURE.items()}


@dataclass(frozen=True)
class TrainState:
    """All that the rest of a training depends on; it needs the checkpoint no more.

    Attributes
    ----------
    model
        Name of the checkpoint, for people.
    file_sha256
        SHA-256 of the checkpoint; empty if there is none.
    seed
        Seed of the order of the batches, and of the weights that begin as random numbers.
    options
        How to train.
    epoch, steps
        Epochs and steps of Adam done.
    fixed
        Settings of the network and arrays that training does not change.
    trained
        What it changes, by name of parameter.
    averaged
        Running means of the trained parameters; empty without ``ema_decay``.
    first_moments, second_moments, largest_moments
        Of Adam, by name of trained parameter (empty before the first step; the last without ``amsgrad``).
    best_weights, best_epoch, best_loss
        Complete weights (:mod:`superionic.potentials.mace_weights`) at the lowest validation loss so far; epoch 0 is
        the untouched start. Without a validation part: those of the last epoch.
    references
        Per-element shifts that are taken off the labels; ``None`` if they are in the network's frame.
    replay
        Replay data of a multi-head training.
    notes
        What a report has to say of the data, in sentences.
    history
        One entry for each epoch (0 is before training): ``epoch``, ``learning_rate`` at its end, ``train``,
        ``validation`` and ``replay``, each with ``loss`` and the metrics of
        :class:`superionic.training.metrics.ErrorMetrics` (``None`` where there is no such part). Errors of training and
        replay data are those met on the way through the epoch.
    file
        Where the checkpoint lies on this machine; not part of :meth:`to_dict`.
    """

    model: str
    file_sha256: str
    seed: int
    options: TrainOptions
    epoch: int
    steps: int
    fixed: Arrays
    trained: Arrays
    averaged: Arrays
    first_moments: Arrays
    second_moments: Arrays
    largest_moments: Arrays
    best_weights: Arrays
    best_epoch: int
    best_loss: float | None
    references: ElementReferences | None
    replay: LabelledSet | None
    notes: tuple[str, ...]
    history: tuple[Mapping[str, Any], ...]
    file: str | None = None

    @property
    def weights(self) -> Arrays:
        """All arrays as they are now, without the running mean."""
        return {**self.fixed, **self.trained}

    @property
    def stopped_early(self) -> bool:
        """Whether patience has run out."""
        patience = self.options.patience
        return patience is not None and self.best_loss is not None and self.epoch - self.best_epoch >= patience

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.epoch >= self.options.epochs or self.stopped_early

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, arrays and structures, from which :meth:`from_dict` makes the same state bit for bit."""
        plain = ("model", "file_sha256", "seed", "epoch", "steps", "best_epoch", "best_loss")
        arrays = ("fixed", "trained", "averaged", "first_moments", "second_moments", "largest_moments", "best_weights")
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: dict(getattr(self, name)) for name in arrays},
            "options": self.options.to_dict(),
            "references": None if self.references is None else self.references.to_dict(),
            "replay": None if self.replay is None else self.replay.to_dict(),
            "notes": list(self.notes),
            "history": [dict(entry) for entry in self.history],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainState:
        """Invert :meth:`to_dict`."""
        references, replay = values["references"], values["replay"]
        changed = {
            "options": TrainOptions(**values["options"]),
            "references": None if references is None else ElementReferences.from_dict(references),
            "replay": None if replay is None else LabelledSet.from_dict(replay),
            "notes": tuple(values["notes"]),
            "history": tuple(values["history"]),
        }
        return cls(**{**values, **changed})


def _refuse(key: str, value: Any, fix: str) -> None:
    raise CampaignFileError(f"{key} of the training cannot be {value!r}.", where=f"train.{key}", fix=fix)
