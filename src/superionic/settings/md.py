"""What the sections with molecular dynamics share: their fields, and the rules about them.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from superionic.settings.base import (
    FINE_TUNED,
    STUDENT,
    Duration,
    DurationOrZero,
    Fraction,
    Interval,
    Matrix,
    Pressure,
    RelaxationTime,
    RowsOfMatrix,
    StageSection,
    Temperature,
    Temperatures,
    TimeStep,
)
from superionic.settings.inputs import Potentials
from superionic.settings.rules import Problem, Section, no_such, rule

TWICE: Final[RowsOfMatrix] = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
BAR_GPA: Final = 1.0e-4
MADE_BY: Final = {FINE_TUNED: "train", STUDENT: "distil"}
"""Potentials that a campaign makes itself, and the sections that make them."""
Thermostat = Literal["nose-hoover-chain", "csvr", "langevin", "berendsen"]
MDEngine = Literal["ase", "lammps"]

MAX_SEGMENTS: Final = 100_000
MAX_FRAMES: Final = 1_000_000
"""Segments of a run, and frames of a segment."""


class MDSection(StageSection):
    """Base of the sections whose runs come in segments, with frames saved at intervals.

    Defaults are paper B's; a section has its own where its runs differ.
    """

    potential: str | None = Field(
        default=None,
        description="`student`, `fine-tuned`, or the name of an entry of `potentials`; if left out, the student where "
        "`distil` is in the campaign, else fine-tuned where `train` is, else that of `rank`.",
    )
    supercell: Matrix = Field(default=TWICE, description="Repetition of the ordering (paper A: 2x2x2).")
    temperatures_K: Temperatures = Field(default=(300.0,), description="Temperatures.")
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Independent runs at each temperature."
    )
    timestep_fs: TimeStep = Field(default=1.0, description="Time step (papers A and B: 1).")
    thermostat_time_fs: RelaxationTime = Field(
        default=100.0, description="Relaxation time of the thermostat (paper B: 100)."
    )
    barostat_time_fs: RelaxationTime = Field(
        default=1000.0, description="Relaxation time of the barostat (paper B: 1000)."
    )
    pressure_GPa: Pressure = Field(default=BAR_GPA, description="Pressure (paper B: 0.0001 = 1 bar, and 1 = 10 kbar).")
    heating_from_K: Temperature = Field(
        default=100.0, description="Temperature of the first velocities, where runs are heated (paper B: 100)."
    )
    heating_ps: DurationOrZero = Field(
        default=2.0, description="Linear heating at fixed cell; 0 for none (paper B: 2)."
    )
    nvt_before_npt_ps: DurationOrZero = Field(default=50.0, description="Run at the fixed first cell (paper B: 50).")
    npt_ps: DurationOrZero = Field(
        default=140.0,
        description="NPT run from which the average cell is taken; 0 keeps the relaxed cell (paper B: 140). Its "
        "thermostat is the one that belongs to the barostat.",
    )
    save_every_fs: Interval = Field(default=10.0, description="Interval of the saved frames (paper B: 10).")
    segment_ps: Duration = Field(default=50.0, description="Length of one segment: what a killed run loses at most.")

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

    def too_many_segments(self, section: Section, *path: str) -> Iterator[Problem]:
        """Yield the lengths of a section that make more segments than can be dealt with."""
        for name, value in vars(section).items():
            if name.endswith("_ps") and name != "segment_ps" and value / self.segment_ps > MAX_SEGMENTS:
                n_segments = value / self.segment_ps
                message = f"{value:g} ps in segments of {self.segment_ps:g} ps are {n_segments:.3g} segments"
                hint = f"no more than {MAX_SEGMENTS:,} are made: take longer segments"
                yield Problem((*path, name), message, hint)


class ProductionSection(MDSection):
    """Base of the sections whose runs end with an NVT run of which frames are used."""

    md_engine: MDEngine = Field(
        default="ase",
        description="Program that integrates: `ase`, or `lammps` (for the student, and potentials of engine `nep` or "
        "`pair`).",
    )
    thermostat: Thermostat = Field(
        default="nose-hoover-chain",
        description="Thermostat of the NVT runs (paper A: berendsen; paper B: nose-hoover-chain); the NPT run has the "
        "one that belongs to its barostat.",
    )
    production_ps: Duration = Field(default=2000.0, description="NVT run of which frames are used.")

    @property
    def n_frames(self) -> float:
        """Frames that a run saves."""
        return 1000.0 * self.production_ps / self.save_every_fs

    @rule
    def _runs_save_a_frame(self) -> Iterator[Problem]:
        if self.n_frames < 1:
            message = f"the run is shorter than one save interval ({self.save_every_fs:g} fs)"
            yield Problem(("production_ps",), message)


CellMotion = Literal["isotropic", "axes", "anisotropic"]


class EquilibratedSection(MDSection):
    """Base of the sections that run the lowest orderings and average their cells at constant pressure.

    ``takes_sizes`` says whether potentials trained on some of the labels, `fine-tuned@250`, can drive its runs.
    """

    takes_sizes: ClassVar[bool] = False

    per_composition: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="Orderings of lowest energy that are run for each crystal and composition (papers A and B: 1).",
    )
    cell_motion: CellMotion = Field(
        default="anisotropic",
        description="How the cell moves under the barostat: its size only (`isotropic`), the lengths of its axes "
        "(`axes`), or its whole shape (`anisotropic`).",
    )
    npt_discard_fraction: Fraction = Field(
        default=0.2,
        description="First part of the NPT run that the average leaves out (paper B averages 112 of 140 ps).",
    )

    @rule
    def _potential_is_there(
        self, potentials: Potentials, train: Section | None, distil: Section | None, sized: tuple[str, ...]
    ) -> Iterator[Problem]:
        made = {FINE_TUNED: train, STUDENT: distil} | dict.fromkeys(sized if self.takes_sizes else (), train)
        name = self.potential
        if name is None:
            return
        if name in made and made[name] is None:
            section = MADE_BY.get(name, MADE_BY[FINE_TUNED])
            message = f"'{name}' needs a `{section}` section, which this campaign leaves out"
            hint = f"add `{section}`, or name one of: {', '.join(potentials)}"
            yield Problem(("potential",), message, hint)
        elif name not in {*made, *potentials}:
            yield no_such("potential", name, [*potentials, *made], ("potential",))


def is_multiple(value: float, unit: float) -> bool:
    """Return whether a value is a whole number of units, within rounding."""
    ratio = value / unit
    return ratio > 0.5 and abs(ratio - round(ratio)) < 1e-6 * max(1.0, ratio)


def uneven_interval(path: tuple[str, ...], interval_fs: float, timestep_fs: float) -> Iterator[Problem]:
    """Yield the problem of an interval that is not a whole number of time steps."""
    if not is_multiple(interval_fs, timestep_fs):
        yield Problem(path, f"{interval_fs:g} fs is not a whole number of time steps of {timestep_fs:g} fs")
