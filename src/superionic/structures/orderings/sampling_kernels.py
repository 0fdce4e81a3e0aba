"""Compiled loop of the random walk over decorations; import it inside functions only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from superionic.compiled import compiled
from superionic.structures.crystal.symmetry import IntArray

CodeArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]


@compiled
def _crowded(state: CodeArray, vacant_code: CodeArray, neighbours: IntArray, blocked: BoolArray, site: int) -> bool:
    if state[site] == vacant_code[site]:
        return False
    if blocked[site]:
        return True
    for k in range(neighbours.shape[1]):
        other = neighbours[site, k]
        if other == len(state):
            return False
        if state[other] != vacant_code[other]:
            return True
    return False


@compiled
def swap_walk(
    state: CodeArray,
    vacant_code: CodeArray,
    neighbours: IntArray,
    blocked: BoolArray,
    sites: IntArray,
    partners: IntArray,
    both: BoolArray,
) -> None:
    """Swap the species of pairs of sites, one move after another, where the exclusions allow it; `state` is changed.

    Parameters
    ----------
    state, vacant_code
        (n,) codes, and the code of the vacancy on each site.
    neighbours
        (n, most) the sites that each site excludes, padded with n.
    blocked
        (n,) sites that must be vacant.
    sites, partners
        (moves, 2) the pairs of each move.
    both
        (moves,) whether a move swaps both its pairs or only the first.
    """
    for move in range(len(sites)):
        a, b = sites[move, 0], partners[move, 0]
        c, d = sites[move, 1], partners[move, 1]
        state[a], state[b] = state[b], state[a]
        if both[move]:
            state[c], state[d] = state[d], state[c]
        bad = _crowded(state, vacant_code, neighbours, blocked, a)
        bad = bad or _crowded(state, vacant_code, neighbours, blocked, b)
        if both[move]:
            bad = bad or _crowded(state, vacant_code, neighbours, blocked, c)
            bad = bad or _crowded(state, vacant_code, neighbours, blocked, d)
            if bad:
                state[c], state[d] = state[d], state[c]
        if bad:
            state[a], state[b] = state[b], state[a]
