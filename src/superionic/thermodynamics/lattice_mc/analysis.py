"""Averages, errors, decorrelated samples and warnings from the series of a Monte Carlo run."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from superionic.thermodynamics.lattice_mc.lattice import CodeArray, FloatArray, SwapSpace
from superionic.thermodynamics.lattice_mc.order_parameters import (
    PairShells,
    ShortRangeOrder,
    autocorrelation_time,
    equilibrated_from,
    mean_and_error,
    short_range_order,
)
from superionic.thermodynamics.lattice_mc.replicas import MonteCarloState
from superionic.units import BOLTZMANN_EV_PER_K

_ENOUGH = 50
"""Number of independent samples that each temperature should have."""


@dataclass(frozen=True, eq=False)
class MonteCarloResult:
    """Thermal averages by temperature, with standard errors, and decorrelated samples.

    Parameters
    ----------
    temperatures_K
        (n_T,) ascending.
    energies_eV, energy_errors_eV
        (n_T,) mean energy of the cell.
    heat_capacities_eV_per_K, heat_capacity_errors_eV_per_K
        (n_T,) Var(E)/(k_B T²) of the cell; errors by the jackknife over 20 blocks.
    autocorrelation_sweeps
        (n_T,) integrated autocorrelation time of the energy.
    n_sweeps, n_discarded
        All sweeps, and those before equilibration, which no average includes.
    acceptance, exchange
        (n_T,) accepted fraction of attempted swaps; (n_T − 1,) the same of attempted exchanges.
    round_trips
        Number of journeys from the coldest to the hottest temperature and back, all replicas together.
    order
        Warren–Cowley parameters, if shells were given.
    samples, sample_energies_eV
        For each temperature decorations (m, n_free), 2 τ or more apart, and their energies.
    flags
        Remarks on what is not converged; empty if everything is.
    state
        The state from which to continue.
    """

    temperatures_K: FloatArray
    energies_eV: FloatArray
    energy_errors_eV: FloatArray
    heat_capacities_eV_per_K: FloatArray
    heat_capacity_errors_eV_per_K: FloatArray
    autocorrelation_sweeps: FloatArray
    n_sweeps: int
    n_discarded: int
    acceptance: FloatArray
    exchange: FloatArray
    round_trips: int
    order: ShortRangeOrder | None
    samples: tuple[CodeArray, ...]
    sample_energies_eV: tuple[FloatArray, ...]
    flags: tuple[str, ...]
    state: MonteCarloState

    @property
    def converged(self) -> bool:
        """Whether nothing was flagged."""
        return not self.flags


def analyse(space: SwapSpace, state: MonteCarloState, shells: PairShells | None, *, capped: bool) -> MonteCarloResult:
    """Turn the series of a run into averages, errors, samples and flags."""
    temperatures, series = state.temperatures_K, state.energies_eV
    n_t, n = len(temperatures), len(series)
    starts = [equilibrated_from(column) for column in series.T]
    discarded = max(starts)
    production = series[discarded:]
    means, errors = np.array([mean_and_error(column) for column in production.T]).T
    times = np.array([autocorrelation_time(column) for column in production.T])
    first = -(-discarded // state.record_every)
    snapshots = [state.snapshots[first:, k] for k in range(n_t)]
    order, order_times = None, np.zeros(n_t)
    if shells is not None and len(snapshots[0]):
        order, order_times = short_range_order(snapshots, shells, space.block_of)
    samples, sample_energies = [], []
    for k in range(n_t):
        apart = max(1, int(np.ceil(2.0 * max(times[k] / state.record_every, order_times[k]))))
        samples.append(snapshots[k][::apart].copy())
        at_sweep = (np.arange(first, first + len(snapshots[k])) + 1) * state.record_every - 1
        sample_energies.append(series[at_sweep[::apart], k])
    capacities, capacity_errors = _heat_capacities(production, temperatures)
    tried = max(1, state.sweep * state.order.shape[1])
    exchange = state.exchange_accepted / np.maximum(1, state.exchange_tried)
    result = MonteCarloResult(
        temperatures_K=temperatures,
        energies_eV=means,
        energy_errors_eV=errors,
        heat_capacities_eV_per_K=capacities,
        heat_capacity_errors_eV_per_K=capacity_errors,
        autocorrelation_sweeps=times,
        n_sweeps=n,
        n_discarded=discarded,
        acceptance=state.accepted / tried,
        exchange=exchange,
        round_trips=int(state.trips.sum()),
        order=order,
        samples=tuple(samples),
        sample_energies_eV=tuple(sample_energies),
        flags=(),
        state=state,
    )
    return replace(result, flags=tuple(_flags(result, production, order_times * state.record_every, capped=capped)))


def _heat_capacities(production: FloatArray, temperatures: FloatArray) -> tuple[FloatArray, FloatArray]:
    scale = 1.0 / (BOLTZMANN_EV_PER_K * temperatures**2)
    values = production.var(axis=0) * scale
    blocks = np.array_split(np.arange(len(production)), 20)
    if len(production) < 40:
        return values, np.full(len(temperatures), np.nan)
    left_out = np.array([np.delete(production, block, axis=0).var(axis=0) for block in blocks]) * scale
    errors = np.sqrt(19.0 / 20.0 * np.sum((left_out - left_out.mean(axis=0)) ** 2, axis=0))
    return values, errors


def _flags(result: MonteCarloResult, production: FloatArray, order_times: FloatArray, *, capped: bool) -> list[str]:
    """Describe what is not converged."""
    flags = []
    temperatures, n = result.temperatures_K, len(production)
    if capped:
        flags.append(f"The ladder was cut to {len(temperatures)} temperatures; exchanges are rarer than asked for.")
    if result.n_discarded >= result.n_sweeps // 2 - 1 and result.n_sweeps > 3:
        flags.append("Not equilibrated: the energy still drifts in the first half of the run.")
    slow = np.maximum(result.autocorrelation_sweeps, order_times)
    short = [f"{t:.0f} K" for t, tau in zip(temperatures, slow, strict=True) if n < 2.0 * tau * _ENOUGH]
    if short:
        flags.append(f"Fewer than {_ENOUGH} independent samples at {', '.join(short)}: run longer.")
    for k in range(len(temperatures)):
        (a, error_a), (b, error_b) = mean_and_error(production[: n // 2, k]), mean_and_error(production[n // 2 :, k])
        if abs(a - b) > 4.0 * np.hypot(error_a, error_b) + 1e-9:
            flags.append(f"The two halves of the run disagree at {temperatures[k]:.0f} K.")
    rare = [f"{temperatures[k]:.0f}/{temperatures[k + 1]:.0f} K" for k in np.flatnonzero(result.exchange < 0.1)]
    if rare:
        flags.append(f"Fewer than 10 % of exchanges are accepted at {', '.join(rare)}: put temperatures closer.")
    if len(temperatures) > 1 and result.round_trips == 0:
        flags.append("No replica went from the coldest to the hottest temperature and back: run longer.")
    if result.state.n_failed:
        flags.append(f"{result.state.n_failed} energies failed; those moves were rejected.")
    return flags
