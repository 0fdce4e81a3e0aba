"""M3GNet and TensorNet of matgl (Ko et al., npj Comput. Mater. 11, 253 (2025)): adapter for a user's model folder.

M3GNet: Chen and Ong, Nat. Comput. Sci. 2, 718 (2022). TensorNet: Simeon and De Fabritiis, arXiv:2306.06482 (2023).

The wheel has no weights, and matgl 4 silently gives wrong energies with weights of the 2025.1 generation; matgl 2.0.6
gives the right ones, as recorded values for the files below confirm. A folder holds ``model.json`` and ``state.pt``;
both are read as plain data (the third file, ``model.pt``, is not needed). Only the layers of matgl are used, M3GNet's
with DGL and TensorNet's with PyTorch Geometric, side by side in one process; graph, element references and derivatives
are computed here, and energies of atoms are summed in double precision.

Options of :func:`load`: ``file`` (the folder); ``energy_convention`` and ``level_of_theory`` (on record for the known
files); ``precision`` ("float32" or "float64"); ``device`` (TensorNet only: the DGL of this engine has no CUDA).
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols

from superionic.conventions import MATPES_PBE, MATPES_R2SCAN, MP_RAW
from superionic.errors import CalculationFailed, EngineError, PotentialError
from superionic.foreign import read_regular
from superionic.models.matgl import MEMBERS
from superionic.potentials import checkpoints
from superionic.potentials.base import PotentialIdentity, Prediction, weights_sha256
from superionic.potentials.checkpoints import Statement, TorchPotential

PINNED_VERSION = "2.0.6"
_MOST_SETTINGS_BYTES: Final = 10_000_000
"""Largest size of ``model.json`` that is read."""

_M3GNET, _TENSORNET = "M3GNet", "TensorNet"
_MODULES = {_M3GNET: "matgl.models._m3gnet", _TENSORNET: "matgl.models._tensornet_pyg"}
_TEST: Final[Mapping[str, Mapping[str, Any]]] = {
    "test-m3gnet": {
        "@class": _M3GNET,
        "init_args": {
            "element_types": ["Li", "Cl", "Y"], "dim_node_embedding": 8, "dim_edge_embedding": 8, "units": 8,
            "nblocks": 2, "max_n": 2, "max_l": 2, "cutoff": 4.5, "threebody_cutoff": 3.8, "is_intensive": False,
        },
    },
    "test-tensornet": {
        "@class": _TENSORNET,
        "init_args": {
            "element_types": ["Li", "Cl", "Y"], "units": 8, "nblocks": 1, "num_rbf": 4, "cutoff": 4.5,
            "is_intensive": False, "rbf_type": "SphericalBessel", "max_n": 3, "max_l": 3, "use_smooth": True,
        },
    },
}  # fmt: skip
"""Small networks with fixed random weights, built on demand: they test the engine and describe no material."""

_TEST_SCALE = {"test-m3gnet": 500.0, "test-tensornet": 10.0}  # so that forces have a realistic size
_BSD = "BSD-3-Clause"
_KNOWN: dict[str, Statement] = {
    "84b8db0b0e866916ad269454209550846dce3dc83d54f0f42ef6782f7619f4ef": Statement(
        "M3GNet-MP-2021.2.8",
        MP_RAW,
        "PBE and PBE+U of the Materials Project (relaxations as of 2021.2.8), uncorrected",
        _BSD,
    ),
    "e499001a916600a7059adbf6ad79920a534bc51484da1d53e20a85742f87beda": Statement(
        "TensorNet-MatPES-PBE-2025.1", MATPES_PBE, "PBE (MatPES 2025.1)", _BSD
    ),
    "c65d4935a0b8b1b3b17d96245e8738ff6b891c30a271e66afa2b45dd93751362": Statement(
        "TensorNet-MatPES-r2SCAN-2025.1", MATPES_R2SCAN, "r2SCAN (MatPES 2025.1)", _BSD
    ),
}


class MatGLPotential(TorchPotential):
    """M3GNet or TensorNet; create it with :func:`load`."""

    def __init__(
        self, identity: PotentialIdentity, parts: Mapping[str, Any], *, kind: str, precision: str, device: str
    ) -> None:
        super().__init__(identity, parts["network"], device=device, dtype=checkpoints.torch_dtype(precision, "matgl"))
        self._kind = kind
        self._site_energies: list[Any] = []
        self._network.final_layer.register_forward_hook(lambda _m, _i, output: self._site_energies.append(output))
        self._mean, self._std = float(parts["mean"]), float(parts["std"])
        self._references_eV = np.asarray(parts["references"], dtype=np.float64)
        self._cutoff_A = float(self._network.cutoff)
        from ase.data import atomic_numbers

        self._species = np.full(120, -1)
        for index, symbol in enumerate(self._network.element_types):
            self._species[atomic_numbers[symbol]] = index

    def evaluate(self, atoms: Atoms, *, stress: bool = True) -> Prediction:
        """Return energy, forces and stress; see :class:`superionic.potentials.base.Potential`.

        Raises
        ------
        PotentialError
            If an element is not covered.
        CalculationFailed
            If an atom has no neighbour (the model would ignore it), a position is not finite or the cell is singular.
        """
        import matgl
        import torch

        self.check_elements(atoms)
        species = self._species[atoms.numbers]
        centre, neighbour, image, fractional = self._edges(atoms)

        def tensor(array: np.ndarray) -> Any:
            return torch.as_tensor(array, dtype=self._dtype, device=self._device)

        cell = tensor(atoms.cell.array)
        strain = torch.zeros((3, 3), dtype=self._dtype, device=self._device, requires_grad=stress)
        lattice = cell @ (torch.eye(3, dtype=self._dtype, device=self._device) + strain)
        positions = tensor(fractional) @ lattice
        if not stress:
            positions.requires_grad_(True)
        self._site_energies.clear()
        before = matgl.float_th
        matgl.float_th = self._dtype  # read by M3GNet's three-body sums
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=UserWarning, module=r"dgl\.|torch\.|matgl\.")
                run = self._m3gnet if self._kind == _M3GNET else self._tensornet
                run(positions, tensor(image), lattice, (centre, neighbour), species)
                site_energies = self._std * self._site_energies[0].reshape(-1)
                variables = [positions, strain] if stress else [positions]
                gradients = [g.cpu().numpy() for g in torch.autograd.grad(site_energies.sum(), variables)]
        finally:
            matgl.float_th = before
        energy = float(np.sum(site_energies.detach().cpu().numpy().astype(np.float64)))
        energy += self._mean + float(np.sum(self._references_eV[species]))
        forces = -gradients[0].astype(np.float64)
        if not stress:
            return Prediction(energy, forces)
        return Prediction(
            energy, forces, checkpoints.voigt(gradients[1].astype(np.float64)) / abs(float(atoms.get_volume()))
        )

    def _edges(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        from pymatgen.optimization.neighbors import find_points_in_spheres

        fractional = checkpoints.wrapped_fractions(atoms, "matgl")
        cell = np.ascontiguousarray(atoms.cell.array, dtype=np.float64)
        positions = np.ascontiguousarray(fractional @ cell)
        centre, neighbour, image, distance = find_points_in_spheres(
            positions,
            positions,
            r=self._cutoff_A,
            pbc=np.ascontiguousarray(atoms.pbc, dtype=np.int64),
            lattice=cell,
            tol=1.0e-8,
        )
        keep = (centre != neighbour) | (distance > 1.0e-8)
        isolated = len(atoms) - len(np.unique(centre[keep]))
        if isolated:
            raise CalculationFailed(
                f"{isolated} atom(s) have no neighbour within {self._cutoff_A} Å ({self._kind})",
                {"n_isolated": isolated},
            )
        return centre[keep], neighbour[keep], image[keep], fractional

    def _m3gnet(self, positions: Any, image: Any, lattice: Any, edges: tuple[Any, Any], species: np.ndarray) -> None:
        import dgl
        import torch

        # matgl 2.0.6 numbers bonds by their index among the short ones, but looks them up by their index among all. The
        # two agree if the short ones come first; only then are its three-body terms right.
        ends = [torch.as_tensor(end, dtype=torch.int64) for end in edges]
        offsets = image @ lattice
        with torch.no_grad():
            lengths = torch.norm(positions[ends[1]] + offsets - positions[ends[0]], dim=1)
            order = torch.argsort(lengths > self._network.threebody_cutoff, stable=True)
        graph = dgl.graph(tuple(end[order].to(torch.int32) for end in ends), num_nodes=len(species))
        graph.ndata["node_type"] = torch.as_tensor(species, dtype=torch.int32)
        graph.ndata["pos"] = positions
        graph.edata["pbc_offset"] = image[order]
        graph.edata["pbc_offshift"] = offsets[order]
        self._network(graph)

    def _tensornet(self, positions: Any, image: Any, lattice: Any, edges: tuple[Any, Any], species: np.ndarray) -> None:
        import torch
        from torch_geometric.data import Data

        graph = Data(
            pos=positions,
            edge_index=torch.as_tensor(np.stack(edges), dtype=torch.int64, device=self._device),
            node_type=torch.as_tensor(species, dtype=torch.int64, device=self._device),
            pbc_offset=image,
            pbc_offshift=image @ lattice,
            num_nodes=len(species),
        )
        self._network(graph)


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe a model folder, without importing matgl."""
    file = options.get("file")
    if file is None:
        if model in _TEST:
            return _test_statement(str(model)).identity("matgl", PINNED_VERSION, "", ("Li", "Cl", "Y"), _BSD)
        unknown = Statement("-", checkpoints.NOT_STATED, checkpoints.NOT_STATED)
        return unknown.identity("matgl", PINNED_VERSION, "", (), _BSD)
    settings = _settings(file)
    digest = checkpoints.checksum(file, MEMBERS)
    elements = checkpoints.by_number(settings["init_args"]["element_types"])
    return _stated(digest, model, options).identity("matgl", PINNED_VERSION, digest, elements, _BSD)


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    file: str | None = None,
    energy_convention: str | None = None,
    level_of_theory: str | None = None,
    precision: str = "float32",
    device: str = "cpu",
) -> MatGLPotential:
    """Load M3GNet or TensorNet.

    Parameters
    ----------
    model
        A name for the model; ``"test-m3gnet"`` or ``"test-tensornet"`` without ``file`` builds a small test model.
    file
        Folder with ``model.json`` and ``state.pt``.
    precision
        ``"float32"`` or ``"float64"``.
    weights, threads, energy_convention, level_of_theory, device
        As for :class:`superionic.potentials.checkpoints.TorchPotential`.

    Raises
    ------
    PotentialError
        If the folder holds no model, an option or convention is unknown, or weights do not fit.
    EngineError
        If matgl has already been imported with another backend.
    """
    checkpoints.torch_dtype(precision, "matgl")
    import torch

    if file is None and model not in _TEST:
        raise PotentialError("matgl comes without a model.", fix="Give the folder of a model as `file`.")
    torch.set_num_threads(threads)
    _import_matgl()
    if file is None:
        settings, statement = dict(_TEST[str(model)]), _test_statement(str(model))
        network = _build(settings)
        checkpoints.fill(network, seed=7, normalised=False)
        parts = {
            "network": network,
            "mean": 0.0,
            "std": _TEST_SCALE[str(model)],
            "references": np.array([-1.9, -1.8, -6.5]),
        }
        digest = weights_sha256({n: v.numpy() for n, v in network.state_dict().items()})
    else:
        settings = _settings(file)
        digest = checkpoints.checksum(file, MEMBERS)
        statement = _stated(digest, model, {"energy_convention": energy_convention, "level_of_theory": level_of_theory})
        parts = _with_weights(_build(settings), checkpoints.load_tensors(Path(file) / "state.pt"), file)
    if settings["@class"] == _M3GNET and device != "cpu":
        raise PotentialError("M3GNet runs on the CPU here: this engine's DGL has no CUDA.", fix="Use device: cpu.")
    if weights is not None:
        _load_state(parts["network"], {name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        digest = weights_sha256(weights)
    version = checkpoints.installed_version("matgl")
    elements = checkpoints.by_number(settings["init_args"]["element_types"])
    identity = statement.identity("matgl", version, digest, elements, _BSD, fine_tuned=weights is not None)
    return MatGLPotential(identity, parts, kind=settings["@class"], precision=precision, device=device)


def _import_matgl() -> None:
    os.environ.setdefault("DGLBACKEND", "pytorch")  # else DGL writes a file into the user's home
    os.environ.setdefault("MATGL_BACKEND", "DGL")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from DGL 1.1, which is older than this torch
        import matgl

        if matgl.config.BACKEND != "DGL":
            raise EngineError(
                "matgl was imported with its PYG backend, with which M3GNet cannot be loaded.",
                fix="Unset MATGL_BACKEND and run again.",
            )
        import matgl.models._m3gnet
        import matgl.models._tensornet_pyg
        import torch_geometric.data  # noqa: F401 - imported here, under the filter, and not by the first evaluation


def _build(settings: Mapping[str, Any]) -> Any:
    import importlib

    import torch

    arguments = dict(settings["init_args"])
    if "dtype" in arguments:
        arguments["dtype"] = torch.float32
    arguments["element_types"] = tuple(arguments["element_types"])
    network_class = getattr(importlib.import_module(_MODULES[settings["@class"]]), settings["@class"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return network_class(**arguments)


def _with_weights(network: Any, state: Mapping[str, Any], file: str | Path) -> dict[str, Any]:
    """Split a state dict of matgl's Potential into network, mean, standard deviation and element references."""
    inner = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    _load_state(network, inner)
    try:
        references = state.get("element_refs.property_offset")
        return {
            "network": network,
            "mean": state["data_mean"],
            "std": state["data_std"],
            "references": np.zeros(len(network.element_types)) if references is None else references.numpy().ravel(),
        }
    except (KeyError, AttributeError) as error:
        raise PotentialError(
            f"The model's weights lack {error}.", where=str(file), fix="Give a folder that matgl wrote."
        ) from error


def _load_state(network: Any, state: Mapping[str, Any]) -> None:
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise PotentialError(
            "The weights do not fit the model: " + str(error).splitlines()[-1].strip(),
            fix="Give model.json and state.pt of the same model.",
        ) from error


def _settings(file: str | Path) -> dict[str, Any]:
    """Read the settings of the network from ``model.json``."""
    path = Path(file) / MEMBERS[0]
    try:
        text = json.loads(read_regular(path, _MOST_SETTINGS_BYTES).decode("utf-8"))
        settings: dict[str, Any] = text["kwargs"]["model"]
        repulsion = text["kwargs"].get("calc_repuls", False)
        charge = text["kwargs"].get("calc_charge", False)
        kind, elements = settings["@class"], settings["init_args"]["element_types"]
        if not (isinstance(elements, list) and set(elements) <= set(chemical_symbols)):
            raise ValueError("not a list of elements")  # noqa: TRY301 - reported like any other defect
        known = kind in _MODULES
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise PotentialError(
            "This is not the folder of a matgl potential: it has no model.json, or one that cannot be read.",
            where=str(path),
            fix="Give the folder with model.json and state.pt as `file`.",
        ) from error
    if not known or repulsion or charge:
        raise PotentialError(
            f"This kind of matgl potential is not supported: {kind}"
            + (" with a repulsion or charges of its own" if repulsion or charge else "")
            + ".",
            where=str(path),
            fix=f"Use {' or '.join(_MODULES)} without them.",
        )
    return settings


def _stated(digest: str, model: str | None, options: Mapping[str, Any]) -> Statement:
    return checkpoints.stated(digest, _KNOWN.get(digest), options, engine="matgl", model=model)


def _test_statement(model: str) -> Statement:
    return Statement(model, f"own: a {model} model", "nothing: a test model with random weights", _BSD)
