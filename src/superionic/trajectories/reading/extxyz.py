"""Extended XYZ, as ASE, QUIP, MACE and GPUMD write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
from superionic.trajectories.reading.text import Window

_LATTICE = re.compile(rb'lattice\s*=\s*"([^"]*)"', re.IGNORECASE)
_PROPERTIES = re.compile(rb'properties\s*=\s*"?([^\s"]+)', re.IGNORECASE)
_NUMBER = rb"([-+]?[0-9.]{1,40}(?:[eE][-+]?[0-9]{1,3})?)"
# Times that programs write, in fs: CP2K's comment line, the key of GPUMD and QUIP; and keys that name their unit.
_CP2K = re.compile(rb"^\s*i\s*=\s*[0-9]+\s*,\s*time\s*=\s*" + _NUMBER + rb"\s*,")
_TIME = re.compile(rb"(?:^|\s)(Time|time_fs|time_ps)\s*=\s*\"?" + _NUMBER + rb"(?=[\"\s]|$)")
_TIMESTEP = re.compile(rb"(?:^|\s)Timestep:\s*([0-9]{1,18})(?=\s|$)")
"""LAMMPS' dump style xyz states the step."""
_TEMPERATURE = re.compile(rb"(?:^|\s)(temperature(?:_K)?)\s*=\s*\"?" + _NUMBER + rb"(?=[\"\s]|$)", re.IGNORECASE)
_HOTTEST_K = 10_000.0
_OTHER_TIME = re.compile(rb"(?:^|\s)time\s*=", re.IGNORECASE)
_OTHER_LENGTH = re.compile(rb"atomic_unit|bohr|nanometer", re.IGNORECASE)
_MOST_DAMAGED = 100
_MOST_DIGITS = 18
_SPECIES = ("species", "symbols", "element")
_POSITIONS = ("pos", "positions", "position")


@dataclass(frozen=True)
class _Columns:
    species: int
    slots: npt.NDArray[np.int64]


class ExtxyzReader:
    """Reader of extxyz; see :class:`superionic.trajectories.reading.base.TrajectoryReader`.

    Positions may be wrapped or not: jumps across the cell are removed. XYZ files without a cell take it from a
    structure named in the options; times come from the comment lines.

    Raises
    ------
    AnalysisError
        If the first frame is damaged, or neither it nor the options have a cell.
    """

    format = "extxyz"
    unwrapped = False
    n_frames = None

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        self.path = path
        self.name = path.name
        self.notices: list[ReadWarning] = []
        self.place: FilePosition = {}
        labels: tuple[str, ...] | None = None
        with Window(path) as window:
            head = _read_head(window, plain=True)
            if head is None:
                raise AnalysisError(
                    "This is not extxyz: it does not begin with a number of atoms and a line with Properties.",
                    where=str(path),
                    fix="Check the file, or name its format with --format.",
                )
            self._cell: FloatArray | None = None
            self._words: list[str] = []
            named: tuple[str, ...] = ()
            if _LATTICE.search(head[1]) is None:
                named, self._cell = _structure(options.structure, str(path))
                self._words.append("it has no cell: that of the structure was taken for all frames")
            elif options.structure is not None:
                self._words.append("it has a cell of its own: the structure that was given was not needed")
            if _OTHER_LENGTH.search(head[1]) is not None:
                raise AnalysisError(
                    "The comment of the XYZ file names another unit of length than Å.",
                    where=str(path),
                    fix="Convert positions and cell to Å (and say so in the comment).",
                )
            self._clock(head[1], options)
            stated = _temperature(head[1])
            for _ in range(_MOST_DAMAGED):
                columns = None if head is None else _columns(head[1])
                labels = None if head is None or columns is None else window.column(head[2], head[0], columns.species)
                if head is None or (labels is not None and _elements(labels, options) is not None):
                    break
                self._next_frame(window, head[2])
                head, labels = _read_head(window, plain=self._cell is not None), None
            self.temperature_K: float | None = None
            if stated is not None and head is not None:
                self._next_frame(window, head[2])
                self._take_temperature(*stated, _read_head(window, plain=self._cell is not None))
        if labels is None:
            raise AnalysisError(
                "No frame has species and positions, or is whole.",
                where=str(path),
                fix="Check the file; if it gives types as numbers, name their elements: --elements Li,Y,Cl.",
            )
        check_atoms(len(labels), str(path))
        self._labels = labels
        self.symbols = checked_symbols(_elements(labels, options) or labels, str(path))
        if named and named != self.symbols:
            raise AnalysisError(
                "The structure does not have the atoms of the trajectory, or not in the same order.",
                where=str(options.structure),
                fix="Give a structure with the same atoms in the same order: --structure.",
            )

    def _clock(self, comment: bytes, options: ReadingOptions) -> None:
        """Determine how the comment lines state times."""
        self.step_ps: float | None = None
        self._timed = _time_fs(comment) is not None
        self._stepped = not self._timed and _TIMESTEP.search(comment) is not None
        self.counts_steps = self._timed or self._stepped
        if self._timed:
            self.step_ps = CLOCK_PS
            if not (_CP2K.search(comment) or b"time_fs" in comment or b"time_ps" in comment):
                self._words.append("its times were taken to be in fs, as GPUMD and QUIP write them")
        elif self._stepped:
            self.step_ps = None if options.timestep_fs is None else options.timestep_fs * 1.0e-3
        elif _OTHER_TIME.search(comment) is not None:
            self._words.append("the unit of its times is not known: they were not taken")

    def _take_temperature(self, key: str, value: bytes, second: tuple[int, bytes, int] | None) -> None:
        """Take a temperature that is constant from frame to frame; one that changes is instantaneous."""
        if second is not None and _temperature(second[1]) != (key, value):
            self._words.append(f"its {key} is that of the moment: no temperature was taken from it")
            return
        number = float(value)
        self.temperature_K = number if 1.0 <= number <= _HOTTEST_K else None

    def _number(self, comment: bytes, frame: int) -> int | None:
        """Return the number of a frame; None if the file has numbers and this frame's is damaged."""
        if self._timed:
            time = _time_fs(comment)
            return None if time is None else clock(time * 1.0e-3)
        if self._stepped:
            match = _TIMESTEP.search(comment)
            return None if match is None else int(match.group(1))
        return frame

    def blocks(  # noqa: PLR0912, PLR0915 - the states of a parser, in the order in which a file has them
        self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None
    ) -> Iterator[Block]:
        """Yield the complete frames in order, from the first or from a :attr:`place`."""
        from superionic.trajectories.reading.text_kernels import OK

        self.notices[:] = [ReadWarning(None, None, words, 0, self.name) for words in self._words]
        n_atoms = len(self.symbols)
        collector = FrameCollector(n_atoms, frames_per_block)
        positions = np.empty((n_atoms, 3))
        lattice, properties, columns = b"", b"", None
        plain = self._cell is not None
        cell: FloatArray = np.eye(3) if self._cell is None else self._cell
        inverse: FloatArray = np.asarray(np.linalg.inv(cell), dtype=np.float64)
        order: int | None = None
        frame = 0
        with Window(self.path) as window:
            if start is not None:
                window.seek(start["byte"])
                frame = start["frame"]
            while (first := window.line(0)) is not None:
                if not first[0].strip():
                    window.begin += first[1]
                    continue
                head = _read_head(window, plain=plain)
                after = first[1]
                reason = ""
                step = frame
                if head is None:
                    reason = "its head is damaged or cut off"
                elif head[0] != n_atoms:
                    reason = f"has {head[0]} atoms instead of {n_atoms}"
                else:
                    comment, after = head[1], head[2]
                    text = _text(_LATTICE, comment)
                    if plain and text:
                        reason = "has a cell, unlike the first frame"
                    elif text != lattice or not (text or plain):
                        try:
                            cell = cell_of(np.array(text.split(), dtype=np.float64).reshape(3, 3), "the frame")
                        except ValueError:
                            reason = "its cell is missing or damaged"
                        else:
                            lattice, inverse = text, np.asarray(np.linalg.inv(cell), dtype=np.float64)
                    if columns is None or _text(_PROPERTIES, comment) != properties:
                        columns, properties = _columns(comment), _text(_PROPERTIES, comment)
                    number = self._number(comment, frame)
                    if number is None:
                        reason = "its time is missing or damaged"
                    else:
                        step = number
                    if columns is None:
                        reason = "its Properties are missing or damaged"
                    if not reason and columns is not None:
                        status, stop, row, digest = window.table(after, columns.slots, columns.species, positions)
                        if status != OK:
                            row_at = window.begin + stop
                            cut = window.ended and window.data.find(b"\n", row_at, window.end) in (-1, window.end - 1)
                            reason = (
                                f"cut off after {row} of {n_atoms} atoms"
                                if cut
                                else f"atom {row} has not the columns that Properties names"
                            )
                        elif window.unfinished(window.begin + stop):
                            reason = "the file ends in the middle of a line: its last number may be cut off"
                        elif (following := window.line(stop)) is not None and len(following[0].split()) > 1:
                            reason = f"more than {n_atoms} rows"
                        elif order is None or digest != order:
                            if window.column(after, n_atoms, columns.species) == self._labels:
                                order = digest
                            else:
                                reason = "the order of its elements is not that of the first frame"
                        after = stop
                if reason:
                    self.notices.append(ReadWarning(frame, window.place, reason, 1, self.name))
                    self._next_frame(window, first[1])
                else:
                    np.matmul(positions, inverse, out=collector.slot)
                    window.begin += after
                    if (block := collector.add(frame, step, cell)) is not None:
                        self.place = {"byte": window.place, "frame": frame + 1}
                        yield block
                frame += 1
            if window.fault:
                self.notices.append(ReadWarning(frame, window.base + window.end, window.fault, None, self.name))
        if (block := collector.flush()) is not None:
            yield block

    def _next_frame(self, window: Window, skip: int) -> None:
        """Move to the next line that is just a number and is followed by one with a Lattice or Properties."""
        window.begin += skip
        while (line := window.line(0)) is not None:
            words = line[0].split()
            if len(words) == 1 and words[0].isdigit() and _read_head(window, plain=self._cell is not None):
                return
            window.begin += line[1]


def _text(pattern: re.Pattern[bytes], comment: bytes) -> bytes:
    match = pattern.search(comment)
    return b"" if match is None else match.group(1)


def _elements(labels: tuple[str, ...], options: ReadingOptions) -> tuple[str, ...] | None:
    """Return the elements of atoms from their labels in the file; None if a label is not an element."""
    from ase.data import atomic_numbers

    named = options.elements
    if len(named) == len(labels):
        return named
    if set(labels) <= set(atomic_numbers):
        return labels
    if named and all(label.isdigit() and len(label) < 4 and 0 < int(label) <= len(named) for label in labels):
        return tuple(named[int(label) - 1] for label in labels)
    return None


def _temperature(comment: bytes) -> tuple[str, bytes] | None:
    """Return the key and the text of a temperature in K stated in the comment line of a frame."""
    match = _TEMPERATURE.search(comment)
    try:
        return None if match is None else (match.group(1).decode(), str(float(match.group(2))).encode())
    except ValueError:
        return None


def _time_fs(comment: bytes) -> float | None:
    """Return the time stated in the comment line of a frame."""
    match = _CP2K.search(comment)
    key, word = (b"Time", match.group(1)) if match is not None else (b"", b"")
    if match is None:
        match = _TIME.search(comment)
        if match is None:
            return None
        key, word = match.groups()
    try:
        value = float(word)
        clock(value)
    except ValueError:
        return None
    return value * (1.0e3 if key == b"time_ps" else 1.0)


def _structure(path: Path | None, where: str) -> tuple[tuple[str, ...], FloatArray]:
    """Read atoms and cell from a separate file.

    Raises
    ------
    AnalysisError
        If none is given, or it has no cell.
    """
    if path is None:
        raise AnalysisError(
            "The XYZ file has no cell.",
            where=where,
            fix="Name a file with the same atoms and the cell: --structure POSCAR.",
        )
    symbols, cell = read_structure(path)
    if cell is None:
        raise AnalysisError("The structure has no cell.", where=str(path), fix="Give a POSCAR, CIF or extxyz file.")
    return symbols, cell


def _read_head(window: Window, *, plain: bool) -> tuple[int, bytes, int] | None:
    """Return the number of atoms, the comment line and where the atoms begin; None if there is no such header.

    ``plain``: the comment line may say anything, if a row of an atom comes next.
    """
    first = window.line(0)
    if first is None or not first[0].strip().isdigit() or len(first[0].strip()) > _MOST_DIGITS:
        return None
    second = window.line(first[1])
    if second is None:
        return None
    if b"=" not in second[0]:
        row = window.line(second[1]) if plain else None
        words = [] if row is None else row[0].split()
        if len(words) < 4 or not words[0][:1].isalnum():
            return None
    return int(first[0]), second[0], second[1]


def _columns(comment: bytes) -> _Columns | None:
    """Find the columns of species and positions; the usual ones if Properties are not given."""
    words = (_text(_PROPERTIES, comment) or b"species:S:1:pos:R:3").decode("latin-1").split(":")
    if len(words) % 3:
        return None
    species = -1
    slots: list[int] = []
    for name, _, count in zip(words[0::3], words[1::3], words[2::3], strict=True):
        if not count.isdigit() or len(count) > 4:
            return None
        if name.lower() in _SPECIES:
            species = len(slots)
        if name.lower() in _POSITIONS and count == "3":
            slots += [0, 1, 2]
        else:
            slots += [-1] * int(count)
    if species < 0 or 2 not in slots or len(slots) > 1000:
        return None
    return _Columns(species, np.array(slots, dtype=np.int64))
