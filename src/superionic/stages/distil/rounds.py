"""Rounds of students made from labels alone: they run, the teacher labels frames of their runs, and they learn on.

A part of the stage *distil*. Of each run some frames are drawn at random, on which the error is measured before they
are learned, and some are those on which the students disagree most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from ase import Atoms

from superionic.dynamics.md import Segment
from superionic.dynamics.monitors import Limits
from superionic.execution.task import Context, Task, task
from superionic.results.identity import ONCE
from superionic.results.student import Exploration
from superionic.stages.base import ChosenPotential, FloatArray, IntArray, Workbench, load
from superionic.stages.chains import Phase, chain, md_settings
from superionic.stages.distil.data import LabelledBatch, labels_of, wrapped
from superionic.stages.distil.learning import Dataset, Parts, exploration_of
from superionic.stages.distil.seeds import SeedStructure, Start
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
from superionic.training.metrics import ErrorMetrics, errors

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

_MOST_LOOKED_AT = 100
"""Frames of a run among which the teacher's are chosen."""
_VOLUME_CHANGE = 0.3
"""A run whose volume changes by more is stopped: the cell comes apart, and its frames would be labels wasted."""


@dataclass(frozen=True)
class OwnRun:
    """One run of a student: what it is of, its segments, and what it showed."""

    start: Start
    member: int
    good: tuple[Task[Segment], ...]
    seen: Exploration


@dataclass(frozen=True)
class RoundLabels:
    """What the teacher labelled after a round.

    Attributes
    ----------
    random
        By member: labels of frames drawn at random from its runs.
    apart
        Labels of frames on which the students disagree most.
    """

    random: tuple[tuple[Task[LabelledBatch], ...], ...]
    apart: tuple[Task[LabelledBatch], ...]

    @property
    def tasks(self) -> tuple[Task[LabelledBatch], ...]:
        """All of them."""
        return (*(task for own in self.random for task in own), *self.apart)


def runs_of(
    settings: ResolvedDistil,
    bench: Workbench,
    starts: Sequence[Start],
    students: Sequence[ChosenPotential],
    number: int,
    count: int,
) -> list[OwnRun]:
    """Let every student make runs over temperatures and volumes, and see how far each came.

    Parameters
    ----------
    starts
        Orderings; runs take turns with them.
    students
        The members.
    number
        Of the round, from 0.
    count
        Runs of each student.
    """
    own = settings.on_policy
    low, high = settings.temperatures_K[0], max(settings.explore.temperature_K, settings.temperatures_K[-1])
    rng = np.random.default_rng(bench.seed_for("runs", number))
    limits = Limits(
        extrapolation_every=max(1, round(settings.explore.check_every_fs / settings.timestep_fs)),
        max_extrapolation=settings.explore.stop_above,
        max_collected=0,
        volume_change=_VOLUME_CHANGE,
        keep_frames=True,
    )
    length = own.run_ps[min(number, len(own.run_ps) - 1)]
    plans = []
    for member, student in enumerate(students):
        # One temperature and one volume in each of equal parts of their ranges, in an order of their own.
        warmth = (rng.permutation(count) + rng.random(count)) / count
        places = (rng.permutation(count) + rng.random(count)) / count
        for index in range(count):
            temperature = round(low + (high - low) * float(warmth[index]))
            turn = index + member
            if len(starts) > count:  # more orderings than runs: each student and round goes on where the last one ended
                turn = (number * len(students) + member) * count + index
            plans.append((member, student, starts[turn % len(starts)], temperature, index, places[index]))
    chains = []
    for member, student, start, temperature, index, place in plans:
        label = f"round {number} run {index + 1} of {start.candidate.id} {temperature:g} K by student {member + 1}"
        if own.constant_pressure and index % 2 == 1:
            atoms = start.seed.result.atoms
            md = md_settings(settings, temperature, "npt", cell_motion=settings.cell_motion)
        else:
            call = scaled_task.of(seed=start.seed.result, place=float(place))
            atoms = bench.task(f"start of {label}", call).result
            md = md_settings(settings, temperature, "nvt")
        phase = Phase("run", md, length, settings.segment_ps, limits=limits)
        chains.append(chain(bench, label, atoms, ONCE, student, [phase]).segments("run"))
    outcomes = iter(bench.runner.gather([segment for segments in chains for segment in segments]))
    made = []
    for (member, _, start, temperature, _, _), segments in zip(plans, chains, strict=True):
        of_run = [next(outcomes) for _ in segments]
        good, seen = exploration_of(start.candidate, member, of_run, settings.timestep_fs, float(temperature))
        made.append(OwnRun(start, member, good, seen))
    return made


def labels_of_runs(
    settings: ResolvedDistil,
    bench: Workbench,
    runs: Sequence[OwnRun],
    students: Sequence[ChosenPotential],
    teacher: ChosenPotential,
    number: int,
    per_run: int,
) -> tuple[RoundLabels, list[OwnRun]]:
    """Choose frames of the runs and build the tasks that label them; the runs come back with how many were chosen."""
    random = max(1, round(settings.on_policy.random_share * per_run))
    first = students[0]
    weights = [student.weights for student in students if student.weights is not None]
    judge = replace(first, committee=tuple(weights)) if len(weights) > 1 else first
    picks = []
    for index, run in enumerate(runs):
        if not run.good:
            continue
        group = f"round {number} run {index + 1}"
        picks.append(
            (
                index,
                bench.task(
                    f"frames of {group}",
                    pick_task.of(
                        potential=judge,
                        seed=run.start.seed.result,
                        cells=[segment.result.cells_A for segment in run.good],
                        numbers=run.good[0].result.state.numbers,
                        positions=[segment.result.positions_A for segment in run.good],
                        random=random,
                        apart=per_run - random,
                        random_seed=bench.seed_for("frames", number, index),
                        group=group,
                    ),
                ),
            )
        )
    outcomes = bench.runner.gather([pick for _, pick in picks])
    picked = {index: outcome for (index, _), outcome in zip(picks, outcomes, strict=True) if outcome.ok}
    counts = {index: (len(one.value.random), len(one.value.apart)) for index, one in picked.items()}

    def labels(word: str, indices: Sequence[int], is_random: bool) -> tuple[Task[LabelledBatch], ...]:
        total = sum(counts[index][0 if is_random else 1] for index in indices)
        if not total:
            return ()
        parts = [picked[i].task.result.random if is_random else picked[i].task.result.apart for i in indices]
        label = f"frames of round {number} {word}"
        frames = bench.task(label, joined_task.of(parts=parts))
        return tuple(labels_of(settings, bench, label, frames, total, teacher))

    by_member = [[i for i in sorted(picked) if runs[i].member == member] for member in range(len(students))]
    requested = RoundLabels(
        tuple(labels(f"at random by student {member + 1}", own, True) for member, own in enumerate(by_member)),
        labels("of largest disagreement", sorted(picked), False),
    )
    counted = [
        replace(run, seen=replace(run.seen, collected=sum(counts.get(index, (0, 0))))) for index, run in enumerate(runs)
    ]
    return requested, counted


def errors_of_round(
    bench: Workbench,
    labels: RoundLabels,
    good: set[str],
    students: Sequence[ChosenPotential],
    number: int,
) -> list[Task[ErrorMetrics]]:
    """Build the tasks that compare students with the teacher on frames of their own that they have not learned yet."""
    made = []
    for member, own in enumerate(labels.random):
        sets = [task.result.set for task in own if task.key in good]
        if sets:
            call = errors_task.of(potential=students[member], sets=sets)
            made.append(bench.task(f"errors of student {member + 1} before it learns from round {number}", call))
    return made


def dataset_of(
    settings: ResolvedDistil,
    bench: Workbench,
    seeds: Sequence[Task[LabelledBatch]],
    own: Sequence[Task[LabelledBatch]],
    tail: str,
) -> Task[Dataset]:
    """Build the task that puts seeds and frames of own runs together; only the latter choose an epoch."""
    return bench.task(
        f"data {tail}",
        own_dataset_task.of(
            seeds=[task.result.set for task in seeds],
            own=[task.result.set for task in own],
            random_seeds=[bench.seed_for("split", member) for member in range(settings.students)],
            validation_fraction=settings.validation_fraction,
        ),
    )


# ---- task functions -----------------------------------------------------------------------------------------------


class Graded(Protocol):
    """A potential that grades how far a structure is from its data."""

    def extrapolation_grade(self, atoms: Atoms) -> FloatArray:
        """Return the grade of each atom."""


@dataclass(frozen=True)
class Picked:
    """Frames of one run that the teacher is to label: drawn at random, and those of largest disagreement."""

    random: PackedStructures
    apart: PackedStructures


@task(version=1)
def scaled_task(_context: Context, *, seed: SeedStructure, place: float) -> Atoms:
    """Scale an ordering to a volume within its window, at a place from 0 (small) to 1 (large)."""
    atoms = seed.atoms.copy()
    volume = seed.low_A3_per_atom + place * (seed.high_A3_per_atom - seed.low_A3_per_atom)
    atoms.set_cell(atoms.cell.array * (volume * len(atoms) / atoms.get_volume()) ** (1.0 / 3.0), scale_atoms=True)
    return atoms


@task(version=1)
def pick_task(
    context: Context,
    *,
    potential: ChosenPotential,
    seed: SeedStructure,
    cells: Sequence[FloatArray],
    numbers: IntArray,
    positions: Sequence[FloatArray],
    random: int,
    apart: int,
    random_seed: int,
    group: str,
) -> Picked:
    """Choose frames of a run within the window of volumes: at random, and by the disagreement of the students.

    A committee grades by how far its members disagree on a force, a single student by how far it extrapolates.
    """
    all_positions, all_cells = np.concatenate(positions), np.concatenate(cells)
    volumes = np.abs(np.linalg.det(all_cells)) / len(numbers)
    within = np.flatnonzero((volumes >= seed.low_A3_per_atom) & (volumes <= seed.high_A3_per_atom))
    within = within[within > 0]  # the first frame is the start, which is a seed or the like
    looked_at = within[evenly(len(within), _MOST_LOOKED_AT)] if len(within) else within
    rng = np.random.default_rng(random_seed)
    drawn = sorted(rng.choice(looked_at, size=min(random, len(looked_at)), replace=False).tolist())
    others = [int(frame) for frame in looked_at if frame not in set(drawn)]
    disagreed_on: list[int] = []
    if apart and others:
        # Students have a grade: a single one its extrapolation, several their disagreement.
        judge = cast(Graded, load(potential, context))
        graded = wrapped(numbers, all_positions, all_cells, others)
        grades = [float(np.max(judge.extrapolation_grade(atoms))) for atoms in graded]
        disagreed_on = [others[index] for index in pick_by_grade(grades, apart)]
    return Picked(
        *(
            pack_structures(wrapped(numbers, all_positions, all_cells, frames), [group] * len(frames))
            for frames in (drawn, disagreed_on)
        )
    )


@task(version=1)
def joined_task(_context: Context, *, parts: Sequence[PackedStructures]) -> PackedStructures:
    """Put structures of several runs together."""
    structures = [atoms for part in parts for atoms in part.structures]
    return pack_structures(structures, [group for part in parts for group in part.groups])


@task(version=1)
def errors_task(context: Context, *, potential: ChosenPotential, sets: Sequence[PackedSet]) -> ErrorMetrics:
    """Compare a student with the teacher's labels."""
    from superionic.models.nep import fit as nep

    del context
    if potential.weights is None:
        raise ValueError("a student has weights")
    labelled = merge_sets([packed.labelled for packed in sets])
    return errors(nep.predict(potential.weights, labelled.structures), labelled.targets)


@task(version=1)
def own_dataset_task(
    _context: Context,
    *,
    seeds: Sequence[PackedSet],
    own: Sequence[PackedSet],
    random_seeds: Sequence[int],
    validation_fraction: float,
) -> Dataset:
    """Put labels together; the part by which a student chooses its epoch is of whole runs of the students alone.

    Without such runs there is no such part, and the last epoch counts: judged on distorted seeds, the best epoch may be
    one of the worst for a run.
    """
    first = [packed.labelled for packed in seeds]
    merged = merge_sets([*first, *(packed.labelled for packed in own)])
    made_up = {group for labelled in first for group in labelled.groups}
    runs = {group for group in merged.groups if group not in made_up}
    everything = tuple(range(len(merged)))
    splits = [Parts(everything, ()) for _ in random_seeds]
    notes: list[str] = []
    if len(runs) > 1 and validation_fraction > 0.0:
        dealt = [member_split(merged.groups, validation_fraction, seed, only_training=made_up) for seed in random_seeds]
        splits = [Parts(split.train, split.validation) for split in dealt]
        notes = [note for split in dealt for note in split.notes]
    return Dataset(
        len(merged), len(set(merged.groups)), tuple(dict.fromkeys(notes)), pack_labelled(merged), tuple(splits)
    )
