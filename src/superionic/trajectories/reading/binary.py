"""Binary trajectories: ASE's .traj, H5MD, XTC and DCD."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import (
    CLOCK_PS,
    FRAMES_PER_BLOCK,
    Block,
    FilePosition,
    FloatArray,
    FrameCollector,
    ReadingOptions,
    ReadWarning,
    cell_of,
    check_atoms,
    checked_symbols,
    clock,
    read_structure,
)

_AKMA_TIME_PS = 0.04888821
"""Unit of time of CHARMM's DCD header in ps (√(amu Å²/(kcal/mol)))."""
_SAMPLED = 64
_NO_FRAMES = "The file has no whole frame."


class _IndexedReader:
    """A reader of a file whose frames can be fetched by number."""

    format = ""
    unwrapped = False
    counts_steps = False
    step_ps: float | None = None
    temperature_K: float | None = None
    n_frames: int | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.symbols: tuple[str, ...] = ()
        self.notices: list[ReadWarning] = []
        self.place: FilePosition = {}

    def _open(self) -> tuple[Callable[[int], tuple[int, FloatArray, FloatArray, bool]], int, Callable[[], None]]:
        """Return a function from a frame's number to step, positions, cell (and whether positions are fractional)."""
        raise NotImplementedError

    def blocks(self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None) -> Iterator[Block]:
        """Yield the complete frames in order, from the first or from a :attr:`place`."""
        self.notices.clear()
        collector = FrameCollector(len(self.symbols), frames_per_block)
        fetch, n_frames, close = self._open()
        known: FloatArray = np.zeros((3, 3))
        inverse: FloatArray = np.eye(3)
        try:
            for frame in range(0 if start is None else start["frame"], n_frames):
                try:
                    step, positions, cell, fractional = fetch(frame)
                    if positions.shape != (len(self.symbols), 3) or not np.isfinite(positions).all():
                        raise ValueError("positions are missing or not finite")  # noqa: TRY301 - a damaged frame
                    if not np.array_equal(cell, known):
                        cell_of(cell, "the frame")
                        known, inverse = cell, np.asarray(np.linalg.inv(cell), dtype=np.float64)
                except Exception as error:  # noqa: BLE001 - libraries raise errors of any kind on damaged bytes
                    self.notices.append(ReadWarning(frame, None, f"{type(error).__name__}: {error}", 1, self.name))
                    continue
                collector.slot[:] = positions if fractional else positions @ inverse
                if (block := collector.add(frame, step, cell)) is not None:
                    self.place = {"frame": frame + 1}
                    yield block
        finally:
            close()
        if (block := collector.flush()) is not None:
            yield block


class AseTrajectoryReader(_IndexedReader):
    """Reader of ASE's .traj; positions are as ASE's integrators leave them, and jumps across the cell are removed.

    Raises
    ------
    AnalysisError
        If it cannot be opened, has no frame, or no cell.
    """

    format = "ase-traj"

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        super().__init__(path)
        from ase.data import chemical_symbols

        try:
            backend = self._ulm()
            self.n_frames = len(backend)
            numbers = np.asarray(backend.numbers) if self.n_frames else np.zeros(0, dtype=int)
            if not np.all((numbers > 0) & (numbers < len(chemical_symbols))):
                raise ValueError("its atoms are not elements")  # noqa: TRY301 - handled like any other fault
            cell = np.asarray(backend.cell, dtype=np.float64) if self.n_frames else np.zeros((3, 3))
            self.step_ps, self.temperature_K = _ase_run(backend) if self.n_frames else (None, None)
            backend.close()
        except Exception as error:
            raise AnalysisError(
                f"The trajectory cannot be opened by ASE: {error}", where=str(path), fix="Check the file."
            ) from error
        if not self.n_frames:
            raise AnalysisError(_NO_FRAMES, where=str(path), fix="Check the file.")
        if abs(float(np.linalg.det(cell))) < 1e-6:
            raise AnalysisError("The trajectory has no cell.", where=str(path), fix="Give a periodic one.")
        self.symbols = tuple(chemical_symbols[n] for n in numbers)
        if len(options.elements) == len(numbers):
            self.symbols = checked_symbols(options.elements, str(path))

    def _ulm(self) -> Any:
        from ase.io import ulm

        backend = ulm.open(str(self.path), "r")
        if backend.get_tag() != "ASE-Trajectory":
            raise OSError("it is not a trajectory of ASE")
        return backend

    def _open(self) -> tuple[Callable[[int], tuple[int, FloatArray, FloatArray, bool]], int, Callable[[], None]]:
        backend = self._ulm()
        numbers = np.asarray(backend.numbers)

        def fetch(frame: int) -> tuple[int, FloatArray, FloatArray, bool]:
            record = backend[frame]
            if "numbers" in record and not np.array_equal(record.numbers, numbers):
                raise ValueError("the atoms are not those of the first frame")
            return (
                frame,
                np.asarray(record.positions, dtype=np.float64),
                np.asarray(record.cell, dtype=np.float64),
                False,
            )

        return fetch, len(backend), backend.close


class H5mdReader(_IndexedReader):
    """Reader of H5MD 1.x (https://www.nongnu.org/h5md/h5md.html); image flags are used if present.

    Raises
    ------
    AnalysisError
        If h5py is missing, the file is not H5MD, or it does not state its elements and units.
    """

    format = "h5md"

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        super().__init__(path)
        h5py = _library("h5py", "h5md", str(path))
        try:
            file = h5py.File(path, "r")
        except OSError as error:
            raise AnalysisError(
                f"The file cannot be opened as HDF5: {error}",
                where=str(path),
                fix="It may have been cut off while it was written: `h5clear -s` may repair it.",
            ) from error
        with file:
            groups = list(file["particles"]) if "particles" in file else []
            self._group = next((f"particles/{g}" for g in groups if "position" in file[f"particles/{g}"]), "")
            if not self._group:
                raise AnalysisError(
                    "The file has no positions of particles.", where=str(path), fix="Give an H5MD file."
                )
            group = file[self._group]
            position = group["position/value"]
            self.n_frames, n_atoms = int(position.shape[0]), int(position.shape[1])
            check_atoms(n_atoms, str(path))
            self.unwrapped = "image" in group
            self._times_ps, self.step_ps = _h5_clock(group["position"], options, self.n_frames)
            self.counts_steps = self._times_ps is not None or bool(getattr(group["position"].get("step"), "shape", ()))
            self._length = _h5_unit(position, _LENGTH_UNITS, options, str(path))
            self.symbols = self._elements(h5py, group, n_atoms, options)
            if "box/edges" not in group:
                raise AnalysisError("The file has no box.", where=str(path), fix="Write box/edges.")
        if not self.n_frames:
            raise AnalysisError(_NO_FRAMES, where=str(path), fix="Check the file.")

    def _elements(self, h5py: Any, group: Any, n_atoms: int, options: ReadingOptions) -> tuple[str, ...]:
        from ase.data import atomic_numbers, chemical_symbols

        where = str(self.path)
        if len(options.elements) == n_atoms:
            return checked_symbols(options.elements, where)
        if options.structure is not None:
            symbols_of_structure = read_structure(options.structure)[0]
            if len(symbols_of_structure) == n_atoms:
                return symbols_of_structure
        species = group.get("species")
        if species is not None:
            data = species["value"] if isinstance(species, h5py.Group) else species
            values = np.asarray(data[0] if data.ndim == 2 else data[()])
            names = h5py.check_enum_dtype(data.dtype)
            if names is not None:
                words = {value: name for name, value in names.items()}
                if all(word in atomic_numbers for word in words.values()):
                    return tuple(words[int(v)] for v in values)
            if values.dtype.kind in "SO":
                words_of = tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)
                if all(word in atomic_numbers for word in words_of):
                    return words_of
            elif options.elements:
                distinct = sorted({int(v) for v in values})
                if len(distinct) == len(options.elements):
                    symbols = checked_symbols(options.elements, where)
                    return tuple(symbols[distinct.index(int(v))] for v in values)
            elif all(0 < int(v) < len(chemical_symbols) for v in values) and max(int(v) for v in values) > 2:
                return tuple(chemical_symbols[int(v)] for v in values)
        raise AnalysisError(
            "The file does not state the elements of its particles.",
            where=where,
            fix="Name one for each species: --elements Li,Y,Cl, or a file with the atoms: --structure POSCAR.",
        )

    def _open(self) -> tuple[Callable[[int], tuple[int, FloatArray, FloatArray, bool]], int, Callable[[], None]]:
        import h5py

        file = h5py.File(self.path, "r")
        group = file[self._group]
        position = group["position/value"]
        edges = group["box/edges"]
        values = edges["value"] if isinstance(edges, h5py.Group) else edges
        changing = isinstance(edges, h5py.Group) and values.shape[0] > 1
        step = group["position"].get("step")
        image = group["image/value"] if self.unwrapped else None

        def fetch(frame: int) -> tuple[int, FloatArray, FloatArray, bool]:
            box = np.asarray(
                values[frame] if changing else (values[0] if isinstance(edges, h5py.Group) else values[()])
            )
            box = np.asarray(box, dtype=np.float64) * self._length
            cell = np.diag(box) if box.ndim == 1 else box
            fractional = np.asarray(position[frame], dtype=np.float64) * self._length @ np.linalg.inv(cell)
            if image is not None:
                fractional = fractional + np.asarray(image[frame])
            if self._times_ps is not None:
                number = clock(self._times_ps[frame])
            else:
                number = int(step[frame]) if step is not None and step.shape else frame
            return number, fractional, cell, True

        return fetch, int(position.shape[0]), file.close


class XtcReader(_IndexedReader):
    """Reader of GROMACS' XTC through MDAnalysis; positions usually have a precision of 0.01 Å.

    Raises
    ------
    AnalysisError
        If MDAnalysis is missing, the header of the file is damaged, or the atoms are not given.
    """

    format = "xtc"
    counts_steps = True

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        super().__init__(path)
        opened = self._file()
        try:
            self.n_frames = len(opened)
            first = opened.read()
            self.step_ps = self._step_ps(opened, self.n_frames)
        except Exception as error:
            raise AnalysisError(f"{_NO_FRAMES} ({error})", where=str(path), fix="Check the file.") from error
        finally:
            opened.close()
        self.symbols = _given_atoms(options, first.x.shape[0], str(path))
        self._by_steps = self.step_ps is not None
        if not self._by_steps:
            self.step_ps = CLOCK_PS

    @staticmethod
    def _step_ps(opened: Any, n_frames: int) -> float | None:
        """Return the time step if times are proportional to steps, which are exact; times have 7 digits."""
        marks: list[tuple[int, float]] = []
        for frame in np.unique(np.linspace(0, n_frames - 1, _SAMPLED).astype(int)):
            opened.seek(int(frame))
            record = opened.read()
            marks.append((int(record.step), float(record.time)))
        steps, times = np.array(marks, dtype=np.float64).T
        return _time_step_ps(steps, times)

    def _file(self) -> Any:
        _library("MDAnalysis", "trajectories", str(self.path))
        from MDAnalysis.lib.formats.libmdaxdr import XTCFile

        try:
            return XTCFile(str(self.path))
        except OSError as error:
            raise AnalysisError(
                f"The file cannot be opened: {error}", where=str(self.path), fix="Check the file."
            ) from error

    def _open(self) -> tuple[Callable[[int], tuple[int, FloatArray, FloatArray, bool]], int, Callable[[], None]]:
        opened = self._file()
        n_frames = len(opened)
        opened.seek(0)

        def fetch(frame: int) -> tuple[int, FloatArray, FloatArray, bool]:
            if opened.tell() != frame:
                opened.seek(frame)
            record = opened.read()
            number = int(record.step) if self._by_steps else clock(float(record.time))
            return number, record.x.astype(np.float64) * 10.0, record.box.astype(np.float64) * 10.0, False

        return fetch, n_frames, opened.close


class DcdReader(_IndexedReader):
    """Reader of DCD (CHARMM, NAMD, LAMMPS) through MDAnalysis.

    Raises
    ------
    AnalysisError
        If MDAnalysis is missing, the header of the file is damaged, has no cell, or the atoms are not given.
    """

    format = "dcd"

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        super().__init__(path)
        opened = self._file()
        try:
            self.n_frames = len(opened)
            header = opened.header
            n_atoms = int(opened.read().xyz.shape[0]) if self.n_frames else 0
        finally:
            opened.close()
        if not self.n_frames:
            raise AnalysisError(_NO_FRAMES, where=str(path), fix="Check the file.")
        self.symbols = _given_atoms(options, n_atoms, str(path))
        every, delta = int(header["nsavc"]), float(header["delta"])
        if options.timestep_fs is not None and every > 0:
            self.step_ps = every * options.timestep_fs * 1.0e-3
        elif every > 0 and delta > 0.0 and abs(delta - 1.0) > 1e-6:  # LAMMPS writes 1 for every time step
            self.step_ps = every * delta * _AKMA_TIME_PS

    def _file(self) -> Any:
        _library("MDAnalysis", "trajectories", str(self.path))
        from MDAnalysis.lib.formats.libdcd import DCDFile

        try:
            return DCDFile(str(self.path))
        except OSError as error:
            raise AnalysisError(
                f"The file cannot be opened: {error}", where=str(self.path), fix="Check the file."
            ) from error

    def _open(self) -> tuple[Callable[[int], tuple[int, FloatArray, FloatArray, bool]], int, Callable[[], None]]:
        from ase.geometry import cellpar_to_cell

        opened = self._file()

        def fetch(frame: int) -> tuple[int, FloatArray, FloatArray, bool]:
            if opened.tell() != frame:
                opened.seek(frame)
            record = opened.read()
            a, gamma, b, beta, alpha, c = (float(x) for x in record.unitcell)
            angles = np.array([alpha, beta, gamma])
            if np.all(np.abs(angles) <= 1.0):  # CHARMM and NAMD write cosines
                angles = np.degrees(np.arccos(angles))
            cell = np.asarray(cellpar_to_cell([a, b, c, *angles]), dtype=np.float64)
            return frame, record.xyz.astype(np.float64), cell, False

        return fetch, len(opened), opened.close


_LENGTH_UNITS = {"angstrom": 1.0, "Angstrom": 1.0, "A": 1.0, "Å": 1.0, "nm": 10.0, "pm": 0.01, "um": 1.0e4, "m": 1.0e10}
_TIME_UNITS = {"ps": 1.0, "fs": 1.0e-3, "ns": 1.0e3, "us": 1.0e6, "s": 1.0e12}


def _library(name: str, extra: str, where: str) -> Any:
    """Import an optional library.

    Raises
    ------
    AnalysisError
        If it is missing; names the command that installs it.
    """
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise AnalysisError(
            f"Reading this format needs the library {name}.", where=where, fix=f"pip install 'superionic[{extra}]'"
        ) from error


def _given_atoms(options: ReadingOptions, n_atoms: int, where: str) -> tuple[str, ...]:
    symbols: tuple[str, ...] = ()
    if options.structure is not None:
        symbols = read_structure(options.structure)[0]
    elif options.elements:
        symbols = checked_symbols(options.elements, where)
    if len(symbols) == n_atoms:
        return symbols
    named = f"{len(symbols)} are named" if symbols else "the file names none of them"
    raise AnalysisError(
        f"The trajectory has {n_atoms} atoms; {named}.",
        where=where,
        fix="Name a file with the same atoms in the same order: --structure POSCAR (or PDB, GRO, extxyz).",
    )


def _time_step_ps(steps: FloatArray, times_ps: FloatArray) -> float | None:
    """Return the time step if times are proportional to steps, which are then used; None otherwise."""
    span = steps[-1] - steps[0]
    if len(steps) < 2 or span <= 0.0 or times_ps[-1] <= times_ps[0]:
        return None
    slope = float((times_ps[-1] - times_ps[0]) / span)
    off = np.abs(times_ps - times_ps[0] - slope * (steps - steps[0]))
    # Times are often stored with 7 digits.
    fine = np.all(off <= 1e-6 * np.abs(times_ps).max() + 1e-3 * slope * span / len(steps))
    return slope if fine else None


def _ase_run(backend: Any) -> tuple[float | None, float | None]:
    """Return the time between frames (ps) and the temperature from the description of ASE's integrator."""
    from ase import units

    about = backend.get("description")
    if not isinstance(about, dict) or about.get("type") != "molecular-dynamics":
        return None, None

    def number(name: str) -> float | None:
        value = about.get(name)
        return float(value) if isinstance(value, int | float) and np.isfinite(value) and value > 0 else None

    timestep, every = number("timestep"), number("interval")
    step_ps = None if timestep is None or every is None else timestep * every / units.fs * 1.0e-3
    return step_ps, number("temperature_K")


def _h5_unit(data: Any, units: dict[str, float], options: ReadingOptions, where: str) -> float:
    from superionic.trajectories.reading.lammps_dump import LENGTHS_A

    word = data.attrs.get("unit")
    word = word.decode() if isinstance(word, bytes) else word
    if word is not None and str(word) in units:
        return units[str(word)]
    if options.units in LENGTHS_A:
        return LENGTHS_A[options.units]
    raise AnalysisError(
        f"The file does not state the units of its positions ({word!r}).",
        where=where,
        fix="Name them: --units metal or real (Å), nano (nm), si (m).",
    )


def _h5_clock(element: Any, options: ReadingOptions, n_frames: int) -> tuple[FloatArray | None, float | None]:
    """Return the times of all frames in ps if the file has them, and the time per frame number."""
    time, step = element.get("time"), element.get("step")
    if time is not None:
        word = time.attrs.get("unit")
        word = word.decode() if isinstance(word, bytes) else word
        unit = _TIME_UNITS.get(str(word))
        if unit is not None and not time.shape:  # one number: the time between frames
            return None, float(time[()]) * unit
        if unit is not None and time.shape == (n_frames,):
            times = np.asarray(time[:], dtype=np.float64) * unit
            if step is not None and step.shape == (n_frames,):
                by_steps = _time_step_ps(np.asarray(step[:], dtype=np.float64), times)
                if by_steps is not None:
                    return None, by_steps
            return times, CLOCK_PS
    if options.timestep_fs is None or step is None:
        return None, None
    return None, options.timestep_fs * 1.0e-3 * (1 if step.shape else int(step[()]))
