"""Students made from labels alone: seeds, rounds of the students' own runs, one fresh training, the gate on own frames.

A part of the stage *distil*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ase import Atoms

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import Task
from superionic.results.student import (
    DistilResult,
    EqualRuns,
    Exploration,
    LearnedFrom,
    OnPolicyGate,
    OwnRunComparison,
    Round,
    Student,
    Teacher,
)
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    Workbench,
    failures_of,
    lowest_of_each,
    nothing_left,
    spread,
)
from superionic.stages.distil.data import LabelledBatch, teacher_run
from superionic.stages.distil.gate import compared
from superionic.stages.distil.learning import Dataset, FinishedStudent, Fit, train
from superionic.stages.distil.own_frames import (
    ComparedRuns,
    SeenRuns,
    gate_runs,
    last_frames,
    seen_runs,
    verdict_of,
    wrong_runs,
)
from superionic.stages.distil.rounds import dataset_of, errors_of_round, labels_of_runs, runs_of
from superionic.stages.distil.seeds import Seeds, Start, seeds_of, starts_of
from superionic.training.metrics import ErrorMetrics

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

_FEWEST_PER_RUN = 2


def run(
    settings: ResolvedDistil,
    bench: Workbench,
    candidates: Sequence[Candidate],
    crystal_cells: Mapping[str, Atoms],
    teacher: ChosenPotential,
) -> tuple[DistilResult, tuple[Task[FinishedStudent], ...]]:
    """Make students of a teacher from labels alone.

    Parameters
    ----------
    settings, bench, candidates, teacher
        As for :func:`superionic.stages.distil.run`.
    crystal_cells
        Structures of orderings, by their names, before they were relaxed.

    Raises
    ------
    StageError
        If the budget leaves no labels for the rounds, no ordering can be brought to the cell of its crystal, or the
        teacher gives no label that can be used.
    """
    own = settings.on_policy
    lowest = lowest_of_each(candidates, 1)
    gated = [lowest[index] for index in spread(len(lowest), own.gate_orderings)]
    per_round = own.labels_of_round(settings.students, len(gated))
    if per_round < _FEWEST_PER_RUN * settings.students:
        raise StageError(
            f"after the seeds and the gate of {len(gated)} orderings, {own.max_labels} labels leave {per_round} for a "
            "round",
            where="distil.on_policy.max_labels",
            fix="raise it, or lower `seed_labels`, `gate_frames`, `gate_orderings` or `rounds`",
        )
    cheap = teacher if own.seed_potential is None else bench.potentials[own.seed_potential]
    planned = starts_of(settings, bench, candidates, crystal_cells, cheap)
    outcomes = bench.runner.gather([start.seed for start in planned])
    failures = list(failures_of(outcomes))
    starts = [start for start, outcome in zip(planned, outcomes, strict=True) if outcome.ok]
    if not starts:
        fix = "set `distil.on_policy.relax_steps: 0`, or take another potential for the seeds"
        raise nothing_left(
            "no ordering could be relaxed in the cell of its crystal", failures, where=bench.stage, fix=fix
        )
    seeds = seeds_of(settings, bench, starts, teacher, cheap)
    course = _Course(settings, bench, teacher, failures)
    course.seeds = course.labelled(seeds.labels)
    if not course.seeds:
        fix = "see `superionic status` for the reasons"
        raise StageError("the teacher could label none of the seeds", where=bench.stage, fix=fix)
    now = course.learn(starts, per_round)
    seen = seen_runs(bench, gate_runs(settings, bench, gated, now.students, teacher), settings.timestep_fs)
    for repair in range(1, own.repairs + 1):
        repaired = course.repair(repair, seen, now)
        if repaired is None:
            break
        now = repaired
        failures += seen.failures
        runs = gate_runs(settings, bench, gated, now.students, teacher, repair)
        seen = seen_runs(bench, runs, settings.timestep_fs)
    equal = _equal_runs(settings, bench, lowest, now, teacher, failures)
    verdict = verdict_of(settings, bench, seen, now.students, equal)
    judged = bench.runner.one(verdict)
    data = bench.runner.one(now.dataset)
    gate = OnPolicyGate(
        runs=tuple(
            OwnRunComparison(run.candidate.ordering, run.temperature_K, run.member, run.segments[-1].key, frames)
            for run, frames in zip(seen.runs, judged.frames, strict=True)
        ),
        labels=sum(frames.errors.n_structures for frames in judged.frames),
        flags=seen.flags,
    )
    result = DistilResult(
        key=verdict.key,
        teacher=Teacher(teacher.name, teacher.identity),
        temperatures_K=settings.temperatures_K,
        required=settings.require_parity,
        verdict=judged.verdict,
        errors=judged.errors,
        parity=judged.parity,
        committee=judged.committee,
        transfer=judged.transfer,
        compared=tuple(
            EqualRuns(run.candidate.ordering, run.temperature_K, task.key, bench.runner.one(task))
            for run, task in (() if equal is None else equal.compared)
        ),
        learned_from=_learned_from(seeds, course.dropped, data.n, data.n_groups, gate.labels, data.notes),
        rounds=tuple(course.rounds),
        members=tuple(
            Student(outcome.task.key, outcome.value.n_train, outcome.value.n_validation, outcome.value.history)
            for outcome in bench.runner.gather(now.finished)
        ),
        failures=(*failures, *seen.failures, *(() if equal is None else equal.failed)),
        method="on-policy",
        on_policy=gate,
    )
    return result, now.finished


@dataclass
class _Course:
    """The course of learning: labels so far, the rounds, and what failed.

    Attributes
    ----------
    failures
        Calculations that failed.
    seeds, own
        Batches of labels of the seeds, and of frames of the students' own runs.
    rounds
        What the students did in each round.
    dropped
        Structures without a label that can be used.
    """

    settings: ResolvedDistil
    bench: Workbench
    teacher: ChosenPotential
    failures: list[Failure]
    seeds: list[Task[LabelledBatch]] = field(default_factory=list)
    own: list[Task[LabelledBatch]] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)
    dropped: int = 0

    def labelled(self, tasks: Sequence[Task[LabelledBatch]]) -> list[Task[LabelledBatch]]:
        """Have labels made; return the batches that have some."""
        outcomes = self.bench.runner.gather(tasks)
        self.failures += failures_of(outcomes)
        good = [outcome for outcome in outcomes if outcome.ok]
        self.dropped += sum(len(outcome.value.dropped) for outcome in good)
        return [outcome.task for outcome in good if len(outcome.value.set)]

    def learn(self, starts: Sequence[Start], per_round: int) -> Fit:
        """Go through the rounds, and train anew at the end."""
        settings, bench = self.settings, self.bench
        count = min(settings.on_policy.runs, max(1, per_round // (_FEWEST_PER_RUN * settings.students)))
        per_run = max(_FEWEST_PER_RUN, per_round // (count * settings.students))
        before: Fit | None = None
        for number in range(settings.on_policy.rounds):
            dataset = dataset_of(settings, bench, self.seeds, self.own, f"round {number}")
            epochs = settings.epochs if before is None else settings.refit_epochs
            before = train(settings, bench, dataset, self.teacher, f"round {number}", epochs, before)
            runs = runs_of(settings, bench, starts, before.students, number, count)
            requested, runs = labels_of_runs(settings, bench, runs, before.students, self.teacher, number, per_run)
            labels = self.labelled(requested.tasks)
            good = {task.key for task in labels}
            errors = bench.runner.gather(errors_of_round(bench, requested, good, before.students, number))
            self.failures += failures_of(errors)
            metrics = tuple(outcome.value for outcome in errors if outcome.ok)
            self._end(dataset, tuple(run.seen for run in runs), labels, metrics)
        return self._anew("at the end")

    def repair(self, number: int, seen: SeenRuns, fit: Fit) -> Fit | None:
        """Learn from runs for the gate that went wrong, and train anew; None where nothing can be learned.

        The teacher labels the ends of those that ended early, and has labelled frames of those on which the student is
        off by more than the limits. Such runs are the first in cells as large as those of production, where ions can
        crowd as in no smaller one.
        """
        wrong = wrong_runs(self.settings, self.bench, seen, fit.students)
        asked = last_frames(self.settings, self.bench, seen.broken, number, self.teacher)
        labels = self.labelled([*asked, *(label for each in wrong for label in each.run.labels)])
        if not labels:
            return None
        self._end(fit.dataset, tuple(each.seen for each in (*seen.broken, *wrong)), labels, (), is_repair=True)
        return self._anew(f"with repair {number}")

    def _end(
        self,
        dataset: Task[Dataset],
        seen: tuple[Exploration, ...],
        labels: Sequence[Task[LabelledBatch]],
        errors: tuple[ErrorMetrics, ...],
        *,
        is_repair: bool = False,
    ) -> None:
        """Note a round, and add its labels to the others."""
        one = self.bench.runner.one
        new = sum(len(one(task).set) for task in labels)
        self.rounds.append(Round(len(self.rounds), one(dataset).n, seen, new, errors, is_repair))
        self.own += labels

    def _anew(self, tail: str) -> Fit:
        # A refit ends worse than a training anew on the same labels, whose form follows from all of them.
        settings = self.settings
        dataset = dataset_of(settings, self.bench, self.seeds, self.own, tail)
        last = train(settings, self.bench, dataset, self.teacher, tail, settings.on_policy.final_epochs, None)
        self.bench.runner.gather(last.finished)
        return last


def _equal_runs(
    settings: ResolvedDistil,
    bench: Workbench,
    lowest: Sequence[Candidate],
    now: Fit,
    teacher: ChosenPotential,
    failures: list[Failure],
) -> ComparedRuns | None:
    """Have the students repeat runs of the teacher; None unless the settings say so."""
    if not settings.on_policy.compare_runs:
        return None
    planned = [
        teacher_run(settings, bench, lowest[index], temperature, teacher)
        for index in spread(len(lowest), settings.data.md_orderings)
        for temperature in settings.temperatures_K
    ]
    outcomes = bench.runner.gather([one.last for one in planned])
    failures += failures_of(outcomes)
    good = [one for one, outcome in zip(planned, outcomes, strict=True) if outcome.ok]
    runs, failed = compared(settings, bench, good, now.students)
    return ComparedRuns(tuple(runs), tuple(failed))


def _learned_from(
    seeds: Seeds, dropped: int, total: int, groups: int, held_out: int, notes: tuple[str, ...]
) -> LearnedFrom:
    return LearnedFrom(
        snapshots=seeds.frames,
        distorted=seeds.distorted,
        contacts=seeds.contacts,
        relaxed=seeds.relaxed,
        dropped=dropped,
        total=total,
        groups=groups,
        held_out=held_out,
        notes=notes,
    )
