"""Options and state of a training of MACE: plain values and arrays, without the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from superionic.training.dataset import LabelledSet
from superionic.training.state import AdamState, Arrays, Options, refuse

MODES: Final = ("naive", "frozen", "lora", "multihead", "scratch")
"""Modes of training: all weights; all but those named by ``freeze``; low-rank additions to the weights (LoRA); all
weights, with a second head for the labels while the first keeps training on replay data; a new network."""

LOSSES: Final = ("stress", "universal")
"""Loss functions, by mace's names."""

DTYPES: Final = ("float32", "float64")

FREEZE: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "embeddings": ("node_embedding", "radial_embedding"),
    "interactions": ("node_embedding", "radial_embedding", "interactions"),
    "all-but-readout": ("node_embedding", "radial_embedding", "interactions", "products"),
}
"""Choices of ``freeze`` → modules whose weights stay fixed: embeddings of elements and distances; the messages as well;
the products as well, so that only the readouts are trained."""

ARCHITECTURE: Final[Mapping[str, Any]] = {"channels": 128, "layers": 2, "correlation": 3, "r_max_A": 5.0, "max_L": 1}
"""Default architecture of a new network (paper A: 128 channels, 2 layers, correlation 3, 5 Å)."""

_CAN_BE_NONE: Final = ("patience", "clip_gradient", "ema_decay", *ARCHITECTURE)


@dataclass(frozen=True)
class TrainOptions(Options):
    """Options of a training of MACE. Every value is used as given; none is silently changed.

    Attributes
    ----------
    mode
        One of :data:`MODES`.
    epochs
        Largest number of epochs, over which the learning rate falls and of which segments are parts (paper A: 500).
    patience
        Number of epochs without a better validation loss after which training ends; ``None`` for never (paper A: 20).
    batch_size
        Number of structures in one step; multi-head training adds as many of the replay data.
    learning_rate
        Initial learning rate of Adam (paper A: 0.01).
    decay_fraction
        Final learning rate as a fraction of the initial one, with a cosine in between; 1 for a constant rate.
    freeze
        Modules whose weights stay fixed; see :data:`FREEZE`.
    initial
        ``"pretrained"``; ``"random"`` is accepted in the mode ``"scratch"`` only.
    loss
        ``"stress"``: squared errors; ``"universal"``: Huber loss, in which large forces count less.
    energy_weight, force_weight, stress_weight
        Weights in the loss of the energy (eV/atom), the forces (eV/Å) and the stress (GPa).
    replay_weight
        Weight of the loss over replay data relative to that over the labels.
    replay_labels
        ``"given"``: labels of the replay set; ``"foundation"``: the checkpoint's own predictions for its structures.
    ema_decay
        Decay of the running mean of the weights, which is validated and saved; ``None`` for no mean.
    amsgrad
        Whether Adam divides by the largest second moment so far.
    weight_decay
        Penalty on the squared weights of messages and products, as in mace.
    clip_gradient
        Largest norm of the gradient; a larger one is scaled down. ``None`` for no limit.
    dtype
        Precision, ``"float64"`` or ``"float32"``, to which a checkpoint is converted before training.
    e0s
        Energy in eV of an isolated atom of each element by the reference of the labels; by default they are fitted to
        the training labels.
    foundation_head
        Head of the checkpoint to start from, if its file has several.
    lora_rank, lora_alpha
        Rank of the low-rank additions of ``"lora"``, and their scale times the rank.
    channels, layers, correlation, r_max_A, max_L
        Architecture of a new network (``"scratch"``); see :data:`ARCHITECTURE`. In any other mode it is that of the
        checkpoint, and a different value is refused.
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

    training: ClassVar[str] = "Training of MACE"

    def __post_init__(self) -> None:
        choices: dict[str, Any] = {"mode": MODES, "freeze": tuple(FREEZE), "loss": LOSSES, "dtype": DTYPES}
        for name, known in {**choices, "replay_labels": ("given", "foundation")}.items():
            if getattr(self, name) not in known:
                refuse(name, getattr(self, name), f"Choose one of: {', '.join(known)}.")
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
            refuse(name, value, fix)

    def _judge_mode(self) -> None:
        if self.initial not in ("pretrained", "random") or (self.initial == "random" and self.mode != "scratch"):
            refuse("initial", self.initial, "To train MACE from random weights, set mode: scratch.")
        if self.mode == "frozen" and self.freeze == "none":
            refuse("freeze", self.freeze, f"Name the modules to freeze: {', '.join(list(FREEZE)[1:])}.")
        if self.mode in ("naive", "lora", "scratch") and self.freeze != "none":
            refuse("freeze", self.freeze, f"Mode {self.mode} freezes nothing; set mode: frozen, or freeze: none.")
        if self.mode == "multihead" and self.replay_weight == 0.0:
            refuse("replay_weight", 0.0, "Without replay the first head forgets; give a weight above 0.")

    def architecture(self) -> dict[str, Any]:
        """Return the architecture of a new network, completed by defaults."""
        values = {name: getattr(self, name) for name in ARCHITECTURE}
        return {name: default if values[name] is None else values[name] for name, default in ARCHITECTURE.items()}


@dataclass(frozen=True, kw_only=True)
class TrainState(AdamState):
    """Everything on which the rest of a training depends; the checkpoint is no longer needed.

    Entries of ``history`` have ``replay`` beside ``train`` and ``validation``. ``best_weights`` are complete weights
    (:mod:`superionic.models.mace.weights`).

    Attributes
    ----------
    file_sha256
        SHA-256 of the checkpoint; empty if there is none.
    fixed
        Settings of the network and arrays that training does not change.
    trained
        Arrays that training changes, by name of parameter.
    averaged
        Running means of the trained parameters; empty without ``ema_decay``.
    largest_moments
        Largest second moments of Adam, by name of trained parameter; empty without ``amsgrad``.
    replay
        Replay data of a multi-head training.
    notes
        Remarks on the data for the report, in sentences.
    """

    options: TrainOptions
    file_sha256: str
    fixed: Arrays
    trained: Arrays
    averaged: Arrays
    largest_moments: Arrays
    replay: LabelledSet | None
    notes: tuple[str, ...]

    @property
    def weights(self) -> Arrays:
        """All current arrays, without the running mean."""
        return {**self.fixed, **self.trained}
