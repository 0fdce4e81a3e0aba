"""Labelled structures of a DeePMD system: ``type.raw``, ``type_map.raw`` and the arrays of each ``set.*``.

The arrays are those that numpy writes: ``coord`` (Å), ``box`` (Å), ``energy`` (eV), ``force`` (eV/Å) and ``virial``
(eV, of the cell: −volume times the stress), one row per frame. They say nothing about the method, so the user has to
state it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from ase import Atoms
from ase.data import atomic_numbers

from superionic.errors import CalculationFailed
from superionic.foreign import open_regular, read_regular, sha256_of
from superionic.labels.base import FloatArray

_MOST_BYTES: Final = 100_000_000
_ARRAYS: Final = ("coord", "box", "energy", "force", "virial", "spin", "real_atom_types")
_NEEDED: Final = ("coord", "box", "energy", "force")
_ASYMMETRY: Final = 0.05


@dataclass(frozen=True)
class DeepmdFrame:
    """One frame: structure, energy in eV, forces in eV/Å, stress in eV/Å³ (Voigt), magnetic moments in μ_B or None."""

    atoms: Atoms
    energy_eV: float
    forces_eV_per_A: FloatArray
    stress_eV_per_A3: FloatArray | None
    moments_muB: FloatArray | None


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 of all files of a system that are read."""
    digest = hashlib.sha256()
    for file in [folder / "type.raw", folder / "type_map.raw", *sorted(folder.glob("set.*/*.npy"))]:
        if file.is_file():
            digest.update(f"{file.relative_to(folder).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def deepmd_frames(folder: Path) -> Iterator[DeepmdFrame | CalculationFailed]:
    """Read the frames of a system, each as a frame or as the reason why it is rejected.

    Raises
    ------
    CalculationFailed
        If the system as a whole cannot be read.
    """
    types = [int(word) for word in _words(folder / "type.raw")]
    if not (folder / "type_map.raw").is_file():
        raise CalculationFailed(
            "there is no type_map.raw, so the elements of its types are unknown: write one symbol per line"
        )
    symbols = [re.sub(r"\d+$", "", word) for word in _words(folder / "type_map.raw")]
    unknown = sorted({symbol for symbol in symbols if symbol not in atomic_numbers})
    if (folder / "nopbc").exists():
        raise CalculationFailed("the system is not periodic (nopbc)")
    sets = sorted(path for path in folder.glob("set.*") if path.is_dir())
    if not sets:
        raise CalculationFailed("there is no set.* next to type.raw: import the folder of the whole system")
    for place in sets:
        try:
            arrays = _arrays(place, len(types))
        except CalculationFailed as failure:
            yield CalculationFailed(f"{place.name}: {failure.reason}")
            continue
        for number in range(len(arrays["energy"])):
            kinds = np.asarray(arrays["real_atom_types"][number] if "real_atom_types" in arrays else types, dtype=int)
            here = kinds >= 0  # a mixed system is padded with atoms of type -1
            if kinds[here].max(initial=0) >= len(symbols) or {symbols[k] for k in kinds[here]} & set(unknown):
                yield CalculationFailed(f"{place.name}, frame {number}: type_map.raw has no element for a type")
                continue
            cell = np.array(arrays["box"][number], dtype=np.float64).reshape(3, 3)
            positions = np.array(arrays["coord"][number], dtype=np.float64).reshape(-1, 3)[here]
            atoms = Atoms([symbols[k] for k in kinds[here]], positions=positions, cell=cell, pbc=True)
            try:
                stress = _stress(arrays, number, cell)
            except CalculationFailed as failure:
                yield CalculationFailed(f"{place.name}, frame {number}: {failure.reason}")
                continue
            yield DeepmdFrame(
                atoms,
                float(np.ravel(arrays["energy"][number])[0]),
                np.array(arrays["force"][number], dtype=np.float64).reshape(-1, 3)[here],
                stress,
                None if "spin" not in arrays else np.array(arrays["spin"][number]).reshape(-1, 3)[here],
            )


def _words(path: Path) -> list[str]:
    try:
        return read_regular(path, _MOST_BYTES).decode("utf-8", errors="replace").split()
    except OSError as error:
        raise CalculationFailed(f"{path.name} cannot be read: {error.strerror or error}") from error


def _arrays(place: Path, n_atoms: int) -> dict[str, npt.NDArray[Any]]:
    """Load the arrays of a set, and check that each has a row per frame."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in _ARRAYS:
        path = place / f"{name}.npy"
        if not path.exists():
            continue
        try:
            with open_regular(path) as file:  # refuses a pipe or a device
                del file
            arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CalculationFailed(f"{name}.npy is cut off or not a numpy array ({error})") from error
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise CalculationFailed(f"{', '.join(f'{name}.npy' for name in missing)} is missing")
    n_frames = arrays["energy"].shape[0] if arrays["energy"].ndim else 0
    widths = {"coord": 3 * n_atoms, "box": 9, "energy": 1, "force": 3 * n_atoms, "virial": 9, "spin": 3 * n_atoms}
    for name, array in arrays.items():
        width = widths.get(name, n_atoms)
        if (
            array.dtype.kind not in "fiu"
            or array.ndim == 0
            or array.shape[0] != n_frames
            or array.size != n_frames * width
        ):
            raise CalculationFailed(
                f"{name}.npy has the shape {array.shape}, which is not {width} numbers for each of {n_frames} frames"
            )
        arrays[name] = array.reshape(n_frames, width)
    return arrays


def _stress(arrays: dict[str, npt.NDArray[Any]], number: int, cell: FloatArray) -> FloatArray | None:
    if "virial" not in arrays:
        return None
    volume = float(abs(np.linalg.det(cell)))
    if volume < 1.0e-6:
        raise CalculationFailed("the box has no volume")
    tensor = -np.array(arrays["virial"][number], dtype=np.float64).reshape(3, 3) / volume
    if float(np.abs(tensor - tensor.T).max()) > _ASYMMETRY * max(float(np.abs(tensor).max()), 1.0e-5):
        raise CalculationFailed("the virial is not symmetric")
    return np.asarray(0.5 * (tensor + tensor.T)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]], dtype=np.float64)
