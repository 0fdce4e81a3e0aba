"""Fine-tuning of M3GNet and TensorNet (matgl) in segments that resume exactly.

The loop is that of :mod:`superionic.training.loop`; network, graph, references of elements and scale are those of the
adapter :mod:`superionic.potentials.matgl`, so that what is trained is what a campaign evaluates. Structures of a batch
go through the network one by one: the graph of the adapter, in which bonds stand in the order that M3GNet's three-body
terms need, is of one structure. Energies of elements, mean and scale keep their values, as the per-element shift of
the labels replaces them. A model comes from a user's folder (``file``); nothing is published with the engine.
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
from superionic.training import loop
from superionic.training.dataset import LabelledSet, Targets
from superionic.training.state import LoopOptions, LoopState
from superionic.units import GPA_PER_EV_PER_A3

__all__ = ["FREEZE", "TrainOptions", "TrainState", "predict", "start", "train_epochs"]

_EMBEDDINGS: Final = ("embedding", "tensor_embedding", "bond_expansion", "basis_expansion")

FREEZE: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "embeddings": _EMBEDDINGS,
    "all-but-readout": (*_EMBEDDINGS, "three_body_interactions", "graph_layers", "layers"),
}
"""Choices of ``freeze`` → modules that keep their weights, of either network."""


@dataclass(frozen=True)
class TrainOptions(LoopOptions):
    """How to train; see :class:`superionic.training.state.LoopOptions`."""

    freezes: ClassVar[Mapping[str, tuple[str, ...]]] = FREEZE
    trainer_name: ClassVar[str] = "matgl"


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
        A name for the model, for people; without ``file`` one of the small test networks.
    file
        Folder with ``model.json`` and ``state.pt``.
    weights
        Weights of an earlier fine-tuning to begin from; the folder's own by default.
    seed
        Seed of the order of the batches.
    options
        How to train.
    train
        The training part, to fit the per-element shifts of its labels on; without it labels must be in the model's
        own frame.
    replay
        None: these networks have one head.

    Raises
    ------
    EngineError
        If matgl cannot be imported here.
    PotentialError
        If there is no such model or folder.
    CampaignFileError
        If replay data are given.
    """
    if replay is not None:
        raise CampaignFileError(
            "M3GNet and TensorNet have one head, so they cannot go on learning replay data beside the labels.",
            where="train.replay",
            fix="Leave replay out (freeze more layers to forget less), or train MACE.",
        )
    network = _Network(model, file, weights)
    state: TrainState = loop.begin(
        network,
        TrainState,
        model=network.name,
        seed=seed,
        options=TrainOptions() if options is None else options,
        train=train,
        file=file,
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
        If the loss is not finite any more, or an atom of a structure has no neighbour.
    EngineError
        If matgl cannot be imported here.
    ValueError
        If ``options`` are not those of ``state``.
    """
    network = _Network(state.model, state.file, None)
    after: TrainState = loop.run_epochs(network, state, train, validation, n_epochs, options, progress=progress)
    return after


def predict(
    structures: Sequence[Atoms],
    *,
    model: str | None = None,
    file: str | None = None,
    weights: Mapping[str, np.ndarray] | None = None,
    batch_size: int = 4,
) -> Targets:
    """Evaluate a model on many structures, in its own energy frame; parameters as :func:`start`."""
    network = _Network(model, file, weights)
    return loop.predict(network, network.graphs(structures), batch_size)


class _Network:
    """M3GNet or TensorNet on one CPU thread, as the loop sees it."""

    always_frozen: tuple[str, ...] = ()

    def __init__(self, model: str | None, file: str | None, weights: Mapping[str, np.ndarray] | None) -> None:
        try:
            from superionic.potentials import matgl

            given: dict[str, Any] = {} if file is None else {"file": file}
            try:
                potential = matgl.load(model, **given)
            except PotentialError:
                if file is None:
                    raise
                # A folder whose energy convention nobody stated: the shift of the labels makes up for it.
                potential = matgl.load(model, energy_convention="own: not stated", **given)
        except ModuleNotFoundError as error:
            raise EngineError(
                f"Training M3GNet or TensorNet needs the module {error.name}, which is not installed here.",
                fix="Install its engine: superionic engines install matgl",
            ) from error
        self.name = potential.identity.model
        # The adapter's own network and graph, so that both sides mean the same numbers.
        self._potential = potential
        self.module: Any = potential._network
        if weights is not None:
            self.load(weights)

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        import torch

        self.module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})

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
        """Energy per atom (eV), forces (eV/Å) and stress (GPa) of one structure."""
        import matgl
        import torch

        centre, neighbour, image, fractional = graph
        own = self._potential
        species = own._species[atoms.numbers]
        strain = torch.zeros((3, 3), requires_grad=True)
        cell = torch.as_tensor(atoms.cell.array, dtype=torch.float32)
        # Both derivatives are of one energy: the positions that the forces belong to lie in the strained cell.
        moves = torch.zeros((len(atoms), 3), requires_grad=True)
        deformed = torch.eye(3) + strain
        lattice = cell @ deformed
        positions = torch.as_tensor(fractional, dtype=torch.float32) @ lattice + moves
        own._site_energies.clear()
        before = matgl.float_th
        matgl.float_th = torch.float32  # the three-body sums of M3GNet ask for it
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of DGL 1.1 and torch
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
