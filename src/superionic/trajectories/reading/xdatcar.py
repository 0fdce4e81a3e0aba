"""XDATCAR of VASP: with and without the cell before every configuration, and the old form of VASP 4."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import (
    FRAMES_PER_BLOCK,
    MOST_STEP,
    Block,
    FilePosition,
    FloatArray,
    FrameCollector,
    ReadingOptions,
    ReadWarning,
    cell_of,
    check_atoms,
    checked_symbols,
    read_structure,
)
from superionic.trajectories.reading.incar import VaspRun, beside
from superionic.trajectories.reading.text import LONGEST_LINE, Window, head

_SEPARATORS = (b"direct", b"konfig")
_COLUMNS = np.arange(3)
_WITH_ELEMENT = np.array([0, 1, 2, -1])
"""Columns as pymatgen may write them: the element after the position."""
_VASP4_MARK = b"CAR"
_LEAST_VOLUME = 1e-6
_MOST_VOLUME = 1e15
_NO_BYTES = b"\0"


@dataclass(frozen=True)
class _Header:
    """The lines before a configuration.

    All bytes, those after the cell, the cell, symbols (none in old files), counts, number of bytes, and whether an
    empty line follows, which then separates configurations.
    """

    raw: bytes
    tail: bytes
    cell_A: FloatArray
    symbols: tuple[str, ...]
    counts: tuple[int, ...]
    length: int
    blank: bool


class XdatcarReader:
    """Reader of XDATCAR; see :class:`superionic.trajectories.reading.base.TrajectoryReader`.

    The file does not state the length of its steps; it is read from the INCAR next to it.

    Raises
    ------
    AnalysisError
        If the header of the file is not that of an XDATCAR, or elements are missing.
    """

    format = "xdatcar"
    counts_steps = False
    unwrapped = False
    n_frames = None

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        self.path = path
        self.name = path.name
        self.notices: list[ReadWarning] = []
        self.place: FilePosition = {}
        self._old_cell: FloatArray | None = None
        self._blank = True
        self.step_ps: float | None = None
        run = beside(path)
        self.temperature_K = run.temperature_K
        self._words = run.words
        if is_vasp4(head(path, 4096)):
            if options.structure is None:
                raise AnalysisError(
                    "This XDATCAR was written by VASP 4 and has neither cell nor elements.",
                    where=str(path),
                    fix="Name a file with both: --structure POSCAR.",
                )
            self.symbols, self._old_cell = read_structure(options.structure)
            if self._old_cell is None:
                raise AnalysisError("The structure has no cell.", where=str(options.structure), fix="Give a POSCAR.")
            return
        with Window(path) as window:
            header, n_bytes = _read_header(window), window.n_bytes
            if header is not None:
                self._clock(run, window, header)
        if header is None:
            raise AnalysisError(
                "This is not an XDATCAR: it does not begin with a comment, a scale and three cell vectors.",
                where=str(path),
                fix="Check the file, or name its format with --format.",
            )
        check_atoms(sum(header.counts), str(path), n_bytes)
        self._blank = header.blank
        kinds = header.symbols or options.elements
        if options.elements and len(options.elements) == len(header.counts):
            kinds = options.elements
        if not kinds and options.structure is not None:
            self.symbols = read_structure(options.structure)[0]
            if len(self.symbols) != sum(header.counts):
                raise AnalysisError("The structure does not have the atoms of the XDATCAR.", where=str(path))
            return
        if len(kinds) != len(header.counts):
            counts = " ".join(map(str, header.counts))
            raise AnalysisError(
                f"The XDATCAR names no elements for its {len(header.counts)} kinds of atoms ({counts}).",
                where=str(path),
                fix="Name them in this order: --elements Li,Y,Cl.",
            )
        symbols = checked_symbols(tuple(kinds), str(path))
        self.symbols = tuple(s for s, n in zip(symbols, header.counts, strict=True) for _ in range(n))

    def blocks(  # noqa: PLR0912, PLR0915 - the states of a parser, in the order in which a file has them
        self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None
    ) -> Iterator[Block]:
        """Yield the complete frames in order, from the first or from a :attr:`place`."""
        from superionic.trajectories.reading.text_kernels import OK

        self.notices[:] = [ReadWarning(None, None, words, 0, self.name) for words in self._words]
        collector = FrameCollector(len(self.symbols), frames_per_block)
        header: _Header | None = None
        frame, step, spacing, header_at = 0, 0, 1, 0
        last, said, order = -1, -1, -1  # the last complete frame, its number in the file, a hash of its elements
        latest: FloatArray | None = None
        with Window(self.path) as window:
            cell = self._old_cell
            if cell is not None:
                for _ in range(5):
                    next_line = window.line(0)
                    window.begin += 0 if next_line is None else next_line[1]
            if start is not None:
                if "header" in start:
                    window.seek(start["header"])
                    header, header_at = _read_header(window), start["header"]
                    cell = None if header is None else header.cell_A
                window.seek(start["byte"])
                frame, step, spacing = start["frame"], start["step"], start["spacing"]
                last, said = start["last"], start["said"]
            while (next_line := window.line(0)) is not None:
                line, after = next_line
                number = _separator(line, blank=self._blank)
                if number is None:
                    if not line.strip():
                        window.begin += after
                        continue
                    new = _like_header(window, header) or _read_header(window)
                    if new is None:
                        self._lose(frame, window, f"a line that belongs to no frame: {_shown(window, 0)}", 0)
                        self._next_frame(window, after)
                        continue
                    if sum(new.counts) != len(self.symbols):
                        self._lose(frame, window, "the number of atoms changes; the rest was not read", None)
                        break
                    if header is not None and (new.symbols, new.counts) != (header.symbols, header.counts):
                        self._lose(frame, window, "the elements change; the rest was not read", None)
                        break
                    header, cell, header_at = new, new.cell_A, window.place
                    window.begin += new.length
                    continue
                if cell is None:
                    self._lose(frame, window, "a frame before the first cell")
                    self._next_frame(window, after)
                    frame += 1
                    continue
                columns = _WITH_ELEMENT if _has_element(window, after) else _COLUMNS
                element = 3 if columns is _WITH_ELEMENT else -1
                status, stop, row, digest = window.table(after, columns, element, collector.slot)
                if status == OK and element > 0 and digest != order:
                    if window.column(after, len(self.symbols), element) != self.symbols:
                        self._lose(frame, window, "the elements of its rows are not those of its head")
                        self._next_frame(window, stop)
                        frame += 1
                        continue
                    order = digest
                unfinished = status == OK and window.unfinished(window.begin + stop)
                if status == OK and not unfinished and not _is_row(window, stop, len(columns)):
                    # Some files have no numbers, some have numbers too long for their field, and some the same one
                    # for all frames: then frames are counted. A frame that truly occurs twice keeps its number.
                    again = number == said and not (latest is not None and np.array_equal(collector.slot, latest))
                    said = number
                    if number < 0 or again:
                        number = step + spacing * (frame - last)
                        number = number if number < MOST_STEP else frame
                    if last >= 0 and number > step:
                        spacing = max(1, (number - step) // (frame - last))
                    step, last, latest = number, frame, collector.slot
                    window.begin += stop
                    frame += 1
                    if (block := collector.add(last, step, cell)) is not None:
                        self.place = {"byte": window.place, "frame": frame, "step": step, "spacing": spacing}
                        self.place |= {"last": last, "said": said}
                        self.place |= {} if header is None else {"header": header_at}
                        yield block
                    continue
                if unfinished:
                    self._lose(frame, window, "the file ends in the middle of a line: its last number may be cut off")
                    break
                if status == OK:
                    self._lose(frame, window, f"more than {len(self.symbols)} atoms")
                elif window.ended and window.data.find(b"\n", window.begin + stop, window.end) in (-1, window.end - 1):
                    if row > 0 or line.strip():  # else an empty line at the end of the file
                        self._lose(frame, window, f"cut off after {row} of {len(self.symbols)} atoms")
                    break
                else:
                    self._lose(frame, window, f"atom {row}: not three numbers: {_shown(window, stop)}")
                self._next_frame(window, stop if row else after)
                frame += 1
            if window.fault:
                self.notices.append(ReadWarning(frame, window.base + window.end, window.fault, None, self.name))
        if (block := collector.flush()) is not None:
            yield block

    def _clock(self, run: VaspRun, window: Window, header: _Header) -> None:
        """Take the time between frames from the INCAR: configurations are numbered by frames, or by steps."""
        if run.frame_ps is None:
            return
        self._blank = header.blank
        numbers: list[int] = []
        self._next_frame(window, header.length)
        for _ in range(2):
            if (next_line := window.line(0)) is not None:
                numbers.append(_separator(next_line[0], blank=self._blank) or -1)
                self._next_frame(window, next_line[1])
        rise = numbers[1] - numbers[0] if len(numbers) == 2 and min(numbers) > 0 else 1
        if rise not in (1, run.steps_a_frame):
            words = f"its configurations are numbered by {rise}, which is not NBLOCK ({run.steps_a_frame}) of the INCAR"
            self._words = (*self._words, f"{words} next to it: the time between frames was not taken from there")
            return
        self.step_ps = run.frame_ps / rise
        words = f"{1000.0 * run.frame_ps:g} fs between frames, as the INCAR next to it says (POTIM"
        self._words = (*self._words, f"{words} × {run.steps_a_frame})" if run.steps_a_frame > 1 else f"{words})")

    def _lose(self, frame: int, window: Window, reason: str, lost: int | None = 1) -> None:
        self.notices.append(ReadWarning(frame, window.place, reason, lost, self.name))

    def _next_frame(self, window: Window, skip: int) -> None:
        """Move to the next line that announces a configuration, or to the header right before it."""
        window.begin += skip
        while (next_line := window.line(0)) is not None:
            if _separator(next_line[0], blank=self._blank) is not None or _read_header(window) is not None:
                return
            window.begin += next_line[1]


def is_vasp4(first: bytes) -> bool:
    """Return whether these are the first bytes of a VASP 4 XDATCAR."""
    lines = first.split(b"\n", 5)
    return len(lines) > 4 and lines[3].strip() == _VASP4_MARK and lines[0].split()[:1] == lines[0].split()[1:2]


def _separator(line: bytes, *, blank: bool) -> int | None:
    """Return the number of the configuration announced by the line, -1 without one; None for any other line."""
    words = line.lstrip()[:6].lower()
    if words not in _SEPARATORS:
        return -1 if blank and not line.strip() else None
    try:
        number = int(line.rsplit(b"=", 1)[1])
    except (ValueError, IndexError):
        return -1
    return number if number < MOST_STEP else -1


def _like_header(window: Window, header: _Header | None) -> _Header | None:
    """Read a header that differs from the previous one only in the cell; None for any other."""
    if header is None:
        return None
    while window.end - window.begin < header.length + LONGEST_LINE and window.more():
        pass
    if window.data.startswith(header.raw, window.begin, window.end):
        return header
    lines = bytes(window.data[window.begin : window.begin + 2 * header.length]).split(b"\n", 5)
    if len(lines) < 6 or not lines[5].startswith(header.tail):
        return None
    try:
        scale = float(lines[1])
        (a, b, c), (d, e, f), (g, h, i) = ([float(x) for x in line.split()] for line in lines[2:5])
    except ValueError:
        return None
    volume = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if not (scale > 0.0 and _LEAST_VOLUME < abs(volume) * scale**3 < _MOST_VOLUME and isfinite(volume)):
        return None
    length = sum(len(line) + 1 for line in lines[:5]) + len(header.tail)
    cell = np.array([[a, b, c], [d, e, f], [g, h, i]]) * scale
    return replace(header, raw=_NO_BYTES, cell_A=cell, length=length)


def _read_header(window: Window) -> _Header | None:
    second = window.line(0)
    scale_line = None if second is None else window.line(second[1])
    if scale_line is None or len(scale_line[0].split()) not in (1, 3):
        return None
    lines: list[bytes] = []
    at = 0
    for _ in range(7):
        next_line = window.line(at)
        if next_line is None:
            break
        line, at = next_line
        lines.append(line)
        if len(lines) == 6 and _whole_numbers(line):
            break
    if len(lines) < 6:
        return None
    try:
        scale = [float(x) for x in lines[1].split()]
        cell = cell_of([[float(x) for x in line.split()] for line in lines[2:5]], "XDATCAR")
    except ValueError:
        return None
    symbols: tuple[str, ...] = ()
    counts = _whole_numbers(lines[5])
    if not counts and len(lines) == 7:
        symbols = tuple(word.split("_")[0].split("/")[0] for word in lines[5].decode("latin-1").split())
        counts = _whole_numbers(lines[6])
    if not counts or min(counts) < 1 or (symbols and len(counts) != len(symbols)):
        return None
    if len(scale) == 1 and scale[0] < 0.0:
        cell = cell * (-scale[0] / abs(float(np.linalg.det(cell)))) ** (1.0 / 3.0)
    else:
        cell = cell * np.array(scale)
    following = window.line(at)
    is_followed = following is None or _separator(following[0], blank=True) is not None  # by a configuration
    if not (is_followed and _LEAST_VOLUME < abs(float(np.linalg.det(cell))) < _MOST_VOLUME):
        return None
    raw = bytes(window.data[window.begin : window.begin + at])
    tail = raw.split(b"\n", 5)[5]
    return _Header(raw, tail, cell, symbols, counts, at, following is not None and not following[0].strip())


def _whole_numbers(line: bytes) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in line.split())
    except ValueError:
        return ()


def _has_element(window: Window, at: int) -> bool:
    """Return whether an element follows the position in the row at ``at``."""
    row = window.line(at)
    words = () if row is None else row[0].split()
    return len(words) == 4 and words[3].isalpha()


def _is_row(window: Window, at: int, n_columns: int) -> bool:
    """Return whether a row of atoms is at ``at``, where a frame should have ended."""
    row = window.line(at)
    words = () if row is None else row[0].split()
    if len(words) < 3 or len(words) != n_columns or words[0][:1].isalpha():
        return False
    try:
        return len([float(word) for word in words[:3]]) == 3
    except ValueError:
        return False


def _shown(window: Window, at: int) -> str:
    start = window.begin + at
    stop = window.data.find(b"\n", start, window.end)
    line = bytes(window.data[start : stop if stop >= 0 else window.end])[:60]
    return repr(line.decode("latin-1").strip())
