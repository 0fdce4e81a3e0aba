"""Options and state of a fine-tuning of CHGNet: plain values and arrays, no engine needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from superionic.training.state import LoopOptions, LoopState

MODELS: Final = ("0.3.0", "r2scan")
"""Models that the chgnet wheel brings and that can be the start of a fine-tuning."""

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
"""Choices of ``freeze`` → modules that keep their weights, more and more of them (the number of frozen layers that
paper B optimised). ``"all-but-readout"`` leaves the last atom convolution, the bond weights and the readout to be
trained. CHGNet's per-element energies are always frozen: the shift replaces them."""


@dataclass(frozen=True)
class TrainOptions(LoopOptions):
    """How to train; see :class:`superionic.training.state.LoopOptions`."""

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = FREEZE
    training: ClassVar[str] = "Training of CHGNet"


@dataclass(frozen=True, kw_only=True)
class TrainState(LoopState):
    """All that the rest of a training depends on; see :class:`superionic.training.state.LoopState`."""

    options: TrainOptions
