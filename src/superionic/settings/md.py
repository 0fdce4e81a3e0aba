"""Words and rules that the sections with molecular dynamics share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from superionic.settings.base import StageSection
from superionic.settings.rules import Problem, Section, rule

BAR_GPA = 1.0e-4
Thermostat = Literal["nose-hoover-chain", "csvr", "langevin", "berendsen"]
MDEngine = Literal["ase", "lammps"]
MD_ENGINE = "Program that integrates: `ase`, or `lammps` (for the student, and potentials of engine `nep` or `pair`)."

MAX_SEGMENTS: Final = 100_000
MAX_FRAMES: Final = 1_000_000
"""Segments of a run, and frames of a segment."""


class MDSection(StageSection):
    """Base of the sections whose runs come in segments, with frames saved at intervals."""

    if TYPE_CHECKING:  # each has them among its own fields, in an order of its own
        potential: str | None
        timestep_fs: float
        md_engine: MDEngine
        production_ps: float
        save_every_fs: float
        segment_ps: float

    @property
    def n_frames(self) -> float:
        """Frames that a run saves."""
        return 1000.0 * self.production_ps / self.save_every_fs

    @rule
    def _intervals_are_whole_steps(self) -> Iterator[Problem]:
        yield from uneven_interval(("save_every_fs",), self.save_every_fs, self.timestep_fs)

    @rule
    def _segments_are_whole_intervals(self) -> Iterator[Problem]:
        if not is_multiple(1000.0 * self.segment_ps, self.save_every_fs):
            message = f"{self.segment_ps:g} ps is not a whole number of save intervals of {self.save_every_fs:g} fs"
            yield Problem(("segment_ps",), message)

    @rule
    def _segments_fit_in_memory(self) -> Iterator[Problem]:
        n_frames = 1000.0 * self.segment_ps / self.save_every_fs
        if n_frames > MAX_FRAMES:
            message = f"a segment of {self.segment_ps:g} ps saves {n_frames:.3g} frames"
            hint = f"no more than {MAX_FRAMES:,} fit in memory: take shorter segments, or save less often"
            yield Problem(("segment_ps",), message, hint)

    @rule
    def _runs_have_not_too_many_segments(self) -> Iterator[Problem]:
        yield from self.too_many_segments(self)

    @rule
    def _runs_save_a_frame(self) -> Iterator[Problem]:
        if self.n_frames < 1:
            message = f"the run is shorter than one save interval ({self.save_every_fs:g} fs)"
            yield Problem(("production_ps",), message)

    def too_many_segments(self, section: Section, *path: str) -> Iterator[Problem]:
        """Yield the lengths of a section that make more segments than can be dealt with."""
        for name, value in vars(section).items():
            if name.endswith("_ps") and name != "segment_ps" and value / self.segment_ps > MAX_SEGMENTS:
                n_segments = value / self.segment_ps
                message = f"{value:g} ps in segments of {self.segment_ps:g} ps are {n_segments:.3g} segments"
                hint = f"no more than {MAX_SEGMENTS:,} are made: take longer segments"
                yield Problem((*path, name), message, hint)


def is_multiple(value: float, unit: float) -> bool:
    """Return whether a value is a whole number of units, within rounding."""
    ratio = value / unit
    return ratio > 0.5 and abs(ratio - round(ratio)) < 1e-6 * max(1.0, ratio)


def uneven_interval(path: tuple[str, ...], interval_fs: float, timestep_fs: float) -> Iterator[Problem]:
    """Yield the problem of an interval that is not a whole number of time steps."""
    if not is_multiple(interval_fs, timestep_fs):
        yield Problem(path, f"{interval_fs:g} fs is not a whole number of time steps of {timestep_fs:g} fs")
