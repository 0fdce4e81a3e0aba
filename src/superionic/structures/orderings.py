"""Symmetry-distinct orderings of a supercell: all of them, or a sample.

An ordering is canonical if it is the lexicographically smallest of all its images under the group, read group of
sites by group of sites (in the order of the composition), species in the order of formulas, the vacancy last.

Listing walks a stabiliser chain. The smallest tuple (d₁, d₂, …) of decorations of the groups has d₁ smallest under G;
then d₂ smallest under the operations of G that keep d₁; and so on. So each group of sites is reduced by itself, once
for every subgroup that occurs, and nothing but the survivors is combined. Degeneracies follow from the orbit-stabiliser
theorem: |orbit| = |G| / |stabiliser|.

Comparing images is a matrix product. A decoration is the number Σ_i s_i w_i, its image under g has the weights
w_g(i) instead; numbers are cut into limbs below 2⁵³, so that double precision holds them exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from superionic.errors import CompositionError
from superionic.structures.composition import IntegerComposition
from superionic.structures.counting import count_orderings, disordered_blocks, group_permutations
from superionic.structures.formulas import VACANCY, sort_species, species_key
from superionic.structures.supercells import SupercellSites
from superionic.structures.symmetry import FloatArray, IntArray

_CHUNK = 1 << 16
_LIST_INSTEAD = 20_000
_MAX_BLOCK = 1 << 62

CodeArray = NDArray[np.uint8]


@dataclass(frozen=True)
class Ordering:
    """One symmetry-distinct decoration of a supercell.

    Parameters
    ----------
    species
        Species on each site of the supercell, ``"X"`` where it is vacant.
    degeneracy
        Number of decorations that symmetry makes equal to this one, itself included.
    """

    species: tuple[str, ...]
    degeneracy: int


@dataclass(frozen=True, eq=False)
class OrderingTable:
    """Many orderings as arrays: the form for ranking them by the thousand.

    Parameters
    ----------
    symbols
        The species that occur, in the order of formulas, ``"X"`` last.
    codes
        (n, n_sites) uint8: index into ``symbols`` for each site of each ordering.
    degeneracies
        (n,) int64.
    """

    symbols: tuple[str, ...]
    codes: CodeArray
    degeneracies: IntArray

    def __post_init__(self) -> None:
        for field in ("codes", "degeneracies"):
            getattr(self, field).setflags(write=False)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Ordering:
        return Ordering(tuple(self.symbols[c] for c in self.codes[index]), int(self.degeneracies[index]))

    def __iter__(self) -> Iterator[Ordering]:
        return (self[i] for i in range(len(self)))


def list_orderings(sites: SupercellSites, composition: IntegerComposition, *, limit: int = 1_000_000) -> list[Ordering]:
    """List all symmetry-distinct orderings of a composition, in lexicographic order.

    Parameters
    ----------
    sites
        The supercell.
    composition
        The counts on its groups of sites.
    limit
        Refuse to list more than this many. They are counted first, which costs milliseconds.

    Raises
    ------
    CompositionError
        If there are more than `limit`.
    """
    return list(list_ordering_table(sites, composition, limit=limit))


def list_ordering_table(
    sites: SupercellSites, composition: IntegerComposition, *, limit: int = 1_000_000
) -> OrderingTable:
    """List all symmetry-distinct orderings as arrays; see :func:`list_orderings`.

    Raises
    ------
    CompositionError
        If there are more than `limit`.
    """
    count = count_orderings(sites, composition)
    if count.distinct > limit:
        raise CompositionError(
            f"{composition.formula} in the supercell {sites.supercell} has {count.distinct:,} distinct orderings; "
            f"the limit is {limit:,}.",
            fix="Sample them instead, use a smaller supercell, or raise the limit.",
        )
    chain = _Chain(sites, composition)
    columns, sizes = chain.survivors()
    symbols, base = _base_codes(sites, composition)
    codes = np.repeat(base[None, :], len(sizes), axis=0)
    for level, block in enumerate(chain.blocks):
        local = np.asarray([symbols.index(s) for s in block.species], dtype=np.uint8)
        codes[:, block.members] = local[block.unrank(columns[:, level])]
    return OrderingTable(symbols, codes, sizes)


def sample_orderings(
    sites: SupercellSites, composition: IntegerComposition, n: int, rng: np.random.Generator
) -> list[Ordering]:
    """Draw distinct orderings from a space of any size, uniformly over raw decorations, merged by symmetry.

    An orbit's chance to be drawn is proportional to its degeneracy, as at infinite temperature; what was drawn
    already is drawn again. It is a sample: nothing is said about the orderings that were not drawn. If the space has
    no more than `n` distinct orderings, all of them are returned.

    Parameters
    ----------
    sites, composition
        As in :func:`list_orderings`.
    n
        Number of distinct orderings wanted.
    rng
        Source of randomness.

    Returns
    -------
    list of Ordering
        Canonical, in the order of the draws.
    """
    return list(sample_ordering_table(sites, composition, n, rng))


def sample_ordering_table(
    sites: SupercellSites, composition: IntegerComposition, n: int, rng: np.random.Generator
) -> OrderingTable:
    """Draw distinct orderings as arrays; see :func:`sample_orderings`."""
    if n < 1:
        raise CompositionError(f"{n} orderings cannot be drawn.", fix="Ask for one or more.")
    count = count_orderings(sites, composition)
    if count.distinct <= max(4 * n, _LIST_INSTEAD):
        table = list_ordering_table(sites, composition, limit=count.distinct)
        if count.distinct <= n:
            return table
        # Drawing one by one and merging is drawing without replacement with weights proportional to degeneracy.
        drawn = rng.choice(len(table), size=n, replace=False, p=table.degeneracies / table.degeneracies.sum())
        return OrderingTable(table.symbols, table.codes[drawn], table.degeneracies[drawn])
    chain = _Chain(sites, composition)
    symbols, base = _base_codes(sites, composition)
    index = np.concatenate([b.members for b in chain.blocks])
    local = [np.asarray([symbols.index(s) for s in b.species], dtype=np.uint8) for b in chain.blocks]
    seen: dict[bytes, tuple[CodeArray, int]] = {}
    batch = max(1, min(4 * n, _CHUNK // max(1, sites.group_order)))
    while len(seen) < n:
        drawn_blocks = [rng.permuted(np.repeat(b.sorted_codes[None, :], batch, axis=0), axis=1) for b in chain.blocks]
        canonical, sizes = chain.canonical(drawn_blocks)
        merged = np.concatenate([m[c] for m, c in zip(local, canonical, strict=True)], axis=1)
        for row, size in zip(merged, sizes, strict=True):
            seen.setdefault(row.tobytes(), (row, int(size)))
            if len(seen) == n:
                break
    codes = np.repeat(base[None, :], n, axis=0)
    codes[:, index] = np.array([row for row, _ in seen.values()], dtype=np.uint8)
    return OrderingTable(symbols, codes, np.array([size for _, size in seen.values()], dtype=np.int64))


def to_atoms(sites: SupercellSites, ordering: Ordering) -> Any:
    """Turn an ordering into atoms: vacant sites left out, atoms of an element together, in the order of formulas.

    Returns
    -------
    ase.Atoms
        Periodic; ``info["degeneracy"]`` holds the degeneracy.
    """
    from ase import Atoms

    if len(ordering.species) != sites.n_sites:
        raise CompositionError(
            f"The ordering has {len(ordering.species)} sites, the supercell {sites.n_sites}.",
            fix="Use the ordering with the supercell that it was made for.",
        )
    occupied = [i for i, s in enumerate(ordering.species) if s != VACANCY]
    order = sorted(occupied, key=lambda i: (species_key(ordering.species[i]), i))
    atoms = Atoms(
        symbols=[ordering.species[i] for i in order],
        scaled_positions=sites.fractional[order],
        cell=sites.cell_A,
        pbc=True,
    )
    atoms.info["degeneracy"] = ordering.degeneracy
    return atoms


def _base_codes(sites: SupercellSites, composition: IntegerComposition) -> tuple[tuple[str, ...], CodeArray]:
    """Symbols of the whole composition, and the codes of the sites that all orderings share (others are 0)."""
    symbols = sort_species(s for counts in composition.counts for s in counts)
    codes = np.zeros(sites.n_sites, dtype=np.uint8)
    for group, counts in zip(composition.groups, composition.counts, strict=True):
        if len(counts) == 1:
            codes[list(group)] = symbols.index(next(iter(counts)))
    return symbols, codes


class _Block:
    """The decorations of one group of sites, numbered in lexicographic order."""

    def __init__(self, members: Sequence[int], species: Sequence[str], counts: Sequence[int], images: IntArray) -> None:
        self.members = np.asarray(members, dtype=np.int64)
        self.species = tuple(species)
        self.counts = tuple(counts)
        self.size = len(self.members)
        self.images = images
        self.sorted_codes = np.repeat(np.arange(len(counts)), counts).astype(np.uint8)
        self.raw = 1
        left = self.size
        for c in self.counts:
            self.raw *= comb(left, c)
            left -= c
        self._weights = self._limb_weights()
        self._table: IntArray | None = None

    def _limb_weights(self) -> FloatArray:
        """(limbs, size): place values, most significant limb first; sums stay below 2⁵³."""
        kinds = len(self.counts)
        digits = 1
        while kinds ** (digits + 1) < 1 << 53:
            digits += 1
        limbs = -(-self.size // digits)
        weights = np.zeros((limbs, self.size))
        for position in range(self.size):
            limb, place = divmod(position, digits)
            weights[limb, position] = float(kinds ** (digits - 1 - place))
        return weights

    def image_codes(self, decorations: CodeArray, operations: IntArray) -> FloatArray:
        """Return (limbs, m, n_ops): the numbers of the images of (m, size) decorations under operations."""
        places = self._weights[:, self.images[operations]]
        matrix = places.transpose(2, 0, 1).reshape(self.size, -1)
        product: FloatArray = decorations.astype(np.float64) @ matrix
        return product.reshape(len(decorations), len(self._weights), len(operations)).transpose(1, 0, 2)

    def unrank(self, ranks: IntArray) -> CodeArray:
        """Return (m, size) decorations by their number in lexicographic order."""
        table = self._completions()
        shape = np.array([c + 1 for c in self.counts])
        strides = np.concatenate([np.cumprod(shape[::-1])[::-1][1:], [1]])
        state = np.full(len(ranks), int(np.dot(self.counts, strides)), dtype=np.int64)
        remaining = np.repeat(np.array(self.counts, dtype=np.int64)[None, :], len(ranks), axis=0)
        rank = np.array(ranks, dtype=np.int64)
        codes = np.zeros((len(ranks), self.size), dtype=np.uint8)
        for position in range(self.size):
            undecided = np.ones(len(rank), dtype=bool)
            for kind in range(len(self.counts)):
                able = undecided & (remaining[:, kind] > 0)
                ways = np.where(able, table[np.where(able, state - strides[kind], 0)], 0)
                here = able & (rank < ways)
                codes[here, position] = kind
                state[here] -= strides[kind]
                remaining[here, kind] -= 1
                rank -= np.where(undecided & ~here, ways, 0)
                undecided &= ~here
        return codes

    def _completions(self) -> IntArray:
        """Return the flat table over remaining counts: number of ways to place what remains."""
        if self._table is None:
            if self.raw > _MAX_BLOCK:
                raise CompositionError(
                    f"A group of {self.size} sites has {self.raw:.3g} decorations, too many to be numbered.",
                    fix="Sample the orderings instead of listing them.",
                )
            shape = tuple(c + 1 for c in self.counts)
            table = np.zeros(shape, dtype=np.int64)
            for state in np.ndindex(shape):
                ways, left = 1, sum(state)
                for c in state:
                    ways *= comb(left, c)
                    left -= c
                table[state] = ways
            self._table = table.reshape(-1)
        return self._table

    def representatives(self, operations: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
        """Reduce the decorations by a subgroup.

        Parameters
        ----------
        operations
            (k,) indices of the operations of the subgroup; the first is the identity.

        Returns
        -------
        ranks : (r,) int
            Numbers of the decorations that are the smallest of their images.
        stabilisers : (r, k) bool
            Which operations leave them as they are.
        """
        ranks: list[IntArray] = []
        fixed: list[NDArray[np.bool_]] = []
        step = max(1024, _CHUNK * 8 // max(8, len(operations)))
        for start in range(0, self.raw, step):
            numbers = np.arange(start, min(start + step, self.raw), dtype=np.int64)
            codes = self.image_codes(self.unrank(numbers), operations)
            smaller, equal = _compare(codes, codes[:, :, :1])
            keep = ~smaller.any(axis=1)
            ranks.append(numbers[keep])
            fixed.append(equal[keep])
        return np.concatenate(ranks), np.concatenate(fixed)


def _compare(codes: FloatArray, reference: FloatArray) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Compare limb by limb: (codes < reference, codes == reference)."""
    smaller = codes[0] < reference[0]
    equal = codes[0] == reference[0]
    for limb, other in zip(codes[1:], reference[1:], strict=True):
        smaller |= equal & (limb < other)
        equal &= limb == other
    return smaller, equal


class _Chain:
    """The disordered groups of a composition in order, and the operations that act on them."""

    def __init__(self, sites: SupercellSites, composition: IntegerComposition) -> None:
        raw_blocks = disordered_blocks(composition)
        names = [tuple(c) for c in composition.counts if len(c) > 1]
        maps = [group_permutations(sites, members) for members, _ in raw_blocks]
        self.order = sites.group_order
        if maps:
            # Operations that act alike on all disordered sites are one; the identity comes first (it is the smallest).
            _, first = np.unique(np.concatenate(maps, axis=1), axis=0, return_index=True)
            maps = [m[first] for m in maps]
        self.n_operations = len(maps[0]) if maps else 1
        self.blocks = [
            _Block(members, species, counts, images)
            for (members, counts), species, images in zip(raw_blocks, names, maps, strict=True)
        ]
        self._memory: dict[tuple[int, bytes], tuple[IntArray, IntArray]] = {}

    def survivors(self) -> tuple[IntArray, IntArray]:
        """Return (n, n_blocks) decorations of all canonical orderings by number, sorted, and their degeneracies."""
        return self._below(0, np.arange(self.n_operations))

    def _below(self, level: int, operations: IntArray) -> tuple[IntArray, IntArray]:
        if level == len(self.blocks):
            return np.zeros((1, 0), dtype=np.int64), np.ones(1, dtype=np.int64)
        key = (level, operations.tobytes())
        if key not in self._memory:
            self._memory[key] = self._reduce(level, operations)
        return self._memory[key]

    def _reduce(self, level: int, operations: IntArray) -> tuple[IntArray, IntArray]:
        ranks, stabilisers = self.blocks[level].representatives(operations)
        kinds, which = np.unique(np.packbits(stabilisers, axis=1), axis=0, return_inverse=True)
        which = which.reshape(-1)
        columns: list[IntArray] = []
        sizes: list[IntArray] = []
        for kind in range(len(kinds)):
            heads = ranks[which == kind]
            kept = operations[stabilisers[np.argmax(which == kind)]]
            tails, tail_sizes = self._below(level + 1, kept)
            part = np.empty((len(heads) * len(tails), 1 + tails.shape[1]), dtype=np.int64)
            part[:, 0] = np.repeat(heads, len(tails))
            part[:, 1:] = np.tile(tails, (len(heads), 1))
            columns.append(part)
            sizes.append(np.tile(tail_sizes, len(heads)) * (len(operations) // len(kept)))
        merged = np.concatenate(columns)
        # Tails are sorted within a head, so that a stable sort by the heads restores lexicographic order.
        order = np.argsort(merged[:, 0], kind="stable")
        return merged[order], np.concatenate(sizes)[order]

    def canonical(self, decorations: Sequence[CodeArray]) -> tuple[list[CodeArray], IntArray]:
        """Bring decorations, one array (m, size) a block, into canonical form.

        Returns
        -------
        blocks : list of (m, size) uint8
        degeneracies : (m,) int
        """
        everything = np.arange(self.n_operations)
        candidates = np.ones((len(decorations[0]), self.n_operations), dtype=bool)
        for block, codes in zip(self.blocks, decorations, strict=True):
            for limb in block.image_codes(codes, everything):
                smallest = np.min(np.where(candidates, limb, np.inf), axis=1)
                candidates &= limb == smallest[:, None]
        chosen = np.argmax(candidates, axis=1)
        result = []
        for block, codes in zip(self.blocks, decorations, strict=True):
            image = np.empty_like(codes)
            np.put_along_axis(image, block.images[chosen], codes, axis=1)
            result.append(image)
        return result, self.n_operations // candidates.sum(axis=1)
