"""SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)): adapter.

The models in its wheel give raw DFT energies, without the Materials Project's corrections: for Li3YCl6 they lie 0.37
eV/atom above CHGNet's (which include a correction of -0.614 eV per chlorine), so the two never share a hull. The two
levels of theory of 7net-mf-0 are two models here, ``"7net-mf-0/PBE"`` and ``"7net-mf-0/R2SCAN"``.

Options of :func:`load`: ``file`` (a user's checkpoint, such as 7net-mf-ompa), with its ``modal`` if it has several, and
its ``energy_convention`` and ``level_of_theory``; ``precision`` ("float32" only, that of sevenn's graphs);
``device`` ("cpu", "cuda"). A checkpoint is read as plain data first, and refused if it holds anything else.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from superionic.conventions import MP_R2SCAN_SEVENNET, MP_RAW
from superionic.errors import EngineError, PotentialError
from superionic.potentials import checkpoints
from superionic.potentials.base import PotentialIdentity, Prediction
from superionic.potentials.checkpoints import Statement, TorchPotential
from superionic.potentials.elements import mptrj_elements

PINNED_VERSION = "0.13.0"
_DEFAULT = "7net-0"
_LICENCE = "MIT"  # for the wheel 0.13.0 with its checkpoints; earlier releases were under the GPL-3.0
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
    "7net-0": _record("7net-0", "7052cb42b7b3be42b40b97fa0d21077a48c54b5548948fc4dcf346629f813c36", MP_RAW, _MPTRJ),
    "7net-l3i5": _record(
        "7net-l3i5", "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d", MP_RAW, _MPTRJ
    ),
    "7net-mf-0/PBE": _record("7net-mf-0/PBE", _MF_0_SHA256, MP_RAW, f"{_MPTRJ}, with r2SCAN as a second fidelity"),
    "7net-mf-0/R2SCAN": _record(
        "7net-mf-0/R2SCAN",
        _MF_0_SHA256,
        MP_R2SCAN_SEVENNET,
        "r2SCAN of the Materials Project, with PBE as a second fidelity",
    ),
}


class SevenNetPotential(TorchPotential):
    """SevenNet; create it with :func:`load`."""

    def __init__(
        self,
        identity: PotentialIdentity,
        model: Any,
        *,
        cutoff_A: float,
        modal: str | None,
        device: str,
    ) -> None:
        super().__init__(identity, model, device=device)
        self._cutoff_A = cutoff_A
        self._modal = modal

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`."""
        import sevenn._keys as key
        from sevenn.atom_graph_data import AtomGraphData
        from sevenn.train.dataload import unlabeled_atoms_to_graph

        self.check_elements(atoms)
        cell = atoms.cell.array
        checkpoints.wrapped_fractions(atoms, "SevenNet")
        wrapped = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=cell, pbc=atoms.pbc)
        wrapped.wrap(eps=0.0)
        data = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(wrapped, self._cutoff_A, with_shift=False))
        if self._modal is not None:
            data[key.DATA_MODALITY] = self._modal
        data.to(self._device)
        output = self._network(data)
        site_energies = output[key.ATOMIC_ENERGY].detach().cpu().numpy().astype(np.float64)
        forces = output[key.PRED_FORCE].detach().cpu().numpy().astype(np.float64)[: len(atoms)]
        if not stress:
            return Prediction(float(np.sum(site_energies)), forces)
        # SevenNet: compressive positive, in the order xx, yy, zz, xy, yz, zx.
        theirs = output[key.PRED_STRESS].detach().cpu().numpy().astype(np.float64).ravel()
        return Prediction(float(np.sum(site_energies)), forces, -theirs[[0, 1, 2, 4, 5, 3]])


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe a published model, or a user's file as far as possible without importing sevenn."""
    if options.get("file") is not None:
        digest = checkpoints.checksum(options["file"])
        return _of_file(digest, model, options, elements=())
    name = _DEFAULT if model is None else model
    if name not in _RECORDS:
        raise PotentialError(f"SevenNet has no model {name!r} here.", fix=f"Choose one of: {', '.join(_RECORDS)}.")
    return _RECORDS[name]


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    file: str | None = None,
    modal: str | None = None,
    energy_convention: str | None = None,
    level_of_theory: str | None = None,
    precision: str = "float32",
    device: str = "cpu",
) -> SevenNetPotential:
    """Load SevenNet.

    Parameters
    ----------
    model
        ``"7net-0"`` (default), ``"7net-l3i5"``, ``"7net-mf-0/PBE"`` or ``"7net-mf-0/R2SCAN"``; with ``file`` a name
        for the model in it.
    file
        A checkpoint of SevenNet (``.pth``).
    modal
        Level of theory; required for a ``file`` with several.
    precision
        ``"float32"``.
    weights, threads, energy_convention, level_of_theory, device
        As for :class:`superionic.potentials.checkpoints.TorchPotential`.

    Raises
    ------
    EngineError
        If sevenn cannot be imported, or its checkpoint is not the one on record.
    PotentialError
        If the model or an option is unknown, the file is not a checkpoint, or weights differ in names or shapes.
    """
    if precision != "float32":
        raise PotentialError(f"SevenNet does not run in {precision!r} here.", fix="Use precision: float32.")
    record = None if file is not None else describe(model)
    if record is not None and modal is not None:
        raise PotentialError("`modal` is an option of a file.", fix="Name it in the model, e.g. 7net-mf-0/PBE.")
    import torch

    torch.set_num_threads(threads)
    with warnings.catch_warnings():
        # From sevenn and e3nn on import and construction: they still use torch.jit.script.
        warnings.simplefilter("ignore")
        import sevenn.atom_graph_data
        import sevenn.train.dataload  # noqa: F401 - imported here, under the filter, and not by the first evaluation
        from sevenn.util import pretrained_name_to_path

        base, _, part = ("", "", "") if record is None else record.model.partition("/")
        path = Path(str(file)) if record is None else Path(pretrained_name_to_path(base))
        digest = checkpoints.checksum(path)
        if record is not None and digest != record.checkpoint_sha256:
            raise EngineError(
                f"The checkpoint of SevenNet {base} in this environment is not the one on record.",
                where=str(path),
                fix="Install the engine again: superionic engines install sevennet",
            )
        built, config = _built(str(path), digest)
        network = copy.deepcopy(built)
    network.set_is_batch_data(False)
    modal = part or modal
    if record is None:
        modal = _modal(config, modal)
        options = {"energy_convention": energy_convention, "level_of_theory": level_of_theory, "modal": modal}
        record = _of_file(digest, model, options, elements=checkpoints.by_number(config["chemical_species"]))
    if weights is not None:
        checkpoints.load_weights(network, weights, "SevenNet")
    identity = checkpoints.as_loaded(record, "sevenn", digest, weights)
    return SevenNetPotential(
        identity,
        network,
        cutoff_A=float(config["cutoff"]),
        modal=modal or None,
        device=device,
    )


def _of_file(
    digest: str, model: str | None, options: Mapping[str, Any], *, elements: tuple[str, ...]
) -> PotentialIdentity:
    """Return the identity of a user's file; a copy of a published checkpoint is recognised by its checksum."""
    modal = options.get("modal")
    known = [
        Statement(record.model, record.energy_convention, record.level_of_theory, record.licence)
        for record in _RECORDS.values()
        if record.checkpoint_sha256 == digest and record.model.partition("/")[2] in ("", modal)
    ]
    statement = checkpoints.stated(digest, known[0] if known else None, options, engine="SevenNet", model=model)
    identity = statement.identity("sevennet", PINNED_VERSION, digest, elements, _LICENCE)
    return replace(identity, licence=statement.licence) if known else identity


@lru_cache(maxsize=2)
def _built(path: str, digest: str) -> tuple[Any, Mapping[str, Any]]:
    """Build the network of a checkpoint with that checksum, which compiles its products; return its settings, too.

    Callers copy it: a training needs its network for every segment and prediction.
    """
    del digest
    from sevenn.util import load_checkpoint

    _demand_plain_data(Path(path))
    checkpoint = load_checkpoint(path)
    return checkpoint.build_model(), checkpoint.config


def _demand_plain_data(path: Path) -> None:
    """Raise PotentialError if a checkpoint holds anything but tensors, numbers, names and numpy arrays."""
    from numpy._core import multiarray

    arrays = [np.ndarray, np.dtype, (multiarray._reconstruct, "numpy.core.multiarray._reconstruct")]
    arrays += [multiarray._reconstruct, multiarray.scalar, (multiarray.scalar, "numpy.core.multiarray.scalar")]
    arrays += [type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")]
    checkpoints.load_tensors(path, allow=arrays)


def _modal(config: Mapping[str, Any], modal: str | None) -> str | None:
    names = list(config.get("_modal_map") or {})
    if not names and modal is None:
        return None
    if modal not in names:
        what = f"no modal {modal!r}" if modal is not None else "several modals"
        raise PotentialError(
            f"The SevenNet checkpoint has {what}.",
            fix=f"Name one as `modal`: {', '.join(names)}." if names else "Leave `modal` out.",
        )
    return modal
