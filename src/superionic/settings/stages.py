"""Sections of the campaign file that configure a stage.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet;
defaults are their values where they give one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from superionic.settings.base import (
    Count,
    Formula,
    Formulas,
    NotNegative,
    Positive,
    Section,
    StageSection,
    Temperatures,
)
from superionic.settings.distil import DistilSettings
from superionic.settings.enumerate import EnumerateSettings
from superionic.settings.label import LabelSettings
from superionic.settings.sample import SampleSettings, SelectSettings
from superionic.settings.train import TrainSettings, ValidateSettings
from superionic.settings.transport import TransportSettings


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


@dataclass(frozen=True)
class Stage:
    """A stage as all know it that list, plan, run or report the stages.

    Attributes
    ----------
    name
        In the campaign file, in results, and in the keys of its tasks.
    settings
        Its section of the campaign file.
    needs
        Another stage without which it makes no sense; None for one that stands by itself.
    is_optional
        Whether a campaign has it only where its file or its preset names it.
    evaluates
        Whether its tasks evaluate a potential, in the environment of that.
    calculation
        What one of its calculations is called where failures are counted; empty where none can fail by itself.
    """

    name: str
    settings: type[StageSection]
    needs: str | None = None
    is_optional: bool = False
    evaluates: bool = False
    calculation: str = ""


STAGES: Final[tuple[Stage, ...]] = (
    Stage("enumerate", EnumerateSettings, calculation="enumeration"),
    Stage("rank", RankSettings, evaluates=True, calculation="relaxation"),
    Stage("hull", HullSettings),
    Stage("select", SelectSettings, needs="hull", is_optional=True),
    Stage("sample", SampleSettings, needs="select", is_optional=True, evaluates=True, calculation="sampling run"),
    Stage("label", LabelSettings, needs="sample", is_optional=True, evaluates=True, calculation="label"),
    Stage("train", TrainSettings, needs="label", is_optional=True, evaluates=True),
    Stage("validate", ValidateSettings, needs="train", is_optional=True, evaluates=True),
    Stage("distil", DistilSettings, is_optional=True, evaluates=True, calculation="run of teacher or student"),
    Stage("transport", TransportSettings, evaluates=True, calculation="transport run"),
    Stage("analyse", AnalyseSettings, needs="transport", calculation="analysis"),
    Stage("report", ReportSettings),
)
"""The stages, in the order in which they run. `report` is the last and computes nothing."""

SECTIONS: Final[dict[str, type[StageSection]]] = {stage.name: stage.settings for stage in STAGES}
"""The section of each stage, by its name."""

NEEDS: Final[tuple[tuple[str, str], ...]] = (
    *((stage.name, stage.needs) for stage in STAGES if stage.needs is not None),
    ("learn", "train"),
)
"""Sections that make no sense without another one."""

OPTIONAL: Final[tuple[str, ...]] = (*(stage.name for stage in STAGES if stage.is_optional), "learn")
"""Sections that are in a campaign only where its file or its preset has them."""
