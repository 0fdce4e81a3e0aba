"""Reading trajectories of molecular dynamics: one entry point, many formats, block by block in constant memory."""

from __future__ import annotations

from superionic.trajectories.reading.base import Block, ReadingOptions, ReadWarning, TrajectoryReader
from superionic.trajectories.reading.opening import FORMATS, open_trajectory, without_effect

__all__ = ["FORMATS", "Block", "ReadWarning", "ReadingOptions", "TrajectoryReader", "open_trajectory", "without_effect"]
