"""Squared displacements at given lags over spaced time origins, in one pass; compiled where numba is installed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superionic.compiled import compiled_fast

FloatArray = NDArray[np.float64]


@compiled_fast
def displacement_products(
    positions: NDArray[np.float32],
    atoms: NDArray[np.int64],
    drift: FloatArray,
    lags: NDArray[np.int64],
    strides: NDArray[np.int64],
    sums: FloatArray,
) -> None:
    """Add Σ Δr_a Δr_b over origins and atoms to ``sums`` (l, 6): xx, yy, zz, xy, xz, yz.

    ``positions`` is (frames, atoms, 3), ``atoms`` the indices to include, ``drift`` (frames, 3) is subtracted, ``lags``
    (l,) and ``strides`` (l,) are in frames: origins are 0, stride, 2·stride, … as long as origin + lag is in the run.
    """
    n_frames = positions.shape[0]
    for k in range(len(lags)):
        lag, stride = lags[k], strides[k]
        xx = yy = zz = xy = xz = yz = 0.0
        for origin in range(0, n_frames - lag, stride):
            end = origin + lag
            dx = drift[end, 0] - drift[origin, 0]
            dy = drift[end, 1] - drift[origin, 1]
            dz = drift[end, 2] - drift[origin, 2]
            for i in range(len(atoms)):
                atom = atoms[i]
                x = positions[end, atom, 0] - positions[origin, atom, 0] - dx
                y = positions[end, atom, 1] - positions[origin, atom, 1] - dy
                z = positions[end, atom, 2] - positions[origin, atom, 2] - dz
                xx += x * x
                yy += y * y
                zz += z * z
                xy += x * y
                xz += x * z
                yz += y * z
        sums[k, 0] += xx
        sums[k, 1] += yy
        sums[k, 2] += zz
        sums[k, 3] += xy
        sums[k, 4] += xz
        sums[k, 5] += yz
