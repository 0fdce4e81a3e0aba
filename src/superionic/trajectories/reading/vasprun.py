"""vasprun.xml of VASP, without building its tree in memory."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import (
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
)
from superionic.trajectories.reading.incar import LONGEST_STEP_FS, held_temperature
from superionic.trajectories.reading.text import Window

_BEGIN = b"<structure"
_END = b"</structure>"
_FIRST = (b'<structure name="initialpos"', b"<structure>", b"<calculation")
"""All settings and atoms are named before the first of these."""
_BASIS = b'name="basis"'
_POSITIONS = b'name="positions"'
_ATOM = re.compile(rb"<rc>\s*<c>\s*([A-Za-z]+)\s*</c>")
_HEAD_LIMIT = 1 << 26
_LONGEST_TAG = 200


class VasprunReader:
    """Reader of vasprun.xml; see :class:`superionic.trajectories.reading.base.TrajectoryReader`.

    Each ``<structure>`` without a name is a frame: that of a ``<calculation>``, or that of a step by VASP's own force
    field, which stands alone. The time between them is POTIM (times ML_OUTBLOCK).

    Raises
    ------
    AnalysisError
        If the file has no atoms.
    """

    format = "vasprun"
    counts_steps = False
    unwrapped = False
    n_frames = None

    def __init__(self, path: Path, options: ReadingOptions) -> None:
        self.path = path
        self.name = path.name
        self.notices: list[ReadWarning] = []
        self.place: FilePosition = {}
        with Window(path) as window:
            while _head_ends(window) < 0 and window.end < _HEAD_LIMIT and window.more():
                pass
            stop = _head_ends(window)
            head = bytes(window.data[: stop if stop >= 0 else window.end])
        start = head.find(b'<array name="atoms"')
        words = _ATOM.findall(head[start : head.find(b"</array>", start)]) if start >= 0 else []
        symbols = tuple(word.decode() for word in words)
        if not symbols:
            raise AnalysisError(
                "This is not a vasprun.xml: it names no atoms.", where=str(path), fix="Check the file, or its format."
            )
        self.symbols = checked_symbols(
            options.elements if len(options.elements) == len(symbols) else symbols, str(path)
        )
        check_atoms(len(symbols), str(path))
        potim, blocks = _number(head, b"POTIM"), _number(head, b"ML_OUTBLOCK")
        self.step_ps = None
        self.temperature_K, self._words = held_temperature(lambda tag: _number(head, tag.encode()))
        if potim is not None and 0.0 < potim <= LONGEST_STEP_FS and _number(head, b"IBRION") in (None, 0.0):
            self.step_ps = potim * 1.0e-3 * (blocks if blocks is not None and blocks >= 1.0 else 1.0)

    def blocks(  # noqa: PLR0912, PLR0915 - the states of a parser, in the order in which a file has them
        self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None
    ) -> Iterator[Block]:
        """Yield the complete frames in order, from the first or from a :attr:`place`."""
        from superionic.trajectories.reading.text_kernels import OK, POWERS, read_tagged

        self.notices[:] = [ReadWarning(None, None, words, 0, self.name) for words in self._words]
        n_atoms = len(self.symbols)
        collector = FrameCollector(n_atoms, frames_per_block)
        frame = 0
        named = False
        with Window(self.path) as window:
            if start is not None:
                window.seek(start["byte"])
                frame = start["frame"]
            while True:
                offset = window.find(_BEGIN)
                if (frame or start is not None) and not named and _POSITIONS in window.passed:
                    self.notices.append(ReadWarning(frame, window.place, "its <structure> is damaged", 1, self.name))
                    frame += 1
                if offset is None:
                    break
                window.begin += offset
                if named := _is_named(window):
                    window.begin += len(_BEGIN)
                    continue
                length = _whole(window)
                cut = length is None
                stop = window.begin + (length if length is not None else window.end - window.begin)
                basis = window.data.find(_BASIS, window.begin, stop)
                places = window.data.find(_POSITIONS, window.begin, stop)
                cell: FloatArray | None = None
                reason = "it has no cell and positions"
                if basis >= 0 and places >= 0:
                    numbers = np.empty(9)
                    status, *_ = read_tagged(window.array, _after(window, basis), stop, POWERS, numbers)
                    flat = collector.slot.reshape(-1)
                    good, after, count = read_tagged(window.array, _after(window, places), stop, POWERS, flat)
                    try:
                        cell = cell_of(numbers.reshape(3, 3), "the structure") if status == OK else None
                    except ValueError:
                        cell = None
                    reason = "its cell or its positions are damaged"
                    if good != OK or window.data[int(after) : stop].lstrip()[:4] != b"</v>":
                        cell = None
                        reason = f"atom {int(count) // 3}: not three numbers"
                    elif (
                        not window.data[int(after) : min(stop, int(after) + 200)]
                        .split(b"</v>", 1)[1]
                        .lstrip()[:9]
                        .startswith(b"</varray>")
                    ):
                        cell = None
                        reason = f"has not {n_atoms} positions"
                if cell is None:
                    where = "cut off: " if cut else ""
                    self.notices.append(ReadWarning(frame, window.place, where + reason, 1, self.name))
                window.begin = stop if length is not None else min(window.end, window.begin + len(_BEGIN))
                if cell is not None and (block := collector.add(frame, frame, cell)) is not None:
                    self.place = {"byte": window.place, "frame": frame + 1}
                    yield block
                frame += 1
                if cut:
                    break
            if window.fault:
                self.notices.append(ReadWarning(frame, window.base + window.end, window.fault, None, self.name))
        if (block := collector.flush()) is not None:
            yield block


def _whole(window: Window) -> int | None:
    """Return the length of the structure at the start of the window; up to the next one if its end is missing."""
    searched = len(_BEGIN)
    while True:
        start = window.begin + searched
        end = window.data.find(_END, start, window.end)
        another = window.data.find(_BEGIN, start, window.end)
        if end >= 0 and (another < 0 or end < another):
            return end + len(_END) - window.begin
        if another >= 0:
            return another - window.begin
        searched = max(searched, window.end - window.begin - len(_END))
        if not window.more():
            return None


def _head_ends(window: Window) -> int:
    """Return where settings and atoms end; -1 if that is not in the window yet."""
    ends = [place for mark in _FIRST if (place := window.data.find(mark, 0, window.end)) >= 0]
    return min(ends, default=-1)


def _is_named(window: Window) -> bool:
    """Return whether the structure at the start of the window is named: the first, the last, the primitive cell."""
    while window.end - window.begin < _LONGEST_TAG and window.more():
        pass
    tag = bytes(window.data[window.begin : min(window.end, window.begin + _LONGEST_TAG)])
    return b"name=" in tag.split(b">", 1)[0]


def _after(window: Window, at: int) -> int:
    """Return the end of the tag that contains ``at``."""
    stop = window.data.find(b">", at, window.end)
    return stop + 1 if stop >= 0 else window.end


def _number(head: bytes, tag: bytes) -> float | None:
    """Return the value of a tag; None if the header lacks it, or it is not a finite number."""
    match = re.search(rb'name="' + tag + rb'">\s*([-+0-9.eE]{1,40})\s*<', head)
    try:
        value = math.nan if match is None else float(match.group(1))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
