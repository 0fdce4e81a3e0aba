"""Short-range order of orderings, and averages of correlated series.

Warren–Cowley parameters (Cowley, Phys. Rev. 77, 669 (1950)) compare pairs of sites with a random alloy:

    α_ab(shell) = 1 − n_ab / ⟨n_ab⟩,

n_ab being the number of pairs of that shell with a on one site and b on the other, and ⟨n_ab⟩ its mean over all
decorations with the same counts, N_a (N_b − δ_ab) / (N (N − 1)) of the pairs within a block of N sites and
N_a N_b / (N N') between blocks. That is exact in a finite cell: ideal mixing gives 0, not −1/(N − 1). Negative: a and b
attract each other; positive: they avoid each other. Exclusions are order too: they appear in α at any temperature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superionic.errors import AnalysisError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.uint8]

_WINDOW = 5.0
"""Sokal's window: the sum of the autocorrelation stops at this many autocorrelation times."""

_STARTS = 20


@dataclass(frozen=True, eq=False)
class PairShells:
    """Pairs of free sites by distance; a pair appears once for each of its periodic images within the cutoff.

    Parameters
    ----------
    first, second
        (n_pairs,) sites, the one of the earlier block (or the lower index) first; a site with its own image only where
        that was requested.
    shell
        (n_pairs,) index into the shells.
    blocks
        (n_shells, 2) the blocks of the two sites.
    distances_A
        (n_shells,) mean distance.
    vectors_A
        (n_pairs, 3) from the first to the second site.
    """

    first: IntArray
    second: IntArray
    shell: IntArray
    blocks: IntArray
    distances_A: FloatArray
    vectors_A: FloatArray

    def __post_init__(self) -> None:
        for name in ("first", "second", "shell", "blocks", "distances_A", "vectors_A"):
            getattr(self, name).setflags(write=False)


@dataclass(frozen=True)
class OrderParameter:
    """The subject of one Warren–Cowley parameter: species a (a code) on block A, b on block B, at a distance."""

    block_a: int
    block_b: int
    code_a: int
    code_b: int
    distance_A: float


@dataclass(frozen=True, eq=False)
class ShortRangeOrder:
    """Warren–Cowley parameters with standard errors, at one or more temperatures.

    Parameters
    ----------
    parameters
        The parameter in each column.
    values, errors
        (n_temperatures, n_parameters).
    """

    parameters: tuple[OrderParameter, ...]
    values: FloatArray
    errors: FloatArray


def pair_shells(
    cell_A: FloatArray,
    fractional: FloatArray,
    block_of: IntArray,
    cutoff_A: float,
    *,
    tolerance_A: float = 0.05,
    own_images: bool = False,
) -> PairShells:
    """Sort the pairs of free sites by blocks and distance.

    Parameters
    ----------
    cell_A
        (3, 3) lattice vectors in rows, in Å.
    fractional
        (n_free, 3) positions of the free sites.
    block_of
        (n_free,) their blocks.
    cutoff_A
        Longest distance.
    tolerance_A
        Successive distances that differ by less than this belong to one shell.
    own_images
        Whether pairs of a site with its own periodic images count. No exchange of species changes them, but without
        them the shells of a small cell are incomplete.

    Raises
    ------
    AnalysisError
        If no pair is within the cutoff.
    """
    from ase.neighborlist import primitive_neighbor_list

    blocks = np.asarray(block_of, dtype=np.int64)
    cell = np.asarray(cell_A, dtype=np.float64)
    i, j, d, v, images = primitive_neighbor_list(
        "ijdDS", (True, True, True), cell, np.asarray(fractional) @ cell, cutoff_A
    )
    keep = (blocks[i] < blocks[j]) | ((blocks[i] == blocks[j]) & (i < j))
    if own_images:  # the list has an image and its opposite, which are one pair
        a, b, c = images.T
        keep |= (i == j) & ((a > 0) | ((a == 0) & ((b > 0) | ((b == 0) & (c > 0)))))
    i, j, d, v = i[keep].astype(np.int64), j[keep].astype(np.int64), d[keep], v[keep]
    if not len(i):
        raise AnalysisError(
            f"No two free sites are within {cutoff_A:g} Å of each other.", fix="Give a longer cutoff for the pairs."
        )
    order = np.lexsort((j, i, np.round(d, 6), blocks[j], blocks[i]))
    i, j, d, v = i[order], j[order], d[order], v[order]
    pair = np.stack([blocks[i], blocks[j]], axis=1)
    new = np.ones(len(i), dtype=bool)
    new[1:] = np.any(pair[1:] != pair[:-1], axis=1) | (np.diff(d) > tolerance_A)
    shell = (np.cumsum(new) - 1).astype(np.int64)
    distances = np.bincount(shell, weights=d) / np.bincount(shell)
    return PairShells(i, j, shell, pair[new], distances, np.asarray(v, dtype=np.float64))


def warren_cowley(
    decorations: CodeArray, shells: PairShells, block_of: IntArray
) -> tuple[tuple[OrderParameter, ...], FloatArray]:
    """Compute the Warren–Cowley parameters of each of many decorations of one composition.

    Parameters
    ----------
    decorations
        (m, n_free) codes.
    shells
        From :func:`pair_shells`.
    block_of
        (n_free,) block of each site.

    Returns
    -------
    parameters
        Unlike species within a block (a < b), all species between blocks; only species that occur.
    values
        (m, n_parameters).
    """
    codes = np.atleast_2d(decorations)
    kinds = int(codes.max(initial=0)) + 1
    n_blocks = int(np.max(block_of)) + 1
    counts = np.array([np.bincount(codes[0][block_of == b], minlength=kinds) for b in range(n_blocks)])
    size = len(shells.distances_A) * kinds * kinds
    parameters: list[OrderParameter] = []
    columns: list[list[int]] = []
    expected: list[float] = []
    pairs_of = np.bincount(shells.shell)
    for s, (block_a, block_b) in enumerate(shells.blocks):
        total_a, total_b = int(counts[block_a].sum()), int(counts[block_b].sum())
        for a in range(kinds):
            for b in range(kinds):
                same = block_a == block_b
                if counts[block_a, a] == 0 or counts[block_b, b] == 0 or (same and a >= b):
                    continue
                parameters.append(OrderParameter(int(block_a), int(block_b), a, b, float(shells.distances_A[s])))
                places = [(s * kinds + a) * kinds + b] + ([(s * kinds + b) * kinds + a] if same else [])
                columns.append(places)
                chance = counts[block_a, a] * counts[block_b, b] / (total_a * (total_b - 1 if same else total_b))
                expected.append(float(pairs_of[s] * chance * (2 if same else 1)))
    values = np.empty((len(codes), len(parameters)))
    base = shells.shell * kinds * kinds
    for row, decoration in enumerate(codes):
        key = base + decoration[shells.first].astype(np.int64) * kinds + decoration[shells.second]
        pair_counts = np.bincount(key, minlength=size)
        values[row] = [1.0 - sum(int(pair_counts[p]) for p in c) / e for c, e in zip(columns, expected, strict=True)]
    return tuple(parameters), values


def autocorrelation_time(series: FloatArray) -> float:
    """Return the integrated autocorrelation time of a series, in its own steps; 0.5 for independent numbers.

    τ = ½ + Σ_t ρ(t), summed until t exceeds 5 τ (Sokal, in Functional Integration, NATO ASI B 361, 131 (1997)); ρ by
    fast Fourier transform. The variance of the mean of n numbers is 2τ/n times theirs. A constant series has 0.5.
    """
    x = np.asarray(series, dtype=np.float64)
    n = len(x)
    x = x - x.mean() if n else x
    if n < 4 or float(np.max(np.abs(x))) < 1e-12:
        return 0.5
    size = 1 << (2 * n - 1).bit_length()
    transform = np.fft.rfft(x, size)
    covariance = np.fft.irfft(transform * np.conj(transform), size)[:n]
    rho = covariance / covariance[0]
    sums = np.cumsum(rho) - 0.5
    inside = np.arange(n) < _WINDOW * sums
    stop = int(np.argmin(inside)) if not inside.all() else n - 1
    return max(0.5, float(sums[stop]))


def equilibrated_from(series: FloatArray) -> int:
    """Return the step from which a series counts as equilibrated.

    It is the one of twenty starts in its first half that leaves the most independent samples, (n − t) / 2τ(t) (Chodera,
    J. Chem. Theory Comput. 12, 1799 (2016)). If it is the last of them, the series is not equilibrated.
    """
    n = len(series)
    starts = np.unique(np.linspace(0, n // 2, _STARTS + 1).astype(int)) if n >= 4 else np.zeros(1, dtype=int)
    effective = [(n - t) / (2.0 * autocorrelation_time(series[t:])) for t in starts]
    return int(starts[int(np.argmax(effective))])


def mean_and_error(series: FloatArray) -> tuple[float, float]:
    """Return the mean of a correlated series and its standard error, from the autocorrelation time."""
    n = len(series)
    if n == 0:
        return float("nan"), float("nan")
    variance = float(np.var(series)) * 2.0 * autocorrelation_time(series) / n
    return float(np.mean(series)), float(np.sqrt(variance))


def short_range_order(
    snapshots: Sequence[CodeArray], shells: PairShells, block_of: IntArray
) -> tuple[ShortRangeOrder, FloatArray]:
    """Average the Warren–Cowley parameters over a series of decorations for each temperature.

    Returns
    -------
    order
        Means and errors.
    times
        (n_temperatures,) the longest autocorrelation time of any parameter, in snapshots.
    """
    means, errors, times = [], [], []
    parameters: tuple[OrderParameter, ...] = ()
    for series in snapshots:
        parameters, values = warren_cowley(series, shells, block_of)
        pairs = [mean_and_error(column) for column in values.T]
        means.append([p[0] for p in pairs])
        errors.append([p[1] for p in pairs])
        times.append(max((autocorrelation_time(column) for column in values.T), default=0.5))
    return ShortRangeOrder(parameters, np.array(means), np.array(errors)), np.array(times)
