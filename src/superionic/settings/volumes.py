"""The section of the campaign file for the stage *volumes*.

Paper B is the study of Li3YCl6-xBrx with a fine-tuned CHGNet; defaults are its values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from superionic.settings.base import (
    Count,
    Duration,
    DurationOrZero,
    Fraction,
    Interval,
    Matrix,
    Positive,
    Pressure,
    RelaxationTime,
    StageSection,
    Temperature,
    Temperatures,
    TimeStep,
)
from superionic.settings.inputs import Potentials
from superionic.settings.md import BAR_GPA, MAX_FRAMES, MAX_SEGMENTS, is_multiple, uneven_interval
from superionic.settings.rules import Problem, Section, rule
from superionic.settings.transport import TWICE, unknown_driver


class VolumesSettings(StageSection):
    """Cells against temperature: runs at constant pressure without production, and the relaxed cell at 0 K."""

    potential: str | None = Field(
        default=None,
        description="`student`, `fine-tuned`, or the name of an entry of `potentials`; left out: as in `transport`.",
    )
    supercell: Matrix = Field(default=TWICE, description="Repetition of the ordering.")
    per_composition: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Orderings of lowest energy that are run for each crystal and composition."
    )
    temperatures_K: Temperatures = Field(
        default=(200.0, 300.0, 400.0, 600.0), description="Temperatures (paper B, tables 1 and 2)."
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Independent runs at each temperature."
    )
    timestep_fs: TimeStep = Field(default=1.0, description="Time step (paper B: 1).")
    thermostat_time_fs: RelaxationTime = Field(
        default=100.0, description="Relaxation time of the Nosé–Hoover thermostat (paper B: 100)."
    )
    barostat_time_fs: RelaxationTime = Field(
        default=1000.0, description="Relaxation time of the barostat (paper B: 1000)."
    )
    cell_motion: Literal["isotropic", "axes", "anisotropic"] = Field(
        default="anisotropic",
        description="How the cell moves: its size only (`isotropic`), the lengths of its axes (`axes`), or its whole "
        "shape (`anisotropic`).",
    )
    pressure_GPa: Pressure = Field(
        default=BAR_GPA, description="Pressure, of the relaxation too (paper B: 0.0001 = 1 bar, and 1 = 10 kbar)."
    )
    heating_from_K: Temperature = Field(
        default=100.0, description="Temperature of the first velocities (paper B: 100)."
    )
    heating_ps: DurationOrZero = Field(
        default=2.0, description="Linear heating at fixed cell; 0 for none (paper B: 2)."
    )
    nvt_before_npt_ps: DurationOrZero = Field(default=50.0, description="Run at the fixed first cell (paper B: 50).")
    npt_ps: Duration = Field(default=140.0, description="Run at constant pressure (paper B: 140).")
    npt_discard_fraction: Fraction = Field(
        default=0.2, description="First part of it that the means leave out (paper B averages 112 of 140 ps)."
    )
    fmax_eV_per_A: Positive = Field(
        default=0.01, description="Largest force that ends the relaxation of the cell at 0 K (paper B: 0.01)."
    )
    max_steps: Count = Field(default=500, description="Steps after which that is given up as not converged.")
    save_every_fs: Interval = Field(default=10.0, description="Interval of the saved frames (paper B: 10).")
    segment_ps: Duration = Field(default=50.0, description="Length of one segment: what a killed run loses at most.")

    @rule
    def _potential_is_there(
        self, potentials: Potentials, train: Section | None, distil: Section | None
    ) -> Iterator[Problem]:
        yield from unknown_driver(self.potential, potentials, train, distil)

    @rule
    def _segments_and_intervals_are_whole(self) -> Iterator[Problem]:
        yield from uneven_interval(("save_every_fs",), self.save_every_fs, self.timestep_fs)
        if not is_multiple(1000.0 * self.segment_ps, self.save_every_fs):
            message = f"{self.segment_ps:g} ps is not a whole number of save intervals of {self.save_every_fs:g} fs"
            yield Problem(("segment_ps",), message)
        longest = max(self.heating_ps, self.nvt_before_npt_ps, self.npt_ps)
        if longest / self.segment_ps > MAX_SEGMENTS or 1000.0 * self.segment_ps / self.save_every_fs > MAX_FRAMES:
            message = f"segments of {self.segment_ps:g} ps are too many, or hold too many frames"
            hint = f"no more than {MAX_SEGMENTS:,} segments of {MAX_FRAMES:,} frames are made"
            yield Problem(("segment_ps",), message, hint)

    @rule
    def _runs_save_frames(self) -> Iterator[Problem]:
        if 1000.0 * self.npt_ps * (1.0 - self.npt_discard_fraction) < 10 * self.save_every_fs:
            message = f"a run of {self.npt_ps:g} ps leaves fewer than ten frames for its mean cell"
            yield Problem(("npt_ps",), message, "run longer, discard less, or save more often")
