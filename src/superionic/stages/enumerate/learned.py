"""Monte Carlo sampling of orderings with a potential, in rounds of tasks.

In a round the potential evaluates some orderings, each in a task of its engine's environment; then a core task tests
the surrogate of the previous round on these energies, fits the next surrogate, runs Monte Carlo on it, and proposes the
next orderings. A round depends on the one before, so that rounds are gathered in turn; each task has a key, and a run
that was stopped resumes where it left off. The decision to end is made here and not in the tasks, so that a lower
tolerance or more rounds reuse everything done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from superionic.enumeration.evidence import Evaluations, SurrogateFit
from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import ArgumentGroup, Context, Task, task
from superionic.results.identity import OrderedCell
from superionic.stages.base import ChosenPotential, Workbench, load
from superionic.stages.enumerate.spaces import KeptOrderings, OrderingProblem

if TYPE_CHECKING:
    from superionic.enumeration.learning import KnownEnergies, LearningSettings
    from superionic.settings.enumerate import MonteCarloSettings
    from superionic.structures.orderings.space import OrderingSpace

KNOWN_AS = "superionic.stages.learned_orderings"  # its name in keys, from before it moved here
_FMAX_EV_PER_A = 0.05
_LEFT_ITS_SITE_A = 1.0


@dataclass(frozen=True)
class Requested:
    """Orderings whose energies are to be calculated next.

    Attributes
    ----------
    atoms, decorations
        Their structures, and (n, n_free) codes of the free sites; empty if Monte Carlo visited no new orderings.
    expected_eV
        (n,) energies of the supercell predicted by the surrogate; empty before the first fit.
    error_on_met_meV_per_atom
        If there are no new orderings: error of the fit on all orderings visited.
    fit
        The fit that proposed them; None before the first.
    """

    atoms: tuple[Atoms, ...]
    decorations: NDArray[np.uint8]
    expected_eV: NDArray[np.float64]
    error_on_met_meV_per_atom: float | None
    fit: SurrogateFit | None


@dataclass(frozen=True)
class OrderingEnergy:
    """The energy of one ordering by a potential.

    Attributes
    ----------
    energy_eV
        Energy of the supercell.
    largest_displacement_A
        Largest displacement of an ion in the relaxation.
    """

    energy_eV: float
    largest_displacement_A: float
    n_steps: int


@dataclass
class LearnedSpace:
    """The energies of orderings of one composition, and the state of learning between rounds.

    Attributes
    ----------
    cell, problem
        Cell and composition.
    upcoming
        The task whose orderings are evaluated next.
    proposals, evaluated
        The tasks of all rounds, and for each the indices of its orderings that have an energy.
    evaluations
        The energies, in the same order.
    failed
        Number of evaluations that failed.
    error_on_met_meV_per_atom
        If Monte Carlo reached no ordering without an energy: error of the last fit on all that it reached.
    """

    cell: OrderedCell
    problem: OrderingProblem
    upcoming: Task[Requested]
    proposals: list[Task[Requested]] = field(default_factory=list)
    evaluated: list[list[int]] = field(default_factory=list)
    evaluations: list[Task[OrderingEnergy]] = field(default_factory=list)
    failed: int = 0
    error_on_met_meV_per_atom: float | None = None

    @property
    def structures(self) -> list[Atoms]:
        """The evaluated orderings on the sites of their crystal: parts of tasks' results."""
        rounds = zip(self.proposals, self.evaluated, strict=True)
        return [proposal.result.atoms[index] for proposal, indices in rounds for index in indices]


def learned_orderings(
    settings: MonteCarloSettings,
    bench: Workbench,
    spaces: Sequence[tuple[OrderedCell, OrderingProblem]],
    potential: ChosenPotential,
) -> tuple[dict[OrderedCell, Task[KeptOrderings]], list[Failure]]:
    """Learn the energies of a potential for the orderings that Monte Carlo visits, for each composition.

    Parameters
    ----------
    settings
        The section ``enumerate.monte_carlo``.
    spaces
        Cell and composition of each space.
    potential
        The potential whose energies order the ions.

    Returns
    -------
    tasks
        By cell, the task whose result has the orderings; compositions without enough energies are missing.
    failures
        Evaluations that failed, and compositions that were abandoned.
    """
    from superionic.enumeration.learning import FEWEST_ENERGIES

    drawn: dict[OrderedCell, Task[KeptOrderings]] = {}
    learned, failures = learn_energies(settings, bench, spaces, potential)
    for job in learned:
        if len(job.evaluations) < FEWEST_ENERGIES:
            reason = f"{len(job.evaluations)} energies are too few for a surrogate, {job.failed} failed"
            failures.append(Failure(f"Monte Carlo of {job.cell.id}", reason, job.upcoming.key))
        else:
            drawn[job.cell] = _draw(job, bench, potential, settings)
    return drawn, failures


def learn_energies(
    settings: MonteCarloSettings,
    bench: Workbench,
    spaces: Sequence[tuple[OrderedCell, OrderingProblem]],
    potential: ChosenPotential,
) -> tuple[list[LearnedSpace], list[Failure]]:
    """Evaluate orderings in rounds until a surrogate is right about those that Monte Carlo visits.

    Parameters are those of :func:`learned_orderings`.

    Returns
    -------
    learned
        The energies of each composition, in the order in which they ended.
    failures
        Evaluations and rounds that failed.
    """
    from superionic.enumeration.learning import FEWEST_ENERGIES

    jobs = []
    for cell, problem in spaces:
        call = start_task.of(
            problem=problem,
            temperature_K=settings.temperature_K,
            dielectric=settings.dielectric,
            n_sweeps=settings.n_sweeps,
            initial=settings.initial,
            seed=bench.seed_for(cell.id, "start"),
        )
        jobs.append(LearnedSpace(cell, problem, bench.task(f"first orderings of {cell.id}", call)))
    learned: list[LearnedSpace] = []
    failures: list[Failure] = []
    for number in range(settings.max_rounds + 1):
        if not jobs:
            break
        unfinished: list[tuple[LearnedSpace, Outcome[Requested]]] = []
        for job, outcome in zip(jobs, bench.runner.gather([job.upcoming for job in jobs]), strict=True):
            if outcome.failure is not None:
                failures.append(outcome.failure)
            elif _is_converged(outcome.value, settings.tolerance_meV_per_atom):
                job.error_on_met_meV_per_atom = outcome.value.error_on_met_meV_per_atom
                learned.append(job)
            else:
                unfinished.append((job, outcome))
        failures += _evaluate(settings.relax_steps, bench, unfinished, potential, number)
        jobs = []
        for job, _ in unfinished:
            if len(job.evaluations) < FEWEST_ENERGIES or number == settings.max_rounds:
                learned.append(job)
            else:
                job.upcoming = _propose(job, bench, settings, number + 1)
                jobs.append(job)
    return learned, failures


def _is_converged(requested: Requested, tolerance: float) -> bool:
    """Return whether learning can end: the fit predicted the last orderings well, or there are no new ones."""
    error = None if requested.fit is None else requested.fit.error_on_fresh_meV_per_atom
    return not requested.atoms or (error is not None and error < tolerance)


def _evaluate(
    relax_steps: int,
    bench: Workbench,
    jobs: Sequence[tuple[LearnedSpace, Outcome[Requested]]],
    potential: ChosenPotential,
    number: int,
) -> list[Failure]:
    """Evaluate the orderings requested by all jobs together; return the failures."""
    requested = [(job, index) for job, outcome in jobs for index in range(len(outcome.value.atoms))]
    tasks = [
        bench.task(
            f"energy of {job.cell.id} round {number} #{index}",
            evaluate_task.of(atoms=job.upcoming.result.atoms[index], relax_steps=relax_steps, potential=potential),
        )
        for job, index in requested
    ]
    for job, _ in jobs:
        job.proposals.append(job.upcoming)
        job.evaluated.append([])
    failures = []
    for (job, index), outcome in zip(requested, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            job.failed += 1
            failures.append(outcome.failure)
        else:
            job.evaluated[-1].append(index)
            job.evaluations.append(outcome.task)
    return failures


def _propose(job: LearnedSpace, bench: Workbench, settings: MonteCarloSettings, number: int) -> Task[Requested]:
    call = propose_task.of(
        problem=job.problem,
        known=_known(job, settings),
        batch=settings.batch,
        seed=bench.seed_for(job.cell.id, "round", number),
    )
    return bench.task(f"proposals for {job.cell.id} round {number}", call)


def _draw(
    job: LearnedSpace, bench: Workbench, potential: ChosenPotential, settings: MonteCarloSettings
) -> Task[KeptOrderings]:
    call = draw_task.of(
        problem=job.problem,
        known=_known(job, settings),
        n_samples=settings.n_samples,
        seed=bench.seed_for(job.cell.id, "draw"),
        tolerance_meV_per_atom=settings.tolerance_meV_per_atom,
        potential_name=potential.name,
        failed=job.failed,
        error_on_met_meV_per_atom=job.error_on_met_meV_per_atom,
        displacements_A=[evaluation.result.largest_displacement_A for evaluation in job.evaluations],
        fits=[proposal.result.fit for proposal in job.proposals[1:]],
    )
    return bench.task(f"orderings of {job.cell.id}", call)


def _known(job: LearnedSpace, settings: MonteCarloSettings) -> Known:
    return Known(
        temperature_K=settings.temperature_K,
        n_sweeps=settings.n_sweeps,
        pair_cutoff_A=settings.pair_cutoff_A,
        triplet_cutoff_A=settings.triplet_cutoff_A,
        evaluated=job.evaluated,
        decorations=[proposal.result.decorations for proposal in job.proposals],
        energies_eV=[evaluation.result.energy_eV for evaluation in job.evaluations],
        expected_eV=job.proposals[-1].result.expected_eV,
    )


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known(ArgumentGroup):
    """The data from which the next surrogate is learned.

    Attributes
    ----------
    temperature_K, n_sweeps, pair_cutoff_A, triplet_cutoff_A
        See :class:`superionic.enumeration.learning.LearningSettings`.
    evaluated
        For each round, the indices of its orderings that have an energy.
    decorations
        For each round, the decorations of all orderings that it requested.
    energies_eV
        Energies of the evaluated orderings, in order.
    expected_eV
        Energies that the last surrogate predicted for the last round.
    """

    temperature_K: float
    n_sweeps: int
    pair_cutoff_A: float
    triplet_cutoff_A: float
    evaluated: Sequence[Sequence[int]]
    decorations: Sequence[NDArray[np.uint8]]
    energies_eV: Sequence[float]
    expected_eV: NDArray[np.float64]

    @property
    def settings(self) -> LearningSettings:
        """Settings for learning the surrogate."""
        from superionic.enumeration.learning import LearningSettings

        return LearningSettings(self.temperature_K, self.n_sweeps, self.pair_cutoff_A, self.triplet_cutoff_A)

    def energies(self, space: OrderingSpace) -> KnownEnergies:
        """Return all energies, and those that were new to the last surrogate."""
        from superionic.enumeration.learning import KnownEnergies

        rounds = [np.asarray(part, dtype=np.uint8).reshape(-1, space.n_free) for part in self.decorations]
        energies = np.array(self.energies_eV, dtype=np.float64)
        last = list(self.evaluated[-1]) if len(rounds) > 1 else []
        return KnownEnergies(
            decorations=np.concatenate([part[list(i)] for part, i in zip(rounds, self.evaluated, strict=True)]),
            energies_eV=energies,
            tried=np.concatenate(rounds),
            fresh=energies[len(energies) - len(last) :],
            expected_eV=np.asarray(self.expected_eV, dtype=np.float64)[last],
        )


@task(version=2)
def start_task(
    context: Context,
    *,
    problem: OrderingProblem,
    temperature_K: float,
    dielectric: float,
    n_sweeps: int,
    initial: int,
    seed: int,
) -> Requested:
    """Choose the orderings whose energies are calculated first."""
    from superionic.enumeration.learning import first_decorations

    _, orderings = problem.read(context)
    context.progress(0.1, "Monte Carlo on point charges")
    decorations = first_decorations(
        orderings,
        problem.space.oxidation_states,
        initial,
        temperature_K=temperature_K,
        dielectric=dielectric,
        n_sweeps=n_sweeps,
        seed=seed,
    )
    return Requested(_structures(orderings, decorations), decorations, np.zeros(0), None, None)


@task(version=2)
def evaluate_task(context: Context, *, atoms: Atoms, relax_steps: int, potential: ChosenPotential) -> OrderingEnergy:
    """Return the energy of one ordering, relaxed at fixed cell by at most ``relax_steps`` steps."""
    from superionic.dynamics.relax import relax

    evaluator = load(potential, context)
    evaluator.check_elements(atoms)
    if relax_steps == 0:
        energy = evaluator.evaluate(atoms, stress=False).energy_eV
        return OrderingEnergy(float(energy), 0.0, 0)
    relaxed = relax(
        atoms, evaluator, fmax_eV_per_A=_FMAX_EV_PER_A, max_steps=relax_steps, cell=False, progress=context.progress
    )
    moved = np.linalg.norm(
        relaxed.atoms.positions - atoms.positions, axis=1
    )  # not wrapped: the displacement of each ion
    return OrderingEnergy(float(relaxed.energy_eV), float(moved.max()), relaxed.n_steps)


@task(version=4)
def propose_task(
    context: Context,
    *,
    problem: OrderingProblem,
    known: Known,
    batch: int,
    seed: int,
) -> Requested:
    """Test the last surrogate, fit the next, and choose the orderings whose energies are calculated next."""
    from superionic.enumeration.learning import propose

    _, orderings = problem.read(context)
    context.progress(0.1, "Monte Carlo on the surrogate")
    states = problem.space.oxidation_states
    proposal = propose(orderings, states, known.energies(orderings), batch, known.settings, seed)
    return Requested(
        atoms=_structures(orderings, proposal.decorations),
        decorations=proposal.decorations,
        expected_eV=proposal.expected_eV,
        error_on_met_meV_per_atom=proposal.error_on_met_meV_per_atom,
        fit=proposal.fit,
    )


@task(version=4)
def draw_task(
    context: Context,
    *,
    problem: OrderingProblem,
    known: Known,
    n_samples: int,
    seed: int,
    tolerance_meV_per_atom: float,
    potential_name: str,
    failed: int,
    error_on_met_meV_per_atom: float | None,
    displacements_A: Sequence[float],
    fits: Sequence[SurrogateFit | None],
) -> KeptOrderings:
    """Draw orderings with the last surrogate."""
    from superionic.enumeration.learning import learned_draws

    crystal, orderings = problem.read(context)
    context.progress(0.1, "Monte Carlo on the surrogate")
    left_its_site = sum(displacement > _LEFT_ITS_SITE_A for displacement in displacements_A)
    drawn = learned_draws(
        orderings,
        problem.space.oxidation_states,
        known.energies(orderings),
        n_samples,
        known.settings,
        tolerance_meV_per_atom=tolerance_meV_per_atom,
        fits=[fit for fit in fits if fit is not None],
        seed=seed,
        energy_name=f"potential {potential_name}",
        evaluations=Evaluations(len(known.energies_eV) + failed, failed, left_its_site),
        error_on_met_meV_per_atom=error_on_met_meV_per_atom,
    )
    return problem.retained(crystal, orderings, drawn)


def _structures(space: OrderingSpace, decorations: NDArray[np.uint8]) -> tuple[Atoms, ...]:
    from superionic.structures.orderings.ordering import OrderingTable, to_atoms

    table = OrderingTable.of(space, decorations, np.ones(len(decorations), dtype=np.int64))
    return tuple(to_atoms(space.sites, ordering) for ordering in table)
