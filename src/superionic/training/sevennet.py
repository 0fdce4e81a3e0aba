"""Fine-tuning of SevenNet in segments that resume exactly.

The loop is that of :mod:`superionic.training.loop`: sevenn's own trainer keeps its schedule, its random numbers and
its loaders to itself, and cannot be stopped and resumed without a trace. What a model of several levels of theory
(7net-mf-0) is trained in is the level of the model that sampled, e.g. ``"7net-mf-0/PBE"``, and its tuned weights are
used in that level; the other one shares most of them and is not looked after.

SevenNet's energies of elements (shift and scale) are frozen, as are its radial basis and its numbers of neighbours: the
per-element shift of the labels replaces the first, and the others are settings of the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from ase import Atoms

from superionic.errors import CampaignFileError, EngineError, PotentialError
from superionic.labels.base import Progress
from superionic.potentials import checkpoints
from superionic.training import loop
from superionic.training.dataset import LabelledSet, Targets
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
"""Choices of ``freeze`` → modules that keep their weights. ``"all-but-readout"`` leaves the last of the five
interaction blocks of the published models and the readout to be trained."""


@dataclass(frozen=True)
class TrainOptions(LoopOptions):
    """How to train; see :class:`superionic.training.state.LoopOptions`.

    Attributes
    ----------
    modal
        Level of theory of a user's file that has several.
    """

    learning_rate: float = 4.0e-4
    modal: str | None = None

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = FREEZE
    trainer_name: ClassVar[str] = "SevenNet"


@dataclass(frozen=True)
class TrainState(LoopState):
    """All that the rest of a training depends on; see :class:`superionic.training.state.LoopState`."""

    options_class: ClassVar[type[LoopOptions]] = TrainOptions


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
    """Begin a fine-tuning.

    Parameters
    ----------
    model
        Published model, see :mod:`superionic.potentials.sevennet`; with ``file`` a name for it.
    file
        A checkpoint of SevenNet.
    weights
        Weights of an earlier fine-tuning to begin from; the model's own by default.
    seed
        Seed of the order of the batches.
    options
        How to train.
    train
        The training part, to fit the per-element shifts of its labels on; without it labels must be in the model's
        own frame.
    replay
        None: SevenNet is trained with one head here.

    Raises
    ------
    EngineError
        If sevenn cannot be imported here.
    PotentialError
        If there is no such model, or the file is no checkpoint.
    CampaignFileError
        If replay data are given.
    """
    if replay is not None:
        raise CampaignFileError(
            "SevenNet is trained with one head here, so it cannot go on learning replay data beside the labels.",
            where="train.replay",
            fix="Leave replay out (freeze more layers to forget less), or train MACE.",
        )
    chosen = TrainOptions() if options is None else options
    network = _Network(model, file, weights, chosen.modal)
    state: TrainState = loop.begin(
        network, TrainState, model=network.name, seed=seed, options=chosen, train=train, file=file
    )
    return state


def train_epochs(
    state: TrainState,
    train: LabelledSet,
    validation: LabelledSet | None,
    n_epochs: int,
    options: TrainOptions | None = None,
    *,
    progress: Progress | None = None,
) -> TrainState:
    """Train for one segment; see :func:`superionic.training.chgnet.train_epochs`.

    Raises
    ------
    CalculationFailed
        If the loss is not finite any more.
    EngineError
        If sevenn cannot be imported here.
    ValueError
        If ``options`` are not those of ``state``.
    """
    network = _Network(state.model, state.file, None, state.options.modal)
    after: TrainState = loop.run_epochs(network, state, train, validation, n_epochs, options, progress=progress)
    return after


def predict(
    structures: Sequence[Atoms],
    *,
    model: str | None = None,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    modal: str | None = None,
    batch_size: int = 4,
) -> Targets:
    """Evaluate SevenNet on many structures, in its own energy frame; parameters as :func:`start`."""
    network = _Network(model, file, weights, modal)
    return loop.predict(network, network.graphs(structures), batch_size)


class _Network:
    """SevenNet on one CPU thread, as the loop sees it."""

    always_frozen: tuple[str, ...] = (
        "rescale_atomic_energy",
        "edge_embedding",
        *(f"{layer}_convolution.denominator" for layer in range(2 * _LAYERS)),
    )

    def __init__(
        self, model: str | None, file: str | None, weights: Mapping[str, np.ndarray] | None, modal: str | None
    ) -> None:
        try:
            import torch

            from superionic.potentials import sevennet

            given: dict[str, Any] = {} if file is None else {"file": file, "modal": modal}
            try:
                potential = sevennet.load(model, **given)
            except PotentialError:
                if file is None:
                    raise
                # A file whose energy convention nobody stated: the shift of the labels makes up for it.
                potential = sevennet.load(model, energy_convention="own: not stated", **given)
        except ModuleNotFoundError as error:
            raise EngineError(
                f"Training SevenNet needs the module {error.name}, which is not installed in this environment.",
                fix="Install its engine: superionic engines install sevennet",
            ) from error
        # Without fusion: torch would compile other kernels after some evaluations, which round in another way.
        torch.jit.set_fusion_strategy([("STATIC", 0), ("DYNAMIC", 0)])
        self.name = potential.identity.model
        # The adapter's own network, read and checked as for any other use of it.
        self.module: Any = potential._model
        self._cutoff_A, self._modal = potential._cutoff_A, potential._modal
        self.module.set_is_batch_data(True)
        if weights is not None:
            self.load(weights)

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        import torch

        self.module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})

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

        self.module.train(trainable)  # in sevenn this decides whether forces can be differentiated
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch: scripted modules
            output = self.module(Batch.from_data_list(graphs))
        n_atoms = output[key.NUM_ATOMS].view(-1)
        # SevenNet: compressive positive, in the order xx, yy, zz, xy, yz, zx.
        stress = -GPA_PER_EV_PER_A3 * output[key.PRED_STRESS].view(-1, 6)
        return {
            "e": output[key.PRED_TOTAL_ENERGY].view(-1) / n_atoms,
            "f": list(torch.split(output[key.PRED_FORCE], n_atoms.tolist())),
            "s": stress[:, [0, 3, 5, 3, 1, 4, 5, 4, 2]].view(-1, 3, 3),
        }
