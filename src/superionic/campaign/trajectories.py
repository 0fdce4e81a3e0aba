"""The runs of a campaign as trajectories: their segments in the store, read block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from superionic.campaign.explain import descriptor_of
from superionic.dynamics.md import Segment
from superionic.errors import AnalysisError
from superionic.execution.codec import from_tree
from superionic.execution.ledger import LEDGER, Ledger, Record
from superionic.execution.store import Store, StoredFailure
from superionic.results.identity import Run
from superionic.stages.transport import collect_task
from superionic.trajectories.reading.base import FRAMES_PER_BLOCK, Block, FilePosition, ReadWarning

PARTS = ("production", "npt")


class SegmentsReader:
    """Reader of one run of a campaign; see :class:`superionic.trajectories.reading.base.TrajectoryReader`.

    Parameters
    ----------
    keys
        Keys of its segments, in order.
    frame_interval_ps
        Time between frames.
    """

    format = "segments"
    unwrapped = True
    counts_steps = True
    n_frames = None
    temperature_K = None

    def __init__(self, store: Store, label: str, keys: Sequence[str], frame_interval_ps: float | None) -> None:
        from ase.data import chemical_symbols

        self.name = label
        self.notices: list[ReadWarning] = []
        self.place: FilePosition = {}
        self._store = store
        self._keys = keys
        first = self._segment(0)
        if first is None:
            raise AnalysisError("The first segment of the run is not in the store.", where=label, fix="Run it again.")
        self.symbols = tuple(chemical_symbols[n] for n in first.state.numbers)
        times = first.times_ps
        self.step_ps = frame_interval_ps or (float(times[1] - times[0]) if len(times) > 1 else None)

    def blocks(self, frames_per_block: int = FRAMES_PER_BLOCK, start: FilePosition | None = None) -> Iterator[Block]:
        """Yield the whole frames in order, from the first or from a :attr:`place`."""
        self.notices.clear()
        first = 0 if start is None else start["segment"]
        for number in range(first, len(self._keys)):
            segment = self._segment(number)
            if segment is None:
                self.notices.append(
                    ReadWarning(None, None, f"segment {number + 1} is not in the store", None, self.name)
                )
                return
            steps = np.rint(segment.times_ps / (self.step_ps or 1.0)).astype(np.int64)
            for begin in range(0, len(steps), frames_per_block):
                part = slice(begin, begin + frames_per_block)
                cells = segment.cells_A[part]
                fractional = segment.positions_A[part] @ np.linalg.inv(cells)
                if begin + frames_per_block >= len(steps):
                    self.place = {"segment": number + 1}
                yield Block(steps[part], fractional, cells)

    def _segment(self, number: int) -> Segment | None:
        key = self._keys[number]
        if not self._store.has(key):
            return None
        stored = self._store.load(key)
        if isinstance(stored, StoredFailure):
            return None
        segment: Segment = from_tree(stored, Segment, self.name)
        return segment


def is_run_folder(path: Path) -> bool:
    """Return whether this is the run folder of a campaign."""
    return path.is_dir() and (path / "store").is_dir()


@dataclass(frozen=True)
class OpenedRun:
    """A run of a campaign, ready to be read."""

    run: Run
    reader: SegmentsReader


def open_run(folder: Path, run: str | None = None, part: str = "production") -> list[OpenedRun]:
    """Open runs of the stage *transport*.

    Parameters
    ----------
    folder
        The run folder of the campaign.
    run
        Words of the run's label; all runs if None.
    part
        ``"production"`` or ``"npt"``.

    Raises
    ------
    AnalysisError
        If there is no such run.
    """
    store = Store(folder / "store", read_only=True)
    finished = [r for r in Ledger(folder / LEDGER).all() if r.stage == "transport" and r.state == "done"]
    # The newest of a label comes last.
    recorded = {run.run.label: run for run in (_recorded(record, store) for record in finished) if run is not None}
    selected = [each for label, each in recorded.items() if run is None or run in label]
    if not selected:
        raise AnalysisError(
            "The campaign has no finished transport run" + (f" like {run!r}" if run else "") + ".",
            where=str(folder),
            fix=f"Name one of: {'; '.join(list(recorded)[:8])}." if recorded else "Run the stage transport first.",
        )
    return [OpenedRun(each.run, each.reader(store, part)) for each in selected]


@dataclass(frozen=True)
class _RecordedRun:
    """The record of a finished run: its identity, and the keys of its segments."""

    run: Run
    frame_interval_ps: float
    production: tuple[str, ...]
    npt: tuple[str, ...]

    def reader(self, store: Store, part: str) -> SegmentsReader:
        if part == "production":
            return SegmentsReader(store, self.run.label, self.production, self.frame_interval_ps)
        if part != "npt" or not self.npt:
            raise AnalysisError(f"The run {self.run.label!r} has no part {part!r}.", fix="Choose production.")
        return SegmentsReader(store, self.run.label, self.npt, None)


def _recorded(record: Record, store: Store) -> _RecordedRun | None:
    """Read what a task was made from; None if it is not there, or does not describe a whole run."""
    descriptor = descriptor_of(record.key, store)
    if descriptor is None or (descriptor.function, descriptor.version) != (collect_task.name, collect_task.version):
        return None
    run = from_tree(descriptor.settings["run"], Run, record.label)
    interval_ps: float = descriptor.settings["frame_interval_ps"]
    return _RecordedRun(run, interval_ps, descriptor.keys_of("cells"), descriptor.keys_of("npt_cells"))
