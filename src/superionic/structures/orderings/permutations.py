"""Groups of permutations as arrays: conjugacy classes, cycles, and subgroups of translations.

Conjugate operations fix equally many decorations. So sums over a group, as in Burnside's lemma, are sums over its
conjugacy classes, of which there are few: some tens for a thousand operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from superionic.structures.crystal.symmetry import IntArray


def distinct_permutations(permutations: IntArray) -> IntArray:
    """Return the distinct rows, in lexicographic order: the identity comes first."""
    n = permutations.shape[1]
    small = np.ascontiguousarray(permutations, dtype=np.dtype(">u2") if n < 1 << 16 else np.dtype(">u4"))
    rows = small.view(np.dtype((np.void, small.dtype.itemsize * n))).reshape(-1) if n else small[:1]
    return permutations[np.unique(rows, return_index=True)[1]] if n else permutations[:1]


class _Lookup:
    """Identify permutations of a group by their images of a few points that distinguish all elements."""

    def __init__(self, permutations: IntArray) -> None:
        self.n_elements, self.n_points = permutations.shape
        self.base: list[int] = []
        self._keys: list[IntArray] = []
        ids = np.zeros(self.n_elements, dtype=np.int64)
        known = 1
        candidates = np.linspace(0, self.n_points - 1, min(16, self.n_points)).astype(np.int64).tolist()
        while known < self.n_elements:
            # Two elements that are still alike differ on some point: that one at least distinguishes more.
            first = np.unique(ids, return_index=True)[1]
            other = np.setdiff1d(np.arange(self.n_elements), first)[0]
            sure = int(np.argmax(permutations[other] != permutations[first[ids[other]]]))
            tried = {p: np.unique(ids * self.n_points + permutations[:, p]) for p in (sure, *candidates)}
            point = max(tried, key=lambda p: len(tried[p]))
            keys = tried[point]
            ids = np.searchsorted(keys, ids * self.n_points + permutations[:, point])
            known = len(keys)
            self.base.append(point)
            self._keys.append(keys)
        self._order = np.empty(self.n_elements, dtype=np.int64)
        self._order[ids] = np.arange(self.n_elements)

    def find(self, images: IntArray) -> IntArray:
        """Return the element of each row of images of the base, -1 where there is none."""
        ids = np.zeros(len(images), dtype=np.int64)
        good = np.ones(len(images), dtype=bool)
        for column, keys in enumerate(self._keys):
            codes = ids * self.n_points + images[:, column]
            ids = np.minimum(np.searchsorted(keys, codes), len(keys) - 1)
            good &= keys[ids] == codes
        return np.where(good, self._order[ids], -1)


def conjugacy_classes(permutations: IntArray) -> tuple[IntArray, IntArray]:
    """Find the conjugacy classes of a group.

    Parameters
    ----------
    permutations
        (n_elements, n) all its elements, each once, the identity first.

    Returns
    -------
    representatives : (n_classes,) int
        Index of one element of each class, rising; the identity is the first.
    sizes : (n_classes,) int
        Number of elements of each. If the permutations are not a group, each is a class of its own.
    """
    n_elements = len(permutations)
    everyone = np.arange(n_elements)
    alone = everyone, np.ones(n_elements, dtype=np.int64)
    if n_elements <= 2:
        return alone
    lookup = _Lookup(permutations)
    base = np.array(lookup.base, dtype=np.int64)
    reached = np.zeros(n_elements, dtype=bool)
    reached[0] = True
    products: list[IntArray] = []
    conjugates: list[IntArray] = []
    while not reached.all():
        generator = permutations[int(np.argmin(reached))]
        inverse = np.argsort(generator)
        products.append(lookup.find(generator[permutations[:, base]]))
        conjugates.append(lookup.find(generator[permutations[:, inverse[base]]]))
        if min(products[-1].min(), conjugates[-1].min()) < 0:
            return alone
        frontier = np.flatnonzero(reached)
        while len(frontier):
            images = np.unique(np.concatenate([p[frontier] for p in products]))
            frontier = images[~reached[images]]
            reached[frontier] = True
    labels = orbits_of(np.array(conjugates)[None])[0]
    return np.unique(labels, return_counts=True)


def orbits_of(generators: IntArray) -> IntArray:
    """Find the orbits of many groups at once, each given by the same number of generators.

    Parameters
    ----------
    generators
        (m, r, n): r permutations of n points for each of m groups.

    Returns
    -------
    (m, n) int
        The smallest point of the orbit of each point.
    """
    m, r, n = generators.shape
    targets = (generators + (np.arange(m) * n)[:, None, None]).transpose(1, 0, 2).reshape(r, m * n)
    labels = np.arange(m * n)
    while True:
        # A label is a point of the same orbit, never larger: each takes the smaller of its images' labels, then jumps
        # ahead.
        lower = labels
        for target in targets:
            lower = np.minimum(lower, lower[target])
        lower = lower[lower]
        if np.array_equal(lower, labels):
            break
        labels = lower
    smallest: IntArray = labels.reshape(m, n) - (np.arange(m) * n)[:, None]
    return smallest


def moebius_terms(translations: IntArray) -> list[tuple[int, IntArray]]:
    """List the subgroups of an abelian group whose Möbius number is not zero: the elementary abelian ones.

    Parameters
    ----------
    translations
        (n_elements, n) all its elements, the identity first, acting freely.

    Returns
    -------
    list of (number, generators)
        For each subgroup K, the trivial one first, its Möbius number μ(1, K) = Π_p (−1)^r p^(r(r−1)/2) for
        K = Π_p (Z_p)^r, and (r, n) permutations that generate it. For all other subgroups the number is zero
        (Hall, Q. J. Math. 7, 134 (1936)).
    """
    n_elements, n = translations.shape
    identity = np.arange(n)
    terms = [(1, np.zeros((0, n), dtype=np.int64))]
    for prime in _prime_factors(n_elements):
        power = np.broadcast_to(identity, translations.shape)
        for _ in range(prime):
            power = np.take_along_axis(translations, power, axis=1)
        torsion = translations[np.all(power == identity, axis=1)]
        basis = _basis(torsion, prime)
        grown = []
        for rows in _subspaces(prime, len(basis)):
            generators = [_combination(basis, row, n) for row in rows]
            rank = len(generators)
            factor = (-1) ** rank * prime ** (rank * (rank - 1) // 2)
            for moebius, others in terms:
                both = np.concatenate([others, np.array(generators, dtype=np.int64).reshape(rank, n)])
                grown.append((moebius * factor, both))
        terms = grown
    return terms


def _basis(torsion: IntArray, prime: int) -> list[IntArray]:
    """Choose independent elements that generate a group of exponent p; the image of point 0 identifies an element."""
    basis: list[IntArray] = []
    span = {0}
    for element in torsion:
        if int(element[0]) in span:
            continue
        basis.append(element)
        span = {
            int(_combination(basis, coefficients, len(element))[0])
            for coefficients in product(range(prime), repeat=len(basis))
        }
    return basis


def _combination(basis: list[IntArray], coefficients: tuple[int, ...], n: int) -> IntArray:
    result = np.arange(n)
    for element, times in zip(basis, coefficients, strict=True):
        for _ in range(times):
            result = element[result]
    return result


def _subspaces(prime: int, dimension: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield all subspaces of (F_p)^dimension by their reduced echelon bases, the trivial one first."""
    for pivots in product((False, True), repeat=dimension):
        columns = [c for c in range(dimension) if pivots[c]]
        free = [(r, c) for r, p in enumerate(columns) for c in range(p + 1, dimension) if not pivots[c]]
        for values in product(range(prime), repeat=len(free)):
            rows = [[int(c == p) for c in range(dimension)] for p in columns]
            for (r, c), value in zip(free, values, strict=True):
                rows[r][c] = value
            yield [tuple(row) for row in rows]


def _prime_factors(n: int) -> list[int]:
    return [p for p in range(2, n + 1) if n % p == 0 and all(p % q for q in range(2, p))]
