"""Clusters of sites and the terms of a cluster expansion: features to fit, tables for the compiled loops.

    E ≈ e₀ + κ E_Ewald + Σ_orbits Σ_f h_f Σ_sites φ_f(c_i) + Σ_shells Σ_fg J_fg Σ_pairs φ_f(c_i) φ_g(c_j) + triplets

(Sanchez, Ducastelle & Gratias, Physica A 128, 334 (1984)). The φ_f are orthonormal functions of the codes of a block
at its composition, without the constant, so that each sum has mean zero in a random alloy. Single sites have terms
where a block joins several orbits of the group, over which its species are free to spread; over the sites of a whole
block their sums are constant. κ, if an Ewald energy is given, is the inverse of a dielectric constant: long-range
interactions then need no clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations as orders
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from superionic.thermodynamics.lattice_mc.lattice import (
    CodeArray,
    EwaldEnergy,
    FloatArray,
    IntArray,
    SwapSpace,
    empty_tables,
)
from superionic.thermodynamics.lattice_mc.order_parameters import PairShells

if TYPE_CHECKING:
    from superionic.thermodynamics.lattice_mc.kernels import Tables


@dataclass(frozen=True, eq=False)
class ClusterOrbit:
    """Clusters that share their interaction: single sites, pairs, or triplets.

    Parameters
    ----------
    sites
        (n, 1), (n, 2) or (n, 3) free sites, in the same order of roles throughout.
    blocks
        Block of each role.
    radius_A
        Longest distance in the cluster; 0 for single sites.
    symmetric
        Permutations of the roles that carry the cluster onto itself, the identity included.
    """

    sites: IntArray
    blocks: tuple[int, ...]
    radius_A: float
    symmetric: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, eq=False)
class ClusterBasis:
    """The terms of a cluster expansion on one space.

    Parameters
    ----------
    block_of
        (n_free,) block of each site.
    functions
        For each block (n_codes, n_functions) the site functions φ.
    ewald
        Point-charge energy as the first term, or None.
    """

    block_of: IntArray
    functions: tuple[FloatArray, ...]
    orbits: tuple[ClusterOrbit, ...]
    ewald: EwaldEnergy | None = None

    @property
    def terms(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Orbit (−1 for Ewald) and site functions of each term."""
        terms: list[tuple[int, tuple[int, ...]]] = [(-1, ())] if self.ewald is not None else []
        for index, orbit in enumerate(self.orbits):
            choices = product(*(range(self.functions[b].shape[1]) for b in orbit.blocks))
            terms += [(index, f) for f in choices if f == min(tuple(f[k] for k in p) for p in orbit.symmetric)]
        return tuple(terms)

    def features(self, decorations: CodeArray) -> FloatArray:
        """Return (m, n_terms): each term of (m, n_free) decorations, divided by √(number of clusters)."""
        codes = np.atleast_2d(decorations)
        width = max(f.shape[1] for f in self.functions)
        values = np.zeros((*codes.shape, width))
        for block, functions in enumerate(self.functions):
            here = self.block_of == block
            values[:, here, : functions.shape[1]] = functions[codes[:, here]]
        columns = []
        for index, selected in self.terms:
            if index < 0:
                columns.append(self.ewald.energies(codes) if self.ewald is not None else np.zeros(len(codes)))
                continue
            orbit = self.orbits[index]
            total = np.zeros(len(codes))
            for p in orbit.symmetric:
                part = np.ones((len(codes), len(orbit.sites)))
                for role, f in enumerate(selected[k] for k in p):
                    part *= values[:, orbit.sites[:, role], f]
                total += part.sum(axis=1)
            columns.append(total / (len(orbit.symmetric) * np.sqrt(len(orbit.sites))))
        return np.array(columns).T.reshape(len(codes), -1)

    def tables(self, coefficients: FloatArray, constant: float) -> Tables:
        """Turn coefficients of the terms into tables for the compiled loops."""
        n, n_codes = len(self.block_of), max(len(f) for f in self.functions)
        result = empty_tables()._replace(constant=float(constant), site=np.zeros((n, n_codes)))
        weights: dict[int, FloatArray] = {}
        for (index, selected), coefficient in zip(self.terms, coefficients, strict=True):
            if index < 0 and self.ewald is not None and coefficient != 0.0:
                e = self.ewald
                result = result._replace(
                    constant=float(result.constant + coefficient * e.constant),
                    charges=np.require(e.charges, np.float64, ["C", "W"]),
                    matrix=coefficient * e.matrix,
                    field=coefficient * e.field,
                )
            elif index >= 0 and coefficient != 0.0:
                orbit = self.orbits[index]
                table = weights.setdefault(index, np.zeros((n_codes,) * len(orbit.blocks)))
                scale = coefficient / (len(orbit.symmetric) * np.sqrt(len(orbit.sites)))
                for p in orbit.symmetric:
                    columns = [self.functions[b][:, selected[k]] for b, k in zip(orbit.blocks, p, strict=True)]
                    part = columns[0]
                    for column in columns[1:]:
                        part = np.multiply.outer(part, column)
                    table[tuple(slice(s) for s in part.shape)] += scale * part
        return self._with_clusters(result, weights, n)

    def _with_clusters(self, tables: Tables, weights: dict[int, FloatArray], n: int) -> Tables:
        """Write each cluster once for each of its sites, with the table transposed so that this site comes first."""
        entries: dict[int, list[tuple[int, IntArray, int]]] = {2: [], 3: []}
        turned: dict[int, list[FloatArray]] = {2: [], 3: []}
        for index in sorted(weights):
            orbit, size = self.orbits[index], len(self.orbits[index].blocks)
            if size == 1:
                tables.site[orbit.sites[:, 0]] += weights[index]
                continue
            for role in range(size):
                axes = (role, *(k for k in range(size) if k != role))
                entries[size] += [(int(c[role]), c[list(axes[1:])], len(turned[size])) for c in orbit.sites]
                turned[size].append(np.ascontiguousarray(np.transpose(weights[index], axes)))
        if entries[2]:
            start, others, table = _by_site(entries[2], n)
            tables = tables._replace(
                pair_start=start,
                pair_site=np.ascontiguousarray(others[:, 0]),
                pair_table=table,
                pair_values=np.array(turned[2]),
            )
        if entries[3]:
            start, others, table = _by_site(entries[3], n)
            tables = tables._replace(
                triplet_start=start, triplet_sites=others, triplet_table=table, triplet_values=np.array(turned[3])
            )
        return tables


def _by_site(entries: Sequence[tuple[int, IntArray, int]], n: int) -> tuple[IntArray, IntArray, IntArray]:
    first = np.array([e[0] for e in entries], dtype=np.int64)
    order = np.argsort(first, kind="stable")
    others = np.array([e[1] for e in entries], dtype=np.int64)[order]
    table = np.array([e[2] for e in entries], dtype=np.int64)[order]
    return np.searchsorted(first[order], np.arange(n + 1)).astype(np.int64), np.ascontiguousarray(others), table


def cluster_basis(
    space: SwapSpace,
    shells: PairShells,
    *,
    triplet_cutoff_A: float = 0.0,
    permutations: IntArray | None = None,
    ewald: EwaldEnergy | None = None,
) -> ClusterBasis:
    """Collect the clusters of a space.

    Parameters
    ----------
    space
        Blocks and composition.
    shells
        Pairs by distance, from :func:`superionic.thermodynamics.lattice_mc.order_parameters.pair_shells`.
    triplet_cutoff_A
        Triplets whose three distances are at most this are included, sorted by blocks and shells; 0: none.
    permutations
        (n_actions, n_free) the group: pairs of one shell that it does not make equivalent get separate terms, and so do
        sites of one block. None: pairs are distinguished by blocks and distance alone, and sites have no terms.
    ewald
        Point-charge energy to include as a term.
    """
    functions = []
    for block in range(len(space.vacancies)):
        codes = space.start[space.block_of == block]
        functions.append(_site_functions(np.bincount(codes, minlength=space.n_codes)))
    labels = shells.shell if permutations is None else _pair_orbits(shells, np.asarray(permutations), space.n_free)
    orbits = []
    mixed = [f.shape[1] > 0 for f in functions]
    for label in np.unique(labels):
        here = np.flatnonzero(labels == label)
        a, b = (int(v) for v in shells.blocks[shells.shell[here[0]]])
        if mixed[a] and mixed[b]:
            sites = np.stack([shells.first[here], shells.second[here]], axis=1)
            distance = float(shells.distances_A[shells.shell[here[0]]])
            orbits.append(ClusterOrbit(sites, (a, b), distance, ((0, 1), (1, 0)) if a == b else ((0, 1),)))
    if permutations is not None:
        orbits += [o for o in _site_orbits(np.asarray(space.block_of), np.asarray(permutations)) if mixed[o.blocks[0]]]
    orbits.sort(key=lambda o: o.radius_A)
    if triplet_cutoff_A > 0.0:
        orbits += [o for o in _triplets(space, shells, triplet_cutoff_A) if all(mixed[b] for b in o.blocks)]
    return ClusterBasis(np.asarray(space.block_of), tuple(functions), tuple(orbits), ewald)


def _site_functions(counts: IntArray) -> FloatArray:
    """Return (n_codes, n_present − 1): functions of the code, orthonormal at this composition, of mean zero."""
    present = np.flatnonzero(counts)
    share = counts[present] / counts.sum()
    # Gram–Schmidt on 1 and the indicators in turn, with the composition as weight.
    columns = [np.ones(len(present))]
    for k in range(len(present) - 1):
        column = np.zeros(len(present))
        column[k] = 1.0
        for other in columns:
            column = column - np.sum(share * column * other) * other
        columns.append(column / np.sqrt(np.sum(share * column * column)))
    result = np.zeros((len(counts), len(present) - 1))
    for k, column in enumerate(columns[1:]):
        result[present, k] = column
    return result


def _site_orbits(block_of: IntArray, permutations: IntArray) -> list[ClusterOrbit]:
    """Return the orbits of single sites in blocks that join several."""
    label = permutations.min(axis=0)
    found = []
    for block in range(int(block_of.max()) + 1):
        names = np.unique(label[block_of == block])
        if len(names) > 1:
            found += [ClusterOrbit(np.flatnonzero(label == name)[:, None], (block,), 0.0, ((0,),)) for name in names]
    return found


def _pair_orbits(shells: PairShells, permutations: IntArray, n: int) -> IntArray:
    """Label the pairs by orbit: the smallest image of (shell, pair of sites) under the group."""
    base = shells.shell * n * n
    label = np.full(len(base), np.iinfo(np.int64).max)
    for action in permutations:
        i, j = action[shells.first], action[shells.second]
        # Blocks are invariant; between blocks the order of the two sites is fixed, within one it does not matter.
        between = shells.blocks[shells.shell, 0] != shells.blocks[shells.shell, 1]
        low, high = np.where(between, i, np.minimum(i, j)), np.where(between, j, np.maximum(i, j))
        np.minimum(label, base + low * n + high, out=label)
    return label


def _triplets(space: SwapSpace, shells: PairShells, cutoff_A: float) -> list[ClusterOrbit]:
    """Collect triplets i < j < k of distinct sites that close up, sorted by blocks and shells."""
    near: list[dict[int, list[tuple[int, FloatArray]]]] = [{} for _ in range(space.n_free)]
    for i, j, s, v in zip(shells.first, shells.second, shells.shell, shells.vectors_A, strict=True):
        if shells.distances_A[s] <= cutoff_A:
            low, high, vector = (i, j, v) if i < j else (j, i, -v)
            near[low].setdefault(int(high), []).append((int(s), vector))
    triplets: dict[tuple[tuple[int, ...], tuple[int, ...]], list[tuple[int, ...]]] = {}
    for i in range(space.n_free):
        for j, k in product(sorted(near[i]), repeat=2):
            if j >= k or k not in near[j]:
                continue
            for (sij, vij), (sik, vik), (sjk, vjk) in product(near[i][j], near[i][k], near[j][k]):
                if np.linalg.norm(vij + vjk - vik) < 1e-3:
                    side = {(0, 1): sij, (0, 2): sik, (1, 2): sjk}
                    key, sites = min(_roles((i, j, k), side, space.block_of))
                    triplets.setdefault(key, []).append(sites)
    result = []
    for (blocks, sides), members in sorted(triplets.items()):
        side = dict(zip(((0, 1), (0, 2), (1, 2)), sides, strict=True))
        same = tuple(p for p in orders(range(3)) if tuple(blocks[k] for k in p) == blocks and _sides(side, p) == sides)
        radius = float(max(shells.distances_A[s] for s in sides))
        result.append(ClusterOrbit(np.array(members, dtype=np.int64), blocks, radius, same))
    return sorted(result, key=lambda o: o.radius_A)


def _sides(side: dict[tuple[int, int], int], p: Sequence[int]) -> tuple[int, ...]:
    pairs = ((p[0], p[1]), (p[0], p[2]), (p[1], p[2]))
    return tuple(side[min(a, b), max(a, b)] for a, b in pairs)


def _roles(
    sites: tuple[int, int, int], side: dict[tuple[int, int], int], block_of: IntArray
) -> list[tuple[tuple[tuple[int, ...], tuple[int, ...]], tuple[int, ...]]]:
    """Return blocks, shells and sites of a triplet in each order of its sites."""
    return [
        ((tuple(int(block_of[sites[k]]) for k in p), _sides(side, p)), tuple(sites[k] for k in p))
        for p in orders(range(3))
    ]
