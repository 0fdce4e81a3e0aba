"""The text form of composition axes.

An axis is written as::

    REPLACE:BY:NAME=VALUES[,SPECIES=follows ...][@FORMULA_UNIT]

    Cl:Br:x=3                     3 Br for Cl in each formula unit
    Cl:Br:x=0..6:0.5              x = 0, 0.5, 1, ... 6 (the step is 1 where left out)
    Cl:Br:x=0,1.5,3               these three values
    P:Si:x=2,Na=follows           the amount of Na follows from neutrality, on its own sites (short: P:Si:x=2;Na)
    Y:In:x=0.5  and  Cl:Br:6y=0.5   two axes of a grid: Li3In(x)Y(1-x)Br(6y)Cl(6-6y), so 0.5 In and 3 Br
    P:Ge:x=0..1:0.25  and  S:O:4x   two replacements that share one variable, whose values are given once
    Cl:Br:x=3@Li3YCl6             formula units are counted as Li3YCl6, not as the crystal's reduced formula

The value (times the factor before the name) is the number of atoms of BY in each formula unit. In a crystal that holds
both species on some sites, those *shared* sites are refilled, whatever the mixture there, and the others stay as
they are. In a crystal that holds only one of the two, the sites of that species are filled. Site preferences stay:
where occupancies differ from site to site, all odds BY : REPLACE change by one common factor.
"""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from superionic.chemistry import ELECTRONEGATIVITY, VACANCY, parse_formula
from superionic.errors import CompositionError

_GRAMMAR: Final = 'Write REPLACE:BY:NAME=VALUES, such as "Cl:Br:x=3", "Cl:Br:x=0..6:0.5" or "P:Si:x=2,Na=follows".'
_MAX_VALUES: Final = 1000
_MAX_POINTS: Final = 10_000
_LONGEST: Final = 2000
_NUMBER: Final = r"[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18}"


@dataclass(frozen=True)
class Axis:
    """One composition axis; see the text form at the top of this module.

    Parameters
    ----------
    replace, by
        The species to be replaced, and the one that takes its sites.
    name
        Name of the variable.
    values
        Its values; empty where another axis of the same variable has them.
    follows
        Species whose amounts follow from neutrality, in the order in which they are adjusted.
    formula_unit
        Formula unit in which atoms are counted; that of the crystal if None.
    factor
        Atoms of `by` in a formula unit for a value of 1.
    """

    replace: str
    by: str
    name: str
    values: tuple[float, ...] = ()
    follows: tuple[str, ...] = ()
    formula_unit: str | None = None
    factor: float = 1.0

    def __str__(self) -> str:
        return f"{self.replace}:{self.by}:{'' if self.factor == 1 else format(self.factor, 'g')}{self.name}"


def parse_axis(text: str, *, formula_unit: str | None = None) -> Axis:
    """Read the text form of an axis.

    Parameters
    ----------
    text
        Such as ``"Cl:Br:x=0..6:0.5"``; see the top of this module.
    formula_unit
        Formula unit where the text names none.

    Raises
    ------
    CompositionError
        If the text is not an axis, or a symbol is not an element.
    """
    if len(text) > _LONGEST:
        raise CompositionError(f"The axis has {len(text):,} characters, too many to read.", where="axis", fix=_GRAMMAR)
    where = f"axis {text!r}"
    main, _, unit = text.strip().partition("@")
    parts = main.split(":", 2)
    if len(parts) < 3:
        raise CompositionError(f"{text!r} is not a composition axis.", where=where, fix=_GRAMMAR)
    old, new = (_element(p, where) for p in parts[:2])
    if old == new:
        raise CompositionError(f"{old} is replaced by itself.", where=where, fix="Name two different elements.")
    head, *short = [p.strip() for p in parts[2].split(";")]
    first, *rest = [p.strip() for p in head.split(",")]
    match = re.fullmatch(rf"({_NUMBER})?\s*\*?\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:=\s*(.+))?", first)
    if not match:
        raise CompositionError(f"{first!r} names no variable with values.", where=where, fix=_GRAMMAR)
    factor, name, value = match.groups()
    values = [] if value is None else _values(value, where)
    follows = [_element(s, where) for s in short]
    for part in rest:
        species, sign, word = (p.strip() for p in part.partition("="))
        if sign and word.lower() != "follows":
            close = difflib.get_close_matches(word.lower(), ["follows"], cutoff=0.5)
            hint = f"Did you mean {species}=follows?" if close else _GRAMMAR
            raise CompositionError(f"{part!r} is neither a value nor a species that follows.", where=where, fix=hint)
        if sign:
            follows.append(_element(species, where))
        else:
            values.extend(_values(part, where))
    if any(b <= a for a, b in itertools.pairwise(values)):
        raise CompositionError("The values of an axis must rise.", where=where, fix="Sort them, each once.")
    if len(values) > _MAX_VALUES:
        raise CompositionError(f"The axis has {len(values)} values.", where=where, fix="Take a larger step.")
    unit = unit.strip()
    if unit:
        axis_formula(unit, where)
    if clash := [s for s in follows if s in (old, new)]:
        raise CompositionError(
            f"{clash[0]} is on the axis; its amount cannot follow.", where=where, fix="Let another species follow."
        )
    return Axis(
        replace=old,
        by=new,
        name=name,
        values=tuple(float(v) for v in values),
        follows=tuple(dict.fromkeys(follows)),
        formula_unit=unit or formula_unit,
        factor=1.0 if factor is None else float(factor),
    )


def _values(text: str, where: str) -> list[Fraction]:
    single = re.fullmatch(rf"({_NUMBER})(?:/([0-9]{{1,18}}))?", text.strip())
    if single and single.group(2) != "0":
        return [Fraction(single.group(1)) / Fraction(single.group(2) or 1)]
    span = re.fullmatch(rf"({_NUMBER})\s*\.\.\s*({_NUMBER})(?:\s*:\s*({_NUMBER}))?", text.strip().replace("...", ".."))
    if span is None:
        raise CompositionError(f"{text!r} is neither a value nor a range of values.", where=where, fix=_GRAMMAR)
    start, stop, step = (Fraction(v) for v in (span.group(1), span.group(2), span.group(3) or "1"))
    if step == 0 or stop < start or (stop - start) / step > _MAX_VALUES:
        raise CompositionError(
            f"The range {text} has no values, or more than {_MAX_VALUES}.",
            where=where,
            fix="Write START..STOP:STEP with STOP above START and a positive STEP.",
        )
    return [start + k * step for k in range(int((stop - start) / step) + 1)]


def _element(text: str, where: str) -> str:
    symbol = text.strip()
    if symbol in ELECTRONEGATIVITY:
        return symbol
    same = [e for e in ELECTRONEGATIVITY if e.lower() == symbol.lower()]
    near = same or difflib.get_close_matches(symbol.capitalize(), list(ELECTRONEGATIVITY), n=1)
    if symbol == VACANCY:
        raise CompositionError(
            "A vacancy cannot be an end of an axis.",
            where=where,
            fix="Let a species follow, such as P:Si:x=2,Na=follows, or give occupancies.",
        )
    fix = f"Did you mean {near[0]}?" if near else _GRAMMAR
    raise CompositionError(f"{symbol[:40]!r} is not the symbol of an element.", where=where, fix=fix)


def axis_formula(text: str, where: str) -> dict[str, Fraction]:
    """Read a formula such as ``Li3YCl6``; an error names the place `where`."""
    if len(text) > _LONGEST:
        raise CompositionError(
            f"{text[:100]!r} is not a formula.", where=where, fix="Write symbols and counts, such as Li3YCl6."
        )
    counts = parse_formula(text, where=where)
    for symbol in counts:
        _element(symbol, where)
    return counts


def grid_points(axes: Sequence[Axis]) -> list[dict[str, float]]:
    """Return all points of the grid: every combination of the variables' values, the last varying fastest.

    Raises
    ------
    CompositionError
        If a variable has no values, or two different lists of them, or a species is introduced twice; or if there
        are too many points.
    """
    values: dict[str, tuple[float, ...]] = {}
    introduced: dict[str, Axis] = {}
    for axis in axes:
        if axis.by in introduced:
            raise CompositionError(
                f"{axis.by} is introduced by two axes.", where=f"axis {axis}", fix="Keep one of the two axes."
            )
        introduced[axis.by] = axis
        known = values.get(axis.name, ())
        if axis.values and known and axis.values != known:
            raise CompositionError(
                f"Two axes give {axis.name} different values.",
                where=f"axis {axis}",
                fix="Give the values once, or name the variables differently.",
            )
        values[axis.name] = axis.values or known
    for name, listed in values.items():
        if not listed:
            raise CompositionError(f"{name} has no values.", fix=f"Give them, such as {name}=0..1:0.25.")
    number = math.prod(map(len, values.values()))
    if number > _MAX_POINTS:
        raise CompositionError(
            f"The grid has {number:,} points; at most {_MAX_POINTS:,} are allowed.",
            where=f"axis {axes[0]}",
            fix="Take larger steps, or fewer axes at a time.",
        )
    return [dict(zip(values, point, strict=True)) for point in itertools.product(*values.values())]
