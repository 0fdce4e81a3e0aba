"""Networks of MACE for training: read from a checkpoint, newly built, with a second head or with low-rank additions.

They use mace's own functions: ``load_foundations_elements`` (weights into a network with more heads),
``remove_pt_head`` (one head out of several) and ``mace.modules.lora``.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase.data import atomic_numbers

from superionic.errors import CampaignFileError, EngineError, PotentialError
from superionic.models.mace import weights as mace_weights
from superionic.models.mace.state import FREEZE, TrainOptions
from superionic.models.mace.weights import FOUNDATION, SETTINGS, TUNED
from superionic.training.dataset import LabelledSet, fit_element_references
from superionic.training.state import Arrays

_MAX_ELL: Final = 3
_DECAYS: Final = ("linear.weight", "skip_tp_full.weight")


def prepare() -> None:
    """Import torch and mace on one thread; raise :class:`EngineError` if they are not installed."""
    try:
        import torch

        from superionic.models.mace.evaluation import import_mace

        import_mace()
    except ModuleNotFoundError as error:
        raise EngineError(
            f"Training MACE needs the module {error.name}, which is not installed in this environment.",
            fix="Install its engine: superionic engines install mace",
        ) from error
    torch.set_num_threads(1)


def checkpoint(
    model: str | None,
    file: str | None,
    weights: Mapping[str, np.ndarray] | None,
    *,
    head: str | None = None,
    foundation_head: str | None = None,
    trust_sha256: str | None = None,
) -> Any:
    """Read the network to start from: that of a file or of earlier weights, or the test network.

    A network with several heads is reduced to one: ``head``, or ``foundation_head`` for a file. Weights of a multi-head
    training keep their two heads unless ``head`` is named.

    Raises
    ------
    PotentialError
        If the file is not a checkpoint, is a pickle that is not trusted, or has several heads and none is named.
    """
    from superionic.models.mace.bridge import load_arrays
    from superionic.models.mace.potential import is_bridge, read_network

    if weights is not None and mace_weights.is_complete(weights):
        if file is not None:
            from superionic.potentials.checkpoints import checksum

            mace_weights.check_origin(weights, checksum(file))
        network = mace_weights.unpack(weights)
        own = True
    else:
        network = read_network(model, file=file, trust_sha256=trust_sha256)
        network = network if file is None or is_bridge(file) else _anew(network)
        own = False
        if weights is not None:
            load_arrays(network, weights)
    if own and head is None and is_double(network):
        return network
    return single_head(network, head if own else head or foundation_head)


def is_double(network: Any) -> bool:
    """Return whether a network has the two heads of a multi-head training."""
    return tuple(network.heads) == (FOUNDATION, TUNED)


def single_head(network: Any, head: str | None) -> Any:
    """Reduce a network to one head; errors as in :func:`superionic.models.mace.weights.choose_head`."""
    heads = list(getattr(network, "heads", ["Default"]))
    index = mace_weights.choose_head(heads, head)
    if len(heads) == 1:
        return network
    from mace.tools.scripts_utils import remove_pt_head

    with double_precision():
        return remove_pt_head(network, heads[index])


def double_head(network: Any) -> Any:
    """Add a second head, initially a copy of the first, to a network with one.

    Raises
    ------
    PotentialError
        If mace's own function cannot do so for this network (three or more layers).
    """
    from mace.tools.finetuning_utils import load_foundations_elements
    from mace.tools.utils import AtomicNumberTable

    from superionic.models.mace.bridge import build_for_weights, settings_of

    settings, arrays = settings_of(network)
    settings["heads"] = [FOUNDATION, TUNED]
    wider = {name: np.repeat(np.atleast_1d(array), 2) for name, array in arrays.items() if name != "atomic_energies"}
    wider["atomic_energies"] = np.repeat(np.atleast_2d(arrays["atomic_energies"]), 2, axis=0)
    table = AtomicNumberTable([int(number) for number in network.atomic_numbers])
    with double_precision():
        import torch
        from e3nn import o3

        largest = o3.Irreps(settings["hidden_irreps"]).lmax
        doubled = build_for_weights(settings, wider)
        try:
            with torch.no_grad():
                load_foundations_elements(
                    doubled, network, table, load_readout=True, max_L=largest, default_dtype=torch.float64
                )
        except (RuntimeError, AttributeError, IndexError) as error:
            raise PotentialError(
                f"mace cannot give this network a second head ({str(error)[:120]}).",
                fix="Use mode naive, frozen or lora with this checkpoint.",
            ) from error
    return _anew(doubled)


def _anew(network: Any) -> Any:
    """Rebuild a network from its own weights.

    Networks altered by mace, and old checkpoints, hold constants (of the radial basis) as parameters to be trained.
    """
    return mace_weights.unpack(mace_weights.pack(network))


def scratch(options: TrainOptions, train: LabelledSet, seed: int) -> Any:
    """Build a new network for a training set; its random weights are a function of the seed.

    The energies of atoms are those of the options or fitted to the labels; the scale is the root mean square of the
    forces; the shift is the mean energy per atom that the energies of atoms leave.

    Raises
    ------
    CampaignFileError
        If the options lack an element's energy.
    CalculationFailed
        If an atom has no neighbour.
    """
    import torch
    from matscipy.neighbours import neighbour_list

    from superionic.models.mace.bridge import build

    form = options.architecture()
    numbers = sorted({int(number) for atoms in train.structures for number in atoms.numbers})
    compositions = train.compositions()
    table = options.e0s
    if table is None:
        table = fit_element_references(train.targets.energies_eV, compositions).eV_per_atom
    symbols = {number: symbol for symbol, number in atomic_numbers.items()}
    missing = [symbols[number] for number in numbers if symbols[number] not in table]
    if missing:
        _missing_e0s(missing)
    rest = [
        (energy - sum(n * table[element] for element, n in counts.items())) / sum(counts.values())
        for energy, counts in zip(train.targets.energies_eV, compositions, strict=True)
    ]
    edges = sum(
        len(neighbour_list("i", cutoff=float(form["r_max_A"]), positions=a.positions, cell=a.cell.array, pbc=a.pbc))
        for a in train.structures
    )
    spread = float(np.sqrt(np.mean(np.concatenate(train.targets.forces_eV_per_A) ** 2)))
    channels = form["channels"]
    hidden = " + ".join(f"{channels}x{degree}{'e' if degree % 2 == 0 else 'o'}" for degree in range(form["max_L"] + 1))
    settings = {
        "MLP_irreps": "16x0e", "apply_cutoff": True, "atomic_numbers": numbers,
        "avg_num_neighbors": max(1.0, edges / float(train.targets.n_atoms.sum())),
        "correlation": form["correlation"], "distance_transform": None, "edge_irreps": None, "gate": "silu",
        "heads": ["Default"], "hidden_irreps": hidden, "interaction_cls": "RealAgnosticResidualInteractionBlock",
        "interaction_cls_first": "RealAgnosticResidualInteractionBlock", "max_ell": _MAX_ELL, "num_bessel": 10,
        "num_interactions": form["layers"], "num_polynomial_cutoff": 5, "pair_repulsion": False,
        "r_max": float(form["r_max_A"]), "radial_MLP": [64, 64, 64], "radial_type": "bessel",
        "readout_cls": "NonLinearReadoutBlock", "use_agnostic_product": False, "use_edge_irreps_first": False,
        "use_last_readout_only": False, "use_reduced_cg": True, "use_so3": False,
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(
            settings,
            {
                "atomic_energies": np.array([[table[symbols[number]] for number in numbers]]),
                "atomic_inter_scale": np.array(spread if spread > 0.0 else 1.0),
                "atomic_inter_shift": np.array(float(np.mean(rest))),
            },
        )


def check_form(network: Any, options: TrainOptions) -> None:
    """Refuse options for another architecture than that of the checkpoint: they would have no effect.

    Raises
    ------
    CampaignFileError
        If they differ.
    """
    from superionic.models.mace.bridge import settings_of

    settings, _ = settings_of(network)
    from e3nn import o3

    irreps = o3.Irreps(settings["hidden_irreps"])
    has = {
        "channels": irreps.count("0e"),
        "layers": settings["num_interactions"],
        "correlation": settings["correlation"],
        "r_max_A": settings["r_max"],
        "max_L": irreps.lmax,
    }
    for name, value in has.items():
        requested = getattr(options, name)
        if requested is not None and requested != value:
            raise CampaignFileError(
                f"{name} of the training is {requested}, but that of the checkpoint is {value}.",
                where=f"train.{name}",
                fix="Leave it out: a checkpoint keeps its architecture. For a new network, set mode: scratch.",
            )


def declared_shifts(network: Any, head: int, e0s: Mapping[str, float], symbols: Iterable[str]) -> dict[str, float]:
    """Return the shifts from a network's energies of atoms to those of the labels, for some elements.

    Raises
    ------
    CampaignFileError
        If the energy of an element is not given.
    """
    own = np.atleast_2d(network.atomic_energies_fn.atomic_energies.cpu().numpy())[head]
    place = {int(number): i for i, number in enumerate(network.atomic_numbers)}
    symbols = list(symbols)
    missing = [symbol for symbol in symbols if symbol not in e0s]
    if missing:
        _missing_e0s(missing)
    return {symbol: float(e0s[symbol] - own[place[atomic_numbers[symbol]]]) for symbol in symbols}


def add_lora(network: Any, options: TrainOptions, seed: int) -> Any:
    """Add low-rank terms, initially zero, to a network, whose own weights are then fixed."""
    import torch
    from mace.modules.lora import inject_LoRAs

    with torch.random.fork_rng(devices=[]), double_precision():
        torch.manual_seed(seed)
        inject_LoRAs(network, rank=options.lora_rank, alpha=options.lora_alpha)
    return network.to(dtype=getattr(torch, options.dtype))


def trained_parameters(network: Any, options: TrainOptions) -> dict[str, Any]:
    """Mark the parameters to train, and return them by name in the order of the network."""
    trained = {}
    for name, parameter in network.named_parameters():
        if options.mode == "lora":
            learns = "lora_A" in name or "lora_B" in name
        else:
            learns = not any(name == part or name.startswith(f"{part}.") for part in FREEZE[options.freeze])
        learns = learns and parameter.numel() > 0
        parameter.requires_grad_(learns)
        if learns:
            trained[name] = parameter
    return trained


def decays(name: str) -> bool:
    """Return whether mace penalises a parameter: linear maps of the messages, and the products."""
    return name.startswith("products.") or (name.startswith("interactions.") and any(d in name for d in _DECAYS))


def rebuild(fixed: Arrays, trained: Arrays, options: TrainOptions, seed: int) -> Any:
    """Build the network of a state, in the precision of the training."""
    import torch

    dtype = getattr(torch, options.dtype)
    if options.mode == "lora":
        network = add_lora(mace_weights.unpack(fixed).to(dtype=dtype), options, seed)
        put(dict(network.named_parameters()), trained)
        return network
    return mace_weights.unpack({**fixed, **trained}).to(dtype=dtype)


def complete(network: Any, settings: npt.NDArray[Any]) -> dict[str, np.ndarray]:
    """Return complete weights of a network, with low-rank additions merged into them."""
    from mace.modules.lora import LoRADenseLinear, LoRAFCLayer, LoRAO3Linear

    arrays = mace_weights.arrays_of(network)
    for name, module in network.named_modules():
        if isinstance(module, LoRAO3Linear):
            merged = module.compute_merged_weight()
        elif isinstance(module, LoRADenseLinear | LoRAFCLayer):
            merged = module.base.weight + module.scaling * module.compute_delta()
        else:
            continue
        arrays[f"{name}.base.weight"] = merged.detach().numpy().copy()
    merged_arrays = {name.replace(".base.", "."): array for name, array in arrays.items() if ".lora_" not in name}
    return {SETTINGS: np.array(settings)} | merged_arrays


def put(parameters: Mapping[str, Any], arrays: Arrays) -> None:
    """Set parameters to the values of arrays."""
    import torch

    with torch.no_grad():
        for name, array in arrays.items():
            parameters[name].copy_(torch.from_numpy(np.array(array)))


def file_of(weights: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the checkpoint from which weights were trained, or an empty string."""
    return str(json.loads(np.asarray(weights[SETTINGS], dtype=np.uint8).tobytes()).get("file_sha256", ""))


def _missing_e0s(symbols: Sequence[str]) -> None:
    raise CampaignFileError(
        f"e0s of the training lacks {', '.join(symbols)}.",
        where="train.e0s",
        fix="Give the energy of an isolated atom of every element of the labels, or leave e0s out to fit it.",
    )


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """Let mace build networks in double precision, and silence e3nn's warnings about torch.jit."""
    import warnings

    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(before)
