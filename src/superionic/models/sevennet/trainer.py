"""Fine-tuning of SevenNet in segments that resume exactly.

The loop is that of :mod:`superionic.training.loop`: sevenn's own trainer does not expose its schedule, random numbers
and loaders, and cannot be stopped and resumed without a trace. A model with several levels of theory (7net-mf-0) is
trained at the level of the model that sampled, e.g. ``"7net-mf-0/PBE"``, and its fine-tuned weights are used at that
level; the other level shares most of them and is not monitored.

SevenNet's energies of elements (shift and scale) are frozen, as are its radial basis and its numbers of neighbours: the
per-element shift of the labels replaces the former, and the latter are settings of the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from ase import Atoms

from superionic.potentials import checkpoints
from superionic.training import loop
from superionic.training.state import LoopOptions, LoopState
from superionic.units import GPA_PER_EV_PER_A3

__all__ = ["FREEZE", "TrainOptions", "TrainState", "predict", "start", "train_epochs"]

_LAYERS: Final = 5


def _blocks(n: int) -> tuple[str, ...]:
    parts = ("self_connection_intro", "self_interaction_1", "convolution", "self_interaction_2", "equivariant_gate")
    return ("onehot_to_feature_x", *(f"{layer}_{part}" for layer in range(n) for part in parts))


FREEZE: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "embeddings": _blocks(0),
    "one-block": _blocks(1),
    "two-blocks": _blocks(2),
    "all-but-readout": _blocks(_LAYERS - 1),
}
"""Choices of ``freeze`` → modules whose weights stay fixed. ``"all-but-readout"`` trains the last of the five
interaction blocks of the published models, and the readout."""


@dataclass(frozen=True)
class TrainOptions(LoopOptions):
    """Options of the training; see :class:`superionic.training.state.LoopOptions`.

    Attributes
    ----------
    modal
        Level of theory, for a user's file with several.
    """

    learning_rate: float = 4.0e-4
    modal: str | None = None

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = FREEZE
    training: ClassVar[str] = "Training of SevenNet"


@dataclass(frozen=True, kw_only=True)
class TrainState(LoopState):
    """Everything on which the rest of a training depends; see :class:`superionic.training.state.LoopState`."""

    options: TrainOptions


class _Network(loop.Network):
    """SevenNet on one CPU thread, as the loop uses it."""

    always_frozen = (
        "rescale_atomic_energy",
        "edge_embedding",
        *(f"{layer}_convolution.denominator" for layer in range(2 * _LAYERS)),
    )

    def __init__(self, model: str | None, file: str | None, options: TrainOptions) -> None:
        import torch

        from superionic.models.sevennet import potential as sevennet

        potential = loop.adapter(sevennet.load, model, file, modal=options.modal)
        # Without fusion, as torch would compile new kernels after some evaluations, which round differently.
        torch.jit.set_fusion_strategy([("STATIC", 0), ("DYNAMIC", 0)])
        self.name = potential.identity.model
        # The adapter's own network, read and checked as for any other use.
        self.module = potential._network
        self._cutoff_A, self._modal = potential._cutoff_A, potential._modal
        self.module.set_is_batch_data(True)

    def graphs(self, structures: Sequence[Atoms]) -> list[Any]:
        import sevenn._keys as key
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        graphs = []
        for atoms in structures:
            checkpoints.wrapped_fractions(atoms, "SevenNet")
            wrapped = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            wrapped.wrap(eps=0.0)
            data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(wrapped, self._cutoff_A, with_shift=False))
            if self._modal is not None:
                data[key.DATA_MODALITY] = self._modal
            graphs.append(data)
        return graphs

    def forward(self, graphs: list[Any], *, trainable: bool = True) -> dict[str, Any]:
        import sevenn._keys as key
        import torch
        from torch_geometric.data import Batch

        self.module.train(trainable)  # in sevenn this determines whether forces can be differentiated
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from torch: scripted modules
            output = self.module(Batch.from_data_list(graphs))
        n_atoms = output[key.NUM_ATOMS].view(-1)
        # SevenNet: compressive positive, in the order xx, yy, zz, xy, yz, zx.
        stress = -GPA_PER_EV_PER_A3 * output[key.PRED_STRESS].view(-1, 6)
        return {
            "e": output[key.PRED_TOTAL_ENERGY].view(-1) / n_atoms,
            "f": list(torch.split(output[key.PRED_FORCE], n_atoms.tolist())),
            "s": stress[:, [0, 3, 5, 3, 1, 4, 5, 4, 2]].view(-1, 3, 3),
        }


_TRAINER = loop.Trainer(_Network, TrainOptions, TrainState, "sevennet", "SevenNet is trained with one head here")
start, train_epochs, predict = _TRAINER.start, _TRAINER.train_epochs, _TRAINER.predict
