"""SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)): adapter for the models that come in its wheel.

Their energies are raw DFT energies, without the Materials Project's corrections: on Li3YCl6 they lie 0.37 eV/atom
above CHGNet's (-0.614 eV per chlorine is the correction that CHGNet carries), so the two never share a hull.

7net-mf-0 holds two levels of theory; they are two models here, ``"7net-mf-0/PBE"`` and ``"7net-mf-0/R2SCAN"``.
Option of :func:`load`: ``device`` ("cpu", "cuda").
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.errors import CalculationFailed, EngineError, PotentialError
from superionic.potentials.base import BasePotential, PotentialIdentity, Prediction, weights_sha256
from superionic.potentials.elements import mptrj_elements

PINNED_VERSION = "0.13.0"
_DEFAULT = "7net-0"
_LICENCE = "MIT"  # of the wheel 0.13.0, checkpoints included; releases before it were under the GPL-3.0
_RAW_PBE = "MP raw PBE(+U)"
_MPTRJ = "PBE and PBE+U of the Materials Project (MPtrj), uncorrected"


def _record(model: str, sha256: str, convention: str, theory: str) -> PotentialIdentity:
    return PotentialIdentity(
        name="sevennet",
        model=model,
        version=PINNED_VERSION,
        checkpoint_sha256=sha256,
        energy_convention=convention,
        level_of_theory=theory,
        elements=mptrj_elements(),
        licence=_LICENCE,
        engine="sevennet",
    )


_MF_0_SHA256 = "81791329b37d445f46b531578c182c41792d98c7814222c9e5dde276402225fd"
_RECORDS: dict[str, PotentialIdentity] = {
    "7net-0": _record("7net-0", "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36", _RAW_PBE, _MPTRJ),
    "7net-l3i5": _record(
        "7net-l3i5", "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d", _RAW_PBE, _MPTRJ
    ),
    "7net-mf-0/PBE": _record("7net-mf-0/PBE", _MF_0_SHA256, _RAW_PBE, f"{_MPTRJ}, with r2SCAN as a second fidelity"),
    "7net-mf-0/R2SCAN": _record(
        "7net-mf-0/R2SCAN", _MF_0_SHA256, "r2SCAN", "r2SCAN of the Materials Project, with PBE as a second fidelity"
    ),
}


class SevenNetPotential(BasePotential):
    """SevenNet; make it with :func:`load`."""

    def __init__(
        self, identity: PotentialIdentity, model: Any, *, cutoff_A: float, modal: str | None, device: str
    ) -> None:
        import torch

        super().__init__(identity)
        self._device = torch.device(device)
        self._model = model.to(self._device).eval()
        for parameter in self._model.parameters():
            parameter.requires_grad_(False)
        self._cutoff_A = cutoff_A
        self._modal = modal

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Energy, forces and stress; see :class:`superionic.potentials.base.Potential`.

        Raises
        ------
        PotentialError
            If an element is not covered.
        CalculationFailed
            If a position is not finite or the cell has no volume.
        """
        import sevenn._keys as key
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        self.check_elements(atoms)
        cell = atoms.cell.array
        if not np.isfinite(atoms.positions).all() or not abs(np.linalg.det(cell)) > 1e-6:
            raise CalculationFailed(
                "a position is not a finite number, or the cell has no volume", {"n_atoms": len(atoms)}
            )
        wrapped = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=cell, pbc=atoms.pbc)
        wrapped.wrap(eps=0.0)
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(wrapped, self._cutoff_A, with_shift=False))
        if self._modal is not None:
            data[key.DATA_MODALITY] = self._modal
        data.to(self._device)
        output = self._model(data)
        site_energies = output[key.ATOMIC_ENERGY].detach().cpu().numpy().astype(np.float64)
        forces = output[key.PRED_FORCE].detach().cpu().numpy().astype(np.float64)[: len(atoms)]
        if not stress:
            return Prediction(float(np.sum(site_energies)), forces)
        # SevenNet: compressive positive, in the order xx, yy, zz, xy, yz, zx.
        theirs = output[key.PRED_STRESS].detach().cpu().numpy().astype(np.float64).ravel()
        return Prediction(float(np.sum(site_energies)), forces, -theirs[[0, 1, 2, 4, 5, 3]])

    def state_arrays(self) -> dict[str, np.ndarray]:
        """All weights as arrays by name: what ``weights`` of :func:`load` takes."""
        return {
            name: value.detach().cpu().numpy().copy()
            for name, value in self._model.state_dict().items()
            if hasattr(value, "detach")
        }


def describe(model: str | None = None) -> PotentialIdentity:
    """Describe a published model, without importing sevenn."""
    name = _DEFAULT if model is None else model
    if name not in _RECORDS:
        raise PotentialError(f"SevenNet has no model {name!r} here.", fix=f"Choose one of: {', '.join(_RECORDS)}.")
    return _RECORDS[name]


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    device: str = "cpu",
) -> SevenNetPotential:
    """Load SevenNet.

    Parameters
    ----------
    model
        ``"7net-0"`` (default), ``"7net-l3i5"``, ``"7net-mf-0/PBE"`` or ``"7net-mf-0/R2SCAN"``.
    weights
        Fine-tuned weights, all of them, by the names of the model's own state dict.
    threads
        Threads of torch in this process (a setting of the whole process).
    device
        Torch device.

    Raises
    ------
    EngineError
        If sevenn cannot be imported, or its checkpoint is not the one on record.
    PotentialError
        On an unknown model, or weights of other names or shapes.
    """
    record = describe(model)
    import torch

    torch.set_num_threads(threads)
    base, _, modal = record.model.partition("/")
    with warnings.catch_warnings():
        # Of sevenn and e3nn as they are imported and built: they still use torch.jit.script.
        warnings.simplefilter("ignore")
        import sevenn.atom_graph_data
        import sevenn.train.dataload  # noqa: F401 - here, under the filter, so that the first evaluation imports nothing
        from sevenn.util import load_checkpoint, pretrained_name_to_path

        path = Path(pretrained_name_to_path(base))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest != record.checkpoint_sha256:
            raise EngineError(
                f"The checkpoint of SevenNet {base} in this environment is not the one on record.",
                where=str(path),
                fix="Install the engine again: superionic engines install sevennet",
            )
        checkpoint = load_checkpoint(str(path))
        network = checkpoint.build_model()
    network.set_is_batch_data(False)
    if weights is not None:
        digest = weights_sha256(weights)
        _load_weights(network, weights)
    identity = PotentialIdentity(
        name=record.name,
        model=record.model,
        version=_installed_version(),
        checkpoint_sha256=digest,
        energy_convention=record.energy_convention,
        level_of_theory=record.level_of_theory if weights is None else f"fine-tuned from: {record.level_of_theory}",
        elements=record.elements,
        licence=record.licence,
        engine=record.engine,
        fine_tuned=weights is not None,
    )
    return SevenNetPotential(
        identity, network, cutoff_A=float(checkpoint.config["cutoff"]), modal=modal or None, device=device
    )


def _load_weights(network: Any, weights: Mapping[str, np.ndarray]) -> None:
    import torch

    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise PotentialError(
            "The weights do not fit the SevenNet model: " + str(error).splitlines()[-1].strip(),
            fix="Give the complete state dict of the same model that they were trained from.",
        ) from error


def _installed_version() -> str:
    from importlib.metadata import version

    return version("sevenn")
