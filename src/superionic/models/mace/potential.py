"""MACE (Batatia et al., Adv. Neural Inf. Process. Syst. 35 (2022)): adapter for a user's checkpoint.

The wheel has no weights. A checkpoint is either a *bridge file* (``.npz``: settings and arrays without any code,
written by :mod:`superionic.models.mace.bridge` and readable with any version of e3nn), or a ``.model`` of MACE, which
is a pickle that runs code when it is loaded and is therefore accepted only by its checksum.

Options of :func:`load`: ``file``; ``energy_convention`` and ``level_of_theory`` of the file; ``modal`` (the head of a
file with several); ``head`` (that of a multi-head training, the tuned one by default); ``precision`` ("float32" or
"float64"); ``device`` ("cpu", "cuda"); ``trust_sha256``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from superionic.errors import PotentialError
from superionic.models.mace import bridge as mace_bridge
from superionic.models.mace import weights as mace_weights
from superionic.models.mace.evaluation import MACEPotential
from superionic.potentials import checkpoints
from superionic.potentials.base import PotentialIdentity, weights_sha256
from superionic.potentials.checkpoints import Statement

PINNED_VERSION = "0.3.16"
TEST_MODEL = "test"
"""A small network with fixed random weights, built on demand: it tests the engine and describes no material."""

_TEST = Statement(TEST_MODEL, "own: a test model", "nothing: a test model with random weights", "MIT")


def describe(model: str | None = None, **options: Any) -> PotentialIdentity:
    """Describe a checkpoint as far as possible without importing mace; the elements of a pickle remain unknown."""
    file = options.get("file")
    if file is None:
        statement = _TEST if model == TEST_MODEL else Statement("-", checkpoints.NOT_STATED, checkpoints.NOT_STATED)
        elements = ("Li", "Cl", "Y") if model == TEST_MODEL else ()
        return statement.identity("mace", PINNED_VERSION, "", elements, "MIT")
    digest = checkpoints.checksum(file)
    statement = _stated(digest, model, options)
    if is_bridge(file):
        symbols = _symbols(mace_bridge.read_settings(file)["atomic_numbers"])
        return statement.identity("mace", PINNED_VERSION, digest, symbols, "MIT")
    checkpoints.demand_trust(file, digest, options.get("trust_sha256"), instead=_INSTEAD)
    return statement.identity("mace", PINNED_VERSION, digest, (), "MIT")


_INSTEAD = "If you trust it, convert it once to a safe file (superionic engines convert mace FILE), and use that."


def load(
    model: str | None = None,
    *,
    weights: Mapping[str, np.ndarray] | None = None,
    threads: int = 1,
    file: str | None = None,
    energy_convention: str | None = None,
    level_of_theory: str | None = None,
    modal: str | None = None,
    head: str | None = None,
    precision: str = "float32",
    device: str = "cpu",
    trust_sha256: str | None = None,
) -> MACEPotential:
    """Load MACE.

    Parameters
    ----------
    model
        A name for the checkpoint; ``"test"`` without ``file`` builds the small test network.
    weights
        Trained weights: those of :mod:`superionic.models.mace.trainer`, which include the settings of their network
        (``file`` is then the checkpoint of the start, and not read), or all weights of the model's state dict by name.
    file
        A bridge file, or a ``.model`` of MACE.
    modal
        Name of the head; required for a file with several.
    head
        Head of trained weights with several: ``"tuned"`` (the default) or ``"foundation"``.
    precision
        ``"float32"`` or ``"float64"``.
    threads, energy_convention, level_of_theory, device
        As for :class:`superionic.potentials.checkpoints.TorchPotential`.
    trust_sha256
        SHA-256 of a ``.model`` that is trusted although it is a pickle.

    Raises
    ------
    PotentialError
        If the file is none of these, a head, option or convention is unknown, or weights do not fit.
    """
    checkpoints.torch_dtype(precision, "MACE")
    import torch

    torch.set_num_threads(threads)
    said = {"energy_convention": energy_convention, "level_of_theory": level_of_theory}
    complete = weights is not None and mace_weights.is_complete(weights)
    if weights is not None and complete:
        network = mace_weights.unpack(weights)
    else:
        network = read_network(model, file=file, trust_sha256=trust_sha256)
        if weights is not None:
            mace_bridge.load_arrays(network, weights)
    digest = weights_sha256(mace_weights.arrays_of(network) if weights is None else weights)
    if file is not None:
        of_file = checkpoints.checksum(file)
        statement = _stated(of_file, model, said)
        if weights is None:
            digest = of_file
        elif complete:
            mace_weights.check_origin(weights, of_file)
    else:
        statement = _TEST if model == TEST_MODEL else _stated(digest, model, said)
    version, elements = checkpoints.installed_version("mace-torch"), _symbols(network.atomic_numbers.tolist())
    identity = statement.identity("mace", version, digest, elements, "MIT", fine_tuned=weights is not None)
    heads = list(getattr(network, "heads", ["Default"]))
    index = mace_weights.choose_head(heads, head if complete else head or modal)
    return MACEPotential(identity, network, precision=precision, head=index, device=device)


def read_network(model: str | None = None, *, file: str | None = None, trust_sha256: str | None = None) -> Any:
    """Read the network of a checkpoint, or build the test network, as a module of torch in double precision.

    Raises
    ------
    PotentialError
        If it is neither, the file is not a checkpoint of MACE, or a pickle is not trusted.
    """
    if file is None:
        if model != TEST_MODEL:
            raise PotentialError("MACE has no model of its own here.", fix="Give a checkpoint as `file`.")
        return test_network()
    return _read(file, checkpoints.checksum(file), trust_sha256)


def is_bridge(file: str | Path) -> bool:
    """Return whether a file is a bridge file, judged by its name."""
    return Path(file).suffix == ".npz"


def test_network() -> Any:
    """Build the small network of :data:`TEST_MODEL`, in double precision, always with the same weights."""
    network = mace_bridge.build_for_weights(
        {
            "MLP_irreps": "8x0e", "apply_cutoff": True, "atomic_numbers": [3, 17, 39], "avg_num_neighbors": 20.0,
            "correlation": 2, "distance_transform": None, "edge_irreps": None, "gate": "silu", "heads": ["Default"],
            "hidden_irreps": "8x0e + 8x1o", "interaction_cls": "RealAgnosticResidualInteractionBlock",
            "interaction_cls_first": "RealAgnosticInteractionBlock", "max_ell": 2, "num_bessel": 4,
            "num_interactions": 2, "num_polynomial_cutoff": 5, "pair_repulsion": False, "r_max": 4.5,
            "radial_MLP": [16, 16], "radial_type": "bessel", "readout_cls": "NonLinearReadoutBlock",
            "use_agnostic_product": False, "use_edge_irreps_first": False, "use_last_readout_only": False,
            "use_reduced_cg": True, "use_so3": False,
        },
        {
            "atomic_energies": np.array([[-1.9, -1.8, -6.5]]),
            "atomic_inter_scale": np.array(300.0),
            "atomic_inter_shift": np.array(0.0),
        },
    )  # fmt: skip
    checkpoints.fill(network, seed=7, normalised=True)
    return network


def _stated(digest: str, model: str | None, options: Mapping[str, Any]) -> Statement:
    return checkpoints.stated(digest, None, options, engine="MACE", model=model)


def _read(file: str, digest: str, trust_sha256: str | None) -> Any:
    if is_bridge(file):
        with warnings.catch_warnings():
            # From e3nn 0.4, which copies a network (for the check of the bridge) by torch.jit.
            warnings.filterwarnings("ignore", message=r"`?torch\.jit", category=DeprecationWarning)
            return mace_bridge.read(file)
    checkpoints.demand_trust(file, digest, trust_sha256, instead=_INSTEAD)
    return mace_bridge.unpickle(file)


def _symbols(numbers: Any) -> tuple[str, ...]:
    return tuple(chemical_symbols[number] for number in sorted(int(number) for number in numbers))
