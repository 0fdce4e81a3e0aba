"""Robust fits and scales, insensitive to a few outliers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from ase import Atoms

FloatArray = npt.NDArray[np.float64]

MAD_TO_SIGMA: Final = 1.4826022185056018
"""1/Φ⁻¹(3/4), the ratio of a normal standard deviation to the median absolute deviation."""


def robust_sigma(values: FloatArray, n_parameters: int = 0) -> float:
    """Return the scaled median absolute deviation from the median, corrected for fitted parameters by √(n/(n − p))."""
    n = len(values)
    if n == 0:
        return 0.0
    deviation = MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
    return deviation * float(np.sqrt(n / max(1.0, n - n_parameters)))


def widened(n: int) -> float:
    """Return the factor by which limits in robust standard deviations widen for small sets.

    A median absolute deviation of n normal values has a relative standard error of 1.17/√n (its efficiency is 37 per
    cent), so a limit has to be that much further out, times about two, to keep its false alarms rare.
    """
    return 1.0 + 2.0 / float(np.sqrt(max(n, 4)))


def element_design(structures: Sequence[Atoms]) -> tuple[FloatArray, FloatArray]:
    """Return the fractions of each element, shape (n, n_elements), and numbers of atoms, shape (n,)."""
    elements = np.unique(np.concatenate([atoms.numbers for atoms in structures]))
    counts = np.array([[np.count_nonzero(atoms.numbers == z) for z in elements] for atoms in structures], dtype=float)
    n_atoms = counts.sum(axis=1)
    return counts / n_atoms[:, None], n_atoms


def least_absolute(design: FloatArray, target: FloatArray, *, floor: float) -> tuple[FloatArray, FloatArray]:
    """Fit by least absolute deviations (iteratively reweighted least squares; among all solutions that of least norm).

    Parameters
    ----------
    design, target
        Shapes (n, k) and (n,).
    floor
        Residuals below this have equal weight.

    Returns
    -------
    tuple
        Coefficients (k,) of ``target`` itself, and residuals (n,).
    """
    # Start from the median, so that one outlier (an error of units is hundreds of eV/atom) does not set the first
    # weights.
    centre = float(np.median(target))
    weights = 1.0 / np.maximum(np.abs(target - centre), floor)
    coefficients: FloatArray = np.zeros(design.shape[1])
    residuals: FloatArray = target - centre
    for _ in range(50):
        root = np.sqrt(weights)
        solved: FloatArray = np.linalg.lstsq(design * root[:, None], target * root, rcond=1.0e-9)[0].astype(np.float64)
        coefficients = solved
        residuals = target - design @ coefficients
        weights = 1.0 / np.maximum(np.abs(residuals), floor)
    return coefficients, residuals
