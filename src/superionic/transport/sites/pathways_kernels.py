"""Inner loops of paths on a density grid: the widest path, and the path of the largest flux within its level."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from superionic.compiled import compiled

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@compiled
def widest_level(values: FloatArray, shape: IntArray, start: int, end: int) -> float:
    """Return the largest minimum on any path from ``start`` to ``end`` through 26-connected points; 0 without."""
    nb, nc = shape[1], shape[2]
    best = np.zeros(len(values))
    best[start] = values[start]
    heap = [(-values[start], start)]
    while len(heap) > 0:
        negative, here = heapq.heappop(heap)
        width: float = -negative
        if here == end:
            return width
        if width < best[here]:
            continue
        ia, ib, ic = here // (nb * nc), (here // nc) % nb, here % nc
        for ja in range(max(ia - 1, 0), min(ia + 2, shape[0])):
            for jb in range(max(ib - 1, 0), min(ib + 2, shape[1])):
                for jc in range(max(ic - 1, 0), min(ic + 2, shape[2])):
                    other = (ja * nb + jb) * nc + jc
                    reached = min(width, values[other])
                    if reached > best[other]:
                        best[other] = reached
                        heapq.heappush(heap, (-reached, other))
    return 0.0


@compiled
def largest_flux_path(
    values: FloatArray, shape: IntArray, lengths: FloatArray, start: int, end: int, level: float, before: IntArray
) -> bool:
    """Find the path of least ∫ ds/P from ``start`` to ``end`` over points of at least ``level``.

    lengths : (3, 3, 3) distance to each neighbour in Å; before : (n,) receives the point before each on its best path.
    Returns whether ``end`` was reached.
    """
    nb, nc = shape[1], shape[2]
    cost = np.full(len(values), np.inf)
    cost[start] = 0.0
    heap = [(0.0, start)]
    while len(heap) > 0:
        spent, here = heapq.heappop(heap)
        if here == end:
            return True
        if spent > cost[here]:
            continue
        ia, ib, ic = here // (nb * nc), (here // nc) % nb, here % nc
        for ja in range(max(ia - 1, 0), min(ia + 2, shape[0])):
            for jb in range(max(ib - 1, 0), min(ib + 2, shape[1])):
                for jc in range(max(ic - 1, 0), min(ic + 2, shape[2])):
                    other = (ja * nb + jb) * nc + jc
                    if other == here or values[other] < level:
                        continue
                    step = lengths[ja - ia + 1, jb - ib + 1, jc - ic + 1]
                    total = spent + 0.5 * step * (1.0 / values[here] + 1.0 / values[other])
                    if total < cost[other]:
                        cost[other] = total
                        before[other] = here
                        heapq.heappush(heap, (total, other))
    return False
