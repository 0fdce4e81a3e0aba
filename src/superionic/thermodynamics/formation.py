"""Computed phases and their formation energies.

Sources: paper A (Deng et al. 2025, doi:10.1039/d5ta05321h), Figs. 2c, 3b and 4b, for formation energies against the end
members of a pseudo-binary or pseudo-ternary system; paper B (Böhm and Champagne 2025, arXiv:2510.09861), sec. 5.4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isfinite
from typing import Literal

from superionic.conventions import difference
from superionic.errors import CompositionError, PotentialError
from superionic.thermodynamics.composition import (
    Amount,
    atoms_in,
    exact_composition,
    reduced_composition,
    reduced_formula,
)

FormulaUnit = Literal["end-members", "reduced"]
"""The meaning of one formula unit, for entries that do not state how many their cell has.

``"end-members"``: the cell is Σ n_j formula units, n_j those of the end members that compose it, so that every
composition of Li3InxY1−xBr6yCl6−6y counts in units of one Li3MX6, whatever its reduced formula (paper A: its cell of
20 atoms "comprises two formula units" at all of them).
``"reduced"``: one reduced formula of the entry (Li12InY3Br24 at x = 1/4, four times as many atoms); for compounds
against simple phases, where Li3YCl6 is one unit and not the four of 3 LiCl + YCl3.
"""


def formula_units(
    composition: Mapping[str, Amount],
    unit: Mapping[str, Amount],
    *,
    replacements: Iterable[tuple[str, str]] = (),
    mobile_ion: str | None = None,
) -> Fraction | None:
    """Count the formula units of a cell along a solid solution.

    Elements that replace one another are counted as one, since they share their sites; the mobile ion is not counted,
    since its amount follows the charge or the refinement. The rest is the framework, and a cell with n times the
    framework of the formula unit holds n of them: Na4Zr2Si3O12 (21 atoms) is one unit of Na1+xZr2SixP3−xO12 as is
    NaZr2P3O12 (18 atoms). Paper A counts E_hull of its solid solutions in these units.

    Parameters
    ----------
    composition
        Element → atoms in the cell.
    unit
        Element → atoms in the formula unit, at any composition of the solid solution.
    replacements
        Pairs of elements that replace each other along the composition axes.
    mobile_ion
        Symbol of the mobile ion; None where all elements count.

    Returns
    -------
    Fraction or None
        Formula units in the cell; None where the cell does not have the framework of the unit, for instance a phase
        outside the solid solution.
    """
    cell, one = exact_composition(composition), exact_composition(unit)
    sharing = {element: frozenset({element}) for element in {*cell, *one}}
    for replaced, by in replacements:
        together = sharing.get(replaced, frozenset({replaced})) | sharing.get(by, frozenset({by}))
        sharing |= dict.fromkeys(together, together)
    ratios = set()
    for elements in set(sharing.values()) - {frozenset({mobile_ion})}:
        in_cell, in_unit = (
            sum((amounts.get(element, Fraction(0)) for element in elements), Fraction(0)) for amounts in (cell, one)
        )
        if in_cell == in_unit == 0:
            continue  # neither of them holds these elements
        if in_cell == 0 or in_unit == 0:
            return None
        ratios.add(in_cell / in_unit)
    return ratios.pop() if len(ratios) == 1 else None


@dataclass(frozen=True)
class Entry:
    """One computed structure: its composition, its energy, and the convention of that energy.

    Parameters
    ----------
    name
        Name of the entry in results; unique within a call.
    composition
        Element → number of atoms in the cell.
    energy_eV
        Energy of the cell in eV.
    energy_convention
        Zero and corrections of the energy (`PotentialIdentity.energy_convention`).
    crystal
        The parent crystal or polymorph, for instance "P-3m1".
    formula_units
        Number of formula units in the cell if it is to be fixed; None to derive it.

    Raises
    ------
    CompositionError
        If the composition is empty or holds amounts that are not whole and positive.
    PotentialError
        If the energy is not finite: leave failed calculations out, and count them, beforehand.
    """

    name: str
    composition: Mapping[str, int]
    energy_eV: float
    energy_convention: str
    crystal: str = ""
    formula_units: int | Fraction | None = None

    def __post_init__(self) -> None:
        where = f"entry {self.name!r}"
        exact = exact_composition(self.composition, where=where)
        if any(amount.denominator != 1 for amount in exact.values()):
            raise CompositionError(
                f"The cell holds a fraction of an atom: {dict(self.composition)}",
                where=where,
                fix="give the whole numbers of atoms in the cell",
            )
        if not isfinite(self.energy_eV):
            raise PotentialError(
                f"The energy is {self.energy_eV}", where=where, fix="leave failed calculations out of the hull"
            )
        if self.formula_units is not None and self.formula_units <= 0:
            raise CompositionError(
                f"The cell has {self.formula_units} formula units", where=where, fix="give a positive number"
            )
        object.__setattr__(self, "composition", {element: int(amount) for element, amount in exact.items()})
        object.__setattr__(self, "energy_eV", float(self.energy_eV))

    @property
    def n_atoms(self) -> int:
        """Number of atoms in the cell."""
        return sum(self.composition.values())

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return reduced_formula(self.composition)

    @property
    def energy_eV_per_atom(self) -> float:
        """Energy per atom in eV."""
        return self.energy_eV / self.n_atoms


def require_one_convention(entries: Sequence[Entry]) -> str:
    """Return the one energy convention of the entries.

    Raises
    ------
    PotentialError
        If there are several: energies with Materials Project corrections and raw PBE energies, for instance, differ by
        a tenth of an eV per anion and more, and a hull of both is meaningless.
    """
    if not entries:
        raise CompositionError("There are no entries", fix="give at least one computed structure")
    by_convention: dict[str, str] = {}
    for entry in entries:
        by_convention.setdefault(entry.energy_convention, entry.name)
    if len(by_convention) > 1:
        shown = "; ".join(f"{name!r} is {convention!r}" for convention, name in by_convention.items())
        first, second, *_ = by_convention
        raise PotentialError(
            f"Energies of {len(by_convention)} conventions cannot be put on one hull: {shown}"
            f" ({difference(first, second)})",
            fix="compute all entries with one potential, or with potentials of one energy convention",
        )
    return next(iter(by_convention))


def require_unique_names(entries: Sequence[Entry]) -> None:
    """Raise CompositionError if two entries have the same name: a decomposition could not tell them apart."""
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise CompositionError(f"Two entries are called {entry.name!r}", fix="give each entry a name of its own")
        names.add(entry.name)


def lowest_by_composition(entries: Sequence[Entry]) -> dict[tuple[tuple[str, int], ...], int]:
    """Return, per reduced composition, the index of the entry of lowest energy per atom (the first in a tie)."""
    lowest: dict[tuple[tuple[str, int], ...], int] = {}
    for i, entry in enumerate(entries):
        key = tuple(reduced_composition(entry.composition).items())
        if key not in lowest or exact_energy_per_atom(entry) < exact_energy_per_atom(entries[lowest[key]]):
            lowest[key] = i
    return lowest


def exact_energy_per_atom(entry: Entry) -> Fraction:
    """Return the energy per atom as an exact fraction, so that supercells of one structure compare without rounding."""
    return Fraction(entry.energy_eV) / entry.n_atoms


def resolve_formula_units(
    entry: Entry, amounts: Sequence[Fraction], members: Sequence[Mapping[str, Amount]], formula_unit: FormulaUnit
) -> Fraction:
    """Return the number of formula units in the cell of an entry.

    Where an end member is a pure element, "end-members" would count atoms; the reduced formula is used then.
    """
    if entry.formula_units is not None:
        return Fraction(entry.formula_units)
    if formula_unit == "end-members" and all(len(exact_composition(member)) > 1 for member in members):
        return sum(amounts, Fraction(0))
    return entry.n_atoms / atoms_in(reduced_composition(entry.composition))
