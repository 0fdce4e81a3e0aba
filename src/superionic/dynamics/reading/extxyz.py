"""Extended XYZ, as ASE, QUIP, MACE and GPUMD write it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from superionic.dynamics.reading.base import (
    FRAMES_PER_BLOCK,
    Block,
    FloatArray,
    FrameCollector,
    Notice,
    Place,
    ReadingOptions,
    cell_of,
    check_atoms,
    checked_symbols,
)
from superionic.dynamics.reading.text import Window
from superionic.errors import AnalysisError

_LATTICE = re.compile(rb'lattice\s*=\s*"([^"]*)"', re.IGNORECASE)
_PROPERTIES = re.compile(rb'properties\s*=\s*"?([^\s"]+)', re.IGNORECASE)
_MOST_DAMAGED = 100
_MOST_DIGITS = 18
_SPECIES = ("species", "symbols", "element")
_POSITIONS = ("pos", "positions", "position")


@dataclass(frozen=True)
class _Columns:
    species: int
    slots: npt.NDArray[np.int64]


class ExtxyzReader:
    """Reader of extxyz; see :class:`superionic.dynamics.reading.base.TrajectoryReader`.

    Positions are taken as they are: a jump across the cell is undone, and one that is none is kept.

    Raises
    ------
    AnalysisError
        If the first frame is damaged, or has no cell.
    """

    format = "extxyz"
    counts_steps = False
    unwrapped = False
    n_frames = None
    frame_interval_ps = None

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        self.path = path
        self.name = path.name
        from ase.data import atomic_numbers

        self.notices: list[Notice] = []
        self.place: Place = {}
        found: tuple[str, ...] | None = None
        with Window(path) as window:
            head = _read_head(window)
            if head is None:
                raise AnalysisError(
                    "This is not extxyz: it does not begin with a number of atoms and a line with Properties.",
                    where=str(path),
                    fix="Check the file, or name its format with --format.",
                )
            if _LATTICE.search(head[1]) is None:
                raise AnalysisError(
                    "The extxyz file has no cell.", where=str(path), fix='Write Lattice="…" in the second line.'
                )
            for _ in range(_MOST_DAMAGED):
                columns = None if head is None else _columns(head[1])
                found = None if head is None or columns is None else _species(window, head[2], head[0], columns.species)
                if head is None or (found is not None and set(found) <= set(atomic_numbers)):
                    break
                self._next_frame(window, head[2])
                head, found = _read_head(window), None
        if found is None:
            raise AnalysisError(
                "No frame has species and positions, or is whole.", where=str(path), fix="Check the file."
            )
        n_atoms = len(found)
        check_atoms(n_atoms, str(path))
        if options.elements and len(options.elements) == n_atoms:
            found = options.elements
        self.symbols = checked_symbols(found, str(path))

    def blocks(  # noqa: PLR0912, PLR0915 - the states of a parser, in the order in which a file has them
        self, frames_per_block: int = FRAMES_PER_BLOCK, start: Place | None = None
    ) -> Iterator[Block]:
        """Yield the whole frames in order, from the first or from a :attr:`place`."""
        from superionic.dynamics.reading.text_kernels import NEEDS_MORE, OK, POWERS, read_rows

        self.notices.clear()
        n_atoms = len(self.symbols)
        collector = FrameCollector(n_atoms, frames_per_block)
        positions = np.empty((n_atoms, 3))
        lattice, properties, columns = b"", b"", None
        cell: FloatArray = np.eye(3)
        inverse: FloatArray = np.eye(3)
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
                head = _read_head(window)
                after = first[1]
                reason = ""
                if head is None:
                    reason = "its head is damaged or cut off"
                elif head[0] != n_atoms:
                    reason = f"has {head[0]} atoms instead of {n_atoms}"
                else:
                    comment, after = head[1], head[2]
                    text = _text(_LATTICE, comment)
                    if text != lattice or not text:
                        try:
                            cell = cell_of(np.array(text.split(), dtype=np.float64).reshape(3, 3), "the frame")
                        except ValueError:
                            reason = "its cell is missing or damaged"
                        else:
                            lattice, inverse = text, np.asarray(np.linalg.inv(cell), dtype=np.float64)
                    if columns is None or _text(_PROPERTIES, comment) != properties:
                        columns, properties = _columns(comment), _text(_PROPERTIES, comment)
                    if columns is None:
                        reason = "its Properties are missing or damaged"
                    if not reason and columns is not None:
                        while True:
                            status, stop, row, digest = read_rows(
                                window.array, window.begin + after, window.end, window.ended, POWERS,
                                columns.slots, columns.species, positions,
                            )  # fmt: skip
                            if status != NEEDS_MORE or not window.more():
                                break
                        stop = int(stop) - window.begin
                        if status != OK:
                            row_at = window.begin + stop
                            cut = window.ended and window.data.find(b"\n", row_at, window.end) in (-1, window.end - 1)
                            reason = (
                                f"cut off after {row} of {n_atoms} atoms"
                                if cut or status == NEEDS_MORE
                                else f"atom {row} has not the columns that Properties names"
                            )
                        elif window.unfinished(window.begin + stop):
                            reason = "the file ends in the middle of a line: its last number may be cut off"
                        elif (following := window.line(stop)) is not None and len(following[0].split()) > 1:
                            reason = f"more than {n_atoms} rows"
                        elif order is None or int(digest) != order:
                            if _species(window, after, n_atoms, columns.species) == self.symbols:
                                order = int(digest)
                            else:
                                reason = "the order of its elements is not that of the first frame"
                        after = stop
                if reason:
                    self.notices.append(Notice(frame, window.place, reason, 1, self.name))
                    self._next_frame(window, first[1])
                else:
                    np.matmul(positions, inverse, out=collector.slot)
                    window.begin += after
                    if (block := collector.add(frame, cell)) is not None:
                        self.place = {"byte": window.place, "frame": frame + 1}
                        yield block
                frame += 1
            if window.fault:
                self.notices.append(Notice(frame, window.base + window.end, window.fault, None, self.name))
        if (block := collector.flush()) is not None:
            yield block

    def _next_frame(self, window: Window, skip: int) -> None:
        """Go on to the next line that is a number alone and is followed by one with a Lattice or Properties."""
        window.begin += skip
        while (found := window.line(0)) is not None:
            words = found[0].split()
            if len(words) == 1 and words[0].isdigit() and _read_head(window) is not None:
                return
            window.begin += found[1]


def _text(pattern: re.Pattern[bytes], comment: bytes) -> bytes:
    found = pattern.search(comment)
    return b"" if found is None else found.group(1)


def _read_head(window: Window) -> tuple[int, bytes, int] | None:
    """Return number of atoms, second line and where the atoms begin; None where there is no such head."""
    first = window.line(0)
    if first is None or not first[0].strip().isdigit() or len(first[0].strip()) > _MOST_DIGITS:
        return None
    second = window.line(first[1])
    if second is None or (b"=" not in second[0]):
        return None
    return int(first[0]), second[0], second[1]


def _columns(comment: bytes) -> _Columns | None:
    """Find the columns of species and positions; the usual ones where Properties are not given."""
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


def _species(window: Window, at: int, n_atoms: int, column: int) -> tuple[str, ...] | None:
    found = []
    for _ in range(n_atoms):
        line = window.line(at)
        words = [] if line is None else line[0].split()
        if line is None or len(words) <= column:
            return None
        found.append(words[column].decode("latin-1"))
        at = line[1]
    return tuple(found)
