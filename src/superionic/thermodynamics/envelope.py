"""The lower envelope of energies over compositions, in exact rational arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations


class LowerEnvelope:
    """min Σ λ_i e_i over λ ≥ 0 with Σ λ_i x_i = x, by the simplex method on exact fractions with Bland's rule.

    The first points are the corners of the diagram: every x inside lies between some of them (Carathéodory), which form
    a feasible basis. An optimal basis is a facet of the hull and serves all points above it.
    """

    def __init__(
        self, coordinates: Sequence[tuple[Fraction, ...]], energies: Sequence[Fraction], n_corners: int
    ) -> None:
        self.coordinates = list(coordinates)
        self.energies = list(energies)
        self.rank = len(self.coordinates[0])
        self._facets: list[tuple[list[int], list[list[Fraction]]]] = []
        self._simplices = [
            (list(basis), inverse)
            for basis in combinations(range(n_corners), self.rank)
            if (inverse := _inverse([self.coordinates[i] for i in basis])) is not None
        ]

    def mixture(self, target: tuple[Fraction, ...]) -> list[tuple[int, Fraction]] | None:
        """Return the points that make up the hull at a target, with their weights, by index; None outside."""
        for basis, inverse in self._facets:
            weights = _product(inverse, target)
            if all(weight >= 0 for weight in weights):
                return _nonzero(basis, weights)
        start = next(
            (pair for pair in self._simplices if all(weight >= 0 for weight in _product(pair[1], target))), None
        )
        if start is None:
            return None
        basis, inverse, weights = self._solve(target, *start)
        self._facets.append((basis, inverse))
        return _nonzero(basis, weights)

    def _solve(
        self, target: tuple[Fraction, ...], start: Sequence[int], inverse: list[list[Fraction]]
    ) -> tuple[list[int], list[list[Fraction]], list[Fraction]]:
        """Return the optimal basis, the inverse of its coordinate matrix, and the weights at the target."""
        basis, n = list(start), len(self.coordinates)
        columns = [_product(inverse, point) for point in self.coordinates]
        weights = _product(inverse, target)
        rows = [[column[j] for column in columns] + inverse[j] + [weights[j]] for j in range(self.rank)]
        reduced_costs = [
            energy - sum((self.energies[b] * part for b, part in zip(basis, column, strict=True)), Fraction(0))
            for energy, column in zip(self.energies, columns, strict=True)
        ]
        while True:
            entering = next((i for i, cost in enumerate(reduced_costs) if cost < 0), None)
            if entering is None:
                return basis, [row[n:-1] for row in rows], [row[-1] for row in rows]
            # The weights add up to one, so some row always bounds the step.
            leaving = min(
                (j for j in range(self.rank) if rows[j][entering] > 0),
                key=lambda j: (rows[j][-1] / rows[j][entering], basis[j]),
            )
            lead = rows[leaving][entering]
            rows[leaving] = [value / lead for value in rows[leaving]]
            for j in range(self.rank):
                factor = rows[j][entering]
                if j != leaving and factor != 0:
                    rows[j] = [value - factor * top for value, top in zip(rows[j], rows[leaving], strict=True)]
            factor = reduced_costs[entering]
            reduced_costs = [value - factor * top for value, top in zip(reduced_costs, rows[leaving][:n], strict=True)]
            basis[leaving] = entering


def _product(matrix: Sequence[Sequence[Fraction]], vector: Sequence[Fraction]) -> list[Fraction]:
    return [sum((a * x for a, x in zip(row, vector, strict=True)), Fraction(0)) for row in matrix]


def _inverse(columns: Sequence[Sequence[Fraction]]) -> list[list[Fraction]] | None:
    """Invert the matrix with these columns by Gauss–Jordan elimination; None if it has no inverse."""
    n = len(columns)
    rows = [[column[j] for column in columns] + [Fraction(int(j == k)) for k in range(n)] for j in range(n)]
    for k in range(n):
        pivot = next((j for j in range(k, n) if rows[j][k] != 0), None)
        if pivot is None:
            return None
        rows[k], rows[pivot] = rows[pivot], rows[k]
        lead = rows[k][k]
        rows[k] = [value / lead for value in rows[k]]
        for j in range(n):
            factor = rows[j][k]
            if j != k and factor != 0:
                rows[j] = [value - factor * top for value, top in zip(rows[j], rows[k], strict=True)]
    return [row[n:] for row in rows]


def _nonzero(basis: Sequence[int], weights: Sequence[Fraction]) -> list[tuple[int, Fraction]]:
    return sorted((i, weight) for i, weight in zip(basis, weights, strict=True) if weight != 0)
