"""The walk over symmetry-distinct orderings: :func:`walk` in plain Python, and compiled by :func:`compiled_walk`.

An ordering is canonical if it is lexicographically the smallest of its images, site by site in the order of the free
sites. The walk assigns species site by site, depth first in lexicographic order, and keeps for every prefix the
operations that may still matter: those whose image equals the prefix as far as it is known. Each waits for the site
that its next comparison needs, and is examined only when that site is assigned. An operation whose image is larger
can never make a smaller one below this node and is dropped; one whose image is smaller ends the whole subtree. At a
leaf the operations left are its stabiliser.

Most prefixes have lost all their operations long before the end. Below them every completion is canonical, and the
completions depend only on the remaining counts: those of the last few sites (the *tail*) come from a table.

Exclusions between sites and energies are handled along the path as well: adding the charge of site p to a prefix
costs one row of the interaction matrix. Charges count relative to the commonest species of the block.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from superionic.compiled import compiled

# Slots of the integer state.
DEPTH, FINISHED, NODES, LEAVES, AT_CUT, AT_CUT_RAW, NEXT_PICK, ROW, END_ROW, CLASH = range(10)
N_STATE = 10
# Slots of the float state.
CUT, TOLERANCE, LOW, WIDTH, SUM, SUM_SQUARES, MINIMUM, MAXIMUM = range(8)
N_FLOAT_STATE = 8
# Modes: which leaves are written.
EMIT_ALL, EMIT_LOWEST, EMIT_PICKED = range(3)


def walk(  # noqa: PLR0912, PLR0915 - one loop without allocations is what makes it fast
    permutations: Any,
    inverse: Any,
    block_of: Any,
    n_kinds: Any,
    vacancy: Any,
    neighbour_start: Any,
    neighbours: Any,
    blocked: Any,
    is_translation: Any,
    tail_strides: Any,
    tail_start_row: Any,
    tail_codes: Any,
    tail_occupied: Any,
    tail_neighbours: Any,
    tail_charged_start: Any,
    tail_charged: Any,
    tail_charges: Any,
    tail_self: Any,
    tail_field: Any,
    choice: Any,
    remaining: Any,
    n_waiting: Any,
    waiting: Any,
    n_moved: Any,
    moved: Any,
    state: Any,
    charged: Any,
    charge: Any,
    field: Any,
    matrix: Any,
    energy: Any,
    n_charged: Any,
    charged_sites: Any,
    floats: Any,
    histogram: Any,
    histogram_raw: Any,
    mode: Any,
    picks: Any,
    out_codes: Any,
    out_degeneracy: Any,
    out_superperiodic: Any,
    out_energy: Any,
    max_nodes: Any,
) -> Any:
    """Continue the walk until the output is full, the nodes run out, or everything is listed.

    Parameters
    ----------
    permutations, inverse
        (n_ops, n + 1): the site onto which operation g carries p; the site that it carries onto q. The last column
        is n.
    block_of, n_kinds, vacancy
        (n,) block of each site; (n_blocks,) number of species; (n_blocks,) code of the vacancy or -1.
    neighbour_start, neighbours
        (n + 1,) and (n_pairs,): for each site the earlier sites that it excludes.
    blocked, is_translation
        (n,) and (n_ops,) bool.
    tail_strides, tail_start_row
        (n_blocks, kinds) place values that turn the remaining counts into an index, and for each index the first row of
        the table.
    tail_codes, tail_occupied, tail_neighbours
        (rows, t) codes of the last t sites; (rows,) which of them are occupied, as bits; (n,) for each earlier site the
        sites of the tail that it excludes, as bits.
    tail_charged_start, tail_charged, tail_charges, tail_self, tail_field
        For each row the sites of the tail with a relative charge, those charges, and their energy among themselves;
        (t,) work space for the potential of the prefix.
    choice, remaining, n_waiting, waiting, n_moved, moved, state
        The path: (n + 1,) codes; (n_blocks, kinds) remaining counts; (n + 1,) and (n + 1, n_ops) the operations that
        wait for each site to be assigned (at n: the stabiliser); (n + 1,) and (n + 1, n_ops) where the operations that
        waited for a site moved on to; (N_STATE,) integers.
    charged
        Whether energies are computed.
    charge, field, matrix
        (n_blocks, kinds) relative charges, (n,) energy per charge in the reference decoration, (n, n) eV/e².
    energy, n_charged, charged_sites
        (n + 1,) energy, (n + 1,) and (n,): the sites of the path with a relative charge.
    floats, histogram, histogram_raw
        Float state, and the histogram of energies over distinct and over raw orderings.
    mode, picks
        Which leaves are written; sorted running numbers of the selected members of the tie.
    out_codes, out_degeneracy, out_superperiodic, out_energy
        The output.
    max_nodes
        Largest number of nodes in this call.

    Returns
    -------
    int
        Number of orderings written.
    """
    n = block_of.shape[0]
    n_ops = inverse.shape[0]
    n_blocks = n_kinds.shape[0]
    n_bins = histogram.shape[0]
    half = n_bins // 2
    capacity = out_degeneracy.shape[0]
    n_tail = tail_codes.shape[1]
    tail = n - n_tail
    p = state[DEPTH]
    row, end, clash = state[ROW], state[END_ROW], state[CLASH]
    leaves, at_cut, at_cut_raw, next_pick = state[LEAVES], state[AT_CUT], state[AT_CUT_RAW], state[NEXT_PICK]
    above, below = floats[CUT] + floats[TOLERANCE], floats[CUT] - floats[TOLERANCE]
    low, width, total, squares = floats[LOW], floats[WIDTH], floats[SUM], floats[SUM_SQUARES]
    minimum, maximum = floats[MINIMUM], floats[MAXIMUM]
    emitted = 0
    nodes = 0
    while emitted < capacity and nodes < max_nodes:
        nodes += 1
        if row < end:
            # ---- a row of the tail's table
            here = row
            row += 1
            if row == end:
                p = tail - 1
            if tail_occupied[here] & clash:
                continue
            degeneracy = n_ops
            n_stabilising = 0
            value = 0.0
            if charged:
                value = energy[tail] + tail_self[here]
                for k in range(tail_charged_start[here], tail_charged_start[here + 1]):
                    value += tail_charges[k] * tail_field[tail_charged[k]]
        else:
            # ---- a step of the walk
            here = -1
            if p < 0:
                state[FINISHED] = 1
                break
            for k in range(n_moved[p]):
                n_waiting[moved[p, k]] -= 1
            n_moved[p] = 0
            b = block_of[p]
            c = choice[p]
            if c >= 0:
                remaining[b, c] += 1
            c += 1
            while c < n_kinds[b] and remaining[b, c] == 0:
                c += 1
            if c == n_kinds[b]:
                choice[p] = -1
                p -= 1
                continue
            choice[p] = c
            remaining[b, c] -= 1
            if c != vacancy[b]:
                hit = blocked[p]
                for k in range(neighbour_start[p], neighbour_start[p + 1]):
                    other = neighbours[k]
                    if choice[other] != vacancy[block_of[other]]:
                        hit = True
                        break
                if hit:
                    continue
            # Only the operations that waited for this site are examined; each advances as far as the prefix is known.
            smaller = False
            m = 0
            for k in range(n_waiting[p]):
                g = waiting[p, k]
                # It waits for the site as a source (p is carried onto q) or, where that lies later, as its own place.
                q = min(permutations[g, p], p)
                source = inverse[g, q]
                while True:
                    image = choice[source]
                    own = choice[q]
                    if image != own:
                        smaller = image < own
                        break
                    q += 1
                    source = inverse[g, q]
                    later = max(source, q)
                    if later > p:
                        waiting[later, n_waiting[later]] = g
                        n_waiting[later] += 1
                        moved[p, m] = later
                        m += 1
                        break
                if smaller:
                    break
            n_moved[p] = m
            if smaller:
                continue
            if charged:
                value = charge[b, c]
                count = n_charged[p]
                sum_here = energy[p]
                if value != 0.0:
                    potential = field[p] + matrix[p, p] * value
                    for k in range(count):
                        other = charged_sites[k]
                        potential += 2.0 * matrix[p, other] * charge[block_of[other], choice[other]]
                    sum_here += value * potential
                    charged_sites[count] = p
                    count += 1
                energy[p + 1] = sum_here
                n_charged[p + 1] = count
            p += 1
            if p < n:
                if p == tail:
                    pending = 0
                    for i in range(tail, n):
                        pending += n_waiting[i]
                    if pending == 0:
                        index = 0
                        for i in range(n_blocks):
                            for k in range(n_kinds[i]):
                                index += remaining[i, k] * tail_strides[i, k]
                        row = tail_start_row[index]
                        end = tail_start_row[index + 1]
                        clash = 0
                        for i in range(tail):
                            if tail_neighbours[i] and choice[i] != vacancy[block_of[i]]:
                                clash |= tail_neighbours[i]
                        if charged:
                            for i in range(n_tail):
                                potential = 0.0
                                for k in range(n_charged[tail]):
                                    other = charged_sites[k]
                                    potential += matrix[tail + i, other] * charge[block_of[other], choice[other]]
                                tail_field[i] = 2.0 * potential
                        if row == end:
                            p -= 1
                continue
            # A complete ordering; the remaining operations fix it.
            p -= 1
            n_stabilising = n_waiting[n]
            degeneracy = n_ops // (n_stabilising + 1)
            value = energy[n]
        # ---- a complete ordering
        leaves += 1
        if mode != EMIT_ALL:
            if mode == EMIT_LOWEST:
                total += degeneracy * value
                squares += degeneracy * value * value
                minimum = min(minimum, value)
                maximum = max(maximum, value)
                # The number of bins is fixed: where an energy falls outside, bins merge in pairs.
                while value < low or value >= low + n_bins * width:
                    if value >= low:
                        for i in range(half):
                            histogram[i] = histogram[2 * i] + histogram[2 * i + 1]
                            histogram_raw[i] = histogram_raw[2 * i] + histogram_raw[2 * i + 1]
                        for i in range(half, n_bins):
                            histogram[i] = 0
                            histogram_raw[i] = 0
                    else:
                        for i in range(half):
                            j = n_bins - 1 - 2 * i
                            histogram[n_bins - 1 - i] = histogram[j] + histogram[j - 1]
                            histogram_raw[n_bins - 1 - i] = histogram_raw[j] + histogram_raw[j - 1]
                        for i in range(half):
                            histogram[i] = 0
                            histogram_raw[i] = 0
                        low -= n_bins * width
                    width *= 2.0
                where = int((value - low) / width)
                histogram[where] += 1
                histogram_raw[where] += degeneracy
            if value > above:
                continue
            if value >= below:
                number = at_cut
                at_cut += 1
                at_cut_raw += degeneracy
                if mode == EMIT_LOWEST or next_pick >= picks.shape[0] or picks[next_pick] != number:
                    continue
                next_pick += 1
            elif mode == EMIT_PICKED:
                continue
            out_energy[emitted] = value
        if here >= 0:
            for i in range(tail):
                out_codes[emitted, i] = choice[i]
            for i in range(n_tail):
                out_codes[emitted, tail + i] = tail_codes[here, i]
        else:
            for i in range(n):
                out_codes[emitted, i] = choice[i]
        superperiodic = False
        for k in range(n_stabilising):
            if is_translation[waiting[n, k]]:
                superperiodic = True
        out_degeneracy[emitted] = degeneracy
        out_superperiodic[emitted] = superperiodic
        emitted += 1
    state[DEPTH] = p
    state[NODES] += nodes
    state[ROW], state[END_ROW], state[CLASH] = row, end, clash
    state[LEAVES], state[AT_CUT], state[AT_CUT_RAW], state[NEXT_PICK] = leaves, at_cut, at_cut_raw, next_pick
    floats[LOW], floats[WIDTH], floats[SUM], floats[SUM_SQUARES] = low, width, total, squares
    floats[MINIMUM], floats[MAXIMUM] = minimum, maximum
    return emitted


@functools.cache
def compiled_walk() -> Callable[..., Any]:
    """Return :func:`walk` compiled; the first call imports numba and loads it, in about a second."""
    return compiled(walk)
