"""What adapters share that read a user's checkpoint: its checksum, what may be believed of it, and safe loading.

A checkpoint of PyTorch is a pickle, and a pickle can run any code when it is loaded. So files are read as plain data
(tensors, numbers, names) wherever their format allows it. One that cannot be read so is refused unless the user says
its SHA-256, as a word that he knows where the file is from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import Atoms

from superionic.conventions import advice, is_convention
from superionic.errors import CalculationFailed, PotentialError

FloatArray = npt.NDArray[np.float64]

PRECISIONS = ("float32", "float64")
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Statement:
    """What is known, or said by the user, about a checkpoint.

    Attributes
    ----------
    model
        Its name, for people.
    energy_convention
        A word of :mod:`superionic.conventions`.
    level_of_theory
        What it was trained to reproduce.
    licence
        Licence of the checkpoint.
    """

    model: str
    energy_convention: str
    level_of_theory: str
    licence: str = "that of the user's file"


def checksum(path: str | Path, members: Sequence[str] = ()) -> str:
    """SHA-256 of a file; of a folder, that of the lines ``<SHA-256>  <name>`` of the ``members`` that are read from it.

    Raises
    ------
    PotentialError
        If a file is missing or unreadable.
    """
    source = Path(path)
    if not members:
        return hashlib.sha256(_bytes(source)).hexdigest()
    lines = [f"{hashlib.sha256(_bytes(source / name)).hexdigest()}  {name}\n" for name in members]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def stated(
    sha256: str,
    known: Statement | None,
    *,
    engine: str,
    model: str | None,
    energy_convention: str | None,
    level_of_theory: str | None,
) -> Statement:
    """Join what is on record about a checkpoint with what the user says of it.

    Raises
    ------
    PotentialError
        If neither says the energy convention, if it is no known word, or if the user contradicts the record.
    """
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
            f"Nothing says which energies this {engine} checkpoint gives (SHA-256 {sha256[:12]}...).",
            fix=f"State its energy_convention; {advice('')}.",
        )
    if not is_convention(energy_convention):
        raise PotentialError(
            f"{energy_convention!r} is not an energy convention.", fix=f"Correct it: {advice(energy_convention)}."
        )
    return Statement(
        model=model or f"file {sha256[:12]}",
        energy_convention=energy_convention,
        level_of_theory=level_of_theory or energy_convention,
    )


def demand_trust(path: str | Path, sha256: str, trust_sha256: str | None, *, instead: str) -> None:
    """Refuse a file that runs code when it is loaded, unless the user named its checksum.

    Raises
    ------
    PotentialError
        If ``trust_sha256`` is missing or is that of another file.
    """
    if trust_sha256 is not None and trust_sha256.lower() == sha256:
        return
    said = "" if trust_sha256 is None else f", which is not the trusted one ({trust_sha256[:12]}...)"
    raise PotentialError(
        f"Loading this file would run code that is stored in it (a pickle); its SHA-256 is {sha256}{said}.",
        where=str(path),
        fix=f"{instead} If you know that it comes from who you think, say so with trust_sha256: {sha256}",
    )


def load_tensors(path: Path, *, allow: Sequence[Any] = ()) -> Any:
    """Load a file of PyTorch as plain data.

    Parameters
    ----------
    path
        The file.
    allow
        Harmless classes and functions that may be named in it besides PyTorch's own.

    Raises
    ------
    PotentialError
        If it is no such file, or holds more than data.
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
            "This is no checkpoint that can be read as plain data: " + _first_reason(str(error)),
            where=str(path),
            fix="Download it again; a file that holds more than tensors and settings is not loaded.",
        ) from error


def torch_dtype(precision: str, engine: str) -> Any:
    """Return the torch dtype of a precision; raise :class:`PotentialError` on an unknown one."""
    import torch

    if precision not in PRECISIONS:
        raise PotentialError(f"{engine} does not run in {precision!r}.", fix="Use float32 or float64.")
    return getattr(torch, precision)


def fill(network: Any, *, seed: int, normalised: bool) -> None:
    """Give a small test network fixed parameters that do not depend on torch's random numbers.

    Parameters
    ----------
    network
        A torch module; its parameters are replaced.
    seed
        Of the normal numbers, which are drawn in the order of the parameters' names.
    normalised
        Whether the network divides by the root of the number of inputs by itself (e3nn does, ``torch.nn`` does not).
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
    """Fractional coordinates, wrapped along periodic directions; far from the origin single precision eats digits.

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
    """Symmetric part of a (3, 3) tensor as xx, yy, zz, yz, xz, xy."""
    symmetric = 0.5 * (tensor + tensor.T)
    return np.asarray(symmetric[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], dtype=np.float64)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PotentialError(
            f"The checkpoint cannot be read: {error.strerror or error}.",
            where=str(path),
            fix="Check `file` of the potential.",
        ) from error


def _first_reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if "Unsupported" in line or "GLOBAL" in line]
    return (lines or text.splitlines() or ["it is damaged"])[0][:200]
