"""The gate of students made from labels alone: frames of their own runs, in cells as large as those of production.

A part of the stage *distil*. Each student runs as `transport` will, at both ends of the temperatures; the teacher
labels frames of the later half. With ``compare_runs`` the students repeat runs of the teacher besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from ase.data import atomic_numbers

from superionic.dynamics.md import Segment
from superionic.dynamics.monitors import Limits
from superionic.execution.runner import Failure
from superionic.execution.task import Context, Task, task
from superionic.results.student import Exploration, OwnJudgement, RunComparison
from superionic.stages.base import Candidate, ChosenPotential, FloatArray, IntArray, Workbench, failures_of, load
from superionic.stages.chains import Phase, chain, md_settings
from superionic.stages.distil.data import ComparedRun, LabelledBatch, frames_of, labels_of, wrapped
from superionic.stages.distil.gate import equal_run_criteria, judgement, merge_task, predictions_of
from superionic.stages.distil.learning import exploration_of
from superionic.training.dataset import Targets
from superionic.training.distillation import PackedSet, PackedStructures, PackedTargets, evenly, pack_structures
from superionic.training.metrics import errors
from superionic.training.on_policy import OnPolicyLimits, bulk_modulus_GPa, compare_own_frames, on_policy_criteria
from superionic.training.parity import Criterion, DiffusivityPair, Verdict, transfer_error

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

_FEWEST_FRAMES = 2
_FRAMES_OF_MODULUS = 5
_DISCARD_FRACTION = 0.3
_END_FS = 2000.0
"""A run goes astray within this time before it ends."""


@dataclass(frozen=True)
class GateRun:
    """A student's own run for the gate.

    Attributes
    ----------
    candidate, temperature_K, member
        What ran, how hot, and by which student, from 1.
    segments
        All of it.
    frames
        The task with the frames that are labelled.
    """

    candidate: Candidate
    temperature_K: float
    member: int
    segments: tuple[Task[Segment], ...]
    frames: Task[PackedStructures]
    labels: tuple[Task[LabelledBatch], ...]

    @property
    def name(self) -> str:
        """For people, e.g. ``"p-3m1 #4 600 K by student 1"``."""
        return f"{self.candidate.id} {self.temperature_K:g} K by student {self.member}"


def gate_runs(
    settings: ResolvedDistil,
    bench: Workbench,
    candidates: Sequence[Candidate],
    students: Sequence[ChosenPotential],
    teacher: ChosenPotential,
    repairs: int = 0,
) -> list[GateRun]:
    """Build a run of each student and ordering at each end of the temperatures, and the labels of its frames.

    ``repairs`` counts how often the students have learned from such runs before.
    """
    own = settings.on_policy
    limits = Limits(
        extrapolation_every=max(1, round(settings.explore.check_every_fs / settings.timestep_fs)),
        max_extrapolation=settings.explore.stop_above,
        max_collected=0,
        keep_frames=True,
        melting="warn",
        mobile_number=atomic_numbers[bench.mobile_ion],
    )
    made = []
    for candidate in candidates:
        for temperature in dict.fromkeys((settings.temperatures_K[0], settings.temperatures_K[-1])):
            for member, student in enumerate(students, 1):
                again = f" after repair {repairs}" if repairs else ""
                label = f"gate run of {candidate.id} {temperature:g} K by student {member}{again}"
                npt = md_settings(settings, temperature, "npt", cell_motion=settings.cell_motion)
                nvt = md_settings(settings, temperature, "nvt")
                longest, half = settings.segment_ps, 0.5 * own.gate_ps
                phases = (
                    Phase("npt", npt, own.gate_npt_ps, longest, limits=limits),
                    Phase(
                        "equilibration",
                        nvt,
                        half,
                        longest,
                        average_cell_of="npt",
                        discard_fraction=_DISCARD_FRACTION,
                        limits=limits,
                    ),
                    Phase("production", nvt, half, longest, limits=limits),
                )
                built = chain(bench, label, candidate.structure, own.gate_supercell, student, phases)
                frames = frames_of(bench, label, built.segments("production"), own.gate_frames)
                labels = labels_of(settings, bench, f"frames of {label}", frames, own.gate_frames, teacher)
                segments = built.segments("npt", "equilibration", "production")
                made.append(GateRun(candidate, temperature, member, segments, frames, tuple(labels)))
    return made


@dataclass(frozen=True)
class SeenRun:
    """A run for the gate: the segments that it has, and how far it came."""

    run: GateRun
    good: tuple[Task[Segment], ...]
    seen: Exploration


@dataclass(frozen=True)
class SeenRuns:
    """The gate's runs as they came out.

    Attributes
    ----------
    labelled
        Those whose frames the teacher labelled.
    n_runs
        How many there were to be.
    failures
        Calculations that failed.
    broken
        Those that ended early.
    ended
        Of each run that ended early or has too few labels: its name and why.
    flags
        What the runs' monitors said, e.g. of melting.
    """

    labelled: tuple[SeenRun, ...]
    n_runs: int
    failures: tuple[Failure, ...]
    broken: tuple[SeenRun, ...]
    ended: tuple[str, ...]
    flags: tuple[str, ...]

    @property
    def runs(self) -> tuple[GateRun, ...]:
        """Those whose frames the teacher labelled."""
        return tuple(each.run for each in self.labelled)


def seen_runs(bench: Workbench, runs: Sequence[GateRun], timestep_fs: float) -> SeenRuns:
    """Have the runs made and their frames labelled; those that ended early are not labelled."""
    outcomes = iter(bench.runner.gather([segment for run in runs for segment in run.segments]))
    sound: list[SeenRun] = []
    failures: list[Failure] = []
    broken: list[SeenRun] = []
    ended: list[str] = []
    flags: list[str] = []
    for run in runs:
        reason = None
        of_run = [next(outcomes) for _ in run.segments]
        for outcome in of_run:
            if outcome.failure is not None:
                failures.append(outcome.failure)
                reason = reason or outcome.failure.reason
                continue
            flags += [f"{run.name}: {flag}" for flag in outcome.value.flags]
            reason = reason or outcome.value.stopped
        seen = SeenRun(run, *exploration_of(run.candidate, run.member - 1, of_run, timestep_fs, run.temperature_K))
        if reason is None:
            sound.append(seen)
        else:
            ended.append(f"{run.name}: {reason}")
            broken.append(seen)
    labels = bench.runner.gather([label for each in sound for label in each.run.labels])
    failures += failures_of(labels)
    counts = {outcome.task.key: len(outcome.value.set) for outcome in labels if outcome.ok}
    labelled = []
    for each in sound:
        own = [counts.get(label.key) for label in each.run.labels]
        if None not in own and sum(count or 0 for count in own) >= _FEWEST_FRAMES:
            labelled.append(each)
        else:
            ended.append(f"{each.run.name}: the teacher could not label its frames")
    return SeenRuns(
        labelled=tuple(labelled),
        n_runs=len(runs),
        failures=tuple(failures),
        broken=tuple(broken),
        ended=tuple(ended),
        flags=tuple(dict.fromkeys(flags)),
    )


def last_frames(
    settings: ResolvedDistil, bench: Workbench, broken: Sequence[SeenRun], repair: int, teacher: ChosenPotential
) -> list[Task[LabelledBatch]]:
    """Build the tasks in which the teacher labels the last frames of runs that ended early, for a repair."""
    count = settings.on_policy.repair_frames
    made = []
    for each in broken:
        if each.good:
            label = f"the end of {each.run.name} before repair {repair}"
            call = last_frames_task.of(
                cells=[segment.result.cells_A for segment in each.good],
                numbers=each.good[0].result.state.numbers,
                positions=[segment.result.positions_A for segment in each.good],
                count=count,
                within=max(count, round(_END_FS / settings.save_every_fs)),
                group=label,
            )
            made += labels_of(settings, bench, label, bench.task(label, call), count, teacher)
    return made


def labels_in(bench: Workbench, run: GateRun) -> Task[PackedSet]:
    """Build the task that puts the labels of one run together."""
    return bench.task(f"labels in {run.name}", merge_task.of(sets=[task.result.set for task in run.labels]))


def wrong_runs(
    settings: ResolvedDistil, bench: Workbench, seen: SeenRuns, students: Sequence[ChosenPotential]
) -> tuple[SeenRun, ...]:
    """Return the runs on whose frames the student is off by more than the limits."""
    if not seen.labelled:
        return ()
    judged = bench.runner.one(verdict_of(settings, bench, seen, students, None))
    limits = _limits(settings)
    return tuple(
        each
        for each, frames in zip(seen.labelled, judged.frames, strict=True)
        if any(one.passed is False for one in on_policy_criteria([(each.run.name, frames)], limits))
    )


def _limits(settings: ResolvedDistil) -> OnPolicyLimits:
    return OnPolicyLimits(**{field.name: getattr(settings.parity, field.name) for field in fields(OnPolicyLimits)})


@dataclass(frozen=True)
class ComparedRuns:
    """Runs of the teacher that the students repeated, and what failed of them."""

    compared: tuple[tuple[ComparedRun, Task[RunComparison]], ...]
    failed: tuple[Failure, ...]


def verdict_of(
    settings: ResolvedDistil,
    bench: Workbench,
    seen: SeenRuns,
    students: Sequence[ChosenPotential],
    equal: ComparedRuns | None,
) -> Task[OwnJudgement]:
    """Build the task that judges students by frames of their own runs, and by equal runs unless they are None."""
    compared, failed = ((), ()) if equal is None else (equal.compared, equal.failed)
    sets = [labels_in(bench, run) for run in seen.runs]
    predictions = [
        predictions_of(bench, f"in {run.name}", labels, students) for run, labels in zip(seen.runs, sets, strict=True)
    ]
    moduli = [
        bench.task(
            f"bulk modulus in {run.name}",
            modulus_task.of(potential=students[run.member - 1], frames=run.frames.result),
        )
        for run in seen.runs
    ]
    return bench.task(
        "verdict on own frames",
        own_verdict_task.of(
            sets=[task.result for task in sets],
            predictions=[[task.result for task in own] for own in predictions],
            moduli=[task.result for task in moduli],
            names=[run.name for run in seen.runs],
            drivers=[run.member for run in seen.runs],
            n_runs=seen.n_runs,
            run_ps=settings.on_policy.gate_npt_ps + settings.on_policy.gate_ps,
            ended=seen.ended,
            limits=_limits(settings),
            min_overlap=settings.parity.min_overlap,
            compared=[task.result for _, task in compared],
            compared_names=[run.name for run, _ in compared],
            compared_K=[run.temperature_K for run, _ in compared],
            failed=[f"{failure.label}: {failure.reason}" for failure in failed],
            repeats=equal is not None,
        ),
    )


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=1)
def last_frames_task(
    _context: Context,
    *,
    cells: Sequence[FloatArray],
    numbers: IntArray,
    positions: Sequence[FloatArray],
    count: int,
    within: int,
    group: str,
) -> PackedStructures:
    """Take frames from the end of a run, the denser the nearer to it: there the potential led the run astray."""
    all_positions, all_cells = np.concatenate(positions), np.concatenate(cells)
    frames = len(all_positions)
    back = np.rint((min(within, frames) - 1) * np.linspace(0.0, 1.0, min(count, frames)) ** 2).astype(int)
    chosen = sorted({frames - 1 - int(each) for each in back})
    return pack_structures(wrapped(numbers, all_positions, all_cells, chosen), [group] * len(chosen))


@dataclass(frozen=True)
class BulkModulus:
    """A bulk modulus in GPa; None where it could not be had."""

    GPa: float | None


@task(version=1)
def modulus_task(context: Context, *, potential: ChosenPotential, frames: PackedStructures) -> BulkModulus:
    """Take a student's bulk modulus in a run: the median over some frames, as each is quenched into another basin."""
    student, structures = load(potential, context), frames.structures
    moduli = [bulk_modulus_GPa(student, structures[frame]) for frame in evenly(len(structures), _FRAMES_OF_MODULUS)]
    positive = [modulus for modulus in moduli if modulus is not None]
    return BulkModulus(float(np.median(positive)) if positive else None)


@task(version=1)
def own_verdict_task(
    _context: Context,
    *,
    sets: Sequence[PackedSet],
    predictions: Sequence[Sequence[PackedTargets]],
    moduli: Sequence[BulkModulus],
    names: Sequence[str],
    drivers: Sequence[int],
    n_runs: int,
    run_ps: float,
    ended: Sequence[str],
    limits: OnPolicyLimits,
    min_overlap: float,
    compared: Sequence[RunComparison],
    compared_names: Sequence[str],
    compared_K: Sequence[float],
    failed: Sequence[str],
    repeats: bool,
) -> OwnJudgement:
    """Judge students on frames of their own runs; ``predictions`` are of all members on the frames of each run."""
    labelled = [packed.labelled for packed in sets]
    said = [[one.targets(packed.n_atoms) for one in own] for own, packed in zip(predictions, sets, strict=True)]
    frames = [
        compare_own_frames(labels, own[driver - 1], modulus.GPa)
        for labels, own, driver, modulus in zip(labelled, said, drivers, moduli, strict=True)
    ]
    words = f"all {n_runs} ran their {run_ps:g} ps within their limits"
    if ended:
        words = f"{len(ended)} of {n_runs} ended early or have no labels, the first: {ended[0]}"
    criteria = [Criterion("runs in the production cell", not ended, words)]
    criteria += on_policy_criteria(list(zip(names, frames, strict=True)), limits)
    pairs: Sequence[DiffusivityPair] = ()
    if repeats:
        equal, pairs = equal_run_criteria(
            compared,
            compared_names,
            compared_K,
            failed,
            min_overlap=min_overlap,
            max_volume_difference_percent=limits.max_volume_difference_percent,
        )
        criteria += equal
    if not frames:
        return OwnJudgement(Verdict(tuple(criteria)), None, None, None, transfer_error(pairs), ())
    members = range(len(said[0]))
    on_all = [joined([own[member] for own in said]) for member in members]
    teacher = joined([labels.targets for labels in labelled])
    metrics = []
    for member in members:
        own = [run for run, driver in enumerate(drivers) if driver == member + 1] or list(range(len(said)))
        theirs = joined([labelled[run].targets for run in own])
        metrics.append(errors(joined([said[run][member] for run in own]), theirs))
    judged = judgement(criteria, [], metrics, on_all, teacher, pairs)
    return OwnJudgement(judged.verdict, judged.errors, judged.parity, judged.committee, judged.transfer, tuple(frames))


def joined(parts: Sequence[Targets]) -> Targets:
    """Put values of several sets one after the other."""
    return Targets(
        np.concatenate([part.energies_eV for part in parts]),
        tuple(forces for part in parts for forces in part.forces_eV_per_A),
        np.concatenate([part.stresses_eV_per_A3 for part in parts]),
    )
