"""Integer compositions of a supercell that are charge-neutral and nearest to the refined occupancies.

Refined occupancies seldom give whole atoms. The integer problem is: choose for each group of sites how many of each
species (and how many vacancies) sit on it, so that the cell is neutral, as near to the refinement as possible.

The distance ("deviation") of count vectors c from occupancies o is the root mean square over the disordered sites of
the difference in occupancy, vacancies included:

    deviation² = Σ_g n_g Σ_s (c_gs / n_g − o_gs)² / Σ_g n_g

which is additive over the groups. So the nearest L compositions are found exactly by dynamic programming over the
groups that keeps the best L partial sums for each value of what couples the groups (total charge, fixed totals).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from types import MappingProxyType
from typing import Any, Literal

from superionic.errors import CompositionError
from superionic.structures.disordered import DisorderedCrystal, Site, Sublattice, check_occupancies
from superionic.structures.formulas import VACANCY, reduced_formula, sort_species, species_key
from superionic.structures.supercells import Supercell

Coupling = Literal["per-orbit", "coupled"]

_SEARCH_MULTIPLICITY = 24


@dataclass(frozen=True)
class IntegerComposition:
    """How many atoms of each species sit on each group of sites of a supercell.

    Parameters
    ----------
    counts
        For each group the number of sites of each species, ``"X"`` the vacant ones; in the order of formulas.
    groups
        For each group the indices of its sites in the supercell (see
        :func:`superionic.structures.supercells.supercell_sites`); all sites are in exactly one group.
    deviation
        Root-mean-square difference in occupancy from the refinement, over the disordered sites; 0 is exact.
    formula
        Reduced formula, such as ``Li3YCl6``.
    names
        For each group the names of its sublattices, joined by ``+``.
    """

    counts: tuple[Mapping[str, int], ...]
    groups: tuple[tuple[int, ...], ...]
    deviation: float
    formula: str
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        frozen = tuple(
            MappingProxyType({s: int(c[s]) for s in sorted(c, key=species_key) if c[s] > 0}) for c in self.counts
        )
        object.__setattr__(self, "counts", frozen)
        for name, count, group in zip(self.names, frozen, self.groups, strict=True):
            if sum(count.values()) != len(group) or any(v < 0 for v in count.values()):
                raise CompositionError(
                    f"The counts {dict(count)} do not fill the {len(group)} sites of {name}.",
                    fix="Let the counts of a group, vacancies included, sum to the number of its sites.",
                )

    @property
    def totals(self) -> dict[str, int]:
        """Atoms of each species in the supercell, vacancies left out."""
        sums: dict[str, int] = {}
        for counts in self.counts:
            for species, number in counts.items():
                if species != VACANCY:
                    sums[species] = sums.get(species, 0) + number
        return {s: sums[s] for s in sort_species(sums)}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, from which :meth:`from_dict` builds an equal composition."""
        return {
            "counts": [dict(c) for c in self.counts],
            "groups": [list(g) for g in self.groups],
            "deviation": self.deviation,
            "formula": self.formula,
            "names": list(self.names),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IntegerComposition:
        """Build a composition from what :meth:`to_dict` returned."""
        return cls(
            counts=tuple(data["counts"]),
            groups=tuple(tuple(int(i) for i in g) for g in data["groups"]),
            deviation=float(data["deviation"]),
            formula=str(data["formula"]),
            names=tuple(str(n) for n in data["names"]),
        )


@dataclass(frozen=True)
class _Group:
    """Sites that share their counts, in one supercell."""

    name: str
    size: int
    sublattices: tuple[int, ...]
    occupancies: tuple[tuple[str, float], ...]

    @property
    def is_ordered(self) -> bool:
        return len(self.occupancies) == 1


_Candidate = tuple[float, tuple[int, ...]]
_State = tuple[int, ...]


def integer_compositions(
    crystal: DisorderedCrystal,
    supercell: Supercell | str | Sequence[Any],
    oxidation_states: Mapping[str, int | float],
    *,
    coupling: Coupling = "per-orbit",
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    exact_species: Sequence[str] = (),
    max_deviation: float = 0.1,
    limit: int = 20,
) -> list[IntegerComposition]:
    """Find the charge-neutral integer compositions of a supercell that are nearest to the refined occupancies.

    Parameters
    ----------
    crystal
        The parent.
    supercell
        Anything that :meth:`Supercell.parse` reads.
    oxidation_states
        Charge in e of every species of the crystal.
    coupling
        ``"per-orbit"``: every sublattice keeps counts of its own. ``"coupled"``: sublattices with the same set of
        species (vacancies counted as one) share one total, so that atoms may move between them.
    overrides
        Occupancies to be used instead of the refined ones, by name of the sublattice.
    exact_species
        Species whose total must equal the refined (or substituted) total exactly, such as ``("Cl", "Br")`` on a
        composition axis.
    max_deviation
        Largest difference of an occupancy from the refinement, for each species in each group. One atom more or
        fewer is always allowed, as small supercells leave no finer choice.
    limit
        Number of compositions wanted at most.

    Returns
    -------
    list of IntegerComposition
        Sorted by deviation; equal ones (to 1e-9) by their counts.

    Raises
    ------
    CompositionError
        If a species has no oxidation state, or no neutral integer composition exists; the error names the smallest
        supercell (up to 24 parent cells) that has one.
    """
    chosen = Supercell.parse(supercell)
    parent = _with_overrides(crystal, overrides)
    charges = _scaled_charges(parent, oxidation_states)
    if limit < 1:
        raise CompositionError(f"The limit of compositions is {limit}.", fix="Set the limit to 1 or more.")
    groups = _groups(parent, chosen.multiplicity, coupling)
    found, problem = _solve(groups, charges, _targets(groups, exact_species), max_deviation, limit)
    if not found:
        raise _no_composition(
            parent,
            chosen,
            charges=charges,
            coupling=coupling,
            exact_species=exact_species,
            max_deviation=max_deviation,
            problem=problem,
        )
    disordered = sum(g.size for g in groups if not g.is_ordered)
    members = _site_indices(parent, groups, chosen.multiplicity)
    result = []
    for cost, vectors in found:
        counts = tuple(
            {species: n for (species, _), n in zip(group.occupancies, vector, strict=True)}
            for group, vector in zip(groups, vectors, strict=True)
        )
        result.append(
            IntegerComposition(
                counts=counts,
                groups=members,
                deviation=round(math.sqrt(cost / disordered), 6) if disordered else 0.0,
                formula=reduced_formula(_sum_counts(counts)),
                names=tuple(g.name for g in groups),
            )
        )
    return result


def _sum_counts(counts: Sequence[Mapping[str, int]]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for mapping in counts:
        for species, number in mapping.items():
            totals[species] = totals.get(species, 0.0) + number
    return totals


def substitute(
    crystal: DisorderedCrystal, replacements: Mapping[str, Mapping[str, float]], *, name: str | None = None
) -> DisorderedCrystal:
    """Replace species by mixtures on their sites; the symmetry of the parent is kept.

    Parameters
    ----------
    crystal
        The parent.
    replacements
        For each species to be replaced the fractions of what takes its place, such as
        ``{"Cl": {"Cl": 0.5, "Br": 0.5}}`` for half of the chlorine. Fractions must sum to 1; ``"X"`` is vacancy.
    name
        Name of the new crystal; the parent's where not given.

    Raises
    ------
    CompositionError
        If a species is not in the crystal, or fractions do not sum to 1.
    """
    for species, fractions in replacements.items():
        if species not in crystal.species:
            raise CompositionError(
                f"{species} cannot be replaced: the crystal has none.",
                where=crystal.name,
                fix=f"Replace one of: {', '.join(crystal.species)}.",
            )
        if any(not 0.0 <= f <= 1.0 for f in fractions.values()) or abs(sum(fractions.values()) - 1.0) > 1e-9:
            raise CompositionError(
                f"The fractions that replace {species} are {dict(fractions)}; they must lie in 0-1 and sum to 1.",
                where=crystal.name,
                fix="Name the part that stays as well, such as {Cl: {Cl: 0.5, Br: 0.5}}.",
            )

    def mixed(species: Mapping[str, float]) -> dict[str, float]:
        amounts: dict[str, float] = {}
        for old, occupancy in species.items():
            for new, fraction in replacements.get(old, {old: 1.0}).items():
                if new != VACANCY and fraction > 0.0:
                    amounts[new] = amounts.get(new, 0.0) + occupancy * fraction
        return {s: amounts[s] for s in sort_species(amounts)}

    return _replaced(crystal, [mixed(s.species) for s in crystal.sublattices], crystal.name if name is None else name)


def _replaced(crystal: DisorderedCrystal, species: Sequence[Mapping[str, float]], name: str) -> DisorderedCrystal:
    return DisorderedCrystal(
        name=name,
        cell_A=crystal.cell_A,
        sites=tuple(Site(s.label, s.fractional, species[s.orbit], s.orbit, s.wyckoff) for s in crystal.sites),
        sublattices=tuple(
            Sublattice(s.name, s.sites, new, s.wyckoff, s.multiplicity)
            for s, new in zip(crystal.sublattices, species, strict=True)
        ),
        rotations=crystal.rotations,
        translations=crystal.translations,
        spacegroup_number=crystal.spacegroup_number,
        spacegroup_symbol=crystal.spacegroup_symbol,
    )


def _with_overrides(
    crystal: DisorderedCrystal, overrides: Mapping[str, Mapping[str, float]] | None
) -> DisorderedCrystal:
    if not overrides:
        return crystal
    changed = {crystal.sublattice(name).name: dict(occupancies) for name, occupancies in overrides.items()}
    for name, occupancies in changed.items():
        occupancies.pop(VACANCY, None)
        check_occupancies(occupancies, f"{crystal.name}, sublattice {name}")
    species = [{k: v for k, v in changed.get(s.name, dict(s.species)).items() if v > 0.0} for s in crystal.sublattices]
    return _replaced(crystal, [{k: o[k] for k in sort_species(o)} for o in species], crystal.name)


def _scaled_charges(crystal: DisorderedCrystal, oxidation_states: Mapping[str, int | float]) -> dict[str, int]:
    """Oxidation states as integers in a common unit, so that neutrality is exact."""
    missing = [s for s in crystal.species if s not in oxidation_states]
    if missing:
        raise CompositionError(
            f"No oxidation state is given for {', '.join(missing)}.",
            where=crystal.name,
            fix=f"Add it, such as oxidation_states: {{{missing[0]}: 1}}.",
        )
    exact = {s: Fraction(oxidation_states[s]).limit_denominator(60) for s in crystal.species}
    unit = math.lcm(*(f.denominator for f in exact.values()))
    return {VACANCY: 0, **{s: int(f * unit) for s, f in exact.items()}}


def _groups(crystal: DisorderedCrystal, multiplicity: int, coupling: str) -> list[_Group]:
    if coupling not in {"per-orbit", "coupled"}:
        raise CompositionError(f"{coupling!r} is not a coupling.", fix='Use "per-orbit" or "coupled".')
    collected: dict[tuple[Any, ...], list[int]] = {}
    for index, sublattice in enumerate(crystal.sublattices):
        key: tuple[Any, ...] = (index,)
        if coupling == "coupled" and not sublattice.is_ordered:
            key = (-1, tuple(sublattice.species), sublattice.vacancy > 0.0)
        collected.setdefault(key, []).append(index)
    groups = []
    for members in collected.values():
        sites = sum(crystal.sublattices[i].multiplicity for i in members)
        amounts: dict[str, float] = {}
        for i in members:
            sublattice = crystal.sublattices[i]
            total = sum(sublattice.species.values()) + sublattice.vacancy
            parts = {**sublattice.species, **({VACANCY: sublattice.vacancy} if sublattice.vacancy > 0.0 else {})}
            for species, occupancy in parts.items():
                amounts[species] = amounts.get(species, 0.0) + occupancy / total * sublattice.multiplicity / sites
        groups.append(
            _Group(
                name="+".join(crystal.sublattices[i].name for i in members),
                size=sites * multiplicity,
                sublattices=tuple(members),
                occupancies=tuple((s, amounts[s]) for s in sort_species(amounts)),
            )
        )
    return groups


def _site_indices(crystal: DisorderedCrystal, groups: Sequence[_Group], cells: int) -> tuple[tuple[int, ...], ...]:
    return tuple(
        tuple(
            site * cells + copy
            for site in sorted(s for i in group.sublattices for s in crystal.sublattices[i].sites)
            for copy in range(cells)
        )
        for group in groups
    )


def _targets(groups: Sequence[_Group], exact_species: Sequence[str]) -> dict[str, float]:
    """Totals that must be met exactly, as they come from the occupancies (not yet rounded)."""
    known = {s for g in groups for s, _ in g.occupancies}
    return {
        species: sum(o * g.size for g in groups for s, o in g.occupancies if s == species)
        for species in exact_species
        if species in known
    }


def _candidates(group: _Group, max_deviation: float) -> Iterator[_Candidate]:
    """All count vectors of a group within the window around its occupancies, with their cost."""
    means = [o * group.size for _, o in group.occupancies]
    if group.is_ordered:
        yield 0.0, (group.size,)
        return
    window = max(max_deviation * group.size, 1.0) + 1e-9
    ranges = [range(max(0, math.ceil(m - window)), min(group.size, math.floor(m + window)) + 1) for m in means]
    for head in product(*ranges[:-1]):
        last = group.size - sum(head)
        if last in ranges[-1]:
            counts = (*head, last)
            yield sum((c - m) ** 2 for c, m in zip(counts, means, strict=True)) / group.size, counts


def _solve(
    groups: Sequence[_Group],
    charges: Mapping[str, int],
    targets: Mapping[str, float],
    max_deviation: float,
    limit: int,
) -> tuple[list[tuple[float, tuple[tuple[int, ...], ...]]], str]:
    """Keep the best `limit` partial compositions for each total charge (and totals of the exact species)."""
    names = list(targets)
    goal = [round(targets[s]) for s in names]
    for name, total in zip(names, goal, strict=True):
        if abs(targets[name] - total) > 1e-3:
            return [], f"it would hold {targets[name]:.3f} {name} atoms"
    partial: dict[_State, list[tuple[float, tuple[tuple[int, ...], ...]]]] = {(0,) * (1 + len(names)): [(0.0, ())]}
    for group in groups:
        species = [s for s, _ in group.occupancies]
        options: dict[_State, list[_Candidate]] = {}
        for cost, counts in _candidates(group, max_deviation):
            change = (
                sum(charges[s] * c for s, c in zip(species, counts, strict=True)),
                *(sum(c for s, c in zip(species, counts, strict=True) if s == name) for name in names),
            )
            options.setdefault(change, []).append((cost, counts))
        # Completions of a partial sum depend on its state only, so no more than the best `limit` of each can matter.
        best = {change: sorted(found, key=_rank)[:limit] for change, found in sorted(options.items())}
        grown: dict[_State, list[tuple[float, tuple[tuple[int, ...], ...]]]] = {}
        for state, heads in partial.items():
            for change, tails in best.items():
                after = tuple(a + b for a, b in zip(state, change, strict=True))
                if any(t > g for t, g in zip(after[1:], goal, strict=True)):
                    continue
                grown.setdefault(after, []).extend((h[0] + t[0], (*h[1], t[1])) for h in heads for t in tails)
        partial = {state: sorted(found, key=_rank)[:limit] for state, found in grown.items()}
    found = partial.get((0, *goal), [])
    near = [abs(state[0]) for state in partial if list(state[1:]) == goal]
    problem = "no counts near the refined occupancies are neutral" if near else "the totals asked for cannot be met"
    return found, problem


def _rank(candidate: tuple[float, tuple[Any, ...]]) -> tuple[float, tuple[Any, ...]]:
    return (round(candidate[0], 9), candidate[1])


def _no_composition(
    crystal: DisorderedCrystal,
    supercell: Supercell,
    *,
    charges: Mapping[str, int],
    coupling: str,
    exact_species: Sequence[str],
    max_deviation: float,
    problem: str,
) -> CompositionError:
    for cells in range(1, _SEARCH_MULTIPLICITY + 1):
        if cells == supercell.multiplicity:
            continue
        groups = _groups(crystal, cells, coupling)
        targets = _targets(groups, exact_species)
        if _solve(groups, charges, targets, max_deviation, 1)[0]:
            fix = f"Use a supercell of {cells} parent cells, such as {_compact(crystal, cells)}"
            break
    else:
        fix = f"No supercell of up to {_SEARCH_MULTIPLICITY} parent cells fits: check oxidation states and occupancies"
    return CompositionError(
        f"No charge-neutral integer composition fits the supercell {supercell}: {problem}.",
        where=f"{crystal.name} ({crystal.cell_formula} in the parent cell)",
        fix=f"{fix}, or allow a larger max_deviation (now {max_deviation:g}).",
    )


def _compact(crystal: DisorderedCrystal, cells: int) -> Supercell:
    """Return the diagonal supercell of that many parent cells whose edges differ least."""
    lengths = [float(v) for v in (crystal.cell_A**2).sum(axis=1) ** 0.5]
    shapes = [
        (a, b, cells // (a * b))
        for a in range(1, cells + 1)
        if cells % a == 0
        for b in range(1, cells // a + 1)
        if (cells // a) % b == 0
    ]
    best = min(shapes, key=lambda s: (round(max(n * v for n, v in zip(s, lengths, strict=True)), 6), s))
    return Supercell.diagonal(*best)
