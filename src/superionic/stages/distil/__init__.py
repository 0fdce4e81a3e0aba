"""Stage *distil*: a fast student learns from the slow potential, explores, learns on, and is put to the test.

The teacher runs molecular dynamics, labels distorted structures, and relaxes rattled ones. Students learn from that.
They run hot until they extrapolate; the teacher labels what they met there, and they learn on, until nothing new comes
or the rounds are used up. Then the gate: the students repeat the teacher's runs, and are compared with it on
frames that they have never seen. The parts are in ``data``, ``learning`` and ``gate``.

Or the teacher only labels (``method: on-policy``): the students run, the teacher labels what they meet, and the gate is
on frames of their own runs. This way is in ``on_policy``, its parts in ``seeds``, ``rounds`` and ``own_frames``.

Either way the teacher has the last word, on frames of the runs of *transport* (``production``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ase import Atoms

from superionic.dynamics.md import Segment
from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import Task
from superionic.results.student import DistilResult, EqualRuns, LearnedFrom, Round, Student, Teacher
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    Workbench,
    failures_of,
    lowest_of_each,
    nothing_left,
    spread,
)
from superionic.stages.distil import on_policy
from superionic.stages.distil.data import (
    ComparedRun,
    LabelledBatch,
    distorted,
    frames_of,
    held_out_run,
    labels_of,
    rattled,
    teacher_run,
)
from superionic.stages.distil.gate import compared, held_out_set, predictions_of, verdict_task_of
from superionic.stages.distil.learning import STUDENT, FinishedStudent, Fit, collected_frames, explore, fit, student_of
from superionic.stages.distil.production import TeacherOf
from superionic.stages.distil.seeds import in_refined_cells

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

__all__ = ["STUDENT", "DistilOutput", "TeacherOf", "committee_of", "in_refined_cells", "run"]


@dataclass(frozen=True)
class DistilOutput:
    """What the stage gives.

    Attributes
    ----------
    students
        The tasks with the weights of each member; see :func:`committee_of`.
    """

    result: DistilResult
    students: tuple[Task[FinishedStudent], ...]


def run(
    settings: ResolvedDistil,
    bench: Workbench,
    candidates: Sequence[Candidate],
    teacher: ChosenPotential,
    crystal_cells: Mapping[str, Atoms] = MappingProxyType({}),
) -> DistilOutput:
    """Distil a committee of students out of a potential.

    Parameters
    ----------
    settings
        The ``distil`` section, its gaps filled (see :func:`superionic.settings.distil.resolved`).
    candidates
        Relaxed orderings of the whole campaign; references are left out.
    teacher
        The potential to learn from.
    crystal_cells
        Structures of orderings, by their names, before they were relaxed: students from labels alone start from the
        cell of the crystal. One that is missing keeps the cell to which it relaxed.

    Raises
    ------
    StageError
        If the teacher itself fails in all of its runs, or gives no label that can be used.
    """
    bench = bench.at("distil")
    lowest = lowest_of_each(candidates, settings.data.orderings)
    if not lowest:
        raise StageError("there is no ordering to learn from", where=bench.stage)
    if settings.method == "on-policy":
        return DistilOutput(*on_policy.run(settings, bench, candidates, crystal_cells, teacher))
    of_teacher = _teacher_runs(settings, bench, candidates, teacher)
    start = _first_data(settings, bench, lowest, of_teacher.runs, teacher)
    outcomes = bench.runner.gather([*start.labels, *of_teacher.unseen])
    failures = [*of_teacher.failures, *failures_of(outcomes)]
    good = {outcome.task.key for outcome in outcomes if outcome.ok}
    dropped = sum(len(outcome.value.dropped) for outcome in outcomes if outcome.ok)
    labels = [task for task in start.labels if task.key in good]
    unseen = [task for task in of_teacher.unseen if task.key in good]
    if not labels or not unseen:
        raise StageError(
            "the teacher could label nothing", where=bench.stage, fix="see `superionic status` for the reasons"
        )

    fits, rounds = _learn(settings, bench, of_teacher.runs, labels, teacher)
    now = fits[-1]
    unseen_set = held_out_set(bench, unseen)
    after = predictions_of(bench, "at the end", unseen_set, now.students)
    first = predictions_of(bench, "after the first training", unseen_set, fits[0].students) if len(fits) > 1 else []
    comparisons, failed_runs = compared(settings, bench, of_teacher.runs, now.students)
    clean = [exploration.clean_ps for exploration in rounds[-1].explorations]
    verdict = verdict_task_of(settings, bench, unseen_set, after, first, comparisons, failed_runs, clean)
    judged = bench.runner.one(verdict)
    data = bench.runner.one(now.dataset)
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
            for run, task in comparisons
        ),
        learned_from=LearnedFrom(
            snapshots=start.snapshots,
            distorted=start.distorted,
            contacts=start.contacts,
            relaxed=start.relaxed,
            dropped=dropped,
            total=data.n,
            groups=data.n_groups,
            held_out=len(bench.runner.one(unseen_set)),
            notes=data.notes,
        ),
        rounds=tuple(rounds),
        members=tuple(
            Student(outcome.task.key, outcome.value.n_train, outcome.value.n_validation, outcome.value.history)
            for outcome in bench.runner.gather(now.finished)
        ),
        failures=(*failures, *failed_runs),
    )
    return DistilOutput(result, now.finished)


def committee_of(output: DistilOutput, teacher: ChosenPotential) -> tuple[ChosenPotential, ...]:
    """Return the students as potentials that drive other stages."""
    return tuple(student_of(task.result.weights, teacher, member) for member, task in enumerate(output.students))


@dataclass(frozen=True)
class _TeacherRuns:
    """Runs of the teacher that came to their end, labels of the unseen ones, and failures."""

    runs: list[ComparedRun]
    unseen: list[Task[LabelledBatch]]
    failures: tuple[Failure, ...]


def _teacher_runs(
    settings: ResolvedDistil, bench: Workbench, candidates: Sequence[Candidate], teacher: ChosenPotential
) -> _TeacherRuns:
    """Make the teacher's runs."""
    each = lowest_of_each(candidates, 1)
    spread_out = [each[index] for index in spread(len(each), settings.data.md_orderings)]
    planned = [
        teacher_run(settings, bench, candidate, temperature, teacher)
        for candidate in spread_out
        for temperature in settings.temperatures_K
    ]
    hottest = settings.temperatures_K[-1]
    hot = [one for one in planned if one.temperature_K == hottest]
    # One unseen run of every second ordering: the first and the last of the compositions are among them.
    hidden = [hot[index] for index in spread(len(hot), (len(hot) + 1) // 2)]
    unseen: list[tuple[ComparedRun, tuple[Task[Segment], ...]]] = [
        (one, held_out_run(settings, bench, one, teacher)) for one in hidden
    ]
    outcomes = bench.runner.gather([*(one.last for one in planned), *(segments[-1] for _, segments in unseen)])
    failures = failures_of(outcomes)
    good = {outcome.task.key for outcome in outcomes if outcome.ok}
    runs = [one for one in planned if one.last.key in good]
    count = settings.held_out_frames
    labels = []
    for one, segments in unseen:
        if segments[-1].key in good:
            label = f"held out {one.name}"
            labels += labels_of(settings, bench, label, frames_of(bench, label, segments, count), count, teacher)
    if not runs or not labels:
        fix = "lower `distil.temperatures_K` or the time step, or take another teacher"
        raise nothing_left("the teacher's own runs failed", failures, where=bench.stage, fix=fix)
    return _TeacherRuns(runs, labels, failures)


@dataclass(frozen=True)
class _FirstData:
    """Labels of the first training, and how many of each kind are planned."""

    labels: tuple[Task[LabelledBatch], ...]
    snapshots: int
    distorted: int
    contacts: int
    relaxed: int


def _first_data(
    settings: ResolvedDistil,
    bench: Workbench,
    lowest: Sequence[Candidate],
    runs: Sequence[ComparedRun],
    teacher: ChosenPotential,
) -> _FirstData:
    """Build the labels of the first training; counts are lowered in proportion to what `max_structures` leaves."""
    data, loop = settings.data, settings.explore
    relaxed_each = data.relax_cycles * data.relax_steps
    n_planned = len(runs) * data.snapshots + len(lowest) * (data.distorted + data.contacts + relaxed_each)
    room = max(10, data.max_structures - loop.rounds * loop.labels_per_round)
    share = min(1.0, room / max(n_planned, 1))

    def lowered(count: int) -> int:
        return count if share == 1.0 else max(min(count, 1), int(count * share))

    labels: list[Task[LabelledBatch]] = []
    snapshots = lowered(data.snapshots)
    for run in runs:
        frames = frames_of(bench, run.name, [*run.npt, *run.production], snapshots)
        labels += labels_of(settings, bench, run.name, frames, snapshots, teacher)
    counts = (lowered(data.distorted), lowered(data.contacts))
    cycles = lowered(data.relax_cycles)
    for number, candidate in enumerate(lowest):
        if sum(counts):
            of_cell = (candidate.id, candidate.structure, settings.supercell)
            frames = distorted(settings, bench, *of_cell, counts, contacts_before=number * counts[1])
            labels += labels_of(settings, bench, f"distorted {candidate.id}", frames, sum(counts), teacher)
        if cycles:
            labels.append(rattled(settings, bench, candidate, cycles, teacher))
    return _FirstData(
        tuple(labels),
        snapshots=snapshots * len(runs),
        distorted=counts[0] * len(lowest),
        contacts=counts[1] * len(lowest),
        relaxed=cycles * data.relax_steps * len(lowest),
    )


def _learn(
    settings: ResolvedDistil,
    bench: Workbench,
    runs: Sequence[ComparedRun],
    labels: Sequence[Task[LabelledBatch]],
    teacher: ChosenPotential,
) -> tuple[list[Fit], list[Round]]:
    """Train, explore, label, train on; returns the fits of all rounds, and what each round saw."""
    known = list(labels)
    fits: list[Fit] = []
    rounds: list[Round] = []
    hottest = max(run.temperature_K for run in runs)
    starts = [run for run in runs if run.temperature_K == hottest]
    last = settings.explore.rounds
    for number in range(last + 1):
        now = fit(settings, bench, known, teacher, number, fits[-1] if fits else None)
        bench.runner.gather(now.finished)
        fits.append(now)
        explored = explore(settings, bench, starts, now.students, number)
        # A run that came through, but far from the data now and then, has still something to teach.
        nothing_new = all(not one.seen.ended and one.seen.collected == 0 for one in explored)
        new = 0
        if not nothing_new and number < last:
            requested = [
                task
                for label, frames, count in collected_frames(settings, bench, explored, number)
                for task in labels_of(settings, bench, label, frames, count, teacher)
            ]
            labelled = [outcome for outcome in bench.runner.gather(requested) if outcome.ok]
            known += [outcome.task for outcome in labelled]
            new = sum(len(outcome.value.set) for outcome in labelled)
        structures = bench.runner.one(now.dataset).n
        rounds.append(Round(number, structures, tuple(one.seen for one in explored), new))
        if new == 0:
            break
    return fits, rounds
