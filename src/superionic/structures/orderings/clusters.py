"""Clusters of cycles of sites that exclude each other: their joint-composition polynomials, and draws from them.

A cluster is a connected graph whose nodes are cycles of sites (occupied together by one species, or vacant together)
and whose edges join cycles that may not both be occupied. Its independent sets are summed by going through the nodes
in an order that keeps the frontier small: of the nodes passed, only those with neighbours still to come matter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from superionic.structures.orderings.joint_counts import Budget, Exponents, Layout, random_below

_REMEMBERED = 100_000
_WORDS_PER_MASK = 2000.0  # cost of one mask in Python, in words touched in the same time


@dataclass(frozen=True)
class Node:
    """A cycle of sites: its length, and the exponents that count the species it may hold (besides the vacancy)."""

    length: int
    first: int
    kinds: int


ClusterKey = tuple[tuple[Node, ...], tuple[int, ...]]
"""Nodes in order, and for each the bit mask of its neighbours before it."""


def order_nodes(neighbours: Mapping[int, Sequence[int]], members: Sequence[int]) -> list[int]:
    """Order the nodes of a connected graph greedily, so that few of those passed have neighbours to come."""
    start = min(members, key=lambda v: (len(neighbours[v]), v))
    # From one end to the other: the last node of a breadth-first search is an end.
    visited, queue = {start}, [start]
    for node in queue:
        for other in neighbours[node]:
            if other not in visited:
                visited.add(other)
                queue.append(other)
    order: list[int] = []
    passed: set[int] = set()
    to_come = {v: len(neighbours[v]) for v in members}
    edge = {queue[-1]}
    while edge:
        # The frontier grows by the node itself if it has neighbours to come, and loses those that waited for it only.
        best = min(
            edge,
            key=lambda v: (
                (to_come[v] > 0) - sum(1 for u in neighbours[v] if u in passed and to_come[u] == 1),
                to_come[v],
                v,
            ),
        )
        edge.discard(best)
        order.append(best)
        passed.add(best)
        for other in neighbours[best]:
            to_come[other] -= 1
            if other not in passed:
                edge.add(other)
    return order


def cluster_key(order: Sequence[int], neighbours: Mapping[int, Sequence[int]], nodes: Sequence[Node]) -> ClusterKey:
    """Describe a cluster so that clusters of the same shape get the same description."""
    position = {v: i for i, v in enumerate(order)}
    masks = []
    for i, v in enumerate(order):
        masks.append(sum(1 << position[u] for u in neighbours[v] if position[u] < i))
    return tuple(nodes[v] for v in order), tuple(masks)


class Cluster:
    """The polynomial of one shape of cluster; a part in the sense of :class:`.Part`.

    Parameters
    ----------
    key
        Its shape.
    target
        The largest exponents that matter.
    budget
        Work allowed.
    keep
        Keep the layers, so that :meth:`draw` works.
    """

    def __init__(self, key: ClusterKey, target: Exponents, budget: Budget, *, keep: bool = False) -> None:
        self._nodes, self._before = key
        n = len(self._nodes)
        self._after = [0] * n
        waiting = 0
        for i in range(n):
            waiting |= 1 << i
            for j in [j for j in range(i + 1) if waiting >> j & 1]:
                if not any(self._before[k] >> j & 1 for k in range(i + 1, n)):
                    waiting &= ~(1 << j)
            self._after[i] = waiting
        self._masks = self._reachable(budget)
        self._layout = self._lay_out(target)
        self._layers: list[dict[int, bytes]] = []
        self._known_options: dict[tuple[int, int, Exponents], tuple[list[int], list[tuple[int, int, Exponents]]]] = {}
        self._coefficients = self._solve(target, budget, keep)

    def ways(self, exponents: Exponents) -> int:
        """Return one coefficient."""
        return self._coefficients.get(exponents, 0)

    def terms(self, limit: Exponents) -> Mapping[Exponents, int]:
        """Return all coefficients up to the target given at the start, which the limit must not exceed."""
        return {e: w for e, w in self._coefficients.items() if all(a <= b for a, b in zip(e, limit, strict=True))}

    def _steps(self, i: int, mask: int) -> tuple[int, int | None]:
        """Return the frontier after node i if it is vacant and if it is occupied (None where it must not be)."""
        after = self._after[i]
        return mask & after, None if mask & self._before[i] else (mask | 1 << i) & after

    def _reachable(self, budget: Budget) -> list[list[int]]:
        layers = [[0]]
        for i in range(len(self._nodes)):
            masks: set[int] = set()
            for mask in layers[-1]:
                vacant, occupied = self._steps(i, mask)
                masks.add(vacant)
                if occupied is not None:
                    masks.add(occupied)
            budget.spend(_WORDS_PER_MASK * len(layers[-1]))
            layers.append(sorted(masks))
        return layers

    def _lay_out(self, target: Exponents) -> Layout:
        """Find the largest exponents and the number of all ways by the same recursion on plain numbers."""
        n_variables = len(target)
        most: dict[int, tuple[int, ...]] = {0: (0,) * n_variables}
        ways = {0: 1}
        for i in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[i]
            new_most, new_ways = {}, {}
            for mask in self._masks[i]:
                vacant, occupied = self._steps(i, mask)
                large, count = most[vacant], ways[vacant]
                if occupied is not None:
                    count += node.kinds * ways[occupied]
                    more = list(most[occupied])
                    for k in range(node.first, node.first + node.kinds):
                        more[k] += node.length
                    large = tuple(max(a, b) for a, b in zip(large, more, strict=True))
                new_most[mask], new_ways[mask] = large, count
            most, ways = new_most, new_ways
        sizes = [m + 1 for m in most[0]]
        if sizes:
            sizes[0] = min(sizes[0], target[0] + 1)
        return Layout(tuple(sizes), ways[0].bit_length() // 8 + 1)

    def _solve(self, target: Exponents, budget: Budget, keep: bool) -> dict[Exponents, int]:
        layout = self._layout
        keep_mask = (1 << 8 * int(np.prod([layout.width, *layout.sizes], dtype=object))) - 1
        budget.hold(2.0 * layout.words * max(map(len, self._masks)))
        polynomials = {0: 1}
        layers: list[dict[int, bytes]] = []
        for i in range(len(self._nodes) - 1, -1, -1):
            node = self._nodes[i]
            budget.spend(layout.words * len(self._masks[i]) * (1.0 + node.kinds))
            if keep:
                budget.spend((layout.words + 30.0) * len(polynomials), keep=True)
                layers.append({mask: layout.to_bytes(p) for mask, p in polynomials.items()})
            shifts = [8 * s * node.length for s in layout.strides[node.first : node.first + node.kinds]]
            grown = {}
            for mask in self._masks[i]:
                vacant, occupied = self._steps(i, mask)
                polynomial = polynomials[vacant]
                if occupied is not None:
                    for shift in shifts:
                        polynomial += polynomials[occupied] << shift
                    polynomial &= keep_mask
                grown[mask] = polynomial
            polynomials = grown
        self._layers = layers[::-1]
        packed = layout.to_bytes(polynomials[0])
        budget.spend(20.0 * float(np.prod([float(s) for s in layout.sizes])))
        result = {}
        for exponents in product(*(range(min(s - 1, t) + 1) for s, t in zip(layout.sizes, target, strict=True))):
            ways = layout.read(packed, exponents)
            if ways:
                result[exponents] = ways
        return result

    def draw(self, exponents: Exponents, rng: np.random.Generator) -> list[int]:
        """Draw uniformly among the ways with these exponents.

        Returns
        -------
        list of int
            For each node, in order, 1 + the number of its species among those it may hold; 0 if it is vacant.
        """
        rest = exponents
        mask = 0
        result = []
        for i in range(len(self._nodes)):
            totals, outcomes = self._options(i, mask, rest)
            at = 0 if len(totals) == 1 else bisect_right(totals, random_below(rng, totals[-1]))
            species, mask, rest = outcomes[at]
            result.append(species)
        return result

    def _options(self, i: int, mask: int, rest: Exponents) -> tuple[list[int], list[tuple[int, int, Exponents]]]:
        """Return the cumulative ways of the choices for a node, each with the frontier and exponents after it."""
        options = self._known_options.get((i, mask, rest))
        if options is None:
            node, layer = self._nodes[i], self._layers[i]
            vacant, occupied = self._steps(i, mask)
            choices = [(0, vacant, rest)]
            if occupied is not None:
                for k in range(node.kinds):
                    left = list(rest)
                    left[node.first + k] -= node.length
                    choices.append((1 + k, occupied, tuple(left)))
            totals: list[int] = []
            outcomes = []
            total = 0
            for choice in choices:
                ways = self._layout.read(layer[choice[1]], choice[2])
                if ways:
                    total += ways
                    totals.append(total)
                    outcomes.append(choice)
            options = totals, outcomes
            if len(self._known_options) < _REMEMBERED:
                self._known_options[i, mask, rest] = options
        return options
