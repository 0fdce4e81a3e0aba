"""The active set: a few atomic environments that span the training set, and so show what lies outside it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

FloatArray = npt.NDArray[np.float64]

_TOLERANCE = 1.02
_MOST_SWAPS = 2000


def active_inverse(features: FloatArray, *, relative_width: float = 1.0e-3) -> FloatArray:
    """Select rows of (nearly) the largest volume, and return the matrix that turns features into coefficients of them.

    The volume of a square set of rows is the absolute value of its determinant; swapping in any row whose largest
    coefficient exceeds 1 enlarges it (MaxVol; Goreinov et al. 2010; Podryabinkin and Shapeev, Comput. Mater. Sci. 140,
    171 (2017)). In the end every row of the training set has coefficients of magnitude up to about 1.

    Parameters
    ----------
    features
        Descriptors of the atoms of one element, a constant included, shape (n, d).
    relative_width
        Smallest width of the training set along any direction, relative to the widest: narrower directions are
        treated as having this width, as noise along them would otherwise count as extrapolation.

    Returns
    -------
    numpy.ndarray
        The inverse, shape (d, d): the grade of an atom is the largest magnitude in ``features @ inverse``.
    """
    rows = np.asarray(features, dtype=np.float64)
    d = rows.shape[1]
    mean = rows.mean(axis=0)
    mean[-1] = 0.0  # the constant stays
    _, singular, directions = np.linalg.svd(rows - mean, full_matrices=False)
    singular = np.concatenate([singular, np.zeros(d - len(singular))])
    directions = np.vstack([directions, scipy.linalg.null_space(directions).T]) if len(directions) < d else directions
    # Two extra rows along each narrow direction, one either way, stand for its smallest width.
    width = np.maximum(singular, relative_width * singular[0]) / np.sqrt(max(1, len(rows)))
    needy = singular < relative_width * singular[0]
    guard = mean + np.sqrt(d) * width[needy, None] * directions[needy]
    guard[:, -1] = 1.0
    candidates = np.vstack([rows, guard, 2.0 * mean - guard + np.eye(1, d, d - 1)[0] * 0.0])
    candidates[len(rows) + len(guard) :, -1] = 1.0
    _, _, order = scipy.linalg.qr(candidates.T, mode="economic", pivoting=True)
    active = np.array(order[:d])
    inverse: FloatArray = np.linalg.inv(candidates[active])
    coefficients = candidates @ inverse
    for _ in range(_MOST_SWAPS):
        row, column = np.unravel_index(int(np.argmax(np.abs(coefficients))), coefficients.shape)
        largest = coefficients[row, column]
        if abs(largest) <= _TOLERANCE:
            break
        # Row `row` replaces the active row `column`: a rank-one change of the inverse.
        change = coefficients[row].copy()
        change[column] -= 1.0
        coefficients -= np.outer(coefficients[:, column], change) / largest
        active[column] = row
    result: FloatArray = np.linalg.inv(candidates[active])
    return result
