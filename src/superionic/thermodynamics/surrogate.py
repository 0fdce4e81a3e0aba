"""A cluster expansion that stands in for an expensive energy, fitted while Monte Carlo samples.

Its terms are those of :mod:`superionic.thermodynamics.cluster_basis`. Coefficients come from ridge regression; its
strength and the cutoffs are those with the least leave-one-out error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from superionic.errors import AnalysisError
from superionic.thermodynamics.cluster_basis import ClusterBasis
from superionic.thermodynamics.lattice import (
    BoolArray,
    CodeArray,
    FloatArray,
    IdealMixing,
    IntArray,
    LatticeEnergy,
    SwapSpace,
)
from superionic.thermodynamics.montecarlo import TemperatureLadder, run_monte_carlo
from superionic.thermodynamics.montecarlo_analysis import MonteCarloResult

if TYPE_CHECKING:
    from superionic.thermodynamics.montecarlo_kernels import Tables

_PENALTIES = np.logspace(-8, 2, 21)
_FEWEST = 5
_FEWER_TERMS_WITHIN = 1.02
"""Of two fits whose errors differ by less than 2 %, the one with fewer terms is taken."""


@dataclass(frozen=True, eq=False)
class ClusterSurrogate:
    """A fitted cluster expansion; an energy for Monte Carlo.

    Parameters
    ----------
    basis
        Its terms.
    coefficients_eV
        (n_terms,) 0 for terms beyond the cutoffs.
    constant_eV
        e₀.
    error_eV, training_error_eV
        Root mean square errors a cell: leave-one-out, and on the data of the fit.
    penalty
        Of the ridge, relative to the number of data.
    pair_cutoff_A, triplet_cutoff_A
        Reach of the clusters that were taken; 0 for none.
    n_data
        Energies behind the fit.
    """

    basis: ClusterBasis
    coefficients_eV: FloatArray
    constant_eV: float
    error_eV: float
    training_error_eV: float
    penalty: float
    pair_cutoff_A: float
    triplet_cutoff_A: float
    n_data: int

    @property
    def n_terms(self) -> int:
        """Terms that were taken."""
        return int(np.count_nonzero(self.coefficients_eV))

    def energies(self, decorations: CodeArray) -> FloatArray:
        """Return the energies of (m, n_free) decorations in eV a cell."""
        result: FloatArray = self.basis.features(decorations) @ self.coefficients_eV + self.constant_eV
        return result

    def tables(self) -> Tables:
        """Return the arrays for the compiled loops."""
        return self.basis.tables(self.coefficients_eV, self.constant_eV)


def fit_surrogate(basis: ClusterBasis, decorations: CodeArray, energies_eV: FloatArray) -> ClusterSurrogate:
    """Fit a cluster expansion; cutoffs and regularisation are those with the least leave-one-out error.

    Parameters
    ----------
    basis
        Terms to choose from: cutoffs are taken at all distances that occur.
    decorations, energies_eV
        (m, n_free) and (m,), finite.

    Raises
    ------
    AnalysisError
        If there are fewer than five energies, or one is not finite.
    """
    target = np.asarray(energies_eV, dtype=np.float64)
    if len(target) < _FEWEST or len(target) != len(decorations) or not np.all(np.isfinite(target)):
        raise AnalysisError(
            f"A surrogate cannot be fitted to {int(np.isfinite(target).sum())} energies.",
            fix=f"Give {_FEWEST} or more finite energies, one for each decoration.",
        )
    features = basis.features(decorations)
    middle, spread = features.mean(axis=0), features.std(axis=0)
    usable = spread > 1e-9 * np.maximum(1.0, np.abs(middle))
    scaled = np.where(usable, (features - middle) / np.where(usable, spread, 1.0), 0.0)
    fits = [(*_ridge(scaled[:, mask & usable], target), mask & usable, cutoffs) for mask, cutoffs in _candidates(basis)]
    best = fits[0]
    for fit in fits[1:]:
        if fit[0] * _FEWER_TERMS_WITHIN < best[0]:
            best = fit
    error, weights, penalty, chosen, cutoffs = best
    coefficients = np.zeros(len(spread))
    coefficients[chosen] = weights / spread[chosen]
    constant = float(target.mean() - middle @ coefficients)
    residual = target - features @ coefficients - constant
    return ClusterSurrogate(
        basis=basis,
        coefficients_eV=coefficients,
        constant_eV=constant,
        error_eV=error,
        training_error_eV=float(np.sqrt(np.mean(residual**2))),
        penalty=penalty,
        pair_cutoff_A=cutoffs[0],
        triplet_cutoff_A=cutoffs[1],
        n_data=len(target),
    )


def _candidates(basis: ClusterBasis) -> list[tuple[BoolArray, tuple[float, float]]]:
    """Return the sets of terms to try, fewest first: nested cutoffs of pairs, then of triplets."""
    terms = basis.terms
    sizes = np.array([0 if i < 0 else len(basis.orbits[i].blocks) for i, _ in terms])
    radii = np.array([0.0 if i < 0 else basis.orbits[i].radius_A for i, _ in terms])
    found: list[tuple[BoolArray, tuple[float, float]]] = []
    for pair in (0.0, *sorted(set(radii[sizes == 2]))):
        for triplet in (0.0, *sorted(r for r in set(radii[sizes == 3]) if r <= pair)):
            mask = (sizes == 0) | ((sizes == 2) & (radii <= pair)) | ((sizes == 3) & (radii <= triplet))
            found.append((mask, (float(pair), float(triplet))))
    return sorted(found, key=lambda c: int(c[0].sum()))


def _ridge(features: FloatArray, target: FloatArray) -> tuple[float, FloatArray, float]:
    """Return the least leave-one-out error over a grid of penalties, the weights, and the penalty.

    Features have mean zero. Leaving out datum i changes its residual to r_i / (1 − H_ii), H being the hat matrix
    (Allen, Technometrics 16, 125 (1974)); the mean, which is fitted too, adds 1/m to H_ii.
    """
    m = len(target)
    centred = target - target.mean()
    if features.shape[1] == 0:
        return float(np.sqrt(np.mean((centred / (1.0 - 1.0 / m)) ** 2))), np.zeros(0), 0.0
    u, s, vt = np.linalg.svd(features, full_matrices=False)
    projected = u.T @ centred
    best = (np.inf, np.zeros(features.shape[1]), 0.0)
    for penalty in _PENALTIES:
        shrink = s**2 / (s**2 + penalty * m)
        hat = np.sum(u**2 * shrink, axis=1) + 1.0 / m
        if np.any(hat > 1.0 - 1e-6):
            continue
        residual = (centred - u @ (shrink * projected)) / (1.0 - hat)
        error = float(np.sqrt(np.mean(residual**2)))
        if error < best[0]:
            inverse = np.where(s > 0.0, s / (s**2 + penalty * m), 0.0)
            best = (error, vt.T @ (inverse * projected), float(penalty))
    return best


@dataclass(frozen=True)
class FitRound:
    """One round of :func:`fit_on_the_fly`: how good the surrogate was on decorations that it had not seen."""

    n_data: int
    n_failed: int
    n_terms: int
    pair_cutoff_A: float
    triplet_cutoff_A: float
    left_out_error_eV: float
    fresh_error_eV: float
    fresh_bias_eV: float


@dataclass(frozen=True, eq=False)
class FittedEnergy:
    """A surrogate fitted on the fly, and all that went into it.

    Parameters
    ----------
    surrogate
        The last fit, to all energies.
    result
        The Monte Carlo run on which its last fresh decorations were drawn.
    rounds
        What happened. Errors are root mean squares a cell; the bias is the mean of surrogate − energy.
    decorations, energies_eV
        All that were evaluated.
    failed
        Decorations whose calculation failed.
    converged
        Whether the error on fresh decorations fell below the tolerance.
    """

    surrogate: ClusterSurrogate
    result: MonteCarloResult
    rounds: tuple[FitRound, ...]
    decorations: CodeArray
    energies_eV: FloatArray
    failed: CodeArray
    converged: bool


def fit_on_the_fly(
    space: SwapSpace,
    energy: LatticeEnergy,
    basis: ClusterBasis,
    *,
    tolerance_eV: float,
    budget: int,
    temperature_K: float | Sequence[float] | None = None,
    ladder: TemperatureLadder | None = None,
    n_initial: int = 20,
    batch: int = 10,
    n_sweeps: int = 1000,
    seed: int = 0,
    permutations: IntArray | None = None,
) -> FittedEnergy:
    """Fit a surrogate to an expensive energy where Monte Carlo goes, until it is right there or the budget is spent.

    Half of the first decorations are random, half come from Monte Carlo on the basis's Ewald energy, if it has one.
    Then each round fits, runs Monte Carlo on the surrogate, evaluates decorations from it that were not evaluated yet,
    and compares.

    Parameters
    ----------
    space
        What moves.
    energy
        The expensive energy; NaN for a failed calculation, which is dropped and counted.
    basis
        Terms of the surrogate.
    tolerance_eV
        Root mean square error a cell on fresh decorations that is good enough.
    budget
        Evaluations at most, failed ones included.
    temperature_K, ladder
        Where to sample, as for :func:`superionic.thermodynamics.montecarlo.run_monte_carlo`.
    n_initial, batch
        Evaluations before the first fit, and in each round.
    n_sweeps
        Of each run on the surrogate.
    seed
        Each seed is one result.
    permutations
        (n_actions, n_free): decorations that it makes equal are evaluated once.

    Raises
    ------
    AnalysisError
        If the numbers leave no room for a fit and a test, or all calculations fail.
    """
    if n_initial < _FEWEST or batch < 1 or budget < n_initial + batch or not tolerance_eV > 0.0:
        raise AnalysisError(
            f"{budget} evaluations, {n_initial} of them first and then {batch} a round, to {tolerance_eV} eV.",
            fix=f"Give {_FEWEST} or more first, room for one round, and a positive tolerance.",
        )
    data = _Data(space, energy, permutations)
    rng_seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(budget + 2)]
    hot = run_monte_carlo(space, IdealMixing(), temperature_K=1.0, n_sweeps=40 * n_initial, seed=rng_seeds[0])
    pools = [hot.state.snapshots[:, 0]]
    if basis.ewald is not None:
        cold = run_monte_carlo(
            space, basis.ewald, temperature_K=temperature_K, ladder=ladder, n_sweeps=n_sweeps, seed=rng_seeds[1]
        )
        pools.append(cold.state.snapshots.reshape(-1, space.n_free))
        data.evaluate(data.fresh(pools[1], n_initial // 2))
    data.evaluate(data.fresh(pools[0], n_initial - data.n_tried))
    rounds: list[FitRound] = []
    while True:
        surrogate = fit_surrogate(basis, *data.arrays())
        result = run_monte_carlo(
            space,
            surrogate,
            temperature_K=temperature_K,
            ladder=ladder,
            n_sweeps=n_sweeps,
            seed=rng_seeds[2 + len(rounds)],
        )
        drawn = np.concatenate(result.samples)
        if not len(drawn):
            drawn = result.state.snapshots[-1]
        fresh = data.fresh(drawn, min(batch, budget - data.n_tried))
        if not len(fresh):
            # Nothing new is met: the surrogate was fitted to all there is at these temperatures.
            return data.result(surrogate, result, rounds, converged=surrogate.training_error_eV < tolerance_eV)
        known, values = data.evaluate(fresh)
        error = surrogate.energies(known) - values if len(known) else np.array([np.nan])
        rounds.append(
            FitRound(
                n_data=surrogate.n_data,
                n_failed=len(data.failed),
                n_terms=surrogate.n_terms,
                pair_cutoff_A=surrogate.pair_cutoff_A,
                triplet_cutoff_A=surrogate.triplet_cutoff_A,
                left_out_error_eV=surrogate.error_eV,
                fresh_error_eV=float(np.sqrt(np.mean(error**2))),
                fresh_bias_eV=float(np.mean(error)),
            )
        )
        converged = rounds[-1].fresh_error_eV < tolerance_eV
        if converged or data.n_tried >= budget:
            return data.result(fit_surrogate(basis, *data.arrays()), result, rounds, converged=converged)


class _Data:
    """Decorations and their energies, each evaluated once."""

    def __init__(self, space: SwapSpace, energy: LatticeEnergy, permutations: IntArray | None) -> None:
        identity = np.arange(space.n_free)[None] if permutations is None else permutations
        self.group = np.require(identity, np.int64, ["C", "W"])
        self.energy = energy
        self.seen: set[bytes] = set()
        self.decorations: list[CodeArray] = []
        self.energies: list[float] = []
        self.failed: list[CodeArray] = []

    @property
    def n_tried(self) -> int:
        return len(self.decorations) + len(self.failed)

    def fresh(self, drawn: CodeArray, n: int) -> CodeArray:
        """Pick n drawn decorations, evenly spread, that symmetry does not make equal to one that was tried."""
        from superionic.thermodynamics.montecarlo_kernels import canonical

        images = canonical(np.require(drawn, np.uint8, ["C", "W"]), self.group)
        new: dict[bytes, int] = {}
        for index, image in enumerate(images):
            key = image.tobytes()
            if key not in self.seen:
                new.setdefault(key, index)
        chosen = np.array(list(new.values()), dtype=np.int64)
        if len(chosen) > n:
            chosen = chosen[np.linspace(0, len(chosen) - 1, n).astype(int)]
        self.seen.update(images[k].tobytes() for k in chosen)
        return drawn[chosen]

    def evaluate(self, decorations: CodeArray) -> tuple[CodeArray, FloatArray]:
        """Evaluate decorations, and return those that did not fail with their energies."""
        if not len(decorations):
            return decorations, np.zeros(0)
        values = self.energy.energies(decorations)
        good = np.isfinite(values)
        self.decorations += list(decorations[good])
        self.energies += [float(v) for v in values[good]]
        self.failed += list(decorations[~good])
        return decorations[good], values[good]

    def arrays(self) -> tuple[CodeArray, FloatArray]:
        return np.array(self.decorations, dtype=np.uint8), np.array(self.energies)

    def result(
        self, surrogate: ClusterSurrogate, result: MonteCarloResult, rounds: Sequence[FitRound], *, converged: bool
    ) -> FittedEnergy:
        decorations, energies = self.arrays()
        failed = np.array(self.failed, dtype=np.uint8).reshape(-1, decorations.shape[1])
        return FittedEnergy(surrogate, result, tuple(rounds), decorations, energies, failed, converged)
