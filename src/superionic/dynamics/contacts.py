"""The nearest contact of a periodic structure, compiled where numba is installed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]


@compiled
def nearest_share(positions: FloatArray, cell: FloatArray, inverse: FloatArray, radii: FloatArray) -> float:
    """Return the least distance of two different atoms over the sum of their radii; NaN where a position is NaN.

    Each pair is evaluated at the image to which its fractional coordinates round, which is the nearest one for pairs
    closer than half the least height of the cell.
    """
    n = len(positions)
    fractional = np.empty((n, 3))
    for i in range(n):
        for a in range(3):
            fractional[i, a] = (
                positions[i, 0] * inverse[0, a] + positions[i, 1] * inverse[1, a] + positions[i, 2] * inverse[2, a]
            )
    nearest = np.inf
    for i in range(n):
        for j in range(i):
            u = fractional[j, 0] - fractional[i, 0]
            v = fractional[j, 1] - fractional[i, 1]
            w = fractional[j, 2] - fractional[i, 2]
            u -= math.floor(u + 0.5)
            v -= math.floor(v + 0.5)
            w -= math.floor(w + 0.5)
            x = u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]
            y = u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]
            z = u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]
            reach = radii[i] + radii[j]
            share = (x * x + y * y + z * z) / (reach * reach)
            if not share >= nearest:
                nearest = share
                if share != share:  # noqa: PLR0124 - not a number
                    return float(share)
    return math.sqrt(nearest)
