"""Students made from labels alone: seeds, rounds of the students' own runs, one fresh training, the gate on own frames.

A part of the stage *distil*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ase import Atoms

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import Task
from superionic.results.student import (
    DistilResult,
    EqualRuns,
    LearnedFrom,
    OnPolicyGate,
    OwnRunComparison,
    Round,
    RunComparison,
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
from superionic.stages.distil.data import ComparedRun, LabelledBatch, teacher_run
from superionic.stages.distil.gate import compared
from superionic.stages.distil.learning import FinishedStudent, Fit, train
from superionic.stages.distil.own_frames import gate_runs, seen_runs, verdict_of
from superionic.stages.distil.rounds import dataset_of, errors_of_round, labels_of_runs, runs_of
from superionic.stages.distil.seeds import Seeds, Start, seeds_of, starts_of

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
    labels, dropped = _labelled(bench, seeds.labels, failures)
    if not labels:
        fix = "see `superionic status` for the reasons"
        raise StageError("the teacher could label none of the seeds", where=bench.stage, fix=fix)
    now, rounds, lost = _learn(settings, bench, starts, labels, teacher, per_round, failures)
    dropped += lost
    seen = seen_runs(bench, gate_runs(settings, bench, gated, now.students, teacher))
    equal, failed = _equal_runs(settings, bench, lowest, now, teacher, failures)
    verdict = verdict_of(settings, bench, seen, now.students, equal, failed)
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
            for run, task in equal
        ),
        learned_from=_learned_from(seeds, dropped, data.n, data.n_groups, gate.labels, data.notes),
        rounds=tuple(rounds),
        members=tuple(
            Student(outcome.task.key, outcome.value.n_train, outcome.value.n_validation, outcome.value.history)
            for outcome in bench.runner.gather(now.finished)
        ),
        failures=(*failures, *seen.failures, *failed),
        method="on-policy",
        on_policy=gate,
    )
    return result, now.finished


def _labelled(
    bench: Workbench, tasks: Sequence[Task[LabelledBatch]], failures: list[Failure]
) -> tuple[list[Task[LabelledBatch]], int]:
    """Have labels made; returns the batches that were, and how many structures they dropped. Notes failures."""
    outcomes = bench.runner.gather(tasks)
    failures += failures_of(outcomes)
    good = [outcome for outcome in outcomes if outcome.ok]
    filled = [outcome.task for outcome in good if len(outcome.value.set)]
    return filled, sum(len(outcome.value.dropped) for outcome in good)


def _learn(
    settings: ResolvedDistil,
    bench: Workbench,
    starts: Sequence[Start],
    seeds: Sequence[Task[LabelledBatch]],
    teacher: ChosenPotential,
    per_round: int,
    failures: list[Failure],
) -> tuple[Fit, list[Round], int]:
    """Go through the rounds and train anew at the end; returns the fit, the rounds, and how many labels dropped out."""
    count = min(settings.on_policy.runs, max(1, per_round // (_FEWEST_PER_RUN * settings.students)))
    per_run = max(_FEWEST_PER_RUN, per_round // (count * settings.students))
    own: list[Task[LabelledBatch]] = []
    rounds: list[Round] = []
    dropped = 0
    before: Fit | None = None
    for number in range(settings.on_policy.rounds):
        dataset = dataset_of(settings, bench, seeds, own, f"round {number}")
        epochs = settings.epochs if before is None else settings.refit_epochs
        before = train(settings, bench, dataset, teacher, f"round {number}", epochs, before)
        runs = runs_of(settings, bench, starts, before.students, number, count)
        requested, runs = labels_of_runs(settings, bench, runs, before.students, teacher, number, per_run)
        labels, lost = _labelled(bench, requested.tasks, failures)
        good = {task.key for task in labels}
        errors = bench.runner.gather(errors_of_round(bench, requested, good, before.students, number))
        failures += failures_of(errors)
        own += labels
        dropped += lost
        new = sum(len(bench.runner.one(task).set) for task in labels)
        structures = bench.runner.one(dataset).n
        metrics = tuple(outcome.value for outcome in errors if outcome.ok)
        rounds.append(Round(number, structures, tuple(run.seen for run in runs), new, metrics))
    dataset = dataset_of(settings, bench, seeds, own, "at the end")
    # A refit ends worse than a training anew on the same labels, whose form follows from all of them.
    last = train(settings, bench, dataset, teacher, "at the end", settings.on_policy.final_epochs, None)
    bench.runner.gather(last.finished)
    return last, rounds, dropped


def _equal_runs(
    settings: ResolvedDistil,
    bench: Workbench,
    lowest: Sequence[Candidate],
    now: Fit,
    teacher: ChosenPotential,
    failures: list[Failure],
) -> tuple[list[tuple[ComparedRun, Task[RunComparison]]], list[Failure]]:
    """Have the students repeat runs of the teacher, if the settings say so; returns comparisons and failures."""
    if not settings.on_policy.compare_runs:
        return [], []
    planned = [
        teacher_run(settings, bench, lowest[index], temperature, teacher)
        for index in spread(len(lowest), settings.data.md_orderings)
        for temperature in settings.temperatures_K
    ]
    outcomes = bench.runner.gather([one.last for one in planned])
    failures += failures_of(outcomes)
    good = [one for one, outcome in zip(planned, outcomes, strict=True) if outcome.ok]
    return compared(settings, bench, good, now.students)


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
