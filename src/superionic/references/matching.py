"""Select the published values with which a result of ours may fairly be compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from superionic.chemistry import normal_formula
from superionic.errors import AnalysisError
from superionic.references.compare import Comparison, compare
from superionic.references.published import all_values
from superionic.references.spacegroups import spacegroup_number, spacegroup_symbol
from superionic.references.values import PublishedValue, Quantity

TEMPERATURE_TOLERANCE_K = 5.0
"""Temperatures closer than this count as equal: "room temperature" is 298 K to some and 300 K to others, and
stored as 300 K where a paper says no more. At 300 K and 0.4 eV, 5 K change a conductivity by 0.11 decades, far less
than the scatter between laboratories, and a volume by some 0.05 %."""

PRESSURE_TOLERANCE_GPA = 1.0e-3
"""Pressures closer than this (10 bar) count as equal: they change the volume of these solids (bulk moduli of some
20 GPa and more) by less than 0.01 %. So 1 bar and no pressure are one, and 10 kbar differs from both."""

Potential = Literal["universal", "fine-tuned", "trained", "student", "dft"]
"""A universal potential as published; one fine-tuned on the system; one trained on it from scratch; a student of
another potential; DFT itself."""

# Energies of relaxed structures: at 0 K where no temperature is given.
_STATIC: tuple[Quantity, ...] = ("formation_energy", "energy_above_hull", "energy_above_polymorph")
# Meaningless unless both phases are named.
_BETWEEN_PHASES: tuple[Quantity, ...] = ("energy_above_polymorph", "transition_temperature")

_OURS: dict[Potential, str] = {
    "universal": "a universal potential",
    "fine-tuned": "a fine-tuned potential",
    "trained": "a potential trained from scratch",
    "student": "a student of another potential",
    "dft": "DFT",
}


@dataclass(frozen=True)
class OwnResult:
    """One result of ours, with everything that decides which values it compares with.

    Attributes
    ----------
    quantity
        The quantity, see `superionic.references.values.Quantity`.
    value
        In the unit that `UNITS` has for the quantity.
    formula
        The composition, in any order and multiple.
    potential
        The kind of potential, or DFT, behind it.
    family
        Family of the potential, such as "chgnet" or "mace"; a version may follow. None for DFT.
    error, interval68
        Standard error and 68 % interval in the same unit, None where not known.
    spacegroup
        Number or symbol of the space group of the parent crystal (not of one of its orderings); None if not known.
    temperature_K
        None for energies of relaxed structures (0 K) and for values of no single temperature.
    temperature_range_K
        Temperatures of the fit of an activation energy, or of the structures of a test set.
    pressure_GPa
        Pressure at which the cell was equilibrated or relaxed; None counts as ambient.
    relative_to
        Formulas of the end members of a formation energy or a hull.
    other_spacegroup
        Space group of those phases; or of the polymorph to which `energy_above_polymorph` is relative, or to which a
        transition leads.
    further_formulas
        The other compositions of a test set.
    """

    quantity: Quantity
    value: float
    formula: str
    potential: Potential
    family: str | None = None
    error: float | None = None
    interval68: tuple[float, float] | None = None
    spacegroup: int | str | None = None
    temperature_K: float | None = None
    temperature_range_K: tuple[float, float] | None = None
    pressure_GPa: float | None = None
    relative_to: tuple[str, ...] = ()
    other_spacegroup: int | str | None = None
    further_formulas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """A result of ours compared with a published value.

    Attributes
    ----------
    comparison
        The two values and their difference.
    same_method
        Whether both come from the same kind and family of potential (or both from DFT). Never for measurements.
    within
        For a published limit ("lower" or "upper"), whether ours respects it; None for other values.
    differs
        Differences in the conditions that still allow a comparison, and conditions not stated, one phrase each.
    """

    comparison: Comparison
    same_method: bool
    within: bool | None
    differs: tuple[str, ...]


def matching(own: OwnResult) -> tuple[Match, ...]:
    """Return every published value with which a result may fairly be compared.

    Composition (exactly, or within the published family), quantity, polymorph, temperature, pressure and the phases
    to which an energy is relative must agree. A polymorph that one side does not state, a different kind of potential,
    and temperatures that differ within `TEMPERATURE_TOLERANCE_K` are listed in `differs`.

    Returns
    -------
    tuple of Match
        Measured values first, then those of the same method, then the others; each group in the order of the papers.

    Raises
    ------
    CompositionError
        If a formula cannot be read.
    AnalysisError
        If a space group is not known, the value is not finite, or is not positive where a ratio is formed.
    """
    if not isfinite(own.value):
        raise AnalysisError(f"A {own.quantity} of {own.value} cannot be compared", fix="leave the failed result out")
    matches = [_match(own, value) for value in all_values() if _comparable(own, value)]
    return tuple(sorted(matches, key=_rank))


def temperatures_of(
    formula: str, spacegroup: int | str | None = None, quantity: Quantity = "conductivity"
) -> tuple[float, ...]:
    """Return the temperatures in K, ascending, at which published values of a quantity exist for a phase.

    ``spacegroup`` is that of its parent crystal; None for all polymorphs.
    """
    number = None if spacegroup is None else spacegroup_number(spacegroup)
    temperatures = {
        value.temperature_K
        for value in all_values()
        if value.quantity == quantity
        and value.temperature_K is not None
        and _same_phase(number, value.spacegroup)
        and value.composition.contains(formula)
    }
    return tuple(sorted(temperatures))


def _comparable(own: OwnResult, value: PublishedValue) -> bool:
    return (
        own.quantity == value.quantity
        and all(value.composition.contains(formula) for formula in (own.formula, *own.further_formulas))
        and _same_phase(own.spacegroup, value.spacegroup)
        and _same_reference(own, value)
        and _same_temperature(own, value)
        # No pressure: ambient in an experiment, relaxed or not equilibrated in a calculation.
        and abs((own.pressure_GPa or 0.0) - (value.pressure_GPa or 0.0)) <= PRESSURE_TOLERANCE_GPA
    )


def _same_phase(ours: int | str | None, published: int | None) -> bool:
    return ours is None or published is None or spacegroup_number(ours) == published


def _same_reference(own: OwnResult, value: PublishedValue) -> bool:
    if own.quantity in _BETWEEN_PHASES and (own.spacegroup is None or own.other_spacegroup is None):
        return False
    # Energies relative to other phases are different quantities: the end members must be the same.
    same_ends = not value.relative_to or set(map(normal_formula, own.relative_to)) == set(
        map(normal_formula, value.relative_to)
    )
    return same_ends and _same_phase(own.other_spacegroup, value.other_spacegroup)


def _same_temperature(own: OwnResult, value: PublishedValue) -> bool:
    ours = 0.0 if own.temperature_K is None and own.quantity in _STATIC else own.temperature_K
    if value.temperature_K is not None:
        return ours is not None and abs(ours - value.temperature_K) <= TEMPERATURE_TOLERANCE_K
    if ours is None or value.temperature_range_K is None:
        return True
    low, high = value.temperature_range_K
    return low - TEMPERATURE_TOLERANCE_K <= ours <= high + TEMPERATURE_TOLERANCE_K


def _match(own: OwnResult, value: PublishedValue) -> Match:
    within = None
    if value.bound in ("lower", "upper"):
        within = own.value >= value.value if value.bound == "lower" else own.value <= value.value
    return Match(
        comparison=compare(own.value, value, error=own.error, interval68=own.interval68),
        same_method=_same_method(own, value),
        within=within,
        differs=tuple(_differences(own, value)),
    )


def _rank(match: Match) -> int:
    if match.comparison.published.approach == "measured":
        return 0
    return 1 if match.same_method else 2


def _same_method(own: OwnResult, value: PublishedValue) -> bool:
    if own.potential != value.approach:
        return False
    return value.model is None or _family(own.family).startswith(_family(value.model))


def _family(name: str | None) -> str:
    plain = "".join(character for character in (name or "").casefold() if character.isalnum())
    return plain.replace("7net", "sevennet")


def _differences(own: OwnResult, value: PublishedValue) -> Iterator[str]:
    if value.approach == "measured":
        yield "measured, ours calculated"
    elif not _same_method(own, value):
        published = {"dft": "DFT", "universal": "a universal potential", "fine-tuned": "a fine-tuned potential"}
        yield (
            f"published with {published[value.approach]}{_in_brackets(value.model)}, "
            f"ours with {_OURS[own.potential]}{_in_brackets(own.family)}"
        )
    if value.composition.is_family:
        yield f"published for {value.composition.written}"
    yield from _differences_of_phase(own, value)
    yield from _differences_of_temperature(own, value)
    if value.pressure_GPa is not None and own.pressure_GPa is None:
        yield "our pressure is not stated and was taken as ambient"


def _differences_of_phase(own: OwnResult, value: PublishedValue) -> Iterator[str]:
    pairs = ((own.spacegroup, value.spacegroup, "polymorph"), (own.other_spacegroup, value.other_spacegroup, "ends"))
    for ours, published, what in pairs:
        if published is None and ours is not None and what == "polymorph":
            yield f"no polymorph is published, ours is {spacegroup_symbol(spacegroup_number(ours))}"
        if published is not None and ours is None:
            of = "" if what == "polymorph" else " of the phases that the energy is relative to"
            yield f"published for {spacegroup_symbol(published)}{of}, ours not stated"


def _differences_of_temperature(own: OwnResult, value: PublishedValue) -> Iterator[str]:
    if value.temperature_K is not None and own.temperature_K not in (None, value.temperature_K):
        yield f"published at {value.temperature_K:g} K, ours at {own.temperature_K:g} K"
    if value.temperature_range_K is not None and own.temperature_range_K != value.temperature_range_K:
        low, high = value.temperature_range_K
        ours = "not stated"
        if own.temperature_range_K is not None:
            ours = f"{own.temperature_range_K[0]:g} to {own.temperature_range_K[1]:g} K"
        yield f"published from {low:g} to {high:g} K, ours {ours}"


def _in_brackets(name: str | None) -> str:
    return f" ({name})" if name else ""
