"""Stream all symmetry-distinct orderings of a space, holding only the path and one chunk in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from superionic.chemistry import VACANCY
from superionic.errors import CompositionError
from superionic.structures.crystal.symmetry import FloatArray, IntArray
from superionic.structures.orderings import listing_kernels as kernels
from superionic.structures.orderings.space import CodeArray, OrderingSpace

CHUNK = 1 << 15
NO_LIMIT = 1 << 62
_BINS = 512
_TAIL_ROWS = 1 << 12
_TAIL_SITES = 62
"""Largest number of sites in the tail, which are bits of a signed integer."""


@dataclass(frozen=True, eq=False)
class OrderingChunk:
    """A stretch of consecutive orderings of a listing.

    Parameters
    ----------
    decorations
        (m, n_free) uint8 codes of the free sites, canonical, in lexicographic order.
    degeneracies
        (m,) int64: number of decorations that symmetry makes equal to each.
    superperiodic
        (m,) bool: whether a translation of the parent keeps it, so that a smaller supercell has it too.
    """

    decorations: CodeArray
    degeneracies: IntArray
    superperiodic: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.degeneracies)


def stream_orderings(
    space: OrderingSpace, *, chunk: int = CHUNK, max_nodes: int | None = None
) -> Iterator[OrderingChunk]:
    """List all orderings that respect the exclusions, in lexicographic order, chunk by chunk.

    Parameters
    ----------
    space
        The space; of any size, as the stream may be abandoned at any moment.
    chunk
        Number of orderings in a chunk.
    max_nodes
        Give up after this many steps of the walk (some 10⁷ a second). With exclusions many steps may lead nowhere.

    Yields
    ------
    OrderingChunk

    Raises
    ------
    CompositionError
        If the steps run out.
    """
    walker = Walker(space, capacity=chunk)
    left = NO_LIMIT if max_nodes is None else max_nodes
    while not walker.finished:
        written = walker.advance(left)
        if written:
            yield OrderingChunk(
                walker.codes[:written].copy(),
                walker.degeneracies[:written].copy(),
                walker.superperiodic[:written].copy(),
            )
        if max_nodes is not None:
            left = max_nodes - walker.nodes
            if left <= 0 and not walker.finished:
                raise CompositionError(
                    f"The listing of {space.composition.formula} was abandoned after {max_nodes:,} steps, with "
                    f"{walker.leaves:,} orderings listed.",
                    fix="Sample the orderings instead, or use a smaller supercell.",
                )


class Walker:
    """The path of a walk over the orderings of a space; the loop is :func:`.listing_kernels.walk`.

    Parameters
    ----------
    capacity
        Orderings that one step may write.
    matrix, charges
        (n_sites, n_sites) in eV/e² and the charge in e of every species, if energies are to be computed.
    choice
        Which orderings are written; all if None.

    Attributes
    ----------
    codes
        The output: (capacity, n_free) codes of the free sites.
    choice, statistics
        Which orderings are written, and what is known of the energies of all that were reached.
    base_energy_eV
        The energy to which those of the walk are relative.
    """

    plain_steps_left: ClassVar[int] = 2_000
    """Steps that walks in this process may still make in plain Python, with the same result to the last bit.

    They list a small space in less time than it takes to load the compiled loop.
    """

    def __init__(
        self,
        space: OrderingSpace,
        *,
        capacity: int = CHUNK,
        matrix: FloatArray | None = None,
        charges: dict[str, float] | None = None,
        choice: kernels.Choice | None = None,
    ) -> None:
        n, n_ops, n_blocks = space.n_free, len(space.permutations), len(space.blocks)
        kinds = max((len(b.species) for b in space.blocks), default=1)
        remaining = np.zeros((n_blocks, kinds), dtype=np.int64)
        vacancy = np.full(n_blocks, -1, dtype=np.int64)
        for index, block in enumerate(space.blocks):
            remaining[index, : len(block.counts)] = block.counts
            if VACANCY in block.species:
                vacancy[index] = block.species.index(VACANCY)
        starts, neighbours = _earlier_neighbours(space)
        last = np.full((n_ops, 1), n, dtype=np.int32)
        sites = kernels.Sites(
            permutations=np.hstack([space.permutations.astype(np.int32), last]),
            inverse=np.hstack([np.argsort(space.permutations, axis=1).astype(np.int32), last]),
            is_translation=np.array(space.translations),
            block_of=np.array(space.block_of),
            n_kinds=np.array([len(b.species) for b in space.blocks], dtype=np.int64),
            vacancy=vacancy,
            blocked=np.array(space.blocked),
            neighbour_start=starts,
            neighbours=neighbours,
        )
        self.base_energy_eV, relative = _relative_charges(space, matrix, charges, kinds)
        self._tables = kernels.Tables(sites, _tail_table(space, kinds, relative), relative)
        n_waiting = np.zeros(n + 1, dtype=np.int64)
        waiting = np.zeros((n + 1, n_ops), dtype=np.int32)
        for g in range(1, n_ops):
            first = int(sites.inverse[g, 0])
            waiting[first, n_waiting[first]] = g
            n_waiting[first] += 1
        self._path = kernels.Path(
            codes=np.full(n + 1, -1, dtype=np.int8),
            remaining=remaining,
            n_waiting=n_waiting,
            waiting=waiting,
            n_moved=np.zeros(n + 1, dtype=np.int64),
            moved=np.zeros((n + 1, n_ops), dtype=np.int32),
            energy=np.zeros(n + 1),
            n_charged=np.zeros(n + 1, dtype=np.int64),
            charged=np.zeros(max(1, n), dtype=np.int64),
        )
        self._position = kernels.Position()
        self.statistics = kernels.Energies()
        self.choice = kernels.Choice() if choice is None else choice
        self._output = kernels.Output(
            codes=np.zeros((capacity, n), dtype=np.int8),
            degeneracies=np.zeros(capacity, dtype=np.int64),
            superperiodic=np.zeros(capacity, dtype=np.bool_),
            energies=np.zeros(capacity),
            histogram=np.zeros(_BINS, dtype=np.int64),
            histogram_raw=np.zeros(_BINS, dtype=np.int64),
        )
        self.codes = self._output.codes.view(np.uint8)

    @property
    def degeneracies(self) -> IntArray:
        """Number of decorations that symmetry makes equal to each ordering of the output."""
        return self._output.degeneracies

    @property
    def superperiodic(self) -> NDArray[np.bool_]:
        """Whether a translation of the parent keeps each ordering of the output."""
        return self._output.superperiodic

    @property
    def energies(self) -> FloatArray:
        """Energy of each ordering of the output, in eV relative to `base_energy_eV`."""
        return self._output.energies

    @property
    def histogram(self) -> tuple[IntArray, IntArray]:
        """Numbers of distinct and of raw orderings in each bin of energy, if the lowest are written."""
        return self._output.histogram, self._output.histogram_raw

    @property
    def finished(self) -> bool:
        """Whether everything is listed."""
        return bool(self._position.is_finished)

    @property
    def nodes(self) -> int:
        """Number of steps made."""
        return int(self._position.nodes)

    @property
    def leaves(self) -> int:
        """Number of orderings reached."""
        return int(self._position.leaves)

    @property
    def at_cut(self) -> tuple[int, int]:
        """Numbers of distinct and raw orderings at the cut."""
        return int(self._position.at_cut), int(self._position.at_cut_raw)

    def lower_cut(self, cut_eV: float, at_cut: tuple[int, int]) -> None:
        """Write only orderings up to a cut from now on; `at_cut` are the numbers at the cut so far."""
        self.choice = self.choice._replace(cut_eV=cut_eV)
        self._position = self._position._replace(at_cut=at_cut[0], at_cut_raw=at_cut[1])

    def advance(self, max_nodes: int = NO_LIMIT) -> int:
        """Continue the walk; return how many orderings are in the output now."""
        if self.codes.shape[1] == 0:  # nothing is free: one ordering
            if self.finished:
                return 0
            self._position = kernels.Position(leaves=1, is_finished=True)
            self.statistics = kernels.Energies(minimum=0.0, maximum=0.0)
            self._output.degeneracies[0] = self._output.histogram[0] = self._output.histogram_raw[0] = 1
            return 1
        written, made = 0, min(max_nodes, Walker.plain_steps_left)
        if made > 0:
            before = self.nodes
            written = self._walk(kernels.walk, 0, made)
            made = self.nodes - before
            Walker.plain_steps_left -= made
            max_nodes -= made
        if self.finished or written == len(self.degeneracies) or max_nodes <= 0:
            return written
        Walker.plain_steps_left = 0
        return written + self._walk(kernels.compiled_walk(), written, max_nodes)

    def _walk(self, walk: Callable[..., Any], first: int, max_nodes: int) -> int:
        """Continue the walk, writing from row `first` of the output; return how many orderings were written."""
        rows = self._output
        output = rows._replace(
            codes=rows.codes[first:],
            degeneracies=rows.degeneracies[first:],
            superperiodic=rows.superperiodic[first:],
            energies=rows.energies[first:],
        )
        written, self._position, self.statistics = walk(
            self._tables, self._path, self._position, self.statistics, self.choice, output, max_nodes
        )
        return int(written)


def _earlier_neighbours(space: OrderingSpace) -> tuple[IntArray, IntArray]:
    """Return, as compressed rows, the earlier sites that each free site excludes."""
    order = np.lexsort((space.exclusions[:, 0], space.exclusions[:, 1]))
    pairs = space.exclusions[order]
    starts = np.searchsorted(pairs[:, 1], np.arange(space.n_free + 1)).astype(np.int64)
    return starts, np.ascontiguousarray(pairs[:, 0], dtype=np.int64)


def _relative_charges(
    space: OrderingSpace, matrix: FloatArray | None, charges: dict[str, float] | None, kinds: int
) -> tuple[float, kernels.Charges]:
    """Refer charges to the commonest species of each block, so that what all orderings share is computed once."""
    n_blocks = len(space.blocks)
    relative = np.zeros((max(1, n_blocks), kinds))
    if matrix is None or charges is None:
        return 0.0, kernels.Charges(False, relative, np.zeros(1), np.zeros((1, 1)))
    reference = np.zeros(space.sites.n_sites)
    for group, counts in zip(space.composition.groups, space.composition.counts, strict=True):
        reference[list(group)] = charges[max(counts, key=lambda s: counts[s])]
    for index, block in enumerate(space.blocks):
        q = np.array([charges[s] for s in block.species])
        relative[index, : len(q)] = q - q[int(np.argmax(block.counts))]
    field = 2.0 * (matrix @ reference)
    members = space.members
    return float(reference @ matrix @ reference), kernels.Charges(
        True,
        relative,
        np.ascontiguousarray(field[members]),
        np.ascontiguousarray(matrix[np.ix_(members, members)]),
    )


def _tail_size(space: OrderingSpace) -> int:
    """Choose how many sites the table covers: whole blocks at the end as far as they fit, never the first block.

    As a rule the sites of the first block decide the operations, and not before its end; a tail that reaches into
    it would seldom be free of them.
    """
    size, rows, fits = 0, 1, 0
    while size < min(space.n_free - 1, _TAIL_SITES):
        block = int(space.block_of[space.n_free - 1 - size])
        rows *= len(space.blocks[block].species)
        if rows > _TAIL_ROWS or block == 0:
            break
        size += 1
        if block != space.block_of[space.n_free - 1 - size]:
            fits = size
    if fits:
        return fits
    return size if len(space.blocks) > 1 else min(6, space.n_free // 4)


def _tail_table(space: OrderingSpace, kinds: int, charges: kernels.Charges) -> kernels.Tail:
    """Tabulate all ways to fill the last few sites, by the remaining counts of each species."""
    n = space.n_free
    n_kinds = [len(b.species) for b in space.blocks]
    size = _tail_size(space)
    owners = space.block_of[n - size :]
    codes = np.zeros((1, 0), dtype=np.int8)
    for block in owners:
        options = np.arange(n_kinds[block], dtype=np.int8)
        codes = np.hstack([np.repeat(codes, len(options), axis=0), np.tile(options, len(codes))[:, None]])
    strides = np.zeros((len(space.blocks), kinds), dtype=np.int64)
    index = np.zeros(len(codes), dtype=np.int64)
    stride = 1
    for block in dict.fromkeys(int(b) for b in owners):
        within = int(np.sum(owners == block))
        for kind in range(n_kinds[block]):
            strides[block, kind] = stride
            index += stride * np.sum(codes[:, owners == block] == kind, axis=1)
            stride *= within + 1
    first = n - size
    bits = np.int64(1) << np.arange(size, dtype=np.int64)
    occupied = np.ones(codes.shape, dtype=bool)
    for column, block in enumerate(owners):
        if VACANCY in space.blocks[block].species:
            occupied[:, column] = codes[:, column] != space.blocks[block].species.index(VACANCY)
    allowed = ~occupied[:, space.blocked[first:]].any(axis=1)
    reached = np.zeros(n, dtype=np.int64)
    for i, j in space.exclusions:
        if i >= first:
            allowed &= ~(occupied[:, i - first] & occupied[:, j - first])
        elif j >= first:
            reached[i] |= bits[j - first]
    order = np.flatnonzero(allowed)
    order = order[np.argsort(index[order], kind="stable")]
    codes, occupied = codes[order], occupied[order]
    starts = np.searchsorted(index[order], np.arange(stride + 1)).astype(np.int64)
    q = charges.relative[owners[None, :], codes] if charges.are_given else np.zeros(codes.shape)
    own = np.zeros(len(q))
    if charges.are_given:
        own = q @ charges.field[first:] + np.sum((q @ charges.matrix[first:, first:]) * q, axis=1)
    row, site = np.nonzero(q)
    return kernels.Tail(
        strides=strides,
        start_row=starts,
        codes=codes,
        occupied=occupied @ bits,
        neighbours=reached,
        charged_start=np.searchsorted(row, np.arange(len(codes) + 1)).astype(np.int64),
        charged=site.astype(np.int64),
        charges=q[row, site],
        self_energy=np.ascontiguousarray(own),
        potential=np.zeros(size),
    )
