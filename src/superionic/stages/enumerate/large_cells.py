"""Orderings of a large cell, drawn by Monte Carlo on a cluster expansion that is fitted to energies of small cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from superionic.enumeration.evidence import MonteCarloEvidence
from superionic.execution.runner import Failure
from superionic.execution.task import Context, task
from superionic.results.draws import DrawnCell
from superionic.results.identity import OrderedCell, Ordering, Rows
from superionic.stages.base import Candidate, ChosenPotential, Workbench, failures_of, grouped
from superionic.stages.enumerate.learned import LearnedSpace
from superionic.stages.enumerate.spaces import OrderingProblem

if TYPE_CHECKING:
    from superionic.settings.draws import DrawSettings


@dataclass(frozen=True)
class LargeDraws:
    """Monte Carlo of each material in its large cell, and the draws, one candidate each."""

    cells: tuple[DrawnCell, ...]
    candidates: tuple[Candidate, ...]
    failures: tuple[Failure, ...]


def draw(
    settings: DrawSettings, bench: Workbench, learned: Sequence[LearnedSpace], potential: ChosenPotential
) -> LargeDraws:
    """Draw orderings of a large cell of each material.

    The large cell has the composition of the first small one that fits into it a whole number of times.

    Parameters
    ----------
    settings
        The section ``transport.draws``.
    learned
        Energies of orderings of the small cells.
    potential
        The potential that gave them.
    """
    by_cell: dict[OrderedCell, list[LearnedSpace]] = {}
    for material, own in grouped(learned, lambda each: each.cell.material).items():
        if any(_fits(settings.supercell, each.cell.supercell) for each in own):
            by_cell[OrderedCell(material, settings.supercell)] = own
    tasks = []
    for cell, own in by_cell.items():
        first = next(each for each in own if _fits(settings.supercell, each.cell.supercell))
        call = draw_large_task.of(
            problem=first.problem,
            supercell=settings.supercell,
            structures=[atoms for each in own for atoms in each.structures],
            energies_eV=[evaluation.result.energy_eV for each in own for evaluation in each.evaluations],
            temperature_K=settings.temperature_K,
            n_sweeps=settings.n_sweeps,
            n_samples=settings.n_samples,
            pair_cutoff_A=settings.pair_cutoff_A,
            triplet_cutoff_A=settings.triplet_cutoff_A,
            tolerance_meV_per_atom=settings.tolerance_meV_per_atom,
            potential_name=potential.name,
            seed=bench.seed_for(cell.id, "draw"),
        )
        tasks.append(bench.task(f"draws of {cell.id}", call))
    cells: list[DrawnCell] = []
    candidates: list[Candidate] = []
    outcomes = bench.runner.gather(tasks)
    for (cell, own), outcome in zip(by_cell.items(), outcomes, strict=True):
        if outcome.ok:
            drawn = outcome.value
            energies = tuple((each.cell, len(each.evaluations)) for each in own)
            cells.append(DrawnCell(cell, outcome.task.key, drawn.formula, drawn.n_atoms, energies, drawn.evidence))
            candidates += _draws(cell, outcome.task.result, drawn)
    return LargeDraws(tuple(cells), tuple(candidates), failures_of(outcomes))


def _fits(large: Rows, small: Rows) -> bool:
    """Return whether a cell fits into a larger one a whole number of times."""
    times = np.array(large) @ np.linalg.inv(np.array(small))
    return bool(np.abs(times - np.rint(times)).max() < 1e-6)


def _draws(cell: OrderedCell, result: LargeOrderings, drawn: LargeOrderings) -> list[Candidate]:
    """Return one candidate for each draw: an ordering counts as often as it was drawn."""
    indices = [index for index, times in enumerate(drawn.times_drawn) for _ in range(times)]
    return [
        Candidate(Ordering(cell, number), result.orderings[index], drawn.formula, drawn.n_atoms, times_drawn=1)
        for number, index in enumerate(indices)
    ]


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LargeOrderings:
    """Orderings of a large cell that were drawn at a temperature.

    Attributes
    ----------
    formula, n_atoms
        Reduced formula, and atoms of the cell.
    orderings, times_drawn
        Their structures on the sites of the crystal, and how often each was drawn.
    evidence
        Convergence of the run, and accuracy of the cluster expansion.
    """

    formula: str
    n_atoms: int
    orderings: tuple[Atoms, ...]
    times_drawn: tuple[int, ...]
    evidence: MonteCarloEvidence


@task(version=3)
def draw_large_task(
    context: Context,
    *,
    problem: OrderingProblem,
    supercell: Rows,
    structures: Sequence[Atoms],
    energies_eV: Sequence[float],
    temperature_K: float,
    n_sweeps: int,
    n_samples: int,
    pair_cutoff_A: float,
    triplet_cutoff_A: float,
    tolerance_meV_per_atom: float,
    potential_name: str,
    seed: int,
) -> LargeOrderings:
    """Fit a cluster expansion to energies of small cells, and draw orderings of a large cell at a temperature."""
    from superionic.enumeration.learning import LearningSettings, draws_of_larger_cell
    from superionic.errors import AnalysisError, CalculationFailed
    from superionic.structures.crystal.composition import repeated_composition
    from superionic.structures.crystal.supercells import supercell_sites
    from superionic.structures.orderings.space import ordering_space

    crystal, small = problem.read(context)
    charges, sites = problem.space.oxidation_states, supercell_sites(crystal, supercell)
    composition = repeated_composition(small.composition, small.sites, sites)
    space = ordering_space(
        sites, composition, min_distance_A=problem.composition.min_distance_A, oxidation_states=charges
    )
    context.progress(0.1, "Monte Carlo on the cluster expansion")
    try:
        drawn = draws_of_larger_cell(
            space,
            charges,
            structures,
            energies_eV,
            n_samples,
            LearningSettings(temperature_K, n_sweeps, pair_cutoff_A, triplet_cutoff_A),
            tolerance_meV_per_atom=tolerance_meV_per_atom,
            seed=seed,
            energy_name=f"potential {potential_name}",
        )
    except AnalysisError as error:
        raise CalculationFailed(f"no orderings of the large cell: {error.message}") from error
    evidence, times = drawn.evidence, drawn.times_drawn
    assert isinstance(evidence, MonteCarloEvidence)  # noqa: S101 - for the type checker: thermal draws have both
    assert times is not None  # noqa: S101
    frames = tuple(drawn.atoms(space))
    return LargeOrderings(composition.formula, len(frames[0]), frames, tuple(times.tolist()), evidence)
