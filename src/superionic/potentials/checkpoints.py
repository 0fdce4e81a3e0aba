"""What the adapters of users' checkpoints share: checksums, statements about a checkpoint, and safe loading.

A checkpoint of PyTorch is a pickle, and a pickle can run any code when it is loaded. So files are read as plain data
(tensors, numbers, names) wherever their format allows it. Any other file is refused unless the user states
its SHA-256, and so vouches for its origin.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.conventions import advice, is_convention
from superionic.errors import CalculationFailed, PotentialError
from superionic.foreign import sha256_of
from superionic.potentials.base import FINE_TUNED_FROM, BasePotential, PotentialIdentity, weights_sha256

FloatArray = npt.NDArray[np.float64]

MOST_BYTES = 5_000_000_000
"""Largest file taken for a checkpoint; those of the engines here are smaller."""

PRECISIONS = ("float32", "float64")
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Statement:
    """What is on record about a checkpoint, or stated by the user.

    Attributes
    ----------
    model
        Display name.
    energy_convention
        A term of :mod:`superionic.conventions`.
    level_of_theory
        What it was trained to reproduce.
    licence
        Licence of the checkpoint.
    """

    model: str
    energy_convention: str
    level_of_theory: str
    licence: str = "that of the user's file"

    def identity(
        self,
        engine: str,
        version: str,
        sha256: str,
        elements: tuple[str, ...],
        licence: str,
        *,
        fine_tuned: bool = False,
    ) -> PotentialIdentity:
        """Return the identity of the checkpoint's potential in an engine; ``licence`` is that of the engine's code."""
        return PotentialIdentity(
            name=engine,
            model=self.model,
            version=version,
            checkpoint_sha256=sha256,
            energy_convention=self.energy_convention,
            level_of_theory=f"{FINE_TUNED_FROM if fine_tuned else ''}{self.level_of_theory}",
            elements=elements,
            licence=f"{licence} (code); checkpoint: {self.licence}",
            engine=engine,
            fine_tuned=fine_tuned,
        )


class TorchPotential(BasePotential):
    """A PyTorch network as a potential, its parameters frozen.

    The ``load`` of an adapter takes ``weights`` (complete fine-tuned weights, by the names of the network's state
    dict), ``threads`` (of torch, a setting of the whole process), ``device`` and, for a user's ``file``,
    ``energy_convention`` (a term of :mod:`superionic.conventions`) and ``level_of_theory`` (what the file was trained
    to reproduce), which it must be given unless the file is on record.

    Parameters
    ----------
    device
        Name of the torch device.
    dtype
        Torch dtype to convert the network to; None leaves it as it is.
    """

    def __init__(self, identity: PotentialIdentity, network: Any, *, device: str, dtype: Any = None) -> None:
        import torch

        super().__init__(identity)
        self._dtype = dtype
        self._device = torch.device(device)
        self._network = network.to(device=self._device, dtype=dtype).eval()
        for parameter in self._network.parameters():
            parameter.requires_grad_(False)

    def state_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all weights as arrays by name, in the form that ``weights`` of ``load`` takes."""
        return {
            name: value.detach().cpu().numpy().copy()
            for name, value in self._network.state_dict().items()
            if hasattr(value, "detach")
        }


def checksum(path: str | Path, members: Sequence[str] = ()) -> str:
    """Return the SHA-256 of a file; for a folder, of the lines ``<SHA-256>  <name>`` of the ``members`` read from it.

    Raises
    ------
    PotentialError
        If a file is missing or unreadable.
    """
    source = Path(path)
    if not members:
        return _sha256(source)
    lines = [f"{_sha256(source / name)}  {name}\n" for name in members]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def stated(
    sha256: str, known: Statement | None, options: Mapping[str, Any], *, engine: str, model: str | None
) -> Statement:
    """Combine the record of a checkpoint with what the user states about it.

    Parameters
    ----------
    sha256
        Its checksum.
    known
        What is on record.
    options
        ``energy_convention`` and ``level_of_theory`` as the user states them; other options are ignored.
    engine, model
        Engine that runs it, and its display name.

    Raises
    ------
    PotentialError
        If neither states the energy convention, if it is not a known one, or if the user contradicts the record.
    """
    energy_convention = options.get("energy_convention")
    if known is not None:
        if energy_convention not in (None, known.energy_convention):
            raise PotentialError(
                f"The checkpoint is {known.model}, whose energies are {known.energy_convention!r}, "
                f"not {energy_convention!r}.",
                fix="Leave energy_convention out: it is on record for this file.",
            )
        return known
    if energy_convention is None:
        raise PotentialError(
            f"The energy convention of this {engine} checkpoint is not stated (SHA-256 {sha256[:12]}...).",
            fix=f"State its energy_convention; {advice('')}.",
        )
    if not is_convention(energy_convention):
        raise PotentialError(
            f"{energy_convention!r} is not an energy convention.", fix=f"Correct it: {advice(energy_convention)}."
        )
    return Statement(
        model=model or f"file {sha256[:12]}",
        energy_convention=energy_convention,
        level_of_theory=options.get("level_of_theory") or energy_convention,
    )


def demand_trust(path: str | Path, sha256: str, trust_sha256: str | None, *, instead: str) -> None:
    """Refuse a file that runs code when it is loaded, unless the user has stated its checksum.

    Raises
    ------
    PotentialError
        If ``trust_sha256`` is missing or is that of another file.
    """
    if trust_sha256 is not None and trust_sha256.lower() == sha256:
        return
    mismatch = "" if trust_sha256 is None else f", which is not the trusted one ({trust_sha256[:12]}...)"
    raise PotentialError(
        f"Loading this file would run code that is stored in it (a pickle); its SHA-256 is {sha256}{mismatch}.",
        where=str(path),
        fix=f"{instead} If you are sure of its origin, state it: trust_sha256: {sha256}",
    )


def load_tensors(path: Path, *, allow: Sequence[Any] = ()) -> Any:
    """Load a file of PyTorch as plain data.

    Parameters
    ----------
    allow
        Harmless classes and functions, besides PyTorch's own, that the file may refer to.

    Raises
    ------
    PotentialError
        If it is not such a file, or holds more than data.
    """
    import pickle

    import torch

    try:
        with torch.serialization.safe_globals(list(allow)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise PotentialError(f"The checkpoint cannot be read: {error.strerror}.", where=str(path)) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise PotentialError(
            "The checkpoint cannot be read as plain data: " + _first_reason(str(error)),
            where=str(path),
            fix="Download it again; a file that holds more than tensors and settings is not loaded.",
        ) from error


def load_weights(network: Any, weights: Mapping[str, npt.NDArray[Any]], engine: str) -> None:
    """Replace all weights of a network.

    Raises
    ------
    PotentialError
        If names or shapes are not those of the network.
    """
    import torch

    state = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise PotentialError(
            f"The weights do not fit the {engine} model: " + str(error).splitlines()[-1].strip(),
            fix="Give the complete state dict of the same model that they were trained from.",
        ) from error


def as_loaded(
    record: PotentialIdentity, package: str, sha256: str, weights: Mapping[str, np.ndarray] | None
) -> PotentialIdentity:
    """Return the identity on record with the installed version, and with the SHA-256 of fine-tuned weights if any."""
    identity = replace(record, version=installed_version(package), checkpoint_sha256=sha256)
    if weights is None:
        return identity
    theory = f"{FINE_TUNED_FROM}{record.level_of_theory}"
    return replace(identity, checkpoint_sha256=weights_sha256(weights), level_of_theory=theory, fine_tuned=True)


def installed_version(package: str) -> str:
    """Return the version of a package in this environment."""
    from importlib.metadata import version

    return version(package)


def by_number(symbols: Iterable[str]) -> tuple[str, ...]:
    """Sort symbols of elements by atomic number."""
    from ase.data import atomic_numbers

    return tuple(sorted(symbols, key=lambda symbol: atomic_numbers[symbol]))


def torch_dtype(precision: str, engine: str) -> Any:
    """Return the torch dtype of a precision; raise :class:`PotentialError` on an unknown one."""
    import torch

    if precision not in PRECISIONS:
        raise PotentialError(f"{engine} does not run in the precision {precision!r}.", fix="Use float32 or float64.")
    return getattr(torch, precision)


def fill(network: Any, *, seed: int, normalised: bool) -> None:
    """Give a small test network fixed parameters that do not depend on torch's random numbers.

    Parameters
    ----------
    network
        A torch module; its parameters are replaced.
    seed
        Seed of the normal random numbers, which are drawn in order of the parameters' names.
    normalised
        Whether the network itself divides by the root of the number of inputs (e3nn does, ``torch.nn`` does not).
    """
    import torch

    generator = np.random.Generator(np.random.PCG64(seed))
    with torch.no_grad():
        for name, parameter in sorted(network.named_parameters()):
            numbers = generator.standard_normal(tuple(parameter.shape))
            if not normalised:
                is_norm = parameter.ndim == 1 and name.endswith("norm.weight")
                numbers = numbers / np.sqrt(parameter.shape[-1]) if parameter.ndim > 1 else 0.0 * numbers + is_norm
            parameter.copy_(torch.as_tensor(numbers, dtype=parameter.dtype))


def wrapped_fractions(atoms: Atoms, engine: str) -> FloatArray:
    """Return fractional coordinates, wrapped along periodic directions to save digits in single precision.

    Raises
    ------
    CalculationFailed
        If the cell has no volume, or a number is not finite.
    """
    cell = atoms.cell.array
    if not np.isfinite(atoms.positions).all() or not np.isfinite(cell).all():
        raise CalculationFailed("a position or the cell is not a finite number", {"n_atoms": len(atoms)})
    if abs(np.linalg.det(cell)) < 1e-6:
        raise CalculationFailed(f"{engine} needs a periodic cell with a volume", {"n_atoms": len(atoms)})
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    wrapped: FloatArray = fractional - np.where(atoms.pbc, np.floor(fractional), 0.0)
    return wrapped


def voigt(tensor: FloatArray) -> FloatArray:
    """Return the symmetric part of a (3, 3) tensor as xx, yy, zz, yz, xz, xy."""
    symmetric = 0.5 * (tensor + tensor.T)
    return np.asarray(symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], dtype=np.float64)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path, MOST_BYTES)
    except OSError as error:
        raise PotentialError(
            f"The checkpoint cannot be read: {error.strerror or error}.",
            where=str(path),
            fix="Check `file` of the potential.",
        ) from error


def _first_reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "Unsupported" in line or "GLOBAL" in line]
    return (lines or text.splitlines() or ["it is damaged"])[0][:200]
