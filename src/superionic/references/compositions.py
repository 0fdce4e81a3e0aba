"""The compositions for which a published value holds: one, a list, or all mixtures of several."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from superionic.chemistry import normal_formula, parse_formula


@dataclass(frozen=True)
class Composition:
    """One composition or a family of them.

    Attributes
    ----------
    written
        The usual notation, "Li3YCl6" or "Li3YCl6-xBrx, 3 ≤ x ≤ 5.5".
    vertices
        Formulas of the one composition, or of the ends of the family. A family over compositions that vary linearly
        (Li3YCl6-xBrx over x, Li3InxY1-xBr6yCl6-6y over x and y) is the simplex between its ends; none of the ends may
        be a mixture of the others.
    mixtures
        Whether all mixtures of the vertices belong, or only the vertices themselves.
    """

    written: str
    vertices: tuple[str, ...]
    mixtures: bool = True

    @property
    def is_family(self) -> bool:
        """Whether this is more than one composition."""
        return len(self.vertices) > 1

    def contains(self, formula: str) -> bool:
        """Return whether a composition belongs, exactly: no tolerance, any order of elements, any formula unit.

        Raises
        ------
        CompositionError
            If the formula cannot be read.
        """
        return _contains(self.vertices, self.mixtures, normal_formula(formula))


def exactly(formula: str) -> Composition:
    """Return one composition."""
    return Composition(formula, (formula,))


@cache
def _contains(vertices: tuple[str, ...], mixtures: bool, normal: str) -> bool:
    if not mixtures or len(vertices) == 1:
        return any(normal_formula(vertex) == normal for vertex in vertices)
    amounts = _mixture([parse_formula(vertex) for vertex in vertices], parse_formula(normal))
    return amounts is not None and all(amount >= 0 for amount in amounts)


def _mixture(parts: list[dict[str, Fraction]], whole: dict[str, Fraction]) -> list[Fraction] | None:
    """Return the amount of each part in the whole, by Gauss–Jordan elimination in fractions; None if there is none."""
    elements = sorted({element for part in (*parts, whole) for element in part})
    rows = [[part.get(element, Fraction(0)) for part in (*parts, whole)] for element in elements]
    for column in range(len(parts)):
        pivot = next(row for row in range(column, len(rows)) if rows[row][column] != 0)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [entry / rows[column][column] for entry in rows[column]]
        for row, entries in enumerate(rows):
            if row != column and entries[column] != 0:
                factor = entries[column]
                rows[row] = [entry - factor * lead for entry, lead in zip(entries, rows[column], strict=True)]
    if any(entries[-1] != 0 for entries in rows[len(parts) :]):
        return None
    return [rows[column][-1] for column in range(len(parts))]
