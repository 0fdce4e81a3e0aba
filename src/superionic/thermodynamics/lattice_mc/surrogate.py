"""A cluster expansion that replaces an expensive energy, fitted while Monte Carlo samples.

Its terms are those of :mod:`.cluster_basis`. Coefficients come from ridge regression, with the penalty and the cutoffs
of least leave-one-out error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from superionic.errors import AnalysisError
from superionic.thermodynamics.lattice_mc.cluster_basis import ClusterBasis
from superionic.thermodynamics.lattice_mc.lattice import (
    BoolArray,
    CodeArray,
    FloatArray,
)

if TYPE_CHECKING:
    from superionic.thermodynamics.lattice_mc.kernels import Tables

_PENALTIES = np.logspace(-8, 2, 21)
_FEWEST = 5
_FEWER_TERMS_WITHIN = 1.02
"""If the errors of two fits differ by less than 2 %, the one with fewer terms is used."""
_ENERGIES_A_TERM = 2
"""Fewest energies for each term. With more terms the leave-one-out error can be as small, but Monte Carlo finds
decorations far from the data where such a fit is wrong by many times its error."""


@dataclass(frozen=True, eq=False)
class ClusterSurrogate:
    """A fitted cluster expansion; an energy for Monte Carlo.

    Parameters
    ----------
    basis
        Its terms.
    coefficients_eV
        (n_terms,) 0 for terms beyond the cutoffs.
    error_eV, training_error_eV
        Root-mean-square errors per cell: leave-one-out, and on the training data.
    penalty
        Penalty of the ridge regression, relative to the number of data.
    pair_cutoff_A, triplet_cutoff_A
        Cutoffs of the clusters included; 0 for none.
    n_data
        Number of energies in the fit.
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
        """Number of terms included."""
        return int(np.count_nonzero(self.coefficients_eV))

    def energies(self, decorations: CodeArray) -> FloatArray:
        """Return the energies of (m, n_free) decorations in eV per cell."""
        result: FloatArray = self.basis.features(decorations) @ self.coefficients_eV + self.constant_eV
        return result

    def tables(self) -> Tables:
        """Return the arrays for the compiled loops."""
        return self.basis.tables(self.coefficients_eV, self.constant_eV)


def fit_surrogate(basis: ClusterBasis, decorations: CodeArray, energies_eV: FloatArray) -> ClusterSurrogate:
    """Fit a cluster expansion, with the cutoffs and regularisation of least leave-one-out error.

    Parameters
    ----------
    basis
        Terms to choose from: all distances that occur are tried as cutoffs, while there are two energies for each term.
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
    candidates = [(mask & usable, cutoffs) for mask, cutoffs in _candidates(basis)]
    most = max(len(target) // _ENERGIES_A_TERM, min(int(mask.sum()) for mask, _ in candidates))
    fits = [(*_ridge(scaled[:, mask], target), mask, cutoffs) for mask, cutoffs in candidates if mask.sum() <= most]
    best = fits[0]
    for fit in fits[1:]:
        if fit[0] * _FEWER_TERMS_WITHIN < best[0]:
            best = fit
    error, weights, penalty, included, cutoffs = best
    coefficients = np.zeros(len(spread))
    coefficients[included] = weights / spread[included]
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
    candidates: list[tuple[BoolArray, tuple[float, float]]] = []
    for pair in (0.0, *sorted(set(radii[sizes == 2]))):
        for triplet in (0.0, *sorted(r for r in set(radii[sizes == 3]) if r <= pair)):
            mask = (sizes <= 1) | ((sizes == 2) & (radii <= pair)) | ((sizes == 3) & (radii <= triplet))
            candidates.append((mask, (float(pair), float(triplet))))
    return sorted(candidates, key=lambda c: int(c[0].sum()))


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
