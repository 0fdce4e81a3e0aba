"""How the students learn: training in segments, exploration when hot, and what comes back to the teacher.

A part of the stage *distil*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from superionic.dynamics.md import Segment
from superionic.dynamics.monitors import Limits
from superionic.execution.codec import from_tree
from superionic.execution.runner import Outcome
from superionic.execution.task import Context, Task, ref_of, task
from superionic.models.nep.potential import VERSION as NEP_VERSION
from superionic.models.nep.state import Epoch, NepOptions, NepState
from superionic.results.identity import ONCE
from superionic.results.student import Exploration
from superionic.stages.base import Candidate, ChosenPotential, FloatArray, IntArray, Weights, Workbench
from superionic.stages.distil.data import PART_OF_RUN, ComparedRun, LabelledBatch, distorted, nvt, wrapped
from superionic.training.committee import member_split
from superionic.training.distillation import (
    PackedSet,
    PackedStructures,
    evenly,
    merge_sets,
    pack_labelled,
    pack_structures,
    pick_by_grade,
)

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

KNOWN_AS = "superionic.stages.distil_learning"  # in keys, since before it moved here


STUDENT = "student"


def student_of(weights: Weights, teacher: ChosenPotential, member: int) -> ChosenPotential:
    """Return a trained student as a potential for tasks: in the core, with the teacher's scale of energy."""
    identity = replace(
        teacher.identity,
        name="nep",
        engine="core",
        model=f"student {member + 1} of {teacher.name}",
        version=NEP_VERSION,
        checkpoint_sha256=ref_of(weights).task.key,
        level_of_theory=f"{teacher.identity.level_of_theory}, by a student of {teacher.name}",
        licence="that of the teacher",
    )
    options = {"energy_convention": identity.energy_convention, "level_of_theory": identity.level_of_theory}
    return ChosenPotential(STUDENT, identity, options=options, weights=weights)


@dataclass(frozen=True)
class Fit:
    """The students after one round.

    Attributes
    ----------
    dataset
        The task with data and split.
    states
        The last training segment of each member.
    finished
        The task with the weights of each member.
    students
        The members as potentials.
    """

    dataset: Task[Dataset]
    states: tuple[Task[NepState], ...]
    finished: tuple[Task[FinishedStudent], ...]
    students: tuple[ChosenPotential, ...]


def fit(
    settings: ResolvedDistil,
    bench: Workbench,
    labels: Sequence[Task[LabelledBatch]],
    teacher: ChosenPotential,
    round_number: int,
    before: Fit | None,
) -> Fit:
    """Build the training of all members on the labels so far, from where the round before left them."""
    members = range(settings.students)
    tail = f"round {round_number}"
    dataset = bench.task(
        f"data {tail}",
        dataset_task.of(
            sets=[task.result.set for task in labels],
            max_structures=settings.data.max_structures,
            seeds=[bench.seed_for("split", member) for member in members],
            validation_fraction=settings.validation_fraction,
        ),
    )
    epochs = settings.epochs if before is None else settings.refit_epochs
    return train(settings, bench, dataset, teacher, tail, epochs, before)


def train(
    settings: ResolvedDistil,
    bench: Workbench,
    dataset: Task[Dataset],
    teacher: ChosenPotential,
    tail: str,
    epochs: int,
    before: Fit | None,
) -> Fit:
    """Build the training of all members on a dataset for some epochs, from scratch if there is no fit before."""
    options: NepOptions = from_tree(settings.options, NepOptions, "distil.options")
    if settings.learning_rate is not None:
        options = replace(options, learning_rate=settings.learning_rate)
    members = range(settings.students)
    begin = Begin(epochs, 1.0 if before is None else settings.refit_rate_fraction)
    states = []
    for member in members:
        state = None if before is None else before.states[member]
        for number, first in enumerate(range(0, epochs, settings.epochs_per_segment)):
            state = bench.task(
                f"training of student {member + 1} {tail} {number + 1}",
                train_task.of(
                    set=dataset.result.set,
                    split=dataset.result.splits[member],
                    state=None if state is None else state.result,
                    begin=None if number else begin,
                    n_epochs=min(settings.epochs_per_segment, epochs - first),
                    options=options,
                    seed=bench.seed_for("student", member),
                ),
            )
        if state is None:
            raise ValueError("a student must be trained for at least one epoch")
        states.append(state)
    finished = tuple(
        bench.task(
            f"student {member + 1} {tail}",
            finish_task.of(set=dataset.result.set, split=dataset.result.splits[member], state=states[member].result),
        )
        for member in members
    )
    students = tuple(student_of(task.result.weights, teacher, member) for member, task in enumerate(finished))
    return Fit(dataset, tuple(states), finished, students)


@dataclass(frozen=True)
class HotRun:
    """One hot run of a student: where it started, the segments that were made, and what it showed."""

    run: ComparedRun
    good: tuple[Task[Segment], ...]
    seen: Exploration


def explore(
    settings: ResolvedDistil,
    bench: Workbench,
    runs: Sequence[ComparedRun],
    students: Sequence[ChosenPotential],
    round_number: int,
) -> list[HotRun]:
    """Let every student run hot from each start, and see how far it comes."""
    loop = settings.explore
    limits = Limits(
        collect_extrapolation=loop.collect_above,
        extrapolation_every=max(1, round(loop.check_every_fs / settings.timestep_fs)),
        max_collected=loop.labels_per_round,
        max_extrapolation=loop.stop_above,
    )
    walks = [(run, member) for run in runs for member in range(len(students))]
    chains = [
        nvt(
            settings,
            bench,
            f"exploration {round_number} of {run.candidate.id} by student {member + 1}",
            run.start,
            loop.temperature_K,
            students[member],
            loop.length_ps,
            equilibration_ps=0.0,
            limits=limits,
        )
        for run, member in walks
    ]
    outcomes = iter(bench.runner.gather([segment for segments in chains for segment in segments]))
    made = []
    for (run, member), segments in zip(walks, chains, strict=True):
        of_run = [next(outcomes) for _ in segments]
        made.append(HotRun(run, *exploration_of(run.candidate, member, of_run, settings.timestep_fs)))
    return made


def exploration_of(
    candidate: Candidate,
    member: int,
    outcomes: Sequence[Outcome[Segment]],
    timestep_fs: float,
    temperature_K: float | None = None,
) -> tuple[tuple[Task[Segment], ...], Exploration]:
    """Return the segments of a student's run that did not fail, and how far the run came."""
    clean, ended, collected = 0.0, "", 0
    grades: list[float] = []
    good = []
    for outcome in outcomes:
        if outcome.failure is not None:
            ended = ended or outcome.failure.reason
            continue
        value = outcome.value
        good.append(outcome.task)
        collected += len(value.collected_grades)
        grades += [float(grade) for grade in value.extrapolation]
        if not ended:
            clean = value.state.step * timestep_fs * 1.0e-3
            ended = value.stopped or ""
    key, worst = outcomes[-1].task.key, max(grades, default=None)
    seen = Exploration(candidate.ordering, member + 1, key, clean, ended, worst, collected, temperature_K)
    return tuple(good), seen


def collected_frames(
    settings: ResolvedDistil, bench: Workbench, explored: Sequence[HotRun], round_number: int
) -> list[tuple[str, Task[PackedStructures], int]]:
    """Build the tasks that choose the frames to be labelled by the teacher.

    Returns
    -------
    list
        Label, task with frames, and how many frames it has at most. A run that failed without having noticed that it
        extrapolates gives its last frames, and distorted structures of its start besides.
    """
    share = max(1, settings.explore.labels_per_round // max(1, len(explored)))
    requests = []
    for hot in explored:
        student = f"student {hot.seen.member}"
        label = f"{hot.run.candidate.id} exploration {round_number} by {student}"
        if hot.good:
            take = share if hot.seen.collected else max(1, share // 2)
            task = bench.task(
                f"chosen from {label}",
                collected_task.of(
                    cells=[segment.result.cells_A for segment in hot.good],
                    collected_cells=[segment.result.collected_cells_A for segment in hot.good],
                    collected_positions=[segment.result.collected_positions_A for segment in hot.good],
                    grades=[segment.result.collected_grades for segment in hot.good],
                    numbers=hot.good[0].result.state.numbers,
                    positions=[segment.result.positions_A for segment in hot.good],
                    count=take,
                    group=label,
                ),
            )
            requests.append((label, task, take))
        if hot.seen.ended and not hot.seen.collected:
            counts = (max(1, share // 4), max(1, share // 4))
            word = f"after round {round_number} by {student}"
            task = distorted(settings, bench, hot.run.candidate.id, hot.run.start, ONCE, counts, word)
            requests.append((f"{label} distorted", task, sum(counts)))
    return requests


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parts:
    """Indices into the data of what one student learns from, and of what it chooses its epoch by."""

    train: tuple[int, ...]
    validation: tuple[int, ...]


@dataclass(frozen=True)
class Dataset:
    """What the students learn from in one round.

    Attributes
    ----------
    n, n_groups
        Structures, and their common origins.
    notes
        What a report has to say of the splits.
    set
        The structures with their labels.
    splits
        The parts of each student.
    """

    n: int
    n_groups: int
    notes: tuple[str, ...]
    set: PackedSet
    splits: tuple[Parts, ...]


@dataclass(frozen=True)
class Begin:
    """How a training begins: epochs until its end, and its learning rate as a fraction of that of the options."""

    epochs: int
    rate_fraction: float


@dataclass(frozen=True)
class FinishedStudent:
    """A trained student.

    Attributes
    ----------
    history
        How it learned.
    n_train, n_validation
        Structures in the two parts of its data.
    weights
        Of its best epoch, with the measure of extrapolation.
    """

    history: tuple[Epoch, ...]
    n_train: int
    n_validation: int
    weights: Weights


@task(version=1)
def dataset_task(
    _context: Context,
    *,
    sets: Sequence[PackedSet],
    max_structures: int,
    seeds: Sequence[int],
    validation_fraction: float,
) -> Dataset:
    """Put labels together and deal them into the parts of each member."""
    merged = merge_sets([packed.labelled for packed in sets])
    if len(merged) > max_structures:
        merged = merged.subset(evenly(len(merged), max_structures))
    # What a student is for, runs, decides on its epoch; errors on hot, distorted structures would drown those.
    made_up = {group for group in merged.groups if PART_OF_RUN not in group}
    splits = [member_split(merged.groups, validation_fraction, seed, only_training=made_up) for seed in seeds]
    return Dataset(
        n=len(merged),
        n_groups=len(set(merged.groups)),
        notes=tuple(dict.fromkeys(note for split in splits for note in split.notes)),
        set=pack_labelled(merged),
        splits=tuple(Parts(split.train, split.validation) for split in splits),
    )


@task(version=4)
def train_task(
    context: Context,
    *,
    set: PackedSet,  # noqa: A002 - the data's own name
    split: Parts,
    state: NepState | None,
    begin: Begin | None,
    n_epochs: int,
    options: NepOptions,
    seed: int,
) -> NepState:
    """Train a student for some epochs, from scratch or from the state that was left."""
    from superionic.models.nep import fit as nep

    labelled = set.labelled
    train, validation = labelled.subset(split.train), labelled.subset(split.validation)
    if begin is not None and state is None:
        state = nep.start(train, replace(options, epochs=begin.epochs), seed)
    elif begin is not None and state is not None:
        rate = begin.rate_fraction * options.learning_rate
        state = nep.continue_with(state, epochs=begin.epochs, learning_rate=rate)
    if state is None:
        raise ValueError("a training that does not begin goes on from a state")
    return nep.train_epochs(state, train, validation, n_epochs, progress=context.progress)


@task(version=1)
def finish_task(
    _context: Context,
    *,
    set: PackedSet,  # noqa: A002 - the data's own name
    split: Parts,
    state: NepState,
) -> FinishedStudent:
    """Take the weights of the best epoch, with the measure of extrapolation, out of the last state."""
    from superionic.models.nep import fit as nep

    train = set.labelled.subset(split.train)
    return FinishedStudent(state.history, len(train), len(split.validation), nep.finish(state, train))


@task(version=1)
def collected_task(
    _context: Context,
    *,
    cells: Sequence[FloatArray],
    collected_cells: Sequence[FloatArray],
    collected_positions: Sequence[FloatArray],
    grades: Sequence[FloatArray],
    numbers: IntArray,
    positions: Sequence[FloatArray],
    count: int,
    group: str,
) -> PackedStructures:
    """Choose frames where the student extrapolated most; where it never noticed, the last ones of its run."""
    graded = np.concatenate(grades)
    if len(graded):
        all_positions, all_cells = np.concatenate(collected_positions), np.concatenate(collected_cells)
        indices = pick_by_grade(graded.tolist(), count)
    else:
        all_positions, all_cells = np.concatenate(positions), np.concatenate(cells)
        indices = list(range(max(0, len(all_positions) - count), len(all_positions)))
    structures = wrapped(numbers, all_positions, all_cells, indices)
    return pack_structures(structures, [group] * len(structures))
