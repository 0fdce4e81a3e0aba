"""Sections of the campaign file that configure a stage.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet;
defaults are their values where they give one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from superionic.settings.base import (
    Count,
    Duration,
    DurationOrZero,
    Formula,
    Formulas,
    Fraction,
    Interval,
    Matrix,
    NotNegative,
    Positive,
    Pressure,
    RelaxationTime,
    RowsOfMatrix,
    Section,
    StageSection,
    Temperature,
    Temperatures,
    TimeStep,
)
from superionic.settings.distil import DistilSettings
from superionic.settings.enumerate import EnumerateSettings
from superionic.settings.label import LabelSettings
from superionic.settings.md import BAR_GPA, MD_ENGINE, MDEngine, Thermostat
from superionic.settings.sample import SampleSettings, SelectSettings
from superionic.settings.train import TrainSettings, ValidateSettings

TWICE: RowsOfMatrix = ((2, 0, 0), (0, 2, 0), (0, 0, 2))


def _each_once(axes: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(axes)) < len(axes):
        raise ValueError("each may stand here once")
    return axes


def _a_window(window_ps: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 < window_ps[0] < window_ps[1]:
        raise ValueError("two lags in ps are needed, the shorter one first, such as [5, 50]")
    return window_ps


Axes = Annotated[
    tuple[Literal["x", "y", "z"], ...], Field(strict=False, min_length=1, max_length=3), AfterValidator(_each_once)
]


ObservableNames = Annotated[
    tuple[Literal["vibrations", "rotation", "pairs"], ...],
    Field(strict=False, max_length=3),
    AfterValidator(_each_once),
]


class HalvingSettings(Section):
    """Successive halving: all take a few steps, those that may still be among the lowest go on."""

    first_steps: Count = Field(default=10, description="Steps that every ordering takes.")
    growth: Annotated[float, Field(ge=1, le=10)] = Field(
        default=3.0, description="How many times more steps the next rung has than the one before."
    )
    max_rungs: Count = Field(default=3, description="Rungs, after each of which orderings are culled.")
    keep_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.34,
        description="Share of a rung that goes on at least; so does all that is within the noise of the comparison, "
        "which the pilots tell, of the last of `relax_top`.",
    )
    audit_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.02,
        description="Share of all orderings (the pilots), and of those culled (the audit), that is drawn at random and "
        "relaxed to the end.",
    )
    audit_at_least: Annotated[int, Field(ge=2)] = Field(
        default=6, description="... and at least this many of each composition."
    )


class RankSettings(StageSection):
    """Pre-screen, relaxation of the orderings or of the lowest ones, merging of duplicates, comparison."""

    potential: str | None = Field(
        default=None, description="Name of an entry of `potentials`; the only entry if left out."
    )
    prescreen: str = Field(
        default="none",
        description="What looks at all orderings first: `none`, `ewald` (point charges), or the name of a cheap entry "
        "of `potentials`, such as a student.",
    )
    prescreen_keep: Count = Field(
        default=1000, description="Orderings of each composition that the pre-screen leaves, the lowest ones."
    )
    prescreen_steps: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Steps by which the cheap potential relaxes each ordering; 0 for a single point. The ranking goes "
        "on from what it gives.",
    )
    method: Literal["relax-all", "halving", "single-points"] = Field(
        default="relax-all",
        description="Which orderings are relaxed to the end: all (the only way that misses none); by successive "
        "halving, with an audit of what it missed; or those with the lowest single points (paper B).",
    )
    halving: HalvingSettings = Field(
        default_factory=HalvingSettings,
        description="How orderings are culled while they relax, with `method: halving`.",
    )
    warm_start: Annotated[int, Field(ge=0)] = Field(
        default=3,
        description="The first orderings of each composition are relaxed before all others, which start from the mean "
        "deformation of their cells; 0 starts from the cell of the crystal. Not with `method: single-points`.",
    )
    relax_top: Count = Field(
        default=20,
        description="Lowest orderings of each composition that are wanted, relaxed to the end (paper B: 20).",
    )
    fmax_eV_per_A: Positive = Field(default=0.01, description="Largest force that ends a relaxation (paper B: 0.01).")
    max_steps: Count = Field(default=500, description="Steps after which a relaxation is given up as not converged.")
    optimizer: Literal["QN", "FIRE", "FIRE2", "LBFGS", "BFGS", "GOQN"] = Field(
        default="QN",
        description="Optimizer: quasi-Newton from a Hessian of springs (QN, the fewest evaluations; "
        "docs/performance.md), FIRE (paper B), or another one of ASE.",
    )
    relax_cell: bool = Field(default=True, description="Relax the cell as well as the positions.")
    duplicate_tolerance_meV_per_atom: NotNegative = Field(
        default=0.1, description="Orderings closer than this in energy after relaxation may be merged as one."
    )
    duplicate_volume_tolerance_percent: NotNegative = Field(
        default=0.1, description="... if their volumes differ by no more than this."
    )
    compare_with: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_each_once)] = Field(
        default=(),
        description="Other entries of `potentials` that evaluate the ranked orderings too, each in its own engine; the "
        "report tells how far they agree. Their energies never enter the hull.",
    )
    compare_after: Literal["same structures", "relaxation"] = Field(
        default="same structures",
        description="Whether they evaluate the structures as the first potential relaxed them, or relax them further.",
    )


class HullSettings(StageSection):
    """Formation energies, convex hull and comparison of polymorphs."""

    formula_unit: Formula | None = Field(
        default=None,
        description="Formula unit for energies per formula unit, e.g. Li3YCl6, at any composition of the solid "
        "solution; that of the first composition axis if left out, without axes that of the end members (or, beside "
        "`references`, the reduced formula).",
    )
    end_members: Formulas = Field(
        default=(),
        description="Compositions of the campaign whose lowest orderings are the vertices of the hull, e.g. "
        "[Li3YCl6, Li3YBr6]; the ends of the composition axes (or the `references`) if left out.",
    )
    repeat_with_fine_tuned: bool = Field(
        default=False, description="Compute the hull again with the fine-tuned potential (paper A does)."
    )


class LongRuns(Section):
    """Longer runs for low temperatures (paper A: below 800 K, 200 ps thrown away and 800 ps used)."""

    below_K: Temperature = Field(
        default=800.0, description="Runs below this temperature take the lengths of this section."
    )
    nvt_equilibration_ps: DurationOrZero = Field(default=200.0, description="NVT run that is thrown away.")
    production_ps: Duration = Field(default=800.0, description="NVT run that is analysed.")


class TransportSettings(StageSection):
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
        default=0.0, description="NVT run in the average cell that is thrown away (paper A: 100)."
    )
    production_ps: Duration = Field(
        default=2000.0, description="NVT run that is analysed (paper A: 400; paper B: 2000)."
    )
    long_runs: LongRuns | None = Field(
        default=None, description="Other lengths of the runs for low temperatures (paper A)."
    )
    save_every_fs: Interval = Field(default=10.0, description="Interval of the saved frames (paper B: 10).")
    segment_ps: Duration = Field(default=50.0, description="Length of one segment: what a killed run loses at most.")


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
    window_ps: Annotated[tuple[float, float], Field(strict=False), AfterValidator(_a_window)] | None = Field(
        default=None,
        description="Two lags between which D is taken as level, such as [5, 50]; null for what D levels off to, which "
        "is seen from all lags.",
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
        description="What else to look at in each run: the vibrations of the mobile ions (attempt frequency and "
        "amplitude, from frames every 10 to 20 fs), the rotation of polyanions such as PS4, and g(r) of all pairs of "
        "elements with coordination numbers.",
    )


class ReportSettings(StageSection):
    """The report."""

    title: str | None = Field(default=None, min_length=1, description="Title; the name of the campaign if left out.")


STAGE_SECTIONS: dict[str, type[StageSection]] = {
    "enumerate": EnumerateSettings,
    "rank": RankSettings,
    "hull": HullSettings,
    "select": SelectSettings,
    "sample": SampleSettings,
    "label": LabelSettings,
    "train": TrainSettings,
    "validate": ValidateSettings,
    "distil": DistilSettings,
    "transport": TransportSettings,
    "analyse": AnalyseSettings,
    "report": ReportSettings,
}
"""The section of each stage, in the order in which the stages run."""
