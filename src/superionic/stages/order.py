"""What the ranked orderings look like, and what becomes of it in runs: coordination, short-range order, occupancies.

It belongs to the stage *rank*, after which the lowest orderings are known, and to *analyse*; both need the crystals of
the stage *enumerate*, on whose sites the ions are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from ase import Atoms

from superionic.chemistry import VACANCY
from superionic.enumeration.local_order import (
    LocalOrder,
    coordination_kinds,
    decoration_of,
    local_order,
    mean_order,
    short_range_orders,
    site_occupancies,
)
from superionic.errors import AnalysisError, CalculationFailed
from superionic.execution.runner import Failure
from superionic.execution.task import Context, task
from superionic.results.identity import Material, Rows
from superionic.results.ranking import MaterialOrder, MeanOrder, OrderOfOrdering
from superionic.results.transport import RunOrder
from superionic.stages.base import (
    Candidate,
    FloatArray,
    RelaxedOrdering,
    Trajectory,
    TransportRun,
    Workbench,
    failures_of,
    grouped,
    read_parent,
)
from superionic.stages.enumerate.spaces import SpaceSettings
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.enumeration.local_order import CompleteShells
    from superionic.results.identity import Ordering, ReferencePhase
    from superionic.stages.enumerate.spaces import Space
    from superionic.structures.crystal.disordered import DisorderedCrystal

LOWEST: Final = 3
"""Number of orderings of each material that are described one by one."""
MOST_ATOMS: Final = 3000
"""Atoms of a run that is described: putting each on a site takes time of the third power of their number."""
_DIGITS = 6
_FRAMES = 10


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
    settings = _settings_of(spaces)
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


def materials_that_mix(orders: Sequence[MaterialOrder], mobile_ion: str) -> set[Material]:
    """Return the materials in which mixing is a question: with several anions, or elements that share sites."""

    def mixes(order: LocalOrder) -> bool:
        anions = {element for kind in order.coordination for element, _ in kind.anions}
        shared = any(not {VACANCY, mobile_ion} & {pair.first, pair.second} for pair in order.pairs)
        return len(anions) > 1 or shared

    return {each.material for each in orders if mixes(each.lowest[0].order)}


def describe_runs(
    bench: Workbench, runs: Sequence[TransportRun], spaces: Sequence[Space], supercell: Rows
) -> tuple[tuple[RunOrder, ...], tuple[Failure, ...]]:
    """Describe what the structures of each run look like, on average over its frames.

    Parameters
    ----------
    runs
        Runs of the stage *transport*, of `MOST_ATOMS` at most.
    spaces
        Crystal and composition of each material.
    supercell
        Cell of the runs in terms of that of the ordering.
    """
    bench = bench.at("analyse")
    settings = _settings_of(spaces)
    tasks = [
        bench.task(
            f"order in {each.run.label}",
            order_in_run_task.of(
                mobile_ion=bench.mobile_ion,
                space=settings[each.run.ordering.material],
                supercell=_product(supercell, each.run.ordering.cell.supercell),
                positions=each.positions_A,
                run=each.trajectory,
            ),
        )
        for each in runs
    ]
    outcomes = bench.runner.gather(tasks)
    orders = tuple(
        RunOrder(each.run, outcome.task.key, outcome.value)
        for each, outcome in zip(runs, outcomes, strict=True)
        if outcome.ok
    )
    return orders, failures_of(outcomes)


def _product(first: Rows, second: Rows) -> Rows:
    a, b, c = ((x, y, z) for x, y, z in (np.array(first) @ np.array(second)).tolist())
    return a, b, c


def _settings_of(spaces: Sequence[Space]) -> dict[Material, SpaceSettings]:
    settings: dict[Material, SpaceSettings] = {}
    for space in spaces:
        settings.setdefault(space.material, space.settings)
    return settings


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
    crystal = _crystal(space, context)
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


@task(version=1)
def order_in_run_task(
    context: Context,
    *,
    mobile_ion: str,
    space: SpaceSettings,
    supercell: Rows,
    positions: Sequence[FloatArray],
    run: Trajectory,
) -> LocalOrder:
    """Average the local order over frames spread evenly over a run; mobile ions have no coordination of interest."""
    from ase.data import atomic_masses, atomic_numbers

    from superionic.transport.diffusion.msd import remove_drift

    crystal = _crystal(space, context)
    # On the sites of the crystal in its own cell, as the ordering was, shells of neighbours are the same.
    unstrained_A = np.array(supercell) @ (crystal.primitive() if space.primitive else crystal).cell_A
    n_frames = sum(len(part) for part in positions)
    n_drawn = min(_FRAMES, n_frames)
    chosen = ((np.arange(n_drawn) + 0.5) * n_frames / n_drawn).astype(np.int64)
    frames = np.concatenate(positions)[np.concatenate([[0], chosen])]
    mobile = run.numbers == atomic_numbers[mobile_ion]
    if not mobile.all():
        frames = remove_drift(frames, ~mobile, masses=atomic_masses[run.numbers])
    orders: list[LocalOrder] = []
    shells: dict[tuple[str, str], CompleteShells] = {}
    try:
        for frame in frames[1:]:
            atoms = Atoms(run.numbers, positions=frame, cell=run.cell_A, pbc=True)
            on_sites = atoms.copy()
            on_sites.set_cell(unstrained_A, scale_atoms=True)
            decoration = decoration_of(on_sites, crystal, space.oxidation_states, own_sites=True)
            coordination = coordination_kinds(atoms, space.oxidation_states)
            orders.append(
                LocalOrder(
                    tuple(kind for kind in coordination if kind.cation != mobile_ion),
                    short_range_orders(decoration, known=shells),
                    site_occupancies(decoration),
                    decoration.misfit_A,
                )
            )
    except AnalysisError as error:
        raise CalculationFailed(f"the structures of the run cannot be described: {error.message}") from error
    return mean_order(orders, [1.0] * len(orders))


def _crystal(space: SpaceSettings, context: Context) -> DisorderedCrystal:
    """Return the crystal of a material, with its elements replaced."""
    from superionic.structures.crystal.occupancies import with_occupancies

    crystal = read_parent(space.file_name, space.text, context, space.occupancies)
    return space.substituted(with_occupancies(crystal, space.occupancies) if space.occupancies else crystal)


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
