"""Elements and chemical formulas: symbols, reading formulas, and writing amounts as formulas.

Formulas are written with the elements in order of rising Pauling electronegativity (as in Li3YCl6), ties in
alphabetical order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import Final

from superionic.errors import CompositionError

ELEMENTS: Final[tuple[str, ...]] = tuple(
    re.findall(
        r"[A-Z][a-z]?",
        "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb "
        "Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu "
        "Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db "
        "Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og",
    )
)
"""Symbols of the elements, in order of atomic number."""


VACANCY: Final = "X"
"""Symbol of an empty site."""

_UNKNOWN: Final = 9.0

# Pauling's scale (CRC Handbook of Chemistry and Physics); elements without a value come last.
ELECTRONEGATIVITY: Final[Mapping[str, float]] = {
    "H": 2.2, "Li": 0.98, "Be": 1.57, "B": 2.04, "C": 2.55, "N": 3.04, "O": 3.44, "F": 3.98, "Na": 0.93,
    "Mg": 1.31, "Al": 1.61, "Si": 1.9, "P": 2.19, "S": 2.58, "Cl": 3.16, "K": 0.82, "Ca": 1.0, "Sc": 1.36,
    "Ti": 1.54, "V": 1.63, "Cr": 1.66, "Mn": 1.55, "Fe": 1.83, "Co": 1.88, "Ni": 1.91, "Cu": 1.9, "Zn": 1.65,
    "Ga": 1.81, "Ge": 2.01, "As": 2.18, "Se": 2.55, "Br": 2.96, "Kr": 3.0, "Rb": 0.82, "Sr": 0.95, "Y": 1.22,
    "Zr": 1.33, "Nb": 1.6, "Mo": 2.16, "Tc": 1.9, "Ru": 2.2, "Rh": 2.28, "Pd": 2.2, "Ag": 1.93, "Cd": 1.69,
    "In": 1.78, "Sn": 1.96, "Sb": 2.05, "Te": 2.1, "I": 2.66, "Xe": 2.6, "Cs": 0.79, "Ba": 0.89, "La": 1.1,
    "Ce": 1.12, "Pr": 1.13, "Nd": 1.14, "Pm": 1.13, "Sm": 1.17, "Eu": 1.2, "Gd": 1.2, "Tb": 1.1, "Dy": 1.22,
    "Ho": 1.23, "Er": 1.24, "Tm": 1.25, "Yb": 1.1, "Lu": 1.27, "Hf": 1.3, "Ta": 1.5, "W": 2.36, "Re": 1.9,
    "Os": 2.2, "Ir": 2.2, "Pt": 2.28, "Au": 2.54, "Hg": 2.0, "Tl": 1.62, "Pb": 2.33, "Bi": 2.02, "Po": 2.0,
    "At": 2.2, "Fr": 0.7, "Ra": 0.9, "Ac": 1.1, "Th": 1.3, "Pa": 1.5, "U": 1.38, "Np": 1.36, "Pu": 1.28,
}  # fmt: skip

_SUBSCRIPTS: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TOKEN: Final = re.compile(r"(?P<element>[A-Z][a-z]?)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<amount>\d+(?:\.\d+)?|\.\d+)")


def atomic_number(symbol: str) -> int | None:
    """Return the atomic number of an element symbol, or None if there is no such element."""
    return ELEMENTS.index(symbol) + 1 if symbol in ELEMENTS else None


def species_key(species: str) -> tuple[int, float, str]:
    """Return the sort key of a species: electronegativity, then name; the vacancy is last."""
    return (int(species == VACANCY), ELECTRONEGATIVITY.get(species, _UNKNOWN), species)


def sort_species(species: Iterable[str]) -> tuple[str, ...]:
    """Put species into the order of formulas, each once, the vacancy last."""
    return tuple(sorted(set(species), key=species_key))


def amounts_text(amounts: Mapping[str, float], *, digits: int = 3) -> str:
    """Write amounts without reduction, such as ``Li9 Y3 Cl18`` or ``Li8.999 Y3 Cl18``; vacancies are left out."""
    parts = []
    for species in sort_species(amounts):
        amount = round(float(amounts[species]), digits)
        if species != VACANCY and amount > 0.0:
            parts.append(f"{species}{'' if amount == 1.0 else format(amount, f'.{digits + 3}g')}")
    return " ".join(parts)


def reduced_formula(amounts: Mapping[str, float], *, tolerance: float = 0.02) -> str:
    """Write the smallest integer formula, such as ``Li3YCl6``.

    Parameters
    ----------
    amounts
        Amount of each species, in any common unit (per cell, per formula unit); vacancies are left out.
    tolerance
        How far from an integer an amount may be (refined occupancies seldom add up exactly). If any is farther
        off, decimal amounts are written instead of wrong integers.

    Returns
    -------
    str
        The formula without blanks.
    """
    present = {s: float(a) for s, a in amounts.items() if s != VACANCY and a > 1e-9}
    whole = {s: round(a) for s, a in present.items()}
    if not present or any(abs(present[s] - n) > tolerance or n == 0 for s, n in whole.items()):
        return amounts_text(present).replace(" ", "")
    divisor = gcd(*whole.values())
    return "".join(f"{s}{whole[s] // divisor if whole[s] != divisor else ''}" for s in sort_species(whole))


def parse_formula(formula: str, *, where: str | None = None) -> dict[str, Fraction]:
    """Read a formula with whole or decimal amounts and brackets.

    Parameters
    ----------
    formula
        For instance "Li3YCl6", "YLi3Cl6", "Li3In0.5Y0.5Br3Cl3", "Na3Zr2(SiO4)2PO4" or "Li₃YCl₆".
    where
        The owner of the formula, for the error message.

    Returns
    -------
    dict
        Element → amount, exact, in order of first appearance, as written (not reduced).

    Raises
    ------
    CompositionError
        If the text is not a formula, or holds no atoms.

    Examples
    --------
    >>> {element: str(amount) for element, amount in parse_formula("Li3In0.5Y0.5Br6").items()}
    {'Li': '3', 'In': '1/2', 'Y': '1/2', 'Br': '6'}
    """
    text = "".join(formula.split()).translate(_SUBSCRIPTS)
    # Each level holds the parts read so far; an amount multiplies the part before it.
    levels: list[list[dict[str, Fraction]]] = [[]]
    position, may_multiply = 0, False
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise _not_a_formula(formula, where, f"{text[position]!r} makes no sense there")
        if token["element"]:
            levels[-1].append({token["element"]: Fraction(1)})
        elif token["open"]:
            levels.append([])
        elif token["close"]:
            if len(levels) == 1:
                raise _not_a_formula(formula, where, "a bracket is closed that was not opened")
            inner = levels.pop()
            levels[-1].append(_add(inner))
        elif may_multiply:
            factor = Fraction(token["amount"])
            levels[-1][-1] = {element: amount * factor for element, amount in levels[-1][-1].items()}
        else:
            raise _not_a_formula(formula, where, f"{token['amount']!r} follows no element")
        may_multiply = bool(token["element"] or token["close"])
        position = token.end()
    if len(levels) > 1:
        raise _not_a_formula(formula, where, "a bracket is not closed")
    composition = {element: amount for element, amount in _add(levels[0]).items() if amount != 0}
    if not composition:
        raise _not_a_formula(formula, where, "it holds no atoms")
    return composition


@lru_cache(maxsize=4096)
def normal_formula(formula: str) -> str:
    """Return the formula in smallest whole numbers with elements in alphabetical order: equal for equal compositions.

    Raises
    ------
    CompositionError
        If the text is not a formula.

    Examples
    --------
    >>> normal_formula("YLi3Cl6") == normal_formula("Li9Y3Cl18") == "Cl6Li3Y"
    True
    """
    composition = parse_formula(formula)
    scale = lcm(*(amount.denominator for amount in composition.values()))
    whole = {element: int(amount * scale) for element, amount in composition.items()}
    divisor = gcd(*whole.values())
    return "".join(
        element + (str(whole[element] // divisor) if whole[element] != divisor else "") for element in sorted(whole)
    )


def _add(parts: list[dict[str, Fraction]]) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for part in parts:
        for element, amount in part.items():
            total[element] = total.get(element, Fraction(0)) + amount
    return total


def _not_a_formula(formula: str, where: str | None, why: str) -> CompositionError:
    return CompositionError(
        f"{formula[:100]!r} cannot be read as a chemical formula: {why}",
        where=where,
        fix="write it like Li3YCl6 or Li3In0.5Y0.5Br6",
    )
