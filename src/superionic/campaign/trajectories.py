"""The runs of a campaign as trajectories: their segments in the store, read block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from superionic.dynamics.reading.base import FRAMES_PER_BLOCK, Block, Notice, Place
from superionic.errors import AnalysisError
from superionic.execution.ledger import Ledger, Record
from superionic.execution.store import Store, StoredFailure

_LABEL = "trajectory of "
_STAGE = "transport"
PARTS = ("production", "npt")


class SegmentsReader:
    """Reader of one run of a campaign; see :class:`superionic.dynamics.reading.base.TrajectoryReader`.

    Parameters
    ----------
    store
        Of the campaign.
    label
        Of the run.
    keys
        Keys of its segments, in order.
    frame_interval_ps
        Time between frames.
    """

    format = "segments"
    unwrapped = True
    counts_steps = True
    n_frames = None

    def __init__(self, store: Store, label: str, keys: list[str], frame_interval_ps: float | None) -> None:
        from ase.data import chemical_symbols

        self.name = label
        self.notices: list[Notice] = []
        self.place: Place = {}
        self._store = store
        self._keys = keys
        first = self._segment(0)
        if first is None:
            raise AnalysisError("The first segment of the run is not in the store.", where=label, fix="Run it again.")
        self.symbols = tuple(chemical_symbols[n] for n in first["numbers"])
        times = np.asarray(first["times_ps"])
        self.frame_interval_ps = frame_interval_ps or (float(times[1] - times[0]) if len(times) > 1 else None)

    def blocks(self, frames_per_block: int = FRAMES_PER_BLOCK, start: Place | None = None) -> Iterator[Block]:
        """Yield the whole frames in order, from the first or from a :attr:`place`."""
        self.notices.clear()
        first = 0 if start is None else start["segment"]
        for number in range(first, len(self._keys)):
            segment = self._segment(number)
            if segment is None:
                self.notices.append(Notice(None, None, f"segment {number + 1} is not in the store", None, self.name))
                return
            cells = np.asarray(segment["cells"])
            positions = np.asarray(segment["positions"])
            times = np.asarray(segment["times_ps"])
            steps = np.rint(times / (self.frame_interval_ps or 1.0)).astype(np.int64)
            for begin in range(0, len(steps), frames_per_block):
                part = slice(begin, begin + frames_per_block)
                fractional = positions[part] @ np.linalg.inv(cells[part])
                if begin + frames_per_block >= len(steps):
                    self.place = {"segment": number + 1}
                yield Block(steps[part], fractional, cells[part])

    def _segment(self, number: int) -> Mapping[str, Any] | None:
        key = self._keys[number]
        if not self._store.has(key):
            return None
        found = self._store.load(key)
        return None if isinstance(found, StoredFailure) else found


def is_run_folder(path: Path) -> bool:
    """Tell whether this is the run folder of a campaign."""
    return path.is_dir() and (path / "ledger.sqlite").is_file()


def open_run(
    folder: Path, run: str | None = None, part: str = "production"
) -> list[tuple[SegmentsReader, float | None]]:
    """Open runs of the stage *transport*.

    Parameters
    ----------
    folder
        The run folder of the campaign.
    run
        Words of the run's label; all runs if None.
    part
        ``"production"`` or ``"npt"``.

    Returns
    -------
    list
        Readers with the temperatures of their runs.

    Raises
    ------
    AnalysisError
        If there is no such run.
    """
    with Ledger(folder / "ledger.sqlite") as ledger:
        records = [r for r in ledger.all() if r.stage == _STAGE and r.label.startswith(_LABEL) and r.state == "done"]
        newest = {record.label: record for record in records}
        labels = [label.removeprefix(_LABEL) for label in newest]
        chosen = [r for label, r in newest.items() if run is None or run in label.removeprefix(_LABEL)]
        if not chosen:
            raise AnalysisError(
                "The campaign has no finished transport run" + (f" like {run!r}" if run else "") + ".",
                where=str(folder),
                fix=f"Name one of: {'; '.join(labels[:8])}." if labels else "Run the stage transport first.",
            )
        store = Store(folder / "store")
        return [_opened(store, ledger, record, part) for record in chosen]


def _opened(store: Store, ledger: Ledger, record: Record, part: str) -> tuple[SegmentsReader, float | None]:
    inputs = record.descriptor["inputs"]
    keys = [str(ref["task"]) for ref in inputs["cells" if part == "production" else "npt_cells"]]
    label = record.label.removeprefix(_LABEL)
    if not keys:
        raise AnalysisError(f"The run {label!r} has no part {part!r}.", fix="Choose production.")
    segment = ledger.record(keys[0])
    temperature = None if segment is None else segment.descriptor["settings"].get("md", {}).get("temperature_K")
    interval = record.descriptor["settings"].get("frame_interval_ps") if part == "production" else None
    return SegmentsReader(store, label, keys, interval), temperature
