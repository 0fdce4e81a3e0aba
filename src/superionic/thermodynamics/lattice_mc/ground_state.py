"""Search for the orderings of lowest energy: replica exchange from independent starts, with steepest descents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from superionic.errors import AnalysisError
from superionic.thermodynamics.lattice_mc.lattice import (
    CodeArray,
    EwaldEnergy,
    FloatArray,
    IntArray,
    LatticeEnergy,
    SwapSpace,
)
from superionic.thermodynamics.lattice_mc.replicas import MonteCarloState, advance, begin
from superionic.thermodynamics.lattice_mc.sampling import TemperatureLadder, fit_ladder
from superionic.units import BOLTZMANN_EV_PER_K

if TYPE_CHECKING:
    from superionic.thermodynamics.lattice_mc.kernels import Harvest, Tables

SAME_ENERGY_EV = 1e-7
"""Energies that differ by less than this count as one level."""

_BUFFER = 2048
_QUENCHES = 4
_ROUNDS = 5
_COLD = 4


@dataclass(frozen=True, eq=False)
class SearchEvidence:
    """The evidence for or against the result of a search.

    Parameters
    ----------
    lowest_eV, first_sweep
        (n_searches,) lowest energy of each independent search, and the sweep at which it was first reached.
    n_agreeing, n_needed
        Number of searches that found the lowest energy of all (to 1e-7 eV), and the number required.
    found_by
        (n_kept,) number of searches that reached each ordering kept.
    n_found_twice
        Number of these that two or more searches reached.
    temperatures_K
        The ladder.
    exchange
        (n_T − 1,) rate of exchanges, all searches together.
    round_trips
        (n_searches,).
    attempts
        Attempted swaps, all searches together.
    """

    lowest_eV: FloatArray
    first_sweep: IntArray
    n_agreeing: int
    n_needed: int
    found_by: IntArray
    n_found_twice: int
    temperatures_K: FloatArray
    exchange: FloatArray
    round_trips: IntArray
    attempts: int


@dataclass(frozen=True, eq=False)
class GroundStateSearch:
    """The lowest distinct orderings reached by independent searches.

    Parameters
    ----------
    decorations
        (n_kept, n_free) codes, lowest first, in canonical form.
    energies_eV
        (n_kept,) energy of the cell.
    evidence
        The evidence for them.
    converged
        Whether enough searches agree on the lowest energy. It is evidence, not proof.
    interchangeable
        Whether species of equal charge are interchangeable: then each decoration is one of the orderings of its
        pattern of charges, which all have the same energy.
    """

    decorations: CodeArray
    energies_eV: FloatArray
    evidence: SearchEvidence
    converged: bool
    interchangeable: bool


def search_ground_state(
    space: SwapSpace,
    energy: LatticeEnergy,
    *,
    seed: int = 0,
    n_searches: int = 6,
    agree: int = 4,
    budget: int = 50_000_000,
    keep: int = 20,
    permutations: IntArray | None = None,
    max_replicas: int = 24,
) -> GroundStateSearch:
    """Search the lowest orderings by replica exchange from independent random starts, with steepest descents.

    Parameters
    ----------
    space, energy
        The decorations connected by swaps, and their energy, which must have tables.
    seed
        Each seed gives one reproducible result.
    n_searches, agree
        Number of independent searches, and number that must find the same lowest energy.
    budget
        Attempted swaps of all searches together, some 10⁶ a second. They stop at 1/16, 1/8, 1/4 or 1/2 of it if by then
        all agree on the lowest energy, and two or more on every ordering kept.
    keep
        Number of distinct orderings to keep.
    permutations
        (n_actions, n_free) the group, the identity first: orderings that it makes equivalent count as one. None: all
        differ.
    max_replicas
        Largest number of temperatures. Their range is where between 1 % and 40 % of the swaps are accepted.

    Raises
    ------
    AnalysisError
        If numbers are not positive, more agreement is asked for than there are searches, or the energy has no tables.
    """
    if not (1 <= agree <= n_searches and budget > 0 and keep > 0):
        raise AnalysisError(
            f"{n_searches} searches, {agree} to agree, {budget} swaps and {keep} to keep are not possible.",
            fix="Give positive numbers, and no more to agree than there are searches.",
        )
    _tables(energy)
    small, small_energy, label_of = _merge_equal_charges(space, energy)
    identity = np.arange(space.n_free)[None]
    group = np.require(identity if permutations is None else permutations, np.int64, ["C", "W"])
    if len(small.moves().classes) == 0:
        return _single(space, small, energy, n_searches, agree)
    first, *seeds = np.random.SeedSequence(seed).spawn(n_searches + 1)
    attempts = small.layout(small.start)[0].size
    # Hard spaces need a ladder well spaced where they freeze: that takes a few per cent of the budget.
    pilot = min(3000, max(200, budget // (400 * attempts)))
    temperatures = _search_ladder(small, small_energy, first, max_replicas, pilot)
    n_t = len(temperatures)
    total = max(_ROUNDS * _QUENCHES, budget // (n_searches * n_t * attempts))
    searches = [_begin_search(small, small_energy, temperatures, s) for s in seeds]
    done = 0
    for length in _round_lengths(total):
        for search in searches:
            _continue_search(search, small, small_energy, done, done + length, keep, group)
        done += length
        if _all_agree(searches, keep):
            break
    pool: dict[bytes, float] = {}
    for search in searches:
        for key, (value, _) in search.pool.items():
            pool.setdefault(key, value)
    lowest_keys = sorted(pool, key=lambda key: (round(pool[key] / SAME_ENERGY_EV), key))[:keep]
    found_by = np.array([sum(key in s.pool for s in searches) for key in lowest_keys], dtype=np.int64)
    lowest = np.array([min(v for v, _ in s.pool.values()) for s in searches])
    when = [
        min(w for v, w in s.pool.values() if v <= low + SAME_ENERGY_EV) for s, low in zip(searches, lowest, strict=True)
    ]
    n_agreeing = int(np.sum(lowest <= lowest.min() + SAME_ENERGY_EV))
    patterns = np.array([np.frombuffer(key, dtype=np.uint8) for key in lowest_keys])
    decorations = _fill(space, label_of, patterns)
    states = [s.state for s in searches]
    tried = np.sum([s.exchange_tried for s in states], axis=0)
    evidence = SearchEvidence(
        lowest_eV=lowest,
        first_sweep=np.array(when, dtype=np.int64),
        n_agreeing=n_agreeing,
        n_needed=agree,
        found_by=found_by,
        n_found_twice=int(np.sum(found_by >= 2)),
        temperatures_K=temperatures,
        exchange=np.sum([s.exchange_accepted for s in states], axis=0) / np.maximum(1, tried),
        round_trips=np.array([s.trips.sum() for s in states], dtype=np.int64),
        attempts=int(sum(s.sweep for s in states) * n_t * attempts),
    )
    return GroundStateSearch(
        decorations=decorations,
        energies_eV=energy.energies(decorations),
        evidence=evidence,
        converged=n_agreeing >= agree,
        interchangeable=_is_merged(space, label_of),
    )


@dataclass(eq=False)
class _Search:
    """One search under way; the pool maps canonical codes to energy and the sweep at which they were first reached."""

    pool: dict[bytes, tuple[float, int]]
    state: MonteCarloState
    harvest: Harvest


def _round_lengths(total: int) -> list[int]:
    """Return the sweeps of each round: each as long as all before it, so that easy searches end early."""
    ends = [total >> k for k in range(_ROUNDS - 1, -1, -1)]
    return [b - a for a, b in pairwise([0, *ends])]


def _all_agree(searches: Sequence[_Search], keep: int) -> bool:
    """Return whether all searches have the same lowest orderings, each reached by two or more of them."""
    lowest = [min(v for v, _ in s.pool.values()) for s in searches]
    if max(lowest) > min(lowest) + SAME_ENERGY_EV:
        return False
    pool = {key: value for s in searches for key, (value, _) in s.pool.items()}
    lowest_keys = sorted(pool, key=lambda key: (round(pool[key] / SAME_ENERGY_EV), key))[:keep]
    # The last level may be cut off: which of its orderings a search kept is no evidence.
    last = pool[lowest_keys[-1]] - SAME_ENERGY_EV
    return all(sum(key in s.pool for s in searches) >= 2 for key in lowest_keys if pool[key] < last)


def _begin_search(
    space: SwapSpace, energy: LatticeEnergy, temperatures: FloatArray, seed: np.random.SeedSequence
) -> _Search:
    """Begin a search, with a start scrambled at infinite temperature for each replica."""
    scramble, main, hashing = seed.spawn(3)
    starts = np.repeat(space.start[None], len(temperatures), axis=0)
    hot = begin(space, energy, np.full(len(temperatures), 1e12), starts, scramble, 1 << 30)
    starts = advance(space, energy, hot, 20).codes
    state = begin(space, energy, temperatures, starts, main, 1 << 30)
    return _Search({}, state, _harvest(space, starts, np.random.default_rng(hashing)))


def _continue_search(
    search: _Search, space: SwapSpace, energy: LatticeEnergy, begin: int, end: int, keep: int, group: IntArray
) -> None:
    """Run one search from one sweep to another, with steepest descents at even intervals."""
    harvest = search.harvest
    points = np.linspace(begin, end, _QUENCHES + 1).astype(int)
    for first, last in pairwise(points):
        _collect(search.pool, _quenched(space, energy, search.state, _COLD), np.full(_COLD, first), energy, group, keep)
        harvest.limit[0] = _limit(search.pool, keep)
        search.state = advance(space, energy, search.state, int(last - first), harvest)
        n = int(harvest.filled[0])
        _collect(search.pool, harvest.codes[:n], harvest.sweeps[:n], energy, group, keep)
        harvest.filled[0] = 0
    _collect(search.pool, _quenched(space, energy, search.state, _COLD), np.full(_COLD, end), energy, group, keep)


def _limit(pool: Mapping[bytes, tuple[float, int]], keep: int) -> float:
    """Return the energy below which a state may be new to a pool; ties with the last one kept are not."""
    return max(v for v, _ in pool.values()) - SAME_ENERGY_EV if len(pool) >= keep else np.inf


def _collect(
    pool: dict[bytes, tuple[float, int]],
    codes: CodeArray,
    sweeps: IntArray,
    energy: LatticeEnergy,
    group: IntArray,
    keep: int,
) -> None:
    """Merge states into a pool, and keep only its lowest."""
    from superionic.thermodynamics.lattice_mc.kernels import canonical

    if not len(codes):
        return
    _, first = np.unique(codes, axis=0, return_index=True)
    images = canonical(np.ascontiguousarray(codes[np.sort(first)]), group)
    when = sweeps[np.sort(first)]
    images, first = np.unique(images, axis=0, return_index=True)
    for image, value, index in zip(images, energy.energies(images), first, strict=True):
        pool.setdefault(image.tobytes(), (float(value), int(when[index])))
    ranked = sorted(pool, key=lambda key: (round(pool[key][0] / SAME_ENERGY_EV), key))
    for key in ranked[keep:]:
        del pool[key]


def _quenched(space: SwapSpace, energy: LatticeEnergy, state: MonteCarloState, n: int) -> CodeArray:
    """Return (n, n_free): the decorations at the lowest temperatures after a steepest descent."""
    from superionic.thermodynamics.lattice_mc import kernels

    tables, moves = _tables(energy), space.moves()
    result = np.empty((n, space.n_free), dtype=np.uint8)
    for k in range(n):
        codes = state.codes[state.at[k % len(state.at)]].copy()
        order, rank = space.layout(codes)
        potential = np.zeros(space.n_free)
        kernels.refresh(tables, codes, potential)
        kernels.quench(tables, moves, order, rank, codes, potential, 1e-9)
        result[k] = codes
    return result


def _search_ladder(
    space: SwapSpace, energy: LatticeEnergy, seed: np.random.SeedSequence, max_replicas: int, pilot_sweeps: int
) -> FloatArray:
    """Find the range in which swaps go from rare to common, and space a ladder in it."""
    scramble, pilot, fit = seed.spawn(3)
    hot = advance(space, energy, begin(space, energy, np.array([1e12]), space.start[None], scramble, 1 << 30), 50)
    # At infinite temperature the energies spread by a few swap energies; that is hot enough to begin the search.
    scale = max(float(np.std(hot.energies_eV)), 1e-6) / BOLTZMANN_EV_PER_K
    codes = hot.codes[0]
    coarse = np.geomspace(scale / 300.0, scale, 12)
    starts = np.repeat(codes[None], len(coarse), axis=0)
    state = advance(space, energy, begin(space, energy, coarse, starts, pilot, 1 << 30), 200)
    acceptance = state.accepted / (200 * state.order.shape[1])
    low = coarse[max(0, int(np.searchsorted(acceptance, 0.01)) - 1)]
    high = coarse[min(len(coarse) - 1, max(int(np.searchsorted(acceptance, 0.4)), 1))]
    high = high if high > low else coarse[-1] * 1.01
    ladder = TemperatureLadder(float(low), float(high), max_replicas=max_replicas, pilot_sweeps=pilot_sweeps)
    temperatures, _, _ = fit_ladder(space, energy, ladder, fit)
    return temperatures


def _harvest(space: SwapSpace, starts: CodeArray, rng: np.random.Generator) -> Harvest:
    from superionic.thermodynamics.lattice_mc.kernels import Harvest

    keys = rng.integers(1, 1 << 62, size=(space.n_free, space.n_codes), dtype=np.int64)
    hashes = [int(np.bitwise_xor.reduce(keys[np.arange(space.n_free), row])) for row in starts]
    return Harvest(
        keys=keys,
        hashes=np.array(hashes, dtype=np.int64),
        visited=np.zeros(1 << 16, dtype=np.int64),
        codes=np.zeros((_BUFFER, space.n_free), dtype=np.uint8),
        energies=np.zeros(_BUFFER),
        sweeps=np.zeros(_BUFFER, dtype=np.int64),
        filled=np.zeros(2, dtype=np.int64),
        limit=np.array([np.inf]),
    )


def _merge_equal_charges(space: SwapSpace, energy: LatticeEnergy) -> tuple[SwapSpace, LatticeEnergy, IntArray]:
    """Merge codes of equal charge, which a point-charge energy cannot distinguish; vacancies stay separate.

    Return the space and energy of the labels, and (n_blocks, n_codes) the label of each code.
    """
    n_blocks, n_codes = len(space.vacancies), space.n_codes
    label_of = np.repeat(np.arange(n_codes)[None], n_blocks, axis=0)
    if not isinstance(energy, EwaldEnergy):
        return space, energy, label_of
    charges = np.zeros_like(energy.charges)
    for block, vacancy in enumerate(space.vacancies):
        sites = np.flatnonzero(space.block_of == block)
        present = sorted({int(c) for c in space.start[sites]} | ({vacancy} if vacancy is not None else set()))
        labels: dict[tuple[float, bool], int] = {}
        for code in present:
            charge = float(energy.charges[sites[0], code])
            label_of[block, code] = labels.setdefault((charge, code == vacancy), len(labels))
            charges[sites, label_of[block, code]] = charge
    merged = SwapSpace(
        block_of=space.block_of,
        start=label_of[space.block_of, space.start].astype(np.uint8),
        vacancies=tuple(None if v is None else int(label_of[b, v]) for b, v in enumerate(space.vacancies)),
        exclusions=space.exclusions,
        blocked=space.blocked,
    )
    return merged, replace(energy, charges=charges), label_of


def _is_merged(space: SwapSpace, label_of: IntArray) -> bool:
    codes = np.unique(np.stack([space.block_of, space.start], axis=1), axis=0)
    labels = np.unique(np.stack([codes[:, 0], label_of[codes[:, 0], codes[:, 1]]], axis=1), axis=0)
    return len(labels) < len(codes)


def _tables(energy: LatticeEnergy) -> Tables:
    tables = energy.tables()
    if tables is None:
        raise AnalysisError(
            "This energy is a function without tables; a search would call it too often.",
            fix="Fit a surrogate to it first (fit_surrogate), and search on that.",
        )
    return tables


def _fill(space: SwapSpace, label_of: IntArray, patterns: CodeArray) -> CodeArray:
    """Put species onto patterns of labels: of interchangeable ones the first code on the first sites."""
    result = np.zeros_like(patterns)
    for block in range(len(space.vacancies)):
        sites = np.flatnonzero(space.block_of == block)
        codes = np.sort(space.start[sites])
        for label in np.unique(label_of[block, codes]):
            fill = codes[label_of[block, codes] == label]
            for row in range(len(patterns)):
                result[row, sites[patterns[row, sites] == label]] = fill
    return result


def _single(
    space: SwapSpace, small: SwapSpace, energy: LatticeEnergy, n_searches: int, agree: int
) -> GroundStateSearch:
    """Return the result for a space with only one pattern."""
    decoration = np.array(space.start)[None]
    value = energy.energies(decoration)
    evidence = SearchEvidence(
        lowest_eV=np.repeat(value, n_searches),
        first_sweep=np.zeros(n_searches, dtype=np.int64),
        n_agreeing=n_searches,
        n_needed=agree,
        found_by=np.array([n_searches], dtype=np.int64),
        n_found_twice=int(n_searches > 1),
        temperatures_K=np.zeros(0),
        exchange=np.zeros(0),
        round_trips=np.zeros(n_searches, dtype=np.int64),
        attempts=0,
    )
    merged = len(np.unique(np.stack([space.block_of, space.start]), axis=1).T) > len(
        np.unique(np.stack([small.block_of, small.start]), axis=1).T
    )
    return GroundStateSearch(decoration, value, evidence, converged=True, interchangeable=merged)
