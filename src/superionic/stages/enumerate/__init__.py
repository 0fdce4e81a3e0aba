"""Stage *enumerate*: from a disordered crystal to its symmetry-distinct orderings, lowest Ewald energy first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ase import Atoms

from superionic.enumeration.counted import CountedComposition, Method
from superionic.errors import CompositionError, StageError, StructureError
from superionic.execution.runner import Failure, Outcome
from superionic.execution.task import Context, Task, task
from superionic.results.identity import OrderedCell, Ordering, ReferencePhase
from superionic.results.orderings import EnumeratedOrdering, EnumeratedSpace, EnumerateResult, LeftOutCell
from superionic.stages.base import (
    Candidate,
    ChosenPotential,
    CrystalText,
    WithCandidates,
    Workbench,
    failures_of,
    read_parent,
)
from superionic.stages.enumerate.large_cells import LargeDraws, draw
from superionic.stages.enumerate.learned import learn_energies, learned_orderings
from superionic.stages.enumerate.pooled import NumberedOrderings, lowest_of_all_cells
from superionic.stages.enumerate.spaces import (
    KeptOrderings,
    OrderingProblem,
    Space,
    SpaceSettings,
)

if TYPE_CHECKING:
    from superionic.settings.draws import DrawSettings
    from superionic.settings.enumerate import EnumerateSettings, MonteCarloSettings


@dataclass(frozen=True)
class _Composition:
    """One integer composition of a space, and the method by which its orderings are explored."""

    cell: OrderedCell
    problem: OrderingProblem
    method: Method


def run(
    settings: EnumerateSettings, bench: Workbench, spaces: Sequence[Space], left_out: Sequence[LeftOutCell] = ()
) -> WithCandidates[EnumerateResult]:
    """Enumerate all spaces.

    Parameters
    ----------
    settings
        The ``enumerate`` section.
    spaces
        Crystals × compositions × supercells.
    left_out
        Supercells that cannot hold a composition.

    Returns
    -------
    WithCandidates
        The candidates are the orderings of lowest Ewald energy of each material over all its supercells, or those drawn
        at a temperature.

    Raises
    ------
    StageError
        If no space has any ordering.
    CompositionError
        If orderings are to be drawn at a temperature, and no space has more than one.
    """
    bench = bench.at("enumerate")
    failures: list[Failure] = []
    compositions = _compositions(settings, bench, spaces, failures)
    if compositions and settings.method == "monte-carlo" and all(c.method == "list" for c in compositions):
        raise CompositionError(
            "there is nothing for Monte Carlo to sample: each composition has one ordering only",
            where="enumerate.method",
            fix="write `method: auto`, or choose a larger supercell or a composition that mixes species on a site",
        )
    tasks = _ordered(settings, bench, compositions, failures)
    enumerated: list[EnumeratedSpace] = []
    candidates: list[Candidate] = []
    explored = [composition for composition in compositions if composition.cell in tasks]
    outcomes = bench.runner.gather([tasks[composition.cell] for composition in explored])
    failures += failures_of(outcomes)
    listed = {c.cell: outcome.value for c, outcome in zip(explored, outcomes, strict=True) if outcome.ok}
    lowest = lowest_of_all_cells(listed, None if settings.method == "monte-carlo" else settings.ewald_keep)
    for composition, outcome in zip(explored, outcomes, strict=True):
        if not outcome.ok:
            continue
        going_on = lowest[composition.cell]
        enumerated.append(_enumerated(composition.cell, outcome, going_on))
        candidates += [
            Candidate(
                identity=Ordering(composition.cell, index),
                structure=outcome.task.result.orderings[index].atoms,
                formula=outcome.value.counted.formula,
                n_atoms=ordering.n_atoms,
                degeneracy=ordering.degeneracy,
                ewald_eV=ordering.ewald_eV,
                times_drawn=ordering.times_drawn,
            )
            for index, ordering in going_on
        ]
    if not candidates:
        reasons = "; ".join(f"{failure.label}: {failure.reason}" for failure in failures)
        raise StageError(f"no space has any ordering ({reasons})", where=bench.stage)
    return WithCandidates(EnumerateResult(tuple(enumerated), tuple(failures), tuple(left_out)), tuple(candidates))


def large_draws(
    settings: DrawSettings,
    enumeration: EnumerateSettings,
    bench: Workbench,
    spaces: Sequence[Space],
    potential: ChosenPotential,
) -> LargeDraws:
    """Draw orderings of a large cell of each material by energies that a potential gives in its small cells.

    Parameters
    ----------
    settings, enumeration
        The sections ``transport.draws`` and ``enumerate``.
    bench
        The workbench, at the stage that runs the draws.
    spaces
        The small cells.
    potential
        The potential whose energies order the ions.
    """
    failures: list[Failure] = []
    thermal = enumeration.model_copy(update={"method": "monte-carlo"})
    small = [c for c in _compositions(thermal, bench, spaces, failures) if c.method == "monte-carlo"]
    learned, failed = learn_energies(settings, bench, [(c.cell, c.problem) for c in small], potential)
    drawn = draw(settings, bench, learned, potential)
    return replace(drawn, failures=(*failures, *failed, *drawn.failures))


def references(bench: Workbench, inputs: Sequence[CrystalText]) -> list[Candidate]:
    """Read the ordered reference phases.

    Parameters
    ----------
    inputs
        The phases, in a form that tasks can read.

    Raises
    ------
    StructureError
        If one of them is disordered, since a reference must have a single energy.
    """
    bench = bench.at("enumerate")
    tasks = [
        bench.task(f"reference {phase.name}", reference_task.of(file_name=phase.file_name, text=phase.text))
        for phase in inputs
    ]
    bench.runner.gather(tasks)
    return [Candidate(ReferencePhase(phase.name), read.result) for phase, read in zip(inputs, tasks, strict=True)]


def _compositions(
    settings: EnumerateSettings, bench: Workbench, spaces: Sequence[Space], failures: list[Failure]
) -> list[_Composition]:
    """Return the integer compositions of all spaces, and append failures."""
    tasks = [
        bench.task(
            f"compositions of {space.cell.id}",
            integer_compositions_task.of(
                space=space.settings,
                max_compositions=settings.max_compositions,
                max_deviation=settings.max_composition_deviation,
                max_listed=settings.max_listed,
                min_distance_A=settings.min_distance_A,
            ),
        )
        for space in spaces
    ]
    compositions = []
    for space, outcome in zip(spaces, bench.runner.gather(tasks), strict=True):
        if outcome.failure is not None:
            failures.append(outcome.failure)
            continue
        several = len(outcome.value) > 1
        for index, counted in enumerate(outcome.value):
            cell = replace(space.cell, composition_number=index + 1 if several else None)
            problem = OrderingProblem(space.settings, outcome.task.result[index])
            compositions.append(_Composition(cell, problem, _method(settings, counted)))
    return compositions


def _ordered(
    settings: EnumerateSettings, bench: Workbench, compositions: Sequence[_Composition], failures: list[Failure]
) -> dict[OrderedCell, Task[KeptOrderings]]:
    """Return, by cell, the task that gives the orderings of each composition, and append failures."""
    potential = settings.monte_carlo.potential
    sampled = [(c.cell, c.problem) for c in compositions if c.method == "monte-carlo"]
    tasks: dict[OrderedCell, Task[KeptOrderings]] = {}
    if sampled and potential is not None:
        drawn, failed = learned_orderings(settings.monte_carlo, bench, sampled, bench.potentials[potential])
        tasks.update(drawn)
        failures += failed
    for composition in compositions:
        if composition.method != "monte-carlo" or potential is None:
            tasks[composition.cell] = _exploration(settings, bench, composition)
    return tasks


def _exploration(settings: EnumerateSettings, bench: Workbench, composition: _Composition) -> Task[KeptOrderings]:
    """Return the task that gives the orderings of a composition; it depends only on settings that its method uses."""
    label = f"orderings of {composition.cell.id}"
    seed = bench.seed_for(composition.cell.id)
    problem, keep = composition.problem, settings.ewald_keep
    if composition.method == "list":
        return bench.task(label, list_task.of(problem=problem, ewald_keep=keep))
    if composition.method == "search":
        return bench.task(label, search_task.of(problem=problem, ewald_keep=keep, seed=seed))
    if composition.method == "sample":
        call = sample_task.of(
            problem=problem,
            ewald_keep=keep,
            sample_draws=settings.sample_draws,
            sample_weights=settings.sample_weights,
            seed=seed,
        )
        return bench.task(label, call)
    sampling: MonteCarloSettings = settings.monte_carlo
    return bench.task(
        label,
        monte_carlo_task.of(
            problem=problem,
            temperature_K=sampling.temperature_K,
            dielectric=sampling.dielectric,
            n_sweeps=sampling.n_sweeps,
            n_samples=sampling.n_samples,
            seed=seed,
        ),
    )


def _method(settings: EnumerateSettings, counted: CountedComposition) -> Method:
    """Return the method for a composition; a space no larger than the sample is listed."""
    if settings.method == "auto":
        return counted.plan.method
    allowed = counted.allowed
    small = allowed is not None and counted.count.distinct <= settings.sample_draws
    # One ordering is the same at any temperature.
    single = (counted.count if allowed is None else allowed).distinct == 1
    if (settings.method == "sample" and small) or (settings.method == "monte-carlo" and single):
        return "list"
    return settings.method


def _enumerated(cell: OrderedCell, outcome: Outcome[KeptOrderings], going_on: NumberedOrderings) -> EnumeratedSpace:
    value = outcome.value
    return EnumeratedSpace(
        cell=cell,
        key=outcome.task.key,
        counted=value.counted,
        spacegroup=value.spacegroup,
        method=value.method,
        listed=value.listed,
        evidence=value.evidence,
        tie=value.tie,
        histogram=value.histogram,
        orderings=tuple(
            EnumeratedOrdering(Ordering(cell, index), each.degeneracy, each.ewald_eV, each.times_drawn)
            for index, each in going_on
        ),
    )


# ---- task functions -----------------------------------------------------------------------------------------------


@task(version=4)
def integer_compositions_task(
    context: Context,
    *,
    space: SpaceSettings,
    max_compositions: int,
    max_deviation: float,
    max_listed: int,
    min_distance_A: float | None,
) -> tuple[CountedComposition, ...]:
    """Return the integer, charge-neutral compositions of a supercell nearest to the refinement, with their counts."""
    spaces = space.counted(
        space.parent(context),
        max_deviation=max_deviation,
        min_distance_A=min_distance_A,
        max_listed=max_listed,
        number=max_compositions,
    )
    return tuple(counted.summary for counted in spaces)


@task(version=3)
def list_task(context: Context, *, problem: OrderingProblem, ewald_keep: int) -> KeptOrderings:
    """List all orderings of a composition, and retain those of lowest Ewald energy."""
    from superionic.enumeration.chosen import list_lowest

    crystal, orderings = problem.read(context)
    total = max(1, (problem.composition.allowed or problem.composition.count).distinct)
    lowest = list_lowest(
        orderings,
        problem.space.oxidation_states,
        ewald_keep,
        progress=lambda done: context.progress(done / total, f"{done:,} orderings"),
    )
    return problem.retained(crystal, orderings, lowest, ewald_keep)


@task(version=3)
def search_task(context: Context, *, problem: OrderingProblem, ewald_keep: int, seed: int) -> KeptOrderings:
    """Search for the orderings of lowest Ewald energy of a composition with too many to list."""
    from superionic.enumeration.chosen import search

    crystal, orderings = problem.read(context)
    context.progress(0.1, "replica exchange")
    lowest = search(orderings, problem.space.oxidation_states, ewald_keep, seed=seed)
    return problem.retained(crystal, orderings, lowest, ewald_keep)


@task(version=3)
def sample_task(
    context: Context,
    *,
    problem: OrderingProblem,
    ewald_keep: int,
    sample_draws: int,
    sample_weights: str,
    seed: int,
) -> KeptOrderings:
    """Draw orderings of a composition at random, and retain those of lowest Ewald energy."""
    from superionic.enumeration.chosen import sample

    crystal, orderings = problem.read(context)
    context.progress(0.1, "sampling")
    drawn = sample(
        orderings, problem.space.oxidation_states, sample_draws, seed=seed, thermal=sample_weights == "degeneracy"
    )
    return problem.retained(crystal, orderings, drawn, ewald_keep)


@task(version=3)
def monte_carlo_task(
    context: Context,
    *,
    problem: OrderingProblem,
    temperature_K: float,
    dielectric: float,
    n_sweeps: int,
    n_samples: int,
    seed: int,
) -> KeptOrderings:
    """Draw orderings of a composition at a temperature, and retain all of them."""
    from superionic.enumeration.monte_carlo import monte_carlo

    crystal, orderings = problem.read(context)
    context.progress(0.1, "Monte Carlo on point charges")
    drawn = monte_carlo(
        orderings,
        problem.space.oxidation_states,
        n_samples,
        temperature_K=temperature_K,
        dielectric=dielectric,
        n_sweeps=n_sweeps,
        seed=seed,
    )
    return problem.retained(crystal, orderings, drawn)


@task(version=3)
def reference_task(context: Context, *, file_name: str, text: str) -> Atoms:
    """Read an ordered phase.

    Raises
    ------
    StructureError
        If it is disordered.
    """
    crystal = read_parent(file_name, text, context)
    if not crystal.is_ordered:
        raise StructureError(
            "a reference must be ordered: it stands for one energy",
            where=file_name,
            fix="give a structure without partial occupancies",
        )
    filled = [k for k, site in enumerate(crystal.sites) if site.vacancy == 0.0]
    return Atoms(
        symbols=[next(iter(crystal.sites[k].species)) for k in filled],
        scaled_positions=crystal.fractional[filled],
        cell=crystal.cell_A,
        pbc=True,
    )
