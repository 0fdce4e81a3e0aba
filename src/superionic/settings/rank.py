"""The section `rank` of the campaign file: pre-screen, relaxation and comparison.

Paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B the study of Li3YCl6-xBrx with a fine-tuned CHGNet;
defaults are their values where they give one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from superionic.settings.base import Count, CountOrZero, NotNegative, Optimizer, Positive, StageSection, each_once
from superionic.settings.inputs import Potentials, unknown_potential
from superionic.settings.rules import Problem, Section, did_you_mean, no_such, rule


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
        description="What evaluates all orderings first: `none`, `ewald` (point charges), or the name of a cheap entry "
        "of `potentials`, such as a student.",
    )
    prescreen_keep: Count = Field(
        default=1000, description="Orderings of each composition that the pre-screen leaves, the lowest ones."
    )
    prescreen_steps: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Steps by which the cheap potential relaxes each ordering (positions alone, if it is unfit for "
        "cells, as NEP89 is); 0 for a single point. The ranking goes on from what it gives.",
    )
    prescreen_audit: CountOrZero = Field(
        default=10,
        description="Orderings of each composition that the pre-screen left out, drawn at random and relaxed by the "
        "ranking potential all the same: they tell how many of the lowest the pre-screen misses. 0 for no such test.",
    )
    method: Literal["relax-all", "halving", "single-points"] = Field(
        default="relax-all",
        description="Which orderings are relaxed to the end: all (the only way that misses none); by successive "
        "halving, with an audit of what it missed; or those with the lowest single points (paper A).",
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
        description="Lowest orderings of each composition that are relaxed to the end (paper B: 20).",
    )
    fmax_eV_per_A: Positive = Field(default=0.01, description="Largest force that ends a relaxation (paper B: 0.01).")
    max_steps: Count = Field(default=500, description="Steps after which a relaxation is given up as not converged.")
    optimizer: Optimizer = Field(
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
    compare_with: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(each_once)] = Field(
        default=(),
        description="Other entries of `potentials` that evaluate the ranked orderings too, each in its own engine; the "
        "report tells how far they agree. Their energies never enter the hull.",
    )
    compare_after: Literal["same structures", "relaxation"] = Field(
        default="same structures",
        description="Whether they evaluate the structures as the first potential relaxed them, or relax them further.",
    )

    @rule
    def _potential_is_known(self, potentials: Potentials) -> Iterator[Problem]:
        if self.potential is None and len(potentials) > 1:
            yield Problem((), "there are several potentials", "name one of them as `rank.potential`")
        yield from unknown_potential(self.potential, potentials)

    @rule
    def _prescreen_is_known(self, potentials: Potentials) -> Iterator[Problem]:
        choices = ["none", "ewald", *potentials]
        if self.prescreen not in choices:
            hint = did_you_mean(self.prescreen, choices) or f"write none, ewald, or one of: {', '.join(potentials)}"
            yield Problem(("prescreen",), f"'{self.prescreen}' is neither a potential nor ewald", hint)

    @rule
    def _compared_potentials_are_others(self, potentials: Potentials) -> Iterator[Problem]:
        for index, name in enumerate(self.compare_with):
            path = ("compare_with", index)
            if name not in potentials:
                yield no_such("potential", name, potentials, path)
            elif name == self.potential:
                yield Problem(path, f"'{name}' is the potential that ranks", "leave it out")
