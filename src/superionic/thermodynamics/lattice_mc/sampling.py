"""Monte Carlo of orderings by swaps: thermal averages and decorrelated samples at a ladder of temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from superionic.errors import AnalysisError
from superionic.thermodynamics.lattice_mc.analysis import MonteCarloResult, analyse
from superionic.thermodynamics.lattice_mc.lattice import CodeArray, FloatArray, IntArray, LatticeEnergy, SwapSpace
from superionic.thermodynamics.lattice_mc.order_parameters import PairShells
from superionic.thermodynamics.lattice_mc.replicas import MonteCarloState, advance, begin
from superionic.units import BOLTZMANN_EV_PER_K

_COARSE = 8
"""Temperatures of the first pilot run."""


@dataclass(frozen=True)
class TemperatureLadder:
    """A ladder between two temperatures, spaced so that all neighbours exchange at the same rate.

    Parameters
    ----------
    low_K, high_K
        Its ends.
    exchange
        Target exchange rate; 20–40 % is best for round trips.
    max_replicas
        Largest number of temperatures.
    pilot_sweeps
        Length of each of the two pilot runs that set the spacing. They start from a geometric ladder.
    """

    low_K: float
    high_K: float
    exchange: float = 0.3
    max_replicas: int = 48
    pilot_sweeps: int = 200


def run_monte_carlo(
    space: SwapSpace,
    energy: LatticeEnergy,
    *,
    temperature_K: float | Sequence[float] | None = None,
    ladder: TemperatureLadder | None = None,
    n_sweeps: int = 2000,
    seed: int = 0,
    record_every: int = 10,
    shells: PairShells | None = None,
    state: MonteCarloState | None = None,
) -> MonteCarloResult:
    """Sample decorations at one temperature, or at a ladder of them with replica exchange.

    Parameters
    ----------
    space, energy
        The decorations connected by swaps, and their energy.
    temperature_K
        One temperature, or an ascending ladder that is used unchanged.
    ladder
        Alternatively, a ladder whose spacing is adapted first.
    n_sweeps
        A sweep is as many attempted swaps as there are sites that can move, at each temperature.
    seed
        Each seed gives one reproducible run.
    record_every
        Record a decoration at each temperature after every so many sweeps.
    shells
        Shells of pairs for Warren–Cowley parameters.
    state
        State from which to continue; temperatures, seed and record_every are then those of the state.

    Raises
    ------
    AnalysisError
        If temperatures are missing, given twice or not positive, nothing can be swapped, or the state belongs to
        another space.
    """
    _check_run(space, temperature_K, ladder, n_sweeps, record_every, state)
    capped = False
    if state is None:
        pilot, main = np.random.SeedSequence(seed).spawn(2)
        if ladder is not None:
            temperatures, starts, capped = fit_ladder(space, energy, ladder, pilot)
        else:
            temperatures = np.atleast_1d(np.asarray(temperature_K, dtype=np.float64))
            starts = np.repeat(space.start[None], len(temperatures), axis=0)
        state = begin(space, energy, temperatures, starts, main, record_every)
    state = advance(space, energy, state, n_sweeps)
    return analyse(space, state, shells, capped=capped)


def _check_run(
    space: SwapSpace,
    temperature_K: float | Sequence[float] | None,
    ladder: TemperatureLadder | None,
    n_sweeps: int,
    record_every: int,
    state: MonteCarloState | None,
) -> None:
    if state is None and (temperature_K is None) == (ladder is None):
        raise AnalysisError("Monte Carlo needs temperatures.", fix="Give either temperature_K or a ladder.")
    if ladder is not None:
        temperatures = np.array([ladder.low_K, ladder.high_K])
    else:
        temperatures = np.atleast_1d(np.asarray(1.0 if temperature_K is None else temperature_K, dtype=np.float64))
    if not np.all(np.isfinite(temperatures)) or np.any(temperatures <= 0.0) or np.any(np.diff(temperatures) <= 0.0):
        raise AnalysisError(
            "Temperatures must be positive and ascending.", where=str(temperatures.tolist()), fix="Sort them."
        )
    if n_sweeps < 1 or record_every < 1:
        raise AnalysisError(
            f"{n_sweeps} sweeps, recorded every {record_every}, cannot be run.", fix="Give positive numbers."
        )
    if len(space.moves().classes) == 0:
        raise AnalysisError(
            "Nothing can be swapped: each block has one species on the sites that may hold it.",
            fix="Give a composition that mixes species on a block.",
        )
    if state is not None and not (
        state.codes.shape[1] == space.n_free
        and np.array_equal(_composition(space, state.codes[0]), _composition(space, space.start))
    ):
        raise AnalysisError(
            "The state belongs to another space.", fix="Continue with the space that the state was made with."
        )


def _composition(space: SwapSpace, codes: CodeArray) -> IntArray:
    return np.bincount(space.block_of * 256 + codes, minlength=256 * len(space.vacancies)).astype(np.int64)


def fit_ladder(
    space: SwapSpace, energy: LatticeEnergy, ladder: TemperatureLadder, seed: np.random.SeedSequence
) -> tuple[FloatArray, CodeArray, bool]:
    """Space a ladder by two pilot runs; return temperatures, a decoration for each, and whether it was cut short.

    With Gaussian energies of spread σ neighbours exchange at the rate erfc(Δβ σ/2) (Kofke, J. Chem. Phys. 117, 6911
    (2002)); so x = Δβ σ = 2 erfc⁻¹(rate) measures the distance of two temperatures, and the ladder has steps of equal
    x. Where a rate is too near 0 or 1 to be informative, x comes from the spread of the energies instead.
    """
    from scipy.special import erfcinv

    temperatures = np.geomspace(ladder.low_K, ladder.high_K, _COARSE)
    starts = np.repeat(space.start[None], _COARSE, axis=0)
    capped = False
    for child in seed.spawn(2):
        state = advance(space, energy, begin(space, energy, temperatures, starts, child, 1 << 30), ladder.pilot_sweeps)
        betas = 1.0 / (BOLTZMANN_EV_PER_K * temperatures)
        spread = state.energies_eV[ladder.pilot_sweeps // 3 :].std(axis=0)
        lengths = -np.diff(betas) * 0.5 * (spread[1:] + spread[:-1])
        rates = state.exchange_accepted / np.maximum(1, state.exchange_tried)
        informative = (rates > 0.03) & (rates < 0.97)
        lengths[informative] = 2.0 * erfcinv(rates[informative])
        # A little everywhere keeps temperatures apart where the energy is frozen or flat.
        lengths += 1e-3 * (lengths.sum() + 1e-3)
        distance = np.concatenate([[0.0], np.cumsum(lengths)])
        needed = 1 + int(np.ceil(distance[-1] / (2.0 * erfcinv(ladder.exchange))))
        count = min(max(2, needed), ladder.max_replicas)
        capped = needed > ladder.max_replicas
        places = np.linspace(0.0, distance[-1], count)
        fresh = 1.0 / (BOLTZMANN_EV_PER_K * np.interp(places, distance, betas))
        fresh[0], fresh[-1] = ladder.low_K, ladder.high_K
        nearest = np.argmin(np.abs(np.log(fresh[:, None] / temperatures[None, :])), axis=1)
        starts = state.codes[state.at[nearest]]
        temperatures = fresh
    return temperatures, starts, capped
