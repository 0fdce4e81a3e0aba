"""The way of a crystal through the stages: the workflow figure of the papers, as code.

One walk serves all: ``run`` walks with an executor and does what is missing; ``status`` and ``check`` walk dry, as far
as results are there. The walk itself computes nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from superionic.campaign.learning import learn
from superionic.campaign.spaces import build_spaces, end_members, read_text, replacements
from superionic.settings.base import STUDENT
from superionic.settings.distil import resolved
from superionic.stages import (
    analyse,
    distil,
    enumerate,  # noqa: A004 - the stage's own name
    hull,
    rank,
    select,
    transport,
)
from superionic.stages.base import FINE_TUNED, Candidate, ChosenPotential, CrystalText, Workbench

if TYPE_CHECKING:
    from superionic.campaign.schema import CampaignFile
    from superionic.results.learning import LearningResult, ValidateResult
    from superionic.stages.label import LabelOutput
    from superionic.stages.sample import SampleOutput
    from superionic.stages.train import TrainOutput
    from superionic.structures.disordered import DisorderedCrystal

T = TypeVar("T")


class StopHere(Exception):  # noqa: N818 - it is an order, not an error
    """The stage that ``--until`` names is done."""


@dataclass
class Outputs:
    """What the stages gave so far, one entry for each round that a stage ran in; empty before its first."""

    enumerate: list[enumerate.EnumerateOutput] = field(default_factory=list)
    rank: list[rank.RankOutput] = field(default_factory=list)
    hull: list[hull.HullOutput] = field(default_factory=list)
    select: list[select.SelectOutput] = field(default_factory=list)
    sample: list[SampleOutput] = field(default_factory=list)
    label: list[LabelOutput] = field(default_factory=list)
    train: list[TrainOutput] = field(default_factory=list)
    learning: list[LearningResult] = field(default_factory=list)
    validate: list[ValidateResult] = field(default_factory=list)
    distil: list[distil.DistilOutput] = field(default_factory=list)
    transport: list[transport.TransportOutput] = field(default_factory=list)
    analyse: list[analyse.AnalyseOutput] = field(default_factory=list)

    @property
    def ranked(self) -> tuple[Candidate, ...]:
        """Orderings and references as the last ranking, or the hull after it, left them; empty before."""
        if self.hull and len(self.hull) == len(self.rank):
            return self.hull[-1].candidates
        return self.rank[-1].candidates if self.rank else ()


@dataclass
class Flow:
    """One walk through the stages of a campaign.

    Attributes
    ----------
    file
        The campaign file.
    bench
        The workbench; its runner decides whether work is done or only looked up.
    crystals, references
        The crystals of the file, read.
    reference_texts
        The references as tasks read them, in order.
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
    reference_texts: Sequence[CrystalText]
    until: str | None = None
    outputs: Outputs = field(default_factory=Outputs)
    reached: str = ""
    ended: set[str] = field(default_factory=set)

    def walk(self) -> None:
        """Walk through all stages of the campaign, or to the one named by ``until``.

        Raises
        ------
        TasksPending
            In a dry walk, at the first stage that is not done.
        SuperionicError
            If a stage cannot go on.
        """
        try:
            self._walk()
        except StopHere:
            return

    def _walk(self) -> None:
        file = self.file
        base = self.potential(file.rank.potential)
        self.at("enumerate")
        enumerated = enumerate.run(file.enumerate, self.bench, build_spaces(file, self.crystals))
        end_phases = enumerate.references(self.bench, self.reference_texts)
        self.done("enumerate", self.outputs.enumerate, enumerated)

        self.at("rank")
        ranked = rank.run(file.rank, self.bench, enumerated.candidates, end_phases, base)
        self.done("rank", self.outputs.rank, ranked)

        placed = self._hull(ranked.candidates, base, "")
        candidates = placed.candidates if placed is not None else ranked.candidates
        chosen = self._select(candidates, placed)
        potential = learn(self, chosen, base)
        if potential.name == FINE_TUNED and file.hull is not None and file.hull.repeat_with_fine_tuned:
            candidates = self._rank_again(candidates, potential)
        students = self._distil(candidates, potential)
        if file.transport is None:
            return
        drivers = self._drivers(potential, students)
        if not drivers:
            # The student failed its gate and the campaign demands that it passes: there is nothing to report.
            raise StopHere
        self.at("transport")
        moved = transport.run(file.transport, self.bench, candidates, drivers)
        self.done("transport", self.outputs.transport, moved)
        if file.analyse is not None:
            self.at("analyse")
            transfer = self.outputs.distil[-1].result.transfer if drivers[0].name == STUDENT else None
            analysed = analyse.run(file.analyse, self.bench, moved.runs, transfer, self._crystal_texts())
            self.done("analyse", self.outputs.analyse, analysed)

    def _crystal_texts(self) -> dict[str, CrystalText]:
        """Return each crystal as a task can read it."""
        return {
            entry.name: CrystalText(
                name=entry.name,
                file_name=Path(entry.file).name,
                text=read_text(entry.file),
                occupancies={name: dict(species) for name, species in entry.occupancies.items()},
            )
            for entry in self.file.crystals
        }

    def _hull(
        self, candidates: Sequence[Candidate], potential: ChosenPotential, round_label: str
    ) -> hull.HullOutput | None:
        if self.file.hull is None:
            return None
        self.at("hull")
        formulas = {c.material.point: c.formula for c in candidates if not c.is_reference}
        references = {name: crystal.formula for name, crystal in self.references.items()}
        vertices = end_members(self.file, formulas, references)
        placed = hull.run(
            self.file.hull,
            self.bench,
            candidates,
            potential,
            vertices,
            replacements=replacements(self.file),
            round_label=round_label,
        )
        self.done("hull", self.outputs.hull, placed)
        return placed

    def _select(self, candidates: Sequence[Candidate], placed: hull.HullOutput | None) -> tuple[Candidate, ...]:
        if self.file.select is None:
            return tuple(candidate for candidate in candidates if not candidate.is_reference)
        self.at("select")
        axes = self.file.composition_axes
        selected = select.run(
            self.file.select,
            self.bench,
            candidates,
            placed.task if placed is not None else None,
            formula_unit=axes[0].formula_unit if axes else None,
            replacements=replacements(self.file),
        )
        self.done("select", self.outputs.select, selected)
        return selected.candidates

    def _distil(self, candidates: Sequence[Candidate], last: ChosenPotential) -> tuple[ChosenPotential, ...]:
        """Distil students out of the last potential; none where they failed and have to pass, or are not asked for."""
        if self.file.distil is None:
            return ()
        self.at("distil")
        name = self.file.distil.teacher
        teacher = last if name in (None, FINE_TUNED) else self.potential(name)
        settings = resolved(self.file.distil, self.file.transport)
        distilled = distil.run(settings, self.bench, candidates, teacher)
        self.done("distil", self.outputs.distil, distilled)
        if settings.require_parity and not distilled.result.verdict.passed:
            return ()
        return distil.committee_of(distilled, teacher)

    def _drivers(self, last: ChosenPotential, students: tuple[ChosenPotential, ...]) -> tuple[ChosenPotential, ...]:
        """Return what drives transport: one potential, or the members of a committee in turn."""
        name = self.file.transport.potential if self.file.transport is not None else None
        if name == STUDENT:
            return students
        return (last,) if name in (None, FINE_TUNED) else (self.potential(name),)

    def _rank_again(self, candidates: Sequence[Candidate], potential: ChosenPotential) -> tuple[Candidate, ...]:
        """Relax the ranked orderings with the fine-tuned potential and place them on a hull of their own (paper A)."""
        round_label = "by the fine-tuned potential"
        orderings = [candidate for candidate in candidates if not candidate.is_reference]
        phases = [candidate for candidate in candidates if candidate.is_reference]
        settings = self.file.rank.model_copy(update={"relax_top": len(orderings)})
        self.at("rank")
        ranked = rank.run(settings, self.bench, orderings, phases, potential, round_label=round_label)
        self.done("rank", self.outputs.rank, ranked)
        placed = self._hull(ranked.candidates, potential, round_label)
        return placed.candidates if placed is not None else ranked.candidates

    def potential(self, name: str | None) -> ChosenPotential:
        """Return a potential of the campaign by its name, the first one if None."""
        potentials = self.bench.potentials
        return potentials[name] if name is not None else next(iter(potentials.values()))

    def at(self, stage: str) -> None:
        """Note that the walk has come to a stage."""
        self.reached = stage

    def done(self, stage: str, kept: list[T], output: T, *, last: bool = True) -> None:
        """Keep what a stage gave in a round among the outputs; end the stage if this was its last round.

        Raises
        ------
        StopHere
            See :meth:`end`.
        """
        kept.append(output)
        if last:
            self.end(stage)

    def end(self, stage: str) -> None:
        """Note that the last round of a stage is done; stop here if the walk goes no further.

        Raises
        ------
        StopHere
            If ``until`` names the stage.
        """
        self.ended.add(stage)
        if stage == self.until:
            raise StopHere
