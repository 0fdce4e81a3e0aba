"""Several files as one trajectory on one even time axis: duplicates, overlaps, gaps and new starts.

What the axis is, is told by all numbers of all frames together (:class:`Numbers`, :func:`plan`). A reading begins with
what the first block tells, and is done again in the rare case that the rest tells otherwise.
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
"""So many missing frames in a row are filled by straight lines; a longer gap divides the trajectory."""
MOST_UNEVEN = 0.1
"""Share of frames that may be missing, or lie between the even ones, before another spacing is looked for."""
EVEN = 0.02
"""A frame is on the axis where it is no farther from it than this share of the spacing."""
MOST_JUMP = 3.0
"""Atoms move by so many times the usual displacement from one file to the next before the files are no one run."""
_SEEN_AT_ONCE = 256

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Numbers:
    """Numbers of the whole frames of a file.

    Attributes
    ----------
    steps
        (n_frames,) as in :class:`superionic.trajectories.reading.base.Block`.
    frames
        (n_frames,) places in the file, damaged frames counted.
    """

    steps: Integers
    frames: Integers


@dataclass(frozen=True)
class Plan:
    """How the numbers of frames become an even axis.

    Attributes
    ----------
    spacing
        Difference of numbers between frames on the axis; None where there is one frame only.
    first
        Number that is on the axis: frames before the first on it are left out.
    written
        Difference of numbers between frames as the files were written, damaged ones counted.
    replaced
        For each file, (first, end) places of frames that a restart in the same file wrote again.
    """

    spacing: int | None
    first: int
    written: int | None
    replaced: tuple[tuple[tuple[int, int], ...], ...] = ()

    @classmethod
    def from_dict(cls, about: Mapping[str, Any]) -> Plan:
        """Inverse of ``asdict``, from JSON."""
        replaced = tuple(tuple((first, end) for first, end in each) for each in about["replaced"])
        return cls(about["spacing"], about["first"], about["written"], replaced)


def same_axis(one: Plan, other: Plan) -> bool:
    """Tell whether two plans put all frames at the same places."""
    gone = [[each for each in plan.replaced if each] for plan in (one, other)]
    if one.spacing != other.spacing or gone[0] != gone[1]:
        return False
    return one.spacing is None or _even(other.first - one.first, one.spacing)


def plan(files: Sequence[Numbers]) -> Plan:
    """Find the axis that the frames of files lie on.

    The spacing is the commonest one, unless more than a tenth of the frames would then be missing or left out: then it
    is the one that most of the time was written with.
    """
    replaced = tuple(_replaced(each) for each in files)
    kept = [each.steps[~_inside(each.frames, gone)] for each, gone in zip(files, replaced, strict=True)]
    places = [each.frames[~_inside(each.frames, gone)] for each, gone in zip(files, replaced, strict=True)]
    rises = [np.diff(steps) for steps in kept]
    rise = np.concatenate(rises) if rises else np.zeros(0, dtype=np.int64)
    frames = np.concatenate([np.diff(each) for each in places]) if places else np.zeros(0, dtype=np.int64)
    up = rise > 0
    begin = kept[0] if kept else np.zeros(0, dtype=np.int64)
    if not up.any():
        return Plan(None, int(begin[0]) if len(begin) else 0, None, replaced)
    values, counts = _kinds(rise[up])
    spacing = int(values[np.argmax(counts)])
    if _unwell(rise[up], spacing) > MOST_UNEVEN:
        spacing = int(values[np.argmax(values.astype(np.float64) * counts)])
    each_frame, often = _kinds(np.maximum(1, rise[up] // np.maximum(1, frames[up])))
    return Plan(spacing, _first(begin, spacing), int(each_frame[np.argmax(often)]), replaced)


def _kinds(rises: Integers) -> tuple[Integers, Integers]:
    """Return the different rises, those within the tolerance as one (its mean), and how often each stands."""
    values, counts = np.unique(rises, return_counts=True)
    edges = np.flatnonzero(np.diff(values) > EVEN * values[:-1]) + 1
    parts = np.split(np.arange(len(values)), edges)
    means = [min(round(float(np.average(values[part], weights=counts[part]))), MOST_STEP) for part in parts]
    return np.array(means, dtype=np.int64), np.array([counts[part].sum() for part in parts], dtype=np.int64)


def _unwell(rises: Integers, spacing: int) -> float:
    """Share of frames that would be filled in or left out with this spacing."""
    times = np.maximum(1, np.rint(rises / spacing))
    uneven = np.abs(rises - times * spacing) > EVEN * spacing
    missing = np.where(~uneven & (times <= MOST_FILLED + 1), times - 1, 0)
    return float((missing.sum() + uneven.sum()) / len(rises))


def share_that_fits(files: Sequence[Numbers], spacing: int) -> float:
    """Share of frames that lie whole spacings, or whole parts of a spacing, behind the one before."""
    rises = np.concatenate([np.diff(each.steps) for each in files])
    rises = rises[rises > 0]
    turns = np.where(rises >= spacing, rises / spacing, spacing / rises)
    return float(np.mean(np.abs(turns - np.rint(turns)) <= EVEN * turns)) if len(turns) else 1.0


def _first(steps: Integers, spacing: int) -> int:
    """Return the earliest number whose axis most of the first numbers lie on."""
    some = steps[:_SEEN_AT_ONCE]
    best, most = int(some[0]), -1
    for start in (*some[:8].tolist(), int(some[len(some) // 2])):
        turns = (some - start) / spacing
        count = int(np.count_nonzero(np.abs(turns - np.rint(turns)) <= EVEN))
        if count > most:
            best, most = start, count
    return best


def _replaced(file: Numbers) -> tuple[tuple[int, int], ...]:
    """Find frames that were written again after the numbers had gone back: a run restarted from a checkpoint.

    Where they go back to the first number or below it, counting has begun anew, and nothing was written again.
    """
    steps, frames = file.steps, file.frames
    found: list[tuple[int, int]] = []
    begin = 0
    for k in (np.flatnonzero(np.diff(steps) < 0) + 1).tolist():
        if steps[k] <= steps[begin]:
            begin = k
            continue
        again = np.flatnonzero(steps[begin:k] >= steps[k]) + begin
        found.append((int(frames[again[0]]), int(frames[k])))
    return tuple(found)


def _inside(frames: Integers, ranges: Sequence[tuple[int, int]]) -> npt.NDArray[np.bool_]:
    inside = np.zeros(len(frames), dtype=bool)
    for first, end in ranges:
        inside |= (frames >= first) & (frames < end)
    return inside


@dataclass
class TimeAxis:
    """Turns the numbers of frames in their files into positions on an even time axis, frame by frame.

    Attributes
    ----------
    spacing
        Difference of numbers between frames; None where one frame only is known.
    first
        A number that lies on the axis; None: the first frame does.
    in_time
        Whether the numbers are times in units of CLOCK_PS; else they are called steps.
    index
        Position of the last frame; -1 before the first.
    step
        Its number in its file.
    uneven
        Frames left out because they lay between the even ones.
    """

    spacing: int | None = None
    first: int | None = None
    in_time: bool = False
    index: int = -1
    step: int = 0
    uneven: int = 0

    def take(self, step: int, *, anew: bool = False) -> tuple[int | None, str]:
        """Return the position of a frame, or None with the reason why it is left out; words without None: a remark.

        ``anew``: the numbers of this file have nothing to do with those of the one before.
        """
        name = self.called(step)
        spacing = self.spacing or max(1, step - self.step)
        if self.index < 0:
            if self.first is not None and not _even(step - self.first, spacing):
                self.uneven += 1
                return None, f"{name} is not on the even axis of the frames behind it and was left out"
            self.index, self.step = 0, step
            return 0, ""
        rise = step - self.step
        if anew:
            self.index, self.step = self.index + 1, step
            return self.index, ""
        if rise == 0:
            return None, f"{name} stands twice; the second was left out"
        if rise > 0 and not (round(rise / spacing) >= 1 and _even(rise, spacing)):
            self.uneven += 1
            return None, f"{name} lies between the even ones ({self.called(spacing, only=True)} apart) and was left out"
        remark = ""
        if rise < 0:
            remark = f"counting starts anew at {name}: taken to follow on the frame before"
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
        """Plain values; the inverse is the constructor."""
        return asdict(self)


def _even(rise: int, spacing: int) -> bool:
    return abs(rise - round(rise / spacing) * spacing) <= EVEN * spacing


def first_steps(readers: Sequence[TrajectoryReader]) -> list[int | None]:
    """Return the number of each file's first frame; None where its numbers begin anew in each file."""
    firsts: list[int | None] = []
    for reader in readers:
        block = next(reader.blocks(1), None) if reader.counts_steps else None
        firsts.append(None if block is None else int(block.steps[0]))
        reader.notices.clear()
    return firsts


def in_order(readers: Sequence[TrajectoryReader]) -> tuple[list[int], str]:
    """Return the places of files in the order of their steps, and what has to be said about it.

    Files that do not count on from one to the next (a number stands at the beginning of two of them) stay in the order
    in which they were given.
    """
    firsts = first_steps(readers) if len(readers) > 1 else []
    known = [first for first in firsts if first is not None]
    given = list(range(len(readers)))
    if len(known) < len(readers) or len(set(known)) < len(known):
        return given, ""
    order = sorted(given, key=lambda k: known[k])
    if order == given:
        return given, ""
    return order, f"files were put in the order of their steps: {', '.join(readers[k].name for k in order)}"


def overlap_ends(readers: Sequence[TrajectoryReader]) -> list[int | None]:
    """Find where each file must end because the next one begins before its end.

    A run that was killed and restarted from a checkpoint writes the last steps of the first file again in the second;
    the second is the one that goes on, so the end of the first is left out. A file that begins where the one before it
    began has started to count anew, and overlaps nothing.

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
    """Where one file (or count) goes over into the next.

    Attributes
    ----------
    before, after
        Names of the files.
    far_A, usual_A
        Root mean square displacement of the atoms from one to the other, and from frame to frame.
    """

    before: str
    after: str
    far_A: float
    usual_A: float

    def check(self) -> None:
        """See that the run goes on where it ended.

        Raises
        ------
        AnalysisError
            If atoms are elsewhere.
        """
        if self.far_A > MOST_JUMP * self.usual_A:
            raise AnalysisError(
                f"{self.after} does not go on where {self.before} ends: from one to the other atoms move by "
                f"{self.far_A:.2g} Å, from frame to frame by {self.usual_A:.2g} Å (root mean square).",
                where=self.after,
                fix="Give the files of one run in the order of their times, or runs of their own with --replicas.",
            )
