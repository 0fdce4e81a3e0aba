"""Text dumps of LAMMPS: any columns, atoms in any order, triclinic boxes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import (
    CLOCK_PS,
    FRAMES_PER_BLOCK,
    MOST_STEP,
    Block,
    FilePosition,
    FloatArray,
    FrameCollector,
    ReadingOptions,
    ReadWarning,
    cell_of,
    checked_symbols,
    clock,
)
from superionic.trajectories.reading.lammps_log import LOG, LammpsRun, beside
from superionic.trajectories.reading.text import Window, head

LENGTHS_A = {
    "metal": 1.0, "real": 1.0, "si": 1.0e10, "cgs": 1.0e8, "electron": 0.529177210544, "micro": 1.0e4, "nano": 10.0,
}  # fmt: skip
"""Units of length of LAMMPS in Å (https://docs.lammps.org/units.html)."""
TIMES_PS = {
    "metal": 1.0, "real": 1.0e-3, "si": 1.0e12, "cgs": 1.0e12, "electron": 1.0e-3, "micro": 1.0e6, "nano": 1.0e3,
}  # fmt: skip
"""Units of time of LAMMPS in ps."""

_ITEM = b"ITEM: "
_FIRST = b"ITEM: TIMESTEP"
_USUAL_HEAD = re.compile(
    rb"ITEM: TIMESTEP\n(\d{1,18})\nITEM: NUMBER OF ATOMS\n(\d{1,18})\n"
    rb"ITEM: BOX BOUNDS([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\nITEM: ATOMS([^\n]*)\n"
)
# LAMMPS writes before a frame its units (once) and the time (each time), if `dump_modify` asks for them.
_BEFORE = re.compile(rb"(?:ITEM: UNITS\s*\n\s*(\S+)\s*\n)?\s*(?:ITEM: TIME\s*\n\s*(\S+)\s*\n)?\s*\Z")
_UNITS = re.compile(rb"ITEM: UNITS\s*\n\s*(\S+)")
_MOST = 50_000_000
_MOST_DAMAGED = 100
_SAME_STEP = 1e-6
_MASS_TOLERANCE = 0.02
# Possible names of the position, whether it is in units of the cell, and whether it continues beyond the cell.
_KINDS = (
    (("xu", "yu", "zu"), False, True),
    (("xsu", "ysu", "zsu"), True, True),
    (("x", "y", "z"), False, False),
    (("xs", "ys", "zs"), True, False),
)
_IMAGES = ("ix", "iy", "iz")


@dataclass
class _Snapshot:
    """Header of one frame; ``rows`` is where its atoms begin, counted from the start of the window."""

    step: int
    n_atoms: int
    time: float | None
    units: str | None
    bounds: tuple[bytes, list[bytes]]
    columns: bytes
    rows: int


@dataclass
class _Layout:
    """The columns to read, from the header of the first frame."""

    columns: bytes
    slots: npt.NDArray[np.int64]
    scaled: bool
    identifiers: bool
    images: bool
    values: FloatArray
    names: list[str]
    lookup: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


class LammpsDumpReader:
    """Reader of LAMMPS dumps; see :class:`superionic.trajectories.reading.base.TrajectoryReader`.

    Raises
    ------
    AnalysisError
        If the file is not a dump, has no positions, or neither it nor the options state the units or elements.
    """

    format = "lammps-dump"
    counts_steps = True
    n_frames = None

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        self.path = path
        self.name = path.name
        self.notices: list[ReadWarning] = []
        self.place: FilePosition = {}
        run = beside(path)
        self.temperature_K = run.temperature_K
        with Window(path) as window:
            first, layout, table = _first_whole(window)
            units = _units(path, options, run.units) or first.units
            if units is None:
                raise AnalysisError(
                    "The dump does not state its units.",
                    where=str(path),
                    fix="Name those of the LAMMPS input: --units metal (or real, si, cgs, electron, micro, nano).",
                )
            if units not in LENGTHS_A:
                raise AnalysisError(
                    f"Lengths in units {units!r} are not known in Å.",
                    where=str(path),
                    fix=f"Name one of {', '.join(LENGTHS_A)} with --units.",
                )
            self._length = LENGTHS_A[units]
            self.symbols = _symbols(table, layout.names, options, str(path))
            self._identifiers = np.zeros(0, dtype=np.int64)
            if layout.identifiers:
                self._identifiers = np.sort(table[:, layout.names.index("id")].astype(np.int64))
        self.unwrapped = layout.images or _position_kind(layout.names)[2]
        self._time: float | None = None
        self._words = list(run.words)
        self.step_ps = None if options.timestep_fs is None else options.timestep_fs * 1.0e-3
        if first.time is None:
            self._take_step(run, units, str(path))
        if first.time is not None and options.timestep_fs is not None:
            self._words.append("the times that it states were taken; the time step that was given was not needed")
        if first.time is not None:  # then times are used, whatever the steps
            self._time, self.step_ps = TIMES_PS[units], CLOCK_PS

    def _take_step(self, run: LammpsRun, units: str, where: str) -> None:
        """Take the time step from the log next to the dump.

        Raises
        ------
        AnalysisError
            If a different one was given.
        """
        if run.timestep is None:
            return
        step_ps = run.timestep * TIMES_PS[units]
        if self.step_ps is not None and abs(self.step_ps - step_ps) > _SAME_STEP * step_ps:
            raise AnalysisError(
                f"The time step that was given is {1000.0 * self.step_ps:g} fs; {LOG} next to the dump, which states "
                f"that it wrote it, has {1000.0 * step_ps:g} fs.",
                where=where,
                fix="Leave --timestep-fs out; where the log is of another run, give --frame-interval-fs instead.",
            )
        if self.step_ps is None:
            self._words.append(f"time step {1000.0 * step_ps:g} fs ({units}), as {LOG} next to it says")
        self.step_ps = step_ps

    def blocks(  # noqa: PLR0912, PLR0915 - the states of a parser, in the order in which a file has them
        self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None
    ) -> Iterator[Block]:
        """Yield the complete frames in order, from the first or from a :attr:`place`."""
        from superionic.trajectories.reading.text_kernels import OK, place_rows

        self.notices[:] = [ReadWarning(None, None, words, 0, self.name) for words in self._words]
        n_atoms = len(self.symbols)
        collector = FrameCollector(n_atoms, frames_per_block)
        layout: _Layout | None = None
        last_frame_of = np.full(n_atoms, -1, dtype=np.int64)
        nowhere, identity = np.zeros(3), np.eye(3)
        bounds: Any = None
        cell: FloatArray = np.eye(3)
        origin: FloatArray = np.zeros(3)
        inverse: FloatArray = np.eye(3)
        frame = 0
        with Window(self.path) as window:
            if start is not None:
                window.seek(start["byte"])
                frame = start["frame"]
            if (offset := window.find(_FIRST)) is None:
                return
            if start is None and not _BEFORE.fullmatch(window.just_before):
                self._lose(0, window, "text before the first frame", 0)
            window.begin += offset
            while True:
                snapshot = _read_head(window)
                counts = snapshot is not None and snapshot.n_atoms == n_atoms
                if snapshot is not None and counts and (layout is None or snapshot.columns != layout.columns):
                    layout = self._new_layout(snapshot)
                after = 0
                step: int | None = None
                if snapshot is None:
                    reason = "cut off in its head" if window.ended and _last_frame(window) else "its head is damaged"
                elif not counts:
                    reason = f"has {snapshot.n_atoms} atoms instead of {n_atoms}"
                elif layout is None:
                    reason = "has not the columns of the first frame"
                elif (step := self._step(snapshot)) is None:
                    reason = "its time is missing or damaged"
                else:
                    status, after, row, _ = window.table(snapshot.rows, layout.slots, -1, layout.values)
                    following = window.line(after) if status == OK else None
                    reason = ""
                    if status != OK:
                        cut = window.ended and _last_line(window, after)
                        reason = (
                            f"cut off after {row} of {n_atoms} atoms"
                            if cut
                            else f"row {row} has not the columns that the head names"
                        )
                    elif window.unfinished(window.begin + after):
                        reason = "the file ends in the middle of a line: its last number may be cut off"
                    elif following is not None and _is_row(following[0]):
                        reason = f"more than {n_atoms} rows"
                if not reason and snapshot is not None and layout is not None:
                    if snapshot.bounds != bounds:
                        try:
                            cell, origin = _cell(*snapshot.bounds, self._length)
                        except ValueError as error:
                            reason = str(error)
                        else:
                            bounds, inverse = snapshot.bounds, np.asarray(np.linalg.inv(cell), dtype=np.float64)
                    to_cell = (1.0, nowhere, identity) if layout.scaled else (self._length, origin, inverse)
                    if not reason and not place_rows(
                        layout.values, int(layout.identifiers), layout.lookup, *to_cell, layout.images,
                        last_frame_of, frame, collector.slot,
                    ):  # fmt: skip
                        reason = "an atom is missing or occurs twice"
                if not reason and step is not None:
                    window.begin += after
                    if (block := collector.add(frame, step, cell)) is not None:
                        self.place = {"byte": window.place, "frame": frame + 1}
                        yield block
                else:
                    self._lose(frame, window, reason)
                    window.begin += len(_FIRST)
                frame += 1
                offset = window.find(_FIRST)
                if not reason and window.passed and (offset is None or not _BEFORE.fullmatch(window.just_before)):
                    self._lose(frame, window, "text that belongs to no frame", None)
                if offset is None:
                    break
                window.begin += offset
            if window.fault:
                self.notices.append(ReadWarning(frame, window.base + window.end, window.fault, None, self.name))
        if layout is not None and not layout.identifiers:
            words = "no column `id`: the order of the atoms is taken to stay the same"
            self.notices.append(ReadWarning(None, None, words, 0, self.name))
        if (block := collector.flush()) is not None:
            yield block

    def _step(self, snapshot: _Snapshot) -> int | None:
        """Return the number of a frame: its time if the file states times; None if that is damaged."""
        if self._time is None:
            return snapshot.step
        try:
            return None if snapshot.time is None else clock(snapshot.time * self._time)
        except ValueError:
            return None

    def _lose(self, frame: int, window: Window, reason: str, lost: int | None = 1) -> None:
        self.notices.append(ReadWarning(frame, window.place, reason, lost, self.name))

    def _new_layout(self, snapshot: _Snapshot) -> _Layout | None:
        """Return how to read the columns of this frame: atoms are sorted by their identifiers."""
        try:
            layout = _layout(snapshot, str(self.path))
        except AnalysisError:
            return None
        unwrapped = layout.images or _position_kind(layout.names)[2]
        if layout.identifiers != bool(len(self._identifiers)) or unwrapped != self.unwrapped:
            return None
        if layout.identifiers:
            layout.lookup = np.full(int(self._identifiers[-1]) + 1, -1, dtype=np.int64)
            layout.lookup[self._identifiers] = np.arange(len(self._identifiers))
        return layout


def _is_row(line: bytes) -> bool:
    """Return whether a line where a frame should have ended is one of atoms."""
    return line[:1].isdigit() or (line[:1] in b"-. " and bool(line.strip()))


def _last_line(window: Window, at: int) -> bool:
    return window.data.find(b"\n", window.begin + at, window.end) in (-1, window.end - 1)


def _last_frame(window: Window) -> bool:
    return window.data.find(_FIRST, window.begin + len(_FIRST), window.end) < 0


def _read_head(window: Window) -> _Snapshot | None:  # noqa: PLR0911 - one return for each way to be damaged
    """Read the header of the frame at the start of the window; None if it is damaged or cut off."""
    units, time = _stated_before(window.just_before)
    if usual := _USUAL_HEAD.match(window.data, window.begin, window.end):
        step, n_atoms, kind, a, b, c, columns = usual.groups()
        return _Snapshot(
            int(step), int(n_atoms), time, units, (kind.strip(), [a, b, c]), columns.strip(), usual.end() - window.begin
        )
    items: dict[bytes, bytes] = {}
    bounds: tuple[bytes, list[bytes]] | None = None
    at = 0
    for _ in range(12):
        line = window.line(at)
        if line is None or not line[0].startswith(_ITEM) or (at > 0 and line[0].startswith(_FIRST)):
            return None
        name, at = line[0][len(_ITEM) :].strip(), line[1]
        if name.startswith(b"ATOMS"):
            if bounds is None or b"TIMESTEP" not in items or b"NUMBER OF ATOMS" not in items:
                return None
            try:
                step, n_atoms = int(items[b"TIMESTEP"]), int(items[b"NUMBER OF ATOMS"])
                if not (abs(step) < MOST_STEP and 0 <= n_atoms < MOST_STEP):
                    return None
                return _Snapshot(
                    step,
                    n_atoms,
                    _finite(items[b"TIME"]) if b"TIME" in items else time,
                    items[b"UNITS"].decode("latin-1").strip() if b"UNITS" in items else units,
                    bounds,
                    name[5:].strip(),
                    at,
                )
            except ValueError:
                return None
        if name.startswith(b"BOX BOUNDS"):
            rows = []
            for _ in range(3):
                if (row := window.line(at)) is None:
                    return None
                rows.append(row[0])
                at = row[1]
            bounds = (name[10:].strip(), rows)
        else:
            if (value := window.line(at)) is None:
                return None
            items[name], at = value
    return None


def _stated_before(text: bytes) -> tuple[str | None, float | None]:
    """Return the units and the time stated before a frame."""
    match = _BEFORE.search(text)
    units, time = (None, None) if match is None else match.groups()
    return None if units is None else units.decode("latin-1"), None if time is None else _finite(time)


def _finite(word: bytes) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _units(path: Path, options: ReadingOptions, logged: str | None) -> str | None:
    """Return the units stated by the file or the log next to it, or else those given.

    Raises
    ------
    AnalysisError
        If these differ.
    """
    match = _UNITS.search(head(path, 4096))
    stated = None if match is None else match.group(1).decode("latin-1")
    says = "The dump" if stated is not None else f"{LOG} next to the dump"
    stated = stated or logged
    if stated is not None and options.units is not None and options.units != stated:
        raise AnalysisError(
            f"{says} states that its units are {stated[:40]}, not {options.units[:40]}.",
            where=str(path),
            fix="Leave --units out.",
        )
    return stated or options.units


def _cell(kind: bytes, rows: list[bytes], length: float) -> tuple[FloatArray, FloatArray]:
    """Return cell vectors and origin in Å (https://docs.lammps.org/Howto_triclinic.html).

    Raises
    ------
    ValueError
        If the box is damaged.
    """
    try:
        numbers = [[float(x) for x in row.split()] for row in rows]
    except ValueError as error:
        raise ValueError("its box is damaged") from error
    widths = {len(row) for row in numbers}
    if kind.startswith(b"abc origin") and widths == {
        4
    }:  # general triclinic: three vectors, each row with one component of the origin
        table = np.array(numbers) * length
        return cell_of(table[:, :3], "the dump"), table[:, 3].copy()
    if widths not in ({2}, {3}):
        raise ValueError("its box is damaged")
    (xlo, xhi), (ylo, yhi), (zlo, zhi) = (row[:2] for row in numbers)
    xy, xz, yz = (row[2] for row in numbers) if widths == {3} else (0.0, 0.0, 0.0)
    # The file gives the bounding box of the tilted cell.
    xlo, xhi = xlo - min(0.0, xy, xz, xy + xz), xhi - max(0.0, xy, xz, xy + xz)
    ylo, yhi = ylo - min(0.0, yz), yhi - max(0.0, yz)
    rows_A = np.array([[xhi - xlo, 0.0, 0.0], [xy, yhi - ylo, 0.0], [xz, yz, zhi - zlo]]) * length
    return cell_of(rows_A, "the dump"), np.array([xlo, ylo, zlo]) * length


def _position_kind(names: list[str]) -> tuple[tuple[str, str, str], bool, bool]:
    for columns, scaled, unwrapped in _KINDS:
        if all(name in names for name in columns):
            return columns, scaled, unwrapped
    raise AnalysisError(
        f"The dump has no positions (its columns: {' '.join(names) or 'none'}).",
        fix="Dump x y z, xu yu zu, xs ys zs or xsu ysu zsu.",
    )


def _layout(snapshot: _Snapshot, where: str) -> _Layout:
    names = snapshot.columns.decode("latin-1").split()
    try:
        columns, scaled, unwrapped = _position_kind(names)
    except AnalysisError as error:
        raise AnalysisError(error.message, where=where, fix=error.fix) from None
    images = not unwrapped and all(name in names for name in _IMAGES)
    identifiers = "id" in names
    selected = (["id"] if identifiers else []) + list(columns) + (list(_IMAGES) if images else [])
    slots = np.full(len(names), -1, dtype=np.int64)
    for slot, name in enumerate(selected):
        slots[names.index(name)] = slot
    return _Layout(
        snapshot.columns, slots, scaled, identifiers, images, np.empty((snapshot.n_atoms, len(selected))), names
    )


def _first_whole(window: Window) -> tuple[_Snapshot, _Layout, npt.NDArray[np.str_]]:
    """Find the first complete frame and move the window to it.

    Raises
    ------
    AnalysisError
        If there is none, or it has no positions.
    """
    skip = 0
    for _ in range(_MOST_DAMAGED):
        offset = window.find(_FIRST, skip)
        if offset is None:
            break
        window.begin += offset
        skip = len(_FIRST)
        snapshot = _read_head(window)
        if snapshot is not None and (table := _table(window, snapshot)) is not None:
            return snapshot, _layout(snapshot, str(window.path)), table
    raise AnalysisError(
        "This is not a text dump of LAMMPS, or it has no whole frame.",
        where=str(window.path),
        fix="Dump with `dump 1 all custom 100 run.dump id type x y z` (binary dumps are not read).",
    )


def _table(window: Window, snapshot: _Snapshot) -> npt.NDArray[np.str_] | None:
    """Return all columns of a frame as text, (n_atoms, n_columns); None where it is damaged."""
    names = snapshot.columns.decode("latin-1").split()
    rows, at = [], snapshot.rows
    for _ in range(snapshot.n_atoms):
        line = window.line(at)
        words = [] if line is None else line[0].decode("latin-1").split()
        if line is None or len(words) != len(names):
            return None
        rows.append(words)
        at = line[1]
    if not rows:
        return None
    table = np.array(rows)
    try:
        if "id" in names:
            identifiers = table[:, names.index("id")].astype(np.int64)
            if len(np.unique(identifiers)) != len(rows) or not 0 <= identifiers.min() <= identifiers.max() < _MOST:
                return None
        for name in ("mass", *(name for kind in _KINDS for name in kind[0])):
            if name in names:
                table[:, names.index(name)].astype(np.float64)
    except (ValueError, OverflowError):
        return None
    return table


def _symbols(table: npt.NDArray[np.str_], names: list[str], options: ReadingOptions, where: str) -> tuple[str, ...]:
    """Find the element of each atom, in the order of identifiers."""
    from ase.data import atomic_masses, chemical_symbols

    if "id" in names:
        table = table[np.argsort(table[:, names.index("id")].astype(np.int64))]
    named = options.elements
    if "type" in names:
        types = table[:, names.index("type")]
        distinct = sorted(set(types), key=lambda word: (len(word), word))
        if named and all(word.isdigit() for word in distinct):
            if max(int(word) for word in distinct) > len(named):
                raise AnalysisError(
                    f"The dump has atoms of type {distinct[-1]}, but {len(named)} elements are named.",
                    where=where,
                    fix="Name one for each type, in order: --elements Li,Y,Cl.",
                )
            symbols = checked_symbols(tuple(named), where)
            return tuple(symbols[int(word) - 1] for word in types)
        if not named and not all(word.isdigit() for word in distinct):  # newer LAMMPS: labels of types
            return checked_symbols(tuple(str(word) for word in types), where)
    if len(named) == len(table):
        return checked_symbols(tuple(named), where)
    if "element" in names:
        stated = checked_symbols(tuple(str(word) for word in table[:, names.index("element")]), where)
        if named and len({*named, *stated}) > max(len(set(stated)), len(named) > 1):
            raise AnalysisError(
                f"The dump states that its elements are {', '.join(dict.fromkeys(stated))}, not {', '.join(named)}.",
                where=where,
                fix="Leave --elements out.",
            )
        return stated
    if "mass" in names:
        masses = table[:, names.index("mass")].astype(np.float64)
        nearest = [int(np.argmin(np.abs(atomic_masses[1:] - mass))) + 1 for mass in masses]
        if all(abs(atomic_masses[n] - mass) < _MASS_TOLERANCE * mass for n, mass in zip(nearest, masses, strict=True)):
            return tuple(chemical_symbols[n] for n in nearest)
    if len(named) == 1 and "type" not in names:  # one element is that of all atoms
        return checked_symbols(tuple(named), where) * len(table)
    shown = f"types {', '.join(distinct)}" if "type" in names else "atoms without types"
    raise AnalysisError(
        f"The dump does not state the elements of its atoms ({shown}).",
        where=where,
        fix="Name the element of each type, in order: --elements Li,Y,Cl.",
    )
