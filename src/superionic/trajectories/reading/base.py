"""The interface of trajectory readers: atoms, blocks of frames, and warnings of what could not be read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError
from superionic.foreign import open_regular
from superionic.structures.io.frames import frames_of

FloatArray = npt.NDArray[np.float64]

FRAMES_PER_BLOCK = 256
_BLOCK_BYTES = 256_000_000
"""Largest size of the positions in a block: fewer frames if there are many atoms."""

MOST_ATOMS = 5_000_000
"""Largest number of atoms in a frame; a header that states more is damaged, or the run is out of scope."""

CLOCK_PS = 1.0e-6
"""Times in files are read as integer multiples of this (an attosecond), so that steps and times are treated alike."""

MOST_STEP = 2**62
"""Largest number of a step; larger ones are not step numbers."""

_MOST_STRUCTURE_BYTES = 500_000_000
_LONGEST_HEAD = 10_000
_HEAD_LINES = 40
_MASS_TOLERANCE = 0.02

FilePosition = dict[str, int]
"""The position of a reader in its file, sufficient to resume from there."""


@dataclass(frozen=True)
class ReadWarning:
    """Something in a file that could not be read, or was skipped.

    Attributes
    ----------
    frame
        Number of the frame in its file, from 0; None if it concerns no frame.
    byte
        Offset in the (uncompressed) file; None if the format has none.
    reason
        What is wrong, in one sentence.
    lost
        Number of frames lost by it; None if unknown.
    file
        Name of the file.
    """

    frame: int | None
    byte: int | None
    reason: str
    lost: int | None = 1
    file: str = ""

    def __str__(self) -> str:
        place = [self.file] if self.file else []
        place += [f"frame {self.frame}"] if self.frame is not None else []
        place += [f"byte {self.byte}"] if self.byte is not None else []
        return f"{', '.join(place)}: {self.reason}" if place else self.reason


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive frames of a file.

    Attributes
    ----------
    steps
        (n_frames,) numbers of the frames as the file counts them (molecular dynamics steps, configurations, or simply
        0, 1, 2, …); if the file states times, these, in units of :data:`CLOCK_PS`. They go back where a run was
        restarted.
    fractional
        (n_frames, n_atoms, 3) positions in units of the cell vectors, wrapped into the cell or not as the reader
        states.
    cells_A
        (n_frames, 3, 3) cell vectors as rows, in Å.
    frames
        (n_frames,) positions of the frames in their file, from 0, damaged ones counted; None if none is damaged.
    """

    steps: npt.NDArray[np.int64]
    fractional: FloatArray
    cells_A: FloatArray
    frames: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class ReadingOptions:
    """Information that a file may lack.

    Attributes
    ----------
    elements
        Element symbols: one for each atom type (LAMMPS), one for each kind of atom in order (VASP 4), or one for each
        atom.
    units
        LAMMPS units of the dump: ``metal``, ``real``, ``si``, ``cgs``, ``electron``, ``micro`` or ``nano``.
    timestep_fs
        Time step of the run, if the file counts steps without stating their length.
    structure
        A file that ASE can read, with the atoms (and the cell) of the trajectory: for XTC, DCD, old XDATCAR files, and
        XYZ files without a cell.
    """

    elements: tuple[str, ...] = ()
    units: str | None = None
    timestep_fs: float | None = None
    structure: Path | None = None


class TrajectoryReader(Protocol):
    """A trajectory open for reading from its start, any number of times.

    Attributes
    ----------
    format
        Name of the format.
    symbols
        (n_atoms,) element symbols, in the order of the blocks.
    n_frames
        Number of frames, if the file states it without being read to its end.
    step_ps
        Time per unit of :attr:`Block.steps`, if the file or the options state it.
    temperature_K
        Temperature at which the run was held according to the file; None if it states none.
    unwrapped
        Whether positions continue beyond the cell, so that no jump across a boundary has to be removed.
    notices
        What could not be read; complete once the blocks have been read to their end.
    counts_steps
        Whether the frame numbers continue from one file of a run to the next, as molecular dynamics steps do.
    place
        Position of the reader after the block that it yielded last.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - attributes are described above
    @property
    def format(self) -> str: ...  # noqa: D102
    @property
    def symbols(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def n_frames(self) -> int | None: ...  # noqa: D102
    @property
    def step_ps(self) -> float | None: ...  # noqa: D102
    @property
    def temperature_K(self) -> float | None: ...  # noqa: D102
    @property
    def unwrapped(self) -> bool: ...  # noqa: D102
    @property
    def notices(self) -> list[ReadWarning]: ...  # noqa: D102
    @property
    def place(self) -> FilePosition: ...  # noqa: D102
    @property
    def counts_steps(self) -> bool: ...  # noqa: D102

    def blocks(self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None) -> Iterator[Block]:
        """Yield the complete frames in order, from the first or from where an earlier reading stopped."""
        ...


@dataclass
class FrameCollector:
    """Collects frames into blocks of a given length, each with arrays of its own.

    Parameters
    ----------
    n_atoms
        Number of atoms in each frame.
    size
        Number of frames in a block; fewer if they would need too much memory.
    """

    n_atoms: int
    size: int
    _count: int = 0
    _steps: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _frames: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    _fractional: FloatArray = field(default_factory=lambda: np.zeros(0))
    _cells: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.size = max(1, min(self.size, _BLOCK_BYTES // (24 * max(1, self.n_atoms))))
        self._fresh()

    def _fresh(self) -> None:
        self._count = 0
        self._steps = np.empty(self.size, dtype=np.int64)
        self._frames = np.empty(self.size, dtype=np.int64)
        self._fractional = np.empty((self.size, self.n_atoms, 3))
        self._cells = np.empty((self.size, 3, 3))

    @property
    def slot(self) -> FloatArray:
        """Array (n_atoms, 3) into which to write the next frame."""
        slot: FloatArray = self._fractional[self._count]
        return slot

    def add(self, frame: int, step: int, cell_A: FloatArray) -> Block | None:
        """Accept the contents of the slot as a frame; return a block when one is full."""
        self._frames[self._count] = frame
        self._steps[self._count] = step
        self._cells[self._count] = cell_A
        self._count += 1
        return self.flush() if self._count == self.size else None

    def flush(self) -> Block | None:
        """Return the frames collected so far as a block, if any."""
        if self._count == 0:
            return None
        n = self._count
        block = Block(self._steps[:n], self._fractional[:n], self._cells[:n], self._frames[:n])
        self._fresh()
        return block


def checked_symbols(elements: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return element symbols if all are valid.

    Raises
    ------
    AnalysisError
        If one is not an element.
    """
    from ase.data import atomic_numbers

    wrong = [e for e in elements if e not in atomic_numbers or e == "X"]
    if wrong:
        raise AnalysisError(
            f"{wrong[0]!r} is not an element.", where=where, fix="Name elements such as --elements Li,Y,Cl, in order."
        )
    return elements


def read_structure(path: Path) -> tuple[tuple[str, ...], FloatArray | None]:
    """Read the symbols, and the cell if there is one, of a structure file.

    Raises
    ------
    AnalysisError
        If ASE cannot read it.
    """
    try:
        atoms = _first_structure(path)
        symbols = tuple(atoms.get_chemical_symbols())
        cell = np.array(atoms.cell.array, dtype=np.float64)
    except Exception as error:
        raise AnalysisError(
            f"The structure file cannot be read: {_reason(error)}.",
            where=str(path),
            fix="Give a POSCAR, CIF or extxyz file with the same atoms in the same order.",
        ) from error
    return symbols, cell if abs(float(np.linalg.det(cell))) > 1e-9 else None


def _reason(error: Exception) -> str:
    words = getattr(error, "strerror", None) or str(error)[:300].rstrip(".")
    return words or f"it is in no format that is known here ({type(error).__name__})"


def _lammps_data(path: Path) -> Any:
    """Read a LAMMPS data file, whose elements follow from its masses alone.

    Raises
    ------
    ValueError
        If it has no masses, or they are not those of elements.
    """
    from ase.data import atomic_masses
    from ase.io import read

    with open_regular(path, _MOST_STRUCTURE_BYTES) as file:
        if not any(line.split(b"#")[0].strip() == b"Masses" for line in file):
            raise ValueError("a LAMMPS data file without a section Masses does not state its elements")
    atoms: Any = read(path, format="lammps-data")
    if np.any(np.abs(atomic_masses[atoms.numbers] - atoms.get_masses()) > _MASS_TOLERANCE * atoms.get_masses()):
        raise ValueError("the masses in this LAMMPS data file are not those of elements")
    return atoms


def _first_structure(path: Path) -> Any:
    """Read a structure by ASE, unless its header states more atoms than its file can hold."""
    from ase.io import read

    with open_regular(path, _MOST_STRUCTURE_BYTES) as file:
        lines = [file.readline(_LONGEST_HEAD) for _ in range(_HEAD_LINES)]
        n_bytes = os.fstat(file.fileno()).st_size
    packed = path.suffix.lower() in {".gz", ".bz2", ".xz"}
    if {".xyz", ".extxyz"} & {suffix.lower() for suffix in path.suffixes}:
        return next(frames_of(path))
    if any(line.split()[1:] == [b"atom", b"types"] for line in lines):
        return _lammps_data(path)
    for line in lines[:8]:
        words = line.split()
        whole = words and all(word.isdigit() and len(word) < 20 for word in words)
        if whole and not packed and sum(map(int, words)) > n_bytes:
            raise ValueError(f"its header states {sum(map(int, words)):,} atoms, but the file has {n_bytes:,} bytes")
    images = read(path)
    return images[0] if isinstance(images, list) else images


def check_atoms(n_atoms: int, where: str, n_bytes: int | None = None) -> None:
    """Refuse a header that states more atoms than a frame can have, or than the size of the file allows.

    Raises
    ------
    AnalysisError
        If it does.
    """
    if n_atoms > MOST_ATOMS or (n_bytes is not None and n_atoms > n_bytes):
        most = f"at most {MOST_ATOMS:,} are read" if n_atoms > MOST_ATOMS else f"the file has {n_bytes:,} bytes"
        stated = f"{n_atoms:,}" if n_atoms < 10**15 else f"{len(str(n_atoms))} digits of"
        raise AnalysisError(
            f"The header of the trajectory states {stated} atoms, but {most}.",
            where=where,
            fix="Check the file, or name its format with --format.",
        )


def clock(time_ps: float) -> int:
    """Return a time in units of :data:`CLOCK_PS`.

    Raises
    ------
    ValueError
        If it is not a possible time of a run.
    """
    if not abs(time_ps) < MOST_STEP * CLOCK_PS:
        raise ValueError(f"{time_ps:g} ps is not a possible time of a frame")
    return round(time_ps / CLOCK_PS)


def cell_of(rows: object, where: str) -> FloatArray:
    """Return a (3, 3) cell if it has a volume.

    Raises
    ------
    ValueError
        If it has none.
    """
    cell = np.asarray(rows, dtype=np.float64)
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or abs(float(np.linalg.det(cell))) < 1e-6:
        raise ValueError(f"the cell of {where} has no volume")
    return cell


def counted(symbols: tuple[str, ...]) -> Mapping[str, int]:
    """Count the atoms of each element, in order of their first appearance."""
    return {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}
