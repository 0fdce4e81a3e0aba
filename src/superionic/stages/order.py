"""What the ranked orderings look like: coordination, short-range order and occupancies by Wyckoff position.

It belongs to the stage *rank*, after which the lowest orderings are known, and needs the crystals of the stage
*enumerate*, on whose sites they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from ase import Atoms

from superionic.enumeration.local_order import LocalOrder, local_order, mean_order
from superionic.errors import AnalysisError, CalculationFailed
from superionic.execution.runner import Failure
from superionic.execution.task import Context, task
from superionic.results.identity import Material
from superionic.results.ranking import MaterialOrder, MeanOrder, OrderOfOrdering
from superionic.stages.base import Candidate, RelaxedOrdering, Workbench, failures_of, grouped, read_parent
from superionic.stages.enumerate.spaces import SpaceSettings
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.results.identity import Ordering, ReferencePhase
    from superionic.stages.enumerate.spaces import Space

LOWEST: Final = 3
"""Number of orderings of each material that are described one by one."""
_DIGITS = 6


@dataclass(frozen=True)
class Averaging:
    """How orderings are weighted in the mean; see :class:`superionic.results.ranking.MeanOrder`."""

    weights: Literal["boltzmann", "draws"]
    temperature_K: float


def describe(
    bench: Workbench,
    ranked: Sequence[Candidate],
    enumerated: Sequence[Candidate],
    spaces: Sequence[Space],
    averaging: Averaging | None,
    *,
    round_label: str = "",
) -> tuple[tuple[MaterialOrder, ...], tuple[Failure, ...]]:
    """Describe the lowest orderings of each material, and their mean.

    Parameters
    ----------
    bench
        The workbench.
    ranked
        Relaxed orderings; references are ignored.
    enumerated
        The same orderings, and others, on the sites of their crystals.
    spaces
        Crystal and composition of each material.
    averaging
        Weights of the mean; None for no mean.
    round_label
        Distinguishes a second ranking, by the fine-tuned potential.
    """
    bench = bench.at("rank")
    on_sites: dict[Ordering | ReferencePhase, Candidate] = {each.identity: each for each in enumerated}
    settings: dict[Material, SpaceSettings] = {}
    for space in spaces:
        settings.setdefault(space.material, space.settings)
    groups = grouped([each for each in ranked if not each.is_reference], lambda each: (each.material, each.formula))
    of_group: dict[tuple[Material, str], list[Candidate]] = {}
    tasks = []
    for group, members in groups.items():
        # Energies that differ only by rounding keep the order of the enumeration.
        in_order = sorted(members, key=lambda each: round(each.relaxed_eV_per_atom or 0.0, _DIGITS))
        of_group[group] = in_order
        lowest_cell = in_order[0].ordering.cell
        averaged = [k for k, each in enumerate(in_order) if each.ordering.cell == lowest_cell]
        material, formula = group
        call = order_task.of(
            averaging=averaging,
            averaged=averaged if averaging is not None else [],
            degeneracies=[each.degeneracy or 1 for each in in_order],
            times_drawn=[each.times_drawn or 1 for each in in_order],
            lowest=min(LOWEST, len(in_order)),
            space=settings[material],
            on_sites=[on_sites[each.identity].structure for each in in_order],
            relaxed=[each.relaxation for each in in_order],
        )
        tasks.append(
            bench.task(f"order of {formula} ({material.label}){' ' if round_label else ''}{round_label}", call)
        )
    outcomes = bench.runner.gather(tasks)
    described = tuple(
        MaterialOrder(
            material=material,
            formula=formula,
            key=outcome.task.key,
            lowest=tuple(
                OrderOfOrdering(
                    each.ordering, (each.relaxed_eV_per_atom or 0.0) - (members[0].relaxed_eV_per_atom or 0.0), order
                )
                for each, order in zip(members, outcome.value.lowest, strict=False)
            ),
            mean=outcome.value.mean,
        )
        for ((material, formula), members), outcome in zip(of_group.items(), outcomes, strict=True)
        if outcome.ok
    )
    return described, failures_of(outcomes)


# ---- task functions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DescribedOrderings:
    """The local order of the lowest orderings, lowest first, and the mean over those that were to be averaged."""

    lowest: tuple[LocalOrder, ...]
    mean: MeanOrder | None


@task(version=1)
def order_task(
    context: Context,
    *,
    averaging: Averaging | None,
    averaged: Sequence[int],
    degeneracies: Sequence[int],
    times_drawn: Sequence[int],
    lowest: int,
    space: SpaceSettings,
    on_sites: Sequence[Atoms],
    relaxed: Sequence[RelaxedOrdering],
) -> DescribedOrderings:
    """Describe orderings of one material, the lowest first."""
    from superionic.structures.crystal.occupancies import with_occupancies

    crystal = read_parent(space.file_name, space.text, context, space.occupancies)
    crystal = space.substituted(with_occupancies(crystal, space.occupancies) if space.occupancies else crystal)
    needed = sorted({*range(lowest), *averaged})
    orders: dict[int, LocalOrder] = {}
    try:
        for done, k in enumerate(needed):
            context.progress(done / len(needed), f"ordering {done + 1} of {len(needed)}")
            orders[k] = local_order(relaxed[k].atoms, crystal, space.oxidation_states, on_sites=on_sites[k])
    except AnalysisError as error:
        raise CalculationFailed(f"the orderings cannot be described: {error.message}") from error
    mean = None
    if averaging is not None and averaged:
        weights = _weights(averaging, averaged, degeneracies, times_drawn, [each.energy_eV for each in relaxed])
        mean = MeanOrder(
            weights=averaging.weights,
            temperature_K=averaging.temperature_K,
            n_orderings=len(averaged),
            effective_number=float(weights.sum() ** 2 / np.sum(weights**2)),
            order=mean_order([orders[k] for k in averaged], weights.tolist()),
        )
    return DescribedOrderings(tuple(orders[k] for k in range(lowest)), mean)


def _weights(
    averaging: Averaging,
    averaged: Sequence[int],
    degeneracies: Sequence[int],
    times_drawn: Sequence[int],
    energies_eV: Sequence[float],
) -> np.ndarray:
    if averaging.weights == "draws":
        return np.array([times_drawn[k] for k in averaged], dtype=np.float64)
    energies = np.array([energies_eV[k] for k in averaged])
    factors = np.exp(-(energies - energies.min()) / (BOLTZMANN_EV_PER_K * averaging.temperature_K))
    return np.asarray(np.array([degeneracies[k] for k in averaged]) * factors, dtype=np.float64)
