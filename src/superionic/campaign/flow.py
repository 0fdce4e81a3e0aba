"""The path of a crystal through the stages: the workflow figure of the papers, as code.

One walk serves all: ``run`` walks with an executor and computes what is missing; ``status`` and ``check`` walk dry, as
far as results exist. The walk itself computes nothing and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from superionic.campaign.draws import analyse_draws, run_draws
from superionic.campaign.learning import learn
from superionic.campaign.results import gather
from superionic.campaign.sizes import rank_by_sizes
from superionic.campaign.spaces import crystal_text, end_members, fitting_spaces, replacements
from superionic.campaign.walk import StopHere, Walk
from superionic.errors import StageError
from superionic.results.teachers import FurtherTeacher
from superionic.results.transport import FurtherSeries
from superionic.settings.base import STUDENT
from superionic.settings.distil import resolved
from superionic.settings.stages import stage_named
from superionic.stages import (
    analyse,
    distil,
    enumerate,  # noqa: A004 - the stage's own name
    hull,
    order,
    rank,
    select,
    transport,
    volumes,
)
from superionic.stages.base import FINE_TUNED, Candidate, ChosenPotential, Earlier, of_compositions

if TYPE_CHECKING:
    from superionic.results.identity import Rows
    from superionic.results.ranking import RankResult
    from superionic.settings.analyse import AnalyseSettings
    from superionic.settings.hull import HullSettings
    from superionic.settings.rank import RankSettings
    from superionic.settings.transport import TransportSettings
    from superionic.settings.volumes import VolumesSettings
    from superionic.stages.analyse import AnalyseOutput, FurtherAnalysis
    from superionic.stages.base import TransportRun, WithCandidates, Workbench
    from superionic.stages.distil import DistilOutput
    from superionic.stages.enumerate.spaces import Space
    from superionic.stages.hull import HullOutput
    from superionic.stages.transport import TransportOutput

_REFUSED = "they failed parity with their teacher"


@dataclass
class Flow(Walk):
    """The walk through the stages of a campaign."""

    spaces: Sequence[Space] = field(default=(), init=False)
    teachers: dict[str, distil.TeacherOf] = field(default_factory=dict, init=False)

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

    def end(self, stage: str) -> None:
        """End a stage as :meth:`superionic.campaign.walk.Walk.end` does; go on with one of one folder that follows it.

        Such a stage runs once, after the stage before it in ``STAGES`` that the campaign has.

        Raises
        ------
        StopHere
            If ``until`` names the stage.
        """
        super().end(stage)
        computing = self.file.computing
        place = computing.index(stage) + 1
        following = stage_named(computing[place]) if place < len(computing) else None
        if following is not None and following.is_one_folder and following.name not in self.ended:
            self.at(following.name)
            section = self.file.section(following.name)
            result = following.part("", "run")(section, self.bench.at(following.name), self._earlier())
            self.done(following.name, self.outputs.further, result)

    def _earlier(self) -> Earlier:
        outputs = self.outputs
        labelled, sampled = ([one for out in each for one in out.snapshots] for each in (outputs.label, outputs.sample))
        return Earlier(
            results=gather(self),
            candidates=outputs.ranked,
            snapshots=tuple(labelled or sampled),
            runs=outputs.transport[-1].runs if outputs.transport else (),
        )

    def _walk(self) -> None:
        file = self.file
        base = self.potential(file.rank.potential)
        self.at("enumerate")
        self.spaces, left_out = fitting_spaces(file, self.crystals)
        enumerated = enumerate.run(file.enumerate, self.bench, self.spaces, left_out)
        end_phases = enumerate.references(self.bench, [crystal_text(entry) for entry in file.references])
        self.done("enumerate", self.outputs.enumerate, enumerated)
        self._rank(file.rank, enumerated.candidates, end_phases, base, "")
        selected = self._select(self.outputs.ranked)
        potential = learn(self, selected, base)
        first_ranked = self.outputs.ranked
        if potential.name == FINE_TUNED and file.hull is not None and file.hull.repeat_with_fine_tuned:
            self._rank_again(potential)
        rank_by_sizes(self, first_ranked, potential, self._placed)
        candidates = self.outputs.ranked
        students = self._distil(candidates, potential)
        if file.volumes is not None and (heated := self._drivers(file.volumes.potential, potential, students)):
            self.at("volumes")
            first = volumes.run(file.volumes, self.bench, candidates, heated)
            self.done("volumes", self.outputs.volumes, first, last=False)
            if file.volumes.each_series:
                self._volumes_of_series(file.volumes, candidates, potential, students)
            self.end("volumes")
        if file.transport is None:
            return
        drivers = self._drivers(file.transport.potential, potential, students)
        if not drivers:
            # The student failed its gate and the campaign demands that it passes: there is nothing to report.
            raise StopHere
        self.at("transport")
        moved = transport.run(file.transport, self.bench, candidates, drivers, ask_teacher=self._teacher_of(drivers))
        self.done("transport", self.outputs.transport, moved, last=False)
        further_runs = self._further_transport(file.transport, candidates)
        drawn_runs = run_draws(self, file.transport, self.spaces, candidates, drivers, self._teacher_of(drivers))
        series_runs = self._further_series(candidates, potential, students)
        self.end("transport")
        if file.analyse is not None:
            self.at("analyse")
            further = self._further_analysis(file.analyse, further_runs)
            own = self.outputs.distil[-1].result if drivers[0].name == STUDENT else None
            transfer, teacher = (None, "") if own is None else (own.transfer, own.teacher.name)
            texts = {entry.name: crystal_text(entry) for entry in file.crystals}
            analysed = analyse.run(file.analyse, self.bench, moved.runs, transfer, texts, teacher, further)
            if file.analyse.sites == "crystal":
                analysed = self._with_orders(analysed, moved, file.transport.supercell)
            analyse_draws(self, file.analyse, drawn_runs, transfer)
            self._analyse_series(file.analyse, series_runs)
            self.done("analyse", self.outputs.analyse, analysed)

    def _with_orders(self, analysed: AnalyseOutput, moved: TransportOutput, supercell: Rows) -> AnalyseOutput:
        """Describe the local order along the runs in which it may change."""
        mixed = order.materials_that_mix(self.outputs.rank[-1].result.order, self.file.mobile_ion)
        small = {each.run for each in moved.result.runs if each.n_atoms <= order.MOST_ATOMS}
        runs = [each for each in moved.runs if each.run in small and each.run.ordering.material in mixed]
        orders, failed = order.describe_runs(self.bench, runs, self.spaces, supercell)
        failures = (*analysed.result.failures, *failed)
        return replace(analysed, result=replace(analysed.result, orders=orders, failures=failures))

    def _rank(
        self,
        settings: RankSettings,
        orderings: Sequence[Candidate],
        phases: Sequence[Candidate],
        potential: ChosenPotential,
        round_label: str,
    ) -> None:
        """Rank orderings by a potential, and place them on a hull where the campaign has one; describe their order."""
        self.at("rank")
        ranked = rank.run(settings, self.bench, orderings, phases, potential, round_label=round_label)
        described, failures = order.describe(
            self.bench,
            ranked.candidates,
            self.outputs.enumerate[-1].candidates,
            self.spaces,
            self._averaging(),
            round_label=round_label,
        )
        result = replace(ranked.result, order=described, failures=(*ranked.result.failures, *failures))
        ranked = replace(ranked, result=result)
        self.done("rank", self.outputs.rank, ranked)
        if self.file.hull is not None:
            self.done("hull", self.outputs.hull, self._hull(self.file.hull, ranked.candidates, potential, round_label))

    def _placed(
        self,
        settings: RankSettings,
        orderings: Sequence[Candidate],
        phases: Sequence[Candidate],
        potential: ChosenPotential,
        round_label: str,
    ) -> tuple[WithCandidates[RankResult], HullOutput | None]:
        """Relax orderings once more, by another potential, and place them on a hull where the campaign has one.

        Raises
        ------
        StageError
            If no ordering, or a reference phase, could be relaxed.
        """
        self.at("rank")
        ranked = rank.run(settings, self.bench, orderings, phases, potential, round_label=round_label)
        if self.file.hull is None:
            return ranked, None
        return ranked, self._hull(self.file.hull, ranked.candidates, potential, round_label)

    def _hull(
        self, settings: HullSettings, candidates: Sequence[Candidate], potential: ChosenPotential, round_label: str
    ) -> HullOutput:
        self.at("hull")
        formulas = [(each.material.point, each.formula) for each in candidates if not each.is_reference]
        references = {name: crystal.formula for name, crystal in self.references.items()}
        vertices = end_members(self.file, formulas, references)
        return hull.run(
            settings,
            self.bench,
            candidates,
            potential,
            vertices,
            replacements=replacements(self.file),
            round_label=round_label,
        )

    def _averaging(self) -> order.Averaging | None:
        """Return how the local order of orderings is averaged: as they were drawn, or as they are selected."""
        enumeration, selection = self.file.enumerate, self.file.select
        if enumeration.method == "monte-carlo":
            return order.Averaging("draws", enumeration.monte_carlo.temperature_K)
        return None if selection is None else order.Averaging("boltzmann", selection.temperature_K)

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
        """Distil students of the first teacher, and of further ones; return those of the first.

        There are none where they failed and have to pass, or the campaign has no such stage. Further teachers are left
        out then, since the values that are stated are those of the first.
        """
        if self.file.distil is None:
            return ()
        self.at("distil")
        settings = resolved(self.file.distil, self.file.student_transport)
        candidates = of_compositions(candidates, settings.compositions, where="distil.compositions")
        crystal_cells = distil.in_refined_cells(self.outputs.enumerate[-1].candidates, self.crystals)

        def of(name: str | None, bench: Workbench) -> tuple[DistilOutput, tuple[ChosenPotential, ...], bool]:
            teacher = last if name in (None, FINE_TUNED) else self.potential(name)
            distilled = distil.run(settings, bench, candidates, teacher, crystal_cells)
            refused = settings.require_parity and not distilled.result.verdict.passed
            students = distil.committee_of(distilled, teacher)
            self.teachers[distilled.result.teacher.name] = distil.TeacherOf(settings, teacher, students)
            return distilled, students, refused

        first, *others = settings.all_teachers
        distilled, students, refused = of(first, self.bench)
        self.outputs.students = students
        self.done("distil", self.outputs.distil, distilled, last=False)
        for name in [] if refused else others:
            further, its_students, its_refused = of(name, self.bench.noted(f"teacher {name}"))
            self.outputs.teachers.append(FurtherTeacher(further.result, _REFUSED if its_refused else ""))
            self.outputs.further_students[further.result.teacher.name] = its_students
        self.end("distil")
        return () if refused else students

    def _further_transport(
        self, settings: TransportSettings, candidates: Sequence[Candidate]
    ) -> dict[str, tuple[TransportRun, ...]]:
        """Let the students of further teachers run what those of the first did; return their runs by teacher.

        Students none of whose runs succeed take no part, which is a finding, and no reason to stop.
        """
        runs = {}

        def moved_by(further: FurtherTeacher) -> FurtherTeacher:
            if further.not_used:
                return further
            students = self.outputs.further_students[further.name]
            try:
                moved = transport.run(
                    settings,
                    self.bench,
                    candidates,
                    students,
                    teacher=further.name,
                    ask_teacher=self.teachers[further.name],
                )
            except StageError as error:
                return replace(further, not_used=error.message)
            runs[further.name] = moved.runs
            return replace(further, transport=moved.result)

        self.outputs.teachers = [moved_by(further) for further in self.outputs.teachers]
        return runs

    def _volumes_of_series(
        self,
        settings: VolumesSettings,
        candidates: Sequence[Candidate],
        last: ChosenPotential,
        students: tuple[ChosenPotential, ...],
    ) -> None:
        """Repeat the stage *volumes* by the potential and at the pressure of each series that has another."""
        for series in self.file.transport_series:
            drivers = self._drivers(series.potential, last, students) if series.npt_ps > 0 else ()
            done = {(each.potential, each.pressure_GPa) for each in self.outputs.volumes}
            if drivers and (drivers[0].name, series.pressure_GPa) not in done:
                own = settings.model_copy(update={"pressure_GPa": series.pressure_GPa})
                self.outputs.volumes.append(volumes.run(own, self.bench, candidates, drivers, again=True))

    def _further_series(
        self, candidates: Sequence[Candidate], last: ChosenPotential, students: tuple[ChosenPotential, ...]
    ) -> dict[str, tuple[TransportRun, ...]]:
        """Run the series after the first, and return their runs by the names of the series.

        One without a driver, or none of whose runs succeeds, has no values: that is a finding, and no reason to stop.
        """
        runs = {}
        for settings in self.file.transport_series[1:]:
            drivers = self._drivers(settings.potential, last, students)
            why_not = {each.potential: each.reason for sizes in self.outputs.sizes for each in sizes.left_out}
            series = FurtherSeries(
                name=str(settings.name),
                potential=str(settings.potential) if not drivers else drivers[0].name,
                pressure_GPa=settings.pressure_GPa if settings.npt_ps > 0 else None,
                not_run="" if drivers else why_not.get(str(settings.potential), _REFUSED),
            )
            try:
                if drivers:
                    asked = self._teacher_of(drivers)
                    moved = transport.run(settings, self.bench, candidates, drivers, ask_teacher=asked)
                    runs[series.name], series = moved.runs, replace(series, transport=moved.result)
            except StageError as error:
                series = replace(series, not_run=error.message)
            self.outputs.series.append(series)
        return runs

    def _analyse_series(self, settings: AnalyseSettings, runs: Mapping[str, tuple[TransportRun, ...]]) -> None:
        """Analyse transport alone in the series after the first."""
        alone = settings.model_copy(update={"density_grid_A": None, "sites": "none", "observables": ()})

        def analysed(series: FurtherSeries) -> FurtherSeries:
            if series.name not in runs:
                return series
            transfer = self.outputs.distil[-1].result.transfer if series.potential == STUDENT else None
            bench = self.bench.noted(f"series {series.name}")
            return replace(series, analyse=analyse.run(alone, bench, runs[series.name], transfer, {}).result)

        self.outputs.series = [analysed(series) for series in self.outputs.series]

    def _further_analysis(
        self, settings: AnalyseSettings, runs: Mapping[str, tuple[TransportRun, ...]]
    ) -> dict[str, FurtherAnalysis]:
        """Analyse the runs by the students of further teachers, by teacher."""
        analyses = {
            further.name: analyse.analyse_further(
                settings, self.bench, runs[further.name], further.distil.transfer, further.name
            )
            for further in self.outputs.teachers
            if further.name in runs
        }
        self.outputs.teachers = [
            replace(further, arrhenius=analyses[further.name].materials, failures=analyses[further.name].failures)
            if further.name in analyses
            else further
            for further in self.outputs.teachers
        ]
        return analyses

    def _teacher_of(self, drivers: Sequence[ChosenPotential]) -> distil.TeacherOf | None:
        """Return the teacher of what drives runs, if that is the students of the first teacher."""
        if drivers[0].name != STUDENT:
            return None
        return self.teachers[self.outputs.distil[-1].result.teacher.name]

    def _drivers(
        self, name: str | None, last: ChosenPotential, students: tuple[ChosenPotential, ...]
    ) -> tuple[ChosenPotential, ...]:
        """Return what drives the runs of a stage: one potential, or the members of a committee in turn."""
        if name == STUDENT:
            return students
        if name in self.file.sized:  # there is none where the campaign has fewer labels
            return tuple(each for each in (self.outputs.sized.get(str(name)),) if each is not None)
        return (last,) if name in (None, FINE_TUNED) else (self.potential(name),)

    def _rank_again(self, potential: ChosenPotential) -> None:
        """Rank with the fine-tuned potential what the first ranking compared: single points of all, the lowest relaxed.

        Of a ranking by single points these are the orderings of the enumeration, as paper A has its static lattice
        energies, pre-screened as before; of others those that the first potential relaxed.
        """
        phases = [candidate for candidate in self.outputs.ranked if candidate.is_reference]
        orderings = [candidate for candidate in self.outputs.ranked if not candidate.is_reference]
        if self.file.rank.method == "single-points":
            orderings = list(self.outputs.enumerate[-1].candidates)
        settings = self.file.rank.model_copy(update={"method": "single-points"})
        self._rank(settings, orderings, phases, potential, "by the fine-tuned potential")
