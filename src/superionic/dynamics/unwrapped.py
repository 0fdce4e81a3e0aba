"""A trajectory ready for analysis: unwrapped positions on an even time axis, read in blocks, kept on disk if wished."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from superionic.dynamics.reading.base import Block, Notice, TrajectoryReader
from superionic.dynamics.reading.joining import MOST_UNEVEN, TimeAxis, overlap_ends
from superionic.dynamics.unwrapped_cache import Cache
from superionic.dynamics.unwrapping import WATCHED, Scheme, Unwrapper
from superionic.errors import AnalysisError

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int | None], None]

MOST_FILLED = 10
"""So many missing frames in a row are filled by straight lines; a longer gap divides the trajectory."""
_IN_MEMORY_BYTES = 512_000_000
_SAME_FRAME = 1e-9
_CONSTANT_CELL = 1e-6
_SAVE_EVERY_S = 2.0


@dataclass(frozen=True, eq=False)
class UnwrappedTrajectory:
    """Continuous positions of all atoms.

    Attributes
    ----------
    symbols
        (n_atoms,) element symbols.
    positions_A
        (n_frames, n_atoms, 3) unwrapped, float32, in Å; an array or a map of a file.
    cells_A
        (3, 3), or (n_frames, 3, 3) where the cell changes.
    frame_interval_ps
        Time between frames.
    notices
        What could not be read or was not taken.
    flags
        Sentences for the reader of a result.
    n_filled
        Frames that were missing and were filled by straight lines.
    n_left_out
        Frames that lie outside the longest part without a long gap.
    largest_displacement_A
        Longest displacement of an atom between successive frames.
    """

    symbols: tuple[str, ...]
    positions_A: npt.NDArray[np.float32]
    cells_A: FloatArray
    frame_interval_ps: float
    notices: tuple[Notice, ...] = ()
    flags: tuple[str, ...] = ()
    n_filled: int = 0
    n_left_out: int = 0
    largest_displacement_A: float = 0.0

    @property
    def cell_varies(self) -> bool:
        """Whether the cell changes in time."""
        return self.cells_A.ndim == 3

    @property
    def mean_cell_A(self) -> FloatArray:
        """(3, 3) mean of the cells."""
        mean: FloatArray = self.cells_A.mean(axis=0) if self.cell_varies else self.cells_A
        return mean

    def part(self, skip_ps: float = 0.0, stride: int = 1) -> UnwrappedTrajectory:
        """Leave out the beginning, and keep each so many frames (a view: nothing is copied).

        Raises
        ------
        AnalysisError
            If nothing is left, or a number is out of range.
        """
        if skip_ps < 0.0 or stride < 1:
            raise AnalysisError(f"Skipping {skip_ps:g} ps with stride {stride} is not possible.", fix="Give 0 and 1.")
        first = int(np.ceil(skip_ps / self.frame_interval_ps - 1e-9))
        positions = self.positions_A[first::stride]
        if len(positions) < 2:
            length = (len(self.positions_A) - 1) * self.frame_interval_ps
            raise AnalysisError(
                f"The trajectory is {length:g} ps long; after {skip_ps:g} ps at stride {stride} fewer than two frames "
                "are left.",
                fix="Lower --skip-ps or --stride.",
            )
        return UnwrappedTrajectory(
            self.symbols,
            positions,
            self.cells_A[first::stride] if self.cell_varies else self.cells_A,
            self.frame_interval_ps * stride,
            self.notices,
            self.flags,
            self.n_filled,
            self.n_left_out,
            self.largest_displacement_A,
        )


def read_unwrapped(
    readers: Sequence[TrajectoryReader],
    *,
    frame_interval_ps: float | None = None,
    scheme: Scheme = "mean-cell",
    cache: Path | None = None,
    cache_key: str = "",
    progress: Progress | None = None,
) -> UnwrappedTrajectory:
    """Read files, in order, as one trajectory, and unwrap it.

    Frames that the files lack are filled by straight lines (at most 10 in a row), and said; behind a longer gap the
    trajectory is taken to begin anew, and the longest part is given.

    Parameters
    ----------
    readers
        Of the files.
    frame_interval_ps
        Time between frames; that of the files if None.
    scheme
        How a changing cell is dealt with; see :mod:`superionic.dynamics.unwrapping`.
    cache
        Folder for the unwrapped positions, written block by block: a reading that was killed goes on where it was, and
        a second one maps the file.
    cache_key
        What identifies the files and how they are read (see :func:`superionic.dynamics.unwrapped_cache.key_of`).
    progress
        Called with frames read and their number, where it is known.

    Raises
    ------
    AnalysisError
        If no frame interval is known, files do not have the same atoms, frames are not evenly spaced, or no two frames
        are whole.
    """
    first = readers[0]
    for reader in readers[1:]:
        if reader.symbols != first.symbols:
            raise AnalysisError(
                f"{reader.name} does not have the atoms of {first.name}, or not in the same order.",
                fix="Give files of one run, or analyse them one by one (--replicas, or --temperatures-K).",
            )
    interval = _interval(readers, frame_interval_ps)
    builder = _Builder(first.symbols, scheme, None if cache is None else Cache(cache, cache_key, len(first.symbols)))
    with builder:
        builder.read(readers, progress)
        return builder.result(interval)


@dataclass
class _Builder:
    """The state of a reading."""

    symbols: tuple[str, ...]
    scheme: Scheme
    cache: Cache | None
    axis: TimeAxis = field(default_factory=TimeAxis)
    notices: list[Notice] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    n_frames: int = 0
    n_filled: int = 0

    def __post_init__(self) -> None:
        self.unwrapper = Unwrapper(len(self.symbols))
        self.reference: FloatArray | None = None
        self.previous: FloatArray | None = None
        self.cells: list[FloatArray] = []
        self.parts: list[npt.NDArray[np.float32]] = []
        self.spilled: IO[bytes] | None = None

    def __enter__(self) -> _Builder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.cache is not None:
            self.cache.close()

    # ---- reading ----------------------------------------------------------------------------------------------------

    def read(self, readers: Sequence[TrajectoryReader], progress: Progress | None) -> None:
        """Read all files, from where an earlier reading was."""
        number, place = self._resume()
        if number is None:
            return
        known = [reader.n_frames for reader in readers]
        total = sum(n for n in known if n is not None) if None not in known else None
        ends = overlap_ends(readers) if len(readers) > 1 else [None]
        saved = time.monotonic()
        for index in range(number, len(readers)):
            reader, stop = readers[index], ends[index]
            before = len(self.notices)
            new_file, over = place is None, False
            for block in reader.blocks(start=place):
                over = self._add(block, reader, new_file=new_file, stop=stop)
                new_file = False
                if progress is not None:
                    progress(self.n_frames, total)
                if self.cache is not None and time.monotonic() - saved > _SAVE_EVERY_S:
                    self._save(index, dict(reader.place), [*self.notices, *reader.notices])
                    saved = time.monotonic()
                if over:
                    break
            place = None
            self.notices[before:before] = reader.notices
        if self.cache is not None:
            self._save(len(readers), {}, self.notices)

    def _add(self, block: Block, reader: TrajectoryReader, *, new_file: bool, stop: int | None) -> bool:
        """Take the frames of a block; True where the file has to end."""
        self.axis.learn(block.steps)
        positions: list[FloatArray] = []
        cells: list[FloatArray] = []
        for k in range(len(block)):
            step, frame, cell = int(block.steps[k]), block.fractional[k], block.cells_A[k]
            if stop is not None and step >= stop and self.axis.index >= 0:
                words = f"from step {stop} on the next file is taken"
                self.notices.append(Notice(None, None, words, 0, reader.name))
                self._keep(positions, cells)
                return True
            if new_file and k == 0 and self.unwrapper.before is not None:
                change = frame - (self.unwrapper.before + (self.unwrapper.images if reader.unwrapped else 0.0))
                if float(np.abs(change - np.round(change)).max()) < _SAME_FRAME:
                    words = "its first frame is the last one of the file before and was left out"
                    self.notices.append(Notice(0, None, words, 0, reader.name))
                    self.axis.step = step
                    continue
            last = self.axis.index
            index, words = self.axis.take(step, anew=new_file and k == 0 and not reader.counts_steps)
            if words:
                self.notices.append(Notice(None, None, words, 0, reader.name))
            if index is None:
                self._check_evenness(reader)
                continue
            jumps = not reader.unwrapped or (new_file and k == 0)
            placed = self._placed(frame, cell, wrapped=jumps)
            missing = index - last - 1 if last >= 0 else 0
            if missing > 0 and self.previous is not None:
                if missing <= MOST_FILLED:
                    old = cells[-1] if cells else self.cells[-1][-1]
                    for m in range(1, missing + 1):
                        share = m / (missing + 1.0)
                        positions.append(self.previous + share * (placed - self.previous))
                        cells.append(old + share * (cell - old))
                    self.n_filled += missing
                else:
                    self.breaks.append(self.n_frames + len(positions))
            positions.append(placed)
            cells.append(cell)
            self.previous = placed
        self._keep(positions, cells)
        return False

    def _placed(self, frame: FloatArray, cell: FloatArray, *, wrapped: bool) -> FloatArray:
        if self.scheme == "toroidal":
            return self.unwrapper.toroidal(frame, cell)
        if self.reference is None:
            self.reference = np.array(cell)
        placed: FloatArray = self.unwrapper.fractional(frame, cell, wrapped=wrapped) @ self.reference
        return placed

    def _check_evenness(self, reader: TrajectoryReader) -> None:
        if self.axis.uneven > 20 and self.axis.uneven > MOST_UNEVEN * (self.axis.index + 1):
            raise AnalysisError(
                "The frames are not evenly spaced in time.",
                where=reader.name,
                fix="Dump at one interval only; mean squared displacements need even spacing.",
            )

    def _keep(self, positions: list[FloatArray], cells: list[FloatArray]) -> None:
        if not positions:
            return
        part = np.asarray(positions, dtype=np.float32)
        self.cells.append(np.asarray(cells))
        self.n_frames += len(part)
        if self.cache is not None:
            self.cache.append(part, self.cells[-1])
            return
        if self.spilled is None and sum(p.nbytes for p in self.parts) + part.nbytes > _IN_MEMORY_BYTES:
            self.spilled = tempfile.TemporaryFile(prefix="superionic-")  # noqa: SIM115 - lives as long as its map
            for held in self.parts:
                self.spilled.write(held.data)
            self.parts.clear()
        if self.spilled is None:
            self.parts.append(part)
        else:
            self.spilled.write(part.data)

    # ---- the cache --------------------------------------------------------------------------------------------------

    def _save(self, file: int, place: dict[str, int], notices: Sequence[Notice]) -> None:
        assert self.cache is not None  # noqa: S101 - only called with a cache
        u = self.unwrapper
        facts: dict[str, Any] = {
            "axis": self.axis.to_dict(),
            "breaks": self.breaks,
            "file": file,
            "largest_A": u.largest_A,
            "largest_ratio": u.largest_ratio,
            "n_filled": self.n_filled,
            "n_frames": self.n_frames,
            "n_watched": u.n_watched,
            "notices": [vars(notice) for notice in notices],
            "place": place,
        }
        arrays = {
            "before": u.before,
            "cell_before": u.cell_before,
            "images": u.images,
            "path": u.path,
            "previous": self.previous,
            "reference": self.reference,
        }
        self.cache.save(facts, {name: array for name, array in arrays.items() if array is not None})

    def _resume(self) -> tuple[int | None, dict[str, int] | None]:
        """Return the file and the place in it to go on from; None where all files have been read."""
        found = None if self.cache is None else self.cache.load()
        if found is None or self.cache is None:
            return 0, None
        facts, arrays, cells = found
        self.axis = TimeAxis(**facts["axis"])
        self.breaks = list(facts["breaks"])
        self.n_frames, self.n_filled = facts["n_frames"], facts["n_filled"]
        self.notices = [Notice(**notice) for notice in facts["notices"]]
        self.cells = [cells] if len(cells) else []
        u = self.unwrapper
        u.largest_A, u.largest_ratio, u.n_watched = facts["largest_A"], facts["largest_ratio"], facts["n_watched"]
        u.images, u.path, u.cell_before = arrays["images"], arrays["path"], arrays["cell_before"]
        u.before = arrays.get("before")
        self.previous, self.reference = arrays.get("previous"), arrays.get("reference")
        if facts["place"] == {} and self.cache.complete(facts):
            return None, None
        return facts["file"], facts["place"] or None

    # ---- the result -------------------------------------------------------------------------------------------------

    def result(self, interval: float) -> UnwrappedTrajectory:
        """Put the parts together.

        Raises
        ------
        AnalysisError
            If there are fewer than two frames.
        """
        if self.n_frames < 2:
            lost = f"; what is wrong: {self.notices[0]}" if self.notices else ""
            raise AnalysisError(f"The trajectory has {self.n_frames} whole frames{lost}.", fix="Give at least two.")
        positions = self._positions()
        cells = np.concatenate(self.cells)
        edges = [0, *self.breaks, self.n_frames]
        begin, end = max(pairwise(edges), key=lambda pair: pair[1] - pair[0])
        positions, cells = positions[begin:end], cells[begin:end]
        varies = float(np.abs(cells - cells[0]).max()) > _CONSTANT_CELL
        if varies and self.scheme == "mean-cell" and self.reference is not None:
            change = np.linalg.inv(self.reference) @ cells.mean(axis=0)
            positions = _transformed(positions, change)
        return UnwrappedTrajectory(
            symbols=self.symbols,
            positions_A=positions,
            cells_A=cells if varies else cells[0].copy(),
            frame_interval_ps=interval,
            notices=tuple(self.notices),
            flags=self._flags(self.n_frames - (end - begin)),
            n_filled=self.n_filled,
            n_left_out=self.n_frames - (end - begin),
            largest_displacement_A=self.unwrapper.largest_A,
        )

    def _positions(self) -> npt.NDArray[np.float32]:
        shape = (self.n_frames, len(self.symbols), 3)
        if self.cache is not None:
            return self.cache.positions(shape)
        if self.spilled is not None:
            self.spilled.flush()
            mapped: npt.NDArray[np.float32] = np.memmap(self.spilled, dtype=np.float32, mode="r+", shape=shape)
            self.spilled.close()  # the map keeps the file, which has no name, alive
            return mapped
        whole = np.empty(shape, dtype=np.float32)
        at = 0
        while self.parts:
            part = self.parts.pop(0)
            whole[at : at + len(part)] = part
            at += len(part)
        return whole

    def _flags(self, left_out: int) -> tuple[str, ...]:
        flags = []
        lost = [notice for notice in self.notices if notice.lost != 0]
        if lost:
            flags.append(
                f"Not everything could be read: {lost[0]}" + (f" (and {len(lost) - 1} more)." if lost[1:] else ".")
            )
        if self.n_filled:
            flags.append(f"{self.n_filled} missing frames of {self.n_frames} were filled by straight lines.")
        if left_out:
            flags.append(
                f"The trajectory has gaps of more than {MOST_FILLED} frames: the longest part without one was taken, "
                f"{left_out} frames were left out."
            )
        if self.unwrapper.n_watched:
            u = self.unwrapper
            flags.append(
                f"Atoms move as much as {u.largest_A:.1f} Å between frames, {u.largest_ratio:.2f} of the shortest "
                f"lattice vector ({u.n_watched} times more than {WATCHED:g}): which way they went is not sure. Write "
                "frames more often."
            )
        return tuple(flags)


def _transformed(positions: npt.NDArray[np.float32], change: FloatArray) -> npt.NDArray[np.float32]:
    """Multiply positions by a matrix, block by block; in place where the array is ours."""
    ours = getattr(positions, "mode", "") != "c"
    out = positions
    if not ours:
        if positions.nbytes > _IN_MEMORY_BYTES:
            with tempfile.TemporaryFile(prefix="superionic-") as file:
                file.truncate(positions.nbytes)
                out = np.memmap(file, dtype=np.float32, mode="r+", shape=positions.shape)
        else:
            out = np.empty_like(positions)
    for start in range(0, len(positions), 1024):
        block = np.asarray(positions[start : start + 1024], dtype=np.float64)
        out[start : start + 1024] = block @ change
    return out


def _interval(readers: Sequence[TrajectoryReader], given_ps: float | None) -> float:
    if given_ps is not None:
        if not (np.isfinite(given_ps) and given_ps > 0.0):
            raise AnalysisError(f"The frame interval must be positive, not {1000.0 * given_ps:g} fs.")
        return given_ps
    known = [reader.frame_interval_ps for reader in readers if reader.frame_interval_ps is not None]
    if not known:
        reader = readers[0]
        how = "Give the time between frames: --frame-interval-fs 100"
        if reader.format == "lammps-dump":
            how += ", or the time step of the run: --timestep-fs 2"
        elif reader.format == "xdatcar":
            how += " (POTIM × NBLOCK of the INCAR)"
        raise AnalysisError(
            "The file does not say how much time passes between frames.", where=reader.name, fix=f"{how}."
        )
    if max(known) - min(known) > 1e-6 * max(known):
        raise AnalysisError(
            f"The files have different times between frames ({min(known):g} and {max(known):g} ps).",
            fix="Give files of one run, or say the time that holds for all: --frame-interval-fs.",
        )
    return known[0]
