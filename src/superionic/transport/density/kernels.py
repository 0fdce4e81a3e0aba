"""Inner loops of the density: visits of voxels, and the centre of the framework, over blocks of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CountArray = npt.NDArray[np.int32]


@compiled
def count_visits(
    positions: npt.NDArray[Any],
    columns: IntArray,
    origins: FloatArray,
    inverse: FloatArray,
    first: int,
    last: int,
    shape: IntArray,
    counts: CountArray,
) -> None:
    """Add the visits of the frames ``first`` to ``last`` (excluded) to the flat ``counts``.

    positions : (n_frames, n_atoms, 3), of which ``columns`` are counted; origins : (n_frames, 3) or (1, 3), subtracted;
    inverse : (n_frames, 3, 3) or (1, 3, 3), inverse cells with Cartesian rows.
    """
    na, nb, nc = shape[0], shape[1], shape[2]
    for frame in range(first, last):
        o = frame if len(origins) > 1 else 0
        m = inverse[frame if len(inverse) > 1 else 0]
        ox, oy, oz = origins[o, 0], origins[o, 1], origins[o, 2]
        for column in columns:
            x = positions[frame, column, 0] - ox
            y = positions[frame, column, 1] - oy
            z = positions[frame, column, 2] - oz
            fa = x * m[0, 0] + y * m[1, 0] + z * m[2, 0]
            fb = x * m[0, 1] + y * m[1, 1] + z * m[2, 1]
            fc = x * m[0, 2] + y * m[1, 2] + z * m[2, 2]
            ia = int((fa - np.floor(fa)) * na)
            ib = int((fb - np.floor(fb)) * nb)
            ic = int((fc - np.floor(fc)) * nc)
            # a coordinate just below zero may round up to the edge
            if ia >= na:
                ia = 0
            if ib >= nb:
                ib = 0
            if ic >= nc:
                ic = 0
            counts[(ia * nb + ib) * nc + ic] += 1


@compiled
def weighted_centres(positions: npt.NDArray[Any], columns: IntArray, weights: FloatArray, out: FloatArray) -> None:
    """Write Σ wᵢ rᵢ over ``columns`` of each frame into ``out`` (n_frames, 3)."""
    for frame in range(len(positions)):
        x, y, z = 0.0, 0.0, 0.0
        for k in range(len(columns)):
            column, w = columns[k], weights[k]
            x += w * positions[frame, column, 0]
            y += w * positions[frame, column, 1]
            z += w * positions[frame, column, 2]
        out[frame, 0], out[frame, 1], out[frame, 2] = x, y, z
