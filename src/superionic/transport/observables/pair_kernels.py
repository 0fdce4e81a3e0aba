"""Counting the distances of pairs in periodic cells; compiled where numba is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

from superionic.compiled import compiled


@compiled
def count_pairs(fractional: Any, cell: Any, kinds: Any, centre_kinds: Any, reach: Any, bin_A: Any, counts: Any) -> None:
    """Add the pairs of one frame to ``counts`` (centres, kinds, bins).

    ``fractional`` (n, 3) are places in the cell, ``kinds`` (n,) the element of each, ``centre_kinds`` (n,) the row that
    it counts in as a centre (-1: in none), ``reach`` (3,) how many cells away an image of the nearest image may be.
    """
    n = len(fractional)
    n_bins = counts.shape[2]
    longest = n_bins * bin_A
    for i in range(n):
        if centre_kinds[i] < 0:
            continue
        for j in range(n):
            u = fractional[j, 0] - fractional[i, 0]
            v = fractional[j, 1] - fractional[i, 1]
            w = fractional[j, 2] - fractional[i, 2]
            u -= np.floor(u + 0.5)
            v -= np.floor(v + 0.5)
            w -= np.floor(w + 0.5)
            for a in range(-reach[0], reach[0] + 1):
                for b in range(-reach[1], reach[1] + 1):
                    for c in range(-reach[2], reach[2] + 1):
                        if i == j and a == 0 and b == 0 and c == 0:
                            continue
                        x = (u + a) * cell[0, 0] + (v + b) * cell[1, 0] + (w + c) * cell[2, 0]
                        y = (u + a) * cell[0, 1] + (v + b) * cell[1, 1] + (w + c) * cell[2, 1]
                        z = (u + a) * cell[0, 2] + (v + b) * cell[1, 2] + (w + c) * cell[2, 2]
                        squared = x * x + y * y + z * z
                        if squared < longest * longest:
                            counts[centre_kinds[i], kinds[j], int(np.sqrt(squared) / bin_A)] += 1
