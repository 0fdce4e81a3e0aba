"""The campaign file as frozen, validated data.

:class:`CampaignFile` is what the rest of superionic reads. A file on disk becomes one by
:func:`superionic.campaign.file.load.load_campaign`, which reports all mistakes at once with their places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag, ValidationInfo, create_model, model_validator

from superionic.campaign.file.presets import complete
from superionic.registry import DELTA, find, models
from superionic.settings.analyse import AnalyseSettings
from superionic.settings.base import FINE_TUNED, STUDENT, Charge, Element, Name, PresetName, at_size, is_trained
from superionic.settings.distil import DistilSettings
from superionic.settings.enumerate import EnumerateSettings
from superionic.settings.hull import HullSettings
from superionic.settings.inputs import (
    CompositionAxis,
    CompositionConstraint,
    CrystalInput,
    ExecutionSettings,
    PotentialInput,
    ReferenceInput,
)
from superionic.settings.label import LabelSettings, ReferenceMethodSettings
from superionic.settings.learn import LearnSettings
from superionic.settings.md import MADE_BY, ProductionSection
from superionic.settings.rank import RankSettings
from superionic.settings.rules import AnySize, Place, Problem, Reading, Section, broken_rules, rule
from superionic.settings.sample import SampleSettings, SelectSettings
from superionic.settings.stages import NEEDS, STAGES, ReportSettings, sections
from superionic.settings.train import TrainSettings, ValidateSettings
from superionic.settings.transport import TransportSettings
from superionic.settings.volumes import VolumesSettings

FORMAT_VERSION: Final = 1
"""Version of the campaign file format that this superionic reads."""

MAX_GRID_POINTS: Final = 10_000
MAX_SPACES: Final = 10_000
"""Crystals × points of the grid × supercells."""

TransportInput = Annotated[
    Annotated[TransportSettings, Tag("section")]
    | Annotated[tuple[TransportSettings, ...], Tag("series"), Field(strict=False, min_length=1, max_length=50)],
    Discriminator(lambda given: "series" if isinstance(given, (list, tuple)) else "section"),
]
"""One series of runs, or several with names."""


class CampaignFile(Section):
    """A whole campaign: what is studied, by which stages, and how it is carried out."""

    superionic: Literal[1] = Field(description="Version of this file format: 1.")
    name: Name = Field(description="Short name of the campaign.")
    preset: PresetName | None = Field(
        default=None, description="Preset that fills what the stage sections leave out: demo, paper-a or paper-b."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63), AnySize()] = Field(
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
    volumes: VolumesSettings | None = Field(default=None, description=VolumesSettings.__doc__)
    transport_: TransportInput | None = Field(
        default=None,
        alias="transport",
        description="Molecular dynamics from which the transport properties come; one section, or a list of sections "
        "with names, for runs by several potentials or at several pressures.",
    )
    analyse: AnalyseSettings | None = Field(default=None, description=AnalyseSettings.__doc__)
    report: ReportSettings = Field(default_factory=ReportSettings, description=ReportSettings.__doc__)
    execution: ExecutionSettings = Field(default_factory=ExecutionSettings, description=ExecutionSettings.__doc__)

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, raw: Any) -> Any:
        return complete(raw) if isinstance(raw, Mapping) else raw

    @model_validator(mode="after")
    def _keep_the_rules(self, info: ValidationInfo) -> CampaignFile:
        if not Reading.of(info).is_draft:
            problems = [f"{problem.dotted}: {problem.message}" for problem in broken_rules(self)]
            if problems:
                raise ValueError("; ".join(problems))
        return self

    @property
    def stages(self) -> tuple[str, ...]:
        """Stages of this campaign, in the order in which they run."""
        return tuple(stage for stage in sections() if self.section(stage) is not None)

    @property
    def computing(self) -> tuple[str, ...]:
        """Those of its stages that compute something: all but the report."""
        return tuple(stage for stage in self.stages if stage != "report")

    @property
    def reference_methods(self) -> dict[str, ReferenceMethodSettings]:
        """Sections of its stages that calculate by a reference method, by stage."""
        every = {stage: self.section(stage) for stage in self.stages}
        return {stage: each for stage, each in every.items() if isinstance(each, ReferenceMethodSettings)}

    @property
    def transport(self) -> TransportSettings | None:
        """The section `transport`; of several series the first, whose values the report states."""
        return next(iter(self.transport_series), None)

    @property
    def transport_series(self) -> tuple[TransportSettings, ...]:
        """All series of runs, empty where the campaign leaves transport out.

        Those of the file are followed by one for each of `learn.sizes`, like the first, where that is driven by the
        fine-tuned potential and none of the file by one of these.
        """
        listed = self._listed_series
        if not listed or listed[0].potential != FINE_TUNED or any(each.potential in self.sized for each in listed):
            return listed
        sizes = () if self.learn is None else self.learn.sizes
        own = [{"name": f"{size}-labels", "potential": at_size(size), "draws": None} for size in sizes]
        return (*listed, *(listed[0].model_copy(update=each) for each in own))

    @property
    def _listed_series(self) -> tuple[TransportSettings, ...]:
        """The series that the file has itself."""
        given = self.transport_
        return given if isinstance(given, tuple) else () if given is None else (given,)

    @property
    def sized(self) -> tuple[str, ...]:
        """Names of the potentials that are trained on some of the labels: `fine-tuned@250`."""
        return () if self.learn is None else self.learn.sized

    @property
    def student_transport(self) -> TransportSettings | None:
        """The runs that students are made for: the first series that they drive, with the temperatures of all such.

        Where they drive none it is the first series; None where the campaign leaves transport out.
        """
        driven = [series for series in self.transport_series if series.potential == STUDENT]
        if len(driven) < 2:
            return driven[0] if driven else self.transport
        temperatures = sorted({temperature for series in driven for temperature in series.temperatures_K})
        return driven[0].model_copy(update={"temperatures_K": tuple(temperatures)})

    def section(self, stage: str) -> Any:
        """Return the settings of a stage, or `learn`, as a typed section, or None where the campaign leaves it out.

        Of a list of series of runs it is the first.

        Raises
        ------
        KeyError
            If there is no stage of that name.
        """
        if stage not in sections() and stage != "learn":
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
            Settings in the order of the schema; for a list of series of runs, those of each by its name.

        Raises
        ------
        KeyError
            If there is no such stage, or the campaign leaves it out.
        """
        section = self.section(stage)
        if section is None:
            raise KeyError(stage)
        if stage == "transport" and isinstance(self.transport_, tuple):
            return {str(each.name): each.model_dump(mode="json", exclude={"preset"}) for each in self.transport_}
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
        rules = self.composition_constraints
        return tuple(point for point in points if all(rule.is_met(point) for rule in rules))

    # ---- rules about several sections; those about one are in its module of `settings` ----

    @rule
    def _mobile_ion_has_a_charge(self) -> Iterator[Problem]:
        ion, charges = self.mobile_ion, self.oxidation_states
        if ion not in charges:
            hint = f"add e.g. {ion}: 1"
            yield Problem(("oxidation_states",), f"the mobile ion {ion} has no oxidation state", hint)
        elif charges[ion] == 0.0:
            yield Problem(("oxidation_states", ion), f"the mobile ion {ion} must have a charge; it is 0")

    @rule
    def _charges_have_both_signs(self) -> Iterator[Problem]:
        charges = self.oxidation_states.values()
        if len(charges) > 1 and (min(charges) > 0 or max(charges) < 0):
            sign = "positive" if min(charges) > 0 else "negative"
            yield Problem(("oxidation_states",), f"all charges are {sign}, so no composition can be neutral")

    @rule
    def _names_differ(self) -> Iterator[Problem]:
        first_uses: dict[str, str] = {}
        inputs: dict[str, tuple[CrystalInput | ReferenceInput, ...]]
        inputs = {key: getattr(self, key) for key in ("crystals", "references") if self.is_sound(key)}
        for key, entries in inputs.items():
            for index, entry in enumerate(entries):
                if not entry.is_sound("name"):
                    continue
                name = entry.name.lower()  # names become parts of file names, and some file systems ignore the case
                if name in first_uses:
                    yield Problem((key, index, "name"), f"the name '{entry.name}' is also that of {first_uses[name]}")
                else:
                    first_uses[name] = f"{key}[{index}]"

    @rule
    def _axes_bring_in_different_elements(self) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, axis in enumerate(self.composition_axes):
            if axis.by in first:
                message = f"'{axis.by}' is also brought in by composition_axes[{first[axis.by]}]"
                yield Problem(("composition_axes", index, "by"), message, "give each axis an element of its own")
            first.setdefault(axis.by, index)

    @rule
    def _grid_is_not_too_large(self) -> Iterator[Problem]:
        size = math.prod(len(axis.values) for axis in self.composition_axes)
        if size > MAX_GRID_POINTS:
            message = f"the grid has {size} points; no more than {MAX_GRID_POINTS} are taken"
            yield Problem(("composition_axes",), message)
            return
        n_spaces = size * sum(1 + len(crystal.further_supercells) for crystal in self.crystals)
        if n_spaces > MAX_SPACES:
            message = f"supercells and compositions make {n_spaces:,} pairs; no more than {MAX_SPACES:,} are taken"
            yield Problem(("crystals",), message, "divide them among several campaigns")

    @rule
    def _some_point_meets_the_constraints(self) -> Iterator[Problem]:
        elements = {axis.by for axis in self.composition_axes}
        if math.prod(len(axis.values) for axis in self.composition_axes) > MAX_GRID_POINTS:
            return
        if any(each.is_empty or not elements.issuperset(each.weights) for each in self.composition_constraints):
            return  # which each constraint says of itself
        if not self.grid():
            yield Problem(("composition_constraints",), "no point of the composition grid meets the constraints")

    @rule
    def _potentials_keep_off_the_names_of_made_ones(self) -> Iterator[Problem]:
        for name, section in MADE_BY.items():
            if name in self.potentials:
                message = f"the name '{name}' is kept for the potential that the campaign {section}s"
                yield Problem(("potentials", name), message, "choose another name", at_key=True)

    @rule
    def _needed_sections_are_there(self) -> Iterator[Problem]:
        for stage, needed in NEEDS:
            if self.section(stage) is not None and self.section(needed) is None:
                if stage == "label" and self.train is None and self.label is not None and self.label.is_finished:
                    continue  # labels that are there, and only check a potential
                message = f"`{stage}` needs `{needed}`, which this campaign leaves out"
                yield Problem((stage,), message, f"add `{needed}: {{}}`")

    @rule
    def _rounds_of_sampling_are_trained_on(self) -> Iterator[Problem]:
        if self.sample is None or self.train is not None or len(self.sample.temperatures_K) == 1:
            return
        if self.learn is None or self.learn.strategy != "one-shot":
            message = "several rounds of sampling need a `train` section, which this campaign leaves out"
            yield Problem(("sample", "temperatures_K"), message)

    @rule
    def _disagreement_has_a_committee(self) -> Iterator[Problem]:
        if self.sample is None or "committee" not in self.sample.methods:
            return
        if self.learn is None or (self.learn.strategy != "active" and self.learn.n_members == 1):
            message = "committee disagreement needs a committee"
            yield Problem(("sample", "snapshot_method"), message, "add `learn: {members: 3}`")

    @rule
    def _lammps_has_the_potential_of_sample(self) -> Iterator[Problem]:
        yield from self._not_in_lammps(("sample",), self.sample)

    @rule
    def _lammps_has_the_potential_of_transport(self) -> Iterator[Problem]:
        for index, series in enumerate(self._listed_series):
            place = ("transport", index) if isinstance(self.transport_, tuple) else ("transport",)
            yield from self._not_in_lammps(place, series)

    @rule
    def _series_have_names(self) -> Iterator[Problem]:
        given = self.transport_ if isinstance(self.transport_, tuple) else ()
        of_sizes = {str(series.name) for series in self.transport_series[len(given) :]} if given else set()
        first: dict[str, int] = {}
        for index, series in enumerate(given):
            if series.name is None:
                yield Problem(("transport", index), "a series of runs in a list needs a `name`", "e.g. name: 10-kbar")
            elif (name := series.name.lower()) in first:
                message = f"the name '{series.name}' is also that of transport[{first[name]}]"
                yield Problem(("transport", index, "name"), message, "give each series a name of its own")
            elif name in of_sizes:
                message = f"the name '{series.name}' is that of a series for `learn.sizes`"
                yield Problem(("transport", index, "name"), message, "give this one another name")
            else:
                first[name] = index

    @rule
    def _first_series_is_by_all_labels(self) -> Iterator[Problem]:
        first = self.transport
        if first is not None and first.potential in self.sized:
            message = f"the values stated are those of the first series, and '{first.potential}' has not all labels"
            place = ("transport", 0) if isinstance(self.transport_, tuple) else ("transport",)
            yield Problem((*place, "potential"), message, "let another potential drive the first series")

    @rule
    def _draws_are_those_of_the_first_series(self) -> Iterator[Problem]:
        for index, series in enumerate(self._listed_series[1:], 1):
            if series.draws is not None:
                message = "orderings are drawn for the first series alone"
                yield Problem(("transport", index, "draws"), message, "move `draws` to the first", at_key=True)

    def _not_in_lammps(self, place: Place, section: ProductionSection | None) -> Iterator[Problem]:
        if section is None or section.md_engine != "lammps" or section.potential is None:
            return
        name = section.potential
        engine = self._engine_of(name)
        if (model := find(engine)) is not None and not model.in_lammps:
            message = f"LAMMPS cannot run the potential '{name}' of engine {engine}"
            able = " or ".join(each.name for each in models().values() if each.in_lammps)
            hint = f"take md_engine: ase, or drive the run by the student or by a potential of engine {able}"
            yield Problem((*place, "md_engine"), f"{message}: they live in different environments", hint)
        if is_trained(name) and self.train is not None and self.train.trainer == DELTA:
            message = f"LAMMPS does not evaluate the correction that the trainer '{DELTA}' adds"
            hint = "take md_engine: ase, or drive the run by a student, which learns from the corrected potential"
            yield Problem((*place, "md_engine"), message, hint)
        sampler = self.sample.potential if is_trained(name) and self.sample is not None else name
        if name != STUDENT and sampler in self.potentials and self.potentials[sampler].dispersion is not None:
            message = f"LAMMPS does not evaluate the dispersion term of the potential '{sampler}'"
            hint = "take md_engine: ase, or drive the run by a student, which has learned it"
            yield Problem((*place, "md_engine"), message, hint)

    def _engine_of(self, potential: str) -> str | None:
        """Return the engine of an entry of `potentials`, or of one that the campaign makes; None if there is none."""
        if potential == STUDENT:
            return "nep"
        if potential == at_size(0) and self.sample is not None:
            return self._engine_of(str(self.sample.potential))
        if is_trained(potential):
            return None if self.train is None else self.train.trained_engine(self.sample, self.potentials)
        return self.potentials[potential].engine if potential in self.potentials else None


if not TYPE_CHECKING and (_folders := [stage for stage in STAGES if stage.is_one_folder]):
    # Stages of one folder bring their sections: read by name, as presets and messages read all sections.
    CampaignFile = create_model(
        "CampaignFile",
        __base__=CampaignFile,
        __module__=__name__,
        __doc__=CampaignFile.__doc__,
        **{
            stage.name: (stage.settings | None, Field(default=None, description=stage.settings.__doc__))
            for stage in _folders
        },
    )


def draft_of(raw: Mapping[str, Any], folder: Path | None = None) -> CampaignFile:
    """Return the valid parts of a campaign file, for rules and other readers that mistakes elsewhere must not stop.

    Parameters
    ----------
    raw
        The plain values of the file.
    folder
        Folder that its paths are relative to; None leaves them as they are.
    """
    return CampaignFile.model_validate(raw, context=Reading(folder, is_draft=True))


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of the campaign file, for editors (draft 2020-12)."""
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    schema.update(CampaignFile.model_json_schema(by_alias=True, mode="validation"))
    return schema
