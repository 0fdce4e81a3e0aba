"""The teacher's word on the runs from which transport properties come.

A part of the stage *distil* that is called after *transport*: the gate sees short runs at the ends of the
temperatures, while an ion may leave the student's domain at any time of a long one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import numpy as np

from superionic.errors import CalculationFailed
from superionic.execution.task import Context, Task, task
from superionic.stages.base import (
    ChosenPotential,
    FloatArray,
    OfTeacher,
    Trajectory,
    TransportRun,
    Workbench,
    failures_of,
)
from superionic.stages.distil.data import labels_of, wrapped
from superionic.stages.distil.gate import merge_task, predictions_of
from superionic.training.distillation import PackedSet, PackedStructures, PackedTargets, evenly, pack_structures
from superionic.training.on_policy import OnPolicyLimits, OwnFrames, compare_own_frames, on_policy_criteria
from superionic.training.parity import Verdict

if TYPE_CHECKING:
    from superionic.settings.distil import ResolvedDistil

_FEWEST: Final = 2


@dataclass(frozen=True)
class TeacherOf:
    """A teacher that is asked about the production runs of its students.

    Attributes
    ----------
    settings
        The ``distil`` section.
    teacher, students
        The potentials; ``Run.member`` counts the students from 1.
    """

    settings: ResolvedDistil
    teacher: ChosenPotential
    students: tuple[ChosenPotential, ...]

    def __call__(self, bench: Workbench, runs: Sequence[TransportRun]) -> OfTeacher:
        """Have the teacher label some frames of each run, and judge the students on them."""
        if self.settings.production_frames == 0:
            return OfTeacher()
        judged = [self._compared(bench, run) for run in runs]
        outcomes = bench.runner.gather(judged)
        frames = {run.run.label: outcome.value for run, outcome in zip(runs, outcomes, strict=True) if outcome.ok}
        names = [each.name for each in fields(OnPolicyLimits)]
        limits = OnPolicyLimits(**{name: getattr(self.settings.parity, name) for name in names})
        # The volume is a matter of the gate: no bulk modulus is calculated here.
        criteria = [each for each in on_policy_criteria(list(frames.items()), limits) if each.passed is not None]
        return OfTeacher(frames, Verdict(tuple(criteria)) if criteria else None, failures_of(outcomes))

    def _compared(self, bench: Workbench, run: TransportRun) -> Task[OwnFrames]:
        """Build the tasks that take frames of a run, have both potentials evaluate them, and compare the two."""
        name, count = run.run.label, self.settings.production_frames
        call = frames_of_run_task.of(trajectory=run.trajectory, positions=run.positions_A, count=count)
        frames = bench.task(f"frames of {name}", call)
        labels = labels_of(self.settings, bench, f"frames of {name}", frames, count, self.teacher)
        merged = bench.task(f"teacher on frames of {name}", merge_task.of(sets=[task.result.set for task in labels]))
        student = self.students[0 if run.run.member is None else run.run.member - 1]
        (predicted,) = predictions_of(bench, f"of {name}", merged, [student])
        compared = compare_frames_task.of(labels=merged.result, predicted=predicted.result)
        return bench.task(f"student and teacher on frames of {name}", compared)


@task(version=1)
def frames_of_run_task(
    _context: Context, *, trajectory: Trajectory, positions: Sequence[FloatArray], count: int
) -> PackedStructures:
    """Take frames of a production run, evenly spread to its end."""
    starts = np.cumsum([0, *(len(part) for part in positions)])
    chosen = np.array(evenly(int(starts[-1]), count))
    parts = np.searchsorted(starts, chosen, side="right") - 1
    frames = np.array([positions[part][frame - starts[part]] for part, frame in zip(parts, chosen, strict=True)])
    cells = np.broadcast_to(trajectory.cell_A, (len(frames), 3, 3))
    return pack_structures(wrapped(trajectory.numbers, frames, cells, range(len(frames))), [""] * len(frames))


@task(version=1)
def compare_frames_task(_context: Context, *, labels: PackedSet, predicted: PackedTargets) -> OwnFrames:
    """Compare a student with its teacher on frames of one production run."""
    if len(labels) < _FEWEST:
        raise CalculationFailed(f"the teacher could label {len(labels)} of the frames; two are needed")
    return compare_own_frames(labels.labelled, predicted.targets(labels.n_atoms), None)
