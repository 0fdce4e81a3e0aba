"""Chemical formulas, normalised so that the order of elements and the size of the formula unit do not matter."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache, reduce
from math import gcd, lcm

from superionic.errors import CompositionError

_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_TOKEN = re.compile(r"(?P<element>[A-Z][a-z]?)|(?P<open>[(\[])|(?P<close>[)\]])|(?P<amount>\d+(?:\.\d+)?|\.\d+)")


def parse_formula(formula: str) -> dict[str, Fraction]:
    """Read a formula with whole or decimal amounts and brackets.

    Parameters
    ----------
    formula
        For instance "Li3YCl6", "YLi3Cl6", "Li3In0.5Y0.5Br3Cl3", "Na3Zr2(SiO4)2PO4" or "Li₃YCl₆".

    Returns
    -------
    dict
        Element → amount, exact, in order of first appearance, as written (not reduced).

    Raises
    ------
    CompositionError
        If the text is no formula, or amounts to no atoms.

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
            raise _not_a_formula(formula, f"{text[position]!r} makes no sense there")
        if token["element"]:
            levels[-1].append({token["element"]: Fraction(1)})
        elif token["open"]:
            levels.append([])
        elif token["close"]:
            if len(levels) == 1:
                raise _not_a_formula(formula, "a bracket is closed that was not opened")
            inner = levels.pop()
            levels[-1].append(_add(inner))
        elif may_multiply:
            factor = Fraction(token["amount"])
            levels[-1][-1] = {element: amount * factor for element, amount in levels[-1][-1].items()}
        else:
            raise _not_a_formula(formula, f"{token['amount']!r} follows no element")
        may_multiply = bool(token["element"] or token["close"])
        position = token.end()
    if len(levels) > 1:
        raise _not_a_formula(formula, "a bracket is not closed")
    composition = {element: amount for element, amount in _add(levels[0]).items() if amount != 0}
    if not composition:
        raise _not_a_formula(formula, "it holds no atoms")
    return composition


@lru_cache(maxsize=4096)
def normal_formula(formula: str) -> str:
    """Return the formula in smallest whole numbers with elements in alphabetical order: equal for equal compositions.

    Raises
    ------
    CompositionError
        If the text is no formula.

    Examples
    --------
    >>> normal_formula("YLi3Cl6") == normal_formula("Li9Y3Cl18") == "Cl6Li3Y"
    True
    """
    composition = parse_formula(formula)
    scale = lcm(*(amount.denominator for amount in composition.values()))
    whole = {element: int(amount * scale) for element, amount in composition.items()}
    divisor = reduce(gcd, whole.values())
    return "".join(
        element + (str(whole[element] // divisor) if whole[element] != divisor else "") for element in sorted(whole)
    )


def _add(parts: list[dict[str, Fraction]]) -> dict[str, Fraction]:
    total: dict[str, Fraction] = {}
    for part in parts:
        for element, amount in part.items():
            total[element] = total.get(element, Fraction(0)) + amount
    return total


def _not_a_formula(formula: str, why: str) -> CompositionError:
    return CompositionError(
        f"{formula!r} cannot be read as a chemical formula: {why}", fix="write it like Li3YCl6 or Li3In0.5Y0.5Br6"
    )
