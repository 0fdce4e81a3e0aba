"""Fine-tuning of CHGNet in segments that resume exactly.

Energy (per atom), forces and stress are fitted with a Huber loss and Adam under a cosine learning rate, as CHGNet was
trained (Deng et al., Nat. Mach. Intell. 5, 1031 (2023); paper B keeps all of it but batch size, epochs, initial
learning rate and number of frozen layers). Magnetic moments are no target. The loop is that of
:mod:`superionic.training.loop`.

The per-element shift between the labels and CHGNet's own energies (Materials Project corrections against raw energies
of a PAW code) must be taken off the labels: either beforehand, or here, where :func:`start` fits it on the training
part and :func:`train_epochs` takes it off training and validation labels alike. The fine-tuned model stays in CHGNet's
energy frame.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError, EngineError
from superionic.labels.base import Progress
from superionic.training import loop
from superionic.training.chgnet_state import FREEZE, MODELS, TrainOptions, TrainState
from superionic.training.dataset import LabelledSet, Targets
from superionic.units import GPA_PER_EV_PER_A3

__all__ = ["FREEZE", "MODELS", "TrainOptions", "TrainState", "predict", "start", "train_epochs"]


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
        Published model, see :data:`MODELS`; 0.3.0 by default.
    file, replay
        None: CHGNet begins from a published model, and has one head.
    weights
        Weights of an earlier fine-tuning to begin from (a further rung of a ladder); the published ones by default.
    seed
        Seed of the order of the batches.
    options
        How to train.
    train
        The training part, to fit the per-element shifts of its labels on; without it labels must be in CHGNet's frame.

    Raises
    ------
    EngineError
        If CHGNet cannot be imported here.
    CampaignFileError
        If there is no such model, or a file or replay data are given.
    """
    if file is not None:
        raise CampaignFileError(
            "CHGNet begins from a published model, not from a file.", fix="Give earlier weights as `weights`."
        )
    if replay is not None:
        raise CampaignFileError(
            "CHGNet has one head, so it cannot go on learning replay data beside the labels.",
            where="train.replay",
            fix="Leave replay out (freeze more layers to forget less), or train MACE.",
        )
    name = _model_name(model)
    state: TrainState = loop.begin(
        _Network(name, weights),
        TrainState,
        model=name,
        seed=seed,
        options=TrainOptions() if options is None else options,
        train=train,
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
    """Train for one segment.

    Parameters
    ----------
    state
        Where the training stands; not changed.
    train, validation
        Labels as they came from the reference; the shifts in ``state`` are taken off here. ``None`` or an empty
        validation part: the last weights count as the best.
    n_epochs
        Epochs of this segment. Fewer are done if the training is finished before.
    options
        Those that the training began with, if they are to be checked.
    progress
        Called after each step of Adam.

    Returns
    -------
    TrainState
        The state after the segment.

    Raises
    ------
    CalculationFailed
        If the loss is not finite any more (a learning rate that is too high, or a broken label).
    EngineError
        If CHGNet cannot be imported here.
    ValueError
        If ``options`` are not those of ``state``.
    """
    network = _Network(state.model, None)
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
    """Evaluate CHGNet on many structures, in its own energy frame.

    Parameters
    ----------
    structures
        Periodic structures.
    model, weights
        Published model, and the weights that replace its own.
    file
        None.
    batch_size
        Structures evaluated at a time.
    """
    del file
    network = _Network(_model_name(model), weights)
    return loop.predict(network, network.graphs(structures), batch_size)


class _Network:
    """CHGNet on one CPU thread, as the loop sees it."""

    always_frozen: tuple[str, ...] = ("composition_model",)  # the shift of the labels replaces them

    def __init__(self, name: str, weights: Mapping[str, np.ndarray] | None) -> None:
        try:
            import torch
            from chgnet.model import CHGNet
        except ModuleNotFoundError as error:
            raise EngineError(
                f"Training CHGNet needs the module {error.name}, which is not installed in this environment.",
                fix="Install its engine: superionic engines install chgnet",
            ) from error
        torch.set_num_threads(1)
        with contextlib.redirect_stdout(io.StringIO()):  # it announces its number of parameters each time
            self.module: Any = CHGNet.load(model_name=name, use_device="cpu", verbose=False)
        if weights is not None:
            self.load(weights)

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        import torch

        self.module.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in weights.items()})

    def graphs(self, structures: Sequence[Atoms]) -> list[Any]:
        from pymatgen.core import Structure

        graphs = []
        for number, atoms in enumerate(structures):
            structure = Structure(np.asarray(atoms.cell), atoms.get_chemical_symbols(), atoms.get_scaled_positions())
            try:
                graphs.append(self.module.graph_converter(structure))
            except (RuntimeError, ValueError) as error:
                raise CalculationFailed(
                    f"structure number {number} of the set has no CHGNet graph: {error}",
                    {"formula": atoms.get_chemical_formula()},
                ) from error
        return graphs

    def forward(self, graphs: list[Any], *, trainable: bool = True) -> dict[str, Any]:
        import torch
        from chgnet.model.model import BatchedGraph

        with warnings.catch_warnings():
            # Of chgnet: it makes a tensor of volumes from tensors that require gradients; volumes need none here.
            warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad", category=UserWarning)
            batch = BatchedGraph.from_graphs(
                graphs,
                bond_basis_expansion=self.module.bond_basis_expansion,
                angle_basis_expansion=self.module.angle_basis_expansion,
                compute_stress=True,
            )
            output = self.module._compute(batch, return_site_energies=True)
        total = torch.stack([energies.sum() for energies in output["site_energies"]])
        # One pass for forces and stresses; chgnet's own forward makes two.
        wanted = [*batch.atom_positions, *batch.strains]
        gradients = torch.autograd.grad(total.sum(), wanted, create_graph=trainable)
        n_atoms = torch.tensor([len(positions) for positions in batch.atom_positions])
        return {
            "e": total / n_atoms + self.module.composition_model(graphs),
            "f": [-gradient for gradient in gradients[: len(graphs)]],
            "s": [
                gradient * (GPA_PER_EV_PER_A3 / volume)
                for gradient, volume in zip(gradients[len(graphs) :], batch.volumes, strict=True)
            ],
        }


def _model_name(model: str | None) -> str:
    name = "0.3.0" if model is None else model
    if name not in MODELS:
        raise CampaignFileError(
            f"CHGNet has no model called {name!r} to begin from.", fix=f"Choose one of: {', '.join(MODELS)}."
        )
    return name
