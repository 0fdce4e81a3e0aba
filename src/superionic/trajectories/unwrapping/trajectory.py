"""A trajectory ready for analysis: unwrapped positions on an even time axis, read in blocks, optionally cached."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import CLOCK_PS, Block, ReadWarning, TrajectoryReader
from superionic.trajectories.reading.joining import (
    MOST_FILLED,
    MOST_UNEVEN,
    Integers,
    Joint,
    Numbers,
    Plan,
    TimeAxis,
    in_order,
    overlap_ends,
    plan,
    same_axis,
    share_that_fits,
)
from superionic.trajectories.unwrapping.cache import Cache
from superionic.trajectories.unwrapping.paths import WATCHED, Scheme, Unwrapper

FloatArray = npt.NDArray[np.float64]
Progress = Callable[[int, int | None], None]

_IN_MEMORY_BYTES = 512_000_000
_SAME_FRAME = 1e-9
_CONSTANT_CELL = 1e-6
_SAVE_EVERY_S = 2.0
_RECENT = 50
_UNEVEN_SAID = 3
_UNEVEN_FLAGGED = 20
_SAME_INTERVAL = 1e-3


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
        (3, 3), or (n_frames, 3, 3) if the cell changes.
    frame_interval_ps
        Time between frames.
    notices
        Warnings of what could not be read or was skipped.
    flags
        Remarks for the reader of a result.
    n_filled
        Number of missing frames filled by linear interpolation.
    n_left_out
        Number of frames outside the longest part without a long gap.
    largest_displacement_A
        Longest displacement of an atom between successive frames.
    """

    symbols: tuple[str, ...]
    positions_A: npt.NDArray[np.float32]
    cells_A: FloatArray
    frame_interval_ps: float
    notices: tuple[ReadWarning, ...] = ()
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
        """Leave out the beginning, and keep every `stride`-th frame (a view: nothing is copied).

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
    """Read files as one trajectory, in the order of their steps if these are consecutive, and unwrap it.

    The time axis is that of the steps (or times) stated in the files, whatever the first frames are; frames that a
    restart wrote again are left out. Missing frames are filled by linear interpolation (at most 10 in a row), with a
    remark; a longer gap divides the trajectory, of which the longest part is returned.

    Parameters
    ----------
    readers
        Readers of the files.
    frame_interval_ps
        Time between frames as written; that of the files if None.
    scheme
        Treatment of a changing cell; see :mod:`superionic.trajectories.unwrapping.paths`.
    cache
        Folder for the unwrapped positions, written block by block: a reading that was killed resumes where it was, and
        a second one maps the file.
    cache_key
        Key of the files and the way they are read (see :func:`superionic.trajectories.unwrapping.cache.key_of`).
    progress
        Called with the number of frames read, and their total if known.

    Raises
    ------
    AnalysisError
        If no frame interval is known, files do not have the same atoms or are not consecutive, frames are not evenly
        spaced, or fewer than two frames are complete.
    """
    order, words = in_order(readers)
    readers = [readers[k] for k in order]
    first = readers[0]
    for reader in readers[1:]:
        if reader.symbols != first.symbols:
            raise AnalysisError(
                f"{reader.name} does not have the atoms of {first.name}, or not in the same order.",
                fix="Give files of one run, or analyse them one by one (--replicas, or --temperatures-K).",
            )
    step_ps = _step_ps(readers, frame_interval_ps)
    axis: Plan | None = None
    while True:
        store = None if cache is None else Cache(cache, cache_key, len(first.symbols))
        with _Builder(first.symbols, scheme, store, step_ps == CLOCK_PS) as builder:
            builder.read(readers, axis, progress)
            better = builder.better_plan()
            if better is None:
                return builder.result(step_ps, frame_interval_ps, words)
            axis = better


@dataclass
class _Builder:
    """The state of a reading."""

    symbols: tuple[str, ...]
    scheme: Scheme
    cache: Cache | None
    in_time: bool = False
    plan: Plan | None = None
    axis: TimeAxis = field(default_factory=TimeAxis)
    notices: list[ReadWarning] = field(default_factory=list)
    breaks: list[int] = field(default_factory=list)
    n_frames: int = 0
    n_filled: int = 0
    n_taken: int = 0
    joint: Joint | None = None

    def __post_init__(self) -> None:
        self.unwrapper = Unwrapper(len(self.symbols))
        self.reference: FloatArray | None = None
        self.previous: FloatArray | None = None
        self.cells: list[FloatArray] = []
        self.parts: list[npt.NDArray[np.float32]] = []
        self.spilled: IO[bytes] | None = None
        self.recent: npt.NDArray[np.float32] | None = None
        self.numbers: dict[int, list[Numbers]] = {}

    def __enter__(self) -> _Builder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.cache is not None:
            self.cache.close()

    # ---- reading ----------------------------------------------------------------------------------------------------

    def read(self, readers: Sequence[TrajectoryReader], axis: Plan | None, progress: Progress | None) -> None:
        """Read all files, from where an earlier reading stopped, or from the start if the axis has changed."""
        number, place = self._resume() if axis is None else (0, None)
        if axis is not None:
            self._begin(axis)
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
                over = self._add(block, reader, index, new_file=new_file, stop=stop, before=readers[index - 1].name)
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

    def better_plan(self) -> Plan | None:
        """Return the axis implied by all frames, if it differs from the one used in reading."""
        last = self.plan
        self.plan = plan(self._files())
        return None if last is None or same_axis(last, self.plan) else self.plan

    def _files(self) -> list[Numbers]:
        return [
            Numbers(np.concatenate([n.steps for n in parts]), np.concatenate([n.frames for n in parts]))
            for _, parts in sorted(self.numbers.items())
        ]

    def _begin(self, axis: Plan) -> None:
        self.plan = axis
        self.axis = TimeAxis(axis.spacing, axis.first, self.in_time)

    def _note_numbers(self, block: Block, file: int, stop: int | None) -> Integers:
        """Record the numbers of the frames before the end of the file; return their places in the file."""
        parts = self.numbers.setdefault(file, [])
        frames = block.frames
        if frames is None:
            frames = sum(len(n.steps) for n in parts) + np.arange(len(block))
        beyond = np.zeros(len(block), dtype=bool) if stop is None else block.steps >= stop
        end = int(np.argmax(beyond)) if beyond.any() else len(block)
        parts.append(Numbers(np.array(block.steps[:end], dtype=np.int64), np.array(frames[:end], dtype=np.int64)))
        return frames

    def _add(
        self, block: Block, reader: TrajectoryReader, file: int, *, new_file: bool, stop: int | None, before: str
    ) -> bool:
        """Add the frames of a block; return True if the file has to end."""
        frames = self._note_numbers(block, file, stop)
        if self.plan is None:
            self._begin(plan(self._files()))
        assert self.plan is not None  # noqa: S101 - begun above
        replaced = self.plan.replaced[file] if file < len(self.plan.replaced) else ()
        positions: list[FloatArray] = []
        cells: list[FloatArray] = []
        for k in range(len(block)):
            step, frame, cell = int(block.steps[k]), block.fractional[k], block.cells_A[k]
            if stop is not None and step >= stop and self.axis.index >= 0:
                words = f"from step {stop} on the next file is taken"
                self.notices.append(ReadWarning(None, None, words, 0, reader.name))
                self._keep(positions, cells)
                return True
            gone = next((begin for begin, end in replaced if begin <= frames[k] < end), None)
            if gone is not None:
                if frames[k] == gone:
                    words = f"a restart wrote the frames from {self.axis.called(step)} on again: these were left out"
                    self.notices.append(ReadWarning(int(gone), None, words, 0, reader.name))
                continue
            first = new_file and k == 0
            if first and self._is_last(frame, unwrapped=reader.unwrapped):
                words = "its first frame is the last one of the file before and was left out"
                self.notices.append(ReadWarning(0, None, words, 0, reader.name))
                self.axis.step = step
                continue
            last = self.axis.index
            index, words = self.axis.take(step, restarted=first and not reader.counts_steps)
            if words and not (index is None and self.axis.uneven > _UNEVEN_SAID):
                self.notices.append(ReadWarning(int(frames[k]), None, words, 0, reader.name))
            if index is None:
                continue
            self.n_taken += 1
            detached = first or bool(words)  # the numbers do not show how this frame follows the one before
            placed = self._placed(frame, cell, wrapped=detached or not reader.unwrapped)
            missing = index - last - 1 if last >= 0 else 0
            if detached and missing <= MOST_FILLED:
                self._note_joint(placed, missing + 1, positions, before if first else reader.name, reader.name)
            if missing > 0 and self.previous is not None:
                self._fill(positions, cells, missing, placed, cell)
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

    def _is_last(self, frame: FloatArray, *, unwrapped: bool) -> bool:
        u = self.unwrapper
        if u.before is None:
            return False
        change = frame - (u.before + (u.images if unwrapped else 0.0))
        return float(np.abs(change - np.round(change)).max()) < _SAME_FRAME

    def _fill(
        self, positions: list[FloatArray], cells: list[FloatArray], missing: int, placed: FloatArray, cell: FloatArray
    ) -> None:
        """Fill a short gap before a frame by linear interpolation; divide the trajectory at a long one."""
        if missing > MOST_FILLED or self.previous is None:
            self.breaks.append(self.n_frames + len(positions))
            return
        old = cells[-1] if cells else self.cells[-1][-1]
        for m in range(1, missing + 1):
            share = m / (missing + 1.0)
            positions.append(self.previous + share * (placed - self.previous))
            cells.append(old + share * (cell - old))
        self.n_filled += missing

    def _note_joint(
        self, placed: FloatArray, n_steps: int, positions: Sequence[FloatArray], before: str, after: str
    ) -> None:
        """Measure how far atoms moved, and how far they usually move in this time; keep the worst case."""
        recent = np.asarray(positions[-_RECENT:]) if len(positions) > 1 else self.recent
        if self.previous is None or recent is None or len(recent) < 2:
            return
        steps = np.diff(recent, axis=0)
        steps -= steps.mean(axis=1, keepdims=True)
        jump = placed - self.previous
        jump -= jump.mean(axis=0)
        usual = float(np.sqrt(np.mean(np.sum(steps**2, axis=2)) * n_steps))
        far = float(np.sqrt(np.mean(np.sum(jump**2, axis=1))))
        if usual > 0.0 and (self.joint is None or far * self.joint.usual_A > self.joint.far_A * usual):
            self.joint = Joint(before, after, far, usual)

    def _check_evenness(self) -> None:
        assert self.plan is not None and self.plan.spacing is not None  # noqa: S101, PT018 - there are two frames
        if self.axis.uneven > _UNEVEN_FLAGGED and (
            self.n_filled > MOST_UNEVEN * self.n_frames
            or share_that_fits(self._files(), self.plan.spacing) < 1.0 - MOST_UNEVEN
        ):
            raise AnalysisError(
                "The frames are not evenly spaced in time: no spacing holds for most of them.",
                fix="Give the part of the file that was written at one interval.",
            )

    def _keep(self, positions: list[FloatArray], cells: list[FloatArray]) -> None:
        if not positions:
            return
        part = np.asarray(positions, dtype=np.float32)
        self.recent = part[-_RECENT:]
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

    def _save(self, file: int, place: dict[str, int], notices: Sequence[ReadWarning]) -> None:
        assert self.cache is not None  # noqa: S101 - only called with a cache
        u = self.unwrapper
        facts: dict[str, Any] = {
            "axis": self.axis.to_dict(),
            "plan": None if self.plan is None else asdict(self.plan),
            "n_taken": self.n_taken,
            "joint": None if self.joint is None else asdict(self.joint),
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
        arrays: dict[str, npt.NDArray[Any] | None] = {
            "before": u.before,
            "cell_before": u.cell_before,
            "images": u.images,
            "path": u.path,
            "previous": self.previous,
            "reference": self.reference,
            "recent": self.recent,
        }
        for index, parts in self.numbers.items():
            arrays[f"steps {index}"] = np.concatenate([n.steps for n in parts])
            arrays[f"frames {index}"] = np.concatenate([n.frames for n in parts])
        self.cache.save(facts, {name: array for name, array in arrays.items() if array is not None})

    def _resume(self) -> tuple[int | None, dict[str, int] | None]:
        """Return the file and the place in it to resume from; None if all files have been read."""
        saved = None if self.cache is None else self.cache.load()
        if saved is None or self.cache is None:
            return 0, None
        facts, arrays, cells = saved
        self.axis = TimeAxis(**facts["axis"])
        self.plan = None if facts["plan"] is None else Plan.from_dict(facts["plan"])
        self.n_taken = facts["n_taken"]
        self.joint = None if facts["joint"] is None else Joint(**facts["joint"])
        for name in arrays:
            if name.startswith("steps "):
                index = name.removeprefix("steps ")
                self.numbers[int(index)] = [Numbers(arrays[name], arrays[f"frames {index}"])]
        self.breaks = list(facts["breaks"])
        self.n_frames, self.n_filled = facts["n_frames"], facts["n_filled"]
        self.notices = [ReadWarning(**notice) for notice in facts["notices"]]
        self.cells = [cells] if len(cells) else []
        u = self.unwrapper
        u.largest_A, u.largest_ratio, u.n_watched = facts["largest_A"], facts["largest_ratio"], facts["n_watched"]
        u.images, u.path, u.cell_before = arrays["images"], arrays["path"], arrays["cell_before"]
        u.before = arrays.get("before")
        self.previous, self.reference = arrays.get("previous"), arrays.get("reference")
        self.recent = arrays.get("recent")
        if facts["place"] == {} and self.cache.complete(facts):
            return None, None
        return facts["file"], facts["place"] or None

    # ---- the result -------------------------------------------------------------------------------------------------

    def result(self, step_ps: float | None, given_ps: float | None, words: str) -> UnwrappedTrajectory:
        """Put the parts together.

        Parameters
        ----------
        step_ps
            Time per frame number, if the files state it.
        given_ps
            Time between frames as written, if it was given.
        words
            Remark on the files before any frame.

        Raises
        ------
        AnalysisError
            If there are fewer than two frames.
        """
        if self.n_frames < 2:
            lost = f"; the first problem: {self.notices[0]}" if self.notices else ""
            raise AnalysisError(f"The trajectory has {self.n_frames} whole frames{lost}.", fix="Give at least two.")
        self._check_evenness()
        if self.joint is not None:
            self.joint.check()
        assert self.plan is not None and self.plan.spacing is not None  # noqa: S101, PT018 - there are two frames
        known = None if step_ps is None else self.plan.spacing * step_ps
        interval = known if given_ps is None else given_ps * self.plan.spacing / (self.plan.written or 1)
        assert interval is not None  # noqa: S101 - ensured before the reading
        if words:
            self.notices.insert(0, ReadWarning(None, None, words, 0))
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
            notices=tuple(dict.fromkeys(self.notices)),
            flags=self._flags(self.n_frames - (end - begin), interval, known),
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

    def _flags(self, left_out: int, interval: float, known: float | None) -> tuple[str, ...]:
        flags = []
        if known is not None and abs(interval - known) > _SAME_INTERVAL * known:
            flags.append(
                f"The files (or the time step) state {known:.6g} ps between frames; the given "
                f"{interval:.6g} ps were used."
            )
        if self.axis.uneven > _UNEVEN_FLAGGED:
            flags.append(
                f"Frames are {interval:.4g} ps apart for most of the time; {self.axis.uneven} that lie between were "
                "left out."
            )
        lost = [notice for notice in self.notices if notice.lost != 0]
        if lost:
            flags.append(
                f"Not everything could be read: {lost[0]}" + (f" (and {len(lost) - 1} more)." if lost[1:] else ".")
            )
        if self.n_filled:
            flags.append(f"{self.n_filled} missing frames of {self.n_frames} were filled by interpolation.")
        if left_out:
            flags.append(
                f"The trajectory has gaps of more than {MOST_FILLED} frames: the longest part without one was taken, "
                f"{left_out} frames were left out."
            )
        if self.unwrapper.n_watched:
            u = self.unwrapper
            flags.append(
                f"Atoms move as much as {u.largest_A:.1f} Å between frames, {u.largest_ratio:.2f} of the shortest "
                f"lattice vector ({u.n_watched} times more than {WATCHED:g}): their direction is uncertain. Write "
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


def _step_ps(readers: Sequence[TrajectoryReader], given_ps: float | None) -> float | None:
    """Return the time per frame number; None if only the time between frames is given."""
    if given_ps is not None and not (np.isfinite(given_ps) and given_ps > 0.0):
        raise AnalysisError(f"The frame interval must be positive, not {1000.0 * given_ps:g} fs.")
    known = [reader.step_ps for reader in readers if reader.step_ps is not None]
    if not known and given_ps is None:
        reader = readers[0]
        how = "Give the time between frames: --frame-interval-fs 100"
        if reader.format == "lammps-dump":
            how += ", or the time step of the run: --timestep-fs 2"
        elif reader.format == "xdatcar":
            how += " (POTIM × NBLOCK of the INCAR)"
        raise AnalysisError("The file does not state the time between frames.", where=reader.name, fix=f"{how}.")
    if known and max(known) - min(known) > 1e-6 * max(known):
        if given_ps is not None:
            return None
        raise AnalysisError(
            f"The files have different times between frames ({min(known):g} and {max(known):g} ps).",
            fix="Give files of one run, or give one time for all: --frame-interval-fs.",
        )
    return known[0] if known else None
