"""The section of the campaign file for the stage *transport*.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet;
defaults are their values where they give one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import Field

from superionic.settings.base import (
    FINE_TUNED,
    STUDENT,
    Duration,
    DurationOrZero,
    Fraction,
    Interval,
    Matrix,
    NotNegative,
    Pressure,
    RelaxationTime,
    RowsOfMatrix,
    Temperature,
    Temperatures,
    TimeStep,
)
from superionic.settings.draws import DrawSettings
from superionic.settings.inputs import Potentials
from superionic.settings.md import BAR_GPA, MD_ENGINE, MDEngine, MDSection, Thermostat
from superionic.settings.rules import Problem, Section, no_such, rule

TWICE: RowsOfMatrix = ((2, 0, 0), (0, 2, 0), (0, 0, 2))
MADE_BY: Final = {FINE_TUNED: "train", STUDENT: "distil"}
"""Potentials that a campaign makes itself, and the sections that make them."""


def unknown_driver(
    name: str | None, potentials: Potentials, train: Section | None, distil: Section | None
) -> Iterator[Problem]:
    """Find the name of a potential that drives runs and is none of the campaign's, or one that no stage makes."""
    made = {FINE_TUNED: train, STUDENT: distil}
    if name in made and made[name] is None:
        message = f"'{name}' needs a `{MADE_BY[name]}` section, which this campaign leaves out"
        hint = f"add `{MADE_BY[name]}`, or name one of: {', '.join(potentials)}"
        yield Problem(("potential",), message, hint)
    elif name is not None and name not in {*made, *potentials}:
        yield no_such("potential", name, [*potentials, *made], ("potential",))


class LongRuns(Section):
    """Longer runs for low temperatures (paper A: below 800 K, 200 ps discarded and 800 ps used)."""

    below_K: Temperature = Field(
        default=800.0, description="Runs below this temperature take the lengths of this section."
    )
    nvt_equilibration_ps: DurationOrZero = Field(default=200.0, description="NVT run that is discarded.")
    production_ps: Duration = Field(default=800.0, description="NVT run that is analysed.")


class TransportSettings(MDSection):
    """Molecular dynamics from which the transport properties come."""

    potential: str | None = Field(
        default=None,
        description="`student`, `fine-tuned`, or the name of an entry of `potentials`; if left out, the student where "
        "`distil` is in the campaign, else fine-tuned where `train` is, else that of `rank`.",
    )
    supercell: Matrix = Field(default=TWICE, description="Repetition of the ordering (paper A: 2x2x2).")
    per_composition: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="Orderings of lowest energy that are run for each crystal and composition (papers A and B: 1).",
    )
    max_energy_above_hull_meV_per_atom: NotNegative | None = Field(
        default=None, description="Leave out orderings that are further above the hull; no limit if null."
    )
    temperatures_K: Temperatures = Field(
        default=(400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0),
        description="Temperatures (paper A: 800–1100 for the halides; paper B: 400–750).",
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Independent runs at each temperature."
    )
    timestep_fs: TimeStep = Field(default=1.0, description="Time step (paper B: 1).")
    md_engine: MDEngine = Field(default="ase", description=MD_ENGINE)
    thermostat: Thermostat = Field(
        default="nose-hoover-chain",
        description="Thermostat of the NVT runs (paper A: berendsen; paper B: nose-hoover-chain); the NPT run has the "
        "one that belongs to its barostat.",
    )
    thermostat_time_fs: RelaxationTime = Field(
        default=100.0, description="Relaxation time of the thermostat (paper B: 100)."
    )
    barostat: Literal["mtk", "berendsen"] = Field(
        default="mtk", description="Barostat (paper B: Nosé–Hoover type, mtk)."
    )
    barostat_time_fs: RelaxationTime = Field(
        default=1000.0, description="Relaxation time of the barostat (paper B: 1000)."
    )
    cell_motion: Literal["isotropic", "axes", "anisotropic"] = Field(
        default="anisotropic",
        description="How the cell moves under the barostat: its size only (`isotropic`), the lengths of its axes "
        "(`axes`), or its whole shape (`anisotropic`).",
    )
    pressure_GPa: Pressure = Field(default=BAR_GPA, description="Pressure (paper B: 0.0001 = 1 bar, and 1 = 10 kbar).")
    heating_from_K: Temperature = Field(
        default=100.0, description="Temperature of the first velocities (paper B: 100)."
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
    npt_discard_fraction: Fraction = Field(
        default=0.2,
        description="First part of the NPT run that the average leaves out (paper B averages 112 of 140 ps).",
    )
    nvt_equilibration_ps: DurationOrZero = Field(
        default=0.0, description="NVT run in the average cell that is discarded (paper A: 100)."
    )
    production_ps: Duration = Field(
        default=2000.0, description="NVT run that is analysed (paper A: 400; paper B: 2000)."
    )
    long_runs: LongRuns | None = Field(
        default=None, description="Other lengths of the runs for low temperatures (paper A)."
    )
    save_every_fs: Interval = Field(default=10.0, description="Interval of the saved frames (paper B: 10).")
    segment_ps: Duration = Field(default=50.0, description="Length of one segment: what a killed run loses at most.")
    draws: DrawSettings | None = Field(
        default=None,
        description="Orderings of a large cell, drawn at a temperature, that are run beside the lowest ones; none if "
        "left out.",
    )

    @rule
    def _potential_is_there(
        self, potentials: Potentials, train: Section | None, distil: Section | None
    ) -> Iterator[Problem]:
        yield from unknown_driver(self.potential, potentials, train, distil)

    @rule
    def _long_runs_have_not_too_many_segments(self) -> Iterator[Problem]:
        if self.long_runs is not None:
            yield from self.too_many_segments(self.long_runs, "long_runs")

    @rule
    def _barostat_moves_the_cell(self) -> Iterator[Problem]:
        if self.barostat == "berendsen" and self.cell_motion != "isotropic":
            message = "Berendsen's barostat changes only the size of the cell"
            yield Problem(("barostat",), message, "add `cell_motion: isotropic`, or take the barostat mtk")
