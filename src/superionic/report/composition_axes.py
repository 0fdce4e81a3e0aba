"""Compositions in terms of the user's axes: values, formulas per formula unit, and labels in figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Final

from superionic.references import parse_formula
from superionic.report.words import formula_text
from superionic.results.campaign import AxisSummary, Results
from superionic.results.identity import Material, Ordering, ReferencePhase
from superionic.thermodynamics.composition import exact_amount
from superionic.thermodynamics.formation import formula_units

Point = tuple[float, ...]
"""Values on the axes, in order."""

_SUBSCRIPTS: Final = str.maketrans("0123456789+-x", "₀₁₂₃₄₅₆₇₈₉₊₋ₓ")


def amounts_per_unit(results: Results, formula: str) -> dict[str, Fraction] | None:
    """Return a composition per formula unit of the composition axes; None if it is not on the axes."""
    if not results.axes:
        return None
    composition = parse_formula(formula)
    units = formula_units(
        composition,
        parse_formula(results.axes[0].formula_unit),
        replacements=[pair for axis in results.axes for pair in axis.replacements],
        mobile_ion=results.mobile_ion,
    )
    if units is None:
        return None
    return {element: exact_amount(amount) / units for element, amount in composition.items()}


def unit_formula(results: Results, formula: str) -> str:
    """Write a composition per formula unit of the axes: ``Li₃In₀.₅Y₀.₅Cl₆`` for ``Li6InYCl12``."""
    amounts = amounts_per_unit(results, formula)
    if amounts is None:
        return formula_text(formula)
    return formula_text("".join(_part(element, amount) for element, amount in amounts.items()))


def _order(results: Results, amounts: Mapping[str, Fraction]) -> list[str]:
    """Return the elements in the order of the formula unit, each substituting element after the one it replaces."""
    order = list(parse_formula(results.axes[0].formula_unit))
    for axis in results.axes:
        for replaced, by in axis.replacements:
            if by not in order:
                order.insert(order.index(replaced) + 1 if replaced in order else len(order), by)
    return [element for element in [*order, *sorted(set(amounts) - set(order))] if element in amounts]


def _part(element: str, amount: Fraction) -> str:
    return element if amount == 1 else f"{element}{float(amount):.4g}"


def varying_axes(results: Results, points: Iterable[Point]) -> tuple[int, ...]:
    """Return the numbers of the axes on which points differ."""
    distinct = set(points)
    return tuple(number for number, _ in enumerate(results.axes) if len({point[number] for point in distinct}) > 1)


def line_words(results: Results, number: int, formulas: Mapping[float, str]) -> str:
    """Return the label of a composition line, such as ``x in Li₃YCl₆₋ₓBrₓ``.

    Parameters
    ----------
    results
        Results of a campaign with axes.
    number
        Number of the axis that varies.
    formulas
        Formula at each value of that axis.
    """
    axis = results.axes[number]
    plain = f"{axis.axis} in each {formula_text(axis.formula_unit)}"
    amounts = {x: amounts_per_unit(results, formula) for x, formula in formulas.items()}
    known = [(exact_amount(x), amounts_here) for x, amounts_here in sorted(amounts.items()) if amounts_here is not None]
    if len(known) < 2 or len(known) < len(formulas):
        return plain
    (first, start), (last, end) = known[0], known[-1]
    elements = _order(
        results, dict.fromkeys({element for _, amounts_here in known for element in amounts_here}, Fraction(1))
    )
    words = ""
    for element in elements:
        slope = (end.get(element, Fraction(0)) - start.get(element, Fraction(0))) / (last - first)
        at_zero = start.get(element, Fraction(0)) - slope * first
        # A cell that rounds the amount of an element is on no straight line.
        if any(amounts_here.get(element, Fraction(0)) != at_zero + slope * x for x, amounts_here in known):
            return plain
        words += element + _linear(at_zero, slope)
    return f"x in {words}"


def _linear(constant: Fraction, slope: Fraction) -> str:
    """Write the subscript ``6−x``."""
    if slope == 0:
        return "" if constant == 1 else f"{float(constant):.4g}".translate(_SUBSCRIPTS)
    factor = "" if abs(slope) == 1 else f"{float(abs(slope)):.4g}"
    sign = "-" if slope < 0 else "+" if constant else ""
    return f"{f'{float(constant):.4g}' if constant else ''}{sign}{factor}x".translate(_SUBSCRIPTS)


def axis_column(axis: AxisSummary) -> str:
    """Name the column of a file that holds the values of an axis."""
    return f"{axis.axis}_per_{axis.formula_unit}"


def axis_values(results: Results, material: Material) -> tuple[float | None, ...]:
    """Return the value of a material on each axis of the campaign; None for a reference."""
    values = {value.axis: value.value for value in material.point}
    return tuple(values.get(axis.axis) for axis in results.axes)


def material_columns(results: Results) -> tuple[str, ...]:
    """Name the columns of a file that say which material a row is of."""
    return ("crystal", *(axis_column(axis) for axis in results.axes))


def material_cells(results: Results, material: Material) -> tuple[str | float | None, ...]:
    """Return what stands in these columns."""
    return (material.crystal, *axis_values(results, material))


def ordering_cells(results: Results, ordering: Ordering) -> tuple[str | float | None, ...]:
    """Return material and ordering, for the columns of the material and one more."""
    return (*material_cells(results, ordering.material), ordering.id)


def place_on_axes(identity: Ordering | ReferencePhase) -> Point | None:
    """Return the values of an ordering on the axes; None for a reference, and without axes."""
    if isinstance(identity, ReferencePhase) or not identity.material.point:
        return None
    return tuple(value.value for value in identity.material.point)
