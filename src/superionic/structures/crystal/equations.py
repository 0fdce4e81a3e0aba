"""The equations of an integer composition: groups of sites, total charge, fixed totals, bounds on occupied sites."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from superionic.chemistry import VACANCY, sort_species
from superionic.errors import CompositionError
from superionic.structures.crystal.disordered import LEAST_OCCUPANCY, DisorderedCrystal
from superionic.structures.crystal.nearest import (
    MAX_STATES,
    IntegerProblem,
    TooManyStates,
    has_integer_solution,
    nearest_vectors,
)
from superionic.structures.crystal.supercells import Supercell

Coupling = str | Sequence[Sequence[str]]
"""``"per-orbit"``, ``"coupled"``, or lists of the names of sublattices that share one total."""

MAX_INDEX: Final = 24
"""Largest number of parent cells in the search for a supercell that fits."""

_SCAN_STATES: Final = 100_000  # a scan over sizes must be fast; a size that needs more counts as not fitting
_WHOLE: Final = 1e-3  # how far from an integer a total of refined occupancies may be
_NEARLY_WHOLE: Final = 0.02  # the same for amounts meant to be integers but written with few digits
_NEUTRAL_E: Final = 0.005  # net charge per atom that the rounding of refined occupancies may leave
_LARGER: Final = 3  # a supercell exact to the refinement may be this many times larger than the smallest that fits
_HALF: Final = 0.5 - 1e-9  # fraction of an atom that rounds up to one
_TIE: Final = 1e-9  # costs that differ by less are equal


@dataclass(frozen=True)
class OccupancyBound:
    """An upper bound on the sites occupied at once: Σ weight · occupied sites ≤ limit.

    Sites that exclude each other give such bounds: for two orbits where each site of A excludes a sites of B, and each
    of B excludes b of A, the sum over all excluded pairs is a·occupied(A) + b·occupied(B) ≤ number of pairs.

    Parameters
    ----------
    weights
        Weight of an occupied site, by name of the sublattice; positive integers.
    limit
        Largest sum, per parent cell.
    """

    weights: Mapping[str, int]
    limit: float | Fraction

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        if not self.weights or any(w < 1 for w in self.weights.values()) or not self.limit >= 0:
            raise CompositionError(
                f"A bound of {self.limit} on occupied sites with the weights {dict(self.weights)} has no meaning.",
                fix="Name one sublattice at least, with weights of 1 or more and a limit of 0 or more.",
            )


@dataclass(frozen=True)
class _Group:
    """Sites of the parent cell that share their counts."""

    name: str
    size: int
    sublattices: tuple[int, ...]
    occupancies: tuple[tuple[str, float], ...]

    @property
    def is_ordered(self) -> bool:
        return len(self.occupancies) == 1


class NothingFitsError(CompositionError):
    """No composition fits a supercell; the fix is worked out only when asked for, as that takes many times as long.

    Parameters
    ----------
    message, where
        As for any error.
    advise
        Returns the fix.
    """

    def __init__(self, message: str, *, where: str, advise: Callable[[], str]) -> None:
        super().__init__(message, where=where)
        self._fix: str | None = None
        self._advise: Callable[[], str] | None = advise

    @property
    def fix(self) -> str | None:
        """The remedy."""
        if self._advise is not None:
            self._fix, self._advise = self._advise(), None
        return self._fix

    @fix.setter
    def fix(self, value: str | None) -> None:
        self._fix, self._advise = value, None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(CompositionError, where=self.where, fix=self.fix), (self.message,)


_Vectors = tuple[tuple[int, ...], ...]


def compact_supercell(crystal: DisorderedCrystal, cells: int) -> Supercell:
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


class CompositionRequest:
    """The constraints on the integer compositions of a crystal, for supercells of any size."""

    def __init__(
        self,
        crystal: DisorderedCrystal,
        oxidation_states: Mapping[str, int | float],
        *,
        coupling: Coupling,
        exact_totals: Mapping[str, int | float | Fraction],
        max_occupied: Sequence[OccupancyBound],
        max_deviation: float | None,
        exact_species: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        self.crystal = crystal
        self.oxidation_states = {s: float(oxidation_states[s]) for s in crystal.species if s in oxidation_states}
        self.charges = _scaled_charges(crystal, oxidation_states)
        self.groups = _groups(crystal, coupling)
        self.max_deviation = max_deviation
        self.strict = strict
        amounts = dict(_amounts(self.groups))
        self.totals: dict[str, int | float | Fraction] = {s: amounts[s] for s in exact_species if s in amounts}
        self.totals.update(exact_totals)
        names = [s.name for s in crystal.sublattices]
        for bound in max_occupied:
            for name in bound.weights:
                crystal.sublattice(name)  # its error lists the names there are
        self.bounds = [({names.index(k): w for k, w in b.weights.items()}, b.limit) for b in max_occupied]

    @property
    def amounts(self) -> dict[str, float]:
        """Refined amount of each species in the parent cell."""
        return {s: n for s, n in _amounts(self.groups) if s != VACANCY and n > 0.0}

    def solve(
        self, cells: int, limit: int, *, max_states: int = MAX_STATES
    ) -> tuple[list[tuple[float, _Vectors]], str]:
        """Return the best count vectors of all groups with their costs, or none and the reason.

        Vectors of equal cost are sorted by how far their totals depart from the refined ones.
        """
        solutions, problem = self._solve_keeping(cells, limit, max_states=max_states)
        if not solutions:
            return solutions, problem
        first = solutions[0]
        if self._off_totals(first[1], cells) > _WHOLE and (exact := self._with_refined_totals(cells)) is not None:
            best, _ = exact._solve_keeping(cells, 1, max_states=max_states)
            if best and abs(best[0][0] - first[0]) <= _TIE:
                solutions = [best[0], *(v for v in solutions if v[1] != best[0][1])][:limit]
        return sorted(solutions, key=lambda entry: (round(entry[0] / _TIE), self._off_totals(entry[1], cells))), ""

    def _solve_keeping(
        self, cells: int, limit: int, *, max_states: int = MAX_STATES
    ) -> tuple[list[tuple[float, _Vectors]], str]:
        """Solve, and solve again with an atom required of each species that a solution loses though it must not.

        A species of which the refinement has half an atom or more is retained wherever possible, unless every
        deviation is allowed.
        """
        must, required = self._must_stay(), set[str]()
        while True:
            solutions, problem = self._solve_once(cells, limit, sorted(required), max_states)
            lost = {s for _, vectors in solutions for s in self.lost(vectors, cells)} & must - required
            if not lost:
                break
            required |= lost
        if not solutions:
            return solutions, f"what would fit has lost {' or '.join(sort_species(required))}" if required else problem
        required_if_possible = required.copy()
        while self.max_deviation is not None and self.max_deviation < 1.0:
            gone = self.lost(solutions[0][1], cells)
            required_if_possible |= {s for s, number in gone.items() if number >= _HALF}
            if required_if_possible == required:
                break
            better, _ = self._solve_once(cells, limit, sorted(required_if_possible), max_states)
            if not better:
                break
            solutions, required = better, required_if_possible.copy()
        return solutions, ""

    def _must_stay(self) -> set[str]:
        """Return the species that must not vanish: those that only the one-atom allowance could remove."""
        if self.strict:
            return set(self.amounts)
        if self.max_deviation is None:
            return set()
        return {s for g in self.groups for s, o in g.occupancies if s != VACANCY and o > self.max_deviation + 1e-9}

    def lost(self, vectors: _Vectors, cells: int) -> dict[str, float]:
        """Return the species of the refinement that vanish, with their refined amounts in the cells."""
        totals = self._totals_of(vectors)
        return {s: n * cells for s, n in self.amounts.items() if not totals.get(s)}

    def _totals_of(self, vectors: _Vectors) -> dict[str, int]:
        totals: dict[str, int] = {}
        for group, vector in zip(self.groups, vectors, strict=True):
            for (species, _), number in zip(group.occupancies, vector, strict=True):
                totals[species] = totals.get(species, 0) + number
        return totals

    def _off_totals(self, vectors: _Vectors, cells: int) -> float:
        """Return how far the totals are from the refined ones: the root of the summed squares, in atoms."""
        totals = self._totals_of(vectors)
        return round(math.sqrt(sum((totals.get(s, 0) - n * cells) ** 2 for s, n in self.amounts.items())), 6)

    def _with_refined_totals(self, cells: int) -> CompositionRequest | None:
        """Return the same request with all integer refined totals imposed exactly; None if there are none."""
        whole = {
            s: Fraction(round(n * cells), cells)
            for s, n in self.amounts.items()
            if s not in self.totals and abs(n * cells - round(n * cells)) <= _NEARLY_WHOLE and round(n * cells) > 0
        }
        if not whole:
            return None
        request = copy(self)
        request.totals = {**self.totals, **whole}
        return request

    def _solve_once(
        self, cells: int, limit: int, required: Sequence[str], max_states: int
    ) -> tuple[list[tuple[float, _Vectors]], str]:
        try:
            problem, free = self._problem(cells, required)
        except CompositionError as error:
            return [], error.message
        try:
            vectors = nearest_vectors(problem, limit, max_states=max_states) if len(problem.means) else [(0.0, ())]
        except TooManyStates:
            return [], "the search was abandoned: there are too many ways to come near"
        if not vectors:
            if not has_integer_solution(problem.coefficients, problem.totals):
                return [], "no whole numbers of atoms balance the charges" + (" and the totals" if self.totals else "")
            near = "" if self.max_deviation is None else " near the refined occupancies"
            return [], f"no counts{near} are neutral" + (" with the totals asked for" if self.totals else "")
        solutions = []
        for cost, vector in vectors:
            entries = iter(vector)
            solutions.append(
                (
                    cost,
                    tuple(
                        (group.size * cells,) if index not in free else tuple(next(entries) for _ in group.occupancies)
                        for index, group in enumerate(self.groups)
                    ),
                )
            )
        return solutions, ""

    def _problem(self, cells: int, required: Sequence[str]) -> tuple[IntegerProblem, set[int]]:
        """Write the counts of the disordered groups as one vector, and their constraints as equations."""
        free = {i for i, g in enumerate(self.groups) if not g.is_ordered}
        entries = [(i, s, o) for i in sorted(free) for s, o in self.groups[i].occupancies]
        sizes = np.array([self.groups[i].size * cells for i, _, _ in entries], dtype=np.int64)
        means = np.round(np.array([o for _, _, o in entries]) * sizes, 9)
        least = 0.0 if self.strict else 1.0
        window = sizes if self.max_deviation is None else np.maximum(self.max_deviation * sizes, least) + 1e-9
        lower = np.maximum(0, np.ceil(means - window)).astype(np.int64)
        upper = np.minimum(sizes, np.floor(means + window)).astype(np.int64)
        rows: list[list[int]] = []
        totals: list[int] = []
        slacks: list[tuple[int, int]] = []  # row, largest value
        for i in sorted(free):
            rows.append([int(j == i) for j, _, _ in entries])
            totals.append(self.groups[i].size * cells)
        fixed = [(g.occupancies[0][0], g.size * cells) for g in self.groups if g.is_ordered]
        rows.append([self.charges[s] for _, s, _ in entries])
        totals.append(-sum(self.charges[s] * n for s, n in fixed))
        for species, amount in self.totals.items():
            rows.append([int(s == species) for _, s, _ in entries])
            totals.append(_whole(amount * cells, species) - sum(n for s, n in fixed if s == species))
        for weights, maximum in self.bounds:
            row, rest = self._bound_row(entries, weights, cells, math.floor(maximum * cells + 1e-6))
            touched = {i for (i, _, _), w in zip(entries, row, strict=True) if w}
            if len(touched) == 1:
                # One group: its vacancies have a smallest number.
                weight = max(row)
                (i,) = touched
                for k, (j, s, _) in enumerate(entries):
                    if j == i and s == VACANCY:
                        lower[k] = max(lower[k], sizes[k] - max(rest, 0) // weight)
                        upper[k] = max(upper[k], lower[k])
                if rest < 0 or (rest // weight < sizes[row.index(weight)] and not self._has_vacancy(i)):
                    raise CompositionError("more sites are occupied than the distances between them allow")
            elif rest < 0:
                raise CompositionError("more sites are occupied than the distances between them allow")
            elif touched:
                rows.append(row)
                totals.append(rest)
                slacks.append((len(rows) - 1, rest))
        for species in required:  # one atom at least: minus their number, and a slack, is -1
            rows.append([-int(s == species) for _, s, _ in entries])
            totals.append(-1)
            most = sum(int(n) for (_, s, _), n in zip(entries, sizes, strict=True) if s == species)
            slacks.append((len(rows) - 1, most))
        matrix = np.array(rows, dtype=np.int64).reshape(len(rows), len(entries))
        extra = np.zeros((len(rows), len(slacks)), dtype=np.int64)
        for k, (r, _) in enumerate(slacks):
            extra[r, k] = 1
        problem = IntegerProblem(
            means=np.concatenate([means, np.zeros(len(slacks))]),
            weights=np.concatenate([1.0 / sizes, np.zeros(len(slacks))]),
            lower=np.concatenate([lower, np.zeros(len(slacks), dtype=np.int64)]),
            upper=np.concatenate([upper, np.array([m for _, m in slacks], dtype=np.int64)]),
            coefficients=np.hstack([matrix, extra]),
            totals=np.array(totals, dtype=np.int64),
        )
        if len(problem.means) == 0 and np.any(problem.totals != 0):
            raise CompositionError("the crystal is ordered, and its charges do not balance")
        return problem, free

    def _has_vacancy(self, group: int) -> bool:
        return any(s == VACANCY for s, _ in self.groups[group].occupancies)

    def _bound_row(
        self, entries: Sequence[tuple[int, str, float]], weights: Mapping[int, int], cells: int, limit: int
    ) -> tuple[list[int], int]:
        """Write a bound on sublattices as one on groups; exact unless a group joins sublattices of unequal weight."""
        of_group: dict[int, int] = {}
        for i, group in enumerate(self.groups):
            inside = [weights.get(k, 0) for k in group.sublattices]
            if group.is_ordered:
                limit -= sum(
                    w * self.crystal.sublattices[k].multiplicity * cells
                    for k, w in zip(group.sublattices, inside, strict=True)
                )
            elif min(inside) > 0:
                of_group[i] = min(inside)
        return [of_group.get(i, 0) if s != VACANCY else 0 for i, s, _ in entries], limit

    def members(self, cells: int) -> tuple[tuple[int, ...], ...]:
        """Return the indices in the supercell of the sites of each group."""
        return tuple(
            tuple(
                site * cells + copy
                for site in sorted(s for i in group.sublattices for s in self.crystal.sublattices[i].sites)
                for copy in range(cells)
            )
            for group in self.groups
        )

    def failure(self, supercell: Supercell, problem: str) -> CompositionError:
        """Return the error that nothing fits; its fix says what would."""
        return NothingFitsError(
            f"No charge-neutral integer composition fits the supercell {supercell}: {problem}{self._charge_text()}.",
            where=f"{self.crystal.name} ({self.crystal.cell_formula} in the parent cell)",
            advise=partial(self._advice, supercell),
        )

    def _advice(self, supercell: Supercell) -> str:
        """Name a supercell that fits, and the deviation that would be enough."""
        strictly = copy(self)
        strictly.strict = self.max_deviation is not None
        cells = next((n for n in strictly.fitting_indices(MAX_INDEX) if n != supercell.multiplicity), None)
        if cells is None and not self.strict:
            cells = self.smallest_index(MAX_INDEX, other_than=supercell.multiplicity)
        fixes = []
        if cells is None:
            fixes.append(f"no supercell of up to {MAX_INDEX} parent cells fits: check oxidation states and occupancies")
        else:
            shape = compact_supercell(self.crystal, cells)
            fixes.append(f"use a supercell of {cells} parent cell{'s' * (cells > 1)}, such as {shape}")
        if self.max_deviation is not None and (wider := self._wider(supercell.multiplicity)):
            fixes.append(wider)
        fix = ", or ".join(fixes)
        return f"{fix[0].upper()}{fix[1:]}."

    def _charge_text(self) -> str:
        """State the net charge of the refined composition, where it is not neutral."""
        amounts = self.amounts
        net = sum(self.oxidation_states[s] * n for s, n in amounts.items())
        if abs(net) < _NEUTRAL_E * sum(amounts.values()):
            return ""
        states = ", ".join(f"{s}{self.oxidation_states[s]:+g}" for s in sort_species(amounts))
        return f"; with {states} the refined composition has a net charge of {net:+.2f} e in the parent cell"

    def _wider(self, cells: int) -> str:
        """Return the deviation that would be enough for a supercell of that many cells, as advice; empty if none is."""
        wider = copy(self)
        wider.max_deviation, wider.strict = None, False
        solutions, _ = wider.solve(cells, 1)
        if not solutions:
            return ""
        vectors = solutions[0][1]
        enough = math.ceil(self._largest_difference(vectors, cells) * 1000 - 1e-6) / 1000
        lost = self.lost(vectors, cells)
        loss = f", which leaves no {' and no '.join(lost)}" if lost else ""
        return (
            f"allow a larger deviation from the occupancies (now {self.max_deviation:g}; {enough:g} is enough{loss}): "
            f"--max-deviation {enough:g}, or enumerate.max_composition_deviation in a campaign file"
        )

    def smallest_index(self, max_index: int, *, other_than: int = 0) -> int | None:
        """Return the smallest number of parent cells that has a solution, or None up to `max_index`."""
        return next((n for n in range(1, max_index + 1) if n != other_than and self._fits(n)), None)

    def fitting_indices(self, max_index: int) -> list[int]:
        """Return the smallest numbers of parent cells that have a solution; one that is exact comes first.

        They go up to three times the smallest. One that holds the refinement exactly (to 0.02 atoms) is preferred to
        smaller ones.
        """
        first = self.smallest_index(max_index)
        if first is None:
            return []
        near = [first, *(n for n in range(first + 1, min(_LARGER * first, max_index) + 1) if self._fits(n))]
        exact = next((n for n in near if self._is_exact(n)), None)
        return near if exact is None else [exact, *(n for n in near if n != exact)]

    def _fits(self, cells: int) -> bool:
        return bool(self._solve_keeping(cells, 1, max_states=_SCAN_STATES)[0])

    def _is_exact(self, cells: int) -> bool:
        solutions, _ = self._solve_keeping(cells, 1, max_states=_SCAN_STATES)
        return bool(solutions) and all(
            abs(count - group.size * cells * occupancy) <= _NEARLY_WHOLE + 1e-9
            for group, vector in zip(self.groups, solutions[0][1], strict=True)
            for count, (_, occupancy) in zip(vector, group.occupancies, strict=True)
        )

    def _largest_difference(self, vectors: _Vectors, cells: int) -> float:
        return max(
            abs(count / (group.size * cells) - occupancy)
            for group, vector in zip(self.groups, vectors, strict=True)
            for count, (_, occupancy) in zip(vector, group.occupancies, strict=True)
        )


def _whole(amount: int | float | Fraction, species: str) -> int:
    """Return a total as an integer; raise if it is not one."""
    total = round(amount)
    if abs(float(amount) - total) > (_WHOLE if isinstance(amount, float) else 0.0):
        raise CompositionError(f"it would hold {float(amount):.3f} {species} atoms")
    return total


def _amounts(groups: Iterable[_Group]) -> list[tuple[str, float]]:
    """Return the amounts per parent cell that follow from the occupancies (not yet rounded)."""
    sums: dict[str, float] = {}
    for group in groups:
        for species, occupancy in group.occupancies:
            sums[species] = sums.get(species, 0.0) + occupancy * group.size
    return list(sums.items())


def _scaled_charges(crystal: DisorderedCrystal, oxidation_states: Mapping[str, int | float]) -> dict[str, int]:
    """Return the oxidation states as integers in a common unit, so that neutrality is exact."""
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


def _groups(crystal: DisorderedCrystal, coupling: Coupling) -> list[_Group]:
    collected: dict[tuple[Any, ...], list[int]] = {}
    for index, key in enumerate(_group_keys(crystal, coupling)):
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
                if occupancy < LEAST_OCCUPANCY:
                    continue
                amounts[species] = amounts.get(species, 0.0) + occupancy / total * sublattice.multiplicity / sites
        groups.append(
            _Group(
                name="+".join(crystal.sublattices[i].name for i in members),
                size=sites,
                sublattices=tuple(members),
                occupancies=tuple((s, amounts[s]) for s in sort_species(amounts)),
            )
        )
    return groups


def _group_keys(crystal: DisorderedCrystal, coupling: Coupling) -> list[tuple[Any, ...]]:
    """Return one key for each sublattice; those with equal keys share their counts."""
    own: list[tuple[Any, ...]] = [(index,) for index in range(len(crystal.sublattices))]
    if coupling == "per-orbit":
        return own
    if coupling == "coupled":
        return [
            key if s.is_ordered else (-1, tuple(s.species), s.vacancy > 0.0)
            for key, s in zip(own, crystal.sublattices, strict=True)
        ]
    if isinstance(coupling, str):
        raise CompositionError(
            f"{coupling!r} is not a coupling.", fix='Use "per-orbit", "coupled", or lists of names of sublattices.'
        )
    names = [s.name for s in crystal.sublattices]
    assigned: set[str] = set()
    for number, together in enumerate(coupling):
        for name in [together] if isinstance(together, str) else together:
            crystal.sublattice(name)  # its error lists the names there are
            if name in assigned:
                raise CompositionError(
                    f"The coupling names the sublattice {name} twice.",
                    where=crystal.name,
                    fix="Put each sublattice into one group at most.",
                )
            assigned.add(name)
            own[names.index(name)] = (-1, number)
    return own
