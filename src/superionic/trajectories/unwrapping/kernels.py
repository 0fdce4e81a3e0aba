"""Compiled loop over atoms that removes jumps across the cell."""

from __future__ import annotations

from typing import Any

from superionic.compiled import compiled


@compiled
def unwrap_frame(
    now: Any, before: Any, images: Any, to_reduced: Any, from_reduced: Any, reduced: Any, safe: float, watch: float
) -> Any:
    """Find how many cells each atom has crossed, by the shortest displacement from the previous frame.

    Parameters
    ----------
    now, before
        (n_atoms, 3) fractional positions, wrapped in any way.
    images
        (n_atoms, 3) integers as floats that make ``before + images`` continuous; updated to those of ``now``.
    to_reduced, from_reduced
        (3, 3): matrices from fractional coordinates to those of the reduced cell, and back.
    reduced
        (3, 3) Minkowski-reduced cell.
    safe
        Square of the radius of the sphere in the parallelepiped [-1/2, 1/2]³: a shorter vector in it is the shortest.
    watch
        Square of the displacement above which ions are counted.

    Returns
    -------
    largest squared displacement, displacements beyond ``watch``
    """
    largest = 0.0
    beyond = 0
    for k in range(now.shape[0]):
        x, y, z = now[k, 0] - before[k, 0], now[k, 1] - before[k, 1], now[k, 2] - before[k, 2]
        u = x * to_reduced[0, 0] + y * to_reduced[1, 0] + z * to_reduced[2, 0]
        v = x * to_reduced[0, 1] + y * to_reduced[1, 1] + z * to_reduced[2, 1]
        w = x * to_reduced[0, 2] + y * to_reduced[1, 2] + z * to_reduced[2, 2]
        u -= round(u)
        v -= round(v)
        w -= round(w)
        best = -1.0
        p, q, r = u, v, w
        for shift in range(27):
            # The central one comes first; most often it is short enough to be the shortest.
            number = shift if shift > 0 else 13
            if shift == 13:
                number = 0
            a, b, c = u + number // 9 - 1.0, v + (number // 3) % 3 - 1.0, w + number % 3 - 1.0
            dx = a * reduced[0, 0] + b * reduced[1, 0] + c * reduced[2, 0]
            dy = a * reduced[0, 1] + b * reduced[1, 1] + c * reduced[2, 1]
            dz = a * reduced[0, 2] + b * reduced[1, 2] + c * reduced[2, 2]
            square = dx * dx + dy * dy + dz * dz
            if best < 0.0 or square < best - 1e-12:
                best = square
                p, q, r = a, b, c
            if shift == 0 and square <= safe:
                break
        images[k, 0] -= round(x - (p * from_reduced[0, 0] + q * from_reduced[1, 0] + r * from_reduced[2, 0]))
        images[k, 1] -= round(y - (p * from_reduced[0, 1] + q * from_reduced[1, 1] + r * from_reduced[2, 1]))
        images[k, 2] -= round(z - (p * from_reduced[0, 2] + q * from_reduced[1, 2] + r * from_reduced[2, 2]))
        largest = max(largest, best)
        if best > watch:
            beyond += 1
    return largest, beyond
