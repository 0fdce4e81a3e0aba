"""Sublattices of a lattice by their index: Hermite normal forms, equivalence under a point group, compact bases.

Every sublattice of index n has exactly one basis in Hermite normal form (upper triangular rows here, determinant n).
Two of them make the same supercell if a rotation of the parent carries one into the other: Hart & Forcade,
Phys. Rev. B 77, 224115 (2008). The basis shown to users is Minkowski-reduced instead, by the greedy
algorithm, which is exact in three dimensions: Nguyen & Stehlé, ACM Trans. Algorithms 5, 46 (2009).
"""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from superionic.errors import StructureError
from superionic.structures.crystal.symmetry import FloatArray, IntArray


def hermite_matrices(index: int) -> IntArray:
    """Return all Hermite normal forms of a determinant, in lexicographic order.

    Parameters
    ----------
    index
        The determinant, 1 or more.

    Returns
    -------
    (m, 3, 3) int
        Upper triangular; an entry above the diagonal is at least 0 and below the diagonal entry of its column.

    Raises
    ------
    StructureError
        If the index is not positive.
    """
    if index < 1:
        raise StructureError(f"A supercell of index {index} does not exist.", fix="Give an index of 1 or more.")
    matrices = []
    for a in _divisors(index):
        for c in _divisors(index // a):
            f = index // (a * c)
            for b1, b2, d in product(range(c), range(f), range(f)):
                matrices.append((a, b1, b2, 0, c, d, 0, 0, f))
    return np.array(matrices, dtype=np.int64).reshape(-1, 3, 3)


def inequivalent_hermite_matrices(index: int, rotations: IntArray, *, diagonal_only: bool = False) -> IntArray:
    """Return one Hermite normal form for each class of sublattices that rotations carry into one another.

    Parameters
    ----------
    index
        The determinant.
    rotations
        (n, 3, 3) the point group, acting on column vectors in units of the parent's vectors.
    diagonal_only
        Only matrices that are diagonal.

    Returns
    -------
    (m, 3, 3) int
        The lexicographically smallest admissible matrix of each class.
    """
    matrices = hermite_matrices(index)
    if diagonal_only:
        off = matrices.copy()
        off[:, [0, 1, 2], [0, 1, 2]] = 0
        matrices = matrices[~off.any(axis=(1, 2))]
    own = _codes(matrices, index)
    group = np.unique(rotations.reshape(-1, 9), axis=0).reshape(-1, 3, 3)
    smallest = own.copy()
    for rotation in group:
        codes = _codes(batch_row_hermite(matrices @ rotation.T), index)
        if diagonal_only:
            codes = np.where(np.isin(codes, own), codes, own)
        np.minimum(smallest, codes, out=smallest)
    representatives: IntArray = matrices[smallest == own]
    return representatives


def batch_row_hermite(matrices: IntArray) -> IntArray:
    """Bring many regular matrices into the form of :func:`superionic.structures.crystal.symmetry.row_hermite` at once.

    Parameters
    ----------
    matrices
        (m, 3, 3) integers with determinants that are not zero.
    """
    h = np.array(matrices, dtype=np.int64)
    for column, upper, lower in ((0, 0, 1), (0, 0, 2), (1, 1, 2)):
        # Euclid's algorithm on two rows of all matrices together.
        while True:
            todo = np.flatnonzero(h[:, lower, column])
            if not len(todo):
                break
            factor = h[todo, upper, column] // h[todo, lower, column]
            rest = h[todo, upper] - factor[:, None] * h[todo, lower]
            h[todo, upper] = h[todo, lower]
            h[todo, lower] = rest
    for row in range(3):
        h[:, row] *= np.sign(h[:, row, row])[:, None]
    for column, above in ((1, 0), (2, 0), (2, 1)):
        h[:, above] -= (h[:, above, column] // h[:, column, column])[:, None] * h[:, column]
    return h


def compact_basis(matrix: IntArray, cell_A: FloatArray) -> IntArray:
    """Return the Minkowski-reduced basis of a sublattice, right-handed as the parent, as near to diagonal as possible.

    Parameters
    ----------
    matrix
        (3, 3) any basis of the sublattice, rows in units of the parent's vectors.
    cell_A
        (3, 3) the parent's vectors as rows.
    """
    rows = [np.array(r, dtype=np.int64) for r in matrix]

    def length2(row: IntArray) -> float:
        vector = row @ cell_A
        return float(vector @ vector)

    while True:
        rows.sort(key=lambda r: (round(length2(r), 9), tuple(-abs(r)), tuple(-r)))
        before = sum(length2(r) for r in rows)
        rows[1] = _shortened(rows[1], rows[:1], cell_A)
        rows[2] = _shortened(rows[2], rows[:2], cell_A)
        if sum(length2(r) for r in rows) > before * (1.0 - 1e-10):
            break
    plain = [[int(v) for v in row] for row in rows]
    best: tuple[int, ...] = ()
    for order in permutations(range(3)):
        for signs in product((1, -1), repeat=3):
            (a, b, c), (d, e, f), (g, h, i) = ([s * v for v in plain[k]] for s, k in zip(signs, order, strict=True))
            if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) > 0:
                best = max(best, (a + e + i, a, b, c, d, e, f, g, h, i))
    return np.array(best[1:], dtype=np.int64).reshape(3, 3)


def _shortened(row: IntArray, others: list[IntArray], cell_A: FloatArray) -> IntArray:
    """Subtract the lattice vector of the (reduced) others that leaves the shortest remainder."""
    basis = np.array(others)
    vectors = basis @ cell_A
    near = np.rint(np.linalg.lstsq(vectors.T, row @ cell_A, rcond=None)[0]).astype(np.int64)
    best, least = row, float(np.sum((row @ cell_A) ** 2)) * (1.0 - 1e-10)
    for step in product((0, 1, -1), repeat=len(others)):
        candidate: IntArray = row - (near + np.array(step)) @ basis
        length2 = float(np.sum((candidate @ cell_A) ** 2))
        if length2 < least:
            best, least = candidate, length2 * (1.0 - 1e-10)
    return best


def _codes(matrices: IntArray, index: int) -> IntArray:
    """Return numbers of Hermite normal forms that rise in lexicographic order."""
    base = index + 1
    code = np.zeros(len(matrices), dtype=np.int64)
    for row, column in ((0, 0), (1, 1), (0, 1), (0, 2), (1, 2)):
        code = code * base + matrices[:, row, column]
    return code


def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]
