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
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from superionic.compiled import compiled

BoolArray = NDArray[np.bool_]
CodeArray = NDArray[np.int8]
FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
IndexArray = NDArray[np.int32]

# Modes: which orderings are written.
EMIT_ALL, EMIT_LOWEST, EMIT_PICKED = range(3)

_NO_PICKS: IntArray = np.zeros(0, dtype=np.int64)


class Sites(NamedTuple):
    """The n free sites, and what symmetry and distances demand of them.

    ``permutations`` and ``inverse`` (n_ops, n + 1) have the site onto which operation g carries p, and the one that it
    carries onto q; their last column is n. ``is_translation`` (n_ops,). ``block_of`` (n,) is the block of each site;
    ``n_kinds`` and ``vacancy`` (n_blocks,) are the number of species of a block and the code of its vacancy or −1.
    ``blocked`` (n,) sites stay vacant; ``neighbour_start`` (n + 1,) points into ``neighbours``, the earlier sites that
    each site excludes.
    """

    permutations: IndexArray
    inverse: IndexArray
    is_translation: BoolArray
    block_of: IntArray
    n_kinds: IntArray
    vacancy: IntArray
    blocked: BoolArray
    neighbour_start: IntArray
    neighbours: IntArray


class Tail(NamedTuple):
    """All ways to fill the last t sites, in rows sorted by the remaining counts that they use up.

    ``strides`` (n_blocks, kinds) turn remaining counts into an index; ``start_row`` has the first row of each index.
    ``codes`` (rows, t); ``occupied`` (rows,): the occupied ones of those sites, as bits; ``neighbours`` (n,): the sites
    of the tail that each earlier site excludes, as bits. ``charged_start`` (rows + 1,) points into ``charged`` and
    ``charges``, the sites of a row with a relative charge; ``self_energy`` (rows,) in eV is that of these charges among
    themselves. ``potential`` (t,) is work space for that of the prefix.
    """

    strides: IntArray
    start_row: IntArray
    codes: CodeArray
    occupied: IntArray
    neighbours: IntArray
    charged_start: IntArray
    charged: IntArray
    charges: FloatArray
    self_energy: FloatArray
    potential: FloatArray


class Charges(NamedTuple):
    """Point charges, if energies are computed (``are_given``).

    ``relative`` (n_blocks, kinds) to the commonest species of the block, in e; ``field`` (n,) in eV/e, the energy of a
    charge in the reference decoration; ``matrix`` (n, n) in eV/e².
    """

    are_given: bool
    relative: FloatArray
    field: FloatArray
    matrix: FloatArray


class Tables(NamedTuple):
    """What a walk looks up."""

    sites: Sites
    tail: Tail
    charges: Charges


class Path(NamedTuple):
    """The prefix that the walk has reached; the walk changes these arrays.

    ``codes`` (n + 1,) so far; ``remaining`` (n_blocks, kinds) counts. ``n_waiting`` (n + 1,) and ``waiting``
    (n + 1, n_ops): the operations that wait for each site to be assigned (at n: the stabiliser); ``n_moved`` and
    ``moved``, of the same shapes: where those that waited for a site moved on to. ``energy`` (n + 1,) in eV;
    ``n_charged`` (n + 1,) and ``charged`` (n,): the sites of the prefix with a relative charge.
    """

    codes: CodeArray
    remaining: IntArray
    n_waiting: IntArray
    waiting: IndexArray
    n_moved: IntArray
    moved: IndexArray
    energy: FloatArray
    n_charged: IntArray
    charged: IntArray


class Position(NamedTuple):
    """How far the walk has come.

    The next site; the next row of the tail and the end of these rows, and what the prefix excludes there, as bits; the
    numbers of steps and of orderings so far; those at the cut, distinct and raw, and the next pick among them.
    """

    depth: int = 0
    row: int = 0
    end_row: int = 0
    clash: int = 0
    nodes: int = 0
    leaves: int = 0
    at_cut: int = 0
    at_cut_raw: int = 0
    next_pick: int = 0
    is_finished: bool = False


class Energies(NamedTuple):
    """The energies of all orderings so far, in eV relative to the reference: sums over raw orderings, and the bins."""

    total: float = 0.0
    squares: float = 0.0
    minimum: float = math.inf
    maximum: float = -math.inf
    low: float = 0.0
    width: float = 1e-3


class Choice(NamedTuple):
    """Which orderings are written: all, the lowest, or those below a cut and some of those at it.

    ``cut_eV`` is the highest energy, within ``tolerance_eV``; ``picks`` are the sorted running numbers of the selected
    members of the tie at the cut.
    """

    mode: int = EMIT_ALL
    cut_eV: float = math.inf
    tolerance_eV: float = 0.0
    picks: IntArray = _NO_PICKS


class Output(NamedTuple):
    """Where orderings are written, one a row, and their numbers by energy, distinct and raw."""

    codes: CodeArray
    degeneracies: IntArray
    superperiodic: BoolArray
    energies: FloatArray
    histogram: IntArray
    histogram_raw: IntArray


def walk(  # noqa: PLR0912, PLR0915 - one loop without allocations is what makes it fast
    tables: Tables,
    path: Path,
    position: Position,
    energies: Energies,
    choice: Choice,
    output: Output,
    max_nodes: int,
) -> tuple[int, Position, Energies]:
    """Continue the walk until the output is full, the nodes run out, or everything is listed.

    Parameters
    ----------
    tables, choice
        What is listed, and which orderings are written.
    path, position, energies
        The state of the walk; the arrays of `path` are changed.
    output
        Receives orderings from its first row on.
    max_nodes
        Largest number of steps in this call.

    Returns
    -------
    int, Position, Energies
        Number of orderings written, and the state from which the next call continues.
    """
    # Each part is taken apart once: numba makes a slower loop of names that it looks up in tuples.
    sites, tail, charges = tables
    permutations, inverse, is_translation, block_of, n_kinds, vacancy, blocked, neighbour_start, neighbours = sites
    tail_strides, tail_start_row, tail_codes, tail_occupied, tail_neighbours = tail[:5]
    tail_charged_start, tail_charged, tail_charges, tail_energy, tail_potential = tail[5:]
    are_given, relative, field, matrix = charges
    codes, remaining, n_waiting, waiting, n_moved, moved, energy, n_charged, charged = path
    p, row, end, clash, nodes_before, leaves, at_cut, at_cut_raw, next_pick, is_finished = position
    total, squares, minimum, maximum, low, width = energies
    mode, cut_eV, tolerance_eV, picks = choice
    out_codes, out_degeneracies, out_superperiodic, out_energies, histogram, histogram_raw = output
    above, below = cut_eV + tolerance_eV, cut_eV - tolerance_eV
    n, n_ops, n_blocks, n_bins = block_of.shape[0], inverse.shape[0], n_kinds.shape[0], histogram.shape[0]
    half = n_bins // 2
    capacity = out_degeneracies.shape[0]
    n_tail = tail_codes.shape[1]
    first = n - n_tail  # of the tail
    emitted = 0
    nodes = 0
    while emitted < capacity and nodes < max_nodes:
        nodes += 1
        if row < end:
            # ---- a row of the tail's table
            here = row
            row += 1
            if row == end:
                p = first - 1
            if tail_occupied[here] & clash:
                continue
            degeneracy = n_ops
            n_stabilising = 0
            value = 0.0
            if are_given:
                value = energy[first] + tail_energy[here]
                for k in range(tail_charged_start[here], tail_charged_start[here + 1]):
                    value += tail_charges[k] * tail_potential[tail_charged[k]]
        else:
            # ---- a step of the walk
            here = -1
            if p < 0:
                is_finished = True
                break
            for k in range(n_moved[p]):
                n_waiting[moved[p, k]] -= 1
            n_moved[p] = 0
            b = block_of[p]
            c = codes[p]
            if c >= 0:
                remaining[b, c] += 1
            c += 1
            while c < n_kinds[b] and remaining[b, c] == 0:
                c += 1
            if c == n_kinds[b]:
                codes[p] = -1
                p -= 1
                continue
            codes[p] = c
            remaining[b, c] -= 1
            if c != vacancy[b]:
                hit = blocked[p]
                for k in range(neighbour_start[p], neighbour_start[p + 1]):
                    other = neighbours[k]
                    if codes[other] != vacancy[block_of[other]]:
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
                    image = codes[source]
                    own = codes[q]
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
            if are_given:
                value = relative[b, c]
                count = n_charged[p]
                sum_here = energy[p]
                if value != 0.0:
                    potential = field[p] + matrix[p, p] * value
                    for k in range(count):
                        other = charged[k]
                        potential += 2.0 * matrix[p, other] * relative[block_of[other], codes[other]]
                    sum_here += value * potential
                    charged[count] = p
                    count += 1
                energy[p + 1] = sum_here
                n_charged[p + 1] = count
            p += 1
            if p < n:
                if p == first:
                    pending = 0
                    for i in range(first, n):
                        pending += n_waiting[i]
                    if pending == 0:
                        index = 0
                        for i in range(n_blocks):
                            for k in range(n_kinds[i]):
                                index += remaining[i, k] * tail_strides[i, k]
                        row = tail_start_row[index]
                        end = tail_start_row[index + 1]
                        clash = 0
                        for i in range(first):
                            if tail_neighbours[i] and codes[i] != vacancy[block_of[i]]:
                                clash |= tail_neighbours[i]
                        if are_given:
                            for i in range(n_tail):
                                potential = 0.0
                                for k in range(n_charged[first]):
                                    other = charged[k]
                                    potential += matrix[first + i, other] * relative[block_of[other], codes[other]]
                                tail_potential[i] = 2.0 * potential
                        if row == end:
                            p -= 1
                continue
            # A complete ordering; the remaining operations fix it.
            p -= 1
            n_stabilising = int(n_waiting[n])
            degeneracy = n_ops // (n_stabilising + 1)
            value = float(energy[n])
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
            out_energies[emitted] = value
        if here >= 0:
            for i in range(first):
                out_codes[emitted, i] = codes[i]
            for i in range(n_tail):
                out_codes[emitted, first + i] = tail_codes[here, i]
        else:
            for i in range(n):
                out_codes[emitted, i] = codes[i]
        superperiodic = False
        for k in range(n_stabilising):
            if is_translation[waiting[n, k]]:
                superperiodic = True
        out_degeneracies[emitted] = degeneracy
        out_superperiodic[emitted] = superperiodic
        emitted += 1
    position = Position(p, row, end, clash, nodes_before + nodes, leaves, at_cut, at_cut_raw, next_pick, is_finished)
    return emitted, position, Energies(total, squares, minimum, maximum, low, width)


@functools.cache
def compiled_walk() -> Callable[..., Any]:
    """Return :func:`walk` compiled; the first call imports numba and loads it, in about a second."""
    return compiled(walk)
