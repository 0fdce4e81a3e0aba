"""A safe file format for MACE: settings as JSON and weights as arrays in one ``.npz``, without any code.

A ``.model`` of MACE pickles whole Python objects, including compiled ones of e3nn: it runs code when it is loaded, and
loads only with the version of e3nn that wrote it. The bridge file holds the settings of the network and its weights. It
is made once where the ``.model`` can be loaded and is trusted (``superionic engines convert``), and can be read
anywhere: the installed mace and e3nn rebuild the network from classes of mace that are listed here.

The file also holds the original's energy and forces for the stored structure (or a similar one of elements that the
model covers), so that an unfaithful file is detected when it is read.
"""

from __future__ import annotations

import copy
import io
import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from superionic.errors import EngineError, PotentialError
from superionic.foreign import open_regular
from superionic.models.mace.evaluation import MACEPotential, import_mace

_SETTINGS = "settings"
_FORMAT = 1
_NO_BRIDGE = "This is no MACE file of superionic (settings and arrays)."
_MAKE_IT = "Make it with superionic engines convert mace FILE.model"
_GATES = ("silu", "tanh", "abs", None)
_ARRAYS = ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift")
# Parts of the names of constants that e3nn creates itself; they differ between versions and are created again.
_MADE_BY_E3NN = ("_compiled_main", "_w3j", "output_mask", ".bias")
_NAMES = (
    "MLP_irreps", "apply_cutoff", "atomic_numbers", "avg_num_neighbors", "correlation", "distance_transform",
    "edge_irreps", "gate", "heads", "hidden_irreps", "interaction_cls", "interaction_cls_first", "max_ell",
    "num_bessel", "num_interactions", "num_polynomial_cutoff", "pair_repulsion", "r_max", "radial_MLP", "radial_type",
    "readout_cls", "use_agnostic_product", "use_edge_irreps_first", "use_last_readout_only", "use_reduced_cg",
    "use_so3",
)  # fmt: skip
_TOLERANCE_EV_PER_ATOM = 1e-4
_TOLERANCE_EV_PER_A = 2e-3


def settings_of(network: Any) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the settings of a network of MACE: JSON values, and arrays.

    Raises
    ------
    PotentialError
        If the bridge does not support this kind of network.
    """
    from mace.tools.scripts_utils import extract_config_mace_model

    kind = type(network).__name__
    config = dict(extract_config_mace_model(network)) if kind == "ScaleShiftMACE" else {}
    unknown = [name for name in ("cueq_config", "embedding_specs") if config.get(name) is not None]
    if not config or unknown or config["use_embedding_readout"]:
        raise PotentialError(
            f"The bridge supports only MACE's ScaleShiftMACE without extra inputs, and not this model ({kind}).",
            fix="Use the .model itself, with trust_sha256.",
        )
    gate = config["gate"]
    config["gate"] = None if gate is None else getattr(gate, "__name__", str(gate))
    for name in ("interaction_cls", "interaction_cls_first", "readout_cls"):
        config[name] = config[name].__name__
    for name in ("MLP_irreps", "edge_irreps", "hidden_irreps"):
        config[name] = None if config[name] is None else str(config[name])
    for name in ("r_max", "num_polynomial_cutoff", "avg_num_neighbors"):
        config[name] = float(config[name])
    for name in ("num_bessel", "max_ell", "num_interactions"):
        config[name] = int(config[name])
    config["atomic_numbers"] = [int(number) for number in config["atomic_numbers"]]
    config["heads"] = [str(head) for head in config["heads"]]
    config["radial_MLP"] = [int(width) for width in config["radial_MLP"]]
    correlation = config["correlation"]
    config["correlation"] = [int(c) for c in correlation] if isinstance(correlation, list) else int(correlation)
    arrays = {name: np.asarray(config[name], dtype=np.float64) for name in _ARRAYS}
    return {name: config[name] for name in _NAMES}, arrays


def build(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Build a network with the installed mace and e3nn, in double precision; weights are not yet loaded.

    Raises
    ------
    PotentialError
        If a setting is missing, or names something that mace lacks.
    """
    import warnings

    import torch

    modules = import_mace()
    from e3nn import o3

    missing = [name for name in _NAMES if name not in settings] + [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise PotentialError(f"The MACE file lacks {', '.join(missing)}.", fix="Convert the .model again.")
    arguments: dict[str, Any] = {name: settings[name] for name in _NAMES}
    if arguments["gate"] not in _GATES:
        raise PotentialError(f"The bridge has no gate {arguments['gate']!r}.", fix="Use the .model with trust_sha256.")
    gates = {"silu": torch.nn.functional.silu, "tanh": torch.tanh, "abs": torch.abs, None: None}
    arguments["gate"] = gates[arguments["gate"]]
    for name, table in (
        ("interaction_cls", modules.interaction_classes),
        ("interaction_cls_first", modules.interaction_classes),
        ("readout_cls", modules.readout_classes),
    ):
        if arguments[name] not in table:
            raise PotentialError(f"The installed mace has no {arguments[name]!r}.", fix="Install the engine again.")
        arguments[name] = table[arguments[name]]
    for name in ("MLP_irreps", "edge_irreps", "hidden_irreps"):
        arguments[name] = None if arguments[name] is None else o3.Irreps(arguments[name])
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from e3nn 0.4, which still uses torch.jit
            return modules.ScaleShiftMACE(
                **arguments,
                num_elements=len(arguments["atomic_numbers"]),
                **{name: np.array(arrays[name], dtype=np.float64) for name in _ARRAYS},
            )
    finally:
        torch.set_default_dtype(before)


def build_for_weights(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """Return what :func:`build` does, with weights that are of no account: the caller loads all of them.

    It is a copy of the network that was last built of the same settings and arrays. Building one compiles its products,
    which takes seconds, and a training needs its network for every segment and prediction.
    """
    import warnings

    named = {name: value for name, value in settings.items() if name in _NAMES}
    text = json.dumps([named, {name: np.asarray(array, dtype=np.float64).tolist() for name, array in arrays.items()}])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from e3nn 0.4, which still uses torch.jit
        return copy.deepcopy(_built(text))


@lru_cache(maxsize=8)
def _built(text: str) -> Any:
    return build(*json.loads(text))


def load_arrays(network: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Load weights into a network.

    Raises
    ------
    PotentialError
        If a weight is missing, superfluous or of another shape. Only constants that e3nn creates itself may differ.
    """
    import torch

    state = network.state_dict()
    fitting = {
        name: torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name in state and tuple(state[name].shape) == np.shape(array)
    }
    odd = [name for name in {*arrays, *state} - set(fitting) if not any(part in name for part in _MADE_BY_E3NN)]
    if odd:
        raise PotentialError(
            f"The weights do not fit the MACE model: {len(odd)} differ, e.g. {min(odd)}.",
            fix="Give the complete state dict of the same model that they were trained from.",
        )
    network.load_state_dict(fitting, strict=False)


def write(network: Any, path: str | Path) -> None:
    """Write a network of MACE as a bridge file, with its energy and forces for the proof structure."""
    settings, arrays = settings_of(network)
    settings["format"] = _FORMAT
    state = {f"weight:{name}": value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    energy, forces = _evaluate(network)
    arrays |= {"proof:energy_eV": np.array(energy), "proof:forces_eV_per_A": forces}
    text = np.frombuffer(json.dumps(settings, sort_keys=True).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_SETTINGS: text}, **arrays, **state)
    Path(path).write_bytes(buffer.getvalue())


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read the settings of a bridge file, with numpy alone.

    Raises
    ------
    PotentialError
        If it is not a bridge file.
    """
    return _open(path)[0]


def read(path: str | Path) -> Any:
    """Build the network of a bridge file, and check that it reproduces the original.

    Raises
    ------
    PotentialError
        If it is not a bridge file, or does not fit the installed mace.
    EngineError
        If the network gives other numbers than the original.
    """
    settings, arrays = _open(path)
    made_of = {name: arrays[name] for name in _ARRAYS if name in arrays}
    network = build_for_weights(settings, made_of)
    load_arrays(network, {n.partition(":")[2]: a for n, a in arrays.items() if n.startswith("weight:")})
    energy, forces = _evaluate(network)
    energy_error = abs(energy - float(arrays["proof:energy_eV"])) / len(forces)
    force_error = float(np.abs(forces - arrays["proof:forces_eV_per_A"]).max())
    if not (energy_error <= _TOLERANCE_EV_PER_ATOM and force_error <= _TOLERANCE_EV_PER_A):
        raise EngineError(
            f"This MACE file gives other numbers here than where it was made (energy {energy_error:.2g} eV/atom, "
            f"force {force_error:.2g} eV/Å).",
            where=str(path),
            fix="Do not use it with this engine; convert the .model again.",
        )
    return network


def unpickle(path: str | Path) -> Any:
    """Load a ``.model``, which runs the code in it; only for a file whose checksum the user trusts.

    Raises
    ------
    PotentialError
        If it holds no loadable model of MACE.
    """
    import warnings

    import torch

    import_mace()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise PotentialError(
            f"The file cannot be loaded as a MACE model ({type(error).__name__}: {str(error)[:150]}).",
            where=str(path),
            fix="It must be a .model (not compiled for LAMMPS), written with a version of e3nn that fits this engine.",
        ) from error
    if not hasattr(network, "r_max") or not hasattr(network, "atomic_numbers"):
        raise PotentialError("The file holds no MACE model.", where=str(path), fix="Give the .model file.")
    return network


def convert(settings: Mapping[str, Any], inputs: Any = None, context: Any = None) -> dict[str, Any]:
    """Convert a trusted ``.model`` to a bridge file (a task): ``file``, ``output``, ``trust_sha256``."""
    del inputs, context
    from superionic.potentials import checkpoints

    digest = checkpoints.checksum(settings["file"])
    checkpoints.demand_trust(
        settings["file"], digest, settings.get("trust_sha256"), instead="Converting loads it once (--trust)."
    )
    write(unpickle(settings["file"]), settings["output"])
    return {"sha256": checkpoints.checksum(settings["output"]), "settings": read_settings(settings["output"])}


def _evaluate(network: Any) -> tuple[float, np.ndarray]:
    """Return energy and forces of the proof structure in double precision, by a copy of the network."""
    from ase.data import chemical_symbols

    from superionic.potentials.base import PotentialIdentity
    from superionic.potentials.reference import cell_of

    numbers = sorted(int(number) for number in network.atomic_numbers)
    elements = tuple(chemical_symbols[number] for number in numbers)
    identity = PotentialIdentity("mace", "", "", "", "", "", elements, "")
    potential = MACEPotential(identity, copy.deepcopy(network), precision="float64", head=0, device="cpu")
    prediction = potential.evaluate(cell_of(elements), stress=False)
    return prediction.energy_eV, np.array(prediction.forces_eV_per_A)


def _open(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    try:
        with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
            _demand_stored(file.zip)
            arrays = {name: file[name] for name in file.files}
        settings: dict[str, Any] = json.loads(arrays.pop(_SETTINGS).tobytes())
        known = settings["format"] == _FORMAT
    except (
        Exception,
        MemoryError,
    ) as error:  # for an archive of arbitrary content, numpy and zipfile may raise anything
        raise PotentialError(_NO_BRIDGE, where=str(path), fix=_MAKE_IT) from error
    if not known:
        raise PotentialError("This MACE file is from a later version of superionic.", where=str(path), fix=_MAKE_IT)
    return settings, arrays


def _demand_stored(archive: zipfile.ZipFile) -> None:
    """Refuse an archive that expands when it is read: a bridge file is stored uncompressed.

    Raises
    ------
    ValueError
        If its members are compressed.
    """
    if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
        raise ValueError("its members are compressed")
