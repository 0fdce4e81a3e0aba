"""The path of a crystal through the stages: the workflow figure of the papers, as code.

One walk serves all: ``run`` walks with an executor and computes what is missing; ``status`` and ``check`` walk dry, as
far as results exist. The walk itself computes nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from superionic.campaign.learning import learn
from superionic.campaign.spaces import build_spaces, crystal_text, end_members, replacements
from superionic.campaign.walk import StopHere, Walk
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
from superionic.stages.base import FINE_TUNED, Candidate, ChosenPotential

if TYPE_CHECKING:
    from superionic.settings.rank import RankSettings


@dataclass
class Flow(Walk):
    """The walk through the stages of a campaign."""

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
        end_phases = enumerate.references(self.bench, [crystal_text(entry) for entry in file.references])
        self.done("enumerate", self.outputs.enumerate, enumerated)
        self._rank(file.rank, enumerated.candidates, end_phases, base, "")
        selected = self._select(self.outputs.ranked)
        potential = learn(self, selected, base)
        if potential.name == FINE_TUNED and file.hull is not None and file.hull.repeat_with_fine_tuned:
            self._rank_again(potential)
        candidates = self.outputs.ranked
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
            texts = {entry.name: crystal_text(entry) for entry in file.crystals}
            analysed = analyse.run(file.analyse, self.bench, moved.runs, transfer, texts)
            self.done("analyse", self.outputs.analyse, analysed)

    def _rank(
        self,
        settings: RankSettings,
        orderings: Sequence[Candidate],
        phases: Sequence[Candidate],
        potential: ChosenPotential,
        round_label: str,
    ) -> None:
        """Rank orderings by a potential, and place them on a hull where the campaign has one."""
        self.at("rank")
        ranked = rank.run(settings, self.bench, orderings, phases, potential, round_label=round_label)
        self.done("rank", self.outputs.rank, ranked)
        if self.file.hull is None:
            return
        candidates = ranked.candidates
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

    def _select(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        if self.file.select is None:
            return tuple(candidate for candidate in candidates if not candidate.is_reference)
        self.at("select")
        axes = self.file.composition_axes
        selected = select.run(
            self.file.select,
            self.bench,
            candidates,
            self.outputs.hull[-1].task if self.outputs.hull else None,
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
        crystal_cells = {ordering.id: ordering.structure for ordering in self.outputs.enumerate[-1].candidates}
        distilled = distil.run(settings, self.bench, candidates, teacher, crystal_cells)
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

    def _rank_again(self, potential: ChosenPotential) -> None:
        """Relax the ranked orderings with the fine-tuned potential and place them on a hull of their own (paper A)."""
        orderings = [candidate for candidate in self.outputs.ranked if not candidate.is_reference]
        phases = [candidate for candidate in self.outputs.ranked if candidate.is_reference]
        settings = self.file.rank.model_copy(update={"relax_top": len(orderings)})
        self._rank(settings, orderings, phases, potential, "by the fine-tuned potential")
