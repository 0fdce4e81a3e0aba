"""The section of the campaign file for the stage *transport*.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet;
defaults are their values where they give one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from superionic.settings.base import Duration, DurationOrZero, Formulas, Name, NotNegative, Temperature, Temperatures
from superionic.settings.draws import DrawSettings
from superionic.settings.md import EquilibratedSection, ProductionSection
from superionic.settings.rules import Problem, Section, rule


class LongRuns(Section):
    """Longer runs for low temperatures (paper A: below 800 K, 200 ps discarded and 800 ps used)."""

    below_K: Temperature = Field(
        default=800.0, description="Runs below this temperature take the lengths of this section."
    )
    nvt_equilibration_ps: DurationOrZero = Field(default=200.0, description="NVT run that is discarded.")
    production_ps: Duration = Field(default=800.0, description="NVT run that is analysed.")


class TransportSettings(ProductionSection, EquilibratedSection):
    """Molecular dynamics from which the transport properties come."""

    takes_sizes: ClassVar[bool] = True

    name: Name | None = Field(
        default=None,
        description="Name of the series of runs, where `transport` is a list of several, by other potentials or at "
        "other pressures: each is analysed by itself, and the report compares them. The values stated are those of "
        "the first; what a later one leaves out is as in the first.",
    )
    compositions: Formulas = Field(
        default=(),
        description="Compositions that are run, e.g. [Na3Zr2Si2PO12]; all of the campaign if empty (paper A: x = 2 of "
        "NaSICON, whose hull has thirteen).",
    )
    max_energy_above_hull_meV_per_atom: NotNegative | None = Field(
        default=None, description="Leave out orderings that are further above the hull; no limit if null."
    )
    temperatures_K: Temperatures = Field(
        default=(400.0, 450.0, 500.0, 550.0, 600.0, 650.0, 700.0, 750.0),
        description="Temperatures (paper A: 800–1100 for the halides; paper B: 400–750).",
    )
    barostat: Literal["mtk", "berendsen"] = Field(
        default="mtk", description="Barostat (paper B: Nosé–Hoover type, mtk)."
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
    draws: DrawSettings | None = Field(
        default=None,
        description="Orderings of a large cell, drawn at a temperature, that are run beside the lowest ones; none if "
        "left out.",
    )

    @rule
    def _long_runs_have_not_too_many_segments(self) -> Iterator[Problem]:
        if self.long_runs is not None:
            yield from self.too_many_segments(self.long_runs, "long_runs")

    @rule
    def _barostat_moves_the_cell(self) -> Iterator[Problem]:
        if self.barostat == "berendsen" and self.cell_motion != "isotropic":
            message = "Berendsen's barostat changes only the size of the cell"
            yield Problem(("barostat",), message, "add `cell_motion: isotropic`, or take the barostat mtk")
