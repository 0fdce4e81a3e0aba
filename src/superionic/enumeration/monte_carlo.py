"""Orderings at a temperature: replica-exchange Monte Carlo by swaps, with the evidence for its convergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from superionic.chemistry import VACANCY
from superionic.enumeration.chosen import ChosenOrderings
from superionic.enumeration.evidence import MonteCarloEvidence, PairOrder
from superionic.errors import CompositionError
from superionic.structures.orderings.electrostatics import table_energies
from superionic.structures.orderings.ordering import OrderingTable
from superionic.structures.orderings.space import CodeArray, OrderingSpace
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.enumeration.lattice_of import ChargedLattice
    from superionic.thermodynamics.lattice_mc.analysis import MonteCarloResult
    from superionic.thermodynamics.lattice_mc.lattice import LatticeEnergy

DEFAULT_TEMPERATURE_K = 800.0
"""About the temperature at which electrolytes are synthesised and their disorder is frozen in."""

DEFAULT_DIELECTRIC = 10.0
"""Relative permittivity by which point-charge energies are divided.

Bare point charges are unscreened, so that their energy differences are several times those of a crystal, whose
electrons and ions relax around an ordering: at 800 K they would freeze nearly everything. Ten is the order of the
static permittivity of halide and oxide electrolytes. A potential (``enumerate.monte_carlo.potential``) needs no such
number.
"""

DEFAULT_SWEEPS = 4000

_SHELLS = 2
_RECORD_EVERY = 10
_HOTTEST_K = 3000.0
_HOTTER = 5.0
_FIXED = 1e-12
_RARE = 0.15
_REFINEMENTS = 4


def monte_carlo(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    number: int,
    *,
    temperature_K: float = DEFAULT_TEMPERATURE_K,
    dielectric: float = DEFAULT_DIELECTRIC,
    n_sweeps: int = DEFAULT_SWEEPS,
    seed: int = 0,
) -> ChosenOrderings:
    """Draw decorrelated orderings at a temperature, by the energy of point charges in a dielectric.

    Parameters
    ----------
    space, oxidation_states
        The space, and the charge in e of every species.
    number
        Number of draws; fewer are returned if the run has fewer independent ones. Repeated draws are merged, and
        counted in ``times_drawn``.
    temperature_K
        The temperature of the draws. Replicas at higher temperatures, up to five times this and at least 3000 K, help
        to cross barriers.
    dielectric
        Relative permittivity; see :data:`DEFAULT_DIELECTRIC`.
    n_sweeps
        Length of the run; a sweep is an attempted swap for each site that can move, at each temperature.

    Raises
    ------
    CompositionError
        If a number is not positive, or nothing can be swapped.
    """
    from superionic.enumeration.lattice_of import lattice_of

    check_numbers(number, temperature_K, n_sweeps)
    lattice = lattice_of(space, oxidation_states, np.random.default_rng(seed))
    return thermal_orderings(
        space, oxidation_states, lattice, lattice.screened(dielectric), number,
        temperature_K=temperature_K, n_sweeps=n_sweeps, seed=seed,
        energy_name="point charges", dielectric=float(dielectric),
    )  # fmt: skip


def monte_carlo_draws(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    number: int,
    *,
    temperature_K: float,
    dielectric: float,
    n_sweeps: int,
    seed: int,
) -> CodeArray:
    """Return all independent draws of :func:`monte_carlo` as (n, n_free) canonical decorations, repeated ones too."""
    from superionic.enumeration.lattice_of import lattice_of
    from superionic.structures.orderings.sampling import canonicalise

    lattice = lattice_of(space, oxidation_states, np.random.default_rng(seed))
    energy = lattice.screened(dielectric)
    result = run(space, lattice, energy, number, temperature_K=temperature_K, n_sweeps=n_sweeps, seed=seed)
    return canonicalise(space, result.samples[0])[0]


def check_numbers(number: int, temperature_K: float, n_sweeps: int) -> None:
    """Refuse meaningless numbers.

    Raises
    ------
    CompositionError
        If one of them is not positive.
    """
    if number < 1:
        raise CompositionError(f"{number} orderings cannot be drawn.", fix="Ask for one or more.")
    if not (np.isfinite(temperature_K) and temperature_K > 0.0):
        raise CompositionError(
            f"{temperature_K:g} K is not a valid temperature.", fix="Give a positive one, such as 800."
        )
    if n_sweeps < 1:
        raise CompositionError(f"A run cannot have {n_sweeps} sweeps.", fix="Give a thousand or more.")


def thermal_orderings(
    space: OrderingSpace,
    oxidation_states: Mapping[str, float],
    lattice: ChargedLattice,
    energy: LatticeEnergy,
    number: int,
    *,
    temperature_K: float,
    n_sweeps: int,
    seed: int,
    energy_name: str,
    dielectric: float | None = None,
) -> ChosenOrderings:
    """Draw decorrelated orderings at a temperature by any energy; its name and the permittivity go into the evidence.

    Other parameters are those of :func:`monte_carlo`.
    """
    from superionic.structures.orderings.sampling import canonicalise

    result = run(space, lattice, energy, number, temperature_K=temperature_K, n_sweeps=n_sweeps, seed=seed)
    drawn = result.samples[0]
    if len(drawn) > number:
        drawn = drawn[np.linspace(0, len(drawn) - 1, number).astype(int)]
    if not len(drawn):
        drawn = result.state.snapshots[-1:, 0]
    canonical, degeneracies = canonicalise(space, drawn)
    _, first, times = np.unique(canonical, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first, kind="stable")
    table = OrderingTable.of(space, canonical[first[order]], degeneracies[first[order]])
    return ChosenOrderings(
        method="monte-carlo",
        table=table,
        energies_eV=table_energies(lattice.matrix, table, oxidation_states),
        times_drawn=times[order].astype(np.int64),
        evidence=MonteCarloEvidence(
            energy=energy_name,
            dielectric=dielectric,
            temperature_K=float(result.temperatures_K[0]),
            converged=result.converged,
            flags=_flags(result, n_drawn=len(drawn), asked_for=number),
            independent_draws=len(drawn),
            sweeps=result.n_sweeps,
            sweeps_before_equilibrium=result.n_discarded,
            autocorrelation_sweeps=_finite(result.autocorrelation_sweeps[0]),
            temperatures_K=tuple(result.temperatures_K.tolist()),
            acceptance=tuple(_finite(share) for share in result.acceptance),
            exchange_rates=tuple(_finite(share) for share in result.exchange),
            round_trips=int(result.round_trips),
            mean_energy_eV=_finite(result.energies_eV[0]),
            mean_energy_error_eV=_finite(result.energy_errors_eV[0]),
            heat_capacity_kB=_finite(result.heat_capacities_eV_per_K[0] / BOLTZMANN_EV_PER_K),
            heat_capacity_error_kB=_finite(result.heat_capacity_errors_eV_per_K[0] / BOLTZMANN_EV_PER_K),
            order_parameters=_order(space, result),
            seed=seed,
        ),
    )


def run(
    space: OrderingSpace,
    lattice: ChargedLattice,
    energy: LatticeEnergy,
    number: int,
    *,
    temperature_K: float,
    n_sweeps: int,
    seed: int,
) -> MonteCarloResult:
    """Run replica exchange from a temperature upward, with order parameters of the nearest shells.

    Pilot runs do not always show how close temperatures must be near a transition. If neighbours then hardly exchange,
    temperatures are inserted between them, and the run is repeated.
    """
    from superionic.enumeration.lattice_of import nearest_shells
    from superionic.thermodynamics.lattice_mc.sampling import TemperatureLadder, run_monte_carlo

    options: dict[str, Any] = {
        "n_sweeps": n_sweeps,
        "seed": seed,
        # Often enough to draw the requested number of independent orderings, if the run has as many.
        "record_every": max(1, min(_RECORD_EVERY, n_sweeps // (4 * number))),
        "shells": nearest_shells(space, _SHELLS),
    }
    ladder = TemperatureLadder(temperature_K, max(_HOTTER * temperature_K, _HOTTEST_K))
    result = run_monte_carlo(lattice.swaps, energy, ladder=ladder, **options)
    for _ in range(_REFINEMENTS):
        low = result.temperatures_K
        rare = np.flatnonzero(result.exchange < _RARE)
        if not len(rare) or len(low) + len(rare) > ladder.max_replicas:
            break
        between = 2.0 / (1.0 / low[rare] + 1.0 / low[rare + 1])
        result = run_monte_carlo(
            lattice.swaps, energy, temperature_K=np.sort(np.concatenate([low, between])).tolist(), **options
        )
    return result


def _flags(result: MonteCarloResult, *, n_drawn: int, asked_for: int) -> tuple[str, ...]:
    few = f"{n_drawn} of {asked_for} draws are independent: run longer for more."
    return (*result.flags, few) if n_drawn < asked_for else tuple(result.flags)


def _order(space: OrderingSpace, result: MonteCarloResult) -> tuple[PairOrder, ...]:
    if result.order is None:
        return ()
    orders = []
    for parameter, value, error in zip(
        result.order.parameters, result.order.values[0], result.order.errors[0], strict=True
    ):
        a, b = space.blocks[parameter.block_a], space.blocks[parameter.block_b]
        orders.append(
            PairOrder(
                sites_a=a.name,
                species_a=a.species[parameter.code_a],
                sites_b=b.name,
                species_b=b.species[parameter.code_b],
                distance_A=round(parameter.distance_A, 4),
                warren_cowley=_finite(value),
                error=_finite(error),
            )
        )
    return tuple(orders)


def most_informative(order: Sequence[PairOrder], number: int) -> list[PairOrder]:
    """Return the largest independent order parameters, nearest first among ties.

    Between two groups of sites those with a vacancy are left out, as they follow from the others; so are those fixed by
    the counts alone.
    """
    new = [
        p
        for p in order
        if (p.sites_a == p.sites_b or VACANCY not in (p.species_a, p.species_b))
        and (abs(p.warren_cowley or 0.0) > _FIXED or (p.error or 0.0) > _FIXED)
    ]
    return sorted(new, key=lambda p: (-round(abs(p.warren_cowley or 0.0), 6), p.distance_A))[:number]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
