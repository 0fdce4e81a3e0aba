"""A walk through the stages: how far it has come, what each stage gave, and where it ends.

The order of the stages is in :mod:`superionic.campaign.flow` and, for the rounds of learning, in
:mod:`superionic.campaign.learning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from superionic.campaign.file.schema import CampaignFile
    from superionic.results.draws import DrawsResult
    from superionic.results.further import StageResult
    from superionic.results.learning import LabelResult, LearningResult, RungComparison, SampleResult, ValidateResult
    from superionic.results.orderings import EnumerateResult
    from superionic.results.ranking import RankResult
    from superionic.results.sizes import SizesResult
    from superionic.results.stability import SelectResult
    from superionic.results.teachers import FurtherTeacher
    from superionic.results.transport import FurtherSeries
    from superionic.results.volumes import VolumesResult
    from superionic.stages.analyse import AnalyseOutput
    from superionic.stages.base import Candidate, ChosenPotential, WithCandidates, WithSnapshots, Workbench
    from superionic.stages.distil import DistilOutput
    from superionic.stages.hull import HullOutput
    from superionic.stages.train import TrainOutput
    from superionic.stages.transport import TransportOutput
    from superionic.structures.crystal.disordered import DisorderedCrystal

T = TypeVar("T")


class StopHere(Exception):  # noqa: N818 - it is an order, not an error
    """The stage that ``--until`` names is done."""


@dataclass
class Outputs:
    """What the stages gave so far, one entry for each round that a stage ran in; empty before its first.

    ``further`` has the results of all stages of one folder; ``teachers`` those of teachers after the first, and
    ``further_students`` their students by the teachers' names; ``series`` those of series of runs after the first;
    ``trained`` the potential of each training, and ``students`` those of the first teacher; ``sized`` the potentials
    trained on some of the labels, by their names.
    """

    enumerate: list[WithCandidates[EnumerateResult]] = field(default_factory=list)
    rank: list[WithCandidates[RankResult]] = field(default_factory=list)
    hull: list[HullOutput] = field(default_factory=list)
    select: list[WithCandidates[SelectResult]] = field(default_factory=list)
    sample: list[WithSnapshots[SampleResult]] = field(default_factory=list)
    label: list[WithSnapshots[LabelResult]] = field(default_factory=list)
    train: list[TrainOutput] = field(default_factory=list)
    learning: list[LearningResult] = field(default_factory=list)
    rungs: list[RungComparison] = field(default_factory=list)
    validate: list[ValidateResult] = field(default_factory=list)
    distil: list[DistilOutput] = field(default_factory=list)
    volumes: list[VolumesResult] = field(default_factory=list)
    transport: list[TransportOutput] = field(default_factory=list)
    analyse: list[AnalyseOutput] = field(default_factory=list)
    draws: list[DrawsResult] = field(default_factory=list)
    further: list[StageResult] = field(default_factory=list)
    teachers: list[FurtherTeacher] = field(default_factory=list)
    series: list[FurtherSeries] = field(default_factory=list)
    trained: list[ChosenPotential] = field(default_factory=list)
    students: tuple[ChosenPotential, ...] = ()
    further_students: dict[str, tuple[ChosenPotential, ...]] = field(default_factory=dict)
    sizes: list[SizesResult] = field(default_factory=list)
    sized: dict[str, ChosenPotential] = field(default_factory=dict)

    @property
    def ranked(self) -> tuple[Candidate, ...]:
        """Orderings and references as the last ranking, or the hull after it, left them; empty before."""
        if self.hull and len(self.hull) == len(self.rank):
            return self.hull[-1].candidates
        return self.rank[-1].candidates if self.rank else ()


@dataclass
class Walk:
    """How far a walk through the stages of a campaign has come, and what the stages gave on the way.

    Attributes
    ----------
    bench
        The workbench; its runner decides whether work is done or only looked up.
    crystals, references
        The crystals and references of the file, read.
    until
        Name of the last stage to walk to; None for all.
    outputs
        What each stage gave so far.
    reached
        The stage that the walk came to last.
    ended
        Stages whose last round is done.
    """

    file: CampaignFile
    bench: Workbench
    crystals: Mapping[str, DisorderedCrystal]
    references: Mapping[str, DisorderedCrystal]
    until: str | None = None
    outputs: Outputs = field(default_factory=Outputs)
    reached: str = ""
    ended: set[str] = field(default_factory=set)

    def potential(self, name: str | None) -> ChosenPotential:
        """Return a potential of the campaign by its name, the first one if None."""
        potentials = self.bench.potentials
        return potentials[name] if name is not None else next(iter(potentials.values()))

    def at(self, stage: str) -> None:
        """Record that the walk has come to a stage."""
        self.reached = stage

    def done(self, stage: str, outputs: list[T], output: T, *, last: bool = True) -> None:
        """Keep what a stage gave in a round among the outputs; end the stage if this was its last round.

        Raises
        ------
        StopHere
            See :meth:`end`.
        """
        outputs.append(output)
        if last:
            self.end(stage)

    def end(self, stage: str) -> None:
        """Record that the last round of a stage is done; stop here if the walk goes no further.

        Raises
        ------
        StopHere
            If ``until`` names the stage.
        """
        self.ended.add(stage)
        if stage == self.until:
            raise StopHere
