"""Several files as one trajectory on one even time axis: duplicates, overlaps, gaps and new starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from superionic.dynamics.reading.base import TrajectoryReader

MOST_UNEVEN = 0.1
"""Share of frames between the even ones that may be left out."""


@dataclass
class TimeAxis:
    """Turns the numbers of frames in their files into positions on an even time axis, frame by frame.

    Attributes
    ----------
    spacing
        Difference of numbers between frames; None before it is known.
    index
        Position of the last frame; -1 before the first.
    step
        Its number in its file.
    first_step
        Number of the first frame since the last new start.
    uneven
        Frames left out because they lay between the even ones.
    """

    spacing: int | None = None
    index: int = -1
    step: int = 0
    first_step: int = 0
    uneven: int = 0

    def learn(self, steps: npt.NDArray[np.int64]) -> None:
        """Take the commonest difference as the spacing, if it is not known yet."""
        rises = np.diff(steps)
        rises = rises[rises > 0]
        if self.spacing is None and len(rises):
            values, counts = np.unique(rises, return_counts=True)
            self.spacing = int(values[np.argmax(counts)])

    def take(self, step: int, *, anew: bool = False) -> tuple[int | None, str]:
        """Return the position of a frame, or None with the reason why it is left out; words without None: a remark.

        ``anew``: the numbers of this file have nothing to do with those of the one before.
        """
        if self.index < 0:
            self.index, self.step, self.first_step = 0, step, step
            return 0, ""
        spacing = self.spacing or max(1, step - self.step)
        rise = step - self.step
        if anew:
            self.index, self.step, self.first_step = self.index + 1, step, step
            return self.index, ""
        if rise == 0:
            return None, f"step {step} stands twice; the second was left out"
        if rise > 0 and rise % spacing:
            self.uneven += 1
            return None, f"step {step} lies between the even ones ({spacing} apart) and was left out"
        remark = ""
        if rise < 0:
            remark = f"counting starts anew at step {step}: taken to follow on the frame before"
            self.first_step = step
            self.index += 1
        else:
            self.index += rise // spacing
        self.step = step
        return self.index, remark

    def to_dict(self) -> dict[str, int | None]:
        """Plain values; the inverse is the constructor."""
        return asdict(self)


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
    firsts: list[int | None] = []
    for reader in readers:
        block = next(reader.blocks(1), None) if reader.counts_steps else None
        firsts.append(None if block is None else int(block.steps[0]))
        reader.notices.clear()
    return [
        following if this is not None and following is not None and following > this else None
        for this, following in zip(firsts, [*firsts[1:], None], strict=True)
    ]
