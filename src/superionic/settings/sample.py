"""The sections ``select`` and ``sample`` of the campaign file: which structures get labels.

Defaults are the values of the papers where they give one: paper A is Deng et al. 2025 (doi 10.1039/d5ta05321h), paper B
the study of Li3YCl6-xBrx with a fine-tuned CHGNet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from superionic.settings.base import (
    Count,
    CountOrZero,
    Duration,
    DurationOrZero,
    Formulas,
    Matrix,
    Positive,
    Pressure,
    StageSection,
    Temperature,
    Temperatures,
)
from superionic.settings.inputs import IDENTITY, Potentials, unknown_potential
from superionic.settings.md import BAR_GPA, ProductionSection
from superionic.settings.rules import Problem, Section, rule

Method = Literal["random", "farthest-point", "descriptors", "cur", "committee"]
"""Ways to choose snapshots out of a run."""


class SelectSettings(StageSection):
    """Boltzmann selection of the orderings that are sampled; the lowest of each composition is always kept."""

    temperature_K: Temperature = Field(
        default=800.0,
        description="Temperature of the Boltzmann factor of the energy above the hull per formula unit (paper A: 800).",
    )
    compositions: Formulas = Field(
        default=(), description="Compositions that are sampled; all of the campaign if empty (paper B: its ends)."
    )
    count: Count = Field(
        default=20, description="Orderings that are selected, the lowest of each composition among them."
    )


class MonitorSettings(Section):
    """What stops a sampling run. The frames before are kept, the last ones are labelled, and the reason is reported."""

    melting: Literal["off", "warn", "stop"] = Field(
        default="warn", description="What happens when ions of the framework leave their sites."
    )
    melting_share: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.25,
        description="Share of these ions that must have left: be further off than half the distance to the next site "
        "of their element, or than 2 Å. Those of a polyanion that turns about its centre have not.",
    )
    min_distance_fraction: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="Two atoms may not come closer than this fraction of the sum of their covalent radii."
    )
    max_volume_change: Positive = Field(
        default=0.5, description="The volume may not change by more than this fraction (paper B saw cells diverge)."
    )
    max_drift_meV_per_atom: Positive | None = Field(
        default=100.0,
        description="The conserved energy of the ensemble may not change by more within a segment; null: not watched.",
    )
    last_frames: CountOrZero = Field(
        default=3, description="Snapshots of a stopped run that are its last frames; they are not strained."
    )


class SampleSettings(ProductionSection):
    """Molecular dynamics that visits the geometries to be labelled."""

    potential: str | None = Field(
        default=None, description="Name of an entry of `potentials`; that of `rank` if left out."
    )
    temperatures_K: Temperatures = Field(
        default=(800.0,),
        description="Temperatures of the rounds of sampling, labelling and training; each round samples with the "
        "potential of the one before (paper A: [800]; paper B: [200, 400, 600, 800]).",
    )
    supercell: Matrix = Field(default=IDENTITY, description="Repetition of the selected orderings for sampling.")
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1, description="Runs of each selected ordering, with different velocities."
    )
    pressure_GPa: Pressure = Field(
        default=BAR_GPA, description="Pressure of the NPT part (paper B: 1 bar = 0.0001 GPa)."
    )
    heating_ps: DurationOrZero = Field(
        default=0.0,
        description="Linear heating at fixed cell before all else; 0 for none, from velocities at the target (paper B: "
        "2).",
    )
    nvt_before_npt_ps: DurationOrZero = Field(
        default=0.0, description="NVT run at the fixed first cell, before the NPT run (paper B: 50)."
    )
    npt_ps: DurationOrZero = Field(
        default=0.0,
        description="NPT run before, from which the average cell is taken; 0 keeps the relaxed cell (paper A).",
    )
    equilibration_ps: DurationOrZero = Field(default=5.0, description="NVT run that is discarded (paper A: 5).")
    production_ps: Duration = Field(default=10.0, description="NVT run that is sampled (paper A: 10; paper B: 1000).")
    snapshots: Count | Annotated[tuple[Count, ...], Field(strict=False, min_length=1)] = Field(
        default=30,
        description="Snapshots taken from each run: one number (paper A: 30), or one for each temperature.",
    )
    snapshot_method: Method | Literal["mixture"] = Field(
        default="random",
        description="How they are chosen. random: at random (paper A); farthest-point: by the mean squared difference "
        "of positions (paper B); descriptors: farthest points in the potential's own descriptors; cur: by leverage "
        "scores on these; committee: where the potentials of the round before disagree (see `learn.members`; in the "
        "first round descriptors decide); mixture: several of these.",
    )
    snapshot_mixture: dict[Method, Positive] = Field(
        default_factory=dict, description="Shares of the methods of a mixture, e.g. {descriptors: 0.5, random: 0.5}."
    )
    candidate_frames: Count = Field(
        default=500,
        description="Frames of each run, evenly spread, among which descriptors, cur and committee choose: each costs "
        "an evaluation.",
    )
    max_strain: Annotated[float, Field(ge=0, le=0.2)] = Field(
        default=0.03, description="Random strain within ± this is applied to each snapshot (paper A: 0.03; 0 for none)."
    )
    segment_ps: Duration = Field(default=5.0, description="Length of one segment: what a killed run loses at most.")
    monitors: MonitorSettings = Field(default_factory=MonitorSettings, description="What stops a run.")

    @property
    def budgets(self) -> tuple[int, ...]:
        """Snapshots of a run at each temperature."""
        each = self.snapshots
        return each if isinstance(each, tuple) else (each,) * len(self.temperatures_K)

    @property
    def methods(self) -> frozenset[str]:
        """Ways by which snapshots are chosen: the one, or those of the mixture."""
        return frozenset(self.snapshot_mixture if self.snapshot_method == "mixture" else [self.snapshot_method])

    @rule
    def _potential_is_known(self, potentials: Potentials) -> Iterator[Problem]:
        yield from unknown_potential(self.potential, potentials)

    @rule
    def _there_is_a_budget_for_each_temperature(self) -> Iterator[Problem]:
        if len(self.budgets) != len(self.temperatures_K):
            message = f"there are {len(self.budgets)} budgets for {len(self.temperatures_K)} temperatures"
            yield Problem(("snapshots",), message, "give one for each, or one number for all")

    @rule
    def _runs_save_the_snapshots(self) -> Iterator[Problem]:
        if max(self.budgets) > self.n_frames * (1 + 1e-9) >= 1:
            n_frames = int(self.n_frames + 1e-9)
            message = f"{max(self.budgets)} snapshots are asked of a run that saves {n_frames} frames"
            yield Problem(("snapshots",), message, "take fewer, run longer, or save more often")

    @rule
    def _mixture_has_shares(self) -> Iterator[Problem]:
        mixture, is_mixture = self.snapshot_mixture, self.snapshot_method == "mixture"
        if is_mixture and not mixture:
            hint = "e.g. {descriptors: 0.5, random: 0.5}"
            yield Problem(("snapshot_mixture",), "a mixture needs shares", hint)
        if mixture and not is_mixture:
            message = "shares are given, but no mixture"
            yield Problem(("snapshot_mixture",), message, "`snapshot_method: mixture`")
