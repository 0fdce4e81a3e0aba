"""The local order of an ordering: coordination of cations, short-range order, occupancies of the crystal's sites.

Three questions about a structure that was made from a disordered crystal:

- By which anions is each cation coordinated? The coordination shell ends at the largest relative gap between successive
  distances to anions (Brunner, Acta Cryst. A 33, 226 (1977)), so that it needs no radii. ``BrunnerNNRelative`` of
  pymatgen is the same rule for neighbours of any charge.
- Do species that share sites attract or avoid each other? Warren–Cowley parameters (Cowley, Phys. Rev. 77, 669 (1950))
  in the usual form, α_ab = 1 − p_ab/c_b, where p_ab is the share of b among the neighbours of a in a shell and c_b its
  share of all sites of its sublattice: the form of icet, pyscal and the OVITO modifier of Sheriff et al.
  (PNAS 121, e2322962121 (2024)). Beside each stands its mean over all decorations of the same cell with the same
  counts, which in a small cell is not zero. Vacancies are a species, and a sublattice is all sites that share species,
  so that a preference for one Wyckoff position is part of α.
- Which sites of the crystal are occupied, by Wyckoff position?

Coordination is judged where the atoms are, the other two on the sites of the crystal to which they are assigned.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from superionic.chemistry import VACANCY, sort_species, species_key
from superionic.errors import AnalysisError, CompositionError
from superionic.shown import Shown
from superionic.thermodynamics.lattice_mc.order_parameters import PairShells, pair_shells
from superionic.transport.sites.positions import SiteSet, sites_in_supercell

if TYPE_CHECKING:
    from superionic.structures.crystal.disordered import DisorderedCrystal

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

N_SHELLS: Final = 3
"""Shells for which short-range order is computed unless the caller says otherwise."""
SHELL_TOLERANCE_A: Final = 0.3
"""Distances that differ by less belong to one shell: those of a refined crystal are never exactly equal."""
LARGEST_STRAIN: Final = 0.15
"""A cell is one of the crystal's supercells if no length differs from it by more than this fraction."""

_REACH: Final = (
    2.5  # of the shortest distance: the second shell of anions begins at 2 or less of it in any close packing
)
_CUTOFFS_A: Final = (6.0, 9.0, 13.5)
_MOST_PAIRS: Final = 3_000_000
_IMPOSSIBLE_A2: Final = 1.0e6


@dataclass(frozen=True)
class CoordinationKind:
    """One kind of coordination of one kind of cation.

    Attributes
    ----------
    cation
        Element of the cation.
    anions
        Element and number of the coordinating anions, in the order of formulas; empty for a cation without anions.
    share
        Share of the cations of this element, 0 to 1.
    """

    cation: str
    anions: tuple[tuple[str, int], ...]
    share: float

    @property
    def label(self) -> str:
        """The polyhedron, such as ``"[YCl6]"`` or ``"[InBr3Cl3]"``."""
        return f"[{self.cation}{''.join(f'{e}{n if n > 1 else str()}' for e, n in self.anions)}]"

    @property
    def number(self) -> int:
        """The coordination number."""
        return sum(n for _, n in self.anions)

    @property
    def is_mixed(self) -> bool:
        """Whether anions of several elements coordinate it."""
        return len(self.anions) > 1


@dataclass(frozen=True)
class WarrenCowleyParameter:
    """A Warren–Cowley parameter of two species in one shell.

    Attributes
    ----------
    first, second
        The species; ``"X"`` is the vacancy.
    sublattices
        Sublattices of the two, by the species that share them.
    shell
        Number of the shell, from 1, among those of these sublattices.
    distance_A
        Mean distance in the crystal.
    neighbours
        Mean number of sites of the second sublattice in this shell around a site of the first.
    alpha
        1 − p_ab/c_b: negative where the two attract each other, positive where they avoid each other.
    alpha_random
        Its mean over all decorations of the cell with the same counts.
    """

    first: str
    second: str
    sublattices: tuple[str, str]
    shell: int
    distance_A: float
    neighbours: float
    alpha: float
    alpha_random: float


@dataclass(frozen=True)
class SiteOccupancy:
    """The occupancy of one kind of site by one species.

    Attributes
    ----------
    site
        Sublattice and Wyckoff position in the crystal, such as ``"Li1 (4g)"``.
    species
        The element.
    n_sites
        Number of these sites in the cell.
    occupancy
        Share of them that the species occupies.
    crystal_occupancy
        The same in the disordered crystal; 0 for an element that it has elsewhere or not at all.
    """

    site: str
    species: str
    n_sites: int
    occupancy: float
    crystal_occupancy: float


@dataclass(frozen=True, repr=False)
class LocalOrder(Shown):
    """The local order of one structure, or the weighted mean of several.

    Attributes
    ----------
    coordination
        Kinds of coordination of each kind of cation, the most frequent first.
    pairs
        Warren–Cowley parameters; empty if no sublattice holds more than one species.
    sites
        Occupancies by Wyckoff position of the crystal.
    misfit_A
        Root mean square distance of the atoms from their sites.
    """

    coordination: tuple[CoordinationKind, ...]
    pairs: tuple[WarrenCowleyParameter, ...]
    sites: tuple[SiteOccupancy, ...]
    misfit_A: float

    def unmixed_share(self, cation: str) -> float | None:
        """Return the share of the cations of an element that anions of one element coordinate; None without any."""
        kinds = [kind for kind in self.coordination if kind.cation == cation]
        return sum(kind.share for kind in kinds if not kind.is_mixed) if kinds else None


# ---- coordination ---------------------------------------------------------------------------------------------------


def coordination_kinds(atoms: Any, oxidation_states: Mapping[str, float]) -> tuple[CoordinationKind, ...]:
    """Sort the cations of a structure by the anions that coordinate them.

    Parameters
    ----------
    atoms
        ``ase.Atoms``, periodic.
    oxidation_states
        Charge of each element in e: positive ones are cations, negative ones anions.

    Raises
    ------
    CompositionError
        If an element has no oxidation state.
    """
    symbols = np.array(atoms.get_chemical_symbols())
    charge = np.array([_charge(symbol, oxidation_states) for symbol in symbols])
    cations, anions = np.flatnonzero(charge > 0), np.flatnonzero(charge < 0)
    counts: dict[str, Counter[tuple[tuple[str, int], ...]]] = {}
    for cation, shell in zip(cations, _anion_shells(atoms, cations, anions), strict=True):
        amounts = Counter(symbols[shell].tolist())
        around = tuple((element, amounts[element]) for element in sort_species(amounts))
        counts.setdefault(str(symbols[cation]), Counter())[around] += 1
    return tuple(
        CoordinationKind(element, around, count / sum(counts[element].values()))
        for element in sort_species(counts)
        for around, count in sorted(counts[element].items(), key=lambda item: (-item[1], item[0]))
    )


def _charge(element: str, oxidation_states: Mapping[str, float]) -> float:
    if element not in oxidation_states:
        raise CompositionError(
            f"{element} has no oxidation state, so that it is not known whether it is a cation.",
            fix=f"Give the charge of {element} among the oxidation states.",
        )
    return float(oxidation_states[element])


def _anion_shells(atoms: Any, cations: IntArray, anions: IntArray) -> list[IntArray]:
    """Return the anions within the largest relative gap of distances around each cation; one twice for two images."""
    from ase.neighborlist import primitive_neighbor_list

    if not len(cations) or not len(anions):
        return [np.zeros(0, dtype=np.int64) for _ in cations]
    chosen = np.concatenate([cations, anions])
    cell, positions = np.asarray(atoms.cell.array), atoms.get_positions()[chosen]
    cutoff = _CUTOFFS_A[0]
    while True:
        i, j, d = primitive_neighbor_list("ijd", (True, True, True), cell, positions, cutoff)
        inside = (i < len(cations)) & (j >= len(cations))
        i, j, d = i[inside], j[inside], d[inside]
        order = np.lexsort((j, d, i))
        i, j, d = i[order], j[order], d[order]
        starts = np.searchsorted(i, np.arange(len(cations) + 1))
        nearest = [d[a] if b > a else np.inf for a, b in itertools.pairwise(starts)]
        if _REACH * max(nearest) <= cutoff:
            break
        cutoff *= 1.5
    shells = []
    for a, b in itertools.pairwise(starts):
        own = d[a:b]
        # The first one beyond the reach, or the cutoff below which there is none, closes an isolated polyhedron.
        within = int(np.searchsorted(own, _REACH * own[0], side="right")) if len(own) else 0
        closed = np.append(own[:within], own[within] if within < len(own) else max(cutoff, own[-1]))
        size = int(np.argmax(closed[1:] / closed[:-1])) + 1 if within else 0
        shells.append(chosen[j[a : a + size]])
    return shells


# ---- sites of the crystal -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Decoration:
    """A structure as a decoration of the sites of its crystal.

    Attributes
    ----------
    parent
        The crystal, or its primitive cell if the structure's cell is a supercell of that only.
    sites
        All sites of the crystal in the structure's cell; labels are Wyckoff positions such as ``"Li1 (4g)"``.
    parent_site
        (n_sites,) index of the site of the parent that each repeats.
    species
        (n_sites,) the species on each, ``"X"`` where it is vacant.
    misfit_A
        Root mean square distance of the atoms from their sites.
    """

    parent: DisorderedCrystal
    sites: SiteSet
    parent_site: IntArray
    species: tuple[str, ...]
    misfit_A: float


def decoration_of(
    atoms: Any, crystal: DisorderedCrystal, oxidation_states: Mapping[str, float], *, own_sites: bool = False
) -> Decoration:
    """Assign each atom of a structure to a site of the crystal that it was made from, each site to one atom at most.

    Cations are put on sites of cations and anions on those of anions, at the least sum of squared distances. The
    structure has the axes and the origin of the crystal, or of its primitive cell, as orderings and their relaxations
    have; a rigid shift is removed. With `own_sites`, as for a frame of a run, an element that the crystal has is put on
    sites that hold it: a passing ion does not make one sublattice of two.

    Raises
    ------
    AnalysisError
        If the cell is no supercell of the crystal, or there are more atoms than sites for them.
    CompositionError
        If an element has no oxidation state.
    """
    from scipy.optimize import linear_sum_assignment

    cell = np.asarray(atoms.cell.array, dtype=np.float64)
    parent, matrix = _parent_and_matrix(crystal, cell)
    multiplicities = {sublattice.name: sublattice.multiplicity for sublattice in crystal.sublattices}
    numbers = [str(k) for k in range(len(parent.sites))]
    placed = sites_in_supercell(parent.fractional, numbers, matrix, np.linalg.inv(matrix) @ cell)
    parent_site = np.array([int(label) for label in placed.labels])
    names = []
    for site in parent.sites:
        sublattice = parent.sublattices[site.orbit]
        wyckoff = f" ({multiplicities[sublattice.name]}{sublattice.wyckoff})" if sublattice.wyckoff else ""
        names.append(f"{sublattice.name}{wyckoff}")
    symbols = atoms.get_chemical_symbols()
    charge = np.array([np.sign(_charge(symbol, oxidation_states)) for symbol in symbols])
    held = [
        {float(np.sign(oxidation_states[s])) for s in site.species if s in oxidation_states} for site in parent.sites
    ]
    # A site whose elements have no charge, as they were all replaced, may hold any.
    may_hold = np.array([[not held[k] or q in held[k] for k in parent_site] for q in charge])
    if own_sites:
        own = np.array([[symbol in parent.sites[k].species for k in parent_site] for symbol in symbols])
        may_hold &= own | ~own.any(axis=1, keepdims=True)
    fractional = atoms.get_scaled_positions(wrap=False)
    shift = np.zeros(3)

    def away_A(rows: IntArray, columns: IntArray | slice) -> FloatArray:
        apart = fractional[rows] - shift - placed.fractional[columns]
        return np.asarray((apart - np.rint(apart)) @ cell)

    everyone = np.arange(len(symbols))
    for _ in range(2):
        # Row by row: all vectors of a cell of thousands of atoms at once would fill the memory.
        squares = np.array([np.sum(away_A(np.array([k]), slice(None)) ** 2, axis=1) for k in everyone])
        atom, target = linear_sum_assignment(np.where(may_hold, squares, _IMPOSSIBLE_A2))
        if len(atom) < len(symbols) or not may_hold[atom, target].all():
            raise AnalysisError(
                f"The structure has {len(symbols)} atoms; the crystal has not enough sites for them in this cell.",
                where=crystal.name,
                fix="Give the crystal that the structure was made from.",
            )
        shift = shift + away_A(atom, target).mean(axis=0) @ np.linalg.inv(cell)
    species = [VACANCY] * len(parent_site)
    for a, s in zip(atom, target, strict=True):
        species[s] = symbols[a]
    misfit = float(np.sqrt(squares[atom, target].mean()))
    sites = SiteSet(placed.fractional, tuple(names[k] for k in parent_site), cell)
    return Decoration(parent, sites, parent_site, tuple(species), misfit)


def _parent_and_matrix(crystal: DisorderedCrystal, cell_A: FloatArray) -> tuple[DisorderedCrystal, IntArray]:
    """Return the crystal or its primitive cell, whichever the cell is a supercell of, and the integer matrix."""
    for smallest in (False, True):
        parent = crystal.primitive() if smallest else crystal
        exact = cell_A @ np.linalg.inv(parent.cell_A)
        matrix = np.rint(exact).astype(np.int64)
        if round(abs(float(np.linalg.det(matrix)))) == 0:
            continue
        stretches = np.linalg.svd(np.linalg.inv(matrix @ parent.cell_A) @ cell_A, compute_uv=False)
        if float(np.max(np.abs(stretches - 1.0))) <= LARGEST_STRAIN:
            return parent, matrix
    raise AnalysisError(
        f"The cell of the structure is no supercell of the crystal within {100 * LARGEST_STRAIN:g} % of every length.",
        where=crystal.name,
        fix="Give the crystal that the structure was made from, with the structure in the crystal's axes.",
    )


def site_occupancies(decoration: Decoration) -> tuple[SiteOccupancy, ...]:
    """Count the species on the sites of each Wyckoff position, in the order of the crystal's sites."""
    by_kind: dict[str, Counter[str]] = {}
    refined: dict[str, Mapping[str, float]] = {}
    for label, species, number in zip(decoration.sites.labels, decoration.species, decoration.parent_site, strict=True):
        by_kind.setdefault(label, Counter())[species] += 1
        refined[label] = decoration.parent.sites[int(number)].species
    return tuple(
        SiteOccupancy(
            label,
            species,
            sum(counts.values()),
            counts[species] / sum(counts.values()),
            refined[label].get(species, 0.0),
        )
        for label, counts in by_kind.items()
        for species in sort_species({*(s for s in counts if s != VACANCY), *_present(refined[label], decoration)})
    )


def _present(refined: Mapping[str, float], decoration: Decoration) -> set[str]:
    """Return the refined species of a site that the structure has at all: substituted ones say nothing."""
    return {species for species in refined if species in decoration.species}


# ---- short-range order ----------------------------------------------------------------------------------------------


def short_range_orders(
    decoration: Decoration,
    *,
    n_shells: int = N_SHELLS,
    known: dict[tuple[str, str], CompleteShells] | None = None,
) -> tuple[WarrenCowleyParameter, ...]:
    """Compute the Warren–Cowley parameters of the first shells, within sublattices and between them.

    Parameters
    ----------
    decoration
        The structure on the sites of its crystal, whose occupancies say which sites share species.
    n_shells
        Number of shells of each pair of sublattices.
    known
        Shells of earlier decorations of the same sites and sublattices, to which those that are missing are added.
    """
    known = {} if known is None else known
    blocks, names = _sublattices(decoration)
    mixed = [b for b in range(len(names)) if len({decoration.species[k] for k in np.flatnonzero(blocks == b)}) > 1]
    if not mixed:
        return ()
    free = np.flatnonzero(np.isin(blocks, mixed))
    block_of = np.array([mixed.index(b) for b in blocks[free]])
    labels = [names[b] for b in mixed]
    species = np.array(decoration.species)[free]
    fractional = decoration.sites.fractional[free]
    orders: list[WarrenCowleyParameter] = []
    for a, b in itertools.combinations_with_replacement(range(len(mixed)), 2):
        members = np.flatnonzero((block_of == a) | (block_of == b))
        local = (block_of[members] == b).astype(np.int64) if a != b else np.zeros(len(members), dtype=np.int64)
        pair = labels[a], labels[b]
        if pair not in known:
            known[pair] = _complete_shells(decoration.sites.cell_A, fractional[members], local, n_shells)
        orders += _orders(known[pair], local, species[members], pair)
    return tuple(orders)


def _sublattices(decoration: Decoration) -> tuple[IntArray, list[str]]:
    """Return the number of the sublattice of each site, and their names.

    A sublattice is orbits that share a species, refined or present; its name is that of the species present.
    """
    parent_sites = decoration.parent.sites
    orbit_of = np.array([parent_sites[k].orbit for k in decoration.parent_site])
    root = {int(orbit): int(orbit) for orbit in orbit_of}

    def find(orbit: int) -> int:
        while root[orbit] != orbit:
            orbit = root[orbit]
        return orbit

    owner: dict[str, int] = {}
    for orbit, number, species in zip(orbit_of, decoration.parent_site, decoration.species, strict=True):
        for each in {*parent_sites[number].species, species} - {VACANCY}:
            one, other = find(owner.setdefault(each, int(orbit))), find(int(orbit))
            root[max(one, other)] = min(one, other)
    first = [find(int(orbit)) for orbit in orbit_of]
    order = list(dict.fromkeys(first))
    blocks = np.array([order.index(each) for each in first])
    names = []
    for b in range(len(order)):
        present = sort_species(decoration.species[k] for k in np.flatnonzero(blocks == b))
        names.append("/".join("vacancy" if s == VACANCY else s for s in present))
    return blocks, names


@dataclass(frozen=True, eq=False)
class CompleteShells:
    """Pairs of sites by shells, and the numbers of those shells that have all of their pairs; None without a pair."""

    shells: PairShells | None
    complete: tuple[int, ...]


def _complete_shells(cell_A: FloatArray, fractional: FloatArray, block_of: IntArray, n_shells: int) -> CompleteShells:
    """Find the first shells of one sublattice with itself (one block), or of two with each other (blocks 0 and 1)."""
    n_blocks = int(block_of.max()) + 1
    complete: list[int] = []
    density = len(fractional) / abs(float(np.linalg.det(cell_A)))
    shells = None
    for cutoff in _CUTOFFS_A:
        if shells is not None and len(fractional) * density * 4.2 * cutoff**3 > _MOST_PAIRS:
            break
        try:
            shells = pair_shells(cell_A, fractional, block_of, cutoff, tolerance_A=SHELL_TOLERANCE_A, own_images=True)
        except AnalysisError:  # no pair is so near
            continue
        of_interest = (0, n_blocks - 1)
        complete = [
            s
            for s in range(len(shells.distances_A))
            if tuple(shells.blocks[s]) == of_interest
            and _longest_A(shells.vectors_A[shells.shell == s]) < cutoff - SHELL_TOLERANCE_A
        ]
        if len(complete) >= n_shells:
            break
    return CompleteShells(shells, tuple(complete[:n_shells]))


def _orders(
    of: CompleteShells, block_of: IntArray, species: NDArray[np.str_], sublattices: tuple[str, str]
) -> list[WarrenCowleyParameter]:
    """Return the parameters of one sublattice with itself (one block), or of two with each other (blocks 0 and 1)."""
    shells = of.shells
    if shells is None:
        return []
    n_blocks = int(block_of.max()) + 1
    counts = [Counter(species[block_of == b].tolist()) for b in range(n_blocks)]
    sizes = [sum(count.values()) for count in counts]
    a_block, b_block = 0, n_blocks - 1
    same = n_blocks == 1
    orders = []
    for number, s in enumerate(of.complete, 1):
        which = shells.shell == s
        one, two = species[shells.first[which]], species[shells.second[which]]
        n_pairs = int(which.sum())
        own = float(np.mean(shells.first[which] == shells.second[which])) if same else 0.0
        neighbours = n_pairs * (2.0 if same else 1.0) / sizes[a_block]
        for a in sorted(counts[a_block], key=species_key):
            for b in sorted(counts[b_block], key=species_key):
                if same and species_key(a) >= species_key(b):
                    continue
                n_ab = int(np.sum((one == a) & (two == b))) + (int(np.sum((one == b) & (two == a))) if same else 0)
                chance = counts[a_block][a] / sizes[a_block] * counts[b_block][b] / sizes[b_block]
                expected = n_pairs * chance * (2.0 if same else 1.0)
                random = 1.0 - (1.0 - own) * sizes[a_block] / (sizes[a_block] - 1) if same else 0.0
                orders.append(
                    WarrenCowleyParameter(
                        a,
                        b,
                        sublattices,
                        number,
                        float(shells.distances_A[s]),
                        neighbours,
                        1.0 - n_ab / expected,
                        random,
                    )
                )
    return orders


def _longest_A(vectors_A: FloatArray) -> float:
    return float(np.sqrt(np.max(np.einsum("ij,ij->i", vectors_A, vectors_A))))


# ---- all of it ------------------------------------------------------------------------------------------------------


def local_order(
    atoms: Any,
    crystal: DisorderedCrystal,
    oxidation_states: Mapping[str, float],
    *,
    on_sites: Any | None = None,
    n_shells: int = N_SHELLS,
) -> LocalOrder:
    """Describe the local order of a structure that was made from a disordered crystal.

    Parameters
    ----------
    atoms
        ``ase.Atoms``, periodic: an ordering, relaxed or not.
    crystal
        The crystal.
    oxidation_states
        Charge of each element in e.
    on_sites
        The same ordering before its relaxation, which is on the sites of the crystal; atoms that have moved far are
        then assigned to the sites that they came from.
    n_shells
        Number of shells for which short-range order is computed.

    Raises
    ------
    AnalysisError
        If the cell is no supercell of the crystal, or the atoms do not fit on its sites.
    CompositionError
        If an element has no oxidation state.
    """
    decoration = decoration_of(atoms if on_sites is None else on_sites, crystal, oxidation_states)
    return LocalOrder(
        coordination=coordination_kinds(atoms, oxidation_states),
        pairs=short_range_orders(decoration, n_shells=n_shells),
        sites=site_occupancies(decoration),
        misfit_A=decoration.misfit_A,
    )


def mean_order(orders: Sequence[LocalOrder], weights: Sequence[float]) -> LocalOrder:
    """Average the local order of orderings of one composition in one supercell.

    Parameters
    ----------
    orders
        At least one.
    weights
        Weight of each, not all zero.
    """
    shares = np.asarray(weights, dtype=np.float64) / float(np.sum(weights))
    coordination: dict[tuple[str, tuple[tuple[str, int], ...]], float] = {}
    sites: dict[tuple[str, str], tuple[SiteOccupancy, float]] = {}
    pairs: dict[tuple[str, str, tuple[str, str], int], tuple[WarrenCowleyParameter, float]] = {}
    for order, share in zip(orders, shares.tolist(), strict=True):
        for kind in order.coordination:
            key = kind.cation, kind.anions
            coordination[key] = coordination.get(key, 0.0) + share * kind.share
        for site in order.sites:
            known = sites.get((site.site, site.species), (site, 0.0))
            sites[site.site, site.species] = known[0], known[1] + share * site.occupancy
        for pair in order.pairs:
            name = pair.first, pair.second, pair.sublattices, pair.shell
            before = pairs.get(name, (pair, 0.0))
            pairs[name] = before[0], before[1] + share * pair.alpha
    kinds = [CoordinationKind(cation, anions, share) for (cation, anions), share in coordination.items()]
    return LocalOrder(
        coordination=tuple(sorted(kinds, key=lambda k: (species_key(k.cation), -k.share, k.anions))),
        pairs=tuple(replace(pair, alpha=alpha) for pair, alpha in pairs.values()),
        sites=tuple(replace(site, occupancy=occupancy) for site, occupancy in sites.values()),
        misfit_A=float(np.sqrt(np.dot(shares, [order.misfit_A**2 for order in orders]))),
    )
