"""Relaxations in batches and rungs: each rung is a task whose input is the rung before.

A batch has several orderings, so that tasks are few, but few enough evaluations that a kill costs only seconds. The
optimiser's state passes from rung to rung through the store, so that all rungs together equal one long relaxation bit
by bit. A calculation that fails is part of its batch's result; the others of the batch continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.dynamics.relax import Relaxation
from superionic.dynamics.relax.optimizers import Optimizer
from superionic.errors import CalculationFailed
from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import Call, Context, ref_of, task
from superionic.stages.base import Candidate, ChosenPotential, RelaxedOrdering, Workbench, load

if TYPE_CHECKING:
    from superionic.settings.rank import RankSettings


KNOWN_AS = "superionic.stages.relaxations"  # its name in keys, from before it moved here


# Evaluations in one task: the most that a kill costs each worker (about 15 s with CHGNet and 30 atoms).
_EVALUATIONS_IN_A_TASK = 200
_LARGEST_BATCH = 50
# Steps of one part of a relaxation to convergence.
_PART_STEPS = 100


@dataclass(frozen=True)
class FailedCalculation:
    """A structure of a batch whose calculation failed; the others of the batch continue."""

    failed: str


@dataclass(frozen=True)
class BatchedRelaxation:
    """The present state of one relaxation of a batch.

    Attributes
    ----------
    relaxed
        The structure reached so far.
    state
        State from which it continues; None once it has converged.
    """

    relaxed: RelaxedOrdering
    state: Relaxation | None


@dataclass(frozen=True)
class RelaxedBatch:
    """Relaxations of one task, in the order of its input."""

    items: tuple[BatchedRelaxation | FailedCalculation, ...]


@dataclass(frozen=True)
class SinglePoint:
    """The energy of a structure without relaxation."""

    energy_eV: float
    n_atoms: int

    @property
    def energy_eV_per_atom(self) -> float:
        """Energy per atom."""
        return self.energy_eV / self.n_atoms


@dataclass(frozen=True)
class SinglePoints:
    """Energies of one task, in the order of its structures."""

    items: tuple[SinglePoint | FailedCalculation, ...]


@dataclass(frozen=True)
class Evaluation:
    """The energy of one structure, with its origin.

    Attributes
    ----------
    key
        Key of the task that evaluated it.
    part
        The energy as a part of that task's result; valid only if the evaluation succeeded.
    value
        The energy itself, or the failure.
    """

    key: str
    part: SinglePoint
    value: SinglePoint | FailedCalculation


@dataclass
class Member:
    """One ordering during its relaxation.

    Attributes
    ----------
    start
        Its initial structure: a part of a task's result.
    deformation
        Deformation of its cell before the start, also a part of a task's result; None for none.
    reached
        State after the last batch: a part of that batch's result. None before the first.
    prescreen_eV_per_atom, single_point_eV_per_atom
        Energies from a pre-screen or single points before the relaxation, if requested.
    energies_eV_per_atom
        Energy at the start and at the end of each rung.
    n_evaluations, n_steps, converged
        Cost and convergence so far.
    failure
        Why it ended without a result.
    """

    candidate: Candidate
    start: Atoms
    deformation: NDArray[np.float64] | None = None
    reached: BatchedRelaxation | None = None
    prescreen_eV_per_atom: float | None = None
    single_point_eV_per_atom: float | None = None
    energies_eV_per_atom: list[float] = field(default_factory=list)
    n_evaluations: int = 0
    n_steps: int = 0
    converged: bool = False
    failure: Failure | None = None


@dataclass
class Relaxations:
    """Carries out relaxations by one potential.

    Attributes
    ----------
    settings
        The ``rank`` section: force, steps, optimiser and cell.
    tail
        Suffix of the labels of tasks.
    """

    bench: Workbench
    potential: ChosenPotential
    settings: RankSettings
    tail: str = ""

    def advance(self, members: Sequence[Member], steps: int, what: str) -> None:
        """Take at most ``steps`` further steps with each member that has neither converged nor failed.

        Parameters
        ----------
        steps
            Number of steps of the optimiser.
        what
            Display name of the rung, which must be unique.
        """
        moving = [member for member in members if not member.converged and member.failure is None]
        size = min(_LARGEST_BATCH, max(1, _EVALUATIONS_IN_A_TASK // max(steps, 1)))
        # Members with the same kind of start share batches, in their order.
        kinds: dict[tuple[bool, str], list[Member]] = {}
        for member in moving:
            deformation = ref_of(member.deformation).task.key if member.deformation is not None else ""
            kinds.setdefault((member.reached is None, deformation), []).append(member)
        batches = [group[i : i + size] for group in kinds.values() for i in range(0, len(group), size)]
        tasks = [
            self.bench.task(f"{what}, batch {number}{self.tail}", self._steps(batch, steps))
            for number, batch in enumerate(batches, 1)
        ]
        for batch, outcome in zip(batches, self.bench.runner.gather(tasks), strict=True):
            for position, member in enumerate(batch):
                _take(member, outcome, position)

    def finish(self, members: Sequence[Member], what: str) -> None:
        """Continue until every member has converged, failed or used up its steps."""
        most, part = self.settings.max_steps, 0
        while True:
            moving = [m for m in members if not m.converged and m.failure is None and m.n_steps < most]
            if not moving:
                return
            part += 1
            # Grouped by remaining steps, so that none exceeds the limit.
            by_steps: dict[int, list[Member]] = {}
            for member in moving:
                by_steps.setdefault(min(_PART_STEPS, most - member.n_steps), []).append(member)
            for steps, group in sorted(by_steps.items()):
                self.advance(group, steps, f"{what}, part {part} of {steps} steps")

    def relaxed(self, members: Sequence[Member]) -> list[tuple[Member, Outcome[RelaxedOrdering]]]:
        """Build a task for each member with a relaxed structure; return the outcomes, and record failures."""
        successful = [(m, m.reached) for m in members if m.failure is None and m.reached is not None]
        tasks = [
            self.bench.task(f"relaxation of {member.candidate.id}{self.tail}", relaxed_task.of(item=reached))
            for member, reached in successful
        ]
        relaxed = []
        for (member, _), outcome in zip(successful, self.bench.runner.gather(tasks), strict=True):
            member.failure = outcome.failure
            if outcome.ok:
                relaxed.append((member, outcome))
        return relaxed

    def _steps(self, batch: Sequence[Member], steps: int) -> Call[RelaxedBatch]:
        """Return the call that takes some steps with members that all start, or all continue."""
        settings = self.settings
        before = [member.reached for member in batch if member.reached is not None]
        if before:
            return relax_batch_task.of(
                fmax_eV_per_A=settings.fmax_eV_per_A,
                optimizer=settings.optimizer,
                relax_cell=settings.relax_cell,
                steps=steps,
                before=before,
                potential=self.potential,
            )
        return relax_batch_task.of(
            fmax_eV_per_A=settings.fmax_eV_per_A,
            optimizer=settings.optimizer,
            relax_cell=settings.relax_cell,
            steps=steps,
            atoms=[member.start for member in batch],
            deformation=batch[0].deformation,
            potential=self.potential,
        )


def single_points(
    bench: Workbench, what: str, structures: Sequence[Atoms], potential: ChosenPotential
) -> list[Evaluation]:
    """Evaluate structures (parts of tasks' results) in batches, and return their energies in order."""
    batches = [structures[i : i + _LARGEST_BATCH] for i in range(0, len(structures), _LARGEST_BATCH)]
    tasks = [
        bench.task(f"{what}, batch {number}", single_points_task.of(atoms=list(batch), potential=potential))
        for number, batch in enumerate(batches, 1)
    ]
    evaluations = []
    for batch, outcome in zip(batches, bench.runner.gather(tasks), strict=True):
        failed, task = None if outcome.failure is None else FailedCalculation(outcome.failure.reason), outcome.task
        evaluations += [
            Evaluation(task.key, cast(SinglePoint, task.result.items[i]), failed or outcome.value.items[i])
            for i in range(len(batch))
        ]
    return evaluations


def warm_start(bench: Workbench, label: str, scouts: Sequence[tuple[Atoms, Atoms]]) -> NDArray[np.float64]:
    """Return the mean deformation from start to end of some relaxations, as a start for the others.

    Starts, ends and the deformation are parts of tasks' results.
    """
    call = warm_start_task.of(before=[before for before, _ in scouts], after=[after for _, after in scouts])
    averaged = bench.task(label, call)
    bench.runner.one(averaged)
    return averaged.result


def _take(member: Member, batch: Outcome[RelaxedBatch], position: int) -> None:
    failed = batch.failure
    item = batch.value.items[position] if failed is None else FailedCalculation(failed.reason)
    if isinstance(item, FailedCalculation):
        member.failure = Failure(f"relaxation of {member.candidate.id}", item.failed, batch.task.key)
        return
    member.reached = cast(BatchedRelaxation, batch.task.result.items[position])
    relaxed = item.relaxed
    if not member.energies_eV_per_atom:
        member.energies_eV_per_atom.append(relaxed.start_energy_eV / relaxed.n_atoms)
    member.energies_eV_per_atom.append(relaxed.energy_eV / relaxed.n_atoms)
    member.n_evaluations, member.n_steps = relaxed.n_evaluations, relaxed.n_steps
    member.converged = relaxed.converged


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=2)
def relax_batch_task(
    context: Context,
    *,
    fmax_eV_per_A: float,
    optimizer: Optimizer,
    relax_cell: bool,
    steps: int,
    potential: ChosenPotential,
    atoms: Sequence[Atoms] = (),
    deformation: NDArray[np.float64] | None = None,
    before: Sequence[BatchedRelaxation] = (),
) -> RelaxedBatch:
    """Take some steps with each structure, from its start or from its state after the previous batch."""
    from superionic.dynamics.relax import go_on, relax

    evaluator = load(potential, context)
    starts: Sequence[Atoms | BatchedRelaxation] = [*before, *atoms]
    items: list[BatchedRelaxation | FailedCalculation] = []
    for number, start in enumerate(starts, 1):

        def progress(fraction: float, message: str, number: int = number) -> None:
            context.progress((number - 1 + fraction) / len(starts), f"structure {number} of {len(starts)}, {message}")

        try:
            if isinstance(start, BatchedRelaxation):
                if start.state is None:
                    raise ValueError("a relaxation that has converged cannot continue")
                done = go_on(start.state, evaluator, fmax_eV_per_A=fmax_eV_per_A, max_steps=steps, progress=progress)
            else:
                done = relax(
                    start if deformation is None else _deformed(start, deformation),
                    evaluator,
                    fmax_eV_per_A=fmax_eV_per_A,
                    max_steps=steps,
                    cell=relax_cell,
                    optimizer=optimizer,
                    progress=progress,
                )
            # A converged relaxation no longer needs the optimiser's state.
            items.append(BatchedRelaxation(RelaxedOrdering.of(done), None if done.converged else done))
        except CalculationFailed as failure:
            items.append(FailedCalculation(failure.reason))
    return RelaxedBatch(tuple(items))


def _deformed(atoms: Atoms, deformation: NDArray[np.float64]) -> Atoms:
    moved = atoms.copy()
    moved.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
    return moved


@task(version=1)
def relaxed_task(_context: Context, *, item: BatchedRelaxation) -> RelaxedOrdering:
    """Return one structure of a batch as a result of its own."""
    return item.relaxed


@task(version=1)
def single_points_task(context: Context, *, atoms: Sequence[Atoms], potential: ChosenPotential) -> SinglePoints:
    """Calculate energies of structures."""
    evaluator = load(potential, context)
    items: list[SinglePoint | FailedCalculation] = []
    for number, structure in enumerate(atoms, 1):
        evaluator.check_elements(structure)
        try:
            energy = evaluator.calculator(stress=False).get_potential_energy(
                structure
            )  # refuses values that are not finite
            items.append(SinglePoint(float(energy), len(structure)))
        except CalculationFailed as failure:
            items.append(FailedCalculation(failure.reason))
        context.progress(number / len(atoms), f"structure {number} of {len(atoms)}")
    return SinglePoints(tuple(items))


@task(version=2)
def warm_start_task(_context: Context, *, before: Sequence[Atoms], after: Sequence[Atoms]) -> NDArray[np.float64]:
    """Average stretches by their logarithms, without rotations; returns (3, 3), to multiply rows of a cell with."""
    from scipy.linalg import polar

    logarithms = []
    for start, end in zip(before, after, strict=True):
        stretch = polar(np.linalg.solve(start.cell.array, end.cell.array), side="left")[1]
        values, vectors = np.linalg.eigh(0.5 * (stretch + stretch.T))
        logarithms.append(vectors @ np.diag(np.log(values)) @ vectors.T)
    mean = np.mean(logarithms, axis=0)
    values, vectors = np.linalg.eigh(0.5 * (mean + mean.T))
    deformation: NDArray[np.float64] = vectors @ np.diag(np.exp(values)) @ vectors.T
    return deformation
