"""Sites that are too close to be occupied together, and the bounds that they set on the counts.

Refinements split one atom over several close sites, and let sites overlap that are never occupied at once. Two sites
closer than a stated distance are in *contact*. Ions of opposite charge may be bonded, and bonds to hydrogen are the
shortest (O–H 0.96 Å), so smaller fractions of the distance apply to them. Two hydrogens are never nearer than in
water (1.5 Å; 1.3 Å as X-rays see it): those on the two sides of one O–H···O bond, 0.4 to 1.1 Å apart, exclude each
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from superionic.chemistry import VACANCY
from superionic.errors import CompositionError
from superionic.structures.crystal.composition import OccupancyBound
from superionic.structures.crystal.disordered import LEAST_OCCUPANCY, DisorderedCrystal, close_pairs
from superionic.structures.crystal.supercells import SupercellSites
from superionic.structures.crystal.symmetry import FloatArray, IntArray

OPPOSITE_CHARGES = 2.0 / 3.0
"""Fraction of the stated distance that applies between ions of opposite charge."""

HYDROGEN = 0.4
"""Fraction that applies between a site with hydrogen and one without."""

TWO_HYDROGENS = 5.0 / 6.0
"""Fraction that applies between two sites with hydrogen."""

_ROUNDING_A = 1e-6
_MAX_CLIQUES = 20_000


@dataclass(frozen=True, eq=False)
class Contacts:
    """Sites that are too close.

    Parameters
    ----------
    exclusive
        (n, 2) pairs of sites i < j, both of which may be vacant, that must not both be occupied.
    blocked
        (m,) sites that must be vacant, being too close to an always occupied site or to their own periodic image.
    unavoidable
        (k, 2) pairs of sites that are both always occupied.
    """

    exclusive: IntArray
    blocked: IntArray
    unavoidable: IntArray


def find_contacts(
    cell_A: FloatArray,
    fractional: FloatArray,
    holds: Sequence[tuple[str, ...]],
    min_distance_A: float | None,
    oxidation_states: Mapping[str, float],
    alternatives: IntArray,
) -> Contacts:
    """Find the sites that are closer than a distance, or that are alternatives.

    Parameters
    ----------
    cell_A, fractional
        (3, 3) in Å and (n, 3).
    holds
        The species that each site may hold, ``"X"`` for a vacancy.
    min_distance_A
        The distance; None: there are no contacts.
    oxidation_states
        Charges in e, to identify ions of opposite sign; species without one count as alike.
    alternatives
        (n, 2) pairs of sites of which at most one is occupied, whatever their distance.

    Raises
    ------
    CompositionError
        If the distance is not positive.
    """
    exclusive: set[tuple[int, int]] = set()
    blocked: set[int] = set()
    unavoidable: set[tuple[int, int]] = set()
    too_close: list[tuple[int, int]] = [(int(i), int(j)) for i, j in alternatives]
    if min_distance_A is not None:
        if not min_distance_A > 0.0:
            raise CompositionError(
                f"The smallest distance is {min_distance_A:g} Å.", fix="Give a positive distance in Å, such as 1.5."
            )
        # Symmetry-equivalent pairs differ by rounding: they must fall on the same side of the limit.
        too_close += [
            (i, j)
            for i, j, distance in zip(*close_pairs(cell_A, fractional, min_distance_A), strict=True)
            if distance < min_distance_A * _factor(holds[i], holds[j], oxidation_states) - _ROUNDING_A
        ]
    for i, j in too_close:
        # An empty site is too close to none.
        if (VACANCY,) in (holds[i], holds[j]):
            continue
        may_go = [site for site in (i, j) if VACANCY in holds[site]]
        if not may_go:
            unavoidable.add((i, j))
        elif i == j or len(may_go) == 1:
            blocked.add(may_go[0])
        else:
            exclusive.add((min(i, j), max(i, j)))
    return Contacts(_rows(exclusive), np.array(sorted(blocked), dtype=np.int64), _rows(unavoidable))


def _rows(pairs: set[tuple[int, int]]) -> IntArray:
    return np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)


def _factor(first: tuple[str, ...], second: tuple[str, ...], charges: Mapping[str, float]) -> float:
    """Return the fraction of the stated distance that applies between two sites."""
    if "H" in first and "H" in second:
        return TWO_HYDROGENS
    if "H" in first or "H" in second:
        return HYDROGEN
    signs = [{np.sign(charges.get(s, 0.0)) for s in names if s != VACANCY} for names in (first, second)]
    opposite = all(len(s) == 1 for s in signs) and signs[0] == {-x for x in signs[1]} and signs[0] != {0.0}
    return OPPOSITE_CHARGES if opposite else 1.0


def occupancy_bounds(
    crystal: DisorderedCrystal,
    sites: SupercellSites,
    min_distance_A: float | None,
    oxidation_states: Mapping[str, float],
) -> list[OccupancyBound]:
    """Bound how many sites of each sublattice can be occupied at once.

    Of sites that are all in contact with one another (a clique) at most one is occupied. Summed over all cliques of
    one kind this bounds the counts: Σ_A k_A n_A ≤ number of cliques, where each site of A is in k_A of them.

    Parameters
    ----------
    min_distance_A, oxidation_states
        As in :func:`find_contacts`.
    """
    present = [tuple(e for e, o in s.species.items() if o >= LEAST_OCCUPANCY) for s in crystal.sublattices]
    species = [(*p, VACANCY) if s.vacancy > 0.0 else p for p, s in zip(present, crystal.sublattices, strict=True)]
    holds = [species[orbit] for orbit in sites.orbits]
    contacts = find_contacts(
        sites.cell_A, sites.fractional, holds, min_distance_A, oxidation_states, sites.alternatives
    )
    kinds: dict[tuple[int, ...], int] = {}
    for number, clique in enumerate(_cliques(contacts.exclusive)):
        if number == _MAX_CLIQUES:  # bounds only rule out useless compositions: having none is as correct as having all
            kinds.clear()
            break
        kind = tuple(sorted(int(sites.orbits[site]) for site in clique))
        kinds[kind] = kinds.get(kind, 0) + 1
    cells = sites.supercell.multiplicity
    bounds = []
    for kind, number in sorted(kinds.items()):
        # By symmetry every site of a sublattice is in equally many cliques of a kind.
        weights = {
            crystal.sublattices[orbit].name: kind.count(orbit)
            * number
            // (crystal.sublattices[orbit].multiplicity * cells)
            for orbit in sorted(set(kind))
        }
        bounds.append(OccupancyBound(weights, Fraction(number, cells)))
    blocked = sorted({int(sites.orbits[site]) for site in contacts.blocked})
    bounds.extend(OccupancyBound({crystal.sublattices[orbit].name: 1}, 0) for orbit in blocked)
    return bounds


def _cliques(pairs: IntArray) -> Iterator[list[int]]:
    if len(pairs):
        import networkx as nx  # its import takes a quarter of a second, and most crystals have no contacts

        graph = nx.Graph()
        graph.add_edges_from(pairs.tolist())
        yield from nx.find_cliques(graph)
