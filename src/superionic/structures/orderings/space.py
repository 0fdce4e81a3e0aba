"""The space of orderings of one composition on one supercell, on which counting, listing, sampling and ranking work.

Only the *free* sites matter: those of groups that hold more than one species (the vacancy is one). They are
numbered block by block; a decoration is one small integer, the code of its species in the block, for each free site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from superionic.chemistry import VACANCY, sort_species
from superionic.errors import CompositionError
from superionic.structures.crystal.composition import IntegerComposition
from superionic.structures.crystal.supercells import SupercellSites
from superionic.structures.crystal.symmetry import IntArray, action_on
from superionic.structures.orderings.exclusions import find_contacts

CodeArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """A group of free sites that share their counts.

    Parameters
    ----------
    name
        Name of its sublattice, or of its sublattices joined by ``+``.
    members
        Indices of its sites in the supercell.
    species
        Its species in the order of formulas, ``"X"`` last; a code is an index into it.
    counts
        Number of sites of each species; they sum to the number of sites.
    """

    name: str
    members: tuple[int, ...]
    species: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of sites."""
        return len(self.members)


@dataclass(frozen=True, eq=False)
class OrderingSpace:
    """All decorations of the free sites of a supercell with given counts, and the group that acts on them.

    Build it by :func:`ordering_space`.

    Parameters
    ----------
    sites, composition
        The supercell, and the counts on its groups of sites.
    blocks
        The groups that hold more than one species.
    members
        (n_free,) indices in the supercell of the free sites, block by block.
    block_of
        (n_free,) index of the block of each.
    permutations
        (n_actions, n_free): ``permutations[g, i]`` is the free site onto which operation g carries free site i.
        Operations that act alike on the free sites appear once; the first is the identity.
    translations
        (n_actions,) bool: which of them are translations of the parent's lattice, the identity excluded.
    group_order
        Number of operations of the supercell; a multiple of the number of actions.
    exclusions
        (n_pairs, 2): free sites i < j that may not both be occupied.
    blocked
        (n_free,) bool: free sites that must be vacant, as they are too close to a site that is always occupied, or to
        their own periodic image.
    unavoidable
        (n_pairs, 2) indices in the supercell of sites that are too close and both always occupied.
    min_distance_A
        The distance behind the exclusions; None without any.
    """

    sites: SupercellSites
    composition: IntegerComposition
    blocks: tuple[Block, ...]
    members: IntArray
    block_of: IntArray
    permutations: IntArray
    translations: NDArray[np.bool_]
    group_order: int
    exclusions: IntArray
    blocked: NDArray[np.bool_]
    unavoidable: IntArray
    min_distance_A: float | None = None
    _offsets: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("members", "block_of", "permutations", "translations", "exclusions", "blocked", "unavoidable"):
            getattr(self, name).setflags(write=False)
        offsets = [0]
        for block in self.blocks:
            offsets.append(offsets[-1] + block.size)
        object.__setattr__(self, "_offsets", tuple(offsets))

    @property
    def n_free(self) -> int:
        """Number of free sites."""
        return len(self.members)

    @property
    def has_exclusions(self) -> bool:
        """Whether any pair of free sites excludes each other, or any free site must be vacant."""
        return len(self.exclusions) > 0 or bool(self.blocked.any())

    def block_slice(self, index: int) -> slice:
        """Return the slice of a block's sites among the free sites."""
        return slice(self._offsets[index], self._offsets[index + 1])

    @property
    def moves_in_groups(self) -> bool:
        """Whether atoms go together, so that no swap of two sites leads from one ordering to another.

        Single atoms that are alternatives all exclude each other; groups of several exclude only other groups.
        """
        partners: dict[int, set[int]] = {}
        for i, j in self.sites.alternatives.tolist():
            partners.setdefault(i, {i}).add(j)
            partners.setdefault(j, {j}).add(i)
        return any(partners[i] != partners[j] for i, j in self.sites.alternatives.tolist())

    def demand_swaps(self) -> None:
        """Raise a CompositionError where swaps of two sites do not connect the orderings."""
        if self.moves_in_groups:
            raise CompositionError(
                "The crystal has disorder groups, whose atoms go together: the swaps of single atoms by which Monte "
                "Carlo searches and samples lead from none of its orderings to another.",
                where=f"supercell {self.sites.supercell}",
                fix="Sample the orderings (--sample), or list them in a smaller supercell.",
            )

    @property
    def rule(self) -> str:
        """The exclusions in words, such as "like ions at least 1.5 Å apart"."""
        return exclusion_rule(self.min_distance_A, len(self.sites.alternatives) > 0)

    @property
    def symbols(self) -> tuple[str, ...]:
        """All species of the supercell, the fixed ones included, in the order of formulas, ``"X"`` last."""
        return sort_species(s for counts in self.composition.counts for s in counts)

    def site_codes(self, decorations: CodeArray) -> CodeArray:
        """Turn decorations of the free sites into species of all sites.

        Parameters
        ----------
        decorations
            (m, n_free) codes within the blocks.

        Returns
        -------
        (m, n_sites) uint8
            Indices into :attr:`symbols`.
        """
        symbols = self.symbols
        codes = np.zeros((len(decorations), self.sites.n_sites), dtype=np.uint8)
        for group, counts in zip(self.composition.groups, self.composition.counts, strict=True):
            if len(counts) == 1:
                codes[:, list(group)] = symbols.index(next(iter(counts)))
        for index, block in enumerate(self.blocks):
            names = np.array([symbols.index(s) for s in block.species], dtype=np.uint8)
            codes[:, list(block.members)] = names[decorations[:, self.block_slice(index)]]
        return codes

    def allows(self, decorations: CodeArray) -> NDArray[np.bool_]:
        """Return which of (m, n_free) decorations respect the exclusions."""
        occupied = self.occupied(decorations)
        clash = np.asarray(occupied[:, self.blocked].any(axis=1))
        for i, j in self.exclusions:
            clash |= occupied[:, i] & occupied[:, j]
        allowed: NDArray[np.bool_] = ~clash
        return allowed

    def occupied(self, decorations: CodeArray) -> NDArray[np.bool_]:
        """Return (m, n_free): whether an atom sits on each free site."""
        occupied = np.ones(decorations.shape, dtype=bool)
        for index, block in enumerate(self.blocks):
            if VACANCY in block.species:
                part = self.block_slice(index)
                occupied[:, part] = decorations[:, part] != block.species.index(VACANCY)
        return occupied


def exclusion_rule(min_distance_A: float | None, alternatives: bool) -> str:
    """Return the exclusions of a space in words."""
    apart = [] if min_distance_A is None else [f"like ions at least {min_distance_A:g} Å apart"]
    return " and ".join([*apart, *(["the disorder groups of a unit apart"] if alternatives else [])]) or (
        "sites apart that exclude each other"
    )


def ordering_space(
    sites: SupercellSites,
    composition: IntegerComposition,
    *,
    min_distance_A: float | None = None,
    oxidation_states: Mapping[str, float] | None = None,
) -> OrderingSpace:
    """Collect the free sites of a composition, how the operations permute them, and which exclude each other.

    Parameters
    ----------
    sites, composition
        The supercell, and the counts on its groups of sites.
    min_distance_A
        Sites closer than this are not both occupied if a vacancy can avoid it. For sites whose ions have opposite
        charges 2/3 of it counts (they may be bonded), for sites with hydrogen 0.4 of it. None: no exclusions.
    oxidation_states
        Charges in e, to identify ions of opposite sign; without them all sites count as alike.

    Raises
    ------
    StructureError
        If an operation carries a site of one group into another (the composition is of another supercell).
    CompositionError
        If the distance is not positive.
    """
    blocks = tuple(
        Block(name, tuple(group), tuple(counts), tuple(counts.values()))
        for name, group, counts in zip(composition.names, composition.groups, composition.counts, strict=True)
        if len(counts) > 1
    )
    members = np.array([m for b in blocks for m in b.members], dtype=np.int64)
    block_of = np.repeat(np.arange(len(blocks)), [b.size for b in blocks]).astype(np.int64)
    # Operations that act alike are one; the identity is the smallest row and comes first.
    members_of = [b.members for b in blocks]
    actions = np.unique(action_on(sites.permutations, members_of), axis=0)
    moves = {row.tobytes() for row in action_on(sites.translations, members_of)[1:]}
    holds: list[tuple[str, ...]] = [()] * sites.n_sites
    for group, counts in zip(composition.groups, composition.counts, strict=True):
        for site in group:
            holds[site] = tuple(counts)
    contacts = find_contacts(
        sites.cell_A, sites.fractional, holds, min_distance_A, oxidation_states or {}, sites.alternatives
    )
    # Empty sites are in contact with none, so all sites in contact are free.
    free = np.full(sites.n_sites, -1, dtype=np.int64)
    free[members] = np.arange(len(members))
    exclusions = np.sort(free[contacts.exclusive], axis=1)
    return OrderingSpace(
        sites=sites,
        composition=composition,
        blocks=blocks,
        members=members,
        block_of=block_of,
        permutations=np.ascontiguousarray(actions, dtype=np.int64),
        translations=np.array([row.tobytes() in moves for row in actions], dtype=bool),
        group_order=sites.group_order,
        exclusions=exclusions[np.lexsort((exclusions[:, 1], exclusions[:, 0]))],
        blocked=np.isin(members, contacts.blocked),
        unavoidable=contacts.unavoidable,
        min_distance_A=min_distance_A,
    )
