"""The state space of Monte Carlo: decorations connected by swaps, and their energies.

Energies come from tables that compiled loops read (:class:`EwaldEnergy`, and the cluster surrogate of
:mod:`superionic.thermodynamics.lattice_mc.surrogate`), or from a function of decorations (:class:`CallableEnergy`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError, CalculationFailed, CompositionError

if TYPE_CHECKING:
    from superionic.thermodynamics.lattice_mc.kernels import Moves, Tables

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
CodeArray = NDArray[np.uint8]

_LOCAL_SHARE = 0.5
"""Fraction of the attempts that hop across an excluded pair, where there are any."""


@dataclass(frozen=True, eq=False)
class SwapSpace:
    """The decorations that swaps connect: counts, exclusions, and one allowed decoration to start from.

    Parameters
    ----------
    block_of
        (n_free,) block of each free site.
    start
        (n_free,) codes; they set how many sites of each block each code takes.
    vacancies
        For each block the code of the vacancy, or None.
    exclusions
        (n_pairs, 2) free sites that may not both be occupied.
    blocked
        (n_free,) sites that must stay vacant.

    Raises
    ------
    CompositionError
        If lengths differ, or the start violates an exclusion.
    """

    block_of: IntArray
    start: CodeArray
    vacancies: tuple[int | None, ...]
    exclusions: IntArray | None = None
    blocked: BoolArray | None = None

    def __post_init__(self) -> None:
        n = len(self.block_of)
        pairs = np.zeros((0, 2)) if self.exclusions is None else self.exclusions
        block_of, start = np.array(self.block_of, dtype=np.int64), np.array(self.start, dtype=np.uint8)
        exclusions = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        blocked = np.array(np.zeros(n) if self.blocked is None else self.blocked, dtype=bool)
        if start.shape != (n,) or blocked.shape != (n,) or n == 0:
            raise CompositionError(
                f"{n} free sites have a start of shape {start.shape} and {blocked.shape} marks.",
                fix="Give one code and one mark for each free site.",
            )
        if int(block_of.max()) >= len(self.vacancies):
            raise CompositionError(
                f"There are {int(block_of.max()) + 1} blocks and {len(self.vacancies)} vacancy codes.",
                fix="Give the vacancy's code, or None, for each block.",
            )
        named: dict[str, NDArray[Any]] = {
            "block_of": block_of,
            "start": start,
            "exclusions": exclusions,
            "blocked": blocked,
        }
        for name, array in named.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if not self.allows(start[None])[0]:
            raise CompositionError(
                "The starting decoration violates an exclusion.", fix="Start from a decoration that respects them all."
            )

    @property
    def n_free(self) -> int:
        """Number of free sites."""
        return len(self.block_of)

    @property
    def n_codes(self) -> int:
        """One more than the largest code."""
        return max(int(self.start.max()), *(v for v in (*self.vacancies, 0) if v is not None)) + 1

    @property
    def vacancy_codes(self) -> IntArray:
        """(n_free,) the code of the vacancy on each site, or −1."""
        return np.array([-1 if v is None else v for v in self.vacancies], dtype=np.int64)[self.block_of]

    def allows(self, decorations: CodeArray) -> BoolArray:
        """Return which of (m, n_free) decorations respect the exclusions."""
        occupied = decorations != self.vacancy_codes
        pairs, blocked = np.asarray(self.exclusions), np.asarray(self.blocked)
        clash: BoolArray = occupied[:, blocked].any(axis=1)
        clash |= (occupied[:, pairs[:, 0]] & occupied[:, pairs[:, 1]]).any(axis=1)
        return ~clash

    def layout(self, codes: CodeArray) -> tuple[IntArray, IntArray]:
        """Return the sites that can move, by block and species, and the rank of each site in that order."""
        sites = np.flatnonzero(~np.asarray(self.blocked))
        order = sites[np.lexsort((sites, codes[sites], self.block_of[sites]))]
        rank = np.full(self.n_free, -1, dtype=np.int64)
        rank[order] = np.arange(len(order))
        return order.astype(np.int64), rank

    def moves(self) -> Moves:
        """Return the swaps as arrays for the compiled loops."""
        from superionic.thermodynamics.lattice_mc.kernels import Moves

        order, _ = self.layout(self.start)
        blocks, codes = self.block_of[order], self.start[order]
        classes: list[tuple[int, int, int, int]] = []
        weights: list[float] = []
        for block in range(len(self.vacancies)):
            here = np.flatnonzero(blocks == block)
            kinds, first, counts = np.unique(codes[here], return_index=True, return_counts=True)
            pairs = [(a, b) for a in range(len(kinds)) for b in range(a + 1, len(kinds))]
            total = sum(int(counts[a]) * int(counts[b]) for a, b in pairs)
            for a, b in pairs:
                start_a, start_b = int(here[first[a]]), int(here[first[b]])
                classes.append((start_a, int(counts[a]), start_b, int(counts[b])))
                # Weight blocks by their size, pairs of species by their number of pairs of sites.
                weights.append(len(here) * int(counts[a]) * int(counts[b]) / total)
        chances = np.cumsum(weights) / max(sum(weights), 1e-300)
        pairs_array, vacancy, blocked = np.asarray(self.exclusions), self.vacancy_codes, np.asarray(self.blocked)
        i, j = pairs_array[:, 0], pairs_array[:, 1]
        near = (self.block_of[i] == self.block_of[j]) & (vacancy[i] >= 0) & ~blocked[i] & ~blocked[j] & (i != j)
        both = np.concatenate([pairs_array, pairs_array[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        return Moves(
            classes=np.array(classes, dtype=np.int64).reshape(-1, 4),
            cumulative=np.asarray(chances, dtype=np.float64).reshape(-1),
            local_pairs=np.ascontiguousarray(pairs_array[near]),
            local_share=_LOCAL_SHARE if near.any() else 0.0,
            excluded_start=np.searchsorted(both[:, 0], np.arange(self.n_free + 1)).astype(np.int64),
            excluded=np.ascontiguousarray(both[:, 1]),
            vacancy=vacancy,
        )


class LatticeEnergy(Protocol):
    """An energy of decorations, in eV per cell."""

    def energies(self, decorations: CodeArray) -> FloatArray:
        """Return the energies of (m, n_free) decorations; NaN where a calculation failed."""
        ...

    def tables(self) -> Tables | None:
        """Return the energy as tables for the compiled loops; None if there are none, so that each move calls it."""
        ...


@dataclass(frozen=True, eq=False)
class EwaldEnergy:
    """Point-charge energy E = qᵀ M q of the free sites in the field of the fixed ones.

    Parameters
    ----------
    matrix
        (n_free, n_free) in eV/e², symmetric.
    charges
        (n_free, n_codes) charge in e of each code on each site, alike on all sites of a block.
    field
        (n_free,) in eV/e: 2 Σ M_ij q_j over the fixed sites.
    constant
        Energy of the fixed sites among themselves in eV.
    """

    matrix: FloatArray
    charges: FloatArray
    field: FloatArray
    constant: float = 0.0

    @classmethod
    def from_sites(
        cls,
        matrix: FloatArray,
        members: IntArray,
        block_of: IntArray,
        block_charges: Sequence[Sequence[float]],
        site_charges: FloatArray,
    ) -> EwaldEnergy:
        """Build it from the matrix of all sites.

        Parameters
        ----------
        matrix
            (n_sites, n_sites) in eV/e².
        members, block_of
            (n_free,) index among all sites, and block, of each free site.
        block_charges
            For each block the charge in e of each of its codes, 0 for the vacancy.
        site_charges
            (n_sites,) charges of the fixed sites; those of the free sites are not read.
        """
        n_codes = max(len(q) for q in block_charges)
        table = np.array([[*q, *[0.0] * (n_codes - len(q))] for q in block_charges], dtype=np.float64)
        fixed = np.array(site_charges, dtype=np.float64)
        fixed[members] = 0.0
        potential = matrix @ fixed
        return cls(
            matrix=np.ascontiguousarray(matrix[np.ix_(members, members)]),
            charges=np.ascontiguousarray(table[block_of]),
            field=2.0 * potential[members],
            constant=float(fixed @ potential),
        )

    def energies(self, decorations: CodeArray) -> FloatArray:
        """Return the energies of (m, n_free) decorations in eV per cell."""
        q = self.charges[np.arange(len(self.charges)), np.atleast_2d(decorations)]
        result: FloatArray = np.einsum("ij,ij->i", q @ self.matrix + self.field, q) + self.constant
        return result

    def tables(self) -> Tables:
        """Return the arrays for the compiled loops."""
        # One array type for any input: loops are compiled per type, and read-only is a type of its own.
        charges, matrix, field = (
            np.require(a, np.float64, ["C", "W"]) for a in (self.charges, self.matrix, self.field)
        )
        return empty_tables()._replace(constant=float(self.constant), charges=charges, matrix=matrix, field=field)


class IdealMixing:
    """Zero energy: all allowed decorations are equally likely."""

    def energies(self, decorations: CodeArray) -> FloatArray:
        """Return zeros."""
        return np.zeros(len(decorations))

    def tables(self) -> Tables:
        """Return empty tables."""
        return empty_tables()


@dataclass(frozen=True)
class CallableEnergy:
    """The energy of any function of decorations, for instance a potential that relaxes each structure.

    Parameters
    ----------
    function
        Takes (m, n_free) codes, returns (m,) energies in eV per cell. A failed one is NaN, or raises
        :class:`superionic.errors.CalculationFailed`; then the decorations are tried one by one.
    """

    function: Callable[[CodeArray], FloatArray]

    def energies(self, decorations: CodeArray) -> FloatArray:
        """Return (m,) energies in eV, NaN where the calculation failed."""
        try:
            values = np.asarray(self.function(decorations), dtype=np.float64).reshape(-1)
        except CalculationFailed:
            if len(decorations) == 1:
                return np.array([np.nan])
            return np.concatenate([self.energies(decorations[k : k + 1]) for k in range(len(decorations))])
        if len(values) != len(decorations):
            raise AnalysisError(
                f"The energy function returned {len(values)} energies for {len(decorations)} decorations.",
                fix="Return one energy for each row.",
            )
        return np.where(np.isfinite(values), values, np.nan)

    def tables(self) -> None:
        """Return None: there are no tables."""
        return


def empty_tables() -> Tables:
    """Return tables of an energy that is zero: ideal mixing."""
    from superionic.thermodynamics.lattice_mc.kernels import Tables

    none, no_sites = np.zeros(0), np.zeros(0, dtype=np.int64)
    flat, cube = np.zeros((0, 0)), np.zeros((0, 0, 0))
    no_pairs = np.zeros((0, 2), dtype=np.int64)
    return Tables(
        0.0, flat, flat, none, flat, no_sites, no_sites, no_sites, cube, no_sites, no_pairs, no_sites, cube[..., None]
    )
