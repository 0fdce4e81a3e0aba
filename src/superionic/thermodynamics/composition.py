"""Compositions as exact rational vectors, and their amounts of end members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from fractions import Fraction
from math import gcd, isfinite, lcm

from superionic.chemistry import atomic_number
from superionic.errors import CompositionError

Amount = int | float | Fraction

_MIXED = 1e-9  # residual, in atomic fractions, below which a composition is a mixture
_NOBLE_GASES = (0, 2, 10, 18, 36, 54, 86, 118)


def exact_amount(amount: Amount) -> Fraction:
    """Return an amount of atoms as an exact fraction.

    A float becomes the simple fraction that it approximates (0.1 → 1/10, 0.3333333333333333 → 1/3) if there is one
    within 1e-12, and otherwise the decimal that it prints as.
    """
    if isinstance(amount, Fraction | int):
        return Fraction(amount)
    printed = Fraction(repr(float(amount)))
    simple = printed.limit_denominator(10_000)
    return simple if abs(simple - printed) < Fraction(1, 10**12) else printed


def exact_composition(composition: Mapping[str, Amount], *, where: str | None = None) -> dict[str, Fraction]:
    """Validate a composition and return it exactly, sorted by element, without elements of amount zero.

    Parameters
    ----------
    composition
        Element → number of atoms (any positive scale: cell counts, a formula unit, fractions).
    where
        The owner of the composition, for the error message.

    Raises
    ------
    CompositionError
        If it is empty, has a negative or non-finite amount, or an unknown element symbol.
    """
    exact: dict[str, Fraction] = {}
    for element in sorted(composition):
        if atomic_number(element) is None:
            raise CompositionError(
                f"{element!r} is not a chemical element", where=where, fix="use element symbols such as Li, Y, Cl"
            )
        amount = composition[element]
        if not isfinite(amount) or amount < 0:
            raise CompositionError(
                f"The amount of {element} is {amount!r}", where=where, fix="amounts of atoms are zero or more"
            )
        if amount != 0:
            exact[element] = exact_amount(amount)
    if not exact:
        raise CompositionError("A composition without atoms", where=where, fix="give the number of atoms per element")
    return exact


def reduced_composition(composition: Mapping[str, Amount]) -> dict[str, int]:
    """Return the composition in smallest whole numbers, sorted by element.

    Examples
    --------
    >>> reduced_composition({"Li": 9, "Y": 3, "Cl": 18})
    {'Cl': 6, 'Li': 3, 'Y': 1}
    """
    exact = exact_composition(composition)
    scale = lcm(*(amount.denominator for amount in exact.values()))
    whole = {element: int(amount * scale) for element, amount in exact.items()}
    divisor = gcd(*whole.values())
    return {element: amount // divisor for element, amount in whole.items()}


def reduced_formula(composition: Mapping[str, Amount]) -> str:
    """Return the formula in smallest whole numbers, elements from left to right of the periodic table.

    Within a group the heavier element comes first, as in table VI of the IUPAC Red Book (2005), which puts
    cations before anions in salts.

    Examples
    --------
    >>> reduced_formula({"Br": 9, "Cl": 9, "Li": 9, "Y": 3})
    'Li3YBr3Cl3'
    """
    reduced = reduced_composition(composition)
    ordered = sorted(reduced, key=_formula_order)
    return "".join(element + (str(reduced[element]) if reduced[element] != 1 else "") for element in ordered)


def atoms_in(composition: Mapping[str, Amount]) -> Fraction:
    """Return the number of atoms in a composition, exactly."""
    return sum((exact_amount(amount) for amount in composition.values()), Fraction(0))


def end_member_amounts(
    composition: Mapping[str, Amount],
    end_members: Sequence[Mapping[str, Amount]],
    *,
    where: str | None = None,
    inside: bool = True,
) -> tuple[Fraction, ...]:
    """Solve Σ_j n_j M_j = c: how many formula units of each end member make up a composition, exactly.

    Parameters
    ----------
    composition
        The composition c, in atoms.
    end_members
        The k compositions M_j, one formula unit each; they must be linearly independent.
    where
        The owner of the composition, for the error message.
    inside
        Whether to refuse a negative amount (a composition outside the range that the end members span).

    Returns
    -------
    tuple of Fraction, (k,)
        Formula units n_j. The coordinates in a pseudo-binary or -ternary diagram are n_j / Σ n.

    Raises
    ------
    CompositionError
        If the end members are linearly dependent, or do not span the composition.
    """
    if not end_members:
        raise CompositionError("No end members are given", where=where, fix="give at least one end member")
    target = exact_composition(composition, where=where)
    members = [exact_composition(member, where=f"end member {j + 1}") for j, member in enumerate(end_members)]
    elements = sorted({element for member in members for element in member} | set(target))
    rows = [
        [member.get(element, Fraction(0)) for member in members] + [target.get(element, Fraction(0))]
        for element in elements
    ]
    names = ", ".join(reduced_formula(member) for member in members)
    amounts = _solve_overdetermined(rows, len(members))
    if amounts is _Unsolved.DEPENDENT:
        raise CompositionError(
            f"The end members {names} are not independent: one is a mixture of the others",
            fix="leave the dependent end member out",
        )
    if amounts is _Unsolved.INCONSISTENT:
        raise CompositionError(
            f"{reduced_formula(target)} is not a mixture of {names}",
            where=where,
            fix="add the end member that is missing, or leave this composition out of the hull",
        )
    if inside and any(amount < 0 for amount in amounts):
        shown = ", ".join(
            f"{amount} {reduced_formula(member)}" for amount, member in zip(amounts, members, strict=True)
        )
        raise CompositionError(
            f"{reduced_formula(target)} lies outside the range between {names} (it is {shown})",
            where=where,
            fix="choose end members that enclose it, or leave this composition out of the hull",
        )
    return tuple(amounts)


def independent(compositions: Sequence[Mapping[str, Amount]]) -> list[int]:
    """Return the indices of the compositions that are linearly independent of those before them."""
    indices: list[int] = []
    reduced: list[dict[str, Fraction]] = []  # each with its leading element, which is in none of the later ones
    for index, composition in enumerate(compositions):
        rest = exact_composition(composition)
        for row in reduced:
            lead = next(iter(row))
            factor = rest.get(lead, Fraction(0)) / row[lead]
            rest = {
                e: rest.get(e, Fraction(0)) - factor * row.get(e, Fraction(0)) for e in dict.fromkeys([*rest, *row])
            }
        rest = {element: amount for element, amount in rest.items() if amount != 0}
        if rest:
            indices.append(index)
            reduced.append(rest)
    return indices


def extreme(compositions: Sequence[Mapping[str, Amount]]) -> list[int]:
    """Return the indices of the compositions that are no mixture of the others; of equal ones the first."""
    import numpy as np
    from scipy.optimize import nnls

    elements = sorted({element for composition in compositions for element in composition})
    counts = np.array([[float(each.get(element, 0)) for element in elements] for each in compositions])
    fractions = counts / counts.sum(axis=1, keepdims=True)
    left = list(range(len(compositions)))
    for index in reversed(range(len(compositions))):
        others = [other for other in left if other != index]
        if others and nnls(fractions[others].T, fractions[index])[1] < _MIXED:
            left = others
    return left


class _Unsolved(Enum):
    """Why a system of equations has no single solution."""

    DEPENDENT = auto()
    INCONSISTENT = auto()


def _solve_overdetermined(rows: list[list[Fraction]], n_unknowns: int) -> list[Fraction] | _Unsolved:
    """Solve by Gauss–Jordan elimination on an augmented matrix, which is overwritten."""
    for column in range(n_unknowns):
        pivot = next((r for r in range(column, len(rows)) if rows[r][column] != 0), None)
        if pivot is None:
            return _Unsolved.DEPENDENT
        rows[column], rows[pivot] = rows[pivot], rows[column]
        lead = rows[column][column]
        rows[column] = [value / lead for value in rows[column]]
        for r, row in enumerate(rows):
            if r != column and row[column] != 0:
                factor = row[column]
                rows[r] = [value - factor * top for value, top in zip(row, rows[column], strict=True)]
    if any(row[-1] != 0 for row in rows[n_unknowns:]):
        return _Unsolved.INCONSISTENT
    return [rows[column][-1] for column in range(n_unknowns)]


def _formula_order(symbol: str) -> tuple[int, int]:
    """Return the sort key of an element: group of the periodic table, then the heavier element first."""
    number = atomic_number(symbol)
    if number is None:  # the composition was validated before
        raise CompositionError(f"{symbol!r} is not a chemical element")
    period = next(i for i, gas in enumerate(_NOBLE_GASES) if number <= gas)
    position, to_gas = number - _NOBLE_GASES[period - 1], _NOBLE_GASES[period] - number
    if number == 1:
        group = 15.5  # as in NH3 against H2O
    elif position <= 2 and period > 1:
        group = position
    elif to_gas <= 15:
        group = 18 - to_gas
    else:
        group = 3  # lanthanides and actinides
    return int(10 * group), -number
