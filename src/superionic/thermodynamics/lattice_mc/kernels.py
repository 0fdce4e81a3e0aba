"""Compiled loops of the Monte Carlo of orderings. Import this module inside functions: it imports numba.

All random numbers are drawn outside, by numpy, and no sum depends on an order that a compiler might choose, so that
the loops give the same bits compiled or not.

Energy of codes c on sites i, all in eV:

    E = constant + Σ_i h_i(c_i) + Σ_pairs w(c_i, c_j) + Σ_triplets w(c_i, c_j, c_k) + Σ_i q_i f_i + Σ_ij q_i M_ij q_j

For each replica the potential φ_i = f_i/2 + Σ_j M_ij q_j is stored, so that a swap of charges a and b = a + d costs
2d(φ_i − φ_j) + d²(M_ii + M_jj − 2M_ij), whatever the number of sites; only accepted swaps update φ.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from superionic.compiled import compiled

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.uint8]


class Tables(NamedTuple):
    """The energy of a lattice model; empty arrays where a part is missing.

    ``charges`` is (n, codes) in e, ``matrix`` (n, n), ``field`` (n,), ``site`` (n, codes). ``pair_start`` (n + 1,)
    points into ``pair_site`` and ``pair_table``; ``pair_values[table, code here, code there]``. Likewise for triplets.
    """

    constant: float
    charges: FloatArray
    matrix: FloatArray
    field: FloatArray
    site: FloatArray
    pair_start: IntArray
    pair_site: IntArray
    pair_table: IntArray
    pair_values: FloatArray
    triplet_start: IntArray
    triplet_sites: IntArray
    triplet_table: IntArray
    triplet_values: FloatArray


class Moves(NamedTuple):
    """The possible swaps.

    ``classes`` (m, 4): index of the first site of one species in a replica's ``order``, the number of its sites, and
    the same for the other species; ``cumulative`` (m,) their cumulative probabilities. ``local_pairs`` (k, 2): sites
    that exclude each other, between which an atom may hop; they are tried with probability ``local_share``.
    ``excluded_start`` (n + 1,) points into ``excluded``; ``vacancy`` (n,) is the code of the vacancy on each site, or
    −1.
    """

    classes: IntArray
    cumulative: FloatArray
    local_pairs: IntArray
    local_share: float
    excluded_start: IntArray
    excluded: IntArray
    vacancy: IntArray


class Replicas(NamedTuple):
    """Arrays changed by moves, one row per replica: sites by species, their ranks in that order, codes, potential."""

    order: IntArray
    rank: IntArray
    codes: CodeArray
    potential: FloatArray
    energies: FloatArray


class Progress(NamedTuple):
    """The replica at each temperature, the end each visited last (1 cold, 2 hot after cold), and counters."""

    at: IntArray
    direction: IntArray
    trips: IntArray
    accepted: IntArray
    exchange_tried: IntArray
    exchange_accepted: IntArray


class Harvest(NamedTuple):
    """Low states reached along the way: a hash filter, and a buffer that halves itself when full."""

    keys: IntArray
    hashes: IntArray
    visited: IntArray
    codes: CodeArray
    energies: FloatArray
    sweeps: IntArray
    filled: IntArray
    limit: FloatArray


@compiled
def charge_swap_energy(
    charges: FloatArray, matrix: FloatArray, potential: FloatArray, codes: CodeArray, i: int, j: int
) -> float:
    """Return the change of the point-charge energy when the codes of two sites of one block are swapped."""
    d = charges[i, codes[j]] - charges[i, codes[i]]
    if d == 0.0:
        return 0.0
    m = matrix[i, i] + matrix[j, j] - 2.0 * matrix[i, j]
    change: float = d * (2.0 * (potential[i] - potential[j]) + d * m)
    return change


@compiled
def short_swap_energy(t: Tables, codes: CodeArray, i: int, j: int) -> float:
    """Return the change of the short-range energy when the codes of two sites of one block are swapped."""
    first = codes[i]
    total = 0.0
    # One site after the other, so that clusters that hold both are counted correctly.
    for step in range(2):
        site = i if step == 0 else j
        new = codes[j] if step == 0 else first
        old = codes[site]
        change = t.site[site, new] - t.site[site, old]
        if len(t.pair_site):
            for k in range(t.pair_start[site], t.pair_start[site + 1]):
                other = codes[t.pair_site[k]]
                change += t.pair_values[t.pair_table[k], new, other] - t.pair_values[t.pair_table[k], old, other]
        if len(t.triplet_table):
            for k in range(t.triplet_start[site], t.triplet_start[site + 1]):
                b = codes[t.triplet_sites[k, 0]]
                c = codes[t.triplet_sites[k, 1]]
                w = t.triplet_table[k]
                change += t.triplet_values[w, new, b, c] - t.triplet_values[w, old, b, c]
        if step == 0:
            codes[i] = new
        total += change
    codes[i] = first
    return total


@compiled
def keeps_exclusions(
    vacancy: IntArray, excluded_start: IntArray, excluded: IntArray, codes: CodeArray, i: int, j: int
) -> bool:
    """Return whether the codes of two sites may be swapped."""
    empty_i = codes[i] == vacancy[i]
    empty_j = codes[j] == vacancy[j]
    if empty_i == empty_j:
        return True
    target = i if empty_i else j
    source = j if empty_i else i
    for k in range(excluded_start[target], excluded_start[target + 1]):
        s = excluded[k]
        if s != source and codes[s] != vacancy[s]:
            return False
    return True


@compiled
def propose(
    classes: IntArray,
    cumulative: FloatArray,
    local_pairs: IntArray,
    local_share: float,
    order: IntArray,
    codes: CodeArray,
    u0: float,
    u1: float,
    u2: float,
) -> tuple[int, int]:
    """Pick two sites of one block with unlike species; (−1, −1) if the pick is a pair of like species.

    Both ways of picking are symmetric: the numbers of sites of each species, and the local pairs, stay the same.
    """
    if u0 < local_share:
        k = int(u1 * len(local_pairs))
        i = local_pairs[k, 0]
        j = local_pairs[k, 1]
        if codes[i] == codes[j]:
            return -1, -1
        return i, j
    u = (u0 - local_share) / (1.0 - local_share)
    c = 0
    while c < len(cumulative) - 1 and u >= cumulative[c]:
        c += 1
    return order[classes[c, 0] + int(u1 * classes[c, 1])], order[classes[c, 2] + int(u2 * classes[c, 3])]


@compiled
def swap(
    charges: FloatArray,
    matrix: FloatArray,
    order: IntArray,
    rank: IntArray,
    codes: CodeArray,
    potential: FloatArray,
    i: int,
    j: int,
) -> None:
    """Swap the codes of two sites, and update the potential."""
    a = codes[i]
    b = codes[j]
    if len(matrix):
        d = charges[i, b] - charges[i, a]
        if d != 0.0:
            for k in range(len(potential)):
                potential[k] += d * (matrix[i, k] - matrix[j, k])
    codes[i] = b
    codes[j] = a
    p = rank[i]
    q = rank[j]
    order[p] = j
    order[q] = i
    rank[i] = q
    rank[j] = p


@compiled
def refresh(t: Tables, codes: CodeArray, potential: FloatArray) -> float:
    """Recompute potential and energy from scratch; return the energy."""
    n = len(codes)
    energy = t.constant
    if len(t.matrix):
        for i in range(n):
            v = 0.5 * t.field[i]
            for j in range(n):
                v += t.matrix[i, j] * t.charges[j, codes[j]]
            potential[i] = v
            energy += t.charges[i, codes[i]] * (v + 0.5 * t.field[i])
    if len(t.site):
        for i in range(n):
            a = codes[i]
            energy += t.site[i, a]
            if len(t.pair_site):
                for k in range(t.pair_start[i], t.pair_start[i + 1]):
                    energy += 0.5 * t.pair_values[t.pair_table[k], a, codes[t.pair_site[k]]]
            if len(t.triplet_table):
                for k in range(t.triplet_start[i], t.triplet_start[i + 1]):
                    b = codes[t.triplet_sites[k, 0]]
                    c = codes[t.triplet_sites[k, 1]]
                    energy += t.triplet_values[t.triplet_table[k], a, b, c] / 3.0
    return energy


@compiled
def harvest_state(harvest: Harvest, codes: CodeArray, energy: float, key: int, sweep: int) -> None:
    """Put a state into the buffer unless it was visited before or is too high."""
    size = len(harvest.visited) - 1
    slot = key & size
    while harvest.visited[slot] != 0:
        if harvest.visited[slot] == key:
            return
        slot = (slot + 1) & size
    if harvest.filled[1] > size // 2:
        for k in range(size + 1):
            harvest.visited[k] = 0
        harvest.filled[1] = 0
        slot = key & size
    harvest.visited[slot] = key
    harvest.filled[1] += 1
    n = harvest.filled[0]
    if n == len(harvest.energies):
        mean = 0.0
        for k in range(n):
            mean += harvest.energies[k] / n
        n_lower = 0
        for k in range(n):
            if harvest.energies[k] < mean and n_lower < n - 1:
                copy_codes(harvest.codes[k], harvest.codes[n_lower])
                harvest.energies[n_lower] = harvest.energies[k]
                harvest.sweeps[n_lower] = harvest.sweeps[k]
                n_lower += 1
        n = n_lower
        harvest.filled[0] = n
        harvest.limit[0] = mean
        if energy >= mean:
            return
    copy_codes(codes, harvest.codes[n])
    harvest.energies[n] = energy
    harvest.sweeps[n] = sweep
    harvest.filled[0] = n + 1


@compiled
def copy_codes(source: CodeArray, target: CodeArray) -> None:
    """Copy one decoration; slices would do, but take seconds to compile."""
    for k in range(len(source)):
        target[k] = source[k]


@compiled
def run_sweeps(
    t: Tables,
    moves: Moves,
    replicas: Replicas,
    progress: Progress,
    harvest: Harvest,
    betas: FloatArray,
    picks: FloatArray,
    hurdles: FloatArray,
    first_sweep: int,
    record_every: int,
    energies: FloatArray,
    snapshots: CodeArray,
) -> None:
    """Run sweeps of all replicas, with exchanges of neighbouring temperatures after each.

    ``picks`` (sweeps, temperatures, attempts, 3) is uniform in [0, 1); ``hurdles`` (sweeps, temperatures × attempts +
    temperatures) is exponential: a move is accepted if βΔE is below it. Energies (sweeps, temperatures) and snapshots
    are written by temperature.
    """
    n_sweeps, n_temperatures, n_attempts = picks.shape[0], picks.shape[1], picks.shape[2]
    # Passing a few arrays to the innermost functions, not whole records, lets the compiler inline them: 3 × faster.
    charges, matrix = t.charges, t.matrix
    classes, cumulative, local_pairs, local_share, excluded_start, excluded, vacancy = moves
    orders, ranks, decorations, potentials, totals = replicas
    at, accepted, keys, hashes, limit = progress.at, progress.accepted, harvest.keys, harvest.hashes, harvest.limit
    charged, short = len(matrix) > 0, len(t.site) > 0
    excluding, harvesting = len(excluded) > 0, len(harvest.energies) > 0
    written = 0
    for s in range(n_sweeps):
        sweep = first_sweep + s
        for k in range(n_temperatures):
            r = at[k]
            order, rank, codes, potential = orders[r], ranks[r], decorations[r], potentials[r]
            beta, energy, key = betas[k], totals[r], hashes[r]
            for a in range(n_attempts):
                u0, u1, u2 = picks[s, k, a, 0], picks[s, k, a, 1], picks[s, k, a, 2]
                i, j = propose(classes, cumulative, local_pairs, local_share, order, codes, u0, u1, u2)
                if i < 0 or (excluding and not keeps_exclusions(vacancy, excluded_start, excluded, codes, i, j)):
                    continue
                change = 0.0
                if charged:
                    change += charge_swap_energy(charges, matrix, potential, codes, i, j)
                if short:
                    change += short_swap_energy(t, codes, i, j)
                if beta * change >= hurdles[s, k * n_attempts + a]:
                    continue
                energy += change
                accepted[k] += 1
                if harvesting:
                    c = codes[i]
                    d = codes[j]
                    key ^= keys[i, c] ^ keys[j, d] ^ keys[i, d] ^ keys[j, c]
                swap(charges, matrix, order, rank, codes, potential, i, j)
                if harvesting and energy < limit[0]:
                    harvest_state(harvest, codes, energy, key, sweep)
            totals[r] = energy
            hashes[r] = key
        exchange(totals, progress, betas, hurdles[s, n_temperatures * n_attempts :], sweep)
        for k in range(n_temperatures):
            energies[s, k] = totals[at[k]]
        if (sweep + 1) % record_every == 0:
            for k in range(n_temperatures):
                copy_codes(decorations[at[k]], snapshots[written, k])
            written += 1


@compiled
def exchange(energies: FloatArray, progress: Progress, betas: FloatArray, hurdles: FloatArray, sweep: int) -> None:
    """Try to exchange the replicas of every other pair of neighbouring temperatures, and count round trips."""
    last = len(betas) - 1
    for k in range(sweep & 1, last, 2):
        r = progress.at[k]
        s = progress.at[k + 1]
        progress.exchange_tried[k] += 1
        if (betas[k] - betas[k + 1]) * (energies[s] - energies[r]) < hurdles[k]:
            progress.at[k] = s
            progress.at[k + 1] = r
            progress.exchange_accepted[k] += 1
    cold = progress.at[0]
    hot = progress.at[last]
    if progress.direction[cold] == 2:
        progress.trips[cold] += 1
    progress.direction[cold] = 1
    if progress.direction[hot] == 1 and last > 0:
        progress.direction[hot] = 2


@compiled
def quench(
    t: Tables, moves: Moves, order: IntArray, rank: IntArray, codes: CodeArray, potential: FloatArray, threshold: float
) -> int:
    """Descend by the best of all allowed swaps until none gains more than the threshold; count the steps."""
    charges, matrix = t.charges, t.matrix
    charged, short, excluding = len(matrix) > 0, len(t.site) > 0, len(moves.excluded) > 0
    steps = 0
    while True:
        best = -threshold
        # Not −1 for "none": a literal would have numba compile `swap` twice.
        best_i = best_j = order[0]
        for c in range(len(moves.classes)):
            for p in range(moves.classes[c, 1]):
                i = order[moves.classes[c, 0] + p]
                for q in range(moves.classes[c, 3]):
                    j = order[moves.classes[c, 2] + q]
                    if excluding and not keeps_exclusions(
                        moves.vacancy, moves.excluded_start, moves.excluded, codes, i, j
                    ):
                        continue
                    change = 0.0
                    if charged:
                        change += charge_swap_energy(charges, matrix, potential, codes, i, j)
                    if short:
                        change += short_swap_energy(t, codes, i, j)
                    # Symmetry-equivalent swaps differ in the last bits: take the first of them.
                    if change < best - 1e-10:
                        best = change
                        best_i = i
                        best_j = j
        if best_i == best_j:
            return steps
        swap(charges, matrix, order, rank, codes, potential, best_i, best_j)
        steps += 1


@compiled
def canonical(labels: CodeArray, permutations: IntArray) -> CodeArray:
    """Return the lexicographically smallest image of each row of labels under a group of column permutations."""
    result = labels.copy()
    n = labels.shape[1]
    for row in range(len(labels)):
        best = 0
        for g in range(1, len(permutations)):
            for k in range(n):
                # The inverse of each operation is in the group, so all images occur.
                new = labels[row, permutations[g, k]]
                old = labels[row, permutations[best, k]]
                if new != old:
                    if new < old:
                        best = g
                    break
        for k in range(n):
            result[row, k] = labels[row, permutations[best, k]]
    return result
