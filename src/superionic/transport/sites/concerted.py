"""Concerted jumps: jumps with a partner nearby in time and space, compared with chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError
from superionic.transport.diffusion.van_hove import insphere_radius
from superionic.transport.sites.jumps import SiteOccupation

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

WINDOW_PS = 1.0
"""Longest time between concerted jumps."""
DISTANCE_A = 1.0
"""Largest distance between sites of concerted jumps: the default of GEMDAT."""

_SHUFFLES = 20
_SEED = 20_260_101
_PARTS = 10
_MOST_SITES = 4000
_MOST_JUMPS = 200_000
_FEWEST_JUMPS = 20
_LONGEST_STRING = 5
_OFTEN = 0.8
_MOST_PAIRS_AT_ONCE = 5_000_000


@dataclass(frozen=True)
class ConcertedJumps:
    """Jumps that have a partner: a jump of another ion, near in time, that shares a site with it.

    Attributes
    ----------
    window_ps, distance_A
        Largest separation of partners in time, and of the nearest of their sites (start or end).
    fraction, fraction_error
        Share of jumps that have a partner, and its standard error from ten parts of the run.
    by_chance, by_chance_error
        The same where each ion's jumps are shifted in time by a random amount (the run closed to a ring), which
        preserves the motion of each ion but removes correlations with the others: mean and standard error over 20 such
        runs.
    ratio, ratio_error
        Ratio of the two: 1 for independent ions; None where chance gives no partners.
    strings
        Number of strings of 1, 2, 3, 4, and 5 or more jumps, joined as partners.
    flags
        Sentences for the reader.
    """

    window_ps: float
    distance_A: float
    n_jumps: int
    fraction: float
    fraction_error: float
    by_chance: float
    by_chance_error: float
    ratio: float | None
    ratio_error: float | None
    strings: tuple[int, ...]
    flags: tuple[str, ...]


def concerted_jumps(
    occupation: SiteOccupation, *, window_ps: float = WINDOW_PS, distance_A: float = DISTANCE_A
) -> ConcertedJumps | None:
    """Count jumps that have a partner; None with fewer than 20 jumps, or too many sites.

    Parameters
    ----------
    occupation
        All jumps of a run, of which the first 200,000 are analysed.
    window_ps, distance_A
        Largest separation of partners in time and space.

    Raises
    ------
    AnalysisError
        If the window is not positive, or the distance is not below half the width of the cell.
    """
    sites, interval = occupation.sites, occupation.frame_interval_ps
    if not (math.isfinite(window_ps) and window_ps > 0.0):
        raise AnalysisError(f"The time within which jumps are concerted must be positive, not {window_ps!r} ps.")
    if not 0.0 <= distance_A < insphere_radius(sites.cell_A):
        raise AnalysisError(
            f"A distance of {distance_A:g} Å between jumps does not lie between 0 and half the width of the cell.",
            fix="Give 1 Å, for example.",
        )
    if occupation.n_jumps < _FEWEST_JUMPS or len(sites) > _MOST_SITES:
        return None
    order = np.lexsort((occupation.ion, occupation.left_frame))[:_MOST_JUMPS]
    frame = occupation.left_frame[order]
    n_frames = int(frame[-1]) + 1 if len(order) < occupation.n_jumps else occupation.n_frames
    window = max(1, round(window_ps / interval))  # whole frames, as in the shifted runs
    if window > 0.1 * n_frames:
        return None
    ion, start, end = occupation.ion[order], occupation.start[order], occupation.end[order]
    near = _near(sites.fractional, np.asarray(sites.cell_A), distance_A)
    one, other = _partners(frame, ion, start, end, near, window)
    has = np.zeros(len(order), dtype=bool)
    has[one] = has[other] = True
    rng = np.random.default_rng(_SEED)
    chance = []
    for _ in range(_SHUFFLES):
        moved = np.mod(frame + rng.integers(0, n_frames, occupation.n_ions)[ion], n_frames)
        again = np.argsort(moved, kind="stable")
        pairs = _partners(moved[again], ion[again], start[again], end[again], near, window)
        chance.append(len(np.unique(np.concatenate(pairs))) / len(order))
    fraction, by_chance = float(has.mean()), float(np.mean(chance))
    error, chance_error = _error_of_parts(has, frame, n_frames), float(np.std(chance, ddof=1) / math.sqrt(_SHUFFLES))
    ratio = fraction / by_chance if by_chance > 0.0 else None
    ratio_error = None
    if ratio is not None:
        # An ion's own jumps scatter in each shuffled run as in the true one.
        ratio_error = math.hypot(max(error, float(np.std(chance, ddof=1))), ratio * chance_error) / by_chance
    return ConcertedJumps(
        window_ps=window * interval,
        distance_A=distance_A,
        n_jumps=len(order),
        fraction=fraction,
        fraction_error=error,
        by_chance=by_chance,
        by_chance_error=chance_error,
        ratio=ratio,
        ratio_error=ratio_error,
        strings=_strings(one, other, len(order)),
        flags=_flags(len(order), occupation.n_jumps, by_chance),
    )


def _flags(n_taken: int, n_jumps: int, by_chance: float) -> tuple[str, ...]:
    flags = []
    if n_taken < n_jumps:
        flags.append(f"Concerted jumps were looked for among the first {n_taken:,} of {n_jumps:,} jumps.")
    if by_chance > _OFTEN:
        flags.append(
            f"Chance alone gives {100.0 * by_chance:.0f} % of the jumps a partner in the time that counts as together: "
            "it says little there."
        )
    return tuple(flags)


def _near(fractional: FloatArray, cell: FloatArray, distance_A: float) -> NDArray[np.bool_]:
    """Return which pairs of sites are within a distance below the radius of the cell's insphere, (n, n)."""
    near = np.empty((len(fractional), len(fractional)), dtype=bool)
    for k, place in enumerate(fractional):
        apart = fractional - place
        apart -= np.round(apart)
        near[k] = np.sum((apart @ cell) ** 2, axis=1) <= distance_A**2 + 1e-12
    return near


def _partners(
    frame: IntArray, ion: IntArray, start: IntArray, end: IntArray, near: NDArray[np.bool_], window: int
) -> tuple[IntArray, IntArray]:
    """Return all pairs of partners among jumps, in order of their times."""
    last = np.searchsorted(frame, frame + window, side="right")
    counts = last - np.arange(len(frame)) - 1
    ones, others = [], []
    begin = 0
    while begin < len(frame):
        within = np.cumsum(counts[begin:])
        stop = begin + max(1, int(np.searchsorted(within, _MOST_PAIRS_AT_ONCE, side="right")))
        number = counts[begin:stop]
        one = np.repeat(np.arange(begin, stop), number)
        offset = np.arange(len(one)) - np.repeat(np.cumsum(number) - number, number)
        other = one + 1 + offset
        apart = ion[one] != ion[other]
        one, other = one[apart], other[apart]
        together = near[start[one], start[other]] | near[end[one], end[other]]
        together |= near[start[one], end[other]] | near[end[one], start[other]]
        ones.append(one[together])
        others.append(other[together])
        begin = stop
    return np.concatenate(ones), np.concatenate(others)


def _error_of_parts(has: NDArray[np.bool_], frame: IntArray, n_frames: int) -> float:
    """Return the standard error of a share, as a ratio of sums over ten parts of the run."""
    part = frame * _PARTS // n_frames
    all_of = np.bincount(part, minlength=_PARTS).astype(np.float64)
    off = np.bincount(part, weights=has, minlength=_PARTS) - has.mean() * all_of
    return float(math.sqrt(_PARTS / (_PARTS - 1.0) * np.sum(off**2)) / all_of.sum())


def _strings(one: IntArray, other: IntArray, n_jumps: int) -> tuple[int, ...]:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(n_jumps, n_jumps))
    _, member = connected_components(graph, directed=False)
    sizes = np.bincount(member)
    counted = np.bincount(np.minimum(sizes, _LONGEST_STRING), minlength=_LONGEST_STRING + 1)
    return tuple(int(n) for n in counted[1:])
