"""The campaign file as frozen, validated data.

:class:`CampaignFile` is what the rest of superionic reads. A file on disk becomes one by
:func:`superionic.campaign.load.load_campaign`, which reports all mistakes at once with their places.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from superionic.campaign.schema_checks import cross_problems
from superionic.campaign.schema_presets import complete
from superionic.settings.base import FINE_TUNED, Charge, Element, Name, PresetName, Problem, Section
from superionic.settings.distil import DistilSettings
from superionic.settings.enumerate import EnumerateSettings
from superionic.settings.inputs import (
    CompositionAxis,
    CompositionConstraint,
    CrystalInput,
    ExecutionSettings,
    PotentialInput,
    ReferenceInput,
)
from superionic.settings.label import LabelSettings
from superionic.settings.learn import LearnSettings
from superionic.settings.sample import SampleSettings, SelectSettings
from superionic.settings.stages import (
    SECTIONS,
    AnalyseSettings,
    HullSettings,
    RankSettings,
    ReportSettings,
)
from superionic.settings.train import TrainSettings, ValidateSettings
from superionic.settings.transport import TransportSettings

FORMAT_VERSION: Final = 1
"""Version of the campaign file format that this superionic reads."""


class CampaignFile(Section):
    """A whole campaign: what is studied, by which stages, and how it is carried out."""

    superionic: Literal[1] = Field(description="Version of this file format: 1.")
    name: Name = Field(description="Short name of the campaign.")
    preset: PresetName | None = Field(
        default=None, description="Preset that fills what the stage sections leave out: demo, paper-a or paper-b."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(
        default=0, description="Seed of everything random; the same seed gives the same results, bit by bit."
    )
    mobile_ion: Element = Field(description="Element whose ions conduct, e.g. Li.")
    oxidation_states: dict[Element, Charge] = Field(
        min_length=1, description="Charge of each element in e, e.g. {Li: 1, Y: 3, Cl: -1}; averages are allowed."
    )
    crystals: Annotated[tuple[CrystalInput, ...], Field(strict=False, min_length=1, max_length=1000)] = Field(
        description="The crystals (polymorphs) of the campaign, 1000 at most."
    )
    composition_axes: Annotated[tuple[CompositionAxis, ...], Field(strict=False, max_length=10)] = Field(
        default=(),
        description="Axes of the composition grid; the grid is their product, applied to every crystal. It has 10,000 "
        "points at most, and 10,000 pairs of a supercell and a point.",
    )
    composition_constraints: Annotated[tuple[CompositionConstraint, ...], Field(strict=False, max_length=100)] = Field(
        default=(), description="Conditions that a point of the grid must meet (paper A: x + y ≥ 1)."
    )
    references: Annotated[tuple[ReferenceInput, ...], Field(strict=False, max_length=1000)] = Field(
        default=(), description="Ordered phases against which formation energies are taken."
    )
    potentials: dict[Name, PotentialInput] = Field(
        default_factory=lambda: {"chgnet": PotentialInput(engine="chgnet")},
        min_length=1,
        max_length=100,
        description="Potentials by the names that the stages use; CHGNet alone if left out.",
    )
    enumerate: EnumerateSettings = Field(default_factory=EnumerateSettings, description=EnumerateSettings.__doc__)
    rank: RankSettings = Field(default_factory=RankSettings, description=RankSettings.__doc__)
    hull: HullSettings | None = Field(default=None, description=HullSettings.__doc__)
    select: SelectSettings | None = Field(default=None, description=SelectSettings.__doc__)
    sample: SampleSettings | None = Field(default=None, description=SampleSettings.__doc__)
    label: LabelSettings | None = Field(default=None, description=LabelSettings.__doc__)
    train: TrainSettings | None = Field(default=None, description=TrainSettings.__doc__)
    validate_: ValidateSettings | None = Field(default=None, alias="validate", description=ValidateSettings.__doc__)
    learn: LearnSettings | None = Field(default=None, description=LearnSettings.__doc__)
    distil: DistilSettings | None = Field(default=None, description=DistilSettings.__doc__)
    transport: TransportSettings | None = Field(default=None, description=TransportSettings.__doc__)
    analyse: AnalyseSettings | None = Field(default=None, description=AnalyseSettings.__doc__)
    report: ReportSettings = Field(default_factory=ReportSettings, description=ReportSettings.__doc__)
    execution: ExecutionSettings = Field(default_factory=ExecutionSettings, description=ExecutionSettings.__doc__)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, raw: Any) -> Any:
        return complete(raw) if isinstance(raw, Mapping) else raw

    @model_validator(mode="after")
    def _cross_check(self) -> CampaignFile:
        problems = cross_problems(self.model_dump(mode="json", by_alias=True))
        if problems:
            raise ValueError("; ".join(f"{problem.dotted}: {problem.message}" for problem in problems))
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages of this campaign, in the order in which they run."""
        return tuple(stage for stage in SECTIONS if self.section(stage) is not None)

    @property
    def computing(self) -> tuple[str, ...]:
        """Those of its stages that compute something: all but the report."""
        return tuple(stage for stage in self.stages if stage != "report")

    def section(self, stage: str) -> Any:
        """Return the settings of a stage, or `learn`, as a typed section, or None where the campaign leaves it out.

        Raises
        ------
        KeyError
            If there is no stage of that name.
        """
        if stage not in SECTIONS and stage != "learn":
            raise KeyError(stage)
        return getattr(self, "validate_" if stage == "validate" else stage)

    def stage_settings(self, stage: str) -> dict[str, Any]:
        """Return the settings of a stage as plain JSON values, for the keys of its tasks.

        Defaults and presets are filled in, numbers are canonical (a length is a float however it was written), and
        the name of the preset is not among them: two files that mean the same give the same settings.

        Parameters
        ----------
        stage
            Name of a stage of :data:`superionic.settings.stages.STAGES`.

        Returns
        -------
        dict
            Settings in the order of the schema.

        Raises
        ------
        KeyError
            If there is no such stage, or the campaign leaves it out.
        """
        section = self.section(stage)
        if section is None:
            raise KeyError(stage)
        settings: dict[str, Any] = section.model_dump(mode="json", exclude={"preset"})
        return settings

    def grid(self) -> tuple[dict[str, float], ...]:
        """Return the points of the composition grid that meet all constraints.

        Returns
        -------
        tuple of dict
            For each point the value of each axis, named by its `by` element; one empty point without axes. The last
            axis runs fastest.
        """
        names = [axis.by for axis in self.composition_axes]
        points = [
            dict(zip(names, values, strict=True))
            for values in itertools.product(*(axis.values for axis in self.composition_axes))
        ]
        return tuple(point for point in points if all(_meets(point, rule) for rule in self.composition_constraints))


def _meets(point: Mapping[str, float], rule: CompositionConstraint) -> bool:
    total = sum(weight * point[name] for name, weight in rule.weights.items())
    slack = 1e-9 * (1.0 + abs(total))
    return (rule.minimum is None or total >= rule.minimum - slack) and (
        rule.maximum is None or total <= rule.maximum + slack
    )


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the campaign file, for editors (draft 2020-12)."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema.update(CampaignFile.model_json_schema(by_alias=True, mode="validation"))
    return schema


__all__ = ["FINE_TUNED", "FORMAT_VERSION", "CampaignFile", "Problem", "json_schema"]
