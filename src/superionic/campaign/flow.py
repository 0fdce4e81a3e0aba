"""The way of a crystal through the stages: the workflow figure of the papers, as code.

One walk serves all: ``run`` walks with an executor and does what is missing; ``status`` and ``check`` walk dry, as far
as results are there. The walk itself computes nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superionic.campaign.learning import learn
from superionic.settings.base import STUDENT
from superionic.settings.distil import resolved
from superionic.campaign.spaces import build_spaces, end_members, read_text
from superionic.stages import (
    analyse,
    distil,
    enumerate,  # noqa: A004 - the stage's own name
    hull,
    rank,
    select,
    transport,
)
from superionic.stages.base import FINE_TUNED, Candidate, ChosenPotential, StageResult, Workbench

if TYPE_CHECKING:
    from superionic.campaign.schema import CampaignFile
    from superionic.structures.disordered import DisorderedCrystal


class StopHere(Exception):  # noqa: N818 - it is an order, not an error
    """The stage that ``--until`` names is done."""


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
        ``name``, ``file_name`` and ``text`` of the references, in order.
    until
        Name of the last stage to walk to; None for all.
    results
        What each stage gave so far; a stage that ran in several rounds has several.
    reached
        The stage that the walk came to last.
    """

    file: CampaignFile
    bench: Workbench
    crystals: Mapping[str, DisorderedCrystal]
    references: Mapping[str, DisorderedCrystal]
    reference_texts: Sequence[Mapping[str, str]]
    until: str | None = None
    results: dict[str, list[StageResult]] = field(default_factory=dict)
    reached: str = ""

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
        settings = self.file.stage_settings
        base = self.potential(self.file.rank.potential)
        self.at("enumerate")
        found = enumerate.run(settings("enumerate"), self.bench, build_spaces(self.file, self.crystals))
        end_phases = enumerate.references(self.bench, self.reference_texts)
        self.done("enumerate", found)

        self.at("rank")
        ranked = rank.run(settings("rank"), self.bench, found.candidates, end_phases, base)
        self.done("rank", ranked)

        placed = self._hull(ranked, base, "")
        candidates = placed.candidates if placed is not None else ranked.candidates
        chosen = self._select(candidates, placed)
        potential = learn(self, chosen, base)
        if potential.name == FINE_TUNED and self.file.hull is not None and self.file.hull.repeat_with_fine_tuned:
            candidates = self._rank_again(candidates, potential)
        students = self._distil(candidates, potential)
        if self.file.transport is None:
            return
        drivers = self._drivers(potential, students)
        if not drivers:
            # The student failed its gate and the campaign demands that it passes: there is nothing to report.
            raise StopHere
        self.at("transport")
        moved = transport.run(settings("transport"), self.bench, candidates, drivers)
        self.done("transport", moved)
        if self.file.analyse is not None:
            self.at("analyse")
            transfer = self.results["distil"][-1].summary["transfer"] if drivers[0].name == STUDENT else None
            analysed = analyse.run(settings("analyse"), self.bench, moved.candidates, transfer, self._crystal_texts())
            self.done("analyse", analysed)

    def _crystal_texts(self) -> dict[str, dict[str, Any]]:
        """Return each crystal as a task can read it."""
        return {
            entry.name: {
                "file_name": Path(entry.file).name,
                "occupancies": {name: dict(species) for name, species in entry.occupancies.items()},
                "text": read_text(entry.file),
            }
            for entry in self.file.crystals
        }

    def _hull(self, ranked: StageResult, potential: ChosenPotential, round_label: str) -> StageResult | None:
        if self.file.hull is None:
            return None
        self.at("hull")
        formulas = {c.composition_label: str(c.facts["formula"]) for c in ranked.candidates if not c.is_reference}
        references = {name: crystal.formula for name, crystal in self.references.items()}
        vertices = end_members(self.file, formulas, references)
        result = hull.run(
            self.file.stage_settings("hull"),
            self.bench,
            ranked.candidates,
            potential,
            vertices,
            round_label=round_label,
        )
        self.done("hull", result)
        return result

    def _select(self, candidates: Sequence[Candidate], placed: StageResult | None) -> tuple[Candidate, ...]:
        if self.file.select is None:
            return tuple(candidate for candidate in candidates if not candidate.is_reference)
        self.at("select")
        result = select.run(
            self.file.stage_settings("select"),
            self.bench,
            candidates,
            placed.tasks["hull"] if placed is not None else None,
        )
        self.done("select", result)
        return result.candidates

    def _distil(self, candidates: Sequence[Candidate], last: ChosenPotential) -> tuple[ChosenPotential, ...]:
        """Distil students out of the last potential; none where they failed and have to pass, or are not wanted."""
        if self.file.distil is None:
            return ()
        self.at("distil")
        name = self.file.distil.teacher
        teacher = last if name in (None, FINE_TUNED) else self.potential(name)
        moving = self.file.stage_settings("transport") if self.file.transport is not None else None
        settings = resolved(self.file.stage_settings("distil"), moving)
        result = distil.run(settings, self.bench, candidates, teacher)
        self.done("distil", result)
        if settings["require_parity"] and not result.summary["verdict"]["passed"]:
            return ()
        return distil.committee_of(result, teacher)

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
        settings = {**self.file.stage_settings("rank"), "relax_top": len(orderings)}
        self.at("rank")
        ranked = rank.run(settings, self.bench, orderings, phases, potential, round_label=round_label)
        self.done("rank", ranked)
        placed = self._hull(ranked, potential, round_label)
        return placed.candidates if placed is not None else ranked.candidates

    def potential(self, name: str | None) -> ChosenPotential:
        """Return a potential of the campaign by its name, the first one if None."""
        potentials = self.bench.potentials
        return potentials[name] if name is not None else next(iter(potentials.values()))

    def at(self, stage: str) -> None:
        """Note that the walk has come to a stage."""
        self.reached = stage

    def done(self, stage: str, result: StageResult, *, last: bool = True) -> None:
        """Keep what a stage gave; stop here if this was its last round and the walk goes no further.

        Raises
        ------
        StopHere
            If ``until`` names the stage and this was its last round.
        """
        self.results.setdefault(stage, []).append(result)
        if last and stage == self.until:
            raise StopHere


def merged(results: Sequence[StageResult]) -> dict[str, Any]:
    """Put the summaries of a stage's rounds together: lists are joined, counts added, the rest is of the last round."""
    together: dict[str, Any] = {}
    for result in results:
        for name, value in result.summary.items():
            old = together.get(name)
            if isinstance(value, list) and isinstance(old, list) and name != "history":
                together[name] = [*old, *value]
            elif isinstance(value, int) and isinstance(old, int) and name in ("n_requested", "n_accepted"):
                together[name] = old + value
            else:
                together[name] = value
    return together
