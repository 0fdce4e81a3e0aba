"""The section of the campaign file for the stage *volumes*.

Paper B is the study of Li3YCl6-xBrx with a fine-tuned CHGNet; defaults are its values.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from superionic.settings.base import Count, Duration, Positive, Pressure, Temperatures
from superionic.settings.md import BAR_GPA, EquilibratedSection
from superionic.settings.rules import Problem, rule


class VolumesSettings(EquilibratedSection):
    """Cells against temperature: runs at constant pressure without production, and the relaxed cell at 0 K."""

    temperatures_K: Temperatures = Field(
        default=(200.0, 300.0, 400.0, 600.0), description="Temperatures (paper B, tables 1 and 2)."
    )
    pressure_GPa: Pressure = Field(
        default=BAR_GPA, description="Pressure, of the relaxation too (paper B: 0.0001 = 1 bar, and 1 = 10 kbar)."
    )
    npt_ps: Duration = Field(default=140.0, description="Run at constant pressure (paper B: 140).")
    each_series: bool = Field(
        default=False,
        description="Repeat them by the potential and at the pressure of every series of `transport` (paper B, tables "
        "1 and 2).",
    )
    fmax_eV_per_A: Positive = Field(
        default=0.01, description="Largest force that ends the relaxation of the cell at 0 K (paper B: 0.01)."
    )
    max_steps: Count = Field(default=500, description="Steps after which that is given up as not converged.")

    @rule
    def _runs_save_frames(self) -> Iterator[Problem]:
        if 1000.0 * self.npt_ps * (1.0 - self.npt_discard_fraction) < 10 * self.save_every_fs:
            message = f"a run of {self.npt_ps:g} ps leaves fewer than ten frames for its mean cell"
            yield Problem(("npt_ps",), message, "run longer, discard less, or save more often")
