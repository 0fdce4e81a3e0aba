"""Import of mace, and evaluation of its networks."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from ase import Atoms

from superionic.potentials import checkpoints
from superionic.potentials.base import PotentialIdentity, Prediction
from superionic.potentials.checkpoints import TorchPotential


def import_mace() -> Any:
    """Import mace without its messages, and without its switch that would make every later torch.load unsafe."""
    import contextlib
    import io
    import logging
    import os

    before, level = os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            # From e3nn 0.4: torch.jit, and its own file of constants, which it loads as a pickle.
            warnings.simplefilter("ignore")
            import mace.modules
            import torch

            # Without fusion, as torch would compile new kernels after some evaluations, which round differently: a
            # result would depend on what its process did before.
            torch.jit.set_fusion_strategy([("STATIC", 0), ("DYNAMIC", 0)])
    finally:
        logging.disable(level)
        if before is None:
            os.environ.pop("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None)
    return mace.modules


class MACEPotential(TorchPotential):
    """MACE with a user's checkpoint; create it with :func:`superionic.models.mace.potential.load`."""

    def __init__(self, identity: PotentialIdentity, network: Any, *, precision: str, head: int, device: str) -> None:
        super().__init__(identity, network, device=device, dtype=checkpoints.torch_dtype(precision, "MACE"))
        self._cutoff_A = float(network.r_max)
        self._head = head
        numbers = network.atomic_numbers.cpu().numpy()
        self._species = np.full(int(numbers.max()) + 1, -1)
        self._species[numbers] = np.arange(len(numbers))
        self._n_species = len(numbers)

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`."""
        self.check_elements(atoms)
        output = self._network(self._data(atoms), compute_force=True, compute_stress=stress)
        energy = float(np.sum(output["node_energy"].detach().cpu().numpy().astype(np.float64)))
        forces = output["forces"].detach().cpu().numpy().astype(np.float64)
        if not stress:
            return Prediction(energy, forces)
        tensor3 = output["stress"].detach().cpu().numpy().astype(np.float64).reshape(3, 3)
        return Prediction(energy, forces, checkpoints.voigt(tensor3))

    def descriptors(self, atoms: Atoms) -> np.ndarray:
        """Return the invariant features of the atoms after the last interaction, shape (n_atoms, channels).

        Raises
        ------
        PotentialError
            If an element is not covered.
        CalculationFailed
            As in :meth:`evaluate`.
        """
        self.check_elements(atoms)
        features = self._network(self._data(atoms), compute_force=False)["node_feats"]
        # The features of all layers are concatenated; those of the last layer are scalars.
        last = int(self._network.products[-1].linear.irreps_out.dim)
        last_features: np.ndarray = features.detach().cpu().numpy().astype(np.float64)[:, -last:]
        return last_features

    def _data(self, atoms: Atoms) -> dict[str, Any]:
        import torch
        from matscipy.neighbours import neighbour_list

        cell = np.array(atoms.cell.array)
        positions = checkpoints.wrapped_fractions(atoms, "MACE") @ cell
        centre, neighbour, image = neighbour_list(
            "ijS", cutoff=self._cutoff_A, positions=positions, cell=cell, pbc=np.array(atoms.pbc)
        )

        def tensor(array: np.ndarray) -> Any:
            return torch.as_tensor(array, dtype=self._dtype, device=self._device)

        def indices(array: np.ndarray) -> Any:
            return torch.as_tensor(array, dtype=torch.int64, device=self._device)

        return {
            "batch": indices(np.zeros(len(atoms))),
            "cell": tensor(cell),
            "edge_index": indices(np.stack([centre, neighbour])),
            "head": indices(np.array([self._head])),
            "node_attrs": tensor(np.eye(self._n_species)[self._species[atoms.numbers]]),
            "positions": tensor(positions),
            "ptr": indices(np.array([0, len(atoms)])),
            "shifts": tensor(image @ cell),
            "unit_shifts": tensor(image),
        }
