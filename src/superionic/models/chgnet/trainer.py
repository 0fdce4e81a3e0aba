"""Fine-tuning of CHGNet in segments that resume exactly.

Energy (per atom), forces and stress are fitted with a Huber loss and Adam with a cosine learning rate, as CHGNet was
trained (Deng et al., Nat. Mach. Intell. 5, 1031 (2023); paper B changes only batch size, epochs, initial learning rate
and number of frozen layers). Magnetic moments are not fitted. The loop is that of :mod:`superionic.training.loop`.

The per-element shift between the labels and CHGNet's own energies (Materials Project corrections against raw energies
of a PAW code) must be subtracted from the labels: either beforehand, or here, where ``start`` fits it to the training
set and ``train_epochs`` subtracts it from training and validation labels alike. The fine-tuned model keeps CHGNet's
zero of energy.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, CampaignFileError
from superionic.models.chgnet.state import FREEZE, MODELS, TrainOptions, TrainState
from superionic.training import loop
from superionic.units import GPA_PER_EV_PER_A3

__all__ = ["FREEZE", "MODELS", "TrainOptions", "TrainState", "predict", "start", "train_epochs"]


class _Network(loop.Network):
    """CHGNet on one CPU thread, as the loop uses it."""

    always_frozen = ("composition_model",)  # the shift of the labels replaces them

    def __init__(self, model: str | None, file: str | None, _options: TrainOptions) -> None:
        if file is not None:
            raise CampaignFileError(
                "Training of CHGNet starts from a published model, not from a file.",
                fix="Give earlier weights as `weights`.",
            )
        self.name = "0.3.0" if model is None else model
        if self.name not in MODELS:
            raise CampaignFileError(
                f"CHGNet has no model called {self.name!r} to start from.", fix=f"Choose one of: {', '.join(MODELS)}."
            )
        import torch
        from chgnet.model import CHGNet

        torch.set_num_threads(1)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its number of parameters each time
            self.module = CHGNet.load(model_name=self.name, use_device="cpu", verbose=False)

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
            # From chgnet, which makes a tensor of volumes from tensors that require gradients; volumes need none here.
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
        variables = [*batch.atom_positions, *batch.strains]
        gradients = torch.autograd.grad(total.sum(), variables, create_graph=trainable)
        n_atoms = torch.tensor([len(positions) for positions in batch.atom_positions])
        return {
            "e": total / n_atoms + self.module.composition_model(graphs),
            "f": [-gradient for gradient in gradients[: len(graphs)]],
            "s": [
                gradient * (GPA_PER_EV_PER_A3 / volume)
                for gradient, volume in zip(gradients[len(graphs) :], batch.volumes, strict=True)
            ],
        }


_TRAINER = loop.Trainer(_Network, TrainOptions, TrainState, "chgnet", "CHGNet has one head")
start, train_epochs, predict = _TRAINER.start, _TRAINER.train_epochs, _TRAINER.predict
