"""Joint-composition polynomials: the number of ways in which parts of a crystal share given counts of species.

Each part (a pool of equal cycles of sites, a cluster of cycles that exclude each other) is a polynomial whose exponents
are the numbers of sites that the species take, and whose coefficients are numbers of ways. The ways of all parts
together are one coefficient of the product. Products are made in one Python integer each: coefficients occupy fields
of equal width, so that adding and multiplying integers adds and multiplies polynomials exactly (Kronecker, J. reine
angew. Math. 92, 1 (1882)). The same products, when stored, serve to draw a distribution uniformly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import comb, prod
from typing import Protocol

import numpy as np

Exponents = tuple[int, ...]

_SPARSE = 48
_MAX_HELD = 3e7
_REMEMBERED = 100_000


class BudgetExceededError(Exception):
    """The exact count would take more work or memory than allowed; the caller estimates it instead."""


class Budget:
    """The work that remains allowed, in 64-bit words touched; a billion take some seconds.

    Parameters
    ----------
    words
        The work allowed. Memory held at one time, or stored for drawing, is limited to 3 × 10⁷ words (240 MB) anyway.
    """

    def __init__(self, words: float) -> None:
        self.words = float(words)
        self.storage = _MAX_HELD

    def hold(self, words: float) -> None:
        """Refuse to hold too much memory at one time.

        Raises
        ------
        BudgetExceededError
            If it is too much.
        """
        if words > _MAX_HELD:
            raise BudgetExceededError

    def spend(self, words: float, *, keep: bool = False) -> None:
        """Deduct work (and memory).

        Raises
        ------
        BudgetExceededError
            If none is left.
        """
        self.words -= words
        if keep:
            self.storage -= words
        if self.words < 0.0 or self.storage < 0.0:
            raise BudgetExceededError


def random_below(rng: np.random.Generator, limit: int) -> int:
    """Draw an integer of any size uniformly from 0 to limit − 1."""
    bits = limit.bit_length()
    if bits <= 62:
        return int(rng.integers(limit))
    size = (bits + 7) // 8
    while True:
        value = int.from_bytes(rng.bytes(size), "little") >> (8 * size - bits)
        if value < limit:
            return value


class Part(Protocol):
    """A polynomial in the counts."""

    def ways(self, exponents: Exponents) -> int:
        """Return one coefficient."""
        ...

    def terms(self, limit: Exponents) -> Mapping[Exponents, int]:
        """Return all coefficients that are not zero, up to a limit of each exponent."""
        ...


@dataclass(frozen=True)
class Pool:
    """Cycles of one length in one group of sites, that are filled independently of each other.

    Parameters
    ----------
    length, number
        Sites in each cycle, and how many cycles.
    first, kinds
        Index of the first exponent of the group's species, and their number; one more species takes the rest.
    """

    length: int
    number: int
    first: int
    kinds: int

    def cycles(self, exponents: Exponents) -> tuple[int, ...]:
        """Return how many cycles each species takes, the remaining species last; () if that is impossible."""
        cycles_taken = []
        left = self.number
        for variable, exponent in enumerate(exponents):
            times, rest = divmod(exponent, self.length)
            if self.first <= variable < self.first + self.kinds:
                if rest or exponent < 0:
                    return ()
                cycles_taken.append(times)
                left -= times
            elif exponent:
                return ()
        return (*cycles_taken, left) if left >= 0 else ()

    def ways(self, exponents: Exponents) -> int:
        """Return the multinomial coefficient."""
        cycles_taken = self.cycles(exponents)
        if not cycles_taken:
            return 0
        result, left = 1, self.number
        for times in cycles_taken[:-1]:
            result *= comb(left, times)
            left -= times
        return result

    def exponents(self, limit: Exponents) -> Iterator[Exponents]:
        """Yield all exponents that occur, up to a limit."""
        before = (0,) * self.first
        after = (0,) * (len(limit) - self.first - self.kinds)
        most = [min(limit[self.first + k] // self.length, self.number) for k in range(self.kinds)]
        for cycles_taken in product(*(range(m + 1) for m in most)):
            if sum(cycles_taken) <= self.number:
                yield (*before, *(t * self.length for t in cycles_taken), *after)

    def terms(self, limit: Exponents) -> dict[Exponents, int]:
        """Return the multinomial expansion."""
        return {e: self.ways(e) for e in self.exponents(limit)}

    @property
    def n_terms(self) -> int:
        """Number of terms of the whole expansion."""
        return comb(self.number + self.kinds, self.kinds)


@dataclass(frozen=True, eq=False)
class Table:
    """A polynomial given by its coefficients."""

    coefficients: Mapping[Exponents, int]

    def ways(self, exponents: Exponents) -> int:
        """Return one coefficient."""
        return self.coefficients.get(exponents, 0)

    def terms(self, limit: Exponents) -> dict[Exponents, int]:
        """Return the coefficients up to a limit."""
        return {e: w for e, w in self.coefficients.items() if all(a <= b for a, b in zip(e, limit, strict=True))}


@dataclass(frozen=True)
class Layout:
    """The position of the coefficient of each exponent in an integer.

    Parameters
    ----------
    sizes
        One more than the largest exponent of each variable.
    width
        Bytes for one coefficient.
    """

    sizes: tuple[int, ...]
    width: int

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one exponent of a variable to the next; the first variable moves farthest."""
        return tuple(self.width * prod(self.sizes[k + 1 :]) for k in range(len(self.sizes)))

    @property
    def words(self) -> float:
        """Size of a full polynomial in words of 64 bits."""
        return prod(self.sizes) * self.width / 8.0 + 1.0

    def place(self, exponents: Exponents) -> int:
        """Return the byte at which a coefficient starts."""
        place = 0
        for exponent, size in zip(exponents, self.sizes, strict=True):
            place = place * size + exponent
        return place * self.width

    def read(self, packed: bytes, exponents: Exponents) -> int:
        """Return one coefficient of a packed polynomial."""
        if any(not 0 <= e < s for e, s in zip(exponents, self.sizes, strict=True)):
            return 0
        place = self.place(exponents)
        return int.from_bytes(packed[place : place + self.width], "little")

    def pack(self, terms: Mapping[Exponents, int]) -> int:
        """Return the integer of a polynomial."""
        buffer = bytearray(self.width * prod(self.sizes))
        for exponents, ways in terms.items():
            place = self.place(exponents)
            buffer[place : place + self.width] = ways.to_bytes(self.width, "little")
        return int.from_bytes(buffer, "little")

    def to_bytes(self, packed: int) -> bytes:
        """Return the integer as bytes that :meth:`read` can look into."""
        return packed.to_bytes(self.width * prod(self.sizes) + 1, "little")


class Shares:
    """All ways to distribute counts among parts: their number, and uniform draws.

    Parameters
    ----------
    parts
        The parts. The pool with the most terms is never expanded.
    target
        The counts to be met exactly.
    budget
        Work allowed; exceeding it raises :class:`BudgetExceededError`.
    keep
        Keep the products, so that :meth:`draw` works.

    Attributes
    ----------
    count
        Number of ways.
    """

    def __init__(self, parts: Sequence[Part], target: Exponents, budget: Budget, *, keep: bool = False) -> None:
        self.target = target
        if not parts:
            parts = [Table({(0,) * len(target): 1})]
        sizes = [p.n_terms if isinstance(p, Pool) else 0 for p in parts]
        self._last = sizes.index(max(sizes))
        self._others = [k for k in range(len(parts)) if k != self._last]
        self._parts = list(parts)
        known: dict[int, dict[Exponents, int]] = {}
        self._terms: dict[int, Mapping[Exponents, int]] = {}
        for k in self._others:
            part = parts[k]
            if id(part) not in known:
                known[id(part)] = dict(part.terms(target))
                budget.spend(20.0 * len(known[id(part)]))
            self._terms[k] = known[id(part)]
        self._layout = self._lay_out()
        self._products: list[bytes] = []
        self._known_options: dict[tuple[int, Exponents], tuple[list[int], list[tuple[Exponents, Exponents]]]] = {}
        whole = self._multiply(budget, keep)
        self._root: list[Exponents] = []
        self._cumulative: list[int] = []
        self.count = 0
        for last in self._last_exponents():
            rest = tuple(t - e for t, e in zip(target, last, strict=True))
            ways = parts[self._last].ways(last)
            ways *= self._layout.read(whole, rest) if ways else 0
            if ways:
                self.count += ways
                self._root.append(last)
                self._cumulative.append(self.count)

    def _lay_out(self) -> Layout:
        sizes = [1] * len(self.target)
        total = 1
        for terms in self._terms.values():
            for v in range(len(sizes)):
                sizes[v] += max((e[v] for e in terms), default=0)
            total *= max(1, sum(terms.values()))
        if sizes:
            # Terms past the target drop out at the top of the integer: the first variable needs no room for them.
            sizes[0] = min(sizes[0], self.target[0] + 1)
        return Layout(tuple(sizes), total.bit_length() // 8 + 1)

    def _multiply(self, budget: Budget, keep: bool) -> bytes:
        layout = self._layout
        budget.hold(layout.words)
        whole = 1
        mask = (1 << (8 * layout.width * prod(layout.sizes))) - 1
        packed: dict[int, int] = {}
        strides = layout.strides
        for k in self._others:
            if keep:
                budget.spend(layout.words, keep=True)
                self._products.append(layout.to_bytes(whole))
            terms = self._terms[k]
            dense = len(terms) > _SPARSE
            budget.spend(layout.words * (len(terms) if not dense else 4.0 * layout.words**0.585))
            if dense:
                key = id(terms)
                if key not in packed:
                    packed[key] = layout.pack(terms)
                whole *= packed[key]
            else:
                summed = 0
                for exponents, ways in terms.items():
                    shift = 8 * sum(e * s for e, s in zip(exponents, strides, strict=True))
                    summed += (whole * ways) << shift
                whole = summed
            whole &= mask
        return layout.to_bytes(whole)

    def _last_exponents(self) -> Iterator[Exponents]:
        part = self._parts[self._last]
        return part.exponents(self.target) if isinstance(part, Pool) else iter(part.terms(self.target))

    def draw(self, rng: np.random.Generator) -> list[Exponents]:
        """Draw the exponents of each part, in their order, with the correct probability."""
        result: list[Exponents] = [()] * len(self._parts)
        at = 0 if len(self._root) == 1 else bisect_right(self._cumulative, random_below(rng, self.count))
        last = self._root[at]
        result[self._last] = last
        rest = tuple(t - e for t, e in zip(self.target, last, strict=True))
        for at in range(len(self._others) - 1, -1, -1):
            totals, outcomes = self._options(at, rest)
            choice = 0 if len(totals) == 1 else bisect_right(totals, random_below(rng, totals[-1]))
            result[self._others[at]], rest = outcomes[choice]
        return result

    def _options(self, at: int, rest: Exponents) -> tuple[list[int], list[tuple[Exponents, Exponents]]]:
        """Return the cumulative ways of the choices for one part, each with what it leaves; cached, as they recur."""
        options = self._known_options.get((at, rest))
        if options is None:
            totals: list[int] = []
            outcomes = []
            total = 0
            for exponents, ways in self._terms[self._others[at]].items():
                left = tuple(t - e for t, e in zip(rest, exponents, strict=True))
                ways_left = self._layout.read(self._products[at], left)
                if ways_left:
                    total += ways * ways_left
                    totals.append(total)
                    outcomes.append((exponents, left))
            options = totals, outcomes
            if len(self._known_options) < _REMEMBERED:
                self._known_options[at, rest] = options
        return options
