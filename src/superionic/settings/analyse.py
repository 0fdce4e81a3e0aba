"""The section `analyse` of the campaign file: what is taken from the trajectories.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet;
defaults are their values where they give one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from superionic.chemistry import normal_formula
from superionic.settings.base import Formulas, StageSection, Temperature, Temperatures, each_once
from superionic.settings.rules import Problem, Section, rule
from superionic.settings.transport import TransportSettings

FEWEST_BLOCKS: Final = 9
"""Into so many blocks of the first lag of a window a run is divided, at least, when it is analysed."""


def _a_window(window_ps: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 < window_ps[0] < window_ps[1]:
        raise ValueError("two lags in ps are needed, the shorter one first, such as [5, 50]")
    return window_ps


Axes = Annotated[
    tuple[Literal["x", "y", "z"], ...], Field(strict=False, min_length=1, max_length=3), AfterValidator(each_once)
]


ObservableNames = Annotated[
    tuple[Literal["vibrations", "rotation", "pairs"], ...],
    Field(strict=False, max_length=3),
    AfterValidator(each_once),
]


class DrawnDensities(Section):
    """Runs whose density, with sites and paths, the report draws and writes as files."""

    compositions: Formulas = Field(
        default=(),
        description="Compositions that are drawn, e.g. [Li3In0.5Y0.5Br3Cl3] (paper A, figure 5), by their lowest "
        "ordering; if empty, the best conductor and the ends of the composition axes.",
    )
    temperatures_K: Annotated[tuple[Temperature, ...], Field(strict=False, max_length=100)] = Field(
        default=(), description="Temperatures of the runs that are drawn (paper A: 800); the highest if empty."
    )


class AnalyseSettings(StageSection):
    """Diffusivities, conductivities, activation energies and density maps of the trajectories."""

    axes: Axes = Field(
        default=("x", "y", "z"),
        description="Cartesian axes of the diffusion: all three, two for a plane (paper A's ab and ac planes), or one.",
    )
    arrhenius_form: Literal["lnD", "lnSigmaT"] = Field(
        default="lnD", description="What is fitted against 1/T (papers A and B: lnD)."
    )
    report_temperatures_K: Temperatures = Field(
        default=(300.0,), description="Temperatures at which the conductivity is predicted (paper B: 300)."
    )
    density_grid_A: Annotated[float, Field(ge=0.01, le=10)] | None = Field(
        default=0.3,
        description="Grid spacing of the probability density of the mobile ion; null for no density map. The grid of a "
        "run's cell has no more than 20 million points.",
    )
    densities: DrawnDensities = Field(
        default=DrawnDensities(),
        description="Which runs are drawn with their density, sites and paths; all runs are analysed.",
    )
    window_ps: Annotated[tuple[float, float], Field(strict=False), AfterValidator(_a_window)] | None = Field(
        default=None,
        description="Two lags in ps between which D counts as converged, such as [5, 50]; null for the value that D "
        "levels off to, judged from all lags.",
    )
    sites: Literal["crystal", "density", "none"] = Field(
        default="crystal",
        description="Sites between which jumps are counted: those of the crystal, such as `Li1 (6h)`, interstitials "
        "where the density shows more, or the density's maxima if an ordering has left its crystal (`crystal`); the "
        "maxima of the density alone, those that the framework's symmetry makes equivalent under one label "
        "(`density`); or none, for no jumps, percolation and van Hove functions.",
    )
    observables: ObservableNames = Field(
        default=(),
        description="Further properties of each run: the vibrations of the mobile ions (attempt frequency and "
        "amplitude, from frames every 10 to 20 fs), the rotation of polyanions such as PS4, and g(r) of all pairs of "
        "elements with coordination numbers.",
    )

    @rule
    def _densities_are_of_runs(self, transport_series: tuple[TransportSettings, ...]) -> Iterator[Problem]:
        if not transport_series:
            return
        first = transport_series[0]
        for index, temperature in enumerate(self.densities.temperatures_K):
            if temperature not in first.temperatures_K:
                known = ", ".join(f"{each:g}" for each in first.temperatures_K)
                path = ("densities", "temperatures_K", index)
                yield Problem(path, f"there is no run at {temperature:g} K", f"name some of {known}")
        simulated = {normal_formula(formula) for formula in first.compositions}
        for index, formula in enumerate(self.densities.compositions):
            if simulated and normal_formula(formula) not in simulated:
                path = ("densities", "compositions", index)
                hint = f"name some of {', '.join(first.compositions)}, or add it to them"
                yield Problem(path, f"{formula} is not among `transport.compositions`, so it has no run", hint)

    @rule
    def _window_fits_the_runs(self, transport_series: tuple[TransportSettings, ...]) -> Iterator[Problem]:
        if self.window_ps is None or not transport_series:
            return
        (first, last), production = self.window_ps, min(series.production_ps for series in transport_series)
        if last > production or first > production / FEWEST_BLOCKS:
            message = f"lags of {first:g} to {last:g} ps do not fit into runs of {production:g} ps"
            hint = f"let the window end at {production:g} and begin at {production / FEWEST_BLOCKS:.3g} or earlier"
            yield Problem(("window_ps",), message, hint)
