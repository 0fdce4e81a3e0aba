"""Stage *spacing*: the shortest distance between mobile ions in the lowest orderings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ase import Atoms
from superionic.stages.spacing.result import OrderingSpacing, SpacingResult

from superionic.errors import CalculationFailed
from superionic.execution.task import Context, task
from superionic.stages.base import Earlier, Estimate, Workbench, failures_of, lowest_of_each

if TYPE_CHECKING:
    from superionic.stages.spacing.settings import SpacingSettings


def run(settings: SpacingSettings, bench: Workbench, earlier: Earlier) -> SpacingResult:
    """Measure the lowest orderings of each composition."""
    lowest = lowest_of_each(earlier.candidates, settings.count)
    tasks = [
        bench.task(f"spacing: {each.id}", spacing_task.of(atoms=each.structure, element=bench.mobile_ion))
        for each in lowest
    ]
    outcomes = bench.runner.gather(tasks)
    measured = tuple(
        OrderingSpacing(each.ordering, each.formula, outcome.value, outcome.task.key)
        for each, outcome in zip(lowest, outcomes, strict=True)
        if outcome.ok
    )
    return SpacingResult("spacing", failures_of(outcomes), measured)


def plan(settings: SpacingSettings, n_relaxed: Sequence[int], n_atoms: float) -> Estimate:
    """Estimate the work: a distance takes a microsecond."""
    count = sum(min(settings.count, relaxed) for relaxed in n_relaxed)
    return Estimate(f"distances in {count} orderings", count, 1e-6 * count * n_atoms**2)


@task(version=1)
def spacing_task(context: Context, *, atoms: Atoms, element: str) -> float:
    """Return the shortest distance between two ions of an element, periodic images included, in Å."""
    del context
    return shortest_A(atoms, element)


def shortest_A(atoms: Atoms, element: str) -> float:
    """Return the shortest distance between two ions of an element, periodic images included, in Å.

    Raises
    ------
    CalculationFailed
        If no two are within 10 Å of each other.
    """
    from superionic.potentials.neighbours import pairs_within

    positions = atoms.positions[[symbol == element for symbol in atoms.symbols]]
    distances = pairs_within(positions, atoms.cell.array, atoms.pbc, 10.0).distances_A
    if len(distances) == 0:
        raise CalculationFailed(f"no two ions of {element} are within 10 Å of each other")
    return float(distances.min())
