"""The active set: few surroundings that span all of the training set, and so tell what lies outside it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy.linalg

FloatArray = npt.NDArray[np.float64]

_TOLERANCE = 1.02
_MOST_SWAPS = 2000


def active_inverse(features: FloatArray, *, relative_width: float = 1.0e-3) -> FloatArray:
    """Choose rows of (nearly) the largest volume and give what turns features into coefficients of these rows.

    The volume of a square set of rows is the absolute value of its determinant; swapping in any row whose largest
    coefficient exceeds 1 enlarges it (MaxVol; Goreinov et al. 2010; Podryabinkin and Shapeev, Comput. Mater. Sci. 140,
    171 (2017)). At the end each row of the training set has coefficients of magnitude up to about 1.

    Parameters
    ----------
    features
        Descriptors of the atoms of one element, a constant included, shape (n, d).
    relative_width
        Directions in which the training set is narrower than this, relative to its widest, get a floor: else noise
        along them would count as extrapolation.

    Returns
    -------
    numpy.ndarray
        Shape (d, d): the grade of an atom is the largest magnitude of ``features @ this``.
    """
    rows = np.asarray(features, dtype=np.float64)
    d = rows.shape[1]
    mean = rows.mean(axis=0)
    mean[-1] = 0.0  # the constant stays
    _, singular, directions = np.linalg.svd(rows - mean, full_matrices=False)
    singular = np.concatenate([singular, np.zeros(d - len(singular))])
    directions = np.vstack([directions, scipy.linalg.null_space(directions).T]) if len(directions) < d else directions
    # Rows that stand for the floor: two of them, either way along each direction, far enough to matter only there.
    width = np.maximum(singular, relative_width * singular[0]) / np.sqrt(max(1, len(rows)))
    needy = singular < relative_width * singular[0]
    guard = mean + np.sqrt(d) * width[needy, None] * directions[needy]
    guard[:, -1] = 1.0
    candidates = np.vstack([rows, guard, 2.0 * mean - guard + np.eye(1, d, d - 1)[0] * 0.0])
    candidates[len(rows) + len(guard) :, -1] = 1.0
    _, _, order = scipy.linalg.qr(candidates.T, mode="economic", pivoting=True)
    chosen = np.array(order[:d])
    inverse: FloatArray = np.linalg.inv(candidates[chosen])
    coefficients = candidates @ inverse
    for _ in range(_MOST_SWAPS):
        row, column = np.unravel_index(int(np.argmax(np.abs(coefficients))), coefficients.shape)
        largest = coefficients[row, column]
        if abs(largest) <= _TOLERANCE:
            break
        # Row `row` takes the place of the active row `column`: a rank-one change of the inverse.
        change = coefficients[row].copy()
        change[column] -= 1.0
        coefficients -= np.outer(coefficients[:, column], change) / largest
        chosen[column] = row
    result: FloatArray = np.linalg.inv(candidates[chosen])
    return result
