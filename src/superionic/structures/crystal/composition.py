"""Integer compositions of a supercell that are charge-neutral and nearest to the refined occupancies.

Refined occupancies seldom give whole numbers of atoms. The integer problem is: choose for each group of sites how many
of each species (and how many vacancies) sit on it, so that the cell is neutral and as near to the refinement as
possible.

The distance ("deviation") of count vectors c from occupancies o is the root mean square over the disordered sites of
the difference in occupancy, vacancies included:

    deviation² = Σ_g n_g Σ_s (c_gs / n_g − o_gs)² / Σ_g n_g

which is a weighted square distance: :mod:`.nearest` finds the nearest integer vectors exactly,
under the equations that couple the groups (total charge, fixed totals, bounds on occupied sites).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

from superionic.chemistry import VACANCY, reduced_formula, sort_species, species_key
from superionic.errors import CompositionError
from superionic.structures.crystal.disordered import DisorderedCrystal
from superionic.structures.crystal.equations import (
    MAX_INDEX,
    CompositionRequest,
    Coupling,
    OccupancyBound,
    compact_supercell,
)
from superionic.structures.crystal.occupancies import substitute, with_occupancies
from superionic.structures.crystal.supercells import Supercell, SupercellSites

__all__ = [
    "MAX_DEVIATION",
    "Coupling",
    "IntegerComposition",
    "OccupancyBound",
    "compact_supercell",
    "fitting_indices",
    "integer_compositions",
    "repeated_composition",
    "smallest_index",
    "substitute",
]

MAX_DEVIATION: Final = 0.1
"""Default of the largest difference of an occupancy from the refined one, in campaigns and elsewhere."""


@dataclass(frozen=True)
class IntegerComposition:
    """Numbers of atoms of each species on each group of sites of a supercell.

    Parameters
    ----------
    counts
        For each group the number of sites of each species, ``"X"`` the vacant ones; in the order of formulas.
    groups
        For each group the indices of its sites in the supercell (see
        :func:`superionic.structures.crystal.supercells.supercell_sites`); all sites are in exactly one group.
    deviation
        Root-mean-square difference in occupancy from the refinement, over the disordered sites; 0 is exact.
    formula
        Reduced formula, such as ``Li3YCl6``.
    names
        For each group the names of its sublattices, joined by ``+``.
    lost
        Species of the refinement that vanish entirely, with the number of atoms that the refinement has of each.
    """

    counts: tuple[Mapping[str, int], ...]
    groups: tuple[tuple[int, ...], ...]
    deviation: float
    formula: str
    names: tuple[str, ...]
    lost: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = tuple({s: int(c[s]) for s in sorted(c, key=species_key) if c[s] > 0} for c in self.counts)
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "lost", dict(self.lost))
        for name, count, group in zip(self.names, counts, self.groups, strict=True):
            if sum(count.values()) != len(group) or any(v < 0 for v in count.values()):
                raise CompositionError(
                    f"The counts {count} do not fill the {len(group)} sites of {name}.",
                    fix="Let the counts of a group, vacancies included, sum to the number of its sites.",
                )

    @property
    def loss(self) -> str:
        """The species lost by rounding, in a sentence; empty if none is lost."""
        if not self.lost:
            return ""
        gone = " and ".join(f"{s} (refined: {n:.3g} atoms)" for s, n in self.lost.items())
        return f"nothing is left of {gone}: take a larger supercell or other charges"

    @property
    def totals(self) -> dict[str, int]:
        """Atoms of each species in the supercell, vacancies left out."""
        sums: dict[str, int] = {}
        for counts in self.counts:
            for species, number in counts.items():
                if species != VACANCY:
                    sums[species] = sums.get(species, 0) + number
        return {s: sums[s] for s in sort_species(sums)}


def integer_compositions(
    crystal: DisorderedCrystal,
    supercell: Supercell | str | Sequence[Any],
    oxidation_states: Mapping[str, int | float],
    *,
    coupling: Coupling = "per-orbit",
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    exact_species: Sequence[str] = (),
    exact_totals: Mapping[str, int | float | Fraction] | None = None,
    max_occupied: Sequence[OccupancyBound] = (),
    max_deviation: float | None = MAX_DEVIATION,
    strict: bool = False,
    limit: int = 20,
) -> list[IntegerComposition]:
    """Find the charge-neutral integer compositions of a supercell that are nearest to the refined occupancies.

    Parameters
    ----------
    supercell
        Anything that :meth:`Supercell.parse` reads.
    oxidation_states
        Charge in e of every species of the crystal.
    coupling
        ``"per-orbit"``: every sublattice keeps counts of its own. ``"coupled"``: sublattices with the same set of
        species (vacancies counted as one) share one total, so that atoms may move between them. Lists of names, such
        as ``[["Li1", "Li2"], ["Y2", "Y3"]]``: those sublattices share one total, all others keep their own.
    overrides
        Occupancies to be used instead of the refined ones, by name of the sublattice.
    exact_species
        Species whose total must equal the refined (or substituted) total exactly, such as ``("Cl", "Br")`` on a
        composition axis.
    exact_totals
        Exact numbers of atoms per parent cell, by species; they win over `exact_species`. Fractions are exact: half
        an atom in the parent cell is one in a doubled cell, and fits no other.
    max_occupied
        Bounds on the sites that may be occupied at once (sites that exclude each other).
    max_deviation
        Largest difference of an occupancy from the refinement, for each species in each group. One atom more or
        fewer is always allowed, as small supercells leave no finer choice, unless that would remove a
        species altogether. None: as wide as needed.
    strict
        Not even one atom more or fewer is allowed, and no species may vanish.
    limit
        Largest number of compositions returned.

    Returns
    -------
    list of IntegerComposition
        Sorted by deviation; ties by how near their totals are to the refined ones, then by their counts.

    Raises
    ------
    CompositionError
        If a species has no oxidation state, or no neutral integer composition exists; the error names the smallest
        supercell (up to 24 parent cells) that has one.
    """
    parsed_supercell = Supercell.parse(supercell)
    if limit < 1:
        raise CompositionError(f"The limit of compositions is {limit}.", fix="Set the limit to 1 or more.")
    request = CompositionRequest(
        with_occupancies(crystal, overrides),
        oxidation_states,
        coupling=coupling,
        exact_species=exact_species,
        exact_totals=exact_totals or {},
        max_occupied=max_occupied,
        max_deviation=max_deviation,
        strict=strict,
    )
    cells = parsed_supercell.multiplicity
    solutions, problem = request.solve(cells, limit)
    if not solutions:
        raise request.failure(parsed_supercell, problem)
    groups = request.groups
    disordered = sum(g.size for g in groups if not g.is_ordered) * cells
    members = request.members(cells)
    result = []
    for cost, vectors in solutions:
        counts = tuple(
            {species: n for (species, _), n in zip(group.occupancies, vector, strict=True)}
            for group, vector in zip(groups, vectors, strict=True)
        )
        totals: dict[str, float] = {}
        for species, number in (pair for mapping in counts for pair in mapping.items()):
            totals[species] = totals.get(species, 0.0) + number
        result.append(
            IntegerComposition(
                counts=counts,
                groups=members,
                deviation=round(math.sqrt(cost / disordered), 6) if disordered else 0.0,
                formula=reduced_formula(totals),
                names=tuple(g.name for g in groups),
                lost={s: round(n, 3) for s, n in request.lost(vectors, cells).items()},
            )
        )
    return result


def repeated_composition(
    composition: IntegerComposition, sites: SupercellSites, larger: SupercellSites
) -> IntegerComposition:
    """Return a composition of a supercell in one that is several times as large.

    Parameters
    ----------
    composition, sites
        The composition, and the sites of its supercell.
    larger
        The sites of the larger supercell of the same crystal.
    """
    times = larger.n_sites // sites.n_sites
    orbits = [{sites.orbits[i] for i in group} for group in composition.groups]
    return replace(
        composition,
        counts=tuple({species: times * n for species, n in counts.items()} for counts in composition.counts),
        groups=tuple(tuple(i for i, orbit in enumerate(larger.orbits) if orbit in own) for own in orbits),
    )


def smallest_index(
    crystal: DisorderedCrystal,
    oxidation_states: Mapping[str, int | float],
    *,
    coupling: Coupling = "per-orbit",
    exact_totals: Mapping[str, int | float | Fraction] | None = None,
    max_occupied: Sequence[OccupancyBound] = (),
    max_deviation: float | None = MAX_DEVIATION,
    max_index: int = MAX_INDEX,
) -> int | None:
    """Return the smallest number of parent cells with a neutral integer composition, or None up to `max_index`.

    The parameters are those of :func:`integer_compositions`; only the number of parent cells matters, not their shape.
    """
    request = CompositionRequest(
        crystal,
        oxidation_states,
        coupling=coupling,
        exact_totals=exact_totals or {},
        max_occupied=max_occupied,
        max_deviation=max_deviation,
    )
    return request.smallest_index(max_index)


def fitting_indices(
    crystal: DisorderedCrystal,
    oxidation_states: Mapping[str, int | float],
    *,
    coupling: Coupling = "per-orbit",
    overrides: Mapping[str, Mapping[str, float]] | None = None,
    exact_totals: Mapping[str, int | float | Fraction] | None = None,
    max_deviation: float = MAX_DEVIATION,
    strict: bool = True,
    max_index: int = MAX_INDEX,
) -> list[int]:
    """Return the numbers of parent cells that fit: no species vanishes and no occupancy deviates by more than stated.

    They go from the smallest to three times the smallest, but one that holds the refined occupancies exactly (to 0.02
    atoms) comes first. The parameters are those of :func:`integer_compositions`.
    """
    request = CompositionRequest(
        with_occupancies(crystal, overrides),
        oxidation_states,
        coupling=coupling,
        exact_totals=exact_totals or {},
        max_occupied=(),
        max_deviation=max_deviation,
        strict=strict,
    )
    return request.fitting_indices(max_index)
