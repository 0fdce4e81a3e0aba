"""Decorations that an operation fixes and that respect the exclusions: counted and drawn exactly.

An operation fixes a decoration if each of its cycles carries one species. So the sites become cycles, the exclusions
become edges between cycles, and a cycle that excludes itself must be vacant. Groups of sites linked by exclusions are
solved together, the others separately.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from superionic.chemistry import VACANCY
from superionic.structures.crystal.symmetry import IntArray
from superionic.structures.orderings.clusters import Cluster, ClusterKey, Node, cluster_key, order_nodes
from superionic.structures.orderings.joint_counts import Budget, Exponents, Part, Pool, Shares
from superionic.structures.orderings.permutations import conjugacy_classes, orbits_of
from superionic.structures.orderings.space import CodeArray, OrderingSpace


@dataclass(frozen=True)
class _Link:
    """Groups of sites that are solved together."""

    blocks: tuple[int, ...]
    target: Exponents


@dataclass(frozen=True, eq=False)
class _Solution:
    """The parts of one link under one operation."""

    pools: tuple[tuple[Pool, int, IntArray], ...]
    clusters: tuple[tuple[int, IntArray], ...]
    shares: Shares


class InvariantDecorations:
    """The decorations fixed by each class of conjugate operations of a space: their number, and random draws.

    Parameters
    ----------
    space
        The space; its actions must be a group, and its exclusions closed under it.
    exclusions
        Whether the exclusions of the space apply.
    budget
        Work allowed, in words of 64 bits touched.
    keep
        Keep what :meth:`draw` needs.
    """

    def __init__(
        self, space: OrderingSpace, *, exclusions: bool = True, budget: float = inf, keep: bool = False
    ) -> None:
        self.space = space
        self._keep = keep
        self._budget = Budget(budget)
        self._pairs = space.exclusions if exclusions else space.exclusions[:0]
        self._blocked = space.blocked if exclusions else np.zeros(space.n_free, dtype=bool)
        # The species of each group that no exponent counts: the vacancy where it is needed, else the most abundant.
        special = set(space.block_of[self._pairs].reshape(-1).tolist()) | set(space.block_of[self._blocked].tolist())
        self._rest = [
            b.species.index(VACANCY) if k in special else int(np.argmax(b.counts)) for k, b in enumerate(space.blocks)
        ]
        self._kinds = [
            [s for s in range(len(b.counts)) if s != r] for b, r in zip(space.blocks, self._rest, strict=True)
        ]
        self._first = [0] * len(space.blocks)
        self._links = self._link_blocks()
        representatives, sizes = conjugacy_classes(space.permutations)
        self.class_sizes = [int(s) for s in sizes]
        self._labels = orbits_of(space.permutations[representatives][:, None, :])
        self._numbers: dict[tuple[int, ClusterKey], int] = {}
        self._clusters: list[Cluster] = []
        self._shares: dict[tuple[int, tuple[Pool, ...], tuple[int, ...]], Shares] = {}
        self._solutions: dict[int, list[_Solution]] = {}

    def _link_blocks(self) -> list[_Link]:
        n = len(self.space.blocks)
        label = list(range(n))
        for i, j in {(int(a), int(b)) for a, b in self.space.block_of[self._pairs]}:
            low, high = sorted((label[i], label[j]))
            label = [low if v == high else v for v in label]
        links = []
        for lead in sorted(set(label)):
            blocks = tuple(k for k in range(n) if label[k] == lead)
            target: list[int] = []
            for k in blocks:
                self._first[k] = len(target)
                target += [self.space.blocks[k].counts[s] for s in self._kinds[k]]
            links.append(_Link(blocks, tuple(target)))
        return links

    @cached_property
    def counts(self) -> list[int]:
        """Number of invariant decorations of an operation of each class; the first is the number of all decorations.

        Raises
        ------
        BudgetExceededError
            If the work is too much.
        """
        return [self._count(c) for c in range(len(self.class_sizes))]

    @property
    def raw(self) -> int:
        """Number of all decorations."""
        return self._count(0)

    @property
    def distinct(self) -> int:
        """Number of orbits, by Burnside's lemma."""
        total = sum(size * count for size, count in zip(self.class_sizes, self.counts, strict=True))
        return total // sum(self.class_sizes)

    def _count(self, index: int) -> int:
        result = 1
        for solution in self._solve(index):
            result *= solution.shares.count
        return result

    def _solve(self, index: int) -> list[_Solution]:
        if index not in self._solutions:
            labels = self._labels[index]
            first, inverse = np.unique(labels, return_inverse=True)
            self._solutions[index] = self._solve_links(first, inverse.reshape(-1))
        return self._solutions[index]

    def _solve_links(self, first: IntArray, cycle_of: IntArray) -> list[_Solution]:
        lengths = np.bincount(cycle_of, minlength=len(first))
        block_of = self.space.block_of[first] if len(first) else np.zeros(0, dtype=np.int64)
        edges = np.unique(np.sort(cycle_of[self._pairs], axis=1), axis=0).reshape(-1, 2)
        vacant = np.zeros(len(first), dtype=bool)
        vacant[cycle_of[self._blocked]] = True
        vacant[edges[edges[:, 0] == edges[:, 1], 0]] = True
        neighbours: dict[int, list[int]] = {}
        for a, b in edges[~vacant[edges].any(axis=1)].tolist():
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
        nodes = [
            Node(int(length), self._first[b], len(self._kinds[b]))
            for length, b in zip(lengths.tolist(), block_of.tolist(), strict=True)
        ]
        groups = _components(neighbours)
        solutions = []
        for number, link in enumerate(self._links):
            mine = np.isin(block_of, link.blocks) & ~vacant
            pools = []
            alone = mine.copy()
            alone[list(neighbours)] = False
            for block in link.blocks:
                for length in np.unique(lengths[alone & (block_of == block)]).tolist():
                    cycles = np.flatnonzero(alone & (block_of == block) & (lengths == length))
                    pools.append(
                        (Pool(length, len(cycles), self._first[block], len(self._kinds[block])), block, cycles)
                    )
            clusters = []
            for members in groups:
                if mine[members[0]]:
                    order = order_nodes(neighbours, members)
                    key = number, cluster_key(order, neighbours, nodes)
                    if key not in self._numbers:
                        self._clusters.append(Cluster(key[1], link.target, self._budget, keep=self._keep))
                        self._numbers[key] = len(self._clusters) - 1
                    clusters.append((self._numbers[key], np.array(order, dtype=np.int64)))
            clusters.sort(key=lambda c: c[0])
            signature = (number, tuple(p for p, _, _ in pools), tuple(c for c, _ in clusters))
            if signature not in self._shares:
                # Equal clusters are one object, so that their polynomial is expanded once.
                parts: list[Part] = [*signature[1], *(self._clusters[c] for c in signature[2])]
                self._shares[signature] = Shares(parts, link.target, self._budget, keep=self._keep)
            solutions.append(_Solution(tuple(pools), tuple(clusters), self._shares[signature]))
        return solutions

    def draw(self, index: int, n: int, rng: np.random.Generator) -> CodeArray:
        """Draw decorations uniformly among those that the operations of a class fix.

        Parameters
        ----------
        index
            The class; the decorations are invariant under its representative.

        Returns
        -------
        (n, n_free) uint8
        """
        labels = np.unique(self._labels[index], return_inverse=True)[1].reshape(-1)
        by_cycle = np.zeros((n, int(labels.max(initial=-1)) + 1), dtype=np.uint8)
        block_of = np.zeros(by_cycle.shape[1], dtype=np.int64)
        block_of[labels] = self.space.block_of
        by_cycle[:] = np.array([self._rest[b] for b in block_of], dtype=np.uint8)
        for solution in self._solve(index):
            exponents = [solution.shares.draw(rng) for _ in range(n)]
            for part, (pool, block, cycles) in enumerate(solution.pools):
                codes = np.array([*self._kinds[block], self._rest[block]], dtype=np.uint8)
                rows = np.array([np.repeat(codes, pool.cycles(e[part])) for e in exponents], dtype=np.uint8)
                by_cycle[:, cycles] = rng.permuted(rows, axis=1)
            for part, (key, nodes) in enumerate(solution.clusters, start=len(solution.pools)):
                cluster = self._clusters[key]
                choices = np.array([cluster.draw(e[part], rng) for e in exponents])
                for column, node in enumerate(nodes.tolist()):
                    block = int(block_of[node])
                    by_cycle[:, node] = np.array([self._rest[block], *self._kinds[block]])[choices[:, column]]
        return by_cycle[:, labels]


def _components(neighbours: dict[int, list[int]]) -> list[list[int]]:
    """Return the connected components of a graph, by their smallest nodes."""
    components: list[list[int]] = []
    visited: set[int] = set()
    for start in sorted(neighbours):
        if start in visited:
            continue
        members = [start]
        visited.add(start)
        for node in members:
            for other in neighbours[node]:
                if other not in visited:
                    visited.add(other)
                    members.append(other)
        components.append(sorted(members))
    return components
