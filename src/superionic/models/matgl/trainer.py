"""Fine-tuning of M3GNet and TensorNet (matgl) in segments that resume exactly.

The loop is that of :mod:`superionic.training.loop`; network, graph, element references and scale are those of the
adapter :mod:`superionic.models.matgl.potential`, so that the network trained is the one that a campaign evaluates. The
structures of a batch pass through the network one by one, since the adapter's graph, with bonds in the order that
M3GNet's three-body terms need, is for a single structure. Energies of elements, mean and scale stay fixed, as the
per-element shift of the labels replaces them. A model comes from a user's folder (``file``); the engine has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from ase import Atoms

from superionic.training import loop
from superionic.training.state import LoopOptions, LoopState
from superionic.units import GPA_PER_EV_PER_A3

__all__ = ["FREEZE", "TrainOptions", "TrainState", "predict", "start", "train_epochs"]

_EMBEDDINGS: Final = ("embedding", "tensor_embedding", "bond_expansion", "basis_expansion")

FREEZE: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "embeddings": _EMBEDDINGS,
    "all-but-readout": (*_EMBEDDINGS, "three_body_interactions", "graph_layers", "layers"),
}
"""Choices of ``freeze`` → modules whose weights stay fixed, of either network."""


@dataclass(frozen=True)
class TrainOptions(LoopOptions):
    """Options of the training; see :class:`superionic.training.state.LoopOptions`."""

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = FREEZE
    training: ClassVar[str] = "Training of matgl"


@dataclass(frozen=True, kw_only=True)
class TrainState(LoopState):
    """Everything on which the rest of a training depends; see :class:`superionic.training.state.LoopState`."""

    options: TrainOptions


class _Network(loop.Network):
    """M3GNet or TensorNet on one CPU thread, as the loop uses it."""

    def __init__(self, model: str | None, file: str | None, _options: TrainOptions) -> None:
        from superionic.models.matgl import potential as matgl

        # The adapter's own network and graph, so that training and evaluation give the same numbers.
        self._potential = loop.adapter(matgl.load, model, file)
        self.name = self._potential.identity.model
        self.module = self._potential._network

    def graphs(self, structures: Sequence[Atoms]) -> list[Any]:
        for atoms in structures:
            self._potential.check_elements(atoms)
        return [(atoms, *self._potential._edges(atoms)) for atoms in structures]

    def forward(self, graphs: list[Any], *, trainable: bool = True) -> dict[str, Any]:
        import torch

        made = [self._one(*graph, trainable=trainable) for graph in graphs]
        return {
            "e": torch.stack([energy for energy, _, _ in made]),
            "f": [forces for _, forces, _ in made],
            "s": [stress for _, _, stress in made],
        }

    def _one(self, atoms: Atoms, *graph: Any, trainable: bool) -> tuple[Any, Any, Any]:
        """Return energy per atom (eV), forces (eV/Å) and stress (GPa) of one structure."""
        import matgl
        import torch

        centre, neighbour, image, fractional = graph
        own = self._potential
        species = own._species[atoms.numbers]
        strain = torch.zeros((3, 3), requires_grad=True)
        cell = torch.as_tensor(atoms.cell.array, dtype=torch.float32)
        # Both derivatives are of one energy: forces are with respect to positions in the strained cell.
        moves = torch.zeros((len(atoms), 3), requires_grad=True)
        deformed = torch.eye(3) + strain
        lattice = cell @ deformed
        positions = torch.as_tensor(fractional, dtype=torch.float32) @ lattice + moves
        own._site_energies.clear()
        before = matgl.float_th
        matgl.float_th = torch.float32  # read by M3GNet's three-body sums
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # from DGL 1.1 and torch
                run = own._m3gnet if own._kind == "M3GNet" else own._tensornet
                run(positions, torch.as_tensor(image, dtype=torch.float32), lattice, (centre, neighbour), species)
                total = own._std * own._site_energies[0].reshape(-1).sum()
                gradients = torch.autograd.grad(total, [moves, strain], create_graph=trainable)
        finally:
            matgl.float_th = before
            own._site_energies.clear()
        constant = own._mean + float(np.sum(own._references_eV[species]))
        volume = abs(float(atoms.get_volume()))
        return (total + constant) / len(atoms), -gradients[0], gradients[1] * (GPA_PER_EV_PER_A3 / volume)


_TRAINER = loop.Trainer(_Network, TrainOptions, TrainState, "matgl", "A network of matgl has one head")
start, train_epochs, predict = _TRAINER.start, _TRAINER.train_epochs, _TRAINER.predict
