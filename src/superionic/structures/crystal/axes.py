"""Composition axes: replacing one species by another, step by step, on the sites of a disordered crystal.

For the text form of an axis see :mod:`superionic.structures.crystal.axis_text`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import gcd
from typing import Final

from superionic.chemistry import ELECTRONEGATIVITY, amounts_text, sort_species
from superionic.errors import CompositionError
from superionic.structures.crystal.axis_text import Axis, axis_formula, grid_points, parse_axis
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.occupancies import follow_neutrality, redistribute, substitute

__all__ = [
    "Axis",
    "apply_point",
    "formula_unit",
    "grid_points",
    "parse_axis",
    "substitute",
]

_WHOLE: Final = 0.02  # atoms a cell that refined totals may be off an integer


def formula_unit(crystal: DisorderedCrystal, axes: Sequence[Axis] = ()) -> tuple[str, int]:
    """Return the formula unit in which the axes count, and how many of them the parent cell holds.

    It is the reduced formula of the refined composition. The species of an axis count as one, since their ratio
    varies; those that follow are left out for the same reason, where two others remain. So are amounts that are not
    integers, unless they become so together with the species that share their sites (Ti10.2 and Al1.8).

    Returns
    -------
    formula, number per parent cell

    Raises
    ------
    CompositionError
        If too few amounts are integers.
    """
    amounts = crystal.composition
    classes = _joined([[s] for s in amounts] + [[s for s in (a.replace, a.by) if s in amounts] for a in axes])
    off = [c for c in classes if _integer(sum(amounts[s] for s in c)) is None]
    if off:
        sharing = [list(s.species) for s in crystal.sublattices if any(e in c for c in off for e in s.species)]
        classes = _joined([*classes, *sharing])
    follows = {s for a in axes for s in a.follows}
    rest = [c for c in classes if not follows & set(c)]
    whole = [n for n in (_integer(sum(amounts[s] for s in c)) for c in (rest if len(rest) > 1 else classes)) if n]
    if len(whole) < 2 and not (len(amounts) == 1 and whole):
        raise CompositionError(
            f"The formula unit cannot be deduced from {crystal.cell_formula}: too few amounts are integers.",
            where=crystal.name,
            fix="Give the formula unit, such as Cl:Br:x=3@Li3YCl6.",
        )
    number = gcd(*whole)
    return amounts_text({s: n / number for s, n in amounts.items()}).replace(" ", ""), number


def _integer(amount: float) -> int | None:
    return round(amount) if abs(amount - round(amount)) <= _WHOLE and round(amount) > 0 else None


def _joined(sets: Iterable[Iterable[str]]) -> list[tuple[str, ...]]:
    """Join sets that share an element, in the order of their first elements."""
    classes: list[list[str]] = []
    for members in sets:
        new = list(dict.fromkeys(members))
        for other in [c for c in classes if set(c) & set(new)]:
            classes.remove(other)
            new = list(dict.fromkeys([*other, *new]))
        if new:
            classes.append(new)
    return [tuple(c) for c in classes]


def apply_point(
    crystal: DisorderedCrystal,
    axes: Sequence[Axis],
    point: Mapping[str, float],
    oxidation_states: Mapping[str, int | float],
    *,
    balanced: bool = True,
) -> tuple[DisorderedCrystal, dict[str, Fraction]]:
    """Give a crystal the composition of a point of the grid.

    Parameters
    ----------
    crystal
        The parent; it may hold either end of an axis, or a mixture.
    point
        Value of each variable.
    oxidation_states
        Charge in e of every species, those of the axes included.
    balanced
        Refuse a point that changes the charge while no species follows; otherwise the integer compositions restore
        neutrality wherever that is nearest to the refinement.

    Returns
    -------
    crystal, totals
        The crystal with its new occupancies, and the exact amounts per parent cell of the species of the axes, as
        :func:`superionic.structures.crystal.composition.integer_compositions` takes them (`exact_totals`).

    Raises
    ------
    CompositionError
        If a value does not fit the sites, the formula unit is not known, or the charge changes and nothing follows.
    """
    before = crystal.composition
    new = crystal
    exact: dict[str, Fraction] = {}
    for family in _joined([a.replace, a.by] for a in axes):
        members = [a for a in axes if a.by in family]
        totals, fixed = _totals(crystal, axes, members, family, point)
        exact.update(fixed)
        new = _fill(new, family, totals, members, point)
    needed = [s for s in dict.fromkeys([*before, *new.composition]) if s not in oxidation_states]
    if needed:
        raise CompositionError(
            f"No oxidation state is given for {', '.join(needed)}.",
            where=crystal.name,
            fix=f"Add it, such as {needed[0]}={-1 if ELECTRONEGATIVITY.get(needed[0], 2.0) > 2.5 else 1}.",
        )
    followers = list(dict.fromkeys(s for a in axes for s in a.follows))
    for k, follower in enumerate(followers):
        new = follow_neutrality(new, follower, oxidation_states, partly=k < len(followers) - 1)
    if balanced and not followers:
        change = sum(
            float(oxidation_states[s]) * (new.composition.get(s, 0.0) - before.get(s, 0.0))
            for s in sort_species([*before, *new.composition])
        )
        if abs(change) > 1e-6 * sum(before.values()):
            mobile = next((s for s in before if oxidation_states[s] == 1 and s not in exact), "Li")
            raise CompositionError(
                f"{_point_text(point)} changes the charge of the parent cell by {change:+.4g} e, and nothing follows.",
                where=f"axis {axes[0]}",
                fix=f'Name the species that follows, such as "{axes[0]}={point[axes[0].name]:g},{mobile}=follows".',
            )
    return new, exact


def _totals(
    crystal: DisorderedCrystal,
    axes: Sequence[Axis],
    members: Sequence[Axis],
    family: tuple[str, ...],
    point: Mapping[str, float],
) -> tuple[dict[str, float], dict[str, Fraction]]:
    """Return the amounts per parent cell of species that replace each other: all of them, and those that are exact."""
    bases = [s for s in family if s not in {a.by for a in members}]
    if len(bases) != 1:
        raise CompositionError(
            f"The axes {', '.join(map(str, members))} replace {' and '.join(family)} in a circle or from two ends.",
            where=f"axis {members[0]}",
            fix="Let all axes of these species replace the same one.",
        )
    amounts = crystal.composition
    present = sum(amounts.get(s, 0.0) for s in family)
    if present == 0.0:
        known = difflib.get_close_matches(bases[0], list(amounts), n=1, cutoff=0.5)
        raise CompositionError(
            f"The crystal holds none of {', '.join(family)}.",
            where=f"axis {members[0]}",
            fix=f"Did you mean {known[0]}?" if known else f"Replace one of: {', '.join(amounts)}.",
        )
    whole = _integer(present)
    exact: dict[str, Fraction] = {}
    for axis in members:
        number = _units(crystal, axes, axis, family, Fraction(whole) if whole else Fraction(present))
        value = Fraction(point[axis.name]).limit_denominator(5040) * Fraction(axis.factor).limit_denominator(5040)
        exact[axis.by] = value * number
    totals = {s: float(n) for s, n in exact.items()}
    totals[bases[0]] = present - sum(totals.values())
    if whole:
        exact[bases[0]] = max(Fraction(0), whole - sum(exact.values(), Fraction(0)))
    return totals, exact


def _units(
    crystal: DisorderedCrystal, axes: Sequence[Axis], axis: Axis, family: tuple[str, ...], present: Fraction
) -> Fraction:
    """Return the number of formula units in the parent cell."""
    if axis.formula_unit is None:
        return Fraction(formula_unit(crystal, axes)[1])
    unit = axis_formula(axis.formula_unit, f"axis {axis}")
    sites = sum((unit.get(s, Fraction(0)) for s in family), Fraction(0))
    if sites == 0:
        raise CompositionError(
            f"The formula unit {axis.formula_unit} has no {' or '.join(family)}.",
            where=f"axis {axis}",
            fix=f"Give one that has, such as {crystal.formula}.",
        )
    number = present / sites
    near = round(number)
    return Fraction(near) if near and abs(number / near - 1) < 0.005 else number.limit_denominator(1000)


def _fill(
    crystal: DisorderedCrystal,
    family: tuple[str, ...],
    totals: Mapping[str, float],
    members: Sequence[Axis],
    point: Mapping[str, float],
) -> DisorderedCrystal:
    """Redistribute a family over the sites that its species share, or over all its sites if they share none."""
    holding = [(i, [e for e in family if e in s.species]) for i, s in enumerate(crystal.sublattices)]
    shared = [i for i, present in holding if len(present) > 1]
    filled = shared or [i for i, present in holding if present]
    outside = {
        e: sum(s.species.get(e, 0.0) * s.multiplicity for i, s in enumerate(crystal.sublattices) if i not in filled)
        for e in family
    }
    targets = {e: totals[e] - outside[e] for e in family}
    slack = _WHOLE + 1e-6
    if min(targets.values()) < -slack:
        axis = members[0]
        most = sum(targets.values())
        per = totals[axis.by] / (point[axis.name] * axis.factor) if point[axis.name] else 1.0
        names = ", ".join(crystal.sublattices[i].name for i in filled)
        low = outside[axis.by] / per
        raise CompositionError(
            f"{_point_text(point)} does not fit on the sites of {' and '.join(family)} ({names}).",
            where=f"axis {axis}",
            fix=f"These sites take {low:.4g} to {low + most / per:.4g} {axis.by} per formula unit"
            + (" together." if len(members) > 1 else "."),
        )
    return redistribute(crystal, targets, filled)


def _point_text(point: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in point.items())
