"""Diverse selections by features: farthest points, CUR, and a mixture of methods.

The rows of a feature matrix stand for structures; the features may be of any kind (see
:mod:`superionic.potentials.descriptors`). All selections are deterministic, and none takes a structure twice: rows
equal to a selected one are skipped, so that fewer may be returned than requested.

Sources: farthest-point sampling and CUR on atomic descriptors are compared by Imbalzano, Anelli, Giofré, Klees, Behler
and Ceriotti, J. Chem. Phys. 148, 241730 (2018); leverage scores of CUR are those of Mahoney and Drineas, Proc. Natl.
Acad. Sci. USA 106, 697 (2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_SAME = 1.0e-9
"""Distance, relative to the size of the features, up to which two rows are the same structure."""
_SPENT = 1.0e-10
"""Fraction of the squared features that may remain unexplained before CUR begins a new pass."""


def farthest_points(
    features: ArrayLike, n: int, *, known: ArrayLike | None = None, taken: Sequence[int] = (), first: int = 0
) -> IntArray:
    """Pick rows, each time the one farthest from all known or picked ones.

    Parameters
    ----------
    features
        (m, d), one row per structure.
    n
        Largest number of rows.
    known
        (k, d) features of structures that exist already, such as those with a label.
    taken
        Rows picked before: known, and not to be picked again.
    first
        The row picked first where nothing is known or taken.

    Returns
    -------
    array of int, (≤ n,)
        In the order of picking; ties go to the earlier row. Fewer than n if only copies remain.

    Raises
    ------
    AnalysisError
        If shapes are wrong, a feature is not finite, or an index is out of range.
    """
    rows = _checked(features, n, taken)
    if not 0 <= first < max(1, len(rows)):
        raise AnalysisError(f"There is no row {first} among {len(rows)}", fix="begin with a row that exists")
    nearest = np.full(len(rows), np.inf)
    if known is not None and np.size(known):
        others = _checked(known, 0, ())
        if others.shape[1] != rows.shape[1]:
            raise AnalysisError(
                f"The known structures have {others.shape[1]} features, the new ones {rows.shape[1]}",
                fix="describe both by the same descriptors and elements",
            )
        for other in others:
            np.minimum(nearest, np.sum((rows - other) ** 2, axis=1), out=nearest)
    for index in taken:
        np.minimum(nearest, np.sum((rows - rows[index]) ** 2, axis=1), out=nearest)
    same = _same(rows)
    picked: list[int] = []
    while len(picked) < n:
        index = first if not picked and np.all(np.isinf(nearest)) else int(np.argmax(nearest))
        if not nearest[index] > same:
            break
        picked.append(index)
        np.minimum(nearest, np.sum((rows - rows[index]) ** 2, axis=1), out=nearest)
    return np.array(picked, dtype=np.int64)


def cur_rows(features: ArrayLike, n: int, *, taken: Sequence[int] = ()) -> IntArray:
    """Pick the rows that span all others best, by leverage scores, one after the other (CUR).

    The leverage score of a row is its squared component along the leading left singular vector; the row of highest
    score is picked, and its direction is projected out of all other rows, so that the next one adds what is missing.
    When nothing remains unexplained (n exceeds the rank), a new pass begins among the remaining rows.

    Parameters
    ----------
    features
        (m, d), one row per structure; their mean is subtracted.
    n
        Largest number of rows.
    taken
        Rows picked before.

    Returns
    -------
    array of int, (≤ n,)
        In the order of picking; equal scores (to ten digits) go to the earlier row.

    Raises
    ------
    AnalysisError
        If shapes are wrong, a feature is not finite, or an index is out of range.
    """
    rows = _checked(features, n, taken)
    if len(rows) == 0:
        return np.zeros(0, dtype=np.int64)
    centred = rows - rows.mean(axis=0)
    same, total = _same(rows), float(np.sum(centred**2))
    free = np.ones(len(rows), dtype=bool)
    residual = centred.copy()

    def block(index: int) -> None:
        free[np.sum((rows - rows[index]) ** 2, axis=1) <= same] = False

    for index in taken:
        block(index)
        residual = _without(residual, residual[index], total)
    picked: list[int] = []
    while len(picked) < n and np.any(free):
        if float(np.sum(residual[free] ** 2)) <= _SPENT * total:
            residual = centred * free[:, None]
            if float(np.sum(residual**2)) <= _SPENT * total:
                residual = np.where(free[:, None], 1.0, 0.0) * np.ones_like(centred)
        direction = np.linalg.eigh(residual.T @ residual)[1][:, -1]
        scores = np.where(free, (residual @ direction) ** 2, -1.0)
        # Rounding must not decide ties: take the earliest of those within ten digits of the highest.
        index = int(np.argmax(scores >= scores.max() * (1.0 - 1.0e-10)))
        picked.append(index)
        block(index)
        residual = _without(residual, residual[index], total)
    return np.array(picked, dtype=np.int64)


def shares(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Divide a number by weights into integers that add up to it (largest remainders, ties to the first).

    Raises
    ------
    AnalysisError
        If no weight is positive, or one is negative.
    """
    whole = sum(weights.values())
    if whole <= 0 or min(weights.values()) < 0 or total < 0:
        raise AnalysisError("The shares of a mixture must be positive numbers", fix="give e.g. random: 0.5, cur: 0.5")
    exact = {name: total * weight / whole for name, weight in weights.items()}
    dealt = {name: int(np.floor(value + 1e-12)) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: dealt[name] - exact[name])
    for name in by_remainder[: total - sum(dealt.values())]:
        dealt[name] += 1
    return dealt


def _checked(features: ArrayLike, n: int, taken: Sequence[int]) -> FloatArray:
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or n < 0:
        raise AnalysisError(f"Features {rows.shape} are not (structures, features)", fix="give one row per structure")
    if not np.all(np.isfinite(rows)):
        raise AnalysisError("A feature is not finite", fix="leave broken structures out")
    if any(not 0 <= index < len(rows) for index in taken):
        raise AnalysisError(f"An index is not among the {len(rows)} rows", fix="count from 0")
    return rows


def _same(rows: FloatArray) -> float:
    """Return the squared distance up to which two rows count as one structure."""
    return _SAME**2 * float(np.max(np.sum(rows**2, axis=1), initial=0.0))


def _without(rows: FloatArray, row: FloatArray, total: float) -> FloatArray:
    square = float(row @ row)
    if square <= _SPENT**2 * total:
        return rows
    result: FloatArray = rows - np.outer(rows @ row / square, row)
    return result
