"""Several files as one trajectory on one even time axis: duplicates, overlaps, gaps and restarts.

The axis follows from the numbers of all frames together (:class:`Numbers`, :func:`plan`). A reading begins with the
axis of the first block, and is repeated in the rare case that the rest implies another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.errors import AnalysisError
from superionic.trajectories.reading.base import CLOCK_PS, MOST_STEP, TrajectoryReader

MOST_FILLED = 10
"""Largest number of consecutive missing frames filled by interpolation; a longer gap divides the trajectory."""
MOST_UNEVEN = 0.1
"""Fraction of frames that may be missing, or lie between the even ones, before another spacing is tried."""
EVEN = 0.02
"""A frame is on the axis if it is within this fraction of the spacing."""
MOST_JUMP = 3.0
"""Files belong to different runs if atoms move by more than this many usual displacements from one to the next."""
_FIRST_EXAMINED = 256

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """Numbers of the complete frames of a file.

    Attributes
    ----------
    steps
        (n_frames,) as in :class:`superionic.trajectories.reading.base.Block`.
    frames
        (n_frames,) positions in the file, damaged frames counted.
    """

    steps: Integers
    frames: Integers


@dataclass(frozen=True)
class Plan:
    """The even axis of the frame numbers.

    Attributes
    ----------
    spacing
        Difference of numbers between frames on the axis; None if there is only one frame.
    first
        A number on the axis: frames before the first on it are left out.
    written
        Difference of numbers between frames as written, damaged ones counted.
    replaced
        For each file, (first, end) positions of frames that a restart in the same file wrote again.
    """

    spacing: int | None
    first: int
    written: int | None
    replaced: tuple[tuple[tuple[int, int], ...], ...] = ()

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> Plan:
        """Build a plan from the JSON form of ``asdict``."""
        replaced = tuple(tuple((first, end) for first, end in each) for each in about["replaced"])
        return cls(about["spacing"], about["first"], about["written"], replaced)


def same_axis(one: Plan, other: Plan) -> bool:
    """Return whether two plans put all frames at the same positions."""
    gone = [[each for each in plan.replaced if each] for plan in (one, other)]
    if one.spacing != other.spacing or gone[0] != gone[1]:
        return False
    return one.spacing is None or _even(other.first - one.first, one.spacing)


def plan(files: Sequence[Numbers]) -> Plan:
    """Find the axis on which the frames of files lie.

    The spacing is the commonest one, unless more than a tenth of the frames would then be missing or left out: then it
    is the one that covers most of the time.
    """
    replaced = tuple(_replaced(each) for each in files)
    steps_left = [each.steps[~_inside(each.frames, gone)] for each, gone in zip(files, replaced, strict=True)]
    places = [each.frames[~_inside(each.frames, gone)] for each, gone in zip(files, replaced, strict=True)]
    rises = [np.diff(steps) for steps in steps_left]
    rise = np.concatenate(rises) if rises else np.zeros(0, dtype=np.int64)
    frames = np.concatenate([np.diff(each) for each in places]) if places else np.zeros(0, dtype=np.int64)
    up = rise > 0
    begin = steps_left[0] if steps_left else np.zeros(0, dtype=np.int64)
    if not up.any():
        return Plan(None, int(begin[0]) if len(begin) else 0, None, replaced)
    values, counts = _kinds(rise[up])
    spacing = int(values[np.argmax(counts)])
    if _mismatch(rise[up], spacing) > MOST_UNEVEN:
        spacing = int(values[np.argmax(values.astype(np.float64) * counts)])
    each_frame, often = _kinds(np.maximum(1, rise[up] // np.maximum(1, frames[up])))
    return Plan(spacing, _first(begin, spacing), int(each_frame[np.argmax(often)]), replaced)


def _kinds(rises: Integers) -> tuple[Integers, Integers]:
    """Return the distinct increments, merging those within the tolerance into their mean, and their frequencies."""
    values, counts = np.unique(rises, return_counts=True)
    edges = np.flatnonzero(np.diff(values) > EVEN * values[:-1]) + 1
    parts = np.split(np.arange(len(values)), edges)
    means = [min(round(float(np.average(values[part], weights=counts[part]))), MOST_STEP) for part in parts]
    return np.array(means, dtype=np.int64), np.array([counts[part].sum() for part in parts], dtype=np.int64)


def _mismatch(rises: Integers, spacing: int) -> float:
    """Return the fraction of frames that would be filled in or left out with this spacing."""
    times = np.maximum(1, np.rint(rises / spacing))
    uneven = np.abs(rises - times * spacing) > EVEN * spacing
    missing = np.where(~uneven & (times <= MOST_FILLED + 1), times - 1, 0)
    return float((missing.sum() + uneven.sum()) / len(rises))


def share_that_fits(files: Sequence[Numbers], spacing: int) -> float:
    """Return the fraction of frames that follow the previous one by a multiple, or an integer part, of the spacing."""
    rises = np.concatenate([np.diff(each.steps) for each in files])
    rises = rises[rises > 0]
    turns = np.where(rises >= spacing, rises / spacing, spacing / rises)
    return float(np.mean(np.abs(turns - np.rint(turns)) <= EVEN * turns)) if len(turns) else 1.0


def _first(steps: Integers, spacing: int) -> int:
    """Return the earliest number on whose axis most of the first numbers lie."""
    some = steps[:_FIRST_EXAMINED]
    best, most = int(some[0]), -1
    for start in (*some[:8].tolist(), int(some[len(some) // 2])):
        turns = (some - start) / spacing
        count = int(np.count_nonzero(np.abs(turns - np.rint(turns)) <= EVEN))
        if count > most:
            best, most = start, count
    return best


def _replaced(file: Numbers) -> tuple[tuple[int, int], ...]:
    """Find frames that were written again after the numbers went back: a run restarted from a checkpoint.

    If they go back to the first number or below it, counting has restarted, and nothing was written again.
    """
    steps, frames = file.steps, file.frames
    ranges: list[tuple[int, int]] = []
    begin = 0
    for k in (np.flatnonzero(np.diff(steps) < 0) + 1).tolist():
        if steps[k] <= steps[begin]:
            begin = k
            continue
        again = np.flatnonzero(steps[begin:k] >= steps[k]) + begin
        ranges.append((int(frames[again[0]]), int(frames[k])))
    return tuple(ranges)


def _inside(frames: Integers, ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(frames), dtype=bool)
    for first, end in ranges:
        inside |= (frames >= first) & (frames < end)
    return inside


@dataclass
class TimeAxis:
    """Map the numbers of frames in their files to positions on an even time axis, frame by frame.

    Attributes
    ----------
    spacing
        Difference of numbers between frames; None while only one frame is known.
    first
        A number that lies on the axis; None: the first frame does.
    in_time
        Whether the numbers are times in units of CLOCK_PS rather than steps.
    index
        Position of the last frame; -1 before the first.
    step
        Number of the last frame in its file.
    uneven
        Number of frames left out because they lay between the even ones.
    """

    spacing: int | None = None
    first: int | None = None
    in_time: bool = False
    index: int = -1
    step: int = 0
    uneven: int = 0

    def take(self, step: int, *, restarted: bool = False) -> tuple[int | None, str]:
        """Return the position of a frame with a remark (or none), or None with the reason why it is left out.

        ``restarted``: the numbers of this file are unrelated to those of the previous one.
        """
        name = self.called(step)
        spacing = self.spacing or max(1, step - self.step)
        if self.index < 0:
            if self.first is not None and not _even(step - self.first, spacing):
                self.uneven += 1
                return None, f"{name} is not on the even axis of the frames after it and was left out"
            self.index, self.step = 0, step
            return 0, ""
        rise = step - self.step
        if restarted:
            self.index, self.step = self.index + 1, step
            return self.index, ""
        if rise == 0:
            return None, f"{name} occurs twice; the second was left out"
        if rise > 0 and not (round(rise / spacing) >= 1 and _even(rise, spacing)):
            self.uneven += 1
            return None, f"{name} lies between the even ones ({self.called(spacing, only=True)} apart) and was left out"
        remark = ""
        if rise < 0:
            remark = f"numbering restarts at {name}: assumed to follow the frame before"
            self.index += 1
        else:
            self.index += round(rise / spacing)
        self.step = step
        return self.index, remark

    def called(self, step: int, *, only: bool = False) -> str:
        """Name a number."""
        if self.in_time:
            return f"{step * CLOCK_PS:.10g} ps"
        return f"{step}" if only else f"step {step}"

    def to_dict(self) -> dict[str, int | bool | None]:
        """Return plain values, from which the constructor restores the axis."""
        return asdict(self)


def _even(rise: int, spacing: int) -> bool:
    return abs(rise - round(rise / spacing) * spacing) <= EVEN * spacing


def first_steps(readers: Sequence[TrajectoryReader]) -> list[int | None]:
    """Return the number of each file's first frame; None if numbering restarts in each file."""
    firsts: list[int | None] = []
    for reader in readers:
        block = next(reader.blocks(1), None) if reader.counts_steps else None
        firsts.append(None if block is None else int(block.steps[0]))
        reader.notices.clear()
    return firsts


def in_order(readers: Sequence[TrajectoryReader]) -> tuple[list[int], str]:
    """Return the indices of files in the order of their steps, and a remark on it.

    Files whose numbers do not continue (two of them begin with the same number) stay in the order given.
    """
    firsts = first_steps(readers) if len(readers) > 1 else []
    known = [first for first in firsts if first is not None]
    as_given = list(range(len(readers)))
    if len(known) < len(readers) or len(set(known)) < len(known):
        return as_given, ""
    order = sorted(as_given, key=lambda k: known[k])
    if order == as_given:
        return as_given, ""
    return order, f"files were put in the order of their steps: {', '.join(readers[k].name for k in order)}"


def overlap_ends(readers: Sequence[TrajectoryReader]) -> list[int | None]:
    """Find where each file must end because the next one begins before its end.

    A run that was killed and restarted from a checkpoint writes the last steps of the first file again in the second;
    the second continues, so the end of the first is left out. A file that begins with the same number as the one before
    has restarted its numbering, and overlaps nothing.

    Returns
    -------
    list
        For each file the step at which to stop (None: at its end).
    """
    firsts = first_steps(readers)
    return [
        following if this is not None and following is not None and following > this else None
        for this, following in zip(firsts, [*firsts[1:], None], strict=True)
    ]


@dataclass(frozen=True)
class Joint:
    """The transition from one file (or count) to the next.

    Attributes
    ----------
    before, after
        Names of the files.
    far_A, usual_A
        Root-mean-square displacement of the atoms across the transition, and from frame to frame.
    """

    before: str
    after: str
    far_A: float
    usual_A: float

    def check(self) -> None:
        """Check that the run continues where it ended.

        Raises
        ------
        AnalysisError
            If the atoms moved too far.
        """
        if self.far_A > MOST_JUMP * self.usual_A:
            raise AnalysisError(
                f"{self.after} does not continue where {self.before} ends: from one to the other atoms move by "
                f"{self.far_A:.2g} Å, from frame to frame by {self.usual_A:.2g} Å (root mean square).",
                where=self.after,
                fix="Give the files of one run in the order of their times, or separate runs with --replicas.",
            )
