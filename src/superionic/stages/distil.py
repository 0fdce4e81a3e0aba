"""Stage *distil*: a fast student learns from the slow potential, explores, learns on, and is put to the test.

The teacher runs molecular dynamics, labels distorted structures, and relaxes rattled ones. Students learn from that.
They run hot until they extrapolate; the teacher labels what they met there, and they learn on, until nothing new comes
or the rounds are used up. Then the gate: the students repeat the teacher's runs, and are compared with it on
frames that they have never seen. The parts are in ``distil_data``, ``distil_learning`` and ``distil_gate``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superionic.errors import StageError
from superionic.execution.runner import Failure
from superionic.execution.task import Task
from superionic.stages.base import Candidate, ChosenPotential, StageResult, Workbench, failures_as_data
from superionic.stages.distil_data import (
    STAGE,
    ComparedRun,
    distorted,
    frames_of,
    held_out_run,
    labels_of,
    lowest_of_each,
    rattled,
    teacher_run,
)
from superionic.stages.distil_gate import compared, held_out_set, predictions_of, verdict_task_of
from superionic.stages.distil_learning import STUDENT, Exploration, Fit, collected_frames, explore, fit

__all__ = ["STAGE", "STUDENT", "committee_of", "run"]


def run(
    settings: Mapping[str, Any], bench: Workbench, candidates: Sequence[Candidate], teacher: ChosenPotential
) -> StageResult:
    """Distil a committee of students out of a potential.

    Parameters
    ----------
    settings
        The ``distil`` section, its gaps filled (see :func:`superionic.settings.distil.resolved`).
    bench
        The workbench.
    candidates
        Relaxed orderings of the whole campaign; references are left out.
    teacher
        The potential to learn from.

    Returns
    -------
    StageResult
        ``tasks`` has the weights as ``student 1``, ``student 2`` …; the summary has the verdict. See
        :func:`committee_of`.

    Raises
    ------
    StageError
        If the teacher itself fails in all of its runs, or gives no label that can be used.
    """
    lowest = lowest_of_each(candidates, settings["data"]["orderings"])
    if not lowest:
        raise StageError("there is no ordering to learn from", where=STAGE)
    runs, held_out, failures = _teacher_runs(settings, bench, candidates, teacher)
    start = _first_data(settings, bench, lowest, runs, teacher)
    unseen = [
        task for label, frames, count in held_out for task in labels_of(settings, bench, label, frames, count, teacher)
    ]
    outcomes = bench.runner.gather([*start.labels, *unseen])
    failures += [outcome.failure for outcome in outcomes if outcome.failure is not None]
    good = {outcome.task.key for outcome in outcomes if outcome.ok}
    dropped = [reason for outcome in outcomes if outcome.ok for reason in outcome.value["dropped"]]
    labels = [task for task in start.labels if task.key in good]
    unseen = [task for task in unseen if task.key in good]
    if not labels or not unseen:
        raise StageError("the teacher could label nothing", where=STAGE, fix="see `superionic status` for the reasons")

    fits, rounds = _learn(settings, bench, runs, labels, teacher)
    now = fits[-1]
    unseen_set = held_out_set(bench, unseen)
    after = predictions_of(bench, "at the end", unseen_set, now.students)
    first = predictions_of(bench, "after the first training", unseen_set, fits[0].students) if len(fits) > 1 else []
    comparisons, failed_runs = compared(settings, bench, runs, now.students)
    failures += failed_runs
    last = rounds[-1]["explorations"]
    verdict = verdict_task_of(
        settings,
        bench,
        unseen_set,
        after,
        first,
        comparisons,
        failed_runs,
        [float(exploration["clean_ps"]) for exploration in last],
    )
    judged = bench.runner.one(verdict)
    data = bench.runner.one(now.dataset)
    finished = [outcome.value for outcome in bench.runner.gather(now.finished)]
    summary = {
        **judged,
        "compared": [
            {**bench.runner.one(task), "key": task.key, "run": run.name, "temperature_K": run.temperature_K}
            for run, task in comparisons
        ],
        "data": {
            **start.counts,
            "dropped": len(dropped),
            "groups": data["n_groups"],
            "held_out": bench.runner.one(unseen_set)["n"],
            "notes": data["notes"],
            "total": data["n"],
        },
        "failures": failures_as_data(failures),
        "history": [_history(entry["history"]) for entry in finished],
        "key": verdict.key,
        "members": [
            {"key": task.key, "n_train": entry["n_train"], "n_validation": entry["n_validation"]}
            for task, entry in zip(now.finished, finished, strict=True)
        ],
        "required": settings["require_parity"],
        "rounds": rounds,
        "teacher": {**teacher.identity, "called": teacher.name},
        "temperatures_K": list(settings["temperatures_K"]),
    }
    tasks = {f"{STUDENT} {member + 1}": task for member, task in enumerate(now.finished)}
    return StageResult(summary, tasks=tasks, failures=tuple(failures))


def committee_of(result: StageResult, teacher: ChosenPotential) -> tuple[ChosenPotential, ...]:
    """Return the students of a result as potentials that drive other stages."""
    from superionic.stages.distil_learning import student_of

    return tuple(student_of(task["weights"], teacher, member) for member, task in enumerate(result.tasks.values()))


def _teacher_runs(
    settings: Mapping[str, Any], bench: Workbench, candidates: Sequence[Candidate], teacher: ChosenPotential
) -> tuple[list[ComparedRun], list[tuple[str, Task, int]], list[Failure]]:
    """Make the teacher's runs; returns those that came to their end, frames of the unseen ones, and failures."""
    each = lowest_of_each(candidates, 1)
    chosen = [each[index] for index in _spread(len(each), settings["data"]["md_orderings"])]
    wanted = [
        teacher_run(settings, bench, candidate, temperature, teacher)
        for candidate in chosen
        for temperature in settings["temperatures_K"]
    ]
    hottest = settings["temperatures_K"][-1]
    hot = [one for one in wanted if one.temperature_K == hottest]
    # One unseen run of every second ordering: the first and the last of the compositions are among them.
    hidden = [hot[index] for index in _spread(len(hot), (len(hot) + 1) // 2)]
    unseen = [(one, held_out_run(settings, bench, one, teacher)) for one in hidden]
    outcomes = bench.runner.gather([*(one.last for one in wanted), *(segments[-1] for _, segments in unseen)])
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    good = {outcome.task.key for outcome in outcomes if outcome.ok}
    runs = [one for one in wanted if one.last.key in good]
    held_out = []
    for one, segments in unseen:
        if segments[-1].key in good:
            label = f"held out {one.name}"
            count = settings["held_out_frames"]
            held_out.append((label, frames_of(bench, label, segments, count), count))
    if not runs or not held_out:
        reasons = "; ".join(sorted({failure.reason for failure in failures})[:3])
        raise StageError(
            f"the teacher's own runs failed ({reasons})",
            where=STAGE,
            fix="lower `distil.temperatures_K` or the time step, or take another teacher",
        )
    return runs, held_out, failures


def _spread(count: int, wanted: int) -> list[int]:
    """Return indices of ``range(count)``, evenly spread with both ends; all if there are no more than wanted."""
    if count <= wanted:
        return list(range(count))
    if wanted == 1:
        return [0]
    return sorted({round(k * (count - 1) / (wanted - 1)) for k in range(wanted)})


@dataclass(frozen=True)
class _FirstData:
    labels: tuple[Task, ...]
    counts: dict[str, int]


def _first_data(
    settings: Mapping[str, Any],
    bench: Workbench,
    lowest: Sequence[Candidate],
    runs: Sequence[ComparedRun],
    teacher: ChosenPotential,
) -> _FirstData:
    """Build the labels of the first training; counts are lowered in proportion to what `max_structures` leaves."""
    data, loop = settings["data"], settings["explore"]
    relaxed_each = data["relax_cycles"] * data["relax_steps"]
    asked = len(runs) * data["snapshots"] + len(lowest) * (data["distorted"] + data["contacts"] + relaxed_each)
    room = max(10, data["max_structures"] - loop["rounds"] * loop["labels_per_round"])
    share = min(1.0, room / max(asked, 1))

    def lowered(count: int) -> int:
        return count if share == 1.0 else max(min(count, 1), int(count * share))

    labels: list[Task] = []
    snapshots = lowered(data["snapshots"])
    for run in runs:
        frames = frames_of(bench, run.name, [*run.npt, *run.production], snapshots)
        labels += labels_of(settings, bench, run.name, frames, snapshots, teacher)
    counts = (lowered(data["distorted"]), lowered(data["contacts"]))
    cycles = lowered(data["relax_cycles"])
    for candidate in lowest:
        if sum(counts):
            frames = distorted(settings, bench, candidate.id, candidate.structure, counts)
            labels += labels_of(settings, bench, f"distorted {candidate.id}", frames, sum(counts), teacher)
        if cycles:
            labels.append(rattled(settings, bench, candidate, cycles, teacher))
    told = {
        "contacts": counts[1] * len(lowest),
        "distorted": counts[0] * len(lowest),
        "relaxed": cycles * data["relax_steps"] * len(lowest),
        "snapshots": snapshots * len(runs),
    }
    return _FirstData(tuple(labels), told)


def _learn(
    settings: Mapping[str, Any],
    bench: Workbench,
    runs: Sequence[ComparedRun],
    labels: Sequence[Task],
    teacher: ChosenPotential,
) -> tuple[list[Fit], list[dict[str, Any]]]:
    """Train, explore, label, train on; returns the fits of all rounds, and what each round saw."""
    known = list(labels)
    fits: list[Fit] = []
    rounds: list[dict[str, Any]] = []
    hottest = max(run.temperature_K for run in runs)
    starts = [run for run in runs if run.temperature_K == hottest]
    for number in range(settings["explore"]["rounds"] + 1):
        now = fit(settings, bench, known, teacher, number, fits[-1] if fits else None)
        bench.runner.gather(now.finished)
        fits.append(now)
        explored = explore(settings, bench, starts, now.students, number)
        entry: dict[str, Any] = {
            "explorations": [_told(exploration) for exploration in explored],
            "labels": 0,
            "round": number,
            "structures": bench.runner.one(now.dataset)["n"],
        }
        rounds.append(entry)
        # A run that came through, but far from the data now and then, has still something to teach.
        nothing_new = all(not one.ended and one.n_collected == 0 for one in explored)
        if nothing_new or number == settings["explore"]["rounds"]:
            break
        new = [
            task
            for label, frames, count in collected_frames(settings, bench, explored, number)
            for task in labels_of(settings, bench, label, frames, count, teacher)
        ]
        outcomes = bench.runner.gather(new)
        known += [outcome.task for outcome in outcomes if outcome.ok]
        entry["labels"] = sum(len(outcome.value["set"]["n_atoms"]) for outcome in outcomes if outcome.ok)
        if entry["labels"] == 0:
            break
    return fits, rounds


def _told(exploration: Exploration) -> dict[str, Any]:
    return {
        "clean_ps": exploration.clean_ps,
        "collected": exploration.n_collected,
        "ended": exploration.ended,
        "id": exploration.run.candidate.id,
        "member": exploration.member + 1,
        "worst_grade": exploration.worst_grade,
    }


def _history(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Flatten the trainer's history as the report's learning curve reads it."""
    flat = []
    for entry in entries:
        row: dict[str, Any] = {"epoch": entry["epoch"]}
        for part in ("train", "validation"):
            row |= {f"{part}_{name}": value for name, value in (entry[part] or {}).items()}
        flat.append(row)
    return flat
