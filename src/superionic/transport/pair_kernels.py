"""Counting the distances of pairs in periodic cells; compiled where numba is installed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from superionic.compiled import compiled


@compiled
def bins_of(fractional: Any, inverse: Any, longest: float) -> Any:
    """Sort positions in a periodic cell into bins about half as wide as the longest distance to count.

    ``fractional`` (n, 3), of any cell; ``inverse`` (3, 3) of the cell's rows. Returns the number of bins along each
    vector, how many bins away a position within the distance may lie, the bin of each position (n, 3), and those in
    each bin: ``members[begin[b] : begin[b + 1]]``.
    """
    n = len(fractional)
    bins, away = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for a in range(3):
        height = 1.0 / math.sqrt(inverse[0, a] ** 2 + inverse[1, a] ** 2 + inverse[2, a] ** 2)
        bins[a] = max(1, min(int(2.0 * height / longest), 256))
        away[a] = math.ceil(longest * (1.0 + 1.0e-9) * bins[a] / height)
    where = np.empty((n, 3), dtype=np.int64)
    begin = np.zeros(bins[0] * bins[1] * bins[2] + 1, dtype=np.int64)
    for i in range(n):
        for a in range(3):
            f = fractional[i, a] - math.floor(fractional[i, a])
            where[i, a] = min(int(f * bins[a]), bins[a] - 1)
        begin[(where[i, 0] * bins[1] + where[i, 1]) * bins[2] + where[i, 2] + 1] += 1
    for b in range(len(begin) - 1):
        begin[b + 1] += begin[b]
    members, filled = np.empty(n, dtype=np.int64), begin.copy()
    for i in range(n):
        b = (where[i, 0] * bins[1] + where[i, 1]) * bins[2] + where[i, 2]
        members[filled[b]] = i
        filled[b] += 1
    return bins, away, where, begin, members


@compiled
def count_near_pairs(
    fractional: Any, cell: Any, inverse: Any, kinds: Any, centre_kinds: Any, bin_A: float, counts: Any
) -> None:
    """Count as :func:`count_pairs`, where only nearest images are in range, at a cost linear in the number of atoms."""
    n_bins = counts.shape[2]
    longest = n_bins * bin_A
    bins, away, where, begin, members = bins_of(fractional, inverse, longest)
    first, last = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for i in range(len(fractional)):
        if centre_kinds[i] < 0:
            continue
        for a in range(3):
            # Each bin once, where those in range wrap around the cell.
            around = 2 * away[a] + 1 >= bins[a]
            first[a] = 0 if around else where[i, a] - away[a]
            last[a] = bins[a] - 1 if around else where[i, a] + away[a]
        for ba in range(first[0], last[0] + 1):
            for bb in range(first[1], last[1] + 1):
                for bc in range(first[2], last[2] + 1):
                    b = ((ba % bins[0]) * bins[1] + bb % bins[1]) * bins[2] + bc % bins[2]
                    for at in range(begin[b], begin[b + 1]):
                        j = members[at]
                        if i == j:
                            continue
                        u = fractional[j, 0] - fractional[i, 0]
                        v = fractional[j, 1] - fractional[i, 1]
                        w = fractional[j, 2] - fractional[i, 2]
                        u -= np.floor(u + 0.5)
                        v -= np.floor(v + 0.5)
                        w -= np.floor(w + 0.5)
                        x = u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]
                        y = u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]
                        z = u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]
                        squared = x * x + y * y + z * z
                        if squared < longest * longest:
                            counts[centre_kinds[i], kinds[j], int(np.sqrt(squared) / bin_A)] += 1


@compiled
def count_separations(
    earlier: Any, later: Any, cell: Any, inverse: Any, reach: float, width: float, counts: Any
) -> None:
    """Add distances of each ion at the later time from the others' earlier positions to ``counts`` (bins of ``width``).

    ``earlier`` and ``later`` (n, 3) are fractional; no image but the nearest may be within ``reach``.
    """
    bins, away, _, begin, members = bins_of(earlier, inverse, reach)
    first, last = np.empty(3, dtype=np.int64), np.empty(3, dtype=np.int64)
    for i in range(len(later)):
        for a in range(3):
            f = later[i, a] - math.floor(later[i, a])
            own = min(int(f * bins[a]), bins[a] - 1)
            around = 2 * away[a] + 1 >= bins[a]
            first[a] = 0 if around else own - away[a]
            last[a] = bins[a] - 1 if around else own + away[a]
        for ba in range(first[0], last[0] + 1):
            for bb in range(first[1], last[1] + 1):
                for bc in range(first[2], last[2] + 1):
                    b = ((ba % bins[0]) * bins[1] + bb % bins[1]) * bins[2] + bc % bins[2]
                    for at in range(begin[b], begin[b + 1]):
                        j = members[at]
                        if i == j:
                            continue
                        u, v, w = later[i, 0] - earlier[j, 0], later[i, 1] - earlier[j, 1], later[i, 2] - earlier[j, 2]
                        u -= np.floor(u + 0.5)
                        v -= np.floor(v + 0.5)
                        w -= np.floor(w + 0.5)
                        x = u * cell[0, 0] + v * cell[1, 0] + w * cell[2, 0]
                        y = u * cell[0, 1] + v * cell[1, 1] + w * cell[2, 1]
                        z = u * cell[0, 2] + v * cell[1, 2] + w * cell[2, 2]
                        distance = math.sqrt(x * x + y * y + z * z)
                        if distance < reach:
                            counts[min(int(distance / width), len(counts) - 1)] += 1


@compiled
def count_pairs(fractional: Any, cell: Any, kinds: Any, centre_kinds: Any, reach: Any, bin_A: Any, counts: Any) -> None:
    """Add the pairs of one frame to ``counts`` (centres, kinds, bins).

    ``fractional`` (n, 3) are positions in the cell, ``kinds`` (n,) the element of each, ``centre_kinds`` (n,) the row
    that it counts in as a centre (-1: in none), ``reach`` (3,) how many cells away an image of the nearest image may
    be.
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
