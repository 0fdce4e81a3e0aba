"""CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)): adapter.

The model's own layers and weights are used; the calculation around them differs from its own ASE calculator:

- the graph is built with array operations (:mod:`superionic.models.chgnet.graph`), edge for edge the same;
- forces and stress come from one backward pass that cannot be differentiated again (the calculator makes two that can,
  for training); stress is calculated only on request, magnetic moments never;
- energies of atoms are summed in double precision.

Options of :func:`load`: ``precision`` ("float32", or "float64" for tests of derivatives at twice the cost), ``device``
("cpu", "cuda").
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.conventions import MP2020, MP_R2SCAN_CHGNET
from superionic.errors import CalculationFailed, EngineError, PotentialError
from superionic.models.chgnet.graph import build_graph
from superionic.potentials import checkpoints
from superionic.potentials.base import PotentialIdentity, Prediction
from superionic.potentials.checkpoints import TorchPotential
from superionic.potentials.elements import mptrj_elements

PINNED_VERSION = "0.4.2"
_LICENCE = "Modified BSD"
_DEFAULT = "0.3.0"

_RECORDS: dict[str, PotentialIdentity] = {
    "0.3.0": PotentialIdentity(
        name="chgnet",
        model="0.3.0",
        version=PINNED_VERSION,
        checkpoint_sha256="d14ab7c0f093efe64b60a7bcd540bca10e74fb7f46c86108a079af60524659d1",
        energy_convention=MP2020,
        level_of_theory="PBE and PBE+U of the Materials Project (MPtrj), with its 2020 energy corrections",
        elements=mptrj_elements(),
        licence=_LICENCE,
        engine="chgnet",
    ),
    "r2scan": PotentialIdentity(
        name="chgnet",
        model="r2scan",
        version=PINNED_VERSION,
        checkpoint_sha256="8eba3db0f35a2788bb3ae22885ad340591e27996f213c6643af522a633b50dad",
        energy_convention=MP_R2SCAN_CHGNET,
        level_of_theory="r2SCAN of the Materials Project (MP-r2SCAN), by transfer from 0.3.0",
        elements=mptrj_elements(without=("Yb",)),
        licence=_LICENCE,
        engine="chgnet",
    ),
}


class CHGNetPotential(TorchPotential):
    """CHGNet with published or fine-tuned weights; create it with :func:`load`."""

    def __init__(self, identity: PotentialIdentity, model: Any, *, precision: str, device: str) -> None:
        import torch

        super().__init__(identity, model, device=device, dtype=checkpoints.torch_dtype(precision, "CHGNet"))
        self._torch = torch
        reference = self._network.composition_model.state_dict()["fc.weight"]
        self._reference_eV = reference.detach().cpu().numpy().astype(np.float64).ravel()

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`.

        Raises
        ------
        PotentialError
            If an element is not covered.
        CalculationFailed
            If an atom has no neighbour within 6 Å (the model would ignore it), or the cell is singular.
        """
        torch = self._torch
        self.check_elements(atoms)
        batch, output = self._computed(atoms, stress=stress, return_site_energies=True)
        site_energies = output["site_energies"][0]
        variables = [batch.atom_positions[0]] + ([batch.strains[0]] if stress else [])
        gradients = [part.cpu().numpy() for part in torch.autograd.grad(site_energies.sum(), variables)]
        energy = float(np.sum(site_energies.detach().cpu().numpy().astype(np.float64)))
        energy += float(np.sum(self._reference_eV[atoms.numbers - 1]))
        forces = -gradients[0].astype(np.float64)
        if not stress:
            return Prediction(energy, forces)
        tensor = gradients[1].astype(np.float64) / float(atoms.get_volume())
        return Prediction(energy, forces, checkpoints.voigt(tensor))

    def descriptors(self, atoms: Atoms) -> np.ndarray:
        """Return the atoms' features at the last interaction (those that give magnetic moments), shape (n_atoms, 64).

        Raises
        ------
        PotentialError
            If an element is not covered.
        CalculationFailed
            As in :meth:`evaluate`.
        """
        self.check_elements(atoms)
        _, output = self._computed(atoms, stress=False, return_atom_feas=True)
        features: np.ndarray = output["atom_fea"][0].detach().cpu().numpy().astype(np.float64)
        return features

    def _computed(self, atoms: Atoms, *, stress: bool, **outputs: bool) -> tuple[Any, Any]:
        from chgnet.model.model import BatchedGraph

        with warnings.catch_warnings():
            # From chgnet, which makes a tensor of volumes, unused here, from tensors that require gradients.
            warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad", category=UserWarning)
            batch = BatchedGraph.from_graphs(
                [self._graph(atoms)],
                bond_basis_expansion=self._network.bond_basis_expansion,
                angle_basis_expansion=self._network.angle_basis_expansion,
                compute_stress=stress,
            )
            return batch, self._network._compute(batch, **outputs)

    def _graph(self, atoms: Atoms) -> Any:
        from chgnet.graph import CrystalGraph

        torch = self._torch
        cell = atoms.cell.array
        fractional = checkpoints.wrapped_fractions(atoms, "CHGNet")
        converter = self._network.graph_converter
        graph = build_graph(
            fractional @ cell, cell, atoms.pbc, converter.atom_graph_cutoff, converter.bond_graph_cutoff
        )
        if graph.n_isolated:
            raise CalculationFailed(
                f"{graph.n_isolated} atom(s) have no neighbour within {converter.atom_graph_cutoff} Å (CHGNet)",
                {"n_isolated": graph.n_isolated},
            )
        device = self._device

        def integers(array: np.ndarray) -> Any:
            return torch.as_tensor(array, dtype=torch.int32, device=device)

        def floats(array: np.ndarray, *, gradient: bool = False) -> Any:
            return torch.tensor(array, dtype=self._dtype, device=device, requires_grad=gradient)

        return CrystalGraph(
            atomic_number=integers(atoms.numbers),
            atom_frac_coord=floats(fractional, gradient=True),
            atom_graph=integers(graph.atom_graph),
            atom_graph_cutoff=converter.atom_graph_cutoff,
            neighbor_image=floats(graph.image),
            directed2undirected=integers(graph.directed2undirected),
            undirected2directed=integers(graph.undirected2directed),
            bond_graph=integers(graph.bond_graph),
            bond_graph_cutoff=converter.bond_graph_cutoff,
            lattice=floats(cell, gradient=True),
        )


def describe(model: str | None = None, **_options: Any) -> PotentialIdentity:
    """Describe a published model, without importing chgnet."""
    name = _DEFAULT if model is None else model
    if name not in _RECORDS:
        raise PotentialError(f"CHGNet has no model {name!r}.", fix=f"Choose one of: {', '.join(_RECORDS)}.")
    return _RECORDS[name]


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    precision: str = "float32",
    device: str = "cpu",
) -> CHGNetPotential:
    """Load CHGNet.

    Parameters
    ----------
    model
        ``"0.3.0"`` (default) or ``"r2scan"``.
    precision
        ``"float32"`` as published, or ``"float64"``.
    weights, threads, device
        As for :class:`superionic.potentials.checkpoints.TorchPotential`.

    Raises
    ------
    EngineError
        If chgnet cannot be imported, or its checkpoint is not the one on record.
    PotentialError
        If the model or an option is unknown, or weights differ in names or shapes.
    """
    record = describe(model)
    checkpoints.torch_dtype(precision, "CHGNet")
    import torch

    with warnings.catch_warnings():
        # Python warns of invalid escapes in other packages when it compiles them, at their first import.
        warnings.simplefilter("ignore")
        from chgnet.model import model as chgnet_model

    torch.set_num_threads(threads)
    with contextlib.redirect_stdout(io.StringIO()):
        network = chgnet_model.CHGNet.load(model_name=record.model, use_device="cpu", verbose=False)
    checkpoint = _checkpoint(Path(chgnet_model.__file__).parents[1] / "pretrained" / record.model)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    if digest != record.checkpoint_sha256:
        raise EngineError(
            f"The checkpoint of CHGNet {record.model} in this environment is not the one on record.",
            where=str(checkpoint),
            fix="Install the engine again: superionic engines install chgnet",
        )
    if weights is not None:
        checkpoints.load_weights(network, weights, "CHGNet")
    identity = checkpoints.as_loaded(record, "chgnet", digest, weights)
    return CHGNetPotential(identity, network, precision=precision, device=device)


def _checkpoint(folder: Path) -> Path:
    files = sorted(folder.glob("*.pth.tar"))
    if len(files) != 1:
        raise EngineError(
            "CHGNet's checkpoint is missing from its package.",
            where=str(folder),
            fix="Install the engine again: superionic engines install chgnet",
        )
    return files[0]
