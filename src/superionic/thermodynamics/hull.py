"""The convex hull of a pseudo-binary, pseudo-ternary or larger system, and the competition of polymorphs.

The hull is found by linear programming in exact rational arithmetic, so an entry is on it or not without any
tolerance, and nothing depends on the version of a solver. Sources: paper A (Deng et al. 2025,
doi:10.1039/d5ta05321h), Figs. 2c, 3b and 4b; Ong, Wang, Kang and Ceder, Chem. Mater. 20, 1798 (2008), for the
construction; paper B (arXiv:2510.09861), table 3, for polymorphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import CompositionError
from superionic.thermodynamics.composition import (
    Amount,
    end_member_amounts,
    independent,
    reduced_composition,
    reduced_formula,
)
from superionic.thermodynamics.envelope import LowerEnvelope
from superionic.thermodynamics.formation import (
    Entry,
    FormulaUnit,
    exact_energy_per_atom,
    lowest_by_composition,
    require_one_convention,
    require_unique_names,
    resolve_formula_units,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Decomposition:
    """The stable phases into which a composition decomposes.

    Attributes
    ----------
    names
        Entry names of the phases on the hull.
    fractions
        Their molar fractions, in formula units of the end members (they add up to one).
    """

    names: tuple[str, ...]
    fractions: tuple[float, ...]


@dataclass(frozen=True)
class Hull:
    """A convex hull and the energy of each entry relative to it; arrays are read-only and in the order of the entries.

    Attributes
    ----------
    names
        Names of the n entries.
    coordinates
        (n, k) fractions of the k end members, in formula units; each row adds up to one. Where the end members are
        linearly dependent, those of the mixture of lowest energy.
    formation_energies_eV_per_atom, formation_energies_eV_per_formula_unit
        (n,) relative to the end members or, where these are linearly dependent, to their mixture of lowest energy, in
        eV.
    energies_above_hull_eV_per_atom, energies_above_hull_eV_per_formula_unit
        (n,) zero or more, in eV.
    stable
        (n,) whether the entry is on the hull within `stable_within_eV_per_atom`.
    decompositions
        Per entry, the phases of the hull at its composition.
    formula_units
        (n,) formula units in the cell of the entry, to which the values per formula unit refer.
    end_members
        Reduced formulas of the end members.
    end_member_names
        Names of the entries that give each end member its energy.
    energy_convention
        The one convention of all energies.
    stable_within_eV_per_atom
        The tolerance of `stable`.
    """

    names: tuple[str, ...]
    coordinates: FloatArray
    formation_energies_eV_per_atom: FloatArray
    formation_energies_eV_per_formula_unit: FloatArray
    energies_above_hull_eV_per_atom: FloatArray
    energies_above_hull_eV_per_formula_unit: FloatArray
    stable: NDArray[np.bool_]
    decompositions: tuple[Decomposition, ...]
    formula_units: FloatArray
    end_members: tuple[str, ...]
    end_member_names: tuple[str, ...]
    energy_convention: str
    stable_within_eV_per_atom: float


def convex_hull(
    entries: Sequence[Entry],
    end_members: Sequence[Entry | Mapping[str, Amount]],
    *,
    formula_unit: FormulaUnit = "end-members",
    stable_within_eV_per_atom: float = 1e-6,
) -> Hull:
    """Compute the convex hull of entries between end members.

    Parameters
    ----------
    entries
        The n phases; several may share a composition (polymorphs, orderings), of which the lowest enters the hull.
    end_members
        The k corners of the diagram: compositions, whose energy is that of the lowest entry there, or separate entries.
        k = 1 compares structures of one composition, 2 is a pseudo-binary, 3 a pseudo-ternary diagram. They
        may be linearly dependent: the four corners of a reciprocal system, such as Li3(In,Y)(Br,Cl)6, form a square.
    formula_unit
        The formula unit of entries that do not state theirs, see `FormulaUnit`.
    stable_within_eV_per_atom
        Entries no higher than this above the hull count as stable.

    Returns
    -------
    Hull

    Raises
    ------
    PotentialError
        If energy conventions are mixed.
    CompositionError
        If two entries have one name, a composition lies outside the end members, or an end member has no energy.
    """
    convention = require_one_convention([*entries, *(m for m in end_members if isinstance(m, Entry))])
    require_unique_names(entries)
    diagram = _diagram(entries, end_members)
    pool, members, corners, shares = diagram.pool, diagram.members, diagram.corners, diagram.shares
    coordinates, formation = shares, diagram.formation
    if diagram.is_square:
        # So far energies are relative to some of the end members; refer them to the best mixture of all of them.
        mixtures = diagram.envelope(corners)
        best = [_mixture(mixtures, share, entry, members) for share, entry in zip(shares, pool, strict=True)]
        coordinates = [tuple(dict(mixture).get(j, Fraction(0)) for j in range(len(members))) for mixture in best]
        plane = [_level(mixtures, mixture) for mixture in best]
        formation = [energy - level for energy, level in zip(formation, plane, strict=True)]
    candidates = [*corners, *(i for i in lowest_by_composition(pool).values() if i not in corners)]
    envelope = diagram.envelope(candidates)

    n = len(entries)  # the pool has them first
    phases = [_mixture(envelope, share, entry, members) for share, entry in zip(shares[:n], entries, strict=True)]
    above = [energy - _level(envelope, mixture) for energy, mixture in zip(diagram.formation[:n], phases, strict=True)]
    units = [
        resolve_formula_units(entry, parts, members, formula_unit)
        for entry, parts in zip(entries, diagram.amounts[:n], strict=True)
    ]
    per_atom = [total / entry.n_atoms for entry, total in zip(entries, diagram.totals[:n], strict=True)]
    per_unit = [total / unit for total, unit in zip(diagram.totals[:n], units, strict=True)]
    above_per_atom = _array([a * f for a, f in zip(above, per_atom, strict=True)])
    return Hull(
        names=tuple(entry.name for entry in entries),
        coordinates=_array([list(share) for share in coordinates[:n]]),
        formation_energies_eV_per_atom=_array([e * f for e, f in zip(formation[:n], per_atom, strict=True)]),
        formation_energies_eV_per_formula_unit=_array([e * f for e, f in zip(formation[:n], per_unit, strict=True)]),
        energies_above_hull_eV_per_atom=above_per_atom,
        energies_above_hull_eV_per_formula_unit=_array([a * f for a, f in zip(above, per_unit, strict=True)]),
        stable=_frozen(above_per_atom <= stable_within_eV_per_atom),
        decompositions=tuple(
            Decomposition(
                names=tuple(pool[candidates[c]].name for c, _ in mixture),
                fractions=tuple(float(weight) for _, weight in mixture),
            )
            for mixture in phases
        ),
        formula_units=_array(units),
        end_members=tuple(reduced_formula(member) for member in members),
        end_member_names=tuple(pool[i].name for i in corners),
        energy_convention=convention,
        stable_within_eV_per_atom=stable_within_eV_per_atom,
    )


@dataclass(frozen=True)
class _Diagram:
    """The phases of a diagram, in exact fractions of the axes.

    Attributes
    ----------
    pool
        The entries, followed by the end members that are entries of their own.
    members, corners
        Composition of each end member, and the phase of `pool` that stands for it.
    amounts, totals, shares
        For each phase the amounts of the axes, their sum, and their shares in it.
    formation
        For each phase the energy relative to the axes, in eV for each unit of them.
    is_square
        Whether there are more end members than axes, so that some mixtures of them are better than others.
    """

    pool: Sequence[Entry]
    members: Sequence[Mapping[str, int]]
    corners: Sequence[int]
    amounts: Sequence[tuple[Fraction, ...]]
    totals: Sequence[Fraction]
    shares: Sequence[tuple[Fraction, ...]]
    formation: Sequence[Fraction]
    is_square: bool

    def envelope(self, phases: Sequence[int]) -> LowerEnvelope:
        """Return the lower envelope of some phases, of which the first are the corners."""
        return LowerEnvelope([self.shares[i] for i in phases], [self.formation[i] for i in phases], len(self.corners))


def _diagram(entries: Sequence[Entry], end_members: Sequence[Entry | Mapping[str, Amount]]) -> _Diagram:
    pool = [*entries, *(m for m in end_members if isinstance(m, Entry) and m not in entries)]
    members = [reduced_composition(m.composition if isinstance(m, Entry) else m) for m in end_members]
    frame = independent(members)
    axes = [members[i] for i in frame]
    square = len(frame) < len(members)
    if square:
        _require_corners(members, axes)
    amounts = [
        end_member_amounts(entry.composition, axes, where=f"entry {entry.name!r}", inside=not square) for entry in pool
    ]
    totals = [sum(n, Fraction(0)) for n in amounts]
    lowest = lowest_by_composition(pool)
    corners = [_corner(member, lowest) for member in members]

    potentials = [exact_energy_per_atom(pool[corners[i]]) * sum(members[i].values()) for i in frame]
    formation = [
        (Fraction(entry.energy_eV) - _dot(parts, potentials)) / total
        for entry, parts, total in zip(pool, amounts, totals, strict=True)
    ]
    shares = [tuple(n / total for n in parts) for parts, total in zip(amounts, totals, strict=True)]
    return _Diagram(pool, members, corners, amounts, totals, shares, formation, square)


@dataclass(frozen=True)
class PolymorphComparison:
    """The lowest energy of each polymorph at one composition, the most stable first.

    Attributes
    ----------
    formula
        Reduced formula common to the polymorphs.
    crystals, names
        Polymorph and name of its lowest entry; equal energies in order of the crystal's name.
    energies_eV_per_atom
        Energy per atom in eV, ascending.
    """

    formula: str
    crystals: tuple[str, ...]
    names: tuple[str, ...]
    energies_eV_per_atom: tuple[float, ...]


def compare_polymorphs(entries: Sequence[Entry]) -> list[PolymorphComparison]:
    """Compare polymorphs at equal reduced composition (paper B, table 3).

    Parameters
    ----------
    entries
        Computed structures; `Entry.crystal` names the polymorph. The lowest entry per atom of each polymorph counts.

    Returns
    -------
    list of PolymorphComparison
        One per composition, in the order in which compositions first appear, even if there is only one polymorph.

    Raises
    ------
    PotentialError
        If energy conventions are mixed.
    """
    require_one_convention(entries)
    groups: dict[tuple[tuple[str, int], ...], dict[str, Entry]] = {}
    for entry in entries:
        best = groups.setdefault(tuple(reduced_composition(entry.composition).items()), {})
        rival = best.get(entry.crystal)
        if rival is None or exact_energy_per_atom(entry) < exact_energy_per_atom(rival):
            best[entry.crystal] = entry
    comparisons = []
    for best in groups.values():
        ranked = sorted(best.values(), key=lambda entry: (exact_energy_per_atom(entry), entry.crystal))
        comparisons.append(
            PolymorphComparison(
                formula=ranked[0].formula,
                crystals=tuple(entry.crystal for entry in ranked),
                names=tuple(entry.name for entry in ranked),
                energies_eV_per_atom=tuple(entry.energy_eV_per_atom for entry in ranked),
            )
        )
    return comparisons


def _corner(member: Mapping[str, int], lowest: Mapping[tuple[tuple[str, int], ...], int]) -> int:
    """Return the index of the lowest entry at an end member."""
    index = lowest.get(tuple(member.items()))
    if index is None:
        raise CompositionError(
            f"No entry has the composition of the end member {reduced_formula(member)}",
            where="end members of the hull",
            fix="compute that end member too, or give an entry with its energy",
        )
    return index


def _require_corners(members: Sequence[Mapping[str, int]], axes: Sequence[Mapping[str, int]]) -> None:
    """Raise CompositionError if an end member is a mixture of the others, or cannot be counted in units of the axes."""
    amounts = [end_member_amounts(member, axes, inside=False) for member in members]
    names = [reduced_formula(member) for member in members]
    if any(sum(parts) <= 0 for parts in amounts):
        raise CompositionError(
            f"The end members {', '.join(names)} cannot be counted in formula units of {len(axes)} of them",
            fix="choose end members that enclose the compositions",
        )
    shares = [tuple(part / sum(parts) for part in parts) for parts in amounts]
    for j, share in enumerate(shares):
        others = [*shares[:j], *shares[j + 1 :]]
        if LowerEnvelope(others, [Fraction(0)] * len(others), len(others)).mixture(share) is not None:
            raise CompositionError(
                f"The end members {', '.join(names)} are not independent: {names[j]} is a mixture of the others",
                fix="leave the dependent end member out",
            )


def _mixture(
    envelope: LowerEnvelope, share: tuple[Fraction, ...], entry: Entry, members: Sequence[Mapping[str, int]]
) -> list[tuple[int, Fraction]]:
    """Return the phases of the hull at an entry, or raise CompositionError if it lies outside."""
    mixture = envelope.mixture(share)
    if mixture is None:
        raise CompositionError(
            f"{entry.formula} lies outside the range between {', '.join(map(reduced_formula, members))}",
            where=f"entry {entry.name!r}",
            fix="choose end members that enclose it, or leave this composition out of the hull",
        )
    return mixture


def _level(envelope: LowerEnvelope, mixture: Sequence[tuple[int, Fraction]]) -> Fraction:
    """Return the energy of a mixture of points of an envelope."""
    return sum((weight * envelope.energies[c] for c, weight in mixture), Fraction(0))


def _dot(first: Sequence[Fraction], second: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(first, second, strict=True)), Fraction(0))


def _array(values: Sequence[Any]) -> FloatArray:
    return _frozen(np.array(values, dtype=np.float64))


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array
