"""What every reader of a trajectory gives: atoms, blocks of frames, and notices of what could not be read."""

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
"""Positions of a block are no larger than this: fewer frames where there are many atoms."""

MOST_ATOMS = 5_000_000
"""Atoms of a frame; a head that says more is damaged, or of a run that this is not made for."""

CLOCK_PS = 1.0e-6
"""Times that a file states are read as whole numbers of this (an attosecond), so that steps and times are one thing."""

MOST_STEP = 2**62
"""Number of a step; what is larger is no number of a step."""

_MOST_STRUCTURE_BYTES = 500_000_000
_LONGEST_HEAD = 10_000
_HEAD_LINES = 40
_MASS_TOLERANCE = 0.02

FilePosition = dict[str, int]
"""Where a reader is in its file: enough to go on from there."""


@dataclass(frozen=True)
class ReadWarning:
    """Something in a file that could not be read, or was not taken.

    Attributes
    ----------
    frame
        Number of the frame in its file, from 0; None where no frame is meant.
    byte
        Place in the (uncompressed) file; None where the format has none.
    reason
        What is wrong, in one sentence.
    lost
        How many frames are missing because of it; None where that cannot be known.
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
        0, 1, 2, …); where the file states times, these, in units of :data:`CLOCK_PS`. Lower than before where a run
        was started anew.
    fractional
        (n_frames, n_atoms, 3) positions in units of the cell vectors, wrapped into the cell or not as the reader says.
    cells_A
        (n_frames, 3, 3) cell vectors as rows, in Å.
    frames
        (n_frames,) places of the frames in their file, from 0, damaged ones counted; None where none is damaged.
    """

    steps: npt.NDArray[np.int64]
    fractional: FloatArray
    cells_A: FloatArray
    frames: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True)
class ReadingOptions:
    """What a file may not say about itself.

    Attributes
    ----------
    elements
        Element symbols: one for each atom type (LAMMPS), one for each kind of atom in order (VASP 4), or one for each
        atom.
    units
        LAMMPS units of the dump: ``metal``, ``real``, ``si``, ``cgs``, ``electron``, ``micro`` or ``nano``.
    timestep_fs
        Time step of the run, where the file counts steps without saying how long one is.
    structure
        A file that ASE can read, with the atoms (and the cell) of the trajectory: for XTC, DCD, old XDATCAR files, and
        XYZ files without a cell.
    """

    elements: tuple[str, ...] = ()
    units: str | None = None
    timestep_fs: float | None = None
    structure: Path | None = None


class TrajectoryReader(Protocol):
    """A trajectory that is open for reading from its start, any number of times.

    Attributes
    ----------
    name
        Of the file.
    format
        Name of the format.
    symbols
        (n_atoms,) element symbols, in the order of the blocks.
    n_frames
        Number of frames where the file says it without being read to its end.
    step_ps
        Time for each number of :attr:`Block.steps`, where the file or the options tell it.
    temperature_K
        That the file says the run was held at; None where it says none.
    unwrapped
        Whether positions go on beyond the cell, so that no jump across a boundary has to be undone.
    notices
        What could not be read; complete once the blocks have been read to their end.
    counts_steps
        Whether the numbers of the frames go on from one file of a run to the next, as molecular dynamics steps do.
    place
        Where the reader is after the block that it yielded last.
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
        """Yield the whole frames in order, from the first or from where an earlier reading was."""
        ...


@dataclass
class FrameCollector:
    """Frames put together to blocks of a given length; arrays are reused only after they were handed over.

    Parameters
    ----------
    n_atoms
        Atoms of each frame.
    size
        Frames of a block; fewer where they would be too large for the memory.
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
        """Array (n_atoms, 3) that the next frame is to be written into."""
        found: FloatArray = self._fractional[self._count]
        return found

    def add(self, frame: int, step: int, cell_A: FloatArray) -> Block | None:
        """Keep what was written into the slot as a frame; return a block when one is full."""
        self._frames[self._count] = frame
        self._steps[self._count] = step
        self._cells[self._count] = cell_A
        self._count += 1
        return self.flush() if self._count == self.size else None

    def flush(self) -> Block | None:
        """Return the frames kept so far as a block, if any."""
        if self._count == 0:
            return None
        n = self._count
        block = Block(self._steps[:n], self._fractional[:n], self._cells[:n], self._frames[:n])
        self._fresh()
        return block


def checked_symbols(elements: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Return element symbols as they are usually written.

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
    """Read symbols, and the cell where there is one, of a structure file.

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
    """Read a data file of LAMMPS, whose elements are told by its masses alone.

    Raises
    ------
    ValueError
        If it has none, or they are not those of elements.
    """
    from ase.data import atomic_masses
    from ase.io import read

    with open_regular(path, _MOST_STRUCTURE_BYTES) as file:
        if not any(line.split(b"#")[0].strip() == b"Masses" for line in file):
            raise ValueError("a data file of LAMMPS without a section Masses does not say its elements")
    atoms: Any = read(path, format="lammps-data")
    if np.any(np.abs(atomic_masses[atoms.numbers] - atoms.get_masses()) > _MASS_TOLERANCE * atoms.get_masses()):
        raise ValueError("the masses of this data file of LAMMPS are not those of elements")
    return atoms


def _first_structure(path: Path) -> Any:
    """Read a structure by ASE, unless its head says more atoms than its file can have."""
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
            raise ValueError(f"its head counts {sum(map(int, words)):,} atoms, and the file has {n_bytes:,} bytes")
    found = read(path)
    return found[0] if isinstance(found, list) else found


def check_atoms(n_atoms: int, where: str, n_bytes: int | None = None) -> None:
    """Refuse a head that says more atoms than a frame can have, or than the bytes of the file allow.

    Raises
    ------
    AnalysisError
        If it does.
    """
    if n_atoms > MOST_ATOMS or (n_bytes is not None and n_atoms > n_bytes):
        most = f"no more than {MOST_ATOMS:,} are read" if n_atoms > MOST_ATOMS else f"the file has {n_bytes:,} bytes"
        said = f"{n_atoms:,}" if n_atoms < 10**15 else f"{len(str(n_atoms))} digits of"
        raise AnalysisError(
            f"The head of the trajectory says {said} atoms, and {most}.",
            where=where,
            fix="Check the file, or name its format with --format.",
        )


def clock(time_ps: float) -> int:
    """Return a time in units of :data:`CLOCK_PS`.

    Raises
    ------
    ValueError
        If it is none that a run could have.
    """
    if not abs(time_ps) < MOST_STEP * CLOCK_PS:
        raise ValueError(f"{time_ps:g} ps is no time of a frame")
    return round(time_ps / CLOCK_PS)


def cell_of(rows: object, where: str) -> FloatArray:
    """Return a (3, 3) cell that has a volume.

    Raises
    ------
    ValueError
        If it has not.
    """
    cell = np.asarray(rows, dtype=np.float64)
    if cell.shape != (3, 3) or not np.isfinite(cell).all() or abs(float(np.linalg.det(cell))) < 1e-6:
        raise ValueError(f"the cell of {where} has no volume")
    return cell


def counted(symbols: tuple[str, ...]) -> Mapping[str, int]:
    """Count the atoms of each element, in order of their first appearance."""
    return {symbol: symbols.count(symbol) for symbol in dict.fromkeys(symbols)}
