"""Options and state of a fine-tuning of CHGNet: plain values and arrays, without the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from superionic.training.state import LoopOptions, LoopState

MODELS: Final = ("0.3.0", "r2scan")
"""Models in the chgnet wheel from which a fine-tuning can start."""

_EMBEDDINGS: Final = (
    "atom_embedding",
    "bond_basis_expansion",
    "bond_embedding",
    "angle_basis_expansion",
    "angle_embedding",
)
_ALL_BUT_READOUT: Final = (
    *_EMBEDDINGS,
    "atom_conv_layers.0",
    "atom_conv_layers.1",
    "atom_conv_layers.2",
    "bond_conv_layers",
    "angle_layers",
)
FREEZE: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "embeddings": _EMBEDDINGS,
    "one-block": (*_EMBEDDINGS, "atom_conv_layers.0", "bond_conv_layers.0", "angle_layers.0"),
    "two-blocks": (
        *_EMBEDDINGS,
        "atom_conv_layers.0",
        "atom_conv_layers.1",
        "bond_conv_layers.0",
        "bond_conv_layers.1",
        "angle_layers.0",
        "angle_layers.1",
    ),
    "all-but-readout": _ALL_BUT_READOUT,
}
"""Choices of ``freeze`` → modules whose weights stay fixed, in increasing number (the number of frozen layers was
optimised in paper B). ``"all-but-readout"`` trains the last atom convolution, the bond weights and the readout.
CHGNet's per-element energies are always frozen: the shift replaces them."""


@dataclass(frozen=True)
class TrainOptions(LoopOptions):
    """Options of the training; see :class:`superionic.training.state.LoopOptions`."""

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = FREEZE
    training: ClassVar[str] = "Training of CHGNet"


@dataclass(frozen=True, kw_only=True)
class TrainState(LoopState):
    """Everything on which the rest of a training depends; see :class:`superionic.training.state.LoopState`."""

    options: TrainOptions
